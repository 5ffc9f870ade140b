/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "checkpoint/archive.h"
#include "checkpoint/pth.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/t5x.h"
#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* A Hugging Face config.json is 1 to 2 kB. */
#define CONFIG_MAX_BYTES (64 * 1024)

Mt3Archive *
mt3_archive_new (const gchar *path)
{
  Mt3Archive *archive = g_new0 (Mt3Archive, 1);

  archive->path = g_strdup (path);
  archive->entries = g_array_new (FALSE, TRUE, sizeof (Mt3ArchiveEntry));
  archive->metadata =
      g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  archive->strings = g_string_chunk_new (4096);
  archive->buffers =
      g_ptr_array_new_with_free_func ((GDestroyNotify) g_bytes_unref);
  return archive;
}

void
mt3_archive_free (Mt3Archive *archive)
{
  g_free (archive->path);
  g_free (archive->config_json);
  g_array_unref (archive->entries);
  g_hash_table_unref (archive->metadata);
  g_string_chunk_free (archive->strings);
  g_ptr_array_unref (archive->buffers);
  g_free (archive);
}

void
mt3_archive_keep (Mt3Archive *archive, GBytes *buffer)
{
  g_ptr_array_add (archive->buffers, buffer);
}

void
mt3_archive_add (Mt3Archive *archive, const gchar *name,
    const gchar *dtype_name, guint n_dims, const gsize *shape,
    gconstpointer data)
{
  Mt3ArchiveEntry entry = {
      .tensor =
          {
              .name = g_string_chunk_insert (archive->strings, name),
              .n_dims = n_dims,
              .data = data,
          },
      .dtype_name = g_string_chunk_insert_const (archive->strings, dtype_name),
  };
  gsize stride = 1;

  entry.readable = mt3_dtype_from_name (dtype_name, &entry.tensor.dtype);
  for (guint i = n_dims; i-- > 0;) {
    entry.tensor.shape[i] = shape[i];
    entry.tensor.stride[i] = stride;
    stride *= shape[i];
  }
  g_array_append_val (archive->entries, entry);
}

gboolean
mt3_dtype_from_name (const gchar *name, Mt3DType *dtype)
{
  static const struct {
    const gchar *name;
    Mt3DType dtype;
  } names[] = {
      {"F32", MT3_DTYPE_F32},
      {"float32", MT3_DTYPE_F32},
      {"<f4", MT3_DTYPE_F32},
      {"F16", MT3_DTYPE_F16},
      {"float16", MT3_DTYPE_F16},
      {"<f2", MT3_DTYPE_F16},
      {"BF16", MT3_DTYPE_BF16},
      {"bfloat16", MT3_DTYPE_BF16},
  };

  for (gsize i = 0; i < G_N_ELEMENTS (names); i++) {
    if (g_str_equal (name, names[i].name)) {
      *dtype = names[i].dtype;
      return TRUE;
    }
  }
  return FALSE;
}

gboolean
mt3_array_bytes (guint n_dims, const gsize *shape, gsize element, gsize *bytes)
{
  gsize n = element;

  for (guint i = 0; i < n_dims; i++)
    if (!g_size_checked_mul (&n, n, shape[i]))
      return FALSE;
  *bytes = n;
  return n <= MT3_ARRAY_MAX_BYTES;
}

gchar *
mt3_shape_to_string (guint n_dims, const gsize *shape)
{
  GString *text = g_string_new (n_dims == 0 ? "scalar" : NULL);

  for (guint i = 0; i < n_dims; i++)
    g_string_append_printf (
        text, "%s%" G_GSIZE_FORMAT, i > 0 ? " x " : "", shape[i]);
  return g_string_free (text, FALSE);
}

/* To open a pipe is to wait for somebody who writes into it, and a device may
 * do anything. */
static int
open_file (const gchar *path, GError **error)
{
  int fd, reason;

  if (g_file_test (path, G_FILE_TEST_EXISTS) &&
      !g_file_test (path, G_FILE_TEST_IS_REGULAR)) {
    g_set_error (error, MT3_ERROR, MT3_ERROR_FORMAT, "%s is not a file", path);
    return -1;
  }
  fd = open (path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd >= 0)
    return fd;
  reason = errno;
  g_set_error (error, MT3_ERROR,
      reason == ENOENT ? MT3_ERROR_NOT_FOUND : MT3_ERROR_IO,
      "%s cannot be opened: %s", path, g_strerror (reason));
  return -1;
}

GBytes *
mt3_archive_map_file (const gchar *path, GError **error)
{
  g_autoptr (GError) cause = NULL;
  g_autoptr (GMappedFile) file = NULL;
  int fd = open_file (path, error);

  if (fd < 0)
    return NULL;
  file = g_mapped_file_new_from_fd (fd, FALSE, &cause);
  (void) close (fd);
  if (file != NULL)
    return g_mapped_file_get_bytes (file);
  g_set_error (error, MT3_ERROR,
      g_error_matches (cause, G_FILE_ERROR, G_FILE_ERROR_NOMEM)
          ? MT3_ERROR_MEMORY
          : MT3_ERROR_IO,
      "%s: %s", path, cause->message);
  return NULL;
}

/* Bounded before it is read: the folder may hold anything of this name. */
static gchar *
read_config (const gchar *folder)
{
  g_autofree gchar *path = g_build_filename (folder, "config.json", NULL);
  g_autoptr (GBytes) file = mt3_archive_map_file (path, NULL);

  if (file == NULL || g_bytes_get_size (file) > CONFIG_MAX_BYTES)
    return NULL;
  return g_strndup (g_bytes_get_data (file, NULL), g_bytes_get_size (file));
}

/* What a file has made up is in messages, too. */
static void
make_printable (GError *error)
{
  gchar *message = mt3_printable (error->message);

  g_free (error->message);
  error->message = message;
}

Mt3Archive *
mt3_archive_read (const gchar *path, GError **error)
{
  g_autofree gchar *base = g_path_get_basename (path);
  g_autofree gchar *folder = NULL;
  g_autoptr (GError) failure = NULL;
  gboolean is_folder = g_file_test (path, G_FILE_TEST_IS_DIR);
  Mt3Archive *archive;

  if (!g_file_test (path, G_FILE_TEST_EXISTS)) {
    g_set_error (error, MT3_ERROR, MT3_ERROR_NOT_FOUND,
        "%s does not exist: give a T5X checkpoint directory, a .safetensors or "
        "a .pth file",
        path);
    return NULL;
  }
  if (!is_folder && !g_file_test (path, G_FILE_TEST_IS_REGULAR)) {
    g_set_error (error, MT3_ERROR, MT3_ERROR_FORMAT,
        "%s is not a file but a pipe, a socket or a device: give a T5X "
        "checkpoint directory, a .safetensors or a .pth file",
        path);
    return NULL;
  }
  folder = is_folder ? g_strdup (path) : g_path_get_dirname (path);
  if (is_folder || g_str_equal (base, "checkpoint"))
    archive = mt3_t5x_read (folder, &failure);
  else if (mt3_pth_is_likely (path))
    archive = mt3_pth_read (path, &failure);
  else
    archive = mt3_safetensors_read (path, &failure);
  if (archive != NULL) {
    archive->config_json = read_config (folder);
    return archive;
  }
  make_printable (failure);
  g_propagate_error (error, g_steal_pointer (&failure));
  return NULL;
}
