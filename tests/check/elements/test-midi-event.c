/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The output audio/x-midi-event, note by note.
 */
#include <math.h>
#include <string.h>

#include <gst/check/gstcheck.h>
#include <gst/mt3/mt3.h>

#include "element/debug.h"
#include "element/output.h"

#define TICK 0xf9

static GstPad *pad, *sink;
static GstMt3Output *output;
static GstMt3TimeMap *times;
static GstSegment segment;
static GPtrArray *sent; /* GstMiniObject: buffers, SEGMENT and GAP events */

static GstPadProbeReturn
see (GstPad *on, GstPadProbeInfo *info, gpointer user_data)
{
  GstMiniObject *object = GST_PAD_PROBE_INFO_DATA (info);

  if (GST_PAD_PROBE_INFO_TYPE (info) & GST_PAD_PROBE_TYPE_BUFFER) {
    g_ptr_array_add (sent, object);
    GST_PAD_PROBE_INFO_FLOW_RETURN (info) = GST_FLOW_OK;
    return GST_PAD_PROBE_HANDLED;
  }
  if (GST_EVENT_TYPE (object) == GST_EVENT_SEGMENT ||
      GST_EVENT_TYPE (object) == GST_EVENT_GAP)
    g_ptr_array_add (sent, gst_mini_object_ref (object));
  return GST_PAD_PROBE_OK;
}

static void
setup (void)
{
  gst_mt3_debug_init ();
  sent =
      g_ptr_array_new_with_free_func ((GDestroyNotify) gst_mini_object_unref);
  pad = gst_pad_new ("src", GST_PAD_SRC);
  sink = gst_pad_new ("sink", GST_PAD_SINK);
  fail_unless_equals_int (
      gst_pad_link_full (pad, sink, GST_PAD_LINK_CHECK_NOTHING),
      GST_PAD_LINK_OK);
  gst_pad_set_active (sink, TRUE);
  gst_pad_set_active (pad, TRUE);
  gst_pad_add_probe (pad,
      GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, see,
      NULL, NULL);
  gst_pad_push_event (pad, gst_event_new_stream_start ("test"));
  times = gst_mt3_time_map_new ();
  /* Stream time is a minute more than the timestamps. */
  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.time = GST_SECOND * 60;
}

static void
teardown (void)
{
  gst_mt3_output_free (output);
  gst_mt3_time_map_free (times);
  gst_pad_set_active (pad, FALSE);
  gst_pad_set_active (sink, FALSE);
  gst_object_unref (pad);
  gst_object_unref (sink);
  g_ptr_array_unref (sent);
}

/* Audio begins at 1 s. */
static void
open_output (gboolean midi_ticks)
{
  GstMt3OutputContext context = {
      .srcpad = pad,
      .segment = segment,
      .pts = GST_SECOND,
      .stream_time = 61 * GST_SECOND,
      .times = times,
      .midi_ticks = midi_ticks,
  };

  output = gst_mt3_output_new ("audio/x-midi-event", &context);
  output->open (output);
}

static Mt3Note
note_of (guint id, guint pitch, gdouble onset)
{
  return (Mt3Note){.id = id,
      .onset = onset,
      .offset = NAN,
      .pitch = pitch,
      .velocity = 100,
      .confidence = 0.5f};
}

static void
begin (guint id, guint pitch, gdouble onset)
{
  Mt3Note note = note_of (id, pitch, onset);

  output->note (output, &note, FALSE);
}

static void
end (guint id, guint pitch, gdouble onset, gdouble offset)
{
  Mt3Note note = note_of (id, pitch, onset);

  note.offset = offset;
  output->note (output, &note, TRUE);
}

static void
begin_program (guint id, guint program)
{
  Mt3Note note = note_of (id, 60, id);

  note.program = program;
  output->note (output, &note, FALSE);
}

static void
finish (gdouble seconds)
{
  fail_unless_equals_int (output->finish (output, seconds), GST_FLOW_OK);
}

static gboolean
is_tick (GstMiniObject *object)
{
  guint8 byte = TICK;

  return GST_IS_BUFFER (object) &&
         gst_buffer_get_size (GST_BUFFER (object)) == 1 &&
         gst_buffer_memcmp (GST_BUFFER (object), 0, &byte, 1) == 0;
}

/* The i-th buffer that is no tick. */
static GstBuffer *
message (guint i)
{
  for (guint at = 0; at < sent->len; at++) {
    GstMiniObject *object = g_ptr_array_index (sent, at);

    if (GST_IS_BUFFER (object) && !is_tick (object) && i-- == 0)
      return GST_BUFFER (object);
  }
  return NULL;
}

/* All messages but ticks, as "seconds:bytes" from 0 of the audio. */
static gchar *
messages (void)
{
  GString *text = g_string_new (NULL);
  GstBuffer *buffer;

  for (guint i = 0; (buffer = message (i)); i++) {
    gdouble seconds = GST_BUFFER_PTS (buffer) / (gdouble) GST_SECOND - 1.0;
    GstMapInfo map;

    gst_buffer_map (buffer, &map, GST_MAP_READ);
    g_string_append_printf (text, "%s%.2f:", i ? " " : "", seconds);
    for (gsize k = 0; k < map.size; k++)
      g_string_append_printf (text, "%02x", map.data[k]);
    gst_buffer_unmap (buffer, &map);
  }
  return g_string_free (text, FALSE);
}

static void
check_messages (const gchar *expected)
{
  g_autofree gchar *found = messages ();

  fail_unless_equals_string (found, expected);
}

static void
check_times_never_decrease (void)
{
  GstClockTime last = 0;

  for (guint i = 0; i < sent->len; i++) {
    GstBuffer *buffer = g_ptr_array_index (sent, i);

    if (!GST_IS_BUFFER (buffer))
      continue;
    fail_unless (GST_BUFFER_PTS_IS_VALID (buffer));
    fail_unless (GST_BUFFER_PTS (buffer) >= last);
    fail_if (GST_BUFFER_DURATION_IS_VALID (buffer));
    last = GST_BUFFER_PTS (buffer);
  }
}

/* Messages */

GST_START_TEST (each_message_is_a_buffer_with_its_status)
{
  open_output (TRUE);
  begin (1, 60, 0.5);
  begin (2, 64, 0.5);
  end (1, 60, 0.5, 0.8);
  end (2, 64, 0.5, 0.9);
  finish (1.0);
  check_messages ("0.50:c000 0.50:903c64 0.50:904064 0.80:803c40 0.90:804040");
}

GST_END_TEST

GST_START_TEST (drums_play_on_channel_10)
{
  Mt3Note note = note_of (1, 36, 0.5);

  open_output (TRUE);
  note.is_drum = TRUE;
  output->note (output, &note, FALSE);
  note.offset = 0.51;
  output->note (output, &note, TRUE);
  finish (1.0);
  check_messages ("0.50:c900 0.50:992464 0.51:892440");
}

GST_END_TEST

GST_START_TEST (at_equal_times_ends_come_before_onsets)
{
  open_output (TRUE);
  begin (1, 60, 0.1);
  begin (2, 60, 0.5);
  begin (3, 64, 0.5);
  end (1, 60, 0.1, 0.5);
  finish (1.0);
  check_messages ("0.10:c000 0.10:903c64 0.50:803c40 0.50:903c64 0.50:904064");
}

GST_END_TEST

/* As a drum's end is told with its onset, before an onset that comes sooner. */
GST_START_TEST (an_end_waits_for_its_time)
{
  open_output (TRUE);
  begin (1, 60, 0.10);
  end (1, 60, 0.10, 0.50);
  begin (2, 64, 0.20);
  end (2, 64, 0.20, 0.30);
  finish (1.0);
  check_messages ("0.10:c000 0.10:903c64 0.20:904064 0.30:804040 0.50:803c40");
}

GST_END_TEST

GST_START_TEST (nothing_is_sent_that_could_be_overtaken)
{
  open_output (TRUE);
  begin (1, 60, 0.96);
  begin (2, 64, 0.99);
  output->advance (output, 1.0, 0);
  check_messages ("0.96:c000 0.96:903c64");
  begin (3, 67, 0.98);
  output->advance (output, 2.0, 0);
  check_messages ("0.96:c000 0.96:903c64 0.98:904364 0.99:904064");
}

GST_END_TEST

GST_START_TEST (the_end_sends_what_is_left)
{
  open_output (TRUE);
  begin (1, 60, 0.5);
  end (1, 60, 0.5, 2.5);
  finish (1.0);
  check_messages ("0.50:c000 0.50:903c64 2.50:803c40");
}

GST_END_TEST

GST_START_TEST (one_program_too_many_takes_over_a_channel)
{
  open_output (TRUE);
  for (guint i = 0; i < 15; i++)
    begin_program (i + 1, i);
  output->advance (output, 20.0, 0);
  g_ptr_array_set_size (sent, 0);
  begin_program (21, 100);
  /* What was cut ends once only. */
  end (1, 60, 1.0, 22.0);
  finish (23.0);
  check_messages ("21.00:803c40 21.00:c064 21.00:903c64");
}

GST_END_TEST

/* Time */

GST_START_TEST (time_ticks_every_10_ms)
{
  guint n = 0;

  open_output (TRUE);
  begin (1, 60, 0.5);
  output->advance (output, 1.0, 0);
  finish (2.0);
  for (guint i = 0; i < sent->len; i++) {
    GstMiniObject *object = g_ptr_array_index (sent, i);

    if (is_tick (object))
      fail_unless_equals_clocktime (GST_BUFFER_PTS (GST_BUFFER (object)),
          GST_SECOND + n++ * 10 * GST_MSECOND);
  }
  fail_unless_equals_int (n, 201);
  check_times_never_decrease ();
}

GST_END_TEST

GST_START_TEST (without_ticks_gaps_fill_the_time)
{
  GstClockTime until = GST_SECOND;

  open_output (FALSE);
  output->advance (output, 1.0, 0);
  begin (1, 60, 1.5);
  output->advance (output, 2.0, 0);
  output->advance (output, 3.0, 0);
  finish (3.5);
  for (guint i = 0; i < sent->len; i++) {
    GstMiniObject *object = g_ptr_array_index (sent, i);
    GstClockTime start, duration;

    fail_if (is_tick (object));
    if (!GST_IS_EVENT (object) || GST_EVENT_TYPE (object) != GST_EVENT_GAP)
      continue;
    gst_event_parse_gap (GST_EVENT (object), &start, &duration);
    fail_unless_equals_clocktime (start, until);
    fail_unless (duration > 0);
    until = start + duration;
  }
  fail_unless_equals_clocktime (until, 4500 * GST_MSECOND);
  check_messages ("1.50:c000 1.50:903c64");
}

GST_END_TEST

GST_START_TEST (the_segment_is_upstreams)
{
  const GstSegment *told;

  open_output (TRUE);
  gst_event_parse_segment (g_ptr_array_index (sent, 0), &told);
  fail_unless (gst_segment_is_equal (told, &segment));
}

GST_END_TEST

/* A sink drops what begins where the segment stops, so the note would sound for
 * ever. The audio ends with the segment, at 3 s. */
GST_START_TEST (what_ends_with_the_audio_is_before_the_segments_stop)
{
  segment.stop = 3 * GST_SECOND;
  open_output (TRUE);
  begin (1, 60, 1.5);
  end (1, 60, 1.5, 2.3);
  finish (2.0);
  check_messages ("1.50:c000 1.50:903c64 2.00:803c40");
  for (guint i = 1; i < sent->len; i++)
    fail_unless (GST_BUFFER_PTS (g_ptr_array_index (sent, i)) < segment.stop);
}

GST_END_TEST

static void
anchor (GstClockTime position, GstClockTime pts)
{
  GstMt3TimeAnchor anchor = {position, pts, segment, 7};

  gst_mt3_time_map_add (times, &anchor);
}

GST_START_TEST (another_segment_comes_before_its_messages)
{
  const GstSegment *told = NULL;
  guint after = 0;

  open_output (TRUE);
  anchor (0, GST_SECOND);
  segment.base = 2 * GST_SECOND;
  anchor (2 * GST_SECOND, 100 * GST_SECOND);
  begin (1, 60, 2.5);
  finish (3.0);
  for (guint i = 1; i < sent->len; i++) {
    GstMiniObject *object = g_ptr_array_index (sent, i);

    if (GST_IS_EVENT (object)) {
      fail_unless (told == NULL);
      gst_event_parse_segment (GST_EVENT (object), &told);
      fail_unless_equals_int (gst_event_get_seqnum (GST_EVENT (object)), 7);
    } else {
      after += told != NULL;
      fail_unless ((told != NULL) ==
                   (GST_BUFFER_PTS (GST_BUFFER (object)) >= 100 * GST_SECOND));
    }
  }
  fail_unless (gst_segment_is_equal (told, &segment));
  fail_unless_equals_int (after, 101 + 2);
  fail_unless_equals_clocktime (
      GST_BUFFER_PTS (message (1)), 100500 * GST_MSECOND);
}

GST_END_TEST

/* What is over costs no memory: the next anchor stands for it. */
GST_START_TEST (past_segments_are_forgotten)
{
  GstMt3TimeAnchor found;

  open_output (TRUE);
  anchor (0, GST_SECOND);
  anchor (2 * GST_SECOND, 100 * GST_SECOND);
  gst_mt3_time_map_forget (times, 2 * GST_SECOND);
  fail_unless (gst_mt3_time_map_find (times, GST_SECOND, &found));
  fail_unless_equals_clocktime (found.position, 2 * GST_SECOND);
}

GST_END_TEST

/* Even what was told with later times. */
GST_START_TEST (what_is_settled_stays_in_its_segment)
{
  open_output (TRUE);
  anchor (0, GST_SECOND);
  segment.base = 2 * GST_SECOND;
  anchor (2 * GST_SECOND, 100 * GST_SECOND);
  begin (1, 60, 1.9);
  end (1, 60, 1.9, 2.3);
  fail_unless_equals_int (output->settle (output, 2.0), GST_FLOW_OK);
  fail_unless_equals_clocktime (
      GST_BUFFER_PTS (message (2)), 3 * GST_SECOND - 1);
  for (guint i = 1; i < sent->len; i++)
    fail_unless (GST_IS_BUFFER (g_ptr_array_index (sent, i)));
  begin (2, 60, 2.0);
  finish (2.1);
  fail_unless_equals_clocktime (GST_BUFFER_PTS (message (3)), 100 * GST_SECOND);
}

GST_END_TEST

/* Upstream's clock is found to be 50 ms behind the samples. */
GST_START_TEST (timestamps_never_go_back)
{
  open_output (TRUE);
  anchor (0, GST_SECOND);
  anchor (2 * GST_SECOND, 2950 * GST_MSECOND);
  begin (1, 60, 2.02);
  begin (2, 64, 2.5);
  finish (3.0);
  check_times_never_decrease ();
  check_messages ("1.99:c000 1.99:903c64 2.45:904064");
}

GST_END_TEST

GST_START_TEST (the_first_message_and_the_one_after_a_loss_are_disconts)
{
  guint n = 0;

  open_output (TRUE);
  output->advance (output, 1.0, 0);
  output->discont (output, 1.5);
  output->advance (output, 2.0, 0);
  for (guint i = 0; i < sent->len; i++) {
    GstBuffer *buffer = g_ptr_array_index (sent, i);

    if (!GST_IS_BUFFER (buffer) ||
        !GST_BUFFER_FLAG_IS_SET (buffer, GST_BUFFER_FLAG_DISCONT))
      continue;
    fail_unless_equals_clocktime (
        GST_BUFFER_PTS (buffer), GST_SECOND + n++ * 1500 * GST_MSECOND);
  }
  fail_unless_equals_int (n, 2);
}

GST_END_TEST

/* Notes */

static const GstMt3Note *
note_on (guint i)
{
  GstMt3NoteMeta *meta = gst_buffer_get_mt3_note_meta (message (i));

  fail_unless (meta != NULL);
  return &meta->note;
}

GST_START_TEST (onset_and_end_carry_the_same_note)
{
  open_output (TRUE);
  begin (7, 60, 0.5);
  end (7, 60, 0.5, 0.8);
  finish (1.0);
  fail_unless (gst_buffer_get_mt3_note_meta (message (0)) == NULL);
  for (guint i = 1; i <= 2; i++) {
    fail_unless_equals_int (note_on (i)->id, 7);
    fail_unless_equals_int (note_on (i)->pitch, 60);
    fail_unless_equals_float (note_on (i)->confidence, 0.5);
    fail_unless_equals_clocktime (note_on (i)->onset, 61500 * GST_MSECOND);
  }
  fail_unless_equals_clocktime (note_on (1)->end, GST_CLOCK_TIME_NONE);
  fail_unless_equals_clocktime (note_on (2)->end, 61800 * GST_MSECOND);
}

GST_END_TEST

/* The onset is told in the stream time that it had. */
GST_START_TEST (a_note_may_end_in_another_segment)
{
  open_output (TRUE);
  anchor (0, GST_SECOND);
  segment.time = 0;
  anchor (2 * GST_SECOND, 100 * GST_SECOND);
  begin (1, 60, 1.5);
  output->advance (output, 2.0, 0);
  gst_mt3_time_map_forget (times, 3 * GST_SECOND);
  end (1, 60, 1.5, 2.5);
  finish (3.0);
  fail_unless_equals_clocktime (note_on (2)->onset, 62500 * GST_MSECOND);
  fail_unless_equals_clocktime (note_on (2)->end, 100500 * GST_MSECOND);
}

GST_END_TEST

static Suite *
midi_event_suite (void)
{
  Suite *suite = suite_create ("midi-event");
  TCase *tcase = tcase_create ("general");

  tcase_add_checked_fixture (tcase, setup, teardown);
  tcase_add_test (tcase, each_message_is_a_buffer_with_its_status);
  tcase_add_test (tcase, drums_play_on_channel_10);
  tcase_add_test (tcase, at_equal_times_ends_come_before_onsets);
  tcase_add_test (tcase, an_end_waits_for_its_time);
  tcase_add_test (tcase, nothing_is_sent_that_could_be_overtaken);
  tcase_add_test (tcase, the_end_sends_what_is_left);
  tcase_add_test (tcase, one_program_too_many_takes_over_a_channel);
  tcase_add_test (tcase, time_ticks_every_10_ms);
  tcase_add_test (tcase, without_ticks_gaps_fill_the_time);
  tcase_add_test (tcase, the_segment_is_upstreams);
  tcase_add_test (tcase, what_ends_with_the_audio_is_before_the_segments_stop);
  tcase_add_test (tcase, another_segment_comes_before_its_messages);
  tcase_add_test (tcase, past_segments_are_forgotten);
  tcase_add_test (tcase, what_is_settled_stays_in_its_segment);
  tcase_add_test (tcase, timestamps_never_go_back);
  tcase_add_test (
      tcase, the_first_message_and_the_one_after_a_loss_are_disconts);
  tcase_add_test (tcase, onset_and_end_carry_the_same_note);
  tcase_add_test (tcase, a_note_may_end_in_another_segment);
  suite_add_tcase (suite, tcase);

  return suite;
}

GST_CHECK_MAIN (midi_event);
