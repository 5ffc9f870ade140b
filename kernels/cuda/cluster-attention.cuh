/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * cluster-attention.cuh: the attention of a cluster, see cluster.cuh.
 */
#pragma once

#include "cluster-product.cuh"

#if __CUDA_ARCH__ >= 900

/* Which attention: that to the encoder's output, or to the tokens so far. */
template <bool CROSS> struct Attend {
  __device__ __forceinline__ int
  n_positions (const Group &g) const
  {
    return CROSS ? g.a.n_frames : g.a.n_positions;
  }
};

/* The next pair of this half from local number j on, or -1. */
static __device__ __forceinline__ int
next_pair (const Group &g, int j)
{
  for (; j * CTAS + g.cta < g.fixed.n_rows * g.a.n_heads; j += HALVES)
    if (g.is_live ((j * CTAS + g.cta) / g.a.n_heads))
      return j;
  return -1;
}

/* A pair's keys; its values lie n_positions * DIM further on. */
template <bool CROSS>
static __device__ __forceinline__ __half *
keys_of (const Group &g, const Attend<CROSS> &s, int j)
{
  const int pair = j * CTAS + g.cta;
  const int row = pair / g.a.n_heads, head = pair % g.a.n_heads;
  const size_t slot =
      g.fixed.slot[row] * (CROSS ? g.a.cross_slot : g.a.self_slot);
  const size_t first = (size_t) (current_layer (g) * g.a.n_heads + head) * 2 *
                       s.n_positions (g) * DIM;

  return static_cast<__half *> (
             CROSS ? const_cast<void *> (g.a.cross) : g.a.self) +
         slot + first;
}

/* Keys that were there before this step. */
template <bool CROSS>
static __device__ __forceinline__ int
settled_keys (const Group &g, const Attend<CROSS> &s, int j)
{
  return CROSS ? g.a.n_frames
               : g.fixed.position[(j * CTAS + g.cta) / g.a.n_heads];
}

/* The first keys of a pair (none: -1), and zeros beyond them; see load_task. */
template <bool CROSS>
static __device__ __forceinline__ void
load_first (const Group &g, const Attend<CROSS> &s, Batch<false> &batch, int j)
{
  const __half *keys = j >= 0 ? keys_of (g, s, j) : nullptr;
  const int last = j >= 0 ? settled_keys (g, s, j) : 0;

  batch.start (keys, keys + (size_t) s.n_positions (g) * DIM,
      g.thread % ATTENTION_THREADS / 8, last);
}

/* Puts the pair's new key and value, at `position`, into the cache, and into
 * the batch of keys from key0 on when it is among them. The eight lanes that
 * do so are those that read it in later steps. */
static __device__ __forceinline__ void
append (const Group &g, Batch<false> &batch, int key0, int position, int j)
{
  const int of_key = g.thread % 8 * 8;
#pragma unroll
  for (int u = 0; u < batch_keys<false>; u++)
    if (key0 + u * GROUPS == position) {
      batch.key[u].v = *reinterpret_cast<const uint4 *> (
          g.shared<__half> (g.at.key) + j * DIM + of_key);
      batch.value[u].v = *reinterpret_cast<const uint4 *> (
          g.shared<__half> (g.at.value) + j * DIM + of_key);
      __half *keys = keys_of (g, Attend<false>{}, j) + position * DIM + of_key;
      *reinterpret_cast<uint4 *> (keys) = batch.key[u].v;
      *reinterpret_cast<uint4 *> (keys + (size_t) g.a.n_positions * DIM) =
          batch.value[u].v;
    }
}

template <int TILES, bool CROSS>
static __device__ __forceinline__ void
load_query (const Group &g, float (&q)[8], int j)
{
  const int at = j * DIM + g.thread % 8 * 8;
  const float *from =
      g.shared<float> (CROSS ? g.at.cross_query : g.at.query) + at;

#pragma unroll
  for (int i = 0; i < 8; i++)
    q[i] = from[i];
  if (CROSS) {
    const float factor =
        row_factor<TILES> (g, (j * CTAS + g.cta) / g.a.n_heads);
#pragma unroll
    for (int i = 0; i < 8; i++)
      q[i] = __fmul_rn (__fadd_rn (from[g.plan.pairs * DIM + i], q[i]), factor);
  }
}

/* All pairs of this half; @batch has the first keys of the first, j. */
template <int TILES, bool CROSS>
static __device__ __forceinline__ void
attend (const Group &g, const Attend<CROSS> &s, Batch<false> &batch, int j)
{
  constexpr int stretch = GROUPS * batch_keys<false>;
  const int half = g.thread / ATTENTION_THREADS;
  const int group = g.thread % ATTENTION_THREADS / 8;

  for (int i = 0; j >= 0; i++) {
    const int pair = j * CTAS + g.cta;
    const int row = pair / g.a.n_heads, head = pair % g.a.n_heads;
    const int settled = settled_keys (g, s, j);
    const int length = CROSS ? settled : settled + 1;
    Partial partial;
    float q[8];

    load_query<TILES, CROSS> (g, q, j);
    for (int key0 = 0; key0 < length; key0 += stretch) {
      if (key0 > 0) {
        const __half *keys = keys_of (g, s, j);
        batch.load (keys, keys + (size_t) s.n_positions (g) * DIM, key0 + group,
            0, settled);
      }
      if (!CROSS)
        append (g, batch, key0 + group, settled, j);
      add_batch (partial, batch, q, key0 + group, length);
    }
    j = next_pair (g, j + HALVES);
    load_first (g, s, batch, j);
    join_groups (partial);
    const float2 out =
        join_warps<false> (g.fixed.attention[half][i % 2], partial, 2 + half);
    if (group < 4)
      send_all32 (g,
          g.shared<__half> (g.at.attended) + row * row_stride (g.plan.inner) +
              head * DIM + group * 16,
          pack2 (out.x, out.y), true);
  }
}

#endif
