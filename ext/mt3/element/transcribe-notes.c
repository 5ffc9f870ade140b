/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * transcribe-notes.c: transcripts to notes as the properties want them.
 */
#include "config.h"

#include <glib/gi18n-lib.h>

#include "element/debug.h"
#include "element/transcribe-private.h"
#include "error.h"

#define GST_CAT_DEFAULT gst_mt3_transcribe_debug

gboolean
gst_mt3_transcribe_check_notes (GstMt3Transcribe *self, gboolean running)
{
  const gchar *text = _ ("The instruments asked for are not understood.");
  const gchar *meanwhile = "what was asked for before is still in force";
  g_autoptr (GError) error = NULL;

  GST_OBJECT_LOCK (self);
  gst_mt3_note_settings_check (&self->settings.notes, &error);
  GST_OBJECT_UNLOCK (self);

  if (g_error_matches (error, MT3_ERROR, MT3_ERROR_UNSUPPORTED)) {
    text = _ ("With beam-size above 1 the property temperature must be 0.");
    meanwhile = "until then it draws none";
  }
  if (error)
    gst_element_message_full (GST_ELEMENT (self),
        running ? GST_MESSAGE_WARNING : GST_MESSAGE_ERROR, GST_RESOURCE_ERROR,
        GST_RESOURCE_ERROR_SETTINGS, g_strdup (text),
        running ? g_strdup_printf ("%s; %s", error->message, meanwhile)
                : g_strdup (error->message),
        __FILE__, GST_FUNCTION, __LINE__);

  return error == NULL;
}

static void
gst_mt3_transcribe_begin_notes (GstMt3Transcribe *self)
{
  GST_OBJECT_LOCK (self);
  self->hold_back = (gdouble) self->settings.notes.min_duration / GST_SECOND;
  GST_OBJECT_UNLOCK (self);
  self->shaper =
      mt3_note_shaper_new (self->hold_back, gst_mt3_transcribe_note, self);
  self->decoder =
      mt3_note_decoder_new (mt3_engine_config (self->popped->engine),
          mt3_note_shaper_note, self->shaper);
  mt3_note_decoder_change_model (self->decoder,
      mt3_engine_config (self->popped->engine),
      (gdouble) self->popped->start / GST_SECOND);
}

static void
gst_mt3_transcribe_update_shaper (GstMt3Transcribe *self)
{
  Mt3ProgramMap map;
  guint velocity;

  GST_OBJECT_LOCK (self);
  map = self->settings.notes.map;
  velocity = self->settings.notes.velocity;
  GST_OBJECT_UNLOCK (self);
  mt3_note_shaper_set (self->shaper, &map, velocity);
}

/* What sounded when audio was left out ends there: nobody knows what came of
 * it. */
static void
gst_mt3_transcribe_handle_losses (GstMt3Transcribe *self, guint64 index)
{
  const Mt3Config *config = mt3_engine_config (self->popped->engine);
  guint64 first;

  while (gst_mt3_transcribe_take_loss (self, index, &first)) {
    guint64 samples = first * mt3_config_window_samples (config);

    mt3_note_decoder_interrupt (self->decoder, first);
    self->output->discont (
        self->output, (gdouble) self->popped->start / GST_SECOND +
                          (gdouble) samples / config->sample_rate);
  }
}

void
gst_mt3_transcribe_decode_notes (
    GstMt3Transcribe *self, const Mt3Transcript *transcript, gdouble seconds)
{
  if (!self->decoder)
    gst_mt3_transcribe_begin_notes (self);
  gst_mt3_transcribe_update_shaper (self);
  gst_mt3_transcribe_handle_losses (self, transcript->index);

  if (transcript->skipped) {
    mt3_note_decoder_push_silence (self->decoder, transcript->index);
  } else {
    mt3_note_decoder_set_allowed (self->decoder, transcript->allowed);
    mt3_note_decoder_push (self->decoder, transcript->index, transcript->last,
        transcript->tokens, transcript->log_probs, transcript->n_tokens,
        transcript->ended);
  }
  mt3_note_decoder_forget_ended (self->decoder);
  /* After the last window more is told of its time: what sounds ends. */
  if (!transcript->last)
    mt3_note_shaper_advance (
        self->shaper, seconds - GST_MT3_OUTPUT_LATE_SECONDS);
}

void
gst_mt3_transcribe_change_notes (
    GstMt3Transcribe *self, const Mt3Config *config, GstClockTime start)
{
  if (self->decoder)
    mt3_note_decoder_change_model (
        self->decoder, config, (gdouble) start / GST_SECOND);
}

void
gst_mt3_transcribe_finish_notes (GstMt3Transcribe *self)
{
  if (!self->decoder)
    return;
  mt3_note_decoder_finish (self->decoder);
  mt3_note_shaper_finish (self->shaper);
}

void
gst_mt3_transcribe_reset_notes (GstMt3Transcribe *self)
{
  g_clear_pointer (&self->decoder, mt3_note_decoder_free);
  g_clear_pointer (&self->shaper, mt3_note_shaper_free);
  self->hold_back = 0.0;
}
