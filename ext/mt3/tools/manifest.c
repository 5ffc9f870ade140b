/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tools/manifest.h"
#include "error.h"
#include "published.h"
#include "tools/digest.h"

#include <string.h>

/* A T5X checkpoint has files, and folders of files. */
#define MAX_COMPONENTS 2

static void
file_free (gpointer data)
{
  Mt3ManifestFile *file = data;

  g_free (file->name);
  g_free (file->sha256);
  g_free (file);
}

/* The name comes from the network and becomes a path. */
static gboolean
is_safe (const gchar *name)
{
  g_auto (GStrv) components = g_strsplit (name, "/", -1);

  if (g_strv_length (components) > MAX_COMPONENTS)
    return FALSE;
  for (guint i = 0; components[i] != NULL; i++) {
    const gchar *component = components[i];

    if (component[0] == '\0' || g_str_equal (component, ".") ||
        g_str_equal (component, "..") ||
        component[strspn (
            component, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "._-")] != '\0')
      return FALSE;
  }
  return components[0] != NULL;
}

static gboolean
add_file (GPtrArray *files, const gchar *name, const gchar *sha256,
    const gchar *what, GError **error)
{
  Mt3ManifestFile *file;

  if (!mt3_is_sha256 (sha256) || !is_safe (name)) {
    g_set_error (error, MT3_ERROR, MT3_ERROR_FORMAT,
        "%s: expected a SHA-256 and the name of a file in the checkpoint, "
        "found \"%s  %s\"",
        what, sha256, name);
    return FALSE;
  }
  file = g_new (Mt3ManifestFile, 1);
  file->name = g_strdup (name);
  file->sha256 = g_ascii_strdown (sha256, -1);
  g_ptr_array_add (files, file);
  return TRUE;
}

GPtrArray *
mt3_manifest_parse (
    const gchar *text, gsize length, const gchar *what, GError **error)
{
  g_autoptr (GPtrArray) files = g_ptr_array_new_with_free_func (file_free);
  g_autofree gchar *copy = g_strndup (text, length);
  g_auto (GStrv) lines = g_strsplit (copy, "\n", -1);

  for (guint i = 0; lines[i] != NULL; i++) {
    /* sha256sum puts two spaces, or one and a star, before the name. */
    gchar *name = lines[i] + strcspn (lines[i], " ");

    if (lines[i][0] == '\0')
      continue;
    if (name[0] == ' ' && (name[1] == ' ' || name[1] == '*')) {
      *name = '\0';
      name += 2;
    }
    if (!add_file (files, name, lines[i], what, error))
      return NULL;
  }
  if (files->len == 0) {
    g_set_error (
        error, MT3_ERROR, MT3_ERROR_FORMAT, "%s: lists no files", what);
    return NULL;
  }
  return g_steal_pointer (&files);
}

GPtrArray *
mt3_manifest_of_file (const gchar *name, const gchar *sha256, GError **error)
{
  g_autoptr (GPtrArray) files = g_ptr_array_new_with_free_func (file_free);

  if (!add_file (files, name, sha256, "the URL", error))
    return NULL;
  return g_steal_pointer (&files);
}

GBytes *
mt3_manifest_published (void)
{
  return g_resource_lookup_data (published_get_resource (),
      "/gst-mt3/published.sha256", G_RESOURCE_LOOKUP_FLAGS_NONE, NULL);
}
