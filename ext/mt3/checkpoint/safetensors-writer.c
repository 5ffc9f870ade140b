/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE /* O_TMPFILE */
#include "checkpoint/safetensors-writer.h"
#include "checkpoint/half.h"
#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <json-glib/json-glib.h>
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Elements converted and written at a time: 1 MiB of float32. */
#define BLOCK_ELEMENTS (256 * 1024)

typedef struct {
  const Mt3SafetensorsWrite *what;
  int fd;
  guint64 done, total;
  gfloat *values; /* BLOCK_ELEMENTS */
  guint16 *halves; /* BLOCK_ELEMENTS */
} Writer;

static gsize
tensor_bytes (const Mt3SafetensorsWrite *what, const Mt3Tensor *tensor)
{
  return mt3_tensor_n_elements (tensor) * mt3_dtype_size (what->dtype);
}

static gint
compare_keys (gconstpointer a, gconstpointer b)
{
  return g_strcmp0 (a, b);
}

static void
build_metadata (JsonBuilder *builder, GHashTable *metadata)
{
  g_autoptr (GList) keys =
      g_list_sort (g_hash_table_get_keys (metadata), compare_keys);

  json_builder_set_member_name (builder, "__metadata__");
  json_builder_begin_object (builder);
  for (const GList *key = keys; key != NULL; key = key->next) {
    json_builder_set_member_name (builder, key->data);
    json_builder_add_string_value (
        builder, g_hash_table_lookup (metadata, key->data));
  }
  json_builder_end_object (builder);
}

static void
build_tensor (JsonBuilder *builder, const Mt3SafetensorsWrite *what,
    const Mt3Tensor *tensor, guint64 offset)
{
  json_builder_set_member_name (builder, tensor->name);
  json_builder_begin_object (builder);
  json_builder_set_member_name (builder, "dtype");
  json_builder_add_string_value (builder, mt3_dtype_name (what->dtype));
  json_builder_set_member_name (builder, "shape");
  json_builder_begin_array (builder);
  for (guint i = 0; i < tensor->n_dims; i++)
    json_builder_add_int_value (builder, (gint64) tensor->shape[i]);
  json_builder_end_array (builder);
  json_builder_set_member_name (builder, "data_offsets");
  json_builder_begin_array (builder);
  json_builder_add_int_value (builder, (gint64) offset);
  json_builder_add_int_value (
      builder, (gint64) (offset + tensor_bytes (what, tensor)));
  json_builder_end_array (builder);
  json_builder_end_object (builder);
}

/* The length and the JSON, padded with spaces so that the arrays are aligned,
 * as the format asks. */
static GString *
build_header (const Mt3SafetensorsWrite *what, guint64 *total)
{
  g_autoptr (JsonBuilder) builder = json_builder_new ();
  g_autoptr (JsonNode) root = NULL;
  g_autofree gchar *json = NULL;
  GString *header = g_string_new (NULL);
  guint64 length;

  *total = 0;
  json_builder_begin_object (builder);
  if (what->metadata != NULL)
    build_metadata (builder, what->metadata);
  for (guint i = 0; i < what->n_tensors; i++) {
    build_tensor (builder, what, &what->tensors[i], *total);
    *total += tensor_bytes (what, &what->tensors[i]);
  }
  json_builder_end_object (builder);
  root = json_builder_get_root (builder);
  json = json_to_string (root, FALSE);
  g_string_append (header, json);
  while (header->len % 8 != 0)
    g_string_append_c (header, ' ');
  length = GUINT64_TO_LE ((guint64) header->len);
  g_string_prepend_len (header, (const gchar *) &length, sizeof length);
  return header;
}

static gboolean
io_error (const gchar *path, GError **error)
{
  g_set_error (error, MT3_ERROR, MT3_ERROR_IO, "cannot write %s: %s", path,
      g_strerror (errno));
  return FALSE;
}

static gboolean
write_all (int fd, gconstpointer data, gsize length)
{
  const guint8 *at = data;

  while (length > 0) {
    gssize written = write (fd, at, length);

    if (written < 0 && errno == EINTR)
      continue;
    if (written < 0)
      return FALSE;
    at += written;
    length -= (gsize) written;
  }
  return TRUE;
}

static gboolean
to_halves (const gfloat *values, guint16 *halves, gsize n)
{
  gboolean finite = TRUE;

  for (gsize i = 0; i < n; i++) {
    halves[i] = GUINT16_TO_LE (mt3_float_to_half (values[i]));
    finite &= (GUINT16_FROM_LE (halves[i]) & 0x7c00) != 0x7c00;
  }
  return finite;
}

static gboolean
overflow_error (
    const Mt3Tensor *tensor, const gfloat *values, gsize n, GError **error)
{
  gsize i = 0;

  while (i + 1 < n && (mt3_float_to_half (values[i]) & 0x7c00) != 0x7c00)
    i++;
  g_set_error (error, MT3_ERROR, MT3_ERROR_MODEL,
      "tensor %s: %g is beyond float16, whose largest is 65504; convert to f32",
      tensor->name, (gdouble) values[i]);
  return FALSE;
}

static gboolean
write_block (Writer *writer, const gchar *path, const Mt3Tensor *tensor,
    gsize n, GError **error)
{
  gboolean half = writer->what->dtype == MT3_DTYPE_F16;
  gsize bytes = n * mt3_dtype_size (writer->what->dtype);

  if (half && !to_halves (writer->values, writer->halves, n))
    return overflow_error (tensor, writer->values, n, error);
  if (!write_all (writer->fd,
          half ? (gconstpointer) writer->halves : writer->values, bytes))
    return io_error (path, error);
  writer->done += bytes;
  if (writer->what->progress != NULL)
    writer->what->progress (
        writer->done, writer->total, writer->what->user_data);
  return TRUE;
}

/* Block by block, each of whole rows or of a part of one row. */
static gboolean
write_tensor (
    Writer *writer, const gchar *path, const Mt3Tensor *tensor, GError **error)
{
  gboolean vector = tensor->n_dims < 2;
  gsize rows = vector ? 1 : tensor->shape[0];
  gsize columns = vector ? tensor->shape[0] : tensor->shape[1];
  gsize wide = MIN (columns, BLOCK_ELEMENTS);
  gsize high = MAX (1, BLOCK_ELEMENTS / MAX (1, wide));

  if (wide < columns)
    high = 1;
  for (gsize row = 0; row < rows; row += high) {
    gsize n_rows = MIN (high, rows - row);

    for (gsize column = 0; column < columns; column += wide) {
      gsize n_columns = MIN (wide, columns - column);

      mt3_tensor_read_block (
          tensor, row, n_rows, column, n_columns, writer->values);
      if (!write_block (writer, path, tensor, n_rows * n_columns, error))
        return FALSE;
    }
  }
  return TRUE;
}

static gboolean
write_contents (Writer *writer, const gchar *path, GError **error)
{
  g_autoptr (GString) header = build_header (writer->what, &writer->total);

  if (!write_all (writer->fd, header->str, header->len))
    return io_error (path, error);
  for (guint i = 0; i < writer->what->n_tensors; i++)
    if (!write_tensor (writer, path, &writer->what->tensors[i], error))
      return FALSE;
  return TRUE;
}

/* Renaming would put a file in the place of a device or of a link. */
gchar *
mt3_safetensors_output (const gchar *path, GError **error)
{
  const gchar *reason = "it is a broken link";
  struct stat found;
  gchar *file;

  if (lstat (path, &found) != 0)
    return g_strdup (path);
  file = realpath (path, NULL);
  if (file != NULL && g_file_test (file, G_FILE_TEST_IS_REGULAR))
    return file;
  if (file != NULL)
    reason = "it is not a file";
  g_set_error (
      error, MT3_ERROR, MT3_ERROR_IO, "cannot write %s: %s", path, reason);
  g_free (file);
  return NULL;
}

/* A rename is only safe on disk once its folder is. */
static void
sync_folder (const gchar *folder)
{
  int fd = open (folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

  if (fd >= 0) {
    (void) fsync (fd);
    (void) close (fd);
  }
}

/* Whole, and on the disk. */
static gboolean
write_file (
    int fd, const gchar *path, const Mt3SafetensorsWrite *what, GError **error)
{
  Writer writer = {.what = what, .fd = fd};
  gboolean written;

  writer.values = g_new (gfloat, BLOCK_ELEMENTS);
  writer.halves = g_new (guint16, BLOCK_ELEMENTS);
  written = write_contents (&writer, path, error) &&
            (fsync (fd) == 0 || io_error (path, error));
  g_free (writer.values);
  g_free (writer.halves);
  return written;
}

static gboolean
give_name (int fd, const gchar *name)
{
  g_autofree gchar *unnamed = g_strdup_printf ("/proc/self/fd/%d", fd);

  return linkat (AT_FDCWD, unnamed, AT_FDCWD, name, AT_SYMLINK_FOLLOW) == 0;
}

/* A file without a name goes with a process that is killed. Not every file
 * system has such, or lets them get a name once they are whole: then it is
 * written with one. */
static gboolean
write_temporary (const gchar *folder, const gchar *temporary, const gchar *path,
    const Mt3SafetensorsWrite *what, GError **error)
{
  int fd = open (folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
  gboolean written, named;

  if (fd >= 0) {
    written = write_file (fd, path, what, error);
    named = written && give_name (fd, temporary);
    (void) close (fd);
    if (named || !written)
      return written;
  }
  fd = open (temporary, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0666);
  if (fd < 0)
    return io_error (path, error);
  written = write_file (fd, path, what, error);
  (void) close (fd);
  if (!written)
    (void) g_unlink (temporary);
  return written;
}

gboolean
mt3_safetensors_write (
    const gchar *path, const Mt3SafetensorsWrite *what, GError **error)
{
  g_autofree gchar *file = mt3_safetensors_output (path, error);
  g_autofree gchar *name = g_strdup_printf (".mt3-model-%08x", g_random_int ());
  g_autofree gchar *folder = NULL, *temporary = NULL;

  if (file == NULL)
    return FALSE;
  folder = g_path_get_dirname (file);
  temporary = g_build_filename (folder, name, NULL);
  if (!write_temporary (folder, temporary, path, what, error))
    return FALSE;
  if (g_rename (temporary, file) != 0) {
    io_error (path, error);
    (void) g_unlink (temporary);
    return FALSE;
  }
  sync_folder (folder);
  return TRUE;
}
