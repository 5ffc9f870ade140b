/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <math.h>

#include "element/audio-input.h"
#include "element/debug.h"

#define GST_CAT_DEFAULT gst_mt3_audio_input_debug

/* Values worked on at a time: bounds memory even where a frame has a thousand
 * channels or becomes thousands of samples. */
#define BLOCK 16384

/* Timestamps may wander by this much, for this long, before they count. The
 * values of audiobuffersplit and the audio sinks. */
#define ALIGNMENT_THRESHOLD (40 * GST_MSECOND)
#define DISCONT_WAIT (1 * GST_SECOND)

/* A time shift token stands for 10 ms: less cannot be told in notes. */
#define JITTER (10 * GST_MSECOND)

/* MT3 hears up to 7600 of 8000 Hz. The default quality (4) is 16 dB down
 * there, the highest 0.005 dB with images below -120 dB, and costs 2 ms a
 * second of 44.1 kHz audio: nothing beside the network. */
#define RESAMPLER_METHOD GST_AUDIO_RESAMPLER_METHOD_KAISER
#define RESAMPLER_QUALITY GST_AUDIO_RESAMPLER_QUALITY_MAX

struct _GstMt3AudioInput {
  guint rate;
  GstMt3AudioInputFunc func;
  gpointer user_data;

  GstAudioInfo info;
  GstAudioResampler *resampler; /* NULL: it has our rate */
  GstAudioStreamAlign *align;
  gdouble *unpacked; /* BLOCK values: gdouble or gint32 */
  gdouble *mono; /* BLOCK frames */
  gdouble *resampled;
  gfloat *out;
  gsize out_size; /* of the last two */

  /* Of the current format: frames taken, samples given out. */
  guint64 in_frames;
  guint64 out_samples;
  guint64 given; /* of out_samples, before the call of func in progress */

  /* Timestamp of frame origin_frame; NONE: the next one's. */
  GstClockTime origin;
  guint64 origin_frame;

  guint64 n_replaced;
};

static void
gst_mt3_audio_input_reserve (GstMt3AudioInput *input, gsize n_out)
{
  if (n_out <= input->out_size)
    return;
  input->resampled = g_renew (gdouble, input->resampled, n_out);
  input->out = g_renew (gfloat, input->out, n_out);
  input->out_size = n_out;
}

GstMt3AudioInput *
gst_mt3_audio_input_new (
    guint rate, GstMt3AudioInputFunc func, gpointer user_data)
{
  GstMt3AudioInput *input = g_new0 (GstMt3AudioInput, 1);

  input->rate = rate;
  input->func = func;
  input->user_data = user_data;
  input->align =
      gst_audio_stream_align_new (rate, ALIGNMENT_THRESHOLD, DISCONT_WAIT);
  input->unpacked = g_new (gdouble, BLOCK);
  input->mono = g_new (gdouble, BLOCK);
  gst_mt3_audio_input_reserve (input, BLOCK);
  gst_audio_info_init (&input->info);
  gst_mt3_audio_input_reset (input);

  return input;
}

void
gst_mt3_audio_input_free (GstMt3AudioInput *input)
{
  g_clear_pointer (&input->resampler, gst_audio_resampler_free);
  gst_audio_stream_align_free (input->align);
  g_free (input->unpacked);
  g_free (input->mono);
  g_free (input->resampled);
  g_free (input->out);
  g_free (input);
}

static void
gst_mt3_audio_input_forget_time (GstMt3AudioInput *input)
{
  gst_audio_stream_align_mark_discont (input->align);
  input->origin = GST_CLOCK_TIME_NONE;
}

void
gst_mt3_audio_input_reset (GstMt3AudioInput *input)
{
  if (input->resampler)
    gst_audio_resampler_reset (input->resampler);
  input->in_frames = 0;
  input->out_samples = 0;
  input->n_replaced = 0;
  gst_mt3_audio_input_forget_time (input);
}

guint64
gst_mt3_audio_input_take_replaced (GstMt3AudioInput *input)
{
  guint64 n_replaced = input->n_replaced;

  input->n_replaced = 0;
  return n_replaced;
}

/* Samples that the frames taken so far are worth. */
static guint64
gst_mt3_audio_input_due (GstMt3AudioInput *input)
{
  return gst_util_uint64_scale_ceil (input->in_frames, input->rate,
             GST_AUDIO_INFO_RATE (&input->info)) -
         input->out_samples;
}

static GstFlowReturn
gst_mt3_audio_input_emit (
    GstMt3AudioInput *input, const gfloat *samples, guint64 n_samples)
{
  if (n_samples == 0)
    return GST_FLOW_OK;
  input->given = input->out_samples;
  input->out_samples += n_samples;

  return input->func (samples, n_samples, input->user_data);
}

/* Runs @n_frames of @mono (NULL: of silence) through the resampler; gives out
 * at most @limit samples. */
static GstFlowReturn
gst_mt3_audio_input_resample (
    GstMt3AudioInput *input, gdouble *mono, gsize n_frames, guint64 limit)
{
  gsize n_out = n_frames;
  gfloat *out_samples;

  if (input->resampler) {
    gpointer in[1] = {mono}, out[1];

    n_out = gst_audio_resampler_get_out_frames (input->resampler, n_frames);
    gst_mt3_audio_input_reserve (input, n_out);
    out[0] = input->resampled;
    gst_audio_resampler_resample (
        input->resampler, mono ? in : NULL, n_frames, out, n_out);
    mono = input->resampled;
  }
  n_out = (gsize) MIN ((guint64) n_out, limit);
  out_samples = input->out;
  for (gsize i = 0; i < n_out; i++)
    out_samples[i] = (gfloat) mono[i];

  return gst_mt3_audio_input_emit (input, out_samples, n_out);
}

static GstFlowReturn
gst_mt3_audio_input_flush_resampler (GstMt3AudioInput *input)
{
  GstFlowReturn ret = GST_FLOW_OK;
  gsize n_frames;
  guint64 due;

  if (!input->resampler)
    return GST_FLOW_OK;

  /* Enough silence to push out all that is held, and at least one sample. */
  n_frames = gst_audio_resampler_get_max_latency (input->resampler) +
             GST_AUDIO_INFO_RATE (&input->info) / input->rate + 1;
  while (ret == GST_FLOW_OK && (due = gst_mt3_audio_input_due (input)) > 0)
    ret = gst_mt3_audio_input_resample (input, NULL, n_frames, due);
  gst_audio_resampler_reset (input->resampler);

  return ret;
}

GstFlowReturn
gst_mt3_audio_input_drain (GstMt3AudioInput *input)
{
  gst_mt3_audio_input_forget_time (input);

  return gst_mt3_audio_input_flush_resampler (input);
}

static GstAudioResampler *
gst_mt3_audio_input_new_resampler (guint in_rate, guint out_rate)
{
  GstAudioResampler *resampler;
  GstStructure *options;

  if (in_rate == out_rate)
    return NULL;
  options = gst_structure_new_empty ("resampler");
  gst_audio_resampler_options_set_quality (
      RESAMPLER_METHOD, RESAMPLER_QUALITY, in_rate, out_rate, options);
  resampler =
      gst_audio_resampler_new (RESAMPLER_METHOD, GST_AUDIO_RESAMPLER_FLAG_NONE,
          GST_AUDIO_FORMAT_F64, 1, in_rate, out_rate, options);
  gst_structure_free (options);

  return resampler;
}

/* When the next frame is expected. */
static GstClockTime
gst_mt3_audio_input_next_pts (GstMt3AudioInput *input)
{
  return input->origin +
         gst_util_uint64_scale (input->in_frames - input->origin_frame,
             GST_SECOND, GST_AUDIO_INFO_RATE (&input->info));
}

GstClockTime
gst_mt3_audio_input_pts (const GstMt3AudioInput *input)
{
  GstClockTime since_start, origin_since_start;

  if (!GST_CLOCK_TIME_IS_VALID (input->origin))
    return GST_CLOCK_TIME_NONE;
  since_start = input->origin +
                gst_util_uint64_scale (input->given, GST_SECOND, input->rate);
  origin_since_start = gst_util_uint64_scale (
      input->origin_frame, GST_SECOND, GST_AUDIO_INFO_RATE (&input->info));

  /* What the resampler held back may be from before. */
  return MAX (since_start, origin_since_start) - origin_since_start;
}

GstFlowReturn
gst_mt3_audio_input_set_info (GstMt3AudioInput *input, const GstAudioInfo *info)
{
  GstFlowReturn ret = gst_mt3_audio_input_flush_resampler (input);

  if (GST_CLOCK_TIME_IS_VALID (input->origin))
    input->origin = gst_mt3_audio_input_next_pts (input);
  g_clear_pointer (&input->resampler, gst_audio_resampler_free);
  input->in_frames = input->out_samples = input->origin_frame = 0;
  input->info = *info;
  input->resampler =
      gst_mt3_audio_input_new_resampler (info->rate, input->rate);
  gst_audio_stream_align_set_rate (input->align, info->rate);

  GST_INFO ("%s, %d Hz, %d channels to %u Hz mono float",
      gst_audio_format_to_string (GST_AUDIO_INFO_FORMAT (info)), info->rate,
      info->channels, input->rate);

  return ret;
}

static GstFlowReturn
gst_mt3_audio_input_silence (GstMt3AudioInput *input, guint64 n_frames)
{
  GstFlowReturn ret = gst_mt3_audio_input_flush_resampler (input);

  if (ret != GST_FLOW_OK)
    return ret;
  input->in_frames += n_frames;

  return gst_mt3_audio_input_emit (
      input, NULL, gst_mt3_audio_input_due (input));
}

/* Compares the timestamp of the next @n_frames with what is expected. */
static GstFlowReturn
gst_mt3_audio_input_sync (
    GstMt3AudioInput *input, gboolean discont, GstClockTime pts, guint n_frames)
{
  GstClockTime expected;

  if (!GST_CLOCK_TIME_IS_VALID (pts))
    return GST_FLOW_OK;
  if (!gst_audio_stream_align_process (
          input->align, discont, pts, n_frames, NULL, NULL, NULL) &&
      GST_CLOCK_TIME_IS_VALID (input->origin))
    return GST_FLOW_OK;
  if (!GST_CLOCK_TIME_IS_VALID (input->origin)) {
    input->origin = pts;
    input->origin_frame = input->in_frames;
    return GST_FLOW_OK;
  }

  expected = gst_mt3_audio_input_next_pts (input);
  if (pts >= expected + JITTER) {
    GST_INFO ("%" GST_TIME_FORMAT " left out before %" GST_TIME_FORMAT,
        GST_TIME_ARGS (pts - expected), GST_TIME_ARGS (pts));
    return gst_mt3_audio_input_silence (
        input, gst_util_uint64_scale_round (pts - expected,
                   GST_AUDIO_INFO_RATE (&input->info), GST_SECOND));
  }
  if (pts + JITTER <= expected) {
    GST_INFO ("time goes back from %" GST_TIME_FORMAT " to %" GST_TIME_FORMAT
              ": the audio follows what came before",
        GST_TIME_ARGS (expected), GST_TIME_ARGS (pts));
    input->origin = pts;
    input->origin_frame = input->in_frames;
  }
  return GST_FLOW_OK;
}

GstFlowReturn
gst_mt3_audio_input_gap (
    GstMt3AudioInput *input, GstClockTime pts, GstClockTime duration)
{
  guint64 n_frames = 0;
  GstFlowReturn ret;

  if (GST_AUDIO_INFO_FORMAT (&input->info) == GST_AUDIO_FORMAT_UNKNOWN)
    return GST_FLOW_OK;
  if (GST_CLOCK_TIME_IS_VALID (duration))
    n_frames = gst_util_uint64_scale_round (
        duration, GST_AUDIO_INFO_RATE (&input->info), GST_SECOND);
  ret = gst_mt3_audio_input_sync (
      input, FALSE, pts, (guint) MIN (n_frames, G_MAXINT));
  if (ret != GST_FLOW_OK)
    return ret;

  return gst_mt3_audio_input_silence (input, n_frames);
}

/* Adds the values of one of @n_channels to the mono block. A NaN would spread
 * through the resampler's whole filter: it must go before. Without branches,
 * so that the compiler makes vectors of it. */
static void
gst_mt3_audio_input_add_floats (GstMt3AudioInput *input, const gdouble *values,
    guint n_channels, gsize n_frames)
{
  gdouble *mono = input->mono;
  guint64 n_finite = 0;

  for (gsize i = 0; i < n_frames; i++) {
    gdouble value = values[i * n_channels];
    gboolean finite = fabs (value) <= G_MAXDOUBLE;

    mono[i] += finite ? value : 0.0;
    n_finite += finite;
  }
  input->n_replaced += n_frames - n_finite;
}

static void
gst_mt3_audio_input_add_ints (GstMt3AudioInput *input, const gint32 *values,
    guint n_channels, gsize n_frames)
{
  gdouble *mono = input->mono;

  for (gsize i = 0; i < n_frames; i++)
    mono[i] += values[i * n_channels] / 2147483648.0;
}

/* To doubles, exactly: the format's own functions make denormals zero. */
static void
gst_mt3_audio_input_unpack_f32 (
    gdouble *unpacked, const gfloat *data, gsize n_values)
{
  for (gsize i = 0; i < n_values; i++)
    unpacked[i] = data[i];
}

/* Adds @n_frames of @n_channels, packed at @data, to the mono block. */
static void
gst_mt3_audio_input_add (GstMt3AudioInput *input, gconstpointer data,
    guint n_channels, gsize n_frames)
{
  const GstAudioFormatInfo *finfo = input->info.finfo;
  const gint32 *ints = (const gint32 *) input->unpacked;
  gboolean is_float = finfo->unpack_format == GST_AUDIO_FORMAT_F64;

  if (finfo->format == GST_AUDIO_FORMAT_F32)
    gst_mt3_audio_input_unpack_f32 (
        input->unpacked, data, n_frames * n_channels);
  else
    finfo->unpack_func (finfo, GST_AUDIO_PACK_FLAG_TRUNCATE_RANGE,
        input->unpacked, (gpointer) data, n_frames * n_channels);
  for (guint c = 0; c < n_channels; c++)
    if (is_float)
      gst_mt3_audio_input_add_floats (
          input, input->unpacked + c, n_channels, n_frames);
    else
      gst_mt3_audio_input_add_ints (input, ints + c, n_channels, n_frames);
}

/* The average of all channels. GstAudioConverter weighs by position, and ends
 * at 63 channels. */
static void
gst_mt3_audio_input_average (GstMt3AudioInput *input,
    const GstAudioBuffer *audio, gsize first, gsize n_frames)
{
  gboolean planar = audio->info.layout == GST_AUDIO_LAYOUT_NON_INTERLEAVED;
  guint n_channels = audio->info.channels;
  gsize stride = planar ? GST_AUDIO_INFO_BPS (&audio->info)
                        : GST_AUDIO_INFO_BPF (&audio->info);
  gdouble *mono = input->mono;

  /* Not 0.0, which would make one channel's -0.0 another value. */
  for (gsize i = 0; i < n_frames; i++)
    mono[i] = -0.0;
  for (gint i = 0; i < audio->n_planes; i++)
    gst_mt3_audio_input_add (input,
        (const guint8 *) audio->planes[i] + first * stride,
        planar ? 1 : n_channels, n_frames);
  if (n_channels > 1)
    for (gsize i = 0; i < n_frames; i++)
      mono[i] /= n_channels;
}

/* Whether values need neither sums nor a filter, and so no doubles. */
static gboolean
gst_mt3_audio_input_is_plain (const GstMt3AudioInput *input)
{
  return !input->resampler && GST_AUDIO_INFO_CHANNELS (&input->info) == 1 &&
         input->info.finfo->unpack_format == GST_AUDIO_FORMAT_S32;
}

/* The same samples in a fifth of the time. */
static GstFlowReturn
gst_mt3_audio_input_convert_plain (GstMt3AudioInput *input,
    const GstAudioBuffer *audio, gsize first, gsize n_frames)
{
  const GstAudioFormatInfo *finfo = input->info.finfo;
  const guint8 *data = audio->planes[0];
  const gint32 *ints = (const gint32 *) input->unpacked;
  gfloat *out = input->out;

  finfo->unpack_func (finfo, GST_AUDIO_PACK_FLAG_TRUNCATE_RANGE,
      input->unpacked,
      (gpointer) (data + first * GST_AUDIO_INFO_BPF (&audio->info)), n_frames);
  for (gsize i = 0; i < n_frames; i++)
    out[i] = (gfloat) ints[i] / 2147483648.0f;

  return gst_mt3_audio_input_emit (input, out, n_frames);
}

/* Frames that keep both what they take and what they become within a block. */
static gsize
gst_mt3_audio_input_block_frames (GstMt3AudioInput *input)
{
  guint64 frames = gst_util_uint64_scale (
      BLOCK, GST_AUDIO_INFO_RATE (&input->info), input->rate);

  guint64 most = BLOCK / GST_AUDIO_INFO_CHANNELS (&input->info);

  return CLAMP (frames, 1, most);
}

static GstFlowReturn
gst_mt3_audio_input_convert_all (
    GstMt3AudioInput *input, const GstAudioBuffer *audio)
{
  gsize block = gst_mt3_audio_input_block_frames (input);
  GstFlowReturn ret = GST_FLOW_OK;

  for (gsize at = 0; at < audio->n_samples && ret == GST_FLOW_OK; at += block) {
    gsize n_frames = MIN (block, audio->n_samples - at);

    input->in_frames += n_frames;
    if (gst_mt3_audio_input_is_plain (input)) {
      ret = gst_mt3_audio_input_convert_plain (input, audio, at, n_frames);
      continue;
    }
    gst_mt3_audio_input_average (input, audio, at, n_frames);
    ret = gst_mt3_audio_input_resample (
        input, input->mono, n_frames, G_MAXUINT64);
  }
  return ret;
}

/* Maps @buffer if it is what the caps say; gst_audio_buffer_map() believes them
 * in part and takes the rest for a programming error. Where the channels are
 * does not matter. */
static GstFlowReturn
gst_mt3_audio_input_map (
    GstMt3AudioInput *input, GstBuffer *buffer, GstAudioBuffer *audio)
{
  const GstAudioMeta *meta = gst_buffer_get_audio_meta (buffer);
  const GstAudioInfo *info = &input->info, *its = meta ? &meta->info : info;

  if (GST_AUDIO_INFO_FORMAT (info) == GST_AUDIO_FORMAT_UNKNOWN ||
      its->finfo != info->finfo || its->layout != info->layout ||
      its->channels != info->channels ||
      (!meta && info->layout != GST_AUDIO_LAYOUT_INTERLEAVED))
    return GST_FLOW_NOT_NEGOTIATED;
  if (!gst_audio_buffer_map (audio, its, buffer, GST_MAP_READ))
    return GST_FLOW_ERROR;
  return GST_FLOW_OK;
}

GstFlowReturn
gst_mt3_audio_input_push (GstMt3AudioInput *input, GstBuffer *buffer)
{
  gboolean discont = GST_BUFFER_FLAG_IS_SET (buffer, GST_BUFFER_FLAG_DISCONT) ||
                     GST_BUFFER_FLAG_IS_SET (buffer, GST_BUFFER_FLAG_RESYNC);
  GstAudioBuffer audio;
  GstFlowReturn ret = gst_mt3_audio_input_map (input, buffer, &audio);

  if (ret != GST_FLOW_OK) {
    gst_buffer_unref (buffer);
    return ret;
  }

  GST_LOG ("%" GST_PTR_FORMAT, buffer);
  ret = gst_mt3_audio_input_sync (
      input, discont, GST_BUFFER_PTS (buffer), (guint) audio.n_samples);
  if (ret == GST_FLOW_OK) {
    if (GST_BUFFER_FLAG_IS_SET (buffer, GST_BUFFER_FLAG_GAP))
      ret = gst_mt3_audio_input_silence (input, audio.n_samples);
    else
      ret = gst_mt3_audio_input_convert_all (input, &audio);
  }
  gst_audio_buffer_unmap (&audio);
  gst_buffer_unref (buffer);

  return ret;
}
