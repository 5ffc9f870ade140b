/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * transcribe-sink.c: the sink pad: audio and its events into the engine.
 */
#include "config.h"

#include <glib/gi18n-lib.h>

#include "element/debug.h"
#include "element/transcribe-private.h"

#define GST_CAT_DEFAULT gst_mt3_sink_debug

/* Tells the task that audio begins at @pts. */
static GstFlowReturn
gst_mt3_transcribe_announce_audio (GstMt3Transcribe *self, GstClockTime pts)
{
  GstClockTime stream_time;
  GstFlowReturn ret;

  if (!GST_CLOCK_TIME_IS_VALID (pts))
    pts = self->segment.start;
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
  /* Its samples count: a stated duration that is longer is not clipped, but a
   * programming error to GStreamer. */
  buffer = gst_buffer_make_writable (buffer);
  GST_BUFFER_DURATION (buffer) = GST_CLOCK_TIME_NONE;
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

/* An event that was refused stays on the pad, and comes again with every
 * buffer: it is told once. */
static gboolean
gst_mt3_transcribe_check_segment (
    GstMt3Transcribe *self, const GstSegment *segment, guint32 seqnum)
{
  gboolean told = self->refused_seqnum == seqnum;

  if (segment->format == GST_FORMAT_TIME && segment->rate > 0)
    return TRUE;
  self->refused_seqnum = seqnum;
  if (told)
    return FALSE;
  if (segment->format != GST_FORMAT_TIME)
    GST_ELEMENT_ERROR (self, STREAM, FORMAT,
        (_ ("Audio without times cannot be transcribed.")),
        ("segment in %s, only time is understood; a parser or decoder before "
         "mt3transcribe is missing",
            gst_format_get_name (segment->format)));
  else
    GST_ELEMENT_ERROR (self, STREAM, FORMAT,
        (_ ("Audio that plays backwards cannot be transcribed.")),
        ("segment with rate %g", segment->rate));
  return FALSE;
}

static gboolean
gst_mt3_transcribe_handle_segment (GstMt3Transcribe *self, GstEvent *event)
{
  GstSegment segment, moved;

  gst_event_copy_segment (event, &segment);
  if (!gst_mt3_transcribe_check_segment (
          self, &segment, gst_event_get_seqnum (event)))
    return FALSE;

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

static void
gst_mt3_transcribe_queue_event (GstMt3Transcribe *self, GstEvent *event)
{
  g_mutex_lock (&self->lock);
  g_queue_push_tail (&self->events, event);
  g_mutex_unlock (&self->lock);
}

/* Applications take it for all that there is of the segment: it comes after the
 * notes. */
static void
gst_mt3_transcribe_handle_segment_done (GstMt3Transcribe *self, GstEvent *event)
{
  if (self->run)
    gst_mt3_transcribe_end_segment (self, event);
  else
    gst_mt3_transcribe_queue_event (self, event);
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
  g_autofree gchar *title = NULL;

  gst_event_parse_tag (event, &original);
  tags = gst_tag_list_copy (original);
  for (guint i = 0; i < G_N_ELEMENTS (untrue); i++)
    gst_tag_list_remove_tag (tags, untrue[i]);
  gst_tag_list_get_string (tags, GST_TAG_TITLE, &title);

  g_mutex_lock (&self->lock);
  /* A stream may change its title as it goes on. */
  if (title && (!self->have_audio || !self->title)) {
    g_free (self->title);
    self->title = g_steal_pointer (&title);
  }
  if (!gst_tag_list_is_empty (tags)) {
    GstEvent *copy = gst_event_new_tag (g_steal_pointer (&tags));

    gst_event_set_seqnum (copy, gst_event_get_seqnum (event));
    g_queue_push_tail (&self->events, copy);
  }
  g_mutex_unlock (&self->lock);
}

/* Both threads go on. A state change may have shut the source pad meanwhile: it
 * stopped the task that was there, and knows of no other. */
static void
gst_mt3_transcribe_restart (GstMt3Transcribe *self)
{
  gst_mt3_transcribe_set_flushing (self, FALSE);
  gst_mt3_transcribe_start_task (self);
  if (gst_pad_is_active (self->srcpad))
    return;
  gst_mt3_transcribe_set_flushing (self, TRUE);
  gst_pad_stop_task (self->srcpad);
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
    gst_mt3_transcribe_reset (self, TRUE);
    gst_mt3_transcribe_restart (self);
  }

  g_mutex_lock (&self->lock);
  if (self->have_audio) {
    g_queue_push_tail (&self->events, gst_event_ref (event));
  } else {
    gst_event_replace (&self->stream_start, event);
    g_clear_pointer (&self->title, g_free);
  }
  g_mutex_unlock (&self->lock);
}

static void
gst_mt3_transcribe_handle_eos (GstMt3Transcribe *self, GstEvent *event)
{
  GstFlowReturn ret = GST_FLOW_OK;

  if (self->run)
    ret = gst_mt3_transcribe_push_rest (self);
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
  gboolean flushing;

  g_mutex_lock (&self->lock);
  flushing = self->flushing;
  g_mutex_unlock (&self->lock);
  /* Not every element forwards both: the task must not run. */
  if (!flushing)
    gst_mt3_transcribe_handle_flush_start (self, gst_event_new_flush_start ());
  gst_pad_push_event (self->srcpad, event);
  gst_mt3_transcribe_reset (self, FALSE);
  gst_segment_init (&self->segment, GST_FORMAT_TIME);
  gst_mt3_transcribe_restart (self);
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
    case GST_EVENT_SEGMENT_DONE:
      gst_mt3_transcribe_handle_segment_done (self, event);
      return TRUE;
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
