/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * midi-file-output.c: a Standard MIDI File, whole at the end.
 *
 * The notes stay in memory and one buffer with the complete file goes out at
 * the end: nothing is seeked back for, so pipes work. Where the sink can seek,
 * an unfinished piece may be written every now and then, so that little is
 * lost with the process; each time the file is written anew from its start.
 * What makes it longer is written first, so that a full disk leaves the file
 * from before as it is.
 */
#include <math.h>
#include <string.h>

#include "element/debug.h"
#include "element/output.h"
#include "midi/midi-writer.h"

#define GST_CAT_DEFAULT gst_mt3_midi_file_debug

#define CHUNK_HEADER 8 /* type and length */

typedef struct {
  GstMt3Output output;

  gchar *title;
  GArray *notes; /* of Mt3Note; the note with id n at n - 1 */
  gdouble written_until;
  gsize written; /* bytes that the sink may already hold */
} GstMt3MidiFileOutput;

/* Sends the sink to @offset in the file. */
static void
gst_mt3_midi_file_output_push_segment (GstMt3MidiFileOutput *self, gsize offset)
{
  GstSegment segment;
  GstEvent *event;

  gst_segment_init (&segment, GST_FORMAT_BYTES);
  segment.start = segment.time = offset;
  event = gst_event_new_segment (&segment);
  if (self->output.context.seqnum != GST_SEQNUM_INVALID)
    gst_event_set_seqnum (event, self->output.context.seqnum);
  gst_pad_push_event (self->output.context.srcpad, event);
}

static void
gst_mt3_midi_file_output_name (GstMt3Output *output, const gchar *title)
{
  GstMt3MidiFileOutput *self = (GstMt3MidiFileOutput *) output;

  if (!self->title)
    self->title = g_strdup (title);
}

/* The GAP prerolls the sink: the file itself comes only at the end, which a
 * paused pipeline would never reach. */
static void
gst_mt3_midi_file_output_open (GstMt3Output *output)
{
  GstMt3MidiFileOutput *self = (GstMt3MidiFileOutput *) output;

  gst_mt3_midi_file_output_push_segment (self, 0);
  gst_pad_push_event (
      output->context.srcpad, gst_event_new_gap (0, GST_CLOCK_TIME_NONE));
}

/* Opening it has done so. */
static void
gst_mt3_midi_file_output_preroll (GstMt3Output *output)
{
}

static void
gst_mt3_midi_file_output_note (
    GstMt3Output *output, const Mt3Note *note, gboolean ended)
{
  GstMt3MidiFileOutput *self = (GstMt3MidiFileOutput *) output;

  g_return_if_fail (note->id > 0);

  if (note->id > self->notes->len)
    g_array_set_size (self->notes, note->id);
  g_array_index (self->notes, Mt3Note, note->id - 1) = *note;
}

/* A file has no place for it. */
static void
gst_mt3_midi_file_output_discont (GstMt3Output *output, gdouble seconds)
{
}

/* Appends a chunk of a type that readers do not know, which the MIDI
 * specification tells them to skip. @size: all of it */
static void
append_pad_chunk (GByteArray *file, gsize size)
{
  guint8 header[CHUNK_HEADER] = {'X', 'P', 'a', 'd'};
  guint32 length = GUINT32_TO_BE ((guint32) (size - CHUNK_HEADER));
  guint end = file->len + (guint) size;

  memcpy (header + 4, &length, sizeof length);
  g_byte_array_append (file, header, CHUNK_HEADER);
  g_byte_array_set_size (file, end);
  memset (file->data + end - (size - CHUNK_HEADER), 0, size - CHUNK_HEADER);
}

/* A file that became shorter would keep the tail of the one it overwrites, and
 * one that became longer must have room for a chunk there. */
static void
gst_mt3_midi_file_output_pad (GstMt3MidiFileOutput *self, GByteArray *file)
{
  gsize size = file->len, end = self->written;

  if (size == end || size >= end + CHUNK_HEADER)
    return;
  if (size + CHUNK_HEADER > end)
    end = MAX (size, end) + CHUNK_HEADER;
  append_pad_chunk (file, end - size);
}

/* Takes @file, which lies at @offset of the sink's. */
static GstBuffer *
gst_mt3_midi_file_output_buffer (
    GstMt3MidiFileOutput *self, GByteArray *file, gsize offset)
{
  GstBuffer *buffer =
      gst_mt3_output_new_buffer (&self->output, file->data, file->len);

  GST_BUFFER_OFFSET (buffer) = offset;
  GST_BUFFER_OFFSET_END (buffer) = offset + file->len;
  g_byte_array_unref (file);

  return buffer;
}

/* Makes what the sink holds as long as @size. It must not keep this in memory:
 * that it could not write it would be known too late, from an event. */
static GstFlowReturn
gst_mt3_midi_file_output_reserve (GstMt3MidiFileOutput *self, gsize size)
{
  GByteArray *pad = g_byte_array_new ();
  GstBuffer *buffer;

  append_pad_chunk (pad, size - self->written);
  buffer = gst_mt3_midi_file_output_buffer (self, pad, self->written);
  GST_BUFFER_FLAG_SET (buffer, GST_BUFFER_FLAG_SYNC_AFTER);
  gst_mt3_midi_file_output_push_segment (self, self->written);

  return gst_pad_push (self->output.context.srcpad, buffer);
}

static GstFlowReturn
gst_mt3_midi_file_output_push (GstMt3MidiFileOutput *self)
{
  const Mt3Note *notes = (const Mt3Note *) self->notes->data;
  GByteArray *file = mt3_midi_write (notes, self->notes->len, self->title);
  GstFlowReturn ret = GST_FLOW_OK;
  GstBuffer *buffer;

  gst_mt3_midi_file_output_pad (self, file);
  if (self->written > 0 && file->len > self->written)
    ret = gst_mt3_midi_file_output_reserve (self, file->len);
  if (ret != GST_FLOW_OK) {
    g_byte_array_unref (file);
    return ret;
  }
  if (self->written > 0)
    gst_mt3_midi_file_output_push_segment (self, 0);
  self->written = file->len;
  GST_DEBUG_OBJECT (self->output.context.srcpad, "%u notes in %u bytes",
      self->notes->len, file->len);

  buffer = gst_mt3_midi_file_output_buffer (self, file, 0);
  for (guint i = 0; i < self->notes->len; i++)
    gst_mt3_output_attach (buffer, &notes[i], self->output.context.stream_time);

  return gst_pad_push (self->output.context.srcpad, buffer);
}

static gboolean
gst_mt3_midi_file_output_sink_can_seek (GstMt3MidiFileOutput *self)
{
  GstQuery *query = gst_query_new_seeking (GST_FORMAT_BYTES);
  gboolean seekable = FALSE;

  if (gst_pad_peer_query (self->output.context.srcpad, query))
    gst_query_parse_seeking (query, NULL, &seekable, NULL, NULL);
  gst_query_unref (query);

  return seekable;
}

static GstFlowReturn
gst_mt3_midi_file_output_advance (
    GstMt3Output *output, gdouble seconds, GstClockTime interval)
{
  GstMt3MidiFileOutput *self = (GstMt3MidiFileOutput *) output;

  if (interval == 0 ||
      seconds < self->written_until + (gdouble) interval / GST_SECOND)
    return GST_FLOW_OK;
  self->written_until = seconds;
  if (!gst_mt3_midi_file_output_sink_can_seek (self)) {
    GST_DEBUG_OBJECT (output->context.srcpad, "the sink cannot seek");
    return GST_FLOW_OK;
  }
  return gst_mt3_midi_file_output_push (self);
}

/* What is in the file is known when all of it is. */
static GstFlowReturn
gst_mt3_midi_file_output_settle (GstMt3Output *output, gdouble seconds)
{
  return GST_FLOW_OK;
}

static GstFlowReturn
gst_mt3_midi_file_output_finish (GstMt3Output *output, gdouble seconds)
{
  return gst_mt3_midi_file_output_push ((GstMt3MidiFileOutput *) output);
}

static void
gst_mt3_midi_file_output_free (GstMt3Output *output)
{
  GstMt3MidiFileOutput *self = (GstMt3MidiFileOutput *) output;

  g_array_unref (self->notes);
  g_free (self->title);
  g_free (self);
}

GstMt3Output *
gst_mt3_midi_file_output_new (const GstMt3OutputContext *context)
{
  GstMt3MidiFileOutput *self = g_new0 (GstMt3MidiFileOutput, 1);

  self->output = (GstMt3Output){
      .context = *context,
      .name = gst_mt3_midi_file_output_name,
      .open = gst_mt3_midi_file_output_open,
      .preroll = gst_mt3_midi_file_output_preroll,
      .note = gst_mt3_midi_file_output_note,
      .discont = gst_mt3_midi_file_output_discont,
      .advance = gst_mt3_midi_file_output_advance,
      .settle = gst_mt3_midi_file_output_settle,
      .finish = gst_mt3_midi_file_output_finish,
      .free = gst_mt3_midi_file_output_free,
  };
  self->notes = g_array_new (FALSE, TRUE, sizeof (Mt3Note));

  return &self->output;
}
