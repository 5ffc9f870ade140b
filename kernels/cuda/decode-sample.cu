/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * decode-sample.cu: the end of a step and the start of the next: logits to a
 * token, and the token to its embedding. One block a row.
 */
#include "sample.cuh"

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

  for (int c = 2 * threadIdx.x; c < a.d_model; c += 2 * SAMPLE_THREADS) {
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
__launch_bounds__ (SAMPLE_THREADS, 1) sample_kernel (const Mt3CudaSample a)
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

  for (int v = threadIdx.x; v < a.vocab; v += SAMPLE_THREADS)
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
      dim3 (args->n_rows), dim3 (SAMPLE_THREADS), 0, launch, *args);
}
