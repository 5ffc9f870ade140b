/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * attention.cuh: attention of many queries: where its keys are, what lies
 * between its two products, and its end; for both kernels that make it. They
 * hold 16 queries a warp as mma() leaves them.
 */
#pragma once

#include "device.cuh"

#define DIM MT3_CUDA_HEAD_DIM
#define KEYS 64 /* at a time */
#define KEY_TILES (KEYS / 8)
#define DIM_TILES (DIM / 8)
#define PLANES 2
#define LOG2_E 1.44269504088896341f

typedef Mt3CudaAttentionKind Kind;

/* Some queries of one head, and the rows of what they see.
 * @before: (CAUSAL) tokens of the text before the first query
 * @n_keys: 0: padding */
struct Work {
  int query, head, before, key, value, n_keys;
};

/* QUERIES divides MT3_CUDA_BLOCK_ROWS. Blocks of one window and head follow
 * each other, for they read the same. */
template <Kind KIND, int QUERIES>
static __device__ __forceinline__ Work
work_of (const Mt3CudaAttention &a, int number)
{
  const int n = KIND == MT3_CUDA_ENCODER ? a.frames / QUERIES : 1;
  const int block = number / n / a.n_heads * n + number % n;
  Work work = {block * QUERIES, number / n % a.n_heads};

  if (KIND == MT3_CUDA_ENCODER) {
    work.key = work.value = work.query / a.frames * a.frames;
    work.n_keys = a.frames;
    return work;
  }
  const Mt3CudaBlock b = a.blocks[work.query / MT3_CUDA_BLOCK_ROWS];
  if (b.first < 0)
    return work;
  if (KIND == MT3_CUDA_CAUSAL) {
    work.before = work.query - b.first;
    work.key = work.value = b.first;
    work.n_keys = work.before + QUERIES;
  } else {
    work.key = b.slot * (int) (a.cache_slot / DIM) + work.head * 2 * a.frames;
    work.value = work.key + a.frames;
    work.n_keys = a.frames;
  }
  return work;
}

template <Kind KIND, int QUERIES>
static __host__ __device__ __forceinline__ int
count_work (const Mt3CudaAttention &a)
{
  return a.n_heads * (KIND == MT3_CUDA_ENCODER
                             ? a.n_windows * (a.frames / QUERIES)
                             : a.n_blocks * (MT3_CUDA_BLOCK_ROWS / QUERIES));
}

/* Columns of the queries, and of what holds the keys. */
template <Kind KIND>
static __host__ __device__ __forceinline__ int
query_width (const Mt3CudaAttention &a)
{
  return (KIND == MT3_CUDA_CROSS ? 1 : 3) * a.n_heads * DIM;
}

template <Kind KIND>
static __host__ __device__ __forceinline__ int
key_width (const Mt3CudaAttention &a)
{
  return KIND == MT3_CUDA_CROSS ? DIM : 3 * a.n_heads * DIM;
}

/* The column of a head's keys (part 1) or values (part 2). */
template <Kind KIND>
static __device__ __forceinline__ int
key_column (const Mt3CudaAttention &a, int part, int head)
{
  return KIND == MT3_CUDA_CROSS ? 0 : (part * a.n_heads + head) * DIM;
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

/* Of keys and values as they are stored. */
template <Kind KIND>
static __device__ constexpr float
value_scale ()
{
  return KIND == MT3_CUDA_CROSS ? 1.0f : activation_scale<true> ();
}

/* Takes the keys behind a query from its scores. `before`: how many of these 64
 * keys lie before the lane's first query. */
static __device__ __forceinline__ void
hide_later (float (&scores)[KEY_TILES][4], int before)
{
#pragma unroll
  for (int i = 0; i < KEY_TILES * 4; i++) {
    const int key = i / 4 * 8 + threadIdx.x % 4 * 2 + i % 2;
    if (key > before + i % 4 / 2 * 8)
      scores[i / 4][i % 4] = -INFINITY;
  }
}

/* From the scores of 64 keys, hi * hi and the cross products, to probabilities
 * as operands, 16 keys a step. `out`, summed so far, shrinks as it must.
 * `before`: see hide_later() */
template <Kind KIND>
static __device__ __forceinline__ void
probabilities (Softmax &softmax, float (&scores)[KEY_TILES][4],
    const float (&cross)[KEY_TILES][4], float (&out)[PLANES][DIM_TILES][4],
    uint32_t (&p)[PLANES][KEYS / 16][4], int before)
{
  constexpr float scale = activation_scale<true> () * value_scale<KIND> ();

#pragma unroll
  for (int i = 0; i < KEY_TILES * 4; i++)
    scores[i / 4][i % 4] =
        (scores[i / 4][i % 4] + cross[i / 4][i % 4] * (1.0f / SPLIT)) *
        (1.0f / scale);
  if (KIND == MT3_CUDA_CAUSAL && before < KEYS)
    hide_later (scores, before);
  const float2 factor = advance_softmax (softmax, scores);
#pragma unroll
  for (int plane = 0; plane < PLANES; plane++)
#pragma unroll
    for (int i = 0; i < DIM_TILES * 4; i++)
      out[plane][i / 4][i % 4] *= i % 4 < 2 ? factor.x : factor.y;
#pragma unroll
  for (int s = 0; s < KEYS / 16; s++)
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const Half2Planes pair = split2<true> (scores[s * 2 + i / 2][i % 2 * 2],
          scores[s * 2 + i / 2][i % 2 * 2 + 1]);
      p[0][s][i] = pair.hi;
      p[1][s][i] = pair.lo;
    }
}

/* row: of the lane's first query */
template <Kind KIND>
static __device__ __forceinline__ void
store_attended (const Mt3CudaAttention &a, const Softmax &softmax,
    const float (&out)[PLANES][DIM_TILES][4], size_t row, int head)
{
#pragma unroll
  for (int h = 0; h < 2; h++) {
    float sum = softmax.sum[h];
    sum += __shfl_xor_sync (0xffffffffu, sum, 1);
    sum += __shfl_xor_sync (0xffffffffu, sum, 2);
    const float factor = 1.0f / (sum * value_scale<KIND> ());
    const size_t first = ((row + h * 8) * a.n_heads + head) * DIM;
#pragma unroll
    for (int t0 = 0; t0 < DIM_TILES; t0 += 4) {
      float v[4][2];
#pragma unroll
      for (int t = 0; t < 4; t++)
#pragma unroll
        for (int i = 0; i < 2; i++)
          v[t][i] = (out[0][t0 + t][h * 2 + i] +
                        out[1][t0 + t][h * 2 + i] * (1.0f / SPLIT)) *
                    factor;
      store32 (a.out, first + t0 * 8, v);
    }
  }
}
