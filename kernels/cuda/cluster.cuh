/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * cluster.cuh: a cluster of blocks that decodes rows together: what its blocks
 * know, and how they send each other results. See Mt3CudaCluster.
 *
 * A cluster of 16 blocks walks through the phases of a step together. What a
 * phase makes goes straight into the shared memory of the blocks that read it
 * in the next one (st.async), and the bytes that arrive there complete the
 * phase's barrier: there is no other synchronisation between blocks.
 *
 * Work. A product's results are cut into units of 16 columns; unit u is of
 * block u % 16, for all rows. Within the block warps share the terms exactly as
 * in decode-gemm.cu, so that the bits are the same. Attention of row r and head
 * h, pair p = r * n_heads + h, is of block p % 16, which also keeps that pair's
 * keys and values in the cache: only it ever reads them. Row r is sampled by
 * block r. The weights of a phase come from L2 while the phase before ends.
 *
 * Barriers. Each phase of a layer has one, and those behind all layers, in each
 * block. It is complete when as many bytes have arrived as the block expects,
 * which its thread 0 announces before the block sends its own results of the
 * phase. Two facts make that sound:
 *
 * 1. No byte of a phase arrives before the same phase of the layer before is
 *    complete. Every block takes part in every product (see
 *    mt3_cuda_cluster_possible()), and sends what it makes there to all blocks
 *    or, queries, keys and values, to those that attend; so a block that has
 *    all results of a layer's last product knows that all have begun it.
 * 2. No byte arrives in memory that is still read. A block sends only after all
 *    its warps have read what the phase reads (there is a barrier of the block
 *    between). And a block that sends knows that all others have sent their
 *    part of the last phase that reads what it now overwrites:
 *    planes and squares are written behind attention, when queries have been
 *    made from them; behind the second attention, which read squares; behind
 *    gated units; and by sampling, when logits have been. All else is read in
 *    the phase after it is written and rewritten at least three phases later.
 */
#pragma once

#include "decode-attention.cuh"
#include "sample.cuh"

#define CTAS 16
#define THREADS 512
#define WARPS (THREADS / 32)
#define HALVES (THREADS / ATTENTION_THREADS)
#define LAYER_PHASES 7
#define BARRIERS (LAYER_PHASES + 2)
#define TASKS 4 /* of a warp in one product at most: 16 columns by 64 terms */
#define SLICE 64 /* terms of a task */
#define FF_SLICES 2 /* of d_ff that a warp has; of other widths it has one */
#define MAX_PARTS 8
#define PART_STRIDE 20 /* floats a row of a part: no bank conflicts */
#define MAX_ROWS MT3_CUDA_CLUSTER_ROWS

/* Halves from one row of activations to the next: 64 bytes more than a
 * multiple of 128, so that the rows of an operand lie in different banks. */
static __host__ __device__ constexpr int
row_stride (int width)
{
  return width + 32;
}

/* How warps share the k terms of a product, as in decode-gemm.cu: each has one
 * of `parts` of them, `slices` slices, of every `step`-th unit. */
struct Shape {
  int k, parts, slices, step;
};

static Shape
make_shape (int k)
{
  Shape s = {k, MAX_PARTS, 0, 0};
  while (k / SLICE % s.parts != 0)
    s.parts--;
  s.slices = k / SLICE / s.parts;
  s.step = WARPS / s.parts;
  return s;
}

/* Units of a block at most. */
static int
units_of_block (int n)
{
  return (n / 16 + CTAS - 1) / CTAS;
}

/* Where things lie in shared memory, in bytes. */
struct Layout {
  int planes, attended, gated, squares, x, logits, query, cross_query, key;
  int value, parts, total;
};

static int
take (int *total, int bytes)
{
  const int at = *total;
  *total += (bytes + 127) / 128 * 128;
  return at;
}

static int
largest (int a, int b)
{
  return a > b ? a : b;
}

/* What all blocks know, made by the host. @rows: of each cluster but the
 * last. @pairs, @x_units: of a block at most. */
struct Plan {
  Mt3CudaCluster a;
  int rows, pairs, x_units, inner;
  Shape of_d, of_inner, of_ff;
  Layout at;
};

/* @tile_rows: that the kernel is made for */
static Plan
make_plan (const Mt3CudaCluster &a, int rows, int tile_rows)
{
  Plan p = {a};
  Layout &l = p.at;

  p.rows = rows;
  p.inner = a.n_heads * DIM;
  p.pairs = (tile_rows * a.n_heads + CTAS - 1) / CTAS;
  p.x_units = units_of_block (a.d_model);
  p.of_d = make_shape (a.d_model);
  p.of_inner = make_shape (p.inner);
  p.of_ff = make_shape (a.d_ff);
  const int n_behind_norm =
      largest (largest (4 * p.inner, 2 * a.d_ff), a.vocab);
  const int parts = largest (units_of_block (n_behind_norm) * p.of_d.parts,
      largest (units_of_block (a.d_model + p.inner) * p.of_inner.parts,
          p.x_units * p.of_ff.parts));
  l.total = 0;
  l.planes = take (&l.total, tile_rows * row_stride (a.d_model) * 2);
  l.attended = take (&l.total, tile_rows * row_stride (p.inner) * 2);
  l.gated = take (&l.total, tile_rows * row_stride (a.d_ff) * 2);
  l.squares = take (&l.total, tile_rows * (a.d_model / 16) * 4);
  l.x = take (&l.total, tile_rows * p.x_units * 16 * 4);
  l.logits = take (&l.total, a.vocab * 4);
  l.query = take (&l.total, p.pairs * DIM * 4);
  l.cross_query = take (&l.total, 2 * p.pairs * DIM * 4);
  l.key = take (&l.total, p.pairs * DIM * 2);
  l.value = take (&l.total, p.pairs * DIM * 2);
  /* The sampler works while there is no product. */
  l.parts = take (&l.total,
      largest (parts * tile_rows * PART_STRIDE * 4, (int) sizeof (Candidates)));
  return p;
}

#if __CUDA_ARCH__ >= 900

/* --------------------------------------------------- between the blocks */

struct Fixed {
  uint64_t barriers[BARRIERS];
  float factor[MAX_ROWS];
  int slot[MAX_ROWS], position[MAX_ROWS];
  int remaining[MAX_ROWS]; /* sent by the row's sampler */
  int row0, n_rows;
  int n_live, n_live_pairs; /* rows and pairs of this step, for thread 0 */
  AttentionShared attention[HALVES][2];
  SampleShared sample;
};

/* A block's view of the kernel: what is the same in all phases. */
struct Group {
  const Plan &plan;
  const Mt3CudaCluster &a;
  const Layout &at;
  Fixed &fixed;
  int cta, thread;
  int phase; /* of a layer, or behind all; known to the compiler */
  uint32_t counts; /* see next_layer() */

  template <typename T>
  __device__ __forceinline__ T *
  shared (int offset) const
  {
    extern __shared__ __align__ (128) unsigned char memory[];
    return reinterpret_cast<T *> (memory + offset);
  }
  __device__ __forceinline__ bool
  is_live (int row) const
  {
    return fixed.remaining[row] > 0;
  }
  __device__ __forceinline__ const Mt3CudaRow *
  row (int r) const
  {
    return a.rows + fixed.row0 + r;
  }
};

static __device__ __forceinline__ uint32_t
shared_address (const void *p)
{
  return static_cast<uint32_t> (__cvta_generic_to_shared (p));
}

/* The place in another block that p is here. */
static __device__ __forceinline__ uint32_t
address_in (const void *p, int cta)
{
  uint32_t address;
  /* Volatile, or all addresses of all phases would be made once and kept. */
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;"
               : "=r"(address)
               : "r"(shared_address (p)), "r"(cta));
  return address;
}

static __device__ __forceinline__ uint64_t *
current_barrier (const Group &g)
{
  return &g.fixed.barriers[g.phase];
}

static __device__ __forceinline__ void
send4 (const Group &g, const void *to, int cta, uint32_t v)
{
  asm volatile("st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.u32 "
               "[%0], %1, [%2];" ::"r"(address_in (to, cta)),
               "r"(v), "r"(address_in (current_barrier (g), cta))
               : "memory");
}

static __device__ __forceinline__ void
send8 (const Group &g, const void *to, int cta, float2 v)
{
  asm volatile(
      "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v2.f32 "
      "[%0], {%1, %2}, [%3];" ::"r"(address_in (to, cta)),
      "f"(v.x), "f"(v.y), "r"(address_in (current_barrier (g), cta))
      : "memory");
}

static __device__ __forceinline__ void
send16 (const Group &g, const void *to, int cta, const uint32_t *v)
{
  asm volatile(
      "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 "
      "[%0], {%1, %2, %3, %4}, [%5];" ::"r"(address_in (to, cta)),
      "r"(v[0]), "r"(v[1]), "r"(v[2]), "r"(v[3]),
      "r"(address_in (current_barrier (g), cta))
      : "memory");
}

/* What eight lanes have, 4 bytes each, to the same place in all blocks. Every
 * lane of the warp takes part; nothing is sent for those that are not
 * @valid. */
static __device__ __forceinline__ void
send_all32 (const Group &g, const void *to, uint32_t word, bool valid)
{
  const int first = g.thread % 32 / 8 * 8;
  uint32_t v[8];
#pragma unroll
  for (int i = 0; i < 8; i++)
    v[i] = __shfl_sync (0xffffffffu, word, first + i);
  if (!valid)
    return;
#pragma unroll
  for (int i = 0; i < CTAS; i += 8) {
    const int cta = g.thread % 8 + i;
    send16 (g, to, cta, v);
    send16 (g, static_cast<const char *> (to) + 16, cta, v + 4);
  }
}

/* Likewise, but of the lanes with even numbers. */
static __device__ __forceinline__ void
send_all16 (const Group &g, const void *to, uint32_t word, bool valid)
{
  const int first = g.thread % 32 / 8 * 8;
  uint32_t v[4];
#pragma unroll
  for (int i = 0; i < 4; i++)
    v[i] = __shfl_sync (0xffffffffu, word, first + 2 * i);
  if (!valid)
    return;
#pragma unroll
  for (int i = 0; i < CTAS; i += 8)
    send16 (g, to, g.thread % 8 + i, v);
}

/* One value that eight lanes all have. */
static __device__ __forceinline__ void
send_all4 (const Group &g, const void *to, uint32_t word)
{
#pragma unroll
  for (int i = 0; i < CTAS; i += 8)
    send4 (g, to, g.thread % 8 + i, word);
}

/* Thread 0 says how many bytes this block gets in the current phase. */
static __device__ __forceinline__ void
expect (const Group &g, int bytes)
{
  if (g.thread == 0)
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(
                     shared_address (current_barrier (g))),
                 "r"(bytes)
                 : "memory");
}

/* Lets the compiler take the group's numbers for new ones, or it would keep
 * what it derives from them for all phases in more registers than there are. */
static __device__ __forceinline__ void
forget (Group &g)
{
  asm volatile("" : "+r"(g.thread), "+r"(g.cta));
}

/* In one register: the layer, four times; the parity of the steps so far,
 * twice; that of the layers so far. */
static __device__ __forceinline__ void
next_layer (Group &g)
{
  g.counts = (g.counts + 4) ^ 1;
}

static __device__ __forceinline__ void
next_step (Group &g)
{
  g.counts = (g.counts & 3) ^ 2;
}

static __device__ __forceinline__ int
current_layer (const Group &g)
{
  return g.counts / 4;
}

/* Waits for them, and goes on to the next phase. */
static __device__ __forceinline__ void
finish_phase (Group &g)
{
  const uint32_t barrier = shared_address (current_barrier (g));
  const uint32_t parity =
      g.phase < LAYER_PHASES ? g.counts & 1 : g.counts >> 1 & 1;

  asm volatile("{\n"
               ".reg .pred done;\n"
               "again:\n"
               "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
               "@!done bra again;\n"
               "}" ::"r"(barrier),
               "r"(parity)
               : "memory");
  g.phase++;
  forget (g);
}

#endif
