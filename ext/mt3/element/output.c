/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <math.h>

#include "element/output.h"

static const struct {
  const gchar *media_type;
  GstMt3Output *(*new_output) (const GstMt3OutputContext *context);
} outputs[] = {
    {"audio/midi", gst_mt3_midi_file_output_new},
    {"audio/x-midi-event", gst_mt3_midi_event_output_new},
};

GstMt3Output *
gst_mt3_output_new (const gchar *media_type, const GstMt3OutputContext *context)
{
  for (guint i = 0; i < G_N_ELEMENTS (outputs); i++)
    if (g_str_equal (outputs[i].media_type, media_type))
      return outputs[i].new_output (context);
  g_return_val_if_reached (NULL);
}

void
gst_mt3_output_free (GstMt3Output *output)
{
  gst_clear_object (&output->allocator);
  output->free (output);
}

void
gst_mt3_output_choose_memory (GstMt3Output *output, GstCaps *caps)
{
  GstQuery *query = gst_query_new_allocation (caps, FALSE);

  gst_clear_object (&output->allocator);
  if (gst_pad_peer_query (output->context.srcpad, query) &&
      gst_query_get_n_allocation_params (query) > 0)
    gst_query_parse_nth_allocation_param (
        query, 0, &output->allocator, &output->memory);
  gst_query_unref (query);
}

GstBuffer *
gst_mt3_output_new_buffer (
    GstMt3Output *output, gconstpointer bytes, gsize size)
{
  GstBuffer *buffer = NULL;

  if (output->allocator)
    buffer = gst_buffer_new_allocate (output->allocator, size, &output->memory);
  /* Where there is none of it left, downstream decides. */
  if (!buffer)
    return gst_buffer_new_memdup (bytes, size);
  gst_buffer_fill (buffer, 0, bytes, size);

  return buffer;
}

void
gst_mt3_output_find_time (const GstMt3OutputContext *context,
    GstClockTime position, GstMt3TimeAnchor *anchor)
{
  /* Without timestamps upstream's time is that of the samples. */
  if (!gst_mt3_time_map_find (context->times, position, anchor))
    *anchor =
        (GstMt3TimeAnchor){0, context->pts, context->segment, context->seqnum};
}

static GstClockTime
gst_mt3_output_time (gdouble seconds, GstClockTime stream_time)
{
  if (isnan (seconds) || !GST_CLOCK_TIME_IS_VALID (stream_time))
    return GST_CLOCK_TIME_NONE;

  return stream_time + (GstClockTime) llround (seconds * GST_SECOND);
}

GstMt3Note
gst_mt3_output_convert (const Mt3Note *note, GstClockTime stream_time)
{
  return (GstMt3Note){
      .id = note->id,
      .pitch = note->pitch,
      .velocity = note->velocity,
      .program = note->program,
      .is_drum = note->is_drum,
      .onset = gst_mt3_output_time (note->onset, stream_time),
      .end = gst_mt3_output_time (note->offset, stream_time),
      .confidence = note->confidence,
  };
}

void
gst_mt3_output_attach (
    GstBuffer *buffer, const Mt3Note *note, GstClockTime stream_time)
{
  GstMt3Note meta = gst_mt3_output_convert (note, stream_time);

  gst_buffer_add_mt3_note_meta (buffer, &meta);
}
