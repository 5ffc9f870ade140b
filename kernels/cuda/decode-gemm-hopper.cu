/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * decode-gemm-hopper.cu: the matrix products of a decode step of many rows, in
 * float16, on compute capability 9.0. The same bits as decode-gemm.cu makes:
 * the same terms in each product of 16, and these in the same order, but a
 * warpgroup has all terms of its 64 rows, by wgmma, from what the copy engine
 * brings.
 *
 * Which 16 terms decode-gemm.cu multiplies at once follows from how its lanes
 * load: here a lane takes its rows' terms as there, and the weights have a copy
 * whose terms are in that order (see pack.cu).
 */
#include "decode-finish.cuh"
#include "hopper.cuh"
#include "tensor-map.cuh"

#define BOX_TERMS 32 /* of rows: their boxes are not swizzled */

typedef struct {
  Mt3CudaDecodeGemm gemm;
  CUtensorMap a, w;
} HopperDecodeGemm;

/* One warpgroup computes, a thread of a further warp fetches. */
#define COMPUTING 128
#define THREADS (COMPUTING + 32)
#define STAGES 4
#define ROWS 64 /* of a block */

template <int COLUMNS> struct Tile {
  static constexpr int columns = COLUMNS;
  static constexpr int a_bytes = ROWS * DECODE_SLICE * sizeof (__half);
  static constexpr int w_bytes = COLUMNS * DECODE_SLICE * sizeof (__half);
  static constexpr int stage_bytes = a_bytes + w_bytes;
  static constexpr int stride = COLUMNS + 8; /* floats; no bank conflicts */
};

template <typename TILE, Mt3CudaDecodeEpilogue EPILOGUE> struct Shared {
  using T = TILE;
  union {
    char stages[STAGES][T::stage_bytes]; /* w, then a */
    float results[ROWS * T::stride];
  };
  /* What the results are added to. */
  float before[EPILOGUE == MT3_CUDA_DECODE_ADD ? ROWS * T::stride : 4];
  RowInfo<ROWS / 8> info;
  uint64_t full[STAGES], empty[STAGES];
};

/* The number of the slice that is multiplied as `i`-th: one part after the
 * other. */
static __device__ __forceinline__ int
slice_number (int i, int parts, int in_part)
{
  return i / in_part + i % in_part * parts;
}

/* d [64, COLUMNS] = (add ? d : 0) + a [64, 16] b [COLUMNS, 16] transposed, with
 * a in registers as mma() takes it. */
#define DEFINE_WGMMA_ROWS(columns, n, a0, a1, a2, a3, b_name, add_name)        \
  static __device__ __forceinline__ void wgmma_rows (                          \
      float (&d)[n], const uint32_t (&a)[4], uint32_t b, int add)              \
  {                                                                            \
    asm volatile(                                                              \
        "{ .reg .pred add;\n"                                                  \
        ".reg .b64 b;\n"                                                       \
        "setp.ne.b32 add, " add_name ", 0;\n"                                  \
        "mov.b64 b, {" b_name ", " DESCRIPTOR_UPPER "};\n"                     \
        "wgmma.mma_async.sync.aligned.m64n" #columns                           \
        "k16.f32.f16.f16 {" NAMES_##n "}, {" a0 "," a1 "," a2 "," a3           \
                                      "}, b, add, 1, 1, 0; }"                  \
        : SUMS_##n (d, 0)                                                      \
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b), "r"(add));       \
  }
DEFINE_WGMMA_ROWS (32, 16, "%16", "%17", "%18", "%19", "%20", "%21")
DEFINE_WGMMA_ROWS (64, 32, "%32", "%33", "%34", "%35", "%36", "%37")

/* A lane's terms of a slice, as four products take them. */
struct Operand {
  uint32_t v[4][4];

  __device__ __forceinline__ void
  load (const char *a)
  {
    const int lane = threadIdx.x % 32, row = threadIdx.x / 32 * 16 + lane / 4;
#pragma unroll
    for (int s = 0; s < 2; s++) {
      const uint4 *box = reinterpret_cast<const uint4 *> (a) + s * ROWS * 4;
      const uint4 upper = box[row * 4 + lane % 4];
      const uint4 lower = box[(row + 8) * 4 + lane % 4];
      v[2 * s][0] = upper.x;
      v[2 * s][1] = lower.x;
      v[2 * s][2] = upper.y;
      v[2 * s][3] = lower.y;
      v[2 * s + 1][0] = upper.z;
      v[2 * s + 1][1] = lower.z;
      v[2 * s + 1][2] = upper.w;
      v[2 * s + 1][3] = lower.w;
    }
  }

  /* Until here products under way may read the registers; the compiler does not
   * know. */
  __device__ __forceinline__ void
  keep () const
  {
#pragma unroll
    for (int s = 0; s < 4; s++)
      asm volatile("" ::"r"(v[s][0]), "r"(v[s][1]), "r"(v[s][2]), "r"(v[s][3]));
  }
};

/* One thread: keeps the stages full; weights ahead of the kernel before. */
template <typename T, Mt3CudaDecodeEpilogue EPILOGUE>
static __device__ __forceinline__ void
fetch (const HopperDecodeGemm &args, Shared<T, EPILOGUE> &shared, int parts)
{
  const int n = args.gemm.k / DECODE_SLICE, in_part = n / parts;
  const auto ask_w = [&] (int i) {
    barrier_expect (&shared.full[i % STAGES], T::stage_bytes);
    copy_tile (shared.stages[i % STAGES], &args.w,
        slice_number (i, parts, in_part) * DECODE_SLICE,
        blockIdx.x * T::columns, &shared.full[i % STAGES]);
  };
  const auto ask_a = [&] (int i) {
    char *to = shared.stages[i % STAGES] + T::w_bytes;
    for (int s = 0; s < 2; s++)
      copy_tile (to + s * (T::a_bytes / 2), &args.a,
          slice_number (i, parts, in_part) * DECODE_SLICE + s * BOX_TERMS,
          blockIdx.y * ROWS, &shared.full[i % STAGES]);
  };

  for (int i = 0; i < min (n, STAGES); i++)
    ask_w (i);
  dependent_wait ();
  for (int i = 0; i < min (n, STAGES); i++)
    ask_a (i);
  for (int i = STAGES; i < n; i++) {
    barrier_wait (&shared.empty[i % STAGES], (i / STAGES - 1) & 1);
    proxy_fence ();
    ask_w (i);
    ask_a (i);
  }
}

/* All slices, one part after the other. @total: the sum of the parts. */
template <typename T, Mt3CudaDecodeEpilogue EPILOGUE>
static __device__ __forceinline__ void
multiply_slices (const Mt3CudaDecodeGemm &a, Shared<T, EPILOGUE> &shared,
    int parts, float (&total)[T::columns / 2])
{
  const int n = a.k / DECODE_SLICE, in_part = n / parts;
  Operand next;
  Ring<STAGES> ring;
  float sums[T::columns / 2];

  barrier_wait (&shared.full[0], 0);
  next.load (shared.stages[0] + T::w_bytes);
#pragma unroll 1
  for (int i = 0; i < n; i++) {
    const int stage = ring.stage;
    const Operand operand = next;
    const uint32_t w = tile_descriptor (shared.stages[stage]);

    wgmma_fence ();
#pragma unroll
    for (int s = 0; s < 4; s++)
      wgmma_rows (sums, operand.v[s], w + s * DESCRIPTOR_STEP,
          s > 0 || i % in_part > 0);
    wgmma_commit ();
    ring.advance ();
    if (i + 1 < n) {
      barrier_wait (&shared.full[ring.stage], ring.parity);
      next.load (shared.stages[ring.stage] + T::w_bytes);
    }
    wgmma_wait<0> ();
    operand.keep ();
    barrier_arrive (&shared.empty[stage]);
    if ((i + 1) % in_part == 0)
#pragma unroll
      for (int j = 0; j < T::columns / 2; j++)
        total[j] = __fadd_rn (total[j], sums[j]);
  }
}

/* ADD: what is there already. */
template <typename T>
static __device__ __forceinline__ void
copy_before (const Mt3CudaDecodeGemm &a, float *to)
{
  constexpr int quads = T::columns / 4; /* of a row */
#pragma unroll
  for (int i = 0; i < ROWS * quads / COMPUTING; i++) {
    const int e = threadIdx.x + i * COMPUTING;
    const int row = e / quads, column = e % quads * 4;
    const int at = blockIdx.x * T::columns + column;
    const size_t from_row = blockIdx.y * ROWS + row;
    copy16 (to + row * T::stride + column,
        at >= a.x_width ? a.cross_query + from_row * a.inner + at - a.x_width
                        : a.x + from_row * a.x_width + at);
  }
}

/* Leaves the results in shared memory, [row][column]. */
template <typename T>
static __device__ __forceinline__ void
store_results (float *results, const float (&total)[T::columns / 2])
{
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;

#pragma unroll
  for (int i = 0; i < T::columns / 2; i += 2)
    *reinterpret_cast<float2 *> (
        results + (warp * 16 + lane / 4 + i / 2 % 2 * 8) * T::stride +
        i / 4 * 8 + lane % 4 * 2) = make_float2 (total[i], total[i + 1]);
}

/* The norm's factor of each row, by eight lanes, and where its keys go. */
template <typename T, Mt3CudaDecodeEpilogue EPILOGUE>
static __device__ __forceinline__ void
load_info (const Mt3CudaDecodeGemm &a, RowInfo<ROWS / 8> &info)
{
  /* Columns of the cross query are not normalised here. */
  const bool normalised =
      a.squares != nullptr && (EPILOGUE != MT3_CUDA_DECODE_QKV ||
                                  (int) blockIdx.x * T::columns < 3 * a.inner);
  const int row0 = blockIdx.y * ROWS;

#pragma unroll
  for (int row = threadIdx.x / 8; row < ROWS; row += COMPUTING / 8) {
    float factor = 1.0f;
    if (normalised) {
      const float *squares = a.squares + (size_t) (row0 + row) * (a.k / 16);
      factor = norm_factor (
          sum_squares (load_squares (squares, a.k / 16), squares, a.k / 16),
          1.0f / a.k);
    }
    if (threadIdx.x % 8 == 0)
      info.factor[row] = factor / activation_scale<false> ();
  }
  if (EPILOGUE == MT3_CUDA_DECODE_QKV && threadIdx.x < ROWS) {
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
  const int row0 = blockIdx.y * ROWS, column0 = blockIdx.x * T::columns;

#pragma unroll 4
  for (int i = 0; i < ROWS * T::columns / 2 / COMPUTING; i++) {
    const int e = threadIdx.x + i * COMPUTING;
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

/* Blocks of the next kernel that wait take room from those of other lanes, so
 * that only the longest two products have theirs wait behind them. */
template <Mt3CudaDecodeEpilogue EPILOGUE>
constexpr bool starts_next_early =
    EPILOGUE == MT3_CUDA_DECODE_GATED || EPILOGUE == MT3_CUDA_DECODE_STORE;

/* The threads that compute. */
static __device__ __forceinline__ void
computing_sync ()
{
  asm volatile("bar.sync 1, %0;" ::"n"(COMPUTING) : "memory");
}

/* The warpgroup that computes. */
template <typename T, Mt3CudaDecodeEpilogue EPILOGUE>
static __device__ __forceinline__ void
compute (const Mt3CudaDecodeGemm &a, Shared<T, EPILOGUE> &shared, int parts)
{
  float total[T::columns / 2] = {};

  dependent_wait ();
  if (!starts_next_early<EPILOGUE>)
    dependent_launch ();
  if (EPILOGUE == MT3_CUDA_DECODE_ADD)
    copy_before<T> (a, shared.before);
  copy_commit ();
  load_info<T, EPILOGUE> (a, shared.info);
  multiply_slices (a, shared, parts, total);
  copy_wait<0> ();
  computing_sync ();
  store_results<T> (shared.results, total);
  computing_sync ();
  finish_tile (a, shared);
}

template <Mt3CudaDecodeEpilogue EPILOGUE, typename T>
static __global__ void
__launch_bounds__ (THREADS, 3) decode_gemm_hopper_kernel (
    const __grid_constant__ HopperDecodeGemm args, int parts)
{
  extern __shared__ __align__ (TILE_ALIGN) char memory[];
  Shared<T, EPILOGUE> &shared =
      *reinterpret_cast<Shared<T, EPILOGUE> *> (memory);

  if (threadIdx.x == 0) {
    for (int i = 0; i < STAGES; i++) {
      barrier_init (&shared.full[i], 1);
      barrier_init (&shared.empty[i], COMPUTING);
    }
    barrier_init_done ();
  }
  __syncthreads ();
  if (starts_next_early<EPILOGUE>)
    dependent_launch ();
  if (threadIdx.x < COMPUTING)
    compute<T, EPILOGUE> (args.gemm, shared, parts);
  else if (threadIdx.x == COMPUTING)
    fetch<T, EPILOGUE> (args, shared, parts);
}

/* ---------------------------------------------------------------- launch */

template <Mt3CudaDecodeEpilogue EPILOGUE, typename T>
static cudaError_t
launch_tile (const Mt3CudaDecodeGemm &gemm, Mt3CudaLaunch launch)
{
  const auto kernel = decode_gemm_hopper_kernel<EPILOGUE, T>;
  const int row_tiles = (gemm.n_rows + ROWS - 1) / ROWS;
  const size_t shared = sizeof (Shared<T, EPILOGUE>);
  HopperDecodeGemm args = {gemm};
  cudaError_t error = allow_shared (kernel, shared);

  if (error == cudaSuccess)
    error = encode_boxes (
        &args.a, gemm.a.hi, true, row_tiles * ROWS, gemm.k, ROWS, false);
  if (error == cudaSuccess)
    error = encode_map (&args.w, gemm.w.rows, true, gemm.n, gemm.k, T::columns);
  if (error != cudaSuccess)
    return error;
  return launch_kernel (kernel, dim3 (gemm.n / T::columns, row_tiles),
      dim3 (THREADS), shared, launch, args, decode_parts (gemm.k));
}

/* Large tiles read the operands less often; but blocks should be about as many
 * as multiprocessors. */
template <Mt3CudaDecodeEpilogue EPILOGUE>
static cudaError_t
launch_epilogue (const Mt3CudaDecodeGemm &a, int tile, Mt3CudaLaunch launch)
{
  const int enough = 96;
  const int n_large = (a.n_rows + ROWS - 1) / ROWS * (a.n / 64);
  const bool large = tile > 0 ? tile == 2 : n_large >= enough;

  return large && a.n % 64 == 0 ? launch_tile<EPILOGUE, Tile<64>> (a, launch)
                                : launch_tile<EPILOGUE, Tile<32>> (a, launch);
}

cudaError_t
decode_gemm_hopper (const Mt3CudaDecodeGemm &a, int tile, Mt3CudaLaunch launch)
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
