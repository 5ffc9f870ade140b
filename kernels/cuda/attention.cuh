/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * attention.cuh: the encoder's self-attention between its two products, and its
 * end; for both kernels that make it. They hold 16 queries a warp as mma()
 * leaves them.
 */
#pragma once

#include "device.cuh"

#define DIM MT3_CUDA_HEAD_DIM
#define KEYS 64 /* at a time */
#define KEY_TILES (KEYS / 8)
#define DIM_TILES (DIM / 8)
#define PLANES 2
#define LOG2_E 1.44269504088896341f

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

/* From the scores of 64 keys, hi * hi and the cross products, to probabilities
 * as operands, 16 keys a step. `out`, summed so far, shrinks as it must. */
static __device__ __forceinline__ void
probabilities (Softmax &softmax, float (&scores)[KEY_TILES][4],
    const float (&cross)[KEY_TILES][4], float (&out)[PLANES][DIM_TILES][4],
    uint32_t (&p)[PLANES][KEYS / 16][4])
{
  constexpr float scale = activation_scale<true> ();

#pragma unroll
  for (int i = 0; i < KEY_TILES * 4; i++)
    scores[i / 4][i % 4] =
        (scores[i / 4][i % 4] + cross[i / 4][i % 4] * (1.0f / SPLIT)) *
        (1.0f / (scale * scale));
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
static __device__ __forceinline__ void
store_attended (const Mt3CudaAttention &a, const Softmax &softmax,
    const float (&out)[PLANES][DIM_TILES][4], size_t row, int head)
{
#pragma unroll
  for (int h = 0; h < 2; h++) {
    float sum = softmax.sum[h];
    sum += __shfl_xor_sync (0xffffffffu, sum, 1);
    sum += __shfl_xor_sync (0xffffffffu, sum, 2);
    const float factor = 1.0f / (sum * activation_scale<true> ());
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
