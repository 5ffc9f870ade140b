/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "live-pipeline.h"

#include <gst/app/gstappsrc.h>

/* How finely audio is given: a window ends with a buffer, as the last sample of
 * one does with a sound card's. */
#define BUFFERS_PER_WINDOW 16

/* The first audio begins when all threads run. */
#define HEAD_START G_USEC_PER_SEC

/* Of notes before the window that tells of them: GST_MT3_OUTPUT_LATE_SECONDS */
#define LATE (20 * GST_MSECOND)

typedef struct {
  GstAppSrc *source; /* the pipeline's */
  gint64 start; /* monotonic time when the first sample sounds */
  GstClockTime window; /* how long one is */
  GArray *told; /* gint64: when a window's last note left; 0: none yet */
  GArray *notes; /* GoldenNote */
} Live;

/* When a buffer's last sample has sounded. */
typedef struct {
  gint64 due;
  guint stream;
  guint buffer;
} Feed;

typedef struct {
  Pipeline *pipeline;
  GArray *samples;
  guint rate, buffer_samples, n_buffers;
  guint n_streams;
  Live *live;
} Test;

static GstPadProbeReturn
take_note (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  Live *self = data;
  const GstMt3NoteMeta *meta =
      gst_buffer_get_mt3_note_meta (GST_PAD_PROBE_INFO_BUFFER (info));
  gboolean ended;
  guint window;

  if (meta == NULL)
    return GST_PAD_PROBE_OK;
  ended = GST_CLOCK_TIME_IS_VALID (meta->note.end);
  window = (guint) (((ended ? meta->note.end : meta->note.onset) + LATE) /
                    self->window);
  if (window < self->told->len)
    g_array_index (self->told, gint64, window) = g_get_monotonic_time ();
  if (ended)
    golden_notes_add (self->notes, &meta->note);
  return GST_PAD_PROBE_OK;
}

static Pipeline *
make_pipeline (
    const gchar *element, guint rate, guint n_streams, GError **error)
{
  g_autoptr (GString) line = g_string_new (NULL);

  for (guint i = 0; i < n_streams; i++)
    g_string_append_printf (line,
        "appsrc name=in%u is-live=true format=time max-bytes=0 "
        "caps=audio/x-raw,format=F32LE,layout=interleaved,channels=1,rate=%u "
        "! %s name=mt3%u ! audio/x-midi-event ! fakesink sync=false "
        "async=false ",
        i, rate, element, i);
  return pipeline_new (line->str, error);
}

static void
watch_streams (Test *self, guint window)
{
  for (guint i = 0; i < self->n_streams; i++) {
    g_autofree gchar *source = g_strdup_printf ("in%u", i);
    g_autofree gchar *name = g_strdup_printf ("mt3%u", i);
    Live *live = &self->live[i];

    live->source = GST_APP_SRC (pipeline_element (self->pipeline, source));
    live->window = gst_util_uint64_scale (window, GST_SECOND, self->rate);
    live->told = g_array_new (FALSE, TRUE, sizeof (gint64));
    g_array_set_size (live->told, self->samples->len / window);
    live->notes = g_array_new (FALSE, FALSE, sizeof (GoldenNote));
    pipeline_watch (self->pipeline, name, take_note, live);
  }
}

static gint
compare_feeds (gconstpointer a, gconstpointer b)
{
  const Feed *x = a, *y = b;

  return (x->due > y->due) - (x->due < y->due);
}

/* All buffers of all streams, in the order in which they are due. */
static GArray *
plan_feeds (Test *self)
{
  GArray *feeds = g_array_new (FALSE, FALSE, sizeof (Feed));
  gint64 start = g_get_monotonic_time () + HEAD_START;
  gint64 window_us = self->live[0].window / GST_USECOND;

  for (guint i = 0; i < self->n_streams; i++) {
    self->live[i].start = start + window_us * i / self->n_streams;
    for (guint b = 0; b < self->n_buffers; b++) {
      guint64 end = MIN (self->samples->len, (b + 1) * self->buffer_samples);
      Feed feed = {
          self->live[i].start + (gint64) (end * G_USEC_PER_SEC / self->rate), i,
          b};

      g_array_append_val (feeds, feed);
    }
  }
  g_array_sort (feeds, compare_feeds);
  return feeds;
}

/* The samples stay the test's. */
static GstBuffer *
make_buffer (Test *self, guint number)
{
  guint first = number * self->buffer_samples;
  guint n = MIN (self->buffer_samples, self->samples->len - first);
  gsize bytes = n * sizeof (gfloat);
  GstBuffer *buffer = gst_buffer_new_wrapped_full (GST_MEMORY_FLAG_READONLY,
      &g_array_index (self->samples, gfloat, first), bytes, 0, bytes, NULL,
      NULL);

  GST_BUFFER_PTS (buffer) =
      gst_util_uint64_scale (first, GST_SECOND, self->rate);
  GST_BUFFER_DURATION (buffer) =
      gst_util_uint64_scale (n, GST_SECOND, self->rate);
  return buffer;
}

/* Gives all audio in time. Returns how late it was at most, in seconds. */
static gdouble
feed_streams (Test *self)
{
  g_autoptr (GArray) feeds = plan_feeds (self);
  gint64 latest = 0;

  for (guint i = 0; i < feeds->len; i++) {
    const Feed *feed = &g_array_index (feeds, Feed, i);
    GstAppSrc *source = self->live[feed->stream].source;
    gint64 now = g_get_monotonic_time ();

    if (now < feed->due)
      g_usleep (feed->due - now);
    else
      latest = MAX (latest, now - feed->due);
    gst_app_src_push_buffer (source, make_buffer (self, feed->buffer));
    if (feed->buffer + 1 == self->n_buffers)
      gst_app_src_end_of_stream (source);
  }
  return 1e-6 * latest;
}

static gint
compare_times (gconstpointer a, gconstpointer b)
{
  gdouble x = *(const gdouble *) a, y = *(const gdouble *) b;

  return (x > y) - (x < y);
}

static gdouble
quantile (const GArray *sorted, gdouble q)
{
  return sorted->len > 0 ? g_array_index (sorted, gdouble,
                               (guint) (q * (sorted->len - 1) + 0.5))
                         : 0.0;
}

static void
add_latencies (const Live *live, GArray *latencies)
{
  for (guint i = 0; i < live->told->len; i++) {
    gint64 told = g_array_index (live->told, gint64, i);
    gint64 end = live->start + (gint64) ((i + 1) * live->window / GST_USECOND);
    gdouble latency = 1e-6 * (told - end);

    if (told != 0)
      g_array_append_val (latencies, latency);
  }
}

static guint
count_dropped (Test *self, guint stream)
{
  g_autofree gchar *name = g_strdup_printf ("mt3%u", stream);
  g_autoptr (GstStructure) stats = NULL;
  guint64 dropped = 0;

  g_object_get (pipeline_element (self->pipeline, name), "stats", &stats, NULL);
  gst_structure_get_uint64 (stats, "dropped-windows", &dropped);
  return (guint) dropped;
}

static void
sum_up (Test *self, const GArray *golden, LivePipelineRun *run)
{
  g_autoptr (GArray) latencies = g_array_new (FALSE, FALSE, sizeof (gdouble));

  for (guint i = 0; i < self->n_streams; i++) {
    golden_notes_sort (self->live[i].notes);
    add_latencies (&self->live[i], latencies);
    run->n_notes += self->live[i].notes->len;
    run->n_dropped += count_dropped (self, i);
    run->n_golden += golden_notes_equal (
        self->live[i].notes, golden != NULL ? golden : self->live[0].notes);
  }
  g_array_sort (latencies, compare_times);
  run->n_windows = latencies->len;
  run->median = quantile (latencies, 0.5);
  run->p99 = quantile (latencies, 0.99);
  run->most = quantile (latencies, 1.0);
}

static void
free_streams (Test *self)
{
  for (guint i = 0; i < self->n_streams; i++) {
    g_array_unref (self->live[i].told);
    g_array_unref (self->live[i].notes);
  }
}

gboolean
live_pipeline_run (const gchar *element, GArray *samples, guint rate,
    guint window, guint n_streams, const GArray *golden, LivePipelineRun *run,
    GError **error)
{
  g_autoptr (Pipeline) pipeline =
      make_pipeline (element, rate, n_streams, error);
  g_autofree Live *live = g_new0 (Live, n_streams);
  const guint buffer_samples = window / BUFFERS_PER_WINDOW;
  Test test = {pipeline, samples, rate, buffer_samples,
      (samples->len + buffer_samples - 1) / buffer_samples, n_streams, live};
  gboolean ended;

  if (pipeline == NULL)
    return FALSE;
  *run = (LivePipelineRun){0};
  watch_streams (&test, window);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  run->latest_feed = feed_streams (&test);
  ended = pipeline_wait (pipeline, error);
  if (ended)
    sum_up (&test, golden, run);
  /* No note after this: the threads stop. */
  gst_element_set_state (pipeline, GST_STATE_NULL);
  free_streams (&test);
  return ended;
}
