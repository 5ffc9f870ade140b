/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "live.h"

#include "vocabulary/event-order.h"

typedef struct {
  Mt3Engine *engine;
  Mt3Stream *stream;
  GPtrArray *windows;
  gint64 start; /* monotonic time when its first sample sounds */
  GArray *latencies; /* gint64, microseconds */
  GError *error;
  GThread *player, *listener;
} Live;

static void
sleep_until (gint64 time)
{
  gint64 now = g_get_monotonic_time ();

  if (time > now)
    g_usleep (time - now);
}

static gpointer
play (gpointer data)
{
  Live *live = data;
  const Mt3Config *config = mt3_engine_config (live->engine);
  gint64 duration =
      G_USEC_PER_SEC * mt3_config_window_samples (config) / config->sample_rate;

  for (guint i = 0; i < live->windows->len; i++) {
    const Mt3Window *window = g_ptr_array_index (live->windows, i);

    sleep_until (live->start + (i + 1) * duration);
    if (mt3_stream_push (live->stream,
            clip_copy_window (window, config, i, i + 1 == live->windows->len),
            NULL) != MT3_FLOW_OK)
      break;
  }
  mt3_stream_finish (live->stream);
  return NULL;
}

static gpointer
listen (gpointer data)
{
  Live *live = data;
  Mt3Transcript *transcript;

  while (
      mt3_stream_pop (live->stream, &transcript, &live->error) == MT3_FLOW_OK) {
    g_array_append_val (live->latencies, transcript->latency_us);
    mt3_transcript_free (transcript);
  }
  return NULL;
}

static void
live_start (Live *live, Mt3Engine *engine, GPtrArray *windows, gint64 start)
{
  Mt3Decoding greedy = MT3_DECODING_GREEDY;

  greedy.order = mt3_event_order (mt3_engine_config (engine), NULL);
  *live = (Live){.engine = engine, .windows = windows, .start = start};
  live->stream = mt3_stream_new (engine, &greedy, windows->len);
  live->latencies = g_array_new (FALSE, FALSE, sizeof (gint64));
  live->player = g_thread_new ("play", play, live);
  live->listener = g_thread_new ("listen", listen, live);
}

static void
live_finish (Live *live, GArray *latencies, GError **error)
{
  g_thread_join (live->player);
  g_thread_join (live->listener);
  g_array_append_vals (latencies, live->latencies->data, live->latencies->len);
  g_array_unref (live->latencies);
  mt3_stream_free (live->stream);
  if (live->error != NULL && error != NULL && *error == NULL)
    g_propagate_error (error, live->error);
  else
    g_clear_error (&live->error);
}

static gint
compare_times (gconstpointer a, gconstpointer b)
{
  gint64 x = *(const gint64 *) a, y = *(const gint64 *) b;

  return (x > y) - (x < y);
}

static gdouble
quantile (const GArray *sorted, gdouble q)
{
  return 1e-6 *
         g_array_index (sorted, gint64, (guint) (q * (sorted->len - 1) + 0.5));
}

gboolean
live_run (Mt3Engine *engine, GPtrArray *windows, guint n_streams, LiveRun *run,
    GError **error)
{
  g_autofree Live *lives = g_new (Live, n_streams);
  g_autoptr (GArray) latencies = g_array_new (FALSE, FALSE, sizeof (gint64));
  const Mt3Config *config = mt3_engine_config (engine);
  gint64 start = g_get_monotonic_time ();
  gint64 window_us =
      G_USEC_PER_SEC * mt3_config_window_samples (config) / config->sample_rate;
  GError *failure = NULL;

  for (guint i = 0; i < n_streams; i++)
    live_start (&lives[i], engine, windows, start + window_us * i / n_streams);
  for (guint i = 0; i < n_streams; i++)
    live_finish (&lives[i], latencies, &failure);
  if (failure != NULL) {
    g_propagate_error (error, failure);
    return FALSE;
  }

  g_array_sort (latencies, compare_times);
  *run = (LiveRun){latencies->len, quantile (latencies, 0.5),
      quantile (latencies, 0.99), quantile (latencies, 1.0)};
  return TRUE;
}
