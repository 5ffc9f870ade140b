/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The device's tables against the CPU engine's, which the golden tests check.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "engine/cuda/tables.h"
#include "kernels/cpu/log-mel.h"

static Mt3Config config;
static Mt3CudaTables *tables;
static Mt3LogMel *plan;

static void
setup (void)
{
  mt3_config_init_multitrack (&config);
  tables = mt3_cuda_tables_new (&config);
  plan = mt3_log_mel_new (config.sample_rate, config.hop_length,
      config.fft_length, config.n_mels, config.mel_low_hz, config.mel_high_hz);
}

static void
teardown (void)
{
  mt3_cuda_tables_free (tables);
  mt3_log_mel_free (plan);
}

START_TEST (test_window_is_the_cpus)
{
  for (guint i = 0; i < config.fft_length; i++)
    ck_assert_float_eq (tables->hann[i], plan->window[i]);
}
END_TEST

START_TEST (test_twiddles_are_the_cpus)
{
  for (guint i = 0; i < config.fft_length; i++) {
    ck_assert_float_eq_tol (tables->twiddle[2 * i], plan->roots[i].re, 1e-7);
    ck_assert_float_eq_tol (
        tables->twiddle[2 * i + 1], plan->roots[i].im, 1e-7);
  }
}
END_TEST

/* A filter's weights may be stored with zeros around them. */
static gfloat
cuda_weight (guint mel, guint bin)
{
  gint at = (gint) bin - tables->mel_start[mel];
  gint n = tables->mel_offset[mel + 1] - tables->mel_offset[mel];

  return at < 0 || at >= n ? 0.0f
                           : g_array_index (tables->mel_weight, gfloat,
                                 (guint) (tables->mel_offset[mel] + at));
}

static gfloat
cpu_weight (guint mel, guint bin)
{
  const Mt3MelFilter *filter = &plan->filters[mel];

  return bin < filter->start || bin >= filter->start + filter->n
             ? 0.0f
             : plan->weights[filter->weight + bin - filter->start];
}

START_TEST (test_mel_filters_are_the_cpus)
{
  for (guint mel = 0; mel < config.n_mels; mel++)
    for (guint bin = 0; bin <= config.fft_length / 2; bin++)
      ck_assert_float_eq_tol (
          cuda_weight (mel, bin), cpu_weight (mel, bin), 1e-6);
}
END_TEST

START_TEST (test_positions_turn_with_one_radian_a_step_first)
{
  const gfloat *row = tables->positions + 3 * config.d_model;

  ck_assert_float_eq_tol (row[0], sin (3.0), 1e-7);
  ck_assert_float_eq_tol (row[config.d_model / 2], cos (3.0), 1e-7);
  ck_assert_float_eq_tol (
      row[config.d_model / 2 - 1], sin (3.0 / 10000.0), 1e-7);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("cuda-tables");
  TCase *tests = tcase_create ("tables");
  SRunner *runner = srunner_create (suite);
  int failed;

  tcase_add_checked_fixture (tests, setup, teardown);
  tcase_add_test (tests, test_window_is_the_cpus);
  tcase_add_test (tests, test_twiddles_are_the_cpus);
  tcase_add_test (tests, test_mel_filters_are_the_cpus);
  tcase_add_test (tests, test_positions_turn_with_one_radian_a_step_first);
  suite_add_tcase (suite, tests);
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
