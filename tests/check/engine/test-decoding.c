/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * How windows are to be decoded: who keeps what is allowed, when a change
 * counts, and windows that are not decoded at all.
 */
#include <check.h>
#include <stdlib.h>

#include "fake-backend.h"

static Mt3TokenSet *
set_of (guint token)
{
  Mt3TokenSet *set = mt3_token_set_new (64);

  mt3_token_set_add (set, MT3_TOKEN_EOS);
  mt3_token_set_add (set, token);
  return set;
}

static guint
n_references (const Mt3TokenSet *set)
{
  return (guint) g_atomic_int_get ((gint *) &set->ref_count);
}

static Mt3Decoding
allowing (const Mt3TokenSet *set)
{
  Mt3Decoding decoding = fake_greedy;

  decoding.allowed = set;
  return decoding;
}

/* Sets */

/* What lies behind the set's bits here is all ones. */
START_TEST (test_no_set_holds_what_is_beyond_the_vocabulary)
{
  g_autofree Mt3TokenSet *set =
      g_malloc (sizeof *set + 2 * sizeof set->bits[0]);

  set->n_tokens = 32;
  set->bits[0] = set->bits[1] = G_MAXUINT32;
  ck_assert (mt3_token_set_contains (set, 31));
  ck_assert (!mt3_token_set_contains (set, 32));
}
END_TEST

/* Equality */

START_TEST (test_decodings_are_equal_when_all_they_say_is)
{
  g_autoptr (Mt3TokenSet) five = set_of (5);
  g_autoptr (Mt3TokenSet) other_five = set_of (5);
  g_autoptr (Mt3TokenSet) six = set_of (6);
  const Mt3Decoding base = {10, 1.0f, 3, 0.5f, 7, five};
  const struct {
    Mt3Decoding decoding;
    gboolean equal;
  } others[] = {
      {{10, 1.0f, 3, 0.5f, 7, five}, TRUE},
      {{10, 1.0f, 3, 0.5f, 7, other_five}, TRUE},
      {{11, 1.0f, 3, 0.5f, 7, five}, FALSE},
      {{10, 1.5f, 3, 0.5f, 7, five}, FALSE},
      {{10, 1.0f, 4, 0.5f, 7, five}, FALSE},
      {{10, 1.0f, 3, 0.6f, 7, five}, FALSE},
      {{10, 1.0f, 3, 0.5f, 8, five}, FALSE},
      {{10, 1.0f, 3, 0.5f, 7, six}, FALSE},
      {{10, 1.0f, 3, 0.5f, 7, NULL}, FALSE},
  };

  for (guint i = 0; i < G_N_ELEMENTS (others); i++)
    ck_assert_msg (
        mt3_decoding_equal (&base, &others[i].decoding) == others[i].equal,
        "row %u", i);
}
END_TEST

START_TEST (test_searches_are_equal_when_size_and_alpha_are)
{
  Mt3Decoding search = fake_greedy, other;

  search.beam_size = 4;
  search.beam_alpha = 0.6f;
  other = search;
  ck_assert (mt3_decoding_equal (&search, &other));
  other.beam_size = 5;
  ck_assert (!mt3_decoding_equal (&search, &other));
  other = search;
  other.beam_alpha = 0.7f;
  ck_assert (!mt3_decoding_equal (&search, &other));
}
END_TEST

/* Beams */

static Mt3Decoding
searching (guint beam_size)
{
  Mt3Decoding decoding = fake_greedy;

  decoding.beam_size = beam_size;
  return decoding;
}

START_TEST (test_each_beam_of_a_window_takes_the_room_of_a_window)
{
  g_autoptr (FakeLog) log = fake_log_new ();
  FakeOptions options = {.n_slots = 10, .max_beams = 10};
  g_autoptr (Mt3Engine) engine = fake_engine_new (&options, log);
  Mt3Decoding decoding = searching (4);
  g_autoptr (Mt3Stream) stream = mt3_stream_new (engine, &decoding, 9);

  fake_log_hold (log);
  fake_push (stream, 0, 0, 20);
  fake_log_wait_until_held (log);
  for (guint i = 1; i < 9; i++)
    fake_push (stream, i, i, 20);
  fake_log_let_go (log);
  for (guint i = 0; i < 9; i++)
    fake_expect (stream, i, i, 20);
  ck_assert_uint_eq (log->max_active, 2);
  ck_assert_uint_eq (log->max_beams, 8);
}
END_TEST

START_TEST (test_windows_beside_a_search_take_turns_with_it)
{
  g_autoptr (FakeLog) log = fake_log_new ();
  FakeOptions options = {.n_slots = 6, .max_beams = 6};
  g_autoptr (Mt3Engine) engine = fake_engine_new (&options, log);
  Mt3Decoding decoding = searching (4);
  g_autoptr (Mt3Stream) search = mt3_stream_new (engine, &decoding, 9);
  g_autoptr (Mt3Stream) greedy = mt3_stream_new (engine, &fake_greedy, 9);

  fake_log_hold (log);
  fake_push (greedy, 0, 0, 20);
  fake_log_wait_until_held (log);
  for (guint i = 0; i < 9; i++)
    fake_push (search, i, 100 + i, 20);
  for (guint i = 1; i < 9; i++)
    fake_push (greedy, i, i, 20);
  fake_log_let_go (log);
  for (guint i = 0; i < 9; i++) {
    fake_expect (search, i, 100 + i, 20);
    fake_expect (greedy, i, i, 20);
  }
  for (guint i = 0; i < log->prefilled->len; i++)
    ck_assert_uint_eq (g_array_index (log->prefilled, guint, i),
        i / 2 + (i % 2 == 0 ? 0 : 100));
  ck_assert_uint_eq (log->prefilled->len, 18);
}
END_TEST

/* One that needs all slots would never find them free if others could go
 * first. */
START_TEST (test_a_window_that_needs_room_keeps_its_turn)
{
  g_autoptr (FakeLog) log = fake_log_new ();
  FakeOptions options = {.n_slots = 4, .max_beams = 4};
  g_autoptr (Mt3Engine) engine = fake_engine_new (&options, log);
  Mt3Decoding decoding = searching (4);
  g_autoptr (Mt3Stream) greedy = mt3_stream_new (engine, &fake_greedy, 9);
  g_autoptr (Mt3Stream) search = mt3_stream_new (engine, &decoding, 9);

  fake_log_hold (log);
  fake_push (greedy, 0, 100, 20);
  fake_log_wait_until_held (log);
  fake_push (search, 0, 200, 20);
  for (guint i = 1; i < 6; i++)
    fake_push (greedy, i, 100 + i, 20);
  fake_log_let_go (log);
  fake_expect (search, 0, 200, 20);
  for (guint i = 0; i < 6; i++)
    fake_expect (greedy, i, 100 + i, 20);
  ck_assert_uint_eq (g_array_index (log->prefilled, guint, 1), 200);
}
END_TEST

START_TEST (test_a_flushed_search_leaves_its_room)
{
  g_autoptr (FakeLog) log = fake_log_new ();
  FakeOptions options = {.n_slots = 4, .max_beams = 4};
  g_autoptr (Mt3Engine) engine = fake_engine_new (&options, log);
  Mt3Decoding decoding = searching (4);
  g_autoptr (Mt3Stream) stream = mt3_stream_new (engine, &decoding, 9);

  fake_log_hold (log);
  fake_push (stream, 0, 1, 20);
  fake_log_wait_until_held (log);
  mt3_stream_set_flushing (stream, TRUE);
  mt3_stream_set_flushing (stream, FALSE);
  fake_push (stream, 0, 2, 20);
  fake_log_let_go (log);
  fake_expect (stream, 0, 2, 20);
}
END_TEST

START_TEST (test_a_window_has_no_more_beams_than_the_backend)
{
  g_autoptr (FakeLog) log = fake_log_new ();
  FakeOptions options = {.n_slots = 4, .max_beams = _i};
  g_autoptr (Mt3Engine) engine = fake_engine_new (&options, log);
  Mt3Decoding decoding = searching (8);
  g_autoptr (Mt3Stream) stream = mt3_stream_new (engine, &decoding, 9);

  fake_push (stream, 0, 1, 20);
  fake_expect (stream, 0, 1, 20);
  ck_assert_uint_eq (log->max_beams, MAX (_i, 1));
}
END_TEST

/* References */

START_TEST (test_a_stream_needs_no_reference_of_its_maker)
{
  FakeOptions options = {.n_slots = 1};
  g_autoptr (Mt3Engine) engine = fake_engine_new (&options, NULL);
  Mt3TokenSet *set = set_of (5);
  Mt3Decoding decoding = allowing (set);
  Mt3Stream *stream = mt3_stream_new (engine, &decoding, 4);

  ck_assert_uint_eq (n_references (set), 2);
  fake_push (stream, 0, 0, 3);
  fake_expect (stream, 0, 0, 3);
  mt3_stream_free (stream);
  ck_assert_uint_eq (n_references (set), 1);
  mt3_token_set_unref (set);
}
END_TEST

START_TEST (test_a_window_keeps_what_it_was_pushed_with)
{
  FakeOptions options = {.n_slots = 1};
  g_autoptr (FakeLog) log = fake_log_new ();
  g_autoptr (Mt3Engine) engine = fake_engine_new (&options, log);
  g_autoptr (Mt3TokenSet) before = set_of (5);
  g_autoptr (Mt3TokenSet) after = set_of (6);
  Mt3Decoding decoding = allowing (before);
  g_autoptr (Mt3Stream) stream = mt3_stream_new (engine, &decoding, 4);
  const Mt3TokenSet *expected[] = {before, before, after};

  fake_log_hold (log);
  fake_push (stream, 0, 0, 3);
  fake_push (stream, 1, 1, 3);
  decoding = allowing (after);
  mt3_stream_set_decoding (stream, &decoding);
  fake_push (stream, 2, 2, 3);
  fake_log_let_go (log);
  for (guint i = 0; i < G_N_ELEMENTS (expected); i++) {
    g_autoptr (Mt3Transcript) transcript = NULL;

    mt3_stream_pop (stream, &transcript, NULL);
    ck_assert_ptr_eq (transcript->allowed, expected[i]);
  }
  ck_assert_uint_eq (n_references (before), 1);
}
END_TEST

START_TEST (test_a_flush_drops_the_references_of_its_windows)
{
  FakeOptions options = {.n_slots = 1};
  g_autoptr (FakeLog) log = fake_log_new ();
  g_autoptr (Mt3Engine) engine = fake_engine_new (&options, log);
  g_autoptr (Mt3TokenSet) set = set_of (5);
  Mt3Decoding decoding = allowing (set);
  Mt3Stream *stream = mt3_stream_new (engine, &decoding, 4);

  fake_log_hold (log);
  fake_push (stream, 0, 0, 30);
  fake_log_wait_until_held (log);
  fake_push (stream, 1, 1, 3);
  mt3_stream_set_flushing (stream, TRUE);
  /* The one in the slot is needed until the backend lets go of it. */
  ck_assert_uint_eq (n_references (set), 3);
  fake_log_let_go (log);
  mt3_stream_free (stream);
  ck_assert_uint_eq (n_references (set), 1);
}
END_TEST

/* Skipped windows */

static void
expect_skipped (Mt3Stream *stream, guint64 index)
{
  g_autoptr (Mt3Transcript) transcript = NULL;

  ck_assert_int_eq (mt3_stream_pop (stream, &transcript, NULL), MT3_FLOW_OK);
  ck_assert_uint_eq (transcript->index, index);
  ck_assert (transcript->skipped);
  ck_assert_uint_eq (transcript->n_tokens, 0);
}

START_TEST (test_a_skipped_window_comes_in_its_turn)
{
  FakeOptions options = {.n_slots = 1};
  g_autoptr (FakeLog) log = fake_log_new ();
  g_autoptr (Mt3Engine) engine = fake_engine_new (&options, log);
  g_autoptr (Mt3Stream) stream = mt3_stream_new (engine, &fake_greedy, 8);

  fake_log_hold (log);
  mt3_stream_skip (stream, fake_window (0, 0, 9), NULL);
  fake_push (stream, 1, 1, 5);
  mt3_stream_skip (stream, fake_window (2, 2, 9), NULL);
  mt3_stream_skip (stream, fake_window (3, 3, 9), NULL);
  fake_push (stream, 4, 4, 2);
  mt3_stream_finish (stream);
  expect_skipped (stream, 0);
  fake_log_let_go (log);
  fake_expect (stream, 1, 1, 5);
  expect_skipped (stream, 2);
  expect_skipped (stream, 3);
  fake_expect (stream, 4, 4, 2);
  fake_expect_flow (stream, MT3_FLOW_END);
}
END_TEST

START_TEST (test_a_skipped_window_costs_the_backend_nothing)
{
  FakeOptions options = {.n_slots = 1};
  g_autoptr (FakeLog) log = fake_log_new ();
  Mt3Engine *engine = fake_engine_new (&options, log);
  Mt3Stream *stream = mt3_stream_new (engine, &fake_greedy, 8);

  mt3_stream_skip (stream, fake_window (0, 0, 9), NULL);
  expect_skipped (stream, 0);
  mt3_stream_free (stream);
  mt3_engine_unref (engine);
  ck_assert_str_eq (log->calls->str, "");
}
END_TEST

START_TEST (test_a_flush_drops_skipped_windows)
{
  FakeOptions options = {.n_slots = 1};
  g_autoptr (Mt3Engine) engine = fake_engine_new (&options, NULL);
  g_autoptr (Mt3Stream) stream = mt3_stream_new (engine, &fake_greedy, 8);

  mt3_stream_skip (stream, fake_window (0, 0, 9), NULL);
  mt3_stream_set_flushing (stream, TRUE);
  ck_assert_int_eq (
      mt3_stream_skip (stream, fake_window (1, 1, 9), NULL), MT3_FLOW_FLUSHING);
  mt3_stream_set_flushing (stream, FALSE);
  ck_assert_uint_eq (mt3_stream_n_pending (stream), 0);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("decoding");
  TCase *tcase = tcase_create ("decoding");
  SRunner *runner;
  int n_failed;

  suite_add_tcase (suite, tcase);
  tcase_add_test (tcase, test_no_set_holds_what_is_beyond_the_vocabulary);
  tcase_add_test (tcase, test_decodings_are_equal_when_all_they_say_is);
  tcase_add_test (tcase, test_searches_are_equal_when_size_and_alpha_are);
  tcase_add_test (tcase, test_each_beam_of_a_window_takes_the_room_of_a_window);
  tcase_add_test (tcase, test_windows_beside_a_search_take_turns_with_it);
  tcase_add_test (tcase, test_a_window_that_needs_room_keeps_its_turn);
  tcase_add_test (tcase, test_a_flushed_search_leaves_its_room);
  tcase_add_loop_test (
      tcase, test_a_window_has_no_more_beams_than_the_backend, 0, 4);
  tcase_add_test (tcase, test_a_stream_needs_no_reference_of_its_maker);
  tcase_add_test (tcase, test_a_window_keeps_what_it_was_pushed_with);
  tcase_add_test (tcase, test_a_flush_drops_the_references_of_its_windows);
  tcase_add_test (tcase, test_a_skipped_window_comes_in_its_turn);
  tcase_add_test (tcase, test_a_skipped_window_costs_the_backend_nothing);
  tcase_add_test (tcase, test_a_flush_drops_skipped_windows);

  runner = srunner_create (suite);
  srunner_run_all (runner, CK_ENV);
  n_failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
