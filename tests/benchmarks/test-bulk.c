/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * That mt3-bench sees when a window gives something else another time, and
 * refuses what it cannot measure. What the fake backend gives follows from a
 * window's name and its number in the stream.
 * Usage: test-bulk MT3-BENCH
 */
#include <check.h>
#include <glib/gstdio.h>
#include <sndfile.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../check/engine/fake-backend.h"
#include "bulk.h"

#define N_WINDOWS 6

/* Returns how many windows gave something else than the first time. */
static guint
run_names (BulkExpected *expected, const guint *names)
{
  FakeOptions options = {.n_slots = 3};
  Mt3Engine *engine = fake_engine_new (&options, NULL);
  GPtrArray *windows = g_ptr_array_new_with_free_func (g_free);
  BulkRun run;

  for (guint i = 0; i < N_WINDOWS; i++)
    g_ptr_array_add (windows, fake_window (i, names[i], 5));
  ck_assert (bulk_run_engine (engine, windows, expected, &run, NULL));
  ck_assert_uint_eq (run.n_windows, N_WINDOWS);
  g_ptr_array_unref (windows);
  mt3_engine_unref (engine);
  return run.n_other;
}

static const guint first[N_WINDOWS] = {1, 2, 3, 1, 2, 3};

static const struct {
  guint again[N_WINDOWS];
  guint n_other;
} cases[] = {
    {{1, 2, 3, 1, 2, 3}, 0},
    {{9, 2, 3, 1, 2, 3}, 1},
    {{1, 2, 3, 1, 9, 9}, 2},
    {{9, 9, 9, 9, 9, 9}, 6},
};

START_TEST (test_windows_that_another_run_gives_otherwise_are_counted)
{
  BulkExpected expected;

  bulk_expected_init (&expected, NULL, N_WINDOWS);
  ck_assert_uint_eq (run_names (&expected, first), 0);
  ck_assert_uint_eq (run_names (&expected, cases[_i].again), cases[_i].n_other);
  ck_assert_uint_eq (run_names (&expected, first), 0);
  bulk_expected_clear (&expected);
}
END_TEST

/* A clip of two windows three times: other numbers, so all that come again. */
START_TEST (test_windows_that_come_again_in_a_run_are_compared)
{
  BulkExpected expected;

  bulk_expected_init (&expected, NULL, 2);
  ck_assert_uint_eq (run_names (&expected, first), N_WINDOWS - 2);
  bulk_expected_clear (&expected);
}
END_TEST

static const Mt3Config config = {
    .sample_rate = 16000, .hop_length = 128, .window_frames = 256};
static gchar *folder, *clip, *golden;

/* A clip of less than one window. */
static void
set_up (void)
{
  SF_INFO info = {.samplerate = 16000,
      .channels = 1,
      .format = SF_FORMAT_FLAC | SF_FORMAT_PCM_16};
  gfloat samples[1000] = {0.5f, -0.5f};
  SNDFILE *file;

  folder = g_dir_make_tmp ("mt3-check-XXXXXX", NULL);
  clip = g_build_filename (folder, "clip.flac", NULL);
  golden = g_build_filename (folder, "golden.json", NULL);
  file = sf_open (clip, SFM_WRITE, &info);
  ck_assert_ptr_nonnull (file);
  ck_assert_int_eq (sf_write_float (file, samples, 1000), 1000);
  sf_close (file);
}

static void
tear_down (void)
{
  g_unlink (clip);
  g_unlink (golden);
  ck_assert_int_eq (g_rmdir (folder), 0);
  g_clear_pointer (&golden, g_free);
  g_clear_pointer (&clip, g_free);
  g_clear_pointer (&folder, g_free);
}

/* Its head says how much there is, and no more follows. */
START_TEST (test_a_clip_that_cannot_be_decoded_is_an_error_that_names_it)
{
  g_autoptr (GPtrArray) whole = clip_read (clip, &config, NULL);
  g_autoptr (GError) error = NULL;

  ck_assert_uint_eq (whole->len, 1);
  ck_assert_int_eq (truncate (clip, 120), 0);
  ck_assert_ptr_null (clip_read (clip, &config, &error));
  ck_assert_ptr_nonnull (strstr (error->message, clip));
  ck_assert_ptr_nonnull (strstr (error->message, "can be decoded"));
}
END_TEST

static const gchar *const no_tokens[] = {
    "[]", "{}", "{\"notes\": []}", "{\"segments\": 1}"};

START_TEST (test_golden_tokens_that_are_not_there_are_an_error)
{
  g_autoptr (GError) error = NULL;

  ck_assert (g_file_set_contents (golden, no_tokens[_i], -1, NULL));
  ck_assert_ptr_null (golden_read (golden, &error));
  ck_assert_ptr_nonnull (strstr (error->message, golden));
  ck_assert_ptr_nonnull (strstr (error->message, "array \"segments\""));
}
END_TEST

START_TEST (test_golden_tokens_are_read)
{
  g_autoptr (GPtrArray) segments = NULL;
  const guint16 tokens[] = {7, 8};

  ck_assert (g_file_set_contents (
      golden, "{\"segments\": [[0.0, []], [2.048, [7, 8]]]}", -1, NULL));
  segments = golden_read (golden, NULL);
  ck_assert_uint_eq (segments->len, 2);
  ck_assert (golden_matches (segments, 0, tokens, 0));
  ck_assert (golden_matches (segments, 1, tokens, 2));
}
END_TEST

static const gchar *program;

static const struct {
  const gchar *options[3];
  const gchar *message;
} refused[] = {
    {{"--stages", "-d", "cuda"}, "leave out --device=cuda"},
    {{"--stages", "--streams=1"}, "--stages is without the engine"},
    {{"--streams=1", "--golden", "golden.json"}, "with --streams"},
    {{"--window=-2"}, "--window counts from 0"},
    {{"-d", "cpu", "--window=1"}, "clip.flac are 0 to 0"},
    {{"--stages", "--window=1"}, "clip.flac are 0 to 0"},
};

START_TEST (test_options_that_would_be_ignored_are_refused)
{
  const gchar *const *options = refused[_i].options;
  const gchar *const argv[] = {program, "--model", g_getenv ("MT3_TINY_MODEL"),
      clip, options[0], options[1], options[2], NULL};
  g_autofree gchar *err = NULL;
  int status;

  ck_assert (g_spawn_sync (NULL, (gchar **) argv, NULL,
      G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, NULL, &err, &status, NULL));
  ck_assert (WIFEXITED (status));
  ck_assert_int_eq (WEXITSTATUS (status), EXIT_FAILURE);
  ck_assert_msg (strstr (err, refused[_i].message) != NULL, "%s", err);
}
END_TEST

START_TEST (test_a_window_of_the_clip_is_measured)
{
  const gchar *const argv[] = {program, "--model", g_getenv ("MT3_TINY_MODEL"),
      clip, "--stages", "--runs=1", "--window=0", NULL};
  int status;

  ck_assert (g_spawn_sync (NULL, (gchar **) argv, NULL,
      G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, NULL, NULL, &status, NULL));
  ck_assert_int_eq (status, 0);
}
END_TEST

int
main (int argc, char **argv)
{
  Suite *suite = suite_create ("bulk");
  TCase *tcase = tcase_create ("bulk"), *clips = tcase_create ("clips");
  SRunner *runner = srunner_create (suite);
  gint failed;

  program = argv[1];
  suite_add_tcase (suite, tcase);
  tcase_add_loop_test (tcase,
      test_windows_that_another_run_gives_otherwise_are_counted, 0,
      G_N_ELEMENTS (cases));
  tcase_add_test (tcase, test_windows_that_come_again_in_a_run_are_compared);
  suite_add_tcase (suite, clips);
  tcase_add_checked_fixture (clips, set_up, tear_down);
  tcase_add_test (
      clips, test_a_clip_that_cannot_be_decoded_is_an_error_that_names_it);
  tcase_add_loop_test (clips,
      test_golden_tokens_that_are_not_there_are_an_error, 0,
      G_N_ELEMENTS (no_tokens));
  tcase_add_test (clips, test_golden_tokens_are_read);
  tcase_add_loop_test (clips, test_options_that_would_be_ignored_are_refused, 0,
      G_N_ELEMENTS (refused));
  tcase_add_test (clips, test_a_window_of_the_clip_is_measured);
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
