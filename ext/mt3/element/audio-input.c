/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "element/audio-input.h"
#include "element/debug.h"

#define GST_CAT_DEFAULT gst_mt3_audio_input_debug

/* Samples given out at a time: bounds memory even where one input frame
 * becomes thousands of samples. */
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
  GstAudioConverter *converter;
  GstAudioStreamAlign *align;
  gfloat *block;
  gsize block_size;

  /* Of the current format: frames taken, samples given out. */
  guint64 in_frames;
  guint64 out_samples;

  /* Timestamp of frame origin_frame; NONE: the next one's. */
  GstClockTime origin;
  guint64 origin_frame;

  guint64 n_replaced;
};

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
  gst_audio_info_init (&input->info);
  gst_mt3_audio_input_reset (input);

  return input;
}

static void
gst_mt3_audio_input_clear_converter (GstMt3AudioInput *input)
{
  g_clear_pointer (&input->converter, gst_audio_converter_free);
}

void
gst_mt3_audio_input_free (GstMt3AudioInput *input)
{
  gst_mt3_audio_input_clear_converter (input);
  gst_audio_stream_align_free (input->align);
  g_free (input->block);
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
  if (input->converter)
    gst_audio_converter_reset (input->converter);
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
  input->out_samples += n_samples;

  return input->func (samples, n_samples, input->user_data);
}

/* Runs @n_frames (NULL: of silence) through the converter; gives out at most
 * @limit samples. */
static GstFlowReturn
gst_mt3_audio_input_convert (
    GstMt3AudioInput *input, gpointer *planes, gsize n_frames, guint64 limit)
{
  gsize n_out = gst_audio_converter_get_out_frames (input->converter, n_frames);
  gpointer out[1];

  if (n_out > input->block_size) {
    input->block = g_renew (gfloat, input->block, n_out);
    input->block_size = n_out;
  }
  out[0] = input->block;
  if (!gst_audio_converter_samples (
          input->converter, 0, planes, n_frames, out, n_out))
    return GST_FLOW_ERROR;

  return gst_mt3_audio_input_emit (
      input, input->block, MIN ((guint64) n_out, limit));
}

static GstFlowReturn
gst_mt3_audio_input_flush_converter (GstMt3AudioInput *input)
{
  GstFlowReturn ret = GST_FLOW_OK;
  gsize n_frames;
  guint64 due;

  if (!input->converter)
    return GST_FLOW_OK;

  /* Enough silence to push out all that is held, and at least one sample. */
  n_frames = gst_audio_converter_get_max_latency (input->converter) +
             GST_AUDIO_INFO_RATE (&input->info) / input->rate + 1;
  while (ret == GST_FLOW_OK && (due = gst_mt3_audio_input_due (input)) > 0)
    ret = gst_mt3_audio_input_convert (input, NULL, n_frames, due);
  gst_audio_converter_reset (input->converter);

  return ret;
}

GstFlowReturn
gst_mt3_audio_input_drain (GstMt3AudioInput *input)
{
  gst_mt3_audio_input_forget_time (input);

  return gst_mt3_audio_input_flush_converter (input);
}

/* The average of all channels. GstAudioConverter's own matrices weigh by
 * position and give up on channels without one. */
static void
gst_mt3_audio_input_set_average (GstStructure *config, guint channels)
{
  GValue matrix = G_VALUE_INIT, row = G_VALUE_INIT, weight = G_VALUE_INIT;

  g_value_init (&matrix, GST_TYPE_ARRAY);
  g_value_init (&row, GST_TYPE_ARRAY);
  g_value_init (&weight, G_TYPE_DOUBLE);
  g_value_set_double (&weight, 1.0 / channels);
  for (guint i = 0; i < channels; i++)
    gst_value_array_append_value (&row, &weight);
  gst_value_array_append_and_take_value (&matrix, &row);
  gst_structure_take_value (
      config, GST_AUDIO_CONVERTER_OPT_MIX_MATRIX, &matrix);
  g_value_unset (&weight);
}

static GstAudioConverter *
gst_mt3_audio_input_new_converter (
    GstMt3AudioInput *input, const GstAudioInfo *info)
{
  GstAudioInfo in = *info, out;
  GstStructure *config;

  config = gst_structure_new ("GstAudioConverter",
      GST_AUDIO_CONVERTER_OPT_RESAMPLER_METHOD, GST_TYPE_AUDIO_RESAMPLER_METHOD,
      RESAMPLER_METHOD, NULL);
  gst_audio_resampler_options_set_quality (
      RESAMPLER_METHOD, RESAMPLER_QUALITY, in.rate, input->rate, config);
  if (in.channels > 1)
    gst_mt3_audio_input_set_average (config, in.channels);
  gst_audio_info_set_format (&out, GST_AUDIO_FORMAT_F32, input->rate, 1, NULL);
  /* One channel lies in memory alike in both layouts; saying so keeps the
   * converter's pass-through. */
  if (in.channels == 1)
    in.layout = out.layout;

  return gst_audio_converter_new (
      GST_AUDIO_CONVERTER_FLAG_NONE, &in, &out, config);
}

/* When the next frame is expected. */
static GstClockTime
gst_mt3_audio_input_next_pts (GstMt3AudioInput *input)
{
  return input->origin +
         gst_util_uint64_scale (input->in_frames - input->origin_frame,
             GST_SECOND, GST_AUDIO_INFO_RATE (&input->info));
}

GstFlowReturn
gst_mt3_audio_input_set_info (GstMt3AudioInput *input, const GstAudioInfo *info)
{
  GstFlowReturn ret = gst_mt3_audio_input_flush_converter (input);

  if (GST_CLOCK_TIME_IS_VALID (input->origin))
    input->origin = gst_mt3_audio_input_next_pts (input);
  gst_mt3_audio_input_clear_converter (input);
  input->in_frames = input->out_samples = input->origin_frame = 0;
  input->info = *info;
  input->converter = gst_mt3_audio_input_new_converter (input, info);
  gst_audio_stream_align_set_rate (input->align, info->rate);
  if (!input->converter)
    return GST_FLOW_NOT_NEGOTIATED;

  GST_INFO ("%s, %d Hz, %d channels to %u Hz mono float",
      gst_audio_format_to_string (GST_AUDIO_INFO_FORMAT (info)), info->rate,
      info->channels, input->rate);

  return ret;
}

static GstFlowReturn
gst_mt3_audio_input_silence (GstMt3AudioInput *input, guint64 n_frames)
{
  GstFlowReturn ret = gst_mt3_audio_input_flush_converter (input);

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

  if (!input->converter)
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

/* A NaN would spread through the resampler's whole filter: it must go before.
 * Works on the exponent bits, so that every byte order is treated alike. */
static guint
gst_mt3_audio_input_replace (
    const GstAudioFormatInfo *finfo, guint8 *data, gsize size, gboolean write)
{
  gsize width = GST_AUDIO_FORMAT_INFO_WIDTH (finfo) / 8;
  gboolean little = GST_AUDIO_FORMAT_INFO_IS_LITTLE_ENDIAN (finfo);
  guint n_found = 0;

  for (gsize i = 0; i + width <= size; i += width) {
    guint8 *sample = data + i;
    guint high = little ? GST_READ_UINT16_LE (sample + width - 2)
                        : GST_READ_UINT16_BE (sample);
    guint exponent = width == 4 ? 0x7f80 : 0x7ff0;

    if ((high & exponent) != exponent)
      continue;
    n_found++;
    if (write)
      memset (sample, 0, width);
  }
  return n_found;
}

static GstBuffer *
gst_mt3_audio_input_sanitize (GstMt3AudioInput *input, GstBuffer *buffer)
{
  const GstAudioFormatInfo *finfo = input->info.finfo;
  GstMapInfo map;
  guint n_found;

  if (!GST_AUDIO_FORMAT_INFO_IS_FLOAT (finfo) ||
      !gst_buffer_map (buffer, &map, GST_MAP_READ))
    return buffer;
  n_found = gst_mt3_audio_input_replace (finfo, map.data, map.size, FALSE);
  gst_buffer_unmap (buffer, &map);
  if (n_found == 0)
    return buffer;

  GST_DEBUG ("%u samples are not finite", n_found);
  buffer = gst_buffer_make_writable (buffer);
  if (gst_buffer_map (buffer, &map, GST_MAP_READWRITE)) {
    input->n_replaced +=
        gst_mt3_audio_input_replace (finfo, map.data, map.size, TRUE);
    gst_buffer_unmap (buffer, &map);
  }
  return buffer;
}

/* A GstAudioMeta describes the buffer in place of the caps; one that differs
 * from them would lead the converter past the planes. */
static gboolean
gst_mt3_audio_input_map (
    GstMt3AudioInput *input, GstBuffer *buffer, GstAudioBuffer *audio)
{
  if (!gst_audio_buffer_map (audio, &input->info, buffer, GST_MAP_READ))
    return FALSE;
  if (audio->info.finfo == input->info.finfo &&
      audio->info.channels == input->info.channels &&
      audio->info.layout == input->info.layout)
    return TRUE;

  gst_audio_buffer_unmap (audio);
  return FALSE;
}

/* Converts a mapped buffer in blocks. */
static GstFlowReturn
gst_mt3_audio_input_convert_all (GstMt3AudioInput *input, GstAudioBuffer *audio)
{
  gint rate = GST_AUDIO_INFO_RATE (&input->info);
  gsize n_left = audio->n_samples;
  gsize block = MAX (1, gst_util_uint64_scale (BLOCK, rate, input->rate));
  gboolean planar = audio->info.layout == GST_AUDIO_LAYOUT_NON_INTERLEAVED;
  gsize stride = planar ? GST_AUDIO_INFO_BPS (&audio->info)
                        : GST_AUDIO_INFO_BPF (&audio->info);
  g_autofree gpointer *planes =
      g_memdup2 (audio->planes, audio->n_planes * sizeof (gpointer));
  GstFlowReturn ret = GST_FLOW_OK;

  while (n_left > 0 && ret == GST_FLOW_OK) {
    gsize n = MIN (block, n_left);

    input->in_frames += n;
    ret = gst_mt3_audio_input_convert (input, planes, n, G_MAXUINT64);
    for (gint i = 0; i < audio->n_planes; i++)
      planes[i] = (guint8 *) planes[i] + n * stride;
    n_left -= n;
  }
  return ret;
}

GstFlowReturn
gst_mt3_audio_input_push (GstMt3AudioInput *input, GstBuffer *buffer)
{
  gboolean discont = GST_BUFFER_FLAG_IS_SET (buffer, GST_BUFFER_FLAG_DISCONT) ||
                     GST_BUFFER_FLAG_IS_SET (buffer, GST_BUFFER_FLAG_RESYNC);
  GstAudioBuffer audio;
  GstFlowReturn ret;

  if (!input->converter) {
    gst_buffer_unref (buffer);
    return GST_FLOW_NOT_NEGOTIATED;
  }
  buffer = gst_mt3_audio_input_sanitize (input, buffer);
  if (!gst_mt3_audio_input_map (input, buffer, &audio)) {
    gst_buffer_unref (buffer);
    return GST_FLOW_ERROR;
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
