/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A model's configuration as JSON. What is accepted must come back from JSON
 * as it was.
 */
#include "checkpoint/config-json.h"
#include "fuzz.h"

#include <string.h>

static void
check_round_trip (const Mt3Config *config)
{
  g_autofree gchar *text = mt3_config_to_json (config);
  Mt3Config again = {0};
  Mt3ConfigMask given;

  g_assert_true (mt3_config_parse (&again, &given, text, "output", NULL));
  g_assert_cmpmem (&again, sizeof again, config, sizeof *config);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  g_autofree gchar *text = g_strndup ((const gchar *) data, size);
  g_autoptr (GError) error = NULL;
  Mt3Config config = {0};
  Mt3ConfigMask given;

  mt3_config_init_multitrack (&config);
  mt3_config_is_for_mt3 (text);
  if (!mt3_config_parse (&config, &given, text, "input", &error))
    g_assert_nonnull (error);
  else if (mt3_config_check (&config, NULL))
    check_round_trip (&config);
  return 0;
}

static void
add_text (GPtrArray *seeds, const gchar *text)
{
  g_ptr_array_add (seeds, g_bytes_new (text, strlen (text)));
}

void
fuzz_seeds (GPtrArray *seeds)
{
  g_autofree gchar *text = NULL;
  Mt3Config config;

  mt3_config_init_multitrack (&config);
  text = mt3_config_to_json (&config);
  add_text (seeds, text);
  add_text (seeds, "{\"model_type\":\"t5\",\"d_kv\":64,\"num_heads\":6,"
                   "\"d_ff\":1024,\"dropout_rate\":0.1,\"prefix\":null,"
                   "\"architectures\":[\"T5\"],\"more\":{\"a\":[[],{}]}}");
}
