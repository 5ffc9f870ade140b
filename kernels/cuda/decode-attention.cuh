/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * decode-attention.cuh: one query against the cached keys and values of its
 * slot, by a block of ATTENTION_THREADS. All time goes into streaming the
 * cache, so they have as many 16-byte loads in flight as registers allow, and
 * those that do not depend on what comes before start ahead of it.
 *
 * Two ways with the same members: in float32 (ExactAttention), and with float16
 * caches on the tensor cores (FastAttention). Either takes STRETCH keys at a
 * time; which thread takes which key depends on the key alone.
 */
#pragma once

#include "device.cuh"

#define ATTENTION_THREADS 256
#define ATTENTION_WARPS (ATTENTION_THREADS / 32)
#define DIM MT3_CUDA_HEAD_DIM
#define MINUS_INFINITY -1e30f /* finite: no NaN from a group without keys */

/* What the warps leave for each other. */
struct alignas (16) AttentionShared {
  float max[ATTENTION_WARPS], sum[ATTENTION_WARPS];
  float out[ATTENTION_WARPS][DIM];
};

template <bool EXACT>
static __device__ __forceinline__ float
exponential (float x)
{
  return EXACT ? expf (x) : __expf (x);
}

/* Joins what the warps left; of the first 32 threads each gets two of the 64
 * results. */
template <bool EXACT>
static __device__ __forceinline__ float2
join_warps (const AttentionShared &shared)
{
  const int lane = threadIdx.x % 32;

  __syncthreads ();
  if (threadIdx.x >= 32)
    return make_float2 (0.0f, 0.0f);

  float max = shared.max[0];
#pragma unroll
  for (int w = 1; w < ATTENTION_WARPS; w++)
    max = fmaxf (max, shared.max[w]);
  float sum = 0.0f, out0 = 0.0f, out1 = 0.0f;
#pragma unroll
  for (int w = 0; w < ATTENTION_WARPS; w++) {
    const float factor = exponential<EXACT> (shared.max[w] - max);
    const float2 out =
        *reinterpret_cast<const float2 *> (&shared.out[w][2 * lane]);
    sum = __fmaf_rn (factor, shared.sum[w], sum);
    out0 = __fmaf_rn (factor, out.x, out0);
    out1 = __fmaf_rn (factor, out.y, out1);
  }
  return make_float2 (out0 / sum, out1 / sum);
}

/* ------------------------------------------------------------- float32 */

/* Eight lanes hold one key or value (8 dimensions each); the 32 groups of
 * eight take keys by turns, each with a softmax of its own. */
struct ExactAttention {
  static constexpr int groups = ATTENTION_THREADS / 8;
  static constexpr int batch = 4; /* keys that a group loads at once */
  static constexpr int stretch = groups * batch;

  float4 key[batch][2], value[batch][2];
  float q[8], out[8], max, sum;

  /* Forgets the keys that were taken. */
  __device__ __forceinline__ void
  clear ()
  {
    max = MINUS_INFINITY;
    sum = 0.0f;
#pragma unroll
    for (int i = 0; i < 8; i++)
      out[i] = 0.0f;
  }

  __device__ __forceinline__ int
  key_of (int u) const
  {
    return u * groups + threadIdx.x / 8;
  }

  /* Loads the keys in [first, last) of the stretch that starts at key0. */
  __device__ __forceinline__ void
  load (const void *keys, const void *values, int key0, int first, int last)
  {
#pragma unroll
    for (int u = 0; u < batch; u++) {
      const int at = key0 + key_of (u);
      if (at < first || at >= last)
        continue;
      const int i = at * DIM + threadIdx.x % 8 * 8;
#pragma unroll
      for (int h = 0; h < 2; h++) {
        key[u][h] = load_once4 (static_cast<const float *> (keys) + i + h * 4);
        value[u][h] =
            load_once4 (static_cast<const float *> (values) + i + h * 4);
      }
    }
  }

  /* @query2: two of the query's dimensions, from the given one on */
  template <typename Query2>
  __device__ __forceinline__ void
  set_query (Query2 query2)
  {
#pragma unroll
    for (int i = 0; i < 8; i += 2) {
      const float2 v = query2 (threadIdx.x % 8 * 8 + i);
      q[i] = v.x;
      q[i + 1] = v.y;
    }
  }

  __device__ __forceinline__ void
  rescale (float new_max)
  {
    const float factor = __expf (max - new_max);
    max = new_max;
    sum = __fmul_rn (sum, factor);
#pragma unroll
    for (int i = 0; i < 8; i++)
      out[i] = __fmul_rn (out[i], factor);
  }

  /* Takes the loaded keys, those before @length. */
  __device__ __forceinline__ void
  add (int key0, int length)
  {
    float score[batch];
    float new_max = max;

#pragma unroll
    for (int u = 0; u < batch; u++) {
      const float *k = reinterpret_cast<const float *> (key[u]);
      float dot = 0.0f;
#pragma unroll
      for (int i = 0; i < 8; i++)
        dot = __fmaf_rn (q[i], k[i], dot);
#pragma unroll
      for (int step = 4; step > 0; step /= 2)
        dot += __shfl_xor_sync (0xffffffffu, dot, step);
      score[u] = key0 + key_of (u) < length ? dot : MINUS_INFINITY;
      new_max = fmaxf (new_max, score[u]);
    }
    rescale (new_max);
#pragma unroll
    for (int u = 0; u < batch; u++)
      if (key0 + key_of (u) < length) {
        const float *v = reinterpret_cast<const float *> (value[u]);
        const float weight = expf (score[u] - max);
        sum += weight;
#pragma unroll
        for (int i = 0; i < 8; i++)
          out[i] = __fmaf_rn (weight, v[i], out[i]);
      }
  }

  __device__ __forceinline__ float2
  finish (AttentionShared &shared)
  {
    const int warp = threadIdx.x / 32;
    const int lane = threadIdx.x % 32;

#pragma unroll
    for (int step = 8; step < 32; step *= 2) {
      rescale (fmaxf (max, __shfl_xor_sync (0xffffffffu, max, step)));
      sum += __shfl_xor_sync (0xffffffffu, sum, step);
#pragma unroll
      for (int i = 0; i < 8; i++)
        out[i] += __shfl_xor_sync (0xffffffffu, out[i], step);
    }
    if (lane < 8) {
#pragma unroll
      for (int i = 0; i < 8; i++)
        shared.out[warp][lane * 8 + i] = out[i];
      shared.max[warp] = max;
      shared.sum[warp] = sum;
    }
    return join_warps<true> (shared);
  }
};

/* ------------------------------------------------------------- float16 */

/* The 16 bytes that a lane loads, four words of two dimensions each, are a
 * whole operand of the tensor cores, 16 rows by 16 terms, of which a lane has
 * rows g = lane / 4 and g + 8, and terms of t = lane % 4: words 0 and 2 in row
 * g, 1 and 3 in row g + 8. So no word is ever moved; that each row wants other
 * columns of the other operand is what its eight columns are for, and that they
 * come in a float16 and what it leaves of float32, so that queries and weights
 * have 22 bits.
 *
 * Keys: lane (g, t) has dimensions 8 t .. + 7 and 32 + 8 t .. + 7 of key g of
 * eight. The query's words 0 and 2 are column 0, 1 and 3 column 1: the score is
 * what row g has in column 0, and row g + 8 in column 1; columns 2 and 3 have
 * the rest of the query.
 * Values: lane (g, t) has dimensions 8 g .. + 7 of value t of four, and the
 * weights of its even and odd dimensions, in words 0 and 1 or 2 and 3, are four
 * columns; four more have the rest of the weights. */
struct FastAttention {
  static constexpr int stretch = ATTENTION_THREADS;

  uint4 key[4][2], value[8];
  uint32_t q[2][2];
  float out[4], max, sum;

  /* Forgets the keys that were taken. */
  __device__ __forceinline__ void
  clear ()
  {
    max = MINUS_INFINITY;
    sum = out[0] = out[1] = out[2] = out[3] = 0.0f;
  }

  /* Of a stretch, the key that is number i of the warp's 32. */
  __device__ __forceinline__ int
  key_of (int i) const
  {
    return i / 8 * 64 + threadIdx.x / 32 * 8 + i % 8;
  }
  __device__ __forceinline__ int
  group () const
  {
    return threadIdx.x % 32 / 4;
  }
  __device__ __forceinline__ int
  in_group () const
  {
    return threadIdx.x % 4;
  }

  /* Loads the keys before @last of the stretch that starts at key0; zeros
   * beyond, which the weights of nothing are multiplied with. */
  __device__ __forceinline__ void
  start (const __half *keys, const __half *values, int key0, int last)
  {
    const __half *k = keys + (key0 + key_of (group ())) * DIM + in_group () * 8;
    const __half *v =
        values + (key0 + key_of (in_group ())) * DIM + group () * 8;
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const bool wanted = key0 + key_of (i * 8 + group ()) < last;
      key[i][0] = load_once_if (k + i * 64 * DIM, wanted);
      key[i][1] = load_once_if (k + i * 64 * DIM + 32, wanted);
    }
#pragma unroll
    for (int i = 0; i < 8; i++)
      value[i] = load_once_if (v + (i / 2 * 64 + i % 2 * 4) * DIM,
          key0 + key_of (i * 4 + in_group ()) < last);
  }

  /* The compiler makes an index of this condition otherwise, and an array in
   * memory of the registers. */
  static __device__ __forceinline__ void
  move_if (uint4 &to, const uint4 &from, bool wanted)
  {
    asm("{ .reg .pred wanted;\n"
        "setp.ne.b32 wanted, %8, 0;\n"
        "@wanted mov.b32 %0, %4; @wanted mov.b32 %1, %5;\n"
        "@wanted mov.b32 %2, %6; @wanted mov.b32 %3, %7; }"
        : "+r"(to.x), "+r"(to.y), "+r"(to.z), "+r"(to.w)
        : "r"(from.x), "r"(from.y), "r"(from.z), "r"(from.w),
        "r"((int) wanted));
  }

  /* Puts the key and value at number @at of the stretch where start() would
   * have, by @key_at (dim) and @value_at (dim), which give 16 bytes. */
  template <typename KeyAt, typename ValueAt>
  __device__ __forceinline__ void
  put (int at, KeyAt key_at, ValueAt value_at)
  {
    if (at / 8 % 8 != threadIdx.x / 32)
      return;
    if (at % 8 == group ()) {
      const uint4 low = key_at (in_group () * 8);
      const uint4 high = key_at (in_group () * 8 + 32);
#pragma unroll
      for (int i = 0; i < 4; i++) {
        move_if (key[i][0], low, i == at / 64);
        move_if (key[i][1], high, i == at / 64);
      }
    }
    if (at % 4 == in_group ()) {
      const uint4 v = value_at (group () * 8);
#pragma unroll
      for (int i = 0; i < 8; i++)
        move_if (value[i], v, i == at / 64 * 2 + at % 8 / 4);
    }
  }

  /* @query2: two of the query's dimensions, from the given one on */
  template <typename Query2>
  __device__ __forceinline__ void
  set_query (Query2 query2)
  {
    const int first = in_group () * 8 + group () % 2 * 2;
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const float2 v = query2 (first + i / 2 * 32 + i % 2 * 4);
      const __half2 hi = __floats2half2_rn (v.x, v.y);
      const float2 back = __half22float2 (hi);
      const __half2 lo = __floats2half2_rn (v.x - back.x, v.y - back.y);
      q[i / 2][i % 2] = group () >= 4   ? 0
                        : group () >= 2 ? half2_bits (lo)
                                        : half2_bits (hi);
    }
  }

  /* Takes the loaded keys, those before @length. */
  __device__ __forceinline__ void
  add (int key0, int length)
  {
    float score[4], own[8];
    float new_max = max;

#pragma unroll
    for (int i = 0; i < 4; i++) {
      float d[4] = {};
#pragma unroll
      for (int s = 0; s < 2; s++)
        mma (d, key[i][s].x, key[i][s].y, key[i][s].z, key[i][s].w, q[s][0],
            q[s][1]);
      score[i] = __fadd_rn (d[0], d[3]);
      score[i] += __shfl_xor_sync (0xffffffffu, score[i], 1);
    }
    /* From the lanes (g, 0) to those that have the value. */
#pragma unroll
    for (int i = 0; i < 8; i++) {
      const float v = __shfl_sync (
          0xffffffffu, score[i / 2], (i % 2 * 4 + in_group ()) * 4);
      own[i] =
          key0 + key_of (i * 4 + in_group ()) < length ? v : MINUS_INFINITY;
      new_max = fmaxf (new_max, own[i]);
    }
    new_max = fmaxf (new_max, __shfl_xor_sync (0xffffffffu, new_max, 1));
    new_max = fmaxf (new_max, __shfl_xor_sync (0xffffffffu, new_max, 2));
    const float factor = __expf (max - new_max);
    max = new_max;
    sum = __fmul_rn (sum, factor);
#pragma unroll
    for (int i = 0; i < 4; i++)
      out[i] = __fmul_rn (out[i], factor);
#pragma unroll
    for (int i = 0; i < 8; i++)
      add_value (value[i], __expf (own[i] - max));
  }

  __device__ __forceinline__ void
  add_value (const uint4 &v, float weight)
  {
    const __half hi = __float2half_rn (weight);
    const __half lo = __float2half_rn (weight - __half2float (hi));
    const uint32_t half = __half_as_ushort (group () >= 4 ? lo : hi);
    const uint32_t word = group () % 2 ? half << 16 : half;
    const bool second = group () % 4 >= 2;

    sum += weight;
    mma (out, v.x, v.y, v.z, v.w, second ? 0 : word, second ? word : 0);
  }

  __device__ __forceinline__ float2
  finish (AttentionShared &shared)
  {
    const int warp = threadIdx.x / 32;

    sum += __shfl_xor_sync (0xffffffffu, sum, 1);
    sum += __shfl_xor_sync (0xffffffffu, sum, 2);
#pragma unroll
    for (int i = 0; i < 4; i++)
      out[i] += __shfl_xor_sync (0xffffffffu, out[i], 2);
    if (in_group () < 2)
      *reinterpret_cast<float4 *> (
          &shared.out[warp][group () * 8 + in_group () * 4]) =
          make_float4 (out[0], out[1], out[2], out[3]);
    if (threadIdx.x % 32 == 0) {
      shared.max[warp] = max;
      shared.sum[warp] = sum;
    }
    return join_warps<false> (shared);
  }
};
