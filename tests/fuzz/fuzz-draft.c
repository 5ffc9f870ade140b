/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A draft network's file, for a small model.
 */
#include "checkpoint/draft.h"
#include "fuzz.h"
#include "random-model.h"

#include <glib/gstdio.h>

static Mt3Config
small_config (void)
{
  Mt3Config config;

  mt3_config_init_multitrack (&config);
  config.n_mels = config.d_model = config.vocab_size = 4;
  config.encoder_d_ff = config.decoder_d_ff = 4;
  config.n_heads = config.head_dim = 2;
  config.encoder_layers = config.decoder_layers = 1;
  return config;
}

/* Opened once; its file need not stay. */
static const Mt3Model *
small_model (void)
{
  static Mt3Model *model;
  g_autofree gchar *path = NULL;

  if (model == NULL) {
    const Mt3Config config = small_config ();
    g_autoptr (RandomModel) random = random_model_new (&config, 1, FALSE);
    int fd = g_file_open_tmp ("fuzz-XXXXXX", &path, NULL);

    g_assert_true (fd >= 0);
    g_close (fd, NULL);
    g_assert_true (random_model_write (random, path, MT3_DTYPE_F32, NULL));
    model = mt3_model_open (path, NULL);
    g_unlink (path);
  }
  return model;
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  g_autoptr (GBytes) bytes = g_bytes_new (data, size);
  g_autoptr (GError) error = NULL;
  g_autoptr (Mt3Draft) draft =
      mt3_draft_open_bytes (bytes, "input", small_model (), &error);

  g_assert_true ((draft == NULL) == (error != NULL));
  if (draft != NULL)
    g_assert_nonnull (mt3_draft_tensor (draft, "own_mlp/wo/kernel"));
  return 0;
}

static void
add_draft (GPtrArray *seeds, Mt3DType dtype)
{
  g_autoptr (RandomModel) draft = random_draft_new (small_model (), 1);
  g_autofree gchar *path = NULL, *data = NULL;
  gsize size;
  int fd = g_file_open_tmp ("fuzz-XXXXXX", &path, NULL);

  g_assert_true (fd >= 0);
  g_close (fd, NULL);
  g_assert_true (random_model_write (draft, path, dtype, NULL));
  g_assert_true (g_file_get_contents (path, &data, &size, NULL));
  g_unlink (path);
  g_ptr_array_add (seeds, g_bytes_new_take (g_steal_pointer (&data), size));
}

void
fuzz_seeds (GPtrArray *seeds)
{
  add_draft (seeds, MT3_DTYPE_F16);
  add_draft (seeds, MT3_DTYPE_F32);
}
