/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A safetensors file, up to the last check that opening a model makes.
 */
#include "checkpoint/report.h"
#include "checkpoint/safetensors.h"
#include "fuzz.h"
#include "random-model.h"

#include <glib/gstdio.h>
#include <string.h>

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  g_autoptr (GBytes) bytes = g_bytes_new (data, size);
  g_autoptr (Mt3Archive) archive =
      mt3_safetensors_read_bytes (bytes, "input", NULL);
  g_autoptr (Mt3Report) report = NULL;

  if (archive != NULL) {
    report = mt3_report_new (archive);
    mt3_report_check_values (report);
  }
  return 0;
}

static void
add_model (GPtrArray *seeds, const Mt3Config *config, gboolean hugging_face)
{
  g_autoptr (RandomModel) model = random_model_new (config, 1, hugging_face);
  g_autofree gchar *path = NULL, *data = NULL;
  gsize size;
  int fd = g_file_open_tmp ("fuzz-XXXXXX", &path, NULL);

  g_assert_true (fd >= 0);
  g_assert_true (random_model_write (model, path, MT3_DTYPE_F16, NULL));
  g_assert_true (g_file_get_contents (path, &data, &size, NULL));
  g_close (fd, NULL);
  g_unlink (path);
  g_ptr_array_add (seeds, g_bytes_new_take (g_steal_pointer (&data), size));
}

/* A file of another architecture: a header and eight bytes of data. */
static void
add_other (GPtrArray *seeds)
{
  const gchar *header =
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1],\"data_offsets\":[0,4]},"
      "\"b\":{\"dtype\":\"I8\",\"shape\":[4],\"data_offsets\":[4,8]}}";
  guint64 length = GUINT64_TO_LE (strlen (header));
  g_autoptr (GByteArray) seed = g_byte_array_new ();

  g_byte_array_append (seed, (const guint8 *) &length, sizeof length);
  g_byte_array_append (seed, (const guint8 *) header, (guint) strlen (header));
  g_byte_array_append (seed, (const guint8 *) "12345678", 8);
  g_ptr_array_add (seeds, g_byte_array_free_to_bytes (g_steal_pointer (&seed)));
}

void
fuzz_seeds (GPtrArray *seeds)
{
  Mt3Config config;

  mt3_config_init_multitrack (&config);
  config.n_mels = config.d_model = config.vocab_size = 4;
  config.encoder_d_ff = config.decoder_d_ff = 4;
  config.n_heads = config.head_dim = 2;
  config.encoder_layers = config.decoder_layers = 1;
  add_model (seeds, &config, FALSE);
  add_model (seeds, &config, TRUE);
  add_other (seeds);
}
