/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Formats: APPNOTE.TXT of PKWARE (sections 4.3.7, 4.3.12 and 4.3.16), and the
 * .npy format of NumPy's manual.
 */
#include "npz.h"

#include <string.h>
#include <zlib.h>

#define END_RECORD_SIZE 22
#define ENTRY_SIZE 46
#define LOCAL_SIZE 30
#define STORED 0
#define DEFLATED 8

static guint32
read_number (const guint8 *at, guint n_bytes)
{
  guint32 number = 0;

  for (guint i = n_bytes; i-- > 0;)
    number = number << 8 | at[i];
  return number;
}

/* The entry of @name in the central directory. */
static const guint8 *
find_entry (const guint8 *zip, gsize length, const gchar *name)
{
  const guint8 *end = zip + length - END_RECORD_SIZE;
  guint n_entries = read_number (end + 10, 2);
  const guint8 *entry = zip + read_number (end + 16, 4);

  g_assert_cmpmem (end, 4, "PK\5\6", 4);
  for (guint i = 0; i < n_entries; i++) {
    gsize name_length = read_number (entry + 28, 2);

    if (name_length == strlen (name) &&
        memcmp (entry + ENTRY_SIZE, name, name_length) == 0)
      return entry;
    entry += ENTRY_SIZE + name_length + read_number (entry + 30, 2) +
             read_number (entry + 32, 2);
  }
  g_error ("no %s in the archive", name);
}

static guint8 *
unpack (const guint8 *zip, const guint8 *entry, gsize *length)
{
  gsize packed_length = read_number (entry + 20, 4);
  const guint8 *local = zip + read_number (entry + 42, 4);
  const guint8 *packed = local + LOCAL_SIZE + read_number (local + 26, 2) +
                         read_number (local + 28, 2);
  z_stream stream = {.next_in = (Bytef *) packed, .avail_in = packed_length};
  guint8 *data;

  *length = read_number (entry + 24, 4);
  if (read_number (entry + 10, 2) == STORED)
    return g_memdup2 (packed, *length);
  g_assert_cmpuint (read_number (entry + 10, 2), ==, DEFLATED);
  data = g_malloc (*length);
  stream.next_out = data;
  stream.avail_out = *length;
  g_assert_cmpint (inflateInit2 (&stream, -MAX_WBITS), ==, Z_OK);
  g_assert_cmpint (inflate (&stream, Z_FINISH), ==, Z_STREAM_END);
  inflateEnd (&stream);
  return data;
}

gfloat *
npz_read (const gchar *path, const gchar *name, gsize *n)
{
  g_autofree gchar *member = g_strconcat (name, ".npy", NULL);
  g_autofree gchar *zip = NULL;
  g_autofree guint8 *npy = NULL;
  g_autofree gchar *header = NULL;
  g_autoptr (GError) error = NULL;
  gsize zip_length, length, start;

  g_file_get_contents (path, &zip, &zip_length, &error);
  g_assert_no_error (error);
  npy = unpack (
      (guint8 *) zip, find_entry ((guint8 *) zip, zip_length, member), &length);

  g_assert_cmpmem (npy, 6, "\x93NUMPY", 6);
  start = 10 + read_number (npy + 8, 2);
  header = g_strndup ((gchar *) npy + 10, start - 10);
  g_assert_nonnull (strstr (header, "'<f4'"));
  g_assert_nonnull (strstr (header, "'fortran_order': False"));
  *n = (length - start) / sizeof (gfloat);
  return g_memdup2 (npy + start, length - start);
}
