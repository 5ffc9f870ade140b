/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The CPU backend on small random models of many shapes: the same tokens and
 * log-probabilities, to the last bit, from every instruction set, number of
 * threads and slots, and order of slots.
 */
#include <check.h>
#include <glib/gstdio.h>
#include <math.h>
#include <stdlib.h>

#include "engine/backend.h"
#include "error.h"
#include "kernels/cpu/cpu-kernels.h"
#include "random-model.h"

#define N_WINDOWS 5
#define MAX_TOKENS 40

/* Dimensions that fill panels, and that do not. */
typedef struct {
  guint d_model, n_heads, head_dim, d_ff, vocab, layers, frames, n_mels;
} Shape;

static const Shape shapes[] = {
    {64, 2, 32, 128, 1391, 2, 64, 64},
    {48, 3, 16, 80, 1400, 1, 40, 33},
    {40, 2, 20, 72, 1391, 2, 33, 20},
    {16, 1, 64, 16, 1391, 1, 96, 128},
};

static gchar *folder, *model_file;

/* The results of all windows, one after the other. */
typedef struct {
  GArray *tokens; /* guint16 */
  GArray *log_probs;
  guint n_tokens[N_WINDOWS];
  gboolean ended[N_WINDOWS];
} Outcome;

static Mt3Model *
make_model (Shape shape)
{
  g_autoptr (RandomModel) random = NULL;
  g_autoptr (GError) error = NULL;
  Mt3Config config;
  Mt3Model *model;

  mt3_config_init_multitrack (&config);
  config.d_model = shape.d_model;
  config.n_heads = shape.n_heads;
  config.head_dim = shape.head_dim;
  config.encoder_d_ff = config.decoder_d_ff = shape.d_ff;
  config.encoder_layers = config.decoder_layers = shape.layers;
  config.vocab_size = shape.vocab;
  config.window_frames = shape.frames;
  config.n_mels = shape.n_mels;
  random = random_model_new (&config, 1, FALSE);
  random_model_write (random, model_file, MT3_DTYPE_F32, &error);
  g_assert_no_error (error);
  model = mt3_model_open (model_file, &error);
  g_assert_no_error (error);
  return model;
}

/* Something different in each window; the last is short. */
static void
make_window (const Mt3Config *config, guint index, gfloat *samples,
    Mt3BackendWindow *window)
{
  gsize n = mt3_config_window_samples (config);

  for (gsize i = 0; i < n; i++)
    samples[i] = 0.3 * sin (0.01 * (1 + index) * i) * cos (1e-4 * index * i);
  window->n_frames = index + 1 == N_WINDOWS ? 5 : config->window_frames;
  for (gsize i = window->n_frames * config->hop_length; i < n; i++)
    samples[i] = 0.0f;
  window->index = index;
  window->samples = samples;
  window->decoding = (Mt3Decoding){MAX_TOKENS, 0.0f, 0, 1.0f, 0};
}

static void
prefill (Mt3Backend *backend, const Mt3Config *config, guint index, guint slot)
{
  g_autofree gfloat *samples =
      g_new (gfloat, mt3_config_window_samples (config));
  Mt3BackendWindow window = {.slot = slot};

  make_window (config, index, samples, &window);
  g_assert_true (backend->prefill (backend, &window, 1, NULL));
}

static void
keep_result (Mt3Backend *backend, guint slot, guint index, Outcome *outcome)
{
  Mt3BackendResult result;

  backend->result (backend, slot, &result);
  outcome->n_tokens[index] = result.n_tokens;
  outcome->ended[index] = result.ended;
  for (guint i = 0; i < result.n_tokens; i++) {
    g_array_index (outcome->tokens, guint16, index * MAX_TOKENS + i) =
        result.tokens[i];
    g_array_index (outcome->log_probs, gfloat, index * MAX_TOKENS + i) =
        result.log_probs[i];
  }
  backend->release (backend, slot);
}

/* Windows go into slots from the last to the first. */
static Outcome
run_backend (Mt3Backend *backend, const Mt3Config *config)
{
  g_autofree gint *window_of = g_new (gint, backend->n_slots);
  g_autofree guint *finished = g_new (guint, backend->n_slots);
  Outcome outcome = {g_array_new (FALSE, TRUE, sizeof (guint16)),
      g_array_new (FALSE, TRUE, sizeof (gfloat))};
  guint next = 0, n_done = 0, n_finished;

  g_array_set_size (outcome.tokens, N_WINDOWS * MAX_TOKENS);
  g_array_set_size (outcome.log_probs, N_WINDOWS * MAX_TOKENS);
  for (guint slot = 0; slot < backend->n_slots; slot++)
    window_of[slot] = -1;
  while (n_done < N_WINDOWS) {
    for (guint slot = backend->n_slots; slot-- > 0 && next < N_WINDOWS;)
      if (window_of[slot] < 0) {
        window_of[slot] = next;
        prefill (backend, config, next++, slot);
      }
    g_assert_true (backend->decode (backend, 3, finished, &n_finished, NULL));
    for (guint i = 0; i < n_finished; i++, n_done++) {
      keep_result (backend, finished[i], window_of[finished[i]], &outcome);
      window_of[finished[i]] = -1;
    }
  }
  return outcome;
}

static Outcome
run_model (Mt3Model *model, const gchar *isa, Mt3Precision precision,
    guint n_threads, guint n_slots)
{
  Mt3BackendOptions options = {precision, n_slots, n_threads, 0};
  g_autoptr (GError) error = NULL;
  Mt3Backend *backend;
  Outcome outcome;

  g_setenv ("GST_MT3_CPU", isa, TRUE);
  backend = mt3_cpu_backend_open (model, &options, &error);
  g_assert_no_error (error);
  outcome = run_backend (backend, mt3_model_config (model));
  backend->close (backend);
  return outcome;
}

static void
outcome_clear (Outcome *outcome)
{
  g_array_unref (outcome->tokens);
  g_array_unref (outcome->log_probs);
}

static void
check_equal (const Outcome *a, const Outcome *b)
{
  ck_assert_mem_eq (a->n_tokens, b->n_tokens, sizeof a->n_tokens);
  ck_assert_mem_eq (a->ended, b->ended, sizeof a->ended);
  ck_assert_mem_eq (a->tokens->data, b->tokens->data,
      N_WINDOWS * MAX_TOKENS * sizeof (guint16));
  ck_assert_mem_eq (a->log_probs->data, b->log_probs->data,
      N_WINDOWS * MAX_TOKENS * sizeof (gfloat));
}

static const struct {
  guint n_threads, n_slots;
} loads[] = {{1, 3}, {2, 1}, {2, 5}, {5, 4}};

static void
check_precision (Mt3Model *model, Mt3Precision precision)
{
  const gchar *const isas[] = {"scalar", "avx2", "avx512", "avx512bf16"};
  Outcome wanted = run_model (model, "scalar", precision, 1, 1);

  for (guint i = 0; i < G_N_ELEMENTS (isas); i++) {
    if (mt3_cpu_kernels (isas[i]) == NULL)
      continue;
    for (guint l = 0; l < G_N_ELEMENTS (loads); l++) {
      Outcome found = run_model (
          model, isas[i], precision, loads[l].n_threads, loads[l].n_slots);

      check_equal (&found, &wanted);
      outcome_clear (&found);
    }
  }
  outcome_clear (&wanted);
}

START_TEST (test_results_depend_on_the_window_alone)
{
  g_autoptr (Mt3Model) model = make_model (shapes[_i]);

  check_precision (model, MT3_PRECISION_EXACT);
  check_precision (model, MT3_PRECISION_FAST);
}
END_TEST

START_TEST (test_bf16_does_not_depend_on_the_batch)
{
  g_autoptr (Mt3Model) model = NULL;
  Outcome alone, together;

  if (mt3_cpu_kernels ("avx512bf16") == NULL) {
    g_print ("skipped: this CPU has no AVX-512 BF16\n");
    return;
  }
  model = make_model (shapes[_i]);
  alone = run_model (model, "avx512bf16", MT3_PRECISION_BF16, 1, 1);
  together = run_model (model, "avx512bf16", MT3_PRECISION_BF16, 2, 4);
  check_equal (&alone, &together);
  outcome_clear (&alone);
  outcome_clear (&together);
}
END_TEST

static void
check_refused (Mt3Precision precision, const gchar *isa, const gchar *word)
{
  Mt3BackendOptions options = {precision, 1, 1, 0};
  g_autoptr (Mt3Model) model = make_model (shapes[0]);
  g_autoptr (GError) error = NULL;

  g_setenv ("GST_MT3_CPU", isa, TRUE);
  ck_assert_ptr_null (mt3_cpu_backend_open (model, &options, &error));
  g_assert_error (error, MT3_ERROR, MT3_ERROR_UNSUPPORTED);
  ck_assert_ptr_nonnull (strstr (error->message, word));
}

START_TEST (test_bf16_is_refused_without_the_instructions)
{
  check_refused (MT3_PRECISION_BF16, "scalar", "BF16");
}
END_TEST

START_TEST (test_an_unknown_instruction_set_is_refused)
{
  check_refused (MT3_PRECISION_EXACT, "altivec", "altivec");
}
END_TEST

START_TEST (test_memory_that_is_not_there_is_an_error)
{
  Mt3BackendOptions options = {MT3_PRECISION_EXACT, 1u << 30, 1, 0};
  g_autoptr (Mt3Model) model = make_model (shapes[0]);
  g_autoptr (GError) error = NULL;

  g_unsetenv ("GST_MT3_CPU");
  ck_assert_ptr_null (mt3_cpu_backend_open (model, &options, &error));
  g_assert_error (error, MT3_ERROR, MT3_ERROR_MEMORY);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("backend");
  TCase *tcase = tcase_create ("backend");
  int n = G_N_ELEMENTS (shapes);
  SRunner *runner;
  int n_failed;

  folder = g_dir_make_tmp ("mt3-backend-XXXXXX", NULL);
  model_file = g_build_filename (folder, "model.safetensors", NULL);
  suite_add_tcase (suite, tcase);
  tcase_add_loop_test (tcase, test_results_depend_on_the_window_alone, 0, n);
  tcase_add_loop_test (tcase, test_bf16_does_not_depend_on_the_batch, 0, n);
  tcase_add_test (tcase, test_bf16_is_refused_without_the_instructions);
  tcase_add_test (tcase, test_an_unknown_instruction_set_is_refused);
  tcase_add_test (tcase, test_memory_that_is_not_there_is_an_error);

  runner = srunner_create (suite);
  srunner_run_all (runner, CK_ENV);
  n_failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  g_unlink (model_file);
  g_rmdir (folder);
  g_free (model_file);
  g_free (folder);
  return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
