/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * decode-sample.cu: the end of a step and the start of the next: logits to a
 * token, and the token to its embedding. One block a row and place.
 */
#include "decode-token.cuh"

/* Of two logits that float16 may have in the wrong order: it changes how far
 * they are apart by 0.002 (root of the mean square, see docs/engine.md). */
#define DOUBTFUL_MARGIN 0.008f

/* Candidates of a draw, most probable first once sorted. */
struct Candidates {
  double weight[MT3_CUDA_MAX_VOCAB];
  int token[MT3_CUDA_MAX_VOCAB];
};

struct SampleShared {
  Best best[WARPS];
  Best permitted[WARPS];
  float sum[WARPS];
  float second[WARPS];
  int token;
};

struct Chosen {
  int token;
  float log_prob;
  bool doubtful;
};

/* Which tokens may follow a row's text.
 * @allowed: bits of those that may be chosen; NULL is all */
template <bool ORDERED> struct Filter {
  const uint32_t *allowed;
  Mt3TokenOrder order;
  Mt3TokenState state;

  __device__ __forceinline__ bool
  permits (int token) const
  {
    return (allowed == nullptr ||
               (__ldcg (allowed + token / 32) >> token % 32 & 1)) &&
           (!ORDERED || !mt3_token_order_exists (&order) ||
               mt3_token_order_permits (&order, &state, token, END_TOKEN));
  }
};

/* What another kernel may just have written. */
template <typename T>
static __device__ __forceinline__ T
load_words (const T *from)
{
  static_assert (sizeof (T) % 4 == 0, "words");
  alignas (4) T value;
#pragma unroll
  for (size_t i = 0; i < sizeof (T) / 4; i++)
    reinterpret_cast<uint32_t *> (&value)[i] =
        __ldcg (reinterpret_cast<const uint32_t *> (from) + i);
  return value;
}

template <bool ORDERED>
static __device__ __forceinline__ Filter<ORDERED>
load_filter (const Mt3CudaSample &a, const Mt3CudaRow *row, int place)
{
  Filter<ORDERED> filter = {};
  filter.allowed =
      __ldcg (&row->constrained)
          ? a.allowed + (size_t) __ldcg (&row->slot) * ((a.vocab + 31) / 32)
          : nullptr;
  if (ORDERED) {
    filter.order = load_words (&row->order);
    filter.state = load_words (&row->state);
    for (int i = 0; i < place; i++)
      mt3_token_order_follow (
          &filter.order, &filter.state, __ldcg (&row->drafts[i]));
  }
  return filter;
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
draw (const Candidates &c, int n_permitted, const Mt3CudaRow *row, int position,
    double sum)
{
  const int top_k = __ldcg (&row->top_k);
  const float top_p = __ldcg (&row->top_p);
  const int most = top_k > 0 ? min (top_k, n_permitted) : n_permitted;
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
 * row's permitted logits, of which there are some. */
template <typename F>
static __device__ __forceinline__ int
draw_token (SampleShared &shared, Candidates &c, const float *logits, int vocab,
    const Mt3CudaRow *row, const F &filter, int position, float largest)
{
  const float temperature = __ldcg (&row->temperature);
  double sum = 0.0;
  int n = 1, n_permitted = 0;

  while (n < vocab)
    n *= 2;
  for (int i = threadIdx.x; i < n; i += THREADS) {
    c.token[i] = i;
    c.weight[i] = i < vocab && filter.permits (i)
                      ? exp (((double) logits[i] - largest) / temperature)
                      : -1.0;
  }
  __syncthreads ();
  if (threadIdx.x == 0)
    for (int i = 0; i < vocab; i++)
      if (c.weight[i] >= 0.0) {
        sum += c.weight[i];
        n_permitted++;
      }
  sort_candidates (c, n);
  if (threadIdx.x == 0)
    shared.token = draw (c, n_permitted, row, position, sum);
  __syncthreads ();
  return shared.token;
}

/* The most probable of a row's tokens that is permitted, for all threads; the
 * end where none is. `own`: the thread's logits. */
template <typename F, int EACH>
static __device__ __forceinline__ Best
best_permitted (
    SampleShared &shared, const float (&own)[EACH], int vocab, const F &filter)
{
  Best best = {-INFINITY, MT3_CUDA_MAX_VOCAB};

#pragma unroll
  for (int i = 0; i < EACH; i++) {
    const int v = threadIdx.x + i * THREADS;
    if (v < vocab && filter.permits (v))
      best = better (best, Best{own[i], v});
  }
  best = block_best (shared.permitted, best);
  return best.index < vocab ? best : Best{best.value, END_TOKEN};
}

/* The row's next token and its logit, for all threads.
 * @row_logits: [vocab]
 * @own: the thread's
 * @best: of all
 * @logits: [vocab] in shared memory, for a draw
 * @position: of the token before, for a draw */
template <typename F, int EACH>
static __device__ __forceinline__ Best
choose_token (SampleShared &shared, Candidates &candidates, float *logits,
    const float *row_logits, const float (&own)[EACH], Best best, int vocab,
    const Mt3CudaRow *row, const F &filter, int position)
{
  const Best chosen = filter.permits (best.index)
                          ? best
                          : best_permitted (shared, own, vocab, filter);

  /* The end, which need not be permitted; or there are no numbers. */
  if (!(chosen.value > -INFINITY))
    return Best{__ldcg (row_logits + chosen.index), chosen.index};
  if (!(__ldcg (&row->temperature) > 0.0f))
    return chosen;
#pragma unroll
  for (int i = 0; i < EACH; i++)
    if (threadIdx.x + i * THREADS < vocab)
      logits[threadIdx.x + i * THREADS] = own[i];
  __syncthreads ();
  const int token = draw_token (
      shared, candidates, logits, vocab, row, filter, position, chosen.value);
  return Best{logits[token], token};
}

/* Of the exponentials of all logits, the largest being 1, what each warp has,
 * for sum_weights() once the block has met, and the largest logit but that of
 * the token that was chosen. */
template <int EACH>
static __device__ __forceinline__ void
leave_weights (
    SampleShared &shared, const float (&own)[EACH], float largest, int chosen)
{
  float sum = 0.0f, second = -INFINITY;

#pragma unroll
  for (int i = 0; i < EACH; i++) {
    sum += expf (own[i] - largest);
    if (threadIdx.x + i * THREADS != chosen)
      second = fmaxf (second, own[i]);
  }
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    sum += __shfl_xor_sync (0xffffffffu, sum, step);
    second = fmaxf (second, __shfl_xor_sync (0xffffffffu, second, step));
  }
  if (threadIdx.x % 32 == 0) {
    shared.sum[threadIdx.x / 32] = sum;
    shared.second[threadIdx.x / 32] = second;
  }
}

/* Whether a token with this logit has another beside it. */
static __device__ __forceinline__ bool
is_doubtful (const SampleShared &shared, float value)
{
  float second = -INFINITY;

#pragma unroll
  for (int w = 0; w < WARPS; w++)
    second = fmaxf (second, shared.second[w]);
  return fabsf (value - second) < DOUBTFUL_MARGIN;
}

static __device__ __forceinline__ float
sum_weights (const SampleShared &shared)
{
  float sum = 0.0f;

#pragma unroll
  for (int w = 0; w < WARPS; w++)
    sum += shared.sum[w];
  return sum;
}

/* Records a token; returns how many tokens remain behind it. */
static __device__ __forceinline__ int
record_token (
    Mt3CudaRecord *record, const Chosen &chosen, int remaining, bool overflow)
{
  /* Inf and NaN of any layer reach the log-probability. */
  overflow |= !isfinite (chosen.log_prob);
  record->log_prob = chosen.log_prob;
  record->token = (uint16_t) chosen.token;
  record->flags = (overflow ? MT3_CUDA_OVERFLOW : 0) |
                  (chosen.doubtful ? MT3_CUDA_DOUBT : 0);
  return chosen.token == END_TOKEN || overflow ? 0 : remaining - 1;
}

/* Where a place of a row was before this step: what only samplers write. */
struct State {
  int place, slot, position, remaining, step, prefill_overflow;
};

static __device__ __forceinline__ State
load_state (const Mt3CudaSample &a, const Mt3CudaRow *row, int place)
{
  State s;
  s.place = place;
  s.position = __ldcg (&row->position) + place;
  s.remaining = __ldcg (&row->remaining) - place;
  s.step = __ldcg (&row->step);
  s.slot = __ldcg (&row->slot);
  s.prefill_overflow = __ldcg (a.overflow + s.slot);
  return s;
}

/* Records the token of the place; one that has no others beside it advances the
 * row. One thread. */
template <bool ORDERED>
static __device__ __forceinline__ void
advance (const Mt3CudaSample &a, Mt3CudaRow *row, const State &state,
    const Chosen &chosen, bool overflow, Filter<ORDERED> &filter)
{
  if (threadIdx.x > 0)
    return;
  const int remaining = record_token (
      a.records + (size_t) state.step * a.n_rows * a.places + blockIdx.x,
      chosen, state.remaining, overflow);
  if (a.places > 1)
    return;
  row->remaining = remaining;
  row->step = state.step + 1;
  row->token = chosen.token;
  row->position = state.position + 1;
  if (ORDERED) {
    mt3_token_order_follow (&filter.order, &filter.state, chosen.token);
    row->state = filter.state;
  }
}

/* The embedding of the next token is asked for as soon as it is known; its
 * probability is found meanwhile. */
template <bool EXACT, bool ORDERED>
static __global__ void
__launch_bounds__ (THREADS, 1) sample_kernel (const Mt3CudaSample a)
{
  __shared__ SampleShared shared;
  __shared__ Candidates candidates;
  __shared__ float logits[MT3_CUDA_MAX_VOCAB];
  constexpr int each = MT3_CUDA_MAX_VOCAB / THREADS;
  const int place = blockIdx.x % a.places;
  Mt3CudaRow *row = a.rows + blockIdx.x / a.places;
  const State state = load_state (a, row, place);
  const int column = 2 * threadIdx.x;
  Filter<ORDERED> filter = load_filter<ORDERED> (a, row, place);
  float2 embedding = make_float2 (0.0f, 0.0f);
  Best best = {-INFINITY, MT3_CUDA_MAX_VOCAB};
  float own[each];

  dependent_launch ();
  dependent_wait ();
  if (a.logits == nullptr) {
    const int token =
        place == 0 ? __ldcg (&row->token) : __ldcg (&row->drafts[place - 1]);
    const int position = state.remaining > 0 ? state.position : 0;
    if (column < a.d_model)
      embedding = load_embedding (a, token, position, column);
    embed<EXACT> (a, blockIdx.x, token, position, column, embedding);
    return;
  }
  if (state.remaining <= 0)
    return;

  const float *row_logits = a.logits + (size_t) blockIdx.x * a.vocab;
#pragma unroll
  for (int i = 0; i < each; i++) {
    const int v = threadIdx.x + i * THREADS;
    own[i] = -INFINITY;
    if (v < a.vocab)
      own[i] = __ldcg (row_logits + v);
  }
  const int row_overflow = __ldcg (&row->overflow) >> place & 1;
#pragma unroll
  for (int i = 0; i < each; i++)
    best = better (best, Best{own[i], (int) threadIdx.x + i * THREADS});
  best = block_best (shared.best, best);
  /* Without one number that compares, as with NaN, the index is none. */
  best.index = min (best.index, a.vocab - 1);
  const Best chosen = choose_token (shared, candidates, logits, row_logits, own,
      best, a.vocab, row, filter, state.position);
  const bool goes_on = a.places == 1 && state.remaining > 1;
  if (goes_on && column < a.d_model)
    embedding = load_embedding (a, chosen.index, state.position + 1, column);
  leave_weights (shared, own, best.value, chosen.index);
  if (goes_on)
    embed<EXACT> (
        a, blockIdx.x, chosen.index, state.position + 1, column, embedding);
  __syncthreads ();
  advance (a, row, state,
      Chosen{chosen.index,
          chosen.value - best.value - logf (sum_weights (shared)),
          is_doubtful (shared, chosen.value)},
      (state.prefill_overflow | row_overflow) != 0, filter);
}

template <bool EXACT>
static cudaError_t
launch_sample (const Mt3CudaSample &a, Mt3CudaLaunch launch)
{
  const bool few = EXACT || a.n_rows * a.places < MANY_ROWS;

  return launch_kernel (
      a.ordered ? sample_kernel<EXACT, true> : sample_kernel<EXACT, false>,
      dim3 (a.n_rows * a.places), dim3 (THREADS), 0,
      few ? divided_for_few_rows (launch) : launch, a);
}

cudaError_t
mt3_cuda_sample (const Mt3CudaSample *args, Mt3CudaLaunch launch)
{
  return args->out.lo ? launch_sample<true> (*args, launch)
                      : launch_sample<false> (*args, launch);
}
