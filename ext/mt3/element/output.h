/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * output.h: what leaves the element. One strategy for each media type that the
 * source pad can negotiate; the element does not know which one it drives.
 */
#pragma once

#include <gst/mt3/mt3.h>

#include "element/reference-times.h"
#include "element/time-map.h"
#include "notes/note.h"

G_BEGIN_DECLS

typedef struct _GstMt3Output GstMt3Output;

/**
 * GstMt3OutputContext: where an output pushes to and what it has to know
 * @srcpad: caps and stream-start are on it already
 * @segment: upstream's, in which the first sample lies
 * @pts: of the first sample, in @segment
 * @stream_time: stream time of the first sample; notes count from there
 * @seqnum: of the segment event that the output's own one stands for
 * @times: upstream's times after the first sample
 * @references: (nullable): and what other clocks showed then
 * @midi_ticks: whether live MIDI ticks
 */
typedef struct {
  GstPad *srcpad;
  GstSegment segment;
  GstClockTime pts;
  GstClockTime stream_time;
  guint32 seqnum;
  GstMt3TimeMap *times;
  GstMt3ReferenceTimes *references;
  gboolean midi_ticks;
} GstMt3OutputContext;

/* How far the notes of a window may reach back before its first sample, in
 * seconds: the reference rounds a window's start down to a time step of 10 ms,
 * and sometimes to the step before. */
#define GST_MT3_OUTPUT_LATE_SECONDS 0.02

/**
 * GstMt3Output:
 *
 * An output embeds this as its first member. All calls come from the source
 * pad's task, with no lock held, in the order open, preroll, then note, advance
 * and settle as the transcription goes on, finish, free. Times are in seconds
 * from the first sample.
 *
 * @name: the piece has this title; any time before finish, and the first counts
 * @open: pushes the segment
 * @preroll: for live audio, once its latency is known: lets sinks preroll
 * before the first note; the other sinks of a pipeline would wait for them, and
 * so would the audio
 * @note: takes note of a note, at its onset (offset is NAN) and at its end
 * @discont: audio was lost at @seconds
 * @advance: @seconds of audio are transcribed now: what comes is told with
 *   times of GST_MT3_OUTPUT_LATE_SECONDS before that or later. @interval: how
 *   often, in nanoseconds of audio, what is provisional may be pushed; 0 is
 *   never
 * @settle: what comes is told with times of @seconds or later, and what is
 *   before that may be waited for: pushes it
 * @finish: no note follows, and the audio ends at @seconds; pushes what is left
 * @free: of what the output itself holds; see gst_mt3_output_free()
 */
struct _GstMt3Output {
  GstMt3OutputContext context;
  GstAllocator *allocator; /* NULL: memory like any other */
  GstAllocationParams memory;

  void (*name) (GstMt3Output *output, const gchar *title);
  void (*open) (GstMt3Output *output);
  void (*preroll) (GstMt3Output *output);
  void (*note) (GstMt3Output *output, const Mt3Note *note, gboolean ended);
  void (*discont) (GstMt3Output *output, gdouble seconds);
  GstFlowReturn (*advance) (
      GstMt3Output *output, gdouble seconds, GstClockTime interval);
  GstFlowReturn (*settle) (GstMt3Output *output, gdouble seconds);
  GstFlowReturn (*finish) (GstMt3Output *output, gdouble seconds);
  void (*free) (GstMt3Output *output);
};

/* The output that makes @media_type, one of the source pad's template. */
GstMt3Output *gst_mt3_output_new (
    const gchar *media_type, const GstMt3OutputContext *context);
void gst_mt3_output_free (GstMt3Output *output);

/* Once @caps are on the source pad: buffers will lie where downstream wants
 * them, in memory that crosses processes, say. */
void gst_mt3_output_choose_memory (GstMt3Output *output, GstCaps *caps);

/* For outputs: a buffer there, with a copy of @bytes. */
GstBuffer *gst_mt3_output_new_buffer (
    GstMt3Output *output, gconstpointer bytes, gsize size);

/* audio/midi: a Standard MIDI File, midi-file-output.c. */
GstMt3Output *gst_mt3_midi_file_output_new (const GstMt3OutputContext *context);

/* audio/x-midi-event: live MIDI, midi-event-output.c. */
GstMt3Output *gst_mt3_midi_event_output_new (
    const GstMt3OutputContext *context);

/* Upstream's time of what lies @position after the first sample. */
void gst_mt3_output_find_time (const GstMt3OutputContext *context,
    GstClockTime position, GstMt3TimeAnchor *anchor);

/* @note as applications see it, its times counted from @stream_time. */
GstMt3Note gst_mt3_output_convert (
    const Mt3Note *note, GstClockTime stream_time);

/* The same as a meta of @buffer. */
void gst_mt3_output_attach (
    GstBuffer *buffer, const Mt3Note *note, GstClockTime stream_time);

G_END_DECLS
