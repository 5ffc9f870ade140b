/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/draft-search.h"

#include <check.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "random-model.h"

/* GLib reads the XDG variables once, so all tests share these directories and
 * put draft networks there or not. Best first. */
static gchar *root;
static gchar *places[3];
static gchar *elsewhere;
static Mt3Model *model;

static void
put_draft (const gchar *path)
{
  ck_assert (random_draft_write (model, path, 1, NULL));
}

static void
put_another_models (const gchar *path)
{
  g_autoptr (RandomModel) draft = random_draft_new (model, 1);

  g_hash_table_insert (draft->metadata, g_strdup (MT3_DRAFT_MODEL_KEY),
      g_strdup ("another model's"));
  ck_assert (random_model_write (draft, path, MT3_DTYPE_F16, NULL));
}

static void
put_damaged (const gchar *path)
{
  ck_assert (g_file_set_contents (path, "damaged", -1, NULL));
}

static void
put_nothing (const gchar *path)
{
}

static void
setup (void)
{
  g_autoptr (GError) error = NULL;

  g_unsetenv ("GST_MT3_DRAFT");
  model = mt3_model_open (g_getenv ("MT3_TINY_MODEL"), &error);
  g_assert_no_error (error);
}

static void
teardown (void)
{
  mt3_model_unref (model);
  for (guint i = 0; i < G_N_ELEMENTS (places); i++)
    g_unlink (places[i]);
  g_unlink (elsewhere);
}

/* @path: %NULL for no draft network. */
static void
expect (const gchar *path)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Mt3Draft) draft = mt3_draft_search (model, &error);

  g_assert_no_error (error);
  g_assert_cmpstr (draft != NULL ? mt3_draft_path (draft) : NULL, ==, path);
}

START_TEST (test_there_need_not_be_any)
{
  expect (NULL);
}
END_TEST

START_TEST (test_the_users_directory_comes_before_the_systems)
{
  for (guint i = 0; i < G_N_ELEMENTS (places); i++)
    put_draft (places[i]);
  for (guint first = 0; first < G_N_ELEMENTS (places); first++) {
    expect (places[first]);
    g_unlink (places[first]);
  }
}
END_TEST

START_TEST (test_what_cannot_be_used_is_passed_over)
{
  put_another_models (places[0]);
  put_damaged (places[1]);
  expect (NULL);
  put_draft (places[2]);
  expect (places[2]);
}
END_TEST

START_TEST (test_the_variable_comes_before_the_directories)
{
  put_draft (places[0]);
  put_draft (elsewhere);
  g_setenv ("GST_MT3_DRAFT", elsewhere, TRUE);
  expect (elsewhere);
}
END_TEST

START_TEST (test_an_empty_variable_counts_as_unset)
{
  put_draft (places[1]);
  g_setenv ("GST_MT3_DRAFT", "", TRUE);
  expect (places[1]);
}
END_TEST

START_TEST (test_none_is_wanted_where_the_variable_says_so)
{
  put_draft (places[0]);
  g_setenv ("GST_MT3_DRAFT", "none", TRUE);
  expect (NULL);
}
END_TEST

static const struct {
  void (*put) (const gchar *path);
  const gchar *words;
} faults[] = {
    {put_nothing, "No such file"},
    {put_damaged, "not a safetensors file"},
    {put_another_models, "for another model"},
};

START_TEST (test_a_variable_that_names_nothing_of_use_is_an_error)
{
  g_autoptr (GError) error = NULL;

  put_draft (places[0]);
  faults[_i].put (elsewhere);
  g_setenv ("GST_MT3_DRAFT", elsewhere, TRUE);
  ck_assert_ptr_null (mt3_draft_search (model, &error));
  ck_assert (g_error_matches (error, MT3_ERROR, MT3_ERROR_DRAFT));
  ck_assert_ptr_nonnull (strstr (error->message, "GST_MT3_DRAFT"));
  ck_assert_ptr_nonnull (strstr (error->message, "correct or unset it"));
  ck_assert_ptr_nonnull (strstr (error->message, elsewhere));
  ck_assert_ptr_nonnull (strstr (error->message, faults[_i].words));
}
END_TEST

static void
make_places (void)
{
  const gchar *names[] = {"home", "first", "second"};
  g_autofree gchar *system = NULL;
  gchar *dirs[3];

  root = g_dir_make_tmp ("mt3-search-XXXXXX", NULL);
  elsewhere = g_build_filename (root, "elsewhere.safetensors", NULL);
  for (guint i = 0; i < G_N_ELEMENTS (places); i++) {
    g_autofree gchar *folder =
        g_build_filename (root, names[i], "gst-mt3", NULL);

    g_assert_cmpint (g_mkdir_with_parents (folder, 0700), ==, 0);
    dirs[i] = g_path_get_dirname (folder);
    places[i] = g_build_filename (folder, "draft.safetensors", NULL);
  }
  system = g_strdup_printf ("%s:%s", dirs[1], dirs[2]);
  g_setenv ("XDG_DATA_HOME", dirs[0], TRUE);
  g_setenv ("XDG_DATA_DIRS", system, TRUE);
  for (guint i = 0; i < G_N_ELEMENTS (dirs); i++)
    g_free (dirs[i]);
}

static void
remove_places (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (places); i++) {
    g_autofree gchar *folder = g_path_get_dirname (places[i]);
    g_autofree gchar *dir = g_path_get_dirname (folder);

    g_rmdir (folder);
    g_rmdir (dir);
    g_free (places[i]);
  }
  g_rmdir (root);
  g_free (root);
  g_free (elsewhere);
}

int
main (void)
{
  Suite *suite = suite_create ("draft-search");
  TCase *tcase = tcase_create ("draft-search");
  SRunner *runner = srunner_create (suite);
  gint failed;

  make_places ();
  suite_add_tcase (suite, tcase);
  tcase_add_checked_fixture (tcase, setup, teardown);
  tcase_add_test (tcase, test_there_need_not_be_any);
  tcase_add_test (tcase, test_the_users_directory_comes_before_the_systems);
  tcase_add_test (tcase, test_what_cannot_be_used_is_passed_over);
  tcase_add_test (tcase, test_the_variable_comes_before_the_directories);
  tcase_add_test (tcase, test_an_empty_variable_counts_as_unset);
  tcase_add_test (tcase, test_none_is_wanted_where_the_variable_says_so);
  tcase_add_loop_test (tcase,
      test_a_variable_that_names_nothing_of_use_is_an_error, 0,
      G_N_ELEMENTS (faults));
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  remove_places ();
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
