/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "golden-clip.h"

#include <json-glib/json-glib.h>
#include <sndfile.h>

static void
list_directory (GPtrArray *clips, const gchar *group)
{
  g_autofree gchar *path =
      g_build_filename (g_getenv ("MT3_SHARED"), "eval", group, NULL);
  g_autoptr (GDir) dir = g_dir_open (path, 0, NULL);
  const gchar *name;

  while (dir != NULL && (name = g_dir_read_name (dir)) != NULL)
    g_ptr_array_add (clips, g_build_filename (path, name, NULL));
}

static gint
compare_names (gconstpointer a, gconstpointer b)
{
  return g_strcmp0 (*(gchar *const *) a, *(gchar *const *) b);
}

GPtrArray *
golden_clip_list (void)
{
  g_autoptr (GPtrArray) clips = g_ptr_array_new_with_free_func (g_free);

  if (g_getenv ("MT3_SHARED") == NULL)
    return NULL;
  list_directory (clips, "dev");
  list_directory (clips, "long");
  g_ptr_array_sort (clips, compare_names);
  return clips->len > 0 ? g_steal_pointer (&clips) : NULL;
}

static void
read_audio (GoldenClip *clip, const gchar *path)
{
  SF_INFO info = {0};
  SNDFILE *file = sf_open (path, SFM_READ, &info);

  if (file == NULL)
    g_error ("%s: %s", path, sf_strerror (NULL));
  g_assert_cmpint (info.samplerate, ==, 16000);
  g_assert_cmpint (info.channels, ==, 1);
  clip->n_samples = info.frames;
  clip->samples = g_new (gfloat, info.frames);
  g_assert_cmpint (
      sf_readf_float (file, clip->samples, info.frames), ==, info.frames);
  sf_close (file);
}

static JsonParser *
parse (const gchar *directory, const gchar *name)
{
  g_autofree gchar *path = g_build_filename (directory, name, NULL);
  JsonParser *parser = json_parser_new_immutable ();
  g_autoptr (GError) error = NULL;

  if (!json_parser_load_from_file (parser, path, &error))
    g_error ("%s: %s", path, error->message);
  return parser;
}

static void
read_tokens (GoldenClip *clip, const gchar *directory)
{
  g_autoptr (JsonParser) parser = parse (directory, "tokens.json");
  JsonObject *root = json_node_get_object (json_parser_get_root (parser));
  JsonArray *segments = json_object_get_array_member (root, "segments");

  for (guint i = 0; i < json_array_get_length (segments); i++) {
    JsonArray *segment = json_array_get_array_element (segments, i);
    JsonArray *ids = json_array_get_array_element (segment, 1);
    GArray *tokens = g_array_new (FALSE, FALSE, sizeof (guint16));

    for (guint t = 0; t < json_array_get_length (ids); t++) {
      guint16 token = json_array_get_int_element (ids, t);

      g_array_append_val (tokens, token);
    }
    g_ptr_array_add (clip->windows, tokens);
  }
}

static void
read_notes (GoldenClip *clip, const gchar *directory)
{
  g_autoptr (JsonParser) parser = parse (directory, "notes.json");
  JsonObject *root = json_node_get_object (json_parser_get_root (parser));
  JsonArray *notes = json_object_get_array_member (root, "notes");

  for (guint i = 0; i < json_array_get_length (notes); i++) {
    JsonArray *fields = json_array_get_array_element (notes, i);
    Mt3Note note = {
        .onset = json_array_get_double_element (fields, 0),
        .offset = json_array_get_double_element (fields, 1),
        .pitch = json_array_get_int_element (fields, 2),
        .velocity = json_array_get_int_element (fields, 3),
        .program = json_array_get_int_element (fields, 4),
        .is_drum = json_array_get_boolean_element (fields, 5),
    };

    g_array_append_val (clip->notes, note);
  }
  clip->invalid_events = json_object_get_int_member (root, "invalid_events");
  clip->dropped_events = json_object_get_int_member (root, "dropped_events");
}

GoldenClip *
golden_clip_read (const gchar *directory)
{
  GoldenClip *clip = g_new0 (GoldenClip, 1);
  g_autofree gchar *audio = g_build_filename (directory, "audio.flac", NULL);

  clip->name = g_path_get_basename (directory);
  clip->windows =
      g_ptr_array_new_with_free_func ((GDestroyNotify) g_array_unref);
  clip->notes = g_array_new (FALSE, FALSE, sizeof (Mt3Note));
  read_audio (clip, audio);
  read_tokens (clip, directory);
  read_notes (clip, directory);
  return clip;
}

void
golden_clip_free (GoldenClip *clip)
{
  g_free (clip->name);
  g_free (clip->samples);
  g_ptr_array_unref (clip->windows);
  g_array_unref (clip->notes);
  g_free (clip);
}
