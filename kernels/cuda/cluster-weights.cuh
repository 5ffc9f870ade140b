/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * cluster-weights.cuh: how weights come to the blocks of a cluster.
 *
 * A cluster lies in one GPC, which gets some 1.1 TB/s from L2, and all weights
 * of a step are 48 MB: so they must come without a pause, whatever the phase.
 * A block's part of them, unit by unit, goes into a ring in shared memory by
 * bulk copies. Thread 0 asks for as much as there is room for whenever a
 * product has been made and its weights are not needed any more. The first
 * barrier of the block behind a product says so: no other is needed to reuse
 * the memory.
 */
#pragma once

#include "cluster.cuh"

#if __CUDA_ARCH__ >= 900

/* Some units of 16 columns. */
struct Units {
  int first, n;
};

/* This block's of n columns. */
static __device__ __forceinline__ Units
share_units (int cta, int n)
{
  const int all = n / 16 / CTAS, more = n / 16 % CTAS;

  return Units{cta * all + min (cta, more), all + (cta < more ? 1 : 0)};
}

/* Of a product; SELF_OUT has those of x and those of the cross query. */
template <class S>
static __device__ __forceinline__ Units
own_units (const Group &g, int product)
{
  return share_units (g.cta, product == QKV      ? 4 * S::inner
                             : product == UP     ? 2 * S::ff
                             : product == LOGITS ? g.a.vocab
                                                 : S::d);
}

template <class S>
static __device__ __forceinline__ int
count_units (const Group &g, int product)
{
  return own_units<S> (g, product).n +
         (product == SELF_OUT ? share_units (g.cta, S::inner).n : 0);
}

/* The first column of a unit. */
template <class S>
static __device__ __forceinline__ int
column_of (const Group &g, int product, int unit)
{
  const Units own = own_units<S> (g, product);

  return product == SELF_OUT && unit >= own.n
             ? S::d + (share_units (g.cta, S::inner).first + unit - own.n) * 16
             : (own.first + unit) * 16;
}

template <class S>
static __device__ __forceinline__ int
unit_bytes (int product)
{
  return 32 * S::k (product);
}

/* What a block has of a matrix is one range of memory; of SELF_OUT it is two,
 * numbers SELF_OUT and N_PRODUCTS. */
static __device__ __forceinline__ int
product_of (int range)
{
  return range == N_PRODUCTS ? SELF_OUT : range;
}

template <class S>
static __device__ __forceinline__ void
start_range (const Group &g, Stream &s, int range)
{
  const int product = product_of (range), bytes = unit_bytes<S> (product);
  const char *w = static_cast<const char *> (
      product == LOGITS ? g.a.logits : g.a.layers[s.layer].w[product]);
  Units units = own_units<S> (g, product);

  if (range == N_PRODUCTS) {
    units = share_units (g.cta, S::inner);
    units.first += S::d / 16;
  }
  s.range = range;
  s.from = w + (size_t) units.first * bytes;
  s.left = units.n * bytes;
}

template <class S>
static __device__ __forceinline__ void
next_range (const Group &g, Stream &s)
{
  int range = s.range == SELF_OUT     ? (int) N_PRODUCTS
              : s.range == N_PRODUCTS ? (int) CROSS_OUT
              : s.range == LOGITS     ? (int) QKV
                                      : s.range + 1;

  if (s.range == DOWN && ++s.layer < g.a.n_layers)
    range = QKV;
  if (s.range == LOGITS)
    s.layer = 0;
  start_range<S> (g, s, range);
}

/* Asks for some bytes; @is_last: of their product. */
static __device__ __forceinline__ void
copy_bulk (const Group &g, int to, const char *from, int bytes, int product,
    bool is_last)
{
  const uint32_t barrier = shared_address (&g.fixed.weights[product]);

  if (is_last)
    arrive_and_expect (&g.fixed.weights[product], bytes);
  else
    asm volatile(
        "mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(
            barrier),
        "r"(bytes)
        : "memory");
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
      "[%0], [%1], %2, [%3];" ::"r"(shared_address (g.shared<char> (to))),
      "l"(from), "r"(bytes), "r"(barrier)
      : "memory");
}

/* Asks for what there is room for; thread 0. A product's barrier can count one
 * layer at a time: so at most a layer's products are on the way. */
template <class S>
static __device__ __forceinline__ void
fill_ring (const Group &g, Stream s)
{
#pragma unroll 1
  while (s.free > 0 && (s.has_begun || s.n_products < LOGITS)) {
    const int bytes = min (min (s.left, s.free), S::ring_bytes - s.at);
    const bool is_last = bytes == s.left && s.range != SELF_OUT;

    copy_bulk (g, S::ring + s.at, s.from, bytes, product_of (s.range), is_last);
    s.n_products += s.has_begun ? 0 : 1;
    s.has_begun = !is_last;
    s.from += bytes;
    s.left -= bytes;
    s.free -= bytes;
    s.at = s.at + bytes == S::ring_bytes ? 0 : s.at + bytes;
    if (s.left == 0)
      next_range<S> (g, s);
  }
  g.fixed.stream = s;
}

template <class S>
static __device__ __forceinline__ void
start_ring (const Group &g)
{
  Stream s = {};

  s.free = S::ring_bytes;
  start_range<S> (g, s, QKV);
  fill_ring<S> (g, s);
}

/* Behind a barrier of the block that follows the product; thread 0. */
template <class S>
static __device__ __forceinline__ void
reuse_weights (const Group &g, int product)
{
  Stream s = g.fixed.stream;

  s.free += count_units<S> (g, product) * unit_bytes<S> (product);
  s.n_products--;
  fill_ring<S> (g, s);
}

/* Waits for what nobody needs any more, from the first layer on; thread 0. */
static __device__ __forceinline__ void
drain_ring (const Group &g)
{
  const Stream &s = g.fixed.stream;

  for (int p = QKV; p < s.n_products; p++) {
    if (p + 1 == s.n_products && s.has_begun)
      arrive_and_expect (&g.fixed.weights[p], 0);
    wait_for (&g.fixed.weights[p], current_parity (g, true));
  }
}

/* Waits for a product's weights; returns where they are in the ring. */
template <class S>
static __device__ __forceinline__ int
wait_for_weights (Group &g, int product)
{
  constexpr int slices = S::ring_bytes / SLICE_BYTES;
  const int at = current_slice (g);
  const int end = at + count_units<S> (g, product) * (S::k (product) / SLICE);

  wait_for (&g.fixed.weights[product], current_parity (g, product != LOGITS));
  set_slice (g, end >= slices ? end - slices : end);
  return at * SLICE_BYTES;
}

#endif
