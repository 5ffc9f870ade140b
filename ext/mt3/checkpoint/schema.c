/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "checkpoint/schema.h"

/* A width that a tensor has, whatever its number in the config. */
typedef enum { NONE, MELS, MODEL, INNER, ENC_FF, DEC_FF, VOCAB } Width;

typedef struct {
  const gchar *name;
  Width rows, columns; /* columns NONE: a vector */
} Row;

static const Row encoder_start[] = {
    {"encoder/continuous_inputs_projection/kernel", MELS, MODEL},
};

static const Row encoder_layer[] = {
    {"pre_attention_layer_norm/scale", MODEL, NONE},
    {"attention/query/kernel", MODEL, INNER},
    {"attention/key/kernel", MODEL, INNER},
    {"attention/value/kernel", MODEL, INNER},
    {"attention/out/kernel", INNER, MODEL},
    {"pre_mlp_layer_norm/scale", MODEL, NONE},
    {"mlp/wi_0/kernel", MODEL, ENC_FF},
    {"mlp/wi_1/kernel", MODEL, ENC_FF},
    {"mlp/wo/kernel", ENC_FF, MODEL},
};

static const Row encoder_end_decoder_start[] = {
    {"encoder/encoder_norm/scale", MODEL, NONE},
    {"decoder/token_embedder/embedding", VOCAB, MODEL},
};

static const Row decoder_layer[] = {
    {"pre_self_attention_layer_norm/scale", MODEL, NONE},
    {"self_attention/query/kernel", MODEL, INNER},
    {"self_attention/key/kernel", MODEL, INNER},
    {"self_attention/value/kernel", MODEL, INNER},
    {"self_attention/out/kernel", INNER, MODEL},
    {"pre_cross_attention_layer_norm/scale", MODEL, NONE},
    {"encoder_decoder_attention/query/kernel", MODEL, INNER},
    {"encoder_decoder_attention/key/kernel", MODEL, INNER},
    {"encoder_decoder_attention/value/kernel", MODEL, INNER},
    {"encoder_decoder_attention/out/kernel", INNER, MODEL},
    {"pre_mlp_layer_norm/scale", MODEL, NONE},
    {"mlp/wi_0/kernel", MODEL, DEC_FF},
    {"mlp/wi_1/kernel", MODEL, DEC_FF},
    {"mlp/wo/kernel", DEC_FF, MODEL},
};

static const Row decoder_end[] = {
    {"decoder/decoder_norm/scale", MODEL, NONE},
    {"decoder/logits_dense/kernel", MODEL, VOCAB},
};

/* A draft network is this, and a layer of a decoder's form. */
static const Row draft[] = {
    {"pre_state_layer_norm/scale", MODEL, NONE},
    {"state/kernel", MODEL, MODEL},
    {"pre_own_state_layer_norm/scale", MODEL, NONE},
    {"own_state/kernel", MODEL, MODEL},
    {"pre_own_mlp_layer_norm/scale", MODEL, NONE},
    {"own_mlp/wi_0/kernel", MODEL, DEC_FF},
    {"own_mlp/wi_1/kernel", MODEL, DEC_FF},
    {"own_mlp/wo/kernel", DEC_FF, MODEL},
};

static gsize
width_of (const Mt3Config *config, Width width)
{
  switch (width) {
    case MELS:
      return config->n_mels;
    case MODEL:
      return config->d_model;
    case INNER:
      return mt3_config_inner (config);
    case ENC_FF:
      return config->encoder_d_ff;
    case DEC_FF:
      return config->decoder_d_ff;
    case VOCAB:
      return config->vocab_size;
    default:
      return 0;
  }
}

static void
add_rows (GArray *schema, const Mt3Config *config, const gchar *prefix,
    const Row *rows, gsize n_rows)
{
  for (gsize i = 0; i < n_rows; i++) {
    Mt3SchemaTensor tensor = {
        .name = g_strconcat (prefix, rows[i].name, NULL),
        .n_dims = rows[i].columns == NONE ? 1 : 2,
        .shape = {width_of (config, rows[i].rows),
            width_of (config, rows[i].columns)},
    };

    g_array_append_val (schema, tensor);
  }
}

static void
add_layers (GArray *schema, const Mt3Config *config, const gchar *stack,
    guint n_layers, const Row *rows, gsize n_rows)
{
  for (guint layer = 0; layer < n_layers; layer++) {
    g_autofree gchar *prefix = g_strdup_printf ("%s/layers_%u/", stack, layer);

    add_rows (schema, config, prefix, rows, n_rows);
  }
}

static void
clear_tensor (gpointer data)
{
  g_free (((Mt3SchemaTensor *) data)->name);
}

static GArray *
empty_schema (void)
{
  GArray *schema = g_array_new (FALSE, FALSE, sizeof (Mt3SchemaTensor));

  g_array_set_clear_func (schema, clear_tensor);
  return schema;
}

GArray *
mt3_schema_new (const Mt3Config *config)
{
  GArray *schema = empty_schema ();

  add_rows (schema, config, "", encoder_start, G_N_ELEMENTS (encoder_start));
  add_layers (schema, config, "encoder", config->encoder_layers, encoder_layer,
      G_N_ELEMENTS (encoder_layer));
  add_rows (schema, config, "", encoder_end_decoder_start,
      G_N_ELEMENTS (encoder_end_decoder_start));
  add_layers (schema, config, "decoder", config->decoder_layers, decoder_layer,
      G_N_ELEMENTS (decoder_layer));
  add_rows (schema, config, "", decoder_end, G_N_ELEMENTS (decoder_end));
  return schema;
}

GArray *
mt3_draft_schema_new (const Mt3Config *config)
{
  GArray *schema = empty_schema ();

  add_rows (schema, config, "", draft, G_N_ELEMENTS (draft));
  add_rows (schema, config, "", decoder_layer, G_N_ELEMENTS (decoder_layer));
  return schema;
}
