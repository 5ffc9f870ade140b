/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstmt3transcribe.c: type, properties and states of the element.
 */
/**
 * SECTION:element-mt3transcribe
 * @title: mt3transcribe
 * @short_description: writes down the notes of music, all instruments
 *
 * Transcribes recordings to notes with MT3 (Multi-Task Multitrack Music
 * Transcription): which instrument plays which pitch from when to when. Raw
 * audio of any format, rate and channel count goes in. Out comes, as downstream
 * takes it, a Standard MIDI File when the audio ends (`audio/midi`) or live
 * MIDI while it goes on (`audio/x-midi-event`). The notes are on the buffers as
 * #GstMt3NoteMeta, too, and with #GstMt3Transcribe:post-messages on the bus.
 *
 * ## Audio
 *
 * Channels are averaged, and other rates than the model's 16 kHz converted
 * with the best quality GStreamer's resampler has (Kaiser window, quality 10).
 * MT3 hears up to 7600 Hz; there the default quality would lose 16 dB, this
 * one loses 0.005 dB. 16 kHz mono audio is not touched. GAP buffers and events
 * and missing time are silence. Samples that are not finite numbers become
 * silence and are counted.
 *
 * ## MIDI files
 *
 * Time 0 of the file is the first sample. One tick of the file is one
 * millisecond; the tempo of 120 that it states is nominal, since MT3 hears no
 * beat.
 *
 * ## Live MIDI
 *
 * One message a buffer, in upstream's times, which never go back; notes end
 * before others begin at the same time. #GstMt3Transcribe:midi-ticks keeps
 * synthesizers going between them. A note is known when its window of 2 seconds
 * is transcribed: of live audio the LATENCY query tells how late that is. Where
 * live audio comes faster than it can be transcribed, whole windows are left
 * out: the next buffer is a DISCONT, a QoS message counts them, and a warning
 * is posted. #GstReferenceTimestampMeta of the audio goes along.
 *
 * ## Model
 *
 * The model opens in the background as soon as the element leaves NULL, and is
 * shared in the process. PROGRESS messages with the code `load` tell about it.
 * If it cannot be opened, an ERROR is posted; where that is known within 0.2
 * seconds, as of a file that is missing, the change to PAUSED fails too.
 * Another one that is set while audio flows is opened in the same way, and
 * gets the windows that begin after that.
 *
 * While PLAYING, PROGRESS messages with the code `transcribe` have a field
 * `percent` (int) when upstream knows the duration.
 *
 * ## Which notes
 *
 * If it is known who plays, #GstMt3Transcribe:programs leaves the model no
 * other instruments to write. Of what it wrote, #GstMt3Transcribe:program-map
 * gives parts to other instruments or leaves them out,
 * #GstMt3Transcribe:min-duration leaves out what is short, and
 * #GstMt3Transcribe:velocity makes all equally loud.
 * #GstMt3Transcribe:silence-threshold saves the work on silence. Without these
 * the notes are those of the reference. #GstMt3Transcribe:beam-size searches
 * for the most probable notes of a window instead of taking token by token,
 * which makes piano music more accurate and takes longer.
 *
 * ## Failure
 *
 * If the device fails, or upstream ends early, the file with all notes so far
 * is still written. With #GstMt3Transcribe:device `auto` the CPU goes on where
 * a GPU has failed, and a WARNING is posted.
 *
 * ## Example launch lines
 * |[
 * gst-launch-1.0 filesrc location=song.mp3 ! decodebin ! mt3transcribe !
 * filesink location=song.mid
 * ]| Transcribes a file.
 * |[
 * gst-launch-1.0 filesrc location=concert.flac ! decodebin ! mt3transcribe
 * update-interval=60000000000 ! filesink location=concert.mid
 * ]| The same, with a complete file for every minute that was transcribed.
 * |[
 * gst-launch-1.0 filesrc location=song.mp3 ! decodebin ! mt3transcribe
 * programs=piano,drums min-duration=50000000 ! filesink location=song.mid
 * ]| Writes nothing but a piano, no note of it shorter than 50 ms, and drums.
 * |[
 * gst-launch-1.0 -q filesrc location=song.mp3 ! decodebin ! mt3transcribe !
 * fdsink | timidity -
 * ]| Plays the transcription through a pipe.
 * |[
 * gst-launch-1.0 autoaudiosrc ! mt3transcribe ! audio/x-midi-event !
 * fluiddec soundfont=/usr/share/sounds/sf2/FluidR3_GM.sf2 ! autoaudiosink
 * ]| Plays what a microphone hears on a synthesizer.
 * |[
 * gst-launch-1.0 -m autoaudiosrc ! mt3transcribe post-messages=true !
 * audio/x-midi-event ! fakesink
 * ]| Tells of what a microphone hears.
 *
 * Since: 0.1
 */
#include "config.h"

#include "element/debug.h"
#include "element/transcribe-private.h"

#define GST_CAT_DEFAULT gst_mt3_transcribe_debug

#define SINK_CAPS(layout)                                                      \
  "audio/x-raw, format = (string) " GST_AUDIO_FORMATS_ALL                      \
  ", rate = (int) [ 1, " G_STRINGIFY (                                         \
      GST_MT3_MAX_RATE) " ]"                                                   \
                        ", channels = (int) [ 1, " G_STRINGIFY (               \
                            GST_MT3_MAX_CHANNELS) " ]"                         \
                                                  ", layout = (string) { "     \
                                                  "interleaved, "              \
                                                  "non-interleaved }"

/* First what needs no conversion. */
static GstStaticPadTemplate sink_template =
    GST_STATIC_PAD_TEMPLATE ("sink", GST_PAD_SINK, GST_PAD_ALWAYS,
        GST_STATIC_CAPS ("audio/x-raw, format = (string) " GST_AUDIO_NE (
            F32) ", rate = (int) 16000, channels = (int) 1"
                 ", layout = (string) interleaved; " SINK_CAPS ()));

static GstStaticPadTemplate src_template =
    GST_STATIC_PAD_TEMPLATE ("src", GST_PAD_SRC, GST_PAD_ALWAYS,
        GST_STATIC_CAPS ("audio/midi; audio/x-midi-event"));

static guint prop_stats; /* id of the property */

G_DEFINE_TYPE_WITH_CODE (GstMt3Transcribe, gst_mt3_transcribe, GST_TYPE_ELEMENT,
    gst_mt3_debug_init ());
GST_ELEMENT_REGISTER_DEFINE (
    mt3transcribe, "mt3transcribe", GST_RANK_NONE, GST_TYPE_MT3_TRANSCRIBE);

void
gst_mt3_transcribe_set_flushing (GstMt3Transcribe *self, gboolean flushing)
{
  g_mutex_lock (&self->lock);
  self->flushing = flushing;
  self->srcresult = flushing ? GST_FLOW_FLUSHING : GST_FLOW_OK;
  g_cond_broadcast (&self->changed);
  g_mutex_unlock (&self->lock);
  gst_mt3_transcribe_flush_runs (self, flushing);
}

/* Called with the state lock. Upstream does not say again after a flush what is
 * true of the whole stream. */
static void
gst_mt3_transcribe_forget_events (GstMt3Transcribe *self, gboolean new_stream)
{
  GList *next;

  for (GList *l = self->events.head; l; l = next) {
    next = l->next;
    if (!new_stream && GST_EVENT_IS_STICKY (l->data))
      continue;
    gst_event_unref (l->data);
    g_queue_delete_link (&self->events, l);
  }
  if (new_stream)
    g_clear_pointer (&self->title, g_free);
}

void
gst_mt3_transcribe_reset (GstMt3Transcribe *self, gboolean new_stream)
{
  gst_mt3_transcribe_end_progress (self, GST_PROGRESS_TYPE_CANCELED);
  gst_mt3_transcribe_reset_notes (self);
  g_clear_pointer (&self->output, gst_mt3_output_free);
  g_clear_pointer (&self->messages, gst_mt3_note_messages_free);
  self->duration = 0;

  gst_mt3_transcribe_forget_runs (self, 1);
  if (self->input)
    gst_mt3_audio_input_reset (self->input);
  if (self->windower)
    mt3_windower_reset (self->windower);
  self->windows_skipped = 0;
  self->silent_samples = 0;

  g_mutex_lock (&self->lock);
  self->have_audio = FALSE;
  self->drained = FALSE;
  self->eos_seqnum = GST_SEQNUM_INVALID;
  gst_segment_init (&self->audio_segment, GST_FORMAT_TIME);
  self->audio_pts = 0;
  self->segment_changed = FALSE;
  gst_mt3_time_map_clear (self->times);
  gst_mt3_reference_times_clear (self->references);
  self->stream_time = 0;
  gst_mt3_transcribe_forget_events (self, new_stream);
  self->stats = (GstMt3RunStats){0};
  g_array_set_size (self->live.losses, 0);
  g_mutex_unlock (&self->lock);
}

/* Back to what READY knows: a model, but no stream. */
static void
gst_mt3_transcribe_close (GstMt3Transcribe *self)
{
  gst_mt3_transcribe_reset (self, TRUE);
  g_mutex_lock (&self->lock);
  gst_clear_event (&self->stream_start);
  self->segment_seqnum = GST_SEQNUM_INVALID;
  g_mutex_unlock (&self->lock);
  gst_mt3_transcribe_forget_runs (self, 0);
  mt3_decoding_clear (&self->decoding);
  g_clear_pointer (&self->windower, mt3_windower_free);
  g_clear_pointer (&self->input, gst_mt3_audio_input_free);
  gst_audio_info_init (&self->info);
  gst_segment_init (&self->segment, GST_FORMAT_TIME);
  self->refused_seqnum = GST_SEQNUM_INVALID;
}

static GstStateChangeReturn
gst_mt3_transcribe_change_state (GstElement *element, GstStateChange transition)
{
  GstMt3Transcribe *self = GST_MT3_TRANSCRIBE (element);
  GstStateChangeReturn ret;

  if (transition == GST_STATE_CHANGE_READY_TO_PAUSED &&
      !gst_mt3_transcribe_check_notes (self, FALSE))
    return GST_STATE_CHANGE_FAILURE;

  /* In READY too: the settings may have changed, or the file appeared. */
  if (transition == GST_STATE_CHANGE_NULL_TO_READY ||
      transition == GST_STATE_CHANGE_READY_TO_PAUSED)
    gst_mt3_transcribe_load_model (self, FALSE);
  if (transition == GST_STATE_CHANGE_READY_TO_PAUSED &&
      !gst_mt3_transcribe_try_model (self))
    return GST_STATE_CHANGE_FAILURE;

  ret = GST_ELEMENT_CLASS (gst_mt3_transcribe_parent_class)
            ->change_state (element, transition);

  if (transition == GST_STATE_CHANGE_PAUSED_TO_READY) {
    gst_mt3_transcribe_log_stats (self);
    gst_mt3_transcribe_close (self);
  } else if (transition == GST_STATE_CHANGE_READY_TO_NULL) {
    gst_mt3_transcribe_unload_model (self);
  }

  return ret;
}

/* What a property that was set while audio flows asks for at once. */
static void
gst_mt3_transcribe_follow_property (
    GstMt3Transcribe *self, const GParamSpec *pspec)
{
  if (g_str_equal (pspec->name, "model-file"))
    gst_mt3_transcribe_load_model (self, TRUE);
  else if (G_IS_PARAM_SPEC_STRING (pspec) ||
           g_str_equal (pspec->name, "temperature"))
    gst_mt3_transcribe_check_notes (self, TRUE);
}

static void
gst_mt3_transcribe_set_property (
    GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
  GstMt3Transcribe *self = GST_MT3_TRANSCRIBE (object);
  gboolean known;

  GST_OBJECT_LOCK (self);
  known = gst_mt3_settings_set (&self->settings, id, value);
  GST_OBJECT_UNLOCK (self);
  if (!known)
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
  else if (GST_STATE (self) > GST_STATE_READY)
    gst_mt3_transcribe_follow_property (self, pspec);
}

static void
gst_mt3_transcribe_get_property (
    GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
  GstMt3Transcribe *self = GST_MT3_TRANSCRIBE (object);
  gboolean known;

  if (id == prop_stats) {
    g_value_take_boxed (value, gst_mt3_transcribe_get_stats (self));
    return;
  }
  GST_OBJECT_LOCK (self);
  known = gst_mt3_settings_get (&self->settings, id, value);
  GST_OBJECT_UNLOCK (self);
  if (!known)
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
}

static void
gst_mt3_transcribe_finalize (GObject *object)
{
  GstMt3Transcribe *self = GST_MT3_TRANSCRIBE (object);

  gst_mt3_engine_options_clear (&self->model_options);
  g_clear_error (&self->told_error);
  gst_mt3_settings_clear (&self->settings);
  gst_mt3_time_map_free (self->times);
  gst_mt3_reference_times_free (self->references);
  g_array_unref (self->live.losses);
  g_cond_clear (&self->changed);
  g_rec_mutex_clear (&self->load_lock);
  g_mutex_clear (&self->lock);

  G_OBJECT_CLASS (gst_mt3_transcribe_parent_class)->finalize (object);
}

static void
gst_mt3_transcribe_class_init (GstMt3TranscribeClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  GstElementClass *element_class = GST_ELEMENT_CLASS (klass);

  object_class->set_property = gst_mt3_transcribe_set_property;
  object_class->get_property = gst_mt3_transcribe_get_property;
  object_class->finalize = gst_mt3_transcribe_finalize;
  prop_stats = gst_mt3_settings_install (object_class);

  /**
   * GstMt3Transcribe:stats:
   *
   * A structure `mt3transcribe-stats` with the fields
   *
   * * gchararray `model`, `device` ("cpu", "cuda"), `device-description`,
   *   `precision`, and `why-not-cuda` when the device is `auto` and there is a
   *   reason; guint `slots`, `streams`; guint64 `reruns` (windows that left the
   *   range of float16 on a GPU and were computed again), `host-bytes`,
   *   `device-bytes`: of the engine, which other elements may share; missing
   *   while no model is open
   * * guint64 `windows`, of these `silent-windows` (below silence-threshold,
   * not decoded) and `empty-windows` (decoded to nothing), `tokens`, `notes`,
   *   `invalid` (events that make no sense where they stand), `dropped` (events
   *   after the end of their window), `unfinished` (windows that reached
   *   max-tokens),
   *   `replaced-samples` (not finite), `dropped-windows` (of live audio, when
   *   transcribing took too long); gdouble `audio-seconds` transcribed and
   *   `real-time-factor`: of this element since it started or was flushed
   *
   * Since: 0.1
   */
  g_object_class_install_property (object_class, prop_stats,
      g_param_spec_boxed ("stats", "Statistics", "What was done, and by what",
          GST_TYPE_STRUCTURE, G_PARAM_READABLE | G_PARAM_STATIC_STRINGS));

  element_class->change_state =
      GST_DEBUG_FUNCPTR (gst_mt3_transcribe_change_state);
  gst_element_class_add_static_pad_template (element_class, &sink_template);
  gst_element_class_add_static_pad_template (element_class, &src_template);
  /* Not an encoder: nothing should put it in a recording by itself. */
  gst_element_class_set_static_metadata (element_class,
      "MT3 music transcription", "Converter/Analyzer/Audio",
      "Transcribes music of any instruments to MIDI notes (MT3)",
      "gst-mt3 developers");
}

static void
gst_mt3_transcribe_init (GstMt3Transcribe *self)
{
  g_rec_mutex_init (&self->load_lock);
  g_mutex_init (&self->lock);
  g_cond_init (&self->changed);
  g_queue_init (&self->events);
  gst_mt3_settings_init (&self->settings);
  self->times = gst_mt3_time_map_new ();
  self->references = gst_mt3_reference_times_new ();
  gst_mt3_transcribe_init_live (self);
  gst_audio_info_init (&self->info);
  gst_segment_init (&self->segment, GST_FORMAT_TIME);
  gst_segment_init (&self->audio_segment, GST_FORMAT_TIME);
  self->flushing = TRUE;
  self->srcresult = GST_FLOW_FLUSHING;
  self->progress = -1;

  self->sinkpad = gst_pad_new_from_static_template (&sink_template, "sink");
  gst_mt3_transcribe_init_sink (self);
  gst_element_add_pad (GST_ELEMENT (self), self->sinkpad);
  self->srcpad = gst_pad_new_from_static_template (&src_template, "src");
  gst_mt3_transcribe_init_src (self);
  gst_element_add_pad (GST_ELEMENT (self), self->srcpad);
}
