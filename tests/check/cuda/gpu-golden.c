/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gpu-golden.c: the tensors of prefill, of steps in split form and of texts
 * that are verified against those of the oracle, stage by stage, so that the
 * first that differs names the kernel to look at. Runs on a machine with a GPU:
 * see tests/benchmarks/gpu.sh, which unpacks the golden file into
 * GOLDEN_DIR/<array>.f32.
 *
 * usage: gpu-golden MODEL GOLDEN_DIR
 */
#include "engine/cuda/lane.h"
#include "engine/cuda/prefill.h"
#include "engine/cuda/tables.h"
#include "engine/cuda/verifier.h"
#include "device-arrays.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define N_WINDOWS 2
#define N_STEPS 12

/* What float32 sums in another order differ by, see the oracle's README. */
#define TOLERANCE_LOG_MEL 3e-3
#define TOLERANCE_ENCODER 3e-4
#define TOLERANCE_LOGITS 1e-3

typedef struct {
  Mt3Model *model;
  const gchar *golden_dir;
  Mt3CudaWeights *weights;
  Mt3CudaSlots slots;
  Mt3CudaPrefill prefill;
  Mt3CudaLane lane;
  Mt3CudaVerifier verifier;
  gint tokens[N_WINDOWS][N_STEPS]; /* that go in */
  guint n_failed;
} Test;

static gfloat *
read_array (const Test *test, const gchar *name, gsize *n)
{
  g_autofree gchar *file = g_strconcat (name, ".f32", NULL);
  g_autofree gchar *path = g_build_filename (test->golden_dir, file, NULL);
  g_autoptr (GError) error = NULL;
  gchar *data = NULL;
  gsize bytes = 0;

  if (!g_file_get_contents (path, &data, &bytes, &error))
    g_error ("%s", error->message);
  *n = bytes / sizeof (gfloat);
  return (gfloat *) (gpointer) data;
}

static void
compare (Test *test, const gchar *what, const gfloat *got,
    const gfloat *expected, gsize n, gdouble tolerance)
{
  gdouble largest = 0.0;
  gsize at = 0;

  for (gsize i = 0; i < n; i++) {
    gdouble difference = fabs ((gdouble) got[i] - expected[i]);

    if (!(difference <= largest)) {
      largest = difference;
      at = i;
    }
  }
  printf ("%-12s largest difference %.2e at %" G_GSIZE_FORMAT
          " (%g, expected %g), tolerance %.0e: %s\n",
      what, largest, at, got[at], expected[at], tolerance,
      largest <= tolerance ? "ok" : "FAILED");
  test->n_failed += largest <= tolerance ? 0 : 1;
}

static void
prefill_windows (Test *test)
{
  const Mt3Config *config = &test->weights->config;
  const gsize window = mt3_config_window_samples (config);
  g_autoptr (GError) error = NULL;

  for (guint i = 0; i < N_WINDOWS; i++) {
    g_autofree gchar *name = g_strdup_printf ("samples%u", i);
    gsize n = 0;
    g_autofree gfloat *samples = read_array (test, name, &n);
    g_autofree gfloat *padded = g_new0 (gfloat, window);
    const Mt3BackendWindow one = {
        .slot = i,
        /* The last window gained one, see the windower. */
        .n_frames =
            MIN ((guint) (n / config->hop_length) + 1, config->window_frames),
        .samples = padded,
    };

    memcpy (padded, samples, MIN (n, window) * sizeof (gfloat));
    if (!mt3_cuda_prefill_add (&test->prefill, &one, &error))
      g_error ("%s", error->message);
  }
  check_cuda (cudaDeviceSynchronize ());
}

static void
check_log_mel (Test *test)
{
  gsize n = 0;
  g_autofree gfloat *expected = read_array (test, "logmel", &n);
  g_autofree gfloat *got = read_activations (test->prefill.mel, n);

  compare (test, "log-mel", got, expected, n, TOLERANCE_LOG_MEL);
}

/* The engine never stores the encoder's output after its last norm. */
static void
check_encoder (Test *test)
{
  const gsize d = test->weights->config.d_model;
  gsize n = 0;
  g_autofree gfloat *expected = read_array (test, "encoder", &n);
  g_autofree gfloat *x = g_new (gfloat, n);
  g_autofree gfloat *scale = g_new (gfloat, d);

  check_cuda (cudaMemcpy (
      x, test->prefill.x, n * sizeof (gfloat), cudaMemcpyDeviceToHost));
  mt3_tensor_read_block (
      mt3_model_tensor (test->model, "encoder/encoder_norm/scale"), 0, 1, 0, d,
      scale);
  for (gsize row = 0; row < n; row += d) {
    gdouble squares = 0.0;

    for (gsize i = 0; i < d; i++)
      squares += (gdouble) x[row + i] * x[row + i];
    for (gsize i = 0; i < d; i++)
      x[row + i] *= scale[i] / sqrt (squares / d + 1e-6);
  }
  compare (test, "encoder", x, expected, n, TOLERANCE_ENCODER);
}

/* Both windows' texts at once, in one batch. */
static void
check_verifier (Test *test)
{
  const gsize vocab = test->weights->config.vocab_size;
  g_autoptr (GError) error = NULL;

  for (guint window = 0; window < N_WINDOWS; window++) {
    Mt3CudaRow *rows = mt3_cuda_verifier_add (&test->verifier, window, N_STEPS);

    for (gint step = 0; step < N_STEPS; step++)
      rows[step] = (Mt3CudaRow){
          .slot = (gint) window,
          .position = step,
          .token = test->tokens[window][step],
          .remaining = 1,
      };
  }
  if (!mt3_cuda_verifier_start (&test->verifier, &error) ||
      !mt3_cuda_verifier_wait (&test->verifier, &error))
    g_error ("%s", error->message);
  for (guint window = 0; window < N_WINDOWS; window++) {
    const Mt3CudaText *text = &test->verifier.texts[window];
    g_autofree gchar *name = g_strdup_printf ("logits%u", window);
    g_autofree gchar *what = g_strdup_printf ("text %u", window);
    gsize n = 0;
    g_autofree gfloat *expected = read_array (test, name, &n);
    g_autofree gfloat *got = to_host (
        test->verifier.logits + text->first * vocab, n * sizeof (gfloat));

    compare (test, what, got, expected, n, TOLERANCE_LOGITS);
    for (guint i = 0; i + 1 < N_STEPS; i++)
      if (mt3_cuda_verifier_record (&test->verifier, text, i)->token !=
          test->tokens[window][i + 1])
        test->n_failed++;
  }
}

/* Both windows step by step along their greedy tokens. */
static void
check_logits (Test *test)
{
  const gsize vocab = test->weights->config.vocab_size;
  g_autofree gfloat *got = g_new (gfloat, N_STEPS * vocab);
  g_autoptr (GError) error = NULL;

  for (guint window = 0; window < N_WINDOWS; window++) {
    g_autofree gchar *name = g_strdup_printf ("logits%u", window);
    gint token = 0;
    gsize n = 0;
    g_autofree gfloat *expected = read_array (test, name, &n);

    for (gint step = 0; step < N_STEPS; step++) {
      test->tokens[window][step] = token;
      test->lane.host_rows[0] = (Mt3CudaRow){
          .slot = (gint) window,
          .position = step,
          .token = token,
          .remaining = 100,
      };
      if (!mt3_cuda_lane_start (&test->lane, 1, 1, &error) ||
          !mt3_cuda_lane_wait (&test->lane, &error))
        g_error ("%s", error->message);
      check_cuda (cudaMemcpy (got + step * vocab, test->lane.logits,
          vocab * sizeof (gfloat), cudaMemcpyDeviceToHost));
      token = mt3_cuda_lane_records (&test->lane, 0, 0)->token;
    }
    compare (test, name, got, expected, n, TOLERANCE_LOGITS);
  }
}

/* An engine of one kind, as far as the tensors that @check looks at. */
static void
with_engine (Test *test, Mt3CudaMethod method, void (*check) (Test *test))
{
  g_autoptr (GError) error = NULL;

  test->weights = mt3_cuda_weights_new (test->model, NULL, method, &error);
  if (test->weights == NULL ||
      !mt3_cuda_slots_init (
          &test->slots, test->weights, method, N_WINDOWS, &error) ||
      !mt3_cuda_prefill_init (&test->prefill, test->weights, &test->slots,
          N_WINDOWS, FALSE, &error))
    g_error ("%s", error->message);
  prefill_windows (test);
  check (test);
  mt3_cuda_prefill_clear (&test->prefill);
  mt3_cuda_memory_clear (&test->slots.memory);
  mt3_cuda_weights_free (test->weights);
  memset (&test->prefill, 0, sizeof test->prefill);
  memset (&test->slots, 0, sizeof test->slots);
}

static void
check_steps (Test *test)
{
  g_autoptr (GError) error = NULL;

  check_log_mel (test);
  check_encoder (test);
  if (!mt3_cuda_lane_init (
          &test->lane, test->weights, &test->slots, N_WINDOWS, FALSE, &error))
    g_error ("%s", error->message);
  check_logits (test);
  mt3_cuda_lane_clear (&test->lane);
}

static void
check_texts (Test *test)
{
  g_autoptr (GError) error = NULL;

  if (!mt3_cuda_verifier_init (
          &test->verifier, test->weights, &test->slots, FALSE, &error))
    g_error ("%s", error->message);
  check_verifier (test);
  mt3_cuda_verifier_clear (&test->verifier);
}

int
main (int argc, char **argv)
{
  Test test = {0};
  g_autoptr (GError) error = NULL;

  if (argc != 3)
    g_error ("usage: gpu-golden MODEL GOLDEN_DIR");
  test.golden_dir = argv[2];
  test.model = mt3_model_open (argv[1], &error);
  if (test.model == NULL)
    g_error ("%s", error->message);
  with_engine (&test, MT3_CUDA_STEPS_EXACTLY, check_steps);
  with_engine (&test, MT3_CUDA_VERIFIES, check_texts);
  mt3_model_unref (test.model);
  return test.n_failed == 0 ? 0 : 1;
}
