/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * weights.h: a checkpoint as the CPU kernels read it: matrices in panels, in
 * the order in which a forward pass needs them.
 */
#pragma once

#include "checkpoint/model.h"
#include "engine/backend.h"
#include "kernels/cpu/cpu-kernels.h"
#include "kernels/cpu/pool.h"

G_BEGIN_DECLS

typedef struct {
  const gfloat *attention_norm;
  Mt3Matrix qkv; /* query, key and value beside each other */
  Mt3Matrix out;
  const gfloat *mlp_norm;
  Mt3Matrix gate; /* wi_0 and wi_1 interleaved, see MT3_GATE */
  Mt3Matrix down; /* wo */
} Mt3CpuEncoderLayer;

typedef struct {
  const gfloat *self_norm;
  Mt3Matrix self_qkv;
  Mt3Matrix self_out; /* from heads padded to MT3_ROW_WIDTH, as cross_out */
  const gfloat *cross_norm;
  Mt3Matrix cross_query;
  Mt3Matrix cross_key; /* a block for each head: its key kernel, transposed */
  Mt3Matrix cross_value; /* a block for each head */
  Mt3Matrix cross_out;
  const gfloat *mlp_norm;
  Mt3Matrix gate;
  Mt3Matrix down;
} Mt3CpuDecoderLayer;

/**
 * Mt3CpuWeights:
 * @width: floats in a vector of norm scales or a row of the embedding: d_model
 *   rounded up to MT3_ROW_WIDTH, zeros after d_model
 */
typedef struct {
  guint n_encoder_layers, n_decoder_layers;
  gsize width;

  Mt3Matrix input; /* continuous_inputs_projection */
  Mt3CpuEncoderLayer *encoder;
  const gfloat *encoder_norm;
  const gfloat *embedding; /* [vocab_size][width] */
  Mt3CpuDecoderLayer *decoder;
  const gfloat *decoder_norm;
  Mt3Matrix logits;

  gpointer memory; /* everything above points into it */
  gsize n_bytes;
} Mt3CpuWeights;

/**
 * mt3_cpu_weights_new:
 * @precision: EXACT stores a matrix as float16 only when that loses nothing
 *
 * Packs @model on all threads of @pool, and keeps no reference to it.
 */
Mt3CpuWeights *mt3_cpu_weights_new (const Mt3Model *model,
    Mt3Precision precision, const Mt3CpuKernels *kernels, Mt3Pool *pool,
    GError **error);
void mt3_cpu_weights_free (Mt3CpuWeights *weights);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Mt3CpuWeights, mt3_cpu_weights_free)

G_END_DECLS
