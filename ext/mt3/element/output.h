/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * output.h: what leaves the element. One strategy for each media type that the
 * source pad can negotiate; the element does not know which one it drives.
 */
#pragma once

#include <gst/mt3/mt3.h>

#include "notes/note.h"

G_BEGIN_DECLS

typedef struct _GstMt3Output GstMt3Output;

/**
 * GstMt3OutputContext: where an output pushes to and what it has to know
 * @srcpad: caps and stream-start are on it already
 * @segment: upstream's, in which the first sample lies
 * @pts: of the first sample, in @segment
 * @stream_time: stream time of the first sample; notes count from there
 * @title: (nullable): of the piece
 * @seqnum: of the segment event that the output's own one stands for
 */
typedef struct {
  GstPad *srcpad;
  GstSegment segment;
  GstClockTime pts;
  GstClockTime stream_time;
  const gchar *title;
  guint32 seqnum;
} GstMt3OutputContext;

/**
 * GstMt3Output:
 *
 * An output embeds this as its first member. All calls come from the source
 * pad's task, with no lock held, in the order open, then note and advance as
 * the transcription goes on, finish, free.
 *
 * @open: pushes the segment and what lets sinks preroll before the first note
 * @note: takes note of a note, at its onset (offset is NAN) and at its end
 * @advance: @seconds of audio are transcribed now. @interval: how often, in
 *   seconds of audio, what is provisional may be pushed; 0 is never
 * @finish: no note follows; pushes what is left
 */
struct _GstMt3Output {
  GstMt3OutputContext context;

  void (*open) (GstMt3Output *output);
  void (*note) (GstMt3Output *output, const Mt3Note *note, gboolean ended);
  GstFlowReturn (*advance) (
      GstMt3Output *output, gdouble seconds, GstClockTime interval);
  GstFlowReturn (*finish) (GstMt3Output *output);
  void (*free) (GstMt3Output *output);
};

/* The output that makes @media_type, one of the source pad's template. */
GstMt3Output *gst_mt3_output_new (
    const gchar *media_type, const GstMt3OutputContext *context);

/* audio/midi: a Standard MIDI File, midi-file-output.c. */
GstMt3Output *gst_mt3_midi_file_output_new (const GstMt3OutputContext *context);

/* @note as applications see it, its times counted from @stream_time. */
GstMt3Note gst_mt3_output_convert (
    const Mt3Note *note, GstClockTime stream_time);

/* The same as a meta of @buffer. */
void gst_mt3_output_attach (
    GstBuffer *buffer, const Mt3Note *note, GstClockTime stream_time);

G_END_DECLS
