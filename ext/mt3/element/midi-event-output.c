/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * midi-event-output.c: live MIDI, one message a buffer.
 *
 * A message is sent as soon as nothing can come before it any more. Messages
 * that wait are kept in the order in which they will go: by time, and at the
 * same time ends before onsets.
 *
 * Between them one-byte messages 0xF9 tick every 10 ms, as those of midiparse
 * do: fluiddec renders up to the latest buffer it got, and without ticks would
 * stand still between two notes. The byte is undefined in MIDI 1.0. Instead of
 * ticks there may be GAP events; where a clock jumped ahead, one always does.
 */
#include <math.h>

#include "element/debug.h"
#include "element/output.h"
#include "midi/midi-channels.h"

#define GST_CAT_DEFAULT gst_mt3_midi_event_debug

#define TICK (10 * GST_MSECOND)

/* Timestamps may jump by years, which would be ticks for hours. */
#define LONGEST_TICKED (60 * GST_SECOND)

/* An onset or end that waits. */
typedef struct {
  GstClockTime position; /* since the first sample */
  gboolean on;
  guint serial; /* in the order of the reports */
  Mt3Note note;
} Event;

typedef struct {
  GstMt3Output output;

  GSequence *events; /* of Event, in the order they go out */
  guint last_serial;
  Mt3MidiChannels *channels;
  GHashTable *sounding; /* id to GstMt3Note (owned), as told at the onset */

  GstClockTime position; /* everything before is sent */
  GstClockTime next_tick;
  GstClockTime discont; /* what is at or after it is a new beginning */
  GstClockTime last_pts; /* in the segment; NONE: none yet */
  GstSegment segment; /* the last one pushed */
} GstMt3MidiEventOutput;

static gint
gst_mt3_midi_event_output_compare (
    gconstpointer a, gconstpointer b, gpointer user_data)
{
  const Event *x = a, *y = b;

  if (x->position != y->position)
    return x->position < y->position ? -1 : 1;
  if (x->on != y->on)
    return x->on ? 1 : -1;
  return x->serial < y->serial ? -1 : 1;
}

static GstClockTime
gst_mt3_midi_event_output_position (gdouble seconds)
{
  return (GstClockTime) llround (fmax (seconds, 0.0) * GST_SECOND);
}

static void
gst_mt3_midi_event_output_push_segment (
    GstMt3MidiEventOutput *self, const GstSegment *segment, guint32 seqnum)
{
  GstEvent *event = gst_event_new_segment (segment);

  if (seqnum != GST_SEQNUM_INVALID)
    gst_event_set_seqnum (event, seqnum);
  self->segment = *segment;
  self->last_pts = GST_CLOCK_TIME_NONE;
  gst_pad_push_event (self->output.context.srcpad, event);
}

/* The timestamp of @position; if it lies in another segment, sends that. */
static GstClockTime
gst_mt3_midi_event_output_enter (
    GstMt3MidiEventOutput *self, GstClockTime position)
{
  const GstMt3OutputContext *context = &self->output.context;
  GstMt3TimeAnchor anchor;
  GstClockTime pts;

  gst_mt3_output_find_time (context, position, &anchor);
  if (!gst_segment_is_equal (&anchor.segment, &self->segment))
    gst_mt3_midi_event_output_push_segment (
        self, &anchor.segment, anchor.seqnum);
  pts = gst_mt3_time_anchor_pts (&anchor, position);
  /* Sinks drop what begins where the segment stops: notes would not end. */
  if (GST_CLOCK_TIME_IS_VALID (anchor.segment.stop) &&
      anchor.segment.stop > anchor.segment.start)
    pts = MIN (pts, anchor.segment.stop - 1);
  /* Not so where upstream's clock was found to be behind the samples. */
  if (GST_CLOCK_TIME_IS_VALID (self->last_pts))
    pts = MAX (pts, self->last_pts);
  self->last_pts = pts;

  return pts;
}

/* The timestamp must be the one that was entered last. */
static GstBuffer *
gst_mt3_midi_event_output_message (GstMt3MidiEventOutput *self,
    GstClockTime position, const guint8 *bytes, gsize size)
{
  GstBuffer *buffer = gst_mt3_output_new_buffer (&self->output, bytes, size);

  GST_BUFFER_PTS (buffer) = self->last_pts;
  if (self->output.context.references)
    gst_mt3_reference_times_attach (
        self->output.context.references, &self->segment, buffer);
  if (position >= self->discont) {
    GST_BUFFER_FLAG_SET (buffer, GST_BUFFER_FLAG_DISCONT);
    self->discont = GST_CLOCK_TIME_NONE;
  }
  return buffer;
}

static GstFlowReturn
gst_mt3_midi_event_output_tick (
    GstMt3MidiEventOutput *self, GstClockTime position)
{
  static const guint8 tick = 0xf9;

  gst_mt3_midi_event_output_enter (self, position);

  return gst_pad_push (self->output.context.srcpad,
      gst_mt3_midi_event_output_message (self, position, &tick, 1));
}

static void
gst_mt3_midi_event_output_gap (
    GstMt3MidiEventOutput *self, GstClockTime from, GstClockTime duration)
{
  GstClockTime pts = gst_mt3_midi_event_output_enter (self, from);

  gst_pad_push_event (
      self->output.context.srcpad, gst_event_new_gap (pts, duration));
}

/* Lets time pass up to @position. */
static GstFlowReturn
gst_mt3_midi_event_output_pass (
    GstMt3MidiEventOutput *self, GstClockTime position)
{
  GstFlowReturn ret = GST_FLOW_OK;

  if (self->output.context.midi_ticks) {
    if (position > self->next_tick + LONGEST_TICKED) {
      GstClockTime skipped = (position - self->next_tick) / TICK * TICK;

      gst_mt3_midi_event_output_gap (self, self->next_tick, skipped);
      self->next_tick += skipped;
    }
    while (ret == GST_FLOW_OK && self->next_tick <= position) {
      ret = gst_mt3_midi_event_output_tick (self, self->next_tick);
      self->next_tick += TICK;
    }
  } else if (position > self->position) {
    gst_mt3_midi_event_output_gap (
        self, self->position, position - self->position);
  }
  self->position = MAX (self->position, position);

  return ret;
}

static GstClockTime
gst_mt3_midi_event_output_stream_time (GstMt3MidiEventOutput *self)
{
  guint64 time;

  if (gst_segment_to_stream_time_full (
          &self->segment, GST_FORMAT_TIME, self->last_pts, &time) < 1)
    return GST_CLOCK_TIME_NONE;
  return time;
}

static GstFlowReturn
gst_mt3_midi_event_output_push_note (GstMt3MidiEventOutput *self,
    const Event *event, guint channel, const GstMt3Note *told)
{
  guint8 bytes[3];
  GstBuffer *buffer;

  mt3_midi_note_message (&event->note, channel, event->on, bytes);
  buffer = gst_mt3_midi_event_output_message (
      self, event->position, bytes, sizeof bytes);
  gst_buffer_add_mt3_note_meta (buffer, told);
  GST_LOG_OBJECT (self->output.context.srcpad,
      "%02x %02x %02x: %" GST_PTR_FORMAT, bytes[0], bytes[1], bytes[2], buffer);

  return gst_pad_push (self->output.context.srcpad, buffer);
}

static GstFlowReturn
gst_mt3_midi_event_output_end (
    GstMt3MidiEventOutput *self, const Event *event, guint channel)
{
  gpointer id = GUINT_TO_POINTER (event->note.id);
  GstMt3Note *told = g_hash_table_lookup (self->sounding, id);
  GstFlowReturn ret;

  told->end = gst_mt3_midi_event_output_stream_time (self);
  ret = gst_mt3_midi_event_output_push_note (self, event, channel, told);
  g_hash_table_remove (self->sounding, id);

  return ret;
}

/* Gives @channel to the instrument of @note: what another one still plays there
 * ends, for a channel has one program. */
static GstFlowReturn
gst_mt3_midi_event_output_change_program (GstMt3MidiEventOutput *self,
    GstClockTime position, guint channel, const Mt3Note *note)
{
  Event end = {.position = position};
  GstFlowReturn ret = GST_FLOW_OK;
  guint8 bytes[2];

  while (ret == GST_FLOW_OK &&
         mt3_midi_channels_cut (self->channels, channel, &end.note))
    ret = gst_mt3_midi_event_output_end (self, &end, channel);
  if (ret != GST_FLOW_OK)
    return ret;
  mt3_midi_program_message (note, channel, bytes);

  return gst_pad_push (self->output.context.srcpad,
      gst_mt3_midi_event_output_message (self, position, bytes, sizeof bytes));
}

static GstFlowReturn
gst_mt3_midi_event_output_begin (
    GstMt3MidiEventOutput *self, const Event *event)
{
  guint channel = mt3_midi_channels_choose (self->channels, &event->note);
  GstMt3Note told = gst_mt3_output_convert (&event->note, 0);
  GstFlowReturn ret = GST_FLOW_OK;

  if (!mt3_midi_channels_plays (self->channels, channel, &event->note))
    ret = gst_mt3_midi_event_output_change_program (
        self, event->position, channel, &event->note);
  if (ret != GST_FLOW_OK)
    return ret;
  mt3_midi_channels_begin (self->channels, channel, &event->note);
  told.onset = gst_mt3_midi_event_output_stream_time (self);
  g_hash_table_insert (
      self->sounding, GUINT_TO_POINTER (told.id), gst_mt3_note_copy (&told));

  return gst_mt3_midi_event_output_push_note (self, event, channel, &told);
}

static GstFlowReturn
gst_mt3_midi_event_output_send (GstMt3MidiEventOutput *self, const Event *event)
{
  GstFlowReturn ret = gst_mt3_midi_event_output_pass (self, event->position);
  gint channel;

  if (ret != GST_FLOW_OK)
    return ret;
  gst_mt3_midi_event_output_enter (self, event->position);
  if (event->on)
    return gst_mt3_midi_event_output_begin (self, event);
  channel = mt3_midi_channels_end (self->channels, &event->note);
  /* Negative: another program took its channel, and it has ended. */
  if (channel < 0)
    return GST_FLOW_OK;

  return gst_mt3_midi_event_output_end (self, event, (guint) channel);
}

/* Sends all messages before @position. */
static GstFlowReturn
gst_mt3_midi_event_output_send_until (
    GstMt3MidiEventOutput *self, GstClockTime position)
{
  GstFlowReturn ret = GST_FLOW_OK;

  while (ret == GST_FLOW_OK && !g_sequence_is_empty (self->events)) {
    GSequenceIter *first = g_sequence_get_begin_iter (self->events);
    const Event *event = g_sequence_get (first);

    if (event->position >= position)
      break;
    ret = gst_mt3_midi_event_output_send (self, event);
    g_sequence_remove (first);
  }
  return ret;
}

/* Live MIDI has no place for it. */
static void
gst_mt3_midi_event_output_name (GstMt3Output *output, const gchar *title)
{
}

static void
gst_mt3_midi_event_output_open (GstMt3Output *output)
{
  gst_mt3_midi_event_output_push_segment ((GstMt3MidiEventOutput *) output,
      &output->context.segment, output->context.seqnum);
}

/* The first tick comes only when a window has been transcribed. */
static void
gst_mt3_midi_event_output_preroll (GstMt3Output *output)
{
  gst_mt3_midi_event_output_gap (
      (GstMt3MidiEventOutput *) output, 0, GST_CLOCK_TIME_NONE);
}

static void
gst_mt3_midi_event_output_note (
    GstMt3Output *output, const Mt3Note *note, gboolean ended)
{
  GstMt3MidiEventOutput *self = (GstMt3MidiEventOutput *) output;
  Event event = {
      .position = gst_mt3_midi_event_output_position (
          ended ? note->offset : note->onset),
      .on = !ended,
      .serial = ++self->last_serial,
      .note = *note,
  };

  g_sequence_insert_sorted (self->events, g_memdup2 (&event, sizeof event),
      gst_mt3_midi_event_output_compare, NULL);
}

static void
gst_mt3_midi_event_output_discont (GstMt3Output *output, gdouble seconds)
{
  GstMt3MidiEventOutput *self = (GstMt3MidiEventOutput *) output;

  self->discont =
      MIN (self->discont, gst_mt3_midi_event_output_position (seconds));
}

static GstFlowReturn
gst_mt3_midi_event_output_advance (
    GstMt3Output *output, gdouble seconds, GstClockTime interval)
{
  GstMt3MidiEventOutput *self = (GstMt3MidiEventOutput *) output;
  GstClockTime position = gst_mt3_midi_event_output_position (
      seconds - GST_MT3_OUTPUT_LATE_SECONDS);
  GstFlowReturn ret = gst_mt3_midi_event_output_send_until (self, position);

  if (ret == GST_FLOW_OK)
    ret = gst_mt3_midi_event_output_pass (self, position);

  return ret;
}

static void
gst_mt3_midi_event_output_limit (gpointer event, gpointer last)
{
  GstClockTime *position = &((Event *) event)->position;

  *position = MIN (*position, *(GstClockTime *) last);
}

/* At @seconds upstream's next segment may begin: all goes before that. */
static GstFlowReturn
gst_mt3_midi_event_output_settle (GstMt3Output *output, gdouble seconds)
{
  GstMt3MidiEventOutput *self = (GstMt3MidiEventOutput *) output;
  GstClockTime last = MAX (gst_mt3_midi_event_output_position (seconds), 1) - 1;
  GstFlowReturn ret;

  g_sequence_foreach (self->events, gst_mt3_midi_event_output_limit, &last);
  ret = gst_mt3_midi_event_output_send_until (self, GST_CLOCK_TIME_NONE);
  if (ret == GST_FLOW_OK)
    ret = gst_mt3_midi_event_output_pass (self, last);

  return ret;
}

static GstFlowReturn
gst_mt3_midi_event_output_finish (GstMt3Output *output, gdouble seconds)
{
  GstMt3MidiEventOutput *self = (GstMt3MidiEventOutput *) output;
  GstFlowReturn ret =
      gst_mt3_midi_event_output_send_until (self, GST_CLOCK_TIME_NONE);

  if (ret == GST_FLOW_OK)
    ret = gst_mt3_midi_event_output_pass (
        self, gst_mt3_midi_event_output_position (seconds));
  return ret;
}

static void
gst_mt3_midi_event_output_free (GstMt3Output *output)
{
  GstMt3MidiEventOutput *self = (GstMt3MidiEventOutput *) output;

  g_sequence_free (self->events);
  mt3_midi_channels_free (self->channels);
  g_hash_table_unref (self->sounding);
  g_free (self);
}

GstMt3Output *
gst_mt3_midi_event_output_new (const GstMt3OutputContext *context)
{
  GstMt3MidiEventOutput *self = g_new0 (GstMt3MidiEventOutput, 1);

  self->output = (GstMt3Output){
      .context = *context,
      .name = gst_mt3_midi_event_output_name,
      .open = gst_mt3_midi_event_output_open,
      .preroll = gst_mt3_midi_event_output_preroll,
      .note = gst_mt3_midi_event_output_note,
      .discont = gst_mt3_midi_event_output_discont,
      .advance = gst_mt3_midi_event_output_advance,
      .settle = gst_mt3_midi_event_output_settle,
      .finish = gst_mt3_midi_event_output_finish,
      .free = gst_mt3_midi_event_output_free,
  };
  self->events = g_sequence_new (g_free);
  self->channels = mt3_midi_channels_new ();
  self->sounding = g_hash_table_new_full (
      NULL, NULL, NULL, (GDestroyNotify) gst_mt3_note_free);
  self->last_pts = GST_CLOCK_TIME_NONE;

  return &self->output;
}
