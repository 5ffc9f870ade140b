/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * decode-attention-hopper.cu: the attention of a decode step of many rows, in
 * float16, on compute capability 9.0. The same bits as decode-attention.cu
 * makes, from keys and values that the copy engine brings into shared memory:
 * blocks stay and take one row and head after the other, so that the memory
 * never waits for a block to begin.
 *
 * Two blocks share a multiprocessor and leave room for the products of another
 * lane. In each a warp asks for pieces of keys or values, as far ahead as the
 * ring of stages allows; eight warps compute.
 */
#include "decode-attention.cuh"
#include "decode-pieces.cuh"

#define THREADS (ATTENTION_THREADS + 32)
#define BLOCKS 2 /* of a multiprocessor */
#define STAGES 2
#define PIECE 128 /* keys or values of a stage */
#define STRETCH (GROUPS * batch_keys<false>) /* keys of a batch */
#define VECTOR_BYTES (DIM * (int) sizeof (__half))

/* A piece and, with the first of a row and head, what the row asks. */
struct __align__ (128) Stage
{
  uint4 vectors[PIECE * DIM / 8];
  float query[DIM];
  float squares[ATTENTION_SQUARES];
};

/* Which piece a stage holds: keys (kv 0) or values from first on. @length: keys
 * of the row; 0: no more work */
struct Task {
  int row, head, slot, length;
  int kv, first;
};

struct Shared {
  Stage stages[STAGES];
  Task tasks[STAGES];
  uint64_t full[STAGES], empty[STAGES];
  AttentionShared attention[2]; /* by turns: one is read while one is written */
};

/* -------------------------------------------------------- what is asked */

/* An item without its pieces; length 0 where there is nothing to do. */
static __device__ __forceinline__ Task
task_of (const Mt3CudaDecodeAttention &a, int item)
{
  Task task = {};

  if (item >= a.n_rows * a.n_heads)
    return task;
  task.row = item / a.n_heads;
  task.head = item % a.n_heads;
  const Mt3CudaRow *state = a.rows + task.row;
  const int remaining = __ldcg (&state->remaining);
  const int position = __ldcg (&state->position);
  task.slot = __ldcg (&state->slot);
  if (remaining > 0)
    task.length = a.length > 0 ? a.length : position + 1;
  return task;
}

static __device__ __forceinline__ Task
task_of_lane (const Task &task, int lane)
{
  Task other = {};

  other.row = __shfl_sync (0xffffffffu, task.row, lane);
  other.head = __shfl_sync (0xffffffffu, task.head, lane);
  other.slot = __shfl_sync (0xffffffffu, task.slot, lane);
  other.length = __shfl_sync (0xffffffffu, task.length, lane);
  return other;
}

static __device__ __forceinline__ const __half *
vectors_of (const Mt3CudaDecodeAttention &a, const Task &task)
{
  return static_cast<const __half *> (a.cache) + task.slot * a.cache_slot +
         ((size_t) (task.head * 2 + task.kv) * a.n_positions + task.first) *
             DIM;
}

static __device__ __forceinline__ int
squares_bytes (const Mt3CudaDecodeAttention &a)
{
  return a.squares ? a.d_model / MT3_CUDA_DECODE_SQUARES * sizeof (float) : 0;
}

/* Asks for vectors of a piece. */
static __device__ __forceinline__ void
ask_vectors (const Mt3CudaDecodeAttention &a, const Task &task, Stage &to,
    uint64_t *full, int first, int end)
{
  if (first < end)
    copy_bulk (to.vectors + first * (DIM / 8),
        vectors_of (a, task) + (size_t) first * DIM,
        (end - first) * VECTOR_BYTES, full);
}

/* And with the first piece of an item for what its row asks. */
static __device__ __forceinline__ void
ask_query (const Mt3CudaDecodeAttention &a, const Task &task, Stage &to,
    uint64_t *full)
{
  if (task.kv > 0 || task.first > 0)
    return;
  copy_bulk (to.query, a.q + ((size_t) task.row * a.n_heads + task.head) * DIM,
      sizeof to.query, full);
  if (a.squares)
    copy_bulk (to.squares,
        a.squares + (size_t) task.row * (a.d_model / MT3_CUDA_DECODE_SQUARES),
        squares_bytes (a), full);
}

/* One warp: asks for piece after piece, each by another lane. */
struct Producer {
  const Mt3CudaDecodeAttention &a;
  Shared &shared;
  int n; /* pieces so far */

  /* Vectors of the piece, and those of them that no kernel before can be
   * writing. */
  __device__ __forceinline__ int
  count (const Task &task)
  {
    return min (task.length - task.first, PIECE);
  }

  __device__ __forceinline__ int
  count_settled (const Task &task)
  {
    const int settled = a.length > 0 ? task.length : task.length - 1;

    return min (settled - task.first, PIECE);
  }

  /* Waits for the kernel before; then asks for what of the first pieces could
   * not be asked for ahead of it. */
  __device__ __forceinline__ void
  begin ()
  {
    const int lane = threadIdx.x % 32;

    dependent_wait ();
    if (lane < n) {
      const Task task = shared.tasks[lane];
      Stage &to = shared.stages[lane];
      ask_query (a, task, to, &shared.full[lane]);
      ask_vectors (a, task, to, &shared.full[lane],
          max (count_settled (task), 0), count (task));
    }
    __syncwarp ();
  }

  __device__ __forceinline__ void
  ask (const Task &task, int stage)
  {
    Stage &to = shared.stages[stage];
    uint64_t *full = &shared.full[stage];
    const bool ahead = n < STAGES;

    if (!ahead)
      barrier_wait (&shared.empty[stage], (n / STAGES - 1) & 1);
    shared.tasks[stage] = task;
    barrier_expect (
        full, count (task) * VECTOR_BYTES +
                  (task.kv == 0 && task.first == 0
                          ? (int) sizeof to.query + squares_bytes (a)
                          : 0));
    if (!ahead)
      ask_query (a, task, to, full);
    ask_vectors (
        a, task, to, full, 0, ahead ? count_settled (task) : count (task));
  }

  __device__ __forceinline__ void
  ask_item (const Task &item)
  {
    const int lane = threadIdx.x % 32;

    for (int piece = 0; piece < pieces_of<PIECE> (item.length); piece++, n++) {
      Task task = item;
      choose_piece<PIECE, STRETCH / PIECE> (task, piece / 32 * 32 + lane);
      if (n == STAGES)
        begin ();
      if (lane == piece % 32)
        ask (task, n % STAGES);
      __syncwarp ();
    }
  }

  __device__ __forceinline__ void
  end ()
  {
    if (n <= STAGES)
      begin ();
    if (threadIdx.x % 32 > 0)
      return;
    if (n >= STAGES)
      barrier_wait (&shared.empty[n % STAGES], (n / STAGES - 1) & 1);
    shared.tasks[n % STAGES].length = 0;
    barrier_arrive (&shared.full[n % STAGES]);
  }
};

static __device__ __forceinline__ void
ask_all (const Mt3CudaDecodeAttention &a, Shared &shared)
{
  const int lane = threadIdx.x % 32, n_items = a.n_rows * a.n_heads;
  Producer producer = {a, shared, 0};

  for (int round = 0; round * (int) gridDim.x < n_items; round += 32) {
    const Task own = task_of (a, item_of (round + lane));
    for (int i = 0; i < 32 && (round + i) * (int) gridDim.x < n_items; i++)
      producer.ask_item (task_of_lane (own, i));
  }
  producer.end ();
}

/* -------------------------------------------------------- what is computed */

/* A row's query, and the factor of its norm. */
struct Query {
  float q[8], factor;

  __device__ __forceinline__
  Query (const Mt3CudaDecodeAttention &a, const Stage &stage)
  {
#pragma unroll
    for (int i = 0; i < 8; i++)
      q[i] = stage.query[threadIdx.x % 8 * 8 + i];
    factor = 1.0f;
    if (a.squares == nullptr)
      return;
    const float2 *squares = reinterpret_cast<const float2 *> (stage.squares);
    const int n_pairs = a.d_model / MT3_CUDA_DECODE_SQUARES / 2;
    float sum = 0.0f, rest = 0.0f; /* as sum_squares() */
    int i = threadIdx.x % 8;
    for (; i < min (n_pairs, SQUARES_AHEAD * 8); i += 8)
      sum += squares[i].x + squares[i].y;
    for (; i < n_pairs; i += 8)
      rest += squares[i].x + squares[i].y;
    factor = norm_factor (sum + rest, 1.0f / a.d_model);
  }
};

/* What the warps that compute have of the ring. */
struct Consumer {
  static constexpr int in_stage = PIECE / GROUPS; /* of a group */
  static constexpr int pieces = STRETCH / PIECE;
  Shared &shared;
  Ring<STAGES> ring;

  __device__ __forceinline__ int
  wait ()
  {
    barrier_wait (&shared.full[ring.stage], ring.parity);
    return ring.stage;
  }

  __device__ __forceinline__ void
  take (Vector8<false> (&v)[in_stage])
  {
    const int at = wait ();
#pragma unroll
    for (int u = 0; u < in_stage; u++)
      v[u].v = shared.stages[at].vectors[u * ATTENTION_THREADS + threadIdx.x];
    proxy_fence ();
    barrier_arrive (&shared.empty[at]);
    ring.advance ();
  }

  __device__ __forceinline__ float
  score (const Query &query, int key0, int length)
  {
    Vector8<false> v[in_stage];
    float part[in_stage];

    take (v);
#pragma unroll
    for (int u = 0; u < in_stage; u++) {
      float key[8];
      v[u].unpack (key);
      part[u] = 0.0f;
#pragma unroll
      for (int i = 0; i < 8; i++)
        part[u] = __fmaf_rn (query.q[i], key[i], part[u]);
    }
    const float own = __fmul_rn (add_up (part), query.factor);
    return key0 + own_key<in_stage> () * GROUPS < length ? own : MINUS_INFINITY;
  }

  /* @weight: of the lane's own key */
  __device__ __forceinline__ void
  add (Partial &partial, float weight, int key0, int length)
  {
    Vector8<false> v[in_stage];

    take (v);
#pragma unroll
    for (int u = 0; u < in_stage; u++) {
      const float w = __shfl_sync (0xffffffffu, weight, u * (8 / in_stage), 8);
      if (key0 + u * GROUPS < length) {
        float value[8];
        v[u].unpack (value);
        partial.sum += w;
#pragma unroll
        for (int i = 0; i < 8; i++)
          partial.out[i] = __fmaf_rn (w, value[i], partial.out[i]);
      }
    }
  }

  /* A stretch of keys and values, in the order of the kernel of any device. */
  __device__ __forceinline__ void
  add_stretch (Partial &partial, const Query &query, int key0, int length)
  {
    const int group = threadIdx.x / 8;
    float scores[pieces], max = MINUS_INFINITY;

#pragma unroll
    for (int p = 0; p < pieces; p++) {
      const int first = key0 + p * PIECE;
      scores[p] = MINUS_INFINITY;
      if (first < length)
        scores[p] = score (query, first + group, length);
      max = fmaxf (max, scores[p]);
    }
#pragma unroll
    for (int step = 4; step >= 8 / in_stage; step /= 2)
      max = fmaxf (max, __shfl_xor_sync (0xffffffffu, max, step));
    partial.rescale (fmaxf (partial.max, max));
#pragma unroll
    for (int p = 0; p < pieces; p++) {
      const int first = key0 + p * PIECE;
      if (first < length)
        add (partial, exponential<false> (scores[p] - partial.max),
            first + group, length);
    }
  }
};

static __device__ __forceinline__ void
compute_all (const Mt3CudaDecodeAttention &a, Shared &shared)
{
  Consumer c = {shared, {}};

  for (int item = 0;; item ^= 1) {
    const int at = c.wait ();
    const Task task = shared.tasks[at];
    Partial partial;

    if (task.length == 0)
      return;
    const Query query (a, shared.stages[at]);
    for (int key0 = 0; key0 < task.length; key0 += STRETCH)
      c.add_stretch (partial, query, key0, task.length);
    join_groups (partial);
    const float2 out = join_warps<false> (shared.attention[item], partial);
    if (threadIdx.x < 32)
      store2<false> (a.out,
          ((size_t) task.row * a.n_heads + task.head) * DIM + 2 * threadIdx.x,
          out.x, out.y);
  }
}

static __global__ void
__launch_bounds__ (THREADS, 4) /* registers for two, and for other kernels */
    decode_attention_hopper_kernel (const Mt3CudaDecodeAttention a)
{
  extern __shared__ __align__ (128) char memory[];
  Shared &shared = *reinterpret_cast<Shared *> (memory);

  if (threadIdx.x == 0) {
    for (int i = 0; i < STAGES; i++) {
      barrier_init (&shared.full[i], 1);
      barrier_init (&shared.empty[i], ATTENTION_THREADS);
    }
    barrier_init_done ();
  }
  __syncthreads ();
  dependent_launch ();
  if (threadIdx.x < ATTENTION_THREADS)
    compute_all (a, shared);
  else
    ask_all (a, shared);
}

cudaError_t
decode_attention_hopper (const Mt3CudaDecodeAttention &a, Mt3CudaLaunch launch)
{
  const int items = a.n_rows * a.n_heads;
  const int blocks = BLOCKS * hopper_processors ();
  const cudaError_t error =
      allow_shared (decode_attention_hopper_kernel, sizeof (Shared));

  if (error != cudaSuccess)
    return error;
  return launch_kernel (decode_attention_hopper_kernel,
      dim3 (items < blocks ? items : blocks), dim3 (THREADS), sizeof (Shared),
      launch, a);
}
