/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "windows/window.h"

#include <check.h>
#include <stdlib.h>

#define SAMPLES 64

START_TEST (test_a_windows_memory_is_the_next_ones)
{
  g_autoptr (Mt3WindowPool) pool = mt3_window_pool_new (SAMPLES, 4);
  Mt3Window *first = mt3_window_new (SAMPLES, pool);
  gconstpointer memory = first;
  Mt3Window *second;

  mt3_window_free (first);
  ck_assert_uint_eq (mt3_window_pool_n_kept (pool), 1);
  second = mt3_window_new (SAMPLES, pool);
  ck_assert_ptr_eq (second, memory);
  ck_assert_uint_eq (mt3_window_pool_n_kept (pool), 0);
  mt3_window_free (second);
}
END_TEST

START_TEST (test_a_new_window_knows_nothing_of_the_last)
{
  g_autoptr (Mt3WindowPool) pool = mt3_window_pool_new (SAMPLES, 4);
  Mt3Window *window = mt3_window_new (SAMPLES, pool);

  window->index = 7;
  window->n_frames = 8;
  window->last = TRUE;
  window->n_replaced = 9;
  window->peak = 1.0f;
  mt3_window_free (window);
  window = mt3_window_new (SAMPLES, pool);
  ck_assert_uint_eq (window->index, 0);
  ck_assert_uint_eq (window->n_frames, 0);
  ck_assert (!window->last);
  ck_assert_uint_eq (window->n_replaced, 0);
  ck_assert (window->peak == 0.0f);
  mt3_window_free (window);
}
END_TEST

START_TEST (test_no_more_than_the_most_are_kept)
{
  g_autoptr (Mt3WindowPool) pool = mt3_window_pool_new (SAMPLES, 2);
  Mt3Window *windows[3];

  for (guint i = 0; i < G_N_ELEMENTS (windows); i++)
    windows[i] = mt3_window_new (SAMPLES, pool);
  for (guint i = 0; i < G_N_ELEMENTS (windows); i++)
    mt3_window_free (windows[i]);
  ck_assert_uint_eq (mt3_window_pool_n_kept (pool), 2);
}
END_TEST

/* What memory checkers see: nothing is lost, nothing freed too soon. */
START_TEST (test_a_window_may_outlive_who_made_its_pool)
{
  Mt3WindowPool *pool = mt3_window_pool_new (SAMPLES, 2);
  Mt3Window *window = mt3_window_new (SAMPLES, pool);

  mt3_window_pool_unref (pool);
  for (guint i = 0; i < SAMPLES; i++)
    window->samples[i] = 1.0f;
  ck_assert_uint_eq (mt3_window_pool_n_kept (window->pool), 0);
  mt3_window_free (window);
}
END_TEST

START_TEST (test_a_window_needs_no_pool)
{
  Mt3Window *window = mt3_window_new (SAMPLES, NULL);

  ck_assert_ptr_null (window->pool);
  mt3_window_free (window);
  mt3_window_free (NULL);
}
END_TEST

static gpointer
take_and_free (gpointer pool)
{
  for (guint i = 0; i < 1000; i++) {
    Mt3Window *window = mt3_window_new (SAMPLES, pool);

    window->samples[i % SAMPLES] = (gfloat) i;
    mt3_window_free (window);
  }
  return NULL;
}

START_TEST (test_threads_share_a_pool)
{
  g_autoptr (Mt3WindowPool) pool = mt3_window_pool_new (SAMPLES, 2);
  GThread *threads[4];

  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    threads[i] = g_thread_new ("windows", take_and_free, pool);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    g_thread_join (threads[i]);
  ck_assert_uint_ge (mt3_window_pool_n_kept (pool), 1);
  ck_assert_uint_le (mt3_window_pool_n_kept (pool), 2);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("window");
  TCase *tcase = tcase_create ("window");
  SRunner *runner = srunner_create (suite);

  tcase_add_test (tcase, test_a_windows_memory_is_the_next_ones);
  tcase_add_test (tcase, test_a_new_window_knows_nothing_of_the_last);
  tcase_add_test (tcase, test_no_more_than_the_most_are_kept);
  tcase_add_test (tcase, test_a_window_may_outlive_who_made_its_pool);
  tcase_add_test (tcase, test_a_window_needs_no_pool);
  tcase_add_test (tcase, test_threads_share_a_pool);
  suite_add_tcase (suite, tcase);
  srunner_run_all (runner, CK_ENV);
  int n_failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
