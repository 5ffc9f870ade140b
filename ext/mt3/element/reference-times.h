/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * reference-times.h: what other clocks (NTP, PTP, UTC) showed when the audio
 * was captured, as #GstReferenceTimestampMeta tells it, from the buffers of the
 * audio to those of the notes.
 *
 * The running time joins the two: it goes on over changes of segments.
 */
#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

typedef struct _GstMt3ReferenceTimes GstMt3ReferenceTimes;

/* All functions: any thread. */
GstMt3ReferenceTimes *gst_mt3_reference_times_new (void);
void gst_mt3_reference_times_free (GstMt3ReferenceTimes *times);
void gst_mt3_reference_times_clear (GstMt3ReferenceTimes *times);

/* Remembers the metas of @buffer, which is in @segment and not clipped yet:
 * they speak of its first sample. */
void gst_mt3_reference_times_add (
    GstMt3ReferenceTimes *times, const GstSegment *segment, GstBuffer *buffer);

/* Gives @buffer, in @segment, the metas of the audio buffer that its timestamp
 * lies in, moved on by the distance from that one's first sample. None, if the
 * audio buffer had none. */
void gst_mt3_reference_times_attach (
    GstMt3ReferenceTimes *times, const GstSegment *segment, GstBuffer *buffer);

/* Nobody will ask for what lies before @pts in @segment any more. Without this
 * memory grows with the audio. */
void gst_mt3_reference_times_forget (
    GstMt3ReferenceTimes *times, const GstSegment *segment, GstClockTime pts);

G_END_DECLS
