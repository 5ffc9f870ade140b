/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "checkpoint/derive.h"
#include "checkpoint/config-json.h"

#include <string.h>

/* The piano model of the ISMIR 2021 paper: 127 velocity bins without ties. */
#define PIANO_VOCABULARY 1664
#define PIANO_WINDOW_FRAMES 512
#define PIANO_VELOCITY_BINS 127

#define LARGEST_WIDTH (1u << 20)

/* Takes extent @axis of a tensor, if there is such a tensor. */
static void
take_extent (
    const Mt3Mapping *mapping, const gchar *name, guint axis, guint *value)
{
  const Mt3MappingRow *row = mt3_mapping_find (mapping, name);

  if (row != NULL && axis < row->tensor.n_dims &&
      row->tensor.shape[axis] <= LARGEST_WIDTH)
    *value = (guint) row->tensor.shape[axis];
}

/* One more than the highest layer of a stack, if there is any. A file of n
 * tensors has no more than n layers, whatever numbers its names carry. */
static void
count_layers (const Mt3Mapping *mapping, const gchar *prefix, guint *layers)
{
  guint64 count = 0;

  for (guint i = 0; i < mapping->rows->len; i++) {
    const Mt3MappingRow *row = &g_array_index (mapping->rows, Mt3MappingRow, i);

    if (g_str_has_prefix (row->tensor.name, prefix)) {
      guint64 layer =
          g_ascii_strtoull (row->tensor.name + strlen (prefix), NULL, 10);

      if (layer < mapping->rows->len)
        count = MAX (count, layer + 1);
    }
  }
  if (count > 0)
    *layers = (guint) count;
}

static void
derive_from_shapes (Mt3Config *config, const Mt3Mapping *mapping)
{
  take_extent (mapping, "encoder/continuous_inputs_projection/kernel", 0,
      &config->n_mels);
  take_extent (mapping, "encoder/encoder_norm/scale", 0, &config->d_model);
  take_extent (
      mapping, "decoder/token_embedder/embedding", 0, &config->vocab_size);
  take_extent (
      mapping, "encoder/layers_0/mlp/wi_0/kernel", 1, &config->encoder_d_ff);
  take_extent (
      mapping, "decoder/layers_0/mlp/wi_0/kernel", 1, &config->decoder_d_ff);
  count_layers (mapping, "encoder/layers_", &config->encoder_layers);
  count_layers (mapping, "decoder/layers_", &config->decoder_layers);
}

/* The shapes only know heads times width; a file that says one gives both. */
static void
derive_heads (Mt3Config *config, const Mt3Mapping *mapping, Mt3ConfigMask given)
{
  guint inner = mt3_config_inner (config);

  take_extent (mapping, "encoder/layers_0/attention/query/kernel", 1, &inner);
  if (!mt3_config_mask_has (given, "n_heads"))
    config->n_heads = MAX (1, inner / config->head_dim);
  else if (!mt3_config_mask_has (given, "head_dim"))
    config->head_dim = MAX (1, inner / config->n_heads);
}

static gboolean
read_own_words (const Mt3Archive *archive, Mt3Config *config,
    Mt3ConfigMask *given, GError **error)
{
  const gchar *metadata =
      g_hash_table_lookup (archive->metadata, MT3_CONFIG_KEY);

  if (metadata != NULL)
    return mt3_config_parse (
        config, given, metadata, "the metadata " MT3_CONFIG_KEY, error);
  if (archive->config_json != NULL &&
      mt3_config_is_for_mt3 (archive->config_json))
    return mt3_config_parse (
        config, given, archive->config_json, "config.json", error);
  return TRUE;
}

gboolean
mt3_config_derive (Mt3Config *config, const Mt3Archive *archive,
    const Mt3Mapping *mapping, GError **error)
{
  Mt3Config own;
  Mt3ConfigMask given = 0;
  gboolean understood;

  mt3_config_init_multitrack (config);
  mt3_config_init_multitrack (&own);
  understood = read_own_words (archive, &own, &given, error);
  derive_from_shapes (config, mapping);
  if (config->vocab_size == PIANO_VOCABULARY) {
    config->window_frames = PIANO_WINDOW_FRAMES;
    config->velocity_bins = PIANO_VELOCITY_BINS;
    config->ties = FALSE;
  }
  mt3_config_overlay (config, &own, given);
  derive_heads (config, mapping, given);
  return understood && mt3_config_check (config, error);
}
