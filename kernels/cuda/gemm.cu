/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gemm.cu: the matrix products of prefill. A block makes a 128 x 128 tile,
 * eight warps 64 x 32 each, from tiles of 32 terms that are copied ahead.
 * `exact` sums hi * hi apart from hi * lo + lo * hi, which count 1 / SPLIT.
 */
#include "device.cuh"

#define TILE 128 /* rows and columns of a block */
#define TERMS 32 /* of k, in one stage */
#define THREADS 256
#define ROW_TILES 4    /* of 16 rows, a warp */
#define COLUMN_TILES 4 /* of 8 columns, a warp */
#define CHUNKS (TERMS / 8) /* of 16 bytes in one row of a stage */
#define STAGE_HALVES (2 * TILE * TERMS) /* a and w, one plane */

template <bool EXACT> struct Pipeline {
  static constexpr int planes = EXACT ? 2 : 1;
  static constexpr int stages = EXACT ? 2 : 4;
  static constexpr size_t bytes =
      sizeof (__half) * planes * stages * STAGE_HALVES;
};

/* Where 16-byte chunk `chunk` of `row` lies in a tile: rotated so that the
 * eight rows of an ldmatrix fall into different banks. */
static __device__ __forceinline__ int
tile_offset (int row, int chunk)
{
  return row * TERMS + (chunk ^ ((row >> 1) & (CHUNKS - 1))) * 8;
}

template <bool EXACT>
static __device__ __forceinline__ void
copy_stage (const Mt3CudaGemm &a, __half *stage, int k0)
{
  const size_t a_row = (size_t) blockIdx.y * TILE;
  const size_t w_row = (size_t) blockIdx.x * TILE;

  for (int i = threadIdx.x; i < TILE * CHUNKS; i += THREADS) {
    const int row = i / CHUNKS, chunk = i % CHUNKS;
    const int to = tile_offset (row, chunk);
    const size_t from_a = (a_row + row) * a.k + k0 + chunk * 8;
    const size_t from_w = (w_row + row) * a.k + k0 + chunk * 8;
    copy16 (stage + to, static_cast<const __half *> (a.a.hi) + from_a);
    copy16 (stage + TILE * TERMS + to,
        static_cast<const __half *> (a.w.hi) + from_w);
    if (EXACT) {
      stage += STAGE_HALVES;
      copy16 (stage + to, static_cast<const __half *> (a.a.lo) + from_a);
      copy16 (stage + TILE * TERMS + to,
          static_cast<const __half *> (a.w.lo) + from_w);
      stage -= STAGE_HALVES;
    }
  }
  copy_commit ();
}

struct Sums {
  float main[ROW_TILES][COLUMN_TILES][4];
};

/* Adds the product of one plane of a and one of w over 16 terms. */
static __device__ __forceinline__ void
multiply_planes (Sums &sums, const uint32_t (&a)[ROW_TILES][4],
    const uint32_t (&w)[COLUMN_TILES / 2][4])
{
#pragma unroll
  for (int r = 0; r < ROW_TILES; r++)
#pragma unroll
    for (int c = 0; c < COLUMN_TILES; c++)
      mma (sums.main[r][c], a[r][0], a[r][1], a[r][2], a[r][3],
          w[c / 2][c % 2 * 2], w[c / 2][c % 2 * 2 + 1]);
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
    load_matrix4 (w[c],
        tile + tile_offset (column0 + c * 16 + lane / 16 * 8 + lane % 8,
                   chunk0 + lane / 8 % 2));
}

template <bool EXACT>
static __device__ __forceinline__ void
multiply_stage (Sums &sums, Sums &cross, const __half *stage)
{
  const int warp = threadIdx.x / 32;
  const int row0 = warp / 4 * 64, column0 = warp % 4 * 32;
  const __half *lo = stage + STAGE_HALVES;
  uint32_t a[ROW_TILES][4], w[COLUMN_TILES / 2][4];

#pragma unroll
  for (int chunk0 = 0; chunk0 < CHUNKS; chunk0 += 2) {
    load_a (a, stage, row0, chunk0);
    load_w (w, stage + TILE * TERMS, column0, chunk0);
    multiply_planes (sums, a, w);
    if (EXACT) {
      uint32_t lower[COLUMN_TILES / 2][4];
      load_w (lower, lo + TILE * TERMS, column0, chunk0);
      multiply_planes (cross, a, lower);
      load_a (a, lo, row0, chunk0);
      multiply_planes (cross, a, w);
    }
  }
}

/* ------------------------------------------------------------ results */

/* x = addend + product, its planes, and the sums of squares of the warp's 32
 * columns. v: the warp's columns of one row, two of each 8 in this lane. */
template <bool EXACT>
static __device__ __forceinline__ bool
finish_add (const Mt3CudaGemm &a, int row, int column0,
    float (&v)[COLUMN_TILES][2])
{
  const int lane = threadIdx.x % 32;
  const size_t addend = (size_t) (row % a.addend_rows) * a.n;
  bool overflow = false;
  float squares = 0.0f;

#pragma unroll
  for (int c = 0; c < COLUMN_TILES; c++) {
    const int column = column0 + c * 8 + lane % 4 * 2;
    const size_t i = (size_t) row * a.n + column;
    float2 x =
        *reinterpret_cast<const float2 *> (a.addend + addend + column);
    x.x += v[c][0];
    x.y += v[c][1];
    *reinterpret_cast<float2 *> (a.x + i) = x;
    overflow |= store2<EXACT> (a.out, i, x.x, x.y);
    squares += x.x * x.x + x.y * x.y;
  }
  squares += __shfl_xor_sync (0xffffffffu, squares, 1);
  squares += __shfl_xor_sync (0xffffffffu, squares, 2);
  if (lane % 4 == 0)
    a.out_squares[(size_t) row * (a.n / 32) + column0 / 32] = squares;
  return overflow;
}

/* Two neighbouring keys or values to the cross cache of the window's slot. */
template <bool EXACT>
static __device__ __forceinline__ bool
finish_cross (const Mt3CudaGemm &a, int row, int column, float v0, float v1)
{
  const int inner = a.n_heads * MT3_CUDA_HEAD_DIM;
  const int layer = column / (2 * inner), kv = column / inner % 2;
  const int head = column % inner / MT3_CUDA_HEAD_DIM;
  const size_t i = (size_t) a.slots[row / a.frames] * a.cache_slot +
      ((((size_t) layer * a.n_heads + head) * 2 + kv) * a.frames +
          row % a.frames) *
          MT3_CUDA_HEAD_DIM +
      column % MT3_CUDA_HEAD_DIM;

  if (EXACT) {
    *reinterpret_cast<float2 *> (static_cast<float *> (a.cache) + i) =
        make_float2 (v0, v1);
    return !(fabsf (v0) < INFINITY && fabsf (v1) < INFINITY);
  }
  *reinterpret_cast<__half2 *> (static_cast<__half *> (a.cache) + i) =
      __floats2half2_rn (v0, v1);
  return !(fabsf (v0) <= 65504.0f && fabsf (v1) <= 65504.0f);
}

/* gelu (even) * odd; lanes of even number store the pair of themselves and the
 * lane beside them. */
template <bool EXACT>
static __device__ __forceinline__ bool
finish_gated (const Mt3CudaGemm &a, int row, int column, float v0, float v1)
{
  const float own = gelu (v0) * v1;
  const float beside = __shfl_xor_sync (0xffffffffu, own, 1);

  if (threadIdx.x % 2 != 0)
    return false;
  return store2<EXACT> (
      a.out, (size_t) row * (a.n / 2) + column / 2, own, beside);
}

template <bool EXACT, Mt3CudaEpilogue EPILOGUE>
static __device__ __forceinline__ bool
finish_row (const Mt3CudaGemm &a, int row, int column0,
    float (&v)[COLUMN_TILES][2])
{
  bool overflow = false;

  if constexpr (EPILOGUE == MT3_CUDA_ADD) {
    overflow = finish_add<EXACT> (a, row, column0, v);
  } else {
#pragma unroll
    for (int c = 0; c < COLUMN_TILES; c++) {
      const int column = column0 + c * 8 + threadIdx.x % 4 * 2;
      if constexpr (EPILOGUE == MT3_CUDA_CROSS_KV)
        overflow |= finish_cross<EXACT> (a, row, column, v[c][0], v[c][1]);
      else if constexpr (EPILOGUE == MT3_CUDA_GATED)
        overflow |= finish_gated<EXACT> (a, row, column, v[c][0], v[c][1]);
      else
        overflow |= store2<EXACT> (
            a.out, (size_t) row * a.n + column, v[c][0], v[c][1]);
    }
  }
  return overflow;
}

template <bool EXACT, Mt3CudaEpilogue EPILOGUE>
static __device__ __forceinline__ void
finish (const Mt3CudaGemm &a, const Sums &sums, const Sums &cross,
    const float *factors)
{
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int row0 = warp / 4 * 64;
  const int column0 = blockIdx.x * TILE + warp % 4 * 32;
  bool overflow = false;
  int row = 0;

#pragma unroll
  for (int r = 0; r < ROW_TILES; r++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int tile_row = row0 + r * 16 + half * 8 + lane / 4;
      const float factor = factors[tile_row] / activation_scale<EXACT> ();
      float v[COLUMN_TILES][2];
#pragma unroll
      for (int c = 0; c < COLUMN_TILES; c++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
          v[c][i] = sums.main[r][c][half * 2 + i];
          if (EXACT)
            v[c][i] += cross.main[r][c][half * 2 + i] * (1.0f / SPLIT);
          v[c][i] *= factor;
        }
      row = blockIdx.y * TILE + tile_row;
      overflow |= finish_row<EXACT, EPILOGUE> (a, row, column0, v);
    }
  /* A tile of 128 rows lies within one window. */
  if (overflow)
    a.overflow[a.slots[row / a.frames]] = 1;
}

template <bool EXACT, Mt3CudaEpilogue EPILOGUE>
static __global__ void __launch_bounds__ (THREADS, EXACT ? 1 : 2)
gemm_kernel (const Mt3CudaGemm a)
{
  extern __shared__ __align__ (16) __half stages[];
  __shared__ float factors[TILE];
  constexpr int n_stages = Pipeline<EXACT>::stages;
  constexpr int stage_size = Pipeline<EXACT>::planes * STAGE_HALVES;
  const int n_steps = a.k / TERMS;
  const int warp = threadIdx.x / 32;
  Sums sums = {}, cross = {};

  for (int s = 0; s < n_stages - 1 && s < n_steps; s++)
    copy_stage<EXACT> (a, stages + s * stage_size, s * TERMS);
  for (int row = warp; row < TILE; row += THREADS / 32) {
    const size_t at = (size_t) blockIdx.y * TILE + row;
    const float factor = a.squares
        ? norm_factor (a.squares + at * (a.k / 32), a.k / 32, a.k)
        : 1.0f;
    if (threadIdx.x % 32 == 0)
      factors[row] = factor;
  }
  for (int s = 0; s < n_steps; s++) {
    copy_wait<n_stages - 2> ();
    __syncthreads ();
    const int next = s + n_stages - 1;
    if (next < n_steps)
      copy_stage<EXACT> (
          a, stages + next % n_stages * stage_size, next * TERMS);
    else
      copy_commit ();
    multiply_stage<EXACT> (sums, cross, stages + s % n_stages * stage_size);
  }
  finish<EXACT, EPILOGUE> (a, sums, cross, factors);
}

template <bool EXACT, Mt3CudaEpilogue EPILOGUE>
static cudaError_t
launch_gemm (const Mt3CudaGemm &a, cudaStream_t stream)
{
  const dim3 grid (a.n / TILE, a.m / TILE);
  const size_t shared = Pipeline<EXACT>::bytes;
  const cudaError_t error =
      cudaFuncSetAttribute (gemm_kernel<EXACT, EPILOGUE>,
          cudaFuncAttributeMaxDynamicSharedMemorySize, (int) shared);

  if (error != cudaSuccess)
    return error;
  return launch_kernel (gemm_kernel<EXACT, EPILOGUE>, grid, dim3 (THREADS),
      shared, Mt3CudaLaunch{ stream, 0 }, a);
}

template <bool EXACT>
static cudaError_t
launch_precision (const Mt3CudaGemm &a, cudaStream_t stream)
{
  switch (a.epilogue) {
    case MT3_CUDA_ADD:
      return launch_gemm<EXACT, MT3_CUDA_ADD> (a, stream);
    case MT3_CUDA_STORE:
      return launch_gemm<EXACT, MT3_CUDA_STORE> (a, stream);
    case MT3_CUDA_GATED:
      return launch_gemm<EXACT, MT3_CUDA_GATED> (a, stream);
    case MT3_CUDA_CROSS_KV:
      return launch_gemm<EXACT, MT3_CUDA_CROSS_KV> (a, stream);
  }
  return cudaErrorInvalidValue;
}

cudaError_t
mt3_cuda_gemm (const Mt3CudaGemm *args, cudaStream_t stream)
{
  return args->w.lo ? launch_precision<true> (*args, stream)
                    : launch_precision<false> (*args, stream);
}
