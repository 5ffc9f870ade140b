/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * random-model.h: an MT3 model of any dimensions with random weights, in
 * memory, and a draft network (checkpoint/draft.h) for any model. The same
 * configuration and seed give the same weights on every machine.
 */
#pragma once

#include "checkpoint/model.h"

G_BEGIN_DECLS

/**
 * RandomModel:
 * @tensors: #Mt3Tensor, float32, named and laid out as for a file; tests may
 *   change them
 * @metadata: of the file to write; holds the configuration
 * @owned: what @tensors point to, freed with g_free()
 */
typedef struct {
  Mt3Config config;
  GArray *tensors;
  GHashTable *metadata;
  GPtrArray *owned;
} RandomModel;

/* @hugging_face: under Hugging Face names, kernels as [out, in]; else T5X. */
RandomModel *random_model_new (
    const Mt3Config *config, guint64 seed, gboolean hugging_face);
void random_model_free (RandomModel *model);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (RandomModel, random_model_free)

/* Writes safetensors. */
gboolean random_model_write (const RandomModel *model, const gchar *path,
    Mt3DType dtype, GError **error);

/* A draft network for @model; @config is that of @model. */
RandomModel *random_draft_new (const Mt3Model *model, guint64 seed);

/* Writes one in float16. */
gboolean random_draft_write (
    const Mt3Model *model, const gchar *path, guint64 seed, GError **error);

G_END_DECLS
