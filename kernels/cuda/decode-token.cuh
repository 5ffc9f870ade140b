/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * decode-token.cuh: the largest of a row's logits, and the embedding of a
 * token: what all kernels share that end a step or a draft. One block a row.
 */
#pragma once

#include "device.cuh"

#define THREADS 256
#define WARPS (THREADS / 32)
#define END_TOKEN 1 /* MT3_TOKEN_EOS */

struct Best {
  float value;
  int index;
};

/* The larger value; of equal ones the lower index. */
static __device__ __forceinline__ Best
better (Best a, Best b)
{
  return b.value > a.value || (b.value == a.value && b.index < a.index) ? b : a;
}

static __device__ __forceinline__ Best
warp_best (Best best)
{
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    Best other;
    other.value = __shfl_xor_sync (0xffffffffu, best.value, step);
    other.index = __shfl_xor_sync (0xffffffffu, best.index, step);
    best = better (best, other);
  }
  return best;
}

static __device__ __forceinline__ Best
block_best (Best (&shared)[WARPS], Best best)
{
  best = warp_best (best);
  if (threadIdx.x % 32 == 0)
    shared[threadIdx.x / 32] = best;
  __syncthreads ();
  Best of[WARPS];
#pragma unroll
  for (int w = 0; w < WARPS; w++)
    of[w] = shared[w];
#pragma unroll
  for (int n = WARPS / 2; n > 0; n /= 2)
#pragma unroll
    for (int w = 0; w < n; w++)
      of[w] = better (of[w], of[w + n]);
  return of[0];
}

/* Two neighbouring numbers of x = embedding + position. */
template <typename Args>
static __device__ __forceinline__ float2
load_embedding (const Args &a, int token, int position, int column)
{
  const float2 embedding = *reinterpret_cast<const float2 *> (
      a.embedding + (size_t) token * a.d_model + column);
  const float2 place = *reinterpret_cast<const float2 *> (
      a.positions + (size_t) position * a.d_model + column);

  return make_float2 (embedding.x + place.x, embedding.y + place.y);
}

/* x, its planes and sums of squares. */
template <bool EXACT, typename Args>
static __device__ __forceinline__ void
store_embedding (const Args &a, int line, int column, float2 v)
{
  const size_t i = (size_t) line * a.d_model + column;
  float squares = sum_of_squares (v.x, v.y);

  *reinterpret_cast<float2 *> (a.x + i) = v;
  store2<EXACT> (a.out, i, v.x, v.y);
  for (int step = 4; step > 0; step /= 2)
    squares += __shfl_xor_sync (0xffffffffu, squares, step);
  if (threadIdx.x % 8 == 0)
    a.out_squares[i / MT3_CUDA_DECODE_SQUARES] = squares;
}

/* To line `line` of x, from column `c` on, two of a thread at a time; `v`: the
 * first two. */
template <bool EXACT, typename Args>
static __device__ __forceinline__ void
embed (const Args &a, int line, int token, int position, int c, float2 v)
{
  while (c < a.d_model) {
    store_embedding<EXACT> (a, line, c, v);
    c += 2 * THREADS;
    if (c < a.d_model)
      v = load_embedding (a, token, position, c);
  }
}
