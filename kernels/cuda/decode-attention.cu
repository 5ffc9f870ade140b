/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * decode-attention.cu: one query against the cached keys and values of its
 * slot. All time goes into streaming the cache, so a block (one row and head)
 * has as many 16-byte loads in flight as registers allow, and those that do
 * not depend on the kernel before start ahead of it.
 *
 * Eight lanes hold one key or value (8 dimensions each); the 32 groups of
 * eight take keys by turns, each with a softmax of its own, and meet at the
 * end. Which group takes which key depends on the key alone.
 */
#include "device.cuh"

#define THREADS 256
#define WARPS (THREADS / 32)
#define GROUPS (THREADS / 8)
#define DIM MT3_CUDA_HEAD_DIM
#define MINUS_INFINITY -1e30f /* finite: no NaN from a group without keys */

/* Eight dimensions of a key or value as the cache holds them. */
template <bool EXACT> struct Vector8;

template <> struct Vector8<false> {
  uint4 v;
  __device__ __forceinline__ void
  load (const void *cache, int i)
  {
    v = load_once (static_cast<const __half *> (cache) + i);
  }
  __device__ __forceinline__ void
  unpack (float (&f)[8]) const
  {
    const __half2 *h = reinterpret_cast<const __half2 *> (&v);
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const float2 pair = __half22float2 (h[i]);
      f[2 * i] = pair.x;
      f[2 * i + 1] = pair.y;
    }
  }
};

template <> struct Vector8<true> {
  uint4 v[2];
  __device__ __forceinline__ void
  load (const void *cache, int i)
  {
    v[0] = load_once (static_cast<const float *> (cache) + i);
    v[1] = load_once (static_cast<const float *> (cache) + i + 4);
  }
  __device__ __forceinline__ void
  unpack (float (&f)[8]) const
  {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      f[4 * i] = __uint_as_float (v[i].x);
      f[4 * i + 1] = __uint_as_float (v[i].y);
      f[4 * i + 2] = __uint_as_float (v[i].z);
      f[4 * i + 3] = __uint_as_float (v[i].w);
    }
  }
};

/* Keys that a group loads at once. */
template <bool EXACT> constexpr int batch_keys = EXACT ? 4 : 8;

template <bool EXACT> struct Batch {
  Vector8<EXACT> key[batch_keys<EXACT>], value[batch_keys<EXACT>];

  /* Loads keys key0 + u * GROUPS that lie in [first, last). */
  __device__ __forceinline__ void
  load (const void *keys, const void *values, int key0, int first, int last)
  {
#pragma unroll
    for (int u = 0; u < batch_keys<EXACT>; u++) {
      const int at = key0 + u * GROUPS;
      if (at >= first && at < last) {
        key[u].load (keys, at * DIM + threadIdx.x % 8 * 8);
        value[u].load (values, at * DIM + threadIdx.x % 8 * 8);
      }
    }
  }
};

/* Softmax-weighted sum of values so far. */
struct Partial {
  float max = MINUS_INFINITY;
  float sum = 0.0f;
  float out[8] = {};

  __device__ __forceinline__ void
  rescale (float new_max)
  {
    const float factor = __expf (max - new_max);
    max = new_max;
    sum = __fmul_rn (sum, factor);
#pragma unroll
    for (int i = 0; i < 8; i++)
      out[i] = __fmul_rn (out[i], factor);
  }
};

template <bool EXACT>
static __device__ __forceinline__ float
exponential (float x)
{
  return EXACT ? expf (x) : __expf (x);
}

template <bool EXACT>
static __device__ __forceinline__ void
add_batch (Partial &partial, const Batch<EXACT> &batch, const float (&q)[8],
    int key0, int length)
{
  float score[batch_keys<EXACT>];
  float max = partial.max;

#pragma unroll
  for (int u = 0; u < batch_keys<EXACT>; u++) {
    float key[8];
    batch.key[u].unpack (key);
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < 8; i++)
      sum = __fmaf_rn (q[i], key[i], sum);
#pragma unroll
    for (int step = 4; step > 0; step /= 2)
      sum += __shfl_xor_sync (0xffffffffu, sum, step);
    score[u] = key0 + u * GROUPS < length ? sum : MINUS_INFINITY;
    max = fmaxf (max, score[u]);
  }
  partial.rescale (max);
#pragma unroll
  for (int u = 0; u < batch_keys<EXACT>; u++)
    if (key0 + u * GROUPS < length) {
      const float weight = exponential<EXACT> (score[u] - max);
      float value[8];
      batch.value[u].unpack (value);
      partial.sum += weight;
#pragma unroll
      for (int i = 0; i < 8; i++)
        partial.out[i] = __fmaf_rn (weight, value[i], partial.out[i]);
    }
}

/* Joins the four groups of a warp; every lane gets the result for its
 * dimensions. */
static __device__ __forceinline__ void
join_groups (Partial &partial)
{
#pragma unroll
  for (int step = 8; step < 32; step *= 2) {
    const float max =
        fmaxf (partial.max, __shfl_xor_sync (0xffffffffu, partial.max, step));
    partial.rescale (max);
    partial.sum += __shfl_xor_sync (0xffffffffu, partial.sum, step);
#pragma unroll
    for (int i = 0; i < 8; i++)
      partial.out[i] += __shfl_xor_sync (0xffffffffu, partial.out[i], step);
  }
}

struct Shared {
  float max[WARPS], sum[WARPS];
  float out[WARPS][DIM];
};

/* Joins the warps; of the first 32 threads each gets two of the 64 results. */
template <bool EXACT>
static __device__ __forceinline__ float2
join_warps (Shared &shared, const Partial &partial)
{
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;

  if (lane < 8) {
#pragma unroll
    for (int i = 0; i < 8; i++)
      shared.out[warp][lane * 8 + i] = partial.out[i];
    if (lane == 0) {
      shared.max[warp] = partial.max;
      shared.sum[warp] = partial.sum;
    }
  }
  __syncthreads ();
  if (warp > 0)
    return make_float2 (0.0f, 0.0f);

  float max = shared.max[0];
#pragma unroll
  for (int w = 1; w < WARPS; w++)
    max = fmaxf (max, shared.max[w]);
  float sum = 0.0f, out0 = 0.0f, out1 = 0.0f;
#pragma unroll
  for (int w = 0; w < WARPS; w++) {
    const float factor = exponential<EXACT> (shared.max[w] - max);
    sum = __fmaf_rn (factor, shared.sum[w], sum);
    out0 = __fmaf_rn (factor, shared.out[w][2 * lane], out0);
    out1 = __fmaf_rn (factor, shared.out[w][2 * lane + 1], out1);
  }
  return make_float2 (out0 / sum, out1 / sum);
}

template <bool EXACT>
static __global__ void
__launch_bounds__ (THREADS, 2)
    decode_attention_kernel (const Mt3CudaDecodeAttention a)
{
  __shared__ Shared shared;
  constexpr int stretch = GROUPS * batch_keys<EXACT>;
  const int head = blockIdx.x, row = blockIdx.y;
  const int group = threadIdx.x / 8;
  const Mt3CudaRow *state = a.rows + row;
  const int remaining = __ldcg (&state->remaining);
  const int position = __ldcg (&state->position);
  constexpr size_t element = EXACT ? sizeof (float) : sizeof (__half);
  const char *keys = static_cast<const char *> (a.cache) +
                     (__ldcg (&state->slot) * a.cache_slot +
                         (size_t) head * 2 * a.n_positions * DIM) *
                         element;
  const char *values = keys + (size_t) a.n_positions * DIM * element;
  const int length = a.length > 0 ? a.length : position + 1;
  /* The kernel before may be appending the key at `position`. */
  const int settled = a.length > 0 ? a.length : position;
  Batch<EXACT> batch;
  Partial partial;
  float q[8];

  if (remaining > 0)
    batch.load (keys, values, group, 0, settled);
  dependent_launch ();
  dependent_wait ();
  if (remaining == 0)
    return;

  batch.load (keys, values, group, settled, length);
  const float4 *from = reinterpret_cast<const float4 *> (
      a.q + ((size_t) row * a.n_heads + head) * DIM + threadIdx.x % 8 * 8);
  const float factor =
      a.squares ? norm_factor (load_squares (a.squares + row * (a.d_model / 16),
                                   a.d_model / 16),
                      a.d_model)
                : 1.0f;
#pragma unroll
  for (int i = 0; i < 2; i++) {
    const float4 v = __ldcg (from + i);
    q[4 * i] = __fmul_rn (v.x, factor);
    q[4 * i + 1] = __fmul_rn (v.y, factor);
    q[4 * i + 2] = __fmul_rn (v.z, factor);
    q[4 * i + 3] = __fmul_rn (v.w, factor);
  }
  add_batch (partial, batch, q, group, length);
  for (int key0 = stretch; key0 < length; key0 += stretch) {
    batch.load (keys, values, key0 + group, 0, length);
    add_batch (partial, batch, q, key0 + group, length);
  }
  join_groups (partial);
  const float2 out = join_warps<EXACT> (shared, partial);
  if (threadIdx.x < 32)
    store2<EXACT> (a.out,
        ((size_t) row * a.n_heads + head) * DIM + 2 * threadIdx.x, out.x,
        out.y);
}

cudaError_t
mt3_cuda_decode_attention (
    const Mt3CudaDecodeAttention *args, Mt3CudaLaunch launch)
{
  const dim3 grid (args->n_heads, args->n_rows);

  return launch_kernel (args->out.lo ? decode_attention_kernel<true>
                                     : decode_attention_kernel<false>,
      grid, dim3 (THREADS), 0, launch, *args);
}
