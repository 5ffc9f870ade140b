/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/model-search.h"

#include <check.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"

/* GLib reads the XDG variables once, so all tests share these directories and
 * put models there or not. Best first. */
static gchar *root;
static gchar *places[3];

static void
touch (const gchar *path)
{
  g_autofree gchar *parent = g_path_get_dirname (path);

  g_assert_cmpint (g_mkdir_with_parents (parent, 0700), ==, 0);
  g_assert_true (g_file_set_contents (path, "", 0, NULL));
}

static void
remove_place (const gchar *path)
{
  g_autofree gchar *parent = g_path_get_dirname (path);
  g_autofree gchar *above = g_path_get_dirname (parent);

  g_unlink (path);
  g_rmdir (parent);
  g_rmdir (above);
}

static void
setup (void)
{
  g_unsetenv ("GST_MT3_MODEL");
}

static void
teardown (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (places); i++)
    remove_place (places[i]);
}

START_TEST (test_a_named_model_is_returned_as_it_is)
{
  g_autofree gchar *found = NULL;

  touch (places[0]);
  g_setenv ("GST_MT3_MODEL", places[0], TRUE);
  found = mt3_model_search ("no/such/model", NULL);
  ck_assert_str_eq (found, "no/such/model");
}
END_TEST

START_TEST (test_the_variable_comes_before_the_directories)
{
  g_autofree gchar *found = NULL;

  touch (places[0]);
  g_setenv ("GST_MT3_MODEL", root, TRUE);
  found = mt3_model_search (NULL, NULL);
  ck_assert_str_eq (found, root);
}
END_TEST

START_TEST (test_an_empty_variable_counts_as_unset)
{
  g_autofree gchar *found = NULL;

  touch (places[1]);
  g_setenv ("GST_MT3_MODEL", "", TRUE);
  found = mt3_model_search (NULL, NULL);
  ck_assert_str_eq (found, places[1]);
}
END_TEST

START_TEST (test_a_variable_that_names_nothing_is_an_error)
{
  g_autoptr (GError) error = NULL;

  touch (places[0]);
  g_setenv ("GST_MT3_MODEL", "/no/such/model", TRUE);
  ck_assert_ptr_null (mt3_model_search (NULL, &error));
  ck_assert (g_error_matches (error, MT3_ERROR, MT3_ERROR_NOT_FOUND));
  ck_assert_ptr_nonnull (strstr (error->message, "GST_MT3_MODEL"));
  ck_assert_ptr_nonnull (strstr (error->message, "/no/such/model"));
}
END_TEST

START_TEST (test_the_users_directory_comes_before_the_systems)
{
  for (guint first = 0; first < G_N_ELEMENTS (places); first++) {
    g_autofree gchar *found = NULL;

    for (guint i = first; i < G_N_ELEMENTS (places); i++)
      touch (places[i]);
    found = mt3_model_search (NULL, NULL);
    ck_assert_str_eq (found, places[first]);
    remove_place (places[first]);
  }
}
END_TEST

START_TEST (test_an_error_lists_every_place)
{
  g_autoptr (GError) error = NULL;

  ck_assert_ptr_null (mt3_model_search (NULL, &error));
  ck_assert (g_error_matches (error, MT3_ERROR, MT3_ERROR_NOT_FOUND));
  for (guint i = 0; i < G_N_ELEMENTS (places); i++)
    ck_assert_ptr_nonnull (strstr (error->message, places[i]));
  ck_assert_ptr_nonnull (strstr (error->message, "GST_MT3_MODEL"));
}
END_TEST

START_TEST (test_an_error_says_how_to_get_a_model)
{
  g_autoptr (GError) error = NULL;

  ck_assert_ptr_null (mt3_model_search (NULL, &error));
  ck_assert_ptr_nonnull (strstr (error->message, "mt3-model fetch"));
}
END_TEST

static void
make_places (void)
{
  const gchar *names[] = {"home", "first", "second"};
  g_autofree gchar *system = NULL;
  gchar *dirs[3];

  root = g_dir_make_tmp ("mt3-search-XXXXXX", NULL);
  for (guint i = 0; i < G_N_ELEMENTS (places); i++) {
    dirs[i] = g_build_filename (root, names[i], NULL);
    places[i] =
        g_build_filename (dirs[i], "gst-mt3", "model.safetensors", NULL);
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
  for (guint i = 0; i < G_N_ELEMENTS (places); i++)
    g_free (places[i]);
  g_rmdir (root);
  g_free (root);
}

int
main (void)
{
  Suite *suite = suite_create ("model-search");
  TCase *tcase = tcase_create ("model-search");
  SRunner *runner = srunner_create (suite);
  gint failed;

  make_places ();
  suite_add_tcase (suite, tcase);
  tcase_add_checked_fixture (tcase, setup, teardown);
  tcase_add_test (tcase, test_a_named_model_is_returned_as_it_is);
  tcase_add_test (tcase, test_the_variable_comes_before_the_directories);
  tcase_add_test (tcase, test_an_empty_variable_counts_as_unset);
  tcase_add_test (tcase, test_a_variable_that_names_nothing_is_an_error);
  tcase_add_test (tcase, test_the_users_directory_comes_before_the_systems);
  tcase_add_test (tcase, test_an_error_lists_every_place);
  tcase_add_test (tcase, test_an_error_says_how_to_get_a_model);
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  remove_places ();
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
