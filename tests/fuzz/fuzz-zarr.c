/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A zarr array: the text of `.zarray`, a zero byte, and the chunk.
 */
#include "checkpoint/zarr.h"
#include "fuzz.h"

#include <string.h>
#include <zlib.h>

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  const uint8_t *zero = memchr (data, 0, size);
  size_t length = zero != NULL ? (size_t) (zero - data) : size;
  g_autoptr (GBytes) chunk = NULL, array = NULL;
  Mt3Zarr zarr;

  if (!mt3_zarr_parse ((const gchar *) data, length, "input", &zarr, NULL))
    return 0;
  chunk = zero != NULL ? g_bytes_new (zero + 1, size - length - 1)
                       : g_bytes_new (NULL, 0);
  array = mt3_zarr_decode (&zarr, chunk, "input", NULL);
  return 0;
}

static void
add_array (
    GPtrArray *seeds, const gchar *compressor, gconstpointer chunk, gsize size)
{
  g_autofree gchar *text = g_strdup_printf (
      "{\"zarr_format\":2,\"shape\":[8,8],\"chunks\":[8,8],\"dtype\":\"<f4\","
      "\"order\":\"C\",\"filters\":null,\"fill_value\":null,"
      "\"dimension_separator\":\".\",\"compressor\":%s}",
      compressor);
  g_autoptr (GByteArray) seed = g_byte_array_new ();

  g_byte_array_append (seed, (const guint8 *) text, (guint) strlen (text) + 1);
  g_byte_array_append (seed, chunk, (guint) size);
  g_ptr_array_add (seeds, g_byte_array_free_to_bytes (g_steal_pointer (&seed)));
}

void
fuzz_seeds (GPtrArray *seeds)
{
  guint8 values[256], packed[512];
  uLongf packed_size = sizeof packed;

  for (guint i = 0; i < sizeof values; i++)
    values[i] = (guint8) (i * i);
  compress (packed, &packed_size, values, sizeof values);
  add_array (seeds, "{\"id\":\"zlib\",\"level\":1}", packed, packed_size);
  add_array (seeds, "null", values, sizeof values);
}
