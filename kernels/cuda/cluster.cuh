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
 * Work. A product's results are cut into units of 16 columns, of which each
 * block has some that lie side by side, for all rows. Sums have the order of
 * decode-gemm.cu, so that the bits are the same. Attention of row r and head h,
 * pair p = r * n_heads
 * + h, is of block p % 16, which also keeps that pair's keys and values in the
 * cache: only it ever reads them. Row r is sampled by block r.
 *
 * Barriers. Each phase of a layer has one, and those behind all layers, in each
 * block. It is complete when as many bytes have arrived as the block expects,
 * which its thread 0 announces before the block sends its own results of the
 * phase. Two facts make that sound:
 *
 * 1. No byte of a phase arrives before the same phase of the layer before is
 *    complete. Every block takes part in every product, and sends what it makes
 *    there to all blocks or, queries, keys and values, to those that attend; so
 *    a block that has all results of a layer's last product knows that all have
 *    begun it.
 * 2. No byte arrives in memory that is still read. A block sends only after all
 *    its warps have read what the phase reads (there is a barrier of the block
 *    between). And a block that sends knows that all others have sent their
 *    part of the last phase that reads what it now overwrites: planes and
 *    squares are written behind attention, when queries have been made from
 *    them; behind the second attention, which read squares; behind gated units;
 *    and by sampling, when logits have been. What attention makes and the gated
 *    units share their memory: each is written when a product of all blocks has
 *    followed the one that read the other. All else is read in the phase after
 *    it is written and rewritten at least three phases later.
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
#define MAX_UNITS 8 /* of a block in one product */
#define SLICE 64 /* terms that one chain of sums takes at a time */
#define SLICE_BYTES (SLICE * 16 * 2) /* of a unit */
#define SUM_STRIDE 20 /* floats from row to row of sums: no bank conflicts */
#define MAX_ROWS MT3_CUDA_CLUSTER_ROWS
#define SHARED_MEMORY 232448 /* that a block may have */

/* The products of a layer in order, and the one behind all layers. */
enum ProductName { QKV, SELF_OUT, CROSS_OUT, UP, DOWN, LOGITS, N_PRODUCTS };

/* Whether a norm lies before it. */
static __host__ __device__ constexpr bool
is_normed (int product)
{
  return product == QKV || product == UP || product == LOGITS;
}

/* Halves from one row of activations to the next: 64 bytes more than a
 * multiple of 128, so that the rows of an operand lie in different banks. */
static __host__ __device__ constexpr int
row_stride (int width)
{
  return width + 32;
}

static __host__ __device__ constexpr int
largest (int a, int b)
{
  return a > b ? a : b;
}

/* Chains of sums that k terms are shared among, as in decode-gemm.cu. */
static __host__ __device__ constexpr int
count_parts (int k)
{
  int parts = 8;
  while (k / SLICE % parts != 0)
    parts--;
  return parts;
}

/* What of the weights is on the way; thread 0 alone. */
struct Stream {
  const char *from; /* next to ask for */
  int left; /* bytes of its range */
  int at, free; /* bytes, in the ring */
  int range, layer;
  int n_products; /* on the way, or here and needed */
  bool has_begun; /* the last one of them */
};

struct Fixed {
  uint64_t barriers[BARRIERS];
  uint64_t weights[N_PRODUCTS]; /* barriers of the products' weights */
  float factor[MAX_ROWS];
  int slot[MAX_ROWS], position[MAX_ROWS];
  int remaining[MAX_ROWS]; /* sent by the row's sampler */
  int row0, n_rows;
  int n_live_pairs; /* of this step and block, for thread 0 */
  Stream stream;
  AttentionShared attention[HALVES][2];
  SampleShared sample;
};

/* A model and the rows of a cluster in tiles of 8, known to the compiler; and
 * where things lie in shared memory, in bytes. */
template <int TILES, int D_MODEL, int N_HEADS, int D_FF> struct Shape {
  static constexpr int tiles = TILES, rows = TILES * 8;
  static constexpr int d = D_MODEL, heads = N_HEADS, ff = D_FF;
  static constexpr int inner = heads * DIM;
  static constexpr int pairs = (rows * heads + CTAS - 1) / CTAS; /* at most */
  static constexpr int x_units = (d / 16 + CTAS - 1) / CTAS;

  static constexpr int planes = 0;
  static constexpr int gated = planes + rows * row_stride (d) * 2;
  static constexpr int attended = gated;
  /* The sampler works when there are no gated units. */
  static constexpr int candidates = gated;
  static constexpr int squares =
      gated +
      largest (sizeof (Candidates), rows *row_stride (largest (ff, inner)) * 2);
  static constexpr int x = squares + rows * (d / 16) * 4;
  static constexpr int logits = x + rows * x_units * 64;
  static constexpr int query = logits + MT3_CUDA_MAX_VOCAB * 4;
  static constexpr int cross_query = query + pairs * DIM * 4;
  static constexpr int key = cross_query + 2 * pairs * DIM * 4;
  static constexpr int value = key + pairs * DIM * 2;
  static constexpr int sums = value + pairs * DIM * 2;
  static constexpr int ring = sums + MAX_UNITS * rows * SUM_STRIDE * 4;
  static constexpr int ring_bytes =
      (SHARED_MEMORY - (int) sizeof (Fixed) - 128 - ring) / SLICE_BYTES *
      SLICE_BYTES;
  static constexpr int total = ring + ring_bytes;

  /* Terms of a product, chains that they are shared among, operand. */
  static __host__ __device__ constexpr int
  k (int product)
  {
    return product == SELF_OUT || product == CROSS_OUT ? inner
           : product == DOWN                           ? ff
                                                       : d;
  }
  static __host__ __device__ constexpr int
  parts (int product)
  {
    return product == SELF_OUT || product == CROSS_OUT ? count_parts (inner)
           : product == DOWN                           ? count_parts (ff)
                                                       : count_parts (d);
  }
  static __host__ __device__ constexpr int
  input (int product)
  {
    return is_normed (product) ? planes : gated;
  }
};

/* What all blocks know. @rows: of each cluster but the last. */
struct Plan {
  Mt3CudaCluster a;
  int rows;
};

#if __CUDA_ARCH__ >= 900

/* --------------------------------------------------- between the blocks */

/* A block's view of the kernel: what is the same in all phases. */
struct Group {
  const Mt3CudaCluster &a;
  Fixed &fixed;
  uint32_t cta, thread;
  int phase; /* of a layer, or behind all */
  uint32_t counts; /* see below */
  uint32_t live; /* bits of the rows that have tokens to make */

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
    return live >> row & 1;
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

static __device__ __forceinline__ void
arrive_and_expect (uint64_t *barrier, int bytes)
{
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(
                   shared_address (barrier)),
               "r"(bytes)
               : "memory");
}

static __device__ __forceinline__ void
wait_for (uint64_t *barrier, uint32_t parity)
{
  asm volatile("{\n"
               ".reg .pred done;\n"
               "again:\n"
               "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
               "@!done bra again;\n"
               "}" ::"r"(shared_address (barrier)),
               "r"(parity)
               : "memory");
}

/* Thread 0 says how many bytes this block gets in the current phase. */
static __device__ __forceinline__ void
expect (const Group &g, int bytes)
{
  if (g.thread == 0)
    arrive_and_expect (current_barrier (g), bytes);
}

/* Counts, in one register: parity of the layers so far (bit 0), of the steps so
 * far (1), the layer (2 to 9), and where in the ring the next product's weights
 * lie, in slices (from 10 on). */
static __device__ __forceinline__ void
next_layer (Group &g)
{
  g.counts = (g.counts + 4) ^ 1;
}

static __device__ __forceinline__ void
next_step (Group &g)
{
  g.counts = (g.counts & ~0x3fcu) ^ 2;
}

static __device__ __forceinline__ int
current_layer (const Group &g)
{
  return g.counts >> 2 & 0xff;
}

static __device__ __forceinline__ int
current_slice (const Group &g)
{
  return g.counts >> 10;
}

static __device__ __forceinline__ void
set_slice (Group &g, int slice)
{
  g.counts = (g.counts & 0x3ff) | slice << 10;
}

static __device__ __forceinline__ uint32_t
current_parity (const Group &g, bool of_layer)
{
  return of_layer ? g.counts & 1 : g.counts >> 1 & 1;
}

/* Lets the compiler take the group's numbers for new ones, or it would keep
 * what it derives from them for all phases in more registers than there are. */
static __device__ __forceinline__ void
forget (Group &g)
{
  asm volatile("" : "+r"(g.thread), "+r"(g.cta), "+r"(g.counts));
}

/* Waits for them, and goes on to the next phase. */
static __device__ __forceinline__ void
finish_phase (Group &g)
{
  wait_for (current_barrier (g), current_parity (g, g.phase < LAYER_PHASES));
  g.phase++;
  forget (g);
}

#endif
