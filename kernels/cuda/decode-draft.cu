/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * decode-draft.cu: what lies between a step of several places and the next: how
 * many of its drafts were right, and the tokens that a draft network expects
 * behind them. One block a row.
 */
#include "decode-token.cuh"

/* What a step made of a row, asked for at once. */
struct Made {
  uint2 records[MT3_CUDA_MOST_PLACES]; /* log_prob; token and flags */
  int drafts[MT3_CUDA_MOST_PLACES];
  int remaining;

  __device__ __forceinline__
  Made (const Mt3CudaRecord *from, const Mt3CudaRow *row, int places)
  {
    remaining = __ldcg (&row->remaining);
#pragma unroll
    for (int i = 0; i < MT3_CUDA_MOST_PLACES; i++) {
      records[i] = make_uint2 (0, 0);
      drafts[i] = -1;
      if (i < places) {
        records[i] = __ldcg (reinterpret_cast<const uint2 *> (from) + i);
        if (i + 1 < places)
          drafts[i] = __ldcg (&row->drafts[i]);
      }
    }
  }

  __device__ __forceinline__ int
  token (int i) const
  {
    return records[i].y & 0xffff;
  }

  __device__ __forceinline__ bool
  ends (int i) const
  {
    return token (i) == END_TOKEN || records[i].y >> 16 & MT3_CUDA_OVERFLOW;
  }

  /* Places up to the first whose draft is not what came. */
  __device__ __forceinline__ int
  count_right () const
  {
    int n = 1;

#pragma unroll
    for (int i = 1; i < MT3_CUDA_MOST_PLACES; i++)
      if (n == i && i < remaining && !ends (i - 1) &&
          drafts[i - 1] == token (i - 1))
        n++;
    return n;
  }
};

static __device__ __forceinline__ Mt3CudaRecord *
records_of (const Mt3CudaDraft &a, int step)
{
  return a.records + ((size_t) step * a.n_rows + blockIdx.x) * a.places;
}

/* What a pass starts with: line `line` of its matrix. */
static __device__ __forceinline__ void
embed_draft (const Mt3CudaDraft &a, int line, int token, int position)
{
  for (int i = threadIdx.x * 2; i < a.d_model; i += THREADS * 2) {
    const float2 v = *reinterpret_cast<const float2 *> (
        a.embedding + (size_t) token * a.d_model + i);
    const float2 place = *reinterpret_cast<const float2 *> (
        a.positions + (size_t) position * a.d_model + i);
    *reinterpret_cast<float2 *> (a.draft_x + (size_t) line * a.d_model + i) =
        make_float2 (v.x + place.x, v.y + place.y);
  }
}

static __global__ void
__launch_bounds__ (THREADS, 1) settle_kernel (const Mt3CudaDraft a)
{
  __shared__ int tokens[MT3_CUDA_MOST_PLACES], n_right;
  Mt3CudaRow *row = a.rows + blockIdx.x;

  dependent_launch ();
  dependent_wait ();
  if (threadIdx.x == 0) {
    Mt3CudaRecord *records = records_of (a, __ldcg (&row->step));
    const Made made (records, row, a.places);
    n_right = made.remaining > 0 ? made.count_right () : 0;
#pragma unroll
    for (int i = 0; i < MT3_CUDA_MOST_PLACES; i++)
      tokens[i] = min (made.token (i), a.vocab - 1);
    row->n_right = n_right;
    for (int i = n_right; i < a.places && n_right > 0; i++)
      records[i].flags = MT3_CUDA_NONE;
  }
  __syncthreads ();
  const int position = __ldcg (&row->position);
  for (int i = 0; i < n_right; i++)
    embed_draft (a, blockIdx.x * a.places + i, tokens[i], position + i);
}

/* The row goes on behind the last place that counts; one thread. Returns how
 * many tokens remain to it. */
static __device__ __forceinline__ int
advance (const Mt3CudaDraft &a, Mt3CudaRow *row, int n_right)
{
  const int step = __ldcg (&row->step);
  const Mt3CudaRecord *records = records_of (a, step);
  const uint2 last =
      __ldcg (reinterpret_cast<const uint2 *> (records + n_right - 1));
  const int token = last.y & 0xffff;
  const int remaining = token == END_TOKEN || last.y >> 16 & MT3_CUDA_OVERFLOW
                            ? 0
                            : __ldcg (&row->remaining) - n_right;

  if (a.ordered)
    for (int i = 0; i < n_right; i++)
      mt3_token_order_follow (
          &row->order, &row->state, __ldcg (&records[i].token));
  row->token = token;
  row->position = __ldcg (&row->position) + n_right;
  row->remaining = remaining;
  row->step = step + 1;
  row->overflow = 0;
  return remaining;
}

/* What the pass has of the last place that counts. */
static __device__ __forceinline__ void
keep_state (const Mt3CudaDraft &a, int place)
{
  const int n_squares = a.d_model / MT3_CUDA_DECODE_SQUARES;
  const size_t from = (size_t) blockIdx.x * a.places + place;

  for (int i = threadIdx.x; i < a.d_model / 8; i += THREADS)
    static_cast<uint4 *> (a.state.hi)[blockIdx.x * (a.d_model / 8) + i] =
        __ldcg (static_cast<const uint4 *> (a.pass.hi) +
                from * (a.d_model / 8) + i);
  for (int i = threadIdx.x; i < n_squares; i += THREADS)
    a.state_squares[blockIdx.x * n_squares + i] =
        __ldcg (a.pass_squares + from * n_squares + i);
}

/* The embedding of the token that the next step has at `place`. */
static __device__ __forceinline__ void
embed_place (const Mt3CudaDraft &a, int place, int token, int position)
{
  const int column = 2 * threadIdx.x;
  float2 v = make_float2 (0.0f, 0.0f);

  if (column < a.d_model)
    v = load_embedding (a, token, position, column);
  embed<false> (a, blockIdx.x * a.places + place, token, position, column, v);
}

/* For the step, and with what the step before recorded; one thread. */
static __device__ __forceinline__ void
leave_draft (const Mt3CudaDraft &a, Mt3CudaRow *row, int step, int token)
{
  Mt3CudaRecord *record = records_of (a, step) + a.place;

  row->drafts[a.place - 1] = token;
  record->flags =
      __ldcg (&record->flags) | (uint16_t) (token << MT3_CUDA_FLAG_BITS);
}

static __device__ __forceinline__ int
best_token (const float *logits, int vocab)
{
  __shared__ Best shared[WARPS];
  constexpr int each = MT3_CUDA_MAX_VOCAB / THREADS;
  Best best = {-INFINITY, MT3_CUDA_MAX_VOCAB};

#pragma unroll
  for (int i = 0; i < each; i++) {
    const int v = threadIdx.x + i * THREADS;
    if (v < vocab)
      best = better (best, Best{__ldcg (logits + v), v});
  }
  return min (block_best (shared, best).index, vocab - 1);
}

/* Behind the first pass. */
static __global__ void
__launch_bounds__ (THREADS, 1) advance_kernel (const Mt3CudaDraft a)
{
  __shared__ int left;
  Mt3CudaRow *row = a.rows + blockIdx.x;

  dependent_launch ();
  dependent_wait ();
  const int remaining = __ldcg (&row->remaining);
  const int n_right = __ldcg (&row->n_right);
  const int position = __ldcg (&row->position) + n_right;
  const int step = __ldcg (&row->step);
  if (remaining == 0)
    return;
  const int line = blockIdx.x * a.places + n_right - 1;
  const int own = __ldcg (&records_of (a, step)[n_right - 1].token);
  const int token = best_token (a.logits + (size_t) line * a.vocab, a.vocab);
  if (threadIdx.x == 0) {
    left = advance (a, row, n_right);
    leave_draft (a, row, step, token);
  }
  keep_state (a, n_right - 1);
  __syncthreads ();
  if (left == 0)
    return;
  embed_place (a, 0, own, position);
  if (left == 1)
    return;
  embed_place (a, 1, token, position + 1);
  embed_draft (a, blockIdx.x, token, position);
}

/* Behind a further one. */
static __global__ void
__launch_bounds__ (THREADS, 1) draft_kernel (const Mt3CudaDraft a)
{
  Mt3CudaRow *row = a.rows + blockIdx.x;

  dependent_launch ();
  dependent_wait ();
  const int remaining = __ldcg (&row->remaining);
  const int position = __ldcg (&row->position) + a.place;
  const int step = __ldcg (&row->step) - 1;
  if (remaining <= a.place)
    return;
  const int token =
      best_token (a.logits + (size_t) blockIdx.x * a.vocab, a.vocab);
  if (threadIdx.x == 0)
    leave_draft (a, row, step, token);
  embed_place (a, a.place, token, position);
  embed_draft (a, blockIdx.x, token, position - 1);
}

cudaError_t
mt3_cuda_draft (const Mt3CudaDraft *args, Mt3CudaLaunch launch)
{
  const bool few = args->n_rows * args->places < MANY_ROWS;

  return launch_kernel (args->place == 0   ? settle_kernel
                        : args->place == 1 ? advance_kernel
                                           : draft_kernel,
      dim3 (args->n_rows), dim3 (THREADS), 0,
      few ? divided_for_few_rows (launch) : launch, *args);
}
