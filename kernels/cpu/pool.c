/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * pool.c: a thread pool for loops of microseconds.
 */
#define _GNU_SOURCE
#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#if defined(__x86_64__)
#define relax() __builtin_ia32_pause ()
#else
#define relax() atomic_signal_fence (memory_order_seq_cst)
#endif

/* About 50 us: longer than any gap between the loops of a forward pass. */
#define SPINS 1500

typedef struct {
  Mt3Pool *pool;
  size_t index;
  pthread_t thread;
} Worker;

/**
 * @ticket: generation of the loop in the high half, iterations not yet
 *   claimed in the low half. A worker that is late sees either zero
 *   iterations or another generation, so it can never claim an iteration with
 *   the function of another loop, however stale its reads.
 */
struct _Mt3Pool {
  _Atomic uint64_t ticket;
  _Atomic (Mt3PoolFunc) function;
  _Atomic (void *) data;
  _Atomic size_t n;
  _Atomic size_t n_done;
  atomic_bool stop;

  pthread_mutex_t mutex;
  pthread_cond_t wake;
  size_t n_sleeping; /* under the mutex */

  size_t n_threads;
  size_t n_started;
  Worker *workers;
};

/* Runs one iteration of the current loop; false when none is left. */
static bool
run_one (Mt3Pool *pool, size_t thread)
{
  uint64_t ticket = atomic_load (&pool->ticket);

  while ((uint32_t) ticket != 0) {
    Mt3PoolFunc function = atomic_load (&pool->function);
    void *data = atomic_load (&pool->data);
    size_t n = atomic_load (&pool->n);

    if (atomic_compare_exchange_weak (&pool->ticket, &ticket, ticket - 1)) {
      function (data, n - (uint32_t) ticket, thread);
      atomic_fetch_add (&pool->n_done, 1);
      return true;
    }
  }
  return false;
}

static bool
has_work (Mt3Pool *pool)
{
  return (uint32_t) atomic_load (&pool->ticket) != 0 ||
         atomic_load (&pool->stop);
}

static void
sleep_until_work (Mt3Pool *pool)
{
  pthread_mutex_lock (&pool->mutex);
  pool->n_sleeping++;
  while (!has_work (pool))
    pthread_cond_wait (&pool->wake, &pool->mutex);
  pool->n_sleeping--;
  pthread_mutex_unlock (&pool->mutex);
}

static void *
worker_main (void *data)
{
  Worker *worker = data;
  Mt3Pool *pool = worker->pool;

  while (!atomic_load (&pool->stop)) {
    size_t spins = 0;

    while (run_one (pool, worker->index))
      ;
    while (!has_work (pool) && spins++ < SPINS)
      relax ();
    if (!has_work (pool))
      sleep_until_work (pool);
  }
  return NULL;
}

Mt3Pool *
mt3_pool_new (size_t n_threads)
{
  Mt3Pool *pool = calloc (1, sizeof *pool);

  if (pool == NULL)
    return NULL;
  pool->n_threads = n_threads < 1 ? 1 : n_threads;
  pool->workers = calloc (pool->n_threads, sizeof *pool->workers);
  pthread_mutex_init (&pool->mutex, NULL);
  pthread_cond_init (&pool->wake, NULL);

  /* Thread 0 is the caller's. */
  for (size_t i = 1; pool->workers != NULL && i < pool->n_threads; i++) {
    Worker *worker = &pool->workers[i];

    worker->pool = pool;
    worker->index = i;
    if (pthread_create (&worker->thread, NULL, worker_main, worker) != 0)
      break;
    pool->n_started++;
  }
  if (pool->workers == NULL || pool->n_started + 1 < pool->n_threads) {
    mt3_pool_free (pool);
    return NULL;
  }
  return pool;
}

static void
wake_workers (Mt3Pool *pool)
{
  pthread_mutex_lock (&pool->mutex);
  if (pool->n_sleeping > 0)
    pthread_cond_broadcast (&pool->wake);
  pthread_mutex_unlock (&pool->mutex);
}

void
mt3_pool_free (Mt3Pool *pool)
{
  if (pool == NULL)
    return;
  atomic_store (&pool->stop, true);
  wake_workers (pool);
  for (size_t i = 1; i <= pool->n_started; i++)
    pthread_join (pool->workers[i].thread, NULL);
  pthread_cond_destroy (&pool->wake);
  pthread_mutex_destroy (&pool->mutex);
  free (pool->workers);
  free (pool);
}

size_t
mt3_pool_n_threads (const Mt3Pool *pool)
{
  return pool->n_threads;
}

void
mt3_pool_run (Mt3Pool *pool, Mt3PoolFunc function, void *data, size_t n)
{
  uint64_t generation = (atomic_load (&pool->ticket) >> 32) + 1;
  size_t spins = 0;

  if (n <= 1 || pool->n_threads == 1) {
    for (size_t i = 0; i < n; i++)
      function (data, i, 0);
    return;
  }
  atomic_store (&pool->function, function);
  atomic_store (&pool->data, data);
  atomic_store (&pool->n, n);
  atomic_store (&pool->n_done, 0);
  atomic_store (&pool->ticket, generation << 32 | (uint32_t) n);
  wake_workers (pool);

  while (run_one (pool, 0))
    ;
  /* What is left runs on other threads and is nearly done; when one of them
   * has lost its core, give it ours. */
  while (atomic_load (&pool->n_done) < n)
    if (spins++ < SPINS)
      relax ();
    else
      sched_yield ();
}

size_t
mt3_pool_available_cpus (void)
{
#ifdef __linux__
  cpu_set_t set;

  if (sched_getaffinity (0, sizeof set, &set) == 0 && CPU_COUNT (&set) > 0)
    return CPU_COUNT (&set);
#endif
  long online = sysconf (_SC_NPROCESSORS_ONLN);

  return online > 0 ? online : 1;
}
