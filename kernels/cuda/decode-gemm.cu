/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * decode-gemm.cu: the matrix products of a decode step, where a few rows meet
 * all weights and latency is everything.
 *
 * The weights are the tensor cores' 16-row operand and the batch their 8
 * columns. The warps of a block share the terms of k, 64 each at a time, and
 * meet in shared memory once. Operands go from global memory to registers in
 * 16-byte loads that lie as the tensor cores want them: within 32 terms, lane
 * l takes terms 8 (l % 4) .. + 7 of weight rows l / 4 and l / 4 + 8 and of
 * batch row l / 4, which is a permutation of the terms that both operands
 * share. So there is no shared memory on the way in, and the weights of a
 * block are in registers before the kernel before has finished.
 */
#include "decode-finish.cuh"

#define MAX_WARPS 8
#define MIN_WARPS 6 /* that finish results, whatever k leaves to multiply */
#define SLICE DECODE_SLICE /* terms of one warp at a time */
#define NARROW_TILES (MT3_CUDA_DECODE_TILES - DECODE_HOPPER_TILES)

/* The terms of a product are shared into parts: slice i is of part i modulo
 * their number. The sums of the parts meet in the order of their numbers. */
static int
decode_parts (int k)
{
  int n = MAX_WARPS;

  while (k / DECODE_SLICE % n != 0)
    n--;
  return n;
}

/* The tile of a block: ROWS * 8 batch rows by COLUMNS * 16 results, summed
 * over the warps PASS * 8 rows at a time. */
template <int ROWS, int COLUMNS> struct Tile {
  static constexpr int pass = ROWS < 4 ? ROWS : 4;
  static constexpr int stride = COLUMNS * 16 + 4; /* no bank conflicts */
  static constexpr int pairs = pass * 8 * COLUMNS * 8;
  static constexpr int pairs_a_thread =
      (pairs + MIN_WARPS * 32 - 1) / (MIN_WARPS * 32);
};

/* Blocks that a multiprocessor should have room for: those of this kernel, of
 * the next one that waits, and of other streams. */
static constexpr int
blocks_wanted (bool exact, int rows, int columns, int ahead)
{
  const int registers = (exact ? 2 : 1) * rows * columns + ahead - 1;

  return registers <= 1 ? 4 : registers <= 2 ? 3 : registers <= 4 ? 2 : 1;
}

template <int COLUMNS, int PLANES> struct Weights {
  uint4 v[PLANES][COLUMNS][2][2]; /* 32 terms, row + 8 */
};

template <bool EXACT, int COLUMNS>
static __device__ __forceinline__ void
load_weights (
    Weights<COLUMNS, EXACT ? 2 : 1> &w, const Mt3CudaDecodeGemm &a, int k0)
{
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int c = 0; c < COLUMNS; c++)
#pragma unroll
    for (int s = 0; s < 2; s++)
#pragma unroll
      for (int h = 0; h < 2; h++) {
        const size_t i =
            panel_chunk (a.k, blockIdx.x * COLUMNS + c, k0 / 32 + s, h, lane);
        w.v[0][c][s][h] = __ldg (static_cast<const uint4 *> (a.w.hi) + i);
        if (EXACT)
          w.v[EXACT][c][s][h] = __ldg (static_cast<const uint4 *> (a.w.lo) + i);
      }
}

static __device__ __forceinline__ void
multiply32 (float (&d)[4], const uint4 (&w)[2], const uint4 &x)
{
  mma (d, w[0].x, w[1].x, w[0].y, w[1].y, x.x, x.y);
  mma (d, w[0].z, w[1].z, w[0].w, w[1].w, x.z, x.w);
}

/* 64 terms of the batch. */
template <int ROWS, int PLANES> struct Inputs {
  uint4 v[PLANES][ROWS][2]; /* 32 terms */
};

/* @first: of the lane, in the first of the block's rows
 * @n_left: rows of the batch from there on; what lies beyond is 0, since all
 *   blocks would ask the same places of the L2 cache for it */
template <bool EXACT, int ROWS>
static __device__ __forceinline__ void
load_inputs (Inputs<ROWS, EXACT ? 2 : 1> &x, const Mt3CudaPlanes &first,
    int n_left, int k, int k0)
{
#pragma unroll
  for (int r = 0; r < ROWS; r++)
#pragma unroll
    for (int s = 0; s < 2; s++) {
      const size_t i = (size_t) r * 8 * k + k0 + s * 32;
      x.v[0][r][s] = x.v[EXACT][r][s] = make_uint4 (0, 0, 0, 0);
      if (r * 8 >= n_left)
        continue;
      x.v[0][r][s] = __ldcg (reinterpret_cast<const uint4 *> (
          static_cast<const __half *> (first.hi) + i));
      if (EXACT)
        x.v[EXACT][r][s] = __ldcg (reinterpret_cast<const uint4 *> (
            static_cast<const __half *> (first.lo) + i));
    }
}

template <bool EXACT, int ROWS, int COLUMNS> struct Sums {
  float main[ROWS][COLUMNS][4];
  float cross[EXACT ? ROWS : 1][EXACT ? COLUMNS : 1][4];
};

/* Adds 64 terms. */
template <bool EXACT, int ROWS, int COLUMNS>
static __device__ __forceinline__ void
multiply_slice (Sums<EXACT, ROWS, COLUMNS> &sums,
    const Weights<COLUMNS, EXACT ? 2 : 1> &w,
    const Inputs<ROWS, EXACT ? 2 : 1> &x)
{
#pragma unroll
  for (int s = 0; s < 2; s++)
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
      for (int c = 0; c < COLUMNS; c++) {
        multiply32 (sums.main[r][c], w.v[0][c][s], x.v[0][r][s]);
        if constexpr (EXACT) {
          multiply32 (sums.cross[r][c], w.v[1][c][s], x.v[0][r][s]);
          multiply32 (sums.cross[r][c], w.v[0][c][s], x.v[1][r][s]);
        }
      }
}

/* Leaves the warp's sums of one pass in shared memory, [row][column]. */
template <bool EXACT, int ROWS, int COLUMNS>
static __device__ __forceinline__ void
store_sums (float *shared, const Sums<EXACT, ROWS, COLUMNS> &sums, int first)
{
  using T = Tile<ROWS, COLUMNS>;
  const int lane = threadIdx.x % 32;
  float *part = shared + threadIdx.x / 32 * T::pass * 8 * T::stride;

#pragma unroll
  for (int r = 0; r < T::pass; r++)
#pragma unroll
    for (int c = 0; c < COLUMNS; c++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        float v = sums.main[first + r][c][i];
        if constexpr (EXACT)
          v += sums.cross[first + r][c][i] * (1.0f / SPLIT);
        part[(r * 8 + lane % 4 * 2 + i % 2) * T::stride + c * 16 + i / 2 * 8 +
             lane / 4] = v;
      }
}

/* ------------------------------------------------------------ results */

/* What the thread's pairs of a pass, that of `row0`, are added to (ADD). */
template <Mt3CudaDecodeEpilogue EPILOGUE, int ROWS, int COLUMNS>
static __device__ __forceinline__ void
load_before (float2 (&before)[Tile<ROWS, COLUMNS>::pairs_a_thread],
    const Mt3CudaDecodeGemm &a, int row0)
{
  using T = Tile<ROWS, COLUMNS>;
#pragma unroll
  for (int i = 0; i < T::pairs_a_thread; i++) {
    const int e = threadIdx.x + i * blockDim.x;
    const int row = row0 + e / (COLUMNS * 8);
    const int column = blockIdx.x * COLUMNS * 16 + e % (COLUMNS * 8) * 2;
    if (EPILOGUE == MT3_CUDA_DECODE_ADD && e < T::pairs && row < a.n_rows)
      before[i] = column >= a.x_width
                      ? __ldcg (cross_query (a, row, column - a.x_width))
                      : __ldcg (reinterpret_cast<const float2 *> (
                            a.x + (size_t) row * a.x_width + column));
  }
}

/* What a block knows of its rows, on the way to its shared memory. Eight
 * threads take the norm's factor of a row, and rows by turns. */
template <int ROWS> struct RowLoads {
  static constexpr int turns = (ROWS * 8 + MIN_WARPS * 4 - 1) / (MIN_WARPS * 4);
  SquaresShare squares[turns];
  int place, remaining, slot, position;

  __device__ __forceinline__ void
  load_factors (const float *squares_of_group, int n_partial, int n_rows)
  {
#pragma unroll
    for (int i = 0; i < turns; i++)
      if (threadIdx.x / 8 + i * (blockDim.x / 8) < n_rows)
        squares[i] = load_squares (
            squares_of_group + i * (blockDim.x / 8) * n_partial, n_partial);
  }

  __device__ __forceinline__ void
  load_place (const Mt3CudaDecodeGemm &a, int number)
  {
    const Mt3CudaRow *row = a.rows + number / a.places;

    place = number % a.places;
    remaining = __ldcg (&row->remaining);
    slot = __ldcg (&row->slot);
    position = __ldcg (&row->position);
  }

  /* @squares_of_group: NULL without a norm */
  __device__ __forceinline__ void
  store_factors (RowInfo<ROWS> &info, const float *squares_of_group,
      int n_partial, float inverse_width, float scale) const
  {
#pragma unroll
    for (int i = 0; i < turns; i++) {
      const int row = threadIdx.x / 8 + i * (blockDim.x / 8);
      if (row >= ROWS * 8)
        break;
      float factor = 1.0f;
      if (squares_of_group != nullptr)
        factor = norm_factor (
            sum_squares (squares[i],
                squares_of_group + i * (blockDim.x / 8) * n_partial, n_partial),
            inverse_width);
      if (threadIdx.x % 8 == 0)
        info.factor[row] = factor / scale;
    }
  }

  __device__ __forceinline__ void
  store_place (RowInfo<ROWS> &info, bool exists) const
  {
    info.position[threadIdx.x] = position + place;
    info.slot[threadIdx.x] = exists && remaining > place ? slot : -1;
  }
};

/* Two neighbouring sums over all parts, in the order of their numbers.
 * @part: of the first */
template <typename T>
static __device__ __forceinline__ float2
sum_parts (const float *part, int n_parts)
{
  float2 v[MAX_WARPS], sum = make_float2 (0.0f, 0.0f);

#pragma unroll
  for (int p = 0; p < MAX_WARPS; p++) {
    v[p] = make_float2 (0.0f, 0.0f);
    if (p < n_parts)
      v[p] = *reinterpret_cast<const float2 *> (
          part + p * T::pass * 8 * T::stride);
  }
#pragma unroll
  for (int p = 0; p < MAX_WARPS; p++) {
    sum.x += v[p].x;
    sum.y += v[p].y;
  }
  return sum;
}

/* All that other kernels made is asked for at once after the wait, and used
 * only then: one way to the L2 cache takes as long as the product.
 * @AHEAD: slices of a warp that are asked for at once
 * @n_warps: those that share k; all of the block finish results
 * @inverse_k: 1 / k
 * @early: see Mt3CudaLaunch */
template <bool EXACT, Mt3CudaDecodeEpilogue EPILOGUE, int ROWS, int COLUMNS,
    int AHEAD>
static __global__ void
__launch_bounds__ (MAX_WARPS * 32, blocks_wanted (EXACT, ROWS, COLUMNS, AHEAD))
    decode_gemm_kernel (
        const Mt3CudaDecodeGemm a, int n_warps, float inverse_k, bool early)
{
  using T = Tile<ROWS, COLUMNS>;
  __shared__ float shared[MAX_WARPS * T::pass * 8 * T::stride];
  __shared__ RowInfo<ROWS> info;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int row0 = blockIdx.y * ROWS * 8, column0 = blockIdx.x * COLUMNS * 16;
  const int n_partial = a.k / MT3_CUDA_DECODE_SQUARES;
  const int n_slices =
      warp < n_warps ? (a.k / SLICE - warp + n_warps - 1) / n_warps : 0;
  Weights<COLUMNS, EXACT ? 2 : 1> w[AHEAD];
  Inputs<ROWS, EXACT ? 2 : 1> x[AHEAD];
  Sums<EXACT, ROWS, COLUMNS> sums = {};
  float2 before[T::pairs_a_thread];
  RowLoads<ROWS> loads;

  if (early)
    dependent_launch ();
#pragma unroll
  for (int i = 0; i < AHEAD; i++)
    if (i < n_slices)
      load_weights<EXACT> (w[i], a, (warp + i * n_warps) * SLICE);
  const size_t first = (size_t) (row0 + lane / 4) * a.k + lane % 4 * 8;
  const int n_left = a.n_rows - row0 - lane / 4;
  Mt3CudaPlanes inputs = {};
  inputs.hi = static_cast<__half *> (a.a.hi) + first;
  compute_now (inputs.hi);
  if (EXACT) {
    inputs.lo = static_cast<__half *> (a.a.lo) + first;
    compute_now (inputs.lo);
  }
  /* Columns of the cross query are not normalised here. */
  const float *squares = nullptr;
  if (a.squares != nullptr &&
      (EPILOGUE != MT3_CUDA_DECODE_QKV || column0 < 3 * a.inner))
    squares = a.squares + (size_t) (row0 + threadIdx.x / 8) * n_partial;
  compute_now (squares);
  dependent_wait ();
#pragma unroll
  for (int i = 0; i < AHEAD; i++)
    if (i < n_slices)
      load_inputs<EXACT> (
          x[i], inputs, n_left, a.k, (warp + i * n_warps) * SLICE);
  if (squares != nullptr)
    loads.load_factors (squares, n_partial, min (ROWS * 8, a.n_rows - row0));
  load_before<EPILOGUE, ROWS, COLUMNS> (before, a, row0);
  if (EPILOGUE == MT3_CUDA_DECODE_QKV && threadIdx.x < ROWS * 8)
    loads.load_place (a, row0 + threadIdx.x);
  if (!early)
    dependent_launch ();

  if (n_slices > 0)
    multiply_slice (sums, w[0], x[0]);
#pragma unroll 1
  for (int i = 1; i < n_slices; i++) {
    const int k0 = (warp + i * n_warps) * SLICE;
    if (i >= AHEAD) {
      load_inputs<EXACT> (x[AHEAD - 1], inputs, n_left, a.k, k0);
      load_weights<EXACT> (w[AHEAD - 1], a, k0);
    }
    multiply_slice (sums, w[AHEAD - 1], x[AHEAD - 1]);
  }
  loads.store_factors (
      info, squares, n_partial, inverse_k, activation_scale<EXACT> ());
  if (EPILOGUE == MT3_CUDA_DECODE_QKV && threadIdx.x < ROWS * 8)
    loads.store_place (info, row0 + (int) threadIdx.x < a.n_rows);

#pragma unroll
  for (int pass = 0; pass < ROWS; pass += T::pass) {
    if (pass > 0) {
      load_before<EPILOGUE, ROWS, COLUMNS> (before, a, row0 + pass * 8);
      __syncthreads ();
    }
    if (n_slices > 0)
      store_sums (shared, sums, pass);
    __syncthreads ();
#pragma unroll
    for (int i = 0; i < T::pairs_a_thread; i++) {
      const int e = threadIdx.x + i * blockDim.x;
      if (e >= T::pairs)
        break;
      const int r = e / (COLUMNS * 8), column = e % (COLUMNS * 8) * 2;
      const float2 v = sum_parts<T> (shared + r * T::stride + column, n_warps);
      const float factor = info.factor[pass * 8 + r];
      const int row = row0 + pass * 8 + r;
      if (finish_pair<EXACT, EPILOGUE> (a, row, column0 + column,
              __fmul_rn (v.x, factor), __fmul_rn (v.y, factor), before[i],
              info.slot[pass * 8 + r], info.position[pass * 8 + r]))
        flag_overflow (a, row);
    }
  }
}

template <bool EXACT, Mt3CudaDecodeEpilogue EPILOGUE, int ROWS, int COLUMNS>
static cudaError_t
launch_tile (const Mt3CudaDecodeGemm &a, Mt3CudaLaunch launch)
{
  const dim3 grid (
      a.n / (16 * COLUMNS), (a.n_rows + ROWS * 8 - 1) / (ROWS * 8));
  const int n_warps = decode_parts (a.k);
  const dim3 block (32 * (n_warps > MIN_WARPS ? n_warps : MIN_WARPS));
  /* Only the products that add can have many more terms than a row. A slice of
   * `exact` has twice the registers: with 16 rows two gain nothing. */
  constexpr int most =
      EPILOGUE == MT3_CUDA_DECODE_ADD && ROWS <= (EXACT ? 1 : 2) && COLUMNS == 1
          ? 2
          : 1;

  return launch_kernel (
      a.k > n_warps * SLICE
          ? decode_gemm_kernel<EXACT, EPILOGUE, ROWS, COLUMNS, most>
          : decode_gemm_kernel<EXACT, EPILOGUE, ROWS, COLUMNS, 1>,
      grid, block, 0, divided_for_few_rows (launch), a, n_warps, 1.0f / a.k,
      launch.early != 0);
}

/* Results are the same bits with all tiles. Of up to 16 rows one that has them
 * all, with more columns where that leaves many blocks, for they all ask the
 * same places of the L2 cache for the rows. Of more the smallest whose blocks
 * find a multiprocessor each, or the largest: it reads operands least often. */
static int
choose_tile (const Mt3CudaDecodeGemm &a)
{
  static const int rows[] = {16, 32, 32};
  static const int columns[] = {16, 16, 32};
  static const int tiles[] = {2, 4, 5};
  const int at_once = 132;

  if (a.tile > 0)
    return a.tile;
  if (a.n_rows <= 8)
    return 1;
  if (a.n_rows <= 16)
    return a.n >= 1024 ? 3 : 2;
  for (int i = 0; i < 3; i++)
    if ((a.n_rows + rows[i] - 1) / rows[i] * (a.n / columns[i]) <= at_once)
      return tiles[i];
  return 6;
}

template <bool EXACT, Mt3CudaDecodeEpilogue EPILOGUE>
static cudaError_t
launch_epilogue (const Mt3CudaDecodeGemm &a, Mt3CudaLaunch launch)
{
  switch (choose_tile (a)) {
    case 1:
      return launch_tile<EXACT, EPILOGUE, 1, 1> (a, launch);
    case 2:
      return launch_tile<EXACT, EPILOGUE, 2, 1> (a, launch);
    case 3:
      return launch_tile<EXACT, EPILOGUE, 2, 2> (a, launch);
    case 4:
      return launch_tile<EXACT, EPILOGUE, 4, 1> (a, launch);
    case 5:
      return launch_tile<EXACT, EPILOGUE, 4, 2> (a, launch);
    default:
      if constexpr (EXACT)
        return launch_tile<EXACT, EPILOGUE, 4, 2> (a, launch);
      else
        return launch_tile<EXACT, EPILOGUE, 8, 2> (a, launch);
  }
}

template <bool EXACT>
static cudaError_t
launch_precision (const Mt3CudaDecodeGemm &a, Mt3CudaLaunch launch)
{
  switch (a.epilogue) {
    case MT3_CUDA_DECODE_ADD:
      return launch_epilogue<EXACT, MT3_CUDA_DECODE_ADD> (a, launch);
    case MT3_CUDA_DECODE_QKV:
      return launch_epilogue<EXACT, MT3_CUDA_DECODE_QKV> (a, launch);
    case MT3_CUDA_DECODE_GATED:
      return launch_epilogue<EXACT, MT3_CUDA_DECODE_GATED> (a, launch);
    case MT3_CUDA_DECODE_STORE:
      return launch_epilogue<EXACT, MT3_CUDA_DECODE_STORE> (a, launch);
  }
  return cudaErrorInvalidValue;
}

Mt3CudaLayout
mt3_cuda_decode_layout (int split)
{
  return !split && hopper_processors () > 0 ? MT3_CUDA_ROW_MAJOR
                                            : MT3_CUDA_PANELS;
}

cudaError_t
mt3_cuda_decode_gemm (const Mt3CudaDecodeGemm *args, Mt3CudaLaunch launch)
{
  const int split = args->w.lo != NULL;
  const int tile = args->tile - NARROW_TILES;

  if (args->tile > 0 ? tile > 0
                     : mt3_cuda_decode_layout (split) == MT3_CUDA_ROW_MAJOR)
    return decode_gemm_hopper (*args, tile, launch);
  return split ? launch_precision<true> (*args, launch)
               : launch_precision<false> (*args, launch);
}
