/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What mt3transcribe tells the bus about notes.
 */

#include "element-fixture.h"

typedef struct {
  GstClockTime timestamp;
  GstClockTime stream_time;
  GstClockTime running_time;
  GstClockTime duration;
  GPtrArray *notes;
} Told;

static void
told_clear (Told *told)
{
  g_clear_pointer (&told->notes, g_ptr_array_unref);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Told, told_clear)

/* Takes @message, which must tell of notes. */
static Told
parse (GstMessage *message)
{
  Told told;

  fail_unless (message != NULL);
  fail_unless (gst_mt3_notes_message_parse (message, &told.timestamp,
      &told.stream_time, &told.running_time, &told.duration, &told.notes));
  gst_message_unref (message);

  return told;
}

static Told
wait_told (Fixture *fixture)
{
  return parse (fixture_wait (fixture, GST_MESSAGE_ELEMENT));
}

/* What was posted already. */
static GstMessage *
pop (Fixture *fixture)
{
  return gst_bus_pop_filtered (fixture->bus, GST_MESSAGE_ELEMENT);
}

static Fixture
new_telling (void)
{
  Fixture fixture = fixture_new_playing ();

  g_object_set (fixture.element, "post-messages", TRUE, NULL);
  return fixture;
}

static const GstMt3Note *
only_note (const Told *told)
{
  fail_unless_equals_int (told->notes->len, 1);
  return g_ptr_array_index (told->notes, 0);
}

/* By fields: what lies between them has any value. */
static gboolean
is_same_note (const GstMt3Note *one, const GstMt3Note *other)
{
  g_autoptr (GstStructure) a = gst_mt3_note_to_structure (one);
  g_autoptr (GstStructure) b = gst_mt3_note_to_structure (other);

  return gst_structure_is_equal (a, b);
}

GST_START_TEST (nothing_is_told_unless_asked_for)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  g_autoptr (GPtrArray) notes = NULL;

  fixture_push_windows (&fixture, 2, 0);
  notes = fixture_finish (&fixture);
  fail_unless_equals_int (notes->len, 2);
  fail_unless (pop (&fixture) == NULL);
}

GST_END_TEST

GST_START_TEST (each_window_with_notes_is_told)
{
  g_auto (Fixture) fixture = new_telling ();
  g_autoptr (GPtrArray) notes = NULL;

  fixture_push_windows (&fixture, 3, 0);
  notes = fixture_finish (&fixture);
  for (guint i = 0; i < 3; i++) {
    /* Not waited for: it was posted before the file with the notes. */
    g_auto (Told) told = parse (pop (&fixture));
    const GstMt3Note *note = only_note (&told);

    fail_unless_equals_uint64 (told.timestamp, fixture_windows_time (i));
    fail_unless_equals_uint64 (told.stream_time, told.timestamp);
    fail_unless_equals_uint64 (told.running_time, told.timestamp);
    fail_unless_equals_uint64 (told.duration, fixture_windows_time (1));
    fail_unless (is_same_note (note, g_ptr_array_index (notes, i)));
  }
  fail_unless (pop (&fixture) == NULL);
}

GST_END_TEST

GST_START_TEST (a_window_is_told_before_the_audio_ends)
{
  g_auto (Fixture) fixture = new_telling ();

  fixture_push_windows (&fixture, 2, 0);
  for (guint i = 0; i < 2; i++) {
    g_auto (Told) told = wait_told (&fixture);

    fail_unless_equals_int (only_note (&told)->id, i + 1);
  }
}

GST_END_TEST

GST_START_TEST (live_midi_is_told_before_it_is_sent)
{
  g_auto (Fixture) fixture = fixture_new ("scripted");
  GstMt3NoteMeta *sent = NULL;
  g_auto (Told) told = {0};

  g_object_set (fixture.element, "post-messages", TRUE, NULL);
  gst_harness_set_sink_caps_str (fixture.harness, "audio/x-midi-event");
  gst_harness_set_src_caps_str (fixture.harness, FIXTURE_CAPS);
  fixture_push_windows (&fixture, 1, 0);
  while (!sent) {
    GstBuffer *buffer = gst_harness_pull (fixture.harness);

    sent = gst_buffer_get_mt3_note_meta (buffer);
    if (sent) {
      told = parse (pop (&fixture));
      fail_unless_equals_int (only_note (&told)->id, sent->note.id);
      fail_unless_equals_uint64 (only_note (&told)->onset, sent->note.onset);
    }
    gst_buffer_unref (buffer);
  }
}

GST_END_TEST

GST_START_TEST (a_silent_window_is_not_told)
{
  g_auto (Fixture) fixture = new_telling ();
  g_autoptr (GPtrArray) notes = NULL;
  g_auto (Told) told = {0};

  gst_harness_push (fixture.harness, fixture_buffer (0.0f, SCRIPT_WINDOW, 0));
  fixture_push_windows (&fixture, 1, fixture_windows_time (1));
  notes = fixture_finish (&fixture);
  told = parse (pop (&fixture));
  fail_unless_equals_uint64 (told.timestamp, fixture_windows_time (1));
  fail_unless (pop (&fixture) == NULL);
}

GST_END_TEST

GST_START_TEST (a_note_that_goes_on_is_told_again_at_its_end)
{
  g_auto (Fixture) fixture = new_telling ();
  g_autoptr (GPtrArray) notes = NULL;
  g_auto (Told) before = {0}, after = {0};

  script.sustain = TRUE;
  fixture_push_windows (&fixture, 2, 0);
  before = wait_told (&fixture);
  fail_unless_equals_int (only_note (&before)->id, 1);
  fail_unless_equals_uint64 (only_note (&before)->end, GST_CLOCK_TIME_NONE);

  after = wait_told (&fixture);
  fail_unless_equals_int (after.notes->len, 2);
  for (guint i = 0; i < 2; i++) {
    const GstMt3Note *note = g_ptr_array_index (after.notes, i);

    fail_unless_equals_int (note->id, i + 1);
    fail_unless (GST_CLOCK_TIME_IS_VALID (note->end) == (i == 0));
  }
  notes = fixture_finish (&fixture);
}

GST_END_TEST

GST_START_TEST (the_end_of_the_audio_tells_what_still_sounds)
{
  g_auto (Fixture) fixture = new_telling ();
  g_autoptr (GPtrArray) notes = NULL;
  g_auto (Told) before = {0}, last = {0};

  script.sustain = TRUE;
  gst_harness_push (
      fixture.harness, fixture_buffer (0.5f, SCRIPT_WINDOW / 2, 0));
  notes = fixture_finish (&fixture);
  before = parse (pop (&fixture));
  last = parse (pop (&fixture));
  fail_unless_equals_uint64 (only_note (&before)->end, GST_CLOCK_TIME_NONE);
  fail_unless (GST_CLOCK_TIME_IS_VALID (only_note (&last)->end));
  fail_unless_equals_int (only_note (&last)->id, only_note (&before)->id);
  fail_unless_equals_uint64 (
      last.timestamp, before.timestamp + before.duration);
  fail_unless_equals_uint64 (last.duration, 0);
}

GST_END_TEST

GST_START_TEST (times_are_those_of_the_segment)
{
  g_auto (Fixture) fixture = new_telling ();
  g_auto (Told) before = {0}, after = {0};
  GstSegment segment;

  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.base = GST_SECOND;
  segment.start = 5 * GST_SECOND;
  segment.time = 100 * GST_SECOND;
  gst_harness_push_event (fixture.harness, gst_event_new_segment (&segment));
  fixture_push_windows (&fixture, 2, 7 * GST_SECOND);

  before = wait_told (&fixture);
  fail_unless_equals_uint64 (before.timestamp, 7 * GST_SECOND);
  fail_unless_equals_uint64 (before.stream_time, 102 * GST_SECOND);
  fail_unless_equals_uint64 (before.running_time, 3 * GST_SECOND);
  fail_unless_equals_uint64 (
      only_note (&before)->onset, 102 * GST_SECOND + 50 * GST_MSECOND);
  after = wait_told (&fixture);
  fail_unless_equals_uint64 (
      after.running_time, 3 * GST_SECOND + fixture_windows_time (1));
}

GST_END_TEST

/* As concat makes it of two files: the second one's time begins anew, running
 * time goes on. */
GST_START_TEST (times_follow_a_change_of_segments)
{
  g_auto (Fixture) fixture = new_telling ();
  g_auto (Told) before = {0}, after = {0};
  GstSegment segment;

  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.stop = fixture_windows_time (1);
  gst_harness_push_event (fixture.harness, gst_event_new_segment (&segment));
  fixture_push_windows (&fixture, 1, 0);
  segment.base = fixture_windows_time (1);
  gst_harness_push_event (fixture.harness, gst_event_new_segment (&segment));
  fixture_push_windows (&fixture, 1, 0);

  before = wait_told (&fixture);
  after = wait_told (&fixture);
  fail_unless_equals_uint64 (before.running_time, 0);
  fail_unless_equals_uint64 (after.running_time, fixture_windows_time (1));
  fail_unless_equals_uint64 (after.stream_time, 0);
  fail_unless_equals_uint64 (only_note (&after)->onset, 44 * GST_MSECOND);
}

GST_END_TEST

GST_START_TEST (telling_can_begin_while_playing)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  g_auto (Told) told = {0};

  fixture_push_windows (&fixture, 1, 0);
  fixture_wait_windows (&fixture, 1);
  g_object_set (fixture.element, "post-messages", TRUE, NULL);
  fixture_push_windows (&fixture, 1, fixture_windows_time (1));
  told = wait_told (&fixture);
  fail_unless_equals_int (only_note (&told)->id, 2);
}

GST_END_TEST

GST_START_TEST (a_note_from_before_telling_is_told_at_its_end)
{
  g_auto (Fixture) fixture = fixture_new_playing ();
  g_auto (Told) told = {0};
  const GstMt3Note *note;

  script.sustain = TRUE;
  fixture_push_windows (&fixture, 1, 0);
  fixture_wait_windows (&fixture, 1);
  g_object_set (fixture.element, "post-messages", TRUE, NULL);
  fixture_push_windows (&fixture, 1, fixture_windows_time (1));
  told = wait_told (&fixture);
  fail_unless_equals_int (told.notes->len, 2);
  note = g_ptr_array_index (told.notes, 0);
  fail_unless_equals_int (note->id, 1);
  fail_unless_equals_uint64 (note->onset, 50 * GST_MSECOND);
  fail_unless_equals_uint64 (note->end, 250 * GST_MSECOND);
}

GST_END_TEST

GST_START_TEST (a_flush_forgets_what_was_not_told)
{
  g_auto (Fixture) fixture = new_telling ();
  g_auto (Told) told = {0};
  GstSegment segment;

  script_set_hold_decode (TRUE);
  fixture_push_windows (&fixture, 1, 0);
  script_wait_held ();
  gst_harness_push_event (fixture.harness, gst_event_new_flush_start ());
  gst_harness_push_event (fixture.harness, gst_event_new_flush_stop (TRUE));
  script_set_hold_decode (FALSE);
  gst_segment_init (&segment, GST_FORMAT_TIME);
  gst_harness_push_event (fixture.harness, gst_event_new_segment (&segment));
  fixture_push_windows (&fixture, 1, 10 * GST_SECOND);
  told = wait_told (&fixture);
  fail_unless_equals_uint64 (told.timestamp, 10 * GST_SECOND);
}

GST_END_TEST

static Suite *
note_messages_suite (void)
{
  Suite *suite = suite_create ("note-messages");
  TCase *tcase = tcase_create ("note-messages");

  suite_add_tcase (suite, tcase);
  tcase_add_checked_fixture (tcase, fixture_setup, fixture_teardown);
  tcase_add_test (tcase, nothing_is_told_unless_asked_for);
  tcase_add_test (tcase, each_window_with_notes_is_told);
  tcase_add_test (tcase, a_window_is_told_before_the_audio_ends);
  tcase_add_test (tcase, live_midi_is_told_before_it_is_sent);
  tcase_add_test (tcase, a_silent_window_is_not_told);
  tcase_add_test (tcase, a_note_that_goes_on_is_told_again_at_its_end);
  tcase_add_test (tcase, the_end_of_the_audio_tells_what_still_sounds);
  tcase_add_test (tcase, times_are_those_of_the_segment);
  tcase_add_test (tcase, times_follow_a_change_of_segments);
  tcase_add_test (tcase, telling_can_begin_while_playing);
  tcase_add_test (tcase, a_note_from_before_telling_is_told_at_its_end);
  tcase_add_test (tcase, a_flush_forgets_what_was_not_told);

  return suite;
}

GST_CHECK_MAIN (note_messages)
