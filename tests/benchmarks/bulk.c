/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bulk.h"

#include <sys/resource.h>

Mt3Decoding bulk_decoding = {0, 0.0f, 0, 1.0f, 0, NULL, 1, 0.0f};

static gdouble
cpu_seconds (void)
{
  struct rusage usage;

  getrusage (RUSAGE_SELF, &usage);
  return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec +
         1e-6 * (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void
run_begin (BulkRun *run, const GPtrArray *windows)
{
  *run = (BulkRun){.n_windows = windows->len,
      .seconds = -1e-6 * g_get_monotonic_time (),
      .cpu_seconds = -cpu_seconds ()};
}

void
bulk_expected_init (BulkExpected *self, const GPtrArray *golden, guint period)
{
  self->golden = golden;
  self->before =
      g_ptr_array_new_with_free_func ((GDestroyNotify) g_bytes_unref);
  g_ptr_array_set_size (self->before, (gint) period);
}

void
bulk_expected_clear (BulkExpected *self)
{
  g_clear_pointer (&self->before, g_ptr_array_unref);
}

static GBytes *
result_bytes (const guint16 *tokens, const gfloat *log_probs, guint n_tokens)
{
  GByteArray *bytes = g_byte_array_new ();

  g_byte_array_append (
      bytes, (const guint8 *) tokens, n_tokens * sizeof *tokens);
  g_byte_array_append (
      bytes, (const guint8 *) log_probs, n_tokens * sizeof *log_probs);
  return g_byte_array_free_to_bytes (bytes);
}

static void
run_add (BulkRun *run, BulkExpected *expected, guint64 window,
    const guint16 *tokens, const gfloat *log_probs, guint n_tokens)
{
  g_autoptr (GBytes) now = NULL;
  gpointer *before;

  run->n_tokens += n_tokens;
  if (expected == NULL)
    return;
  now = result_bytes (tokens, log_probs, n_tokens);
  before = &expected->before->pdata[window % expected->before->len];
  if (expected->golden != NULL)
    run->n_identical +=
        golden_matches (expected->golden, window, tokens, n_tokens);
  if (*before == NULL)
    *before = g_steal_pointer (&now);
  else
    run->n_other += g_bytes_equal (*before, now) ? 0 : 1;
}

static void
run_end (BulkRun *run)
{
  run->seconds += 1e-6 * g_get_monotonic_time ();
  run->cpu_seconds += cpu_seconds ();
}

/* What an engine takes over: its own copies. */
static GPtrArray *
copy_windows (const GPtrArray *windows, const Mt3Config *config)
{
  GPtrArray *copies = g_ptr_array_new_with_free_func (g_free);

  for (guint i = 0; i < windows->len; i++)
    g_ptr_array_add (copies, clip_copy_window (g_ptr_array_index (windows, i),
                                 config, i, i + 1 == windows->len));
  return copies;
}

typedef struct {
  Mt3Stream *stream;
  GPtrArray *windows;
} Feed;

/* On a thread of its own: push blocks when enough is under way. */
static gpointer
feed (gpointer data)
{
  const Feed *feed = data;

  for (guint i = 0; i < feed->windows->len; i++)
    if (mt3_stream_push (feed->stream,
            g_steal_pointer (&g_ptr_array_index (feed->windows, i)),
            NULL) != MT3_FLOW_OK)
      break;
  mt3_stream_finish (feed->stream);
  return NULL;
}

gboolean
bulk_run_engine (Mt3Engine *engine, GPtrArray *windows, BulkExpected *expected,
    BulkRun *run, GError **error)
{
  g_autoptr (Mt3Stream) stream = mt3_stream_new (engine, &bulk_decoding, 0);
  g_autoptr (GPtrArray) copies =
      copy_windows (windows, mt3_engine_config (engine));
  Feed fed = {stream, copies};
  Mt3Transcript *transcript;
  GThread *feeder;
  Mt3Flow flow;

  run_begin (run, windows);
  feeder = g_thread_new ("feed", feed, &fed);
  while ((flow = mt3_stream_pop (stream, &transcript, error)) == MT3_FLOW_OK) {
    run_add (run, expected, transcript->index, transcript->tokens,
        transcript->log_probs, transcript->n_tokens);
    mt3_transcript_free (transcript);
  }
  g_thread_join (feeder);
  run_end (run);
  return flow == MT3_FLOW_END;
}

static gboolean
prefill (
    Mt3Backend *backend, const Mt3Window *window, guint slot, GError **error)
{
  Mt3BackendWindow job = {
      slot, window->n_frames, window->index, window->samples, bulk_decoding};

  job.decoding.max_tokens = G_MAXUINT;
  return backend->prefill (backend, &job, 1, error);
}

gboolean
bulk_run_backend (Mt3Backend *backend, GPtrArray *windows,
    BulkExpected *expected, BulkRun *run, GError **error)
{
  g_autofree guint *window_of = g_new (guint, backend->n_slots);
  g_autofree guint *finished = g_new (guint, backend->n_slots);
  guint n_at_once = backend->n_slots / bulk_decoding.beam_size;
  guint next = 0, n_done = 0, n_finished = 0;

  run_begin (run, windows);
  for (; next < MIN (n_at_once, windows->len); next++) {
    window_of[next] = next;
    if (!prefill (backend, g_ptr_array_index (windows, next), next, error))
      return FALSE;
  }
  while (n_done < windows->len) {
    if (!backend->decode (
            backend, backend->decode_steps, finished, &n_finished, error))
      return FALSE;
    for (guint i = 0; i < n_finished; i++) {
      guint slot = finished[i];
      Mt3BackendResult result;

      backend->result (backend, slot, &result);
      run_add (run, expected, window_of[slot], result.tokens, result.log_probs,
          result.n_tokens);
      backend->release (backend, slot);
      n_done++;
      if (next == windows->len)
        continue;
      window_of[slot] = next;
      if (!prefill (backend, g_ptr_array_index (windows, next++), slot, error))
        return FALSE;
    }
  }
  run_end (run);
  return TRUE;
}
