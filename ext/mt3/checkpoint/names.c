/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "checkpoint/names.h"

#include <string.h>

typedef struct {
  const gchar *t5x;
  const gchar *hugging_face;
  gboolean transposed;
} Pair;

static const Pair top_level[] = {
    {"encoder/continuous_inputs_projection/kernel", "proj.weight", TRUE},
    {"encoder/encoder_norm/scale", "encoder.final_layer_norm.weight", FALSE},
    {"decoder/token_embedder/embedding", "decoder_embed_tokens.weight", FALSE},
    {"decoder/decoder_norm/scale", "decoder.final_layer_norm.weight", FALSE},
    {"decoder/logits_dense/kernel", "lm_head.weight", TRUE},
};

/* PyTorch saves a module once for every attribute that holds it. */
static const Pair aliases[] = {
    {"encoder/continuous_inputs_projection/kernel",
        "encoder.embed_tokens.weight", TRUE},
    {"decoder/token_embedder/embedding", "decoder.embed_tokens.weight", FALSE},
    {"decoder/token_embedder/embedding", "shared.weight", FALSE},
};

static const Pair encoder_layer[] = {
    {"pre_attention_layer_norm/scale", "layer.0.layer_norm.weight", FALSE},
    {"attention/query/kernel", "layer.0.SelfAttention.q.weight", TRUE},
    {"attention/key/kernel", "layer.0.SelfAttention.k.weight", TRUE},
    {"attention/value/kernel", "layer.0.SelfAttention.v.weight", TRUE},
    {"attention/out/kernel", "layer.0.SelfAttention.o.weight", TRUE},
    {"pre_mlp_layer_norm/scale", "layer.1.layer_norm.weight", FALSE},
    {"mlp/wi_0/kernel", "layer.1.DenseReluDense.wi_0.weight", TRUE},
    {"mlp/wi_1/kernel", "layer.1.DenseReluDense.wi_1.weight", TRUE},
    {"mlp/wo/kernel", "layer.1.DenseReluDense.wo.weight", TRUE},
};

static const Pair decoder_layer[] = {
    {"pre_self_attention_layer_norm/scale", "layer.0.layer_norm.weight", FALSE},
    {"self_attention/query/kernel", "layer.0.SelfAttention.q.weight", TRUE},
    {"self_attention/key/kernel", "layer.0.SelfAttention.k.weight", TRUE},
    {"self_attention/value/kernel", "layer.0.SelfAttention.v.weight", TRUE},
    {"self_attention/out/kernel", "layer.0.SelfAttention.o.weight", TRUE},
    {"pre_cross_attention_layer_norm/scale", "layer.1.layer_norm.weight",
        FALSE},
    {"encoder_decoder_attention/query/kernel",
        "layer.1.EncDecAttention.q.weight", TRUE},
    {"encoder_decoder_attention/key/kernel", "layer.1.EncDecAttention.k.weight",
        TRUE},
    {"encoder_decoder_attention/value/kernel",
        "layer.1.EncDecAttention.v.weight", TRUE},
    {"encoder_decoder_attention/out/kernel", "layer.1.EncDecAttention.o.weight",
        TRUE},
    {"pre_mlp_layer_norm/scale", "layer.2.layer_norm.weight", FALSE},
    {"mlp/wi_0/kernel", "layer.2.DenseReluDense.wi_0.weight", TRUE},
    {"mlp/wi_1/kernel", "layer.2.DenseReluDense.wi_1.weight", TRUE},
    {"mlp/wo/kernel", "layer.2.DenseReluDense.wo.weight", TRUE},
};

/* The two stacks: their prefixes in either naming and their layers' tensors. */
static const struct {
  const gchar *t5x;
  const gchar *hugging_face;
  const Pair *pairs;
  gsize n_pairs;
} stacks[] = {
    {"encoder/layers_", "encoder.block.", encoder_layer,
        G_N_ELEMENTS (encoder_layer)},
    {"decoder/layers_", "decoder.block.", decoder_layer,
        G_N_ELEMENTS (decoder_layer)},
};

/* Skips @prefix, digits and @separator, and gives the digits' span. */
static const gchar *
skip_layer (const gchar *name, const gchar *prefix, gchar separator,
    const gchar **digits, gint *n_digits)
{
  const gchar *at;

  if (!g_str_has_prefix (name, prefix))
    return NULL;
  *digits = name + strlen (prefix);
  at = *digits + strspn (*digits, "0123456789");
  *n_digits = (gint) (at - *digits);
  return *n_digits > 0 && *at == separator ? at + 1 : NULL;
}

static gboolean
resolve_layer (const gchar *file_name, Mt3Name *name)
{
  const gchar *digits, *rest;
  gint n_digits;

  for (gsize s = 0; s < G_N_ELEMENTS (stacks); s++) {
    rest =
        skip_layer (file_name, stacks[s].hugging_face, '.', &digits, &n_digits);
    for (gsize i = 0; rest != NULL && i < stacks[s].n_pairs; i++) {
      const Pair *pair = &stacks[s].pairs[i];

      if (g_str_equal (rest, pair->hugging_face)) {
        name->canonical = g_strdup_printf (
            "%s%.*s/%s", stacks[s].t5x, n_digits, digits, pair->t5x);
        name->transposed = pair->transposed;
        return TRUE;
      }
    }
  }
  return FALSE;
}

static gboolean
resolve_top (
    const Pair *pairs, gsize n_pairs, const gchar *file_name, Mt3Name *name)
{
  for (gsize i = 0; i < n_pairs; i++) {
    if (g_str_equal (file_name, pairs[i].hugging_face)) {
      name->canonical = g_strdup (pairs[i].t5x);
      name->transposed = pairs[i].transposed;
      return TRUE;
    }
  }
  return FALSE;
}

/* "target/encoder/..." and "target.encoder...." are T5X names, too: the tree's
 * path, and the folders' names. */
static gchar *
canonical_t5x (const gchar *file_name)
{
  gchar *name = g_strdelimit (g_strdup (file_name), ".", '/');

  if (g_str_has_prefix (name, "target/"))
    memmove (name, name + 7, strlen (name + 7) + 1);
  return name;
}

void
mt3_name_resolve (const gchar *file_name, Mt3Name *name)
{
  *name = (Mt3Name){.naming = MT3_NAMING_HUGGING_FACE};
  if (g_str_has_suffix (file_name, "pos_emb.inv_freq")) {
    name->ignored = TRUE;
    return;
  }
  if (resolve_layer (file_name, name) ||
      resolve_top (top_level, G_N_ELEMENTS (top_level), file_name, name))
    return;
  name->alias = resolve_top (aliases, G_N_ELEMENTS (aliases), file_name, name);
  if (name->alias)
    return;
  name->naming = MT3_NAMING_T5X;
  name->canonical = canonical_t5x (file_name);
}

void
mt3_name_clear (Mt3Name *name)
{
  g_clear_pointer (&name->canonical, g_free);
}

gchar *
mt3_name_to_hugging_face (const gchar *canonical, gboolean *transposed)
{
  const gchar *digits, *rest;
  gint n_digits;

  for (gsize i = 0; i < G_N_ELEMENTS (top_level); i++) {
    if (g_str_equal (canonical, top_level[i].t5x)) {
      *transposed = top_level[i].transposed;
      return g_strdup (top_level[i].hugging_face);
    }
  }
  for (gsize s = 0; s < G_N_ELEMENTS (stacks); s++) {
    rest = skip_layer (canonical, stacks[s].t5x, '/', &digits, &n_digits);
    for (gsize i = 0; rest != NULL && i < stacks[s].n_pairs; i++) {
      const Pair *pair = &stacks[s].pairs[i];

      if (g_str_equal (rest, pair->t5x)) {
        *transposed = pair->transposed;
        return g_strdup_printf ("%s%.*s.%s", stacks[s].hugging_face, n_digits,
            digits, pair->hugging_face);
      }
    }
  }
  return NULL;
}
