/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * transcribe-src.c: the source pad: transcripts out of the engine, notes out
 * of transcripts, buffers out of notes.
 */
#include "config.h"

#include <glib/gi18n-lib.h>

#include "element/debug.h"
#include "element/transcribe-private.h"

#define GST_CAT_DEFAULT gst_mt3_src_debug

/* Code of the PROGRESS messages, and their distance in per cent. */
#define PROGRESS_CODE "transcribe"
#define PROGRESS_STEP 5

static void
gst_mt3_transcribe_post_progress (
    GstMt3Transcribe *self, GstProgressType type, gint percent)
{
  g_autofree gchar *text =
      g_strdup_printf (_ ("Transcribed %d percent"), percent);
  GstMessage *message =
      gst_message_new_progress (GST_OBJECT (self), type, PROGRESS_CODE, text);

  gst_structure_set (gst_message_writable_structure (message), "percent",
      G_TYPE_INT, percent, NULL);
  gst_element_post_message (GST_ELEMENT (self), message);
}

/* Not before PLAYING: applications (gst-launch too) wait for progress to
 * finish before they go on from PAUSED, where it never would. */
static void
gst_mt3_transcribe_update_progress (GstMt3Transcribe *self, gdouble seconds)
{
  gint64 duration;
  gint percent;

  if (self->duration <= 0 &&
      gst_pad_peer_query_duration (self->sinkpad, GST_FORMAT_TIME, &duration))
    self->duration = duration;
  if (self->duration <= 0 || GST_STATE (self) != GST_STATE_PLAYING)
    return;

  percent =
      (gint) CLAMP (100.0 * seconds * GST_SECOND / self->duration, 0.0, 99.0);
  percent -= percent % PROGRESS_STEP;
  if (percent <= self->progress)
    return;
  gst_mt3_transcribe_post_progress (self,
      self->progress < 0 ? GST_PROGRESS_TYPE_START : GST_PROGRESS_TYPE_CONTINUE,
      percent);
  self->progress = percent;
}

void
gst_mt3_transcribe_end_progress (GstMt3Transcribe *self, GstProgressType type)
{
  if (self->progress >= 0)
    gst_mt3_transcribe_post_progress (
        self, type, type == GST_PROGRESS_TYPE_COMPLETE ? 100 : self->progress);
  self->progress = -1;
}

static gboolean
gst_mt3_transcribe_posts_messages (GstMt3Transcribe *self)
{
  gboolean posts;

  GST_OBJECT_LOCK (self);
  posts = self->settings.post_messages;
  GST_OBJECT_UNLOCK (self);

  return posts;
}

void
gst_mt3_transcribe_note (
    const Mt3Note *note, gboolean ended, gpointer user_data)
{
  GstMt3Transcribe *self = user_data;

  if (gst_mt3_transcribe_posts_messages (self))
    gst_mt3_note_messages_add (self->messages, note, ended);
  self->output->note (self->output, note, ended);
}

/* Blocks until there is something to do: audio has begun, or will not. @title:
 * (nullable) (out): of the piece, as far as it is known; g_free() */
static gboolean
gst_mt3_transcribe_wait_audio (
    GstMt3Transcribe *self, GstMt3OutputContext *context, gchar **title)
{
  gboolean ret;

  g_mutex_lock (&self->lock);
  while (!self->flushing && !self->have_audio && !self->drained)
    g_cond_wait (&self->changed, &self->lock);
  ret = !self->flushing;
  *context = (GstMt3OutputContext){
      .srcpad = self->srcpad,
      .segment = self->audio_segment,
      .pts = self->audio_pts,
      .stream_time = self->stream_time,
      .seqnum = self->segment_seqnum,
      .times = self->times,
      .references = self->references,
  };
  *title = g_strdup (self->title);
  g_mutex_unlock (&self->lock);
  GST_OBJECT_LOCK (self);
  context->midi_ticks = self->settings.midi_ticks;
  GST_OBJECT_UNLOCK (self);

  return ret;
}

static void
gst_mt3_transcribe_push_stream_start (GstMt3Transcribe *self)
{
  GstEvent *event;

  g_mutex_lock (&self->lock);
  event = g_steal_pointer (&self->stream_start);
  g_mutex_unlock (&self->lock);
  if (event)
    gst_pad_push_event (self->srcpad, event);
}

/* What downstream likes best of what this element can make. */
static GstCaps *
gst_mt3_transcribe_choose_caps (GstMt3Transcribe *self)
{
  GstCaps *caps = gst_pad_get_allowed_caps (self->srcpad);

  if (!caps)
    caps = gst_pad_get_pad_template_caps (self->srcpad);
  if (gst_caps_is_empty (caps)) {
    gst_caps_unref (caps);
    return NULL;
  }
  return gst_caps_fixate (caps);
}

static GstFlowReturn
gst_mt3_transcribe_open_output (GstMt3Transcribe *self)
{
  g_autofree gchar *title = NULL;
  GstMt3OutputContext context;
  GstFlowReturn ret = GST_FLOW_FLUSHING;
  GstCaps *caps = NULL;

  if (!gst_mt3_transcribe_wait_audio (self, &context, &title))
    goto done;
  gst_mt3_transcribe_push_stream_start (self);
  caps = gst_mt3_transcribe_choose_caps (self);
  if (!caps || !gst_pad_set_caps (self->srcpad, caps)) {
    ret = GST_PAD_IS_FLUSHING (self->srcpad) ? GST_FLOW_FLUSHING
                                             : GST_FLOW_NOT_NEGOTIATED;
    goto done;
  }
  GST_INFO_OBJECT (self, "output is %" GST_PTR_FORMAT, caps);
  self->output = gst_mt3_output_new (
      gst_structure_get_name (gst_caps_get_structure (caps, 0)), &context);
  gst_mt3_output_choose_memory (self->output, caps);
  self->messages = gst_mt3_note_messages_new (&context);
  if (title)
    self->output->name (self->output, title);
  self->output->open (self->output);
  ret = GST_FLOW_OK;

done:
  gst_clear_caps (&caps);

  return ret;
}

/* Some files end with their tags. */
static void
gst_mt3_transcribe_name_output (GstMt3Transcribe *self, GstEvent *event)
{
  GstTagList *tags;
  const gchar *title;

  gst_event_parse_tag (event, &tags);
  if (gst_tag_list_peek_string_index (tags, GST_TAG_TITLE, 0, &title))
    self->output->name (self->output, title);
}

static void
gst_mt3_transcribe_push_events (GstMt3Transcribe *self)
{
  GstEvent *event;

  do {
    g_mutex_lock (&self->lock);
    event = g_queue_pop_head (&self->events);
    g_mutex_unlock (&self->lock);
    if (event && self->output && GST_EVENT_TYPE (event) == GST_EVENT_TAG)
      gst_mt3_transcribe_name_output (self, event);
    if (event)
      gst_pad_push_event (self->srcpad, event);
  } while (event);
}

/* Waits for a run. OK without one: no audio came at all. */
static GstFlowReturn
gst_mt3_transcribe_wait_run (GstMt3Transcribe *self)
{
  GstFlowReturn ret = GST_FLOW_OK;

  g_mutex_lock (&self->lock);
  while (!self->flushing && self->runs.length == 0 && !self->drained &&
         self->model_state != GST_MT3_MODEL_FAILED)
    g_cond_wait (&self->changed, &self->lock);
  if (self->flushing)
    ret = GST_FLOW_FLUSHING;
  else if (self->runs.length == 0 && self->model_state == GST_MT3_MODEL_FAILED)
    ret = GST_FLOW_ERROR;
  self->popped = g_queue_peek_head (&self->runs);
  g_mutex_unlock (&self->lock);

  return ret;
}

static void
gst_mt3_transcribe_count (
    GstMt3Transcribe *self, const Mt3Transcript *transcript, gdouble seconds)
{
  g_mutex_lock (&self->lock);
  if (transcript) {
    self->stats.tokens += transcript->n_tokens;
    self->stats.window_latency = transcript->latency_us * GST_USECOND;
    self->stats.window_latency_max =
        MAX (self->stats.window_latency_max, self->stats.window_latency);
  }
  self->stats.audio_seconds = seconds;
  self->stats.transcribed_us = g_get_monotonic_time ();
  mt3_note_decoder_get_stats (self->decoder, &self->stats.notes);
  g_mutex_unlock (&self->lock);
}

/* Tells of the notes of the audio between two times in seconds. */
static void
gst_mt3_transcribe_post_notes (GstMt3Transcribe *self, gdouble from, gdouble to)
{
  GstMessage *message;

  if (!gst_mt3_transcribe_posts_messages (self)) {
    gst_mt3_note_messages_forget (self->messages);
    return;
  }
  message =
      gst_mt3_note_messages_take (self->messages, GST_OBJECT (self), from, to);
  if (message)
    gst_element_post_message (GST_ELEMENT (self), message);
}

/* Where frame @frame of the run lies in the audio. */
static gdouble
gst_mt3_transcribe_seconds (const GstMt3Run *run, guint64 frame)
{
  const Mt3Config *config = mt3_engine_config (run->engine);

  return (gdouble) run->start / GST_SECOND +
         (gdouble) frame * config->hop_length / config->sample_rate;
}

/* Nothing before @position will be sent any more. */
static void
gst_mt3_transcribe_forget_times (GstMt3Transcribe *self, GstClockTime position)
{
  GstMt3TimeAnchor anchor;

  if (gst_mt3_time_map_find (self->times, position, &anchor))
    gst_mt3_reference_times_forget (self->references, &anchor.segment,
        gst_mt3_time_anchor_pts (&anchor, position));
  gst_mt3_time_map_forget (self->times, position);
}

/* Lets the output go on: @seconds of audio are transcribed. */
static GstFlowReturn
gst_mt3_transcribe_advance (GstMt3Transcribe *self, gdouble seconds)
{
  gdouble settled;
  GstClockTime interval;
  GstFlowReturn ret;

  seconds -= self->hold_back;
  settled = MAX (seconds - GST_MT3_OUTPUT_LATE_SECONDS, 0.0);
  GST_OBJECT_LOCK (self);
  interval = self->settings.update_interval;
  GST_OBJECT_UNLOCK (self);
  ret = self->output->advance (self->output, seconds, interval);
  /* Upstream may tell of gaps of centuries. */
  gst_mt3_transcribe_forget_times (
      self, (GstClockTime) MIN (settled * GST_SECOND, (gdouble) G_MAXINT64));

  return ret;
}

static GstFlowReturn
gst_mt3_transcribe_handle_transcript (
    GstMt3Transcribe *self, const Mt3Transcript *transcript)
{
  const Mt3Config *config = mt3_engine_config (self->popped->engine);
  guint64 first = transcript->index * config->window_frames;
  gdouble start = gst_mt3_transcribe_seconds (self->popped, first);
  gdouble seconds =
      gst_mt3_transcribe_seconds (self->popped, first + transcript->n_frames);

  GST_DEBUG_OBJECT (self,
      "window %" G_GUINT64_FORMAT ": %u tokens%s, %" G_GINT64_FORMAT " us",
      transcript->index, transcript->n_tokens,
      transcript->ended ? "" : " without an end", transcript->latency_us);

  gst_mt3_transcribe_watch_device (self);
  gst_mt3_transcribe_measure_window (self, transcript);
  gst_mt3_transcribe_decode_notes (self, transcript, seconds);
  gst_mt3_transcribe_count (self, transcript, seconds);
  gst_mt3_transcribe_update_progress (self, seconds);
  gst_mt3_transcribe_post_notes (self, start, seconds);

  /* Its time is not over yet: what sounds ends when all is finished. */
  if (transcript->last)
    return GST_FLOW_OK;
  return gst_mt3_transcribe_advance (self, seconds);
}

static GstFlowReturn
gst_mt3_transcribe_finish (GstMt3Transcribe *self)
{
  if (self->decoder) {
    gst_mt3_transcribe_finish_notes (self);
    gst_mt3_transcribe_count (self, NULL, self->stats.audio_seconds);
    gst_mt3_transcribe_post_notes (
        self, self->stats.audio_seconds, self->stats.audio_seconds);
  }
  return self->output->finish (self->output, self->stats.audio_seconds);
}

static void
gst_mt3_transcribe_push_eos (GstMt3Transcribe *self)
{
  GstEvent *eos = gst_event_new_eos ();

  gst_mt3_transcribe_push_events (self);
  g_mutex_lock (&self->lock);
  if (self->eos_seqnum != GST_SEQNUM_INVALID)
    gst_event_set_seqnum (eos, self->eos_seqnum);
  g_mutex_unlock (&self->lock);
  gst_pad_push_event (self->srcpad, eos);
}

/* The engine failed. What it had transcribed goes out as if the audio had
 * ended here, and only then everybody is told. */
static GstFlowReturn
gst_mt3_transcribe_salvage (GstMt3Transcribe *self, GError *error)
{
  GstFlowReturn ret = gst_mt3_transcribe_finish (self);
  g_autofree gchar *model_file = NULL;

  g_mutex_lock (&self->lock);
  model_file = g_strdup (self->model_options.model_file);
  self->model_state = GST_MT3_MODEL_FAILED;
  g_mutex_unlock (&self->lock);
  if (ret == GST_FLOW_FLUSHING) {
    g_error_free (error);
    return ret;
  }
  gst_mt3_transcribe_end_progress (self, GST_PROGRESS_TYPE_ERROR);
  gst_mt3_transcribe_post_error (self, model_file, error);
  gst_mt3_transcribe_push_eos (self);

  return GST_FLOW_ERROR;
}

/* Downstream refused; it says itself why if it is broken, but not if it is
 * missing or of another kind. If it has enough, it still waits for EOS. */
static GstFlowReturn
gst_mt3_transcribe_report (GstMt3Transcribe *self, GstFlowReturn ret)
{
  if (ret == GST_FLOW_EOS) {
    gst_mt3_transcribe_end_progress (self, GST_PROGRESS_TYPE_COMPLETE);
    gst_mt3_transcribe_push_eos (self);
    return ret;
  }
  if (ret != GST_FLOW_NOT_LINKED && ret > GST_FLOW_EOS)
    return ret;
  gst_mt3_transcribe_end_progress (self, GST_PROGRESS_TYPE_ERROR);
  GST_ELEMENT_FLOW_ERROR (self, ret);
  gst_mt3_transcribe_push_eos (self);

  return ret;
}

static GstFlowReturn
gst_mt3_transcribe_complete (GstMt3Transcribe *self)
{
  GstFlowReturn ret =
      gst_mt3_transcribe_report (self, gst_mt3_transcribe_finish (self));

  if (ret != GST_FLOW_OK)
    return ret;
  gst_mt3_transcribe_end_progress (self, GST_PROGRESS_TYPE_COMPLETE);
  gst_mt3_transcribe_push_eos (self);

  return GST_FLOW_EOS;
}

/* The segment is over: what was heard in it is told before that is. @done:
 * (transfer full) */
static GstFlowReturn
gst_mt3_transcribe_push_segment_done (GstMt3Transcribe *self, GstEvent *done)
{
  gdouble seconds = gst_mt3_transcribe_seconds (self->popped, 0);
  GstFlowReturn ret;

  gst_mt3_transcribe_post_notes (self, seconds, seconds);
  ret = self->output->settle (self->output, seconds);
  gst_pad_push_event (self->srcpad, done);

  return gst_mt3_transcribe_report (self, ret);
}

/* Takes the next transcript, or the end. Whatever comes back but OK has been
 * made known to the application. */
static GstFlowReturn
gst_mt3_transcribe_step (GstMt3Transcribe *self)
{
  g_autoptr (Mt3Transcript) transcript = NULL;
  GstEvent *segment_done = NULL;
  GError *error = NULL;
  Mt3Flow flow = MT3_FLOW_END;

  if (self->popped)
    flow = mt3_stream_pop (self->popped->stream, &transcript, &error);
  switch (flow) {
    case MT3_FLOW_OK:
      return gst_mt3_transcribe_report (
          self, gst_mt3_transcribe_handle_transcript (self, transcript));
    case MT3_FLOW_END:
      if (!gst_mt3_transcribe_next_run (self, &segment_done))
        return gst_mt3_transcribe_complete (self);
      if (!segment_done)
        return GST_FLOW_OK;
      return gst_mt3_transcribe_push_segment_done (self, segment_done);
    case MT3_FLOW_ERROR:
      return gst_mt3_transcribe_salvage (self, error);
    default:
      return GST_FLOW_FLUSHING;
  }
}

/* Ends the task and lets go of a chain function that waits for room. */
static void
gst_mt3_transcribe_stop (GstMt3Transcribe *self, GstFlowReturn ret)
{
  GST_INFO_OBJECT (self, "stopping: %s", gst_flow_get_name (ret));
  g_mutex_lock (&self->lock);
  if (!self->flushing)
    self->srcresult = ret;
  g_cond_broadcast (&self->changed);
  g_mutex_unlock (&self->lock);
  gst_mt3_transcribe_flush_runs (self, TRUE);
  gst_pad_pause_task (self->srcpad);
}

/* Of a file the sink had better wait: what it plays first would be late. */
static void
gst_mt3_transcribe_preroll_live (GstMt3Transcribe *self)
{
  gboolean live;

  g_mutex_lock (&self->lock);
  live = self->live.is_live && self->runs.length > 0;
  g_mutex_unlock (&self->lock);
  if (live)
    self->output->preroll (self->output);
}

static void
gst_mt3_transcribe_loop (gpointer user_data)
{
  GstMt3Transcribe *self = user_data;
  gboolean first = !self->output;
  GstFlowReturn ret = GST_FLOW_OK;

  if (first)
    ret =
        gst_mt3_transcribe_report (self, gst_mt3_transcribe_open_output (self));
  if (ret == GST_FLOW_OK) {
    ret = gst_mt3_transcribe_wait_run (self);
    if (ret == GST_FLOW_ERROR)
      gst_mt3_transcribe_push_eos (self);
  }
  if (ret == GST_FLOW_OK && first)
    gst_mt3_transcribe_preroll_live (self);
  if (ret == GST_FLOW_OK) {
    gst_mt3_transcribe_push_events (self);
    ret = gst_mt3_transcribe_step (self);
  }
  if (ret != GST_FLOW_OK)
    gst_mt3_transcribe_stop (self, ret);
}

void
gst_mt3_transcribe_start_task (GstMt3Transcribe *self)
{
  gst_pad_start_task (self->srcpad, gst_mt3_transcribe_loop, self, NULL);
}

/* Only time means the same on both sides: a place in the MIDI file is no place
 * in the audio. */
static gboolean
gst_mt3_transcribe_handle_seek (GstMt3Transcribe *self, GstEvent *event)
{
  GstFormat format;
  gdouble rate;

  gst_event_parse_seek (event, &rate, &format, NULL, NULL, NULL, NULL, NULL);
  if (format != GST_FORMAT_TIME || rate <= 0) {
    GST_DEBUG_OBJECT (self, "refusing %" GST_PTR_FORMAT, event);
    gst_event_unref (event);
    return FALSE;
  }
  return gst_pad_push_event (self->sinkpad, event);
}

static gboolean
gst_mt3_transcribe_src_event (GstPad *pad, GstObject *parent, GstEvent *event)
{
  GstMt3Transcribe *self = GST_MT3_TRANSCRIBE (parent);

  switch (GST_EVENT_TYPE (event)) {
    case GST_EVENT_SEEK:
      return gst_mt3_transcribe_handle_seek (self, event);
    case GST_EVENT_QOS:
      /* A file must hear everything, however late: upstream may not skip. */
      gst_event_unref (event);
      return TRUE;
    default:
      return gst_pad_event_default (pad, parent, event);
  }
}

/* What the default does for fixed caps, but with a reference of our own: it
 * reads the pad's after it has unlocked it, while the task may set others. */
static gboolean
gst_mt3_transcribe_query_caps (GstPad *pad, GstQuery *query)
{
  g_autoptr (GstCaps) caps = gst_pad_get_current_caps (pad);
  GstCaps *filter;

  if (!caps)
    caps = gst_pad_get_pad_template_caps (pad);
  gst_query_parse_caps (query, &filter);
  if (filter) {
    g_autoptr (GstCaps) common =
        gst_caps_intersect_full (filter, caps, GST_CAPS_INTERSECT_FIRST);

    gst_query_set_caps_result (query, common);
  } else {
    gst_query_set_caps_result (query, caps);
  }
  return TRUE;
}

static gboolean
gst_mt3_transcribe_src_query (GstPad *pad, GstObject *parent, GstQuery *query)
{
  GstFormat format = GST_FORMAT_TIME;

  switch (GST_QUERY_TYPE (query)) {
    case GST_QUERY_POSITION:
      gst_query_parse_position (query, &format, NULL);
      break;
    case GST_QUERY_DURATION:
      gst_query_parse_duration (query, &format, NULL);
      break;
    case GST_QUERY_CONVERT:
      return FALSE;
    case GST_QUERY_CAPS:
      return gst_mt3_transcribe_query_caps (pad, query);
    case GST_QUERY_LATENCY:
      return gst_mt3_transcribe_query_latency (
          GST_MT3_TRANSCRIBE (parent), query);
    case GST_QUERY_SEEKING:
      gst_query_parse_seeking (query, &format, NULL, NULL, NULL);
      if (format != GST_FORMAT_TIME) {
        gst_query_set_seeking (query, format, FALSE, 0, -1);
        return TRUE;
      }
      break;
    default:
      break;
  }
  if (format != GST_FORMAT_TIME)
    return FALSE;

  return gst_pad_query_default (pad, parent, query);
}

static gboolean
gst_mt3_transcribe_src_activate_mode (
    GstPad *pad, GstObject *parent, GstPadMode mode, gboolean active)
{
  GstMt3Transcribe *self = GST_MT3_TRANSCRIBE (parent);

  if (mode != GST_PAD_MODE_PUSH)
    return FALSE;
  gst_mt3_transcribe_set_flushing (self, !active);
  if (!active)
    return gst_pad_stop_task (pad);
  gst_mt3_transcribe_start_task (self);

  return TRUE;
}

void
gst_mt3_transcribe_init_src (GstMt3Transcribe *self)
{
  gst_pad_set_event_function (
      self->srcpad, GST_DEBUG_FUNCPTR (gst_mt3_transcribe_src_event));
  gst_pad_set_query_function (
      self->srcpad, GST_DEBUG_FUNCPTR (gst_mt3_transcribe_src_query));
  gst_pad_set_activatemode_function (
      self->srcpad, GST_DEBUG_FUNCPTR (gst_mt3_transcribe_src_activate_mode));
  gst_pad_use_fixed_caps (self->srcpad);
}
