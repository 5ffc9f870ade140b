/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * weights.h: a model on the device, in the form that the kernels read: see
 * "RMSNorm" and "Weights" in mt3-cuda-kernels.h.
 */
#pragma once

#include "checkpoint/draft.h"
#include "engine/cuda/memory.h"

G_BEGIN_DECLS

/* All matrices are [out, in], the decoder's as mt3_cuda_decode_layout() says;
 * `up` has the gate and the linear part of the gated unit by turns. */
typedef struct {
  Mt3CudaPlanes qkv, out, up, down;
} Mt3CudaEncoderLayer;

/* `qkv` and `self_out` have the two parts of the cross-attention query as
 * further rows: see Mt3CudaDecodeGemm. */
typedef struct {
  Mt3CudaPlanes qkv, self_out, cross_out, up, down;
} Mt3CudaDecoderLayer;

/* The decoder's for whole texts at once, in the encoder's form. */
typedef struct {
  Mt3CudaPlanes qkv, self_out, cross_query, cross_out, up, down;
} Mt3CudaVerifierLayer;

/* But for its layer. @own_up, @own_down: behind @own_state, in its place. */
typedef struct {
  Mt3CudaPlanes state, own_state, own_up, own_down;
} Mt3CudaDraftNetwork;

/* How an engine comes to its tokens. */
typedef enum {
  MT3_CUDA_DRAFTS, /* step by step in float16 */
  MT3_CUDA_VERIFIES, /* the same, and whole texts again in split form */
  MT3_CUDA_STEPS_EXACTLY, /* step by step in split form */
} Mt3CudaMethod;

/**
 * Mt3CudaWeights:
 * @split: whether the decoder that makes steps is in split form; the encoder
 *   always is
 * @verifier: [decoder_layers], and @verifier_logits; only where texts are
 *   verified
 * @cross_kv: keys and values of all @n_layers, [layer][key, value]
 * @decoder: [n_layers]: the decoder's, and the draft network's behind them
 * @n_places: tokens that a step is given: more than one with a draft network
 * @embedding: [vocab, d_model] float32
 * @positions: [n_positions, d_model] float32
 * @hann, @twiddle, @mel_start, @mel_offset, @mel_weight: as Mt3CudaMel
 */
typedef struct {
  Mt3Config config;
  gboolean split;
  guint n_places, n_layers;
  Mt3CudaMemory memory;
  Mt3CudaPlanes projection;
  Mt3CudaEncoderLayer *encoder;
  Mt3CudaPlanes cross_kv;
  Mt3CudaDecoderLayer *decoder;
  Mt3CudaPlanes logits;
  Mt3CudaDraftNetwork draft;
  Mt3CudaVerifierLayer *verifier;
  Mt3CudaPlanes verifier_logits;
  gfloat *embedding;
  gfloat *positions;
  gfloat *hann, *twiddle, *mel_weight;
  gint *mel_start, *mel_offset;
} Mt3CudaWeights;

/* Loads onto the current device; blocks until everything is there.
 * @draft: or %NULL; left out where it would not pay */
Mt3CudaWeights *mt3_cuda_weights_new (const Mt3Model *model,
    const Mt3Draft *draft, Mt3CudaMethod method, GError **error);
void mt3_cuda_weights_free (Mt3CudaWeights *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Mt3CudaWeights, mt3_cuda_weights_free)

G_END_DECLS
