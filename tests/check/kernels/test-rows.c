/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Norms and log-sum-exp over one row.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "variants.h"

static const gsize widths[] = {1, 2, 15, 16, 17, 80, 512, 1391, 1536};

static void
padded_row (gsize n, guint32 seed, gdouble scale, gfloat **row)
{
  *row = floats_new (mt3_round_up (n, 16));
  fill_random (*row, n, seed, scale);
}

START_TEST (test_rms_norm_divides_by_the_root_of_the_mean_square)
{
  gsize n = widths[_i];
  gdouble squares = 0.0;
  gfloat *x, *scale, *out = floats_new (mt3_round_up (n, 16));

  padded_row (n, 1, 3.0, &x);
  padded_row (n, 2, 1.0, &scale);
  for (gsize i = 0; i < n; i++)
    squares += (gdouble) x[i] * x[i];
  scalar_kernels ()->rms_norm (x, scale, n, out);
  for (gsize i = 0; i < n; i++)
    ck_assert_double_eq_tol (
        out[i], x[i] / sqrt (squares / n + 1e-6) * scale[i], 1e-5);
  for (gsize i = n; i < mt3_round_up (n, 16); i++)
    ck_assert_float_eq (out[i], 0.0f);
  free (x);
  free (scale);
  free (out);
}
END_TEST

START_TEST (test_rms_norm_of_silence_is_silence)
{
  gfloat *x = floats_new (64), *scale, *out = floats_new (64);

  padded_row (64, 2, 1.0, &scale);
  scalar_kernels ()->rms_norm (x, scale, 64, out);
  check_same_bits (x, out, 0, "silence");
  for (gsize i = 0; i < 64; i++)
    ck_assert_float_eq (out[i], 0.0f);
  free (x);
  free (scale);
  free (out);
}
END_TEST

START_TEST (test_log_sum_exp_is_the_logarithm_of_the_sum)
{
  gsize n = widths[_i], largest;
  gdouble sum = 0.0;
  gfloat *x;

  padded_row (n, 3, 5.0, &x);
  for (gsize i = 0; i < n; i++)
    sum += exp (x[i]);
  ck_assert_double_eq_tol (
      scalar_kernels ()->log_sum_exp (x, n, &largest), log (sum), 1e-5);
  for (gsize i = 0; i < n; i++)
    ck_assert_float_le (x[i], x[largest]);
  free (x);
}
END_TEST

START_TEST (test_the_first_of_equals_is_the_largest)
{
  const gsize places[] = {0, 3, 16, 1000, 1535};
  gfloat *x = floats_new (1536);
  gsize largest;

  for (gsize i = G_N_ELEMENTS (places); i-- > 0;) {
    x[places[i]] = 7.0f;
    scalar_kernels ()->log_sum_exp (x, 1536, &largest);
    ck_assert_uint_eq (largest, places[i]);
    for (const Mt3CpuKernels *const *k = vector_kernels (); *k != NULL; k++) {
      (*k)->log_sum_exp (x, 1536, &largest);
      ck_assert_uint_eq (largest, places[i]);
    }
  }
  free (x);
}
END_TEST

START_TEST (test_log_sum_exp_survives_huge_numbers)
{
  gfloat x[] = {-3e38f, 3e38f, 200.0f, -INFINITY};
  gsize largest;

  ck_assert_float_eq (
      scalar_kernels ()->log_sum_exp (x, G_N_ELEMENTS (x), &largest), 3e38f);
  ck_assert_uint_eq (largest, 1);
}
END_TEST

START_TEST (test_all_instruction_sets_agree_bit_for_bit)
{
  gsize n = widths[_i], padded = mt3_round_up (n, 16), largest, scalar_largest;
  gfloat *x, *scale, *wanted = floats_new (padded),
                     *found = floats_new (padded);
  gfloat sum;

  padded_row (n, 4, 20.0, &x);
  padded_row (n, 5, 1.0, &scale);
  scalar_kernels ()->rms_norm (x, scale, n, wanted);
  sum = scalar_kernels ()->log_sum_exp (x, n, &scalar_largest);
  for (const Mt3CpuKernels *const *k = vector_kernels (); *k != NULL; k++) {
    gfloat vector_sum = (*k)->log_sum_exp (x, n, &largest);

    (*k)->rms_norm (x, scale, n, found);
    check_same_bits (found, wanted, padded, (*k)->name);
    check_same_bits (&vector_sum, &sum, 1, (*k)->name);
    ck_assert_uint_eq (largest, scalar_largest);
  }
  free (x);
  free (scale);
  free (wanted);
  free (found);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("rows");
  TCase *tcase = tcase_create ("rows");
  int n = G_N_ELEMENTS (widths);
  SRunner *runner;
  int n_failed;

  suite_add_tcase (suite, tcase);
  tcase_add_loop_test (
      tcase, test_rms_norm_divides_by_the_root_of_the_mean_square, 0, n);
  tcase_add_test (tcase, test_rms_norm_of_silence_is_silence);
  tcase_add_loop_test (
      tcase, test_log_sum_exp_is_the_logarithm_of_the_sum, 0, n);
  tcase_add_test (tcase, test_the_first_of_equals_is_the_largest);
  tcase_add_test (tcase, test_log_sum_exp_survives_huge_numbers);
  tcase_add_loop_test (
      tcase, test_all_instruction_sets_agree_bit_for_bit, 0, n);

  runner = srunner_create (suite);
  srunner_run_all (runner, CK_ENV);
  n_failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
