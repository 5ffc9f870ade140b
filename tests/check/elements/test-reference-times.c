/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What other clocks showed when the audio was captured, on live MIDI.
 */
#include "element-fixture.h"

#define NTP "timestamp/x-ntp"
#define PTP "timestamp/x-ptp"
#define EPOCH (3900000000 * GST_SECOND)

static Fixture
new_fixture (void)
{
  Fixture fixture = fixture_new ("scripted");

  gst_harness_set_sink_caps_str (fixture.harness, "audio/x-midi-event");
  gst_harness_set_src_caps_str (fixture.harness, FIXTURE_CAPS);
  return fixture;
}

static void
add_reference (GstBuffer *buffer, const gchar *clock, GstClockTime time)
{
  g_autoptr (GstCaps) caps = gst_caps_new_empty_simple (clock);

  gst_buffer_add_reference_timestamp_meta (
      buffer, caps, time, GST_CLOCK_TIME_NONE);
}

/* The time by @clock; NONE: not told. */
static GstClockTime
reference (GstBuffer *buffer, const gchar *clock)
{
  g_autoptr (GstCaps) caps = gst_caps_new_empty_simple (clock);
  GstReferenceTimestampMeta *meta =
      gst_buffer_get_reference_timestamp_meta (buffer, caps);

  return meta ? meta->timestamp : GST_CLOCK_TIME_NONE;
}

static void
push_window (Fixture *fixture, GstClockTime pts, GstClockTime ntp)
{
  GstBuffer *buffer = fixture_buffer (0.5f, SCRIPT_WINDOW, pts);

  if (GST_CLOCK_TIME_IS_VALID (ntp))
    add_reference (buffer, NTP, ntp);
  fail_unless_equals_int (
      gst_harness_push (fixture->harness, buffer), GST_FLOW_OK);
}

/* The next note-on. */
static GstBuffer *
pull_onset (Fixture *fixture)
{
  for (;;) {
    GstBuffer *buffer = gst_harness_pull (fixture->harness);
    guint8 status;

    fail_unless (buffer != NULL);
    gst_buffer_extract (buffer, 0, &status, 1);
    if ((status & 0xf0) == 0x90)
      return buffer;
    gst_buffer_unref (buffer);
  }
}

static void
check_next_onset (Fixture *fixture, GstClockTime ntp)
{
  GstBuffer *buffer = pull_onset (fixture);

  fail_unless_equals_clocktime (reference (buffer, NTP), ntp);
  gst_buffer_unref (buffer);
}

static void
finish (Fixture *fixture)
{
  gst_harness_push_event (fixture->harness, gst_event_new_eos ());
}

GST_START_TEST (an_onset_has_the_wall_clock_of_its_audio)
{
  g_auto (Fixture) fixture = new_fixture ();

  push_window (&fixture, GST_SECOND, EPOCH);
  finish (&fixture);
  check_next_onset (&fixture, EPOCH + 50 * GST_MSECOND);
}

GST_END_TEST

GST_START_TEST (each_buffer_of_audio_counts_from_itself)
{
  g_auto (Fixture) fixture = new_fixture ();
  GstClockTime window = fixture_windows_time (1);

  push_window (&fixture, 0, EPOCH);
  /* The clock was set in between. */
  push_window (&fixture, window, 2 * EPOCH);
  finish (&fixture);
  check_next_onset (&fixture, EPOCH + 50 * GST_MSECOND);
  check_next_onset (&fixture, 2 * EPOCH + 300 * GST_MSECOND - window);
}

GST_END_TEST

GST_START_TEST (audio_without_a_clock_gives_none)
{
  g_auto (Fixture) fixture = new_fixture ();

  push_window (&fixture, 0, EPOCH);
  push_window (&fixture, fixture_windows_time (1), GST_CLOCK_TIME_NONE);
  push_window (&fixture, fixture_windows_time (2), EPOCH);
  finish (&fixture);
  check_next_onset (&fixture, EPOCH + 50 * GST_MSECOND);
  check_next_onset (&fixture, GST_CLOCK_TIME_NONE);
  check_next_onset (
      &fixture, EPOCH + 560 * GST_MSECOND - fixture_windows_time (2));
}

GST_END_TEST

GST_START_TEST (all_clocks_are_told)
{
  g_auto (Fixture) fixture = new_fixture ();
  GstBuffer *buffer = fixture_buffer (0.5f, SCRIPT_WINDOW, 0);

  add_reference (buffer, NTP, EPOCH);
  add_reference (buffer, PTP, 2 * EPOCH);
  gst_harness_push (fixture.harness, buffer);
  finish (&fixture);
  buffer = pull_onset (&fixture);
  fail_unless_equals_clocktime (
      reference (buffer, NTP), EPOCH + 50 * GST_MSECOND);
  fail_unless_equals_clocktime (
      reference (buffer, PTP), 2 * EPOCH + 50 * GST_MSECOND);
  gst_buffer_unref (buffer);
}

GST_END_TEST

GST_START_TEST (clipped_audio_keeps_its_clock)
{
  g_auto (Fixture) fixture = new_fixture ();
  GstClockTime cut = fixture_windows_time (1);
  GstBuffer *buffer = fixture_buffer (0.5f, 2 * SCRIPT_WINDOW, 0);
  GstSegment segment;

  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.start = segment.time = cut;
  gst_harness_push_event (fixture.harness, gst_event_new_segment (&segment));
  add_reference (buffer, NTP, EPOCH);
  gst_harness_push (fixture.harness, buffer);
  finish (&fixture);
  check_next_onset (&fixture, EPOCH + cut + 50 * GST_MSECOND);
}

GST_END_TEST

/* As concat makes it of two recordings. */
GST_START_TEST (clocks_follow_a_change_of_segments)
{
  g_auto (Fixture) fixture = new_fixture ();
  GstClockTime window = fixture_windows_time (1);
  GstSegment segment;

  push_window (&fixture, 0, EPOCH);
  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.base = window;
  gst_harness_push_event (fixture.harness, gst_event_new_segment (&segment));
  push_window (&fixture, 0, 2 * EPOCH);
  finish (&fixture);
  check_next_onset (&fixture, EPOCH + 50 * GST_MSECOND);
  check_next_onset (&fixture, 2 * EPOCH + 300 * GST_MSECOND - window);
}

GST_END_TEST

GST_START_TEST (a_flush_forgets_the_clock)
{
  g_auto (Fixture) fixture = new_fixture ();
  GstSegment segment;

  push_window (&fixture, 0, EPOCH);
  gst_harness_push_event (fixture.harness, gst_event_new_flush_start ());
  gst_harness_push_event (fixture.harness, gst_event_new_flush_stop (TRUE));
  gst_segment_init (&segment, GST_FORMAT_TIME);
  gst_harness_push_event (fixture.harness, gst_event_new_segment (&segment));
  while (gst_harness_buffers_in_queue (fixture.harness) > 0)
    gst_buffer_unref (gst_harness_pull (fixture.harness));
  push_window (&fixture, 0, GST_CLOCK_TIME_NONE);
  finish (&fixture);
  check_next_onset (&fixture, GST_CLOCK_TIME_NONE);
}

GST_END_TEST

static Suite *
reference_times_suite (void)
{
  Suite *suite = suite_create ("reference-times");
  TCase *tcase = tcase_create ("reference-times");

  suite_add_tcase (suite, tcase);
  tcase_add_checked_fixture (tcase, fixture_setup, fixture_teardown);
  tcase_add_test (tcase, an_onset_has_the_wall_clock_of_its_audio);
  tcase_add_test (tcase, each_buffer_of_audio_counts_from_itself);
  tcase_add_test (tcase, audio_without_a_clock_gives_none);
  tcase_add_test (tcase, all_clocks_are_told);
  tcase_add_test (tcase, clipped_audio_keeps_its_clock);
  tcase_add_test (tcase, clocks_follow_a_change_of_segments);
  tcase_add_test (tcase, a_flush_forgets_the_clock);

  return suite;
}

GST_CHECK_MAIN (reference_times)
