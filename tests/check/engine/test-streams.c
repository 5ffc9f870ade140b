/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What users of an engine see: windows go in, transcripts come out in order,
 * whatever the backend does and whoever else is there.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "fake-backend.h"

START_TEST (test_results_keep_the_order_of_push)
{
  FakeOptions options = {.n_slots = 4, .prefill_batch = 4};
  g_autoptr (Mt3Engine) engine = fake_engine_new (&options, NULL);
  g_autoptr (Mt3Stream) stream = mt3_stream_new (engine, &fake_greedy, 20);
  const guint n_tokens[] = {60, 2, 30, 0, 9, 1, 50, 3};

  for (guint i = 0; i < G_N_ELEMENTS (n_tokens); i++)
    fake_push (stream, i, i, n_tokens[i]);
  for (guint i = 0; i < G_N_ELEMENTS (n_tokens); i++)
    fake_expect (stream, i, i, n_tokens[i]);
}
END_TEST

static const struct {
  FakeOptions backend;
  guint n_streams;
} loads[] = {
    {{.n_slots = 1, .prefill_batch = 1, .decode_steps = 1}, 1},
    {{.n_slots = 1, .prefill_batch = 8, .decode_steps = 5}, 3},
    {{.n_slots = 7, .prefill_batch = 2, .decode_steps = 1}, 1},
    {{.n_slots = 7, .prefill_batch = 7, .decode_steps = 16}, 5},
    {{.n_slots = 64, .prefill_batch = 32, .decode_steps = 3}, 12},
    {{.n_slots = 64, .prefill_batch = 1, .decode_steps = 100}, 12},
};

START_TEST (test_tokens_depend_on_neither_slots_nor_steps_nor_streams)
{
  g_autoptr (Mt3Engine) engine = fake_engine_new (&loads[_i].backend, NULL);
  Mt3Stream *streams[12];

  for (guint s = 0; s < loads[_i].n_streams; s++)
    streams[s] = mt3_stream_new (engine, &fake_greedy, 30);
  for (guint i = 0; i < 30; i++)
    for (guint s = 0; s < loads[_i].n_streams; s++)
      fake_push (streams[s], i, 1000 * s + i, (7 * i + s) % 70);
  for (guint s = 0; s < loads[_i].n_streams; s++)
    for (guint i = 0; i < 30; i++)
      fake_expect (streams[s], i, 1000 * s + i, (7 * i + s) % 70);
  for (guint s = 0; s < loads[_i].n_streams; s++)
    mt3_stream_free (streams[s]);
}
END_TEST

START_TEST (test_streams_take_turns)
{
  FakeOptions options = {.n_slots = 1};
  g_autoptr (FakeLog) log = fake_log_new ();
  g_autoptr (Mt3Engine) engine = fake_engine_new (&options, log);
  Mt3Stream *streams[4];
  const guint order[] = {0, 1, 100, 200, 300, 2, 101, 201, 301, 3, 102, 202,
      302, 4, 5, 6, 7, 8, 9};

  for (guint s = 0; s < 4; s++)
    streams[s] = mt3_stream_new (engine, &fake_greedy, 20);
  fake_log_hold (log);
  for (guint i = 0; i < 10; i++)
    fake_push (streams[0], i, i, 3);
  fake_log_wait_until_held (log);
  for (guint s = 1; s < 4; s++)
    for (guint i = 0; i < 3; i++)
      fake_push (streams[s], i, 100 * s + i, 3);
  fake_log_let_go (log);

  for (guint i = 0; i < 10; i++)
    fake_expect (streams[0], i, i, 3);
  for (guint s = 0; s < 4; s++)
    mt3_stream_free (streams[s]);
  ck_assert_uint_eq (log->prefilled->len, G_N_ELEMENTS (order));
  ck_assert_mem_eq (log->prefilled->data, order, sizeof (order));
}
END_TEST

START_TEST (test_an_idle_engine_fills_all_slots_before_it_decodes)
{
  FakeOptions options = {.n_slots = 4, .prefill_batch = 1};
  g_autoptr (FakeLog) log = fake_log_new ();
  g_autoptr (Mt3Engine) engine = fake_engine_new (&options, log);
  g_autoptr (Mt3Stream) stream = mt3_stream_new (engine, &fake_greedy, 20);

  fake_log_hold (log);
  fake_push (stream, 0, 0, 0);
  fake_log_wait_until_held (log);
  for (guint i = 1; i <= 4; i++)
    fake_push (stream, i, i, 0);
  fake_log_let_go (log);
  for (guint i = 0; i <= 4; i++)
    fake_expect (stream, i, i, 0);
  ck_assert_str_eq (log->calls->str, "PDPPPPD");
}
END_TEST

START_TEST (test_windows_under_way_wait_for_one_prefill_at_most)
{
  FakeOptions options = {.n_slots = 4, .prefill_batch = 1};
  g_autoptr (FakeLog) log = fake_log_new ();
  g_autoptr (Mt3Engine) engine = fake_engine_new (&options, log);
  g_autoptr (Mt3Stream) stream = mt3_stream_new (engine, &fake_greedy, 20);

  fake_log_hold (log);
  fake_push (stream, 0, 0, 20);
  fake_log_wait_until_held (log);
  for (guint i = 1; i <= 10; i++)
    fake_push (stream, i, i, 4);
  fake_log_let_go (log);
  for (guint i = 0; i <= 10; i++)
    fake_expect (stream, i, i, i == 0 ? 20 : 4);
  ck_assert_ptr_null (strstr (log->calls->str, "PP"));
  ck_assert_uint_eq (log->max_active, 4);
}
END_TEST

START_TEST (test_free_slots_are_prefilled_in_batches)
{
  FakeOptions options = {.n_slots = 8, .prefill_batch = 3};
  g_autoptr (FakeLog) log = fake_log_new ();
  g_autoptr (Mt3Engine) engine = fake_engine_new (&options, log);
  g_autoptr (Mt3Stream) stream = mt3_stream_new (engine, &fake_greedy, 20);

  fake_log_hold (log);
  fake_push (stream, 0, 0, 0);
  fake_log_wait_until_held (log);
  for (guint i = 1; i <= 8; i++)
    fake_push (stream, i, i, 2);
  fake_log_let_go (log);
  for (guint i = 0; i <= 8; i++)
    fake_expect (stream, i, i, i == 0 ? 0 : 2);
  ck_assert_str_eq (log->calls->str, "PDPPPDDD");
  ck_assert_uint_eq (log->max_batch, 3);
}
END_TEST

static gpointer
push_fifty (gpointer stream)
{
  for (guint i = 0; i < 50; i++)
    fake_push (stream, i, i, i % 5);
  mt3_stream_finish (stream);
  return NULL;
}

START_TEST (test_no_more_than_max_pending_are_under_way)
{
  FakeOptions options = {.n_slots = 8, .prefill_batch = 8};
  g_autoptr (Mt3Engine) engine = fake_engine_new (&options, NULL);
  g_autoptr (Mt3Stream) stream = mt3_stream_new (engine, &fake_greedy, 3);
  GThread *pusher = g_thread_new ("pusher", push_fifty, stream);

  for (guint i = 0; i < 50; i++) {
    ck_assert_uint_le (mt3_stream_n_pending (stream), 3);
    fake_expect (stream, i, i, i % 5);
  }
  fake_expect_flow (stream, MT3_FLOW_END);
  g_thread_join (pusher);
}
END_TEST

START_TEST (test_by_default_a_file_fills_every_slot)
{
  FakeOptions options = {.n_slots = 6, .prefill_batch = 6};
  g_autoptr (FakeLog) log = fake_log_new ();
  g_autoptr (Mt3Engine) engine = fake_engine_new (&options, log);
  g_autoptr (Mt3Stream) stream = mt3_stream_new (engine, &fake_greedy, 0);

  fake_log_hold (log);
  for (guint i = 0; i < 7; i++)
    fake_push (stream, i, i, 3);
  fake_log_let_go (log);
  for (guint i = 0; i < 7; i++)
    fake_expect (stream, i, i, 3);
  ck_assert_uint_eq (log->max_active, 6);
}
END_TEST

#define N_FILES 8
#define FILE_WINDOWS 40

static gpointer
push_file (gpointer stream)
{
  for (guint i = 0; i < FILE_WINDOWS; i++)
    fake_push (stream, i, i, 3);
  return NULL;
}

static guint
count_pending (Mt3Stream *const *streams)
{
  guint n = 0;

  for (guint s = 0; s < N_FILES; s++)
    n += mt3_stream_n_pending (streams[s]);
  return n;
}

/* One file may have 4 windows a slot under way; many of them not much more. */
START_TEST (test_files_share_the_room_for_windows)
{
  FakeOptions options = {.n_slots = 8, .prefill_batch = 8};
  const guint room = 4 * options.n_slots;
  g_autoptr (FakeLog) log = fake_log_new ();
  g_autoptr (Mt3Engine) engine = fake_engine_new (&options, log);
  Mt3Stream *streams[N_FILES];
  GThread *threads[N_FILES];
  guint n = 0, n_before;

  fake_log_hold (log);
  for (guint s = 0; s < N_FILES; s++)
    streams[s] = mt3_stream_new (engine, &fake_greedy, 0);
  for (guint s = 0; s < N_FILES; s++)
    threads[s] = g_thread_new ("file", push_file, streams[s]);
  do {
    n_before = n;
    g_usleep (20000);
    n = count_pending (streams);
  } while (n < room || n > n_before);
  ck_assert_uint_le (n, 2 * room);
  fake_log_let_go (log);
  for (guint i = 0; i < FILE_WINDOWS; i++)
    for (guint s = 0; s < N_FILES; s++)
      fake_expect (streams[s], i, i, 3);
  for (guint s = 0; s < N_FILES; s++) {
    g_thread_join (threads[s]);
    mt3_stream_free (streams[s]);
  }
}
END_TEST

static Mt3Window *
pooled_window (Mt3Engine *engine, guint64 index, guint n_tokens)
{
  Mt3Window *window = mt3_window_new (mt3_config_window_samples (&fake_config),
      mt3_engine_window_pool (engine));

  window->index = index;
  window->n_frames = fake_config.window_frames;
  window->samples[0] = (gfloat) index;
  window->samples[1] = (gfloat) n_tokens;
  return window;
}

/* Done, skipped, flushed while they wait, and flushed before they came. */
START_TEST (test_windows_go_back_to_the_engines_pool)
{
  FakeOptions options = {.n_slots = 2};
  g_autoptr (Mt3Engine) engine = fake_engine_new (&options, NULL);
  g_autoptr (Mt3Stream) stream = mt3_stream_new (engine, &fake_greedy, 8);
  Mt3WindowPool *pool = mt3_engine_window_pool (engine);
  Mt3Window *windows[4];

  for (guint i = 0; i < G_N_ELEMENTS (windows); i++)
    windows[i] = pooled_window (engine, i, 3);
  mt3_stream_push (stream, windows[0], NULL);
  fake_expect (stream, 0, 0, 3);
  ck_assert_uint_eq (mt3_window_pool_n_kept (pool), 1);
  mt3_stream_skip (stream, windows[1], NULL);
  ck_assert_uint_eq (mt3_window_pool_n_kept (pool), 2);
  mt3_stream_push (stream, windows[2], NULL);
  mt3_stream_set_flushing (stream, TRUE);
  mt3_stream_push (stream, windows[3], NULL);
  g_clear_pointer (&stream, mt3_stream_free);
  ck_assert_uint_eq (mt3_window_pool_n_kept (pool), 4);
}
END_TEST

START_TEST (test_end_comes_after_the_last_result)
{
  FakeOptions options = {.n_slots = 2};
  g_autoptr (Mt3Engine) engine = fake_engine_new (&options, NULL);
  g_autoptr (Mt3Stream) stream = mt3_stream_new (engine, &fake_greedy, 4);

  fake_push (stream, 0, 5, 3);
  mt3_stream_finish (stream);
  fake_expect (stream, 0, 5, 3);
  fake_expect_flow (stream, MT3_FLOW_END);
  fake_expect_flow (stream, MT3_FLOW_END);
}
END_TEST

START_TEST (test_a_transcript_carries_its_windows_marks)
{
  FakeOptions options = {.n_slots = 2};
  g_autoptr (Mt3Engine) engine = fake_engine_new (&options, NULL);
  g_autoptr (Mt3Stream) stream = mt3_stream_new (engine, &fake_greedy, 4);
  g_autoptr (Mt3Transcript) transcript = NULL;
  Mt3Window *window = fake_window (17, 1, 2);

  window->last = TRUE;
  window->n_frames = 3;
  mt3_stream_push (stream, window, NULL);
  mt3_stream_pop (stream, &transcript, NULL);
  ck_assert_uint_eq (transcript->index, 17);
  ck_assert_uint_eq (transcript->n_frames, 3);
  ck_assert (transcript->last);
  ck_assert_int_ge (transcript->latency_us, 0);
}
END_TEST

START_TEST (test_decoding_counts_from_the_next_push_on)
{
  FakeOptions options = {.n_slots = 1};
  g_autoptr (FakeLog) log = fake_log_new ();
  g_autoptr (Mt3Engine) engine = fake_engine_new (&options, log);
  g_autoptr (Mt3Stream) stream = mt3_stream_new (engine, &fake_greedy, 4);
  const Mt3Decoding drawn = {5, 1.0f, 0, 1.0f, 42};
  g_autoptr (Mt3Transcript) transcript = NULL;

  fake_log_hold (log);
  fake_push (stream, 0, 0, 30);
  fake_push (stream, 1, 1, 30);
  mt3_stream_set_decoding (stream, &drawn);
  fake_push (stream, 2, 2, 30);
  fake_log_let_go (log);
  fake_expect (stream, 0, 0, 30);
  fake_expect (stream, 1, 1, 30);
  mt3_stream_pop (stream, &transcript, NULL);
  fake_check (transcript, 2, 2, 30, &drawn);
}
END_TEST

static const guint token_limits[] = {0, 1, 10, 64, 65, 1000};

START_TEST (test_max_tokens_is_at_most_the_models)
{
  FakeOptions options = {.n_slots = 1};
  g_autoptr (Mt3Engine) engine = fake_engine_new (&options, NULL);
  Mt3Decoding decoding = {token_limits[_i], 0.0f, 0, 1.0f, 0};
  g_autoptr (Mt3Stream) stream = mt3_stream_new (engine, &decoding, 4);
  g_autoptr (Mt3Transcript) transcript = NULL;

  fake_push (stream, 0, 9, 500);
  mt3_stream_pop (stream, &transcript, NULL);
  fake_check (transcript, 0, 9, 500, &decoding);
  ck_assert (!transcript->ended);
}
END_TEST

START_TEST (test_a_stream_keeps_its_engine)
{
  FakeOptions options = {.n_slots = 1};
  g_autoptr (FakeLog) log = fake_log_new ();
  Mt3Engine *engine = fake_engine_new (&options, log);
  Mt3Stream *stream = mt3_stream_new (engine, &fake_greedy, 4);

  mt3_engine_unref (engine);
  ck_assert (!log->closed);
  fake_push (stream, 0, 3, 3);
  fake_expect (stream, 0, 3, 3);
  mt3_stream_free (stream);
  ck_assert (log->closed);
}
END_TEST

START_TEST (test_stats_add_up)
{
  FakeOptions options = {.n_slots = 3, .decode_steps = 2, .rerun = TRUE};
  g_autoptr (Mt3Engine) engine = fake_engine_new (&options, NULL);
  g_autoptr (Mt3Stream) a = mt3_stream_new (engine, &fake_greedy, 10);
  g_autoptr (Mt3Stream) b = mt3_stream_new (engine, &fake_greedy, 10);
  Mt3EngineStats stats;

  for (guint i = 0; i < 10; i++) {
    fake_push (a, i, i, 2 * i);
    fake_push (b, i, i, 1);
  }
  for (guint i = 0; i < 10; i++) {
    fake_expect (a, i, i, 2 * i);
    fake_expect (b, i, i, 1);
  }
  mt3_engine_get_stats (engine, &stats);
  ck_assert_str_eq (stats.device, "fake");
  ck_assert_str_eq (stats.description, "3 fake slots");
  ck_assert_ptr_null (stats.fallback);
  ck_assert_int_eq (stats.precision, MT3_PRECISION_EXACT);
  ck_assert_uint_eq (stats.n_slots, 3);
  ck_assert_uint_eq (stats.n_streams, 2);
  ck_assert_uint_eq (stats.windows, 20);
  ck_assert_uint_eq (stats.tokens, 90 + 10);
  ck_assert_uint_eq (stats.reruns, 20);
  ck_assert_uint_ge (stats.decode_steps, 2 * (1 + 9));
  ck_assert_uint_gt (stats.host_bytes, 0);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("streams");
  TCase *tcase = tcase_create ("streams");
  SRunner *runner = srunner_create (suite);
  gint failed;

  suite_add_tcase (suite, tcase);
  tcase_add_test (tcase, test_results_keep_the_order_of_push);
  tcase_add_loop_test (tcase,
      test_tokens_depend_on_neither_slots_nor_steps_nor_streams, 0,
      G_N_ELEMENTS (loads));
  tcase_add_test (tcase, test_streams_take_turns);
  tcase_add_test (tcase, test_an_idle_engine_fills_all_slots_before_it_decodes);
  tcase_add_test (tcase, test_windows_under_way_wait_for_one_prefill_at_most);
  tcase_add_test (tcase, test_free_slots_are_prefilled_in_batches);
  tcase_add_test (tcase, test_no_more_than_max_pending_are_under_way);
  tcase_add_test (tcase, test_by_default_a_file_fills_every_slot);
  tcase_add_test (tcase, test_files_share_the_room_for_windows);
  tcase_add_test (tcase, test_windows_go_back_to_the_engines_pool);
  tcase_add_test (tcase, test_end_comes_after_the_last_result);
  tcase_add_test (tcase, test_a_transcript_carries_its_windows_marks);
  tcase_add_test (tcase, test_decoding_counts_from_the_next_push_on);
  tcase_add_loop_test (tcase, test_max_tokens_is_at_most_the_models, 0,
      G_N_ELEMENTS (token_limits));
  tcase_add_test (tcase, test_a_stream_keeps_its_engine);
  tcase_add_test (tcase, test_stats_add_up);
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
