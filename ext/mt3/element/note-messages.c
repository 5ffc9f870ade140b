/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "element/note-messages.h"

#include <math.h>

struct _GstMt3NoteMessages {
  GstMt3OutputContext context;
  GHashTable *sounding; /* id to GstMt3Note (owned), as told at the onset */
  GPtrArray *notes; /* of GstMt3Note, of the next message */
};

GstMt3NoteMessages *
gst_mt3_note_messages_new (const GstMt3OutputContext *context)
{
  GstMt3NoteMessages *messages = g_new0 (GstMt3NoteMessages, 1);

  messages->context = *context;
  messages->sounding = g_hash_table_new_full (
      NULL, NULL, NULL, (GDestroyNotify) gst_mt3_note_free);
  messages->notes =
      g_ptr_array_new_with_free_func ((GDestroyNotify) gst_mt3_note_free);

  return messages;
}

void
gst_mt3_note_messages_free (GstMt3NoteMessages *messages)
{
  g_hash_table_unref (messages->sounding);
  g_ptr_array_unref (messages->notes);
  g_free (messages);
}

static GstClockTime
gst_mt3_note_messages_timestamp (
    GstMt3NoteMessages *messages, gdouble seconds, GstSegment *segment)
{
  GstClockTime position =
      (GstClockTime) llround (fmax (seconds, 0.0) * GST_SECOND);
  GstMt3TimeAnchor anchor;

  gst_mt3_output_find_time (&messages->context, position, &anchor);
  *segment = anchor.segment;

  return gst_mt3_time_anchor_pts (&anchor, position);
}

/* gst_segment_to_stream_time_full() or gst_segment_to_running_time_full(): what
 * the model writes past the end of the audio is past the segment's, too, where
 * the plain ones know no time. */
typedef gint (*SegmentTimeFunc) (
    const GstSegment *segment, GstFormat format, guint64 pts, guint64 *time);

static GstClockTime
gst_mt3_note_messages_time (
    GstMt3NoteMessages *messages, gdouble seconds, SegmentTimeFunc convert)
{
  GstSegment segment;
  GstClockTime pts =
      gst_mt3_note_messages_timestamp (messages, seconds, &segment);
  guint64 time;

  if (convert (&segment, GST_FORMAT_TIME, pts, &time) < 1)
    return GST_CLOCK_TIME_NONE;
  return time;
}

/* The place of the note @id in the next message; -1: it is not there. Looks
 * backwards: a note that begins in this window did so just before. */
static gint
gst_mt3_note_messages_find (GstMt3NoteMessages *messages, guint id)
{
  for (gint i = (gint) messages->notes->len - 1; i >= 0; i--)
    if (((GstMt3Note *) g_ptr_array_index (messages->notes, i))->id == id)
      return i;
  return -1;
}

/* As it is told at its onset; @note may have ended since. */
static GstMt3Note *
gst_mt3_note_messages_convert (
    GstMt3NoteMessages *messages, const Mt3Note *note)
{
  GstMt3Note told = gst_mt3_output_convert (note, 0);

  told.onset = gst_mt3_note_messages_time (
      messages, note->onset, gst_segment_to_stream_time_full);
  told.end = GST_CLOCK_TIME_NONE;

  return gst_mt3_note_copy (&told);
}

static void
gst_mt3_note_messages_begin (GstMt3NoteMessages *messages, const Mt3Note *note)
{
  GstMt3Note *told = gst_mt3_note_messages_convert (messages, note);

  g_hash_table_insert (messages->sounding, GUINT_TO_POINTER (note->id), told);
  g_ptr_array_add (messages->notes, gst_mt3_note_copy (told));
}

static void
gst_mt3_note_messages_end (GstMt3NoteMessages *messages, const Mt3Note *note)
{
  gint at = gst_mt3_note_messages_find (messages, note->id);
  gpointer told;

  /* Otherwise it began while nobody wanted to know. */
  if (!g_hash_table_steal_extended (
          messages->sounding, GUINT_TO_POINTER (note->id), NULL, &told))
    told = gst_mt3_note_messages_convert (messages, note);
  ((GstMt3Note *) told)->end = gst_mt3_note_messages_time (
      messages, note->offset, gst_segment_to_stream_time_full);
  if (at >= 0)
    g_ptr_array_remove_index (messages->notes, at);
  g_ptr_array_insert (messages->notes, at, told);
}

void
gst_mt3_note_messages_add (
    GstMt3NoteMessages *messages, const Mt3Note *note, gboolean ended)
{
  if (ended)
    gst_mt3_note_messages_end (messages, note);
  else
    gst_mt3_note_messages_begin (messages, note);
}

GstMessage *
gst_mt3_note_messages_take (
    GstMt3NoteMessages *messages, GstObject *src, gdouble from, gdouble to)
{
  GstSegment segment;
  GstMessage *message;

  if (messages->notes->len == 0)
    return NULL;
  message = gst_mt3_notes_message_new (src,
      gst_mt3_note_messages_timestamp (messages, from, &segment),
      gst_mt3_note_messages_time (
          messages, from, gst_segment_to_stream_time_full),
      gst_mt3_note_messages_time (
          messages, from, gst_segment_to_running_time_full),
      (GstClockTime) llround ((to - from) * GST_SECOND), messages->notes);
  g_ptr_array_set_size (messages->notes, 0);

  return message;
}

void
gst_mt3_note_messages_forget (GstMt3NoteMessages *messages)
{
  g_hash_table_remove_all (messages->sounding);
  g_ptr_array_set_size (messages->notes, 0);
}
