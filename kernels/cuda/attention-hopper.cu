/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * attention-hopper.cu: the encoder's self-attention on compute capability 9.0,
 * as in attention.cu. Two warpgroups have 64 queries each, so that one
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
#define STAGES 6
#define SHARED_BYTES (STAGES * STAGE_BYTES + TILE_ALIGN)

typedef struct {
  Mt3CudaAttention attention;
  CUtensorMap qkv[PLANES];
} HopperAttention;

struct Barriers {
  uint64_t full[STAGES], empty[STAGES];
};

/* What a block does at a time: 128 queries of one head and window. */
struct Work {
  int window, query, head;
};

static __device__ __forceinline__ Work
work_of (const Mt3CudaAttention &a, int number)
{
  const int n_blocks = a.frames / QUERIES;
  return {number / n_blocks / a.n_heads * a.frames, number % n_blocks * QUERIES,
      number / n_blocks % a.n_heads};
}

static __host__ __device__ __forceinline__ int
count_work (const Mt3CudaAttention &a)
{
  return a.n_windows * a.n_heads * (a.frames / QUERIES);
}

/* 64 rows of both planes from `column` on. */
static __device__ __forceinline__ void
fetch_planes (const HopperAttention &args, __half *to, int column, int row,
    uint64_t *full)
{
#pragma unroll
  for (int plane = 0; plane < PLANES; plane++)
    copy_tile (to + plane * TILE, &args.qkv[plane], column, row, full);
}

/* One thread: a stage of queries, then one for each 64 keys. */
static __device__ __forceinline__ void
fetch (const HopperAttention &args, __half *stages, Barriers &barriers)
{
  const Mt3CudaAttention &a = args.attention;
  const int inner = a.n_heads * DIM, n_work = count_work (a);
  Ring<STAGES> ring;

  for (int number = blockIdx.x; number < n_work; number += gridDim.x) {
    const Work work = work_of (a, number);
    const int column = work.head * DIM, query = work.window + work.query;
    for (int key = -KEYS; key < a.frames; key += KEYS, ring.advance ()) {
      __half *to = stages + ring.stage * STAGE;
      uint64_t *full = &barriers.full[ring.stage];
      const int row = work.window + key;
      barrier_wait (&barriers.empty[ring.stage], ring.parity ^ 1);
      barrier_expect (full, STAGE_BYTES);
      if (key < 0) {
        fetch_planes (args, to, column, query, full);
        fetch_planes (args, to + 2 * TILE, column, query + 64, full);
      } else {
        fetch_planes (args, to, column + inner, row, full);
        fetch_planes (args, to + 2 * TILE, column + 2 * inner, row, full);
      }
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
static __device__ __forceinline__ void
attend (const Mt3CudaAttention &a, const __half *stages, Barriers &barriers)
{
  const int warpgroup = threadIdx.x / 128, n_work = count_work (a);
  const int lane_row = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4;
  Ring<STAGES> ring;

  for (int number = blockIdx.x; number < n_work; number += gridDim.x) {
    const Work work = work_of (a, number);
    const __half *q = stages + ring.stage * STAGE + warpgroup * 2 * TILE;
    uint64_t *q_used = &barriers.empty[ring.stage];
    Sums out[PLANES] = {};
    Softmax softmax;

    barrier_wait (&barriers.full[ring.stage], ring.parity);
    ring.advance ();
    for (int key = 0; key < a.frames; key += KEYS, ring.advance ()) {
      const __half *k = stages + ring.stage * STAGE;
      Sums scores, cross;
      uint32_t p[PLANES][KEYS / 16][4];
      barrier_wait (&barriers.full[ring.stage], ring.parity);
      make_scores (scores, cross, q, k);
      probabilities (softmax, scores, cross, out, p);
      add_values (out, p, k + 2 * TILE);
      release (&barriers.empty[ring.stage]);
    }
    release (q_used);
    store_attended (
        a, softmax, out, work.window + work.query + lane_row, work.head);
  }
}

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
      prefetch_map (&args.qkv[plane]);
  }
  __syncthreads ();
  dependent_launch ();
  dependent_wait ();
  if (threadIdx.x / 128 < WARPGROUPS) {
    registers_raise<240> ();
    attend (args.attention, stages, barriers);
  } else {
    registers_lower<24> ();
    if (threadIdx.x == WARPGROUPS * 128)
      fetch (args, stages, barriers);
  }
}

cudaError_t
mt3_cuda_attention_hopper (
    const Mt3CudaAttention *args, int n_processors, Mt3CudaLaunch launch)
{
  const int rows = args->n_windows * args->frames;
  const int columns = 3 * args->n_heads * DIM, n_work = count_work (*args);
  HopperAttention hopper = {};
  cudaError_t error = cudaFuncSetAttribute (attention_hopper_kernel,
      cudaFuncAttributeMaxDynamicSharedMemorySize, SHARED_BYTES);

  hopper.attention = *args;
  if (error == cudaSuccess)
    error =
        encode_map (&hopper.qkv[0], args->qkv.hi, true, rows, columns, KEYS);
  if (error == cudaSuccess)
    error =
        encode_map (&hopper.qkv[1], args->qkv.lo, true, rows, columns, KEYS);
  if (error != cudaSuccess)
    return error;
  return launch_kernel (attention_hopper_kernel,
      dim3 (n_work < n_processors ? n_work : n_processors), dim3 (THREADS),
      SHARED_BYTES, launch, hopper);
}
