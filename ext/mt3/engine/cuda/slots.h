/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * slots.h: what every slot keeps on the device between prefill and its end.
 */
#pragma once

#include "engine/cuda/weights.h"

G_BEGIN_DECLS

/**
 * Mt3CudaSlots:
 * @cross: [slot][layer][head][key, value][frame][64], float16 or float32
 * @cross_lo: the same, what float16 leaves of each, times 2048; only where
 *   texts are verified
 * @self: [slot][layer][head][key, value][position][64], likewise
 * @samples: [slot][window_samples] of the window in the slot, kept for a rerun
 * @overflow: [slot] 1 when prefill left the range of float16
 * @allowed: [slot][mt3_cuda_allowed_words()] bits of the tokens that a
 *   constrained window may have
 * @cross_slot, @self_slot: elements from one slot to the next
 */
typedef struct {
  Mt3CudaMemory memory;
  guint n_slots;
  gsize element; /* bytes */
  gboolean verifies;
  void *cross, *cross_lo;
  void *self;
  gsize cross_slot, self_slot;
  gfloat *samples;
  gint *overflow;
  guint32 *allowed;
} Mt3CudaSlots;

/* Words of the bits of a token set. */
static inline guint
mt3_cuda_allowed_words (const Mt3Config *config)
{
  return (config->vocab_size + 31) / 32;
}

/* Takes device memory for @n_slots, or for as many as is sensible when it is
 * 0. Too many fail with an error that says how many would fit. */
gboolean mt3_cuda_slots_init (Mt3CudaSlots *self, const Mt3CudaWeights *weights,
    Mt3CudaMethod method, guint n_slots, GError **error);

G_END_DECLS
