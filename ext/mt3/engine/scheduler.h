/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * scheduler.h: one thread that drives a backend for all streams of an engine.
 * Private to engine.c, stream.c and scheduler.c.
 *
 * The thread goes round and round: free the slots of flushed windows; refill
 * free slots, streams taking turns; decode a few steps; hand out what
 * finished. It sleeps when nothing waits and nothing runs.
 *
 * Locks: Mt3Scheduler.lock is the engine's only lock. It guards every field
 * below its declaration, all streams and all jobs; it is never held during a
 * call of the backend. The fields above belong to the scheduler's thread, and
 * so do the window and transcript of a running job.
 */
#pragma once

#include "engine/engine.h"

G_BEGIN_DECLS

typedef enum {
  MT3_JOB_WAITING,
  MT3_JOB_RUNNING, /* in a slot, or about to be */
  MT3_JOB_DONE,
} Mt3JobState;

/**
 * Mt3Job: one window on its way through the engine.
 * @link: its place in its stream's jobs
 * @window: kept until there is a result, so that another backend can begin
 *   again when this one fails; NULL then
 * @decoding: a copy of its own, max_tokens resolved; beam_size when its turn
 *   comes
 * @cancelled: flushed while running: out of its stream's jobs, freed by the
 *   scheduler
 */
typedef struct {
  GList link;
  Mt3Stream *stream;
  Mt3JobState state;
  gboolean cancelled;
  Mt3Window *window;
  Mt3Decoding decoding;
  gint64 pushed_us;
  Mt3Transcript *transcript;
} Mt3Job;

typedef struct _Mt3Scheduler Mt3Scheduler;

/* Opens the backend that takes over when the first fails. Runs on the
 * scheduler's thread. */
typedef Mt3Backend *(*Mt3SubstituteFunc) (gpointer data, GError **error);

struct _Mt3Scheduler {
  Mt3Config config; /* constant */
  GThread *thread;

  Mt3Backend *backend; /* NULL after a failure that nothing replaced */
  Mt3Job **slots; /* running jobs by slot, NULL where free */
  Mt3BackendWindow *batch; /* scratch: one prefill */
  guint *picked; /* scratch: slot numbers */
  Mt3SubstituteFunc substitute;
  gpointer substitute_data;
  GDestroyNotify substitute_destroy;

  GMutex lock;
  GCond work; /* the thread sleeps on it */
  gboolean quit;
  GError *error; /* set: the engine is dead, for good */
  GQueue streams; /* all */
  guint n_windows; /* submitted and without a result: their samples are kept */
  GQueue ready; /* those with waiting jobs; the head has the next turn */
  guint n_running; /* slots in use */
  guint n_beams; /* of the windows in them, together */
  guint n_cancelled; /* of these, those that nobody waits for */
  Mt3EngineStats stats;
};

/**
 * Mt3Stream:
 * @shares_room: its @max_pending is what all streams may hold together
 * @jobs: windows pushed and not yet popped, in order
 * @next: link of the first waiting job in @jobs, or NULL
 * @n_running: its jobs in slots, cancelled ones too
 * @changed: push, pop and free sleep on it
 */
struct _Mt3Stream {
  Mt3Engine *engine;
  Mt3Scheduler *scheduler;
  guint max_pending;
  gboolean shares_room;
  GList link; /* in Mt3Scheduler.streams */
  GList ready_link; /* in Mt3Scheduler.ready while is_ready */
  gboolean is_ready;
  gboolean finished;
  gboolean flushing;
  Mt3Decoding decoding;
  GQueue jobs;
  GList *next;
  guint n_running;
  GCond changed;
};

/* Takes over @backend and starts the thread. NULL, with MT3_ERROR_MEMORY, when
 * there can be none. */
Mt3Scheduler *mt3_scheduler_new (
    Mt3Backend *backend, const Mt3Config *config, GError **error);

/* Without streams only. Ends the thread and closes the backend. */
void mt3_scheduler_free (Mt3Scheduler *scheduler);

/* What to go on with when the backend fails, once. Before the first stream. */
void mt3_scheduler_set_substitute (Mt3Scheduler *scheduler,
    Mt3SubstituteFunc substitute, gpointer data, GDestroyNotify destroy);

/* The rest: called with the lock held. */

void mt3_scheduler_add_stream (Mt3Scheduler *scheduler, Mt3Stream *stream);
void mt3_scheduler_remove_stream (Mt3Scheduler *scheduler, Mt3Stream *stream);

/* Appends a job to its stream. */
void mt3_scheduler_submit (Mt3Scheduler *scheduler, Mt3Job *job);

/* Frees all jobs of a stream; those in slots as soon as the thread can. */
void mt3_scheduler_cancel (Mt3Scheduler *scheduler, Mt3Stream *stream);

/* With its window, if it still has it. */
void mt3_job_free (Mt3Job *job);

G_END_DECLS
