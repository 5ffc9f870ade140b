/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * decode-sample.cu: the end of a step and the start of the next: logits to a
 * token, and the token to its embedding. One block a row.
 */
#include "device.cuh"

#define THREADS 256
#define WARPS (THREADS / 32)
#define EACH (MT3_CUDA_MAX_VOCAB / THREADS) /* logits of a thread */

struct Best {
  float value;
  int index;
};

/* The larger value; of equal ones the lower index. */
static __device__ __forceinline__ Best
better (Best a, Best b)
{
  return b.value > a.value || (b.value == a.value && b.index < a.index) ? b : a;
}

struct Shared {
  Best best[WARPS];
  Best allowed[WARPS];
  float sum[WARPS];
  float largest; /* logit of all */
};

static __device__ __forceinline__ Best
block_best (Best (&shared)[WARPS], Best best)
{
  for (int step = 16; step > 0; step /= 2) {
    Best other;
    other.value = __shfl_xor_sync (0xffffffffu, best.value, step);
    other.index = __shfl_xor_sync (0xffffffffu, best.index, step);
    best = better (best, other);
  }
  if (threadIdx.x % 32 == 0)
    shared[threadIdx.x / 32] = best;
  __syncthreads ();
  best = shared[0];
  for (int w = 1; w < WARPS; w++)
    best = better (best, shared[w]);
  return best;
}

static __device__ __forceinline__ float
block_sum (Shared &shared, float sum)
{
  for (int step = 16; step > 0; step /= 2)
    sum += __shfl_xor_sync (0xffffffffu, sum, step);
  if (threadIdx.x % 32 == 0)
    shared.sum[threadIdx.x / 32] = sum;
  __syncthreads ();
  sum = 0.0f;
  for (int w = 0; w < WARPS; w++)
    sum += shared.sum[w];
  return sum;
}

/* The tokens that the row may have; NULL is all. */
static __device__ __forceinline__ const uint32_t *
allowed_tokens (const Mt3CudaSample &a, const Mt3CudaRow *row)
{
  return __ldcg (&row->constrained)
             ? a.allowed + (size_t) __ldcg (&row->slot) * ((a.vocab + 31) / 32)
             : nullptr;
}

static __device__ __forceinline__ bool
is_allowed (const uint32_t *allowed, int token)
{
  return allowed == nullptr ||
         (__ldcg (allowed + token / 32) >> token % 32 & 1) != 0;
}

/* ------------------------------------------------------------ the draw */

/* Candidates of a draw in shared memory, most probable first once sorted. */
struct Candidates {
  double weight[MT3_CUDA_MAX_VOCAB];
  int token[MT3_CUDA_MAX_VOCAB];
};

static __device__ __forceinline__ bool
comes_before (const Candidates &c, int a, int b)
{
  return c.weight[a] > c.weight[b] ||
         (c.weight[a] == c.weight[b] && c.token[a] < c.token[b]);
}

/* Bitonic sort by the whole block; n is a power of two. */
static __device__ void
sort_candidates (Candidates &c, int n)
{
  for (int size = 2; size <= n; size *= 2)
    for (int step = size / 2; step > 0; step /= 2) {
      __syncthreads ();
      for (int i = threadIdx.x; i < n; i += THREADS) {
        const int other = i ^ step;
        if (other < i || comes_before (c, i, other) == ((i & size) == 0))
          continue;
        const double weight = c.weight[i];
        const int token = c.token[i];
        c.weight[i] = c.weight[other];
        c.token[i] = c.token[other];
        c.weight[other] = weight;
        c.token[other] = token;
      }
    }
  __syncthreads ();
}

static __device__ __forceinline__ uint64_t
mix (uint64_t x)
{
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/* As mt3_sampler_uniform() in ext/mt3/engine/sampler.c. */
static __device__ __forceinline__ double
uniform (uint64_t seed, uint64_t index, uint64_t position)
{
  const uint64_t golden = 0x9e3779b97f4a7c15u;
  uint64_t x = mix (seed + golden);
  x = mix (x + index * golden + golden);
  x = mix (x + position * golden + golden);
  return (double) (x >> 11) * 0x1p-53;
}

/* As mt3_sampler_draw(), in the same order of sums; thread 0 alone. `sum`: of
 * the weights of all `n` tokens that are allowed. */
static __device__ int
draw (const Candidates &c, int n, const Mt3CudaRow *row, double sum)
{
  const int top_k = __ldcg (&row->top_k);
  const float top_p = __ldcg (&row->top_p);
  const int most = top_k > 0 ? min (top_k, n) : n;
  int n_kept = most;
  double reached = 0.0, target = 0.0;

  if (top_p < 1.0f)
    for (int i = 0; i < most && n_kept == most; i++) {
      reached += c.weight[i];
      if (reached >= top_p * sum)
        n_kept = i + 1;
    }
  for (int i = 0; i < n_kept; i++)
    target += c.weight[i];
  target *= uniform (
      __ldcg (&row->seed), __ldcg (&row->index), __ldcg (&row->position));
  for (int i = 0; i + 1 < n_kept; i++) {
    target -= c.weight[i];
    if (target < 0.0)
      return c.token[i];
  }
  return c.token[n_kept - 1];
}

/* The token of a row with a temperature, for all threads. `largest`: of the
 * row's allowed logits. */
static __device__ int
sample_token (const Mt3CudaSample &a, Candidates &c, const Mt3CudaRow *row,
    const float *logits, const uint32_t *allowed, float largest)
{
  __shared__ double sum;
  __shared__ int token, n_allowed;
  int n = 1;

  while (n < a.vocab)
    n *= 2;
  for (int i = threadIdx.x; i < n; i += THREADS) {
    c.token[i] = i;
    c.weight[i] = i < a.vocab && is_allowed (allowed, i) ? 1.0 : -1.0;
  }
  for (int i = threadIdx.x; i < a.vocab; i += THREADS)
    if (c.weight[i] > 0.0)
      c.weight[i] = exp (((double) __ldcg (logits + i) - largest) /
                         __ldcg (&row->temperature));
  __syncthreads ();
  if (threadIdx.x == 0) {
    sum = 0.0;
    n_allowed = 0;
    for (int i = 0; i < a.vocab; i++)
      if (c.weight[i] >= 0.0) {
        sum += c.weight[i];
        n_allowed++;
      }
  }
  sort_candidates (c, n);
  if (threadIdx.x == 0)
    token = draw (c, n_allowed, row, sum);
  __syncthreads ();
  return token;
}

/* -------------------------------------------------------- rows, tokens */

/* What a row was before this step. */
struct State {
  int position, remaining, step, overflow;
};

static __device__ __forceinline__ State
load_state (const Mt3CudaSample &a, const Mt3CudaRow *row)
{
  State s;
  s.position = __ldcg (&row->position);
  s.remaining = __ldcg (&row->remaining);
  s.step = __ldcg (&row->step);
  s.overflow =
      __ldcg (&row->overflow) | __ldcg (a.overflow + __ldcg (&row->slot));
  return s;
}

/* Records the row's token and advances the row. Every thread computes the same
 * and thread 0 writes; returns the tokens that remain. */
static __device__ __forceinline__ int
advance (const Mt3CudaSample &a, const State &state, int token, float log_prob)
{
  const bool ended = token == 1; /* MT3_TOKEN_EOS */
  /* Inf and NaN of any layer reach the log-probability. */
  const bool overflow = state.overflow || !isfinite (log_prob);
  const int remaining = ended || overflow ? 0 : state.remaining - 1;
  Mt3CudaRow *row = a.rows + blockIdx.x;
  Mt3CudaRecord *record =
      a.records + (size_t) state.step * a.n_rows + blockIdx.x;

  if (threadIdx.x == 0) {
    record->log_prob = log_prob;
    record->token = (uint16_t) token;
    record->flags = overflow ? MT3_CUDA_OVERFLOW : 0;
    row->step = state.step + 1;
    row->token = token;
    row->position = state.position + 1;
    row->remaining = remaining;
  }
  return remaining;
}

/* x = embedding + position, its planes and sums of squares. */
template <bool EXACT>
static __device__ __forceinline__ void
embed (const Mt3CudaSample &a, int token, int position)
{
  const float *embedding = a.embedding + (size_t) token * a.d_model;
  const float *place = a.positions + (size_t) position * a.d_model;
  const size_t row = (size_t) blockIdx.x * a.d_model;

  for (int c = 2 * threadIdx.x; c < a.d_model; c += 2 * THREADS) {
    const float v0 = embedding[c] + place[c];
    const float v1 = embedding[c + 1] + place[c + 1];
    *reinterpret_cast<float2 *> (a.x + row + c) = make_float2 (v0, v1);
    store2<EXACT> (a.out, row + c, v0, v1);
    float squares = v0 * v0 + v1 * v1;
    for (int step = 4; step > 0; step /= 2)
      squares += __shfl_xor_sync (0xffffffffu, squares, step);
    if (threadIdx.x % 8 == 0)
      a.out_squares[(row + c) / MT3_CUDA_DECODE_SQUARES] = squares;
  }
}

template <bool EXACT>
static __global__ void
__launch_bounds__ (THREADS) sample_kernel (const Mt3CudaSample a)
{
  __shared__ Shared shared;
  __shared__ Candidates candidates;
  Mt3CudaRow *row = a.rows + blockIdx.x;
  float logits[EACH];
  Best best = {-INFINITY, MT3_CUDA_MAX_VOCAB}, chosen = best;

  dependent_launch ();
  dependent_wait ();
  if (a.logits == nullptr) {
    embed<EXACT> (a, __ldcg (&row->token), __ldcg (&row->position));
    return;
  }
  const State state = load_state (a, row);
  if (state.remaining == 0)
    return;

  const uint32_t *allowed = allowed_tokens (a, row);
#pragma unroll
  for (int i = 0; i < EACH; i++) {
    const int v = threadIdx.x + i * THREADS;
    logits[i] = v < a.vocab
                    ? __ldcg (a.logits + (size_t) blockIdx.x * a.vocab + v)
                    : -INFINITY;
    best = better (best, Best{logits[i], v});
    if (allowed && v < a.vocab && is_allowed (allowed, v))
      chosen = better (chosen, Best{logits[i], v});
  }
  best = block_best (shared.best, best);
  chosen = allowed ? block_best (shared.allowed, chosen) : best;
  if (threadIdx.x == 0)
    shared.largest = best.value;
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < EACH; i++)
    sum += expf (logits[i] - best.value);
  sum = block_sum (shared, sum);
  /* Without one number that compares, as with NaN, the index is none. */
  int token = min (chosen.index, a.vocab - 1);
  float log_prob = -logf (sum);
  const bool drawn = __ldcg (&row->temperature) > 0.0f;
  if ((drawn || allowed) && isfinite (log_prob)) {
    const float *row_logits = a.logits + (size_t) blockIdx.x * a.vocab;
    if (drawn)
      token =
          sample_token (a, candidates, row, row_logits, allowed, chosen.value);
    log_prob += __ldcg (row_logits + token) - shared.largest;
  }
  if (advance (a, state, token, log_prob) > 0)
    embed<EXACT> (a, token, state.position + 1);
}

cudaError_t
mt3_cuda_sample (const Mt3CudaSample *args, Mt3CudaLaunch launch)
{
  return launch_kernel (
      args->out.lo ? sample_kernel<true> : sample_kernel<false>,
      dim3 (args->n_rows), dim3 (THREADS), 0, launch, *args);
}
