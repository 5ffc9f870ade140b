/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The host side of the CUDA module, without a GPU: on a fake device whose
 * kernels make texts out of the samples themselves.
 */
#include <check.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cuda/cuda-backend.h"
#include "error.h"
#include "fake-device.h"
#include "vocabulary/event-order.h"
#include "random-model.h"

#define N_WINDOWS 260 /* enough for lanes of all sizes */
#define MAX_TOKENS 300 /* longer than all */
#define FEW_TOKENS 32 /* some are longer */

static gchar *folder, *model_file, *draft_file;
static Mt3Model *model;
static Mt3Draft *draft;
static Mt3TokenSet *even_tokens;

/* How windows are run.
 * @drafts: with a draft network */
typedef struct {
  guint n_slots;
  guint n_steps; /* a call; 0: the backend's wish */
  Mt3Precision precision;
  gboolean drafts;
} Way;

static const Way ways[] = {
    {1, 0, MT3_PRECISION_FAST},
    {1, 1, MT3_PRECISION_FAST},
    {1, 0, MT3_PRECISION_EXACT},
    {3, 3, MT3_PRECISION_EXACT},
    {20, 0, MT3_PRECISION_FAST},
    {40, 5, MT3_PRECISION_FAST},
    {40, 5, MT3_PRECISION_EXACT},
    {256, 0, MT3_PRECISION_EXACT},
    {1, 0, MT3_PRECISION_FAST, TRUE},
    {1, 3, MT3_PRECISION_EXACT, TRUE},
    {40, 0, MT3_PRECISION_FAST, TRUE},
    {40, 5, MT3_PRECISION_EXACT, TRUE},
    {256, 0, MT3_PRECISION_FAST, TRUE},
};

static void
setup (void)
{
  g_autoptr (RandomModel) random = NULL;
  g_autoptr (GError) error = NULL;
  Mt3Config config;

  fake_device_reset ();
  folder = g_dir_make_tmp ("mt3-host-XXXXXX", NULL);
  model_file = g_build_filename (folder, "model.safetensors", NULL);
  mt3_config_init_multitrack (&config);
  config.d_model = 64;
  config.n_heads = 1;
  config.encoder_d_ff = config.decoder_d_ff = 64;
  config.encoder_layers = config.decoder_layers = 1;
  config.window_frames = 128;
  config.n_mels = 32;
  config.max_tokens = MAX_TOKENS;
  config.ordered_events = TRUE;
  random = random_model_new (&config, 1, FALSE);
  random_model_write (random, model_file, MT3_DTYPE_F32, &error);
  g_assert_no_error (error);
  model = mt3_model_open (model_file, &error);
  g_assert_no_error (error);
  draft_file = g_build_filename (folder, "draft.safetensors", NULL);
  random_draft_write (model, draft_file, 2, &error);
  g_assert_no_error (error);
  draft = mt3_draft_open (draft_file, model, &error);
  g_assert_no_error (error);
  even_tokens = mt3_token_set_new (config.vocab_size);
  mt3_token_set_add (even_tokens, MT3_TOKEN_EOS);
  for (guint token = 4; token < config.vocab_size; token += 2)
    mt3_token_set_add (even_tokens, token);
}

static void
teardown (void)
{
  mt3_token_set_unref (even_tokens);
  mt3_draft_free (draft);
  mt3_model_unref (model);
  g_remove (draft_file);
  g_remove (model_file);
  g_rmdir (folder);
  g_free (draft_file);
  g_free (model_file);
  g_free (folder);
}

static Mt3Backend *
open_backend (const Way *way, GError **error)
{
  const Mt3BackendOptions options = {
      .precision = way->precision,
      .n_slots = way->n_slots,
      .draft = way->drafts ? draft : NULL,
  };

  return mt3_cuda_backend_open (model, &options, error);
}

static guint
count_frames (guint index)
{
  return mt3_model_config (model)->window_frames - index % 7;
}

/* Every ninth does not fit float16. */
static gboolean
is_loud (guint index)
{
  return index % 9 == 4;
}

static gboolean
is_constrained (guint index)
{
  return index % 5 == 2;
}

/* Of any text that the fake device makes, a lot does not keep it. */
static Mt3TokenOrder
order_of (guint index)
{
  return index % 4 == 1 ? mt3_event_order (mt3_model_config (model), NULL)
                        : (Mt3TokenOrder){0};
}

static guint
most_tokens (guint index)
{
  return index % 3 == 0 ? FEW_TOKENS : MAX_TOKENS;
}

static gfloat *
make_samples (guint index)
{
  gfloat *samples =
      g_new0 (gfloat, mt3_config_window_samples (mt3_model_config (model)));

  samples[0] = is_loud (index) ? 2.0f * FAKE_DEVICE_LOUDEST : 0.5f;
  samples[1] = (gfloat) index;
  return samples;
}

static Mt3BackendWindow
make_window (guint slot, guint index, const gfloat *samples)
{
  return (Mt3BackendWindow){
      .slot = slot,
      .n_frames = count_frames (index),
      .index = index,
      .samples = samples,
      .decoding = {.max_tokens = most_tokens (index),
          .top_p = 1.0f,
          .allowed = is_constrained (index) ? even_tokens : NULL,
          .order = order_of (index)},
  };
}

static gboolean
prefill (Mt3Backend *backend, guint slot, guint index, GError **error)
{
  g_autofree gfloat *samples = make_samples (index);
  const Mt3BackendWindow window = make_window (slot, index, samples);

  return backend->prefill (backend, &window, 1, error);
}

/* A text as the fake device makes it, with the order that it keeps. */
typedef struct {
  guint index;
  gboolean drafted;
  FakeText text;
  Mt3TokenState order;
} Expected;

static Expected
expect_text (guint index, gboolean drafted)
{
  const Mt3TokenOrder order = order_of (index);
  const gsize n =
      (gsize) count_frames (index) * mt3_model_config (model)->hop_length;
  g_autofree gfloat *samples = make_samples (index);
  Expected expected = {index, drafted, fake_text_start (samples, n),
      mt3_token_order_start (&order)};

  fake_text_feed (&expected.text, MT3_TOKEN_START);
  return expected;
}

/* The first token from the fake device's own on that the window may have; the
 * end where it may have none. */
static guint
expected_token (const Expected *expected)
{
  const Mt3Decoding decoding = {
      .allowed = is_constrained (expected->index) ? even_tokens : NULL,
      .order = order_of (expected->index),
  };
  const guint token = fake_text_token (&expected->text, expected->drafted);
  const guint vocab = mt3_model_config (model)->vocab_size;

  for (guint i = 0; i < vocab; i++)
    if (mt3_decoding_permits (&decoding, &expected->order, (token + i) % vocab))
      return (token + i) % vocab;
  return MT3_TOKEN_EOS;
}

static void
follow (Expected *expected, guint token)
{
  const Mt3TokenOrder order = order_of (expected->index);

  mt3_token_order_follow (&order, &expected->order, (gint) token);
  fake_text_feed (&expected->text, (guint16) token);
}

static void
check_result (Mt3Backend *backend, guint slot, guint index)
{
  Expected expected = expect_text (
      index, backend->precision == MT3_PRECISION_FAST && !is_loud (index));
  Mt3BackendResult result;

  backend->result (backend, slot, &result);
  ck_assert_int_eq (result.rerun_exact, is_loud (index));
  for (guint i = 0; i < result.n_tokens; i++) {
    ck_assert_uint_eq (result.tokens[i], expected_token (&expected));
    ck_assert_float_eq (result.log_probs[i],
        fake_text_log_prob (&expected.text, expected.drafted));
    follow (&expected, result.tokens[i]);
  }
  if (result.n_tokens < most_tokens (index))
    ck_assert_uint_eq (expected_token (&expected), MT3_TOKEN_EOS);
  ck_assert_int_eq (result.ended, result.n_tokens < most_tokens (index));
}

/* All windows through all slots; FALSE when a call of CUDA failed. */
static gboolean
run (Mt3Backend *backend, const Way *way, guint n_windows, GError **error)
{
  g_autofree gint *window_of = g_new (gint, way->n_slots);
  g_autofree guint *finished = g_new (guint, way->n_slots);
  guint next = 0, done = 0, n;

  for (guint i = 0; i < way->n_slots; i++)
    window_of[i] = -1;
  while (done < n_windows) {
    for (guint i = 0; i < way->n_slots && next < n_windows; i++) {
      if (window_of[i] >= 0)
        continue;
      if (!prefill (backend, i, next, error))
        return FALSE;
      window_of[i] = (gint) next++;
    }
    if (!backend->decode (backend,
            way->n_steps > 0 ? way->n_steps : backend->decode_steps, finished,
            &n, error))
      return FALSE;
    for (guint i = 0; i < n; i++) {
      check_result (backend, finished[i], (guint) window_of[finished[i]]);
      backend->release (backend, finished[i]);
      window_of[finished[i]] = -1;
    }
    done += n;
  }
  return TRUE;
}

START_TEST (test_every_window_has_its_own_text)
{
  g_autoptr (GError) error = NULL;
  const Way *way = &ways[_i % (int) G_N_ELEMENTS (ways)];
  Mt3Backend *backend = open_backend (way, &error);

  fake_device.restless = _i >= (int) G_N_ELEMENTS (ways);
  g_assert_no_error (error);
  ck_assert_uint_eq (backend->n_slots, way->n_slots);
  ck_assert (run (backend, way, N_WINDOWS, &error));
  backend->close (backend);
  ck_assert_uint_eq (fake_device.n_live, 0);
}
END_TEST

/* For tools that cannot look into them. */
START_TEST (test_texts_are_the_same_without_graphs)
{
  const Way *way = &ways[_i];
  Mt3Backend *backend;

  g_setenv ("GST_MT3_CUDA_GRAPHS", "0", TRUE);
  backend = open_backend (way, NULL);
  ck_assert (run (backend, way, N_WINDOWS, NULL));
  g_unsetenv ("GST_MT3_CUDA_GRAPHS");
  ck_assert_uint_eq (fake_device.n_graphs, 0);
  backend->close (backend);
  ck_assert_uint_eq (fake_device.n_live, 0);
}
END_TEST

static guint
text_length (guint index, gboolean drafted)
{
  Expected expected = expect_text (index, drafted);
  guint length = 0, token;

  while (length < most_tokens (index) &&
         (token = expected_token (&expected)) != MT3_TOKEN_EOS) {
    follow (&expected, token);
    length++;
  }
  return length;
}

START_TEST (test_a_window_alone_does_not_go_back_to_the_host_between_runs)
{
  Mt3Backend *backend = open_backend (&ways[0], NULL);
  const guint steps = backend->decode_steps;
  guint index = 0, uploads = 0, finished, n = 0;

  while (text_length (index, TRUE) < 2 * steps || is_loud (index))
    index++;
  ck_assert (prefill (backend, 0, index, NULL));
  for (guint call = 0; n == 0; call++) {
    ck_assert (backend->decode (backend, steps, &finished, &n, NULL));
    if (call == 0)
      uploads = fake_device.n_uploads;
  }
  ck_assert_uint_eq (fake_device.n_uploads, uploads);
  check_result (backend, 0, index);
  backend->close (backend);
}
END_TEST

/* The next window from @index on whose text, drafted in float16, has from
 * @least to @most tokens with its end. */
static guint
find_window (guint index, guint least, guint most)
{
  while (is_loud (index) || text_length (index, TRUE) + 1 < least ||
         text_length (index, TRUE) + 1 > most)
    index++;
  return index;
}

/* Windows of that length into slots [first, end). */
static void
prefill_slots (
    Mt3Backend *backend, guint first, guint end, guint least, guint most)
{
  guint index = 0;

  for (guint slot = first; slot < end; slot++, index++) {
    index = find_window (index, least, most);
    ck_assert (prefill (backend, slot, index, NULL));
  }
}

/* Two lanes begin their second runs, which end the texts of the first lane; a
 * third one begins later, and would be done with its texts sooner. */
START_TEST (test_the_lane_that_was_started_first_is_collected_first)
{
  const Way way = {96, 0, MT3_PRECISION_FAST};
  Mt3Backend *backend = open_backend (&way, NULL);
  const guint n_steps = backend->decode_steps;
  guint finished[96], n;

  fake_device.patience = 1;
  prefill_slots (backend, 0, 40, n_steps + 1, 2 * n_steps);
  for (guint i = 0; i < 2; i++) {
    ck_assert (backend->decode (backend, n_steps, finished, &n, NULL));
    ck_assert_uint_eq (n, 0);
  }
  prefill_slots (backend, 40, 72, 1, n_steps);
  ck_assert (backend->decode (backend, n_steps, finished, &n, NULL));
  ck_assert_uint_eq (n, 20);
  for (guint i = 0; i < n; i++)
    ck_assert_uint_lt (finished[i], 40);
  backend->close (backend);
}
END_TEST

/* As many as one call may have, from this slot on. */
static void
prefill_many (Mt3Backend *backend, guint slot)
{
  const guint n = backend->prefill_batch;
  g_autofree gfloat *samples = make_samples (1);
  g_autofree Mt3BackendWindow *windows = g_new (Mt3BackendWindow, n);

  for (guint i = 0; i < n; i++)
    windows[i] = make_window (slot + i, 1, samples);
  ck_assert (backend->prefill (backend, windows, n, NULL));
}

/* Those that wait for the first batch are a batch of their own. */
START_TEST (test_the_encoder_does_not_wait_for_lanes)
{
  const Way way = {96, 0, MT3_PRECISION_FAST};
  Mt3Backend *backend = open_backend (&way, NULL);
  const guint batch = backend->prefill_batch;
  guint finished[96], n;

  fake_device.patience = 1000;
  fake_device.n_to_encode = 0; /* without what opening encodes */
  prefill_many (backend, 0);
  prefill_slots (backend, batch, batch + 4, 1, 100);
  ck_assert_uint_le (fake_device.n_to_encode, batch);
  ck_assert (backend->decode (backend, 1, finished, &n, NULL));
  ck_assert_uint_eq (fake_device.n_to_encode, batch + 4);
  backend->close (backend);
}
END_TEST

START_TEST (test_a_whole_batch_of_the_encoder_is_one_graph)
{
  const Way way = {96, 0, MT3_PRECISION_FAST};
  Mt3Backend *backend = open_backend (&way, NULL);

  fake_device.n_to_encode = 0;
  prefill_many (backend, 0);
  ck_assert_uint_eq (fake_device.n_graphs, 1);
  ck_assert_uint_eq (fake_device.n_to_encode, backend->prefill_batch);
  backend->close (backend);
}
END_TEST

/* Found at the end alone, a mistake would cost what follows it. */
START_TEST (test_a_draft_in_doubt_is_put_right_at_once)
{
  const Way way = {1, 1, MT3_PRECISION_EXACT};
  Mt3Backend *backend = open_backend (&way, NULL);
  guint n_tokens = 0, finished, n;

  fake_device.patience = 1;
  for (guint index = 0; index < 100; index++) {
    const Expected expected = expect_text (index, FALSE);

    if (is_loud (index) || is_constrained (index) ||
        !fake_text_is_doubted (&expected.text))
      continue;
    ck_assert (prefill (backend, 0, index, NULL));
    for (n = 0; n == 0;)
      ck_assert (backend->decode (backend, 1, &finished, &n, NULL));
    check_result (backend, 0, index);
    n_tokens += text_length (index, FALSE) + 1;
    backend->release (backend, 0);
  }
  ck_assert_uint_lt (fake_device.n_drafted, n_tokens * 5 / 4);
  backend->close (backend);
}
END_TEST

/* How a slot is used again: as a flush does, in the middle of a run, before the
 * encoder has begun, and while its text is verified. */
static const Way releases[] = {
    {20, 0, MT3_PRECISION_FAST},
    {20, 0, MT3_PRECISION_EXACT},
    {3, 0, MT3_PRECISION_EXACT},
};

START_TEST (test_a_slot_is_free_as_soon_as_it_is_released)
{
  const Way *way = &releases[_i];
  Mt3Backend *backend = open_backend (way, NULL);
  guint finished[20], n;

  fake_device.restless = TRUE;
  for (guint round = 0; round < 20; round++) {
    for (guint i = 0; i < way->n_slots; i++)
      ck_assert (prefill (backend, i, 100 * round + i, NULL));
    for (guint call = 0; call < round; call++)
      ck_assert (backend->decode (backend, 1, finished, &n, NULL));
    for (guint i = 0; i < way->n_slots; i++)
      backend->release (backend, i);
    ck_assert (run (backend, way, 2 * way->n_slots, NULL));
  }
  backend->close (backend);
}
END_TEST

START_TEST (test_memory_in_use_is_told)
{
  const Way *way = &ways[_i];
  Mt3Backend *backend = open_backend (way, NULL);
  guint64 host, device;

  backend->memory (backend, &host, &device);
  ck_assert_uint_eq (device, fake_device.bytes);
  ck_assert (run (backend, way, N_WINDOWS, NULL));
  backend->memory (backend, &host, &device);
  ck_assert_uint_eq (device, fake_device.bytes); /* with the exact engine */
  backend->close (backend);
}
END_TEST

START_TEST (test_too_many_slots_are_refused_with_how_many_fit)
{
  const Way way = {100000, 0, MT3_PRECISION_FAST};
  g_autoptr (GError) error = NULL;

  ck_assert_ptr_null (open_backend (&way, &error));
  ck_assert (g_error_matches (error, MT3_ERROR, MT3_ERROR_MEMORY));
  ck_assert_ptr_nonnull (strstr (error->message, "enough for"));
  ck_assert_uint_eq (fake_device.n_live, 0);
}
END_TEST

/* As by another library of the process that waits for the whole device. */
START_TEST (test_a_capture_that_was_broken_is_begun_again)
{
  const Way way = {20, 0, MT3_PRECISION_EXACT};
  g_autoptr (GError) error = NULL;
  Mt3Backend *backend;

  fake_device.n_broken = 5;
  backend = open_backend (&way, NULL);
  ck_assert (run (backend, &way, 24, NULL));
  backend->close (backend);
  fake_device.n_broken = G_MAXUINT;
  ck_assert_ptr_null (open_backend (&way, &error));
  ck_assert (g_error_matches (error, MT3_ERROR, MT3_ERROR_DEVICE));
  ck_assert_uint_eq (fake_device.n_live, 0);
}
END_TEST

/* Opens, runs and closes with one call of CUDA's that fails. TRUE when there
 * was such a call. */
static gboolean
fail_at (guint call, Mt3Precision precision)
{
  const Way way = {20, 0, precision};
  g_autoptr (GError) error = NULL;
  Mt3Backend *backend;
  gboolean done = FALSE;

  fake_device_reset ();
  fake_device.patience = 4; /* every time that it is asked could fail */
  fake_device.fail_at = call;
  backend = open_backend (&way, &error);
  if (backend != NULL) {
    done = run (backend, &way, 24, &error);
    backend->close (backend);
  }
  ck_assert_msg (
      fake_device.n_live == 0, "call %u: %u left", call, fake_device.n_live);
  if (fake_device.n_calls < call)
    return FALSE;
  ck_assert (done || error != NULL);
  return TRUE;
}

START_TEST (test_any_call_may_fail)
{
  const Mt3Precision precision = _i ? MT3_PRECISION_EXACT : MT3_PRECISION_FAST;
  guint call = 1;

  while (fail_at (call, precision))
    call += 1 + call / 256; /* each at first, then fewer */
  ck_assert_uint_gt (call, 1000);
}
END_TEST

static void
check_reason (guint device_id, const gchar *expected)
{
  g_autofree gchar *reason = mt3_cuda_probe (device_id);

  ck_assert_ptr_nonnull (reason);
  ck_assert_msg (strstr (reason, expected) != NULL, "%s", reason);
}

START_TEST (test_the_probe_says_why_a_device_is_no_use)
{
  fake_device.driver = 11040;
  check_reason (0, "supports CUDA 11.4, this engine needs 13.0");
  fake_device.driver = 13000;
  check_reason (1, "only 0 to 0");
  fake_device.capability = 61;
  check_reason (0, "has compute capability 6.1, and the engine needs 7.5");
  fake_device.n_devices = 0;
  check_reason (0, "finds no device");
}
END_TEST

START_TEST (test_the_probe_finds_nothing_wrong_with_a_good_device)
{
  fake_device.driver = 13020; /* newer */
  ck_assert_ptr_null (mt3_cuda_probe (0));
}
END_TEST

static Suite *
host_suite (void)
{
  Suite *suite = suite_create ("cuda-host");
  TCase *host = tcase_create ("host");

  tcase_add_checked_fixture (host, setup, teardown);
  tcase_add_loop_test (
      host, test_every_window_has_its_own_text, 0, 2 * G_N_ELEMENTS (ways));
  tcase_add_loop_test (
      host, test_texts_are_the_same_without_graphs, 0, G_N_ELEMENTS (ways));
  tcase_add_test (
      host, test_a_window_alone_does_not_go_back_to_the_host_between_runs);
  tcase_add_test (
      host, test_the_lane_that_was_started_first_is_collected_first);
  tcase_add_test (host, test_the_encoder_does_not_wait_for_lanes);
  tcase_add_test (host, test_a_whole_batch_of_the_encoder_is_one_graph);
  tcase_add_test (host, test_a_draft_in_doubt_is_put_right_at_once);
  tcase_add_loop_test (host, test_a_slot_is_free_as_soon_as_it_is_released, 0,
      G_N_ELEMENTS (releases));
  tcase_add_loop_test (
      host, test_memory_in_use_is_told, 0, G_N_ELEMENTS (ways));
  tcase_add_test (host, test_too_many_slots_are_refused_with_how_many_fit);
  tcase_add_test (host, test_a_capture_that_was_broken_is_begun_again);
  tcase_add_loop_test (host, test_any_call_may_fail, 0, 2);
  tcase_add_test (host, test_the_probe_says_why_a_device_is_no_use);
  tcase_add_test (host, test_the_probe_finds_nothing_wrong_with_a_good_device);
  suite_add_tcase (suite, host);
  return suite;
}

int
main (void)
{
  SRunner *runner = srunner_create (host_suite ());
  int n_failed;

  srunner_run_all (runner, CK_ENV);
  n_failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
