/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The module on a machine with or without a GPU: it loads, and says why it
 * cannot run. usage: test-module LIBMT3CUDA.SO
 */
#include <check.h>
#include <gmodule.h>
#include <stdlib.h>
#include <string.h>

#include "engine/backend.h"

static const gchar *module_file;

static const Mt3BackendModule *
load (void)
{
  GModule *file = g_module_open (module_file, G_MODULE_BIND_LOCAL);
  gpointer symbol = NULL;

  if (file == NULL)
    ck_abort_msg ("%s", g_module_error ());
  g_module_make_resident (file);
  ck_assert (g_module_symbol (file, "mt3_backend_module", &symbol));
  return symbol;
}

START_TEST (test_loads_without_a_driver)
{
  const Mt3BackendModule *module = load ();

  ck_assert_uint_eq (module->abi, MT3_BACKEND_ABI);
  ck_assert_ptr_nonnull (module->probe);
  ck_assert_ptr_nonnull (module->open);
}
END_TEST

START_TEST (test_reason_names_what_is_missing)
{
  g_autofree gchar *reason = load ()->probe (0);
  GModule *driver = g_module_open ("libcuda.so.1", G_MODULE_BIND_LAZY);

  if (driver == NULL) {
    ck_assert_ptr_nonnull (reason);
    ck_assert_ptr_nonnull (strstr (reason, "libcuda.so.1"));
  } else {
    g_module_close (driver);
  }
  if (reason != NULL)
    ck_assert_ptr_nonnull (strstr (reason, "use the CPU"));
}
END_TEST

START_TEST (test_no_machine_has_a_thousand_devices)
{
  g_autofree gchar *reason = load ()->probe (999);

  ck_assert_ptr_nonnull (reason);
}
END_TEST

int
main (int argc, char **argv)
{
  Suite *suite = suite_create ("cuda-module");
  TCase *tests = tcase_create ("module");
  SRunner *runner = srunner_create (suite);
  int failed;

  module_file = argc > 1 ? argv[1] : NULL;
  tcase_add_test (tests, test_loads_without_a_driver);
  tcase_add_test (tests, test_reason_names_what_is_missing);
  tcase_add_test (tests, test_no_machine_has_a_thousand_devices);
  suite_add_tcase (suite, tests);
  srunner_run_all (runner, CK_ENV);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
