/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * decode-attention.cu: the attention of a decode step as a kernel of its own,
 * one block a row and head.
 */
#include "decode-attention.cuh"

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
  const float2 out = join_warps<EXACT> (shared, partial, 1);
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
      grid, dim3 (ATTENTION_THREADS), 0, launch, *args);
}
