/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * prefill.h: audio to cross-attention caches, on a stream of its own so that
 * it runs beside the decoding of other windows.
 */
#pragma once

#include "engine/backend.h"
#include "engine/cuda/graph.h"
#include "engine/cuda/slots.h"

G_BEGIN_DECLS

#define MT3_CUDA_PREFILL_STAGES 4 /* samples copied while others compute */

/* Host side of one batch under way. */
typedef struct {
  gfloat *samples;
  guint32 *allowed;
  gint *slots; /* slots, then n_frames */
  cudaEvent_t done;
} Mt3CudaPrefillStage;

/**
 * Mt3CudaPrefill:
 * @batch: windows at most at a time
 * @dependent: whether a kernel may start while the one before still runs
 * @n_started: batches since the start; batch i is done when its stage's event
 *   is, see mt3_cuda_prefill_is_done()
 * @n_waiting: windows of batch n_started + 1, which has not started
 * @device_slots: of the batch that is computed
 * @whole: the kernels of a batch of @batch windows
 */
typedef struct {
  const Mt3CudaWeights *weights;
  Mt3CudaSlots *slots;
  Mt3CudaMemory memory;
  guint batch;
  gboolean dependent;
  guint64 n_started;
  guint64 n_done;
  guint n_waiting;
  cudaStream_t stream;
  Mt3CudaPrefillStage stages[MT3_CUDA_PREFILL_STAGES];
  gint *device_slots;
  Mt3CudaGraph *whole;
  gfloat *x;
  gfloat *squares;
  Mt3CudaPlanes mel, planes, qkv, attended, gated;
} Mt3CudaPrefill;

gboolean mt3_cuda_prefill_init (Mt3CudaPrefill *self,
    const Mt3CudaWeights *weights, Mt3CudaSlots *slots, guint batch,
    gboolean dependent, GError **error);
void mt3_cuda_prefill_clear (Mt3CudaPrefill *self);

/* Takes a window; its samples and allowed tokens are copied. One window alone
 * costs the device nearly as much as eight: so those that come while a batch is
 * under way make the next one together. Its number is n_started + 1 before the
 * call. */
gboolean mt3_cuda_prefill_add (
    Mt3CudaPrefill *self, const Mt3BackendWindow *window, GError **error);

/* Starts what waits, unless a batch is under way and @force is not set. */
gboolean mt3_cuda_prefill_start (
    Mt3CudaPrefill *self, gboolean force, GError **error);

/* Whether batch @number has finished; asks the device without waiting. */
gboolean mt3_cuda_prefill_is_done (Mt3CudaPrefill *self, guint64 number);

/* Blocks until the oldest batch that is not done is; starts it if need be. */
gboolean mt3_cuda_prefill_wait (Mt3CudaPrefill *self, GError **error);

G_END_DECLS
