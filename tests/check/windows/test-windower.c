/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "windows/windower.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>

#define HOP 128
#define FRAMES 256
#define WINDOW (HOP * FRAMES)

static const Mt3Config config = {.hop_length = HOP, .window_frames = FRAMES};

/* The n-th sample of the test signal: distinct, and exact as a float. */
static gfloat
signal_at (gsize n)
{
  return (gfloat) ((gint) (n % 2003) - 1001) / 1024.0f;
}

/* Pushes [from, from + n) of the signal in chunks of @chunk and appends the
 * windows that fill. */
static void
push_signal (
    Mt3Windower *windower, gsize from, gsize n, gsize chunk, GPtrArray *windows)
{
  g_autofree gfloat *samples = g_new (gfloat, chunk);
  gsize end = from + n;

  while (from < end) {
    gsize left = MIN (chunk, end - from);
    gsize done = 0;

    for (gsize i = 0; i < left; i++)
      samples[i] = signal_at (from + i);
    while (done < left) {
      Mt3Window *window;

      done += mt3_windower_push (windower, samples + done, left - done);
      if ((window = mt3_windower_take (windower)) != NULL)
        g_ptr_array_add (windows, window);
    }
    from += left;
  }
}

static GPtrArray *
cut_signal (gsize n, gsize chunk)
{
  g_autoptr (Mt3Windower) windower = mt3_windower_new (&config, NULL);
  GPtrArray *windows = g_ptr_array_new_with_free_func (g_free);
  Mt3Window *last;

  push_signal (windower, 0, n, chunk, windows);
  if ((last = mt3_windower_finish (windower)) != NULL)
    g_ptr_array_add (windows, last);
  return windows;
}

static const struct {
  gsize n_samples;
  guint n_windows;
  guint last_n_frames;
} lengths[] = {
    {0, 0, 0},
    {1, 1, 1},
    {127, 1, 1},
    {128, 1, 2}, /* a multiple of the hop gains a frame */
    {129, 1, 2},
    {32639, 1, 255},
    {32640, 1, 256},
    {32767, 1, 256},
    {32768, 2, 1}, /* a multiple of the window gains a window */
    {32769, 2, 1},
    {32896, 2, 2},
    {65535, 2, 256},
    {65536, 3, 1},
    {2880000, 88, 229},
};

START_TEST (test_a_length_gives_these_windows)
{
  g_autoptr (GPtrArray) windows =
      cut_signal (lengths[_i].n_samples, 1 + lengths[_i].n_samples);

  ck_assert_uint_eq (windows->len, lengths[_i].n_windows);
  for (guint i = 0; i < windows->len; i++) {
    const Mt3Window *window = g_ptr_array_index (windows, i);
    gboolean last = i + 1 == windows->len;

    ck_assert_uint_eq (window->index, i);
    ck_assert_int_eq (window->last, last);
    ck_assert_uint_eq (
        window->n_frames, last ? lengths[_i].last_n_frames : FRAMES);
  }
}
END_TEST

START_TEST (test_samples_follow_each_other_and_then_zeros)
{
  const gsize n = 3 * WINDOW + 1000;
  g_autoptr (GPtrArray) windows = cut_signal (n, 4096);

  for (gsize i = 0; i < windows->len * (gsize) WINDOW; i++) {
    const Mt3Window *window = g_ptr_array_index (windows, i / WINDOW);

    ck_assert (window->samples[i % WINDOW] == (i < n ? signal_at (i) : 0.0f));
  }
}
END_TEST

static const gsize chunks[] = {
    1, 7, 127, 128, 160, 1024, 32767, 32768, 32769, 100000};

START_TEST (test_chunking_does_not_matter)
{
  const gsize n = 2 * WINDOW + 777;
  g_autoptr (GPtrArray) whole = cut_signal (n, n);
  g_autoptr (GPtrArray) windows = cut_signal (n, chunks[_i]);

  ck_assert_uint_eq (windows->len, whole->len);
  for (guint i = 0; i < whole->len; i++)
    ck_assert_mem_eq (g_ptr_array_index (windows, i),
        g_ptr_array_index (whole, i),
        sizeof (Mt3Window) + WINDOW * sizeof (gfloat));
}
END_TEST

START_TEST (test_a_full_window_is_taken_once_before_more_fits)
{
  g_autoptr (Mt3Windower) windower = mt3_windower_new (&config, NULL);
  g_autofree Mt3Window *window = NULL;

  ck_assert_uint_eq (mt3_windower_push (windower, NULL, WINDOW + 5), WINDOW);
  ck_assert_uint_eq (mt3_windower_push (windower, NULL, 5), 0);
  window = mt3_windower_take (windower);
  ck_assert_ptr_nonnull (window);
  ck_assert_ptr_null (mt3_windower_take (windower));
  ck_assert_uint_eq (mt3_windower_push (windower, NULL, 5), 5);
}
END_TEST

static const gfloat bad_values[] = {NAN, -NAN, INFINITY, -INFINITY};

START_TEST (test_what_is_no_number_becomes_silence_and_counts)
{
  g_autoptr (Mt3Windower) windower = mt3_windower_new (&config, NULL);
  g_autofree Mt3Window *window = NULL;
  gfloat samples[] = {0.25f, bad_values[_i], -0.5f, bad_values[_i]};

  mt3_windower_push (windower, samples, G_N_ELEMENTS (samples));
  window = mt3_windower_finish (windower);
  ck_assert_uint_eq (window->n_replaced, 2);
  ck_assert (window->samples[0] == 0.25f && window->samples[1] == 0.0f);
  ck_assert (window->samples[2] == -0.5f && window->samples[3] == 0.0f);
  ck_assert (window->peak == 0.5f);
}
END_TEST

START_TEST (test_counts_and_peak_are_those_of_one_window)
{
  g_autoptr (Mt3Windower) windower = mt3_windower_new (&config, NULL);
  g_autofree Mt3Window *first = NULL;
  g_autofree Mt3Window *second = NULL;
  gfloat samples[] = {NAN, 1.5f};

  mt3_windower_push (windower, samples, 2);
  mt3_windower_push (windower, NULL, WINDOW - 2);
  first = mt3_windower_take (windower);
  second = mt3_windower_finish (windower);
  ck_assert_uint_eq (first->n_replaced, 1);
  ck_assert (first->peak == 1.5f);
  ck_assert_uint_eq (second->n_replaced, 0);
  ck_assert (second->peak == 0.0f);
}
END_TEST

START_TEST (test_null_is_silence)
{
  g_autoptr (Mt3Windower) windower = mt3_windower_new (&config, NULL);
  g_autofree Mt3Window *window = NULL;

  ck_assert_uint_eq (mt3_windower_push (windower, NULL, 300), 300);
  window = mt3_windower_finish (windower);
  ck_assert_uint_eq (window->n_frames, 3);
  ck_assert (window->peak == 0.0f);
  for (guint i = 0; i < WINDOW; i++)
    ck_assert (window->samples[i] == 0.0f);
}
END_TEST

START_TEST (test_finish_starts_over)
{
  g_autoptr (Mt3Windower) windower = mt3_windower_new (&config, NULL);
  g_autoptr (GPtrArray) windows = g_ptr_array_new_with_free_func (g_free);
  g_autofree Mt3Window *last = NULL;

  push_signal (windower, 0, WINDOW + 10, 500, windows);
  g_free (mt3_windower_finish (windower));
  ck_assert_uint_eq (mt3_windower_n_samples (windower), 0);
  ck_assert_ptr_null (mt3_windower_finish (windower));
  mt3_windower_push (windower, NULL, 1);
  last = mt3_windower_finish (windower);
  ck_assert_uint_eq (last->index, 0);
}
END_TEST

START_TEST (test_reset_drops_what_is_pending)
{
  g_autoptr (Mt3Windower) windower = mt3_windower_new (&config, NULL);
  g_autofree Mt3Window *last = NULL;
  const gfloat one = 1.0f;

  mt3_windower_push (windower, NULL, WINDOW);
  mt3_windower_reset (windower);
  ck_assert_ptr_null (mt3_windower_take (windower));
  mt3_windower_push (windower, &one, 1);
  mt3_windower_reset (windower);
  ck_assert_ptr_null (mt3_windower_finish (windower));
  mt3_windower_push (windower, NULL, 1);
  last = mt3_windower_finish (windower);
  ck_assert (last->peak == 0.0f);
}
END_TEST

START_TEST (test_samples_are_counted_over_windows)
{
  g_autoptr (Mt3Windower) windower = mt3_windower_new (&config, NULL);
  g_autoptr (GPtrArray) windows = g_ptr_array_new_with_free_func (g_free);

  push_signal (windower, 0, 3 * WINDOW + 42, 1000, windows);
  ck_assert_uint_eq (mt3_windower_n_samples (windower), 3 * WINDOW + 42);
}
END_TEST

START_TEST (test_windows_come_from_the_pool_and_go_back)
{
  g_autoptr (Mt3WindowPool) pool = mt3_window_pool_new (WINDOW, 4);
  g_autoptr (Mt3Windower) windower = mt3_windower_new (&config, pool);
  const gfloat loud = 1.0f;
  Mt3Window *window;

  for (guint i = 0; i < 2; i++) {
    mt3_windower_push (windower, &loud, 1);
    mt3_window_free (mt3_windower_finish (windower));
    ck_assert_uint_eq (mt3_window_pool_n_kept (pool), 1);
  }
  mt3_windower_push (windower, NULL, 1);
  window = mt3_windower_finish (windower);
  ck_assert_uint_eq (mt3_window_pool_n_kept (pool), 0);
  for (guint i = 0; i < WINDOW; i++)
    ck_assert (window->samples[i] == 0.0f);
  mt3_window_free (window);
  mt3_windower_push (windower, &loud, 1);
  mt3_windower_reset (windower);
  ck_assert_uint_eq (mt3_window_pool_n_kept (pool), 1);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("windower");
  TCase *tcase = tcase_create ("windower");
  SRunner *runner = srunner_create (suite);
  gint failed;

  suite_add_tcase (suite, tcase);
  tcase_add_loop_test (
      tcase, test_a_length_gives_these_windows, 0, G_N_ELEMENTS (lengths));
  tcase_add_test (tcase, test_samples_follow_each_other_and_then_zeros);
  tcase_add_loop_test (
      tcase, test_chunking_does_not_matter, 0, G_N_ELEMENTS (chunks));
  tcase_add_test (tcase, test_a_full_window_is_taken_once_before_more_fits);
  tcase_add_loop_test (tcase, test_what_is_no_number_becomes_silence_and_counts,
      0, G_N_ELEMENTS (bad_values));
  tcase_add_test (tcase, test_counts_and_peak_are_those_of_one_window);
  tcase_add_test (tcase, test_null_is_silence);
  tcase_add_test (tcase, test_finish_starts_over);
  tcase_add_test (tcase, test_reset_drops_what_is_pending);
  tcase_add_test (tcase, test_samples_are_counted_over_windows);
  tcase_add_test (tcase, test_windows_come_from_the_pool_and_go_back);
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
