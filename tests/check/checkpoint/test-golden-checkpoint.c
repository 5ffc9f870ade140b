/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The published multitrack checkpoint loads as what it is.
 */
#include "checkpoint/config-json.h"
#include "checkpoint/draft.h"
#include "checkpoint/model.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define SKIPPED 77

static gchar *folder;
static Mt3Model *model;

static void
open_model (void)
{
  g_autoptr (GError) error = NULL;

  model = mt3_model_open (folder, &error);
  ck_assert_msg (model != NULL, "%s", error != NULL ? error->message : "");
}

static void
close_model (void)
{
  mt3_model_unref (model);
}

START_TEST (it_has_189_tensors_of_45896704_parameters)
{
  guint n;

  mt3_model_tensors (model, &n);
  ck_assert_uint_eq (n, 189);
  ck_assert_uint_eq (mt3_model_n_parameters (model), 45896704);
}
END_TEST

START_TEST (its_configuration_is_the_default)
{
  Mt3Config config;

  mt3_config_init_multitrack (&config);
  g_autofree gchar *expected = mt3_config_to_json (&config);
  g_autofree gchar *found = mt3_config_to_json (mt3_model_config (model));
  ck_assert_str_eq (found, expected);
}
END_TEST

/* Ports that miss the scales, which are inline, use ones and hear nothing. */
START_TEST (its_norm_scales_are_not_ones)
{
  guint n, scales = 0;
  const Mt3Tensor *tensors = mt3_model_tensors (model, &n);

  for (guint i = 0; i < n; i++) {
    gfloat row[512], ones = 0;

    if (tensors[i].n_dims != 1)
      continue;
    mt3_tensor_read_block (&tensors[i], 0, 1, 0, 512, row);
    for (guint column = 0; column < 512; column++)
      ones += row[column] == 1.0f;
    ck_assert_msg (ones < 10, "%s", tensors[i].name);
    scales++;
  }
  ck_assert_uint_eq (scales, 42);
}
END_TEST

START_TEST (an_array_holds_what_gunzip_gives)
{
  g_autofree gchar *path = g_build_filename (
      folder, "target.decoder.layers_3.mlp.wi_1.kernel", "0.0", NULL);
  const Mt3Tensor *tensor =
      mt3_model_tensor (model, "decoder/layers_%u/mlp/wi_1/kernel", 3);
  gsize bytes = 512 * 1024 * sizeof (gfloat);
  g_autofree gfloat *expected = g_malloc (bytes), *found = g_malloc (bytes);
  gzFile file = gzopen (path, "rb");

  ck_assert_ptr_nonnull (file);
  ck_assert_int_eq (gzread (file, expected, (unsigned) bytes), (int) bytes);
  gzclose (file);
  mt3_tensor_read_block (tensor, 0, 512, 0, 1024, found);
  ck_assert_mem_eq (found, expected, bytes);
}
END_TEST

START_TEST (it_is_not_exactly_float16)
{
  ck_assert (!mt3_tensor_fits_f16 (
      mt3_model_tensor (model, "decoder/logits_dense/kernel")));
}
END_TEST

START_TEST (the_draft_network_that_comes_along_is_for_it)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Mt3Draft) draft =
      mt3_draft_open (g_getenv ("MT3_SHIPPED_DRAFT"), model, &error);

  ck_assert_msg (draft != NULL, "%s", error != NULL ? error->message : "");
}
END_TEST

int
main (void)
{
  const gchar *shared = g_getenv ("MT3_SHARED");
  Suite *suite = suite_create ("golden-checkpoint");
  TCase *tcase = tcase_create ("golden-checkpoint");
  SRunner *runner;
  int failed;

  if (shared != NULL)
    folder = g_build_filename (shared, "mt3-checkpoint", NULL);
  if (folder == NULL || !g_file_test (folder, G_FILE_TEST_IS_DIR)) {
    g_print ("skipped: no mt3-checkpoint in MT3_SHARED (%s)\n",
        shared != NULL ? shared : "unset");
    g_free (folder);
    return SKIPPED;
  }
  tcase_add_checked_fixture (tcase, open_model, close_model);
  tcase_add_test (tcase, it_has_189_tensors_of_45896704_parameters);
  tcase_add_test (tcase, its_configuration_is_the_default);
  tcase_add_test (tcase, its_norm_scales_are_not_ones);
  tcase_add_test (tcase, an_array_holds_what_gunzip_gives);
  tcase_add_test (tcase, it_is_not_exactly_float16);
  tcase_add_test (tcase, the_draft_network_that_comes_along_is_for_it);
  suite_add_tcase (suite, tcase);
  runner = srunner_create (suite);
  srunner_run_all (runner, CK_NORMAL);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  g_free (folder);
  return failed > 0;
}
