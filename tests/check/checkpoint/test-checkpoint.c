/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fixtures.h"

int
main (void)
{
  SRunner *runner = srunner_create (tensor_suite ());
  int failed;

  srunner_add_suite (runner, safetensors_suite ());
  srunner_add_suite (runner, t5x_suite ());
  srunner_add_suite (runner, pickle_suite ());
  srunner_add_suite (runner, pth_suite ());
  srunner_add_suite (runner, names_suite ());
  srunner_add_suite (runner, model_suite ());
  srunner_add_suite (runner, writer_suite ());
  srunner_add_suite (runner, draft_suite ());
  srunner_run_all (runner, CK_NORMAL);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed > 0;
}
