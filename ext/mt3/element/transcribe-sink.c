/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * transcribe-sink.c: the sink pad: audio and its events into the engine.
 */
#include "config.h"

#include <glib/gi18n-lib.h>

#include "element/debug.h"
#include "element/transcribe-private.h"

#define GST_CAT_DEFAULT gst_mt3_sink_debug

/* What the task has come to. Called when the engine's stream takes no windows
 * any more, for which there is always a reason: the task's own end (it still
 * writes what it has first) or a flush. */
static GstFlowReturn
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
    g_free (window);
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

  if (engine && !gst_mt3_transcribe_begin_run (self, engine, self->run->start))
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
 * lets it have those from @start on. */
static GstFlowReturn
gst_mt3_transcribe_open_run (
    GstMt3Transcribe *self, Mt3Engine *engine, GstClockTime start)
{
  const Mt3Config *config = mt3_engine_config (engine);

  g_clear_pointer (&self->windower, mt3_windower_free);
  g_clear_pointer (&self->input, gst_mt3_audio_input_free);
  self->windower = mt3_windower_new (config);
  self->input = gst_mt3_audio_input_new (
      config->sample_rate, gst_mt3_transcribe_take_samples, self);
  self->info_changed = TRUE;
  self->windows_skipped = 0;
  self->silent_samples = 0;
  if (!gst_mt3_transcribe_begin_run (self, engine, start))
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
  return gst_mt3_transcribe_open_run (self, engine, 0);
}

/* The last window of a run, which need not be full. */
static GstFlowReturn
gst_mt3_transcribe_push_last (GstMt3Transcribe *self)
{
  Mt3Window *window = mt3_windower_finish (self->windower);

  return window ? gst_mt3_transcribe_push_window (self, window) : GST_FLOW_OK;
}

/* The same for a model whose windows are others: the one before gets what there
 * is of its last window. */
static GstFlowReturn
gst_mt3_transcribe_open_other_run (GstMt3Transcribe *self)
{
  Mt3Engine *engine = gst_mt3_transcribe_find_new_engine (self, FALSE);
  GstClockTime start;
  GstFlowReturn ret;

  if (!engine)
    return GST_FLOW_OK;
  ret = gst_mt3_audio_input_drain (self->input);
  start = gst_mt3_transcribe_position (self);
  if (ret == GST_FLOW_OK)
    ret = gst_mt3_transcribe_push_last (self);
  if (ret == GST_FLOW_OK)
    return gst_mt3_transcribe_open_run (self, engine, start);
  mt3_engine_unref (engine);

  return ret;
}

/* Whatever has to be there before audio can be taken. */
static GstFlowReturn
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

/* Tells the task that audio begins at @pts. */
static GstFlowReturn
gst_mt3_transcribe_announce_audio (GstMt3Transcribe *self, GstClockTime pts)
{
  GstClockTime stream_time;
  GstFlowReturn ret;

  if (!GST_CLOCK_TIME_IS_VALID (pts))
    pts = 0;
  stream_time =
      gst_segment_to_stream_time (&self->segment, GST_FORMAT_TIME, pts);
  g_mutex_lock (&self->lock);
  ret = self->flushing ? GST_FLOW_FLUSHING : self->srcresult;
  if (ret == GST_FLOW_OK && !self->have_audio) {
    self->have_audio = TRUE;
    self->audio_segment = self->segment;
    self->audio_pts = pts;
    self->stream_time = GST_CLOCK_TIME_IS_VALID (stream_time) ? stream_time : 0;
    g_cond_broadcast (&self->changed);
  }
  g_mutex_unlock (&self->lock);

  return ret;
}

static void
gst_mt3_transcribe_count_replaced (GstMt3Transcribe *self)
{
  guint64 n_replaced = gst_mt3_audio_input_take_replaced (self->input);

  if (n_replaced == 0)
    return;
  g_mutex_lock (&self->lock);
  self->stats.replaced_samples += n_replaced;
  g_mutex_unlock (&self->lock);
}

static GstFlowReturn
gst_mt3_transcribe_chain (GstPad *pad, GstObject *parent, GstBuffer *buffer)
{
  GstMt3Transcribe *self = GST_MT3_TRANSCRIBE (parent);
  GstFlowReturn ret;

  if (GST_AUDIO_INFO_FORMAT (&self->info) == GST_AUDIO_FORMAT_UNKNOWN) {
    gst_buffer_unref (buffer);
    return GST_FLOW_NOT_NEGOTIATED;
  }
  gst_mt3_reference_times_add (self->references, &self->segment, buffer);
  buffer = gst_audio_buffer_clip (
      buffer, &self->segment, self->info.rate, self->info.bpf);
  if (!buffer)
    return GST_FLOW_OK;

  ret = gst_mt3_transcribe_announce_audio (self, GST_BUFFER_PTS (buffer));
  if (ret == GST_FLOW_OK)
    ret = gst_mt3_transcribe_prepare (self);
  if (ret != GST_FLOW_OK) {
    gst_buffer_unref (buffer);
    return ret;
  }
  ret = gst_mt3_audio_input_push (self->input, buffer);
  gst_mt3_transcribe_count_replaced (self);

  return ret;
}

static void
gst_mt3_transcribe_handle_gap (GstMt3Transcribe *self, GstEvent *event)
{
  GstClockTime start, duration;
  guint64 clipped_start, clipped_stop;

  gst_event_parse_gap (event, &start, &duration);
  if (GST_CLOCK_TIME_IS_VALID (start) && GST_CLOCK_TIME_IS_VALID (duration)) {
    if (!gst_segment_clip (&self->segment, GST_FORMAT_TIME, start,
            start + duration, &clipped_start, &clipped_stop))
      return;
    start = clipped_start;
    duration = clipped_stop - clipped_start;
  }
  if (gst_mt3_transcribe_announce_audio (self, start) == GST_FLOW_OK &&
      gst_mt3_transcribe_prepare (self) == GST_FLOW_OK)
    gst_mt3_audio_input_gap (self->input, start, duration);
}

static gboolean
gst_mt3_transcribe_handle_caps (GstMt3Transcribe *self, GstEvent *event)
{
  GstAudioInfo info;
  GstCaps *caps;

  gst_event_parse_caps (event, &caps);
  if (!gst_audio_info_from_caps (&info, caps)) {
    GST_WARNING_OBJECT (self, "no audio format: %" GST_PTR_FORMAT, caps);
    return FALSE;
  }
  if (gst_audio_info_is_equal (&info, &self->info))
    return TRUE;
  GST_INFO_OBJECT (self, "%" GST_PTR_FORMAT, caps);
  self->info = info;
  self->info_changed = TRUE;

  return TRUE;
}

static gboolean
gst_mt3_transcribe_handle_segment (GstMt3Transcribe *self, GstEvent *event)
{
  GstSegment segment, moved;

  gst_event_copy_segment (event, &segment);
  if (segment.format != GST_FORMAT_TIME) {
    GST_ELEMENT_ERROR (self, STREAM, FORMAT,
        (_ ("Audio without times cannot be transcribed.")),
        ("segment in %s, only time is understood; a parser or decoder before "
         "mt3transcribe is missing",
            gst_format_get_name (segment.format)));
    return FALSE;
  }
  if (segment.rate <= 0) {
    GST_ELEMENT_ERROR (self, STREAM, FORMAT,
        (_ ("Audio that plays backwards cannot be transcribed.")),
        ("segment with rate %g", segment.rate));
    return FALSE;
  }

  moved = self->segment;
  moved.position = segment.position;
  if (self->input && !gst_segment_is_equal (&segment, &moved)) {
    gst_mt3_audio_input_drain (self->input);
    self->segment_changed = TRUE;
  }
  self->segment = segment;
  g_mutex_lock (&self->lock);
  self->segment_seqnum = gst_event_get_seqnum (event);
  g_mutex_unlock (&self->lock);

  return TRUE;
}

/* What describes the audio's coding is not true of a MIDI file. */
static void
gst_mt3_transcribe_handle_tags (GstMt3Transcribe *self, GstEvent *event)
{
  static const gchar *const untrue[] = {GST_TAG_CODEC, GST_TAG_AUDIO_CODEC,
      GST_TAG_VIDEO_CODEC, GST_TAG_SUBTITLE_CODEC, GST_TAG_CONTAINER_FORMAT,
      GST_TAG_BITRATE, GST_TAG_NOMINAL_BITRATE, GST_TAG_MINIMUM_BITRATE,
      GST_TAG_MAXIMUM_BITRATE, GST_TAG_ENCODER, GST_TAG_ENCODER_VERSION};
  g_autoptr (GstTagList) tags = NULL;
  GstTagList *original;
  gchar *title = NULL;

  gst_event_parse_tag (event, &original);
  tags = gst_tag_list_copy (original);
  for (guint i = 0; i < G_N_ELEMENTS (untrue); i++)
    gst_tag_list_remove_tag (tags, untrue[i]);
  gst_tag_list_get_string (tags, GST_TAG_TITLE, &title);

  g_mutex_lock (&self->lock);
  if (title) {
    g_free (self->title);
    self->title = title;
  }
  if (!gst_tag_list_is_empty (tags)) {
    GstEvent *copy = gst_event_new_tag (g_steal_pointer (&tags));

    gst_event_set_seqnum (copy, gst_event_get_seqnum (event));
    g_queue_push_tail (&self->events, copy);
  }
  g_mutex_unlock (&self->lock);
}

/* After EOS another stream may begin on the same pad: another file. */
static void
gst_mt3_transcribe_handle_stream_start (GstMt3Transcribe *self, GstEvent *event)
{
  gboolean again;

  g_mutex_lock (&self->lock);
  again = self->drained;
  g_mutex_unlock (&self->lock);

  if (again && gst_mt3_transcribe_wait_outcome (self) != GST_FLOW_FLUSHING) {
    gst_pad_pause_task (self->srcpad);
    gst_mt3_transcribe_reset (self);
    gst_mt3_transcribe_set_flushing (self, FALSE);
    gst_mt3_transcribe_start_task (self);
  }

  g_mutex_lock (&self->lock);
  gst_event_replace (&self->stream_start, event);
  g_mutex_unlock (&self->lock);
}

static void
gst_mt3_transcribe_handle_eos (GstMt3Transcribe *self, GstEvent *event)
{
  GstFlowReturn ret = GST_FLOW_OK;

  if (self->run)
    ret = gst_mt3_audio_input_drain (self->input);
  if (self->run && ret == GST_FLOW_OK)
    ret = gst_mt3_transcribe_push_last (self);
  GST_DEBUG_OBJECT (self, "end of the audio: %s", gst_flow_get_name (ret));

  g_mutex_lock (&self->lock);
  self->drained = TRUE;
  self->eos_seqnum = gst_event_get_seqnum (event);
  g_cond_broadcast (&self->changed);
  g_mutex_unlock (&self->lock);
  /* Last: from here on the task may be through at any time. */
  if (self->run)
    mt3_stream_finish (self->run->stream);
}

static void
gst_mt3_transcribe_handle_flush_start (GstMt3Transcribe *self, GstEvent *event)
{
  /* Downstream first: the task may be blocked in a push. */
  gst_pad_push_event (self->srcpad, event);
  gst_mt3_transcribe_set_flushing (self, TRUE);
  gst_pad_pause_task (self->srcpad);
}

static void
gst_mt3_transcribe_handle_flush_stop (GstMt3Transcribe *self, GstEvent *event)
{
  gst_pad_push_event (self->srcpad, event);
  gst_mt3_transcribe_reset (self);
  gst_segment_init (&self->segment, GST_FORMAT_TIME);
  gst_mt3_transcribe_set_flushing (self, FALSE);
  if (gst_pad_is_active (self->srcpad))
    gst_mt3_transcribe_start_task (self);
}

static void
gst_mt3_transcribe_queue_event (GstMt3Transcribe *self, GstEvent *event)
{
  g_mutex_lock (&self->lock);
  g_queue_push_tail (&self->events, event);
  g_mutex_unlock (&self->lock);
}

static gboolean
gst_mt3_transcribe_sink_event (GstPad *pad, GstObject *parent, GstEvent *event)
{
  GstMt3Transcribe *self = GST_MT3_TRANSCRIBE (parent);
  gboolean ret = TRUE;

  GST_LOG_OBJECT (pad, "%" GST_PTR_FORMAT, event);
  switch (GST_EVENT_TYPE (event)) {
    case GST_EVENT_FLUSH_START:
      gst_mt3_transcribe_handle_flush_start (self, event);
      return TRUE;
    case GST_EVENT_FLUSH_STOP:
      gst_mt3_transcribe_handle_flush_stop (self, event);
      return TRUE;
    case GST_EVENT_STREAM_START:
      gst_mt3_transcribe_handle_stream_start (self, event);
      break;
    case GST_EVENT_CAPS:
      ret = gst_mt3_transcribe_handle_caps (self, event);
      break;
    case GST_EVENT_SEGMENT:
      ret = gst_mt3_transcribe_handle_segment (self, event);
      break;
    case GST_EVENT_TAG:
      gst_mt3_transcribe_handle_tags (self, event);
      break;
    case GST_EVENT_GAP:
      gst_mt3_transcribe_handle_gap (self, event);
      break;
    case GST_EVENT_EOS:
      gst_mt3_transcribe_handle_eos (self, event);
      break;
    default:
      if (!GST_EVENT_IS_SERIALIZED (event))
        return gst_pad_event_default (pad, parent, event);
      gst_mt3_transcribe_queue_event (self, event);
      return TRUE;
  }
  gst_event_unref (event);

  return ret;
}

static gboolean
gst_mt3_transcribe_sink_activate_mode (
    GstPad *pad, GstObject *parent, GstPadMode mode, gboolean active)
{
  if (mode != GST_PAD_MODE_PUSH)
    return FALSE;
  /* Wakes a blocked chain function, for which the pad's core then waits. */
  gst_mt3_transcribe_set_flushing (GST_MT3_TRANSCRIBE (parent), !active);

  return TRUE;
}

void
gst_mt3_transcribe_init_sink (GstMt3Transcribe *self)
{
  gst_pad_set_chain_function (
      self->sinkpad, GST_DEBUG_FUNCPTR (gst_mt3_transcribe_chain));
  gst_pad_set_event_function (
      self->sinkpad, GST_DEBUG_FUNCPTR (gst_mt3_transcribe_sink_event));
  gst_pad_set_activatemode_function (
      self->sinkpad, GST_DEBUG_FUNCPTR (gst_mt3_transcribe_sink_activate_mode));
  GST_PAD_SET_ACCEPT_TEMPLATE (self->sinkpad);
}
