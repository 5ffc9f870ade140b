/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The properties of mt3transcribe that say which notes are written.
 */
#include "element-fixture.h"
#include "vocabulary/event-order.h"

/* Decoding */

GST_START_TEST (by_default_tokens_are_those_of_the_reference)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  Mt3Decoding greedy = MT3_DECODING_GREEDY;

  fixture_push_windows (&fixture, 1, 0);
  fixture_wait_windows (&fixture, 1);
  greedy.max_tokens = 1024;
  fail_unless (mt3_decoding_equal (script_last_decoding (), &greedy));
}

GST_END_TEST

GST_START_TEST (draws_are_as_the_properties_say)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  const Mt3Decoding expected = {
      12, 0.5f, 7, 0.25f, G_GUINT64_CONSTANT (18446744073709551615), NULL, 1};

  g_object_set (fixture.element, "max-tokens", 12, "temperature", 0.5, "top-k",
      7, "top-p", 0.25, "seed", expected.seed, NULL);
  fixture_push_windows (&fixture, 1, 0);
  fixture_wait_windows (&fixture, 1);
  fail_unless (mt3_decoding_equal (script_last_decoding (), &expected));
}

GST_END_TEST

GST_START_TEST (a_change_counts_for_the_windows_that_begin_later)
{
  g_auto (Fixture) fixture = fixture_new_playing ();

  fixture_push_windows (&fixture, 1, 0);
  fixture_wait_windows (&fixture, 1);
  g_object_set (
      fixture.element, "temperature", 0.5, "programs", "violin", NULL);
  fixture_push_windows (&fixture, 1, fixture_windows_time (1));
  fixture_wait_windows (&fixture, 2);
  fail_unless (script_last_decoding ()->temperature == 0.5f);
  fail_unless (script_last_decoding ()->allowed != NULL);
  g_object_set (fixture.element, "temperature", 0.0, "programs", NULL, NULL);
  fixture_push_windows (&fixture, 1, fixture_windows_time (2));
  fixture_wait_windows (&fixture, 3);
  fail_unless (script_last_decoding ()->temperature == 0.0f);
  fail_unless (script_last_decoding ()->allowed == NULL);
}

GST_END_TEST

static const gchar *ordered_programs[] = {NULL, "drums", "violin"};

GST_START_TEST (texts_keep_the_order_that_the_model_says)
{
  g_auto (Fixture) fixture = fixture_new (SCRIPT_ORDERED);
  const Mt3Decoding *decoding;
  Mt3TokenOrder expected;
  Mt3Config config;

  gst_harness_set_src_caps_str (fixture.harness, FIXTURE_CAPS);
  g_object_set (fixture.element, "programs", ordered_programs[__i__], NULL);
  fixture_push_windows (&fixture, 1, 0);
  fixture_wait_windows (&fixture, 1);
  mt3_config_init_multitrack (&config);
  config.window_frames = SCRIPT_WINDOW / config.hop_length;
  config.ordered_events = TRUE;
  decoding = script_last_decoding ();
  expected = mt3_event_order (&config, decoding->allowed);
  fail_unless (memcmp (&decoding->order, &expected, sizeof expected) == 0);
}

GST_END_TEST

/* Beam search */

GST_START_TEST (searches_are_as_the_properties_say)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  Mt3Decoding expected = MT3_DECODING_GREEDY;

  g_object_set (fixture.element, "beam-size", 3, "beam-alpha", 0.25, NULL);
  fixture_push_windows (&fixture, 1, 0);
  fixture_wait_windows (&fixture, 1);
  expected.max_tokens = 1024;
  expected.beam_size = 3;
  expected.beam_alpha = 0.25f;
  fail_unless (mt3_decoding_equal (script_last_decoding (), &expected));
}

GST_END_TEST

GST_START_TEST (the_engine_is_opened_for_as_many_beams)
{
  GstElement *element = gst_element_factory_make ("mt3transcribe", NULL);

  g_object_set (element, "model-file", "scripted", "beam-size", 3, NULL);
  gst_element_set_state (element, GST_STATE_READY);
  script_wait_opened (1);
  fail_unless_equals_int (script.options.beam_size, 3);
  gst_element_set_state (element, GST_STATE_NULL);
  gst_object_unref (element);
}

GST_END_TEST

GST_START_TEST (a_search_at_a_temperature_is_an_error)
{
  GstElement *element = gst_element_factory_make ("mt3transcribe", NULL);
  Fixture fixture = {.element = element, .bus = gst_bus_new ()};

  gst_element_set_bus (element, fixture.bus);
  g_object_set (element, "beam-size", 4, "temperature", 0.5, NULL);
  gst_element_set_state (element, GST_STATE_READY);
  fail_unless_equals_int (gst_element_set_state (element, GST_STATE_PAUSED),
      GST_STATE_CHANGE_FAILURE);
  fixture_expect_error (&fixture, GST_RESOURCE_ERROR,
      GST_RESOURCE_ERROR_SETTINGS, "Set temperature to 0, or beam-size to 1");
  gst_element_set_state (element, GST_STATE_NULL);
  gst_element_set_bus (element, NULL);
  gst_object_unref (element);
  gst_object_unref (fixture.bus);
}

GST_END_TEST

GST_START_TEST (while_it_searches_a_temperature_is_a_warning_and_no_more)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  g_autoptr (GError) error = NULL;
  GstMessage *message;

  g_object_set (fixture.element, "beam-size", 4, NULL);
  g_object_set (fixture.element, "temperature", 0.5, NULL);
  message = fixture_wait (&fixture, GST_MESSAGE_WARNING);
  gst_message_parse_warning (message, &error, NULL);
  fail_unless (
      g_error_matches (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS));
  gst_message_unref (message);

  fixture_push_windows (&fixture, 1, 0);
  fixture_wait_windows (&fixture, 1);
  fail_unless_equals_int (script_last_decoding ()->beam_size, 4);
  fail_unless (script_last_decoding ()->temperature == 0.0f);
}

GST_END_TEST

/* Instruments */

static const struct {
  const gchar *programs;
  guint n_notes, n_invalid;
} allowed[] = {
    {"violin", 2, 0},
    {"Strings,drums", 2, 0},
    {"", 2, 0},
    /* Not even when the model begins a note without naming a program. */
    {"guitar,drums", 0, 4},
    {"drums", 0, 0},
};

GST_START_TEST (only_allowed_instruments_are_written)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  g_autoptr (GPtrArray) notes = NULL;

  g_object_set (fixture.element, "programs", allowed[__i__].programs, NULL);
  fixture_push_windows (&fixture, 2, 0);
  notes = fixture_finish (&fixture);
  fail_unless_equals_int (notes->len, allowed[__i__].n_notes);
  fail_unless_equals_uint64 (
      fixture_get_stat (&fixture, "invalid"), allowed[__i__].n_invalid);
}

GST_END_TEST

static const struct {
  const gchar *property, *value, *words;
} not_understood[] = {
    {"programs", "piano,kazoo", "programs: 'kazoo' is no instrument"},
    {"program-map", "kazoo=0", "program-map: 'kazoo' is no instrument"},
};

GST_START_TEST (instruments_that_are_not_understood_are_an_error)
{
  GstElement *element = gst_element_factory_make ("mt3transcribe", NULL);
  Fixture fixture = {.element = element, .bus = gst_bus_new ()};
  g_autofree gchar *value = NULL;

  gst_element_set_bus (element, fixture.bus);
  g_object_set (element, not_understood[__i__].property,
      not_understood[__i__].value, NULL);
  fail_unless_equals_int (gst_element_set_state (element, GST_STATE_READY),
      GST_STATE_CHANGE_SUCCESS);
  fail_unless_equals_int (gst_element_set_state (element, GST_STATE_PAUSED),
      GST_STATE_CHANGE_FAILURE);
  fixture_expect_error (&fixture, GST_RESOURCE_ERROR,
      GST_RESOURCE_ERROR_SETTINGS, not_understood[__i__].words);
  g_object_get (element, not_understood[__i__].property, &value, NULL);
  fail_unless_equals_string (value, not_understood[__i__].value);

  g_object_set (element, not_understood[__i__].property, NULL, NULL);
  fail_unless (gst_element_set_state (element, GST_STATE_PAUSED) !=
               GST_STATE_CHANGE_FAILURE);
  gst_element_set_state (element, GST_STATE_NULL);
  gst_element_set_bus (element, NULL);
  gst_object_unref (element);
  gst_object_unref (fixture.bus);
}

GST_END_TEST

GST_START_TEST (while_playing_they_are_a_warning_and_change_nothing)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  g_autoptr (GPtrArray) notes = NULL;
  g_autoptr (GError) error = NULL;
  GstMessage *message;

  g_object_set (fixture.element, "programs", "violin", NULL);
  g_object_set (fixture.element, "programs", "kazoo", NULL);
  message = fixture_wait (&fixture, GST_MESSAGE_WARNING);
  gst_message_parse_warning (message, &error, NULL);
  fail_unless (
      g_error_matches (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS));
  gst_message_unref (message);

  fixture_push_windows (&fixture, 1, 0);
  notes = fixture_finish (&fixture);
  fail_unless_equals_int (notes->len, 1);
  fail_unless (script_last_decoding ()->allowed != NULL);
}

GST_END_TEST

/* Silence */

static const struct {
  gdouble threshold;
  guint n_decoded; /* of two windows with a peak of -6.02 dBFS and the end */
  guint n_notes;
} thresholds[] = {
    {-200.0, 3, 2},
    {-6.1, 2, 2},
    {-6.0, 0, 0},
    {0.0, 0, 0},
};

GST_START_TEST (windows_below_the_threshold_are_not_decoded)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  g_autoptr (GPtrArray) notes = NULL;

  g_object_set (
      fixture.element, "silence-threshold", thresholds[__i__].threshold, NULL);
  fixture_push_windows (&fixture, 2, 0);
  notes = fixture_finish (&fixture);
  fail_unless_equals_int (notes->len, thresholds[__i__].n_notes);
  fail_unless_equals_int (script_n_windows (), thresholds[__i__].n_decoded);
  fail_unless_equals_uint64 (fixture_get_stat (&fixture, "windows"), 3);
  fail_unless_equals_uint64 (fixture_get_stat (&fixture, "silent-windows"),
      3 - thresholds[__i__].n_decoded);
}

GST_END_TEST

GST_START_TEST (silence_between_windows_keeps_their_times)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  g_autoptr (GPtrArray) notes = NULL;
  const gint windows[] = {0, 2, -1};

  g_object_set (fixture.element, "silence-threshold", -60.0, NULL);
  fixture_push_windows (&fixture, 1, 0);
  gst_harness_push (fixture.harness,
      fixture_buffer (0.0001f, SCRIPT_WINDOW, fixture_windows_time (1)));
  fixture_push_windows (&fixture, 1, fixture_windows_time (2));
  notes = fixture_finish (&fixture);
  fixture_check_notes (notes, 0, windows);
}

GST_END_TEST

/* After decoding */

GST_START_TEST (programs_become_others)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  g_autoptr (GPtrArray) notes = NULL;

  g_object_set (fixture.element, "program-map", "strings=cello", NULL);
  fixture_push_windows (&fixture, 1, 0);
  fixture_wait_windows (&fixture, 1);
  g_object_set (fixture.element, "program-map", "violin=off", NULL);
  fixture_push_windows (&fixture, 1, fixture_windows_time (1));
  notes = fixture_finish (&fixture);
  fail_unless_equals_int (notes->len, 1);
  fail_unless_equals_int (
      ((GstMt3Note *) g_ptr_array_index (notes, 0))->program, 42);
}

GST_END_TEST

static const guint velocities[][2] = {{0, 127}, {1, 1}, {64, 64}, {127, 127}};

GST_START_TEST (velocity_is_as_decoded_or_fixed)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  g_autoptr (GPtrArray) notes = NULL;

  g_object_set (fixture.element, "velocity", velocities[__i__][0], NULL);
  fixture_push_windows (&fixture, 1, 0);
  notes = fixture_finish (&fixture);
  fail_unless_equals_int (
      ((GstMt3Note *) g_ptr_array_index (notes, 0))->velocity,
      velocities[__i__][1]);
}

GST_END_TEST

/* The notes last 100 ms. */
static const struct {
  GstClockTime min_duration;
  guint n_notes;
} durations[] = {
    {0, 2},
    {100 * GST_MSECOND, 2},
    {101 * GST_MSECOND, 0},
};

GST_START_TEST (shorter_notes_are_left_out)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  g_autoptr (GPtrArray) notes = NULL;

  g_object_set (
      fixture.element, "min-duration", durations[__i__].min_duration, NULL);
  fixture_push_windows (&fixture, 2, 0);
  notes = fixture_finish (&fixture);
  fail_unless_equals_int (notes->len, durations[__i__].n_notes);
}

GST_END_TEST

/* Live */

static Fixture
new_live_fixture (GstClockTime min_duration)
{
  Fixture fixture = fixture_new ("scripted");

  g_object_set (
      fixture.element, "min-duration", min_duration, "midi-ticks", FALSE, NULL);
  gst_harness_set_live (fixture.harness, TRUE);
  gst_harness_set_sink_caps_str (fixture.harness, "audio/x-midi-event");
  gst_harness_set_src_caps_str (fixture.harness, FIXTURE_CAPS);
  return fixture;
}

static GstClockTime
latency_with (GstClockTime min_duration)
{
  g_auto (Fixture) fixture = new_live_fixture (min_duration);
  GstClockTime latency;

  gst_harness_set_upstream_latency (fixture.harness, 0);
  fixture_push_windows (&fixture, 1, 0);
  latency = gst_harness_query_latency (fixture.harness);
  return latency;
}

GST_START_TEST (the_shortest_note_adds_to_the_latency)
{
  fail_unless_equals_clocktime (
      latency_with (70 * GST_MSECOND), latency_with (0) + 70 * GST_MSECOND);
}

GST_END_TEST

static void
check_next_message (Fixture *fixture, guint8 status, GstClockTime pts)
{
  GstBuffer *buffer = gst_harness_pull (fixture->harness);
  guint8 found;

  fail_unless (buffer != NULL);
  gst_buffer_extract (buffer, 0, &found, 1);
  fail_unless_equals_int (found & 0xf0, status);
  fail_unless_equals_clocktime (GST_BUFFER_PTS (buffer), pts);
  gst_buffer_unref (buffer);
}

/* The notes last from 50 ms to where the next window begins, at 250 ms. */
GST_START_TEST (an_onset_waits_until_its_note_has_lasted)
{
  g_auto (Fixture) fixture = new_live_fixture (195 * GST_MSECOND);

  script.sustain = TRUE;
  fixture_push_windows (&fixture, 1, 0);
  fixture_wait_windows (&fixture, 1);
  fail_unless_equals_int (gst_harness_buffers_received (fixture.harness), 0);
  fixture_push_windows (&fixture, 1, fixture_windows_time (1));
  check_next_message (&fixture, 0xc0, 50 * GST_MSECOND);
  check_next_message (&fixture, 0x90, 50 * GST_MSECOND);
  gst_harness_push_event (fixture.harness, gst_event_new_eos ());
  check_next_message (&fixture, 0x80, 250 * GST_MSECOND);
}

GST_END_TEST

static Suite *
notes_suite (void)
{
  Suite *suite = suite_create ("notes");
  TCase *tcase = tcase_create ("general");

  tcase_add_checked_fixture (tcase, fixture_setup, fixture_teardown);
  tcase_add_test (tcase, by_default_tokens_are_those_of_the_reference);
  tcase_add_test (tcase, draws_are_as_the_properties_say);
  tcase_add_test (tcase, a_change_counts_for_the_windows_that_begin_later);
  tcase_add_loop_test (tcase, texts_keep_the_order_that_the_model_says, 0,
      G_N_ELEMENTS (ordered_programs));
  tcase_add_test (tcase, searches_are_as_the_properties_say);
  tcase_add_test (tcase, the_engine_is_opened_for_as_many_beams);
  tcase_add_test (tcase, a_search_at_a_temperature_is_an_error);
  tcase_add_test (
      tcase, while_it_searches_a_temperature_is_a_warning_and_no_more);
  tcase_add_loop_test (
      tcase, only_allowed_instruments_are_written, 0, G_N_ELEMENTS (allowed));
  tcase_add_loop_test (tcase, instruments_that_are_not_understood_are_an_error,
      0, G_N_ELEMENTS (not_understood));
  tcase_add_test (tcase, while_playing_they_are_a_warning_and_change_nothing);
  tcase_add_loop_test (tcase, windows_below_the_threshold_are_not_decoded, 0,
      G_N_ELEMENTS (thresholds));
  tcase_add_test (tcase, silence_between_windows_keeps_their_times);
  tcase_add_test (tcase, programs_become_others);
  tcase_add_loop_test (
      tcase, velocity_is_as_decoded_or_fixed, 0, G_N_ELEMENTS (velocities));
  tcase_add_loop_test (
      tcase, shorter_notes_are_left_out, 0, G_N_ELEMENTS (durations));
  tcase_add_test (tcase, the_shortest_note_adds_to_the_latency);
  tcase_add_test (tcase, an_onset_waits_until_its_note_has_lasted);
  suite_add_tcase (suite, tcase);

  return suite;
}

GST_CHECK_MAIN (notes);
