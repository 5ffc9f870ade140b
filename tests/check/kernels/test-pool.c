/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The thread pool. Also the test for ThreadSanitizer.
 */
#include <check.h>
#include <glib.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "kernels/cpu/pool.h"

static const gsize thread_counts[] = {1, 2, 3, 8, 33};

typedef struct {
  gsize n_threads;
  atomic_uint runs[1000];
  atomic_uint strangers; /* calls with a thread number out of range */
} Count;

static void
count (void *data, size_t i, size_t thread)
{
  Count *counts = data;

  atomic_fetch_add (&counts->runs[i], 1);
  if (thread >= counts->n_threads)
    atomic_fetch_add (&counts->strangers, 1);
}

START_TEST (test_every_iteration_runs_once)
{
  const gsize lengths[] = {0, 1, 2, 7, 1000};
  Mt3Pool *pool = mt3_pool_new (thread_counts[_i]);

  ck_assert_uint_eq (mt3_pool_n_threads (pool), thread_counts[_i]);
  for (gsize l = 0; l < G_N_ELEMENTS (lengths); l++) {
    g_autofree Count *counts = g_new0 (Count, 1);

    counts->n_threads = thread_counts[_i];
    mt3_pool_run (pool, count, counts, lengths[l]);
    for (gsize i = 0; i < G_N_ELEMENTS (counts->runs); i++)
      ck_assert_uint_eq (counts->runs[i], i < lengths[l] ? 1 : 0);
    ck_assert_uint_eq (counts->strangers, 0);
  }
  mt3_pool_free (pool);
}
END_TEST

static void
add (void *data, size_t i, size_t thread)
{
  guint *sums = data;

  sums[i] += i; /* plain memory: loops must order it */
}

START_TEST (test_a_loop_sees_what_the_one_before_wrote)
{
  const guint n_loops = 5000, n = 5;
  Mt3Pool *pool = mt3_pool_new (thread_counts[_i]);
  guint sums[5] = {0};

  for (guint loop = 0; loop < n_loops; loop++)
    mt3_pool_run (pool, add, sums, n);
  for (guint i = 0; i < n; i++)
    ck_assert_uint_eq (sums[i], i * n_loops);
  mt3_pool_free (pool);
}
END_TEST

START_TEST (test_sleeping_workers_wake)
{
  g_autofree Count *counts = g_new0 (Count, 1);
  Mt3Pool *pool = mt3_pool_new (4);

  counts->n_threads = 4;
  for (guint loop = 0; loop < 5; loop++) {
    g_usleep (20000);
    mt3_pool_run (pool, count, counts, 1000);
  }
  for (gsize i = 0; i < 1000; i++)
    ck_assert_uint_eq (counts->runs[i], 5);
  mt3_pool_free (pool);
}
END_TEST

START_TEST (test_there_is_a_cpu)
{
  ck_assert_uint_ge (mt3_pool_available_cpus (), 1);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("pool");
  TCase *tcase = tcase_create ("pool");
  int n = G_N_ELEMENTS (thread_counts);
  SRunner *runner;
  int n_failed;

  suite_add_tcase (suite, tcase);
  tcase_add_loop_test (tcase, test_every_iteration_runs_once, 0, n);
  tcase_add_loop_test (tcase, test_a_loop_sees_what_the_one_before_wrote, 0, n);
  tcase_add_test (tcase, test_sleeping_workers_wake);
  tcase_add_test (tcase, test_there_is_a_cpu);

  runner = srunner_create (suite);
  srunner_run_all (runner, CK_ENV);
  n_failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
