/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * decode-places-hopper.cu: the attention of a decode step of many rows and
 * several places of each, in float16, on compute capability 9.0. The same bits
 * as decode-places.cu makes, from keys and values that the copy engine brings
 * into shared memory: blocks stay and take one row and head after the other, so
 * that the memory never waits for a block to begin.
 *
 * Two blocks share a multiprocessor and leave room for the products of another
 * lane. In each a warp asks for pieces of keys or values, as far ahead as the
 * ring of stages allows, a piece a stage; eight warps compute.
 */
#include "decode-places.cuh"
#include "decode-pieces.cuh"
#include "tensor-map.cuh"

/* @boxes: the cache as a matrix, whose rows are keys and values, that comes
 * 128, 64 or 32 of them at a time: to ask takes longer than what it is for */
typedef struct {
  Mt3CudaDecodeAttention attention;
  CUtensorMap boxes[3];
} PlacesAttention;

#define THREADS (ATTENTION_THREADS + 32)
#define BLOCKS 2 /* of a multiprocessor */
#define STAGES 2
#define CHUNKS (DIM / 8) /* of 16 bytes, in a key or value */
#define BOX 32 /* keys or values that come at once, at least */
#define VECTOR_BYTES (DIM * (int) sizeof (__half))

/* A key or value is a row of a tile, and its chunks are swapped as there: the
 * lanes of a warp read the same of several keys at once, and find it in other
 * banks. */
struct __align__ (TILE_ALIGN) Stage
{
  uint4 vectors[PIECE * CHUNKS];
};

/* What the places of a row ask; comes with the first piece of an item. */
struct __align__ (128) Queries
{
  float query[MT3_CUDA_MOST_PLACES][DIM];
  /* one place's behind another's */
  float squares[MT3_CUDA_MOST_PLACES * ATTENTION_SQUARES];
};

/* Which piece a stage holds: keys (kv 0) or values from first on. @length: keys
 * of the row, which its last place sees; 0: no more work. @settled: those that
 * no kernel before can be writing. @turn: of the item: 0 or 1 */
struct Task {
  int row, head, length, settled;
  int keys;
  int kv, first, turn;
};

/* What there are two of is taken by turns: one is read while one is written. A
 * turn's queries come again when a piece of the next item has been taken, and
 * so all that needed them is done: with more stages they would come sooner. */
static_assert (STAGES == 2, "queries are overwritten while they are read");

struct Shared {
  Stage stages[STAGES];
  Queries queries[2];
  Task tasks[STAGES];
  int2 items[2]; /* row and head */
  uint64_t full[STAGES], empty[STAGES];
  AttentionShared attention[2];
};

/* Of a matrix, as copy_bulk(). */
static __device__ __forceinline__ void
copy_box (void *to, const CUtensorMap *map, int row, uint64_t *barrier)
{
  asm volatile(
      "{ .reg .b64 policy;\n"
      "createpolicy.fractional.L2::evict_first.b64 policy, 1.0;\n"
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier"
      "::complete_tx::bytes.L2::cache_hint "
      "[%0], [%1, {%2, %3}], [%4], policy; }" ::"r"(shared_address (to)),
      "l"(map), "r"(0), "r"(row), "r"(shared_address (barrier))
      : "memory");
}

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
  task.keys = __ldcg (&state->slot) * (int) (a.cache_slot / DIM) +
              task.head * 2 * a.n_positions;
  if (remaining > 0) {
    task.settled = a.length > 0 ? a.length : position;
    task.length =
        a.length > 0 ? a.length : position + min (a.places, remaining);
  }
  return task;
}

static __device__ __forceinline__ Task
task_of_lane (const Task &task, int lane)
{
  Task other = {};

  other.row = __shfl_sync (0xffffffffu, task.row, lane);
  other.head = __shfl_sync (0xffffffffu, task.head, lane);
  other.keys = __shfl_sync (0xffffffffu, task.keys, lane);
  other.length = __shfl_sync (0xffffffffu, task.length, lane);
  other.settled = __shfl_sync (0xffffffffu, task.settled, lane);
  return other;
}

/* Of all places. */
static __device__ __forceinline__ int
squares_bytes (const Mt3CudaDecodeAttention &a)
{
  return a.squares ? a.places * a.d_model / MT3_CUDA_DECODE_SQUARES *
                         (int) sizeof (float)
                   : 0;
}

/* Asks for vectors of a piece, both multiples of BOX. */
static __device__ __forceinline__ void
ask_vectors (const PlacesAttention &args, const Task &task, Stage &to,
    uint64_t *full, int first, int end)
{
  const int row = task.keys + task.kv * args.attention.n_positions + task.first;

  for (; end - first >= 4 * BOX; first += 4 * BOX)
    copy_box (to.vectors + first * CHUNKS, &args.boxes[0], row + first, full);
  if (end - first >= 2 * BOX) {
    copy_box (to.vectors + first * CHUNKS, &args.boxes[1], row + first, full);
    first += 2 * BOX;
  }
  if (end > first)
    copy_box (to.vectors + first * CHUNKS, &args.boxes[2], row + first, full);
}

/* And with the first piece of an item for what its row asks. */
static __device__ __forceinline__ void
ask_queries (const Mt3CudaDecodeAttention &a, const Task &task, Queries &to,
    uint64_t *full)
{
  const int line = task.row * a.places;

  if (task.kv > 0 || task.first > 0)
    return;
  for (int i = 0; i < a.places; i++)
    copy_bulk (to.query[i],
        a.q + ((size_t) (line + i) * a.n_heads + task.head) * DIM,
        sizeof to.query[i], full);
  if (a.squares)
    copy_bulk (to.squares,
        a.squares + (size_t) line * (a.d_model / MT3_CUDA_DECODE_SQUARES),
        squares_bytes (a), full);
}

/* One warp: asks for piece after piece, each by another lane. */
struct Producer {
  const PlacesAttention &args;
  const Mt3CudaDecodeAttention &a;
  Shared &shared;
  int n; /* pieces so far */
  int turn;

  /* Vectors that come for the piece, and those of them that no kernel before
   * can be writing: whole boxes. */
  static __device__ __forceinline__ int
  count (const Task &task)
  {
    return (min (task.length - task.first, PIECE) + BOX - 1) / BOX * BOX;
  }

  static __device__ __forceinline__ int
  count_settled (const Task &task)
  {
    if (task.settled >= task.length)
      return count (task);
    return max (min (task.settled - task.first, PIECE), 0) / BOX * BOX;
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
      ask_queries (a, task, shared.queries[task.turn], &shared.full[lane]);
      ask_vectors (args, task, to, &shared.full[lane], count_settled (task),
          count (task));
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
    if (task.kv == 0 && task.first == 0)
      shared.items[task.turn] = make_int2 (task.row, task.head);
    barrier_expect (full,
        count (task) * VECTOR_BYTES +
            (task.kv == 0 && task.first == 0
                    ? a.places * DIM * (int) sizeof (float) + squares_bytes (a)
                    : 0));
    if (!ahead)
      ask_queries (a, task, shared.queries[task.turn], full);
    ask_vectors (
        args, task, to, full, 0, ahead ? count_settled (task) : count (task));
  }

  __device__ __forceinline__ void
  ask_item (const Task &item)
  {
    const int lane = threadIdx.x % 32;

    for (int piece = 0; piece < pieces_of<PIECE> (item.length); piece++, n++) {
      Task task = item;
      task.turn = turn;
      choose_piece<PIECE, STRETCH / PIECE> (task, piece / 32 * 32 + lane);
      if (n == STAGES)
        begin ();
      if (lane == piece % 32)
        ask (task, n % STAGES);
      __syncwarp ();
    }
    if (item.length > 0)
      turn ^= 1;
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
ask_all (const PlacesAttention &args, Shared &shared)
{
  const Mt3CudaDecodeAttention &a = args.attention;
  const int lane = threadIdx.x % 32, n_items = a.n_rows * a.n_heads;
  Producer producer = {args, a, shared, 0, 0};

  for (int round = 0; round * (int) gridDim.x < n_items; round += 32) {
    const Task own = task_of (a, item_of (round + lane));
    for (int i = 0; i < 32 && (round + i) * (int) gridDim.x < n_items; i++)
      producer.ask_item (task_of_lane (own, i));
  }
  producer.end ();
}

/* -------------------------------------------------------- what is computed */

/* What the warps that compute have of the ring. */
struct Consumer {
  static constexpr int pieces = STRETCH / PIECE;
  Shared &shared;
  unsigned n; /* pieces so far */

  __device__ __forceinline__ int
  wait ()
  {
    barrier_wait (&shared.full[n % STAGES], n / STAGES & 1);
    return n % STAGES;
  }

  /* All that the warp needs of the stage is in registers. */
  __device__ __forceinline__ void
  release ()
  {
    proxy_fence ();
    barrier_arrive (&shared.empty[n++ % STAGES]);
  }

  /* The scores of a piece, but for the norm's factor; a tile at a time, for
   * lack of registers. */
  __device__ __forceinline__ void
  score_piece (float2 *scores, const QueryOperand &query)
  {
    const int lane = threadIdx.x % 32;
    const bool odd = lane / 4 % 2;
    const int chunk = (lane / 4 % 2 * 4 + lane % 4) ^ lane / 4;
    const uint4 *from =
        shared.stages[wait ()].vectors + (warp_key () + lane / 4) * CHUNKS;
#pragma unroll
    for (int t = 0; t < TILES; t++) {
      /* Odd keys' halves in the other order: they lie in other banks then. */
      const uint4 first = from[t * TILE * CHUNKS + chunk];
      const uint4 second = from[t * TILE * CHUNKS + (chunk ^ 4)];
      KeyTile key;
      key[0] = odd ? second : first;
      key[1] = odd ? first : second;
      if (t + 1 == TILES)
        release ();
      scores[t] = score_tile (query, key);
    }
  }

  /* @length: values of the piece; what lies behind may be no number */
  __device__ __forceinline__ void
  add_piece (Partial &partial, const float2 *weights, int length)
  {
    const int lane = threadIdx.x % 32, first = warp_key () + lane % 4 * 2;
    const uint4 *from = shared.stages[wait ()].vectors + first * CHUNKS;
#pragma unroll
    for (int t = 0; t < TILES; t++) {
      ValueTile value;
#pragma unroll
      for (int i = 0; i < 2; i++) {
        value[i] = make_uint4 (0, 0, 0, 0);
        if (first + t * TILE + i < length)
          value[i] =
              from[(t * TILE + i) * CHUNKS + (lane / 4 ^ (lane % 4 * 2 + i))];
      }
      if (t + 1 == TILES)
        release ();
      partial.add_tile (value, weights[t]);
    }
  }

  /* A stretch of keys and values, as the kernel of few rows takes it.
   * @visible: keys of the lane's place; @length: of the last */
  __device__ __forceinline__ void
  add_stretch (Partial &partial, const QueryOperand &query, float factor,
      int key0, int visible, int length)
  {
    float2 scores[pieces * TILES] = {};

#pragma unroll
    for (int p = 0; p < pieces; p++) {
      const int first = key0 + p * PIECE;
      const int left = visible - first - warp_key () - threadIdx.x % 4 * 2;
      if (first < length)
        score_piece (scores + p * TILES, query);
#pragma unroll
      for (int t = 0; t < TILES; t++) {
        float2 &score = scores[p * TILES + t];
        score.x =
            t * TILE < left ? __fmul_rn (score.x, factor) : MINUS_INFINITY;
        score.y =
            t * TILE + 1 < left ? __fmul_rn (score.y, factor) : MINUS_INFINITY;
      }
    }
    partial.weigh (scores);
#pragma unroll
    for (int p = 0; p < pieces; p++) {
      const int first = key0 + p * PIECE;
      if (first < length)
        add_piece (partial, scores + p * TILES, length - first);
    }
  }
};

/* The query of the lane's place; 0 where there is none. */
static __device__ __forceinline__ QueryOperand
take_query (const Mt3CudaDecodeAttention &a, const Queries &queries)
{
  const float4 *from = reinterpret_cast<const float4 *> (
      queries.query[own_place ()] + threadIdx.x % 4 * 8);
  float4 v[4];

#pragma unroll
  for (int i = 0; i < 4; i++) {
    v[i] = make_float4 (0.0f, 0.0f, 0.0f, 0.0f);
    if (own_place () < a.places)
      v[i] = from[i / 2 * 8 + i % 2];
  }
  return QueryOperand (v);
}

/* The factor of the place's norm, in the order of sum_squares(). */
static __device__ __forceinline__ float
take_factor (const Mt3CudaDecodeAttention &a, const Queries &queries)
{
  const int n_pairs = a.d_model / MT3_CUDA_DECODE_SQUARES / 2;
  const float2 *pairs = reinterpret_cast<const float2 *> (queries.squares) +
                        own_place () * n_pairs;
  const bool exists = a.squares != nullptr && own_place () < a.places;
  float sum = 0.0f, rest = 0.0f;
  int i = threadIdx.x % 8;

  for (; exists && i < min (n_pairs, SQUARES_AHEAD * 8); i += 8)
    sum += pairs[i].x + pairs[i].y;
  for (; exists && i < n_pairs; i += 8)
    rest += pairs[i].x + pairs[i].y;
  sum = norm_factor (sum + rest, 1.0f / a.d_model);
  return (exists ? sum : 1.0f) / QUERY_SCALE;
}

static __device__ __forceinline__ void
compute_all (const Mt3CudaDecodeAttention &a, Shared &shared)
{
  Consumer c = {shared, 0};

  for (;;) {
    const Task task = shared.tasks[c.wait ()];
    Partial partial;

    if (task.length == 0)
      return;
    const QueryOperand query = take_query (a, shared.queries[task.turn]);
    const float factor = take_factor (a, shared.queries[task.turn]);
    const int visible = visible_keys (a, task.settled + 1, task.length);
    for (int key0 = 0; key0 < task.length; key0 += STRETCH)
      c.add_stretch (partial, query, factor, key0, visible, task.length);
    leave_partial (shared.attention[task.turn], partial);
    attention_sync ();
    const int2 item = shared.items[task.turn];
    store_place (a, shared.attention[task.turn], item.x * a.places, item.y);
  }
}

static __global__ void
__launch_bounds__ (THREADS, 3) /* registers for two, and for other kernels */
    decode_places_hopper_kernel (const __grid_constant__ PlacesAttention args)
{
  extern __shared__ __align__ (TILE_ALIGN) char memory[];
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
    compute_all (args.attention, shared);
  else
    ask_all (args, shared);
}

cudaError_t
decode_places_hopper (const Mt3CudaDecodeAttention &a, Mt3CudaLaunch launch)
{
  const int items = a.n_rows * a.n_heads;
  const int blocks = BLOCKS * hopper_processors ();
  const size_t n_vectors = (a.n_slots - 1) * (a.cache_slot / DIM) +
                           (size_t) a.n_heads * 2 * a.n_positions;
  PlacesAttention args = {a};
  cudaError_t error =
      allow_shared (decode_places_hopper_kernel, sizeof (Shared));

  for (int i = 0; i < 3 && error == cudaSuccess; i++)
    error = encode_map (
        &args.boxes[i], a.cache, true, (int) n_vectors, DIM, 4 * BOX >> i);
  if (error != cudaSuccess)
    return error;
  return launch_kernel (decode_places_hopper_kernel,
      dim3 (items < blocks ? items : blocks), dim3 (THREADS), sizeof (Shared),
      launch, args);
}
