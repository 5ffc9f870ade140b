/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gemm-epilogue.cuh: what becomes of a product of prefill or verification; for
 * both kernels that make it. A call has 32 columns of a row, of each 8 two in a
 * lane: v[c] of column0 + 8 c + 2 (lane % 4).
 */
#pragma once

#include "device.cuh"

#define COLUMN_TILES 4 /* of 8 columns */

/* x and the sum of squares of the columns. v: x, the product with the addend */
static __device__ __forceinline__ void
store_x (const Mt3CudaGemm &a, int row, int column0,
    const float (&v)[COLUMN_TILES][2])
{
  const int lane = threadIdx.x % 32;
  float *x = a.x + (size_t) row * a.n + column0;
  float squares = 0.0f;

#pragma unroll
  for (int c = 0; c < COLUMN_TILES; c++) {
    *reinterpret_cast<float2 *> (x + c * 8 + lane % 4 * 2) =
        make_float2 (v[c][0], v[c][1]);
    squares += v[c][0] * v[c][0] + v[c][1] * v[c][1];
  }
  squares += __shfl_xor_sync (0xffffffffu, squares, 1);
  squares += __shfl_xor_sync (0xffffffffu, squares, 2);
  if (lane % 4 == 0)
    a.out_squares[(size_t) row * (a.n / 32) + column0 / 32] = squares;
}

/* 32 neighbouring halves, which a lane has as mma() leaves them, from element
 * `i` of this lane on. */
static __device__ __forceinline__ void
store_halves (void *to, size_t i, uint32_t (&halves)[COLUMN_TILES])
{
  transpose4 (halves);
  *reinterpret_cast<uint4 *> (static_cast<__half *> (to) + i) =
      make_uint4 (halves[0], halves[1], halves[2], halves[3]);
}

/* Keys or values to the cross cache of the window's slot. */
static __device__ __forceinline__ bool
finish_cross (const Mt3CudaGemm &a, int row, int column0,
    const float (&v)[COLUMN_TILES][2])
{
  const int inner = a.n_heads * MT3_CUDA_HEAD_DIM;
  const int layer = column0 / (2 * inner), kv = column0 / inner % 2;
  const int head = column0 % inner / MT3_CUDA_HEAD_DIM;
  const int lane = threadIdx.x % 32;
  const size_t first =
      (size_t) a.slots[row / a.frames] * a.cache_slot +
      ((((size_t) layer * a.n_heads + head) * 2 + kv) * a.frames +
          row % a.frames) *
          MT3_CUDA_HEAD_DIM +
      column0 % MT3_CUDA_HEAD_DIM;
  bool overflow = false;

  if (!a.cache_half) {
    float *cache = static_cast<float *> (a.cache) + first;
#pragma unroll
    for (int c = 0; c < COLUMN_TILES; c++) {
      *reinterpret_cast<float2 *> (cache + c * 8 + lane % 4 * 2) =
          make_float2 (v[c][0], v[c][1]);
      overflow |= !(fabsf (v[c][0]) < INFINITY && fabsf (v[c][1]) < INFINITY);
    }
    return overflow;
  }
  uint32_t hi[COLUMN_TILES], lo[COLUMN_TILES];
#pragma unroll
  for (int c = 0; c < COLUMN_TILES; c++) {
    const Half2Planes p = split2<true> (v[c][0], v[c][1]);
    hi[c] = p.hi;
    lo[c] = p.lo;
    overflow |= !fits_half (v[c][0], v[c][1]);
  }
  store_halves (a.cache, first + lane % 4 * 8, hi);
  if (a.cache_lo)
    store_halves (a.cache_lo, first + lane % 4 * 8, lo);
  return overflow;
}

static __device__ __forceinline__ void
finish_floats (const Mt3CudaGemm &a, int row, int column0,
    const float (&v)[COLUMN_TILES][2])
{
  float *x = a.x + (size_t) row * a.n + column0;

#pragma unroll
  for (int c = 0; c < COLUMN_TILES; c++)
    *reinterpret_cast<float2 *> (x + c * 8 + threadIdx.x % 4 * 2) =
        make_float2 (v[c][0], v[c][1]);
}

/* gelu (even) * odd: 16 columns, four in a lane once they are exchanged */
static __device__ __forceinline__ bool
finish_gated (const Mt3CudaGemm &a, int row, int column0,
    const float (&v)[COLUMN_TILES][2])
{
  constexpr float scale = activation_scale<true> ();
  const size_t first = (size_t) row * (a.n / 2) + column0 / 2;
  const size_t i = first + threadIdx.x % 4 * 4;
  uint32_t gated[COLUMN_TILES];

#pragma unroll
  for (int c = 0; c < COLUMN_TILES; c++)
    gated[c] = __float_as_uint (gelu (v[c][0]) * v[c][1] * scale);
  transpose4 (gated);
  const float2 x =
      make_float2 (__uint_as_float (gated[0]), __uint_as_float (gated[1]));
  const float2 y =
      make_float2 (__uint_as_float (gated[2]), __uint_as_float (gated[3]));
  const Half2Planes low = split2<true> (x.x, x.y);
  const Half2Planes high = split2<true> (y.x, y.y);
  *reinterpret_cast<uint2 *> (static_cast<__half *> (a.out.hi) + i) =
      make_uint2 (low.hi, high.hi);
  *reinterpret_cast<uint2 *> (static_cast<__half *> (a.out.lo) + i) =
      make_uint2 (low.lo, high.lo);
  return !(fits_half (x.x, x.y) && fits_half (y.x, y.y));
}

/* TRUE when something left float16. */
template <Mt3CudaEpilogue EPILOGUE>
static __device__ __forceinline__ bool
finish_row (const Mt3CudaGemm &a, int row, int column0,
    const float (&v)[COLUMN_TILES][2])
{
  if constexpr (EPILOGUE == MT3_CUDA_ADD)
    store_x (a, row, column0, v);
  if constexpr (EPILOGUE == MT3_CUDA_CROSS_KV)
    return finish_cross (a, row, column0, v);
  if constexpr (EPILOGUE == MT3_CUDA_GATED)
    return finish_gated (a, row, column0, v);
  if constexpr (EPILOGUE == MT3_CUDA_FLOATS) {
    finish_floats (a, row, column0, v);
    return false;
  }
  return store32 (a.out, (size_t) row * a.n + column0, v);
}
