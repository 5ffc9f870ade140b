/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * mt3transcribe in a stream: files, events, queries, messages, failures.
 */
#define _GNU_SOURCE /* memmem */
#include <math.h>
#include <string.h>

#include "element-fixture.h"

static const gint none[] = {-1};

static void
check_finish (Fixture *fixture, GstClockTime start, const gint *windows)
{
  g_autoptr (GPtrArray) notes = fixture_finish (fixture);

  fixture_check_notes (notes, start, windows);
}

/* Files */

GST_START_TEST (one_file_comes_at_eos)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  const gint windows[] = {0, 1, 2, -1};

  fail_unless_equals_int (fixture_push_windows (&fixture, 3, 0), GST_FLOW_OK);
  check_finish (&fixture, 0, windows);
  gst_event_unref (fixture_wait_event (&fixture, GST_EVENT_EOS));
  fail_unless_equals_int (gst_harness_buffers_received (fixture.harness), 1);
}

GST_END_TEST

GST_START_TEST (no_audio_is_an_empty_file)
{
  g_auto (Fixture) fixture = fixture_new_playing ();

  check_finish (&fixture, 0, none);
}

GST_END_TEST

GST_START_TEST (one_sample_is_a_file)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  const gint windows[] = {0, -1};

  gst_harness_push (fixture.harness, fixture_buffer (0.5f, 1, 0));
  check_finish (&fixture, 0, windows);
  fail_unless_equals_int (script_n_windows (), 1);
}

GST_END_TEST

/* A window that was filled is never the last: the reference adds a frame. */
GST_START_TEST (a_full_window_is_followed_by_another)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  const gint windows[] = {0, -1};

  fixture_push_windows (&fixture, 1, 0);
  check_finish (&fixture, 0, windows);
  fail_unless_equals_int (script_n_windows (), 2);
}

GST_END_TEST

GST_START_TEST (samples_reach_the_engine_unchanged)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  guint n = 3 * SCRIPT_WINDOW + 100;
  GstBuffer *buffer = fixture_buffer (0.0f, n, 0);
  g_autoptr (GPtrArray) notes = NULL;
  g_autofree gfloat *heard = NULL;
  GstMapInfo map;

  gst_buffer_map (buffer, &map, GST_MAP_READWRITE);
  for (guint i = 0; i < n; i++)
    ((gfloat *) map.data)[i] = (gfloat) sin (i) / 3;
  gst_buffer_unmap (buffer, &map);
  gst_harness_push (fixture.harness, gst_buffer_ref (buffer));
  notes = fixture_finish (&fixture);
  heard = script_samples (n);
  fail_unless (gst_buffer_memcmp (buffer, 0, heard, n * sizeof (gfloat)) == 0);
  gst_buffer_unref (buffer);
}

GST_END_TEST

GST_START_TEST (notes_are_in_stream_time)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  const gint windows[] = {0, -1};
  GstSegment segment;

  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.start = 5 * GST_SECOND;
  segment.time = 100 * GST_SECOND;
  gst_harness_push_event (fixture.harness, gst_event_new_segment (&segment));
  fixture_push_windows (&fixture, 1, 7 * GST_SECOND);
  check_finish (&fixture, 102 * GST_SECOND, windows);
}

GST_END_TEST

GST_START_TEST (a_second_stream_is_a_second_file)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  const gint first[] = {0, 1, -1}, second[] = {0, -1};

  fixture_push_windows (&fixture, 2, 0);
  check_finish (&fixture, 0, first);
  gst_harness_push_event (
      fixture.harness, gst_event_new_stream_start ("another"));
  gst_harness_set_src_caps_str (fixture.harness, FIXTURE_CAPS);
  fail_unless_equals_int (fixture_push_windows (&fixture, 1, 0), GST_FLOW_OK);
  check_finish (&fixture, 0, second);
}

GST_END_TEST

/* Events */

/* A paused pipeline must preroll although the file is far. */
GST_START_TEST (sinks_preroll_at_the_first_audio)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  GstEvent *event;
  const GstSegment *segment;
  GstCaps *caps;

  script_set_hold_decode (TRUE);
  gst_harness_push (fixture.harness, fixture_buffer (0.5f, 1, 0));
  gst_event_unref (fixture_wait_event (&fixture, GST_EVENT_STREAM_START));
  event = fixture_wait_event (&fixture, GST_EVENT_CAPS);
  gst_event_parse_caps (event, &caps);
  fail_unless (
      gst_structure_has_name (gst_caps_get_structure (caps, 0), "audio/midi"));
  gst_event_unref (event);
  event = fixture_wait_event (&fixture, GST_EVENT_SEGMENT);
  gst_event_parse_segment (event, &segment);
  fail_unless_equals_int (segment->format, GST_FORMAT_BYTES);
  gst_event_unref (event);
  gst_event_unref (fixture_wait_event (&fixture, GST_EVENT_GAP));
}

GST_END_TEST

GST_START_TEST (eos_and_segment_keep_their_seqnums)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  GstEvent *eos = gst_event_new_eos (), *segment, *out;
  GstSegment time;
  guint32 eos_seqnum = gst_event_get_seqnum (eos), segment_seqnum;

  gst_segment_init (&time, GST_FORMAT_TIME);
  segment = gst_event_new_segment (&time);
  segment_seqnum = gst_event_get_seqnum (segment);
  gst_harness_push_event (fixture.harness, segment);
  fixture_push_windows (&fixture, 1, 0);
  gst_harness_push_event (fixture.harness, eos);
  out = fixture_wait_event (&fixture, GST_EVENT_SEGMENT);
  fail_unless_equals_int (gst_event_get_seqnum (out), segment_seqnum);
  gst_event_unref (out);
  out = fixture_wait_event (&fixture, GST_EVENT_EOS);
  fail_unless_equals_int (gst_event_get_seqnum (out), eos_seqnum);
  gst_event_unref (out);
}

GST_END_TEST

GST_START_TEST (a_flush_starts_over)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  const gint windows[] = {0, -1};
  GstSegment segment;

  fixture_push_windows (&fixture, 3, 0);
  gst_harness_push_event (fixture.harness, gst_event_new_flush_start ());
  gst_harness_push_event (fixture.harness, gst_event_new_flush_stop (TRUE));
  gst_segment_init (&segment, GST_FORMAT_TIME);
  gst_harness_push_event (fixture.harness, gst_event_new_segment (&segment));
  fail_unless_equals_int (
      fixture_push_windows (&fixture, 1, 10 * GST_SECOND), GST_FLOW_OK);
  check_finish (&fixture, 10 * GST_SECOND, windows);
  fail_unless_equals_int (gst_harness_buffers_received (fixture.harness), 1);
}

GST_END_TEST

static gpointer
push_many (gpointer fixture)
{
  return GINT_TO_POINTER (fixture_push_windows (fixture, 1000, 0));
}

GST_START_TEST (a_flush_wakes_a_full_queue)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  const gint windows[] = {0, -1};
  GstSegment segment;
  GThread *thread;

  script_set_hold_decode (TRUE);
  thread = g_thread_new ("push", push_many, &fixture);
  script_wait_held ();
  gst_harness_push_event (fixture.harness, gst_event_new_flush_start ());
  fail_unless_equals_int (
      GPOINTER_TO_INT (g_thread_join (thread)), GST_FLOW_FLUSHING);
  script_set_hold_decode (FALSE);
  gst_harness_push_event (fixture.harness, gst_event_new_flush_stop (TRUE));
  gst_segment_init (&segment, GST_FORMAT_TIME);
  gst_harness_push_event (fixture.harness, gst_event_new_segment (&segment));
  fail_unless_equals_int (fixture_push_windows (&fixture, 1, 0), GST_FLOW_OK);
  check_finish (&fixture, 0, windows);
}

GST_END_TEST

GST_START_TEST (a_flush_wakes_the_wait_for_the_model)
{
  g_auto (Fixture) fixture = {NULL};
  GThread *thread;

  script_set_hold_open (TRUE);
  fixture = fixture_new ("scripted");
  gst_harness_set_src_caps_str (fixture.harness, FIXTURE_CAPS);
  thread = g_thread_new ("push", push_many, &fixture);
  gst_event_unref (fixture_wait_event (&fixture, GST_EVENT_GAP));
  gst_harness_push_event (fixture.harness, gst_event_new_flush_start ());
  fail_unless_equals_int (
      GPOINTER_TO_INT (g_thread_join (thread)), GST_FLOW_FLUSHING);
  script_set_hold_open (FALSE);
}

GST_END_TEST

GST_START_TEST (tags_of_the_coding_are_dropped)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  GstTagList *tags =
      gst_tag_list_new (GST_TAG_ARTIST, "somebody", GST_TAG_AUDIO_CODEC, "MP3",
          GST_TAG_BITRATE, 128000, GST_TAG_CONTAINER_FORMAT, "ID3", NULL);
  GstEvent *event;

  gst_harness_push_event (fixture.harness, gst_event_new_tag (tags));
  fixture_push_windows (&fixture, 1, 0);
  event = fixture_wait_event (&fixture, GST_EVENT_TAG);
  gst_event_parse_tag (event, &tags);
  fail_unless_equals_int (gst_tag_list_n_tags (tags), 1);
  fail_unless_equals_int (gst_tag_list_get_tag_size (tags, GST_TAG_ARTIST), 1);
  gst_event_unref (event);
}

GST_END_TEST

GST_START_TEST (the_title_names_the_file)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  GstBuffer *buffer;
  GstMapInfo map;

  gst_harness_push_event (fixture.harness,
      gst_event_new_tag (gst_tag_list_new (GST_TAG_TITLE, "Für Elise", NULL)));
  fixture_push_windows (&fixture, 1, 0);
  gst_harness_push_event (fixture.harness, gst_event_new_eos ());
  buffer = gst_harness_pull (fixture.harness);
  gst_buffer_map (buffer, &map, GST_MAP_READ);
  fail_unless (g_strstr_len ((gchar *) map.data, 14, "MThd") != NULL);
  fail_unless (
      memmem (map.data, map.size, "Für Elise", strlen ("Für Elise")) != NULL);
  gst_buffer_unmap (buffer, &map);
  gst_buffer_unref (buffer);
}

GST_END_TEST

/* Silence, time and segments */

GST_START_TEST (a_gap_event_is_silence)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  const gint windows[] = {0, 2, -1};

  fixture_push_windows (&fixture, 1, 0);
  gst_harness_push_event (fixture.harness,
      gst_event_new_gap (fixture_windows_time (1), fixture_windows_time (1)));
  fixture_push_windows (&fixture, 1, fixture_windows_time (2));
  check_finish (&fixture, 0, windows);
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
  check_finish (&fixture, 0, windows);
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
  check_finish (&fixture, 0, windows);
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
  check_finish (&fixture, 0, windows);
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
  check_finish (&fixture, 0, windows);
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
  check_finish (&fixture, 0, windows);
}

GST_END_TEST

/* Seeks and queries */

GST_START_TEST (only_forward_seeks_in_time_go_upstream)
{
  static const struct {
    GstFormat format;
    gdouble rate;
    gboolean passes;
  } cases[] = {{GST_FORMAT_TIME, 1.0, TRUE}, {GST_FORMAT_TIME, -1.0, FALSE},
      {GST_FORMAT_BYTES, 1.0, FALSE}, {GST_FORMAT_DEFAULT, 1.0, FALSE}};
  g_auto (Fixture) fixture = fixture_new_playing ();

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    GstEvent *event = gst_event_new_seek (cases[i].rate, cases[i].format,
        GST_SEEK_FLAG_FLUSH, GST_SEEK_TYPE_SET, 0, GST_SEEK_TYPE_NONE, 0);
    guint before = gst_harness_upstream_events_received (fixture.harness);

    gst_harness_push_upstream_event (fixture.harness, event);
    fail_unless_equals_int (
        gst_harness_upstream_events_received (fixture.harness) - before,
        cases[i].passes);
  }
}

GST_END_TEST

GST_START_TEST (quality_events_stay_here)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  guint before = gst_harness_upstream_events_received (fixture.harness);

  gst_harness_push_upstream_event (fixture.harness,
      gst_event_new_qos (GST_QOS_TYPE_UNDERFLOW, 0.5, GST_SECOND, 0));
  fail_unless_equals_int (
      gst_harness_upstream_events_received (fixture.harness), before);
}

GST_END_TEST

static gboolean
answer_upstream (GstPad *pad, GstObject *parent, GstQuery *query)
{
  GstFormat format;

  switch (GST_QUERY_TYPE (query)) {
    case GST_QUERY_DURATION:
      gst_query_parse_duration (query, &format, NULL);
      gst_query_set_duration (query, format, fixture_windows_time (10));
      return TRUE;
    case GST_QUERY_POSITION:
      gst_query_parse_position (query, &format, NULL);
      gst_query_set_position (query, format, fixture_windows_time (5));
      return TRUE;
    default:
      return gst_pad_query_default (pad, parent, query);
  }
}

GST_START_TEST (times_are_upstreams_and_bytes_are_nobodys)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  GstPad *src = GST_PAD_PEER (fixture.harness->sinkpad);
  GstQuery *query = gst_query_new_seeking (GST_FORMAT_BYTES);
  gboolean seekable;
  gint64 value;

  gst_pad_set_query_function (fixture.harness->srcpad, answer_upstream);
  fail_unless (gst_pad_query_duration (src, GST_FORMAT_TIME, &value));
  fail_unless_equals_int64 (value, fixture_windows_time (10));
  fail_unless (gst_pad_query_position (src, GST_FORMAT_TIME, &value));
  fail_if (gst_pad_query_duration (src, GST_FORMAT_BYTES, &value));
  fail_if (gst_pad_query_position (src, GST_FORMAT_BYTES, &value));
  fail_if (gst_pad_query_convert (
      src, GST_FORMAT_BYTES, 1, GST_FORMAT_TIME, &value));
  fail_unless (gst_pad_query (src, query));
  gst_query_parse_seeking (query, NULL, &seekable, NULL, NULL);
  fail_if (seekable);
  gst_query_unref (query);
}

GST_END_TEST

static void
check_source_caps (Fixture *fixture, const gchar *filter, const gchar *expected)
{
  GstPad *src = GST_PAD_PEER (fixture->harness->sinkpad);
  g_autoptr (GstCaps) asked = filter ? gst_caps_from_string (filter) : NULL;
  g_autoptr (GstCaps) caps = gst_pad_query_caps (src, asked);
  g_autofree gchar *text = gst_caps_to_string (caps);

  fail_unless_equals_string (text, expected);
}

GST_START_TEST (source_caps_are_the_templates_until_one_is_chosen)
{
  static const struct {
    const gchar *filter;
    const gchar *before;
    const gchar *chosen;
  } cases[] = {
      {NULL, "audio/midi; audio/x-midi-event", "audio/midi"},
      {"ANY", "audio/midi; audio/x-midi-event", "audio/midi"},
      {"audio/x-midi-event; audio/midi", "audio/x-midi-event; audio/midi",
          "audio/midi"},
      {"audio/x-midi-event", "audio/x-midi-event", "EMPTY"},
      {"audio/x-raw", "EMPTY", "EMPTY"},
  };
  g_auto (Fixture) fixture = fixture_new_playing ();

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    check_source_caps (&fixture, cases[i].filter, cases[i].before);
  fixture_push_windows (&fixture, 1, 0);
  gst_event_unref (fixture_wait_event (&fixture, GST_EVENT_CAPS));
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    check_source_caps (&fixture, cases[i].filter, cases[i].chosen);
}

GST_END_TEST

/* update-interval */

static gboolean
answer_seekable (GstPad *pad, GstObject *parent, GstQuery *query)
{
  if (GST_QUERY_TYPE (query) != GST_QUERY_SEEKING)
    return gst_pad_query_default (pad, parent, query);
  gst_query_set_seeking (query, GST_FORMAT_BYTES, TRUE, 0, -1);
  return TRUE;
}

GST_START_TEST (update_interval_writes_complete_files_midway)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  const gint all[] = {0, 1, 2, 3, 4, 5, -1};

  g_object_set (
      fixture.element, "update-interval", fixture_windows_time (2), NULL);
  gst_pad_set_query_function (fixture.harness->sinkpad, answer_seekable);
  fixture_push_windows (&fixture, 6, 0);
  for (guint n = 2; n <= 6; n += 2) {
    g_autoptr (GPtrArray) notes = fixture_pull_notes (&fixture);

    fail_unless_equals_int (notes->len, n);
  }
  check_finish (&fixture, 0, all);
}

GST_END_TEST

GST_START_TEST (update_interval_leaves_pipes_alone)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  const gint all[] = {0, 1, 2, 3, -1};

  g_object_set (fixture.element, "update-interval", (guint64) 1, NULL);
  fixture_push_windows (&fixture, 4, 0);
  check_finish (&fixture, 0, all);
  fail_unless_equals_int (gst_harness_buffers_received (fixture.harness), 1);
}

GST_END_TEST

/* Messages, statistics, settings */

GST_START_TEST (progress_is_told_when_the_duration_is_known)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  g_autoptr (GPtrArray) notes = NULL;
  gint percent, last = -1;
  GstProgressType type = GST_PROGRESS_TYPE_CONTINUE;

  gst_pad_set_query_function (fixture.harness->srcpad, answer_upstream);
  fixture_push_windows (&fixture, 10, 0);
  notes = fixture_finish (&fixture);
  while (type != GST_PROGRESS_TYPE_COMPLETE) {
    GstMessage *message = fixture_wait (&fixture, GST_MESSAGE_PROGRESS);
    g_autofree gchar *code = NULL;

    gst_message_parse_progress (message, &type, &code, NULL);
    if (g_str_equal (code, "transcribe")) {
      fail_unless (gst_structure_get_int (
          gst_message_get_structure (message), "percent", &percent));
      fail_unless_equals_int (type == GST_PROGRESS_TYPE_START, last < 0);
      fail_unless (percent >= last);
      last = percent;
    } else {
      type = GST_PROGRESS_TYPE_CONTINUE;
    }
    gst_message_unref (message);
  }
  fail_unless_equals_int (last, 100);
}

GST_END_TEST

GST_START_TEST (stats_tell_what_was_done)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  GstBuffer *odd = fixture_buffer (NAN, 10, fixture_windows_time (2));
  g_autoptr (GPtrArray) notes = NULL;
  g_autoptr (GstStructure) stats = NULL;
  guint64 windows, tokens, n_notes, replaced;
  gdouble seconds;

  fixture_push_windows (&fixture, 2, 0);
  gst_harness_push (fixture.harness, odd);
  notes = fixture_finish (&fixture);
  g_object_get (fixture.element, "stats", &stats, NULL);
  fail_unless_equals_string (gst_structure_get_string (stats, "device"), "cpu");
  fail_unless_equals_string (
      gst_structure_get_string (stats, "precision"), "exact");
  fail_unless (gst_structure_get (stats, "windows", G_TYPE_UINT64, &windows,
      "tokens", G_TYPE_UINT64, &tokens, "notes", G_TYPE_UINT64, &n_notes,
      "replaced-samples", G_TYPE_UINT64, &replaced, "audio-seconds",
      G_TYPE_DOUBLE, &seconds, NULL));
  fail_unless_equals_uint64 (windows, 3);
  fail_unless_equals_uint64 (tokens, 2 * 8 + 1);
  fail_unless_equals_uint64 (n_notes, 2);
  fail_unless_equals_uint64 (replaced, 10);
  fail_unless_equals_float (seconds, 0.52); /* whole frames */
}

GST_END_TEST

GST_START_TEST (settings_reach_the_engine)
{
  GstElement *element = gst_element_factory_make ("mt3transcribe", NULL);

  gst_util_set_object_arg (G_OBJECT (element), "device", "cuda");
  gst_util_set_object_arg (G_OBJECT (element), "precision", "bf16");
  g_object_set (element, "model-file", "a-model", "cuda-device-id", 3,
      "threads", 5, "batch-size", 7, NULL);
  gst_element_set_state (element, GST_STATE_READY);
  script_wait_opened (1);
  fail_unless_equals_string (script.options.model_file, "a-model");
  fail_unless_equals_int (script.options.device, MT3_DEVICE_CUDA);
  fail_unless_equals_int (script.options.precision, MT3_PRECISION_BF16);
  fail_unless_equals_int (script.options.cuda_device_id, 3);
  fail_unless_equals_int (script.options.n_threads, 5);
  fail_unless_equals_int (script.options.batch_size, 7);
  gst_element_set_state (element, GST_STATE_NULL);
  gst_object_unref (element);
}

GST_END_TEST

GST_START_TEST (max_tokens_may_change_while_playing)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  g_autoptr (GPtrArray) notes = NULL;

  fixture_push_windows (&fixture, 1, 0);
  g_object_set (fixture.element, "max-tokens", 12, NULL);
  notes = fixture_finish (&fixture);
  fail_unless_equals_int (script_last_decoding ()->max_tokens, 12);
}

GST_END_TEST

/* Failures */

GST_START_TEST (a_missing_model_is_named)
{
  g_auto (Fixture) fixture = fixture_new (SCRIPT_MISSING);

  gst_harness_set_src_caps_str (fixture.harness, FIXTURE_CAPS);
  fail_unless_equals_int (
      fixture_push_windows (&fixture, 1, 0), GST_FLOW_ERROR);
  fixture_expect_error (&fixture, GST_RESOURCE_ERROR,
      GST_RESOURCE_ERROR_NOT_FOUND, SCRIPT_MISSING);
  gst_event_unref (fixture_wait_event (&fixture, GST_EVENT_EOS));
  fail_unless_equals_int (gst_harness_buffers_received (fixture.harness), 0);
}

GST_END_TEST

/* The file first, then the error, and only then does upstream learn of it. */
GST_START_TEST (what_was_transcribed_before_a_failure_is_written)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  const gint windows[] = {0, 1, 2, -1};
  g_autoptr (GPtrArray) notes = NULL;

  script.fail_at = 3;
  fixture_push_windows (&fixture, 3, 0);
  fixture_wait_windows (&fixture, 3);
  fail_unless_equals_int (
      fixture_push_windows (&fixture, 1000, fixture_windows_time (3)),
      GST_FLOW_ERROR);
  fail_unless_equals_int (gst_harness_buffers_in_queue (fixture.harness), 1);
  fixture_expect_error (&fixture, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_FAILED,
      "the device was lost");
  notes = fixture_pull_notes (&fixture);
  fixture_check_notes (notes, 0, windows);
  gst_event_unref (fixture_wait_event (&fixture, GST_EVENT_EOS));
}

GST_END_TEST

GST_START_TEST (an_unlinked_source_pad_is_an_error)
{
  GstElement *element = gst_element_factory_make ("mt3transcribe", NULL);
  GstHarness *harness = gst_harness_new_with_element (element, "sink", NULL);
  Fixture fixture = {harness, element, gst_bus_new ()};
  gboolean ended;

  gst_element_set_bus (element, fixture.bus);
  gst_harness_set_src_caps_str (harness, FIXTURE_CAPS);
  fixture_push_windows (&fixture, 1, 0);
  ended = gst_harness_push_event (harness, gst_event_new_eos ());
  fail_unless (ended);
  fixture_expect_error (
      &fixture, GST_STREAM_ERROR, GST_STREAM_ERROR_FAILED, "not-linked");
  fixture_free (&fixture);
}

GST_END_TEST

GST_START_TEST (downstream_that_takes_no_midi_is_an_error)
{
  g_auto (Fixture) fixture = fixture_new ("scripted");

  gst_harness_set_sink_caps_str (fixture.harness, "audio/x-none");
  gst_harness_set_src_caps_str (fixture.harness, FIXTURE_CAPS);
  gst_harness_push (fixture.harness, fixture_buffer (0.5f, 1, 0));
  fixture_expect_error (
      &fixture, GST_STREAM_ERROR, GST_STREAM_ERROR_FAILED, "not-negotiated");
}

GST_END_TEST

GST_START_TEST (audio_without_caps_is_not_negotiated)
{
  g_auto (Fixture) fixture = fixture_new ("scripted");
  GstSegment segment;

  gst_segment_init (&segment, GST_FORMAT_TIME);
  gst_harness_push_event (fixture.harness, gst_event_new_stream_start ("x"));
  gst_harness_push_event (fixture.harness, gst_event_new_segment (&segment));
  fail_unless_equals_int (
      gst_harness_push (fixture.harness, fixture_buffer (0.5f, 1, 0)),
      GST_FLOW_NOT_NEGOTIATED);
}

GST_END_TEST

static Suite *
transcribe_suite (void)
{
  Suite *suite = suite_create ("transcribe");
  TCase *tcase = tcase_create ("general");

  tcase_add_checked_fixture (tcase, fixture_setup, fixture_teardown);
  tcase_add_test (tcase, one_file_comes_at_eos);
  tcase_add_test (tcase, no_audio_is_an_empty_file);
  tcase_add_test (tcase, one_sample_is_a_file);
  tcase_add_test (tcase, a_full_window_is_followed_by_another);
  tcase_add_test (tcase, samples_reach_the_engine_unchanged);
  tcase_add_test (tcase, notes_are_in_stream_time);
  tcase_add_test (tcase, a_second_stream_is_a_second_file);
  tcase_add_test (tcase, sinks_preroll_at_the_first_audio);
  tcase_add_test (tcase, eos_and_segment_keep_their_seqnums);
  tcase_add_test (tcase, a_flush_starts_over);
  tcase_add_test (tcase, a_flush_wakes_a_full_queue);
  tcase_add_test (tcase, a_flush_wakes_the_wait_for_the_model);
  tcase_add_test (tcase, tags_of_the_coding_are_dropped);
  tcase_add_test (tcase, the_title_names_the_file);
  tcase_add_test (tcase, a_gap_event_is_silence);
  tcase_add_test (tcase, a_long_gap_costs_nothing);
  tcase_add_test (tcase, missing_time_is_silence);
  tcase_add_test (tcase, segments_follow_each_other);
  tcase_add_test (tcase, audio_outside_of_the_segment_is_not_heard);
  tcase_add_test (tcase, a_segment_in_bytes_is_an_error);
  tcase_add_test (tcase, a_segment_backwards_is_an_error);
  tcase_add_test (tcase, a_segment_that_is_refused_is_one_error);
  tcase_add_test (tcase, the_format_may_change_in_the_middle);
  tcase_add_test (tcase, only_forward_seeks_in_time_go_upstream);
  tcase_add_test (tcase, quality_events_stay_here);
  tcase_add_test (tcase, times_are_upstreams_and_bytes_are_nobodys);
  tcase_add_test (tcase, source_caps_are_the_templates_until_one_is_chosen);
  tcase_add_test (tcase, update_interval_writes_complete_files_midway);
  tcase_add_test (tcase, update_interval_leaves_pipes_alone);
  tcase_add_test (tcase, progress_is_told_when_the_duration_is_known);
  tcase_add_test (tcase, stats_tell_what_was_done);
  tcase_add_test (tcase, settings_reach_the_engine);
  tcase_add_test (tcase, max_tokens_may_change_while_playing);
  tcase_add_test (tcase, a_missing_model_is_named);
  tcase_add_test (tcase, what_was_transcribed_before_a_failure_is_written);
  tcase_add_test (tcase, an_unlinked_source_pad_is_an_error);
  tcase_add_test (tcase, downstream_that_takes_no_midi_is_an_error);
  tcase_add_test (tcase, audio_without_caps_is_not_negotiated);
  suite_add_tcase (suite, tcase);

  return suite;
}

GST_CHECK_MAIN (transcribe);
