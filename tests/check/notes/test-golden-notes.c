/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The tokens of every evaluation clip give exactly its notes, in order, and
 * its counters. notes.json rounds times to 6 digits or fewer.
 */
#include "notes/note-decoder.h"

#include <check.h>
#include <json-glib/json-glib.h>
#include <math.h>
#include <stdlib.h>

#define SKIPPED 77

static const Mt3Config multitrack = {
    .sample_rate = 16000,
    .hop_length = 128,
    .window_frames = 256,
    .velocity_bins = 1,
    .ties = TRUE,
};

static GPtrArray *clips; /* folders with tokens.json and notes.json */

static void
find_clips (const gchar *shared, const gchar *group)
{
  g_autofree gchar *folder = g_build_filename (shared, "eval", group, NULL);
  g_autoptr (GDir) dir = g_dir_open (folder, 0, NULL);
  const gchar *name;

  while (dir && (name = g_dir_read_name (dir)) != NULL)
    g_ptr_array_add (clips, g_build_filename (folder, name, NULL));
}

static JsonObject *
load_json (JsonParser *parser, const gchar *folder, const gchar *name)
{
  g_autofree gchar *path = g_build_filename (folder, name, NULL);
  g_autoptr (GError) error = NULL;

  json_parser_load_from_file (parser, path, &error);
  ck_assert_msg (error == NULL, "%s", error ? error->message : "");
  return json_node_get_object (json_parser_get_root (parser));
}

static void
push_segment (
    Mt3NoteDecoder *decoder, guint index, gboolean last, JsonArray *tokens)
{
  guint n = json_array_get_length (tokens);
  g_autofree guint16 *ids = g_new (guint16, n);

  for (guint i = 0; i < n; i++)
    ids[i] = json_array_get_int_element (tokens, i);
  mt3_note_decoder_push (decoder, index, last, ids, NULL, n, TRUE);
}

static void
decode_clip (Mt3NoteDecoder *decoder, const gchar *folder)
{
  g_autoptr (JsonParser) parser = json_parser_new ();
  JsonArray *segments = json_object_get_array_member (
      load_json (parser, folder, "tokens.json"), "segments");
  guint n = json_array_get_length (segments);

  for (guint i = 0; i < n; i++) {
    JsonArray *segment = json_array_get_array_element (segments, i);
    push_segment (
        decoder, i, i + 1 == n, json_array_get_array_element (segment, 1));
  }
  mt3_note_decoder_finish (decoder);
}

/* [onset_s, offset_s, pitch, velocity, program, is_drum] */
static gboolean
same_note (const Mt3Note *note, JsonArray *golden)
{
  return fabs (note->onset - json_array_get_double_element (golden, 0)) <
             1e-6 &&
         fabs (note->offset - json_array_get_double_element (golden, 1)) <
             1e-6 &&
         note->pitch == json_array_get_int_element (golden, 2) &&
         note->velocity == json_array_get_int_element (golden, 3) &&
         note->program == json_array_get_int_element (golden, 4) &&
         note->is_drum == json_array_get_boolean_element (golden, 5);
}

START_TEST (test_tokens_of_a_clip_give_its_notes)
{
  const gchar *folder = g_ptr_array_index (clips, _i);
  g_autoptr (Mt3NoteDecoder) decoder =
      mt3_note_decoder_new (&multitrack, NULL, NULL);
  g_autoptr (JsonParser) parser = json_parser_new ();
  JsonObject *golden = load_json (parser, folder, "notes.json");
  JsonArray *expected = json_object_get_array_member (golden, "notes");
  Mt3NoteDecoderStats stats;
  guint n_notes;

  decode_clip (decoder, folder);
  const Mt3Note *notes = mt3_note_decoder_notes (decoder, &n_notes);
  ck_assert_uint_eq (n_notes, json_array_get_length (expected));
  for (guint i = 0; i < n_notes; i++)
    ck_assert_msg (
        same_note (&notes[i], json_array_get_array_element (expected, i)),
        "%s: note %u differs", folder, i);

  mt3_note_decoder_get_stats (decoder, &stats);
  ck_assert_uint_eq (stats.notes, n_notes);
  ck_assert_uint_eq (stats.invalid_events,
      json_object_get_int_member (golden, "invalid_events"));
  ck_assert_uint_eq (stats.dropped_events,
      json_object_get_int_member (golden, "dropped_events"));
}
END_TEST

int
main (void)
{
  const gchar *shared = g_getenv ("MT3_SHARED");
  gint failed;

  clips = g_ptr_array_new_with_free_func (g_free);
  if (shared) {
    find_clips (shared, "dev");
    find_clips (shared, "long");
  }
  if (clips->len == 0) {
    g_print ("skipped: no evaluation clips (MT3_SHARED)\n");
    return SKIPPED;
  }

  Suite *suite = suite_create ("golden notes");
  TCase *tcase = tcase_create ("golden notes");
  SRunner *runner = srunner_create (suite);

  suite_add_tcase (suite, tcase);
  tcase_add_loop_test (
      tcase, test_tokens_of_a_clip_give_its_notes, 0, clips->len);
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  g_ptr_array_unref (clips);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
