/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gpu-devices.c: engines of one device open and close beside each other. Each
 * device has an engine of its own, and they give the same bits while they work
 * at the same time: where there are several GPUs of one kind.
 *
 * usage: gpu-devices MODEL
 */
#include <check.h>
#include <cuda_runtime_api.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"

#define N_WINDOWS 40
#define N_OPENED 4
#define MAX_DEVICES 16
#define BATCH_SIZE 24

static const gchar *model;
static int n_devices;

static Mt3Engine *
open_engine (guint device, Mt3Precision precision)
{
  const Mt3EngineOptions options = {
      .model_file = model,
      .device = MT3_DEVICE_CUDA,
      .precision = precision,
      .cuda_device_id = device,
      .batch_size = BATCH_SIZE,
  };
  GError *error = NULL;
  Mt3Engine *engine = mt3_engine_open (&options, &error);

  if (engine == NULL)
    ck_abort_msg ("device %u: %s", device, error->message);
  return engine;
}

/* A tone, another one in each window. */
static Mt3Window *
make_window (const Mt3Config *config, guint64 index)
{
  const gsize n = mt3_config_window_samples (config);
  Mt3Window *window = g_malloc0 (sizeof *window + n * sizeof (gfloat));

  window->index = index;
  window->last = index + 1 == N_WINDOWS;
  window->n_frames = config->window_frames;
  for (gsize i = 0; i < n; i++)
    window->samples[i] = (gfloat) (0.3 * sin (2 * G_PI * (110.0 + 7 * index) *
                                              i / config->sample_rate));
  return window;
}

static Mt3Stream *
push_all (Mt3Engine *engine)
{
  const Mt3Decoding decoding = MT3_DECODING_GREEDY;
  Mt3Stream *stream = mt3_stream_new (engine, &decoding, N_WINDOWS);

  for (guint i = 0; i < N_WINDOWS; i++)
    ck_assert_int_eq (mt3_stream_push (stream,
                          make_window (mt3_engine_config (engine), i), NULL),
        MT3_FLOW_OK);
  mt3_stream_finish (stream);
  return stream;
}

static Mt3Transcript *
pop (Mt3Stream *stream)
{
  Mt3Transcript *transcript = NULL;
  GError *error = NULL;

  if (mt3_stream_pop (stream, &transcript, &error) != MT3_FLOW_OK)
    ck_abort_msg ("%s", error != NULL ? error->message : "no window");
  return transcript;
}

static void
check_same (const Mt3Transcript *a, const Mt3Transcript *b)
{
  ck_assert_uint_eq (a->index, b->index);
  ck_assert_uint_eq (a->n_tokens, b->n_tokens);
  ck_assert_mem_eq (a->tokens, b->tokens, a->n_tokens * sizeof *a->tokens);
  ck_assert_mem_eq (
      a->log_probs, b->log_probs, a->n_tokens * sizeof *a->log_probs);
}

START_TEST (test_devices_give_the_same_bits_at_the_same_time)
{
  Mt3Engine *engines[MAX_DEVICES];
  Mt3Stream *streams[MAX_DEVICES];
  guint64 n_tokens = 0;

  for (gint i = 0; i < n_devices; i++)
    engines[i] = open_engine (i, MT3_PRECISION_FAST);
  for (gint i = 0; i < n_devices; i++)
    streams[i] = push_all (engines[i]);
  for (guint w = 0; w < N_WINDOWS; w++) {
    g_autoptr (Mt3Transcript) first = pop (streams[0]);

    n_tokens += first->n_tokens;
    for (gint i = 1; i < n_devices; i++) {
      g_autoptr (Mt3Transcript) other = pop (streams[i]);

      check_same (first, other);
    }
  }
  ck_assert_uint_gt (n_tokens, 0);
  for (gint i = 0; i < n_devices; i++) {
    mt3_stream_free (streams[i]);
    mt3_engine_unref (engines[i]);
  }
}
END_TEST

START_TEST (test_each_device_has_one_engine)
{
  g_autoptr (Mt3Engine) first = open_engine (0, MT3_PRECISION_FAST);
  g_autoptr (Mt3Engine) again = open_engine (0, MT3_PRECISION_FAST);
  g_autoptr (Mt3Engine) other = open_engine (1, MT3_PRECISION_FAST);

  ck_assert_ptr_eq (first, again);
  ck_assert_ptr_ne (first, other);
}
END_TEST

static gpointer
open_and_close (gpointer precision)
{
  for (guint i = 0; i < N_OPENED; i++)
    mt3_engine_unref (
        open_engine (0, (Mt3Precision) GPOINTER_TO_INT (precision)));
  return NULL;
}

/* One captures graphs while the other waits for what it started, or closes. */
START_TEST (test_engines_open_and_close_beside_each_other)
{
  GThread *threads[] = {
      g_thread_new (
          "fast", open_and_close, GINT_TO_POINTER (MT3_PRECISION_FAST)),
      g_thread_new (
          "exact", open_and_close, GINT_TO_POINTER (MT3_PRECISION_EXACT)),
  };

  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    g_thread_join (threads[i]);
}
END_TEST

static Suite *
devices_suite (void)
{
  Suite *suite = suite_create ("GPU devices");
  TCase *engines = tcase_create ("engines");
  TCase *devices;

  tcase_add_test (engines, test_engines_open_and_close_beside_each_other);
  tcase_set_timeout (engines, 60);
  suite_add_tcase (suite, engines);
  if (n_devices < 2) {
    g_print ("one device: no other to compare with\n");
    return suite;
  }
  devices = tcase_create ("devices");
  tcase_add_test (devices, test_each_device_has_one_engine);
  tcase_add_test (devices, test_devices_give_the_same_bits_at_the_same_time);
  suite_add_tcase (suite, devices);
  return suite;
}

int
main (int argc, char **argv)
{
  SRunner *runner;
  int n_failed;

  if (argc != 2 || cudaGetDeviceCount (&n_devices) != cudaSuccess)
    return EXIT_FAILURE;
  n_devices = MIN (n_devices, MAX_DEVICES);
  model = argv[1];
  runner = srunner_create (devices_suite ());
  /* A process that forks has no device. */
  srunner_set_fork_status (runner, CK_NOFORK);
  srunner_run_all (runner, CK_NORMAL);
  n_failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
