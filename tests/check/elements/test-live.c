/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * mt3transcribe as an element of live pipelines: events out, in time, for ever.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "element-fixture.h"

#define EVENTS "audio/x-midi-event"

/* Longer than what a scripted window is said to take at first. */
#define SLOW (300 * 1000)

static Fixture
new_fixture (const gchar *sink_caps, gboolean live)
{
  Fixture fixture = fixture_new ("scripted");

  gst_harness_set_live (fixture.harness, live);
  gst_harness_set_sink_caps_str (fixture.harness, sink_caps);
  gst_harness_set_src_caps_str (fixture.harness, FIXTURE_CAPS);
  return fixture;
}

static gboolean
is_message (GstBuffer *buffer, guint8 kind)
{
  guint8 status;

  gst_buffer_extract (buffer, 0, &status, 1);
  return (status & 0xf0) == kind && status != 0xf9;
}

/* The next buffer of that kind (upper half of its status), past all others. */
static GstBuffer *
pull (Fixture *fixture, guint8 kind)
{
  for (;;) {
    GstBuffer *buffer = gst_harness_pull (fixture->harness);

    fail_unless (buffer != NULL);
    if (is_message (buffer, kind))
      return buffer;
    gst_buffer_unref (buffer);
  }
}

static void
check_next (Fixture *fixture, guint8 kind, guint pitch, GstClockTime pts)
{
  GstBuffer *buffer = pull (fixture, kind);
  guint8 bytes[3];

  gst_buffer_extract (buffer, 0, bytes, sizeof bytes);
  fail_unless_equals_int (bytes[1], pitch);
  fail_unless_equals_clocktime (GST_BUFFER_PTS (buffer), pts);
  gst_buffer_unref (buffer);
}

static void
check_next_note (Fixture *fixture, guint pitch, GstClockTime pts)
{
  check_next (fixture, 0x90, pitch, pts);
  check_next (fixture, 0x80, pitch, pts + 100 * GST_MSECOND);
}

static void
push_segment (Fixture *fixture, GstClockTime start, GstClockTime base)
{
  GstSegment segment;

  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.start = segment.time = start;
  segment.base = base;
  gst_harness_push_event (fixture->harness, gst_event_new_segment (&segment));
}

/* Negotiation */

static const struct {
  const gchar *sink_caps;
  const gchar *chosen;
} negotiations[] = {
    {"ANY", "audio/midi"},
    {"audio/midi", "audio/midi"},
    {EVENTS, EVENTS},
    {EVENTS "; text/plain", EVENTS},
};

GST_START_TEST (what_follows_chooses_the_output)
{
  g_auto (Fixture) fixture = new_fixture (negotiations[__i__].sink_caps, FALSE);
  GstCaps *caps, *expected;
  GstEvent *event;

  fixture_push_windows (&fixture, 1, 0);
  event = fixture_wait_event (&fixture, GST_EVENT_CAPS);
  gst_event_parse_caps (event, &caps);
  expected = gst_caps_from_string (negotiations[__i__].chosen);
  fail_unless (gst_caps_is_equal (caps, expected));
  gst_caps_unref (expected);
  gst_event_unref (event);
}

GST_END_TEST

/* Events */

GST_START_TEST (notes_come_while_the_audio_goes_on)
{
  g_auto (Fixture) fixture = new_fixture (EVENTS, FALSE);

  push_segment (&fixture, 5 * GST_SECOND, 0);
  fixture_push_windows (&fixture, 2, 7 * GST_SECOND);
  check_next_note (&fixture, 60, 7050 * GST_MSECOND);
  /* The second window begins at 0.256 s, rounded down to 10 ms. */
  check_next_note (&fixture, 61, 7300 * GST_MSECOND);
}

GST_END_TEST

GST_START_TEST (the_segment_in_time_and_its_seqnum_are_upstreams)
{
  g_auto (Fixture) fixture = new_fixture (EVENTS, FALSE);
  const GstSegment *told;
  GstSegment segment;
  GstEvent *in, *out;

  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.start = 3 * GST_SECOND;
  segment.time = 4 * GST_SECOND;
  segment.base = 5 * GST_SECOND;
  in = gst_event_new_segment (&segment);
  gst_harness_push_event (fixture.harness, gst_event_ref (in));
  fixture_push_windows (&fixture, 1, 3 * GST_SECOND);
  out = fixture_wait_event (&fixture, GST_EVENT_SEGMENT);
  gst_event_parse_segment (out, &told);
  fail_unless (gst_segment_is_equal (told, &segment));
  fail_unless_equals_int (
      gst_event_get_seqnum (out), gst_event_get_seqnum (in));
  gst_event_unref (in);
  gst_event_unref (out);
}

GST_END_TEST

/* Beside it another sink may wait with a queue that is shorter than a window.
 */
GST_START_TEST (live_sinks_preroll_before_a_window_is_through)
{
  g_auto (Fixture) fixture = new_fixture (EVENTS, TRUE);
  GstClockTime start, duration;
  GstEvent *gap;

  push_segment (&fixture, GST_SECOND, 0);
  gst_harness_push (
      fixture.harness, fixture_buffer (0.5f, SCRIPT_WINDOW / 2, GST_SECOND));
  gap = fixture_wait_event (&fixture, GST_EVENT_GAP);
  gst_event_parse_gap (gap, &start, &duration);
  fail_unless_equals_clocktime (start, GST_SECOND);
  gst_event_unref (gap);
}

GST_END_TEST

/* What they play first would be late. */
GST_START_TEST (sinks_of_a_file_preroll_with_a_message)
{
  g_auto (Fixture) fixture = new_fixture (EVENTS, FALSE);
  GstEvent *event;

  fixture_push_windows (&fixture, 2, 0);
  gst_buffer_unref (gst_harness_pull (fixture.harness));
  while ((event = gst_harness_try_pull_event (fixture.harness))) {
    fail_unless (GST_EVENT_TYPE (event) != GST_EVENT_GAP);
    gst_event_unref (event);
  }
}

GST_END_TEST

GST_START_TEST (the_end_ends_all_notes)
{
  g_auto (Fixture) fixture = new_fixture (EVENTS, FALSE);

  script.sustain = TRUE;
  gst_harness_push (
      fixture.harness, fixture_buffer (0.5f, SCRIPT_WINDOW / 2, 0));
  gst_harness_push_event (fixture.harness, gst_event_new_eos ());
  check_next (&fixture, 0x90, 60, 50 * GST_MSECOND);
  check_next (&fixture, 0x80, 60, 60 * GST_MSECOND);
  gst_event_unref (fixture_wait_event (&fixture, GST_EVENT_EOS));
}

GST_END_TEST

GST_START_TEST (a_flush_starts_the_events_over)
{
  g_auto (Fixture) fixture = new_fixture (EVENTS, TRUE);
  GstBuffer *buffer;

  fixture_push_windows (&fixture, 3, 0);
  gst_harness_push_event (fixture.harness, gst_event_new_flush_start ());
  while ((buffer = gst_harness_try_pull (fixture.harness)))
    gst_buffer_unref (buffer);
  gst_harness_push_event (fixture.harness, gst_event_new_flush_stop (TRUE));
  push_segment (&fixture, 10 * GST_SECOND, 0);
  fixture_push_windows (&fixture, 1, 10 * GST_SECOND);
  buffer = gst_harness_pull (fixture.harness);
  fail_unless (GST_BUFFER_FLAG_IS_SET (buffer, GST_BUFFER_FLAG_DISCONT));
  fail_unless_equals_clocktime (GST_BUFFER_PTS (buffer), 10 * GST_SECOND);
  gst_buffer_unref (buffer);
  check_next_note (&fixture, 60, 10050 * GST_MSECOND);
}

GST_END_TEST

static GstBuffer *
preroll (GstElement *pipeline)
{
  GstElement *sink = gst_bin_get_by_name (GST_BIN (pipeline), "sink");
  GstSample *sample;
  GstBuffer *buffer;

  fail_unless_equals_int (
      gst_element_get_state (pipeline, NULL, NULL, GST_CLOCK_TIME_NONE),
      GST_STATE_CHANGE_SUCCESS);
  g_object_get (sink, "last-sample", &sample, NULL);
  buffer = gst_buffer_ref (gst_sample_get_buffer (sample));
  gst_sample_unref (sample);
  gst_object_unref (sink);
  return buffer;
}

GST_START_TEST (a_seek_goes_on_where_it_leads)
{
  GstElement *pipeline = gst_parse_launch (
      "audiotestsrc wave=saw ! audio/x-raw, rate=16000 ! "
      "mt3transcribe model-file=scripted ! audio/x-midi-event ! "
      "fakesink name=sink sync=true",
      NULL);

  gst_element_set_state (pipeline, GST_STATE_PAUSED);
  for (guint seconds = 0; seconds <= 20; seconds += 5) {
    GstBuffer *buffer;

    if (seconds > 0)
      fail_unless (gst_element_seek_simple (pipeline, GST_FORMAT_TIME,
          GST_SEEK_FLAG_FLUSH | GST_SEEK_FLAG_ACCURATE, seconds * GST_SECOND));
    buffer = preroll (pipeline);
    fail_unless_equals_clocktime (
        GST_BUFFER_PTS (buffer), seconds * GST_SECOND);
    fail_unless (GST_BUFFER_FLAG_IS_SET (buffer, GST_BUFFER_FLAG_DISCONT));
    gst_buffer_unref (buffer);
  }
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (pipeline);
}

GST_END_TEST

GST_START_TEST (segments_keep_their_own_times)
{
  g_auto (Fixture) fixture = new_fixture (EVENTS, TRUE);

  fixture_push_windows (&fixture, 2, 0);
  push_segment (&fixture, 50 * GST_SECOND, fixture_windows_time (2));
  fixture_push_windows (&fixture, 2, 50 * GST_SECOND);
  check_next_note (&fixture, 60, 50 * GST_MSECOND);
  check_next_note (&fixture, 61, 300 * GST_MSECOND);
  /* The third window begins at 0.512 s, told as 0.51 s. */
  check_next_note (&fixture, 62, 50048 * GST_MSECOND);
  check_next_note (&fixture, 63, 50298 * GST_MSECOND);
}

GST_END_TEST

/* A recording device whose clock is slow against its timestamps. */
GST_START_TEST (upstreams_clock_is_followed)
{
  const guint n_windows = 40;
  g_auto (Fixture) fixture = new_fixture (EVENTS, FALSE);
  GstClockTime last = 0, step = fixture_windows_time (1) - 3 * GST_MSECOND;
  GstClockTimeDiff error;
  GstBuffer *buffer;

  for (guint i = 0; i < n_windows; i++)
    gst_harness_push (
        fixture.harness, fixture_buffer (0.5f, SCRIPT_WINDOW, i * step));
  gst_harness_push_event (fixture.harness, gst_event_new_eos ());
  for (guint i = 0; i < n_windows; i++) {
    buffer = pull (&fixture, 0x90);
    fail_unless (GST_BUFFER_PTS (buffer) >= last);
    last = GST_BUFFER_PTS (buffer);
    gst_buffer_unref (buffer);
  }
  /* Without, it would be 40 x 3 ms. */
  error = GST_CLOCK_DIFF ((n_windows - 1) * step + 50 * GST_MSECOND, last);
  fail_unless (ABS (error) <= 60 * GST_MSECOND, "%" GST_STIME_FORMAT,
      GST_STIME_ARGS (error));
}

GST_END_TEST

/* Latency */

static GstClockTime
latency_of (Fixture *fixture, GstClockTime *max)
{
  GstQuery *query = gst_query_new_latency ();
  GstClockTime min;
  gboolean live;

  fail_unless (gst_pad_peer_query (fixture->harness->sinkpad, query));
  gst_query_parse_latency (query, &live, &min, max);
  fail_unless (live);
  gst_query_unref (query);
  return min;
}

GST_START_TEST (a_file_has_no_latency)
{
  g_auto (Fixture) fixture = new_fixture (EVENTS, FALSE);
  GstQuery *query = gst_query_new_latency ();
  GstClockTime min, max;
  gboolean live;

  fixture_push_windows (&fixture, 1, 0);
  fail_unless (gst_pad_peer_query (fixture.harness->sinkpad, query));
  gst_query_parse_latency (query, &live, &min, &max);
  fail_if (live);
  fail_unless_equals_clocktime (min, 0);
  fail_unless_equals_clocktime (max, GST_CLOCK_TIME_NONE);
  gst_query_unref (query);
}

GST_END_TEST

GST_START_TEST (live_latency_is_a_window_and_more)
{
  g_auto (Fixture) fixture = new_fixture (EVENTS, TRUE);
  GstClockTime window = fixture_windows_time (1), min, later, max;

  gst_harness_set_upstream_latency (fixture.harness, 0);
  fixture_push_windows (&fixture, 1, 0);
  min = latency_of (&fixture, &max);
  /* Half a window for transcribing, at first, 20 ms for rounding and 50 ms of
   * headroom. */
  fail_unless_equals_clocktime (min, window + window / 2 + 70 * GST_MSECOND);
  fail_unless_equals_clocktime (max, GST_CLOCK_TIME_NONE);
  gst_harness_set_upstream_latency (fixture.harness, GST_SECOND);
  later = latency_of (&fixture, &max);
  fail_unless_equals_clocktime (later, min + GST_SECOND);
}

GST_END_TEST

static gboolean
answer_latency (GstPad *pad, GstObject *parent, GstQuery *query)
{
  if (GST_QUERY_TYPE (query) != GST_QUERY_LATENCY)
    return gst_pad_query_default (pad, parent, query);
  gst_query_set_latency (query, TRUE, 7, GST_SECOND);
  return TRUE;
}

GST_START_TEST (a_bounded_source_can_be_held_for_as_many_windows)
{
  g_auto (Fixture) fixture = new_fixture (EVENTS, TRUE);
  GstClockTime max;

  gst_pad_set_query_function (fixture.harness->srcpad, answer_latency);
  fixture_push_windows (&fixture, 1, 0);
  latency_of (&fixture, &max);
  fail_unless_equals_clocktime (max, GST_SECOND + fixture_windows_time (4));
}

GST_END_TEST

GST_START_TEST (a_slow_window_makes_a_longer_latency)
{
  g_auto (Fixture) fixture = new_fixture (EVENTS, TRUE);
  GstClockTime before, after, max;

  fixture_push_windows (&fixture, 1, 0);
  fixture_wait_windows (&fixture, 1);
  before = latency_of (&fixture, &max);
  gst_bus_set_flushing (fixture.bus, TRUE);
  gst_bus_set_flushing (fixture.bus, FALSE);
  script_set_hold_decode (TRUE);
  fixture_push_windows (&fixture, 1, fixture_windows_time (1));
  g_usleep (SLOW);
  script_set_hold_decode (FALSE);
  gst_message_unref (fixture_wait (&fixture, GST_MESSAGE_LATENCY));
  after = latency_of (&fixture, &max);
  fail_unless (
      after >= before + SLOW * GST_USECOND - fixture_windows_time (1) / 2);
}

GST_END_TEST

/* Overload */

/* Pushes @n_lost windows more than are kept, while nothing is transcribed. */
static void
overload (Fixture *fixture, guint n_lost)
{
  script_set_hold_decode (TRUE);
  fail_unless_equals_int (
      fixture_push_windows (fixture, 4 + n_lost, 0), GST_FLOW_OK);
  script_set_hold_decode (FALSE);
  fixture_wait_windows (fixture, 4);
}

GST_START_TEST (a_live_source_is_never_held_up)
{
  g_auto (Fixture) fixture = new_fixture (EVENTS, TRUE);

  overload (&fixture, 100);
  fail_unless_equals_uint64 (
      fixture_get_stat (&fixture, "dropped-windows"), 100);
  fixture_push_windows (&fixture, 1, fixture_windows_time (104));
  for (guint i = 0; i < 4; i++)
    check_next (
        &fixture, 0x90, 60 + i, (i * 256 - i * 256 % 10 + 50) * GST_MSECOND);
  /* The 104th window has pitch 60 + 104 % 12. */
  check_next (&fixture, 0x90, 68, (26624 - 4 + 50) * GST_MSECOND);
}

GST_END_TEST

GST_START_TEST (the_message_after_lost_windows_is_a_discont)
{
  g_auto (Fixture) fixture = new_fixture (EVENTS, TRUE);
  guint n = 0;

  overload (&fixture, 10);
  fixture_push_windows (&fixture, 1, fixture_windows_time (14));
  gst_harness_push_event (fixture.harness, gst_event_new_eos ());
  gst_event_unref (fixture_wait_event (&fixture, GST_EVENT_EOS));
  while (gst_harness_buffers_in_queue (fixture.harness) > 0) {
    GstBuffer *buffer = gst_harness_pull (fixture.harness);

    if (GST_BUFFER_FLAG_IS_SET (buffer, GST_BUFFER_FLAG_DISCONT)) {
      /* The fifth window begins at 1.024 s. */
      fail_unless_equals_clocktime (
          GST_BUFFER_PTS (buffer), n * 1030 * GST_MSECOND);
      n++;
    }
    gst_buffer_unref (buffer);
  }
  fail_unless_equals_int (n, 2);
}

GST_END_TEST

GST_START_TEST (what_sounds_ends_where_windows_are_lost)
{
  g_auto (Fixture) fixture = new_fixture (EVENTS, TRUE);

  script.sustain = TRUE;
  overload (&fixture, 10);
  fixture_push_windows (&fixture, 1, fixture_windows_time (14));
  for (guint i = 0; i < 3; i++)
    gst_buffer_unref (pull (&fixture, 0x80));
  check_next (&fixture, 0x80, 63, 1020 * GST_MSECOND);
}

GST_END_TEST

GST_START_TEST (lost_windows_are_told_on_the_bus)
{
  g_auto (Fixture) fixture = new_fixture (EVENTS, TRUE);

  overload (&fixture, 10);
  for (guint i = 0; i < 10; i++) {
    GstMessage *message = fixture_wait (&fixture, GST_MESSAGE_QOS);
    GstClockTime running_time, stream_time, timestamp, duration;
    guint64 processed, dropped;
    GstFormat format;
    gboolean live;

    gst_message_parse_qos (
        message, &live, &running_time, &stream_time, &timestamp, &duration);
    gst_message_parse_qos_stats (message, &format, &processed, &dropped);
    fail_unless (live);
    fail_unless_equals_clocktime (timestamp, fixture_windows_time (4 + i));
    fail_unless_equals_clocktime (running_time, timestamp);
    fail_unless_equals_clocktime (stream_time, timestamp);
    fail_unless_equals_clocktime (duration, fixture_windows_time (1));
    fail_unless_equals_int (format, GST_FORMAT_BUFFERS);
    fail_unless_equals_uint64 (dropped, i + 1);
    gst_message_unref (message);
  }
}

GST_END_TEST

GST_START_TEST (lost_windows_are_one_warning)
{
  g_auto (Fixture) fixture = new_fixture (EVENTS, TRUE);
  GstMessage *message;
  GError *error = NULL;

  overload (&fixture, 10);
  message = fixture_wait (&fixture, GST_MESSAGE_WARNING);
  gst_message_parse_warning (message, &error, NULL);
  fail_unless (
      g_error_matches (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_BUSY));
  g_error_free (error);
  gst_message_unref (message);
  fail_unless (gst_bus_pop_filtered (fixture.bus, GST_MESSAGE_WARNING) == NULL);
}

GST_END_TEST

GST_START_TEST (a_live_file_keeps_the_times_of_what_was_heard)
{
  g_auto (Fixture) fixture = new_fixture ("audio/midi", TRUE);
  const gint first[] = {0, 1, 2, 3, -1};
  g_autoptr (GPtrArray) notes = NULL;
  const GstMt3Note *last;

  overload (&fixture, 10);
  fixture_push_windows (&fixture, 1, fixture_windows_time (14));
  notes = fixture_finish (&fixture);
  fail_unless_equals_int (notes->len, 5);
  last = g_ptr_array_index (notes, 4);
  fail_unless_equals_clocktime (last->onset, 3630 * GST_MSECOND);
  g_ptr_array_set_size (notes, 4);
  fixture_check_notes (notes, 0, first);
}

GST_END_TEST

static gpointer
push_many (gpointer fixture)
{
  return GINT_TO_POINTER (fixture_push_windows (fixture, 100, 0));
}

GST_START_TEST (a_file_waits_and_loses_nothing)
{
  g_auto (Fixture) fixture = new_fixture ("audio/midi", FALSE);
  g_autoptr (GPtrArray) notes = NULL;
  GThread *thread;

  script_set_hold_decode (TRUE);
  thread = g_thread_new ("push", push_many, &fixture);
  script_wait_held ();
  script_set_hold_decode (FALSE);
  fail_unless_equals_int (
      GPOINTER_TO_INT (g_thread_join (thread)), GST_FLOW_OK);
  notes = fixture_finish (&fixture);
  fail_unless_equals_int (notes->len, 100);
  fail_unless_equals_uint64 (fixture_get_stat (&fixture, "dropped-windows"), 0);
}

GST_END_TEST

GST_START_TEST (stats_tell_what_the_slowest_window_took)
{
  g_auto (Fixture) fixture = new_fixture ("audio/midi", FALSE);
  g_autoptr (GPtrArray) notes = NULL;
  const gint64 held_us = 20 * G_TIME_SPAN_MILLISECOND;
  guint64 last, longest;

  script_set_hold_decode (TRUE);
  fixture_push_windows (&fixture, 1, 0);
  script_wait_held ();
  g_usleep (held_us);
  script_set_hold_decode (FALSE);
  fixture_push_windows (&fixture, 1, fixture_windows_time (1));
  notes = fixture_finish (&fixture);
  fail_unless_equals_int (notes->len, 2);
  last = fixture_get_stat (&fixture, "window-latency");
  longest = fixture_get_stat (&fixture, "window-latency-max");
  fail_unless (longest >= held_us * GST_USECOND);
  fail_unless (last > 0 && last <= longest);
}

GST_END_TEST

/* Endurance */

GST_START_TEST (a_day_does_not_drift)
{
  const guint n_windows = 24 * 3600 * 1000 / 256 + 1;
  g_auto (Fixture) fixture = fixture_new ("scripted");
  GstClockTime day = fixture_windows_time (n_windows);

  g_object_set (fixture.element, "midi-ticks", FALSE, NULL);
  gst_harness_set_sink_caps_str (fixture.harness, EVENTS);
  gst_harness_set_src_caps_str (fixture.harness, FIXTURE_CAPS);
  fixture_push_windows (&fixture, 1, 0);
  gst_harness_push_event (
      fixture.harness, gst_event_new_gap (fixture_windows_time (1),
                           day - fixture_windows_time (1)));
  fixture_push_windows (&fixture, 2, day);
  check_next_note (&fixture, 60, 50 * GST_MSECOND);
  /* It begins at 86400.256 s. */
  check_next_note (&fixture, 60 + n_windows % 12, day + 44 * GST_MSECOND);
}

GST_END_TEST

static gssize
resident_bytes (void)
{
  FILE *file = fopen ("/proc/self/statm", "r");
  gssize size, resident;

  fail_unless (file && fscanf (file, "%zd %zd", &size, &resident) == 2);
  fclose (file);
  return resident * sysconf (_SC_PAGESIZE);
}

/* ASan and valgrind keep what was freed for a while, and what TSan itself takes
 * goes up and down by a megabyte. */
static gboolean
is_memory_given_back (void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return FALSE;
#else
  return g_strcmp0 (g_getenv ("CK_FORK"), "no") != 0;
#endif
}

static GstPadProbeReturn
swallow (GstPad *pad, GstPadProbeInfo *info, gpointer user_data)
{
  GstBuffer *buffer = gst_pad_probe_info_get_buffer (info);
  GstClockTime *last = user_data;

  if (is_message (buffer, 0x90))
    *last = GST_BUFFER_PTS (buffer);
  gst_buffer_unref (buffer);
  GST_PAD_PROBE_INFO_FLOW_RETURN (info) = GST_FLOW_OK;
  return GST_PAD_PROBE_HANDLED;
}

/* What upstream's clock is slower for each window. */
static const GstClockTime delays[] = {0, 20 * GST_MSECOND};

/* MT3_TEST_HOURS of a stream that never stops, as fast as it goes. */
GST_START_TEST (an_endless_stream_does_not_grow)
{
  const gchar *text = g_getenv ("MT3_TEST_HOURS");
  guint hours = text ? (guint) g_ascii_strtoull (text, NULL, 10) : 1;
  guint n_windows = hours * 3600 * 1000 / 256;
  g_auto (Fixture) fixture = new_fixture (EVENTS, FALSE);
  GstClockTime window = fixture_windows_time (1) - delays[__i__];
  GstClockTime last = 0, expected;
  GstClockTimeDiff error;
  gssize before = 0, grown;

  script.forget = TRUE;
  gst_pad_add_probe (fixture.harness->sinkpad, GST_PAD_PROBE_TYPE_BUFFER,
      swallow, &last, NULL);
  for (guint i = 0; i < n_windows; i++) {
    if (i == n_windows / 4)
      before = resident_bytes ();
    fixture_push_windows (&fixture, 1, i * window);
  }
  gst_harness_push_event (fixture.harness, gst_event_new_eos ());
  gst_event_unref (fixture_wait_event (&fixture, GST_EVENT_EOS));
  expected = (n_windows - 1) * window + 50 * GST_MSECOND -
             fixture_windows_time (n_windows - 1) % (10 * GST_MSECOND);
  error = GST_CLOCK_DIFF (expected, last);
  /* Another clock is believed after a second. */
  fail_unless (ABS (error) <= (GstClockTimeDiff) (5 * delays[__i__]),
      "%" GST_STIME_FORMAT, GST_STIME_ARGS (error));
  grown = resident_bytes () - before;
  g_print ("%u hours: %" G_GSSIZE_FORMAT " bytes at the end of the first "
           "quarter, %" G_GSSIZE_FORMAT " more at the end\n",
      hours, before, grown);
  fail_unless (grown < 1024 * 1024 || !is_memory_given_back (),
      "%" G_GSSIZE_FORMAT " bytes more", grown);
}

GST_END_TEST

static Suite *
live_suite (void)
{
  Suite *suite = suite_create ("live");
  TCase *tcase = tcase_create ("general");

  tcase_add_checked_fixture (tcase, fixture_setup, fixture_teardown);
  tcase_add_loop_test (
      tcase, what_follows_chooses_the_output, 0, G_N_ELEMENTS (negotiations));
  tcase_add_test (tcase, notes_come_while_the_audio_goes_on);
  tcase_add_test (tcase, the_segment_in_time_and_its_seqnum_are_upstreams);
  tcase_add_test (tcase, live_sinks_preroll_before_a_window_is_through);
  tcase_add_test (tcase, sinks_of_a_file_preroll_with_a_message);
  tcase_add_test (tcase, the_end_ends_all_notes);
  tcase_add_test (tcase, a_flush_starts_the_events_over);
  tcase_add_test (tcase, a_seek_goes_on_where_it_leads);
  tcase_add_test (tcase, segments_keep_their_own_times);
  tcase_add_test (tcase, upstreams_clock_is_followed);
  tcase_add_test (tcase, a_file_has_no_latency);
  tcase_add_test (tcase, live_latency_is_a_window_and_more);
  tcase_add_test (tcase, a_bounded_source_can_be_held_for_as_many_windows);
  tcase_add_test (tcase, a_slow_window_makes_a_longer_latency);
  tcase_add_test (tcase, a_live_source_is_never_held_up);
  tcase_add_test (tcase, the_message_after_lost_windows_is_a_discont);
  tcase_add_test (tcase, what_sounds_ends_where_windows_are_lost);
  tcase_add_test (tcase, lost_windows_are_told_on_the_bus);
  tcase_add_test (tcase, lost_windows_are_one_warning);
  tcase_add_test (tcase, a_live_file_keeps_the_times_of_what_was_heard);
  tcase_add_test (tcase, a_file_waits_and_loses_nothing);
  tcase_add_test (tcase, stats_tell_what_the_slowest_window_took);
  tcase_add_test (tcase, a_day_does_not_drift);
  tcase_add_loop_test (
      tcase, an_endless_stream_does_not_grow, 0, G_N_ELEMENTS (delays));
  suite_add_tcase (suite, tcase);

  return suite;
}

GST_CHECK_MAIN (live);
