/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/scheduler.h"

#include "error.h"

/* Prefill calls between two decode calls while windows are under way. Free
 * slots should fill soon (a decode step costs little more with more rows), but
 * a prefill holds up every window that is being decoded: one call, of at most
 * prefill_batch windows, is what they wait for. */
#define MAX_PREFILLS_WHILE_DECODING 1

/* Called with the lock held. */
static void
drop_window (Mt3Job *job)
{
  if (job->window == NULL)
    return;
  job->stream->scheduler->n_windows--;
  g_clear_pointer (&job->window, mt3_window_free);
}

void
mt3_job_free (Mt3Job *job)
{
  drop_window (job);
  mt3_decoding_clear (&job->decoding);
  mt3_transcript_free (job->transcript);
  g_free (job);
}

/* Jobs and turns: called with the lock held. */

static void
set_ready (Mt3Scheduler *self, Mt3Stream *stream, gboolean ready)
{
  if (stream->is_ready == ready)
    return;
  stream->is_ready = ready;
  if (ready)
    g_queue_push_tail_link (&self->ready, &stream->ready_link);
  else
    g_queue_unlink (&self->ready, &stream->ready_link);
}

static void
find_next (Mt3Stream *stream, GList *from)
{
  while (from != NULL && ((Mt3Job *) from->data)->state != MT3_JOB_WAITING)
    from = from->next;
  stream->next = from;
}

void
mt3_scheduler_add_stream (Mt3Scheduler *self, Mt3Stream *stream)
{
  stream->link.data = stream;
  stream->ready_link.data = stream;
  g_queue_push_tail_link (&self->streams, &stream->link);
}

void
mt3_scheduler_remove_stream (Mt3Scheduler *self, Mt3Stream *stream)
{
  g_queue_unlink (&self->streams, &stream->link);
}

void
mt3_scheduler_submit (Mt3Scheduler *self, Mt3Job *job)
{
  Mt3Stream *stream = job->stream;

  job->link.data = job;
  self->n_windows++;
  g_queue_push_tail_link (&stream->jobs, &job->link);
  if (stream->next == NULL)
    stream->next = &job->link;
  set_ready (self, stream, TRUE);
  g_cond_signal (&self->work);
}

void
mt3_scheduler_cancel (Mt3Scheduler *self, Mt3Stream *stream)
{
  GList *link;

  set_ready (self, stream, FALSE);
  stream->next = NULL;
  while ((link = g_queue_pop_head_link (&stream->jobs)) != NULL) {
    Mt3Job *job = link->data;

    if (job->state == MT3_JOB_RUNNING) {
      job->cancelled = TRUE;
      self->n_cancelled++;
    } else {
      mt3_job_free (job);
    }
  }
  if (self->n_cancelled > 0)
    g_cond_signal (&self->work);
}

/* The next waiting job of the stream whose turn it is, if there is room for it.
 * Those that need less wait behind it, or it might wait for ever. */
static Mt3Job *
take_turn (Mt3Scheduler *self)
{
  Mt3Stream *stream = g_queue_peek_head (&self->ready);
  guint *beam_size;
  Mt3Job *job;

  if (stream == NULL)
    return NULL;
  job = stream->next->data;
  beam_size = &job->decoding.beam_size;
  *beam_size = CLAMP (*beam_size, 1, MAX (self->backend->max_beams, 1));
  if (self->n_beams + *beam_size > self->backend->n_slots)
    return NULL;
  self->n_beams += *beam_size;
  set_ready (self, stream, FALSE);
  job->state = MT3_JOB_RUNNING;
  find_next (stream, stream->next->next);
  set_ready (self, stream, stream->next != NULL);
  return job;
}

static void
leave_slot (Mt3Scheduler *self, guint slot)
{
  Mt3Job *job = self->slots[slot];

  self->slots[slot] = NULL;
  self->n_running--;
  self->n_beams -= job->decoding.beam_size;
  job->stream->n_running--;
  g_cond_broadcast (&job->stream->changed);
  if (job->cancelled) {
    self->n_cancelled--;
    mt3_job_free (job);
  }
}

/* The round: called with the lock held, which they drop around the backend. */

static void
release_cancelled (Mt3Scheduler *self)
{
  guint n = 0;

  if (self->n_cancelled == 0)
    return;
  for (guint slot = 0; slot < self->backend->n_slots; slot++) {
    if (self->slots[slot] != NULL && self->slots[slot]->cancelled)
      self->picked[n++] = slot;
  }
  g_mutex_unlock (&self->lock);
  for (guint i = 0; i < n; i++)
    self->backend->release (self->backend, self->picked[i]);
  g_mutex_lock (&self->lock);
  for (guint i = 0; i < n; i++)
    leave_slot (self, self->picked[i]);
}

/* Puts waiting jobs into free slots, as many as one prefill takes. */
static guint
admit (Mt3Scheduler *self)
{
  const guint limit =
      MIN (self->backend->prefill_batch, self->backend->n_slots);
  guint n = 0;

  for (guint slot = 0; slot < self->backend->n_slots && n < limit; slot++) {
    Mt3Job *job;

    if (self->slots[slot] != NULL)
      continue;
    if ((job = take_turn (self)) == NULL)
      break;
    self->slots[slot] = job;
    self->n_running++;
    job->stream->n_running++;
    self->batch[n++] = (Mt3BackendWindow){
        .slot = slot,
        .n_frames = job->window->n_frames,
        .index = job->window->index,
        .samples = job->window->samples,
        .decoding = job->decoding,
    };
  }
  return n;
}

static gboolean
prefill (Mt3Scheduler *self, guint n_windows, GError **error)
{
  Mt3Backend *backend = self->backend;
  guint64 host = 0, device = 0;
  gint64 start, end;
  gboolean ok;

  g_mutex_unlock (&self->lock);
  start = g_get_monotonic_time ();
  ok = backend->prefill (backend, self->batch, n_windows, error);
  end = g_get_monotonic_time ();
  if (ok)
    backend->memory (backend, &host, &device);
  g_mutex_lock (&self->lock);
  if (!ok)
    return FALSE;
  self->stats.prefill_us += end - start;
  self->stats.host_bytes = host;
  self->stats.device_bytes = device;
  return TRUE;
}

static gboolean
refill (Mt3Scheduler *self, GError **error)
{
  guint left = self->n_running > 0 ? MAX_PREFILLS_WHILE_DECODING : G_MAXUINT;
  guint n;

  while (left-- > 0 && (n = admit (self)) > 0) {
    if (!prefill (self, n, error))
      return FALSE;
  }
  return TRUE;
}

static Mt3Transcript *
transcript_new (const Mt3Job *job, const Mt3BackendResult *result)
{
  const Mt3Window *window = job->window;
  Mt3Transcript *transcript = g_new0 (Mt3Transcript, 1);

  transcript->index = window->index;
  transcript->last = window->last;
  transcript->n_frames = window->n_frames;
  transcript->n_tokens = result->n_tokens;
  transcript->tokens =
      g_memdup2 (result->tokens, result->n_tokens * sizeof (guint16));
  transcript->log_probs =
      g_memdup2 (result->log_probs, result->n_tokens * sizeof (gfloat));
  transcript->ended = result->ended;
  transcript->allowed = mt3_token_set_ref (job->decoding.allowed);
  return transcript;
}

/* Copies the results of finished slots and frees the slots. Without the lock:
 * the jobs are running, so they are the thread's. Returns windows that were
 * computed again. */
static guint
collect (Mt3Scheduler *self, guint n_finished)
{
  Mt3Backend *backend = self->backend;
  guint n_reruns = 0;

  for (guint i = 0; i < n_finished; i++) {
    Mt3Job *job = self->slots[self->picked[i]];
    Mt3BackendResult result = {0};

    backend->result (backend, self->picked[i], &result);
    job->transcript = transcript_new (job, &result);
    n_reruns += result.rerun_exact ? 1 : 0;
    backend->release (backend, self->picked[i]);
  }
  return n_reruns;
}

static void
deliver (Mt3Scheduler *self, guint slot)
{
  Mt3Job *job = self->slots[slot];

  self->stats.windows++;
  self->stats.tokens += job->transcript->n_tokens;
  job->transcript->latency_us = g_get_monotonic_time () - job->pushed_us;
  job->state = MT3_JOB_DONE;
  drop_window (job);
  leave_slot (self, slot);
}

static gboolean
decode (Mt3Scheduler *self, GError **error)
{
  Mt3Backend *backend = self->backend;
  guint n_finished = 0, n_reruns = 0;
  gint64 start, end;
  gboolean ok;

  if (self->n_running == 0)
    return TRUE;
  g_mutex_unlock (&self->lock);
  start = g_get_monotonic_time ();
  ok = backend->decode (
      backend, backend->decode_steps, self->picked, &n_finished, error);
  end = g_get_monotonic_time ();
  if (ok)
    n_reruns = collect (self, n_finished);
  g_mutex_lock (&self->lock);
  if (!ok)
    return FALSE;
  self->stats.decode_us += end - start;
  self->stats.decode_steps += backend->decode_steps;
  self->stats.reruns += n_reruns;
  for (guint i = 0; i < n_finished; i++)
    deliver (self, self->picked[i]);
  return TRUE;
}

/* Backends come and go. */

static void
adopt (Mt3Scheduler *self, Mt3Backend *backend)
{
  Mt3EngineStats *stats = &self->stats;

  self->backend = backend;
  self->slots = g_new0 (Mt3Job *, backend->n_slots);
  self->batch = g_new0 (Mt3BackendWindow, backend->n_slots);
  self->picked = g_new0 (guint, backend->n_slots);
  /* Interned: who asked for stats keeps the strings for ever. */
  stats->device = g_intern_string (backend->name);
  stats->description = g_intern_string (backend->description);
  stats->precision = backend->precision;
  stats->n_slots = backend->n_slots;
  stats->max_beams = MAX (backend->max_beams, 1);
  backend->memory (backend, &stats->host_bytes, &stats->device_bytes);
}

static void
drop_backend (Mt3Scheduler *self)
{
  g_clear_pointer (&self->slots, g_free);
  g_clear_pointer (&self->batch, g_free);
  g_clear_pointer (&self->picked, g_free);
  if (self->backend != NULL)
    self->backend->close (self->backend);
  self->backend = NULL;
}

/* Every window in a slot waits again, before those that came after it. */
static void
requeue_running (Mt3Scheduler *self)
{
  for (guint slot = 0; slot < self->backend->n_slots; slot++) {
    if (self->slots[slot] == NULL)
      continue;
    self->slots[slot]->state = MT3_JOB_WAITING;
    leave_slot (self, slot);
  }
  for (GList *l = self->streams.head; l != NULL; l = l->next) {
    Mt3Stream *stream = l->data;

    find_next (stream, stream->jobs.head);
    set_ready (self, stream, stream->next != NULL);
  }
}

/* What the users hear when nothing could take over. Takes @error. */
static GError *
join_errors (GError *error, const GError *substitute_error)
{
  GError *joined = error;

  if (substitute_error != NULL) {
    joined = g_error_new (error->domain, error->code,
        "%s; and nothing could take over: %s", error->message,
        substitute_error->message);
    g_error_free (error);
  }
  return joined;
}

static void
die (Mt3Scheduler *self, GError *error)
{
  self->error = error;
  for (GList *l = self->streams.head; l != NULL; l = l->next) {
    Mt3Stream *stream = l->data;

    set_ready (self, stream, FALSE);
    g_cond_broadcast (&stream->changed);
  }
}

/* The backend failed: goes on with the substitute from the first unfinished
 * window of each stream, or tells all streams. Takes @error. */
static void
recover (Mt3Scheduler *self, GError *error)
{
  Mt3SubstituteFunc substitute = g_steal_pointer (&self->substitute);
  g_autoptr (GError) substitute_error = NULL;
  Mt3Backend *backend = NULL;

  requeue_running (self);
  g_mutex_unlock (&self->lock);
  drop_backend (self);
  if (substitute != NULL)
    backend = substitute (self->substitute_data, &substitute_error);
  g_mutex_lock (&self->lock);

  if (backend == NULL) {
    die (self, join_errors (error, substitute_error));
    return;
  }
  adopt (self, backend);
  self->stats.fallback = g_intern_string (error->message);
  g_error_free (error);
}

static gboolean
wait_for_work (Mt3Scheduler *self)
{
  while (!self->quit && self->ready.length == 0 && self->n_running == 0)
    g_cond_wait (&self->work, &self->lock);
  return !self->quit;
}

static gpointer
run (gpointer data)
{
  Mt3Scheduler *self = data;

  g_mutex_lock (&self->lock);
  while (wait_for_work (self)) {
    GError *error = NULL;

    release_cancelled (self);
    if (!refill (self, &error) || !decode (self, &error))
      recover (self, error);
  }
  g_mutex_unlock (&self->lock);
  return NULL;
}

Mt3Scheduler *
mt3_scheduler_new (Mt3Backend *backend, const Mt3Config *config, GError **error)
{
  Mt3Scheduler *self = g_new0 (Mt3Scheduler, 1);
  g_autoptr (GError) cause = NULL;

  self->config = *config;
  g_mutex_init (&self->lock);
  g_cond_init (&self->work);
  g_queue_init (&self->streams);
  g_queue_init (&self->ready);
  adopt (self, backend);
  self->thread = g_thread_try_new ("mt3-scheduler", run, self, &cause);
  if (self->thread != NULL)
    return self;
  g_set_error (error, MT3_ERROR, MT3_ERROR_MEMORY,
      "Cannot start a thread: %s; close other programs", cause->message);
  mt3_scheduler_free (self);
  return NULL;
}

void
mt3_scheduler_set_substitute (Mt3Scheduler *self, Mt3SubstituteFunc substitute,
    gpointer data, GDestroyNotify destroy)
{
  self->substitute = substitute;
  self->substitute_data = data;
  self->substitute_destroy = destroy;
}

void
mt3_scheduler_free (Mt3Scheduler *self)
{
  g_mutex_lock (&self->lock);
  self->quit = TRUE;
  g_cond_signal (&self->work);
  g_mutex_unlock (&self->lock);
  if (self->thread != NULL)
    g_thread_join (self->thread);

  drop_backend (self);
  if (self->substitute_destroy != NULL)
    self->substitute_destroy (self->substitute_data);
  g_clear_error (&self->error);
  g_cond_clear (&self->work);
  g_mutex_clear (&self->lock);
  g_free (self);
}
