/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Another model while audio flows.
 */
#include "element-fixture.h"

/* The engine of "scripted" plays from pitch 60 on, SCRIPT_LOW from 36. */

static void
set_model (Fixture *fixture, const gchar *model_file)
{
  g_object_set (fixture->element, "model-file", model_file, NULL);
}

/* Until the element has the engine that it opens as the @n-th. */
static void
wait_loaded (Fixture *fixture, guint n)
{
  GstProgressType type;

  while (n > 0) {
    GstMessage *message = fixture_wait (fixture, GST_MESSAGE_PROGRESS);
    g_autofree gchar *code = NULL;

    gst_message_parse_progress (message, &type, &code, NULL);
    if (g_str_equal (code, "load") && type == GST_PROGRESS_TYPE_COMPLETE)
      n--;
    gst_message_unref (message);
  }
}

/* Swaps and waits until a window that is pushed will be the new model's: the
 * message comes a moment before. */
static void
swap (Fixture *fixture, const gchar *model_file)
{
  g_autofree gchar *name = NULL;

  set_model (fixture, model_file);
  do {
    g_autoptr (GstStructure) stats = NULL;

    g_usleep (1000);
    g_free (name);
    g_object_get (fixture->element, "stats", &stats, NULL);
    name = g_strdup (gst_structure_get_string (stats, "device-description"));
  } while (g_strcmp0 (name, model_file) != 0);
}

static void
check_note (GPtrArray *notes, guint i, guint pitch, GstClockTime onset,
    GstClockTime duration)
{
  const GstMt3Note *note = g_ptr_array_index (notes, i);

  fail_unless_equals_int (note->id, i + 1);
  fail_unless_equals_int (note->pitch, pitch);
  fail_unless_equals_clocktime (note->onset, onset);
  fail_unless_equals_clocktime (note->end, onset + duration);
}

GST_START_TEST (the_next_windows_are_the_new_models)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  g_autoptr (GPtrArray) notes = NULL;

  fixture_push_windows (&fixture, 2, 0);
  swap (&fixture, SCRIPT_LOW);
  /* The third window begins before the model is seen, at its end. */
  fixture_push_windows (&fixture, 3, fixture_windows_time (2));
  notes = fixture_finish (&fixture);
  fail_unless_equals_int (notes->len, 5);
  for (guint i = 0; i < 5; i++)
    check_note (notes, i, (i < 3 ? 60 : 36) + i,
        (i * 256 / 10 * 10 + 50) * GST_MSECOND, 100 * GST_MSECOND);
}

GST_END_TEST

/* The same samples as without: nothing is lost, doubled or cut elsewhere. */
GST_START_TEST (every_sample_goes_to_one_of_them)
{
  static const gchar *models[] = {SCRIPT_LOW, "scripted"};
  const guint n_buffers = 40, size = 1500;
  g_auto (Fixture) fixture = fixture_new_playing ();
  g_autoptr (GPtrArray) notes = NULL;
  g_autofree gfloat *heard = NULL;

  for (guint i = 0; i < n_buffers; i++) {
    if (i % 9 == 8)
      swap (&fixture, models[i / 9 % 2]);
    gst_harness_push (fixture.harness,
        fixture_buffer (i + 1, size,
            gst_util_uint64_scale (i * size, GST_SECOND, SCRIPT_RATE)));
  }
  notes = fixture_finish (&fixture);
  heard = script_samples (n_buffers * size);
  for (guint i = 0; i < n_buffers * size; i++)
    fail_unless (heard[i] == (gfloat) (i / size + 1));
  fail_unless_equals_int (
      script_n_windows (), n_buffers * size / SCRIPT_WINDOW + 1);
  fail_unless_equals_int (notes->len, script_n_windows ());
}

GST_END_TEST

GST_START_TEST (notes_go_on_where_the_windows_agree)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  g_autoptr (GPtrArray) notes = NULL;

  script.sustain = TRUE;
  gst_harness_push (fixture.harness, fixture_buffer (0.5f, 1000, 0));
  swap (&fixture, SCRIPT_LOW);
  gst_harness_push (fixture.harness,
      fixture_buffer (
          0.5f, 7000, gst_util_uint64_scale (1000, GST_SECOND, SCRIPT_RATE)));
  notes = fixture_finish (&fixture);
  fail_unless_equals_int (notes->len, 2);
  /* The new model's first window, told to begin at 0.25 s, ends it by not
   * declaring it; nothing else does, at 0.256 s. */
  check_note (notes, 0, 60, 50 * GST_MSECOND, 200 * GST_MSECOND);
  check_note (notes, 1, 37, 300 * GST_MSECOND, 10 * GST_MSECOND);
}

GST_END_TEST

/* 5000 samples at 16 kHz are a window and 904 samples; then windows of 0.512 s
 * at 8 kHz begin. */
GST_START_TEST (other_windows_begin_where_the_old_ones_are_cut)
{
  const GstClockTime first = gst_util_uint64_scale (5000, GST_SECOND, 16000);
  g_auto (Fixture) fixture = fixture_new_playing ();
  g_autoptr (GPtrArray) notes = NULL;

  script.sustain = TRUE;
  gst_harness_push (fixture.harness, fixture_buffer (0.5f, 5000, 0));
  swap (&fixture, SCRIPT_SLOW);
  fixture_push_windows (&fixture, 3, first);
  notes = fixture_finish (&fixture);
  fail_unless_equals_int (notes->len, 4);
  check_note (notes, 0, 60, 50 * GST_MSECOND, 200 * GST_MSECOND);
  check_note (notes, 1, 61, 300 * GST_MSECOND, first - 300 * GST_MSECOND);
  check_note (notes, 2, 36, first + 50 * GST_MSECOND, (510 - 50) * GST_MSECOND);
  check_note (notes, 3, 37, first + 560 * GST_MSECOND, 10 * GST_MSECOND);
}

GST_END_TEST

/* And back again, and once more before any audio came in between. */
GST_START_TEST (one_model_may_follow_another_at_once)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  g_autoptr (GPtrArray) notes = NULL;

  fixture_push_windows (&fixture, 1, 0);
  swap (&fixture, SCRIPT_SLOW);
  swap (&fixture, SCRIPT_LOW);
  swap (&fixture, SCRIPT_SLOW);
  fixture_push_windows (&fixture, 2, fixture_windows_time (1));
  swap (&fixture, SCRIPT_LOW);
  fixture_push_windows (&fixture, 1, fixture_windows_time (3));
  notes = fixture_finish (&fixture);
  fail_unless_equals_int (notes->len, 3);
  check_note (notes, 0, 60, 50 * GST_MSECOND, 100 * GST_MSECOND);
  check_note (notes, 1, 36, (256 + 50) * GST_MSECOND, 100 * GST_MSECOND);
  check_note (notes, 2, 36, (768 + 50) * GST_MSECOND, 100 * GST_MSECOND);
}

GST_END_TEST

GST_START_TEST (live_events_go_on)
{
  g_auto (Fixture) fixture = fixture_new ("scripted");
  GstClockTime last = 0;
  guint n = 0;

  gst_harness_set_live (fixture.harness, TRUE);
  gst_harness_set_sink_caps_str (fixture.harness, "audio/x-midi-event");
  gst_harness_set_src_caps_str (fixture.harness, FIXTURE_CAPS);
  fixture_push_windows (&fixture, 2, 0);
  swap (&fixture, SCRIPT_SLOW);
  fixture_push_windows (&fixture, 4, fixture_windows_time (2));
  gst_harness_push_event (fixture.harness, gst_event_new_eos ());
  gst_event_unref (fixture_wait_event (&fixture, GST_EVENT_EOS));
  while (gst_harness_buffers_in_queue (fixture.harness) > 0) {
    GstBuffer *buffer = gst_harness_pull (fixture.harness);

    fail_unless (GST_BUFFER_PTS (buffer) >= last);
    last = GST_BUFFER_PTS (buffer);
    n += gst_buffer_get_mt3_note_meta (buffer) != NULL;
    gst_buffer_unref (buffer);
  }
  fail_unless_equals_int (n % 2, 0);
  fail_unless (n >= 2 * 4);
}

GST_END_TEST

GST_START_TEST (audio_does_not_wait_for_the_new_model)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  const gint windows[] = {0, 1, 2, 3, 4, -1};
  g_autoptr (GPtrArray) notes = NULL;

  fixture_push_windows (&fixture, 1, 0);
  script_set_hold_open (TRUE);
  set_model (&fixture, SCRIPT_LOW);
  script_wait_opening (1);
  fixture_push_windows (&fixture, 4, fixture_windows_time (1));
  notes = fixture_finish (&fixture);
  fixture_check_notes (notes, 0, windows);
  script_set_hold_open (FALSE);
}

GST_END_TEST

GST_START_TEST (a_model_that_fails_changes_nothing)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  const gint windows[] = {0, 1, 2, -1};
  g_autoptr (GPtrArray) notes = NULL;
  g_autoptr (GError) error = NULL;
  GstMessage *message;

  fixture_push_windows (&fixture, 1, 0);
  set_model (&fixture, SCRIPT_MISSING);
  message = fixture_wait (&fixture, GST_MESSAGE_WARNING);
  gst_message_parse_warning (message, &error, NULL);
  fail_unless (g_error_matches (
      error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NOT_FOUND));
  fail_unless (strstr (error->message, SCRIPT_MISSING) != NULL);
  gst_message_unref (message);
  fixture_push_windows (&fixture, 2, fixture_windows_time (1));
  notes = fixture_finish (&fixture);
  fixture_check_notes (notes, 0, windows);
  fail_unless (gst_bus_pop_filtered (fixture.bus, GST_MESSAGE_ERROR) == NULL);
}

GST_END_TEST

GST_START_TEST (a_change_of_mind_keeps_the_model)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  const gint windows[] = {0, 1, 2, -1};
  g_autoptr (GPtrArray) notes = NULL;

  fixture_push_windows (&fixture, 1, 0);
  wait_loaded (&fixture, 1);
  script_set_hold_open (TRUE);
  set_model (&fixture, SCRIPT_LOW);
  script_wait_opening (1);
  set_model (&fixture, "scripted");
  script_set_hold_open (FALSE);
  script_wait_opened (2);
  fixture_push_windows (&fixture, 2, fixture_windows_time (1));
  notes = fixture_finish (&fixture);
  fixture_check_notes (notes, 0, windows);
}

GST_END_TEST

GST_START_TEST (the_old_engine_goes_when_its_windows_are_done)
{
  g_auto (Fixture) fixture = fixture_new_playing ();

  fixture_push_windows (&fixture, 1, 0);
  swap (&fixture, SCRIPT_LOW);
  fixture_push_windows (&fixture, 2, fixture_windows_time (1));
  fixture_wait_windows (&fixture, 3);
  g_mutex_lock (&script.lock);
  while (script.n_engines > 1)
    g_cond_wait (&script.changed, &script.lock);
  g_mutex_unlock (&script.lock);
}

GST_END_TEST

GST_START_TEST (a_flush_forgets_the_models_before)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  g_autoptr (GPtrArray) notes = NULL;
  GstSegment segment;

  fixture_push_windows (&fixture, 2, 0);
  swap (&fixture, SCRIPT_SLOW);
  fixture_push_windows (&fixture, 2, fixture_windows_time (2));
  gst_harness_push_event (fixture.harness, gst_event_new_flush_start ());
  gst_harness_push_event (fixture.harness, gst_event_new_flush_stop (TRUE));
  gst_segment_init (&segment, GST_FORMAT_TIME);
  gst_harness_push_event (fixture.harness, gst_event_new_segment (&segment));
  fixture_push_windows (&fixture, 1, 0);
  notes = fixture_finish (&fixture);
  fail_unless_equals_int (notes->len, 1);
  check_note (notes, 0, 36, 50 * GST_MSECOND, 100 * GST_MSECOND);
}

GST_END_TEST

/* Every loop another order of models and moments. */
GST_START_TEST (any_model_at_any_moment)
{
  static const gchar *models[] = {
      "scripted", SCRIPT_LOW, SCRIPT_SLOW, SCRIPT_MISSING};
  g_autoptr (GRand) rand = g_rand_new_with_seed (__i__);
  GstElement *pipeline = gst_parse_launch (
      "audiotestsrc samplesperbuffer=1000 num-buffers=3000 wave=white-noise ! "
      "audio/x-raw, rate=44100, channels=2 ! "
      "mt3transcribe name=mt3 model-file=scripted ! queue ! "
      "fakesink sync=false",
      NULL);
  GstElement *mt3 = gst_bin_get_by_name (GST_BIN (pipeline), "mt3");

  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  for (guint i = 0; i < 30; i++) {
    if (g_rand_int_range (rand, 0, 6) == 0)
      gst_element_seek_simple (
          pipeline, GST_FORMAT_TIME, GST_SEEK_FLAG_FLUSH, 0);
    g_object_set (
        mt3, "model-file", models[g_rand_int_range (rand, 0, 4)], NULL);
    g_usleep (g_rand_int_range (rand, 0, 3000));
  }
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (mt3);
  gst_object_unref (pipeline);
}

GST_END_TEST

static Suite *
model_swap_suite (void)
{
  Suite *suite = suite_create ("model-swap");
  TCase *tcase = tcase_create ("general");

  tcase_add_checked_fixture (tcase, fixture_setup, fixture_teardown);
  tcase_add_test (tcase, the_next_windows_are_the_new_models);
  tcase_add_test (tcase, every_sample_goes_to_one_of_them);
  tcase_add_test (tcase, notes_go_on_where_the_windows_agree);
  tcase_add_test (tcase, other_windows_begin_where_the_old_ones_are_cut);
  tcase_add_test (tcase, one_model_may_follow_another_at_once);
  tcase_add_test (tcase, live_events_go_on);
  tcase_add_test (tcase, audio_does_not_wait_for_the_new_model);
  tcase_add_test (tcase, a_model_that_fails_changes_nothing);
  tcase_add_test (tcase, a_change_of_mind_keeps_the_model);
  tcase_add_test (tcase, the_old_engine_goes_when_its_windows_are_done);
  tcase_add_test (tcase, a_flush_forgets_the_models_before);
  tcase_add_loop_test (tcase, any_model_at_any_moment, 0, 10);
  suite_add_tcase (suite, tcase);

  return suite;
}

GST_CHECK_MAIN (model_swap);
