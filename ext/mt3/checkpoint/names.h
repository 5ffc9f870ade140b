/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * names.h: what the same tensor is called in the files of different tools.
 *
 * Canonical are the names of T5X ("encoder/layers_0/attention/query/kernel").
 * Hugging Face T5 names ("encoder.block.0.layer.0.SelfAttention.q.weight") are
 * those of transformers' modeling_t5.py, plus "proj" and "decoder_embed_tokens"
 * of the PyTorch port of MT3 (kunato/mt3-pytorch, models/t5.py), whose linear
 * layers store [out, in] where T5X stores [in, out].
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef enum {
  MT3_NAMING_T5X,
  MT3_NAMING_HUGGING_FACE,
  MT3_NAMING_NONE, /* neither: the tensor is not MT3's */
} Mt3Naming;

/**
 * Mt3Name:
 * @canonical: owned; %NULL when the tensor is to be left out
 * @naming: of the name in the file
 * @transposed: the file has [out, in]
 * @alias: a second name that frameworks write for a shared tensor; wanted only
 *   when the first is missing
 * @ignored: not a parameter (a table that the network computes itself)
 */
typedef struct {
  gchar *canonical;
  Mt3Naming naming;
  gboolean transposed;
  gboolean alias;
  gboolean ignored;
} Mt3Name;

/* Resolves a name from a file. Names of neither convention come back as they
 * are, so that the schema can call them unexpected. */
void mt3_name_resolve (const gchar *file_name, Mt3Name *name);
void mt3_name_clear (Mt3Name *name);

/* The Hugging Face name of a canonical one, for messages and for writers; NULL
 * when there is none. Free with g_free(). */
gchar *mt3_name_to_hugging_face (const gchar *canonical, gboolean *transposed);

G_END_DECLS
