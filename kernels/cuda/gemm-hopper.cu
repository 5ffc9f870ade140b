/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gemm-hopper.cu: the matrix products of prefill on compute capability 9.0. One
 * thread has the copy engine fetch tiles of 64 terms ahead, the warpgroups
 * multiply, 64 rows each, and the blocks stay for as many tiles as there are.
 * Two blocks, neighbours in rows, share what they fetch of w: what a
 * multiprocessor gets from L2 is a bound. As in gemm.cu, hi * hi is summed
 * apart from hi * lo + lo * hi, which count 1 / SPLIT.
 */
#include "gemm-hopper.h"

#include "gemm-epilogue.cuh"
#include "hopper.cuh"
#include "tensor-map.cuh"

#define CLUSTER 2
#define SHARED_BYTES (226 * 1024) /* of a block, but for what is static */

typedef struct {
  Mt3CudaGemm gemm;
  CUtensorMap a[2], w[2]; /* hi, lo */
  CUtensorMap addend;
} HopperGemm;

template <int WARPGROUPS, int COLUMNS> struct Tile {
  static constexpr int rows = 64 * WARPGROUPS;
  static constexpr int threads = 128 * (WARPGROUPS + 1);
  static constexpr int a = rows * TILE_TERMS; /* halves of a plane */
  static constexpr int w = COLUMNS * TILE_TERMS;
  static constexpr int stage = 2 * (a + w); /* a hi, a lo, w hi, w lo */
  static constexpr int stage_bytes = stage * sizeof (__half);
  static constexpr int fitting = (SHARED_BYTES - TILE_ALIGN) / stage_bytes;
  static constexpr int stages = fitting < 6 ? fitting : 6;
  static constexpr int shared_bytes = stages * stage_bytes + TILE_ALIGN;
};

/* Where the tiles of this cluster are: every n_clusters-th pair of row tiles
 * and column tile, columns first, so that a's rows are read while they are in
 * L2. */
struct Position {
  int row, column;
};

template <int WARPGROUPS, int COLUMNS>
static __device__ __forceinline__ Position
position_of (const Mt3CudaGemm &a, int number)
{
  const int n_columns = (a.n + COLUMNS - 1) / COLUMNS;
  return {(number / n_columns * CLUSTER + cluster_rank ()) *
              Tile<WARPGROUPS, COLUMNS>::rows,
      number % n_columns * COLUMNS};
}

template <int WARPGROUPS, int COLUMNS>
static __host__ __device__ __forceinline__ int
count_tiles (const Mt3CudaGemm &a)
{
  constexpr int rows = CLUSTER * Tile<WARPGROUPS, COLUMNS>::rows;
  return (a.m + rows - 1) / rows * ((a.n + COLUMNS - 1) / COLUMNS);
}

struct Barriers {
  uint64_t full[6], empty[6];
};

/* With ADD a tile's last stage is the addend: 32 columns, 128 bytes, of all
 * rows, and so on, chunks swapped as in the others. */
#define ADDEND_COLUMNS 32

template <int WARPGROUPS, int COLUMNS>
static __device__ __forceinline__ void
fetch_addend (
    const HopperGemm &args, const Position &at, __half *to, uint64_t *full)
{
  using T = Tile<WARPGROUPS, COLUMNS>;

  barrier_expect (full, T::rows * COLUMNS * sizeof (float));
#pragma unroll
  for (int column = 0; column < COLUMNS; column += ADDEND_COLUMNS)
    copy_tile (reinterpret_cast<float *> (to) + column * T::rows, &args.addend,
        at.column + column, at.row % args.gemm.addend_rows, full);
}

/* One thread: keeps the stages full. Half of the rows of w come from here for
 * both blocks, so a stage is free when both blocks have used it. */
template <Mt3CudaEpilogue EPILOGUE, int WARPGROUPS, int COLUMNS>
static __device__ __forceinline__ void
fetch (const HopperGemm &args, __half *stages, Barriers &barriers)
{
  using T = Tile<WARPGROUPS, COLUMNS>;
  const Mt3CudaGemm &a = args.gemm;
  const int n_tiles = count_tiles<WARPGROUPS, COLUMNS> (a);
  const int share = cluster_rank () * (COLUMNS / CLUSTER);
  Ring<T::stages> ring;

  for (int number = blockIdx.x / CLUSTER; number < n_tiles;
       number += gridDim.x / CLUSTER) {
    const Position at = position_of<WARPGROUPS, COLUMNS> (a, number);
    for (int term = 0; term < a.k; term += TILE_TERMS, ring.advance ()) {
      __half *to = stages + ring.stage * T::stage;
      uint64_t *full = &barriers.full[ring.stage];
      barrier_wait (&barriers.empty[ring.stage], ring.parity ^ 1);
      barrier_expect (full, T::stage_bytes);
#pragma unroll
      for (int plane = 0; plane < 2; plane++) {
        copy_tile (to + plane * T::a, &args.a[plane], term, at.row, full);
        copy_tile_to_all (to + 2 * T::a + plane * T::w + share * TILE_TERMS,
            &args.w[plane], term, at.column + share, full, (1 << CLUSTER) - 1);
      }
    }
    if constexpr (EPILOGUE == MT3_CUDA_ADD) {
      barrier_wait (&barriers.empty[ring.stage], ring.parity ^ 1);
      fetch_addend<WARPGROUPS, COLUMNS> (
          args, at, stages + ring.stage * T::stage, &barriers.full[ring.stage]);
      ring.advance ();
    }
  }
  /* The other block still arrives here: this one must not end before. */
  for (int i = 0; i < T::stages; i++, ring.advance ())
    barrier_wait (&barriers.empty[ring.stage], ring.parity ^ 1);
}

/* One stage: 64 terms. sums: hi * hi, then the cross products. */
template <int COLUMNS>
static __device__ __forceinline__ void
multiply (float (&sums)[COLUMNS / 2], float (&cross)[COLUMNS / 2],
    const __half *a_hi, const __half *a_lo, const __half *w, bool add)
{
  const uint32_t hi = tile_descriptor (a_hi), lo = tile_descriptor (a_lo);
  const uint32_t w_hi = tile_descriptor (w);
  const uint32_t w_lo = tile_descriptor (w + COLUMNS * TILE_TERMS);

  wgmma_fence ();
#pragma unroll
  for (int i = 0; i < TILE_TERMS / 16; i++) {
    const int step = i * DESCRIPTOR_STEP;
    wgmma (sums, hi + step, w_hi + step, add || i > 0);
    wgmma (cross, hi + step, w_lo + step, add || i > 0);
    wgmma (cross, lo + step, w_hi + step, 1);
  }
  wgmma_commit ();
}

/* The norm's factors of the warpgroup's 64 rows: eight lanes a row, 16 rows at
 * a time. The loads start before the product and are used after it. */
#define FACTOR_ROUNDS 4

static __device__ __forceinline__ void
ask_for_squares (
    const Mt3CudaGemm &a, int row0, float (&squares)[FACTOR_ROUNDS])
{
  const int n_partial = a.k / MT3_CUDA_PREFILL_SQUARES;
#pragma unroll
  for (int i = 0; i < FACTOR_ROUNDS; i++) {
    const size_t row = row0 + i * 16 + threadIdx.x % 128 / 8;
    squares[i] = a.squares && row < a.m
                     ? load_squares (a.squares + row * n_partial, n_partial)
                     : 0.0f;
  }
}

static __device__ __forceinline__ void
store_factors (
    const Mt3CudaGemm &a, const float (&squares)[FACTOR_ROUNDS], float *factors)
{
#pragma unroll
  for (int i = 0; i < FACTOR_ROUNDS; i++) {
    const float factor = a.squares ? norm_factor (squares[i], a.k) : 1.0f;
    if (threadIdx.x % 8 == 0)
      factors[i * 16 + threadIdx.x % 128 / 8] = factor;
  }
}

/* The lane's two of each 8 columns of a group of 32. addend: of these rows */
static __device__ __forceinline__ void
read_addend (const float *addend, int row, float2 (&out)[COLUMN_TILES])
{
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int c = 0; c < COLUMN_TILES; c++)
    out[c] = *reinterpret_cast<const float2 *> (
        addend + row * ADDEND_COLUMNS +
        ((c * 2 + lane % 4 / 2) ^ (row % 8)) * 4 + lane % 2 * 2);
}

/* A warpgroup's sums to where they belong. row0: of the warpgroup; addend: of
 * its rows, `addend_stride` from 32 columns to the next */
template <Mt3CudaEpilogue EPILOGUE, int COLUMNS>
static __device__ __forceinline__ void
finish (const Mt3CudaGemm &a, const float (&sums)[COLUMNS / 2],
    const float (&cross)[COLUMNS / 2], const float *factors,
    const float *addend, int addend_stride, int row0, int column0)
{
  const int warp_row = threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4;
  bool overflow = false;

#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int row = warp_row + half * 8;
    const float factor = factors[row] / activation_scale<true> ();
#pragma unroll
    for (int group = 0; group < COLUMNS / 32; group++) {
      float v[COLUMN_TILES][2];
      float2 more[COLUMN_TILES] = {};
      if (column0 + group * 32 >= a.n)
        break;
      if constexpr (EPILOGUE == MT3_CUDA_ADD)
        read_addend (addend + group * addend_stride, row, more);
#pragma unroll
      for (int c = 0; c < COLUMN_TILES; c++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
          const int at = (group * COLUMN_TILES + c) * 4 + half * 2 + i;
          v[c][i] = (sums[at] + cross[at] * (1.0f / SPLIT)) * factor +
                    (i ? more[c].y : more[c].x);
        }
      overflow |= finish_row<EPILOGUE> (a, row0 + row, column0 + group * 32, v);
    }
  }
  /* 64 rows lie within one window. */
  if (overflow)
    a.overflow[a.slots[row0 / a.frames]] = 1;
}

/* Says in both blocks that this warpgroup has used a stage. */
static __device__ __forceinline__ void
release (uint64_t *empty)
{
  if (threadIdx.x % 128 < CLUSTER)
    barrier_arrive (empty, threadIdx.x % 128);
}

/* A warpgroup: multiplies what is fetched. */
template <Mt3CudaEpilogue EPILOGUE, int WARPGROUPS, int COLUMNS>
static __device__ __forceinline__ void
consume (const Mt3CudaGemm &a, const __half *stages, Barriers &barriers,
    float (&factors)[2][64])
{
  using T = Tile<WARPGROUPS, COLUMNS>;
  const int n_tiles = count_tiles<WARPGROUPS, COLUMNS> (a);
  const int warpgroup = __shfl_sync (0xffffffffu, threadIdx.x / 128, 0);
  Ring<T::stages> ring;
  int turn = 0;

  for (int number = blockIdx.x / CLUSTER; number < n_tiles;
       number += gridDim.x / CLUSTER, turn ^= 1) {
    const Position at = position_of<WARPGROUPS, COLUMNS> (a, number);
    const int row0 = at.row + warpgroup * 64;
    float sums[COLUMNS / 2], cross[COLUMNS / 2], squares[FACTOR_ROUNDS];
    const float *addend = NULL;
    uint64_t *used = NULL;

    ask_for_squares (a, row0, squares);
    for (int term = 0; term < a.k; term += TILE_TERMS, ring.advance ()) {
      const __half *tiles = stages + ring.stage * T::stage;
      const __half *rows = tiles + warpgroup * 64 * TILE_TERMS;
      barrier_wait (&barriers.full[ring.stage], ring.parity);
      multiply<COLUMNS> (
          sums, cross, rows, rows + T::a, tiles + 2 * T::a, term > 0);
      wgmma_wait<1> ();
      if (used)
        release (used);
      used = &barriers.empty[ring.stage];
    }
    wgmma_wait<0> ();
    release (used);
    /* Whoever is here has read the factors of the tile before the last. */
    store_factors (a, squares, factors[turn]);
    warpgroup_sync (warpgroup);
    if constexpr (EPILOGUE == MT3_CUDA_ADD) {
      addend = reinterpret_cast<const float *> (stages + ring.stage * T::stage);
      addend += warpgroup * 64 * ADDEND_COLUMNS;
      barrier_wait (&barriers.full[ring.stage], ring.parity);
    }
    if (row0 < a.m)
      finish<EPILOGUE, COLUMNS> (a, sums, cross, factors[turn], addend,
          T::rows * ADDEND_COLUMNS, row0, at.column);
    if constexpr (EPILOGUE == MT3_CUDA_ADD) {
      warpgroup_sync (warpgroup);
      release (&barriers.empty[ring.stage]);
      ring.advance ();
    }
  }
}

template <Mt3CudaEpilogue EPILOGUE, int WARPGROUPS, int COLUMNS>
static __global__ void
__cluster_dims__ (CLUSTER)
    __launch_bounds__ (Tile<WARPGROUPS, COLUMNS>::threads, 1)
        gemm_hopper_kernel (const __grid_constant__ HopperGemm args)
{
  using T = Tile<WARPGROUPS, COLUMNS>;
  extern __shared__ char shared[];
  __shared__ float factors[WARPGROUPS][2][64];
  __shared__ Barriers barriers;
  char *aligned = shared + (-shared_address (shared) & (TILE_ALIGN - 1));
  __half *stages = reinterpret_cast<__half *> (aligned);

  if (threadIdx.x == 0) {
    for (int i = 0; i < T::stages; i++) {
      barrier_init (&barriers.full[i], 1);
      barrier_init (&barriers.empty[i], CLUSTER * WARPGROUPS);
    }
    barrier_init_done ();
    for (int plane = 0; plane < 2; plane++) {
      prefetch_map (&args.a[plane]);
      prefetch_map (&args.w[plane]);
    }
  }
  cluster_sync ();
  dependent_launch ();
  dependent_wait ();
  if (threadIdx.x / 128 < WARPGROUPS) {
    if constexpr (WARPGROUPS > 1)
      registers_raise<240> ();
    consume<EPILOGUE, WARPGROUPS, COLUMNS> (
        args.gemm, stages, barriers, factors[threadIdx.x / 128]);
  } else {
    if constexpr (WARPGROUPS > 1)
      registers_lower<24> ();
    if (threadIdx.x == WARPGROUPS * 128)
      fetch<EPILOGUE, WARPGROUPS, COLUMNS> (args, stages, barriers);
  }
}

/* ---------------------------------------------------------------- launch */

template <int WARPGROUPS, int COLUMNS>
static cudaError_t
encode_all (HopperGemm *args)
{
  constexpr int rows = Tile<WARPGROUPS, COLUMNS>::rows;
  const Mt3CudaGemm &a = args->gemm;
  cudaError_t error = encode_map (&args->a[0], a.a.hi, true, a.m, a.k, rows);

  if (error == cudaSuccess)
    error = encode_map (&args->a[1], a.a.lo, true, a.m, a.k, rows);
  if (error == cudaSuccess)
    error = encode_map (&args->w[0], a.w.hi, true, a.n, a.k, COLUMNS / CLUSTER);
  if (error == cudaSuccess)
    error = encode_map (&args->w[1], a.w.lo, true, a.n, a.k, COLUMNS / CLUSTER);
  if (error == cudaSuccess && a.epilogue == MT3_CUDA_ADD)
    error =
        encode_map (&args->addend, a.addend, false, a.addend_rows, a.n, rows);
  return error;
}

template <Mt3CudaEpilogue EPILOGUE, int WARPGROUPS, int COLUMNS>
static cudaError_t
launch_gemm (const Mt3CudaGemm &gemm, int n_processors, Mt3CudaLaunch launch)
{
  using T = Tile<WARPGROUPS, COLUMNS>;
  const auto kernel = gemm_hopper_kernel<EPILOGUE, WARPGROUPS, COLUMNS>;
  const int n_tiles = count_tiles<WARPGROUPS, COLUMNS> (gemm);
  const int n_clusters =
      n_tiles < n_processors / CLUSTER ? n_tiles : n_processors / CLUSTER;
  HopperGemm args = {};
  cudaError_t error = cudaFuncSetAttribute (
      kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, T::shared_bytes);

  args.gemm = gemm;
  if (error == cudaSuccess)
    error = encode_all<WARPGROUPS, COLUMNS> (&args);
  if (error != cudaSuccess)
    return error;
  return launch_kernel (kernel, dim3 (n_clusters * CLUSTER), dim3 (T::threads),
      T::shared_bytes, launch, args);
}

/* Turns that the device needs, times what a turn of such a tile costs. */
template <int WARPGROUPS, int COLUMNS>
static int
cost_of (const Mt3CudaGemm &a, int n_processors, int cost)
{
  const int n_at_once = n_processors / CLUSTER;
  const int n_tiles = count_tiles<WARPGROUPS, COLUMNS> (a);
  return (n_tiles + n_at_once - 1) / n_at_once * cost;
}

/* The tiles by Mt3CudaGemm's number. A row's bits are the same in all. */
static int
choose_tile (const Mt3CudaGemm &a, int n_processors)
{
  const int large = cost_of<2, 128> (a, n_processors, 13);
  const int middle = cost_of<1, 64> (a, n_processors, 6);
  const int small = cost_of<1, 32> (a, n_processors, 5);

  if (small < middle && small < large)
    return 4;
  return middle < large ? 3 : 2;
}

template <Mt3CudaEpilogue EPILOGUE>
static cudaError_t
launch_tile (const Mt3CudaGemm &gemm, int n_processors, Mt3CudaLaunch launch)
{
  switch (gemm.tile ? gemm.tile : choose_tile (gemm, n_processors)) {
    case 2:
      return launch_gemm<EPILOGUE, 2, 128> (gemm, n_processors, launch);
    case 3:
      return launch_gemm<EPILOGUE, 1, 64> (gemm, n_processors, launch);
    default:
      return launch_gemm<EPILOGUE, 1, 32> (gemm, n_processors, launch);
  }
}

cudaError_t
mt3_cuda_gemm_hopper (
    const Mt3CudaGemm *args, int n_processors, Mt3CudaLaunch launch)
{
  switch (args->epilogue) {
    case MT3_CUDA_ADD:
      return launch_tile<MT3_CUDA_ADD> (*args, n_processors, launch);
    case MT3_CUDA_STORE:
      return launch_tile<MT3_CUDA_STORE> (*args, n_processors, launch);
    case MT3_CUDA_GATED:
      return launch_tile<MT3_CUDA_GATED> (*args, n_processors, launch);
    case MT3_CUDA_CROSS_KV:
      return launch_tile<MT3_CUDA_CROSS_KV> (*args, n_processors, launch);
  }
  return cudaErrorInvalidValue;
}
