/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/model-search.h"

#include "config.h"
#include "error.h"

#define MODEL_NAME "model.safetensors"

/* GLib's list of system directories often holds the installed one, too. */
static void
add_place (GPtrArray *places, const gchar *dir, const gchar *name)
{
  g_autofree gchar *place = g_build_filename (dir, name, NULL);

  if (!g_ptr_array_find_with_equal_func (places, place, g_str_equal, NULL))
    g_ptr_array_add (places, g_steal_pointer (&place));
}

static void
add_shared_place (GPtrArray *places, const gchar *data_dir, const gchar *name)
{
  g_autofree gchar *dir = g_build_filename (data_dir, "gst-mt3", NULL);

  add_place (places, dir, name);
}

GPtrArray *
mt3_model_places (const gchar *name)
{
  GPtrArray *places = g_ptr_array_new_with_free_func (g_free);

  add_shared_place (places, g_get_user_data_dir (), name);
  for (const gchar *const *dir = g_get_system_data_dirs (); *dir; dir++)
    add_shared_place (places, *dir, name);
  add_place (places, MT3_DATADIR, name);
  return places;
}

gchar *
mt3_model_search (const gchar *model_file, GError **error)
{
  const gchar *variable = g_getenv ("GST_MT3_MODEL");
  g_autoptr (GPtrArray) places = NULL;
  g_autofree gchar *list = NULL;

  if (model_file != NULL)
    return g_strdup (model_file);
  if (variable != NULL && variable[0] != '\0') {
    if (g_file_test (variable, G_FILE_TEST_EXISTS))
      return g_strdup (variable);
    g_set_error (error, MT3_ERROR, MT3_ERROR_NOT_FOUND,
        "GST_MT3_MODEL names %s, which does not exist: correct or unset it",
        variable);
    return NULL;
  }

  places = mt3_model_places (MODEL_NAME);
  for (guint i = 0; i < places->len; i++) {
    if (g_file_test (g_ptr_array_index (places, i), G_FILE_TEST_EXISTS))
      return g_strdup (g_ptr_array_index (places, i));
  }
  g_ptr_array_add (places, NULL);
  list = g_strjoinv (", ", (gchar **) places->pdata);
  g_set_error (error, MT3_ERROR, MT3_ERROR_NOT_FOUND,
      "no model found (looked at the environment variable GST_MT3_MODEL, %s): "
      "\"mt3-model fetch\" downloads and installs one; or name one with the "
      "property model-file or with GST_MT3_MODEL, or put one in one of these "
      "places",
      list);
  return NULL;
}
