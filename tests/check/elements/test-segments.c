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
  suite_add_tcase (suite, tcase);

  return suite;
}

GST_CHECK_MAIN (segments);
