/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * decode-sample.cu: the end of a step and the start of the next: logits to a
 * token, and the token to its embedding. One block a row.
 */
#include "device.cuh"

#define THREADS 256
#define WARPS (THREADS / 32)

struct Best {
  float value;
  int index;
};

/* Candidates of a draw, most probable first once sorted. */
struct Candidates {
  double weight[MT3_CUDA_MAX_VOCAB];
  int token[MT3_CUDA_MAX_VOCAB];
};

struct SampleShared {
  Best best[WARPS];
  Best allowed[WARPS];
  float sum[WARPS];
  int token;
};

struct Chosen {
  int token;
  float log_prob;
};

/* The larger value; of equal ones the lower index. */
static __device__ __forceinline__ Best
better (Best a, Best b)
{
  return b.value > a.value || (b.value == a.value && b.index < a.index) ? b : a;
}

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
block_sum (SampleShared &shared, float sum)
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

/* @allowed: NULL is all. */
static __device__ __forceinline__ bool
is_allowed (const uint32_t *allowed, int token)
{
  return allowed == nullptr ||
         (__ldcg (allowed + token / 32) >> token % 32 & 1);
}

static __device__ __forceinline__ bool
comes_before (const Candidates &c, int a, int b)
{
  return c.weight[a] > c.weight[b] ||
         (c.weight[a] == c.weight[b] && c.token[a] < c.token[b]);
}

/* Bitonic sort by all threads; n is a power of two. */
static __device__ __forceinline__ void
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

/* As mt3_sampler_draw(), in the same order of sums; one thread alone. `sum`:
 * of all weights. */
static __device__ __forceinline__ int
draw (const Candidates &c, int n_allowed, const Mt3CudaRow *row, int position,
    double sum)
{
  const int top_k = __ldcg (&row->top_k);
  const float top_p = __ldcg (&row->top_p);
  const int most = top_k > 0 ? min (top_k, n_allowed) : n_allowed;
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
  target *= uniform (__ldcg (&row->seed), __ldcg (&row->index), position);
  for (int i = 0; i + 1 < n_kept; i++) {
    target -= c.weight[i];
    if (target < 0.0)
      return c.token[i];
  }
  return c.token[n_kept - 1];
}

/* The token of a row with a temperature, for all threads. `largest`: of the
 * row's allowed logits. */
static __device__ __forceinline__ int
draw_token (SampleShared &shared, Candidates &c, const float *logits, int vocab,
    const Mt3CudaRow *row, const uint32_t *allowed, int position, float largest)
{
  const float temperature = __ldcg (&row->temperature);
  double sum = 0.0;
  int n = 1, n_allowed = 0;

  while (n < vocab)
    n *= 2;
  for (int i = threadIdx.x; i < n; i += THREADS) {
    c.token[i] = i;
    c.weight[i] = i < vocab && is_allowed (allowed, i)
                      ? exp (((double) logits[i] - largest) / temperature)
                      : -1.0;
  }
  __syncthreads ();
  if (threadIdx.x == 0)
    for (int i = 0; i < vocab; i++)
      if (c.weight[i] >= 0.0) {
        sum += c.weight[i];
        n_allowed++;
      }
  sort_candidates (c, n);
  if (threadIdx.x == 0)
    shared.token = draw (c, n_allowed, row, position, sum);
  __syncthreads ();
  return shared.token;
}

/* The row's next token and its log-probability, for all threads.
 * @logits: [vocab] in shared memory
 * @allowed: bits of the tokens that may be chosen, or NULL
 * @position: of the token before, for the draw */
static __device__ __forceinline__ Chosen
choose_token (SampleShared &shared, Candidates &candidates, const float *logits,
    int vocab, const Mt3CudaRow *row, const uint32_t *allowed, int position)
{
  constexpr int each = MT3_CUDA_MAX_VOCAB / THREADS;
  Best best = {-INFINITY, MT3_CUDA_MAX_VOCAB}, chosen = best;
  float own[each];

#pragma unroll
  for (int i = 0; i < each; i++) {
    const int v = threadIdx.x + i * THREADS;
    own[i] = v < vocab ? logits[v] : -INFINITY;
    best = better (best, Best{own[i], v});
    if (allowed != nullptr && v < vocab && is_allowed (allowed, v))
      chosen = better (chosen, Best{own[i], v});
  }
  best = block_best (shared.best, best);
  chosen = allowed ? block_best (shared.allowed, chosen) : best;
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < each; i++)
    sum += expf (own[i] - best.value);
  sum = block_sum (shared, sum);
  /* Without one number that compares, as with NaN, the index is none. */
  Chosen result = {min (chosen.index, vocab - 1), -logf (sum)};
  if (!isfinite (result.log_prob))
    return result;
  if (__ldcg (&row->temperature) > 0.0f)
    result.token = draw_token (shared, candidates, logits, vocab, row, allowed,
        position, chosen.value);
  result.log_prob += logits[result.token] - best.value;
  return result;
}

/* Records a token; returns how many tokens remain to the row. One thread
 * writes, all get the result. */
static __device__ __forceinline__ int
record_token (
    Mt3CudaRecord *record, const Chosen &chosen, int remaining, bool overflow)
{
  const bool ended = chosen.token == 1; /* MT3_TOKEN_EOS */
  /* Inf and NaN of any layer reach the log-probability. */
  overflow |= !isfinite (chosen.log_prob);
  if (threadIdx.x == 0) {
    record->log_prob = chosen.log_prob;
    record->token = (uint16_t) chosen.token;
    record->flags = overflow ? MT3_CUDA_OVERFLOW : 0;
  }
  return ended || overflow ? 0 : remaining - 1;
}

static __device__ __forceinline__ const uint32_t *
allowed_tokens (const uint32_t *allowed, const Mt3CudaRow *row, int vocab)
{
  return __ldcg (&row->constrained)
             ? allowed + (size_t) __ldcg (&row->slot) * ((vocab + 31) / 32)
             : nullptr;
}

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

/* Records the row's token and advances the row. */
static __device__ __forceinline__ int
advance (const Mt3CudaSample &a, const State &state, const Chosen &chosen)
{
  const int remaining =
      record_token (a.records + (size_t) state.step * a.n_rows + blockIdx.x,
          chosen, state.remaining, state.overflow != 0);
  Mt3CudaRow *row = a.rows + blockIdx.x;

  if (threadIdx.x == 0) {
    row->step = state.step + 1;
    row->token = chosen.token;
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
    float squares = sum_of_squares (v0, v1);
    for (int step = 4; step > 0; step /= 2)
      squares += __shfl_xor_sync (0xffffffffu, squares, step);
    if (threadIdx.x % 8 == 0)
      a.out_squares[(row + c) / MT3_CUDA_DECODE_SQUARES] = squares;
  }
}

template <bool EXACT>
static __global__ void
__launch_bounds__ (THREADS, 1) sample_kernel (const Mt3CudaSample a)
{
  __shared__ SampleShared shared;
  __shared__ Candidates candidates;
  __shared__ float logits[MT3_CUDA_MAX_VOCAB];
  Mt3CudaRow *row = a.rows + blockIdx.x;

  dependent_launch ();
  dependent_wait ();
  if (a.logits == nullptr) {
    embed<EXACT> (a, __ldcg (&row->token), __ldcg (&row->position));
    return;
  }
  const State state = load_state (a, row);
  if (state.remaining == 0)
    return;

  for (int v = threadIdx.x; v < a.vocab; v += THREADS)
    logits[v] = __ldcg (a.logits + (size_t) blockIdx.x * a.vocab + v);
  __syncthreads ();
  const Chosen chosen = choose_token (shared, candidates, logits, a.vocab, row,
      allowed_tokens (a.allowed, row, a.vocab), state.position);
  if (advance (a, state, chosen) > 0)
    embed<EXACT> (a, chosen.token, state.position + 1);
}

cudaError_t
mt3_cuda_sample (const Mt3CudaSample *args, Mt3CudaLaunch launch)
{
  return launch_kernel (
      args->out.lo ? sample_kernel<true> : sample_kernel<false>,
      dim3 (args->n_rows), dim3 (THREADS), 0, launch, *args);
}
