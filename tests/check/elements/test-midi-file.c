/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The output audio/midi, note by note.
 */
#include <math.h>
#include <string.h>

#include <gst/mt3/mt3.h>

#include "element/debug.h"
#include "element/output.h"
#include "midi-chunks.h"

static GstPad *pad;
static GstMt3Output *output;
static GPtrArray *files;
static guint n_segments;

static GstPadProbeReturn
see (GstPad *on, GstPadProbeInfo *info, gpointer user_data)
{
  if (GST_PAD_PROBE_INFO_TYPE (info) & GST_PAD_PROBE_TYPE_BUFFER) {
    g_ptr_array_add (
        files, gst_buffer_ref (gst_pad_probe_info_get_buffer (info)));
    GST_PAD_PROBE_INFO_FLOW_RETURN (info) = GST_FLOW_OK;
    gst_buffer_unref (gst_pad_probe_info_get_buffer (info));
    return GST_PAD_PROBE_HANDLED;
  }
  if (GST_EVENT_TYPE (gst_pad_probe_info_get_event (info)) == GST_EVENT_SEGMENT)
    n_segments++;
  return GST_PAD_PROBE_OK;
}

static gboolean
say_seekable (GstPad *on, GstObject *parent, GstQuery *query)
{
  gst_query_set_seeking (query, GST_FORMAT_BYTES, TRUE, 0, -1);
  return TRUE;
}

static GstPad *sink;

static void
setup (void)
{
  GstMt3OutputContext context = {.stream_time = GST_SECOND};

  gst_mt3_debug_init ();
  files = g_ptr_array_new_with_free_func ((GDestroyNotify) gst_buffer_unref);
  n_segments = 0;
  pad = gst_pad_new ("src", GST_PAD_SRC);
  sink = gst_pad_new ("sink", GST_PAD_SINK);
  gst_pad_set_query_function (sink, say_seekable);
  fail_unless_equals_int (
      gst_pad_link_full (pad, sink, GST_PAD_LINK_CHECK_NOTHING),
      GST_PAD_LINK_OK);
  gst_pad_set_active (sink, TRUE);
  gst_pad_set_active (pad, TRUE);
  gst_pad_add_probe (pad,
      GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, see,
      NULL, NULL);
  gst_pad_push_event (pad, gst_event_new_stream_start ("test"));
  context.srcpad = pad;
  output = gst_mt3_output_new ("audio/midi", &context);
  output->name (output, "A title");
  output->open (output);
}

static void
teardown (void)
{
  gst_mt3_output_free (output);
  g_ptr_array_unref (files);
  gst_pad_set_active (pad, FALSE);
  gst_pad_set_active (sink, FALSE);
  gst_object_unref (pad);
  gst_object_unref (sink);
}

static void
note (guint id, guint pitch, gdouble onset, gdouble offset)
{
  Mt3Note note = {.id = id,
      .onset = onset,
      .offset = offset,
      .pitch = pitch,
      .velocity = 100,
      .confidence = 0.5f};

  output->note (output, &note, !isnan (offset));
}

static guint
check_file (guint i)
{
  GstMapInfo map;
  guint n_chunks;

  fail_unless (i < files->len);
  gst_buffer_map (g_ptr_array_index (files, i), &map, GST_MAP_READ);
  n_chunks = check_midi_chunks (map.data, map.size);
  gst_buffer_unmap (g_ptr_array_index (files, i), &map);

  return n_chunks;
}

GST_START_TEST (a_note_that_ends_is_one_note)
{
  g_autoptr (GPtrArray) notes = NULL;
  const GstMt3Note *told;

  note (1, 60, 1.5, NAN);
  note (2, 64, 1.75, NAN);
  note (1, 60, 1.5, 2.25);
  fail_unless_equals_int (output->finish (output, 3.0), GST_FLOW_OK);
  fail_unless_equals_int (files->len, 1);
  check_file (0);
  notes = gst_buffer_get_mt3_notes (g_ptr_array_index (files, 0));
  fail_unless_equals_int (notes->len, 2);
  told = g_ptr_array_index (notes, 0);
  fail_unless_equals_clocktime (told->onset, 2500 * GST_MSECOND);
  fail_unless_equals_clocktime (told->end, 3250 * GST_MSECOND);
  told = g_ptr_array_index (notes, 1);
  fail_unless_equals_clocktime (told->end, GST_CLOCK_TIME_NONE);
}

GST_END_TEST

GST_START_TEST (nothing_is_written_before_its_time)
{
  note (1, 60, 0.5, 0.75);
  output->advance (output, 1.0, 0);
  output->advance (output, 1.0, 2 * GST_SECOND);
  fail_unless_equals_int (files->len, 0);
  output->advance (output, 2.0, 2 * GST_SECOND);
  fail_unless_equals_int (files->len, 1);
  output->advance (output, 3.0, 2 * GST_SECOND);
  fail_unless_equals_int (files->len, 1);
}

GST_END_TEST

GST_START_TEST (each_file_starts_the_sink_over)
{
  note (1, 60, 0.5, 0.75);
  output->advance (output, 1.0, 1);
  fail_unless_equals_int (n_segments, 1);
  output->finish (output, 18.0);
  fail_unless_equals_int (n_segments, 2);
}

GST_END_TEST

/* Two notes that sound: one long step. When the first has ended: two short
 * ones, which take a byte less. What stays of the old file must be covered. */
GST_START_TEST (a_shorter_file_covers_the_one_before)
{
  gsize before, after;

  note (1, 60, 0.0, NAN);
  note (2, 64, 16.4, NAN);
  output->advance (output, 17.0, 1);
  note (1, 60, 0.0, 16.3);
  output->finish (output, 18.0);
  fail_unless_equals_int (files->len, 3);
  before = gst_buffer_get_size (g_ptr_array_index (files, 0));
  after = gst_buffer_get_size (g_ptr_array_index (files, 2));
  fail_unless (after >= before);
  fail_unless_equals_int (check_file (2), check_file (0) + 1);
}

GST_END_TEST

/* So that a disk that is full then keeps the file before; with the room behind
 * it, it still is one. */
GST_START_TEST (room_for_a_longer_file_comes_first)
{
  GstBuffer *before, *room, *after, *both;

  note (1, 60, 0.5, 0.75);
  output->advance (output, 1.0, 1);
  note (2, 60, 1.5, 1.75);
  output->advance (output, 2.0, 1);
  fail_unless_equals_int (files->len, 3);
  before = g_ptr_array_index (files, 0);
  room = g_ptr_array_index (files, 1);
  after = g_ptr_array_index (files, 2);
  fail_unless_equals_uint64 (
      GST_BUFFER_OFFSET (room), gst_buffer_get_size (before));
  fail_unless_equals_uint64 (
      GST_BUFFER_OFFSET_END (room), gst_buffer_get_size (after));
  fail_unless (GST_BUFFER_FLAG_IS_SET (room, GST_BUFFER_FLAG_SYNC_AFTER));
  fail_unless_equals_uint64 (GST_BUFFER_OFFSET (after), 0);
  both = gst_buffer_append (gst_buffer_ref (before), gst_buffer_ref (room));
  g_ptr_array_add (files, both);
  fail_unless_equals_int (check_file (3), check_file (0) + 1);
}

GST_END_TEST

static Suite *
midi_file_suite (void)
{
  Suite *suite = suite_create ("midi-file");
  TCase *tcase = tcase_create ("general");

  tcase_add_checked_fixture (tcase, setup, teardown);
  tcase_add_test (tcase, a_note_that_ends_is_one_note);
  tcase_add_test (tcase, nothing_is_written_before_its_time);
  tcase_add_test (tcase, each_file_starts_the_sink_over);
  tcase_add_test (tcase, a_shorter_file_covers_the_one_before);
  tcase_add_test (tcase, room_for_a_longer_file_comes_first);
  suite_add_tcase (suite, tcase);

  return suite;
}

GST_CHECK_MAIN (midi_file);
