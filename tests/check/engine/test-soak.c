/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Streams come, work, flush and go at random from many threads. Everything
 * that comes out must be right; run it under the sanitizers.
 */
#include <check.h>
#include <stdlib.h>

#include "fake-backend.h"

#define N_THREADS 8
#define STREAMS_A_THREAD 25
#define MAX_PENDING 8

typedef struct {
  Mt3Engine *engine;
  guint32 seed;
} Player;

/* One stream's life: windows first .. next are under way. */
static void
play_stream (Mt3Engine *engine, GRand *rand, guint name)
{
  g_autoptr (Mt3Stream) stream =
      mt3_stream_new (engine, &fake_greedy, MAX_PENDING);
  const gint n_acts = g_rand_int_range (rand, 0, 80);
  guint first = 0, next = 0;

  for (gint act = 0; act < n_acts; act++) {
    guint choice = g_rand_int_range (rand, 0, 100);

    if (choice < 55 && next - first < MAX_PENDING) {
      fake_push (stream, next, name + next, (name + next) % 23);
      next++;
    } else if (choice < 97 && next > first) {
      fake_expect (stream, first, name + first, (name + first) % 23);
      first++;
    } else if (choice >= 97) {
      mt3_stream_set_flushing (stream, TRUE);
      mt3_stream_set_flushing (stream, FALSE);
      first = next;
    }
  }
}

static gpointer
play (gpointer data)
{
  Player *player = data;
  GRand *rand = g_rand_new_with_seed (player->seed);

  for (guint s = 0; s < STREAMS_A_THREAD; s++)
    play_stream (player->engine, rand, 100000 * player->seed + 1000 * s);
  g_rand_free (rand);
  return NULL;
}

START_TEST (test_streams_come_and_go)
{
  FakeOptions options = {.n_slots = 6, .prefill_batch = 3, .step_us = 20};
  g_autoptr (Mt3Engine) engine = fake_engine_new (&options, NULL);
  GThread *threads[N_THREADS];
  Player players[N_THREADS];
  Mt3EngineStats stats;

  for (guint i = 0; i < N_THREADS; i++) {
    players[i] = (Player){engine, i + 1};
    threads[i] = g_thread_new ("player", play, &players[i]);
  }
  for (guint i = 0; i < N_THREADS; i++)
    g_thread_join (threads[i]);
  mt3_engine_get_stats (engine, &stats);
  ck_assert_uint_eq (stats.n_streams, 0);
  ck_assert_uint_gt (stats.windows, 0);
}
END_TEST

/* A pusher and a popper as an element has them, flushed by a third. */
static gpointer
push_until_flushed (gpointer stream)
{
  guint64 index = 0;

  while (mt3_stream_push (stream, fake_window (index, index, index % 9),
             NULL) == MT3_FLOW_OK)
    index++;
  return NULL;
}

static gpointer
pop_until_flushed (gpointer stream)
{
  for (guint64 index = 0;; index++) {
    g_autoptr (Mt3Transcript) transcript = NULL;
    Mt3Flow flow = mt3_stream_pop (stream, &transcript, NULL);

    if (flow == MT3_FLOW_FLUSHING)
      return NULL;
    g_assert_cmpint (flow, ==, MT3_FLOW_OK);
    fake_check (transcript, index, index, index % 9, &fake_greedy);
  }
}

START_TEST (test_a_stream_is_flushed_again_and_again)
{
  FakeOptions options = {.n_slots = 3, .prefill_batch = 2, .step_us = 5};
  g_autoptr (Mt3Engine) engine = fake_engine_new (&options, NULL);
  g_autoptr (Mt3Stream) stream = mt3_stream_new (engine, &fake_greedy, 5);
  GRand *rand = g_rand_new_with_seed (7);

  for (guint i = 0; i < 150; i++) {
    GThread *pusher = g_thread_new ("pusher", push_until_flushed, stream);
    GThread *popper = g_thread_new ("popper", pop_until_flushed, stream);

    g_usleep (g_rand_int_range (rand, 0, 5000));
    mt3_stream_set_flushing (stream, TRUE);
    g_thread_join (pusher);
    g_thread_join (popper);
    mt3_stream_set_flushing (stream, FALSE);
  }
  g_rand_free (rand);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("soak");
  TCase *tcase = tcase_create ("soak");
  SRunner *runner = srunner_create (suite);
  gint failed;

  suite_add_tcase (suite, tcase);
  tcase_add_test (tcase, test_streams_come_and_go);
  tcase_add_test (tcase, test_a_stream_is_flushed_again_and_again);
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
