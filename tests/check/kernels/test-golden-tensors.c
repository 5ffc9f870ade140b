/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The forward pass of the published model, tensor by tensor, against the
 * float32 reference: log-mel, encoder output and the logits of twelve decoder
 * steps for two windows, one of them short.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cpu/forward.h"
#include "engine/decoding.h"
#include "npz.h"

#define N_STEPS 12

static gchar *golden_file;
static Mt3Model *model;
static Mt3CpuForward *forward;

static gchar *
shared_file (const gchar *folder, const gchar *name)
{
  const gchar *shared = g_getenv ("MT3_SHARED");

  return g_build_filename (shared != NULL ? shared : "", folder, name, NULL);
}

static gboolean
open_golden (void)
{
  g_autofree gchar *path = shared_file ("mt3-checkpoint", NULL);

  golden_file = shared_file ("reference", "golden.npz");
  return g_file_test (golden_file, G_FILE_TEST_EXISTS) &&
         g_file_test (path, G_FILE_TEST_EXISTS);
}

/* @kernels: as mt3_cpu_kernels() names them */
static void
open_model (const gchar *kernels)
{
  g_autofree gchar *path = shared_file ("mt3-checkpoint", NULL);
  g_autoptr (GError) error = NULL;

  model = mt3_model_open (path, &error);
  g_assert_no_error (error);
  forward = mt3_cpu_forward_new (model, MT3_PRECISION_EXACT,
      mt3_cpu_kernels (kernels), mt3_pool_available_cpus (), 1, &error);
  g_assert_no_error (error);
}

static void
open_best (void)
{
  open_model (NULL);
}

/* The plain C that the CUDA kernels are held against, too. */
static void
open_scalar (void)
{
  open_model ("scalar");
}

static void
close_model (void)
{
  mt3_cpu_forward_free (forward);
  mt3_model_unref (model);
}

/* Array @name of window @i, which begins at @i times @per_window elements. */
static void
check_rows (const Mt3Rows *rows, gsize width, const gchar *name, guint i,
    gdouble tolerance)
{
  gsize n, n_rows = forward->config.window_frames;
  g_autofree gfloat *golden = npz_read (golden_file, name, &n);

  for (gsize row = 0; row < n_rows; row++)
    for (gsize column = 0; column < width; column++) {
      gfloat found = mt3_row (rows, row)[column];
      gfloat wanted = golden[(i * n_rows + row) * width + column];

      ck_assert_msg (fabs ((gdouble) found - wanted) <= tolerance,
          "%s of window %u, row %zu, column %zu: %g instead of %g", name, i,
          row, column, found, wanted);
    }
}

/* A recording is padded to whole frames, and one more when it already is:
 * window 1 ends its recording. */
static void
run_log_mel (guint i)
{
  g_autofree gchar *name = g_strdup_printf ("samples%u", i);
  const Mt3Config *config = &forward->config;
  gsize n;
  g_autofree gfloat *samples = npz_read (golden_file, name, &n);
  g_autofree gfloat *window =
      g_new0 (gfloat, mt3_config_window_samples (config));
  guint n_frames = MIN (n / config->hop_length + 1, config->window_frames);

  memcpy (window, samples, n * sizeof (gfloat));
  mt3_cpu_forward_log_mel (forward, window, n_frames);
}

START_TEST (test_log_mel)
{
  run_log_mel (_i);
  check_rows (&forward->normed, forward->config.n_mels, "logmel", _i, 3e-3);
}
END_TEST

START_TEST (test_encoder)
{
  run_log_mel (_i);
  mt3_cpu_forward_encode (forward);
  check_rows (&forward->normed, forward->config.d_model, "encoder", _i, 2e-4);
}
END_TEST

static guint
argmax (const gfloat *x, gsize n)
{
  guint largest = 0;

  for (gsize i = 1; i < n; i++)
    if (x[i] > x[largest])
      largest = i;
  return largest;
}

START_TEST (test_logits_along_the_greedy_tokens)
{
  g_autofree gchar *name = g_strdup_printf ("logits%u", _i);
  gsize n, width = forward->config.vocab_size;
  g_autofree gfloat *golden = npz_read (golden_file, name, &n);
  g_autofree guint8 *cross = g_malloc0 (mt3_cpu_forward_cross_bytes (forward));
  g_autofree guint8 *self = g_malloc0 (mt3_cpu_forward_self_bytes (forward));
  Mt3CpuDecoderRow row = {MT3_TOKEN_START, 0, self, cross};

  run_log_mel (_i);
  mt3_cpu_forward_encode (forward);
  mt3_cpu_forward_cross (forward, cross);
  for (guint step = 0; step < N_STEPS; step++) {
    const gfloat *wanted = golden + step * width;

    mt3_cpu_forward_step (forward, &row, 1);
    for (gsize i = 0; i < width; i++)
      ck_assert_msg (
          fabs ((gdouble) forward->logits.data[i] - wanted[i]) <= 5e-4,
          "logits%d, step %u, token %zu: %g instead of %g", _i, step, i,
          forward->logits.data[i], wanted[i]);
    row.token = argmax (wanted, width);
    row.position++;
  }
}
END_TEST

static TCase *
new_tcase (const gchar *name, void (*open) (void))
{
  TCase *tcase = tcase_create (name);

  tcase_add_unchecked_fixture (tcase, open, close_model);
  tcase_add_loop_test (tcase, test_log_mel, 0, 2);
  tcase_add_loop_test (tcase, test_encoder, 0, 2);
  tcase_add_loop_test (tcase, test_logits_along_the_greedy_tokens, 0, 2);
  return tcase;
}

int
main (void)
{
  Suite *suite = suite_create ("golden-tensors");
  SRunner *runner;
  int n_failed;

  if (!open_golden ()) {
    g_print ("skipped: no reference/golden.npz and mt3-checkpoint in "
             "$MT3_SHARED\n");
    return 77;
  }
  suite_add_tcase (suite, new_tcase ("best", open_best));
  suite_add_tcase (suite, new_tcase ("scalar", open_scalar));

  runner = srunner_create (suite);
  /* The model is opened once; a fork for each test would have no threads. */
  srunner_set_fork_status (runner, CK_NOFORK);
  srunner_run_all (runner, CK_ENV);
  n_failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  g_free (golden_file);
  return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
