/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/scheduler.h"

#include "engine/engine-private.h"

/* Windows under way per slot when the caller names no number: one set decodes,
 * one waits to refill it, and the rest is done but waits for a slow window
 * before it. */
#define PENDING_PER_SLOT 4

/* Windows that a stream may always have under way, so that it goes on. */
#define PENDING_ALWAYS 4

Mt3Stream *
mt3_stream_new (
    Mt3Engine *engine, const Mt3Decoding *decoding, guint max_pending)
{
  Mt3Stream *self = g_new0 (Mt3Stream, 1);
  Mt3Scheduler *scheduler = mt3_engine_scheduler (engine);

  self->engine = mt3_engine_ref (engine);
  self->scheduler = scheduler;
  self->decoding = mt3_decoding_copy (decoding);
  g_queue_init (&self->jobs);
  g_cond_init (&self->changed);

  g_mutex_lock (&scheduler->lock);
  self->shares_room = max_pending == 0;
  self->max_pending = max_pending > 0
                          ? max_pending
                          : PENDING_PER_SLOT * scheduler->stats.n_slots;
  mt3_scheduler_add_stream (scheduler, self);
  g_mutex_unlock (&scheduler->lock);
  return self;
}

void
mt3_stream_free (Mt3Stream *self)
{
  Mt3Scheduler *scheduler;

  if (self == NULL)
    return;
  scheduler = self->scheduler;
  g_mutex_lock (&scheduler->lock);
  mt3_scheduler_cancel (scheduler, self);
  while (self->n_running > 0)
    g_cond_wait (&self->changed, &scheduler->lock);
  mt3_scheduler_remove_stream (scheduler, self);
  g_mutex_unlock (&scheduler->lock);

  mt3_engine_unref (self->engine);
  mt3_decoding_clear (&self->decoding);
  g_cond_clear (&self->changed);
  g_free (self);
}

static Mt3Job *
job_new (Mt3Stream *stream, Mt3Window *window)
{
  const guint limit = stream->scheduler->config.max_tokens;
  Mt3Job *job = g_new0 (Mt3Job, 1);

  job->stream = stream;
  job->window = window;
  job->decoding = mt3_decoding_copy (&stream->decoding);
  if (job->decoding.max_tokens == 0 || job->decoding.max_tokens > limit)
    job->decoding.max_tokens = limit;
  job->pushed_us = g_get_monotonic_time ();
  return job;
}

static Mt3Flow
return_error (Mt3Stream *self, GError **error)
{
  g_propagate_error (error, g_error_copy (self->scheduler->error));
  return MT3_FLOW_ERROR;
}

static void
append_waiting (Mt3Stream *self, Mt3Job *job)
{
  mt3_scheduler_submit (self->scheduler, job);
}

/* Makes a new job one that is done, which the scheduler never sees. */
static void
append_skipped (Mt3Stream *self, Mt3Job *job)
{
  Mt3Transcript *transcript = g_new0 (Mt3Transcript, 1);

  transcript->index = job->window->index;
  transcript->last = job->window->last;
  transcript->n_frames = job->window->n_frames;
  transcript->ended = TRUE;
  transcript->skipped = TRUE;
  g_clear_pointer (&job->window, mt3_window_free); /* was never submitted */
  job->transcript = transcript;
  job->state = MT3_JOB_DONE;
  job->link.data = job;
  g_queue_push_tail_link (&self->jobs, &job->link);
  g_cond_broadcast (&self->changed);
}

/* Who named no number shares the room with the others: a stream has its part of
 * it, and what they leave. What makes room for it, a window that is done or
 * popped, is one of its own: so it hears of that. */
static gboolean
has_room (const Mt3Stream *self)
{
  const Mt3Scheduler *scheduler = self->scheduler;
  const guint part = self->max_pending / scheduler->streams.length;

  return self->jobs.length < self->max_pending &&
         (!self->shares_room ||
             self->jobs.length < MAX (part, PENDING_ALWAYS) ||
             scheduler->n_windows < self->max_pending);
}

/* Takes @window and, once there is room, gives @append its job. */
static Mt3Flow
push (Mt3Stream *self, Mt3Window *window,
    void (*append) (Mt3Stream *stream, Mt3Job *job), GError **error)
{
  Mt3Scheduler *scheduler = self->scheduler;
  Mt3Flow flow = MT3_FLOW_OK;

  g_mutex_lock (&scheduler->lock);
  while (!self->flushing && scheduler->error == NULL && !has_room (self))
    g_cond_wait (&self->changed, &scheduler->lock);

  if (self->flushing)
    flow = MT3_FLOW_FLUSHING;
  else if (scheduler->error != NULL)
    flow = return_error (self, error);
  else
    append (self, job_new (self, g_steal_pointer (&window)));
  g_mutex_unlock (&scheduler->lock);
  mt3_window_free (window);
  return flow;
}

Mt3Flow
mt3_stream_push (Mt3Stream *self, Mt3Window *window, GError **error)
{
  return push (self, window, append_waiting, error);
}

Mt3Flow
mt3_stream_skip (Mt3Stream *self, Mt3Window *window, GError **error)
{
  return push (self, window, append_skipped, error);
}

void
mt3_stream_finish (Mt3Stream *self)
{
  g_mutex_lock (&self->scheduler->lock);
  self->finished = TRUE;
  g_cond_broadcast (&self->changed);
  g_mutex_unlock (&self->scheduler->lock);
}

/* The oldest window's job, if it is done. */
static Mt3Job *
peek_done (Mt3Stream *self)
{
  Mt3Job *job = g_queue_peek_head (&self->jobs);

  return job != NULL && job->state == MT3_JOB_DONE ? job : NULL;
}

static gboolean
at_end (Mt3Stream *self)
{
  return self->finished && self->jobs.length == 0;
}

Mt3Flow
mt3_stream_pop (Mt3Stream *self, Mt3Transcript **transcript, GError **error)
{
  Mt3Scheduler *scheduler = self->scheduler;
  Mt3Flow flow = MT3_FLOW_OK;
  Mt3Job *job;

  *transcript = NULL;
  g_mutex_lock (&scheduler->lock);
  while (!self->flushing && scheduler->error == NULL &&
         peek_done (self) == NULL && !at_end (self))
    g_cond_wait (&self->changed, &scheduler->lock);

  if (self->flushing) {
    flow = MT3_FLOW_FLUSHING;
  } else if ((job = peek_done (self)) != NULL) {
    /* Before any error: what was done when the backend failed is good. */
    g_queue_unlink (&self->jobs, &job->link);
    *transcript = g_steal_pointer (&job->transcript);
    mt3_job_free (job);
    g_cond_broadcast (&self->changed);
  } else if (at_end (self)) {
    flow = MT3_FLOW_END;
  } else {
    flow = return_error (self, error);
  }
  g_mutex_unlock (&scheduler->lock);
  return flow;
}

void
mt3_stream_set_flushing (Mt3Stream *self, gboolean flushing)
{
  g_mutex_lock (&self->scheduler->lock);
  self->flushing = flushing;
  if (flushing)
    mt3_scheduler_cancel (self->scheduler, self);
  else
    self->finished = FALSE;
  g_cond_broadcast (&self->changed);
  g_mutex_unlock (&self->scheduler->lock);
}

void
mt3_stream_set_decoding (Mt3Stream *self, const Mt3Decoding *decoding)
{
  Mt3Decoding old;

  g_mutex_lock (&self->scheduler->lock);
  old = self->decoding;
  self->decoding = mt3_decoding_copy (decoding);
  g_mutex_unlock (&self->scheduler->lock);
  mt3_decoding_clear (&old);
}

guint
mt3_stream_n_pending (Mt3Stream *self)
{
  guint n;

  g_mutex_lock (&self->scheduler->lock);
  n = self->jobs.length;
  g_mutex_unlock (&self->scheduler->lock);
  return n;
}

void
mt3_transcript_free (Mt3Transcript *transcript)
{
  if (transcript == NULL)
    return;
  g_free (transcript->tokens);
  g_free (transcript->log_probs);
  mt3_token_set_unref (transcript->allowed);
  g_free (transcript);
}
