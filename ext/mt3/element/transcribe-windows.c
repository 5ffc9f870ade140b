/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * transcribe-windows.c: samples into windows, and windows into the engine's
 * stream. All of it belongs to the sink pad's streaming thread.
 */
#include "element/debug.h"
#include "element/transcribe-private.h"

#define GST_CAT_DEFAULT gst_mt3_sink_debug

/* There is always a reason: the task's own end (it still writes what it has
 * first) or a flush. */
GstFlowReturn
gst_mt3_transcribe_wait_outcome (GstMt3Transcribe *self)
{
  GstFlowReturn ret;

  g_mutex_lock (&self->lock);
  while (!self->flushing && self->srcresult == GST_FLOW_OK)
    g_cond_wait (&self->changed, &self->lock);
  ret = self->flushing ? GST_FLOW_FLUSHING : self->srcresult;
  g_mutex_unlock (&self->lock);

  return ret;
}

Mt3Decoding
gst_mt3_transcribe_decoding (GstMt3Transcribe *self, const Mt3Config *config)
{
  Mt3Decoding decoding;

  GST_OBJECT_LOCK (self);
  decoding = gst_mt3_note_settings_decoding (&self->settings.notes, config);
  GST_OBJECT_UNLOCK (self);

  return decoding;
}

static void
gst_mt3_transcribe_update_decoding (GstMt3Transcribe *self)
{
  Mt3Decoding decoding =
      gst_mt3_transcribe_decoding (self, mt3_engine_config (self->run->engine));

  if (!mt3_decoding_equal (&decoding, &self->decoding))
    mt3_stream_set_decoding (self->run->stream, &decoding);
  mt3_decoding_clear (&self->decoding);
  self->decoding = decoding;
}

static gboolean
gst_mt3_transcribe_is_silent (GstMt3Transcribe *self, const Mt3Window *window)
{
  gboolean silent;

  GST_OBJECT_LOCK (self);
  silent =
      gst_mt3_note_settings_is_silent (&self->settings.notes, window->peak);
  GST_OBJECT_UNLOCK (self);

  return silent;
}

/* When that window begins, since the first sample. */
static GstClockTime
gst_mt3_transcribe_window_position (GstMt3Transcribe *self, guint64 index)
{
  const Mt3Config *config = mt3_engine_config (self->run->engine);

  return self->run->start +
         gst_util_uint64_scale (index * mt3_config_window_samples (config),
             GST_SECOND, config->sample_rate);
}

static GstFlowReturn
gst_mt3_transcribe_push_window (GstMt3Transcribe *self, Mt3Window *window)
{
  Mt3Flow flow;

  window->index += self->windows_skipped;
  GST_DEBUG_OBJECT (self, "window %" G_GUINT64_FORMAT ", %u frames, peak %g%s",
      window->index, window->n_frames, window->peak,
      window->last ? ", the last" : "");

  g_mutex_lock (&self->lock);
  if (self->stats.started_us == 0)
    self->stats.started_us = g_get_monotonic_time ();
  self->stats.replaced_samples += window->n_replaced;
  g_mutex_unlock (&self->lock);

  if (!window->last &&
      gst_mt3_transcribe_is_overloaded (self, self->run->stream)) {
    gst_mt3_transcribe_lose_window (self, window->index,
        gst_mt3_transcribe_window_position (self, window->index));
    mt3_window_free (window);
    return GST_FLOW_OK;
  }
  gst_mt3_transcribe_update_decoding (self);
  if (gst_mt3_transcribe_is_silent (self, window))
    flow = mt3_stream_skip (self->run->stream, window, NULL);
  else
    flow = mt3_stream_push (self->run->stream, window, NULL);
  if (flow == MT3_FLOW_OK)
    return GST_FLOW_OK;

  return gst_mt3_transcribe_wait_outcome (self);
}

/* Long silence need not be computed window by window: one silent window ends
 * the notes before it, the next ones would say nothing. At least one sample
 * stays for the last window. */
static guint64
gst_mt3_transcribe_skip_silence (GstMt3Transcribe *self, guint64 n_samples)
{
  gsize size =
      mt3_config_window_samples (mt3_engine_config (self->run->engine));
  guint64 n_windows;

  if (self->silent_samples < size || n_samples <= size ||
      mt3_windower_n_samples (self->windower) % size != 0)
    return 0;
  n_windows = (n_samples - 1) / size;
  GST_DEBUG_OBJECT (
      self, "%" G_GUINT64_FORMAT " silent windows skipped", n_windows);
  self->windows_skipped += n_windows;

  return n_windows * size;
}

/* Since the first sample. */
static GstClockTime
gst_mt3_transcribe_position (GstMt3Transcribe *self)
{
  const Mt3Config *config = mt3_engine_config (self->run->engine);
  guint64 n_skipped =
      self->windows_skipped * mt3_config_window_samples (config);

  return self->run->start +
         gst_util_uint64_scale (
             mt3_windower_n_samples (self->windower) + n_skipped, GST_SECOND,
             config->sample_rate);
}

/* Remembers upstream's time of the next sample, unless it follows from what is
 * known. */
static void
gst_mt3_transcribe_track_time (GstMt3Transcribe *self)
{
  GstMt3TimeAnchor anchor = {
      .position = gst_mt3_transcribe_position (self),
      .pts = gst_mt3_audio_input_pts (self->input),
      .segment = self->segment,
      .seqnum = self->segment_seqnum,
  };

  if (!GST_CLOCK_TIME_IS_VALID (anchor.pts))
    return;
  if (!self->segment_changed &&
      !gst_mt3_time_map_differs (self->times, anchor.position, anchor.pts))
    return;
  GST_DEBUG_OBJECT (self,
      "after %" GST_TIME_FORMAT " time goes on at %" GST_TIME_FORMAT,
      GST_TIME_ARGS (anchor.position), GST_TIME_ARGS (anchor.pts));
  self->segment_changed = FALSE;
  gst_mt3_time_map_add (self->times, &anchor);
}

/* Between two windows: lets a model that was set have the next ones, if they
 * are the same to it. */
static GstFlowReturn
gst_mt3_transcribe_follow_model (GstMt3Transcribe *self)
{
  Mt3Engine *engine = gst_mt3_transcribe_find_new_engine (self, TRUE);

  if (engine &&
      !gst_mt3_transcribe_begin_run (self, engine, self->run->start, NULL))
    return gst_mt3_transcribe_wait_outcome (self);

  return GST_FLOW_OK;
}

static GstFlowReturn
gst_mt3_transcribe_take_samples (
    const gfloat *samples, guint64 n_samples, gpointer user_data)
{
  GstMt3Transcribe *self = user_data;
  GstFlowReturn ret = GST_FLOW_OK;

  gst_mt3_transcribe_track_time (self);
  if (samples)
    self->silent_samples = 0;
  while (n_samples > 0 && ret == GST_FLOW_OK) {
    gsize n = (gsize) MIN (n_samples, G_MAXINT32);
    Mt3Window *window;

    if (!samples)
      n_samples -= gst_mt3_transcribe_skip_silence (self, n_samples);
    n = mt3_windower_push (self->windower, samples, MIN (n, n_samples));
    n_samples -= n;
    if (samples)
      samples += n;
    else
      self->silent_samples += n;
    window = mt3_windower_take (self->windower);
    if (!window)
      continue;
    ret = gst_mt3_transcribe_push_window (self, window);
    if (ret == GST_FLOW_OK)
      ret = gst_mt3_transcribe_follow_model (self);
  }
  return ret;
}

/* Makes what cuts audio into windows as @engine (transfer full) wants them, and
 * lets it have those from @start on. @segment_done: as above. */
static GstFlowReturn
gst_mt3_transcribe_open_run (GstMt3Transcribe *self, Mt3Engine *engine,
    GstClockTime start, GstEvent *segment_done)
{
  const Mt3Config *config = mt3_engine_config (engine);

  g_clear_pointer (&self->windower, mt3_windower_free);
  g_clear_pointer (&self->input, gst_mt3_audio_input_free);
  self->windower = mt3_windower_new (config, mt3_engine_window_pool (engine));
  self->input = gst_mt3_audio_input_new (
      config->sample_rate, gst_mt3_transcribe_take_samples, self);
  self->info_changed = TRUE;
  self->windows_skipped = 0;
  self->silent_samples = 0;
  if (!gst_mt3_transcribe_begin_run (self, engine, start, segment_done))
    return gst_mt3_transcribe_wait_outcome (self);

  return GST_FLOW_OK;
}

/* Waits for the model, which says what windows are. */
static GstFlowReturn
gst_mt3_transcribe_open_first_run (GstMt3Transcribe *self)
{
  Mt3Engine *engine;
  GstFlowReturn ret = gst_mt3_transcribe_wait_model (self, &engine);

  if (ret != GST_FLOW_OK)
    return ret;
  return gst_mt3_transcribe_open_run (self, engine, 0, NULL);
}

/* The last window of a run, which need not be full. */
static GstFlowReturn
gst_mt3_transcribe_push_last (GstMt3Transcribe *self)
{
  Mt3Window *window = mt3_windower_finish (self->windower);

  return window ? gst_mt3_transcribe_push_window (self, window) : GST_FLOW_OK;
}

GstFlowReturn
gst_mt3_transcribe_push_rest (GstMt3Transcribe *self)
{
  GstFlowReturn ret = gst_mt3_audio_input_drain (self->input);

  if (ret != GST_FLOW_OK)
    return ret;
  return gst_mt3_transcribe_push_last (self);
}

/* Another run begins here, the one before gets what there is of its last
 * window. @engine: (transfer full); @segment_done: as above. */
static GstFlowReturn
gst_mt3_transcribe_cut_run (
    GstMt3Transcribe *self, Mt3Engine *engine, GstEvent *segment_done)
{
  GstFlowReturn ret = gst_mt3_audio_input_drain (self->input);
  GstClockTime start = gst_mt3_transcribe_position (self);

  if (ret == GST_FLOW_OK)
    ret = gst_mt3_transcribe_push_last (self);
  if (ret == GST_FLOW_OK)
    return gst_mt3_transcribe_open_run (self, engine, start, segment_done);
  mt3_engine_unref (engine);
  gst_clear_event (&segment_done);

  return ret;
}

/* For a model whose windows are others. */
static GstFlowReturn
gst_mt3_transcribe_open_other_run (GstMt3Transcribe *self)
{
  Mt3Engine *engine = gst_mt3_transcribe_find_new_engine (self, FALSE);

  if (!engine)
    return GST_FLOW_OK;
  return gst_mt3_transcribe_cut_run (self, engine, NULL);
}

GstFlowReturn
gst_mt3_transcribe_end_segment (GstMt3Transcribe *self, GstEvent *segment_done)
{
  return gst_mt3_transcribe_cut_run (
      self, mt3_engine_ref (self->run->engine), segment_done);
}

GstFlowReturn
gst_mt3_transcribe_prepare (GstMt3Transcribe *self)
{
  GstFlowReturn ret;

  if (GST_AUDIO_INFO_FORMAT (&self->info) == GST_AUDIO_FORMAT_UNKNOWN)
    return GST_FLOW_NOT_NEGOTIATED;
  if (!self->run)
    ret = gst_mt3_transcribe_open_first_run (self);
  else
    ret = gst_mt3_transcribe_open_other_run (self);
  if (ret == GST_FLOW_OK && self->info_changed) {
    self->info_changed = FALSE;
    ret = gst_mt3_audio_input_set_info (self->input, &self->info);
  }
  return ret;
}
