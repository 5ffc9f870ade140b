/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * decode-gemm-hopper.cu: the matrix products of a decode step in float16 on
 * compute capability 9.0, of one row as of many; of the most, by way of
 * decode-gemm-wide.cu.
 *
 * As in decode-gemm.cu, the weights are the tensor cores' first operand and the
 * rows of the batch its columns, so that a tile has as many of them as there
 * are. Both come to shared memory by the copy engine: a block's weights before
 * the kernel before has finished, its rows at once behind it. Its warpgroups
 * share the terms and meet in shared memory, from where results leave in whole
 * lines.
 */
#include "decode-finish-hopper.cuh"
#include "hopper.cuh"
#include "tensor-map.cuh"

typedef struct {
  Mt3CudaDecodeGemm gemm;
  CUtensorMap a, w;
  float inverse_k;
  int early;
} HopperDecodeGemm;

/* Of more rows the next kernel starts behind this one's wait: blocks of several
 * kernels that wait lie on some multiprocessors by twos, and on others not at
 * all. */
#define EARLY_ROWS 16

#define GROUPS 4 /* warpgroups of a block */
#define THREADS (GROUPS * WARPS * 32)
#define ROWS_AT_ONCE (THREADS / (COLUMNS / 4))

/* @R: rows of a block; @S: slices of a warpgroup that have a place in shared
 * memory at once */
template <int R, int S> struct Tile {
  static constexpr int rows = R, stages = S, threads = THREADS;
  static constexpr int turns = (R + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE;
};

template <int ROWS> struct Stage {
  char w[COLUMNS * DECODE_SLICE * sizeof (__half)];
  char a[ROWS * DECODE_SLICE * sizeof (__half)];
};

template <typename T> struct Shared {
  union {
    Stage<T::rows> stages[GROUPS][T::stages];
    float results[GROUPS][T::rows * STRIDE];
  };
  RowInfo<(T::rows + 7) / 8> info;
  uint64_t full[GROUPS][T::stages], empty[GROUPS][T::stages];
};

/* Of a warpgroup: slices one behind the other. */
struct Share {
  int first, n;

  __device__ __forceinline__
  Share (int group, int n_slices)
      : first (group * n_slices / GROUPS),
        n ((group + 1) * n_slices / GROUPS - first)
  {
  }
};

/* ------------------------------------------------------------- fetching */

/* Asks for the weights or rows of slice `i` of the share, or for both. */
template <bool WEIGHTS, bool ROWS, typename T>
static __device__ __forceinline__ void
fetch (
    const HopperDecodeGemm &args, Shared<T> &shared, const Share &share, int i)
{
  const int group = threadIdx.x / (WARPS * 32);
  const int term = (share.first + i) * DECODE_SLICE;
  uint64_t *full = &shared.full[group][i % T::stages];
  Stage<T::rows> &to = shared.stages[group][i % T::stages];

  if (WEIGHTS) {
    barrier_expect (full, sizeof to);
    copy_tile (to.w, &args.w, term, blockIdx.x * COLUMNS, full);
  }
  if (ROWS)
    copy_tile (to.a, &args.a, term, blockIdx.y * T::rows, full);
}

/* Those that there is a place for: a warp's first lane for one slice in four,
 * for it takes 250 cycles to ask. */
template <bool WEIGHTS, bool ROWS, typename T>
static __device__ __forceinline__ void
fetch_first (
    const HopperDecodeGemm &args, Shared<T> &shared, const Share &share)
{
  if (threadIdx.x % 32 == 0)
    for (int i = threadIdx.x / 32 % WARPS; i < min (share.n, T::stages);
         i += WARPS)
      fetch<WEIGHTS, ROWS> (args, shared, share, i);
}

/* The warp has read slice i - stages; when all have, slice `i` comes. */
template <typename T>
static __device__ __forceinline__ void
fetch_next (
    const HopperDecodeGemm &args, Shared<T> &shared, const Share &share, int i)
{
  uint64_t *empty = &shared.empty[threadIdx.x / (WARPS * 32)][i % T::stages];

  if (threadIdx.x % 32 == 0) {
    barrier_arrive (empty);
    if (threadIdx.x / 32 % WARPS == i % WARPS) {
      barrier_wait (empty, (i / T::stages - 1) & 1);
      fetch<true, true> (args, shared, share, i);
    }
  }
  __syncwarp ();
}

/* ------------------------------------------------------------- products */

template <int ROWS>
static __device__ __forceinline__ void
multiply_slice (float (&sums)[ROWS / 2], const Stage<ROWS> &stage)
{
  const uint32_t w = tile_descriptor (stage.w), a = tile_descriptor (stage.a);

  wgmma_fence ();
#pragma unroll
  for (int s = 0; s < 4; s++)
    wgmma (sums, w + s * DESCRIPTOR_STEP, a + s * DESCRIPTOR_STEP, 1);
  wgmma_commit ();
}

/* The share's sums. @beside: what else there is to do meanwhile */
template <typename T, typename Beside>
static __device__ __forceinline__ void
multiply (const HopperDecodeGemm &args, Shared<T> &shared, const Share &share,
    float (&sums)[T::rows / 2], const Beside &beside)
{
  const int group = threadIdx.x / (WARPS * 32);

#pragma unroll
  for (int i = 0; i < T::rows / 2; i++)
    sums[i] = 0.0f;
#pragma unroll 1
  for (int i = 0; i < share.n; i++) {
    barrier_wait (&shared.full[group][i % T::stages], i / T::stages & 1);
    multiply_slice (sums, shared.stages[group][i % T::stages]);
    if (i + T::stages < share.n) {
      wgmma_wait<0> ();
      fetch_next (args, shared, share, i + T::stages);
    }
  }
  beside ();
  wgmma_wait<0> ();
#pragma unroll
  for (int i = 0; i < T::rows / 2; i++)
    asm volatile("" : "+f"(sums[i])); /* not read before */
}

/* --------------------------------------------------------------- kernel */

template <Mt3CudaDecodeEpilogue EPILOGUE, typename T>
static __global__ void
__launch_bounds__ (THREADS, T::rows > 48 ? 1 : 2)
    decode_gemm_hopper_kernel (const __grid_constant__ HopperDecodeGemm args)
{
  extern __shared__ __align__ (TILE_ALIGN) char memory[];
  Shared<T> &shared = *reinterpret_cast<Shared<T> *> (memory);
  const Mt3CudaDecodeGemm &a = args.gemm;
  const int group = threadIdx.x / (WARPS * 32);
  const Share share (group, a.k / DECODE_SLICE);
  const int column = blockIdx.x * COLUMNS + threadIdx.x % 16 * 4;
  const int row0 = blockIdx.y * T::rows + threadIdx.x / 16;
  float sums[T::rows / 2];
  float4 before[T::turns];
  RowLoads<T> loads;

  if (threadIdx.x == 0) {
    for (int g = 0; g < GROUPS; g++)
      for (int i = 0; i < T::stages; i++) {
        barrier_init (&shared.full[g][i], 1);
        barrier_init (&shared.empty[g][i], WARPS);
      }
    barrier_init_done ();
  }
  __syncthreads ();
  fetch_first<true, false> (args, shared, share);
  if (threadIdx.x % 32 == 0)
    prefetch_map (&args.a);
  if (args.early)
    dependent_launch ();
  /* Columns of the cross query are not normalised here. */
  const bool normalised =
      a.squares != nullptr && (EPILOGUE != MT3_CUDA_DECODE_QKV ||
                                  (int) blockIdx.x * COLUMNS < 3 * a.inner);
  dependent_wait ();
  fetch_first<false, true> (args, shared, share);
  if (!args.early)
    dependent_launch ();
  __syncwarp ();
  if (normalised)
    loads.load_factors (a);
#pragma unroll
  for (int i = 0; i < T::turns; i++)
    if (EPILOGUE == MT3_CUDA_DECODE_ADD)
      before[i] = load_before (a,
          i * ROWS_AT_ONCE + (int) threadIdx.x / 16 < T::rows
              ? row0 + i * ROWS_AT_ONCE
              : a.n_rows,
          column);
  if (EPILOGUE == MT3_CUDA_DECODE_QKV)
    loads.load_place (a);

  multiply<T> (args, shared, share, sums, [&] {
    if (normalised)
      loads.store_factors (a, args.inverse_k, shared.info.factor);
    if (EPILOGUE == MT3_CUDA_DECODE_QKV && threadIdx.x < T::rows) {
      shared.info.slot[threadIdx.x] = loads.slot;
      shared.info.position[threadIdx.x] = loads.position;
    }
  });
  __syncthreads (); /* all have read what the copy engine brought */
  store_sums (shared.results[group], sums);
  __syncthreads ();
#pragma unroll
  for (int i = 0; i < T::turns; i++) {
    const int r = min (i * ROWS_AT_ONCE + (int) threadIdx.x / 16, T::rows - 1);
    const int row = row0 + i * ROWS_AT_ONCE;
    const bool exists = i * ROWS_AT_ONCE + (int) threadIdx.x / 16 < T::rows &&
                        row < a.n_rows && column < a.n;
    float4 v = make_float4 (0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll
    for (int g = 0; g < GROUPS; g++) {
      const float4 part = *reinterpret_cast<const float4 *> (
          shared.results[g] + r * STRIDE + threadIdx.x % 16 * 4);
      v = g > 0 ? added (v, part) : part;
    }
    if (normalised)
      v = scaled (v, shared.info.factor[r]);
    if (EPILOGUE == MT3_CUDA_DECODE_ADD)
      v = added (v, before[i]);
    if (finish<EPILOGUE> (a, row, column, v, exists,
            EPILOGUE == MT3_CUDA_DECODE_QKV ? shared.info.slot[r] : 0,
            EPILOGUE == MT3_CUDA_DECODE_QKV ? shared.info.position[r] : 0))
      flag_overflow (a, row);
  }
}

/* ---------------------------------------------------------------- launch */

template <Mt3CudaDecodeEpilogue EPILOGUE, typename T>
static cudaError_t
launch_tile (const Mt3CudaDecodeGemm &gemm, Mt3CudaLaunch launch)
{
  const auto kernel = decode_gemm_hopper_kernel<EPILOGUE, T>;
  HopperDecodeGemm args = {gemm};
  cudaError_t error = allow_shared (kernel, sizeof (Shared<T>));

  args.inverse_k = 1.0f / gemm.k;
  args.early = launch.early && gemm.n_rows <= EARLY_ROWS;
  if (error == cudaSuccess)
    error = encode_map (&args.w, gemm.w.hi, true, gemm.n, gemm.k, COLUMNS);
  if (error == cudaSuccess)
    error = encode_map (&args.a, gemm.a.hi, true, gemm.n_rows, gemm.k, T::rows);
  if (error != cudaSuccess)
    return error;
  if (gemm.n_rows / gemm.places < MANY_ROWS)
    launch = divided_for_few_rows (launch);
  return launch_kernel (kernel,
      dim3 ((gemm.n + COLUMNS - 1) / COLUMNS,
          (gemm.n_rows + T::rows - 1) / T::rows),
      dim3 (THREADS), sizeof (Shared<T>), launch, args);
}

/* Up to 512 terms are there at once, and up to 1,024 of up to 32 rows. */
template <Mt3CudaDecodeEpilogue EPILOGUE, int ROWS>
static cudaError_t
launch_rows (const Mt3CudaDecodeGemm &a, Mt3CudaLaunch launch)
{
  if (ROWS > 32 || a.k <= 2 * GROUPS * DECODE_SLICE)
    return launch_tile<EPILOGUE, Tile<ROWS, 2>> (a, launch);
  return launch_tile<EPILOGUE, Tile<ROWS, 4>> (a, launch);
}

/* All rows in one block, or 32 of them, for each block reads its weights once,
 * and other lanes want multiprocessors, too; more as long as there are blocks
 * for most of these. */
static int
choose_tile (const Mt3CudaDecodeGemm &a)
{
  static const int rows[] = {8, 16, 32, 48, 64, 96};
  const int n_narrow = DECODE_HOPPER_TILES - 1;
  const int at_least = a.n_rows < 32 ? a.n_rows : 32, at_once = 100;
  const int columns = (a.n + COLUMNS - 1) / COLUMNS;
  int tile = 1;

  if (a.n_rows >= DECODE_WIDE_ROWS)
    return DECODE_HOPPER_TILES;
  while (
      tile < n_narrow &&
      (rows[tile - 1] < at_least ||
          (a.n_rows + rows[tile - 1] - 1) / rows[tile - 1] * columns > at_once))
    tile++;
  return tile;
}

template <Mt3CudaDecodeEpilogue EPILOGUE>
static cudaError_t
launch_epilogue (const Mt3CudaDecodeGemm &a, int tile, Mt3CudaLaunch launch)
{
  switch (tile) {
    case 1:
      return launch_rows<EPILOGUE, 8> (a, launch);
    case 2:
      return launch_rows<EPILOGUE, 16> (a, launch);
    case 3:
      return launch_rows<EPILOGUE, 32> (a, launch);
    case 4:
      return launch_rows<EPILOGUE, 48> (a, launch);
    case 5:
      return launch_rows<EPILOGUE, 64> (a, launch);
    default:
      return launch_rows<EPILOGUE, 96> (a, launch);
  }
}

cudaError_t
decode_gemm_hopper (const Mt3CudaDecodeGemm &a, int tile, Mt3CudaLaunch launch)
{
  if (tile <= 0)
    tile = choose_tile (a);
  if (tile == DECODE_HOPPER_TILES)
    return decode_gemm_wide (a, launch);
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
