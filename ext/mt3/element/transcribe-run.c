/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * transcribe-run.c: the parts of the audio that one engine each transcribes.
 *
 * Mostly there is one. When another model is set while audio flows, the next
 * window goes to the new engine: a new run begins behind the old one, whose
 * windows are all popped before the first of the new run is. So it does where
 * upstream says that a segment is done.
 */
#include "element/debug.h"
#include "element/transcribe-private.h"

#include <string.h>

#define GST_CAT_DEFAULT gst_mt3_model_debug

static void
gst_mt3_run_clear (gpointer data)
{
  GstMt3Run *run = data;

  mt3_stream_free (run->stream);
  mt3_engine_unref (run->engine);
  gst_clear_event (&run->segment_done);
}

static void
gst_mt3_run_unref (gpointer run)
{
  g_atomic_rc_box_release_full (run, gst_mt3_run_clear);
}

/* Whether a run with @b can go on with the windows of one with @a: they are cut
 * and counted, and their tokens read, in the same way. */
static gboolean
gst_mt3_configs_agree (const Mt3Config *a, const Mt3Config *b)
{
  return a->sample_rate == b->sample_rate && a->hop_length == b->hop_length &&
         a->window_frames == b->window_frames &&
         a->velocity_bins == b->velocity_bins && a->ties == b->ties &&
         memcmp (a->written_programs, b->written_programs,
             sizeof a->written_programs) == 0;
}

gboolean
gst_mt3_transcribe_begin_run (GstMt3Transcribe *self, Mt3Engine *engine,
    GstClockTime start, GstEvent *segment_done)
{
  GstMt3Run *run = g_atomic_rc_box_new0 (GstMt3Run), *before = self->run;
  gboolean live = gst_mt3_transcribe_begin_live (self, engine);
  Mt3EngineStats stats;
  gboolean stopped;

  mt3_decoding_clear (&self->decoding);
  self->decoding =
      gst_mt3_transcribe_decoding (self, mt3_engine_config (engine));
  mt3_engine_get_stats (engine, &stats);
  run->engine = engine;
  run->device = stats.device;
  run->start = start;
  run->segment_done = segment_done;
  run->stream =
      mt3_stream_new (engine, &self->decoding, live ? GST_MT3_LIVE_WINDOWS : 0);
  self->run = run;

  g_mutex_lock (&self->lock);
  stopped = self->flushing || self->srcresult != GST_FLOW_OK;
  if (stopped)
    mt3_stream_set_flushing (run->stream, TRUE);
  g_queue_push_tail (&self->runs, run);
  g_cond_broadcast (&self->changed);
  g_mutex_unlock (&self->lock);
  /* Last: now the task goes on to the new run when the old one is through. */
  if (before)
    mt3_stream_finish (before->stream);

  return !stopped;
}

Mt3Engine *
gst_mt3_transcribe_find_new_engine (GstMt3Transcribe *self, gboolean agrees)
{
  Mt3Engine *engine = NULL;

  g_mutex_lock (&self->lock);
  if (self->engine && self->engine != self->run->engine &&
      gst_mt3_configs_agree (mt3_engine_config (self->engine),
          mt3_engine_config (self->run->engine)) == agrees)
    engine = mt3_engine_ref (self->engine);
  g_mutex_unlock (&self->lock);

  return engine;
}

gboolean
gst_mt3_transcribe_next_run (GstMt3Transcribe *self, GstEvent **segment_done)
{
  GstMt3Run *old = NULL, *next = NULL;

  g_mutex_lock (&self->lock);
  if (self->runs.length > 1) {
    old = g_queue_pop_head (&self->runs);
    self->popped = next = g_queue_peek_head (&self->runs);
  }
  g_mutex_unlock (&self->lock);
  if (!next)
    return FALSE;

  GST_INFO_OBJECT (self, "another %s from %" GST_TIME_FORMAT " on",
      next->segment_done ? "segment" : "model", GST_TIME_ARGS (next->start));
  *segment_done = g_steal_pointer (&next->segment_done);
  if (*segment_done)
    gst_mt3_transcribe_finish_notes (self);
  if (*segment_done || !gst_mt3_configs_agree (mt3_engine_config (old->engine),
                           mt3_engine_config (next->engine)))
    gst_mt3_transcribe_change_notes (
        self, mt3_engine_config (next->engine), next->start);
  gst_mt3_run_unref (old);

  return TRUE;
}

void
gst_mt3_transcribe_flush_runs (GstMt3Transcribe *self, gboolean flushing)
{
  g_autoptr (GPtrArray) runs =
      g_ptr_array_new_with_free_func (gst_mt3_run_unref);

  g_mutex_lock (&self->lock);
  for (GList *l = self->runs.head; l; l = l->next)
    g_ptr_array_add (runs, g_atomic_rc_box_acquire (l->data));
  g_mutex_unlock (&self->lock);
  for (guint i = 0; i < runs->len; i++)
    mt3_stream_set_flushing (
        ((GstMt3Run *) g_ptr_array_index (runs, i))->stream, flushing);
}

void
gst_mt3_transcribe_forget_runs (GstMt3Transcribe *self, guint n_kept)
{
  g_mutex_lock (&self->lock);
  while (self->runs.length > n_kept) {
    GstMt3Run *run = g_queue_pop_head (&self->runs);

    g_mutex_unlock (&self->lock);
    gst_mt3_run_unref (run);
    g_mutex_lock (&self->lock);
  }
  self->popped = NULL;
  if (self->runs.length == 0) {
    self->run = NULL;
  } else {
    self->run->start = 0;
    gst_clear_event (&self->run->segment_done);
  }
  g_mutex_unlock (&self->lock);
}
