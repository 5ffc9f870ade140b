/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * decode-places.cuh: the queries of a row's places against the float16 keys
 * and values of its slot, on the tensor cores: what the kernels of few and of
 * many rows share, which make the same bits.
 *
 * A warp has of each piece of 128 keys 16, in tiles of 8. Both products have
 * 16 rows, two a place, so that nothing is exchanged between them:
 *
 * - Scores: a tile's keys are the columns, loaded as they lie. Rows 2 p and
 *   2 p + 1 are both the query of place p in float16, rows 8 further what that
 *   leaves. So lane l gets the scores of place l / 8 for keys 2 (l % 4) and the
 *   next.
 * - Values: a word has two neighbouring dimensions of one value, and is taken
 *   for two terms: row 2 p has the key's weight in the first and 0 in the
 *   second, row 2 p + 1 the other way round, rows 8 further what float16 leaves
 *   of it. So lane l needs the weights that it has, and gets every second
 *   dimension.
 */
#pragma once

#include "decode-block.cuh"

#define PIECE 128 /* keys */
#define STRETCH 256 /* keys whose largest score is found first */
#define TILE 8 /* keys */
#define TILES (PIECE / ATTENTION_WARPS / TILE) /* of a warp, in a piece */
/* Of queries in float16; as activation_scale() it moves its range to 4 million.
 */
#define QUERY_SCALE (1.0f / 64)

/* The place whose scores and results the lane has. */
static __device__ __forceinline__ int
own_place ()
{
  return threadIdx.x % 32 / 8;
}

/* The first of a warp's keys of a piece. */
static __device__ __forceinline__ int
warp_key ()
{
  return threadIdx.x / 32 * (TILES * TILE);
}

/* The lane's 16 dimensions of the place's query, 8 of each half, as the first
 * operand of four products. */
struct QueryOperand {
  uint32_t hi[8], lo[8];

  /* @v: of the lane's place; 0 where there is none */
  __device__ __forceinline__
  QueryOperand (const float4 (&v)[4])
  {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      split (v[i].x, v[i].y, hi[2 * i], lo[2 * i]);
      split (v[i].z, v[i].w, hi[2 * i + 1], lo[2 * i + 1]);
    }
  }

  static __device__ __forceinline__ void
  split (float v0, float v1, uint32_t &hi, uint32_t &lo)
  {
    v0 *= QUERY_SCALE;
    v1 *= QUERY_SCALE;
    const __half2 h = __floats2half2_rn (v0, v1);
    const float2 back = __half22float2 (h);
    hi = half2_bits (h);
    lo = half2_bits (__floats2half2_rn (v0 - back.x, v1 - back.y));
  }
};

/* A tile of keys as a lane has them: of key l / 4 dimensions 8 (l % 4) .. + 7
 * of either half. */
typedef uint4 KeyTile[2];

/* Of values: dimensions 8 (l / 4) .. + 7 of values 2 (l % 4) and the next. */
typedef uint4 ValueTile[2];

/* The scores of the lane's place for its two keys of a tile, but for the norm's
 * factor. */
static __device__ __forceinline__ float2
score_tile (const QueryOperand &q, const KeyTile &key)
{
  float d[4] = {};

#pragma unroll
  for (int s = 0; s < 2; s++) {
    mma (d, q.hi[4 * s], q.lo[4 * s], q.hi[4 * s + 1], q.lo[4 * s + 1],
        key[s].x, key[s].y);
    mma (d, q.hi[4 * s + 2], q.lo[4 * s + 2], q.hi[4 * s + 3], q.lo[4 * s + 3],
        key[s].z, key[s].w);
  }
  return make_float2 (__fadd_rn (d[0], d[2]), __fadd_rn (d[1], d[3]));
}

/* A number of float16 where the lane's row of the second product has its
 * dimension's weight. */
static __device__ __forceinline__ uint32_t
place_weight (__half weight)
{
  const uint32_t bits = __half_as_ushort (weight);

  return threadIdx.x / 4 % 2 ? bits << 16 : bits;
}

/* The softmax-weighted sum of values so far, of the lane's place: sums[j] has
 * dimensions 16 (l % 4) + 2 j + l / 4 % 2 and 8 more, in two parts each. */
struct Partial {
  float max = MINUS_INFINITY;
  float sum = 0.0f; /* of the lane's keys */
  float sums[4][4] = {};

  __device__ __forceinline__ void
  rescale (float new_max)
  {
    const float factor = fast_exp (max - new_max);
    max = new_max;
    sum = __fmul_rn (sum, factor);
#pragma unroll
    for (int j = 0; j < 4; j++)
#pragma unroll
      for (int i = 0; i < 4; i++)
        sums[j][i] = __fmul_rn (sums[j][i], factor);
  }

  /* Makes the largest of a stretch's scores known to the lanes of a place, and
   * the scores weights. */
  template <int N>
  __device__ __forceinline__ void
  weigh (float2 (&scores)[N])
  {
    float most = max;
#pragma unroll
    for (int i = 0; i < N; i++)
      most = fmaxf (most, fmaxf (scores[i].x, scores[i].y));
#pragma unroll
    for (int step = 1; step < 4; step *= 2)
      most = fmaxf (most, __shfl_xor_sync (0xffffffffu, most, step));
    rescale (most);
#pragma unroll
    for (int i = 0; i < N; i++) {
      scores[i].x = fast_exp (scores[i].x - most);
      scores[i].y = fast_exp (scores[i].y - most);
      sum += scores[i].x;
      sum += scores[i].y;
    }
  }

  __device__ __forceinline__ void
  add_tile (const ValueTile &value, float2 weight)
  {
    const __half2 h = __floats2half2_rn (weight.x, weight.y);
    const float2 back = __half22float2 (h);
    const __half2 rest =
        __floats2half2_rn (weight.x - back.x, weight.y - back.y);
    const uint32_t a0 = place_weight (__low2half (h));
    const uint32_t a1 = place_weight (__low2half (rest));
    const uint32_t a2 = place_weight (__high2half (h));
    const uint32_t a3 = place_weight (__high2half (rest));

    mma (sums[0], a0, a1, a2, a3, value[0].x, value[1].x);
    mma (sums[1], a0, a1, a2, a3, value[0].y, value[1].y);
    mma (sums[2], a0, a1, a2, a3, value[0].z, value[1].z);
    mma (sums[3], a0, a1, a2, a3, value[0].w, value[1].w);
  }
};

/* What the warps leave for each other: 16 dimensions in 18 numbers, so that the
 * lanes of a warp have banks of their own. */
struct AttentionShared {
  float max[ATTENTION_WARPS][MT3_CUDA_MOST_PLACES];
  float sum[ATTENTION_WARPS][MT3_CUDA_MOST_PLACES];
  float out[ATTENTION_WARPS][MT3_CUDA_MOST_PLACES][DIM / 16 * 18];
};

static __device__ __forceinline__ void
leave_partial (AttentionShared &shared, const Partial &partial)
{
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  float *out = shared.out[warp][own_place ()] + lane % 4 * 18 + lane / 4 % 2;
  float sum = partial.sum;

#pragma unroll
  for (int j = 0; j < 4; j++)
#pragma unroll
    for (int i = 0; i < 2; i++)
      out[8 * i + 2 * j] =
          __fadd_rn (partial.sums[j][i], partial.sums[j][i + 2]);
#pragma unroll
  for (int step = 1; step < 4; step *= 2)
    sum += __shfl_xor_sync (0xffffffffu, sum, step);
  if (lane % 8 == 0) {
    shared.max[warp][own_place ()] = partial.max;
    shared.sum[warp][own_place ()] = sum;
  }
}

/* Joins what all warps left of a place: each lane of a warp gets two of 64
 * results. */
static __device__ __forceinline__ float2
join_warps (const AttentionShared &shared, int place)
{
  const int dim = threadIdx.x % 32 * 2;
  float max = shared.max[0][place];
  float2 out = make_float2 (0.0f, 0.0f);
  float sum = 0.0f;

#pragma unroll
  for (int w = 1; w < ATTENTION_WARPS; w++)
    max = fmaxf (max, shared.max[w][place]);
#pragma unroll
  for (int w = 0; w < ATTENTION_WARPS; w++) {
    const float factor = fast_exp (shared.max[w][place] - max);
    const float2 v = *reinterpret_cast<const float2 *> (
        shared.out[w][place] + dim / 16 * 18 + dim % 16);
    sum = __fmaf_rn (factor, shared.sum[w][place], sum);
    out.x = __fmaf_rn (factor, v.x, out.x);
    out.y = __fmaf_rn (factor, v.y, out.y);
  }
  const float inverse = __fdividef (1.0f, sum);
  return make_float2 (__fmul_rn (out.x, inverse), __fmul_rn (out.y, inverse));
}

/* Stores what warp `place` joined. @row: of the first place's */
static __device__ __forceinline__ void
store_place (const Mt3CudaDecodeAttention &a, const AttentionShared &shared,
    int row, int head)
{
  const int place = threadIdx.x / 32;

  if (place >= a.places)
    return;
  const float2 out = join_warps (shared, place);
  store2<false> (a.out,
      ((size_t) (row + place) * a.n_heads + head) * DIM + threadIdx.x % 32 * 2,
      out.x, out.y);
}

/* Keys that a place of a row sees. @first: keys of the first; @end: of the last
 */
static __device__ __forceinline__ int
visible_keys (const Mt3CudaDecodeAttention &a, int first, int end)
{
  return a.length > 0 ? end : min (first + own_place (), end);
}

/* decode-places-hopper.cu */
cudaError_t decode_places_hopper (
    const Mt3CudaDecodeAttention &a, Mt3CudaLaunch launch);
