/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * lane.h: decodes a group of slots on a stream of its own. Two lanes decode
 * half of the slots each, so that one's small products, which wait for
 * latency, run beside the other's attention, which waits for bandwidth.
 *
 * A run is: the rows' states to the device, some steps, what they made back.
 * Few rows are decoded by a cluster where the device allows it, a kernel that
 * stays for all steps; others by steps that are captured into CUDA graphs, one
 * for each of a few row counts. Both make the same bits.
 */
#pragma once

#include "engine/cuda/slots.h"

G_BEGIN_DECLS

/* Steps that one graph holds; other counts are launched kernel by kernel. */
#define MT3_CUDA_GRAPH_STEPS 8

/* Steps of one run at most. */
#define MT3_CUDA_RUN_STEPS 64

/* How kernels are launched; see mt3_cuda_lane_init(). */
typedef struct {
  gboolean dependent;
  gboolean clusters;
} Mt3CudaLaunches;

/**
 * Mt3CudaLane:
 * @n_clusters: that the device has room for; 0: all rows are for graphs
 * @capacity: rows at most, a multiple of MT3_CUDA_ROW_TILE
 * @n_rows: rows of the run in flight
 * @host_rows: [capacity] filled by the caller before mt3_cuda_lane_start()
 * @host_records: [step][bucket] valid after mt3_cuda_lane_wait()
 * @bucket: rows that the run in flight was padded to
 */
typedef struct {
  const Mt3CudaWeights *weights;
  Mt3CudaSlots *slots;
  Mt3CudaMemory memory;
  cudaStream_t stream;
  cudaEvent_t done;
  Mt3CudaLaunches launches;
  guint n_clusters;
  gboolean in_flight;
  guint capacity;
  guint n_rows;
  guint bucket;
  guint n_steps;
  GHashTable *graphs; /* bucket to cudaGraphExec_t */
  Mt3CudaRow *host_rows;
  Mt3CudaRecord *host_records;
  Mt3CudaRow *rows;
  Mt3CudaRecord *records;
  gfloat *x, *squares, *query, *cross_query, *logits;
  Mt3CudaPlanes planes, attended, gated;
} Mt3CudaLane;

/* @launches: whether programmatic dependent launch and clusters may be used;
 * clusters are where the device and the model allow them. Builds all graphs. */
gboolean mt3_cuda_lane_init (Mt3CudaLane *self, const Mt3CudaWeights *weights,
    Mt3CudaSlots *slots, guint capacity, Mt3CudaLaunches launches,
    GError **error);
void mt3_cuda_lane_clear (Mt3CudaLane *self);

/* Starts @n_steps (1 .. MT3_CUDA_RUN_STEPS) steps of the first @n_rows of
 * host_rows. */
gboolean mt3_cuda_lane_start (
    Mt3CudaLane *self, guint n_rows, guint n_steps, GError **error);

/* Blocks until the run in flight has ended. */
gboolean mt3_cuda_lane_wait (Mt3CudaLane *self, GError **error);

/* What row @row made in step @step of the last run. */
static inline const Mt3CudaRecord *
mt3_cuda_lane_record (const Mt3CudaLane *self, guint step, guint row)
{
  return &self->host_records[(gsize) step * self->bucket + row];
}

G_END_DECLS
