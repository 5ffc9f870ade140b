/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <math.h>

#include <gst/mt3/mt3.h>

#include "element/note-messages.h"
#include "element/output.h"

struct _GstMt3NoteMessages {
  GstSegment segment;
  GstClockTime pts;
  GPtrArray *notes; /* of GstMt3Note, of the next message */
};

GstMt3NoteMessages *
gst_mt3_note_messages_new (const GstSegment *segment, GstClockTime pts)
{
  GstMt3NoteMessages *messages = g_new0 (GstMt3NoteMessages, 1);

  messages->segment = *segment;
  messages->pts = pts;
  messages->notes =
      g_ptr_array_new_with_free_func ((GDestroyNotify) gst_mt3_note_free);

  return messages;
}

void
gst_mt3_note_messages_free (GstMt3NoteMessages *messages)
{
  g_ptr_array_unref (messages->notes);
  g_free (messages);
}

/* A segment says nothing about positions outside of it, where the audio that
 * came after a change of segments would be: its times go on as those of the
 * first one do. */
static GstClockTime
gst_mt3_note_messages_stream_time (
    GstMt3NoteMessages *messages, GstClockTime timestamp)
{
  guint64 time;

  if (gst_segment_to_stream_time_full (
          &messages->segment, GST_FORMAT_TIME, timestamp, &time) < 1)
    return GST_CLOCK_TIME_NONE;
  return time;
}

static GstClockTime
gst_mt3_note_messages_running_time (
    GstMt3NoteMessages *messages, GstClockTime timestamp)
{
  guint64 time;

  if (gst_segment_to_running_time_full (
          &messages->segment, GST_FORMAT_TIME, timestamp, &time) < 1)
    return GST_CLOCK_TIME_NONE;
  return time;
}

void
gst_mt3_note_messages_add (GstMt3NoteMessages *messages, const Mt3Note *note)
{
  GstMt3Note told = gst_mt3_output_convert (
      note, gst_mt3_note_messages_stream_time (messages, messages->pts));

  /* Backwards: a note that began in this window did so just before. */
  for (guint i = messages->notes->len; i > 0; i--) {
    GstMt3Note *other = g_ptr_array_index (messages->notes, i - 1);

    if (other->id == told.id) {
      *other = told;
      return;
    }
  }
  g_ptr_array_add (messages->notes, gst_mt3_note_copy (&told));
}

GstMessage *
gst_mt3_note_messages_take (
    GstMt3NoteMessages *messages, GstObject *src, gdouble from, gdouble to)
{
  GstClockTime timestamp =
      messages->pts + (GstClockTime) llround (from * GST_SECOND);
  GstClockTime duration = (GstClockTime) llround ((to - from) * GST_SECOND);
  GstMessage *message;

  if (messages->notes->len == 0)
    return NULL;
  message = gst_mt3_notes_message_new (src, timestamp,
      gst_mt3_note_messages_stream_time (messages, timestamp),
      gst_mt3_note_messages_running_time (messages, timestamp), duration,
      messages->notes);
  g_ptr_array_set_size (messages->notes, 0);

  return message;
}
