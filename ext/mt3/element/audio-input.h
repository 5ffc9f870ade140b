/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * audio-input.h: whatever raw audio arrives to one gapless run of mono float
 * samples at the model's rate.
 */
#pragma once

#include <gst/audio/audio.h>

G_BEGIN_DECLS

/* Limits of what can be negotiated. The resampler's filter grows with the
 * rate; a GstMemory cannot be mapped more than 255 times at once, as
 * gst_audio_buffer_map() does for each channel that has a plane of its own. */
#define GST_MT3_MAX_RATE 768000
#define GST_MT3_MAX_CHANNELS 255

typedef struct _GstMt3AudioInput GstMt3AudioInput;

/**
 * GstMt3AudioInputFunc:
 * @samples: (nullable): mono samples at the model's rate; %NULL is silence
 * @n_samples: how many; silence may be very long
 *
 * Called on the streaming thread, from inside the functions below. A flow
 * other than OK ends the call and is returned by it.
 */
typedef GstFlowReturn (*GstMt3AudioInputFunc) (
    const gfloat *samples, guint64 n_samples, gpointer user_data);

/**
 * gst_mt3_audio_input_new:
 * @rate: of the model, Hz
 *
 * All functions belong to the streaming thread.
 *
 * What comes out: one sample for each 1/@rate seconds of input, rounded up
 * once for the whole run (as librosa.resample, which the reference uses,
 * does), whatever the buffer sizes. Input at @rate in one channel is passed
 * on exactly: F32 unchanged, S16 as x / 32768.
 *
 * Channels are averaged, all with the same weight and whatever their
 * positions, as the reference's loader (librosa.to_mono) does.
 */
GstMt3AudioInput *gst_mt3_audio_input_new (
    guint rate, GstMt3AudioInputFunc func, gpointer user_data);
void gst_mt3_audio_input_free (GstMt3AudioInput *input);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (GstMt3AudioInput, gst_mt3_audio_input_free)

/* The format of what follows. Audio before it is given out to its end. Returns
 * GST_FLOW_NOT_NEGOTIATED when it cannot be converted. */
GstFlowReturn gst_mt3_audio_input_set_info (
    GstMt3AudioInput *input, const GstAudioInfo *info);

/**
 * gst_mt3_audio_input_push:
 * @buffer: (transfer full): clipped to the segment; its PTS counts
 *
 * A GAP buffer is silence. Time that was left out (a later PTS than expected)
 * becomes silence; audio from before (an earlier PTS) simply follows: nothing
 * that was heard is thrown away. Differences below 10 ms, the model's own time
 * step, are jitter.
 */
GstFlowReturn gst_mt3_audio_input_push (
    GstMt3AudioInput *input, GstBuffer *buffer);

/* A GAP event: silence from @pts for @duration, either of which may be
 * GST_CLOCK_TIME_NONE. */
GstFlowReturn gst_mt3_audio_input_gap (
    GstMt3AudioInput *input, GstClockTime pts, GstClockTime duration);

/* Gives out what the resampler still holds and forgets the timestamps: what
 * comes next (another segment) follows without a gap. */
GstFlowReturn gst_mt3_audio_input_drain (GstMt3AudioInput *input);

/* For the function, while it is called: the timestamp of its first sample, from
 * counting samples since the last one that upstream gave and that counted; NONE
 * when there was none. */
GstClockTime gst_mt3_audio_input_pts (const GstMt3AudioInput *input);

/* Starts over, keeping the format. */
void gst_mt3_audio_input_reset (GstMt3AudioInput *input);

/* Samples (of all channels) that were NaN or Inf and became 0 since the last
 * call. */
guint64 gst_mt3_audio_input_take_replaced (GstMt3AudioInput *input);

G_END_DECLS
