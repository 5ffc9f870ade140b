/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * decode-attention.cu: attention of a decode step, for any device and any
 * number of rows. All time goes into streaming the cache, so a block (one row
 * and head) has as many 16-byte loads in flight as registers allow, and those
 * that do not depend on the kernel before start ahead of it.
 */
#include "decode-attention.cuh"

template <bool EXACT> struct Batch {
  static constexpr int n = batch_keys<EXACT>;
  Vector8<EXACT> key[n], value[n];

  /* Loads `to`, vectors of keys key0 + u * GROUPS, as far as they lie before
   * `end`. */
  static __device__ __forceinline__ void
  load (Vector8<EXACT> (&to)[n], const void *from, int key0, int end)
  {
#pragma unroll
    for (int u = 0; u < n; u++) {
      const int at = key0 + u * GROUPS;
      to[u].load (from, at * DIM + threadIdx.x % 8 * 8, at < end);
    }
  }

  /* Puts key `u` in, and its value. */
  __device__ __forceinline__ void
  put (const Vector8<EXACT> &new_key, const Vector8<EXACT> &new_value, int u)
  {
#pragma unroll
    for (int i = 0; i < n; i++) {
      key[i].replace (new_key, i == u);
      value[i].replace (new_value, i == u);
    }
  }
};

/* What a query still lacks: the factor of its norm, which is found beside the
 * product and not before it. */
struct QueryNorm {
  bool exists;
  SquaresShare share;
  float rest; /* the lane's sum of what wider rows have beyond its share */
  float inverse_width;

  __device__ __forceinline__ float
  factor () const
  {
    const float found = norm_factor (add_share (share) + rest, inverse_width);
    return exists ? found : 1.0f;
  }
};

/* The score of the lane's own key; all keys are numbers, those beyond `length`
 * count for nothing. */
template <bool EXACT>
static __device__ __forceinline__ float
score_keys (const Vector8<EXACT> (&keys)[batch_keys<EXACT>],
    const float (&q)[8], const QueryNorm &norm, int key0, int length)
{
  constexpr int n = batch_keys<EXACT>;
  float part[n];

#pragma unroll
  for (int u = 0; u < n; u++) {
    float key[8];
    keys[u].unpack (key);
    part[u] = 0.0f;
#pragma unroll
    for (int i = 0; i < 8; i++)
      part[u] = __fmaf_rn (q[i], key[i], part[u]);
  }
  const float score = __fmul_rn (add_up (part), norm.factor ());
  return key0 + own_key<n> () * GROUPS < length ? score : MINUS_INFINITY;
}

/* Adds the values of the keys that the lanes of the group have scores of.
 * @first: there is no other value yet */
template <bool EXACT>
static __device__ __forceinline__ void
add_values (Partial &partial, const Vector8<EXACT> (&values)[batch_keys<EXACT>],
    float score, bool first)
{
  constexpr int n = batch_keys<EXACT>;
  float max = fmaxf (partial.max, score);

#pragma unroll
  for (int step = 4; step >= 8 / n; step /= 2)
    max = fmaxf (max, __shfl_xor_sync (0xffffffffu, max, step));
  if (first)
    partial.max = max;
  else
    partial.rescale (max);
  const float own =
      score != MINUS_INFINITY ? exponential<EXACT> (score - max) : 0.0f;
#pragma unroll
  for (int u = 0; u < n; u++) {
    const float weight = __shfl_sync (0xffffffffu, own, u * (8 / n), 8);
    float value[8];
    values[u].unpack (value);
    partial.sum += weight;
#pragma unroll
    for (int i = 0; i < 8; i++)
      partial.out[i] = __fmaf_rn (weight, value[i], partial.out[i]);
  }
}

/* All that other kernels made is asked for at once after the wait, and used
 * only then.
 * @inverse_width: 1 / d_model */
template <bool EXACT>
static __global__ void
__launch_bounds__ (ATTENTION_THREADS, 2) decode_attention_kernel (
    const Mt3CudaDecodeAttention a, float inverse_width)
{
  __shared__ AttentionShared shared;
  constexpr int stretch = GROUPS * batch_keys<EXACT>;
  constexpr size_t element = EXACT ? sizeof (float) : sizeof (__half);
  const int head = blockIdx.x, row = blockIdx.y;
  const int group = threadIdx.x / 8;
  const Mt3CudaRow *state = a.rows + row;
  const int remaining = __ldcg (&state->remaining);
  const int position = __ldcg (&state->position);
  const char *keys = static_cast<const char *> (a.cache) +
                     (__ldcg (&state->slot) * a.cache_slot +
                         (size_t) head * 2 * a.n_positions * DIM) *
                         element;
  const char *values = keys + (size_t) a.n_positions * DIM * element;
  const int length = a.length > 0 ? a.length : position + 1;
  /* The kernel before may be appending the key at `position`. */
  const int settled = a.length > 0 ? a.length : position;
  const int n_partial = a.d_model / MT3_CUDA_DECODE_SQUARES;
  const float *squares = a.squares ? a.squares + row * n_partial : nullptr;
  const float *query =
      a.q + ((size_t) row * a.n_heads + head) * DIM + threadIdx.x % 8 * 8;
  Batch<EXACT> batch = {};
  Vector8<EXACT> new_key = {}, new_value = {};
  QueryNorm norm = {squares != nullptr, {}, 0.0f, inverse_width};
  Partial partial;

  /* Later ones are loaded with others. */
  const bool appended = settled < length && settled < stretch &&
                        (unsigned int) settled % GROUPS == group;
  compute_now (query);
  compute_now (squares);
  if (remaining > 0) {
    batch.load (batch.key, keys, group, settled);
    batch.load (batch.value, values, group, settled);
    for (int at = stretch + threadIdx.x; at < settled; at += ATTENTION_THREADS)
      for (int i = 0; i < (int) (DIM * element); i += 128) {
        load_soon (keys + at * DIM * element + i);
        load_soon (values + at * DIM * element + i);
      }
  }
  dependent_launch ();
  dependent_wait ();
  if (remaining <= 0)
    return;

  const float4 low = __ldcg (reinterpret_cast<const float4 *> (query));
  const float4 high = __ldcg (reinterpret_cast<const float4 *> (query) + 1);
  const float q[8] = {
      low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
  new_key.load (keys, settled * DIM + threadIdx.x % 8 * 8, appended);
  new_value.load (values, settled * DIM + threadIdx.x % 8 * 8, appended);
  if (squares != nullptr) {
    norm.share = load_squares (squares, n_partial);
    norm.rest = sum_beyond (squares, n_partial);
  }
  if (appended)
    batch.put (new_key, new_value, settled / GROUPS);
  for (int key0 = 0; key0 < length; key0 += stretch) {
    const int next = key0 + stretch;
    const float score =
        score_keys<EXACT> (batch.key, q, norm, key0 + group, length);
    if (next < length)
      batch.load (batch.key, keys, next + group, length);
    add_values<EXACT> (partial, batch.value, score, key0 == 0);
    if (next < length)
      batch.load (batch.value, values, next + group, length);
  }
  join_groups (partial);
  const float2 out = join_warps<EXACT> (shared, partial);
  if (threadIdx.x < 32)
    store2<EXACT> (a.out,
        ((size_t) row * a.n_heads + head) * DIM + 2 * threadIdx.x, out.x,
        out.y);
}

static bool
suits_hopper (const Mt3CudaDecodeAttention &a)
{
  return a.out.lo == nullptr && hopper_processors () > 0 &&
         (a.kernel == 2 || (a.kernel == 0 && a.n_rows >= MANY_ROWS)) &&
         a.d_model / MT3_CUDA_DECODE_SQUARES <= ATTENTION_SQUARES;
}

cudaError_t
mt3_cuda_decode_attention (
    const Mt3CudaDecodeAttention *args, Mt3CudaLaunch launch)
{
  const dim3 grid (args->n_heads, args->n_rows);

  if (args->places > 1)
    return decode_places (*args, launch);
  if (suits_hopper (*args))
    return decode_attention_hopper (*args, launch);
  return launch_kernel (args->out.lo ? decode_attention_kernel<true>
                                     : decode_attention_kernel<false>,
      grid, dim3 (ATTENTION_THREADS), 0, divided_for_few_rows (launch), *args,
      1.0f / args->d_model);
}
