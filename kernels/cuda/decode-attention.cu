/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * decode-attention.cu: attention of a decode step, for any device and any
 * number of rows. All time goes into streaming the cache, so a block (one row
 * and head) has as many 16-byte loads in flight as registers allow, and those
 * that do not depend on the kernel before start ahead of it.
 */
#include "decode-attention.cuh"

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

template <bool EXACT>
static __global__ void
__launch_bounds__ (ATTENTION_THREADS, 2)
    decode_attention_kernel (const Mt3CudaDecodeAttention a)
{
  __shared__ AttentionShared shared;
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

/* From so many rows on decode-attention-hopper.cu is faster. */
#define MANY_ROWS 96

static bool
suits_hopper (const Mt3CudaDecodeAttention &a)
{
  return a.out.lo == nullptr && hopper_processors () > 0 &&
         (a.kernel == 2 || (a.kernel == 0 && a.n_rows >= MANY_ROWS)) &&
         a.d_model / MT3_CUDA_DECODE_SQUARES <= ATTENTION_SQUARES;
}

cudaError_t
mt3_cuda_decode_attention (
    const Mt3CudaDecodeAttention *args, Mt3CudaLaunch launch)
{
  const dim3 grid (args->n_heads, args->n_rows);

  if (suits_hopper (*args))
    return decode_attention_hopper (*args, launch);
  return launch_kernel (args->out.lo ? decode_attention_kernel<true>
                                     : decode_attention_kernel<false>,
      grid, dim3 (ATTENTION_THREADS), 0, launch, *args);
}
