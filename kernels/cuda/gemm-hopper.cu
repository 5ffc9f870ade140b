/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gemm-hopper.cu: the matrix products of gemm.cu on compute capability 9.0. One
 * thread has the copy engine fetch tiles of 64 terms ahead, the warpgroups
 * multiply, 64 rows each, and the blocks stay for as many tiles as there are.
 * Two blocks, neighbours in rows, share what they fetch of w: what a
 * multiprocessor gets from L2 is a bound. As in gemm.cu, hi * hi is summed
 * apart from hi * lo + lo * hi, which count 1 / SPLIT.
 */
#include "gemm-hopper.h"

#include "gemm-hopper-epilogue.cuh"
#include "tensor-map.cuh"

#define CLUSTER 2
#define SHARED_BYTES (226 * 1024) /* of a block, but for what is static */

typedef struct {
  Mt3CudaGemm gemm;
  CUtensorMap a[2], w[2], out[2]; /* hi, lo */
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

/* ready: the planes of the tile lie in its last stage */
struct Barriers {
  uint64_t full[6], empty[6], ready[6];
};

/* Whether a tile's planes are stored by way of a further stage: where blocks
 * have several tiles. */
template <Mt3CudaEpilogue EPILOGUE, int WARPGROUPS>
static __host__ __device__ constexpr bool
is_staged ()
{
  return WARPGROUPS > 1 && EPILOGUE != MT3_CUDA_CROSS_KV &&
         EPILOGUE != MT3_CUDA_FLOATS;
}

/* Whether a tile has a further stage; the addend comes in it. */
template <Mt3CudaEpilogue EPILOGUE, int WARPGROUPS>
static __host__ __device__ constexpr bool
has_stage ()
{
  return EPILOGUE == MT3_CUDA_ADD || is_staged<EPILOGUE, WARPGROUPS> ();
}

template <int WARPGROUPS, int COLUMNS>
static __device__ __forceinline__ void
fetch_addend (
    const HopperGemm &args, const Position &at, __half *to, uint64_t *full)
{
  constexpr int box = 64 * ADDEND_COLUMNS;
  const int row = at.row % args.gemm.addend_rows;
  float *next = reinterpret_cast<float *> (to);

  barrier_expect (full, WARPGROUPS * 64 * COLUMNS * sizeof (float));
#pragma unroll
  for (int warpgroup = 0; warpgroup < WARPGROUPS; warpgroup++)
#pragma unroll
    for (int column = 0; column < COLUMNS; column += ADDEND_COLUMNS) {
      copy_tile (
          next, &args.addend, at.column + column, row + warpgroup * 64, full);
      next += box;
    }
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
    if constexpr (has_stage<EPILOGUE, WARPGROUPS> ()) {
      uint64_t *full = &barriers.full[ring.stage];
      barrier_wait (&barriers.empty[ring.stage], ring.parity ^ 1);
      if constexpr (EPILOGUE == MT3_CUDA_ADD)
        fetch_addend<WARPGROUPS, COLUMNS> (
            args, at, stages + ring.stage * T::stage, full);
      else
        barrier_expect (full, 0);
      ring.advance ();
    }
  }
  /* The other block still arrives here: this one must not end before. */
  for (int i = 0; i < T::stages; i++, ring.advance ())
    barrier_wait (&barriers.empty[ring.stage], ring.parity ^ 1);
}

/* One thread: stores the planes of finished tiles. */
template <Mt3CudaEpilogue EPILOGUE, int WARPGROUPS, int COLUMNS>
static __device__ __forceinline__ void
store (const HopperGemm &args, const __half *stages, Barriers &barriers)
{
  using T = Tile<WARPGROUPS, COLUMNS>;
  using Out = Planes<EPILOGUE, COLUMNS>;
  const Mt3CudaGemm &a = args.gemm;
  const int n_tiles = count_tiles<WARPGROUPS, COLUMNS> (a);
  Ring<T::stages> ring, turn;

  for (int number = blockIdx.x / CLUSTER; number < n_tiles;
       number += gridDim.x / CLUSTER, ring.advance (), turn.advance ()) {
    const Position at = position_of<WARPGROUPS, COLUMNS> (a, number);
    const int column0 = at.column / (COLUMNS / Out::columns);
    for (int term = 0; term < a.k; term += TILE_TERMS)
      ring.advance ();
    const __half *from = stages + ring.stage * T::stage;
    barrier_wait (&barriers.ready[turn.stage], turn.parity);
#pragma unroll
    for (int warpgroup = 0; warpgroup < WARPGROUPS; warpgroup++)
#pragma unroll
      for (int plane = 0; plane < 2; plane++)
#pragma unroll
        for (int column = 0; column < Out::columns; column += BOX_COLUMNS) {
          store_tile (&args.out[plane], from, column0 + column,
              at.row + warpgroup * 64);
          from += 64 * BOX_COLUMNS;
        }
    store_commit ();
    store_wait_read ();
    for (int rank = 0; rank < CLUSTER; rank++)
      barrier_arrive (&barriers.empty[ring.stage], rank, WARPGROUPS);
  }
  store_wait ();
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
 * a time. A lane's first two sums of squares, all that it has up to a width of
 * 512, are on their way during the product. */
#define FACTOR_ROUNDS 4

static __device__ __forceinline__ size_t
factor_row (int row0, int round)
{
  return row0 + round * 16 + threadIdx.x % 128 / 8;
}

static __device__ __forceinline__ void
ask_for_squares (
    const Mt3CudaGemm &a, int row0, float2 (&squares)[FACTOR_ROUNDS])
{
  const int n_pairs = a.k / MT3_CUDA_PREFILL_SQUARES / 2;
  const int pair = threadIdx.x % 8;
#pragma unroll
  for (int i = 0; i < FACTOR_ROUNDS; i++) {
    const size_t row = factor_row (row0, i);
    squares[i] = make_float2 (0.0f, 0.0f);
    if (a.squares && row < a.m && pair < n_pairs)
      squares[i] = __ldcg (
          reinterpret_cast<const float2 *> (a.squares) + row * n_pairs + pair);
  }
}

static __device__ __forceinline__ void
store_factors (const Mt3CudaGemm &a, int row0,
    const float2 (&squares)[FACTOR_ROUNDS], float *factors)
{
  const int n_pairs = a.k / MT3_CUDA_PREFILL_SQUARES / 2;
#pragma unroll
  for (int i = 0; i < FACTOR_ROUNDS; i++) {
    const size_t row = factor_row (row0, i);
    float sum = squares[i].x + squares[i].y;
    if (a.squares && row < a.m)
      for (int pair = threadIdx.x % 8 + 8; pair < n_pairs; pair += 8) {
        const float2 v = __ldcg (reinterpret_cast<const float2 *> (a.squares) +
                                 row * n_pairs + pair);
        sum += v.x + v.y;
      }
    const float factor = a.squares ? norm_factor (sum, 1.0f / a.k) : 1.0f;
    if (threadIdx.x % 8 == 0)
      factors[i * 16 + threadIdx.x % 128 / 8] = factor;
  }
}

/* Says in both blocks that this warpgroup has used a stage. */
static __device__ __forceinline__ void
release (uint64_t *empty)
{
  if (threadIdx.x % 128 < CLUSTER)
    barrier_arrive (empty, threadIdx.x % 128, 1);
}

/* A tile's product; leaves the ring behind it. */
template <int WARPGROUPS, int COLUMNS, int STAGES>
static __device__ __forceinline__ void
multiply_tile (float (&sums)[COLUMNS / 2], float (&cross)[COLUMNS / 2], int k,
    const __half *stages, Barriers &barriers, Ring<STAGES> &ring, int warpgroup)
{
  using T = Tile<WARPGROUPS, COLUMNS>;
  uint64_t *used = NULL;

  for (int term = 0; term < k; term += TILE_TERMS, ring.advance ()) {
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
}

/* A warpgroup: multiplies what is fetched and finishes it. */
template <Mt3CudaEpilogue EPILOGUE, int WARPGROUPS, int COLUMNS>
static __device__ __forceinline__ void
consume (const Mt3CudaGemm &a, __half *stages, Barriers &barriers,
    float (&factors)[2][64])
{
  using T = Tile<WARPGROUPS, COLUMNS>;
  const int n_tiles = count_tiles<WARPGROUPS, COLUMNS> (a);
  const int warpgroup = __shfl_sync (0xffffffffu, threadIdx.x / 128, 0);
  Ring<T::stages> ring, turn;
  int odd = 0;

  for (int number = blockIdx.x / CLUSTER; number < n_tiles;
       number += gridDim.x / CLUSTER, odd ^= 1) {
    const Position at = position_of<WARPGROUPS, COLUMNS> (a, number);
    const int row0 = at.row + warpgroup * 64;
    float sums[COLUMNS / 2], cross[COLUMNS / 2];
    float2 squares[FACTOR_ROUNDS];

    ask_for_squares (a, row0, squares);
    multiply_tile<WARPGROUPS, COLUMNS> (
        sums, cross, a.k, stages, barriers, ring, warpgroup);
    /* Whoever is here has read the factors of the tile before the last. */
    store_factors (a, row0, squares, factors[odd]);
    warpgroup_sync (warpgroup);
    scale_sums<COLUMNS> (sums, cross, factors[odd]);
    __half *stage = stages + ring.stage * T::stage +
                    warpgroup * 2 * Planes<EPILOGUE, COLUMNS>::halves;
    if constexpr (has_stage<EPILOGUE, WARPGROUPS> ())
      barrier_wait (&barriers.full[ring.stage], ring.parity);
    if constexpr (EPILOGUE == MT3_CUDA_ADD) {
      add_addend<COLUMNS> (
          a, sums, reinterpret_cast<const float *> (stage), row0, at.column);
      if (!is_staged<EPILOGUE, WARPGROUPS> ())
        proxy_fence ();
      warpgroup_sync (warpgroup);
    }
    if constexpr (is_staged<EPILOGUE, WARPGROUPS> ()) {
      finish_staged<EPILOGUE, COLUMNS> (a, sums, stage, row0);
      proxy_fence ();
      barrier_arrive (&barriers.ready[turn.stage], cluster_rank (), 1);
      turn.advance ();
    } else if (row0 < a.m) {
      finish_direct<EPILOGUE, COLUMNS> (a, sums, row0, at.column);
    }
    if constexpr (has_stage<EPILOGUE, WARPGROUPS> ()) {
      if (!is_staged<EPILOGUE, WARPGROUPS> ())
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
      barrier_init (&barriers.ready[i], 128 * WARPGROUPS);
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
    else if (is_staged<EPILOGUE, WARPGROUPS> () &&
             threadIdx.x == WARPGROUPS * 128 + 32)
      store<EPILOGUE, WARPGROUPS, COLUMNS> (args, stages, barriers);
  }
}

/* ---------------------------------------------------------------- launch */

template <Mt3CudaEpilogue EPILOGUE, int WARPGROUPS, int COLUMNS>
static cudaError_t
encode_all (HopperGemm *args)
{
  using Out = Planes<EPILOGUE, COLUMNS>;
  constexpr int rows = Tile<WARPGROUPS, COLUMNS>::rows,
                share = COLUMNS / CLUSTER;
  const Mt3CudaGemm &a = args->gemm;
  const int out_columns = a.n / (COLUMNS / Out::columns);
  const bool staged = is_staged<EPILOGUE, WARPGROUPS> ();
  const struct {
    CUtensorMap *map;
    const void *matrix;
    bool half;
    int n_rows, n_columns, box_rows;
  } maps[] = {
      {&args->a[0], a.a.hi, true, a.m, a.k, rows},
      {&args->a[1], a.a.lo, true, a.m, a.k, rows},
      {&args->w[0], a.w.hi, true, a.n, a.k, share},
      {&args->w[1], a.w.lo, true, a.n, a.k, share},
      {&args->out[0], staged ? a.out.hi : NULL, true, a.m, out_columns, 64},
      {&args->out[1], staged ? a.out.lo : NULL, true, a.m, out_columns, 64},
      {&args->addend, a.addend, false, a.addend_rows, a.n, 64},
  };

  for (const auto &m : maps) {
    const cudaError_t error = m.matrix == NULL
                                  ? cudaSuccess
                                  : encode_map (m.map, m.matrix, m.half,
                                        m.n_rows, m.n_columns, m.box_rows);
    if (error != cudaSuccess)
      return error;
  }
  return cudaSuccess;
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
    error = encode_all<EPILOGUE, WARPGROUPS, COLUMNS> (&args);
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
    case MT3_CUDA_FLOATS:
      return launch_tile<MT3_CUDA_FLOATS> (*args, n_processors, launch);
  }
  return cudaErrorInvalidValue;
}
