/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * pool.h: a loop whose iterations run on several threads.
 *
 * The thread that owns a pool works too. Workers spin for a moment when they
 * run dry, because the next loop of a forward pass is microseconds away, and
 * then sleep; iterations are claimed one by one, so a thread that the system
 * holds back delays only the iteration it is in.
 */
#pragma once

#include <stddef.h>

typedef struct _Mt3Pool Mt3Pool;

/* One iteration; @thread (0 .. n_threads - 1) picks its scratch memory. */
typedef void (*Mt3PoolFunc) (void *data, size_t i, size_t thread);

/* NULL when memory or threads do not suffice. */
Mt3Pool *mt3_pool_new (size_t n_threads);
void mt3_pool_free (Mt3Pool *pool);

size_t mt3_pool_n_threads (const Mt3Pool *pool);

/* Runs function (data, i, thread) for i = 0 .. n - 1 in any order and returns
 * when all are done. One caller at a time. n < 2^32. */
void mt3_pool_run (Mt3Pool *pool, Mt3PoolFunc function, void *data, size_t n);

/* CPUs that this process may run on, at least 1. */
size_t mt3_pool_available_cpus (void);
