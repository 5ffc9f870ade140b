/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * transcribe-live.c: live audio: how late its notes come, and what happens when
 * they cannot come in time.
 *
 * A note is known when the window that it lies in has ended and been
 * transcribed, so the latency is a window, the time that transcribing one
 * takes, and some headroom, and as much again as the shortest note wanted, for
 * it is not written before it has lasted. Windows that wait are bounded: a live
 * source must not be held up, and what comes too late is of no use. When too
 * many wait, whole windows are left out, for half a window is no better than
 * none.
 */
#include "config.h"

#include <glib/gi18n-lib.h>

#include "element/debug.h"
#include "element/transcribe-private.h"

#define GST_CAT_DEFAULT gst_mt3_live_debug

/* What the resampler holds back, and threads that wake up late. */
#define HEADROOM (50 * GST_MSECOND)

/* Before a model is open: the window of the published one. */
#define ASSUMED_WINDOW (2048 * GST_MSECOND)

/* Before the first window was measured, as parts of a window. */
#define ASSUMED_CPU_PART 2
#define ASSUMED_CUDA_PART 16

/* How much more than the longest time measured is promised. */
#define MARGIN_PART 4

/* Between warnings about lost windows. */
#define WARNING_INTERVAL (60 * G_USEC_PER_SEC)

/* Windows from @first to before @end. */
typedef struct {
  guint64 first;
  guint64 end;
} Loss;

/* Both called with the state lock. */

static GstClockTime
gst_mt3_transcribe_max_latency (GstMt3Transcribe *self)
{
  return GST_MT3_LIVE_WINDOWS * self->live.window;
}

static GstClockTime
gst_mt3_transcribe_latency (GstMt3Transcribe *self)
{
  GstClockTime late = (GstClockTime) (GST_MT3_OUTPUT_LATE_SECONDS * GST_SECOND);

  return MIN (self->live.window + late + self->live.processing + HEADROOM,
             gst_mt3_transcribe_max_latency (self)) +
         self->live.hold_back;
}

gboolean
gst_mt3_transcribe_query_latency (GstMt3Transcribe *self, GstQuery *query)
{
  GstClockTime min, max, hold_back;
  gboolean live;

  if (!gst_pad_peer_query (self->sinkpad, query))
    return FALSE;
  gst_query_parse_latency (query, &live, &min, &max);
  if (!live)
    return TRUE;

  GST_OBJECT_LOCK (self);
  hold_back = self->settings.notes.min_duration;
  GST_OBJECT_UNLOCK (self);
  g_mutex_lock (&self->lock);
  self->live.hold_back = hold_back;
  self->live.told = gst_mt3_transcribe_latency (self);
  min += self->live.told;
  if (GST_CLOCK_TIME_IS_VALID (max))
    max += gst_mt3_transcribe_max_latency (self) + self->live.hold_back;
  g_mutex_unlock (&self->lock);
  GST_DEBUG_OBJECT (self,
      "latency from %" GST_TIME_FORMAT " to %" GST_TIME_FORMAT,
      GST_TIME_ARGS (min), GST_TIME_ARGS (max));
  gst_query_set_latency (query, TRUE, min, max);

  return TRUE;
}

/* Called without the state lock. */
static void
gst_mt3_transcribe_tell_latency (GstMt3Transcribe *self)
{
  GstClockTime latency;
  gboolean changed;

  g_mutex_lock (&self->lock);
  latency = gst_mt3_transcribe_latency (self);
  changed = self->live.is_live && self->live.told != latency;
  self->live.told = latency;
  g_mutex_unlock (&self->lock);
  if (!changed)
    return;
  GST_INFO_OBJECT (
      self, "latency is %" GST_TIME_FORMAT, GST_TIME_ARGS (latency));
  gst_element_post_message (
      GST_ELEMENT (self), gst_message_new_latency (GST_OBJECT (self)));
}

static gboolean
gst_mt3_transcribe_upstream_is_live (GstMt3Transcribe *self)
{
  GstQuery *query = gst_query_new_latency ();
  gboolean live = FALSE;

  if (gst_pad_peer_query (self->sinkpad, query))
    gst_query_parse_latency (query, &live, NULL, NULL);
  gst_query_unref (query);

  return live;
}

void
gst_mt3_transcribe_init_live (GstMt3Transcribe *self)
{
  self->live.window = ASSUMED_WINDOW;
  self->live.processing = ASSUMED_WINDOW / ASSUMED_CPU_PART;
  self->live.losses = g_array_new (FALSE, FALSE, sizeof (Loss));
}

gboolean
gst_mt3_transcribe_begin_live (GstMt3Transcribe *self, Mt3Engine *engine)
{
  const Mt3Config *config = mt3_engine_config (engine);
  gboolean live = gst_mt3_transcribe_upstream_is_live (self);
  Mt3EngineStats stats;
  guint part;

  mt3_engine_get_stats (engine, &stats);
  part =
      g_str_equal (stats.device, "cpu") ? ASSUMED_CPU_PART : ASSUMED_CUDA_PART;
  g_mutex_lock (&self->lock);
  self->live.is_live = live;
  self->live.window = gst_util_uint64_scale (
      mt3_config_window_samples (config), GST_SECOND, config->sample_rate);
  self->live.processing = self->live.window / part;
  g_mutex_unlock (&self->lock);
  gst_mt3_transcribe_tell_latency (self);

  return live;
}

void
gst_mt3_transcribe_measure_window (
    GstMt3Transcribe *self, const Mt3Transcript *transcript)
{
  GstClockTime taken = transcript->latency_us * GST_USECOND;

  g_mutex_lock (&self->lock);
  if (taken > self->live.processing)
    self->live.processing = taken + taken / MARGIN_PART;
  g_mutex_unlock (&self->lock);
  gst_mt3_transcribe_tell_latency (self);
}

gboolean
gst_mt3_transcribe_is_overloaded (GstMt3Transcribe *self, Mt3Stream *stream)
{
  gboolean live;

  g_mutex_lock (&self->lock);
  live = self->live.is_live;
  g_mutex_unlock (&self->lock);

  return live && mt3_stream_n_pending (stream) >= GST_MT3_LIVE_WINDOWS;
}

static void
gst_mt3_transcribe_post_qos (GstMt3Transcribe *self, GstClockTime position,
    guint64 processed, guint64 dropped)
{
  GstMt3TimeAnchor anchor;
  GstClockTime pts, running_time, stream_time;
  GstMessage *message;

  if (!gst_mt3_time_map_find (self->times, position, &anchor))
    return;
  pts = gst_mt3_time_anchor_pts (&anchor, position);
  running_time =
      gst_segment_to_running_time (&anchor.segment, GST_FORMAT_TIME, pts);
  stream_time =
      gst_segment_to_stream_time (&anchor.segment, GST_FORMAT_TIME, pts);
  message = gst_message_new_qos (GST_OBJECT (self), TRUE, running_time,
      stream_time, pts, self->live.window);
  gst_message_set_qos_stats (message, GST_FORMAT_BUFFERS, processed, dropped);
  gst_element_post_message (GST_ELEMENT (self), message);
}

static void
gst_mt3_transcribe_warn (GstMt3Transcribe *self, guint64 dropped)
{
  gint64 now = g_get_monotonic_time ();

  if (self->live.warned_us > 0 && now < self->live.warned_us + WARNING_INTERVAL)
    return;
  self->live.warned_us = now;
  GST_ELEMENT_WARNING (self, RESOURCE, BUSY,
      (_ ("This computer is too slow to transcribe all of the live audio.")),
      ("%" G_GUINT64_FORMAT " windows left out so far; a GPU, a faster "
       "precision or fewer streams help",
          dropped));
}

void
gst_mt3_transcribe_lose_window (
    GstMt3Transcribe *self, guint64 index, GstClockTime position)
{
  GArray *losses = self->live.losses;
  guint64 processed, dropped;
  Loss *last;

  g_mutex_lock (&self->lock);
  last =
      losses->len > 0 ? &g_array_index (losses, Loss, losses->len - 1) : NULL;
  if (last && last->end == index) {
    last->end++;
  } else {
    Loss loss = {index, index + 1};

    g_array_append_val (losses, loss);
  }
  dropped = ++self->stats.dropped_windows;
  processed = self->stats.notes.windows;
  g_mutex_unlock (&self->lock);

  GST_INFO_OBJECT (
      self, "overloaded: window %" G_GUINT64_FORMAT " left out", index);
  gst_mt3_transcribe_post_qos (self, position, processed, dropped);
  gst_mt3_transcribe_warn (self, dropped);
}

gboolean
gst_mt3_transcribe_take_loss (
    GstMt3Transcribe *self, guint64 before, guint64 *first)
{
  GArray *losses = self->live.losses;
  gboolean found;

  g_mutex_lock (&self->lock);
  found = losses->len > 0 && g_array_index (losses, Loss, 0).first < before;
  if (found) {
    *first = g_array_index (losses, Loss, 0).first;
    g_array_remove_index (losses, 0);
  }
  g_mutex_unlock (&self->lock);

  return found;
}
