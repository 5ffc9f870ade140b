/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What of any raw audio reaches the windows.
 */
#include <math.h>

#include <gst/check/gstcheck.h>

#include "element/audio-input.h"
#include "element/debug.h"

#define RATE 16000

static GArray *heard; /* gfloat */
static GstFlowReturn answer;

static GstFlowReturn
hear (const gfloat *samples, guint64 n_samples, gpointer user_data)
{
  guint before = heard->len;

  g_array_set_size (heard, before + (guint) n_samples);
  if (samples)
    memcpy (&g_array_index (heard, gfloat, before), samples,
        n_samples * sizeof (gfloat));
  return answer;
}

static void
setup (void)
{
  gst_mt3_debug_init ();
  heard = g_array_new (FALSE, TRUE, sizeof (gfloat));
  answer = GST_FLOW_OK;
}

static void
teardown (void)
{
  g_array_unref (heard);
}

static gfloat
heard_at (guint i)
{
  fail_unless (i < heard->len);
  return g_array_index (heard, gfloat, i);
}

static GstAudioInfo
info_of (GstAudioFormat format, gint rate, gint channels)
{
  static GstAudioChannelPosition none[GST_MT3_MAX_CHANNELS];
  GstAudioInfo info;

  for (gint i = 0; i < channels; i++)
    none[i] = GST_AUDIO_CHANNEL_POSITION_NONE;
  gst_audio_info_set_format (&info, format, rate, channels,
      channels > 2 && channels <= 64 ? none : NULL);
  return info;
}

static GstMt3AudioInput *
new_input (const GstAudioInfo *info)
{
  GstMt3AudioInput *input = gst_mt3_audio_input_new (RATE, hear, NULL);

  fail_unless_equals_int (
      gst_mt3_audio_input_set_info (input, info), GST_FLOW_OK);
  return input;
}

static GstBuffer *
buffer_of (gconstpointer data, gsize size, GstClockTime pts)
{
  GstBuffer *buffer = gst_buffer_new_memdup (data, size);

  GST_BUFFER_PTS (buffer) = pts;
  return buffer;
}

static void
push (GstMt3AudioInput *input, GstBuffer *buffer)
{
  fail_unless_equals_int (
      gst_mt3_audio_input_push (input, buffer), GST_FLOW_OK);
}

static void
push_silence_like (GstMt3AudioInput *input, gfloat value, guint n_samples,
    GstClockTime pts, guint flags)
{
  g_autofree gfloat *samples = g_new (gfloat, n_samples);
  GstBuffer *buffer;

  for (guint i = 0; i < n_samples; i++)
    samples[i] = value;
  buffer = buffer_of (samples, n_samples * sizeof (gfloat), pts);
  GST_BUFFER_FLAG_SET (buffer, flags);
  push (input, buffer);
}

GST_START_TEST (s16_at_the_model_rate_is_divided_by_32768)
{
  GstAudioInfo info = info_of (GST_AUDIO_FORMAT_S16, RATE, 1);
  g_autoptr (GstMt3AudioInput) input = new_input (&info);
  g_autofree gint16 *all = g_new (gint16, 65536);

  for (gint i = 0; i < 65536; i++)
    all[i] = (gint16) (i - 32768);
  push (input, buffer_of (all, 131072, 0));
  fail_unless_equals_int (heard->len, 65536);
  for (gint i = 0; i < 65536; i++)
    fail_unless (heard_at (i) == (i - 32768) / 32768.0f);
}

GST_END_TEST

GST_START_TEST (f32_at_the_model_rate_is_not_touched)
{
  const gfloat odd[] = {
      0.0f, -0.0f, 1.0f, -1.5f, 1e-42f, 0.1f, 3e38f, -1.17549435e-38f};
  GstAudioInfo info = info_of (GST_AUDIO_FORMAT_F32, RATE, 1);

  for (gint planar = 0; planar < 2; planar++) {
    g_autoptr (GstMt3AudioInput) input = NULL;

    g_array_set_size (heard, 0);
    info.layout = planar ? GST_AUDIO_LAYOUT_NON_INTERLEAVED
                         : GST_AUDIO_LAYOUT_INTERLEAVED;
    input = new_input (&info);
    if (planar) {
      GstBuffer *buffer = buffer_of (odd, sizeof odd, 0);

      gst_buffer_add_audio_meta (buffer, &info, G_N_ELEMENTS (odd), NULL);
      push (input, buffer);
    } else {
      push (input, buffer_of (odd, sizeof odd, 0));
    }
    fail_unless_equals_int (heard->len, G_N_ELEMENTS (odd));
    fail_unless (memcmp (heard->data, odd, sizeof odd) == 0);
  }
}

GST_END_TEST

/* Halves and quarters are exact in every format, offset binary or not. */
GST_START_TEST (every_format_keeps_its_values)
{
  const gdouble values[] = {0.0, 0.5, -0.5, 0.25, -1.0};
  guint n_formats;
  const GstAudioFormat *formats = gst_audio_formats_raw (&n_formats);

  fail_unless (n_formats > 20);
  for (guint f = 0; f < n_formats; f++) {
    GstAudioInfo info = info_of (formats[f], RATE, 1);
    const GstAudioFormatInfo *finfo = info.finfo;
    g_autoptr (GstMt3AudioInput) input = new_input (&info);
    gdouble floats[G_N_ELEMENTS (values)];
    gint32 ints[G_N_ELEMENTS (values)];
    guint8 packed[64] = {0};

    for (guint i = 0; i < G_N_ELEMENTS (values); i++) {
      floats[i] = values[i];
      ints[i] = (gint32) (values[i] * 2147483648.0);
    }
    finfo->pack_func (finfo, 0,
        finfo->unpack_format == GST_AUDIO_FORMAT_F64 ? (gpointer) floats
                                                     : (gpointer) ints,
        packed, G_N_ELEMENTS (values));
    g_array_set_size (heard, 0);
    push (input, buffer_of (packed, G_N_ELEMENTS (values) * info.bpf, 0));
    fail_unless_equals_int (heard->len, G_N_ELEMENTS (values));
    for (guint i = 0; i < G_N_ELEMENTS (values); i++)
      fail_unless (heard_at (i) == (gfloat) values[i], "%s: %g is %g",
          finfo->name, values[i], heard_at (i));
  }
}

GST_END_TEST

/* Channel c holds c + 1 in units that make the average exact to a bit. */
static void
check_average (const GstAudioInfo *info)
{
  g_autoptr (GstMt3AudioInput) input = new_input (info);
  guint n_frames = 10, channels = info->channels;
  gboolean planar = info->layout == GST_AUDIO_LAYOUT_NON_INTERLEAVED;
  g_autofree gfloat *samples = g_new (gfloat, n_frames * channels);
  gfloat average = (channels + 1) / 2.0f / 2048.0f;
  GstBuffer *buffer;

  for (guint i = 0; i < n_frames; i++)
    for (guint c = 0; c < channels; c++)
      samples[planar ? c * n_frames + i : i * channels + c] = (c + 1) / 2048.0f;
  buffer = buffer_of (samples, n_frames * channels * sizeof (gfloat), 0);
  if (planar)
    gst_buffer_add_audio_meta (buffer, info, n_frames, NULL);
  g_array_set_size (heard, 0);
  push (input, buffer);
  fail_unless_equals_int (heard->len, n_frames);
  for (guint i = 0; i < n_frames; i++)
    fail_unless (fabsf (heard_at (i) - average) <= average * 1e-6f,
        "%u channels: %g, not %g", channels, heard_at (i), average);
}

GST_START_TEST (channels_are_averaged)
{
  const gint channels[] = {1, 2, 3, 6, 64, 65, GST_MT3_MAX_CHANNELS};

  for (guint i = 0; i < G_N_ELEMENTS (channels); i++) {
    GstAudioInfo info = info_of (GST_AUDIO_FORMAT_F32, RATE, channels[i]);

    check_average (&info);
    info.layout = GST_AUDIO_LAYOUT_NON_INTERLEAVED;
    check_average (&info);
  }
}

GST_END_TEST

GST_START_TEST (positions_do_not_weigh)
{
  const GstAudioChannelPosition surround[] = {
      GST_AUDIO_CHANNEL_POSITION_FRONT_LEFT,
      GST_AUDIO_CHANNEL_POSITION_FRONT_RIGHT,
      GST_AUDIO_CHANNEL_POSITION_FRONT_CENTER, GST_AUDIO_CHANNEL_POSITION_LFE1,
      GST_AUDIO_CHANNEL_POSITION_REAR_LEFT,
      GST_AUDIO_CHANNEL_POSITION_REAR_RIGHT};
  GstAudioInfo info;

  gst_audio_info_set_format (
      &info, GST_AUDIO_FORMAT_F32, RATE, G_N_ELEMENTS (surround), surround);
  check_average (&info);
}

GST_END_TEST

static const gint rates[] = {1, 7, 4000, 8000, 11025, 16000, 22050, 32000,
    44100, 48000, 88200, 96000, 176400, 192000, 384000, GST_MT3_MAX_RATE};

/* n_samples of noise at @rate, pushed in pieces. */
static void
push_noise (gint rate, guint n_samples, guint piece)
{
  GstAudioInfo info = info_of (GST_AUDIO_FORMAT_F32, rate, 1);
  g_autoptr (GstMt3AudioInput) input = new_input (&info);
  g_autoptr (GRand) rand = g_rand_new_with_seed (1);
  g_autofree gfloat *samples = g_new (gfloat, n_samples);

  for (guint i = 0; i < n_samples; i++)
    samples[i] = (gfloat) g_rand_double_range (rand, -0.5, 0.5);
  for (guint at = 0; at < n_samples; at += piece)
    push (input,
        buffer_of (samples + at, MIN (piece, n_samples - at) * sizeof (gfloat),
            GST_CLOCK_TIME_NONE));
  fail_unless_equals_int (gst_mt3_audio_input_drain (input), GST_FLOW_OK);
}

GST_START_TEST (length_is_rounded_up_once)
{
  gint rate = rates[__i__];
  guint counts[] = {1, 2, 1000, 12345};

  for (guint i = 0; i < G_N_ELEMENTS (counts); i++) {
    guint n = rate < 100 ? MIN (counts[i], 3) : counts[i];

    g_array_set_size (heard, 0);
    push_noise (rate, n, 777);
    fail_unless_equals_int (
        heard->len, gst_util_uint64_scale_ceil (n, RATE, rate));
    for (guint k = 0; k < heard->len; k++)
      fail_unless (isfinite (heard_at (k)), "sample %u of %u", k, heard->len);
  }
}

GST_END_TEST

GST_START_TEST (buffer_sizes_change_nothing)
{
  g_autoptr (GArray) whole = NULL;

  push_noise (44100, 50000, 50000);
  whole = g_steal_pointer (&heard);
  heard = g_array_new (FALSE, TRUE, sizeof (gfloat));
  push_noise (44100, 50000, 441);
  fail_unless_equals_int (heard->len, whole->len);
  fail_unless (
      memcmp (heard->data, whole->data, whole->len * sizeof (gfloat)) == 0);
}

GST_END_TEST

/* The top of what MT3 hears, in its place in time. */
GST_START_TEST (resampling_keeps_7500_hz)
{
  GstAudioInfo info = info_of (GST_AUDIO_FORMAT_F32, 44100, 1);
  g_autoptr (GstMt3AudioInput) input = new_input (&info);
  guint n = 44100;
  g_autofree gfloat *samples = g_new (gfloat, n);
  gdouble energy = 0.0;

  for (guint i = 0; i < n; i++)
    samples[i] = 0.5f * (gfloat) sin (2 * G_PI * 7500.0 * i / 44100.0);
  push (input, buffer_of (samples, n * sizeof (gfloat), 0));
  gst_mt3_audio_input_drain (input);
  for (guint i = 1000; i < RATE - 1000; i++) {
    gdouble expected = 0.5 * sin (2 * G_PI * 7500.0 * i / RATE);

    /* An even filter's centre lies between samples: 2 us late. */
    fail_unless (fabs (heard_at (i) - expected) < 0.04);
    energy += 2.0 * heard_at (i) * heard_at (i) / (RATE - 2000);
  }
  fail_unless (fabs (sqrt (energy) - 0.5) < 0.0005);
}

GST_END_TEST

GST_START_TEST (what_is_not_finite_becomes_silence_and_does_not_spread)
{
  const GstAudioFormat formats[] = {GST_AUDIO_FORMAT_F32LE,
      GST_AUDIO_FORMAT_F32BE, GST_AUDIO_FORMAT_F64LE, GST_AUDIO_FORMAT_F64BE};
  const gdouble odd[] = {NAN, INFINITY, -INFINITY};

  for (guint f = 0; f < G_N_ELEMENTS (formats); f++) {
    GstAudioInfo info = info_of (formats[f], 48000, 1);
    g_autoptr (GstMt3AudioInput) input = new_input (&info);
    gdouble values[3000] = {0};
    g_autofree guint8 *packed = g_malloc (info.bpf * G_N_ELEMENTS (values));

    for (guint i = 0; i < G_N_ELEMENTS (odd); i++)
      values[1000 + 100 * i] = odd[i];
    info.finfo->pack_func (
        info.finfo, 0, values, packed, G_N_ELEMENTS (values));
    g_array_set_size (heard, 0);
    push (input, buffer_of (packed, info.bpf * G_N_ELEMENTS (values), 0));
    gst_mt3_audio_input_drain (input);
    fail_unless_equals_int (heard->len, 1000);
    for (guint i = 0; i < heard->len; i++)
      fail_unless (heard_at (i) == 0.0f);
    fail_unless_equals_uint64 (gst_mt3_audio_input_take_replaced (input), 3);
    fail_unless_equals_uint64 (gst_mt3_audio_input_take_replaced (input), 0);
  }
}

GST_END_TEST

GST_START_TEST (a_gap_buffer_is_silence)
{
  GstAudioInfo info = info_of (GST_AUDIO_FORMAT_F32, RATE, 1);
  g_autoptr (GstMt3AudioInput) input = new_input (&info);

  push_silence_like (input, 0.5f, 160, 0, 0);
  push_silence_like (input, 0.5f, 160, 10 * GST_MSECOND, GST_BUFFER_FLAG_GAP);
  push_silence_like (input, 0.5f, 160, 20 * GST_MSECOND, 0);
  fail_unless_equals_int (heard->len, 480);
  for (guint i = 0; i < 480; i++)
    fail_unless (heard_at (i) == (i / 160 == 1 ? 0.0f : 0.5f));
}

GST_END_TEST

/* Silence must not let the resampler lose or gain time. */
GST_START_TEST (a_gap_event_is_silence_of_its_length)
{
  GstAudioInfo info = info_of (GST_AUDIO_FORMAT_F32, 44100, 1);
  g_autoptr (GstMt3AudioInput) input = new_input (&info);

  for (guint i = 0; i < 20; i += 2) {
    push_silence_like (input, 0.5f, 4410, i * 100 * GST_MSECOND, 0);
    fail_unless_equals_int (gst_mt3_audio_input_gap (input,
                                (i + 1) * 100 * GST_MSECOND, 100 * GST_MSECOND),
        GST_FLOW_OK);
  }
  gst_mt3_audio_input_drain (input);
  fail_unless_equals_int (heard->len, 2 * RATE);
  for (guint i = 0; i < 20; i++)
    fail_unless (
        fabsf (heard_at (i * 1600 + 800) - (i % 2 ? 0 : 0.5f)) < 1e-4f);
}

GST_END_TEST

GST_START_TEST (missing_time_is_silence)
{
  GstAudioInfo info = info_of (GST_AUDIO_FORMAT_F32, RATE, 1);
  g_autoptr (GstMt3AudioInput) input = new_input (&info);

  push_silence_like (input, 0.5f, 160, 5 * GST_SECOND, 0);
  push_silence_like (input, 0.5f, 160, 7 * GST_SECOND, GST_BUFFER_FLAG_DISCONT);
  fail_unless_equals_int (heard->len, 2 * RATE + 160);
  fail_unless (heard_at (159) == 0.5f);
  fail_unless (heard_at (160) == 0.0f);
  fail_unless (heard_at (2 * RATE - 1) == 0.0f);
  fail_unless (heard_at (2 * RATE) == 0.5f);
}

GST_END_TEST

GST_START_TEST (missing_time_counts_without_a_flag_too)
{
  GstAudioInfo info = info_of (GST_AUDIO_FORMAT_F32, RATE, 1);
  g_autoptr (GstMt3AudioInput) input = new_input (&info);

  for (guint i = 0; i < 200; i++)
    push_silence_like (input, 0.5f, 160,
        i * 10 * GST_MSECOND + (i > 50 ? 300 * GST_MSECOND : 0), 0);
  fail_unless_equals_int (heard->len, 2 * RATE + RATE * 3 / 10);
}

GST_END_TEST

/* MP3 and container timestamps are rounded to milliseconds. */
GST_START_TEST (jitter_is_not_missing_time)
{
  GstAudioInfo info = info_of (GST_AUDIO_FORMAT_F32, RATE, 1);
  g_autoptr (GstMt3AudioInput) input = new_input (&info);

  for (guint i = 0; i < 100; i++)
    push_silence_like (input, 0.5f, 100,
        gst_util_uint64_scale (i * 100, GST_SECOND, RATE) / GST_MSECOND *
            GST_MSECOND,
        i % 3 ? 0 : GST_BUFFER_FLAG_DISCONT);
  fail_unless_equals_int (heard->len, 10000);
  for (guint i = 0; i < heard->len; i++)
    fail_unless (heard_at (i) == 0.5f);
}

GST_END_TEST

GST_START_TEST (time_that_goes_back_loses_no_audio)
{
  GstAudioInfo info = info_of (GST_AUDIO_FORMAT_F32, RATE, 1);
  g_autoptr (GstMt3AudioInput) input = new_input (&info);

  push_silence_like (input, 0.5f, RATE, 0, 0);
  push_silence_like (input, 0.5f, RATE, 0, GST_BUFFER_FLAG_DISCONT);
  push_silence_like (input, 0.5f, RATE, GST_SECOND, 0);
  fail_unless_equals_int (heard->len, 3 * RATE);
}

GST_END_TEST

GST_START_TEST (a_new_format_goes_on_in_time)
{
  GstAudioInfo first = info_of (GST_AUDIO_FORMAT_F32, 44100, 1);
  GstAudioInfo second = info_of (GST_AUDIO_FORMAT_F32, 8000, 1);
  g_autoptr (GstMt3AudioInput) input = new_input (&first);

  push_silence_like (input, 0.5f, 44100, 0, 0);
  fail_unless_equals_int (
      gst_mt3_audio_input_set_info (input, &second), GST_FLOW_OK);
  fail_unless_equals_int (heard->len, RATE);
  push_silence_like (
      input, 0.5f, 8000, 2 * GST_SECOND, GST_BUFFER_FLAG_DISCONT);
  gst_mt3_audio_input_drain (input);
  fail_unless_equals_int (heard->len, 3 * RATE);
}

GST_END_TEST

GST_START_TEST (after_a_drain_audio_follows_without_a_gap)
{
  GstAudioInfo info = info_of (GST_AUDIO_FORMAT_F32, RATE, 1);
  g_autoptr (GstMt3AudioInput) input = new_input (&info);

  push_silence_like (input, 0.5f, RATE, 0, 0);
  gst_mt3_audio_input_drain (input);
  push_silence_like (
      input, 0.5f, RATE, 100 * GST_SECOND, GST_BUFFER_FLAG_DISCONT);
  fail_unless_equals_int (heard->len, 2 * RATE);
}

GST_END_TEST

/* Read by its caps, a plane of bytes would end before its doubles. */
GST_START_TEST (planes_that_are_not_what_the_caps_say_are_refused)
{
  GstAudioInfo info = info_of (GST_AUDIO_FORMAT_F64, RATE, 2);
  GstAudioInfo other = info_of (GST_AUDIO_FORMAT_S8, RATE, 2);
  guint8 bytes[2 * 10 * sizeof (gdouble)] = {0};
  g_autoptr (GstMt3AudioInput) input = NULL;
  GstBuffer *buffers[2];

  info.layout = other.layout = GST_AUDIO_LAYOUT_NON_INTERLEAVED;
  input = new_input (&info);
  buffers[0] = buffer_of (bytes, sizeof bytes, 0);
  buffers[1] = buffer_of (bytes, sizeof bytes, 0);
  gst_buffer_add_audio_meta (buffers[1], &other, 10, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (buffers); i++)
    fail_unless_equals_int (
        gst_mt3_audio_input_push (input, buffers[i]), GST_FLOW_NOT_NEGOTIATED);
}

GST_END_TEST

/* Where its channels are does not matter for an average. */
GST_START_TEST (a_buffer_may_say_less_than_the_caps)
{
  GstAudioInfo info = info_of (GST_AUDIO_FORMAT_F32, RATE, 2);
  GstAudioInfo unpositioned = info;
  g_autoptr (GstMt3AudioInput) input = new_input (&info);
  gfloat samples[2 * 10] = {0};
  GstBuffer *buffer = buffer_of (samples, sizeof samples, 0);

  unpositioned.flags |= GST_AUDIO_FLAG_UNPOSITIONED;
  unpositioned.position[0] = GST_AUDIO_CHANNEL_POSITION_NONE;
  unpositioned.position[1] = GST_AUDIO_CHANNEL_POSITION_NONE;
  gst_buffer_add_audio_meta (buffer, &unpositioned, 10, NULL);
  push (input, buffer);
  fail_unless_equals_int (heard->len, 10);
}

GST_END_TEST

GST_START_TEST (half_a_frame_is_ignored)
{
  GstAudioInfo info = info_of (GST_AUDIO_FORMAT_F32, RATE, 2);
  g_autoptr (GstMt3AudioInput) input = new_input (&info);
  guint8 bytes[8 * 10 + 5] = {0};

  push (input, buffer_of (bytes, sizeof bytes, 0));
  fail_unless_equals_int (heard->len, 10);
}

GST_END_TEST

GST_START_TEST (a_flow_that_is_not_ok_comes_back)
{
  GstAudioInfo info = info_of (GST_AUDIO_FORMAT_F32, RATE, 1);
  g_autoptr (GstMt3AudioInput) input = new_input (&info);
  gfloat sample = 0.5f;

  answer = GST_FLOW_FLUSHING;
  fail_unless_equals_int (
      gst_mt3_audio_input_push (input, buffer_of (&sample, sizeof sample, 0)),
      GST_FLOW_FLUSHING);
}

GST_END_TEST

static Suite *
audio_input_suite (void)
{
  Suite *suite = suite_create ("audio-input");
  TCase *tcase = tcase_create ("general");

  tcase_add_checked_fixture (tcase, setup, teardown);
  tcase_add_test (tcase, s16_at_the_model_rate_is_divided_by_32768);
  tcase_add_test (tcase, f32_at_the_model_rate_is_not_touched);
  tcase_add_test (tcase, every_format_keeps_its_values);
  tcase_add_test (tcase, channels_are_averaged);
  tcase_add_test (tcase, positions_do_not_weigh);
  tcase_add_loop_test (
      tcase, length_is_rounded_up_once, 0, G_N_ELEMENTS (rates));
  tcase_add_test (tcase, buffer_sizes_change_nothing);
  tcase_add_test (tcase, resampling_keeps_7500_hz);
  tcase_add_test (
      tcase, what_is_not_finite_becomes_silence_and_does_not_spread);
  tcase_add_test (tcase, a_gap_buffer_is_silence);
  tcase_add_test (tcase, a_gap_event_is_silence_of_its_length);
  tcase_add_test (tcase, missing_time_is_silence);
  tcase_add_test (tcase, missing_time_counts_without_a_flag_too);
  tcase_add_test (tcase, jitter_is_not_missing_time);
  tcase_add_test (tcase, time_that_goes_back_loses_no_audio);
  tcase_add_test (tcase, a_new_format_goes_on_in_time);
  tcase_add_test (tcase, after_a_drain_audio_follows_without_a_gap);
  tcase_add_test (tcase, planes_that_are_not_what_the_caps_say_are_refused);
  tcase_add_test (tcase, a_buffer_may_say_less_than_the_caps);
  tcase_add_test (tcase, half_a_frame_is_ignored);
  tcase_add_test (tcase, a_flow_that_is_not_ok_comes_back);
  suite_add_tcase (suite, tcase);

  return suite;
}

GST_CHECK_MAIN (audio_input);
