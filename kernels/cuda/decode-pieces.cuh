/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * decode-pieces.cuh: the order in which the attention of many rows takes its
 * rows, heads and pieces of keys and values, and how these come into shared
 * memory. For compute capability 9.0.
 */
#pragma once

#include "hopper.cuh"

/* @bytes: a multiple of 16. Caches leave L2 first, as in load_once(). */
static __device__ __forceinline__ void
copy_bulk (void *to, const void *from, uint32_t bytes, uint64_t *barrier)
{
  asm volatile("{ .reg .b64 policy;\n"
               "createpolicy.fractional.L2::evict_first.b64 policy, 1.0;\n"
               "cp.async.bulk.shared::cluster.global.mbarrier"
               "::complete_tx::bytes.L2::cache_hint "
               "[%0], [%1], %2, [%3], policy; }" ::"r"(shared_address (to)),
               "l"(from), "r"(bytes), "r"(shared_address (barrier))
               : "memory");
}

/* The row and head that the block takes in a round: those of a round lie side
 * by side, and every other round is taken backwards, for the rows are sorted by
 * length. */
static __device__ __forceinline__ int
item_of (int round)
{
  const int block = round % 2 ? gridDim.x - 1 - blockIdx.x : blockIdx.x;

  return round * gridDim.x + block;
}

/* So many keys and as many values, N each. */
template <int N>
static __device__ __forceinline__ int
pieces_of (int length)
{
  return 2 * ((length + N - 1) / N);
}

/* Makes an item one of its pieces: all keys of a stretch, IN_STRETCH pieces,
 * then its values. @Task: has length, and is given kv and first */
template <int N, int IN_STRETCH, typename Task>
static __device__ __forceinline__ void
choose_piece (Task &task, int piece)
{
  const int key0 = piece / (2 * IN_STRETCH) * (IN_STRETCH * N);
  const int there = (min (IN_STRETCH * N, task.length - key0) + N - 1) / N;
  const int i = piece % (2 * IN_STRETCH);

  task.kv = i >= there;
  task.first = key0 + (i - task.kv * there) * N;
}
