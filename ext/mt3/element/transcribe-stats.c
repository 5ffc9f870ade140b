/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * transcribe-stats.c: what the property `stats` tells.
 */
#include "element/debug.h"
#include "element/transcribe-private.h"

#define GST_CAT_DEFAULT gst_mt3_transcribe_debug

/* About the engine, which other elements may share: one that asked for the CPU
 * is not told why another did not get CUDA. */
static void
gst_mt3_transcribe_add_engine_stats (
    GstStructure *stats, Mt3Engine *engine, Mt3Device asked_for)
{
  Mt3EngineStats values;

  mt3_engine_get_stats (engine, &values);
  if (asked_for != MT3_DEVICE_AUTO)
    values.fallback = NULL;
  gst_structure_set (stats, "model", G_TYPE_STRING,
      mt3_engine_model_file (engine), "device", G_TYPE_STRING, values.device,
      "device-description", G_TYPE_STRING, values.description, "why-not-cuda",
      G_TYPE_STRING, values.fallback, "precision", G_TYPE_STRING,
      gst_mt3_precision_nick (values.precision), "slots", G_TYPE_UINT,
      values.n_slots, "streams", G_TYPE_UINT, values.n_streams, "reruns",
      G_TYPE_UINT64, values.reruns, "host-bytes", G_TYPE_UINT64,
      values.host_bytes, "device-bytes", G_TYPE_UINT64, values.device_bytes,
      NULL);
}

/* Of the audio transcribed so far to the time that took. */
static gdouble
gst_mt3_transcribe_real_time_factor (const GstMt3RunStats *run)
{
  gint64 elapsed = run->transcribed_us - run->started_us;

  return elapsed > 0 ? run->audio_seconds * G_USEC_PER_SEC / elapsed : 0.0;
}

GstStructure *
gst_mt3_transcribe_get_stats (GstMt3Transcribe *self)
{
  GstStructure *stats = gst_structure_new_empty ("mt3transcribe-stats");
  Mt3Engine *engine;
  Mt3Device device;
  GstMt3RunStats run;

  g_mutex_lock (&self->lock);
  engine = self->engine ? mt3_engine_ref (self->engine) : NULL;
  device = self->model_options.device;
  run = self->stats;
  g_mutex_unlock (&self->lock);

  if (engine)
    gst_mt3_transcribe_add_engine_stats (stats, engine, device);
  g_clear_pointer (&engine, mt3_engine_unref);

  gst_structure_set (stats, "windows", G_TYPE_UINT64, run.notes.windows,
      "silent-windows", G_TYPE_UINT64, run.notes.silent_windows,
      "empty-windows", G_TYPE_UINT64, run.notes.empty_windows, "tokens",
      G_TYPE_UINT64, run.tokens, "notes", G_TYPE_UINT64, run.notes.notes,
      "invalid", G_TYPE_UINT64, run.notes.invalid_events, "dropped",
      G_TYPE_UINT64, run.notes.dropped_events, "unfinished", G_TYPE_UINT64,
      run.notes.unfinished_windows, "replaced-samples", G_TYPE_UINT64,
      run.replaced_samples, "dropped-windows", G_TYPE_UINT64,
      run.dropped_windows, "window-latency", G_TYPE_UINT64, run.window_latency,
      "window-latency-max", G_TYPE_UINT64, run.window_latency_max,
      "audio-seconds", G_TYPE_DOUBLE, run.audio_seconds, "real-time-factor",
      G_TYPE_DOUBLE, gst_mt3_transcribe_real_time_factor (&run), NULL);

  return stats;
}

void
gst_mt3_transcribe_log_stats (GstMt3Transcribe *self)
{
  GstStructure *stats = gst_mt3_transcribe_get_stats (self);

  GST_INFO_OBJECT (self, "%" GST_PTR_FORMAT, stats);
  gst_structure_free (stats);
}
