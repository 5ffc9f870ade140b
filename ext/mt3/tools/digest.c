/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tools/digest.h"
#include "checkpoint/archive.h"
#include "error.h"

/* A T5X checkpoint has files, and folders of files. */
#define MAX_DEPTH 2

gchar *
mt3_digest_file (const gchar *path, GError **error)
{
  g_autoptr (GBytes) bytes = mt3_archive_map_file (path, error);

  if (bytes == NULL)
    return NULL;
  return g_compute_checksum_for_bytes (G_CHECKSUM_SHA256, bytes);
}

static gint
compare_names (gconstpointer a, gconstpointer b)
{
  return g_strcmp0 (*(gchar *const *) a, *(gchar *const *) b);
}

/* The names in a folder, sorted, or NULL. */
static GPtrArray *
list_folder (const gchar *folder, GError **error)
{
  g_autoptr (GError) cause = NULL;
  g_autoptr (GDir) dir = g_dir_open (folder, 0, &cause);
  GPtrArray *names;
  const gchar *name;

  if (dir == NULL) {
    g_set_error (error, MT3_ERROR, MT3_ERROR_IO, "%s", cause->message);
    return NULL;
  }
  names = g_ptr_array_new_with_free_func (g_free);
  while ((name = g_dir_read_name (dir)) != NULL)
    g_ptr_array_add (names, g_strdup (name));
  g_ptr_array_sort (names, compare_names);
  return names;
}

/* Appends the line of a file, or those of a folder's files. */
static gboolean
append_lines (GString *lines, const gchar *root, const gchar *relative,
    guint depth, GError **error)
{
  g_autofree gchar *path = g_build_filename (root, relative, NULL);
  g_autofree gchar *digest = NULL;
  g_autoptr (GPtrArray) names = NULL;

  if (!g_file_test (path, G_FILE_TEST_IS_DIR)) {
    if (g_str_equal (relative, MT3_DIGEST_LIST))
      return TRUE;
    digest = mt3_digest_file (path, error);
    if (digest == NULL)
      return FALSE;
    g_string_append_printf (lines, "%s  %s\n", digest, relative);
    return TRUE;
  }
  if (depth == MAX_DEPTH)
    return TRUE;
  names = list_folder (path, error);
  for (guint i = 0; names != NULL && i < names->len; i++) {
    const gchar *name = g_ptr_array_index (names, i);
    g_autofree gchar *next =
        depth == 0 ? g_strdup (name) : g_build_filename (relative, name, NULL);

    if (!append_lines (lines, root, next, depth + 1, error))
      return FALSE;
  }
  return names != NULL;
}

gchar *
mt3_digest_print (const gchar *path, GError **error)
{
  g_autoptr (GString) lines = g_string_new (NULL);
  gchar *digest;

  if (!g_file_test (path, G_FILE_TEST_IS_DIR)) {
    digest = mt3_digest_file (path, error);
    if (digest != NULL)
      g_print ("%s  %s\n", digest, path);
    return digest;
  }
  if (!append_lines (lines, path, "", 0, error))
    return NULL;
  g_print ("%s", lines->str);
  digest = g_compute_checksum_for_string (
      G_CHECKSUM_SHA256, lines->str, (gssize) lines->len);
  g_print ("%s  %s\n", digest, path);
  return digest;
}
