/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The front end against its definition: a discrete Fourier transform and the
 * triangles of the HTK mel scale, in double precision.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "kernels/cpu/log-mel.h"
#include "variants.h"

typedef struct {
  gsize fft_length, hop_length, n_mels, n_frames;
} Size;

static const Size sizes[] = {
    {8, 4, 1, 3},
    {16, 8, 2, 5},
    {32, 8, 4, 8},
    {64, 16, 7, 1},
    {512, 128, 40, 4},
    {2048, 128, 512, 3},
};

#define RATE 16000
#define LOW 20.0
#define HIGH 7600.0

static gdouble
mel (gdouble hz)
{
  return 1127.0 * log1p (hz / 700.0);
}

static gdouble
magnitude (
    Size size, const gfloat *samples, gsize n_samples, gsize frame, gsize bin)
{
  gdouble re = 0.0, im = 0.0;

  for (gsize i = 0; i < size.fft_length; i++) {
    gsize at = frame * size.hop_length + i;
    gdouble angle = 2.0 * M_PI * i / size.fft_length;
    gdouble x = at < n_samples ? samples[at] * (0.5 - 0.5 * cos (angle)) : 0.0;

    re += x * cos (angle * bin);
    im -= x * sin (angle * bin);
  }
  return hypot (re, im);
}

static gdouble
reference_mel (Size size, const gdouble *magnitudes, gsize m)
{
  gdouble step = (mel (HIGH) - mel (LOW)) / (size.n_mels + 1), sum = 0.0;
  gdouble low = mel (LOW) + m * step, centre = low + step,
          high = low + 2 * step;

  for (gsize bin = 1; bin <= size.fft_length / 2; bin++) {
    gdouble at = mel ((gdouble) bin * RATE / size.fft_length);
    gdouble height =
        fmin ((at - low) / (centre - low), (high - at) / (high - centre));

    sum += fmax (height, 0.0) * magnitudes[bin];
  }
  return log (sum > 0.0 ? sum : 1e-5);
}

/* @n_frames frames from the first, by @kernels. */
static gfloat *
run (const Mt3CpuKernels *kernels, Size size, const gfloat *samples,
    gsize n_samples)
{
  Mt3LogMel *plan = mt3_log_mel_new (
      RATE, size.hop_length, size.fft_length, size.n_mels, LOW, HIGH);
  gfloat *scratch = floats_new (mt3_log_mel_scratch (plan) / 4);
  gfloat *out = floats_new (size.n_frames * size.n_mels);

  kernels->log_mel (
      plan, samples, n_samples, 0, size.n_frames, out, size.n_mels, scratch);
  free (scratch);
  mt3_log_mel_free (plan);
  return out;
}

START_TEST (test_it_is_the_logarithm_of_mel_weighted_magnitudes)
{
  Size size = sizes[_i];
  gsize n_samples = size.n_frames * size.hop_length;
  gfloat *samples = floats_new (n_samples);
  g_autofree gdouble *magnitudes = g_new (gdouble, size.fft_length / 2 + 1);
  gfloat *out;

  fill_random (samples, n_samples, 1, 0.2);
  out = run (scalar_kernels (), size, samples, n_samples);
  for (gsize frame = 0; frame < size.n_frames; frame++) {
    for (gsize bin = 0; bin <= size.fft_length / 2; bin++)
      magnitudes[bin] = magnitude (size, samples, n_samples, frame, bin);
    for (gsize m = 0; m < size.n_mels; m++)
      ck_assert_double_eq_tol (out[frame * size.n_mels + m],
          reference_mel (size, magnitudes, m), 1e-4);
  }
  free (samples);
  free (out);
}
END_TEST

START_TEST (test_all_instruction_sets_agree_bit_for_bit)
{
  Size size = sizes[_i];
  gsize n_samples = size.n_frames * size.hop_length;
  gfloat *samples = floats_new (n_samples), *wanted;

  fill_random (samples, n_samples, 2, 0.2);
  wanted = run (scalar_kernels (), size, samples, n_samples);
  for (const Mt3CpuKernels *const *k = vector_kernels (); *k != NULL; k++) {
    gfloat *found = run (*k, size, samples, n_samples);

    check_same_bits (found, wanted, size.n_frames * size.n_mels, (*k)->name);
    free (found);
  }
  free (samples);
  free (wanted);
}
END_TEST

/* A loud frame beside it leaves no trace in the lanes of a silent one. */
START_TEST (test_silence_is_exactly_the_floor)
{
  Size size = {64, 64, 8, 4};
  gfloat *samples = floats_new (256), *out;

  fill_random (samples, 64, 3, 1.0);
  out = run (scalar_kernels (), size, samples, 256);
  for (gsize i = size.n_mels; i < 4 * size.n_mels; i++)
    ck_assert_float_eq (out[i], logf (1e-5f));
  free (samples);
  free (out);
}
END_TEST

START_TEST (test_zeros_follow_the_last_sample)
{
  Size size = {64, 16, 8, 4};
  gfloat *samples = floats_new (200), *cut, *padded;

  fill_random (samples, 64, 4, 1.0);
  cut = run (scalar_kernels (), size, samples, 64);
  padded = run (scalar_kernels (), size, samples, 200);
  check_same_bits (cut, padded, size.n_frames * size.n_mels, "padded");
  free (samples);
  free (cut);
  free (padded);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("log-mel");
  TCase *tcase = tcase_create ("log-mel");
  int n = G_N_ELEMENTS (sizes);
  SRunner *runner;
  int n_failed;

  suite_add_tcase (suite, tcase);
  tcase_add_loop_test (
      tcase, test_it_is_the_logarithm_of_mel_weighted_magnitudes, 0, n);
  tcase_add_loop_test (
      tcase, test_all_instruction_sets_agree_bit_for_bit, 0, n);
  tcase_add_test (tcase, test_silence_is_exactly_the_floor);
  tcase_add_test (tcase, test_zeros_follow_the_last_sample);

  runner = srunner_create (suite);
  srunner_run_all (runner, CK_ENV);
  n_failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
