/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * verifier.h: which tokens float32 accuracy chooses where float16 has drafted a
 * text. All places of a text are computed at once, so that weights and caches
 * are read once a text and not once a token (Leviathan et al., "Fast Inference
 * from Transformers via Speculative Decoding", 2023).
 *
 * A batch has texts of several slots, each in blocks of MT3_CUDA_BLOCK_ROWS
 * rows; row i of a text has what follows its first i tokens. It runs on a
 * stream of its own, beside the lanes. One thread.
 */
#pragma once

#include "engine/cuda/slots.h"

G_BEGIN_DECLS

/* @first: row of the text's first token; @n_rows: tokens that are asked for */
typedef struct {
  guint slot;
  guint first, n_rows;
} Mt3CudaText;

/**
 * Mt3CudaVerifier:
 * @capacity: blocks at most
 * @n_blocks, @n_texts: of the batch that is filled, or under way
 * @busy: from mt3_cuda_verifier_start() to mt3_cuda_verifier_wait()
 * @texts: [capacity]
 * @host_records: [capacity * MT3_CUDA_BLOCK_ROWS] valid after the wait
 * @host_flags: [capacity] of each block, whether a value left float16
 * @numbers: [capacity] 0, 1 ...
 */
typedef struct {
  const Mt3CudaWeights *weights;
  const Mt3CudaSlots *slots;
  Mt3CudaMemory memory;
  cudaStream_t stream;
  cudaEvent_t done;
  gboolean dependent;
  guint capacity;
  guint n_blocks, n_texts;
  gboolean busy;
  GHashTable *graphs; /* blocks to Mt3CudaGraph */
  Mt3CudaText *texts;
  Mt3CudaRow *host_rows;
  Mt3CudaBlock *host_blocks;
  Mt3CudaRecord *host_records;
  gint *host_flags;
  Mt3CudaRow *rows;
  Mt3CudaBlock *blocks;
  Mt3CudaRecord *records;
  gint *flags, *numbers;
  gfloat *x, *squares, *logits;
  Mt3CudaPlanes planes, qkv, query, attended, gated;
} Mt3CudaVerifier;

/* @dependent: use programmatic dependent launch. Builds all graphs. @weights
 * are of MT3_CUDA_VERIFIES. */
gboolean mt3_cuda_verifier_init (Mt3CudaVerifier *self,
    const Mt3CudaWeights *weights, const Mt3CudaSlots *slots,
    gboolean dependent, GError **error);
void mt3_cuda_verifier_clear (Mt3CudaVerifier *self);

/* Room for a text of @n_rows rows (1 .. max_tokens) in the next batch, to be
 * filled by the caller; each has one token remaining. %NULL when there is none
 * or a batch is under way. */
Mt3CudaRow *mt3_cuda_verifier_add (
    Mt3CudaVerifier *self, guint slot, guint n_rows);

/* Starts the batch. */
gboolean mt3_cuda_verifier_start (Mt3CudaVerifier *self, GError **error);

/* Whether the batch under way has ended; asks the device without waiting. */
gboolean mt3_cuda_verifier_is_done (const Mt3CudaVerifier *self);

/* Blocks until the batch has ended. Its texts and their records are there until
 * mt3_cuda_verifier_reset(). */
gboolean mt3_cuda_verifier_wait (Mt3CudaVerifier *self, GError **error);
void mt3_cuda_verifier_reset (Mt3CudaVerifier *self);

/* Whether a value of the text, or of what pads it, left float16's range. What
 * was chosen before that is right. */
gboolean mt3_cuda_verifier_overflowed (
    const Mt3CudaVerifier *self, const Mt3CudaText *text);

/* What follows the first @i tokens of the text. */
static inline const Mt3CudaRecord *
mt3_cuda_verifier_record (
    const Mt3CudaVerifier *self, const Mt3CudaText *text, guint i)
{
  return &self->host_records[text->first + i];
}

G_END_DECLS
