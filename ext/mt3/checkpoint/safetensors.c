/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "checkpoint/safetensors.h"
#include "checkpoint/json.h"
#include "error.h"

#include <string.h>

/* Where an array lies, to check that the arrays tile the file. */
typedef struct {
  const gchar *name;
  gsize begin, end;
} Span;

typedef struct {
  Mt3Archive *archive;
  const guint8 *data; /* behind the header */
  gsize length;
  GArray *spans;
} Reader;

static gboolean
check_extent (const Reader *reader, const Span *span, guint n_dims,
    const gsize *shape, const gchar *dtype_name, GError **error)
{
  Mt3DType dtype;
  gsize bytes;

  if (span->begin > span->end || span->end > reader->length)
    return mt3_format_error (error, reader->archive->path,
        "tensor %s: bytes %" G_GSIZE_FORMAT " to %" G_GSIZE_FORMAT
        " do not lie in the file's %" G_GSIZE_FORMAT
        " bytes of data; the file is truncated or damaged",
        span->name, span->begin, span->end, reader->length);
  if (mt3_dtype_from_name (dtype_name, &dtype) &&
      (!mt3_array_bytes (n_dims, shape, mt3_dtype_size (dtype), &bytes) ||
          bytes != span->end - span->begin)) {
    g_autofree gchar *text = mt3_shape_to_string (n_dims, shape);

    return mt3_format_error (error, reader->archive->path,
        "tensor %s: %s of %s does not take the %" G_GSIZE_FORMAT
        " bytes that the header gives it",
        span->name, text, dtype_name, span->end - span->begin);
  }
  return TRUE;
}

static gboolean
read_tensor (
    Reader *reader, const gchar *name, JsonObject *object, GError **error)
{
  const gchar *dtype = mt3_json_string (object, "dtype");
  gsize shape[MT3_TENSOR_MAX_DIMS], offsets[2];
  guint n_dims = 0, n_offsets = 0;
  Span span;

  if (dtype == NULL ||
      !mt3_json_sizes (object, "shape", MT3_TENSOR_MAX_DIMS, &n_dims, shape) ||
      !mt3_json_sizes (object, "data_offsets", 2, &n_offsets, offsets) ||
      n_offsets != 2)
    return mt3_format_error (error, reader->archive->path,
        "tensor %s: expected a dtype, a shape of at most %d sizes and two "
        "data_offsets",
        name, MT3_TENSOR_MAX_DIMS);
  span = (Span){name, offsets[0], offsets[1]};
  if (!check_extent (reader, &span, n_dims, shape, dtype, error))
    return FALSE;
  g_array_append_val (reader->spans, span);
  mt3_archive_add (
      reader->archive, name, dtype, n_dims, shape, reader->data + span.begin);
  return TRUE;
}

static void
read_metadata (Mt3Archive *archive, JsonObject *metadata)
{
  JsonObjectIter iter;
  const gchar *key;
  JsonNode *node;

  json_object_iter_init (&iter, metadata);
  while (json_object_iter_next (&iter, &key, &node)) {
    const gchar *value = mt3_json_string (metadata, key);

    if (value != NULL)
      g_hash_table_insert (archive->metadata, g_strdup (key), g_strdup (value));
  }
}

static gboolean
read_header (Reader *reader, JsonObject *root, GError **error)
{
  JsonObjectIter iter;
  const gchar *name;
  JsonNode *node;

  json_object_iter_init_ordered (&iter, root);
  while (json_object_iter_next_ordered (&iter, &name, &node)) {
    if (!JSON_NODE_HOLDS_OBJECT (node))
      return mt3_format_error (
          error, reader->archive->path, "header: %s is not an object", name);
    if (g_str_equal (name, "__metadata__"))
      read_metadata (reader->archive, json_node_get_object (node));
    else if (!read_tensor (reader, name, json_node_get_object (node), error))
      return FALSE;
  }
  return TRUE;
}

static gint
compare_spans (gconstpointer a, gconstpointer b)
{
  const Span *x = a, *y = b;

  if (x->begin != y->begin)
    return x->begin < y->begin ? -1 : 1;
  return x->end < y->end ? -1 : x->end > y->end;
}

static gboolean
check_tiling (const Reader *reader, GError **error)
{
  const gchar *previous = "the header";
  gsize at = 0;

  g_array_sort (reader->spans, compare_spans);
  for (guint i = 0; i < reader->spans->len; i++) {
    const Span *span = &g_array_index (reader->spans, Span, i);

    if (span->begin != at)
      return mt3_format_error (error, reader->archive->path,
          "tensor %s: starts at byte %" G_GSIZE_FORMAT " but %s ends at "
          "%" G_GSIZE_FORMAT "; arrays must neither overlap nor leave gaps",
          span->name, span->begin, previous, at);
    at = span->end;
    previous = span->name;
  }
  if (at != reader->length)
    return mt3_format_error (error, reader->archive->path,
        "%" G_GSIZE_FORMAT " bytes behind the last array belong to no tensor",
        reader->length - at);
  return TRUE;
}

static gboolean
read_all (Reader *reader, const guint8 *data, gsize length, GError **error)
{
  g_autofree gchar *what =
      g_strdup_printf ("%s: the header", reader->archive->path);
  g_autoptr (JsonNode) header = NULL;
  guint64 header_length = 0;

  if (length >= sizeof header_length)
    memcpy (&header_length, data, sizeof header_length);
  header_length = GUINT64_FROM_LE (header_length);
  if (header_length == 0 || header_length > MT3_SAFETENSORS_MAX_HEADER ||
      header_length > length - sizeof header_length)
    return mt3_format_error (error, reader->archive->path,
        "not a safetensors file, or truncated (%" G_GSIZE_FORMAT
        " bytes, header of %" G_GUINT64_FORMAT "): give a T5X checkpoint "
        "directory, a .safetensors or a .pth file",
        length, header_length);
  data += sizeof header_length;
  header =
      mt3_json_parse ((const gchar *) data, (gsize) header_length, what, error);
  if (header == NULL)
    return FALSE;
  reader->data = data + header_length;
  reader->length = length - sizeof header_length - (gsize) header_length;
  return read_header (reader, json_node_get_object (header), error) &&
         check_tiling (reader, error);
}

Mt3Archive *
mt3_safetensors_read_bytes (GBytes *bytes, const gchar *path, GError **error)
{
  g_autoptr (Mt3Archive) archive = mt3_archive_new (path);
  g_autoptr (GArray) spans = g_array_new (FALSE, FALSE, sizeof (Span));
  Reader reader = {.archive = archive, .spans = spans};
  gsize length;
  const guint8 *data = g_bytes_get_data (bytes, &length);

  if (!read_all (&reader, data, length, error))
    return NULL;
  mt3_archive_keep (archive, g_bytes_ref (bytes));
  return g_steal_pointer (&archive);
}

Mt3Archive *
mt3_safetensors_read (const gchar *path, GError **error)
{
  g_autoptr (GBytes) bytes = mt3_archive_map_file (path, error);
  Mt3Archive *archive;

  if (bytes == NULL)
    return NULL;
  archive = mt3_safetensors_read_bytes (bytes, path, error);
  if (archive != NULL)
    archive->mapping = bytes;
  return archive;
}
