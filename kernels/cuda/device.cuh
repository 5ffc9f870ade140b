/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * device.cuh: what the kernels share: tensor core products, the split form of
 * float32, dependent launch, asynchronous copies.
 */
#pragma once

#include "mt3-cuda-kernels.h"

#include <cuda_fp16.h>

#define SPLIT 2048.0f /* lo planes hold (value - hi) * SPLIT */

/* Scale of stored activations; see Mt3CudaPlanes. */
template <bool EXACT>
__device__ constexpr float
activation_scale ()
{
  return EXACT ? 1.0f / 64 : 1.0f;
}

/* The 16-byte chunk of panels that holds, of 16 rows and 32 terms, those of
 * `lane` in the upper or lower 8 rows; see MT3_CUDA_PANELS. */
static __device__ __forceinline__ size_t
panel_chunk (int k, int row16, int term32, int half, int lane)
{
  return (((size_t) row16 * (k / 32) + term32) * 2 + half) * 32 + lane;
}

struct Half2Planes {
  uint32_t hi, lo;
};

static __device__ __forceinline__ uint32_t
half2_bits (__half2 h)
{
  return *reinterpret_cast<uint32_t *> (&h);
}

/* Two neighbouring values (already scaled) as planes. */
template <bool EXACT>
static __device__ __forceinline__ Half2Planes
split2 (float v0, float v1)
{
  Half2Planes p;
  __half2 hi = __floats2half2_rn (v0, v1);
  p.hi = half2_bits (hi);
  p.lo = 0;
  if (EXACT) {
    float2 back = __half22float2 (hi);
    p.lo = half2_bits (
        __floats2half2_rn ((v0 - back.x) * SPLIT, (v1 - back.y) * SPLIT));
  }
  return p;
}

static __device__ __forceinline__ bool
fits_half (float v0, float v1)
{
  return fabsf (v0) <= 65504.0f && fabsf (v1) <= 65504.0f;
}

/* Stores two neighbouring activations at element `i` (even). TRUE when one of
 * them does not fit float16. */
template <bool EXACT>
static __device__ __forceinline__ bool
store2 (const Mt3CudaPlanes &out, size_t i, float v0, float v1)
{
  constexpr float scale = activation_scale<EXACT> ();
  v0 *= scale;
  v1 *= scale;
  Half2Planes p = split2<EXACT> (v0, v1);
  *reinterpret_cast<uint32_t *> (static_cast<__half *> (out.hi) + i) = p.hi;
  if (EXACT)
    *reinterpret_cast<uint32_t *> (static_cast<__half *> (out.lo) + i) = p.lo;
  return !fits_half (v0, v1);
}

/* Among four neighbouring lanes: v[j] of lane i and v[i] of lane j change
 * places. */
static __device__ __forceinline__ void
transpose4 (uint32_t (&v)[4])
{
#pragma unroll
  for (int step = 1; step <= 2; step *= 2)
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const int low = step == 1 ? i * 2 : i, high = low + step;
      const bool upper = threadIdx.x & step;
      const uint32_t other =
          __shfl_xor_sync (0xffffffffu, upper ? v[low] : v[high], step);
      if (upper)
        v[low] = other;
      else
        v[high] = other;
    }
}

/* Stores 32 neighbouring activations of the split form from element `i` on,
 * whose lanes have of each 8 two, as mma() leaves them: 16 bytes a lane. TRUE
 * when one of them does not fit float16. */
static __device__ __forceinline__ bool
store32 (const Mt3CudaPlanes &out, size_t i, const float (&v)[4][2])
{
  constexpr float scale = activation_scale<true> ();
  const size_t at = i + threadIdx.x % 4 * 8;
  uint32_t hi[4], lo[4];
  bool fits = true;

#pragma unroll
  for (int c = 0; c < 4; c++) {
    const float v0 = v[c][0] * scale, v1 = v[c][1] * scale;
    const Half2Planes p = split2<true> (v0, v1);
    hi[c] = p.hi;
    lo[c] = p.lo;
    fits &= fits_half (v0, v1);
  }
  transpose4 (hi);
  transpose4 (lo);
  *reinterpret_cast<uint4 *> (static_cast<__half *> (out.hi) + at) =
      make_uint4 (hi[0], hi[1], hi[2], hi[3]);
  *reinterpret_cast<uint4 *> (static_cast<__half *> (out.lo) + at) =
      make_uint4 (lo[0], lo[1], lo[2], lo[3]);
  return !fits;
}

/* d [16, 8] += a [16, 16] b [16, 8], float16 operands, float32 sums. Turing
 * has the product for 8 terms only. */
static __device__ __forceinline__ void
mma (float (&d)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
    uint32_t b0, uint32_t b1)
{
#if __CUDA_ARCH__ >= 800
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
#else
  asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 "
      "{%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a0), "r"(a1), "r"(b0));
  asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 "
      "{%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a2), "r"(a3), "r"(b1));
#endif
}

static __device__ __forceinline__ void
load_matrix4 (uint32_t (&r)[4], const void *row)
{
  uint32_t address = static_cast<uint32_t> (__cvta_generic_to_shared (row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address));
}

static __device__ __forceinline__ void
load_matrix4_transposed (uint32_t (&r)[4], const void *row)
{
  uint32_t address = static_cast<uint32_t> (__cvta_generic_to_shared (row));
  asm volatile(
      "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
      : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
      : "r"(address));
}

/* 16 bytes from global to shared memory, asynchronously where possible. */
static __device__ __forceinline__ void
copy16 (void *shared, const void *global)
{
#if __CUDA_ARCH__ >= 800
  uint32_t address = static_cast<uint32_t> (__cvta_generic_to_shared (shared));
  asm volatile(
      "cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(global)
      : "memory");
#else
  *static_cast<uint4 *> (shared) = __ldcg (static_cast<const uint4 *> (global));
#endif
}

static __device__ __forceinline__ void
copy_commit ()
{
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

template <int PENDING>
static __device__ __forceinline__ void
copy_wait ()
{
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
#endif
}

/* 16 bytes, if at all, that are read once a step and larger in sum than the L2
 * cache: they leave it first, so that the weights stay. */
static __device__ __forceinline__ void
load_once (uint4 &v, const void *global, bool wanted)
{
#if __CUDA_ARCH__ >= 800
  asm volatile("{ .reg .b64 policy; .reg .pred wanted;\n"
               "createpolicy.fractional.L2::evict_first.b64 policy, 1.0;\n"
               "setp.ne.b32 wanted, %5, 0;\n"
               "@wanted ld.global.L1::no_allocate.L2::cache_hint.v4.u32 "
               "{%0,%1,%2,%3}, [%4], policy; }"
               : "+r"(v.x), "+r"(v.y), "+r"(v.z), "+r"(v.w)
               : "l"(global), "r"((int) wanted)
               : "memory");
#else
  if (wanted)
    v = __ldcg (static_cast<const uint4 *> (global));
#endif
}

/* Asks for 128 bytes that will be loaded later. */
static __device__ __forceinline__ void
load_soon (const void *global)
{
  asm volatile("prefetch.global.L2 [%0];" ::"l"(global) : "memory");
}

/* Waits until the kernel before has finished and its writes are visible.
 * Memory that it writes must be read after this, past the L1 cache (__ldcg):
 * the loads of a __restrict__ or const pointer may be moved over the wait. */
static __device__ __forceinline__ void
dependent_wait ()
{
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/* Has an address computed by now, so before a wait that follows. */
template <typename T>
static __device__ __forceinline__ void
compute_now (T *&address)
{
  asm volatile("" : "+l"(address));
}

/* Lets the next kernel start, up to its own wait. Before a kernel's own wait
 * when the next one reads nothing but weights ahead, so that several kernels
 * have their weights coming; after it when the next one reads memory that
 * kernels write, which are then finished but for the one directly before. */
static __device__ __forceinline__ void
dependent_launch ()
{
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/* The factor of RMSNorm, of a row's partial sums of squares; eight lanes a row.
 * Each lane asks for its share of them first, and nothing waits until it is
 * used. n_partial is even. */
#define SQUARES_AHEAD 2 /* pairs a lane: rows of 512 decode columns */

struct SquaresShare {
  float2 pair[SQUARES_AHEAD];
};

static __device__ __forceinline__ SquaresShare
load_squares (const float *squares, int n_partial)
{
  SquaresShare share;
#pragma unroll
  for (int u = 0; u < SQUARES_AHEAD; u++) {
    const int i = threadIdx.x % 8 + u * 8;
    share.pair[u] = make_float2 (0.0f, 0.0f);
    if (i < n_partial / 2)
      share.pair[u] = __ldcg (reinterpret_cast<const float2 *> (squares) + i);
  }
  return share;
}

static __device__ __forceinline__ float
add_share (const SquaresShare &share)
{
  float sum = 0.0f;
#pragma unroll
  for (int u = 0; u < SQUARES_AHEAD; u++)
    sum += share.pair[u].x + share.pair[u].y;
  return sum;
}

/* The lane's sum of what rows have that are wider than all shares. */
static __device__ __forceinline__ float
sum_beyond (const float *squares, int n_partial)
{
  float sum = 0.0f;
#pragma unroll 1
  for (int i = threadIdx.x % 8 + SQUARES_AHEAD * 8; i < n_partial / 2; i += 8) {
    const float2 v = __ldcg (reinterpret_cast<const float2 *> (squares) + i);
    sum += v.x + v.y;
  }
  return sum;
}

static __device__ __forceinline__ float
sum_squares (const SquaresShare &share, const float *squares, int n_partial)
{
  return add_share (share) + sum_beyond (squares, n_partial);
}

/* @inverse_width: 1 / columns, for a division would take long */
static __device__ __forceinline__ float
norm_factor (float sum, float inverse_width)
{
#pragma unroll
  for (int step = 4; step > 0; step /= 2)
    sum += __shfl_xor_sync (0xffffffffu, sum, step);
  return rsqrtf (__fmaf_rn (sum, inverse_width, 1e-6f));
}

/* Where a product and a sum could become one operation, as here and below, the
 * code says whether: kernels that compute the same must make the same bits. */
static __device__ __forceinline__ float
sum_of_squares (float a, float b)
{
  return __fmaf_rn (b, b, __fmul_rn (a, a));
}

/* The tanh form of GELU. */
static __device__ __forceinline__ float
gelu (float x)
{
  const float cube = __fmul_rn (__fmul_rn (x, x), x);
  const float inner =
      __fmul_rn (0.79788456080286536f, __fmaf_rn (0.044715f, cube, x));
  /* tanh (z) = 1 - 2 / (exp (2 z) + 1), without the branches of tanhf and of
   * an exact division */
  return __fmul_rn (__fmul_rn (0.5f, x),
      2.0f - __fdividef (2.0f, __expf (__fmul_rn (2.0f, inner)) + 1.0f));
}

static inline int
device_attribute (cudaDeviceAttr attribute)
{
  int device = 0, value = 0;
  cudaGetDevice (&device);
  cudaDeviceGetAttribute (&value, attribute, device);
  return value;
}

/* Multiprocessors of the device when it is of compute capability 9.0, which
 * has kernels of its own; else 0. */
static inline int
hopper_processors (void)
{
  return device_attribute (cudaDevAttrComputeCapabilityMajor) == 9 &&
                 device_attribute (cudaDevAttrComputeCapabilityMinor) == 0
             ? device_attribute (cudaDevAttrMultiProcessorCount)
             : 0;
}

/* Lets a block have so much dynamic shared memory, and a multiprocessor all
 * that it can: to change the division it would have to fall idle between
 * kernels of many rows. */
template <typename Kernel>
static cudaError_t
allow_shared (Kernel *kernel, size_t bytes)
{
  const cudaError_t error = cudaFuncSetAttribute (
      kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int) bytes);

  return error != cudaSuccess
             ? error
             : cudaFuncSetAttribute (kernel,
                   cudaFuncAttributePreferredSharedMemoryCarveout,
                   cudaSharedmemCarveoutMaxShared);
}

/* From so many texts on a decode step in float16 has an attention of its own
 * where the device is of compute capability 9.0. */
#define MANY_ROWS 96

/* How much of what a multiprocessor divides between shared memory and L1 cache
 * is shared, in hundredths, in all kernels of a decode step of few rows. Left
 * to the driver it may differ between them, and a multiprocessor has to fall
 * idle to change it. What is left as L1 is about what attention has under way:
 * 124 KB of 128. */
#define FEW_ROWS_SHARED 58

static inline Mt3CudaLaunch
divided_for_few_rows (Mt3CudaLaunch launch)
{
  launch.shared_percent = hopper_processors () > 0 ? FEW_ROWS_SHARED : 0;
  return launch;
}

/* Returns the error of this launch, and not of anything before it. */
template <typename... Parameters, typename... Args>
static cudaError_t
launch_kernel (void (*kernel) (Parameters...), dim3 grid, dim3 block,
    size_t shared, Mt3CudaLaunch launch, const Args &...args)
{
  cudaLaunchAttribute attributes[2];
  cudaLaunchConfig_t config = {};

  if (launch.dependent) {
    cudaLaunchAttribute *a = &attributes[config.numAttrs++];
    a->id = cudaLaunchAttributeProgrammaticStreamSerialization;
    a->val.programmaticStreamSerializationAllowed = 1;
  }
  if (launch.shared_percent > 0) {
    cudaLaunchAttribute *a = &attributes[config.numAttrs++];
    a->id = cudaLaunchAttributePreferredSharedMemoryCarveout;
    a->val.sharedMemCarveout = launch.shared_percent;
  }
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared;
  config.stream = launch.stream;
  config.attrs = attributes;
  return cudaLaunchKernelEx (&config, kernel, args...);
}
