/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * cluster-attention.cuh: the attention of a cluster, see cluster.cuh. Half of a
 * block's threads attend for one row and head at a time.
 */
#pragma once

#include "cluster-product.cuh"

#if __CUDA_ARCH__ >= 900

/* The next pair of this half from local number j on, or -1. */
template <class S>
static __device__ __forceinline__ int
next_pair (const Group &g, int j)
{
  for (; j * CTAS + g.cta < g.fixed.n_rows * S::heads; j += HALVES)
    if (g.is_live ((j * CTAS + g.cta) / S::heads))
      return j;
  return -1;
}

static __device__ __forceinline__ int
cache_positions (const Group &g, bool cross)
{
  return cross ? g.a.n_frames : g.a.n_positions;
}

/* A pair's keys; its values lie cache_positions() * DIM further on. */
template <class S>
static __device__ __forceinline__ __half *
keys_of (const Group &g, bool cross, int j)
{
  const uint32_t pair = j * CTAS + g.cta;
  const int row = pair / S::heads, head = pair % S::heads;
  const size_t slot =
      g.fixed.slot[row] * (cross ? g.a.cross_slot : g.a.self_slot);
  const size_t first = (size_t) (current_layer (g) * S::heads + head) * 2 *
                       cache_positions (g, cross) * DIM;

  return static_cast<__half *> (
             cross ? const_cast<void *> (g.a.cross) : g.a.self) +
         slot + first;
}

/* Keys that were there before this step. */
template <class S>
static __device__ __forceinline__ int
settled_keys (const Group &g, bool cross, int j)
{
  return cross ? g.a.n_frames : g.fixed.position[(j * CTAS + g.cta) / S::heads];
}

/* The stretch of a pair's keys from key0 on; none of pair -1, but zeros:
 * without these the compiler would keep, for threads that have nothing to load,
 * what was in the registers in the round before. */
template <class S>
static __device__ __forceinline__ void
load_keys (
    const Group &g, FastAttention &attention, bool cross, int key0, int j)
{
  const __half *keys = j >= 0 ? keys_of<S> (g, cross, j) : nullptr;

  attention.start (keys, keys + (size_t) cache_positions (g, cross) * DIM, key0,
      j >= 0 ? settled_keys<S> (g, cross, j) : 0);
}

/* Puts the pair's new key and value, at `position`, into the cache and among
 * the loaded ones, if it is of those from key0 on. The threads that do so are
 * those that read it in later steps. */
template <class S>
static __device__ __forceinline__ void
append (const Group &g, FastAttention &attention, int key0, int position, int j)
{
  const __half *key = g.shared<__half> (S::key) + j * DIM;
  __half *cache = keys_of<S> (g, false, j) + position * DIM;
  const int cache_step = g.a.n_positions * DIM;
  const auto put = [] (const __half *from, __half *to) {
    return [from, to] (int dim) {
      const uint4 v = *reinterpret_cast<const uint4 *> (from + dim);
      *reinterpret_cast<uint4 *> (to + dim) = v;
      return v;
    };
  };

  attention.put (position - key0, put (key, cache),
      put (key + (S::value - S::key) / 2, cache + cache_step));
}

template <class S>
static __device__ __forceinline__ void
load_query (const Group &g, FastAttention &attention, bool cross, int j)
{
  const float *from =
      g.shared<float> (cross ? S::cross_query : S::query) + j * DIM;
  const float factor =
      cross ? row_factor<S> (g, (j * CTAS + g.cta) / S::heads) : 1.0f;

  attention.set_query ([from, factor, cross] (int dim) {
    const float2 v = *reinterpret_cast<const float2 *> (from + dim);
    if (!cross)
      return v;
    const float2 more =
        *reinterpret_cast<const float2 *> (from + S::pairs * DIM + dim);
    return make_float2 (__fmul_rn (__fadd_rn (more.x, v.x), factor),
        __fmul_rn (__fadd_rn (more.y, v.y), factor));
  });
}

/* All pairs of this half; the first keys of the first, j, are in
 * @attention. */
template <class S>
static __device__ __forceinline__ void
attend (const Group &g, FastAttention &attention, bool cross, int j)
{
  const int half = g.thread / ATTENTION_THREADS;
  int key0 = 0, turn = 0;

#pragma unroll 1
  while (j >= 0) {
    const uint32_t pair = j * CTAS + g.cta;
    const int row = pair / S::heads, head = pair % S::heads;
    const int settled = settled_keys<S> (g, cross, j);
    const int length = cross ? settled : settled + 1;

    if (key0 == 0) {
      load_query<S> (g, attention, cross, j);
      attention.clear ();
    }
    if (!cross && settled < key0 + FastAttention::stretch)
      append<S> (g, attention, key0, settled, j);
    attention.add (key0, length);
    key0 += FastAttention::stretch;
    const bool done = key0 >= length;
    if (done) {
      key0 = 0;
      j = next_pair<S> (g, j + HALVES);
    }
    /* As forget(): addresses of what is loaded here are not worth keeping. */
    asm volatile("" : "+r"(attention.thread));
    load_keys<S> (g, attention, cross, key0, j);
    if (!done)
      continue;
    const float2 out =
        attention.finish (g.fixed.attention[half][turn], 2 + half);
    turn ^= 1;
    if (g.thread % ATTENTION_THREADS < 32)
      send_all32 (g,
          g.shared<__half> (S::attended) + row * row_stride (S::inner) +
              head * DIM + g.thread % 32 / 8 * 16,
          pack2 (out.x, out.y), true);
  }
}

#endif
