/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flushing and freeing streams at any moment.
 */
#include <check.h>
#include <stdlib.h>

#include "fake-backend.h"

/* One slot; the window in it stays in the backend until the log lets go. */
typedef struct {
  FakeLog *log;
  Mt3Engine *engine;
  Mt3Stream *stream;
} Held;

static void
held_init (Held *held)
{
  FakeOptions options = {.n_slots = 1};

  held->log = fake_log_new ();
  held->engine = fake_engine_new (&options, held->log);
  held->stream = mt3_stream_new (held->engine, &fake_greedy, 2);
  fake_log_hold (held->log);
  fake_push (held->stream, 0, 0, 30);
  fake_log_wait_until_held (held->log);
}

static void
held_clear (Held *held)
{
  mt3_stream_free (held->stream);
  mt3_engine_unref (held->engine);
  fake_log_free (held->log);
}

static gpointer
push_three (gpointer stream)
{
  Mt3Flow flow = MT3_FLOW_OK;

  for (guint i = 1; i <= 3 && flow == MT3_FLOW_OK; i++)
    flow = mt3_stream_push (stream, fake_window (i, i, 3), NULL);
  return GINT_TO_POINTER (flow);
}

START_TEST (test_a_flush_ends_a_blocked_push)
{
  Held held;
  GThread *pusher;

  held_init (&held);
  pusher = g_thread_new ("pusher", push_three, held.stream);
  while (mt3_stream_n_pending (held.stream) < 2)
    g_usleep (100);
  mt3_stream_set_flushing (held.stream, TRUE);
  ck_assert_int_eq (
      GPOINTER_TO_INT (g_thread_join (pusher)), MT3_FLOW_FLUSHING);
  fake_log_let_go (held.log);
  held_clear (&held);
}
END_TEST

static gpointer
pop_one (gpointer stream)
{
  g_autoptr (Mt3Transcript) transcript = NULL;

  return GINT_TO_POINTER (mt3_stream_pop (stream, &transcript, NULL));
}

START_TEST (test_a_flush_ends_a_blocked_pop)
{
  Held held;
  GThread *popper;

  held_init (&held);
  popper = g_thread_new ("popper", pop_one, held.stream);
  mt3_stream_set_flushing (held.stream, TRUE);
  ck_assert_int_eq (
      GPOINTER_TO_INT (g_thread_join (popper)), MT3_FLOW_FLUSHING);
  fake_log_let_go (held.log);
  held_clear (&held);
}
END_TEST

START_TEST (test_a_flushing_stream_refuses_everything)
{
  Held held;

  held_init (&held);
  mt3_stream_set_flushing (held.stream, TRUE);
  ck_assert_uint_eq (mt3_stream_n_pending (held.stream), 0);
  ck_assert_int_eq (mt3_stream_push (held.stream, fake_window (1, 1, 1), NULL),
      MT3_FLOW_FLUSHING);
  fake_expect_flow (held.stream, MT3_FLOW_FLUSHING);
  fake_log_let_go (held.log);
  held_clear (&held);
}
END_TEST

START_TEST (test_after_a_flush_only_new_windows_come_out)
{
  Held held;

  held_init (&held);
  fake_push (held.stream, 1, 1, 3);
  mt3_stream_set_flushing (held.stream, TRUE);
  mt3_stream_set_flushing (held.stream, FALSE);
  fake_push (held.stream, 0, 100, 5);
  fake_push (held.stream, 1, 101, 5);
  fake_log_let_go (held.log);
  fake_expect (held.stream, 0, 100, 5);
  fake_expect (held.stream, 1, 101, 5);
  held_clear (&held);
}
END_TEST

START_TEST (test_a_flushed_window_leaves_its_slot_unfinished)
{
  Held held;

  held_init (&held);
  mt3_stream_set_flushing (held.stream, TRUE);
  mt3_stream_set_flushing (held.stream, FALSE);
  fake_push (held.stream, 0, 100, 1);
  fake_log_let_go (held.log);
  fake_expect (held.stream, 0, 100, 1);
  ck_assert_uint_eq (held.log->n_released, 1);
  held_clear (&held);
}
END_TEST

static gpointer
pop_all (gpointer stream)
{
  Mt3Flow flow = MT3_FLOW_OK;

  while (flow == MT3_FLOW_OK) {
    g_autoptr (Mt3Transcript) transcript = NULL;

    flow = mt3_stream_pop (stream, &transcript, NULL);
  }
  return GINT_TO_POINTER (flow);
}

START_TEST (test_a_flush_forgets_finish)
{
  Held held;
  GThread *popper;

  held_init (&held);
  mt3_stream_finish (held.stream);
  mt3_stream_set_flushing (held.stream, TRUE);
  mt3_stream_set_flushing (held.stream, FALSE);
  fake_log_let_go (held.log);
  popper = g_thread_new ("popper", pop_all, held.stream);
  fake_push (held.stream, 0, 100, 1);
  while (mt3_stream_n_pending (held.stream) > 0)
    g_usleep (100);
  /* Time for a pop that does not wait to return END. */
  g_usleep (5000);
  mt3_stream_set_flushing (held.stream, TRUE);
  ck_assert_int_eq (
      GPOINTER_TO_INT (g_thread_join (popper)), MT3_FLOW_FLUSHING);
  held_clear (&held);
}
END_TEST

START_TEST (test_a_flush_drops_results_nobody_popped)
{
  FakeOptions options = {.n_slots = 2};
  g_autoptr (Mt3Engine) engine = fake_engine_new (&options, NULL);
  g_autoptr (Mt3Stream) stream = mt3_stream_new (engine, &fake_greedy, 4);
  Mt3EngineStats stats = {0};

  fake_push (stream, 0, 0, 1);
  while (stats.windows == 0)
    mt3_engine_get_stats (engine, &stats);
  mt3_stream_set_flushing (stream, TRUE);
  mt3_stream_set_flushing (stream, FALSE);
  mt3_stream_finish (stream);
  fake_expect_flow (stream, MT3_FLOW_END);
}
END_TEST

START_TEST (test_a_flush_leaves_other_streams_alone)
{
  FakeOptions options = {.n_slots = 2};
  g_autoptr (FakeLog) log = fake_log_new ();
  g_autoptr (Mt3Engine) engine = fake_engine_new (&options, log);
  g_autoptr (Mt3Stream) flushed = mt3_stream_new (engine, &fake_greedy, 9);
  g_autoptr (Mt3Stream) other = mt3_stream_new (engine, &fake_greedy, 9);

  fake_log_hold (log);
  for (guint i = 0; i < 5; i++) {
    fake_push (flushed, i, i, 9);
    fake_push (other, i, 100 + i, 9);
  }
  fake_log_wait_until_held (log);
  mt3_stream_set_flushing (flushed, TRUE);
  fake_log_let_go (log);
  for (guint i = 0; i < 5; i++)
    fake_expect (other, i, 100 + i, 9);
}
END_TEST

/* Lets the backend go on once the stream is being freed. */
static gpointer
let_go_when_dropped (gpointer data)
{
  Held *held = data;

  while (mt3_stream_n_pending (held->stream) > 0)
    g_usleep (100);
  fake_log_let_go (held->log);
  return NULL;
}

START_TEST (test_free_waits_until_the_backend_is_done_with_the_stream)
{
  Held held;
  GThread *helper;
  Mt3EngineStats stats;

  held_init (&held);
  helper = g_thread_new ("helper", let_go_when_dropped, &held);
  mt3_stream_free (held.stream);
  ck_assert_uint_eq (held.log->n_released, 1);
  g_thread_join (helper);
  mt3_engine_get_stats (held.engine, &stats);
  ck_assert_uint_eq (stats.n_streams, 0);
  mt3_engine_unref (held.engine);
  fake_log_free (held.log);
}
END_TEST

START_TEST (test_free_drops_windows_that_wait)
{
  FakeOptions options = {.n_slots = 1};
  g_autoptr (FakeLog) log = fake_log_new ();
  g_autoptr (Mt3Engine) engine = fake_engine_new (&options, log);
  g_autoptr (Mt3Stream) keeps = mt3_stream_new (engine, &fake_greedy, 9);
  Mt3Stream *goes = mt3_stream_new (engine, &fake_greedy, 9);

  fake_log_hold (log);
  fake_push (keeps, 0, 0, 3);
  fake_log_wait_until_held (log);
  fake_push (goes, 0, 100, 3);
  mt3_stream_free (goes);
  fake_log_let_go (log);
  fake_expect (keeps, 0, 0, 3);
  ck_assert_uint_eq (log->prefilled->len, 1);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("flush");
  TCase *tcase = tcase_create ("flush");
  SRunner *runner = srunner_create (suite);
  gint failed;

  suite_add_tcase (suite, tcase);
  tcase_add_test (tcase, test_a_flush_ends_a_blocked_push);
  tcase_add_test (tcase, test_a_flush_ends_a_blocked_pop);
  tcase_add_test (tcase, test_a_flushing_stream_refuses_everything);
  tcase_add_test (tcase, test_after_a_flush_only_new_windows_come_out);
  tcase_add_test (tcase, test_a_flushed_window_leaves_its_slot_unfinished);
  tcase_add_test (tcase, test_a_flush_forgets_finish);
  tcase_add_test (tcase, test_a_flush_drops_results_nobody_popped);
  tcase_add_test (tcase, test_a_flush_leaves_other_streams_alone);
  tcase_add_test (
      tcase, test_free_waits_until_the_backend_is_done_with_the_stream);
  tcase_add_test (tcase, test_free_drops_windows_that_wait);
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
