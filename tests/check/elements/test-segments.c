/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Silence, time and segments.
 */
#include "element-fixture.h"

GST_START_TEST (a_gap_event_is_silence)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  const gint windows[] = {0, 2, -1};

  fixture_push_windows (&fixture, 1, 0);
  gst_harness_push_event (fixture.harness,
      gst_event_new_gap (fixture_windows_time (1), fixture_windows_time (1)));
  fixture_push_windows (&fixture, 1, fixture_windows_time (2));
  fixture_check_finish (&fixture, 0, windows);
}

GST_END_TEST

GST_START_TEST (a_long_gap_costs_nothing)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  const gint windows[] = {0, 1000000, -1};
  GstClockTime later = fixture_windows_time (1000000);

  fixture_push_windows (&fixture, 1, 0);
  gst_harness_push_event (
      fixture.harness, gst_event_new_gap (fixture_windows_time (1),
                           later - fixture_windows_time (1)));
  fixture_push_windows (&fixture, 1, later);
  fixture_check_finish (&fixture, 0, windows);
  fail_unless (script_n_windows () < 6);
}

GST_END_TEST

GST_START_TEST (missing_time_is_silence)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  const gint windows[] = {0, 3, -1};
  GstBuffer *buffer =
      fixture_buffer (0.5f, SCRIPT_WINDOW, fixture_windows_time (3));

  fixture_push_windows (&fixture, 1, 0);
  GST_BUFFER_FLAG_SET (buffer, GST_BUFFER_FLAG_DISCONT);
  gst_harness_push (fixture.harness, buffer);
  fixture_check_finish (&fixture, 0, windows);
}

GST_END_TEST

GST_START_TEST (segments_follow_each_other)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  const gint windows[] = {0, 1, -1};
  GstSegment segment;

  fixture_push_windows (&fixture, 1, 0);
  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.start = segment.time = 50 * GST_SECOND;
  segment.base = fixture_windows_time (1);
  gst_harness_push_event (fixture.harness, gst_event_new_segment (&segment));
  fixture_push_windows (&fixture, 1, 50 * GST_SECOND);
  fixture_check_finish (&fixture, 0, windows);
}

GST_END_TEST

GST_START_TEST (audio_outside_of_the_segment_is_not_heard)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  const gint windows[] = {0, -1};
  GstSegment segment;

  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.start = fixture_windows_time (2);
  segment.stop = fixture_windows_time (3);
  gst_harness_push_event (fixture.harness, gst_event_new_segment (&segment));
  fixture_push_windows (&fixture, 5, 0);
  fixture_check_finish (&fixture, 0, windows);
}

GST_END_TEST

GST_START_TEST (a_segment_in_bytes_is_an_error)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  GstSegment segment;

  gst_segment_init (&segment, GST_FORMAT_BYTES);
  gst_harness_push_event (fixture.harness, gst_event_new_segment (&segment));
  fixture_expect_error (
      &fixture, GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT, "bytes");
}

GST_END_TEST

GST_START_TEST (a_segment_backwards_is_an_error)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  GstSegment segment;

  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.rate = -1.0;
  segment.stop = GST_SECOND;
  gst_harness_push_event (fixture.harness, gst_event_new_segment (&segment));
  fixture_expect_error (
      &fixture, GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT, "rate -1");
}

GST_END_TEST

/* It comes again with each buffer, until it is accepted. */
GST_START_TEST (a_segment_that_is_refused_is_one_error)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  GstSegment segment;
  GstMessage *message;

  gst_segment_init (&segment, GST_FORMAT_BYTES);
  gst_harness_push_event (fixture.harness, gst_event_new_segment (&segment));
  for (guint i = 0; i < 3; i++)
    fail_unless (fixture_push_windows (&fixture, 1, 0) != GST_FLOW_OK);
  fixture_expect_error (
      &fixture, GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT, "bytes");
  message = gst_bus_pop_filtered (fixture.bus, GST_MESSAGE_ERROR);
  fail_unless (message == NULL);
}

GST_END_TEST

GST_START_TEST (the_format_may_change_in_the_middle)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  const gint windows[] = {0, 1, 2, -1};
  GstBuffer *buffer;

  fixture_push_windows (&fixture, 1, 0);
  gst_harness_set_src_caps_str (fixture.harness,
      "audio/x-raw, format = S16LE, rate = 32000, channels = 2, "
      "channel-mask = (bitmask) 3, layout = interleaved");
  buffer = gst_buffer_new_allocate (NULL, 2 * SCRIPT_WINDOW * 4, NULL);
  gst_buffer_memset (buffer, 0, 0x11, -1);
  GST_BUFFER_PTS (buffer) = fixture_windows_time (1);
  fail_unless_equals_int (
      gst_harness_push (fixture.harness, buffer), GST_FLOW_OK);
  gst_harness_set_src_caps_str (fixture.harness, FIXTURE_CAPS);
  fixture_push_windows (&fixture, 1, fixture_windows_time (2));
  fixture_check_finish (&fixture, 0, windows);
}

GST_END_TEST

/* Segments that upstream says are done: an application waits for that, and
 * plays the next. */

static void
push_segment (Fixture *fixture, GstClockTime start, GstClockTime stop)
{
  GstSegment segment;

  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.flags = GST_SEGMENT_FLAG_SEGMENT;
  segment.start = segment.time = start;
  segment.stop = stop;
  gst_harness_push_event (fixture->harness, gst_event_new_segment (&segment));
}

/* A window and a half in a segment that ends there. */
static void
push_cut_window (Fixture *fixture, GstClockTime start)
{
  GstClockTime stop = start + fixture_windows_time (3) / 2;

  push_segment (fixture, start, stop);
  fixture_push_windows (fixture, 2, start);
  gst_harness_push_event (fixture->harness,
      gst_event_new_segment_done (GST_FORMAT_TIME, (gint64) stop));
}

/* What came out, a word each: "+60" an onset, "-60" its end, segments with
 * their start in ms. */
static GstPadProbeReturn
write_down (GstPad *pad, GstPadProbeInfo *info, gpointer words)
{
  GstMt3NoteMeta *meta;
  const GstSegment *segment;

  if (GST_PAD_PROBE_INFO_TYPE (info) & GST_PAD_PROBE_TYPE_BUFFER) {
    meta = gst_buffer_get_mt3_note_meta (GST_PAD_PROBE_INFO_BUFFER (info));
    if (meta)
      g_string_append_printf (words, "%c%u ",
          GST_CLOCK_TIME_IS_VALID (meta->note.end) ? '-' : '+',
          meta->note.pitch);
  } else if (GST_EVENT_TYPE (info->data) == GST_EVENT_SEGMENT) {
    gst_event_parse_segment (GST_PAD_PROBE_INFO_EVENT (info), &segment);
    g_string_append_printf (words, "segment %" G_GUINT64_FORMAT " ",
        GST_TIME_AS_MSECONDS (segment->start));
  } else if (GST_EVENT_TYPE (info->data) == GST_EVENT_SEGMENT_DONE) {
    g_string_append (words, "done ");
  }
  return GST_PAD_PROBE_OK;
}

static Fixture
new_with_events (GString *words)
{
  Fixture fixture = fixture_new ("scripted");

  gst_pad_add_probe (fixture.harness->sinkpad,
      GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM,
      write_down, words, NULL);
  gst_harness_set_sink_caps_str (fixture.harness, "audio/x-midi-event");
  gst_harness_set_src_caps_str (fixture.harness, FIXTURE_CAPS);
  g_string_truncate (words, 0);

  return fixture;
}

/* Those of the window that it cuts, too, even of notes that sound. */
GST_START_TEST (a_segment_is_done_after_its_notes)
{
  g_autoptr (GString) words = g_string_new (NULL);
  g_auto (Fixture) fixture = new_with_events (words);

  script.sustain = __i__;
  push_cut_window (&fixture, 0);
  gst_event_unref (fixture_wait_event (&fixture, GST_EVENT_SEGMENT_DONE));
  fail_unless_equals_string (words->str, "segment 0 +60 -60 +61 -61 done ");
}

GST_END_TEST

/* However soon they are there; the last note of the first ends after it. */
GST_START_TEST (the_next_segment_comes_after_the_one_that_is_done)
{
  g_autoptr (GString) words = g_string_new (NULL);
  g_auto (Fixture) fixture = new_with_events (words);

  script_set_hold_decode (TRUE);
  push_cut_window (&fixture, 0);
  push_cut_window (&fixture, GST_SECOND);
  script_set_hold_decode (FALSE);
  gst_harness_push_event (fixture.harness, gst_event_new_eos ());
  gst_event_unref (fixture_wait_event (&fixture, GST_EVENT_EOS));
  fail_unless_equals_string (words->str,
      "segment 0 +60 -60 +61 -61 done segment 1000 +60 -60 +61 -61 done ");
}

GST_END_TEST

/* The second segment begins a window, and a window and a half later. */
GST_START_TEST (one_file_has_the_notes_of_all_segments)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  g_autoptr (GPtrArray) notes = NULL;
  static const guint onsets_ms[] = {50, 300, 384 + 50, 384 + 300};

  push_cut_window (&fixture, 0);
  push_cut_window (&fixture, GST_SECOND);
  notes = fixture_finish (&fixture);
  fail_unless_equals_int (notes->len, G_N_ELEMENTS (onsets_ms));
  for (guint i = 0; i < notes->len; i++) {
    const GstMt3Note *note = g_ptr_array_index (notes, i);

    fail_unless_equals_int (note->id, i + 1);
    fail_unless_equals_clocktime (note->onset, onsets_ms[i] * GST_MSECOND);
  }
}

GST_END_TEST

GST_START_TEST (a_segment_without_audio_is_done_at_once)
{
  g_autoptr (GString) words = g_string_new (NULL);
  g_auto (Fixture) fixture = new_with_events (words);

  push_segment (&fixture, 0, GST_SECOND);
  gst_harness_push_event (fixture.harness,
      gst_event_new_segment_done (GST_FORMAT_TIME, GST_SECOND));
  gst_harness_push_event (fixture.harness, gst_event_new_eos ());
  gst_event_unref (fixture_wait_event (&fixture, GST_EVENT_EOS));
  fail_unless_equals_string (words->str, "segment 0 done ");
}

GST_END_TEST

/* It was done of a segment that the flush took away. */
GST_START_TEST (a_flush_forgets_what_is_done)
{
  g_autoptr (GString) words = g_string_new (NULL);
  g_auto (Fixture) fixture = new_with_events (words);

  script_set_hold_decode (TRUE);
  push_cut_window (&fixture, 0);
  gst_harness_push_event (fixture.harness, gst_event_new_flush_start ());
  script_set_hold_decode (FALSE);
  gst_harness_push_event (fixture.harness, gst_event_new_flush_stop (TRUE));
  g_string_truncate (words, 0);
  push_segment (&fixture, GST_SECOND, GST_CLOCK_TIME_NONE);
  fixture_push_windows (&fixture, 1, GST_SECOND);
  gst_harness_push_event (fixture.harness, gst_event_new_eos ());
  gst_event_unref (fixture_wait_event (&fixture, GST_EVENT_EOS));
  fail_unless_equals_string (words->str, "segment 1000 +60 -60 ");
}

GST_END_TEST

static Suite *
segments_suite (void)
{
  Suite *suite = suite_create ("segments");
  TCase *tcase = tcase_create ("general");

  tcase_add_checked_fixture (tcase, fixture_setup, fixture_teardown);
  tcase_add_test (tcase, a_gap_event_is_silence);
  tcase_add_test (tcase, a_long_gap_costs_nothing);
  tcase_add_test (tcase, missing_time_is_silence);
  tcase_add_test (tcase, segments_follow_each_other);
  tcase_add_test (tcase, audio_outside_of_the_segment_is_not_heard);
  tcase_add_test (tcase, a_segment_in_bytes_is_an_error);
  tcase_add_test (tcase, a_segment_backwards_is_an_error);
  tcase_add_test (tcase, a_segment_that_is_refused_is_one_error);
  tcase_add_test (tcase, the_format_may_change_in_the_middle);
  tcase_add_loop_test (tcase, a_segment_is_done_after_its_notes, 0, 2);
  tcase_add_test (tcase, the_next_segment_comes_after_the_one_that_is_done);
  tcase_add_test (tcase, one_file_has_the_notes_of_all_segments);
  tcase_add_test (tcase, a_segment_without_audio_is_done_at_once);
  tcase_add_test (tcase, a_flush_forgets_what_is_done);
  suite_add_tcase (suite, tcase);

  return suite;
}

GST_CHECK_MAIN (segments);
