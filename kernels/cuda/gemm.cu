/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gemm.cu: the matrix products of prefill and verification, in split form. A
 * block makes a 128 x 64 tile, four warps 64 x 32 each, from tiles of 32 terms
 * that are copied ahead; two blocks share a multiprocessor, so that one loads
 * operands while the other multiplies. hi * hi is summed apart from hi * lo +
 * lo * hi, which count 1 / SPLIT.
 */
#include "gemm-epilogue.cuh"
#include "gemm-hopper.h"

#define ROWS 128 /* of a block */
#define COLUMNS 64
#define TERMS 32 /* of k, in one stage */
#define THREADS 128
#define ROW_TILES 4 /* of 16 rows, a warp */
#define CHUNKS (TERMS / 8) /* of 16 bytes in one row of a stage */
#define PLANE ((ROWS + COLUMNS) * TERMS) /* halves: a, then w */
#define STAGE (2 * PLANE) /* hi, then lo */

/* Turing has shared memory for two stages. */
#define STAGES_TURING 2
#define STAGES 3
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#define DEVICE_STAGES STAGES_TURING
#else
#define DEVICE_STAGES STAGES
#endif

/* Where 16-byte chunk `chunk` of `row` lies in a tile: rotated so that the
 * eight rows of an ldmatrix fall into different banks. */
static __device__ __forceinline__ int
tile_offset (int row, int chunk)
{
  return row * TERMS + (chunk ^ ((row >> 1) & (CHUNKS - 1))) * 8;
}

/* Copies one plane of `n_rows` rows from `row0` on. */
static __device__ __forceinline__ void
copy_rows (__half *to, const void *plane, int row0, int n_rows, int k, int k0)
{
  const int chunk = threadIdx.x % CHUNKS;
#pragma unroll
  for (int row = threadIdx.x / CHUNKS; row < n_rows; row += THREADS / CHUNKS)
    copy16 (to + tile_offset (row, chunk), static_cast<const __half *> (plane) +
                                               (size_t) (row0 + row) * k + k0 +
                                               chunk * 8);
}

static __device__ __forceinline__ void
copy_stage (const Mt3CudaGemm &a, __half *stage, int k0)
{
  const int row0 = blockIdx.y * ROWS, column0 = blockIdx.x * COLUMNS;

  copy_rows (stage, a.a.hi, row0, ROWS, a.k, k0);
  copy_rows (stage + ROWS * TERMS, a.w.hi, column0, COLUMNS, a.k, k0);
  copy_rows (stage + PLANE, a.a.lo, row0, ROWS, a.k, k0);
  copy_rows (stage + PLANE + ROWS * TERMS, a.w.lo, column0, COLUMNS, a.k, k0);
  copy_commit ();
}

typedef float Sums[ROW_TILES][COLUMN_TILES][4];

/* Adds the product of one plane of a and one of w over 16 terms. */
static __device__ __forceinline__ void
multiply_planes (Sums &sums, const uint32_t (&a)[ROW_TILES][4],
    const uint32_t (&w)[COLUMN_TILES / 2][4])
{
#pragma unroll
  for (int r = 0; r < ROW_TILES; r++)
#pragma unroll
    for (int c = 0; c < COLUMN_TILES; c++)
      mma (sums[r][c], a[r][0], a[r][1], a[r][2], a[r][3], w[c / 2][c % 2 * 2],
          w[c / 2][c % 2 * 2 + 1]);
}

static __device__ __forceinline__ void
load_a (uint32_t (&a)[ROW_TILES][4], const __half *tile, int row0, int chunk0)
{
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int r = 0; r < ROW_TILES; r++)
    load_matrix4 (a[r],
        tile + tile_offset (row0 + r * 16 + lane % 16, chunk0 + lane / 16));
}

static __device__ __forceinline__ void
load_w (uint32_t (&w)[COLUMN_TILES / 2][4], const __half *tile, int column0,
    int chunk0)
{
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int c = 0; c < COLUMN_TILES / 2; c++)
    load_matrix4 (
        w[c], tile + tile_offset (column0 + c * 16 + lane / 16 * 8 + lane % 8,
                         chunk0 + lane / 8 % 2));
}

static __device__ __forceinline__ void
multiply_stage (Sums &sums, Sums &cross, const __half *stage)
{
  const int warp = threadIdx.x / 32;
  const int row0 = warp / 2 * 64, column0 = warp % 2 * 32;
  const __half *w_tile = stage + ROWS * TERMS;

#pragma unroll
  for (int chunk0 = 0; chunk0 < CHUNKS; chunk0 += 2) {
    uint32_t a[ROW_TILES][4], w[COLUMN_TILES / 2][4];
    uint32_t a_lo[ROW_TILES][4], w_lo[COLUMN_TILES / 2][4];
    load_a (a, stage, row0, chunk0);
    load_w (w, w_tile, column0, chunk0);
    load_a (a_lo, stage + PLANE, row0, chunk0);
    load_w (w_lo, w_tile + PLANE, column0, chunk0);
    multiply_planes (sums, a, w);
    multiply_planes (cross, a, w_lo);
    multiply_planes (cross, a_lo, w);
  }
}

/* ------------------------------------------------------------ results */

static __device__ __forceinline__ void
load_addend (
    const Mt3CudaGemm &a, int row, int column0, float2 (&addend)[COLUMN_TILES])
{
  const float *from = a.addend + (size_t) (row % a.addend_rows) * a.n + column0;
#pragma unroll
  for (int c = 0; c < COLUMN_TILES; c++)
    addend[c] =
        *reinterpret_cast<const float2 *> (from + c * 8 + threadIdx.x % 4 * 2);
}

template <Mt3CudaEpilogue EPILOGUE>
static __device__ __forceinline__ void
finish (const Mt3CudaGemm &a, const Sums &sums, const Sums &cross,
    const float *factors)
{
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int row0 = warp / 2 * 64;
  const int column0 = blockIdx.x * COLUMNS + warp % 2 * 32;
  bool overflow = false;
  int row = 0;

  if (EPILOGUE == MT3_CUDA_FLOATS && column0 >= a.n)
    return;
#pragma unroll
  for (int r = 0; r < ROW_TILES; r++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int tile_row = row0 + r * 16 + half * 8 + lane / 4;
      const float factor = factors[tile_row] / activation_scale<true> ();
      float v[COLUMN_TILES][2];
      float2 addend[COLUMN_TILES] = {};
      row = blockIdx.y * ROWS + tile_row;
      if constexpr (EPILOGUE == MT3_CUDA_ADD)
        load_addend (a, row, column0, addend);
#pragma unroll
      for (int c = 0; c < COLUMN_TILES; c++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
          v[c][i] = sums[r][c][half * 2 + i] +
                    cross[r][c][half * 2 + i] * (1.0f / SPLIT);
          v[c][i] = v[c][i] * factor + (i ? addend[c].y : addend[c].x);
        }
      overflow |= finish_row<EPILOGUE> (a, row, column0, v);
    }
  /* A tile of 128 rows lies within one window. */
  if (overflow)
    a.overflow[a.slots[row / a.frames]] = 1;
}

/* The norm's factor of each row of the tile; eight lanes a row. */
static __device__ __forceinline__ void
load_factors (const Mt3CudaGemm &a, float *factors)
{
  constexpr int each = ROWS / (THREADS / 8);
  const int group = threadIdx.x / 8, n_partial = a.k / MT3_CUDA_PREFILL_SQUARES;
  const int stretch = THREADS / 8 * n_partial;
  const float *squares =
      a.squares + ((size_t) blockIdx.y * ROWS + group) * n_partial;
  SquaresShare share[each];

#pragma unroll
  for (int i = 0; i < each && a.squares; i++)
    share[i] = load_squares (squares + i * stretch, n_partial);
#pragma unroll
  for (int i = 0; i < each; i++) {
    float factor = 1.0f;
    if (a.squares)
      factor = norm_factor (
          sum_squares (share[i], squares + i * stretch, n_partial), 1.0f / a.k);
    if (threadIdx.x % 8 == 0)
      factors[group + i * (THREADS / 8)] = factor;
  }
}

template <Mt3CudaEpilogue EPILOGUE>
static __global__ void
__launch_bounds__ (THREADS, 2) gemm_kernel (const Mt3CudaGemm a)
{
  extern __shared__ __align__ (16) __half stages[];
  __shared__ float factors[ROWS];
  const int n_steps = a.k / TERMS;
  Sums sums = {}, cross = {};

  dependent_launch ();
  dependent_wait ();
  for (int s = 0; s < DEVICE_STAGES - 1; s++)
    if (s < n_steps)
      copy_stage (a, stages + s * STAGE, s * TERMS);
    else
      copy_commit ();
  load_factors (a, factors);
#pragma unroll 1
  for (int s = 0; s < n_steps; s++) {
    copy_wait<DEVICE_STAGES - 2> ();
    __syncthreads ();
    const int next = s + DEVICE_STAGES - 1;
    if (next < n_steps)
      copy_stage (a, stages + next % DEVICE_STAGES * STAGE, next * TERMS);
    else
      copy_commit ();
    multiply_stage (sums, cross, stages + s % DEVICE_STAGES * STAGE);
  }
  finish<EPILOGUE> (a, sums, cross, factors);
}

template <Mt3CudaEpilogue EPILOGUE>
static cudaError_t
launch_gemm (const Mt3CudaGemm &a, Mt3CudaLaunch launch)
{
  const dim3 grid ((a.n + COLUMNS - 1) / COLUMNS, a.m / ROWS);
  const bool turing = device_attribute (cudaDevAttrComputeCapabilityMajor) < 8;
  const size_t shared =
      sizeof (__half) * STAGE * (turing ? STAGES_TURING : STAGES);
  const cudaError_t error = cudaFuncSetAttribute (gemm_kernel<EPILOGUE>,
      cudaFuncAttributeMaxDynamicSharedMemorySize, (int) shared);

  if (error != cudaSuccess)
    return error;
  return launch_kernel (
      gemm_kernel<EPILOGUE>, grid, dim3 (THREADS), shared, launch, a);
}

cudaError_t
mt3_cuda_gemm (const Mt3CudaGemm *args, Mt3CudaLaunch launch)
{
  const int n_processors = hopper_processors ();

  if (n_processors > 0 && args->tile != 1)
    return mt3_cuda_gemm_hopper (args, n_processors, launch);
  switch (args->epilogue) {
    case MT3_CUDA_ADD:
      return launch_gemm<MT3_CUDA_ADD> (*args, launch);
    case MT3_CUDA_STORE:
      return launch_gemm<MT3_CUDA_STORE> (*args, launch);
    case MT3_CUDA_GATED:
      return launch_gemm<MT3_CUDA_GATED> (*args, launch);
    case MT3_CUDA_CROSS_KV:
      return launch_gemm<MT3_CUDA_CROSS_KV> (*args, launch);
    case MT3_CUDA_FLOATS:
      return launch_gemm<MT3_CUDA_FLOATS> (*args, launch);
  }
  return cudaErrorInvalidValue;
}
