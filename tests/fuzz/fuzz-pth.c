/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A PyTorch file, up to the last check that opening a model makes. An input
 * that is no zip file is read as the pickle in one, whose offsets then need not
 * be guessed.
 */
#include "checkpoint/pth.h"
#include "checkpoint/report.h"
#include "fuzz.h"
#include "pth-writer.h"

#include <string.h>

/* Storage for the tensors of bare pickles. */
#define STORAGE_SIZE 64

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  g_autoptr (GBytes) bytes = size >= 2 && memcmp (data, "PK", 2) == 0
                                 ? g_bytes_new (data, size)
                                 : pth_write_pickle (data, size, STORAGE_SIZE);
  g_autoptr (Mt3Archive) archive = mt3_pth_read_bytes (bytes, "input", NULL);
  g_autoptr (Mt3Report) report = NULL;

  if (archive != NULL) {
    report = mt3_report_new (archive);
    mt3_report_check_values (report);
  }
  return 0;
}

/* A tensor of four floats, wrapped and with attributes. */
static const gchar pickle[] =
    "\x80\2}(X\5\0\0\0epochK\1X\12\0\0\0state_dict"
    "ccollections\nOrderedDict\n)R(X\14\0\0\0model.weight"
    "ctorch._utils\n_rebuild_tensor_v2\nq\1(("
    "X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0000X\3\0\0\0cpuK\20tQq\2"
    "M\4\0K\2K\2\x86K\2K\1\x86\x89]q\3tRX\4\0\0\0name"
    "h\1(h\2J\0\0\0\0\x8a\1\2\x85K\1\x85\x88NtRu}b"
    "X\2\0\0\0lrG\77\360\0\0\0\0\0\0u.";

void
fuzz_seeds (GPtrArray *seeds)
{
  static const PthOptions forms[] = {{.dtype = MT3_DTYPE_F16},
      {.wrapper = "state_dict", .prefix = "model.", .shared = TRUE}};
  g_autoptr (RandomModel) model = NULL;
  Mt3Config config;

  mt3_config_init_multitrack (&config);
  config.n_mels = config.d_model = config.vocab_size = 4;
  config.encoder_d_ff = config.decoder_d_ff = 4;
  config.n_heads = config.head_dim = 2;
  config.encoder_layers = config.decoder_layers = 1;
  model = random_model_new (&config, 1, TRUE);
  for (gsize i = 0; i < G_N_ELEMENTS (forms); i++)
    g_ptr_array_add (seeds, pth_write (model, &forms[i]));
  g_ptr_array_add (seeds, g_bytes_new_static (pickle, sizeof pickle - 1));
}
