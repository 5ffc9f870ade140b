/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * decode-attention.cuh: one query against the cached keys and values of its
 * slot: what the kernels of few and of many rows share, which make the same
 * bits.
 *
 * Eight lanes hold one key or value (8 dimensions each); the 32 groups of
 * eight take keys by turns, each with a softmax of its own, and meet at the
 * end. Which group takes which key depends on the key alone.
 */
#pragma once

#include "decode-block.cuh"

#define GROUPS (ATTENTION_THREADS / 8)

/* v = by, if wanted. What the compiler makes of "if (u == n) v[u] = by" for all
 * u is an index, and memory. */
static __device__ __forceinline__ void
replace16 (uint4 &v, const uint4 &by, bool wanted)
{
  asm("{ .reg .pred wanted;\n"
      "setp.ne.b32 wanted, %8, 0;\n"
      "@wanted mov.b32 %0, %4;\n"
      "@wanted mov.b32 %1, %5;\n"
      "@wanted mov.b32 %2, %6;\n"
      "@wanted mov.b32 %3, %7; }"
      : "+r"(v.x), "+r"(v.y), "+r"(v.z), "+r"(v.w)
      : "r"(by.x), "r"(by.y), "r"(by.z), "r"(by.w), "r"((int) wanted));
}

/* Eight dimensions of a key or value as the cache holds them. */
template <bool EXACT> struct Vector8;

template <> struct Vector8<false> {
  uint4 v;
  __device__ __forceinline__ void
  load (const void *cache, int i, bool wanted)
  {
    load_once (v, static_cast<const __half *> (cache) + i, wanted);
  }
  __device__ __forceinline__ void
  replace (const Vector8 &by, bool wanted)
  {
    replace16 (v, by.v, wanted);
  }
  __device__ __forceinline__ void
  unpack (float (&f)[8]) const
  {
    const __half2 *h = reinterpret_cast<const __half2 *> (&v);
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const float2 pair = __half22float2 (h[i]);
      f[2 * i] = pair.x;
      f[2 * i + 1] = pair.y;
    }
  }
};

template <> struct Vector8<true> {
  uint4 v[2];
  __device__ __forceinline__ void
  load (const void *cache, int i, bool wanted)
  {
    load_once (v[0], static_cast<const float *> (cache) + i, wanted);
    load_once (v[1], static_cast<const float *> (cache) + i + 4, wanted);
  }
  __device__ __forceinline__ void
  replace (const Vector8 &by, bool wanted)
  {
    replace16 (v[0], by.v[0], wanted);
    replace16 (v[1], by.v[1], wanted);
  }
  __device__ __forceinline__ void
  unpack (float (&f)[8]) const
  {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      f[4 * i] = __uint_as_float (v[i].x);
      f[4 * i + 1] = __uint_as_float (v[i].y);
      f[4 * i + 2] = __uint_as_float (v[i].z);
      f[4 * i + 3] = __uint_as_float (v[i].w);
    }
  }
};

/* Keys that a group takes at once: their scores' largest is found first. */
template <bool EXACT> constexpr int batch_keys = EXACT ? 4 : 8;

/* Softmax-weighted sum of values so far. */
struct Partial {
  float max = MINUS_INFINITY;
  float sum = 0.0f;
  float out[8] = {};

  __device__ __forceinline__ void
  rescale (float new_max)
  {
    const float factor = fast_exp (max - new_max);
    max = new_max;
    sum = __fmul_rn (sum, factor);
#pragma unroll
    for (int i = 0; i < 8; i++)
      out[i] = __fmul_rn (out[i], factor);
  }
};

template <bool EXACT>
static __device__ __forceinline__ float
exponential (float x)
{
  return EXACT ? expf (x) : fast_exp (x);
}

/* Of N keys of a group the one whose score the lane has. */
template <int N>
static __device__ __forceinline__ int
own_key ()
{
  return threadIdx.x % 8 * N / 8;
}

/* The lane's dimensions' part of each key's score, to the score of its own
 * key: the lanes that add up a key's are halved with each step, and so are the
 * keys of a lane. */
template <int N>
static __device__ __forceinline__ float
add_up (float (&part)[N])
{
  int step = 4;
#pragma unroll
  for (int n = N / 2; n > 0; n /= 2, step /= 2) {
    const bool upper = threadIdx.x & step;
#pragma unroll
    for (int i = 0; i < n; i++) {
      const float keep = upper ? part[i + n] : part[i];
      const float give = upper ? part[i] : part[i + n];
      part[i] = keep + __shfl_xor_sync (0xffffffffu, give, step);
    }
  }
#pragma unroll
  for (; step > 0; step /= 2)
    part[0] += __shfl_xor_sync (0xffffffffu, part[0], step);
  return part[0];
}

/* Joins the four groups of a warp; every lane gets the result for its
 * dimensions. */
static __device__ __forceinline__ void
join_groups (Partial &partial)
{
  float max = partial.max;

#pragma unroll
  for (int step = 8; step < 32; step *= 2)
    max = fmaxf (max, __shfl_xor_sync (0xffffffffu, max, step));
  partial.rescale (max);
#pragma unroll
  for (int step = 8; step < 32; step *= 2) {
    partial.sum += __shfl_xor_sync (0xffffffffu, partial.sum, step);
#pragma unroll
    for (int i = 0; i < 8; i++)
      partial.out[i] += __shfl_xor_sync (0xffffffffu, partial.out[i], step);
  }
}

struct AttentionShared {
  float max[ATTENTION_WARPS], sum[ATTENTION_WARPS];
  float out[ATTENTION_WARPS][DIM];
};

/* Joins the warps; of the first 32 threads each gets two of the 64 results. */
template <bool EXACT>
static __device__ __forceinline__ float2
join_warps (AttentionShared &shared, const Partial &partial)
{
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;

  if (lane < 8) {
#pragma unroll
    for (int i = 0; i < 8; i++)
      shared.out[warp][lane * 8 + i] = partial.out[i];
    if (lane == 0) {
      shared.max[warp] = partial.max;
      shared.sum[warp] = partial.sum;
    }
  }
  attention_sync ();
  if (warp > 0)
    return make_float2 (0.0f, 0.0f);

  float max = shared.max[0];
#pragma unroll
  for (int w = 1; w < ATTENTION_WARPS; w++)
    max = fmaxf (max, shared.max[w]);
  float sum = 0.0f, out0 = 0.0f, out1 = 0.0f;
#pragma unroll
  for (int w = 0; w < ATTENTION_WARPS; w++) {
    const float factor = exponential<EXACT> (shared.max[w] - max);
    sum = __fmaf_rn (factor, shared.sum[w], sum);
    out0 = __fmaf_rn (factor, shared.out[w][2 * lane], out0);
    out1 = __fmaf_rn (factor, shared.out[w][2 * lane + 1], out1);
  }
  const float inverse = __fdividef (1.0f, sum);
  return make_float2 (__fmul_rn (out0, inverse), __fmul_rn (out1, inverse));
}

/* decode-attention-hopper.cu: in float16. */
cudaError_t decode_attention_hopper (
    const Mt3CudaDecodeAttention &a, Mt3CudaLaunch launch);

/* decode-places.cu: of several places a row, in float16. */
cudaError_t decode_places (
    const Mt3CudaDecodeAttention &a, Mt3CudaLaunch launch);
