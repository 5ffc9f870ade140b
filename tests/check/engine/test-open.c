/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Which engine a request gets: shared or its own, on which device, and what is
 * said when there is none. The model is real (tiny), the backends are fakes:
 * this program has its own mt3_cpu_backend_open().
 */
#define _GNU_SOURCE
#include <check.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utime.h>

#include "error.h"
#include "fake-backend.h"
#include "random-model.h"

/* What the fake CPU did and shall do. */
static struct {
  GMutex lock;
  guint n_opened;
  Mt3BackendOptions options; /* of the last open */
  gboolean refuses;
  guint open_us;
  guint fail_decode;
} cpu;

Mt3Backend *
mt3_cpu_backend_open (
    Mt3Model *model, const Mt3BackendOptions *options, GError **error)
{
  FakeOptions fake = {
      .name = "cpu",
      .n_slots = options->n_slots,
      .max_beams = options->n_slots,
      .fail_decode = cpu.fail_decode,
  };
  Mt3Backend *backend;

  g_mutex_lock (&cpu.lock);
  cpu.n_opened++;
  cpu.options = *options;
  g_mutex_unlock (&cpu.lock);
  g_usleep (cpu.open_us);
  if (cpu.refuses) {
    g_set_error (error, MT3_ERROR, MT3_ERROR_MEMORY, "no memory for weights");
    return NULL;
  }
  backend = fake_backend_new (&fake, NULL);
  backend->precision = options->precision;
  return backend;
}

/* A directory for one test, and in it a copy of the tiny model. */
static gchar *dir;
static gchar *model_file;

static gchar *
copy_model (const gchar *name)
{
  gchar *path = g_build_filename (dir, name, NULL);
  g_autofree gchar *content = NULL;
  gsize length;

  g_assert_true (g_file_get_contents (
      g_getenv ("MT3_TINY_MODEL"), &content, &length, NULL));
  g_assert_true (g_file_set_contents (path, content, length, NULL));
  return path;
}

static void
setup (void)
{
  dir = g_dir_make_tmp ("mt3-open-XXXXXX", NULL);
  model_file = copy_model ("model.safetensors");
  g_setenv ("GST_MT3_MODULE_DIR", dir, TRUE);
  g_unsetenv ("FAKE_FAIL_DECODE");
  g_unsetenv ("GST_MT3_DRAFT");
  cpu.n_opened = 0;
  cpu.refuses = FALSE;
  cpu.open_us = 0;
  cpu.fail_decode = 0;
}

static void
teardown (void)
{
  GDir *entries = g_dir_open (dir, 0, NULL);
  const gchar *name;

  while ((name = g_dir_read_name (entries)) != NULL) {
    g_autofree gchar *path = g_build_filename (dir, name, NULL);

    g_unlink (path);
  }
  g_dir_close (entries);
  g_rmdir (dir);
  g_free (dir);
  g_free (model_file);
}

/* Installs one of the fake modules that the build made. */
static void
install_module (const gchar *kind)
{
  g_autofree gchar *file = g_strdup_printf ("libmt3fake-%s.so", kind);
  g_autofree gchar *from =
      g_build_filename (g_getenv ("MT3_FAKE_MODULES"), file, NULL);
  g_autofree gchar *to = g_build_filename (dir, "libmt3cuda.so", NULL);

  g_assert_cmpint (symlink (from, to), ==, 0);
}

static Mt3EngineOptions
request (Mt3Device device, Mt3Precision precision)
{
  return (Mt3EngineOptions){
      .model_file = model_file,
      .device = device,
      .precision = precision,
      .batch_size = 2,
  };
}

static Mt3Engine *
open_engine (const Mt3EngineOptions *options)
{
  g_autoptr (GError) error = NULL;
  Mt3Engine *engine = mt3_engine_open (options, &error);

  g_assert_no_error (error);
  return engine;
}

START_TEST (test_the_same_request_gets_the_same_engine)
{
  Mt3EngineOptions options = request (MT3_DEVICE_CPU, MT3_PRECISION_EXACT);
  g_autoptr (Mt3Engine) a = open_engine (&options);
  g_autoptr (Mt3Engine) b = open_engine (&options);

  ck_assert_ptr_eq (a, b);
  ck_assert_uint_eq (cpu.n_opened, 1);
}
END_TEST

START_TEST (test_an_engine_nobody_uses_is_closed)
{
  Mt3EngineOptions options = request (MT3_DEVICE_CPU, MT3_PRECISION_EXACT);

  mt3_engine_unref (open_engine (&options));
  mt3_engine_unref (open_engine (&options));
  ck_assert_uint_eq (cpu.n_opened, 2);
}
END_TEST

START_TEST (test_the_first_to_open_decides_threads_and_slots)
{
  Mt3EngineOptions options = request (MT3_DEVICE_CPU, MT3_PRECISION_EXACT);
  Mt3EngineOptions other = options;
  g_autoptr (Mt3Engine) a = NULL;
  g_autoptr (Mt3Engine) b = NULL;

  options.n_threads = 3;
  options.batch_size = 5;
  other.n_threads = 7;
  other.batch_size = 9;
  a = open_engine (&options);
  b = open_engine (&other);
  ck_assert_ptr_eq (a, b);
  ck_assert_uint_eq (cpu.options.n_threads, 3);
  ck_assert_uint_eq (cpu.options.n_slots, 5);
}
END_TEST

START_TEST (test_precisions_are_engines_of_their_own)
{
  Mt3EngineOptions exact = request (MT3_DEVICE_CPU, MT3_PRECISION_EXACT);
  Mt3EngineOptions fast = request (MT3_DEVICE_CPU, MT3_PRECISION_FAST);
  g_autoptr (Mt3Engine) a = open_engine (&exact);
  g_autoptr (Mt3Engine) b = open_engine (&fast);

  ck_assert_ptr_ne (a, b);
  ck_assert_str_eq (mt3_engine_model_file (a), model_file);
  ck_assert_str_eq (mt3_engine_model_file (b), model_file);
}
END_TEST

START_TEST (test_on_the_cpu_auto_precision_is_exact)
{
  Mt3EngineOptions exact = request (MT3_DEVICE_CPU, MT3_PRECISION_EXACT);
  Mt3EngineOptions any = request (MT3_DEVICE_CPU, MT3_PRECISION_AUTO);
  g_autoptr (Mt3Engine) a = open_engine (&any);
  g_autoptr (Mt3Engine) b = open_engine (&exact);

  ck_assert_ptr_eq (a, b);
  ck_assert_int_eq (cpu.options.precision, MT3_PRECISION_EXACT);
}
END_TEST

START_TEST (test_other_files_are_other_models)
{
  g_autofree gchar *copy = copy_model ("copy.safetensors");
  Mt3EngineOptions options = request (MT3_DEVICE_CPU, MT3_PRECISION_EXACT);
  Mt3EngineOptions other = options;
  g_autoptr (Mt3Engine) a = open_engine (&options);
  g_autoptr (Mt3Engine) b = NULL;

  other.model_file = copy;
  b = open_engine (&other);
  ck_assert_ptr_ne (a, b);
}
END_TEST

START_TEST (test_names_of_one_file_are_one_model)
{
  Mt3EngineOptions options = request (MT3_DEVICE_CPU, MT3_PRECISION_EXACT);
  Mt3EngineOptions other = options;
  g_autofree gchar *link = g_build_filename (dir, "link.safetensors", NULL);
  g_autoptr (Mt3Engine) a = open_engine (&options);
  g_autoptr (Mt3Engine) b = NULL;

  ck_assert_int_eq (symlink (model_file, link), 0);
  other.model_file = link;
  b = open_engine (&other);
  ck_assert_ptr_eq (a, b);
}
END_TEST

START_TEST (test_a_replaced_file_is_another_model)
{
  Mt3EngineOptions options = request (MT3_DEVICE_CPU, MT3_PRECISION_EXACT);
  g_autoptr (Mt3Engine) a = open_engine (&options);
  g_autoptr (Mt3Engine) b = NULL;
  struct utimbuf past = {1000000000, 1000000000};

  ck_assert_int_eq (utime (model_file, &past), 0);
  b = open_engine (&options);
  ck_assert_ptr_ne (a, b);
}
END_TEST

/* Another file that nobody can tell from it without reading it. */
static void
spoil_model (void)
{
  g_autofree gchar *content = NULL;
  struct stat st;

  ck_assert_int_eq (stat (model_file, &st), 0);
  content = g_malloc0 (st.st_size);
  g_assert_true (g_file_set_contents (model_file, content, st.st_size, NULL));
  ck_assert_int_eq (utimensat (AT_FDCWD, model_file,
                        (struct timespec[]){st.st_atim, st.st_mtim}, 0),
      0);
}

START_TEST (test_who_shares_an_engine_does_not_read_the_model_again)
{
  Mt3EngineOptions options = request (_i, MT3_PRECISION_AUTO);
  g_autoptr (Mt3Engine) a = open_engine (&options);
  g_autoptr (Mt3Engine) b = NULL;

  spoil_model ();
  b = open_engine (&options);
  ck_assert_ptr_eq (a, b);
}
END_TEST

static gpointer
open_in_thread (gpointer options)
{
  return mt3_engine_open (options, NULL);
}

START_TEST (test_all_who_open_at_once_wait_for_one_load)
{
  Mt3EngineOptions options = request (MT3_DEVICE_CPU, MT3_PRECISION_EXACT);
  GThread *threads[8];
  Mt3Engine *engines[8];

  cpu.open_us = 20000;
  for (guint i = 0; i < 8; i++)
    threads[i] = g_thread_new ("opener", open_in_thread, &options);
  for (guint i = 0; i < 8; i++)
    engines[i] = g_thread_join (threads[i]);
  for (guint i = 0; i < 8; i++) {
    ck_assert_ptr_eq (engines[i], engines[0]);
    mt3_engine_unref (engines[i]);
  }
  ck_assert_uint_eq (cpu.n_opened, 1);
}
END_TEST

static gpointer
open_to_fail (gpointer options)
{
  g_autoptr (GError) error = NULL;

  ck_assert_ptr_null (mt3_engine_open (options, &error));
  ck_assert (g_error_matches (error, MT3_ERROR, MT3_ERROR_MEMORY));
  return NULL;
}

START_TEST (test_an_error_reaches_all_who_wait)
{
  Mt3EngineOptions options = request (MT3_DEVICE_CPU, MT3_PRECISION_EXACT);
  GThread *threads[8];

  cpu.refuses = TRUE;
  cpu.open_us = 20000;
  for (guint i = 0; i < 8; i++)
    threads[i] = g_thread_new ("opener", open_to_fail, &options);
  for (guint i = 0; i < 8; i++)
    g_thread_join (threads[i]);
}
END_TEST

START_TEST (test_after_an_error_the_next_tries_again)
{
  Mt3EngineOptions options = request (MT3_DEVICE_CPU, MT3_PRECISION_EXACT);

  cpu.refuses = TRUE;
  open_to_fail (&options);
  cpu.refuses = FALSE;
  mt3_engine_unref (open_engine (&options));
}
END_TEST

static const Mt3Decoding decoding = {60, 0.0f, 0, 1.0f, 0};

static Mt3Flow
run_window (Mt3Engine *engine, guint name, guint n_tokens, GError **error)
{
  g_autoptr (Mt3Stream) stream = mt3_stream_new (engine, &decoding, 2);
  g_autoptr (Mt3Transcript) transcript = NULL;
  Mt3Flow flow;

  mt3_stream_push (stream, fake_window (0, name, n_tokens), NULL);
  flow = mt3_stream_pop (stream, &transcript, error);
  if (flow == MT3_FLOW_OK)
    fake_check (transcript, 0, name, n_tokens, &decoding);
  return flow;
}

START_TEST (test_a_broken_engine_is_not_given_to_others)
{
  Mt3EngineOptions options = request (MT3_DEVICE_CPU, MT3_PRECISION_EXACT);
  g_autoptr (Mt3Engine) broken = NULL;
  g_autoptr (Mt3Engine) whole = NULL;

  cpu.fail_decode = 1;
  broken = open_engine (&options);
  ck_assert_int_eq (run_window (broken, 1, 5, NULL), MT3_FLOW_ERROR);
  cpu.fail_decode = 0;
  whole = open_engine (&options);
  ck_assert_ptr_ne (whole, broken);
  ck_assert_int_eq (run_window (whole, 1, 5, NULL), MT3_FLOW_OK);
}
END_TEST

START_TEST (test_a_bad_model_fails_on_every_device)
{
  Mt3EngineOptions options = request (_i, MT3_PRECISION_AUTO);
  g_autoptr (GError) error = NULL;

  install_module ("good");
  g_assert_true (g_file_set_contents (model_file, "no model", -1, NULL));
  ck_assert_ptr_null (mt3_engine_open (&options, &error));
  ck_assert_int_eq (error->domain, MT3_ERROR);
  ck_assert_ptr_nonnull (strstr (error->message, model_file));
  ck_assert_uint_eq (cpu.n_opened, 0);
}
END_TEST

START_TEST (test_auto_takes_cuda_when_it_can)
{
  Mt3EngineOptions options = request (MT3_DEVICE_AUTO, MT3_PRECISION_AUTO);
  g_autoptr (Mt3Engine) engine = NULL;
  Mt3EngineStats stats;

  install_module ("good");
  engine = open_engine (&options);
  mt3_engine_get_stats (engine, &stats);
  ck_assert_str_eq (stats.device, "cuda");
  ck_assert_int_eq (stats.precision, MT3_PRECISION_FAST);
  ck_assert_ptr_null (stats.fallback);
  ck_assert_uint_eq (cpu.n_opened, 0);
}
END_TEST

START_TEST (test_cuda_devices_are_engines_of_their_own)
{
  Mt3EngineOptions options = request (MT3_DEVICE_CUDA, MT3_PRECISION_AUTO);
  Mt3EngineOptions other = options;
  g_autoptr (Mt3Engine) a = NULL;
  g_autoptr (Mt3Engine) b = NULL;

  install_module ("good");
  other.cuda_device_id = 1;
  a = open_engine (&options);
  b = open_engine (&other);
  ck_assert_ptr_ne (a, b);
}
END_TEST

START_TEST (test_cuda_refuses_a_search)
{
  Mt3EngineOptions options = request (MT3_DEVICE_CUDA, MT3_PRECISION_AUTO);
  g_autoptr (GError) error = NULL;

  install_module ("good");
  options.beam_size = 4;
  ck_assert_ptr_null (mt3_engine_open (&options, &error));
  ck_assert (g_error_matches (error, MT3_ERROR, MT3_ERROR_UNSUPPORTED));
  ck_assert_ptr_nonnull (strstr (error->message, "device=cpu"));
}
END_TEST

START_TEST (test_for_a_search_auto_takes_the_cpu_and_says_why)
{
  Mt3EngineOptions options = request (MT3_DEVICE_AUTO, MT3_PRECISION_AUTO);
  g_autoptr (Mt3Engine) engine = NULL;
  Mt3EngineStats stats;

  install_module ("good");
  options.beam_size = 2;
  engine = open_engine (&options);
  mt3_engine_get_stats (engine, &stats);
  ck_assert_str_eq (stats.device, "cpu");
  ck_assert_int_eq (stats.precision, MT3_PRECISION_EXACT);
  ck_assert_ptr_nonnull (strstr (stats.fallback, "beam"));
}
END_TEST

START_TEST (test_a_search_has_slots_enough_for_its_beams)
{
  Mt3EngineOptions options = request (MT3_DEVICE_CPU, MT3_PRECISION_EXACT);
  g_autoptr (Mt3Engine) engine = NULL;

  options.batch_size = 2;
  options.beam_size = 5;
  engine = open_engine (&options);
  ck_assert_uint_eq (cpu.options.n_slots, 5);
}
END_TEST

START_TEST (test_an_engine_with_too_few_slots_is_not_shared_for_a_search)
{
  Mt3EngineOptions options = request (MT3_DEVICE_CPU, MT3_PRECISION_EXACT);
  Mt3Engine *first = open_engine (&options);
  g_autoptr (GError) error = NULL;

  options.beam_size = 3;
  ck_assert_ptr_null (mt3_engine_open (&options, &error));
  ck_assert (g_error_matches (error, MT3_ERROR, MT3_ERROR_UNSUPPORTED));
  ck_assert_ptr_nonnull (strstr (error->message, "batch-size of 3 or more"));
  mt3_engine_unref (first);
}
END_TEST

/* What can be wrong with the module, and the words that say so. NULL: there is
 * none. */
static const struct {
  const gchar *kind;
  const gchar *words;
} faults[] = {
    {NULL, "GST_MT3_MODULE_DIR"},
    {"unready", "the test has no driver"},
    {"newer", "version 99"},
    {"empty", "mt3_backend_module"},
};

START_TEST (test_cuda_says_why_it_cannot_run)
{
  Mt3EngineOptions options = request (MT3_DEVICE_CUDA, MT3_PRECISION_AUTO);
  g_autoptr (GError) error = NULL;

  if (faults[_i].kind != NULL)
    install_module (faults[_i].kind);
  ck_assert_ptr_null (mt3_engine_open (&options, &error));
  ck_assert (g_error_matches (error, MT3_ERROR, MT3_ERROR_DEVICE));
  ck_assert_msg (strstr (error->message, faults[_i].words) != NULL,
      "message: %s", error->message);
  ck_assert_uint_eq (cpu.n_opened, 0);
}
END_TEST

START_TEST (test_without_cuda_auto_takes_the_cpu_and_says_why)
{
  Mt3EngineOptions options = request (MT3_DEVICE_AUTO, MT3_PRECISION_AUTO);
  g_autoptr (Mt3Engine) engine = NULL;
  Mt3EngineStats stats;

  if (faults[_i].kind != NULL)
    install_module (faults[_i].kind);
  engine = open_engine (&options);
  mt3_engine_get_stats (engine, &stats);
  ck_assert_str_eq (stats.device, "cpu");
  ck_assert_int_eq (stats.precision, MT3_PRECISION_EXACT);
  ck_assert_ptr_nonnull (strstr (stats.fallback, faults[_i].words));
}
END_TEST

START_TEST (test_without_cuda_auto_and_cpu_share_an_engine)
{
  Mt3EngineOptions any = request (MT3_DEVICE_AUTO, MT3_PRECISION_AUTO);
  Mt3EngineOptions fixed = request (MT3_DEVICE_CPU, MT3_PRECISION_AUTO);
  g_autoptr (Mt3Engine) a = open_engine (&any);
  g_autoptr (Mt3Engine) b = open_engine (&fixed);

  ck_assert_ptr_eq (a, b);
}
END_TEST

/* A module that needs a library which is not there, made of one that works by
 * giving a library that it needs another name. */
START_TEST (test_a_missing_library_is_named)
{
  const gchar *there = "libglib-2.0.so.0", *gone = "libgone-2.0.so.0";
  Mt3EngineOptions options = request (MT3_DEVICE_CUDA, MT3_PRECISION_AUTO);
  g_autofree gchar *from = g_build_filename (
      g_getenv ("MT3_FAKE_MODULES"), "libmt3fake-good.so", NULL);
  g_autofree gchar *to = g_build_filename (dir, "libmt3cuda.so", NULL);
  g_autofree gchar *bytes = NULL;
  g_autoptr (GError) error = NULL;
  gchar *end, *name;
  gsize length;

  g_assert_true (g_file_get_contents (from, &bytes, &length, NULL));
  end = bytes + length;
  for (name = bytes; name < end; name++) {
    name = memmem (name, end - name, there, strlen (there));
    if (name == NULL)
      break;
    memcpy (name, gone, strlen (gone));
  }
  g_assert_true (g_file_set_contents (to, bytes, length, NULL));
  ck_assert_ptr_null (mt3_engine_open (&options, &error));
  ck_assert (g_error_matches (error, MT3_ERROR, MT3_ERROR_DEVICE));
  ck_assert_ptr_nonnull (strstr (error->message, gone));
}
END_TEST

START_TEST (test_auto_goes_on_on_the_cpu_when_cuda_fails_mid_run)
{
  Mt3EngineOptions options = request (MT3_DEVICE_AUTO, MT3_PRECISION_AUTO);
  g_autoptr (Mt3Engine) engine = NULL;
  Mt3EngineStats stats;

  install_module ("good");
  g_setenv ("FAKE_FAIL_DECODE", "9", TRUE);
  engine = open_engine (&options);
  ck_assert_int_eq (run_window (engine, 1, 20, NULL), MT3_FLOW_OK);
  mt3_engine_get_stats (engine, &stats);
  ck_assert_str_eq (stats.device, "cpu");
  ck_assert_int_eq (stats.precision, MT3_PRECISION_EXACT);
  ck_assert_str_eq (stats.fallback, "cuda: device lost");
}
END_TEST

START_TEST (test_who_asked_for_cuda_hears_when_it_fails_mid_run)
{
  Mt3EngineOptions options = request (MT3_DEVICE_CUDA, MT3_PRECISION_AUTO);
  g_autoptr (Mt3Engine) engine = NULL;
  g_autoptr (GError) error = NULL;

  install_module ("good");
  g_setenv ("FAKE_FAIL_DECODE", "9", TRUE);
  engine = open_engine (&options);
  ck_assert_int_eq (run_window (engine, 1, 20, &error), MT3_FLOW_ERROR);
  ck_assert (g_error_matches (error, MT3_ERROR, MT3_ERROR_DEVICE));
  ck_assert_uint_eq (cpu.n_opened, 0);
}
END_TEST

static const Mt3Device with_cuda[] = {MT3_DEVICE_AUTO, MT3_DEVICE_CUDA};

/* For the tiny model, and where the variable names it. */
static void
install_draft (void)
{
  g_autofree gchar *path = g_build_filename (dir, "my-draft", NULL);
  g_autoptr (Mt3Model) model = mt3_model_open (model_file, NULL);

  g_assert_true (random_draft_write (model, path, 1, NULL));
  g_setenv ("GST_MT3_DRAFT", path, TRUE);
}

static const gchar *
describe (const Mt3EngineOptions *options)
{
  g_autoptr (Mt3Engine) engine = open_engine (options);
  Mt3EngineStats stats;

  mt3_engine_get_stats (engine, &stats);
  return stats.description;
}

START_TEST (test_cuda_is_given_the_models_draft_network)
{
  Mt3EngineOptions options = request (with_cuda[_i], MT3_PRECISION_AUTO);

  install_module ("good");
  ck_assert_str_eq (describe (&options), "2 fake slots");
  install_draft ();
  ck_assert_str_eq (describe (&options), "fake, with a draft network");
}
END_TEST

START_TEST (test_the_cpu_needs_no_draft_network)
{
  Mt3EngineOptions options = request (MT3_DEVICE_CPU, MT3_PRECISION_AUTO);

  install_draft ();
  mt3_engine_unref (open_engine (&options));
  ck_assert_ptr_null (cpu.options.draft);
  g_setenv ("GST_MT3_DRAFT", "/no/such/draft", TRUE);
  mt3_engine_unref (open_engine (&options));
}
END_TEST

START_TEST (test_nor_does_it_when_cuda_fails_mid_run)
{
  Mt3EngineOptions options = request (MT3_DEVICE_AUTO, MT3_PRECISION_AUTO);
  g_autoptr (Mt3Engine) engine = NULL;

  install_module ("good");
  install_draft ();
  g_setenv ("FAKE_FAIL_DECODE", "9", TRUE);
  engine = open_engine (&options);
  ck_assert_int_eq (run_window (engine, 1, 20, NULL), MT3_FLOW_OK);
  ck_assert_uint_eq (cpu.n_opened, 1);
  ck_assert_ptr_null (cpu.options.draft);
}
END_TEST

START_TEST (test_a_named_draft_network_that_is_missing_fails_with_cuda)
{
  Mt3EngineOptions options = request (with_cuda[_i], MT3_PRECISION_AUTO);
  g_autoptr (GError) error = NULL;

  install_module ("good");
  g_setenv ("GST_MT3_DRAFT", "/no/such/draft", TRUE);
  ck_assert_ptr_null (mt3_engine_open (&options, &error));
  ck_assert (g_error_matches (error, MT3_ERROR, MT3_ERROR_DRAFT));
  ck_assert_ptr_nonnull (strstr (error->message, "/no/such/draft"));
  ck_assert_uint_eq (cpu.n_opened, 0);
}
END_TEST

static TCase *
sharing_tests (void)
{
  TCase *tcase = tcase_create ("sharing");

  tcase_add_checked_fixture (tcase, setup, teardown);
  tcase_add_test (tcase, test_the_same_request_gets_the_same_engine);
  tcase_add_test (tcase, test_an_engine_nobody_uses_is_closed);
  tcase_add_test (tcase, test_the_first_to_open_decides_threads_and_slots);
  tcase_add_test (tcase, test_precisions_are_engines_of_their_own);
  tcase_add_test (tcase, test_on_the_cpu_auto_precision_is_exact);
  tcase_add_test (tcase, test_other_files_are_other_models);
  tcase_add_test (tcase, test_names_of_one_file_are_one_model);
  tcase_add_test (tcase, test_a_replaced_file_is_another_model);
  tcase_add_loop_test (tcase,
      test_who_shares_an_engine_does_not_read_the_model_again, MT3_DEVICE_AUTO,
      MT3_DEVICE_CPU + 1);
  tcase_add_test (tcase, test_all_who_open_at_once_wait_for_one_load);
  tcase_add_test (tcase, test_an_error_reaches_all_who_wait);
  tcase_add_test (tcase, test_after_an_error_the_next_tries_again);
  tcase_add_test (tcase, test_a_broken_engine_is_not_given_to_others);
  return tcase;
}

static TCase *
device_tests (void)
{
  TCase *tcase = tcase_create ("devices");

  tcase_add_checked_fixture (tcase, setup, teardown);
  tcase_add_loop_test (tcase, test_a_bad_model_fails_on_every_device,
      MT3_DEVICE_AUTO, MT3_DEVICE_CUDA + 1);
  tcase_add_test (tcase, test_cuda_refuses_a_search);
  tcase_add_test (tcase, test_for_a_search_auto_takes_the_cpu_and_says_why);
  tcase_add_test (tcase, test_a_search_has_slots_enough_for_its_beams);
  tcase_add_test (
      tcase, test_an_engine_with_too_few_slots_is_not_shared_for_a_search);
  tcase_add_test (tcase, test_auto_takes_cuda_when_it_can);
  tcase_add_test (tcase, test_cuda_devices_are_engines_of_their_own);
  tcase_add_loop_test (
      tcase, test_cuda_says_why_it_cannot_run, 0, G_N_ELEMENTS (faults));
  tcase_add_loop_test (tcase, test_without_cuda_auto_takes_the_cpu_and_says_why,
      0, G_N_ELEMENTS (faults));
  tcase_add_test (tcase, test_without_cuda_auto_and_cpu_share_an_engine);
  tcase_add_test (tcase, test_a_missing_library_is_named);
  tcase_add_test (tcase, test_auto_goes_on_on_the_cpu_when_cuda_fails_mid_run);
  tcase_add_test (tcase, test_who_asked_for_cuda_hears_when_it_fails_mid_run);
  return tcase;
}

static TCase *
draft_tests (void)
{
  TCase *tcase = tcase_create ("draft");

  tcase_add_checked_fixture (tcase, setup, teardown);
  tcase_add_loop_test (tcase, test_cuda_is_given_the_models_draft_network, 0,
      G_N_ELEMENTS (with_cuda));
  tcase_add_test (tcase, test_the_cpu_needs_no_draft_network);
  tcase_add_test (tcase, test_nor_does_it_when_cuda_fails_mid_run);
  tcase_add_loop_test (tcase,
      test_a_named_draft_network_that_is_missing_fails_with_cuda, 0,
      G_N_ELEMENTS (with_cuda));
  return tcase;
}

int
main (void)
{
  Suite *suite = suite_create ("open");
  SRunner *runner = srunner_create (suite);
  gint failed;

  suite_add_tcase (suite, sharing_tests ());
  suite_add_tcase (suite, device_tests ());
  suite_add_tcase (suite, draft_tests ());
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
