/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * decode-places.cu: attention of a decode step of several places a row, in
 * float16, for any device and any number of rows. As in decode-attention.cu a
 * block has one row and head, and all of its loads under way.
 */
#include "decode-places.cuh"

/* A warp's keys and values of a stretch. */
struct Batch {
  static constexpr int n = STRETCH / PIECE * TILES;
  KeyTile key[n];
  ValueTile value[n];

  /* First key of a tile. */
  static __device__ __forceinline__ int
  tile_key (int key0, int tile)
  {
    return key0 + tile / TILES * PIECE + warp_key () + tile % TILES * TILE;
  }

  /* Loads keys that lie in [first, end). */
  __device__ __forceinline__ void
  load_keys (const __half *from, int key0, int first, int end)
  {
    const int lane = threadIdx.x % 32;

#pragma unroll
    for (int t = 0; t < n; t++) {
      const int at = tile_key (key0, t) + lane / 4;
#pragma unroll
      for (int s = 0; s < 2; s++)
        load_once (key[t][s], from + at * DIM + s * 32 + lane % 4 * 8,
            at >= first && at < end);
    }
  }

  __device__ __forceinline__ void
  load_values (const __half *from, int key0, int first, int end)
  {
    const int lane = threadIdx.x % 32;

#pragma unroll
    for (int t = 0; t < n; t++)
#pragma unroll
      for (int i = 0; i < 2; i++) {
        const int at = tile_key (key0, t) + lane % 4 * 2 + i;
        load_once (value[t][i], from + at * DIM + lane / 4 * 8,
            at >= first && at < end);
      }
  }
};

/* The query of the lane's place: its dimensions, all asked for at once. */
static __device__ __forceinline__ void
load_query (float4 (&v)[4], const Mt3CudaDecodeAttention &a, int row, int head)
{
  const int lane = threadIdx.x % 32;
  const float *from = a.q +
                      ((size_t) (row + own_place ()) * a.n_heads + head) * DIM +
                      lane % 4 * 8;

#pragma unroll
  for (int i = 0; i < 4; i++) {
    v[i] = make_float4 (0.0f, 0.0f, 0.0f, 0.0f);
    if (own_place () < a.places)
      v[i] = __ldcg (
          reinterpret_cast<const float4 *> (from + i / 2 * 32 + i % 2 * 4));
  }
}

/* All that other kernels made is asked for at once after the wait, and used
 * only then.
 * @inverse_width: 1 / d_model */
static __global__ void
__launch_bounds__ (ATTENTION_THREADS, 2)
    decode_places_kernel (const Mt3CudaDecodeAttention a, float inverse_width)
{
  __shared__ AttentionShared shared;
  const int head = blockIdx.x, row = blockIdx.y * a.places;
  const int lane = threadIdx.x % 32;
  const Mt3CudaRow *state = a.rows + blockIdx.y;
  const int remaining = __ldcg (&state->remaining);
  const int position = __ldcg (&state->position);
  const size_t head_size = (size_t) a.n_positions * DIM;
  const __half *keys = static_cast<const __half *> (a.cache) +
                       __ldcg (&state->slot) * a.cache_slot +
                       head * 2 * head_size;
  const __half *values = keys + head_size;
  /* The kernel before may be appending those behind. */
  const int settled = a.length > 0 ? a.length : position;
  const int end =
      a.length > 0 ? a.length : position + min (a.places, remaining);
  const int visible = visible_keys (a, position + 1, end);
  const int n_partial = a.d_model / MT3_CUDA_DECODE_SQUARES;
  const bool has_norm = a.squares != nullptr && own_place () < a.places;
  const float *squares = a.squares + (row + own_place ()) * n_partial;
  Batch batch = {};
  SquaresShare share = {};
  float4 query[4];
  float rest = 0.0f;
  Partial partial;

  if (remaining > 0) {
    batch.load_keys (keys, 0, 0, settled);
    batch.load_values (values, 0, 0, settled);
    for (int at = STRETCH + threadIdx.x; at < settled;
         at += ATTENTION_THREADS) {
      load_soon (keys + at * DIM);
      load_soon (values + at * DIM);
    }
  }
  dependent_launch ();
  dependent_wait ();
  if (remaining <= 0)
    return;

  load_query (query, a, row, head);
  if (has_norm) {
    share = load_squares (squares, n_partial);
    rest = sum_beyond (squares, n_partial);
  }
  if (settled < min (end, STRETCH)) {
    batch.load_keys (keys, 0, settled, end);
    batch.load_values (values, 0, settled, end);
  }
  const QueryOperand operand (query);
  float factor = norm_factor (add_share (share) + rest, inverse_width);
  factor = (has_norm ? factor : 1.0f) / QUERY_SCALE;
  for (int key0 = 0; key0 < end; key0 += STRETCH) {
    const int next = key0 + STRETCH;
    float2 scores[Batch::n];
#pragma unroll
    for (int t = 0; t < Batch::n; t++) {
      const int at = Batch::tile_key (key0, t) + lane % 4 * 2;
      scores[t] = score_tile (operand, batch.key[t]);
      scores[t].x =
          at < visible ? __fmul_rn (scores[t].x, factor) : MINUS_INFINITY;
      scores[t].y =
          at + 1 < visible ? __fmul_rn (scores[t].y, factor) : MINUS_INFINITY;
    }
    if (next < end)
      batch.load_keys (keys, next, next, end);
    partial.weigh (scores);
#pragma unroll
    for (int t = 0; t < Batch::n; t++)
      partial.add_tile (batch.value[t], scores[t]);
    if (next < end)
      batch.load_values (values, next, next, end);
  }
  leave_partial (shared, partial);
  attention_sync ();
  store_place (a, shared, row, head);
}

static bool
suits_hopper (const Mt3CudaDecodeAttention &a)
{
  return hopper_processors () > 0 &&
         (a.kernel == 2 || (a.kernel == 0 && a.n_rows >= MANY_ROWS)) &&
         a.d_model / MT3_CUDA_DECODE_SQUARES <= ATTENTION_SQUARES;
}

cudaError_t
decode_places (const Mt3CudaDecodeAttention &a, Mt3CudaLaunch launch)
{
  if (suits_hopper (a))
    return decode_places_hopper (a, launch);
  return launch_kernel (decode_places_kernel, dim3 (a.n_heads, a.n_rows),
      dim3 (ATTENTION_THREADS), 0, divided_for_few_rows (launch), a,
      1.0f / a.d_model);
}
