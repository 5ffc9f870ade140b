/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The contract of engine/backend.h, kept by the CPU under the real scheduler:
 * a window's tokens and log-probabilities are the same to the last bit whatever
 * the number of threads, slots and streams. The model is tiny and random.
 */
#include <check.h>
#include <fenv.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cpu/forward.h"
#include "engine/engine.h"

#define N_WINDOWS 10

static const Mt3Decoding decoding = {40, 0.0f, 0, 1.0f, 0, NULL};
static const Mt3Decoding searched = {
    40, 0.0f, 0, 1.0f, 0, NULL, .beam_size = 3, .beam_alpha = 0.6f};
static const Mt3Decoding drawn = {40, 1.0f, 20, 0.9f, 5, NULL};

/* Ranges as a vocabulary may have them; the model does not care. */
#define ORDER                                                                  \
  {                                                                            \
    .shift = {3, 208}, .pitch = {1004, 1132}, .velocity = {1132, 1134},        \
    .tie = {1134, 1135}, .program = {1135, 1263}, .drum = {1263, 1391},        \
  }
static const Mt3Decoding ordered[] = {
    {40, 0.0f, 0, 1.0f, 0, NULL, .order = ORDER},
    {40, 1.0f, 20, 0.9f, 5, NULL, .order = ORDER},
    {40, 0.0f, 0, 1.0f, 0, NULL, 3, 0.6f, ORDER},
};

static Mt3Engine *
open_for (const Mt3Decoding *how, guint n_threads, guint n_slots,
    Mt3Precision precision)
{
  Mt3EngineOptions options = {
      .model_file = g_getenv ("MT3_TINY_MODEL"),
      .device = MT3_DEVICE_CPU,
      .precision = precision,
      .n_threads = n_threads,
      .batch_size = n_slots,
      .beam_size = how->beam_size,
  };
  g_autoptr (GError) error = NULL;
  Mt3Engine *engine = mt3_engine_open (&options, &error);

  g_assert_no_error (error);
  return engine;
}

static Mt3Engine *
open_cpu (guint n_threads, guint n_slots, Mt3Precision precision)
{
  return open_for (&decoding, n_threads, n_slots, precision);
}

/* A chord that differs from window to window; the last window is short. */
static Mt3Window *
make_window (const Mt3Config *config, guint64 index)
{
  gsize n = mt3_config_window_samples (config);
  Mt3Window *window = g_malloc0 (sizeof (Mt3Window) + n * sizeof (gfloat));

  window->index = index;
  window->last = index + 1 == N_WINDOWS;
  window->n_frames = window->last ? 3 : config->window_frames;
  for (gsize i = 0; i < (gsize) window->n_frames * config->hop_length; i++) {
    gdouble t = (gdouble) i / config->sample_rate;

    window->samples[i] = (gfloat) (0.3 * sin (2000.0 * (1 + index) * t) +
                                   0.2 * sin (777.0 * (3 + index % 4) * t));
  }
  return window;
}

/* N_WINDOWS transcripts of each of @n_streams streams, stream after stream. */
static GPtrArray *
run_streams (Mt3Engine *engine, const Mt3Decoding *how, guint n_streams)
{
  GPtrArray *all =
      g_ptr_array_new_with_free_func ((GDestroyNotify) mt3_transcript_free);
  g_autoptr (GPtrArray) streams =
      g_ptr_array_new_with_free_func ((GDestroyNotify) mt3_stream_free);

  for (guint s = 0; s < n_streams; s++)
    g_ptr_array_add (streams, mt3_stream_new (engine, how, N_WINDOWS));
  for (guint i = 0; i < N_WINDOWS; i++)
    for (guint s = 0; s < n_streams; s++)
      mt3_stream_push (g_ptr_array_index (streams, s),
          make_window (mt3_engine_config (engine), i), NULL);
  for (guint s = 0; s < n_streams; s++)
    for (guint i = 0; i < N_WINDOWS; i++) {
      Mt3Transcript *transcript;

      g_assert_cmpint (
          mt3_stream_pop (g_ptr_array_index (streams, s), &transcript, NULL),
          ==, MT3_FLOW_OK);
      g_ptr_array_add (all, transcript);
    }
  return all;
}

static void
check_equal (const Mt3Transcript *a, const Mt3Transcript *b)
{
  ck_assert_uint_eq (a->index, b->index);
  ck_assert_uint_eq (a->n_tokens, b->n_tokens);
  ck_assert_int_eq (a->ended, b->ended);
  ck_assert_mem_eq (a->tokens, b->tokens, a->n_tokens * sizeof (guint16));
  ck_assert_mem_eq (a->log_probs, b->log_probs, a->n_tokens * sizeof (gfloat));
}

static const struct {
  guint n_threads;
  guint n_slots;
  guint n_streams;
} loads[] = {
    {1, 2, 1},
    {1, 7, 1},
    {2, 1, 1},
    {2, 8, 3},
    {3, 5, 2},
    {0, 0, 4},
};

static const struct {
  Mt3Precision precision;
  const Mt3Decoding *decoding;
} modes[] = {
    {MT3_PRECISION_EXACT, &decoding},
    {MT3_PRECISION_EXACT, &drawn},
    {MT3_PRECISION_EXACT, &searched},
    {MT3_PRECISION_EXACT, &ordered[0]},
    {MT3_PRECISION_EXACT, &ordered[1]},
    {MT3_PRECISION_EXACT, &ordered[2]},
    {MT3_PRECISION_FAST, &decoding},
};

START_TEST (test_results_depend_on_the_window_alone)
{
  Mt3Precision precision = modes[_i].precision;
  const Mt3Decoding *how = modes[_i].decoding;
  g_autoptr (Mt3Engine) alone = open_for (how, 1, 1, precision);
  g_autoptr (GPtrArray) expected = run_streams (alone, how, 1);

  g_clear_pointer (&alone, mt3_engine_unref);
  for (guint l = 0; l < G_N_ELEMENTS (loads); l++) {
    g_autoptr (Mt3Engine) engine =
        open_for (how, loads[l].n_threads, loads[l].n_slots, precision);
    g_autoptr (GPtrArray) found = run_streams (engine, how, loads[l].n_streams);

    for (guint i = 0; i < found->len; i++)
      check_equal (g_ptr_array_index (found, i),
          g_ptr_array_index (expected, i % N_WINDOWS));
  }
}
END_TEST

START_TEST (test_a_window_is_the_same_after_a_flush)
{
  g_autoptr (Mt3Engine) engine = open_cpu (2, 3, MT3_PRECISION_EXACT);
  g_autoptr (GPtrArray) expected = run_streams (engine, &decoding, 1);
  g_autoptr (Mt3Stream) stream = mt3_stream_new (engine, &decoding, N_WINDOWS);

  for (guint round = 0; round < 4; round++) {
    g_autoptr (Mt3Transcript) transcript = NULL;

    for (guint i = 0; i < 5; i++)
      mt3_stream_push (
          stream, make_window (mt3_engine_config (engine), i), NULL);
    mt3_stream_pop (stream, &transcript, NULL);
    check_equal (transcript, g_ptr_array_index (expected, 0));
    mt3_stream_set_flushing (stream, TRUE);
    mt3_stream_set_flushing (stream, FALSE);
  }
}
END_TEST

/* As if nothing else were decoded: what a search does to the texts beside it
 * shows in none. */
START_TEST (test_a_search_changes_nothing_beside_it)
{
  g_autoptr (Mt3Engine) engine =
      open_for (&searched, 2, 7, MT3_PRECISION_EXACT);
  g_autoptr (GPtrArray) greedy = run_streams (engine, &decoding, 1);
  g_autoptr (GPtrArray) search = run_streams (engine, &searched, 1);
  g_autoptr (Mt3Stream) a = mt3_stream_new (engine, &decoding, N_WINDOWS);
  g_autoptr (Mt3Stream) b = mt3_stream_new (engine, &searched, N_WINDOWS);

  for (guint i = 0; i < N_WINDOWS; i++) {
    mt3_stream_push (a, make_window (mt3_engine_config (engine), i), NULL);
    mt3_stream_push (b, make_window (mt3_engine_config (engine), i), NULL);
  }
  for (guint i = 0; i < N_WINDOWS; i++) {
    g_autoptr (Mt3Transcript) x = NULL;
    g_autoptr (Mt3Transcript) y = NULL;

    mt3_stream_pop (a, &x, NULL);
    mt3_stream_pop (b, &y, NULL);
    check_equal (x, g_ptr_array_index (greedy, i));
    check_equal (y, g_ptr_array_index (search, i));
  }
}
END_TEST

/* Feeds a text to the network, without any search, and compares each token's
 * log-probability with the transcript's. */
static void
check_log_probs (
    Mt3CpuForward *forward, const Mt3Transcript *transcript, gpointer cross)
{
  g_autofree guint8 *self = g_malloc0 (mt3_cpu_forward_self_bytes (forward));
  guint token = MT3_TOKEN_START;

  for (guint i = 0; i < transcript->n_tokens; i++) {
    Mt3CpuDecoderRow row = {token, i, self, cross};
    gfloat normaliser;
    gsize largest;

    mt3_cpu_forward_step (forward, &row, 1);
    normaliser = forward->kernels->log_sum_exp (
        forward->logits.data, forward->config.vocab_size, &largest);
    token = transcript->tokens[i];
    ck_assert_float_eq (
        transcript->log_probs[i], forward->logits.data[token] - normaliser);
  }
}

/* Beams that part must take all of their past with them, and nothing else. */
START_TEST (test_a_text_that_was_searched_is_as_probable_as_it_is_alone)
{
  g_autoptr (Mt3Model) model =
      mt3_model_open (g_getenv ("MT3_TINY_MODEL"), NULL);
  g_autoptr (Mt3CpuForward) forward = mt3_cpu_forward_new (
      model, MT3_PRECISION_EXACT, mt3_cpu_kernels (NULL), 1, 1, NULL);
  g_autofree guint8 *cross = g_malloc0 (mt3_cpu_forward_cross_bytes (forward));
  Mt3Decoding how = searched;
  g_autoptr (Mt3Engine) engine = NULL;
  g_autoptr (GPtrArray) found = NULL;

  how.beam_size = MT3_MAX_BEAMS;
  engine = open_for (&how, 2, 2 * MT3_MAX_BEAMS, MT3_PRECISION_EXACT);
  found = run_streams (engine, &how, 1);
  for (guint i = 0; i < N_WINDOWS; i++) {
    g_autofree Mt3Window *window = make_window (&forward->config, i);

    mt3_cpu_forward_log_mel (forward, window->samples, window->n_frames);
    mt3_cpu_forward_encode (forward);
    mt3_cpu_forward_cross (forward, cross);
    check_log_probs (forward, g_ptr_array_index (found, i), cross);
  }
}
END_TEST

START_TEST (test_another_seed_draws_other_tokens)
{
  g_autoptr (Mt3Engine) engine = open_cpu (2, 3, MT3_PRECISION_EXACT);
  Mt3Decoding other = drawn;
  g_autoptr (GPtrArray) a = NULL, b = NULL;
  const Mt3Transcript *x, *y;

  other.seed++;
  a = run_streams (engine, &drawn, 1);
  b = run_streams (engine, &other, 1);
  x = g_ptr_array_index (a, 0);
  y = g_ptr_array_index (b, 0);
  ck_assert (x->n_tokens != y->n_tokens ||
             memcmp (x->tokens, y->tokens, x->n_tokens * sizeof (guint16)));
}
END_TEST

/* A choice between two is no more certain than the model was. */
START_TEST (test_probabilities_are_those_among_all_tokens)
{
  g_autoptr (Mt3Engine) engine = open_cpu (1, 1, MT3_PRECISION_EXACT);
  g_autoptr (Mt3TokenSet) allowed =
      mt3_token_set_new (mt3_engine_config (engine)->vocab_size);
  Mt3Decoding masked = decoding;
  g_autoptr (GPtrArray) free = run_streams (engine, &decoding, 1);
  const Mt3Transcript *first = g_ptr_array_index (free, 0), *only;
  g_autoptr (GPtrArray) found = NULL;

  mt3_token_set_add (allowed, MT3_TOKEN_EOS);
  mt3_token_set_add (allowed, first->tokens[0]);
  masked.allowed = allowed;
  found = run_streams (engine, &masked, 1);
  only = g_ptr_array_index (found, 0);
  ck_assert_uint_eq (only->tokens[0], first->tokens[0]);
  ck_assert_float_eq (only->log_probs[0], first->log_probs[0]);
}
END_TEST

/* Also in a process that holds a library built with -ffast-math. */
START_TEST (test_how_the_application_rounds_does_not_matter)
{
  g_autoptr (Mt3Engine) engine = open_cpu (2, 2, MT3_PRECISION_EXACT);
  g_autoptr (GPtrArray) expected = run_streams (engine, &decoding, 1);
  g_autoptr (GPtrArray) found = NULL;

  g_clear_pointer (&engine, mt3_engine_unref);
  fesetround (FE_UPWARD);
  engine = open_cpu (2, 2, MT3_PRECISION_EXACT);
  ck_assert_int_eq (fegetround (), FE_UPWARD);
  fesetround (FE_TONEAREST);
  found = run_streams (engine, &decoding, 1);
  for (guint i = 0; i < found->len; i++)
    check_equal (g_ptr_array_index (found, i), g_ptr_array_index (expected, i));
}
END_TEST

static const Mt3Decoding *const decodings[] = {&decoding, &drawn, &searched};

/* The end, and every third token. */
static Mt3TokenSet *
every_third_token (guint vocab_size)
{
  Mt3TokenSet *set = mt3_token_set_new (vocab_size);

  mt3_token_set_add (set, MT3_TOKEN_EOS);
  for (guint i = 2; i < vocab_size; i += 3)
    mt3_token_set_add (set, i);
  return set;
}

static guint
count_outside (GPtrArray *transcripts, const Mt3TokenSet *set)
{
  guint n = 0;

  for (guint i = 0; i < transcripts->len; i++) {
    const Mt3Transcript *transcript = g_ptr_array_index (transcripts, i);

    for (guint j = 0; j < transcript->n_tokens; j++)
      n += !mt3_token_set_contains (set, transcript->tokens[j]);
  }
  return n;
}

START_TEST (test_only_allowed_tokens_are_chosen)
{
  Mt3Decoding how = *decodings[_i];
  g_autoptr (Mt3Engine) engine = open_for (&how, 2, 4, MT3_PRECISION_EXACT);
  g_autoptr (Mt3TokenSet) set =
      every_third_token (mt3_engine_config (engine)->vocab_size);
  g_autoptr (GPtrArray) free_choice = run_streams (engine, &how, 1);
  g_autoptr (GPtrArray) restricted = NULL;

  how.allowed = set;
  restricted = run_streams (engine, &how, 1);
  ck_assert_uint_gt (count_outside (free_choice, set), 0);
  ck_assert_uint_eq (count_outside (restricted, set), 0);
}
END_TEST

static guint
count_out_of_order (GPtrArray *transcripts, const Mt3TokenOrder *order)
{
  guint n = 0;

  for (guint i = 0; i < transcripts->len; i++) {
    const Mt3Transcript *transcript = g_ptr_array_index (transcripts, i);
    Mt3TokenState text = mt3_token_order_start (order);

    for (guint j = 0; j < transcript->n_tokens; j++) {
      n += !mt3_token_order_permits (
          order, &text, transcript->tokens[j], MT3_TOKEN_EOS);
      mt3_token_order_follow (order, &text, transcript->tokens[j]);
    }
  }
  return n;
}

START_TEST (test_texts_keep_their_order)
{
  const Mt3Decoding *how = &ordered[_i];
  g_autoptr (Mt3Engine) engine = open_for (how, 2, 4, MT3_PRECISION_EXACT);
  g_autoptr (GPtrArray) free_choice = run_streams (engine, decodings[_i], 1);
  g_autoptr (GPtrArray) found = run_streams (engine, how, 1);

  ck_assert_uint_gt (count_out_of_order (free_choice, &how->order), 0);
  ck_assert_uint_eq (count_out_of_order (found, &how->order), 0);
}
END_TEST

START_TEST (test_allowing_all_tokens_changes_nothing)
{
  Mt3Decoding how = *decodings[_i];
  g_autoptr (Mt3Engine) engine = open_for (&how, 2, 4, MT3_PRECISION_EXACT);
  guint vocab_size = mt3_engine_config (engine)->vocab_size;
  g_autoptr (Mt3TokenSet) all = mt3_token_set_new (vocab_size);
  g_autoptr (GPtrArray) expected = run_streams (engine, &how, 1);
  g_autoptr (GPtrArray) found = NULL;

  for (guint i = 0; i < vocab_size; i++)
    mt3_token_set_add (all, i);
  how.allowed = all;
  found = run_streams (engine, &how, 1);
  for (guint i = 0; i < found->len; i++)
    check_equal (g_ptr_array_index (found, i), g_ptr_array_index (expected, i));
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("cpu");
  TCase *tcase = tcase_create ("cpu");
  SRunner *runner = srunner_create (suite);
  gint failed;

  suite_add_tcase (suite, tcase);
  tcase_add_loop_test (
      tcase, test_results_depend_on_the_window_alone, 0, G_N_ELEMENTS (modes));
  tcase_add_test (tcase, test_a_window_is_the_same_after_a_flush);
  tcase_add_loop_test (
      tcase, test_only_allowed_tokens_are_chosen, 0, G_N_ELEMENTS (decodings));
  tcase_add_loop_test (
      tcase, test_texts_keep_their_order, 0, G_N_ELEMENTS (ordered));
  tcase_add_loop_test (tcase, test_allowing_all_tokens_changes_nothing, 0,
      G_N_ELEMENTS (decodings));
  tcase_add_test (tcase, test_a_search_changes_nothing_beside_it);
  tcase_add_test (
      tcase, test_a_text_that_was_searched_is_as_probable_as_it_is_alone);
  tcase_add_test (tcase, test_another_seed_draws_other_tokens);
  tcase_add_test (tcase, test_probabilities_are_those_among_all_tokens);
  tcase_add_test (tcase, test_how_the_application_rounds_does_not_matter);
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
