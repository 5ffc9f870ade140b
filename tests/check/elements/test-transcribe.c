/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * mt3transcribe in a stream: files and events.
 */
#define _GNU_SOURCE /* memmem */
#include <math.h>
#include <string.h>

#include "element-fixture.h"

static const gint none[] = {-1};

/* Files */

GST_START_TEST (one_file_comes_at_eos)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  const gint windows[] = {0, 1, 2, -1};

  fail_unless_equals_int (fixture_push_windows (&fixture, 3, 0), GST_FLOW_OK);
  fixture_check_finish (&fixture, 0, windows);
  gst_event_unref (fixture_wait_event (&fixture, GST_EVENT_EOS));
  fail_unless_equals_int (gst_harness_buffers_received (fixture.harness), 1);
}

GST_END_TEST

GST_START_TEST (no_audio_is_an_empty_file)
{
  g_auto (Fixture) fixture = fixture_new_playing ();

  fixture_check_finish (&fixture, 0, none);
}

GST_END_TEST

GST_START_TEST (one_sample_is_a_file)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  const gint windows[] = {0, -1};

  gst_harness_push (fixture.harness, fixture_buffer (0.5f, 1, 0));
  fixture_check_finish (&fixture, 0, windows);
  fail_unless_equals_int (script_n_windows (), 1);
}

GST_END_TEST

/* A window that was filled is never the last: the reference adds a frame. */
GST_START_TEST (a_full_window_is_followed_by_another)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  const gint windows[] = {0, -1};

  fixture_push_windows (&fixture, 1, 0);
  fixture_check_finish (&fixture, 0, windows);
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
  fixture_check_finish (&fixture, 102 * GST_SECOND, windows);
}

GST_END_TEST

GST_START_TEST (audio_without_times_begins_with_its_segment)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  const gint windows[] = {0, -1};
  GstSegment segment;

  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.start = segment.time = 10 * GST_SECOND;
  gst_harness_push_event (fixture.harness, gst_event_new_segment (&segment));
  gst_harness_push (fixture.harness,
      fixture_buffer (0.5f, SCRIPT_WINDOW, GST_CLOCK_TIME_NONE));
  fixture_check_finish (&fixture, 10 * GST_SECOND, windows);
}

GST_END_TEST

/* As from an element that joins files without a pause. */
GST_START_TEST (a_stream_that_follows_without_an_end_is_told_of)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  const gint windows[] = {0, 1, -1};
  const gchar *id;
  GstEvent *event;

  fixture_push_windows (&fixture, 1, 0);
  gst_event_unref (fixture_wait_event (&fixture, GST_EVENT_STREAM_START));
  gst_harness_push_event (
      fixture.harness, gst_event_new_stream_start ("another"));
  fixture_push_windows (&fixture, 1, fixture_windows_time (1));
  fixture_check_finish (&fixture, 0, windows);
  event = fixture_wait_event (&fixture, GST_EVENT_STREAM_START);
  gst_event_parse_stream_start (event, &id);
  fail_unless_equals_string (id, "another");
  gst_event_unref (event);
}

GST_END_TEST

/* There was no sample, so nothing to take it along. */
GST_START_TEST (an_event_before_the_end_arrives)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  GstBuffer *empty = gst_buffer_new ();

  GST_BUFFER_PTS (empty) = 0;
  gst_harness_push (fixture.harness, empty);
  gst_event_unref (fixture_wait_event (&fixture, GST_EVENT_GAP));
  gst_harness_push_event (
      fixture.harness, gst_event_new_custom (GST_EVENT_CUSTOM_DOWNSTREAM,
                           gst_structure_new_empty ("last-words")));
  gst_harness_push_event (fixture.harness, gst_event_new_eos ());
  gst_event_unref (fixture_wait_event (&fixture, GST_EVENT_CUSTOM_DOWNSTREAM));
}

GST_END_TEST

GST_START_TEST (a_second_stream_is_a_second_file)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  const gint first[] = {0, 1, -1}, second[] = {0, -1};

  fixture_push_windows (&fixture, 2, 0);
  fixture_check_finish (&fixture, 0, first);
  gst_harness_push_event (
      fixture.harness, gst_event_new_stream_start ("another"));
  gst_harness_set_src_caps_str (fixture.harness, FIXTURE_CAPS);
  fail_unless_equals_int (fixture_push_windows (&fixture, 1, 0), GST_FLOW_OK);
  fixture_check_finish (&fixture, 0, second);
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
  fixture_check_finish (&fixture, 0, all);
}

GST_END_TEST

GST_START_TEST (update_interval_leaves_pipes_alone)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  const gint all[] = {0, 1, 2, 3, -1};

  g_object_set (fixture.element, "update-interval", (guint64) 1, NULL);
  fixture_push_windows (&fixture, 4, 0);
  fixture_check_finish (&fixture, 0, all);
  fail_unless_equals_int (gst_harness_buffers_received (fixture.harness), 1);
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
  fixture_check_finish (&fixture, 10 * GST_SECOND, windows);
  fail_unless_equals_int (gst_harness_buffers_received (fixture.harness), 1);
}

GST_END_TEST

/* An element that selects one of its inputs may forward the second half of its
 * flush alone, while notes are under way. */
GST_START_TEST (the_end_of_a_flush_alone_is_a_flush)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  const gint windows[] = {0, -1};
  GstSegment segment;

  script_set_hold_decode (TRUE);
  fixture_push_windows (&fixture, 2, 0);
  script_wait_held ();
  gst_harness_push_event (fixture.harness, gst_event_new_flush_stop (TRUE));
  script_set_hold_decode (FALSE);
  gst_segment_init (&segment, GST_FORMAT_TIME);
  gst_harness_push_event (fixture.harness, gst_event_new_segment (&segment));
  fail_unless_equals_int (
      fixture_push_windows (&fixture, 1, 10 * GST_SECOND), GST_FLOW_OK);
  gst_event_unref (fixture_wait_event (&fixture, GST_EVENT_FLUSH_START));
  fixture_check_finish (&fixture, 10 * GST_SECOND, windows);
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
  fixture_check_finish (&fixture, 0, windows);
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

static void
push_title (Fixture *fixture)
{
  gst_harness_push_event (fixture->harness,
      gst_event_new_tag (gst_tag_list_new (GST_TAG_TITLE, "Für Elise", NULL)));
}

static void
check_title_at_end (Fixture *fixture)
{
  GstBuffer *buffer;
  GstMapInfo map;

  gst_harness_push_event (fixture->harness, gst_event_new_eos ());
  buffer = gst_harness_pull (fixture->harness);
  gst_buffer_map (buffer, &map, GST_MAP_READ);
  fail_unless (g_strstr_len ((gchar *) map.data, 14, "MThd") != NULL);
  fail_unless (
      memmem (map.data, map.size, "Für Elise", strlen ("Für Elise")) != NULL);
  gst_buffer_unmap (buffer, &map);
  gst_buffer_unref (buffer);
}

static void
check_title (Fixture *fixture)
{
  fixture_push_windows (fixture, 1, 0);
  check_title_at_end (fixture);
}

GST_START_TEST (the_title_names_the_file)
{
  g_auto (Fixture) fixture = fixture_new_playing ();

  push_title (&fixture);
  check_title (&fixture);
}

GST_END_TEST

/* As of files whose tags lie at their end. The output is open by then. */
GST_START_TEST (a_title_behind_the_audio_names_the_file)
{
  g_auto (Fixture) fixture = fixture_new_playing ();

  fixture_push_windows (&fixture, 1, 0);
  gst_event_unref (fixture_wait_event (&fixture, GST_EVENT_GAP));
  push_title (&fixture);
  check_title_at_end (&fixture);
}

GST_END_TEST

/* A stream may change its title as it goes on. */
GST_START_TEST (a_later_title_does_not_rename_the_file)
{
  g_auto (Fixture) fixture = fixture_new_playing ();

  push_title (&fixture);
  fixture_push_windows (&fixture, 1, 0);
  gst_harness_push_event (fixture.harness,
      gst_event_new_tag (gst_tag_list_new (GST_TAG_TITLE, "Another", NULL)));
  check_title_at_end (&fixture);
}

GST_END_TEST

/* Upstream does not say again what is true of the whole stream. */
GST_START_TEST (tags_outlast_a_flush)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  GstSegment segment;

  push_title (&fixture);
  gst_harness_push_event (fixture.harness, gst_event_new_flush_start ());
  gst_harness_push_event (fixture.harness, gst_event_new_flush_stop (TRUE));
  gst_segment_init (&segment, GST_FORMAT_TIME);
  gst_harness_push_event (fixture.harness, gst_event_new_segment (&segment));
  check_title (&fixture);
  gst_event_unref (fixture_wait_event (&fixture, GST_EVENT_TAG));
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
  tcase_add_test (tcase, audio_without_times_begins_with_its_segment);
  tcase_add_test (tcase, a_stream_that_follows_without_an_end_is_told_of);
  tcase_add_test (tcase, an_event_before_the_end_arrives);
  tcase_add_test (tcase, a_second_stream_is_a_second_file);
  tcase_add_test (tcase, update_interval_writes_complete_files_midway);
  tcase_add_test (tcase, update_interval_leaves_pipes_alone);
  tcase_add_test (tcase, sinks_preroll_at_the_first_audio);
  tcase_add_test (tcase, eos_and_segment_keep_their_seqnums);
  tcase_add_test (tcase, a_flush_starts_over);
  tcase_add_test (tcase, the_end_of_a_flush_alone_is_a_flush);
  tcase_add_test (tcase, a_flush_wakes_a_full_queue);
  tcase_add_test (tcase, a_flush_wakes_the_wait_for_the_model);
  tcase_add_test (tcase, tags_of_the_coding_are_dropped);
  tcase_add_test (tcase, the_title_names_the_file);
  tcase_add_test (tcase, a_title_behind_the_audio_names_the_file);
  tcase_add_test (tcase, a_later_title_does_not_rename_the_file);
  tcase_add_test (tcase, tags_outlast_a_flush);
  suite_add_tcase (suite, tcase);

  return suite;
}

GST_CHECK_MAIN (transcribe);
