/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Names of instruments as the properties take them, to choose some and to map
 * some to others. A model must always be allowed to end a window.
 */
#include "engine/decoding.h"
#include "fuzz.h"
#include "notes/program-map.h"
#include "notes/program-set.h"

#include <string.h>

static void
check_set (const gchar *text)
{
  g_autoptr (Mt3TokenSet) tokens = NULL;
  g_autoptr (GError) error = NULL;
  Mt3ProgramSet set = {0};
  Mt3Config config;

  if (!mt3_program_set_parse (text, &set, &error)) {
    g_assert_nonnull (error);
    return;
  }
  mt3_config_init_multitrack (&config);
  tokens = mt3_program_set_tokens (&set, &config);
  g_assert_true (mt3_token_set_contains (tokens, MT3_TOKEN_EOS));
}

static void
check_map (const gchar *text)
{
  g_autoptr (GError) error = NULL;
  Mt3ProgramMap map;

  g_assert (mt3_program_map_parse (text, &map, &error) == (error == NULL));
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  g_autofree gchar *text = g_strndup ((const gchar *) data, size);

  check_set (text);
  check_map (text);
  return 0;
}

void
fuzz_seeds (GPtrArray *seeds)
{
  static const gchar *const texts[] = {"Violin, strings,40-47, 127 ,DRUMS",
      "Acoustic Grand Piano,0-127", "strings=Violin, 0-7=24, DRUMS=off"};

  for (gsize i = 0; i < G_N_ELEMENTS (texts); i++)
    g_ptr_array_add (seeds, g_bytes_new_static (texts[i], strlen (texts[i])));
}
