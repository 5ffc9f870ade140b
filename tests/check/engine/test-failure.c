/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What happens when a backend fails: every stream hears of it, or a substitute
 * goes on and nobody can tell from the results.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine-private.h"
#include "error.h"
#include "fake-backend.h"

static void
expect_error (Mt3Stream *stream, gint code, const gchar *message)
{
  g_autoptr (GError) error = NULL;
  Mt3Transcript *transcript = NULL;

  ck_assert_int_eq (
      mt3_stream_pop (stream, &transcript, &error), MT3_FLOW_ERROR);
  ck_assert_ptr_null (transcript);
  ck_assert (g_error_matches (error, MT3_ERROR, code));
  ck_assert_str_eq (error->message, message);
}

static const struct {
  guint fail_prefill;
  guint fail_decode;
  gint code;
  const gchar *message;
} failures[] = {
    {1, 0, MT3_ERROR_MEMORY, "fake: no memory for window"},
    {3, 0, MT3_ERROR_MEMORY, "fake: no memory for window"},
    {0, 1, MT3_ERROR_DEVICE, "fake: device lost"},
    {0, 9, MT3_ERROR_DEVICE, "fake: device lost"},
};

static FakeOptions
failing (gint i, guint n_slots)
{
  return (FakeOptions){.n_slots = n_slots,
      .prefill_batch = 2,
      .fail_prefill = failures[i].fail_prefill,
      .fail_decode = failures[i].fail_decode};
}

START_TEST (test_an_error_reaches_every_stream)
{
  FakeOptions options = failing (_i, 6);
  g_autoptr (FakeLog) log = fake_log_new ();
  g_autoptr (Mt3Engine) engine = fake_engine_new (&options, log);
  Mt3Stream *streams[5];

  for (guint s = 0; s < 5; s++)
    streams[s] = mt3_stream_new (engine, &fake_greedy, 9);
  fake_log_hold (log);
  for (guint s = 0; s < 5; s++)
    mt3_stream_push (streams[s], fake_window (0, s, 50), NULL);
  fake_log_let_go (log);
  for (guint s = 0; s < 5; s++) {
    expect_error (streams[s], failures[_i].code, failures[_i].message);
    ck_assert_int_eq (mt3_stream_push (streams[s], fake_window (1, s, 1), NULL),
        MT3_FLOW_ERROR);
    mt3_stream_free (streams[s]);
  }
  ck_assert (log->closed);
}
END_TEST

START_TEST (test_what_was_done_before_an_error_is_delivered)
{
  FakeOptions options = {.n_slots = 1, .fail_decode = 6};
  g_autoptr (Mt3Engine) engine = fake_engine_new (&options, NULL);
  g_autoptr (Mt3Stream) stream = mt3_stream_new (engine, &fake_greedy, 9);

  fake_push (stream, 0, 0, 1);
  fake_expect (stream, 0, 0, 1);
  fake_push (stream, 1, 1, 1);
  mt3_stream_push (stream, fake_window (2, 2, 30), NULL);
  fake_expect (stream, 1, 1, 1);
  expect_error (stream, MT3_ERROR_DEVICE, "fake: device lost");
}
END_TEST

START_TEST (test_a_new_stream_of_a_dead_engine_hears_of_it)
{
  FakeOptions options = {.n_slots = 1, .fail_decode = 1};
  g_autoptr (Mt3Engine) engine = fake_engine_new (&options, NULL);
  g_autoptr (Mt3Stream) first = mt3_stream_new (engine, &fake_greedy, 9);
  g_autoptr (Mt3Stream) second = NULL;

  fake_push (first, 0, 0, 1);
  expect_error (first, MT3_ERROR_DEVICE, "fake: device lost");
  second = mt3_stream_new (engine, &fake_greedy, 9);
  expect_error (second, MT3_ERROR_DEVICE, "fake: device lost");
}
END_TEST

START_TEST (test_a_flush_works_on_a_dead_engine)
{
  FakeOptions options = {.n_slots = 1, .fail_decode = 1};
  g_autoptr (Mt3Engine) engine = fake_engine_new (&options, NULL);
  g_autoptr (Mt3Stream) stream = mt3_stream_new (engine, &fake_greedy, 9);

  fake_push (stream, 0, 0, 1);
  expect_error (stream, MT3_ERROR_DEVICE, "fake: device lost");
  mt3_stream_set_flushing (stream, TRUE);
  fake_expect_flow (stream, MT3_FLOW_FLUSHING);
  mt3_stream_set_flushing (stream, FALSE);
  expect_error (stream, MT3_ERROR_DEVICE, "fake: device lost");
}
END_TEST

/* The substitute: another backend, or an error. */
typedef struct {
  FakeOptions options;
  FakeLog *log;
  gboolean refuses;
  guint n_opened;
} Spare;

static Mt3Backend *
open_spare (gpointer data, GError **error)
{
  Spare *spare = data;

  spare->n_opened++;
  if (!spare->refuses)
    return fake_backend_new (&spare->options, spare->log);
  g_set_error (error, MT3_ERROR, MT3_ERROR_MEMORY, "spare: no memory");
  return NULL;
}

static Mt3Engine *
open_with_spare (const FakeOptions *options, FakeLog *log, Spare *spare)
{
  Mt3Engine *engine = fake_engine_new (options, log);

  mt3_scheduler_set_substitute (
      mt3_engine_scheduler (engine), open_spare, spare, NULL);
  return engine;
}

static const FakeOptions breakdowns[] = {
    {.n_slots = 3, .prefill_batch = 2, .fail_prefill = 1},
    {.n_slots = 3, .prefill_batch = 2, .fail_prefill = 2},
    {.n_slots = 3, .prefill_batch = 2, .fail_prefill = 7},
    {.n_slots = 3, .prefill_batch = 3, .fail_decode = 1},
    {.n_slots = 3, .prefill_batch = 3, .fail_decode = 2},
    {.n_slots = 3, .prefill_batch = 3, .fail_decode = 17},
    {.n_slots = 3, .prefill_batch = 3, .fail_decode = 40},
    {.n_slots = 8, .prefill_batch = 8, .decode_steps = 4, .fail_decode = 3},
};

START_TEST (test_a_substitute_goes_on_with_nothing_lost_or_doubled)
{
  Spare spare = {{.name = "spare", .n_slots = 2, .prefill_batch = 2}};
  g_autoptr (Mt3Engine) engine =
      open_with_spare (&breakdowns[_i], NULL, &spare);
  Mt3Stream *streams[3];
  Mt3EngineStats stats;

  for (guint s = 0; s < 3; s++) {
    streams[s] = mt3_stream_new (engine, &fake_greedy, 20);
    for (guint i = 0; i < 20; i++)
      fake_push (streams[s], i, 100 * s + i, (13 * i + s) % 20);
    mt3_stream_finish (streams[s]);
  }
  for (guint s = 0; s < 3; s++) {
    for (guint i = 0; i < 20; i++)
      fake_expect (streams[s], i, 100 * s + i, (13 * i + s) % 20);
    fake_expect_flow (streams[s], MT3_FLOW_END);
    mt3_stream_free (streams[s]);
  }
  mt3_engine_get_stats (engine, &stats);
  ck_assert_str_eq (stats.device, "spare");
  ck_assert_uint_eq (stats.n_slots, 2);
  ck_assert_uint_eq (stats.windows, 60);
  ck_assert_uint_eq (spare.n_opened, 1);
}
END_TEST

START_TEST (test_a_substitute_begins_with_the_first_unfinished_window)
{
  FakeOptions options = {.n_slots = 2, .prefill_batch = 2, .fail_decode = 5};
  g_autoptr (FakeLog) log = fake_log_new ();
  g_autoptr (FakeLog) spare_log = fake_log_new ();
  Spare spare = {{.n_slots = 1}, spare_log};
  g_autoptr (Mt3Engine) engine = open_with_spare (&options, log, &spare);
  g_autoptr (Mt3Stream) stream = mt3_stream_new (engine, &fake_greedy, 9);
  /* Windows 1 and 2 are done when 0 and 3 are lost in the slots. */
  const guint n_tokens[] = {30, 0, 0, 30, 5};
  const guint again[] = {0, 3, 4};

  fake_log_hold (log);
  for (guint i = 0; i < 5; i++)
    fake_push (stream, i, i, n_tokens[i]);
  fake_log_let_go (log);
  for (guint i = 0; i < 5; i++)
    fake_expect (stream, i, i, n_tokens[i]);
  ck_assert_uint_eq (spare_log->prefilled->len, G_N_ELEMENTS (again));
  ck_assert_mem_eq (spare_log->prefilled->data, again, sizeof (again));
}
END_TEST

START_TEST (test_stats_say_why_the_substitute_runs)
{
  FakeOptions options = {.n_slots = 1, .fail_decode = 1};
  Spare spare = {{.name = "spare", .n_slots = 1}};
  g_autoptr (Mt3Engine) engine = open_with_spare (&options, NULL, &spare);
  g_autoptr (Mt3Stream) stream = mt3_stream_new (engine, &fake_greedy, 9);
  Mt3EngineStats stats;

  fake_push (stream, 0, 0, 1);
  fake_expect (stream, 0, 0, 1);
  mt3_engine_get_stats (engine, &stats);
  ck_assert_str_eq (stats.fallback, "fake: device lost");
}
END_TEST

START_TEST (test_windows_flushed_before_a_failure_stay_flushed)
{
  FakeOptions options = {.n_slots = 2, .prefill_batch = 2, .fail_decode = 1};
  g_autoptr (FakeLog) log = fake_log_new ();
  g_autoptr (FakeLog) spare_log = fake_log_new ();
  Spare spare = {{.n_slots = 2}, spare_log};
  g_autoptr (Mt3Engine) engine = open_with_spare (&options, log, &spare);
  g_autoptr (Mt3Stream) stream = mt3_stream_new (engine, &fake_greedy, 9);
  const guint again[] = {100};

  fake_log_hold (log);
  fake_push (stream, 0, 0, 9);
  fake_log_wait_until_held (log);
  mt3_stream_set_flushing (stream, TRUE);
  mt3_stream_set_flushing (stream, FALSE);
  fake_push (stream, 0, 100, 9);
  fake_log_let_go (log);
  fake_expect (stream, 0, 100, 9);
  ck_assert_uint_eq (spare_log->prefilled->len, 1);
  ck_assert_mem_eq (spare_log->prefilled->data, again, sizeof (again));
}
END_TEST

START_TEST (test_a_substitute_that_cannot_open_is_named_in_the_error)
{
  FakeOptions options = {.n_slots = 1, .fail_decode = 1};
  Spare spare = {.refuses = TRUE};
  g_autoptr (Mt3Engine) engine = open_with_spare (&options, NULL, &spare);
  g_autoptr (Mt3Stream) stream = mt3_stream_new (engine, &fake_greedy, 9);

  fake_push (stream, 0, 0, 1);
  expect_error (stream, MT3_ERROR_DEVICE,
      "fake: device lost; and nothing could take over: spare: no memory");
}
END_TEST

START_TEST (test_a_substitute_that_fails_has_no_other)
{
  FakeOptions options = {.n_slots = 1, .fail_decode = 1};
  Spare spare = {{.name = "spare", .n_slots = 1, .fail_decode = 2}};
  g_autoptr (Mt3Engine) engine = open_with_spare (&options, NULL, &spare);
  g_autoptr (Mt3Stream) stream = mt3_stream_new (engine, &fake_greedy, 9);

  fake_push (stream, 0, 0, 9);
  expect_error (stream, MT3_ERROR_DEVICE, "spare: device lost");
  ck_assert_uint_eq (spare.n_opened, 1);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("failure");
  TCase *tcase = tcase_create ("failure");
  SRunner *runner = srunner_create (suite);
  gint failed;

  suite_add_tcase (suite, tcase);
  tcase_add_loop_test (
      tcase, test_an_error_reaches_every_stream, 0, G_N_ELEMENTS (failures));
  tcase_add_test (tcase, test_what_was_done_before_an_error_is_delivered);
  tcase_add_test (tcase, test_a_new_stream_of_a_dead_engine_hears_of_it);
  tcase_add_test (tcase, test_a_flush_works_on_a_dead_engine);
  tcase_add_loop_test (tcase,
      test_a_substitute_goes_on_with_nothing_lost_or_doubled, 0,
      G_N_ELEMENTS (breakdowns));
  tcase_add_test (
      tcase, test_a_substitute_begins_with_the_first_unfinished_window);
  tcase_add_test (tcase, test_stats_say_why_the_substitute_runs);
  tcase_add_test (tcase, test_windows_flushed_before_a_failure_stay_flushed);
  tcase_add_test (
      tcase, test_a_substitute_that_cannot_open_is_named_in_the_error);
  tcase_add_test (tcase, test_a_substitute_that_fails_has_no_other);
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
