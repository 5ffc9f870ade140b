/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * decode-attention.cu: the attention of a decode step as a kernel of its own,
 * one block a row and head.
 */
#include "decode-attention.cuh"

/* Where a row and head's keys and values are, and how many. */
struct Cache {
  const char *keys, *values;
  int length;
  int settled; /* the kernel before may be appending the key behind these */
};

template <size_t ELEMENT>
static __device__ __forceinline__ Cache
find_cache (const Mt3CudaDecodeAttention &a, const Mt3CudaRow *row, int head)
{
  const int position = __ldcg (&row->position);
  Cache c;

  c.keys = static_cast<const char *> (a.cache) +
           (__ldcg (&row->slot) * a.cache_slot +
               (size_t) head * 2 * a.n_positions * DIM) *
               ELEMENT;
  c.values = c.keys + (size_t) a.n_positions * DIM * ELEMENT;
  c.length = a.length > 0 ? a.length : position + 1;
  c.settled = a.length > 0 ? a.length : position;
  return c;
}

/* Keys of the first stretch, before and behind the wait for the kernel before;
 * and those of another stretch. */
static __device__ __forceinline__ void
load_settled (ExactAttention &attention, const Cache &c)
{
  attention.load (c.keys, c.values, 0, 0, c.settled);
}

static __device__ __forceinline__ void
load_new (ExactAttention &attention, const Cache &c)
{
  attention.load (c.keys, c.values, 0, c.settled, c.length);
}

static __device__ __forceinline__ void
load_stretch (ExactAttention &attention, const Cache &c, int key0)
{
  attention.load (c.keys, c.values, key0, 0, c.length);
}

static __device__ __forceinline__ void
load_settled (FastAttention &attention, const Cache &c)
{
  attention.start (reinterpret_cast<const __half *> (c.keys),
      reinterpret_cast<const __half *> (c.values), 0, c.settled);
}

static __device__ __forceinline__ void
load_new (FastAttention &attention, const Cache &c)
{
  const auto at = [&c] (const char *cache) {
    return [&c, cache] (int dim) {
      return load_once (
          reinterpret_cast<const __half *> (cache) + c.settled * DIM + dim);
    };
  };

  if (c.settled < c.length && c.settled < FastAttention::stretch)
    attention.put (c.settled, at (c.keys), at (c.values));
}

static __device__ __forceinline__ void
load_stretch (FastAttention &attention, const Cache &c, int key0)
{
  attention.start (reinterpret_cast<const __half *> (c.keys),
      reinterpret_cast<const __half *> (c.values), key0, c.length);
}

template <bool EXACT, class Attention>
static __global__ void
__launch_bounds__ (ATTENTION_THREADS, 2)
    decode_attention_kernel (const Mt3CudaDecodeAttention a)
{
  __shared__ AttentionShared shared;
  const int head = blockIdx.x, row = blockIdx.y;
  const Cache cache = find_cache < EXACT
                          ? sizeof (float)
                          : sizeof (__half) > (a, a.rows + row, head);
  const int remaining = __ldcg (&a.rows[row].remaining);
  Attention attention;

  if (remaining > 0)
    load_settled (attention, cache);
  dependent_launch ();
  dependent_wait ();
  if (remaining == 0)
    return;

  load_new (attention, cache);
  const float *from = a.q + ((size_t) row * a.n_heads + head) * DIM;
  const float factor =
      a.squares ? norm_factor (load_squares (a.squares + row * (a.d_model / 16),
                                   a.d_model / 16),
                      a.d_model)
                : 1.0f;
  attention.set_query ([from, factor] (int dim) {
    const float2 v = __ldcg (reinterpret_cast<const float2 *> (from + dim));
    return make_float2 (__fmul_rn (v.x, factor), __fmul_rn (v.y, factor));
  });
  attention.clear ();
  attention.add (0, cache.length);
  for (int key0 = Attention::stretch; key0 < cache.length;
       key0 += Attention::stretch) {
    load_stretch (attention, cache, key0);
    attention.add (key0, cache.length);
  }
  const float2 out = attention.finish (shared);
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

  return launch_kernel (args->out.lo
                            ? decode_attention_kernel<true, ExactAttention>
                            : decode_attention_kernel<false, FastAttention>,
      grid, dim3 (ATTENTION_THREADS), 0, launch, *args);
}
