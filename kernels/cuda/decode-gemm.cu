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

#define MAX_WARPS DECODE_PARTS
#define MIN_WARPS 6 /* that finish results, whatever k leaves to multiply */
#define SLICE DECODE_SLICE /* terms of one warp at a time */
#define NARROW_TILES (MT3_CUDA_DECODE_TILES - DECODE_HOPPER_TILES)

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
blocks_wanted (bool exact, int rows, int columns)
{
  const int registers = (exact ? 2 : 1) * rows * columns;

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

template <bool EXACT, int ROWS, int COLUMNS> struct Sums {
  float main[ROWS][COLUMNS][4];
  float cross[EXACT ? ROWS : 1][EXACT ? COLUMNS : 1][4];
};

/* Adds 64 terms from k0 on. */
template <bool EXACT, int ROWS, int COLUMNS>
static __device__ __forceinline__ void
multiply_slice (Sums<EXACT, ROWS, COLUMNS> &sums,
    const Weights<COLUMNS, EXACT ? 2 : 1> &w, const Mt3CudaDecodeGemm &a,
    int row0, int k0)
{
  const int lane = threadIdx.x % 32;
  uint4 x[EXACT ? 2 : 1][ROWS][2];

#pragma unroll
  for (int r = 0; r < ROWS; r++)
#pragma unroll
    for (int s = 0; s < 2; s++) {
      const size_t i =
          (size_t) (row0 + r * 8 + lane / 4) * a.k + k0 + s * 32 + lane % 4 * 8;
      x[0][r][s] = __ldcg (reinterpret_cast<const uint4 *> (
          static_cast<const __half *> (a.a.hi) + i));
      if (EXACT)
        x[EXACT][r][s] = __ldcg (reinterpret_cast<const uint4 *> (
            static_cast<const __half *> (a.a.lo) + i));
    }
#pragma unroll
  for (int s = 0; s < 2; s++)
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
      for (int c = 0; c < COLUMNS; c++) {
        multiply32 (sums.main[r][c], w.v[0][c][s], x[0][r][s]);
        if constexpr (EXACT) {
          multiply32 (sums.cross[r][c], w.v[1][c][s], x[0][r][s]);
          multiply32 (sums.cross[r][c], w.v[0][c][s], x[1][r][s]);
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
    if (EPILOGUE == MT3_CUDA_DECODE_ADD && e < T::pairs)
      before[i] = column >= a.x_width
                      ? __ldcg (cross_query (a, row, column - a.x_width))
                      : __ldcg (reinterpret_cast<const float2 *> (
                            a.x + (size_t) row * a.x_width + column));
  }
}

/* @n_warps: those that share k; all of the block finish results. */
template <bool EXACT, Mt3CudaDecodeEpilogue EPILOGUE, int ROWS, int COLUMNS>
static __global__ void
__launch_bounds__ (MAX_WARPS * 32, blocks_wanted (EXACT, ROWS, COLUMNS))
    decode_gemm_kernel (const Mt3CudaDecodeGemm a, int n_warps)
{
  using T = Tile<ROWS, COLUMNS>;
  __shared__ float shared[MAX_WARPS * T::pass * 8 * T::stride];
  __shared__ RowInfo<ROWS> info;
  const int warp = threadIdx.x / 32;
  const bool multiplies = warp < n_warps;
  const int row0 = blockIdx.y * ROWS * 8, column0 = blockIdx.x * COLUMNS * 16;
  Weights<COLUMNS, EXACT ? 2 : 1> w;
  Sums<EXACT, ROWS, COLUMNS> sums = {};
  float2 before[T::pairs_a_thread];

  /* The kernels behind those that make a query are attention, which reads the
   * caches ahead. */
  if (a.cross_query == nullptr)
    dependent_launch ();
  if (multiplies)
    load_weights<EXACT> (w, a, warp * SLICE);
  dependent_wait ();
  if (a.cross_query != nullptr)
    dependent_launch ();

  load_before<EPILOGUE, ROWS, COLUMNS> (before, a, row0);
  if (EPILOGUE == MT3_CUDA_DECODE_QKV && threadIdx.x < ROWS * 8) {
    const Mt3CudaRow *r = a.rows + row0 + threadIdx.x;
    const int remaining = __ldcg (&r->remaining);
    const int slot = __ldcg (&r->slot);
    info.position[threadIdx.x] = __ldcg (&r->position);
    info.slot[threadIdx.x] =
        row0 + threadIdx.x < a.n_rows && remaining > 0 ? slot : -1;
  }
  /* Columns of the cross query are not normalised here. */
  const bool normalised =
      a.squares && (EPILOGUE != MT3_CUDA_DECODE_QKV || column0 < 3 * a.inner);
  const int stretch = blockDim.x / 8;
  const int group = threadIdx.x / 8;
  float squares = 0.0f;
  if (normalised && group < ROWS * 8)
    squares = load_squares (
        a.squares + (size_t) (row0 + group) * (a.k / 16), a.k / 16);
  if (multiplies)
    multiply_slice (sums, w, a, row0, warp * SLICE);
#pragma unroll 1
  for (int row = group; row < ROWS * 8; row += stretch) {
    if (normalised && row > group)
      squares = load_squares (
          a.squares + (size_t) (row0 + row) * (a.k / 16), a.k / 16);
    const float factor = normalised ? norm_factor (squares, a.k) : 1.0f;
    if (threadIdx.x % 8 == 0)
      info.factor[row] = factor / activation_scale<EXACT> ();
  }
#pragma unroll 1
  for (int k0 = (warp + n_warps) * SLICE; multiplies && k0 < a.k;
       k0 += n_warps * SLICE) {
    load_weights<EXACT> (w, a, k0);
    multiply_slice (sums, w, a, row0, k0);
  }

#pragma unroll
  for (int pass = 0; pass < ROWS; pass += T::pass) {
    if (pass > 0) {
      load_before<EPILOGUE, ROWS, COLUMNS> (before, a, row0 + pass * 8);
      __syncthreads ();
    }
    if (multiplies)
      store_sums (shared, sums, pass);
    __syncthreads ();
#pragma unroll
    for (int i = 0; i < T::pairs_a_thread; i++) {
      const int e = threadIdx.x + i * blockDim.x;
      if (e >= T::pairs)
        break;
      const int r = e / (COLUMNS * 8), column = e % (COLUMNS * 8) * 2;
      float v0 = 0.0f, v1 = 0.0f;
      for (int p = 0; p < n_warps; p++) {
        const float2 v = *reinterpret_cast<const float2 *> (
            shared + (p * T::pass * 8 + r) * T::stride + column);
        v0 += v.x;
        v1 += v.y;
      }
      const float factor = info.factor[pass * 8 + r];
      const int row = row0 + pass * 8 + r;
      if (finish_pair<EXACT, EPILOGUE> (a, row, column0 + column,
              __fmul_rn (v0, factor), __fmul_rn (v1, factor), before[i],
              info.slot[pass * 8 + r], info.position[pass * 8 + r]))
        a.rows[row].overflow = 1;
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

  return launch_kernel (decode_gemm_kernel<EXACT, EPILOGUE, ROWS, COLUMNS>,
      grid, dim3 (32 * (n_warps > MIN_WARPS ? n_warps : MIN_WARPS)), 0, launch,
      a, n_warps);
}

/* From so many rows on the kernel of decode-gemm-hopper.cu is better. */
#define MANY_ROWS 96

/* The smallest tile whose blocks find a multiprocessor each, or the largest:
 * it reads the operands least often. Results are the same bits with all. */
static int
choose_tile (const Mt3CudaDecodeGemm &a)
{
  static const int rows[] = {8, 16, 32, 32};
  static const int columns[] = {16, 16, 16, 32};
  const int at_once = 132;
  int tile = a.n_rows <= rows[0] ? 0 : 1;

  if (a.tile > 0)
    return a.tile;
  while (tile < 4 &&
         (a.n_rows + rows[tile] - 1) / rows[tile] * (a.n / columns[tile]) >
             at_once)
    tile++;
  return tile + 1;
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
      return launch_tile<EXACT, EPILOGUE, 4, 1> (a, launch);
    case 4:
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

int
mt3_cuda_reads_rows (void)
{
  return hopper_processors () > 0;
}

cudaError_t
mt3_cuda_decode_gemm (const Mt3CudaDecodeGemm *args, Mt3CudaLaunch launch)
{
  const int tile = args->tile - NARROW_TILES;

  if (args->w.rows && hopper_processors () > 0 &&
      (tile > 0 || (args->tile == 0 && args->n_rows >= MANY_ROWS)))
    return decode_gemm_hopper (*args, tile, launch);
  return args->w.lo ? launch_precision<true> (*args, launch)
                    : launch_precision<false> (*args, launch);
}
