/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Drawing a token from logits.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "engine/sampler.h"

#define N 5
#define N_DRAWS 20000

static const gfloat logits[N] = {0.0f, 2.0f, 1.0f, -1.0f, 2.0f};

static guint
draw (Mt3Decoding decoding, guint64 index, guint position)
{
  Mt3Candidate candidates[N];

  return mt3_sampler_draw (
      logits, N, &decoding, NULL, index, position, candidates);
}

/* How often each token comes. */
static void
frequencies (Mt3Decoding decoding, gdouble out[N])
{
  for (guint i = 0; i < N; i++)
    out[i] = 0.0;
  for (guint i = 0; i < N_DRAWS; i++)
    out[draw (decoding, i / 100, i % 100)] += 1.0 / N_DRAWS;
}

static const gfloat temperatures[] = {0.5f, 1.0f, 3.0f};

START_TEST (test_tokens_come_as_often_as_softmax_says)
{
  gfloat temperature = temperatures[_i];
  gdouble found[N], sum = 0.0;

  frequencies ((Mt3Decoding){10, temperature, 0, 1.0f, 42}, found);
  for (guint i = 0; i < N; i++)
    sum += exp (logits[i] / temperature);
  for (guint i = 0; i < N; i++)
    ck_assert_double_eq_tol (
        found[i], exp (logits[i] / temperature) / sum, 0.015);
}
END_TEST

static const struct {
  guint top_k;
  gfloat top_p;
  gboolean kept[N];
} limits[] = {
    {1, 1.0f, {0, 1, 0, 0, 0}}, /* the lower of two equals */
    {2, 1.0f, {0, 1, 0, 0, 1}},
    {3, 1.0f, {0, 1, 1, 0, 1}},
    {9, 1.0f, {1, 1, 1, 1, 1}}, /* more than there are */
    {0, 0.0f, {0, 1, 0, 0, 0}}, /* one always stays */
    {0, 0.30f, {0, 1, 0, 0, 0}}, /* probabilities .05 .39 .14 .02 .39 */
    {0, 0.78f, {0, 1, 0, 0, 1}},
    {0, 0.90f, {0, 1, 1, 0, 1}},
    {2, 0.90f, {0, 1, 0, 0, 1}},
};

START_TEST (test_top_k_and_top_p_keep_the_most_probable)
{
  gdouble found[N];

  frequencies (
      (Mt3Decoding){10, 1.0f, limits[_i].top_k, limits[_i].top_p, 7}, found);
  for (guint i = 0; i < N; i++)
    ck_assert_int_eq (found[i] > 0.0, limits[_i].kept[i]);
}
END_TEST

static const struct {
  guint top_k;
  gfloat top_p;
  gboolean allowed[N];
  gboolean kept[N];
} masks[] = {
    {0, 1.0f, {1, 0, 1, 1, 0}, {1, 0, 1, 1, 0}},
    {0, 1.0f, {0, 0, 0, 1, 0}, {0, 0, 0, 1, 0}}, /* only the least probable */
    {1, 1.0f, {1, 0, 1, 1, 0}, {0, 0, 1, 0, 0}},
    {0, 0.0f, {1, 0, 0, 1, 0}, {1, 0, 0, 0, 0}},
    {0, 0.60f, {1, 0, 1, 1, 0},
        {0, 0, 1, 0, 0}}, /* .24 of the rest, .66, .09 */
    {0, 0.70f, {1, 0, 1, 1, 0}, {1, 0, 1, 0, 0}},
};

START_TEST (test_only_what_is_allowed_is_drawn)
{
  g_autoptr (Mt3TokenSet) allowed = mt3_token_set_new (N);
  gdouble found[N];

  for (guint i = 0; i < N; i++) {
    if (masks[_i].allowed[i])
      mt3_token_set_add (allowed, i);
  }
  frequencies (
      (Mt3Decoding){10, 1.0f, masks[_i].top_k, masks[_i].top_p, 7, allowed},
      found);
  for (guint i = 0; i < N; i++)
    ck_assert_int_eq (found[i] > 0.0, masks[_i].kept[i]);
}
END_TEST

static const struct {
  gboolean allowed[N];
  guint best;
} greedy[] = {
    {{1, 1, 1, 1, 1}, 1}, /* the lower of two equals */
    {{1, 0, 1, 1, 1}, 4},
    {{1, 0, 1, 1, 0}, 2},
    {{0, 0, 0, 1, 0}, 3},
};

START_TEST (test_the_most_probable_that_is_allowed_is_best)
{
  g_autoptr (Mt3TokenSet) allowed = mt3_token_set_new (N);
  Mt3Decoding decoding = MT3_DECODING_GREEDY;

  for (guint i = 0; i < N; i++) {
    if (greedy[_i].allowed[i])
      mt3_token_set_add (allowed, i);
  }
  ck_assert_uint_eq (mt3_sampler_best (logits, N, &decoding, NULL), 1);
  decoding.allowed = allowed;
  ck_assert_uint_eq (
      mt3_sampler_best (logits, N, &decoding, NULL), greedy[_i].best);
}
END_TEST

/* Other seeds and other windows have draws of their own. */
START_TEST (test_a_seed_repeats_its_draws)
{
  Mt3Decoding decoding = {10, 1.0f, 0, 1.0f, 3};
  guint other_seed = 0, other_window = 0;

  for (guint i = 0; i < 100; i++) {
    guint token = draw (decoding, 5, i);

    ck_assert_uint_eq (draw (decoding, 5, i), token);
    decoding.seed = 4;
    other_seed += draw (decoding, 5, i) != token;
    decoding.seed = 3;
    other_window += draw (decoding, 6, i) != token;
  }
  ck_assert_uint_gt (other_seed, 25);
  ck_assert_uint_gt (other_window, 25);
}
END_TEST

START_TEST (test_uniform_numbers_fill_the_unit_interval)
{
  guint bins[10] = {0};

  for (guint i = 0; i < 10000; i++) {
    gdouble u = mt3_sampler_uniform (0, i / 10, i % 10);

    ck_assert_double_ge (u, 0.0);
    ck_assert_double_lt (u, 1.0);
    bins[(guint) (10.0 * u)]++;
  }
  for (guint i = 0; i < 10; i++)
    ck_assert_double_eq_tol (bins[i], 1000.0, 150.0);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("sampler");
  TCase *tcase = tcase_create ("sampler");
  SRunner *runner;
  int n_failed;

  suite_add_tcase (suite, tcase);
  tcase_add_loop_test (tcase, test_tokens_come_as_often_as_softmax_says, 0,
      G_N_ELEMENTS (temperatures));
  tcase_add_loop_test (tcase, test_top_k_and_top_p_keep_the_most_probable, 0,
      G_N_ELEMENTS (limits));
  tcase_add_loop_test (
      tcase, test_only_what_is_allowed_is_drawn, 0, G_N_ELEMENTS (masks));
  tcase_add_loop_test (tcase, test_the_most_probable_that_is_allowed_is_best, 0,
      G_N_ELEMENTS (greedy));
  tcase_add_test (tcase, test_a_seed_repeats_its_draws);
  tcase_add_test (tcase, test_uniform_numbers_fill_the_unit_interval);

  runner = srunner_create (suite);
  srunner_run_all (runner, CK_ENV);
  n_failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
