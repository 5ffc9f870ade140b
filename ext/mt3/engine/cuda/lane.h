/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * lane.h: decodes a group of slots on a stream of its own. Several lanes share
 * the slots, so that one's small products, which wait for latency, run beside
 * another's attention, which waits for bandwidth.
 *
 * A run is: the rows' states to the device, some steps, what they made back.
 * It may go on with the same rows before that is here, in parts, so that the
 * device need not wait for the host.
 * A step is captured into CUDA graphs, one for each of a few row counts.
 */
#pragma once

#include "engine/cuda/slots.h"

G_BEGIN_DECLS

/* Steps that one graph holds; other counts are launched kernel by kernel. */
#define MT3_CUDA_GRAPH_STEPS 8

/* Steps of one run at most, and parts of it in flight. */
#define MT3_CUDA_RUN_STEPS 64
#define MT3_CUDA_RUN_PARTS 2

/**
 * Mt3CudaLane:
 * @capacity: rows at most, a multiple of MT3_CUDA_ROW_TILE
 * @copies: stream on which records come back, beside the next part
 * @stepped, @done: of a part, whose number is counted modulo
 *   MT3_CUDA_RUN_PARTS: its steps, and its records
 * @n_parts: in flight
 * @started: number of the run in flight, by which the backend knows which of
 *   its lanes began first
 * @n_rows: rows of the run in flight
 * @host_rows: [capacity] filled by the caller before mt3_cuda_lane_start()
 * @host_records: [step][bucket][n_places] valid after mt3_cuda_lane_wait()
 * @bucket: rows that the run in flight was padded to
 * @n_started: steps of the run that were started
 * @first, @n_steps: which of them mt3_cuda_lane_wait() waited for
 */
typedef struct {
  const Mt3CudaWeights *weights;
  Mt3CudaSlots *slots;
  Mt3CudaMemory memory;
  cudaStream_t stream, copies;
  cudaEvent_t stepped[MT3_CUDA_RUN_PARTS], done[MT3_CUDA_RUN_PARTS];
  guint part_steps[MT3_CUDA_RUN_PARTS];
  guint n_parts;
  guint oldest;
  gboolean dependent;
  guint64 started;
  guint capacity;
  guint n_rows;
  guint bucket;
  guint n_started;
  guint first, n_steps;
  GHashTable *graphs; /* bucket to Mt3CudaGraph */
  Mt3CudaRow *host_rows;
  Mt3CudaRecord *host_records;
  Mt3CudaRow *rows;
  Mt3CudaRecord *records;
  gfloat *x, *squares, *query, *cross_query, *logits;
  Mt3CudaPlanes planes, attended, gated;
  gfloat *draft_x, *draft_squares[2]; /* the draft network's, if there is one */
  Mt3CudaPlanes draft_planes[2];
} Mt3CudaLane;

/* @dependent: use programmatic dependent launch. Builds all graphs. */
gboolean mt3_cuda_lane_init (Mt3CudaLane *self, const Mt3CudaWeights *weights,
    Mt3CudaSlots *slots, guint capacity, gboolean dependent, GError **error);
void mt3_cuda_lane_clear (Mt3CudaLane *self);

/* Starts @n_steps (1 .. MT3_CUDA_RUN_STEPS) steps of the first @n_rows of
 * host_rows. */
gboolean mt3_cuda_lane_start (
    Mt3CudaLane *self, guint n_rows, guint n_steps, GError **error);

/* Starts @n_steps further steps of the run in flight, as far as there is room:
 * rows that have ended make nothing. */
gboolean mt3_cuda_lane_continue (
    Mt3CudaLane *self, guint n_steps, GError **error);

/* Whether the oldest part in flight has ended, or failed: mt3_cuda_lane_wait()
 * does not block then, and says so. */
gboolean mt3_cuda_lane_is_done (const Mt3CudaLane *self);

/* Blocks until the oldest part in flight has ended. */
gboolean mt3_cuda_lane_wait (Mt3CudaLane *self, GError **error);

/* What row @row made in step @step of the part that was waited for: a record of
 * each place. */
static inline const Mt3CudaRecord *
mt3_cuda_lane_records (const Mt3CudaLane *self, guint step, guint row)
{
  return &self->host_records[((gsize) (self->first + step) * self->bucket +
                                 row) *
                             self->weights->n_places];
}

G_END_DECLS
