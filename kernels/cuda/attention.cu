/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * attention.cu: attention of many queries, fused: scores and probabilities
 * never leave the registers (Dao et al., "FlashAttention", 2022). A block has
 * 64 queries of one head and window or text, four warps with 16 each, and walks
 * over the keys 64 at a time.
 */
#include "attention.cuh"
#include "attention-hopper.h"

#define QUERIES 64
#define THREADS 128
#define DIM_STEPS (DIM / 16)

/* Row-major [64][64] halves in shared memory, 16-byte chunks rotated by row. */
static __device__ __forceinline__ int
tile_offset (int row, int chunk)
{
  return row * DIM + (chunk ^ (row & 7)) * 8;
}

static __device__ __forceinline__ void
copy_tile (__half *tile, const void *plane, size_t first, int stride)
{
  for (int i = threadIdx.x; i < KEYS * DIM / 8; i += THREADS) {
    const int row = i / (DIM / 8), chunk = i % (DIM / 8);
    copy16 (tile + tile_offset (row, chunk),
        static_cast<const __half *> (plane) + first + (size_t) row * stride +
            chunk * 8);
  }
}

/* The warp's 16 queries as operands, straight from global memory. */
static __device__ __forceinline__ void
load_queries (
    uint32_t (&q)[DIM_STEPS][4], const void *plane, size_t first, int stride)
{
  const int lane = threadIdx.x % 32;
  const __half *at = static_cast<const __half *> (plane) + first +
                     (size_t) (lane / 4) * stride + lane % 4 * 2;
#pragma unroll
  for (int s = 0; s < DIM_STEPS; s++)
#pragma unroll
    for (int i = 0; i < 4; i++)
      q[s][i] = *reinterpret_cast<const uint32_t *> (
          at + (size_t) (i % 2) * 8 * stride + s * 16 + i / 2 * 8);
}

/* scores [16, 64] += q k^T for one plane of each. */
static __device__ __forceinline__ void
add_scores (float (&scores)[KEY_TILES][4], const uint32_t (&q)[DIM_STEPS][4],
    const __half *keys)
{
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int s = 0; s < DIM_STEPS; s++)
#pragma unroll
    for (int t = 0; t < KEY_TILES; t += 2) {
      uint32_t k[4];
      load_matrix4 (k, keys + tile_offset (t * 8 + lane / 16 * 8 + lane % 8,
                                  s * 2 + lane / 8 % 2));
      mma (scores[t], q[s][0], q[s][1], q[s][2], q[s][3], k[0], k[1]);
      mma (scores[t + 1], q[s][0], q[s][1], q[s][2], q[s][3], k[2], k[3]);
    }
}

/* out [16, 64] += p v for one plane of each; p holds 16 keys a step. */
static __device__ __forceinline__ void
add_values (float (&out)[DIM_TILES][4], const uint32_t (&p)[KEYS / 16][4],
    const __half *values)
{
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int s = 0; s < KEYS / 16; s++)
#pragma unroll
    for (int t = 0; t < DIM_TILES; t += 2) {
      uint32_t v[4];
      load_matrix4_transposed (
          v, values + tile_offset (s * 16 + lane % 16, t + lane / 16));
      mma (out[t], p[s][0], p[s][1], p[s][2], p[s][3], v[0], v[1]);
      mma (out[t + 1], p[s][0], p[s][1], p[s][2], p[s][3], v[2], v[3]);
    }
}

template <Kind KIND>
static __global__ void
__launch_bounds__ (THREADS) attention_kernel (const Mt3CudaAttention a)
{
  __shared__ __align__ (16) __half keys[PLANES][KEYS * DIM];
  __shared__ __align__ (16) __half values[PLANES][KEYS * DIM];
  const int lane_row = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4;
  const int q_width = query_width<KIND> (a), width = key_width<KIND> (a);
  const Mt3CudaPlanes &from = KIND == MT3_CUDA_CROSS ? a.cache : a.qkv;
  uint32_t q[PLANES][DIM_STEPS][4];
  float out[PLANES][DIM_TILES][4] = {};
  Softmax softmax;

  dependent_launch ();
  dependent_wait ();
  const Work work = work_of<KIND, QUERIES> (a, blockIdx.x);
  if (work.n_keys == 0)
    return;
  const size_t query =
      ((size_t) work.query + threadIdx.x / 32 * 16) * q_width + work.head * DIM;
  load_queries (q[0], a.qkv.hi, query, q_width);
  load_queries (q[1], a.qkv.lo, query, q_width);
  for (int key = 0; key < work.n_keys; key += KEYS) {
    const size_t k =
        (size_t) (work.key + key) * width + key_column<KIND> (a, 1, work.head);
    const size_t v = (size_t) (work.value + key) * width +
                     key_column<KIND> (a, 2, work.head);
    __syncthreads ();
    copy_tile (keys[0], from.hi, k, width);
    copy_tile (values[0], from.hi, v, width);
    copy_tile (keys[1], from.lo, k, width);
    copy_tile (values[1], from.lo, v, width);
    copy_commit ();
    copy_wait<0> ();
    __syncthreads ();

    float scores[KEY_TILES][4] = {}, cross[KEY_TILES][4] = {};
    add_scores (scores, q[0], keys[0]);
    add_scores (cross, q[0], keys[1]);
    add_scores (cross, q[1], keys[0]);
    uint32_t p[PLANES][KEYS / 16][4];
    probabilities<KIND> (
        softmax, scores, cross, out, p, work.before + lane_row - key);
    add_values (out[0], p[0], values[0]);
    add_values (out[1], p[0], values[1]);
    add_values (out[1], p[1], values[0]);
  }

  store_attended<KIND> (a, softmax, out, work.query + lane_row, work.head);
}

template <Kind KIND>
static cudaError_t
launch_attention (const Mt3CudaAttention &a, Mt3CudaLaunch launch)
{
  return launch_kernel (attention_kernel<KIND>,
      dim3 (count_work<KIND, QUERIES> (a)), dim3 (THREADS), 0, launch, a);
}

cudaError_t
mt3_cuda_attention (const Mt3CudaAttention *args, Mt3CudaLaunch launch)
{
  const int n_processors = hopper_processors ();

  if (n_processors > 0 && !args->any_device)
    return mt3_cuda_attention_hopper (args, n_processors, launch);
  switch (args->kind) {
    case MT3_CUDA_ENCODER:
      return launch_attention<MT3_CUDA_ENCODER> (*args, launch);
    case MT3_CUDA_CAUSAL:
      return launch_attention<MT3_CUDA_CAUSAL> (*args, launch);
    case MT3_CUDA_CROSS:
      return launch_attention<MT3_CUDA_CROSS> (*args, launch);
  }
  return cudaErrorInvalidValue;
}
