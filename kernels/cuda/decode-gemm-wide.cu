/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * decode-gemm-wide.cu: the matrix products of a decode step of many rows, in
 * float16. The same bits as decode-gemm.cu makes: the same products in the
 * same order, but a warp sums all terms of its part of a tile itself, and the
 * operands come through shared memory, from where several warps read them.
 *
 * A block is small (128 threads, 128 registers each), so that it finds room
 * beside the attention of another lane.
 */
#include "decode-finish.cuh"

#define THREADS 128
#define CHUNKS (DECODE_SLICE / 8) /* of 16 bytes in one row of a slice */

/* A block's tile of results, which its four warps share two by two: each has
 * WARP_ROWS * 8 batch rows by WARP_COLUMNS * 16 results. @STAGES: slices under
 * way. */
template <int WARP_ROWS, int WARP_COLUMNS, int STAGES> struct Tile {
  static constexpr int warp_rows = WARP_ROWS, warp_columns = WARP_COLUMNS;
  static constexpr int stages = STAGES;
  static constexpr int rows = 2 * WARP_ROWS * 8;
  static constexpr int columns = 2 * WARP_COLUMNS * 16;
  static constexpr int stride = columns + 4; /* floats; no bank conflicts */
  static constexpr int x_chunks = rows * CHUNKS;
  static constexpr int w_chunks = columns * CHUNKS;
  static constexpr int pairs = rows * columns / 2;
};

/* What a block has in shared memory. */
template <typename T, Mt3CudaDecodeEpilogue EPILOGUE> struct Shared {
  union {
    uint4 stages[T::stages][T::x_chunks + T::w_chunks]; /* x, then w */
    float results[T::rows * T::stride];
  };
  /* What the results are added to. */
  float before[EPILOGUE == MT3_CUDA_DECODE_ADD ? T::rows * T::stride : 4];
  RowInfo<T::rows / 8> info;
};

/* Where chunk `chunk` of row `row` of a slice lies: two neighbouring rows,
 * which a quarter of a warp reads together, in different banks. */
static __device__ __forceinline__ int
x_chunk (int row, int chunk)
{
  return row * CHUNKS + (chunk ^ (row % 2 * (CHUNKS / 2)));
}

/* The number of the slice that is multiplied as `i`-th: one part after the
 * other. */
static __device__ __forceinline__ int
slice_number (int i, int parts, int in_part)
{
  return i / in_part + i % in_part * parts;
}

template <typename T>
static __device__ __forceinline__ void
copy_x (const Mt3CudaDecodeGemm &a, uint4 *to, int slice)
{
  const int row0 = blockIdx.y * T::rows;
#pragma unroll
  for (int i = 0; i < T::x_chunks / THREADS; i++) {
    const int row = (threadIdx.x + i * THREADS) / CHUNKS;
    const int chunk = threadIdx.x % CHUNKS;
    copy16 (to + x_chunk (row, chunk), static_cast<const __half *> (a.a.hi) +
                                           (size_t) (row0 + row) * a.k +
                                           slice * DECODE_SLICE + chunk * 8);
  }
}

template <typename T>
static __device__ __forceinline__ void
copy_w (const Mt3CudaDecodeGemm &a, uint4 *to, int slice)
{
  constexpr int unit = 16 * CHUNKS; /* chunks of 16 columns */
#pragma unroll
  for (int i = 0; i < T::w_chunks / THREADS; i++) {
    const int at = threadIdx.x + i * THREADS;
    copy16 (to + T::x_chunks + at,
        static_cast<const uint4 *> (a.w.hi) +
            panel_chunk (a.k, blockIdx.x * (T::columns / 16) + at / unit,
                slice * (DECODE_SLICE / 32), 0, 0) +
            at % unit);
  }
}

/* ADD: what is there already. */
template <typename T>
static __device__ __forceinline__ void
copy_before (const Mt3CudaDecodeGemm &a, float *to)
{
  constexpr int quads = T::columns / 4; /* of a row */
#pragma unroll
  for (int i = 0; i < T::rows * quads / THREADS; i++) {
    const int e = threadIdx.x + i * THREADS;
    const int row = e / quads, column = e % quads * 4;
    const int at = blockIdx.x * T::columns + column;
    const size_t from_row = blockIdx.y * T::rows + row;
    copy16 (to + row * T::stride + column,
        at >= a.x_width ? a.cross_query + from_row * a.inner + at - a.x_width
                        : a.x + from_row * a.x_width + at);
  }
}

template <typename T> struct Sums {
  float v[T::warp_rows][T::warp_columns][4];
};

/* Adds the 64 terms of a stage. */
template <typename T>
static __device__ __forceinline__ void
multiply_stage (Sums<T> &sums, const uint4 *stage)
{
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int row0 = warp / 2 * T::warp_rows * 8;
  const uint4 *w =
      stage + T::x_chunks + warp % 2 * T::warp_columns * 16 * CHUNKS + lane;

#pragma unroll
  for (int s = 0; s < DECODE_SLICE / 32; s++) {
    uint4 panel[T::warp_columns][2];
#pragma unroll
    for (int c = 0; c < T::warp_columns; c++)
#pragma unroll
      for (int h = 0; h < 2; h++)
        panel[c][h] = w[((c * 2 + s) * 2 + h) * 32];
    uint4 x[T::warp_rows];
#pragma unroll
    for (int r = 0; r < T::warp_rows; r++)
      x[r] = stage[x_chunk (row0 + r * 8 + lane / 4, s * 4 + lane % 4)];
      /* Products that follow each other should not wait for each other. */
#pragma unroll
    for (int r = 0; r < T::warp_rows; r++)
#pragma unroll
      for (int c = 0; c < T::warp_columns; c++)
        mma (sums.v[r][c], panel[c][0].x, panel[c][1].x, panel[c][0].y,
            panel[c][1].y, x[r].x, x[r].y);
#pragma unroll
    for (int r = 0; r < T::warp_rows; r++)
#pragma unroll
      for (int c = 0; c < T::warp_columns; c++)
        mma (sums.v[r][c], panel[c][0].z, panel[c][1].z, panel[c][0].w,
            panel[c][1].w, x[r].z, x[r].w);
  }
}

/* Total += sums, and sums = 0. */
template <typename T>
static __device__ __forceinline__ void
add_part (Sums<T> &total, Sums<T> &sums)
{
#pragma unroll
  for (int r = 0; r < T::warp_rows; r++)
#pragma unroll
    for (int c = 0; c < T::warp_columns; c++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        total.v[r][c][i] = __fadd_rn (total.v[r][c][i], sums.v[r][c][i]);
        sums.v[r][c][i] = 0.0f;
      }
}

/* All slices, one part after the other. @total: the sum of the parts. */
template <typename T, Mt3CudaDecodeEpilogue EPILOGUE>
static __device__ __forceinline__ void
multiply_slices (const Mt3CudaDecodeGemm &a, Shared<T, EPILOGUE> &shared,
    int parts, Sums<T> &total)
{
  const int n = a.k / DECODE_SLICE, in_part = n / parts;
  Sums<T> sums = {};

#pragma unroll 1
  for (int i = 0; i < n; i++) {
    copy_wait<T::stages - 2> ();
    __syncthreads ();
    const int next = i + T::stages - 1;
    if (next < n) {
      const int slice = slice_number (next, parts, in_part);
      copy_x<T> (a, shared.stages[next % T::stages], slice);
      copy_w<T> (a, shared.stages[next % T::stages], slice);
    }
    copy_commit ();
    multiply_stage<T> (sums, shared.stages[i % T::stages]);
    if ((i + 1) % in_part == 0)
      add_part (total, sums);
  }
}

/* Leaves the results in shared memory, [row][column]. */
template <typename T>
static __device__ __forceinline__ void
store_results (float *results, const Sums<T> &total)
{
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int row0 = warp / 2 * T::warp_rows * 8 + lane % 4 * 2;
  const int column0 = warp % 2 * T::warp_columns * 16 + lane / 4;

#pragma unroll
  for (int r = 0; r < T::warp_rows; r++)
#pragma unroll
    for (int c = 0; c < T::warp_columns; c++)
#pragma unroll
      for (int j = 0; j < 4; j++)
        results[(row0 + r * 8 + j % 2) * T::stride + column0 + c * 16 +
                j / 2 * 8] = total.v[r][c][j];
}

/* The norm's factor of each row, by eight lanes, and where its keys go. */
template <Mt3CudaDecodeEpilogue EPILOGUE, typename T>
static __device__ __forceinline__ void
load_info (const Mt3CudaDecodeGemm &a, RowInfo<T::rows / 8> &info)
{
  /* Columns of the cross query are not normalised here. */
  const bool normalised =
      a.squares != nullptr && (EPILOGUE != MT3_CUDA_DECODE_QKV ||
                                  (int) blockIdx.x * T::columns < 3 * a.inner);
  const int row0 = blockIdx.y * T::rows;

#pragma unroll
  for (int row = threadIdx.x / 8; row < T::rows; row += THREADS / 8) {
    float factor = 1.0f;
    if (normalised)
      factor = norm_factor (
          load_squares (
              a.squares + (size_t) (row0 + row) * (a.k / 16), a.k / 16),
          a.k);
    if (threadIdx.x % 8 == 0)
      info.factor[row] = factor / activation_scale<false> ();
  }
  if (EPILOGUE == MT3_CUDA_DECODE_QKV && threadIdx.x < T::rows) {
    const Mt3CudaRow *r = a.rows + row0 + threadIdx.x;
    const int remaining = __ldcg (&r->remaining);
    const int slot = __ldcg (&r->slot);
    info.position[threadIdx.x] = __ldcg (&r->position);
    info.slot[threadIdx.x] =
        row0 + (int) threadIdx.x < a.n_rows && remaining > 0 ? slot : -1;
  }
}

template <typename T, Mt3CudaDecodeEpilogue EPILOGUE>
static __device__ __forceinline__ void
finish_tile (const Mt3CudaDecodeGemm &a, const Shared<T, EPILOGUE> &shared)
{
  const int row0 = blockIdx.y * T::rows, column0 = blockIdx.x * T::columns;

#pragma unroll 4
  for (int i = 0; i < T::pairs / THREADS; i++) {
    const int e = threadIdx.x + i * THREADS;
    const int r = e / (T::columns / 2), column = e % (T::columns / 2) * 2;
    const float2 v = *reinterpret_cast<const float2 *> (
        shared.results + r * T::stride + column);
    float2 before = make_float2 (0.0f, 0.0f);
    if (EPILOGUE == MT3_CUDA_DECODE_ADD)
      before = *reinterpret_cast<const float2 *> (
          shared.before + r * T::stride + column);
    const float factor = shared.info.factor[r];
    if (finish_pair<false, EPILOGUE> (a, row0 + r, column0 + column,
            __fmul_rn (v.x, factor), __fmul_rn (v.y, factor), before,
            shared.info.slot[r], shared.info.position[r]))
      a.rows[row0 + r].overflow = 1;
  }
}

template <Mt3CudaDecodeEpilogue EPILOGUE, typename T>
static __global__ void
__launch_bounds__ (THREADS, 4)
    decode_gemm_wide_kernel (const Mt3CudaDecodeGemm a, int parts)
{
  extern __shared__ __align__ (16) char memory[];
  Shared<T, EPILOGUE> &shared =
      *reinterpret_cast<Shared<T, EPILOGUE> *> (memory);
  const int n = a.k / DECODE_SLICE, in_part = n / parts;
  Sums<T> total = {};

  /* Where it is safe, as in decode-gemm.cu. */
  if (a.cross_query == nullptr)
    dependent_launch ();
#pragma unroll
  for (int i = 0; i < T::stages - 1; i++)
    if (i < n)
      copy_w<T> (a, shared.stages[i], slice_number (i, parts, in_part));
  dependent_wait ();
  if (a.cross_query != nullptr)
    dependent_launch ();
#pragma unroll
  for (int i = 0; i < T::stages - 1; i++) {
    if (i < n)
      copy_x<T> (a, shared.stages[i], slice_number (i, parts, in_part));
    if (EPILOGUE == MT3_CUDA_DECODE_ADD && i == T::stages - 2)
      copy_before<T> (a, shared.before);
    copy_commit ();
  }
  load_info<EPILOGUE, T> (a, shared.info);
  multiply_slices (a, shared, parts, total);
  copy_wait<0> ();
  __syncthreads ();
  store_results<T> (shared.results, total);
  __syncthreads ();
  finish_tile (a, shared);
}

template <Mt3CudaDecodeEpilogue EPILOGUE, typename T>
static cudaError_t
launch_tile (const Mt3CudaDecodeGemm &a, Mt3CudaLaunch launch)
{
  const dim3 grid (a.n / T::columns, (a.n_rows + T::rows - 1) / T::rows);
  const size_t shared = sizeof (Shared<T, EPILOGUE>);
  const cudaError_t error =
      cudaFuncSetAttribute (decode_gemm_wide_kernel<EPILOGUE, T>,
          cudaFuncAttributeMaxDynamicSharedMemorySize, (int) shared);

  if (error != cudaSuccess)
    return error;
  return launch_kernel (decode_gemm_wide_kernel<EPILOGUE, T>, grid,
      dim3 (THREADS), shared, launch, a, decode_parts (a.k));
}

/* The largest tile whose blocks are about as many as multiprocessors. */
static int
choose_tile (const Mt3CudaDecodeGemm &a)
{
  const int enough = 96;
  const int largest = (a.n_rows + 63) / 64 * (a.n / 64);

  return largest >= enough ? 3 : 2 * largest >= enough ? 2 : 1;
}

template <Mt3CudaDecodeEpilogue EPILOGUE>
static cudaError_t
launch_epilogue (const Mt3CudaDecodeGemm &a, int tile, Mt3CudaLaunch launch)
{
  switch (tile >= 1 ? tile : choose_tile (a)) {
    case 1:
      return launch_tile<EPILOGUE, Tile<2, 1, 6>> (a, launch);
    case 2:
      return launch_tile<EPILOGUE, Tile<4, 1, 4>> (a, launch);
    default:
      return launch_tile<EPILOGUE, Tile<4, 2, 3>> (a, launch);
  }
}

cudaError_t
decode_gemm_wide (const Mt3CudaDecodeGemm &a, int tile, Mt3CudaLaunch launch)
{
  switch (a.epilogue) {
    case MT3_CUDA_DECODE_ADD:
      return launch_epilogue<MT3_CUDA_DECODE_ADD> (a, tile, launch);
    case MT3_CUDA_DECODE_QKV:
      return launch_epilogue<MT3_CUDA_DECODE_QKV> (a, tile, launch);
    case MT3_CUDA_DECODE_GATED:
      return launch_epilogue<MT3_CUDA_DECODE_GATED> (a, tile, launch);
    case MT3_CUDA_DECODE_STORE:
      return launch_epilogue<MT3_CUDA_DECODE_STORE> (a, tile, launch);
  }
  return cudaErrorInvalidValue;
}
