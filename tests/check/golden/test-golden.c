/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Real recordings through all stages of the library, with the published
 * checkpoint: every token and every note as the float32 reference has them.
 *
 * usage: test-golden [CLIP...]   (none: all clips)
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "engine/engine.h"
#include "golden-clip.h"
#include "notes/note-decoder.h"

static GPtrArray *directories; /* of the clips to test */
static Mt3Engine *engine;

/* What the library made of a clip. */
typedef struct {
  GPtrArray *transcripts;
  Mt3NoteDecoder *decoder;
} Outcome;

static void
open_engine (void)
{
  g_autofree gchar *model =
      g_build_filename (g_getenv ("MT3_SHARED"), "mt3-checkpoint", NULL);
  Mt3EngineOptions options = {
      .model_file = model,
      .device = MT3_DEVICE_CPU,
      .precision = MT3_PRECISION_EXACT,
  };
  g_autoptr (GError) error = NULL;

  engine = mt3_engine_open (&options, &error);
  g_assert_no_error (error);
}

static void
close_engine (void)
{
  mt3_engine_unref (engine);
}

typedef struct {
  const GoldenClip *clip;
  Mt3Stream *stream;
} Feed;

static gpointer
feed_clip (gpointer data)
{
  Feed *feed = data;
  const gfloat *samples = feed->clip->samples;
  gsize left = feed->clip->n_samples;
  g_autoptr (Mt3Windower) windower =
      mt3_windower_new (mt3_engine_config (engine), NULL);
  Mt3Window *window;

  while (left > 0) {
    gsize taken = mt3_windower_push (windower, samples, left);

    samples += taken;
    left -= taken;
    if ((window = mt3_windower_take (windower)) != NULL)
      mt3_stream_push (feed->stream, window, NULL);
  }
  mt3_stream_push (feed->stream, mt3_windower_finish (windower), NULL);
  mt3_stream_finish (feed->stream);
  return NULL;
}

static Outcome
transcribe (const GoldenClip *clip)
{
  const Mt3Decoding greedy = MT3_DECODING_GREEDY;
  g_autoptr (Mt3Stream) stream = mt3_stream_new (engine, &greedy, 0);
  Feed feed = {clip, stream};
  GThread *feeder = g_thread_new ("feeder", feed_clip, &feed);
  g_autoptr (GError) error = NULL;
  Mt3Transcript *transcript;
  Outcome outcome = {
      g_ptr_array_new_with_free_func ((GDestroyNotify) mt3_transcript_free),
      mt3_note_decoder_new (mt3_engine_config (engine), NULL, NULL),
  };

  while (mt3_stream_pop (stream, &transcript, &error) == MT3_FLOW_OK) {
    mt3_note_decoder_push (outcome.decoder, transcript->index, transcript->last,
        transcript->tokens, transcript->log_probs, transcript->n_tokens,
        transcript->ended);
    g_ptr_array_add (outcome.transcripts, transcript);
  }
  g_assert_no_error (error);
  mt3_note_decoder_finish (outcome.decoder);
  g_thread_join (feeder);
  return outcome;
}

static void
outcome_clear (Outcome *outcome)
{
  g_ptr_array_unref (outcome->transcripts);
  mt3_note_decoder_free (outcome->decoder);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Outcome, outcome_clear)

static void
check_tokens (const GoldenClip *clip, const Outcome *outcome)
{
  ck_assert_uint_eq (outcome->transcripts->len, clip->windows->len);
  for (guint w = 0; w < clip->windows->len; w++) {
    const GArray *expected = g_ptr_array_index (clip->windows, w);
    const Mt3Transcript *found = g_ptr_array_index (outcome->transcripts, w);
    guint n = MIN (expected->len, found->n_tokens);

    for (guint t = 0; t < n; t++) {
      guint16 token = g_array_index (expected, guint16, t);

      ck_assert_msg (found->tokens[t] == token,
          "%s: window %u, token %u is %u instead of %u", clip->name, w, t,
          found->tokens[t], token);
    }
    ck_assert_msg (found->n_tokens == expected->len,
        "%s: window %u has %u tokens instead of %u", clip->name, w,
        found->n_tokens, expected->len);
    ck_assert_int_eq (found->last, w + 1 == clip->windows->len);
  }
}

/* The files round times, which are multiples of 10 ms but for the last bits of
 * a double. */
static gboolean
same_time (gdouble a, gdouble b)
{
  return fabs (a - b) < 1e-9;
}

static gboolean
same_note (const Mt3Note *a, const Mt3Note *b)
{
  return same_time (a->onset, b->onset) && same_time (a->offset, b->offset) &&
         a->pitch == b->pitch && a->velocity == b->velocity &&
         a->program == b->program && !a->is_drum == !b->is_drum;
}

static void
check_notes (const GoldenClip *clip, const Outcome *outcome)
{
  Mt3NoteDecoderStats stats;
  guint n_notes;
  const Mt3Note *notes = mt3_note_decoder_notes (outcome->decoder, &n_notes);

  ck_assert_uint_eq (n_notes, clip->notes->len);
  for (guint i = 0; i < n_notes; i++) {
    const Mt3Note *expected = &g_array_index (clip->notes, Mt3Note, i);
    const Mt3Note *found = &notes[i];

    ck_assert_msg (same_note (found, expected),
        "%s: note %u is %g..%g key %u instead of %g..%g key %u", clip->name, i,
        found->onset, found->offset, found->pitch, expected->onset,
        expected->offset, expected->pitch);
  }
  mt3_note_decoder_get_stats (outcome->decoder, &stats);
  ck_assert_uint_eq (stats.invalid_events, clip->invalid_events);
  ck_assert_uint_eq (stats.dropped_events, clip->dropped_events);
}

START_TEST (test_tokens_and_notes_are_the_references)
{
  g_autoptr (GoldenClip) clip =
      golden_clip_read (g_ptr_array_index (directories, _i));
  g_auto (Outcome) outcome = transcribe (clip);

  check_tokens (clip, &outcome);
  check_notes (clip, &outcome);
}
END_TEST

/* Keeps the clips named on the command line. */
static void
select_clips (gchar **names)
{
  for (guint i = directories->len; names[0] != NULL && i-- > 0;) {
    g_autofree gchar *name =
        g_path_get_basename (g_ptr_array_index (directories, i));

    if (!g_strv_contains ((const gchar *const *) names, name))
      g_ptr_array_remove_index (directories, i);
  }
}

int
main (int argc, char **argv)
{
  Suite *suite = suite_create ("golden");
  TCase *tcase = tcase_create ("golden");
  SRunner *runner;
  gint failed;

  directories = golden_clip_list ();
  if (directories == NULL) {
    g_print ("skipped: MT3_SHARED names no directory with eval/ and "
             "mt3-checkpoint/\n");
    return 77;
  }
  select_clips (argv + 1);

  runner = srunner_create (suite);
  suite_add_tcase (suite, tcase);
  /* One engine for all clips, so no process of its own for each. */
  srunner_set_fork_status (runner, CK_NOFORK);
  tcase_add_unchecked_fixture (tcase, open_engine, close_engine);
  tcase_add_loop_test (
      tcase, test_tokens_and_notes_are_the_references, 0, directories->len);
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  g_ptr_array_unref (directories);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
