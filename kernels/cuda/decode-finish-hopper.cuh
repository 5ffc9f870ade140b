/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * decode-finish-hopper.cuh: where the results of decode products go on compute
 * capability 9.0: a thread has four neighbouring columns of a row.
 */
#pragma once

#include "decode-finish.cuh"

#define COLUMNS 64 /* that meet in shared memory, [row][column] */
#define STRIDE (COLUMNS + 4) /* floats; no bank conflicts */
#define WARPS 4 /* of a warpgroup */

/* One warpgroup's sums to there. */
template <int N>
static __device__ __forceinline__ void
store_sums (float *results, const float (&sums)[N])
{
  const int warp = threadIdx.x / 32 % WARPS, lane = threadIdx.x % 32;
  float *to = results + warp * 16 + lane / 4 + lane % 4 * 2 * STRIDE;

#pragma unroll
  for (int i = 0; i < N; i++)
    to[(i / 4 * 8 + i % 2) * STRIDE + i % 4 / 2 * 8] = sums[i];
}

/* What the results at a column are added to (ADD). */
static __device__ __forceinline__ float4
load_before (const Mt3CudaDecodeGemm &a, int row, int column)
{
  const bool of_query = column >= a.x_width;
  const int stride = of_query ? a.inner : a.x_width;
  const float *from = (of_query ? a.cross_query - a.x_width : a.x) + column;

  if (row >= a.n_rows || column >= a.n)
    return make_float4 (0.0f, 0.0f, 0.0f, 0.0f);
  return __ldcg (
      reinterpret_cast<const float4 *> (from + (size_t) row * stride));
}

/* TRUE when one of them does not fit float16. */
static __device__ __forceinline__ bool
store_halves (void *to, size_t i, float4 v)
{
  *reinterpret_cast<uint2 *> (static_cast<__half *> (to) + i) =
      make_uint2 (half2_bits (__floats2half2_rn (v.x, v.y)),
          half2_bits (__floats2half2_rn (v.z, v.w)));
  return !fits_half (v.x, v.y) || !fits_half (v.z, v.w);
}

/* Into the cache of the row's slot. */
static __device__ __forceinline__ bool
append4 (
    const Mt3CudaDecodeGemm &a, int slot, int position, int column, float4 v)
{
  store_halves (a.cache, cache_index (a, slot, position, column),
      make_float4 (limited (v.x), limited (v.y), limited (v.z), limited (v.w)));
  return !fits_half (v.x, v.y) || !fits_half (v.z, v.w);
}

/* The norm's factor of a block's rows, by eight lanes each, and where their
 * keys go, on the way to shared memory. By T::threads threads. */
template <typename T> struct RowLoads {
  static constexpr int norm_turns =
      (T::rows + T::threads / 8 - 1) / (T::threads / 8);
  SquaresShare squares[norm_turns];
  int slot, position;

  __device__ __forceinline__ void
  load_factors (const Mt3CudaDecodeGemm &a)
  {
#pragma unroll
    for (int t = 0; t < norm_turns; t++) {
      const int r = (t * T::threads + threadIdx.x) / 8;
      const int row = blockIdx.y * T::rows + r;
      squares[t] = {};
      if (r < T::rows && row < a.n_rows)
        squares[t] = load_squares (
            a.squares + (size_t) row * (a.k / MT3_CUDA_DECODE_SQUARES),
            a.k / MT3_CUDA_DECODE_SQUARES);
    }
  }

  __device__ __forceinline__ void
  load_place (const Mt3CudaDecodeGemm &a)
  {
    const int row = blockIdx.y * T::rows + threadIdx.x;

    slot = -1;
    position = 0;
    if (threadIdx.x >= T::rows || row >= a.n_rows)
      return;
    const Mt3CudaRow *state = a.rows + row / a.places;
    const int place = row % a.places;
    const int remaining = __ldcg (&state->remaining);
    slot = __ldcg (&state->slot);
    position = __ldcg (&state->position) + place;
    if (remaining <= place)
      slot = -1;
  }

  __device__ __forceinline__ void
  store_factors (const Mt3CudaDecodeGemm &a, float inverse_k, float *factor)
  {
    const int n_partial = a.k / MT3_CUDA_DECODE_SQUARES;
    float sum[norm_turns];

#pragma unroll
    for (int t = 0; t < norm_turns; t++)
      sum[t] = add_share (squares[t]);
    if (n_partial > SQUARES_AHEAD * 16)
#pragma unroll 1
      for (int t = 0; t < norm_turns; t++) {
        const int r = (t * T::threads + threadIdx.x) / 8;
        const int row = blockIdx.y * T::rows + r;
        if (r < T::rows && row < a.n_rows)
          sum[t] +=
              sum_beyond (a.squares + (size_t) row * n_partial, n_partial);
      }
#pragma unroll
    for (int t = 0; t < norm_turns; t++) {
      const int r = (t * T::threads + threadIdx.x) / 8;
      const float f = norm_factor (sum[t], inverse_k);
      if (r < T::rows && threadIdx.x % 8 == 0)
        factor[r] = f;
    }
  }
};

static __device__ __forceinline__ float4
scaled (float4 v, float factor)
{
  return make_float4 (__fmul_rn (v.x, factor), __fmul_rn (v.y, factor),
      __fmul_rn (v.z, factor), __fmul_rn (v.w, factor));
}

static __device__ __forceinline__ float4
added (float4 v, float4 w)
{
  return make_float4 (__fadd_rn (v.x, w.x), __fadd_rn (v.y, w.y),
      __fadd_rn (v.z, w.z), __fadd_rn (v.w, w.w));
}

/* Four neighbouring results; all lanes of a warp come here together. TRUE where
 * one of them left float16. */
template <Mt3CudaDecodeEpilogue EPILOGUE>
static __device__ __forceinline__ bool
finish (const Mt3CudaDecodeGemm &a, int row, int column, float4 v, bool exists,
    int slot, int position)
{
  if constexpr (EPILOGUE == MT3_CUDA_DECODE_ADD) {
    float squares = sum_of_squares (v.x, v.y) + sum_of_squares (v.z, v.w);
    squares += __shfl_xor_sync (0xffffffffu, squares, 2);
    squares += __shfl_xor_sync (0xffffffffu, squares, 1);
    if (!exists)
      return false;
    if (column >= a.x_width) {
      *reinterpret_cast<float4 *> (
          a.cross_query + (size_t) row * a.inner + column - a.x_width) = v;
      return false;
    }
    const size_t i = (size_t) row * a.x_width + column;
    *reinterpret_cast<float4 *> (a.x + i) = v;
    if (threadIdx.x % 4 == 0)
      a.out_squares[i / MT3_CUDA_DECODE_SQUARES] = squares;
    return store_halves (a.out.hi, i, v);
  } else if constexpr (EPILOGUE == MT3_CUDA_DECODE_GATED) {
    const float o0 = __fmul_rn (gelu (v.x), v.y);
    const float o1 = __fmul_rn (gelu (v.z), v.w);
    return exists &&
           store2<false> (a.out, (size_t) row * (a.n / 2) + column / 2, o0, o1);
  } else {
    if (!exists)
      return false;
    if (EPILOGUE == MT3_CUDA_DECODE_QKV && column >= 3 * a.inner) {
      *reinterpret_cast<float4 *> (
          a.cross_query + (size_t) row * a.inner + column - 3 * a.inner) = v;
      return false;
    }
    if (EPILOGUE == MT3_CUDA_DECODE_QKV && column >= a.inner)
      return slot >= 0 && append4 (a, slot, position, column, v);
    *reinterpret_cast<float4 *> (a.y + (size_t) row * a.y_stride + column) = v;
    return false;
  }
}
