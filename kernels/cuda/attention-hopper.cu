/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * attention-hopper.cu: attention of many queries on compute capability 9.0, as
 * in attention.cu. Two warpgroups have 64 queries each, so that one
 * multiplies while the other makes probabilities; a thread has the copy engine
 * fetch queries, keys and values ahead, and the blocks stay for as many of
 * them as there are.
 */
#include "attention-hopper.h"

#include "attention.cuh"
#include "hopper.cuh"
#include "tensor-map.cuh"

#define WARPGROUPS 2
#define QUERIES (64 * WARPGROUPS)
#define THREADS (128 * (WARPGROUPS + 1))
#define TILE (KEYS * DIM) /* halves */
#define STAGE (4 * TILE) /* hi, lo of the queries of both warpgroups, or of */
#define STAGE_BYTES (STAGE * (int) sizeof (__half)) /* keys, then of values */
#define QUERY_STAGES 2 /* they stay while all keys pass */
#define KEY_STAGES 5
#define STAGES (QUERY_STAGES + KEY_STAGES)
#define SHARED_BYTES (STAGES * STAGE_BYTES + TILE_ALIGN)

typedef struct {
  Mt3CudaAttention attention;
  CUtensorMap queries[PLANES], keys[PLANES]; /* hi, lo */
} HopperAttention;

struct Barriers {
  uint64_t full[STAGES], empty[STAGES];
};

/* Where a thread is: queries, or behind them keys and values. */
struct Rings {
  Ring<QUERY_STAGES> queries;
  Ring<KEY_STAGES> keys;
};

/* 64 rows of both planes from `column` on. */
static __device__ __forceinline__ void
fetch_planes (const CUtensorMap (&maps)[PLANES], __half *to, int column,
    int row, uint64_t *full)
{
#pragma unroll
  for (int plane = 0; plane < PLANES; plane++)
    copy_tile (to + plane * TILE, &maps[plane], column, row, full);
}

/* One thread: a stage of queries, then one for each 64 keys. */
template <Kind KIND>
static __device__ __forceinline__ void
fetch (const HopperAttention &args, __half *stages, Barriers &barriers)
{
  const Mt3CudaAttention &a = args.attention;
  const int n_work = count_work<KIND, QUERIES> (a);
  Rings rings;

  for (int number = blockIdx.x; number < n_work; number += gridDim.x) {
    const Work work = work_of<KIND, QUERIES> (a, number);
    const int k_column = key_column<KIND> (a, 1, work.head);
    const int v_column = key_column<KIND> (a, 2, work.head);
    if (work.n_keys == 0)
      continue;
    __half *to = stages + rings.queries.stage * STAGE;
    uint64_t *full = &barriers.full[rings.queries.stage];
    barrier_wait (
        &barriers.empty[rings.queries.stage], rings.queries.parity ^ 1);
    barrier_expect (full, STAGE_BYTES);
    fetch_planes (args.queries, to, work.head * DIM, work.query, full);
    fetch_planes (
        args.queries, to + 2 * TILE, work.head * DIM, work.query + 64, full);
    rings.queries.advance ();
    for (int key = 0; key < work.n_keys; key += KEYS, rings.keys.advance ()) {
      const int stage = QUERY_STAGES + rings.keys.stage;
      to = stages + stage * STAGE;
      full = &barriers.full[stage];
      barrier_wait (&barriers.empty[stage], rings.keys.parity ^ 1);
      barrier_expect (full, STAGE_BYTES);
      fetch_planes (args.keys, to, k_column, work.key + key, full);
      fetch_planes (args.keys, to + 2 * TILE, v_column, work.value + key, full);
    }
  }
}

typedef float Sums[8][4]; /* [64, 64] of a warpgroup */
typedef float FlatSums[32];

/* scores = q k^T; hi, then lo lie behind q and k. */
static __device__ __forceinline__ void
make_scores (Sums &scores, Sums &cross, const __half *q, const __half *k)
{
  const uint32_t q_hi = tile_descriptor (q), q_lo = tile_descriptor (q + TILE);
  const uint32_t k_hi = tile_descriptor (k), k_lo = tile_descriptor (k + TILE);
  FlatSums &s = reinterpret_cast<FlatSums &> (scores);
  FlatSums &c = reinterpret_cast<FlatSums &> (cross);

  wgmma_fence ();
#pragma unroll
  for (int i = 0; i < DIM / 16; i++) {
    const int step = i * DESCRIPTOR_STEP;
    wgmma (s, q_hi + step, k_hi + step, i > 0);
    wgmma (c, q_hi + step, k_lo + step, i > 0);
    wgmma (c, q_lo + step, k_hi + step, 1);
  }
  wgmma_commit ();
  wgmma_wait<0> ();
}

/* out += p v */
static __device__ __forceinline__ void
add_values (Sums (&out)[PLANES], const uint32_t (&p)[PLANES][KEYS / 16][4],
    const __half *v)
{
  const uint32_t v_hi = tile_descriptor (v), v_lo = tile_descriptor (v + TILE);
  FlatSums &o = reinterpret_cast<FlatSums &> (out[0]);
  FlatSums &c = reinterpret_cast<FlatSums &> (out[1]);

  wgmma_fence ();
#pragma unroll
  for (int i = 0; i < KEYS / 16; i++) {
    const int step = i * DESCRIPTOR_ROWS;
    wgmma_values (o, p[0][i], v_hi + step);
    wgmma_values (c, p[0][i], v_lo + step);
    wgmma_values (c, p[1][i], v_hi + step);
  }
  wgmma_commit ();
  wgmma_wait<0> ();
}

static __device__ __forceinline__ void
release (uint64_t *empty)
{
  if (threadIdx.x % 128 == 0)
    barrier_arrive (empty, 0, 1);
}

/* A warpgroup */
template <Kind KIND>
static __device__ __forceinline__ void
attend (const Mt3CudaAttention &a, const __half *stages, Barriers &barriers)
{
  const int warpgroup = threadIdx.x / 128;
  const int n_work = count_work<KIND, QUERIES> (a);
  const int lane_row = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4;
  Rings rings;

  for (int number = blockIdx.x; number < n_work; number += gridDim.x) {
    const Work work = work_of<KIND, QUERIES> (a, number);
    const int q_stage = rings.queries.stage;
    const __half *q = stages + q_stage * STAGE + warpgroup * 2 * TILE;
    Sums out[PLANES] = {};
    Softmax softmax;

    if (work.n_keys == 0)
      continue;
    barrier_wait (&barriers.full[q_stage], rings.queries.parity);
    for (int key = 0; key < work.n_keys; key += KEYS, rings.keys.advance ()) {
      const int stage = QUERY_STAGES + rings.keys.stage;
      const __half *k = stages + stage * STAGE;
      Sums scores, cross;
      uint32_t p[PLANES][KEYS / 16][4];
      barrier_wait (&barriers.full[stage], rings.keys.parity);
      /* The first warpgroup sees nothing of what follows its own 64. */
      if (KIND != MT3_CUDA_CAUSAL || key <= work.before + warpgroup * 64) {
        make_scores (scores, cross, q, k);
        probabilities<KIND> (
            softmax, scores, cross, out, p, work.before + lane_row - key);
        add_values (out, p, k + 2 * TILE);
      }
      release (&barriers.empty[stage]);
    }
    release (&barriers.empty[q_stage]);
    rings.queries.advance ();
    store_attended<KIND> (a, softmax, out, work.query + lane_row, work.head);
  }
}

template <Kind KIND>
static __global__ void
__launch_bounds__ (THREADS, 1)
    attention_hopper_kernel (const __grid_constant__ HopperAttention args)
{
  extern __shared__ char shared[];
  __shared__ Barriers barriers;
  char *aligned = shared + (-shared_address (shared) & (TILE_ALIGN - 1));
  __half *stages = reinterpret_cast<__half *> (aligned);

  if (threadIdx.x == 0) {
    for (int i = 0; i < STAGES; i++) {
      barrier_init (&barriers.full[i], 1);
      barrier_init (&barriers.empty[i], WARPGROUPS);
    }
    barrier_init_done ();
    for (int plane = 0; plane < PLANES; plane++)
      prefetch_map (&args.keys[plane]);
  }
  __syncthreads ();
  dependent_launch ();
  dependent_wait ();
  if (threadIdx.x / 128 < WARPGROUPS) {
    registers_raise<240> ();
    attend<KIND> (args.attention, stages, barriers);
  } else {
    registers_lower<24> ();
    if (threadIdx.x == WARPGROUPS * 128)
      fetch<KIND> (args, stages, barriers);
  }
}

/* The rows that have keys: of the queries themselves, or of all slots' caches
 * as far as this layer is concerned. */
template <Kind KIND>
static int
key_rows (const Mt3CudaAttention &a, int query_rows)
{
  return KIND == MT3_CUDA_CROSS ? (a.n_slots - 1) * (int) (a.cache_slot / DIM) +
                                      a.n_heads * 2 * a.frames
                                : query_rows;
}

template <Kind KIND>
static cudaError_t
launch_attention (
    const Mt3CudaAttention &a, int n_processors, Mt3CudaLaunch launch)
{
  const Mt3CudaPlanes &keys = KIND == MT3_CUDA_CROSS ? a.cache : a.qkv;
  const int n_work = count_work<KIND, QUERIES> (a);
  const int rows = n_work / a.n_heads * QUERIES;
  HopperAttention args = {};
  const struct {
    CUtensorMap *map;
    const void *matrix;
    int n_rows, n_columns;
  } maps[] = {
      {&args.queries[0], a.qkv.hi, rows, query_width<KIND> (a)},
      {&args.queries[1], a.qkv.lo, rows, query_width<KIND> (a)},
      {&args.keys[0], keys.hi, key_rows<KIND> (a, rows), key_width<KIND> (a)},
      {&args.keys[1], keys.lo, key_rows<KIND> (a, rows), key_width<KIND> (a)},
  };
  cudaError_t error = cudaFuncSetAttribute (attention_hopper_kernel<KIND>,
      cudaFuncAttributeMaxDynamicSharedMemorySize, SHARED_BYTES);

  args.attention = a;
  for (const auto &m : maps)
    if (error == cudaSuccess)
      error = encode_map (m.map, m.matrix, true, m.n_rows, m.n_columns, KEYS);
  if (error != cudaSuccess)
    return error;
  return launch_kernel (attention_hopper_kernel<KIND>,
      dim3 (n_work < n_processors ? n_work : n_processors), dim3 (THREADS),
      SHARED_BYTES, launch, args);
}

cudaError_t
mt3_cuda_attention_hopper (
    const Mt3CudaAttention *args, int n_processors, Mt3CudaLaunch launch)
{
  switch (args->kind) {
    case MT3_CUDA_ENCODER:
      return launch_attention<MT3_CUDA_ENCODER> (*args, n_processors, launch);
    case MT3_CUDA_CAUSAL:
      return launch_attention<MT3_CUDA_CAUSAL> (*args, n_processors, launch);
    case MT3_CUDA_CROSS:
      return launch_attention<MT3_CUDA_CROSS> (*args, n_processors, launch);
  }
  return cudaErrorInvalidValue;
}
