/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/cuda/lane.h"

#include <string.h>

#include "engine/cuda/graph.h"

/* The row count that a run of @n_rows is padded to: a multiple of eight, or of
 * a power of two that pads by less than a quarter. */
static guint
bucket_for (guint n_rows)
{
  guint step = 8;

  if (n_rows <= 1)
    return 1;
  while (8 * step < n_rows)
    step *= 2;
  return (n_rows + step - 1) / step * step;
}

/* ------------------------------------------------------------- a step */

/* Kernels of a step in order; stops at the first that fails.
 * @places: of each row
 * @drafts: of the draft network
 * @x, @planes, @squares: what the residual stream is */
typedef struct {
  const Mt3CudaLane *lane;
  guint n_rows, places;
  gboolean drafts;
  gfloat *x;
  Mt3CudaPlanes planes;
  gfloat *squares;
  Mt3CudaLaunch launch;
  cudaError_t result;
} Step;

static void
multiply (Step *step, Mt3CudaDecodeGemm gemm)
{
  gemm.n_rows = (int) (step->n_rows * step->places);
  gemm.places = (int) step->places;
  gemm.rows = step->lane->rows;
  gemm.drafts = step->drafts;
  if (step->result == cudaSuccess)
    step->result = mt3_cuda_decode_gemm (&gemm, step->launch);
  step->launch.dependent = step->lane->dependent;
  step->launch.early = TRUE;
}

/* x += a w^T; with @more columns added to the cross query. */
static void
add (Step *step, Mt3CudaPlanes a, Mt3CudaPlanes w, guint k, guint more)
{
  const Mt3CudaLane *lane = step->lane;
  const guint d = lane->weights->config.d_model;

  multiply (step, (Mt3CudaDecodeGemm){
                      .a = a,
                      .w = w,
                      .n = (int) (d + more),
                      .k = (int) k,
                      .epilogue = MT3_CUDA_DECODE_ADD,
                      .x = step->x,
                      .x_width = (int) d,
                      .out = step->planes,
                      .out_squares = step->squares,
                      .cross_query = more > 0 ? lane->cross_query : NULL,
                      .inner = (int) more,
                  });
}

/* What is common to the products that a norm lies before. */
static Mt3CudaDecodeGemm
normalised (
    const Step *step, Mt3CudaPlanes w, guint n, Mt3CudaDecodeEpilogue epilogue)
{
  return (Mt3CudaDecodeGemm){
      .a = step->planes,
      .w = w,
      .squares = step->squares,
      .n = (int) n,
      .k = (int) step->lane->weights->config.d_model,
      .epilogue = epilogue,
  };
}

static void
attend (Step *step, Mt3CudaDecodeAttention attention)
{
  const Mt3CudaLane *lane = step->lane;

  attention.n_rows = (int) step->n_rows;
  attention.places = (int) step->places;
  attention.n_heads = (int) lane->weights->config.n_heads;
  attention.n_slots = (int) lane->slots->n_slots;
  attention.rows = lane->rows;
  attention.out = lane->attended;
  if (step->result == cudaSuccess)
    step->result = mt3_cuda_decode_attention (&attention, step->launch);
}

static void
self_attention (Step *step, guint layer)
{
  const Mt3CudaLane *lane = step->lane;
  const Mt3CudaSlots *slots = lane->slots;
  const Mt3Config *config = &lane->weights->config;
  const Mt3CudaDecoderLayer *w = &lane->weights->decoder[layer];
  const guint inner = mt3_config_inner (config);
  guint8 *cache = (guint8 *) slots->self + (gsize) layer * 2 * inner *
                                               config->max_tokens *
                                               slots->element;
  Mt3CudaDecodeGemm gemm =
      normalised (step, w->qkv, 4 * inner, MT3_CUDA_DECODE_QKV);

  gemm.y = lane->query;
  gemm.y_stride = (int) inner;
  gemm.cross_query = lane->cross_query;
  gemm.cache = cache;
  gemm.cache_slot = slots->self_slot;
  gemm.n_positions = (int) config->max_tokens;
  gemm.inner = (int) inner;
  multiply (step, gemm);
  attend (step, (Mt3CudaDecodeAttention){
                    .q = lane->query,
                    .cache = cache,
                    .cache_slot = slots->self_slot,
                    .n_positions = (int) config->max_tokens,
                });
  add (step, lane->attended, w->self_out, inner, inner);
}

static void
cross_attention (Step *step, guint layer)
{
  const Mt3CudaLane *lane = step->lane;
  const Mt3CudaSlots *slots = lane->slots;
  const Mt3Config *config = &lane->weights->config;
  const guint inner = mt3_config_inner (config);

  attend (step, (Mt3CudaDecodeAttention){
                    .q = lane->cross_query,
                    .squares = step->squares,
                    .d_model = (int) config->d_model,
                    .cache = (guint8 *) slots->cross +
                             (gsize) layer * 2 * inner * config->window_frames *
                                 slots->element,
                    .cache_slot = slots->cross_slot,
                    .n_positions = (int) config->window_frames,
                    .length = (int) config->window_frames,
                });
  add (step, lane->attended, lane->weights->decoder[layer].cross_out, inner, 0);
}

static void
feed_forward (Step *step, Mt3CudaPlanes up, Mt3CudaPlanes down)
{
  const Mt3CudaLane *lane = step->lane;
  const guint ff = lane->weights->config.decoder_d_ff;
  Mt3CudaDecodeGemm gemm = normalised (step, up, 2 * ff, MT3_CUDA_DECODE_GATED);

  gemm.out = lane->gated;
  multiply (step, gemm);
  add (step, lane->gated, down, ff, 0);
}

static void
decoder_layer (Step *step, guint layer)
{
  const Mt3CudaDecoderLayer *w = &step->lane->weights->decoder[layer];

  self_attention (step, layer);
  cross_attention (step, layer);
  feed_forward (step, w->up, w->down);
}

static void
find_logits (Step *step, Mt3CudaPlanes w)
{
  const Mt3CudaLane *lane = step->lane;
  const guint vocab = lane->weights->config.vocab_size;
  Mt3CudaDecodeGemm gemm = normalised (step, w, vocab, MT3_CUDA_DECODE_STORE);

  gemm.y = lane->logits;
  gemm.y_stride = (int) vocab;
  multiply (step, gemm);
}

/* @logits: %NULL makes the embedding of the rows' tokens and drafts only. */
static void
sample (Step *step, const gfloat *logits)
{
  const Mt3CudaLane *lane = step->lane;
  const Mt3CudaSample args = {
      .logits = logits,
      .vocab = (int) lane->weights->config.vocab_size,
      .rows = lane->rows,
      .n_rows = (int) step->n_rows,
      .places = (int) step->places,
      .records = lane->records,
      .embedding = lane->weights->embedding,
      .positions = lane->weights->positions,
      .d_model = (int) lane->weights->config.d_model,
      .overflow = lane->slots->overflow,
      .allowed = lane->slots->allowed,
      .ordered = lane->weights->config.ordered_events,
      .x = lane->x,
      .out = lane->planes,
      .out_squares = lane->squares,
  };

  if (step->result == cudaSuccess)
    step->result = mt3_cuda_sample (&args, step->launch);
  step->launch.dependent = lane->dependent;
}

/* ------------------------------------------------------------- drafts */

/* See Mt3CudaDraft. */
static void
choose_draft (Step *pass, guint place)
{
  const Mt3CudaLane *lane = pass->lane;
  const Mt3CudaWeights *w = lane->weights;
  const Mt3CudaDraft args = {
      .logits = lane->logits,
      .vocab = (int) w->config.vocab_size,
      .rows = lane->rows,
      .n_rows = (int) pass->n_rows,
      .places = (int) w->n_places,
      .place = (int) place,
      .records = lane->records,
      .embedding = w->embedding,
      .positions = w->positions,
      .d_model = (int) w->config.d_model,
      .ordered = w->config.ordered_events,
      .x = lane->x,
      .out = lane->planes,
      .out_squares = lane->squares,
      .pass = lane->draft_planes[0],
      .pass_squares = lane->draft_squares[0],
      .state = lane->draft_planes[1],
      .state_squares = lane->draft_squares[1],
      .draft_x = lane->draft_x,
  };

  if (pass->result == cudaSuccess)
    pass->result = mt3_cuda_draft (&args, pass->launch);
  pass->launch.dependent = lane->dependent;
}

/* Starts a pass: from a state, through @w_state. As in a step, what comes
 * behind this product reads ahead what was written before it. */
static void
take_state (Step *pass, Mt3CudaPlanes state, const gfloat *squares,
    Mt3CudaPlanes w_state)
{
  const guint d = pass->lane->weights->config.d_model;

  pass->launch.early = FALSE;
  multiply (pass, (Mt3CudaDecodeGemm){
                      .a = state,
                      .w = w_state,
                      .squares = squares,
                      .n = (int) d,
                      .k = (int) d,
                      .epilogue = MT3_CUDA_DECODE_ADD,
                      .x = pass->x,
                      .x_width = (int) d,
                      .out = pass->planes,
                      .out_squares = pass->squares,
                  });
}

/* A pass of one place a row, from the state of the one before. */
static void
run_own_pass (Step *pass, guint place)
{
  const Mt3CudaLane *lane = pass->lane;
  const Mt3CudaWeights *w = lane->weights;
  const guint from = 1 - place % 2;

  pass->places = 1;
  pass->planes = lane->draft_planes[1 - from];
  pass->squares = lane->draft_squares[1 - from];
  take_state (pass, lane->draft_planes[from], lane->draft_squares[from],
      w->draft.own_state);
  feed_forward (pass, w->draft.own_up, w->draft.own_down);
  find_logits (pass, w->logits);
  choose_draft (pass, place);
}

/* Behind a step: the rows advance, and have drafts for the next one. */
static void
draft (Step *step)
{
  const Mt3CudaLane *lane = step->lane;
  const Mt3CudaWeights *w = lane->weights;
  Step pass = *step;

  pass.drafts = TRUE;
  pass.x = lane->draft_x;
  pass.planes = lane->draft_planes[0];
  pass.squares = lane->draft_squares[0];
  choose_draft (&pass, 0);
  take_state (&pass, lane->planes, lane->squares, w->draft.state);
  decoder_layer (&pass, w->config.decoder_layers);
  find_logits (&pass, w->logits);
  choose_draft (&pass, 1);
  for (guint place = 2; place < w->n_places; place++)
    run_own_pass (&pass, place);
  step->launch = pass.launch;
  step->result = pass.result;
}

static cudaError_t
enqueue_steps (const Mt3CudaLane *self, guint n_rows, guint n_steps)
{
  const Mt3CudaWeights *w = self->weights;
  Step step = {
      .lane = self,
      .n_rows = n_rows,
      .places = w->n_places,
      .x = self->x,
      .planes = self->planes,
      .squares = self->squares,
      /* What the first kernel waits for is a copy, not a kernel. */
      .launch = {.stream = self->stream},
  };

  sample (&step, NULL);
  while (n_steps-- > 0) {
    step.launch.early = FALSE;
    for (guint layer = 0; layer < w->config.decoder_layers; layer++)
      decoder_layer (&step, layer);
    find_logits (&step, w->logits);
    sample (&step, self->logits);
    if (step.places > 1)
      draft (&step);
  }
  return step.result;
}

/* ------------------------------------------------------------- graphs */

/* The embedding that the steps of a graph start with is the one that those
 * before left, made again. */
static cudaError_t
enqueue_graph (gconstpointer self, guint bucket)
{
  return enqueue_steps (self, bucket, MT3_CUDA_GRAPH_STEPS);
}

/* Once for real first, with no row active: see mt3_cuda_graph_new(). */
static Mt3CudaGraph *
build_graph (Mt3CudaLane *self, guint bucket, GError **error)
{
  if (!mt3_cuda_check (
          enqueue_steps (self, bucket, 1), "run a decode step", error))
    return NULL;
  return mt3_cuda_graph_new (
      self->stream, enqueue_graph, self, bucket, "decode steps", error);
}

static gboolean
build_graphs (Mt3CudaLane *self, GError **error)
{
  for (guint rows = 1; rows <= self->capacity; rows++) {
    const guint bucket = bucket_for (rows);
    Mt3CudaGraph *graph;

    if (bucket > self->capacity)
      break;
    graph = build_graph (self, bucket, error);
    if (graph == NULL)
      return FALSE;
    g_hash_table_insert (self->graphs, GUINT_TO_POINTER (bucket), graph);
    rows = bucket;
  }
  return TRUE;
}

/* ---------------------------------------------------------- life, runs */

/* A matrix of a row for each place. */
static gpointer
take (Mt3CudaLane *self, gsize row_bytes, GError **error)
{
  return mt3_cuda_memory_device (&self->memory,
      self->capacity * self->weights->n_places * row_bytes, "the decoder",
      error);
}

static gboolean
take_planes (
    Mt3CudaLane *self, guint width, Mt3CudaPlanes *planes, GError **error)
{
  return mt3_cuda_memory_planes (&self->memory,
      (gsize) self->capacity * self->weights->n_places * width,
      self->weights->split, planes, "the decoder", error);
}

static gboolean
take_host (Mt3CudaLane *self, GError **error)
{
  self->host_rows = mt3_cuda_memory_host (
      &self->memory, self->capacity * sizeof (Mt3CudaRow), "rows", error);
  if (self->host_rows == NULL)
    return FALSE;
  self->host_records = mt3_cuda_memory_host (&self->memory,
      (gsize) MT3_CUDA_RUN_STEPS * self->capacity * self->weights->n_places *
          sizeof (Mt3CudaRecord),
      "records", error);
  return self->host_records != NULL;
}

static gboolean
take_drafts (Mt3CudaLane *self, GError **error)
{
  const gsize width = self->weights->config.d_model;

  if (self->weights->n_places == 1)
    return TRUE;
  self->draft_x = take (self, width * sizeof (gfloat), error);
  if (self->draft_x == NULL)
    return FALSE;
  for (guint i = 0; i < G_N_ELEMENTS (self->draft_planes); i++) {
    self->draft_squares[i] =
        take (self, width / MT3_CUDA_DECODE_SQUARES * sizeof (gfloat), error);
    if (self->draft_squares[i] == NULL ||
        !take_planes (self, (guint) width, &self->draft_planes[i], error))
      return FALSE;
  }
  return TRUE;
}

static gboolean
take_all (Mt3CudaLane *self, GError **error)
{
  const Mt3Config *config = &self->weights->config;
  const gsize width = config->d_model;

  self->rows = take (self, sizeof (Mt3CudaRow), error);
  if (self->rows == NULL)
    return FALSE;
  self->records =
      take (self, MT3_CUDA_RUN_STEPS * sizeof (Mt3CudaRecord), error);
  if (self->records == NULL)
    return FALSE;
  self->x = take (self, width * sizeof (gfloat), error);
  if (self->x == NULL)
    return FALSE;
  self->squares =
      take (self, width / MT3_CUDA_DECODE_SQUARES * sizeof (gfloat), error);
  if (self->squares == NULL)
    return FALSE;
  self->query = take (self, mt3_config_inner (config) * sizeof (gfloat), error);
  if (self->query == NULL)
    return FALSE;
  self->cross_query =
      take (self, mt3_config_inner (config) * sizeof (gfloat), error);
  if (self->cross_query == NULL)
    return FALSE;
  self->logits = take (self, config->vocab_size * sizeof (gfloat), error);
  return self->logits != NULL &&
         take_planes (self, config->d_model, &self->planes, error) &&
         take_planes (
             self, mt3_config_inner (config), &self->attended, error) &&
         take_planes (self, config->decoder_d_ff, &self->gated, error) &&
         take_drafts (self, error) && take_host (self, error);
}

static gboolean
create_stream (cudaStream_t *stream, GError **error)
{
  return mt3_cuda_check (
      cudaStreamCreateWithFlags (stream, cudaStreamNonBlocking),
      "create a stream", error);
}

static gboolean
create_event (cudaEvent_t *event, GError **error)
{
  return mt3_cuda_check (
      cudaEventCreateWithFlags (event, cudaEventDisableTiming),
      "create an event", error);
}

static gboolean
create_streams (Mt3CudaLane *self, GError **error)
{
  for (guint i = 0; i < MT3_CUDA_RUN_PARTS; i++)
    if (!create_event (&self->stepped[i], error) ||
        !create_event (&self->done[i], error))
      return FALSE;
  return create_stream (&self->stream, error) &&
         create_stream (&self->copies, error);
}

gboolean
mt3_cuda_lane_init (Mt3CudaLane *self, const Mt3CudaWeights *weights,
    Mt3CudaSlots *slots, guint capacity, gboolean dependent, GError **error)
{
  const guint tile = MT3_CUDA_ROW_TILE;

  self->weights = weights;
  self->slots = slots;
  self->dependent = dependent;
  self->capacity = (bucket_for (capacity) + tile - 1) / tile * tile;
  self->graphs = g_hash_table_new_full (NULL, NULL, NULL, mt3_cuda_graph_free);
  return create_streams (self, error) && take_all (self, error) &&
         build_graphs (self, error) &&
         mt3_cuda_check (
             cudaStreamSynchronize (self->stream), "run a decode step", error);
}

void
mt3_cuda_lane_clear (Mt3CudaLane *self)
{
  mt3_cuda_wait_idle (self->stream);
  mt3_cuda_wait_idle (self->copies);
  g_clear_pointer (&self->graphs, g_hash_table_unref);
  for (guint i = 0; i < MT3_CUDA_RUN_PARTS; i++) {
    if (self->stepped[i] != NULL)
      cudaEventDestroy (self->stepped[i]);
    if (self->done[i] != NULL)
      cudaEventDestroy (self->done[i]);
  }
  if (self->copies != NULL)
    cudaStreamDestroy (self->copies);
  if (self->stream != NULL)
    cudaStreamDestroy (self->stream);
  mt3_cuda_memory_clear (&self->memory);
}

static cudaError_t
enqueue_part (Mt3CudaLane *self, guint n_steps)
{
  const Mt3CudaGraph *graph =
      g_hash_table_lookup (self->graphs, GUINT_TO_POINTER (self->bucket));
  cudaError_t result = cudaSuccess;

  for (; n_steps >= MT3_CUDA_GRAPH_STEPS && result == cudaSuccess;
       n_steps -= MT3_CUDA_GRAPH_STEPS)
    result = mt3_cuda_graph_launch (graph);
  if (n_steps > 0 && result == cudaSuccess)
    result = enqueue_steps (self, self->bucket, n_steps);
  return result;
}

static gboolean
start_part (Mt3CudaLane *self, guint n_steps, GError **error)
{
  const guint part = (self->oldest + self->n_parts) % MT3_CUDA_RUN_PARTS;
  const gsize width = (gsize) self->bucket * self->weights->n_places;
  const gsize first = self->n_started * width;

  if (!mt3_cuda_check (
          enqueue_part (self, n_steps), "start decode steps", error) ||
      !mt3_cuda_check (cudaEventRecord (self->stepped[part], self->stream),
          "start decode steps", error) ||
      !mt3_cuda_check (
          cudaStreamWaitEvent (self->copies, self->stepped[part], 0),
          "start decode steps", error) ||
      !mt3_cuda_check (
          cudaMemcpyAsync (self->host_records + first, self->records + first,
              n_steps * width * sizeof (Mt3CudaRecord), cudaMemcpyDeviceToHost,
              self->copies),
          "copy tokens from the device", error) ||
      !mt3_cuda_check (cudaEventRecord (self->done[part], self->copies),
          "copy tokens from the device", error))
    return FALSE;
  self->part_steps[part] = n_steps;
  self->n_started += n_steps;
  self->n_parts++;
  return TRUE;
}

gboolean
mt3_cuda_lane_start (
    Mt3CudaLane *self, guint n_rows, guint n_steps, GError **error)
{
  self->n_rows = n_rows;
  self->bucket = bucket_for (n_rows);
  self->n_started = 0;
  self->first = self->n_steps = 0;
  memset (self->host_rows + n_rows, 0,
      (self->bucket - n_rows) * sizeof (Mt3CudaRow));
  return mt3_cuda_check (cudaMemcpyAsync (self->rows, self->host_rows,
                             self->bucket * sizeof (Mt3CudaRow),
                             cudaMemcpyHostToDevice, self->stream),
             "copy rows to the device", error) &&
         start_part (self, n_steps, error);
}

gboolean
mt3_cuda_lane_continue (Mt3CudaLane *self, guint n_steps, GError **error)
{
  return self->n_parts == MT3_CUDA_RUN_PARTS ||
         self->n_started + n_steps > MT3_CUDA_RUN_STEPS ||
         start_part (self, n_steps, error);
}

gboolean
mt3_cuda_lane_is_done (const Mt3CudaLane *self)
{
  return self->n_parts > 0 &&
         cudaEventQuery (self->done[self->oldest]) != cudaErrorNotReady;
}

gboolean
mt3_cuda_lane_wait (Mt3CudaLane *self, GError **error)
{
  const guint part = self->oldest;

  self->oldest = (part + 1) % MT3_CUDA_RUN_PARTS;
  self->n_parts--;
  self->first += self->n_steps;
  self->n_steps = self->part_steps[part];
  return mt3_cuda_check (
      cudaEventSynchronize (self->done[part]), "decode", error);
}
