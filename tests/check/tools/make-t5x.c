/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Usage: make-t5x FOLDER
 *
 * Writes a small T5X checkpoint of random weights into an existing folder, as a
 * test, since the writer asserts with check.
 */
#include "../checkpoint/t5x-writer.h"

#include <check.h>

static const gchar *folder;

START_TEST (make_checkpoint)
{
  const T5xOptions options = {.bare = TRUE};
  g_autoptr (RandomModel) model = NULL;
  Mt3Config config;

  mt3_config_init_multitrack (&config);
  config.n_mels = config.d_model = config.vocab_size = 32;
  config.n_heads = 1;
  config.encoder_layers = config.decoder_layers = 1;
  config.encoder_d_ff = config.decoder_d_ff = 32;
  model = random_model_new (&config, 1, FALSE);
  t5x_write (model, folder, &options);
}
END_TEST

int
main (int argc, char **argv)
{
  Suite *suite = suite_create ("make-t5x");
  TCase *tcase = tcase_create ("make-t5x");
  SRunner *runner = srunner_create (suite);
  int failed;

  folder = argv[1];
  tcase_add_test (tcase, make_checkpoint);
  suite_add_tcase (suite, tcase);
  srunner_run_all (runner, CK_SILENT);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed > 0;
}
