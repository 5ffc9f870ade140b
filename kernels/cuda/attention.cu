/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * attention.cu: the encoder's self-attention, fused: scores and probabilities
 * never leave the registers (Dao et al., "FlashAttention", 2022). A block has
 * 64 queries of one head and window, four warps with 16 each, and walks over
 * the keys 64 at a time.
 */
#include "device.cuh"

#define DIM MT3_CUDA_HEAD_DIM
#define KEYS 64
#define QUERIES 64
#define THREADS 128
#define KEY_TILES (KEYS / 8)
#define DIM_TILES (DIM / 8)
#define DIM_STEPS (DIM / 16)
#define LOG2_E 1.44269504088896341f

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

/* Running softmax of a lane's two rows (lane / 4 and that + 8). */
struct Softmax {
  float max[2] = {-INFINITY, -INFINITY};
  float sum[2] = {0.0f, 0.0f};
};

/* scores become exp (score - max); returns the factor by which what was summed
 * before has to shrink. */
static __device__ __forceinline__ float2
advance_softmax (Softmax &softmax, float (&scores)[KEY_TILES][4])
{
  float factor[2];
#pragma unroll
  for (int h = 0; h < 2; h++) {
    float max = softmax.max[h];
#pragma unroll
    for (int t = 0; t < KEY_TILES; t++)
      max = fmaxf (max, fmaxf (scores[t][2 * h], scores[t][2 * h + 1]));
    max = fmaxf (max, __shfl_xor_sync (0xffffffffu, max, 1));
    max = fmaxf (max, __shfl_xor_sync (0xffffffffu, max, 2));
    factor[h] = exp2f ((softmax.max[h] - max) * LOG2_E);
    softmax.max[h] = max;
    float sum = 0.0f;
#pragma unroll
    for (int t = 0; t < KEY_TILES; t++)
#pragma unroll
      for (int i = 2 * h; i < 2 * h + 2; i++) {
        scores[t][i] = exp2f ((scores[t][i] - max) * LOG2_E);
        sum += scores[t][i];
      }
    softmax.sum[h] = softmax.sum[h] * factor[h] + sum;
  }
  return make_float2 (factor[0], factor[1]);
}

static __global__ void
__launch_bounds__ (THREADS) attention_kernel (const Mt3CudaAttention a)
{
  constexpr int planes = 2;
  constexpr float scale = activation_scale<true> ();
  __shared__ __align__ (16) __half keys[planes][KEYS * DIM];
  __shared__ __align__ (16) __half values[planes][KEYS * DIM];
  const int lane = threadIdx.x % 32;
  const int inner = a.n_heads * DIM, stride = 3 * inner;
  const int head = blockIdx.y;
  const size_t window = (size_t) blockIdx.z * a.frames;
  const size_t query = window + blockIdx.x * QUERIES + threadIdx.x / 32 * 16;
  uint32_t q[planes][DIM_STEPS][4];
  float out[planes][DIM_TILES][4] = {};
  Softmax softmax;

  load_queries (q[0], a.qkv.hi, query * stride + head * DIM, stride);
  load_queries (q[1], a.qkv.lo, query * stride + head * DIM, stride);
  for (int key0 = 0; key0 < a.frames; key0 += KEYS) {
    const size_t k = (window + key0) * stride + inner + head * DIM;
    __syncthreads ();
    copy_tile (keys[0], a.qkv.hi, k, stride);
    copy_tile (values[0], a.qkv.hi, k + inner, stride);
    copy_tile (keys[1], a.qkv.lo, k, stride);
    copy_tile (values[1], a.qkv.lo, k + inner, stride);
    copy_commit ();
    copy_wait<0> ();
    __syncthreads ();

    float scores[KEY_TILES][4] = {}, cross[KEY_TILES][4] = {};
    add_scores (scores, q[0], keys[0]);
    add_scores (cross, q[0], keys[1]);
    add_scores (cross, q[1], keys[0]);
#pragma unroll
    for (int i = 0; i < KEY_TILES * 4; i++)
      scores[i / 4][i % 4] =
          (scores[i / 4][i % 4] + cross[i / 4][i % 4] * (1.0f / SPLIT)) *
          (1.0f / (scale * scale));
    const float2 factor = advance_softmax (softmax, scores);
#pragma unroll
    for (int p = 0; p < planes; p++)
#pragma unroll
      for (int i = 0; i < DIM_TILES * 4; i++)
        out[p][i / 4][i % 4] *= i % 4 < 2 ? factor.x : factor.y;

    uint32_t p[planes][KEYS / 16][4];
#pragma unroll
    for (int s = 0; s < KEYS / 16; s++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const Half2Planes pair = split2<true> (scores[s * 2 + i / 2][i % 2 * 2],
            scores[s * 2 + i / 2][i % 2 * 2 + 1]);
        p[0][s][i] = pair.hi;
        p[1][s][i] = pair.lo;
      }
    add_values (out[0], p[0], values[0]);
    add_values (out[1], p[0], values[1]);
    add_values (out[1], p[1], values[0]);
  }

#pragma unroll
  for (int h = 0; h < 2; h++) {
    float sum = softmax.sum[h];
    sum += __shfl_xor_sync (0xffffffffu, sum, 1);
    sum += __shfl_xor_sync (0xffffffffu, sum, 2);
    const size_t row = (query + h * 8 + lane / 4) * inner + head * DIM;
#pragma unroll
    for (int t = 0; t < DIM_TILES; t++) {
      float v[2];
#pragma unroll
      for (int i = 0; i < 2; i++) {
        v[i] = out[0][t][h * 2 + i] + out[1][t][h * 2 + i] * (1.0f / SPLIT);
        v[i] /= sum * scale;
      }
      store2<true> (a.out, row + t * 8 + lane % 4 * 2, v[0], v[1]);
    }
  }
}

cudaError_t
mt3_cuda_attention (const Mt3CudaAttention *args, cudaStream_t stream)
{
  const dim3 grid (args->frames / QUERIES, args->n_heads, args->n_windows);

  return launch_kernel (attention_kernel, grid, dim3 (THREADS), 0,
      Mt3CudaLaunch{stream, 0}, *args);
}
