/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * mt3-model as users call it: what it prints, writes and returns.
 * Usage: test-mt3-model PROGRAM
 */
#include "checkpoint/model.h"
#include "random-model.h"

#include <check.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

static const gchar *program;
static gchar *folder;
static gchar *model_path, *torch_path, *broken_path, *out_path;

/* What the last run printed. */
static gchar *out, *err;

static void
write_model (RandomModel *model, const gchar *path)
{
  g_autoptr (GError) error = NULL;

  ck_assert_msg (random_model_write (model, path, MT3_DTYPE_F32, &error), "%s",
      error != NULL ? error->message : "");
}

static Mt3Config
small_config (void)
{
  Mt3Config config;

  mt3_config_init_multitrack (&config);
  config.n_mels = config.d_model = config.vocab_size = 8;
  config.head_dim = config.n_heads = 2;
  config.encoder_layers = config.decoder_layers = 1;
  config.encoder_d_ff = config.decoder_d_ff = 8;
  return config;
}

static void
set_up (void)
{
  g_autoptr (RandomModel) model = NULL, torch = NULL;
  Mt3Config config = small_config ();

  folder = g_dir_make_tmp ("mt3-check-XXXXXX", NULL);
  model_path = g_build_filename (folder, "model.safetensors", NULL);
  torch_path = g_build_filename (folder, "torch.safetensors", NULL);
  broken_path = g_build_filename (folder, "broken.safetensors", NULL);
  out_path = g_build_filename (folder, "out.safetensors", NULL);
  model = random_model_new (&config, 1, FALSE);
  torch = random_model_new (&config, 1, TRUE);
  g_hash_table_insert (model->metadata, g_strdup ("license"), g_strdup ("CC0"));
  write_model (model, model_path);
  write_model (torch, torch_path);
  g_array_remove_index (model->tensors, 0);
  write_model (model, broken_path);
}

static void
tear_down (void)
{
  gchar **const paths[] = {&model_path, &torch_path, &broken_path, &out_path};

  for (gsize i = 0; i < G_N_ELEMENTS (paths); i++) {
    g_unlink (*paths[i]);
    g_clear_pointer (paths[i], g_free);
  }
  ck_assert_int_eq (g_rmdir (folder), 0); /* nothing else was left there */
  g_clear_pointer (&folder, g_free);
  g_clear_pointer (&out, g_free);
  g_clear_pointer (&err, g_free);
}

/* Runs mt3-model with up to four arguments; returns its exit code. */
static int
run (const gchar *a, const gchar *b, const gchar *c, const gchar *d)
{
  const gchar *const argv[] = {program, a, b, c, d, NULL};
  int status;

  g_clear_pointer (&out, g_free);
  g_clear_pointer (&err, g_free);
  ck_assert (g_spawn_sync (NULL, (gchar **) argv, NULL, G_SPAWN_DEFAULT, NULL,
      NULL, &out, &err, &status, NULL));
  ck_assert (WIFEXITED (status));
  return WEXITSTATUS (status);
}

static void
must_print (const gchar *text, const gchar *part)
{
  ck_assert_msg (
      strstr (text, part) != NULL, "no \"%s\" in: %.2000s", part, text);
}

START_TEST (help_explains_commands_and_exit_codes)
{
  ck_assert_int_eq (run ("--help", NULL, NULL, NULL), 0);
  must_print (out, "convert MODEL OUT.safetensors");
  must_print (out, "Exit codes:");
  ck_assert_int_eq (run ("convert", "--help", NULL, NULL), 0);
  must_print (out, "--dtype");
}
END_TEST

#define NO_HEX                                                                 \
  "g123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const gchar *const wrong[][3] = {
    {NULL},
    {"frobnicate"},
    {"inspect"},
    {"inspect", "a", "b"},
    {"verify", "--frobnicate", "a"},
    {"convert", "a"},
    {"verify", "--sha256=abc", "a"},
    {"verify", "--sha256=", "a"},
    {"verify", "--sha256=" NO_HEX, "a"},
};

START_TEST (wrong_arguments_exit_with_2)
{
  ck_assert_int_eq (run (wrong[_i][0], wrong[_i][1], wrong[_i][2], NULL), 2);
  ck_assert_str_ne (err, "");
  ck_assert_str_eq (out, "");
}
END_TEST

static const gchar *const dashed[][5] = {
    {"inspect", "--", "-x.safetensors", NULL, "-x.safetensors"},
    {"inspect", "--", "--", NULL, "--"},
    {"convert", "--", "-x.safetensors", "-y", "-x.safetensors"},
    {"convert", "x.safetensors", "--", "-y", "x.safetensors"},
    {"convert", "--", "x.safetensors", "--", "x.safetensors"},
};

START_TEST (names_may_begin_with_a_dash)
{
  const gchar *const *arguments = dashed[_i];
  g_autofree gchar *message =
      g_strdup_printf ("mt3-model: %s does not exist", arguments[4]);

  ck_assert_int_eq (
      run (arguments[0], arguments[1], arguments[2], arguments[3]), 3);
  must_print (err, message);
}
END_TEST

START_TEST (a_missing_file_exits_with_3)
{
  ck_assert_int_eq (run ("inspect", "/nonexistent", NULL, NULL), 3);
  must_print (err, "mt3-model: /nonexistent does not exist");
  ck_assert_int_eq (run ("verify", "/nonexistent", NULL, NULL), 3);
  ck_assert_int_eq (run ("convert", "/nonexistent", out_path, NULL), 3);
  ck_assert_int_eq (run ("convert", model_path, "/nonexistent/x", NULL), 3);
}
END_TEST

static const gchar *const printing[][2] = {
    {"inspect", "model.safetensors"},
    {"inspect", "broken.safetensors"},
    {"verify", "model.safetensors"},
    {"verify", "--help"},
    {"--version"},
};

START_TEST (output_that_cannot_be_written_exits_with_3)
{
  const gchar *const argv[] = {"sh", "-c", "exec \"$@\" > /dev/full", "sh",
      program, printing[_i][0], printing[_i][1], NULL};
  int status;

  ck_assert (g_spawn_sync (folder, (gchar **) argv, NULL, G_SPAWN_SEARCH_PATH,
      NULL, NULL, NULL, &err, &status, NULL));
  ck_assert (WIFEXITED (status));
  ck_assert_int_eq (WEXITSTATUS (status), 3);
  must_print (err, "mt3-model: cannot write to standard output");
}
END_TEST

START_TEST (inspect_prints_the_model)
{
  ck_assert_int_eq (run ("inspect", model_path, NULL, NULL), 0);
  must_print (out, "in 28 tensors");
  must_print (out, "width        8, 2 heads of 2");
  must_print (out, "vocabulary   8, velocity bins 1, ties yes, order no");
  must_print (out, "front end    16000 Hz, hop 128, FFT 2048, 8 mel bins");
  must_print (out, "metadata     license: CC0");
  must_print (out, "no differences to the expected schema");
}
END_TEST

START_TEST (a_draft_network_is_no_model)
{
  g_autoptr (Mt3Model) model = mt3_model_open (model_path, NULL);

  ck_assert (random_draft_write (model, out_path, 1, NULL));
  ck_assert_int_eq (run ("inspect", out_path, NULL, NULL), 1);
  must_print (out, "metadata     name: random weights for tests");
  must_print (out, "a draft network, which makes the model");
  ck_assert_ptr_null (strstr (out, "differences"));
  ck_assert_int_eq (run ("verify", out_path, NULL, NULL), 1);
  must_print (err, "a draft network, not a model: name the model that it was "
                   "made for\n");
  ck_assert_int_eq (run ("convert", out_path, torch_path, NULL), 1);
  must_print (err, "a draft network, not a model");
}
END_TEST

START_TEST (inspect_prints_the_mapping)
{
  ck_assert_int_eq (run ("inspect", torch_path, NULL, NULL), 0);
  must_print (out, "encoder/layers_0/attention/query/kernel");
  must_print (
      out, "encoder.block.0.layer.0.SelfAttention.q.weight (transposed)");
}
END_TEST

START_TEST (inspect_prints_the_differences)
{
  ck_assert_int_eq (run ("inspect", broken_path, NULL, NULL), 1);
  must_print (out, "1 differences to the expected schema");
  must_print (out, "tensor encoder/continuous_inputs_projection/kernel: "
                   "expected 8 x 8, found none");
}
END_TEST

/* Colours, a window's title, a line of its own, all of it in one of the bytes
 * that steer terminals, or read backwards. */
#define HOSTILE "a\033[31m\033]0;b\007\nc\177d\302\233e\342\200\256f \303\244"
#define PRINTED                                                                \
  "a\\x1b[31m\\x1b]0;b\\x07\\x0ac\\x7fd\\xc2\\x9be\\xe2\\x80\\xaef \303\244"

/* Writes a model with @metadata and a first tensor called @name. */
static void
write_hostile_model (const gchar *metadata, const gchar *name)
{
  g_autoptr (RandomModel) model = NULL;
  Mt3Config config = small_config ();

  model = random_model_new (&config, 1, FALSE);
  g_hash_table_insert (
      model->metadata, g_strdup (metadata), g_strdup (metadata));
  if (name != NULL)
    g_array_index (model->tensors, Mt3Tensor, 0).name = name;
  write_model (model, out_path);
}

START_TEST (inspect_prints_metadata_that_cannot_steer_a_terminal)
{
  write_hostile_model (HOSTILE, NULL);
  ck_assert_int_eq (run ("inspect", out_path, NULL, NULL), 0);
  must_print (out, "metadata     " PRINTED ": " PRINTED "\n");
}
END_TEST

START_TEST (inspect_prints_names_that_cannot_steer_a_terminal)
{
  write_hostile_model ("a", HOSTILE);
  ck_assert_int_eq (run ("inspect", out_path, NULL, NULL), 1);
  must_print (out, "F32   " PRINTED "\n");
  must_print (out, "tensor " PRINTED ": expected no tensor of this name");
  ck_assert_ptr_null (strchr (out, '\033'));
}
END_TEST

START_TEST (complaints_name_what_cannot_steer_a_terminal)
{
  write_hostile_model ("a", HOSTILE);
  ck_assert_int_eq (run ("verify", out_path, NULL, NULL), 1);
  must_print (err, "tensor " PRINTED ": expected no tensor of this name");
  ck_assert_ptr_null (strchr (err, '\033'));
}
END_TEST

static gchar *
digest (const gchar *path)
{
  g_autofree gchar *data = NULL;
  gsize length;

  ck_assert (g_file_get_contents (path, &data, &length, NULL));
  return g_compute_checksum_for_data (
      G_CHECKSUM_SHA256, (const guchar *) data, length);
}

START_TEST (verify_prints_and_compares_the_digest)
{
  g_autofree gchar *hex = digest (model_path), *other = digest (torch_path);
  g_autofree gchar *upper = g_ascii_strup (hex, -1);

  ck_assert_int_eq (run ("verify", model_path, NULL, NULL), 0);
  must_print (out, hex);
  must_print (out, "28 tensors sound");
  ck_assert_int_eq (run ("verify", model_path, "--sha256", upper), 0);
  ck_assert_int_eq (run ("verify", model_path, "--sha256", other), 1);
  must_print (err, "expected SHA-256");
}
END_TEST

START_TEST (verify_exits_with_1_for_a_model_that_is_not_sound)
{
  ck_assert_int_eq (run ("verify", broken_path, NULL, NULL), 1);
  must_print (err, "tensor encoder/continuous_inputs_projection/kernel");
}
END_TEST

/* "sha256sum FILES | sha256sum" of the directory's files. */
START_TEST (verify_digests_a_directory_as_a_list)
{
  g_autofree gchar *a = digest (broken_path), *b = digest (model_path);
  g_autofree gchar *c = digest (torch_path);
  g_autofree gchar *list = g_strdup_printf (
      "%s  broken.safetensors\n%s  model.safetensors\n%s  torch.safetensors\n",
      a, b, c);
  g_autofree gchar *hex =
      g_compute_checksum_for_string (G_CHECKSUM_SHA256, list, -1);

  ck_assert_int_eq (run ("verify", folder, NULL, NULL), 3);
  must_print (out, list);
  must_print (out, hex);
  must_print (err, "is not a T5X checkpoint");
}
END_TEST

/* So its list can lie in it, as fetch wants it. */
START_TEST (a_list_of_its_files_does_not_change_a_directorys_digest)
{
  g_autofree gchar *list = g_build_filename (folder, "SHA256SUMS", NULL);
  g_autofree gchar *before = NULL;

  run ("verify", folder, NULL, NULL);
  before = g_strdup (out);
  ck_assert (g_file_set_contents (list, before, -1, NULL));
  run ("verify", folder, NULL, NULL);
  g_unlink (list);
  ck_assert_str_eq (out, before);
}
END_TEST

START_TEST (a_file_named_like_the_list_counts_further_down)
{
  g_autofree gchar *inner = g_build_filename (folder, "inner", NULL);
  g_autofree gchar *list = g_build_filename (inner, "SHA256SUMS", NULL);

  ck_assert_int_eq (g_mkdir (inner, 0700), 0);
  ck_assert (g_file_set_contents (list, "", -1, NULL));
  run ("verify", folder, NULL, NULL);
  g_unlink (list);
  g_rmdir (inner);
  must_print (out, "  inner/SHA256SUMS\n");
}
END_TEST

START_TEST (convert_writes_the_same_model_under_t5x_names)
{
  g_autoptr (Mt3Model) model = NULL;
  g_autofree gchar *direct = NULL, *converted = NULL;

  ck_assert_int_eq (run ("convert", model_path, out_path, NULL), 0);
  ck_assert_str_eq (err, "");
  direct = digest (model_path);
  converted = digest (out_path);
  ck_assert_str_eq (direct, converted);
  ck_assert_int_eq (run ("convert", torch_path, out_path, NULL), 0);
  model = mt3_model_open (out_path, NULL);
  ck_assert_ptr_nonnull (model);
  ck_assert_uint_eq (mt3_model_config (model)->head_dim, 2);
}
END_TEST

START_TEST (convert_to_float16_halves_the_file)
{
  g_autoptr (Mt3Model) model = NULL;
  guint n;

  ck_assert_int_eq (run ("convert", "--dtype=f16", model_path, out_path), 0);
  model = mt3_model_open (out_path, NULL);
  ck_assert_ptr_nonnull (model);
  ck_assert_int_eq (mt3_model_tensors (model, &n)->dtype, MT3_DTYPE_F16);
  ck_assert_str_eq (mt3_model_metadata (model, "license"), "CC0");
  ck_assert_int_eq (run ("convert", "--dtype=f8", model_path, out_path), 2);
}
END_TEST

START_TEST (convert_refuses_a_model_that_is_not_sound)
{
  ck_assert_int_eq (run ("convert", broken_path, out_path, NULL), 1);
  ck_assert (!g_file_test (out_path, G_FILE_TEST_EXISTS));
}
END_TEST

int
main (int argc, char **argv)
{
  Suite *suite = suite_create ("mt3-model");
  TCase *tcase = tcase_create ("mt3-model");
  SRunner *runner = srunner_create (suite);
  int failed;

  program = g_canonicalize_filename (argv[1], NULL);
  g_setenv ("LC_ALL", "C.UTF-8", TRUE); /* or names lose their letters */
  tcase_add_checked_fixture (tcase, set_up, tear_down);
  tcase_add_test (tcase, help_explains_commands_and_exit_codes);
  tcase_add_loop_test (
      tcase, wrong_arguments_exit_with_2, 0, G_N_ELEMENTS (wrong));
  tcase_add_loop_test (
      tcase, names_may_begin_with_a_dash, 0, G_N_ELEMENTS (dashed));
  tcase_add_test (tcase, a_missing_file_exits_with_3);
  tcase_add_loop_test (tcase, output_that_cannot_be_written_exits_with_3, 0,
      G_N_ELEMENTS (printing));
  tcase_add_test (tcase, inspect_prints_the_model);
  tcase_add_test (tcase, a_draft_network_is_no_model);
  tcase_add_test (tcase, inspect_prints_the_mapping);
  tcase_add_test (tcase, inspect_prints_the_differences);
  tcase_add_test (tcase, inspect_prints_metadata_that_cannot_steer_a_terminal);
  tcase_add_test (tcase, inspect_prints_names_that_cannot_steer_a_terminal);
  tcase_add_test (tcase, complaints_name_what_cannot_steer_a_terminal);
  tcase_add_test (tcase, verify_prints_and_compares_the_digest);
  tcase_add_test (tcase, verify_exits_with_1_for_a_model_that_is_not_sound);
  tcase_add_test (tcase, verify_digests_a_directory_as_a_list);
  tcase_add_test (
      tcase, a_list_of_its_files_does_not_change_a_directorys_digest);
  tcase_add_test (tcase, a_file_named_like_the_list_counts_further_down);
  tcase_add_test (tcase, convert_writes_the_same_model_under_t5x_names);
  tcase_add_test (tcase, convert_to_float16_halves_the_file);
  tcase_add_test (tcase, convert_refuses_a_model_that_is_not_sound);
  suite_add_tcase (suite, tcase);
  srunner_run_all (runner, CK_NORMAL);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed > 0;
}
