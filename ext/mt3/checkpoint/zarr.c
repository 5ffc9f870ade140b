/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "checkpoint/zarr.h"
#include "checkpoint/archive.h"
#include "checkpoint/json.h"
#include "error.h"

#include <string.h>
#include <zlib.h>

#define ZARRAY_MAX_BYTES (64 * 1024)

/* Deflate packs at most 1032 bytes into one: a shape that claims more is wrong
 * before anything is allocated. */
#define DEFLATE_MAX_RATIO 1032

static gboolean
parse_compressor (
    JsonObject *root, const gchar *what, Mt3Zarr *zarr, GError **error)
{
  JsonObject *compressor = mt3_json_object (root, "compressor");
  const gchar *id =
      compressor != NULL ? mt3_json_string (compressor, "id") : NULL;

  if (json_object_has_member (root, "compressor") &&
      json_object_get_null_member (root, "compressor")) {
    zarr->compressed = FALSE;
    return TRUE;
  }
  if (id == NULL || !(g_str_equal (id, "gzip") || g_str_equal (id, "zlib"))) {
    g_set_error (error, MT3_ERROR, MT3_ERROR_UNSUPPORTED,
        "%s: compressor %s; expected gzip, zlib or none", what,
        id != NULL ? id : "without an id");
    return FALSE;
  }
  zarr->compressed = TRUE;
  return TRUE;
}

static gboolean
parse_shape (JsonObject *root, const gchar *what, Mt3Zarr *zarr, GError **error)
{
  gsize chunks[MT3_TENSOR_MAX_DIMS] = {0};
  guint n_chunk_dims = 0;

  if (!mt3_json_sizes (
          root, "shape", MT3_TENSOR_MAX_DIMS, &zarr->n_dims, zarr->shape) ||
      !mt3_json_sizes (
          root, "chunks", MT3_TENSOR_MAX_DIMS, &n_chunk_dims, chunks)) {
    g_set_error (error, MT3_ERROR, MT3_ERROR_FORMAT,
        "%s: shape and chunks must be lists of at most %d sizes", what,
        MT3_TENSOR_MAX_DIMS);
    return FALSE;
  }
  if (n_chunk_dims != zarr->n_dims ||
      memcmp (chunks, zarr->shape, zarr->n_dims * sizeof (gsize)) != 0) {
    g_autofree gchar *found = mt3_shape_to_string (n_chunk_dims, chunks);
    g_autofree gchar *wanted = mt3_shape_to_string (zarr->n_dims, zarr->shape);

    g_set_error (error, MT3_ERROR, MT3_ERROR_UNSUPPORTED,
        "%s: chunks of %s; expected one chunk of the whole array, %s", what,
        found, wanted);
    return FALSE;
  }
  return TRUE;
}

gboolean
mt3_zarr_parse (const gchar *text, gsize length, const gchar *what,
    Mt3Zarr *zarr, GError **error)
{
  g_autoptr (JsonNode) node = mt3_json_parse (text, length, what, error);
  const gchar *dtype, *order, *separator;
  JsonObject *root;

  if (node == NULL)
    return FALSE;
  memset (zarr, 0, sizeof *zarr);
  root = json_node_get_object (node);
  dtype = mt3_json_string (root, "dtype");
  order = mt3_json_string (root, "order");
  separator = mt3_json_string (root, "dimension_separator");
  if (dtype == NULL || g_strcmp0 (order, "C") != 0 ||
      (json_object_has_member (root, "filters") &&
          !json_object_get_null_member (root, "filters"))) {
    g_set_error (error, MT3_ERROR, MT3_ERROR_UNSUPPORTED,
        "%s: expected a simple dtype, order C and no filters", what);
    return FALSE;
  }
  g_strlcpy (zarr->dtype, dtype, sizeof zarr->dtype);
  zarr->separator = g_strcmp0 (separator, "/") == 0 ? '/' : '.';
  return parse_shape (root, what, zarr, error) &&
         parse_compressor (root, what, zarr, error);
}

/* TRUE when @chunk inflates to exactly @size bytes: a stream that has more
 * does not reach its end within them. */
static gboolean
inflate_exactly (GBytes *chunk, guint8 *out, gsize size)
{
  gsize length;
  const guint8 *data = g_bytes_get_data (chunk, &length);
  z_stream stream = {
      .next_in = (Bytef *) data,
      .avail_in = (uInt) length,
      .next_out = out,
      .avail_out = (uInt) size,
  };
  int status;

  if (length > G_MAXUINT || inflateInit2 (&stream, 32 + MAX_WBITS) != Z_OK)
    return FALSE;
  status = inflate (&stream, Z_FINISH);
  inflateEnd (&stream);
  return status == Z_STREAM_END && stream.total_out == size;
}

static GBytes *
inflate_chunk (GBytes *chunk, gsize size, const gchar *what, GError **error)
{
  guint8 *out;

  if (size / DEFLATE_MAX_RATIO > g_bytes_get_size (chunk)) {
    g_set_error (error, MT3_ERROR, MT3_ERROR_FORMAT,
        "%s: %" G_GSIZE_FORMAT " compressed bytes cannot hold the "
        "%" G_GSIZE_FORMAT " that its shape asks for; the file is truncated",
        what, g_bytes_get_size (chunk), size);
    return NULL;
  }
  out = g_try_malloc (MAX (size, 1));
  if (out == NULL) {
    g_set_error (error, MT3_ERROR, MT3_ERROR_MEMORY,
        "%s: no memory for %" G_GSIZE_FORMAT " bytes", what, size);
    return NULL;
  }
  if (!inflate_exactly (chunk, out, size)) {
    g_free (out);
    g_set_error (error, MT3_ERROR, MT3_ERROR_FORMAT,
        "%s: does not inflate to the %" G_GSIZE_FORMAT " bytes that its "
        "shape asks for; the file is damaged or truncated",
        what, size);
    return NULL;
  }
  return g_bytes_new_take (out, size);
}

GBytes *
mt3_zarr_decode (
    const Mt3Zarr *zarr, GBytes *chunk, const gchar *what, GError **error)
{
  Mt3DType dtype;
  gsize size;

  if (!mt3_dtype_from_name (zarr->dtype, &dtype) ||
      !mt3_array_bytes (
          zarr->n_dims, zarr->shape, mt3_dtype_size (dtype), &size)) {
    g_set_error (error, MT3_ERROR, MT3_ERROR_FORMAT,
        "%s: not an array of float32, float16 or bfloat16 of bearable size",
        what);
    return NULL;
  }
  if (zarr->compressed)
    return inflate_chunk (chunk, size, what, error);
  if (g_bytes_get_size (chunk) != size) {
    g_set_error (error, MT3_ERROR, MT3_ERROR_FORMAT,
        "%s: expected %" G_GSIZE_FORMAT " bytes, found %" G_GSIZE_FORMAT, what,
        size, g_bytes_get_size (chunk));
    return NULL;
  }
  return g_bytes_ref (chunk);
}

/* "0.0": the only chunk's index in every dimension ("0" for a scalar). */
static gchar *
chunk_name (const Mt3Zarr *zarr)
{
  GString *name = g_string_new ("0");

  for (guint i = 1; i < zarr->n_dims; i++)
    g_string_append_printf (name, "%c0", zarr->separator);
  return g_string_free (name, FALSE);
}

gboolean
mt3_zarr_read (
    const gchar *folder, Mt3Zarr *zarr, GBytes **array, GError **error)
{
  g_autofree gchar *header_path = g_build_filename (folder, ".zarray", NULL);
  g_autoptr (GBytes) header = mt3_archive_map_file (header_path, error);
  g_autoptr (GBytes) chunk = NULL;
  g_autofree gchar *name = NULL, *chunk_path = NULL;
  Mt3DType dtype;

  *array = NULL;
  if (header == NULL)
    return FALSE;
  if (!mt3_zarr_parse (g_bytes_get_data (header, NULL),
          MIN (g_bytes_get_size (header), ZARRAY_MAX_BYTES), header_path, zarr,
          error))
    return FALSE;
  if (!mt3_dtype_from_name (zarr->dtype, &dtype))
    return TRUE;
  name = chunk_name (zarr);
  chunk_path = g_build_filename (folder, name, NULL);
  chunk = mt3_archive_map_file (chunk_path, error);
  if (chunk == NULL)
    return FALSE;
  *array = mt3_zarr_decode (zarr, chunk, chunk_path, error);
  return *array != NULL;
}
