/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * decode-finish.cuh: what the kernels of decode products share: where their
 * results go.
 */
#pragma once

#include "device.cuh"

#define DECODE_SLICE 64 /* terms that a warp or warpgroup takes at a time */

/* decode-gemm-hopper.cu; @tile: 1 .. DECODE_HOPPER_TILES, or its choice. In
 * float16. */
#define DECODE_HOPPER_TILES 7

cudaError_t decode_gemm_hopper (
    const Mt3CudaDecodeGemm &a, int tile, Mt3CudaLaunch launch);

/* decode-gemm-wide.cu: the last of these tiles, taken from so many rows on. */
#define DECODE_WIDE_ROWS 256

cudaError_t decode_gemm_wide (const Mt3CudaDecodeGemm &a, Mt3CudaLaunch launch);

/* What the threads of a block know of its rows. */
template <int ROWS> struct RowInfo {
  float factor[ROWS * 8];
  int slot[ROWS * 8]; /* -1: nothing to append */
  int position[ROWS * 8];
};

/* What does not fit float16 becomes its largest number: the places before this
 * one, which do not see it, multiply it with 0. */
static __device__ __forceinline__ float
limited (float v)
{
  return fminf (fmaxf (v, -65504.0f), 65504.0f);
}

/* Where the cache has a key or value. */
static __device__ __forceinline__ size_t
cache_index (const Mt3CudaDecodeGemm &a, int slot, int position, int column)
{
  const int kv = column >= 2 * a.inner;
  const int head = (column - (1 + kv) * a.inner) / MT3_CUDA_HEAD_DIM;

  return slot * a.cache_slot +
         (((size_t) head * 2 + kv) * a.n_positions + position) *
             MT3_CUDA_HEAD_DIM +
         column % MT3_CUDA_HEAD_DIM;
}

template <bool EXACT>
static __device__ __forceinline__ bool
append (const Mt3CudaDecodeGemm &a, int slot, int position, int column,
    float v0, float v1)
{
  const size_t i = cache_index (a, slot, position, column);

  if (EXACT) {
    *reinterpret_cast<float2 *> (static_cast<float *> (a.cache) + i) =
        make_float2 (v0, v1);
    return false;
  }
  *reinterpret_cast<__half2 *> (static_cast<__half *> (a.cache) + i) =
      __floats2half2_rn (limited (v0), limited (v1));
  return !(fabsf (v0) <= 65504.0f && fabsf (v1) <= 65504.0f);
}

/* A value of the row left float16. What a draft network does is of no account.
 */
static __device__ __forceinline__ void
flag_overflow (const Mt3CudaDecodeGemm &a, int row)
{
  if (!a.drafts)
    atomicOr (&a.rows[row / a.places].overflow, 1 << row % a.places);
}

static __device__ __forceinline__ float2 *
cross_query (const Mt3CudaDecodeGemm &a, int row, int column)
{
  return reinterpret_cast<float2 *> (
      a.cross_query + (size_t) row * a.inner + column);
}

/* Two neighbouring results of one row, which are left alone beyond the batch.
 * `before`: what is there (ADD). All lanes of a warp come here together, eight
 * of them for 16 columns of one row. */
template <bool EXACT, Mt3CudaDecodeEpilogue EPILOGUE>
static __device__ __forceinline__ bool
finish_pair (const Mt3CudaDecodeGemm &a, int row, int column, float v0,
    float v1, float2 before, int slot, int position)
{
  const bool exists = row < a.n_rows;

  if constexpr (EPILOGUE == MT3_CUDA_DECODE_ADD) {
    v0 = __fadd_rn (v0, before.x);
    v1 = __fadd_rn (v1, before.y);
    if (column >= a.x_width) {
      if (exists)
        *cross_query (a, row, column - a.x_width) = make_float2 (v0, v1);
      return false;
    }
    float squares = sum_of_squares (v0, v1);
    for (int step = 4; step > 0; step /= 2)
      squares += __shfl_xor_sync (0xffffffffu, squares, step);
    if (!exists)
      return false;
    const size_t i = (size_t) row * a.x_width + column;
    *reinterpret_cast<float2 *> (a.x + i) = make_float2 (v0, v1);
    if (threadIdx.x % 8 == 0)
      a.out_squares[i / MT3_CUDA_DECODE_SQUARES] = squares;
    return store2<EXACT> (a.out, i, v0, v1);
  } else if constexpr (EPILOGUE == MT3_CUDA_DECODE_GATED) {
    const float own = __fmul_rn (gelu (v0), v1);
    const float beside = __shfl_xor_sync (0xffffffffu, own, 1);
    return exists && threadIdx.x % 2 == 0 &&
           store2<EXACT> (
               a.out, (size_t) row * (a.n / 2) + column / 2, own, beside);
  } else {
    if (!exists)
      return false;
    if (EPILOGUE == MT3_CUDA_DECODE_QKV && column >= 3 * a.inner) {
      *cross_query (a, row, column - 3 * a.inner) = make_float2 (v0, v1);
      return false;
    }
    if (EPILOGUE == MT3_CUDA_DECODE_QKV && column >= a.inner)
      return slot >= 0 && append<EXACT> (a, slot, position, column, v0, v1);
    *reinterpret_cast<float2 *> (a.y + (size_t) row * a.y_stride + column) =
        make_float2 (v0, v1);
    return false;
  }
}
