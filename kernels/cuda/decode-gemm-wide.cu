/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * decode-gemm-wide.cu: decode-gemm-hopper.cu's products, of DECODE_WIDE_ROWS
 * rows and more: enough work for all multiprocessors, and other lanes have as
 * much. So what counts is not how long a block takes but how much of a
 * multiprocessor it takes for how long. Two blocks of 64 rows and 128 columns
 * have room in one: while one waits for the copy engine, or stores, the other
 * multiplies.
 *
 * Two warpgroups have 64 columns each and all terms; a further warp has the
 * copy engine bring slices. A result's terms are added in the same shares and
 * order as there, but in registers: so its bits are the same.
 */
#include "decode-finish-hopper.cuh"
#include "hopper.cuh"
#include "tensor-map.cuh"

typedef struct {
  Mt3CudaDecodeGemm gemm;
  CUtensorMap a, w;
  float inverse_k;
} WideDecodeGemm;

#define GROUPS 2
#define THREADS (GROUPS * WARPS * 32) /* that multiply; a warp more fetches */
#define BLOCK_COLUMNS (GROUPS * COLUMNS)
#define ROWS_AT_ONCE (WARPS * 32 / (COLUMNS / 4)) /* of a warpgroup */
#define TURNS (Block::rows / ROWS_AT_ONCE)
#define STAGES 4 /* slices that have a place in shared memory at once */
#define SHARES 4 /* of the terms: decode-gemm-hopper.cu's warpgroups */
#define BLOCKS 2 /* of a multiprocessor */

struct Block {
  static constexpr int rows = 64, threads = THREADS;
};

struct Stage {
  char w[GROUPS][COLUMNS * DECODE_SLICE * sizeof (__half)];
  char a[Block::rows * DECODE_SLICE * sizeof (__half)];
};

struct Shared {
  union {
    Stage stages[STAGES];
    float results[GROUPS][Block::rows * STRIDE];
  };
  RowInfo<Block::rows / 8> info;
  uint64_t full[STAGES], empty[STAGES];
};

/* ------------------------------------------------------------- fetching */

static __device__ __forceinline__ void
fetch_weights (const WideDecodeGemm &args, Shared &shared, int i)
{
  Stage &to = shared.stages[i % STAGES];

  barrier_expect (&shared.full[i % STAGES], sizeof to);
  copy_tile (to.w, &args.w, i * DECODE_SLICE, blockIdx.x * BLOCK_COLUMNS,
      &shared.full[i % STAGES]);
}

static __device__ __forceinline__ void
fetch_rows (const WideDecodeGemm &args, Shared &shared, int i)
{
  copy_tile (shared.stages[i % STAGES].a, &args.a, i * DECODE_SLICE,
      blockIdx.y * Block::rows, &shared.full[i % STAGES]);
}

/* One thread: the first slices' weights before the kernel before has finished;
 * each further slice when the one in its place has been read. */
static __device__ __forceinline__ void
fetch (const WideDecodeGemm &args, Shared &shared, int n_slices)
{
  const int n_first = min (n_slices, STAGES);

  prefetch_map (&args.a);
  for (int i = 0; i < n_first; i++)
    fetch_weights (args, shared, i);
  dependent_wait ();
  for (int i = 0; i < n_first; i++)
    fetch_rows (args, shared, i);
  for (int i = STAGES; i < n_slices; i++) {
    barrier_wait (&shared.empty[i % STAGES], (i / STAGES - 1) & 1);
    fetch_weights (args, shared, i);
    fetch_rows (args, shared, i);
  }
}

/* ------------------------------------------------------------- products */

#define N_SUMS (Block::rows / 2) /* of a thread */

static __device__ __forceinline__ void
multiply_slice (float (&sums)[N_SUMS], const Stage &stage, int group)
{
  const uint32_t w = tile_descriptor (stage.w[group]);
  const uint32_t a = tile_descriptor (stage.a);

  wgmma_fence ();
#pragma unroll
  for (int s = 0; s < 4; s++)
    wgmma (sums, w + s * DESCRIPTOR_STEP, a + s * DESCRIPTOR_STEP, 1);
  wgmma_commit ();
  wgmma_wait<0> ();
#pragma unroll
  for (int i = 0; i < N_SUMS; i++)
    asm volatile("" : "+f"(sums[i])); /* not read before */
}

/* A warpgroup's results, but for what is done to them. */
static __device__ __forceinline__ void
multiply (Shared &shared, int n_slices, int group, float (&total)[N_SUMS])
{
#pragma unroll 1
  for (int share = 0, i = 0; share < SHARES; share++) {
    float sums[N_SUMS];

#pragma unroll
    for (int j = 0; j < N_SUMS; j++)
      sums[j] = 0.0f;
#pragma unroll 1
    for (; i < (share + 1) * n_slices / SHARES; i++) {
      barrier_wait (&shared.full[i % STAGES], i / STAGES & 1);
      multiply_slice (sums, shared.stages[i % STAGES], group);
      if (threadIdx.x % 32 == 0)
        barrier_arrive (&shared.empty[i % STAGES]);
      __syncwarp ();
    }
#pragma unroll
    for (int j = 0; j < N_SUMS; j++)
      total[j] = share > 0 ? __fadd_rn (total[j], sums[j]) : sums[j];
  }
}

/* --------------------------------------------------------------- kernel */

/* Those that multiply: the fetching warp has ended, or waits for nobody. */
static __device__ __forceinline__ void
multipliers_sync ()
{
  asm volatile("bar.sync %0, %1;" ::"n"(GROUPS + 1), "n"(THREADS) : "memory");
}

/* What the block has to know of its rows. */
template <Mt3CudaDecodeEpilogue EPILOGUE>
static __device__ __forceinline__ void
load_info (const WideDecodeGemm &args, Shared &shared)
{
  RowLoads<Block> loads;

  if (args.gemm.squares != nullptr) {
    loads.load_factors (args.gemm);
    loads.store_factors (args.gemm, args.inverse_k, shared.info.factor);
  }
  if (EPILOGUE == MT3_CUDA_DECODE_QKV && threadIdx.x < Block::rows) {
    loads.load_place (args.gemm);
    shared.info.slot[threadIdx.x] = loads.slot;
    shared.info.position[threadIdx.x] = loads.position;
  }
}

/* A warpgroup's results, from shared memory. Flags are raised behind all of
 * them, so that no result waits for the one before. */
template <Mt3CudaDecodeEpilogue EPILOGUE>
static __device__ __forceinline__ void
finish_all (const Mt3CudaDecodeGemm &a, const Shared &shared, int group,
    const float4 (&before)[TURNS])
{
  const int first = threadIdx.x % (WARPS * 32) / 16;
  const int column0 = blockIdx.x * BLOCK_COLUMNS + group * COLUMNS;
  const int column = column0 + threadIdx.x % 16 * 4;
  const int row0 = blockIdx.y * Block::rows;
  /* Columns of the cross query are not normalised here. */
  const bool normalised =
      a.squares != nullptr &&
      (EPILOGUE != MT3_CUDA_DECODE_QKV || column0 < 3 * a.inner);
  unsigned overflow = 0;

#pragma unroll
  for (int i = 0; i < TURNS; i++) {
    const int r = first + i * ROWS_AT_ONCE;
    float4 v = *reinterpret_cast<const float4 *> (
        shared.results[group] + r * STRIDE + threadIdx.x % 16 * 4);
    if (normalised)
      v = scaled (v, shared.info.factor[r]);
    if (EPILOGUE == MT3_CUDA_DECODE_ADD)
      v = added (v, before[i]);
    overflow |=
        finish<EPILOGUE> (a, row0 + r, column, v,
            row0 + r < a.n_rows && column < a.n,
            EPILOGUE == MT3_CUDA_DECODE_QKV ? shared.info.slot[r] : 0,
            EPILOGUE == MT3_CUDA_DECODE_QKV ? shared.info.position[r] : 0)
        << i;
  }
  for (; overflow != 0; overflow &= overflow - 1)
    flag_overflow (a, row0 + first + (__ffs (overflow) - 1) * ROWS_AT_ONCE);
}

template <Mt3CudaDecodeEpilogue EPILOGUE>
static __device__ __forceinline__ void
compute (const WideDecodeGemm &args, Shared &shared)
{
  const Mt3CudaDecodeGemm &a = args.gemm;
  const int group = __shfl_sync (0xffffffffu, threadIdx.x / (WARPS * 32), 0);
  float total[N_SUMS];
  float4 before[TURNS];

  dependent_wait ();
  load_info<EPILOGUE> (args, shared);
  multiply (shared, a.k / DECODE_SLICE, group, total);
  /* The next kernel's blocks would only stand where others could work. */
  dependent_launch ();
#pragma unroll
  for (int i = 0; i < TURNS; i++)
    if (EPILOGUE == MT3_CUDA_DECODE_ADD)
      before[i] = load_before (a,
          blockIdx.y * Block::rows + i * ROWS_AT_ONCE +
              threadIdx.x % (WARPS * 32) / 16,
          blockIdx.x * BLOCK_COLUMNS + group * COLUMNS + threadIdx.x % 16 * 4);
  multipliers_sync (); /* all have read what the copy engine brought */
  store_sums (shared.results[group], total);
  warpgroup_sync (group);
  finish_all<EPILOGUE> (a, shared, group, before);
}

template <Mt3CudaDecodeEpilogue EPILOGUE>
static __global__ void
__launch_bounds__ (THREADS + 32, BLOCKS)
    decode_gemm_wide_kernel (const __grid_constant__ WideDecodeGemm args)
{
  extern __shared__ __align__ (TILE_ALIGN) char memory[];
  Shared &shared = *reinterpret_cast<Shared *> (memory);

  if (threadIdx.x == 0) {
    for (int i = 0; i < STAGES; i++) {
      barrier_init (&shared.full[i], 1);
      barrier_init (&shared.empty[i], WARPS * GROUPS);
    }
    barrier_init_done ();
  }
  __syncthreads ();
  if (threadIdx.x < THREADS)
    compute<EPILOGUE> (args, shared);
  else if (threadIdx.x == THREADS)
    fetch (args, shared, args.gemm.k / DECODE_SLICE);
}

/* ---------------------------------------------------------------- launch */

template <Mt3CudaDecodeEpilogue EPILOGUE>
static cudaError_t
launch_wide (const Mt3CudaDecodeGemm &gemm, Mt3CudaLaunch launch)
{
  const auto kernel = decode_gemm_wide_kernel<EPILOGUE>;
  WideDecodeGemm args = {gemm};
  cudaError_t error = allow_shared (kernel, sizeof (Shared));

  args.inverse_k = 1.0f / gemm.k;
  if (error == cudaSuccess)
    error =
        encode_map (&args.w, gemm.w.hi, true, gemm.n, gemm.k, BLOCK_COLUMNS);
  if (error == cudaSuccess)
    error =
        encode_map (&args.a, gemm.a.hi, true, gemm.n_rows, gemm.k, Block::rows);
  if (error != cudaSuccess)
    return error;
  return launch_kernel (kernel,
      dim3 ((gemm.n + BLOCK_COLUMNS - 1) / BLOCK_COLUMNS,
          (gemm.n_rows + Block::rows - 1) / Block::rows),
      dim3 (THREADS + 32), sizeof (Shared), launch, args);
}

cudaError_t
decode_gemm_wide (const Mt3CudaDecodeGemm &a, Mt3CudaLaunch launch)
{
  switch (a.epilogue) {
    case MT3_CUDA_DECODE_ADD:
      return launch_wide<MT3_CUDA_DECODE_ADD> (a, launch);
    case MT3_CUDA_DECODE_QKV:
      return launch_wide<MT3_CUDA_DECODE_QKV> (a, launch);
    case MT3_CUDA_DECODE_GATED:
      return launch_wide<MT3_CUDA_DECODE_GATED> (a, launch);
    case MT3_CUDA_DECODE_STORE:
      return launch_wide<MT3_CUDA_DECODE_STORE> (a, launch);
  }
  return cudaErrorInvalidValue;
}
