/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Beam search in languages of two letters, A and B, whose probabilities are
 * written down.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/beam.h"

enum { END = MT3_TOKEN_EOS, A, B, N_TOKENS };

#define MAX_TEXT 16

/* What follows a text: its end, an A, a B. */
typedef struct {
  const gchar *text;
  gdouble end, a, b;
} Rule;

/* The first rule whose text is the text, or is "*". */
static const Rule *
find_rule (const Rule *rules, const gchar *text)
{
  while (!g_str_equal (rules->text, text) && !g_str_equal (rules->text, "*"))
    rules++;
  return rules;
}

/* A search under way, and the live texts it should have. */
typedef struct {
  const Rule *rules;
  Mt3Decoding decoding;
  Mt3BeamSearch *search;
  gchar texts[MT3_MAX_BEAMS][MAX_TEXT + 1];
  guint n_steps;
  gchar result[MAX_TEXT + 2];
} Run;

static Run *
run_new (const Rule *rules, guint n_beams, gdouble alpha, guint max_tokens)
{
  Run *run = g_new0 (Run, 1);

  run->rules = rules;
  run->decoding.beam_size = n_beams;
  run->decoding.beam_alpha = (gfloat) alpha;
  run->decoding.max_tokens = max_tokens;
  run->search = mt3_beam_search_new (&run->decoding);
  return run;
}

static void
run_free (Run *run)
{
  mt3_beam_search_free (run->search);
  g_free (run);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Run, run_free)

static void
rank (const Run *run, guint beam, Mt3BeamCandidate *candidates)
{
  const Rule *rule = find_rule (run->rules, run->texts[beam]);
  const gfloat logits[N_TOKENS] = {-INFINITY, (gfloat) log (rule->end),
      (gfloat) log (rule->a), (gfloat) log (rule->b)};

  mt3_beam_search_rank (run->search, beam, logits, N_TOKENS, 0.0f, candidates);
}

static void
follow_texts (Run *run)
{
  gchar before[MT3_MAX_BEAMS][MAX_TEXT + 1];

  memcpy (before, run->texts, sizeof before);
  for (guint beam = 0; beam < run->search->n_live; beam++) {
    const Mt3BeamNode *last = mt3_beam_search_last (run->search, beam);

    g_snprintf (run->texts[beam], MAX_TEXT + 1, "%s%c", before[last->parent],
        last->token == A ? 'A' : 'B');
  }
}

static gboolean
step (Run *run)
{
  guint n = mt3_beam_search_n_candidates (run->search);
  guint n_live = run->search->n_live;
  g_autofree Mt3BeamCandidate *candidates =
      g_new (Mt3BeamCandidate, n * n_live);
  gboolean goes_on;

  for (guint beam = 0; beam < n_live; beam++)
    rank (run, beam, candidates + beam * n);
  goes_on = mt3_beam_search_step (run->search, candidates, n * n_live);
  follow_texts (run);
  run->n_steps++;
  return goes_on;
}

/* The result; with a dot if it ended. */
static const gchar *
finish (Run *run)
{
  guint16 tokens[MAX_TEXT];
  gfloat log_probs[MAX_TEXT];
  gboolean ended;
  guint n;

  while (step (run))
    continue;
  n = mt3_beam_search_read (run->search, tokens, log_probs, &ended);
  for (guint i = 0; i < n; i++)
    run->result[i] = tokens[i] == A ? 'A' : 'B';
  run->result[n] = ended ? '.' : '\0';
  return run->result;
}

/* A is the better beginning, but what follows it is anyone's guess. */
static const Rule garden_path[] = {
    {"", 0.0, 0.6, 0.4},
    {"A", 0.2, 0.45, 0.35},
    {"AA", 1.0, 0.0, 0.0},
    {"AB", 1.0, 0.0, 0.0},
    {"B", 0.9, 0.05, 0.05},
    {"*", 1.0, 0.0, 0.0},
};

START_TEST (test_two_beams_find_what_one_does_not)
{
  g_autoptr (Run) one = run_new (garden_path, 1, 0.0, 8);
  g_autoptr (Run) two = run_new (garden_path, 2, 0.0, 8);

  ck_assert_str_eq (finish (one), "AA.");
  ck_assert_str_eq (finish (two), "B.");
}
END_TEST

/* ABA. has 0.24 of the probability, B. has 0.3. With (5 + length) / 6 to the
 * power of 0.6, lengths 4 and 2, ln 0.24 becomes -1.12 and ln 0.3 -1.10; to the
 * power of 1, -0.95 and -1.03. */
static const Rule long_or_short[] = {
    {"", 0.0, 0.6, 0.4},
    {"A", 0.2, 0.0, 0.8},
    {"AB", 0.3, 0.5, 0.2},
    {"B", 0.75, 0.15, 0.1},
    {"*", 1.0, 0.0, 0.0},
};

static const struct {
  gdouble alpha;
  const gchar *text;
} alphas[] = {
    {0.0, "B."},
    {0.6, "B."},
    {1.0, "ABA."},
};

START_TEST (test_more_alpha_favours_longer_texts)
{
  g_autoptr (Run) run = run_new (long_or_short, 3, alphas[_i].alpha, 8);

  ck_assert_str_eq (finish (run), alphas[_i].text);
}
END_TEST

START_TEST (test_a_score_is_that_of_the_length_with_the_end)
{
  g_autoptr (Run) run = run_new (long_or_short, 3, 0.6, 8);
  const Mt3BeamEnding *best = &run->search->finished[0];

  finish (run);
  ck_assert_uint_eq (best->n_tokens, 1);
  ck_assert_double_eq_tol (
      best->score, log (0.4 * 0.75) / pow (7.0 / 6.0, 0.6), 1e-6);
}
END_TEST

/* An end is likely at once, but only its two beams' worth ends the search. */
static const Rule ends_at_once[] = {
    {"", 0.5, 0.3, 0.2},
    {"*", 0.9, 0.05, 0.05},
};

START_TEST (test_a_search_ends_when_nothing_can_become_better)
{
  g_autoptr (Run) run = run_new (ends_at_once, 2, 0.0, 8);

  ck_assert_str_eq (finish (run), ".");
  ck_assert_uint_eq (run->n_steps, 2);
}
END_TEST

/* After one end a single beam goes on, if a longer text could score better. */
static const Rule sure_to_go_on[] = {
    {"", 0.51, 0.49, 0.0},
    {"AAAA", 1.0, 0.0, 0.0},
    {"*", 0.0, 1.0, 0.0},
};

START_TEST (test_a_search_goes_on_behind_an_end)
{
  g_autoptr (Run) plain = run_new (sure_to_go_on, 1, 0.0, 8);
  g_autoptr (Run) favouring = run_new (sure_to_go_on, 1, 1.0, 8);

  ck_assert_str_eq (finish (plain), ".");
  ck_assert_str_eq (finish (favouring), "AAAA.");
}
END_TEST

static const Rule endless[] = {
    {"*", 0.0, 0.7, 0.3},
};

START_TEST (test_without_an_end_the_best_live_text_is_read)
{
  g_autoptr (Run) run = run_new (endless, 2, 0.6, 5);

  ck_assert_str_eq (finish (run), "AAAAA");
  ck_assert_uint_eq (run->n_steps, 5);
}
END_TEST

static const Rule hardly_ends[] = {
    {"B", 0.01, 0.99, 0.0},
    {"*", 0.0, 0.7, 0.3},
};

START_TEST (test_a_text_that_ended_comes_before_any_that_did_not)
{
  g_autoptr (Run) run = run_new (hardly_ends, 3, 0.6, 4);

  ck_assert_str_eq (finish (run), "B.");
}
END_TEST

START_TEST (test_only_allowed_tokens_continue_a_text)
{
  g_autoptr (Mt3TokenSet) allowed = mt3_token_set_new (N_TOKENS);
  g_autoptr (Run) run = run_new (garden_path, 4, 0.0, 8);

  mt3_token_set_add (allowed, END);
  mt3_token_set_add (allowed, A);
  run->decoding.allowed = allowed;
  ck_assert_str_eq (finish (run), "AA.");
}
END_TEST

START_TEST (test_probabilities_are_those_of_the_tokens)
{
  g_autoptr (Run) run = run_new (long_or_short, 3, 1.0, 8);
  const gdouble expected[] = {0.6, 0.8, 0.5};
  guint16 tokens[MAX_TEXT];
  gfloat log_probs[MAX_TEXT];
  gboolean ended;

  finish (run);
  ck_assert_uint_eq (
      mt3_beam_search_read (run->search, tokens, log_probs, &ended), 3);
  for (guint i = 0; i < 3; i++)
    ck_assert_float_eq_tol (log_probs[i], (gfloat) log (expected[i]), 1e-6f);
}
END_TEST

START_TEST (test_texts_know_what_they_have_in_common)
{
  g_autoptr (Run) run = run_new (endless, 4, 0.6, 8);

  for (guint length = 1; length <= 5; length++) {
    step (run);
    for (guint a = 0; a < run->search->n_live; a++)
      for (guint b = 0; b < run->search->n_live; b++) {
        guint n = 0;

        while (n < length && run->texts[a][n] == run->texts[b][n])
          n++;
        ck_assert_uint_eq (
            mt3_beam_search_in_common (run->search, length, a, b), n);
      }
  }
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("beam");
  TCase *tcase = tcase_create ("beam");
  SRunner *runner = srunner_create (suite);
  gint failed;

  suite_add_tcase (suite, tcase);
  tcase_add_test (tcase, test_two_beams_find_what_one_does_not);
  tcase_add_loop_test (
      tcase, test_more_alpha_favours_longer_texts, 0, G_N_ELEMENTS (alphas));
  tcase_add_test (tcase, test_a_score_is_that_of_the_length_with_the_end);
  tcase_add_test (tcase, test_a_search_ends_when_nothing_can_become_better);
  tcase_add_test (tcase, test_a_search_goes_on_behind_an_end);
  tcase_add_test (tcase, test_without_an_end_the_best_live_text_is_read);
  tcase_add_test (tcase, test_a_text_that_ended_comes_before_any_that_did_not);
  tcase_add_test (tcase, test_only_allowed_tokens_continue_a_text);
  tcase_add_test (tcase, test_probabilities_are_those_of_the_tokens);
  tcase_add_test (tcase, test_texts_know_what_they_have_in_common);
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
