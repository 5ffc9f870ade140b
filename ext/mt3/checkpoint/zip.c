/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "checkpoint/zip.h"
#include "error.h"

#include <string.h>

#define LOCAL_SIGNATURE 0x04034b50
#define CENTRAL_SIGNATURE 0x02014b50
#define END_SIGNATURE 0x06054b50
#define LOCAL_SIZE 30
#define CENTRAL_SIZE 46
#define END_SIZE 22
#define LONGEST_COMMENT 65535

#define FLAG_ENCRYPTED 1
#define METHOD_STORED 0

typedef struct {
  GBytes *file;
  const guint8 *data;
  gsize length;
  gsize directory; /* where the central directory begins */
  gsize end; /* where the record of its end begins */
  const gchar *path;
  GHashTable *entries;
} Reader;

static guint
read_u16 (const guint8 *at)
{
  return at[0] | (guint) at[1] << 8;
}

static guint32
read_u32 (const guint8 *at)
{
  return read_u16 (at) | (guint32) read_u16 (at + 2) << 16;
}

/* The record stands last but for a comment, whose length it gives. */
static gboolean
find_end (Reader *reader, GError **error)
{
  gsize lowest = reader->length > END_SIZE + LONGEST_COMMENT
                     ? reader->length - END_SIZE - LONGEST_COMMENT
                     : 0;

  for (gsize at = reader->length; at-- > lowest;) {
    const guint8 *record = reader->data + at;

    if (reader->length - at >= END_SIZE && read_u32 (record) == END_SIGNATURE &&
        read_u16 (record + 20) == reader->length - at - END_SIZE) {
      reader->end = at;
      return TRUE;
    }
  }
  return mt3_format_error (error, reader->path,
      "no zip directory at its end; the file is truncated or damaged");
}

/* The data begins behind the local header, whose extra field need not be that
 * of the central one: writers pad it to align the data. */
static gboolean
find_data (const Reader *reader, const gchar *name, gsize local, gsize size,
    gsize *begin, GError **error)
{
  const guint8 *header = reader->data + local;
  gsize limit = reader->directory;

  if (local > limit || limit - local < LOCAL_SIZE ||
      read_u32 (header) != LOCAL_SIGNATURE)
    return mt3_format_error (error, reader->path,
        "entry %s: no header at byte %" G_GSIZE_FORMAT, name, local);
  *begin = local + LOCAL_SIZE + read_u16 (header + 26) + read_u16 (header + 28);
  if (*begin > limit || limit - *begin < size)
    return mt3_format_error (error, reader->path,
        "entry %s: its %" G_GSIZE_FORMAT " bytes do not lie in the file", name,
        size);
  return TRUE;
}

static gboolean
add_entry (
    Reader *reader, const gchar *name, const guint8 *header, GError **error)
{
  gsize size = read_u32 (header + 20), local = read_u32 (header + 42),
        begin = 0;

  if (read_u16 (header + 8) & FLAG_ENCRYPTED)
    return mt3_format_error (
        error, reader->path, "entry %s is encrypted", name);
  if (read_u16 (header + 10) != METHOD_STORED || read_u32 (header + 24) != size)
    return mt3_format_error (error, reader->path,
        "entry %s is compressed, which torch.save never does; if somebody "
        "zipped the file again, unzip it and zip it with -0",
        name);
  if (size == G_MAXUINT32 || local == G_MAXUINT32)
    return mt3_format_error (
        error, reader->path, "entry %s: files of 4 GiB are not read", name);
  if (!find_data (reader, name, local, size, &begin, error))
    return FALSE;
  if (!g_hash_table_insert (reader->entries, g_strdup (name),
          g_bytes_new_from_bytes (reader->file, begin, size)))
    return mt3_format_error (
        error, reader->path, "entry %s is there twice", name);
  return TRUE;
}

/* Reads the entry at @at and moves it behind. */
static gboolean
read_entry (Reader *reader, gsize *at, GError **error)
{
  const guint8 *header = reader->data + *at;
  g_autofree gchar *name = NULL;
  gsize length;

  if (reader->end - *at < CENTRAL_SIZE ||
      read_u32 (header) != CENTRAL_SIGNATURE)
    return mt3_format_error (error, reader->path,
        "no zip entry at byte %" G_GSIZE_FORMAT "; the file is damaged", *at);
  length = read_u16 (header + 28);
  *at +=
      CENTRAL_SIZE + length + read_u16 (header + 30) + read_u16 (header + 32);
  if (*at > reader->end)
    return mt3_format_error (
        error, reader->path, "a zip entry reaches behind the directory");
  if (!g_utf8_validate (
          (const gchar *) header + CENTRAL_SIZE, (gssize) length, NULL))
    return mt3_format_error (
        error, reader->path, "a zip entry whose name is not UTF-8");
  name = g_strndup ((const gchar *) header + CENTRAL_SIZE, length);
  return add_entry (reader, name, header, error);
}

static gboolean
read_all (Reader *reader, GError **error)
{
  const guint8 *end;
  gsize at;
  guint n;

  if (!find_end (reader, error))
    return FALSE;
  end = reader->data + reader->end;
  n = read_u16 (end + 10);
  reader->directory = at = read_u32 (end + 16);
  if (n == G_MAXUINT16 || at == G_MAXUINT32)
    return mt3_format_error (
        error, reader->path, "files of 4 GiB or 65535 entries are not read");
  if (at > reader->end)
    return mt3_format_error (
        error, reader->path, "the zip directory does not lie in the file");
  for (guint i = 0; i < n; i++)
    if (!read_entry (reader, &at, error))
      return FALSE;
  return TRUE;
}

GHashTable *
mt3_zip_read (GBytes *file, const gchar *path, GError **error)
{
  g_autoptr (GHashTable) entries = g_hash_table_new_full (
      g_str_hash, g_str_equal, g_free, (GDestroyNotify) g_bytes_unref);
  Reader reader = {.file = file, .path = path, .entries = entries};

  reader.data = g_bytes_get_data (file, &reader.length);
  return read_all (&reader, error) ? g_steal_pointer (&entries) : NULL;
}
