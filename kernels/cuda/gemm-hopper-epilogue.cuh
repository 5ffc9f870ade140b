/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gemm-hopper-epilogue.cuh: a warpgroup's 64 rows of a finished tile. Planes
 * leave by way of shared memory, where the copy engine fetches them while the
 * next tile is multiplied.
 */
#pragma once

#include "gemm-epilogue.cuh"
#include "hopper.cuh"

/* Boxes of planes and of the addend: 128 bytes of 64 rows. */
#define BOX_COLUMNS 64
#define ADDEND_COLUMNS 32

/* What a tile of COLUMNS columns becomes, and the boxes in which it is stored:
 * of each warpgroup first those of hi, then of lo. */
template <Mt3CudaEpilogue EPILOGUE, int COLUMNS> struct Planes {
  static constexpr int columns =
      EPILOGUE == MT3_CUDA_GATED ? COLUMNS / 2 : COLUMNS;
  static constexpr int halves = 64 * columns; /* of a warpgroup's plane */
};

/* The first of a lane's rows; the other is 8 further on. */
static __device__ __forceinline__ int
lane_row ()
{
  return threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4;
}

/* sums: the product with the norm's factors */
template <int COLUMNS>
static __device__ __forceinline__ void
scale_sums (float (&sums)[COLUMNS / 2], const float (&cross)[COLUMNS / 2],
    const float *factors)
{
  float factor[2];
#pragma unroll
  for (int half = 0; half < 2; half++)
    factor[half] = factors[lane_row () + half * 8] / activation_scale<true> ();
#pragma unroll
  for (int i = 0; i < COLUMNS / 2; i++)
    sums[i] = (sums[i] + cross[i] * (1.0f / SPLIT)) * factor[i / 2 % 2];
}

/* Of 32 columns of one of the lane's rows its two of each 8. */
template <int COLUMNS>
static __device__ __forceinline__ void
pick_columns (const float (&sums)[COLUMNS / 2], int half, int group,
    float (&v)[COLUMN_TILES][2])
{
#pragma unroll
  for (int c = 0; c < COLUMN_TILES; c++)
#pragma unroll
    for (int i = 0; i < 2; i++)
      v[c][i] = sums[(group * COLUMN_TILES + c) * 4 + half * 2 + i];
}

/* x, from the addend's boxes, back to sums and to where it belongs. */
template <int COLUMNS>
static __device__ __forceinline__ void
add_addend (const Mt3CudaGemm &a, float (&sums)[COLUMNS / 2],
    const float *addend, int row0, int column0)
{
  const int lane = threadIdx.x % 32;

#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int row = lane_row () + half * 8;
#pragma unroll
    for (int group = 0; group < COLUMNS / 32; group++) {
      float v[COLUMN_TILES][2];
#pragma unroll
      for (int c = 0; c < COLUMN_TILES; c++) {
        const int at = swizzled (row * 128 + c * 32 + lane % 4 * 8);
        const float2 more = *reinterpret_cast<const float2 *> (
            reinterpret_cast<const char *> (
                addend + group * 64 * ADDEND_COLUMNS) +
            at);
        float *sum = &sums[(group * COLUMN_TILES + c) * 4 + half * 2];
        v[c][0] = sum[0] += more.x;
        v[c][1] = sum[1] += more.y;
      }
      if (row0 < a.m && column0 + group * 32 < a.n)
        store_x (a, row0 + row, column0 + group * 32, v);
    }
  }
}

/* Two neighbouring values, already scaled, of a warpgroup's planes. */
template <typename OUT>
static __device__ __forceinline__ bool
put_pair (__half *planes, int row, int column, float v0, float v1)
{
  const Half2Planes p = split2<true> (v0, v1);
  const int at = column / BOX_COLUMNS * (64 * 128) +
                 swizzled (row * 128 + column % BOX_COLUMNS * 2);
  char *to = reinterpret_cast<char *> (planes) + at;

  *reinterpret_cast<uint32_t *> (to) = p.hi;
  *reinterpret_cast<uint32_t *> (to + OUT::halves * 2) = p.lo;
  return !fits_half (v0, v1);
}

/* gelu (even) * odd. A lane has one value of each 4, and of two times 4 it puts
 * a pair: of the first when it is even, else of the second. */
template <typename OUT>
static __device__ __forceinline__ bool
put_gated (
    __half *planes, int row, int column0, const float (&v)[COLUMN_TILES][2])
{
  const int lane = threadIdx.x % 32;
  const bool odd = lane % 2;
  bool overflow = false;

#pragma unroll
  for (int c = 0; c < COLUMN_TILES; c += 2) {
    const float first = gelu (v[c][0]) * v[c][1] * activation_scale<true> ();
    const float second =
        gelu (v[c + 1][0]) * v[c + 1][1] * activation_scale<true> ();
    const float beside = __shfl_xor_sync (0xffffffffu, odd ? first : second, 1);
    overflow |=
        put_pair<OUT> (planes, row, column0 + (c + odd) * 4 + lane % 4 / 2 * 2,
            odd ? beside : first, odd ? second : beside);
  }
  return overflow;
}

/* planes: this warpgroup's part of the stage */
template <Mt3CudaEpilogue EPILOGUE, int COLUMNS>
static __device__ __forceinline__ void
finish_staged (const Mt3CudaGemm &a, const float (&sums)[COLUMNS / 2],
    __half *planes, int row0)
{
  using Out = Planes<EPILOGUE, COLUMNS>;
  bool overflow = false;

#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int row = lane_row () + half * 8;
#pragma unroll
    for (int group = 0; group < COLUMNS / 32; group++) {
      float v[COLUMN_TILES][2];
      pick_columns<COLUMNS> (sums, half, group, v);
      if constexpr (EPILOGUE == MT3_CUDA_GATED) {
        overflow |= put_gated<Out> (planes, row, group * 16, v);
      } else {
#pragma unroll
        for (int c = 0; c < COLUMN_TILES; c++)
          overflow |= put_pair<Out> (planes, row,
              group * 32 + c * 8 + threadIdx.x % 4 * 2,
              v[c][0] * activation_scale<true> (),
              v[c][1] * activation_scale<true> ());
      }
    }
  }
  /* 64 rows lie within one window; beyond the last it is another's. */
  if (overflow && row0 < a.m)
    a.overflow[a.slots[row0 / a.frames]] = 1;
}

/* The same from registers; x is stored already (ADD). */
template <Mt3CudaEpilogue EPILOGUE, int COLUMNS>
static __device__ __forceinline__ void
finish_direct (const Mt3CudaGemm &a, const float (&sums)[COLUMNS / 2], int row0,
    int column0)
{
  constexpr Mt3CudaEpilogue rest =
      EPILOGUE == MT3_CUDA_ADD ? MT3_CUDA_STORE : EPILOGUE;
  bool overflow = false;

#pragma unroll
  for (int half = 0; half < 2; half++)
#pragma unroll
    for (int group = 0; group < COLUMNS / 32; group++) {
      float v[COLUMN_TILES][2];
      if (column0 + group * 32 >= a.n)
        break;
      pick_columns<COLUMNS> (sums, half, group, v);
      overflow |= finish_row<rest> (
          a, row0 + lane_row () + half * 8, column0 + group * 32, v);
    }
  if (overflow)
    a.overflow[a.slots[row0 / a.frames]] = 1;
}
