/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * hopper.cuh: what compute capability 9.0 alone has: products of a warpgroup
 * (four warps) from shared memory, copies of whole tiles by the copy engine,
 * and barriers on which bytes arrive ("PTX ISA", chapters wgmma, tensor copies
 * and mbarrier). Compiled for sm_90a.
 */
#pragma once

#include <stdint.h>

/* A tile in shared memory has rows of 64 halves, 128 bytes, whose 16-byte
 * chunks the copy engine swaps by row within every 8 rows (128-byte swizzle);
 * it begins at a multiple of 1,024 bytes. */
#define TILE_TERMS 64
#define TILE_ALIGN 1024

static __device__ __forceinline__ uint32_t
shared_address (const void *p)
{
  return static_cast<uint32_t> (__cvta_generic_to_shared (p));
}

/* ------------------------------------------------------------ barriers */

static __device__ __forceinline__ void
barrier_init (uint64_t *barrier, int n_arrivals)
{
  asm volatile(
      "mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address (barrier)),
      "r"(n_arrivals)
      : "memory");
}

/* Makes initialised barriers known to the copy engine and to the cluster. */
static __device__ __forceinline__ void
barrier_init_done ()
{
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

/* Arrives and announces the bytes that will. */
static __device__ __forceinline__ void
barrier_expect (uint64_t *barrier, int n_bytes)
{
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(
                   shared_address (barrier)),
               "r"(n_bytes)
               : "memory");
}

/* Arrives at the same barrier of block `rank` of the cluster, to say that
 * something has been read. Of the scope of a block: that of the cluster would
 * wait for all the thread's stores (MEMBAR.ALL.GPU). */
static __device__ __forceinline__ void
barrier_arrive (uint64_t *barrier, int rank, int count)
{
  asm volatile("{ .reg .b32 remote;\n"
               "mapa.shared::cluster.u32 remote, %0, %1;\n"
               "mbarrier.arrive.shared::cluster.b64 _, [remote], %2; }" ::"r"(
                   shared_address (barrier)),
               "r"(rank), "r"(count)
               : "memory");
}

/* At a barrier of this block. */
static __device__ __forceinline__ void
barrier_arrive (uint64_t *barrier)
{
  asm volatile(
      "mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address (barrier))
      : "memory");
}

/* Waits for the end of the phase with this parity. */
static __device__ __forceinline__ void
barrier_wait (uint64_t *barrier, int parity)
{
  asm volatile("{ .reg .pred done;\n"
               "again:\n"
               "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
               "@done bra finished;\n"
               "bra again;\n"
               "finished: }" ::"r"(shared_address (barrier)),
               "r"(parity)
               : "memory");
}

/* All threads of the cluster; orders no memory but that of barrier_init(). */
static __device__ __forceinline__ void
cluster_sync ()
{
  asm volatile("barrier.cluster.arrive.relaxed.aligned;\n"
               "barrier.cluster.wait.aligned;" ::
                   : "memory");
}

static __device__ __forceinline__ int
cluster_rank ()
{
  int rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}

/* The threads of one warpgroup; barrier 0 is that of __syncthreads(). */
static __device__ __forceinline__ void
warpgroup_sync (int warpgroup)
{
  asm volatile("bar.sync %0, 128;" ::"r"(warpgroup + 1) : "memory");
}

/* Where a thread is in a ring of N stages, and the parity of this round. */
template <int N> struct Ring {
  int stage = 0, parity = 0;

  __device__ __forceinline__ void
  advance ()
  {
    if (++stage == N) {
      stage = 0;
      parity ^= 1;
    }
  }
};

/* Registers of the calling warpgroup, from those that another gives up. */
template <int N>
static __device__ __forceinline__ void
registers_raise ()
{
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
}

template <int N>
static __device__ __forceinline__ void
registers_lower ()
{
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}

/* ----------------------------------------------------------- tile copies */

/* The box of a tensor map that begins at (term, row), to this block; its bytes
 * arrive at `barrier`. */
static __device__ __forceinline__ void
copy_tile (void *to, const void *map, int term, int row, uint64_t *barrier)
{
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::"
               "complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(
                   shared_address (to)),
               "l"(map), "r"(term), "r"(row), "r"(shared_address (barrier))
               : "memory");
}

/* The same to the same place in all blocks of the cluster in `blocks`. */
static __device__ __forceinline__ void
copy_tile_to_all (void *to, const void *map, int term, int row,
    uint64_t *barrier, uint16_t blocks)
{
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::"
               "complete_tx::bytes.multicast::cluster "
               "[%0], [%1, {%2, %3}], [%4], %5;" ::"r"(shared_address (to)),
               "l"(map), "r"(term), "r"(row), "r"(shared_address (barrier)),
               "h"(blocks)
               : "memory");
}

/* The other way: a box in shared memory to where it belongs, but for what lies
 * outside the matrix. */
static __device__ __forceinline__ void
store_tile (const void *map, const void *from, int column, int row)
{
  asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group "
               "[%0, {%1, %2}], [%3];" ::"l"(map),
               "r"(column), "r"(row), "r"(shared_address (from))
               : "memory");
}

static __device__ __forceinline__ void
store_commit ()
{
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}

/* Until what this thread stores has been read; or has been written. */
static __device__ __forceinline__ void
store_wait_read ()
{
  asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
}

static __device__ __forceinline__ void
store_wait ()
{
  asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");
}

/* What this thread wrote in shared memory can be read by the copy engine after
 * this, and what it read be overwritten: a load may still be under way when its
 * thread arrives at a barrier, and the copy engine does not wait for it ("PTX
 * ISA", proxies). So too for what other threads did before a barrier that this
 * one has waited for. */
static __device__ __forceinline__ void
proxy_fence ()
{
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/* Where byte `at` of a box lies, whose rows have 128 bytes and follow each
 * other. */
static __device__ __forceinline__ int
swizzled (int at)
{
  return at ^ (at >> 7 & 7) << 4;
}

static __device__ __forceinline__ void
prefetch_map (const void *map)
{
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

/* -------------------------------------------------------------- products */

/* How wgmma finds a tile, 64 bits: 128-byte swizzle and 1,024 bytes from 8
 * rows to the next, which is always so; and in the lower half the address. */
#define DESCRIPTOR_UPPER "0x40000040"

static __device__ __forceinline__ uint32_t
tile_descriptor (const void *tile)
{
  return 1u << 16 | (shared_address (tile) & 0x3ffff) >> 4;
}

/* 16 terms, or 16 rows, further on in the same tile. */
#define DESCRIPTOR_STEP (16 * 2 >> 4)
#define DESCRIPTOR_ROWS (16 * 128 >> 4)

/* Orders the registers of the sums before the products that follow. */
static __device__ __forceinline__ void
wgmma_fence ()
{
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

static __device__ __forceinline__ void
wgmma_commit ()
{
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

template <int PENDING>
static __device__ __forceinline__ void
wgmma_wait ()
{
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}

#define SUMS_4(d, i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define SUMS_8(d, i) SUMS_4 (d, i), SUMS_4 (d, i + 4)
#define SUMS_24(d, i) SUMS_16 (d, i), SUMS_8 (d, i + 16)
#define SUMS_16(d, i)                                                          \
  SUMS_4 (d, i), SUMS_4 (d, i + 4), SUMS_4 (d, i + 8), SUMS_4 (d, i + 12)
#define SUMS_48(d, i) SUMS_32 (d, i), SUMS_16 (d, i + 32)
#define SUMS_32(d, i) SUMS_16 (d, i), SUMS_16 (d, i + 16)
#define SUMS_64(d, i) SUMS_32 (d, i), SUMS_32 (d, i + 32)
#define SUMS_128(d, i) SUMS_64 (d, i), SUMS_64 (d, i + 64)
#define NAMES_4 "%0,%1,%2,%3"
#define NAMES_8 "%0,%1,%2,%3,%4,%5,%6,%7"
#define NAMES_16 "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15"
#define NAMES_24 NAMES_16 ",%16,%17,%18,%19,%20,%21,%22,%23"
#define NAMES_32                                                               \
  NAMES_16 ",%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define NAMES_48                                                               \
  NAMES_32 ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47"
#define NAMES_64                                                               \
  NAMES_32 ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47"  \
           ",%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define NAMES_128                                                              \
  NAMES_64 ",%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79"  \
           ",%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95"  \
           ",%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108"     \
           ",%109,%110,%111,%112,%113,%114,%115,%116,%117,%118,%119,%120,%121" \
           ",%122,%123,%124,%125,%126,%127"

/* d [64, COLUMNS] = (add ? d : 0) + a [64, 16] b [COLUMNS, 16] transposed, by a
 * warpgroup, float16 operands in tiles, float32 sums: warp w has rows 16 w ..,
 * and d[4 c ..] in it what mma() has of columns 8 c .. */
#define DEFINE_WGMMA(columns, n, a_name, b_name, add_name)                     \
  static __device__ __forceinline__ void wgmma (                               \
      float (&d)[n], uint32_t a, uint32_t b, int add)                          \
  {                                                                            \
    asm volatile("{ .reg .pred add;\n"                                         \
                 ".reg .b64 a, b;\n"                                           \
                 "setp.ne.b32 add, " add_name ", 0;\n"                         \
                 "mov.b64 a, {" a_name ", " DESCRIPTOR_UPPER "};\n"            \
                 "mov.b64 b, {" b_name ", " DESCRIPTOR_UPPER "};\n"            \
                 "wgmma.mma_async.sync.aligned.m64n" #columns                  \
                 "k16.f32.f16.f16 {" NAMES_##n "}, a, b, add, 1, 1, 0, 0; }"   \
                 : SUMS_##n (d, 0)                                             \
                 : "r"(a), "r"(b), "r"(add));                                  \
  }
DEFINE_WGMMA (8, 4, "%4", "%5", "%6")
DEFINE_WGMMA (16, 8, "%8", "%9", "%10")
DEFINE_WGMMA (32, 16, "%16", "%17", "%18")
DEFINE_WGMMA (48, 24, "%24", "%25", "%26")
DEFINE_WGMMA (64, 32, "%32", "%33", "%34")
DEFINE_WGMMA (96, 48, "%48", "%49", "%50")
DEFINE_WGMMA (128, 64, "%64", "%65", "%66")
DEFINE_WGMMA (256, 128, "%128", "%129", "%130")

/* d [64, 64] += p [64, 16] v [16, 64]: p in registers as mma() takes it, v as
 * it lies in a tile, [16, 64]. */
static __device__ __forceinline__ void
wgmma_values (float (&d)[32], const uint32_t (&p)[4], uint32_t v)
{
  asm volatile("{ .reg .b64 v;\n"
               "mov.b64 v, {%36, " DESCRIPTOR_UPPER "};\n"
               "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 "
               "{" NAMES_32 "}, {%32, %33, %34, %35}, v, 1, 1, 1, 1; }"
               : SUMS_32 (d, 0)
               : "r"(p[0]), "r"(p[1]), "r"(p[2]), "r"(p[3]), "r"(v));
}
