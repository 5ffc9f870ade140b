/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/cuda/lane.h"

#include <string.h>

/* The row count that a run of @n_rows is padded to: fine where a step is short
 * and padding would show, a power of two or one and a half beyond. */
static guint
bucket_for (guint n_rows)
{
  guint bucket = 8;

  if (n_rows <= 1)
    return 1;
  while (bucket < n_rows) {
    if (bucket >= 16 && bucket + bucket / 2 >= n_rows)
      return bucket + bucket / 2;
    bucket *= 2;
  }
  return bucket;
}

/* ------------------------------------------------------------- a step */

/* Kernels of a step in order; stops at the first that fails.
 * @parity: of the step in its run, with hand-over
 * @awaits: the next kernel waits for values: not the first of a step */
typedef struct {
  const Mt3CudaLane *lane;
  guint n_rows;
  Mt3CudaLaunch launch;
  cudaError_t result;
  gboolean hands_over, awaits;
  guint parity;
} Step;

static const Mt3CudaBuffers *
buffers (const Step *step, guint layer)
{
  return step->hands_over ? &step->lane->hand_over[step->parity][layer]
                          : &step->lane->whole;
}

/* From a buffer of this step to the same of the step before and after it. */
static gssize
other_step (const Step *step)
{
  const gssize bytes = step->hands_over ? step->lane->hand_over_bytes : 0;

  return step->parity == 0 ? bytes : -bytes;
}

static void
launched (Step *step)
{
  step->launch.dependent = step->lane->dependent;
  step->awaits = step->hands_over;
}

static void
multiply (Step *step, Mt3CudaDecodeGemm gemm)
{
  gemm.n_rows = (int) step->n_rows;
  gemm.rows = step->lane->rows;
  gemm.awaits = step->awaits;
  gemm.absent = other_step (step);
  if (step->result == cudaSuccess)
    step->result = mt3_cuda_decode_gemm (&gemm, step->launch);
  launched (step);
}

/* to = from + a w^T. */
static Mt3CudaDecodeGemm
add (const Step *step, Mt3CudaPlanes a, Mt3CudaPlanes w, guint k,
    const Mt3CudaResidual *from, const Mt3CudaResidual *to)
{
  const guint d = step->lane->weights->config.d_model;

  return (Mt3CudaDecodeGemm){
      .a = a,
      .w = w,
      .n = (int) d,
      .k = (int) k,
      .epilogue = MT3_CUDA_DECODE_ADD,
      .addend = from->x,
      .x = to->x,
      .x_width = (int) d,
      .out = to->planes,
      .out_squares = to->squares,
  };
}

/* What is common to the products that a norm lies before. */
static Mt3CudaDecodeGemm
normalised (const Step *step, const Mt3CudaResidual *in, Mt3CudaPlanes w,
    guint n, Mt3CudaDecodeEpilogue epilogue)
{
  return (Mt3CudaDecodeGemm){
      .a = in->planes,
      .w = w,
      .squares = in->squares,
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
  attention.n_heads = (int) lane->weights->config.n_heads;
  attention.rows = lane->rows;
  attention.awaits = step->awaits;
  attention.absent = other_step (step);
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
  const Mt3CudaBuffers *b = buffers (step, layer);
  const guint inner = mt3_config_inner (config);
  guint8 *cache = (guint8 *) slots->self + (gsize) layer * 2 * inner *
                                               config->max_tokens *
                                               slots->element;
  Mt3CudaDecodeGemm gemm =
      normalised (step, &b->entering, w->qkv, 4 * inner, MT3_CUDA_DECODE_QKV);

  gemm.y = b->query;
  gemm.y_stride = (int) inner;
  gemm.cross_query = b->asked;
  gemm.fresh = b->fresh;
  gemm.cache = cache;
  gemm.cache_slot = slots->self_slot;
  gemm.n_positions = (int) config->max_tokens;
  gemm.inner = (int) inner;
  multiply (step, gemm);
  attend (step, (Mt3CudaDecodeAttention){
                    .q = b->query,
                    .cache = cache,
                    .cache_slot = slots->self_slot,
                    .n_positions = (int) config->max_tokens,
                    .fresh = b->fresh,
                    .out = b->attended,
                });
  gemm = add (step, b->attended, w->self_out, inner, &b->entering, &b->between);
  gemm.n += (int) inner;
  gemm.query_addend = b->asked;
  gemm.cross_query = b->cross_query;
  gemm.inner = (int) inner;
  multiply (step, gemm);
}

static void
cross_attention (Step *step, guint layer)
{
  const Mt3CudaLane *lane = step->lane;
  const Mt3CudaSlots *slots = lane->slots;
  const Mt3Config *config = &lane->weights->config;
  const Mt3CudaBuffers *b = buffers (step, layer);
  const guint inner = mt3_config_inner (config);

  attend (step, (Mt3CudaDecodeAttention){
                    .q = b->cross_query,
                    .squares = b->between.squares,
                    .d_model = (int) config->d_model,
                    .cache = (guint8 *) slots->cross +
                             (gsize) layer * 2 * inner * config->window_frames *
                                 slots->element,
                    .cache_slot = slots->cross_slot,
                    .n_positions = (int) config->window_frames,
                    .length = (int) config->window_frames,
                    .out = b->cross_attended,
                });
  multiply (step,
      add (step, b->cross_attended, lane->weights->decoder[layer].cross_out,
          inner, &b->between, &b->leaving));
}

static void
feed_forward (Step *step, guint layer)
{
  const Mt3CudaLane *lane = step->lane;
  const Mt3CudaDecoderLayer *w = &lane->weights->decoder[layer];
  const Mt3CudaBuffers *b = buffers (step, layer);
  const guint ff = lane->weights->config.decoder_d_ff;
  Mt3CudaDecodeGemm gemm =
      normalised (step, &b->leaving, w->up, 2 * ff, MT3_CUDA_DECODE_GATED);

  gemm.out = b->gated;
  multiply (step, gemm);
  multiply (step, add (step, b->gated, w->down, ff, &b->leaving,
                      &buffers (step, layer + 1)->entering));
}

/* Leaves the embedding that the next step begins with. @logits: %NULL makes
 * that of the rows' tokens only. */
static void
sample (Step *step, const gfloat *logits)
{
  const Mt3CudaLane *lane = step->lane;
  const Mt3CudaResidual *out = &buffers (step, 0)->entering;
  const Mt3CudaSample args = {
      .logits = logits,
      .vocab = (int) lane->weights->config.vocab_size,
      .rows = lane->rows,
      .n_rows = (int) step->n_rows,
      .records = lane->records,
      .embedding = lane->weights->embedding,
      .positions = lane->weights->positions,
      .d_model = (int) lane->weights->config.d_model,
      .overflow = lane->slots->overflow,
      .allowed = lane->slots->allowed,
      .awaits = step->awaits,
      .absent = other_step (step),
      .x = out->x,
      .out = out->planes,
      .out_squares = out->squares,
  };

  if (step->result == cudaSuccess)
    step->result = mt3_cuda_sample (&args, step->launch);
  launched (step);
  step->awaits = FALSE;
}

static void
decode_step (Step *step)
{
  const Mt3CudaWeights *weights = step->lane->weights;
  const guint n_layers = weights->config.decoder_layers;
  Mt3CudaDecodeGemm gemm;

  for (guint layer = 0; layer < n_layers; layer++) {
    self_attention (step, layer);
    cross_attention (step, layer);
    feed_forward (step, layer);
  }
  gemm = normalised (step, &buffers (step, n_layers)->entering, weights->logits,
      weights->config.vocab_size, MT3_CUDA_DECODE_STORE);
  gemm.y = buffers (step, n_layers)->logits;
  gemm.y_stride = (int) weights->config.vocab_size;
  multiply (step, gemm);
  step->parity ^= 1;
  sample (step, gemm.y);
}

/* @hands_over: for an even number of steps, which leaves the buffers of the
 * first empty, as it found them. */
static cudaError_t
enqueue_steps (
    const Mt3CudaLane *self, guint n_rows, guint n_steps, gboolean hands_over)
{
  /* What the first kernel waits for is a copy, not a kernel. */
  Step step = {.lane = self,
      .n_rows = n_rows,
      .launch = {self->stream, FALSE},
      .hands_over = hands_over};

  sample (&step, NULL);
  while (n_steps-- > 0)
    decode_step (&step);
  return step.result;
}

/* ------------------------------------------------------------- graphs */

/* The graph of MT3_CUDA_GRAPH_STEPS steps of @bucket rows. The embedding that
 * it starts with is the one that the steps before left, made again. */
static cudaGraphExec_t
build_graph (Mt3CudaLane *self, guint bucket, GError **error)
{
  cudaGraph_t graph = NULL;
  cudaGraphExec_t executable = NULL;
  cudaError_t enqueued;
  gboolean ok;

  /* Once for real with no row active: kernels are loaded at their first launch,
   * which a capture does not allow. */
  if (!mt3_cuda_check (
          enqueue_steps (self, bucket, 1, FALSE), "run a decode step", error) ||
      !mt3_cuda_check (cudaStreamBeginCapture (
                           self->stream, cudaStreamCaptureModeThreadLocal),
          "capture decode steps", error))
    return NULL;
  enqueued = enqueue_steps (self, bucket, MT3_CUDA_GRAPH_STEPS,
      self->dependent && bucket <= self->hand_over_rows);
  ok = mt3_cuda_check (cudaStreamEndCapture (self->stream, &graph),
           "capture decode steps", error) &&
       mt3_cuda_check (enqueued, "capture decode steps", error) &&
       mt3_cuda_check (cudaGraphInstantiate (&executable, graph, 0),
           "instantiate decode steps", error) &&
       mt3_cuda_check (cudaGraphUpload (executable, self->stream),
           "upload decode steps", error);
  if (graph != NULL)
    cudaGraphDestroy (graph);
  if (ok || executable == NULL)
    return executable;
  cudaGraphExecDestroy (executable);
  return NULL;
}

static gboolean
build_graphs (Mt3CudaLane *self, GError **error)
{
  for (guint rows = 1; rows <= self->capacity; rows++) {
    const guint bucket = bucket_for (rows);
    cudaGraphExec_t graph;

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

static void
destroy_graph (gpointer graph)
{
  cudaGraphExecDestroy (graph);
}

/* ---------------------------------------------------------- life, runs */

/* Hands out parts of a block; of none, to find how large it must be. */
typedef struct {
  guint8 *block;
  gsize used;
  gsize rows;
  gboolean exact;
} Parts;

static gpointer
part (Parts *self, gsize row_bytes)
{
  const gsize at = self->used;

  self->used += self->rows * row_bytes;
  return self->block != NULL ? self->block + at : NULL;
}

static Mt3CudaPlanes
part_planes (Parts *self, gsize width)
{
  Mt3CudaPlanes planes = {part (self, width * 2), NULL};

  if (self->exact)
    planes.lo = part (self, width * 2);
  return planes;
}

static Mt3CudaResidual
part_residual (Parts *self, gsize width)
{
  return (Mt3CudaResidual){
      .x = part (self, width * sizeof (gfloat)),
      .squares = part (self, width / MT3_CUDA_DECODE_SQUARES * sizeof (gfloat)),
      .planes = part_planes (self, width),
  };
}

/* What a step begins with, and what it ends with. */
static Mt3CudaBuffers
part_ends (Parts *parts, const Mt3Config *config)
{
  return (Mt3CudaBuffers){
      .entering = part_residual (parts, config->d_model),
      .logits = part (parts, config->vocab_size * sizeof (gfloat)),
  };
}

/* A layer's, where nothing is written twice. */
static Mt3CudaBuffers
part_layer (Parts *parts, const Mt3Config *config)
{
  const gsize d = config->d_model, inner = mt3_config_inner (config);
  const gsize element = parts->exact ? sizeof (gfloat) : sizeof (guint16);

  return (Mt3CudaBuffers){
      .entering = part_residual (parts, d),
      .between = part_residual (parts, d),
      .leaving = part_residual (parts, d),
      .query = part (parts, inner * sizeof (gfloat)),
      .asked = part (parts, inner * sizeof (gfloat)),
      .cross_query = part (parts, inner * sizeof (gfloat)),
      .fresh = part (parts, 2 * inner * element),
      .attended = part_planes (parts, inner),
      .cross_attended = part_planes (parts, inner),
      .gated = part_planes (parts, config->decoder_d_ff),
  };
}

/* The same for all layers, and written again within one. */
static Mt3CudaBuffers
part_whole (Parts *parts, const Mt3Config *config)
{
  const gsize inner = mt3_config_inner (config);
  Mt3CudaBuffers b = part_ends (parts, config);

  b.between = b.leaving = b.entering;
  b.query = part (parts, inner * sizeof (gfloat));
  b.asked = b.cross_query = part (parts, inner * sizeof (gfloat));
  b.attended = b.cross_attended = part_planes (parts, inner);
  b.gated = part_planes (parts, config->decoder_d_ff);
  return b;
}

static gsize
part_steps (Mt3CudaLane *self, guint8 *block)
{
  const Mt3Config *config = &self->weights->config;
  const guint n_layers = config->decoder_layers;
  Parts parts = {block, 0, self->hand_over_rows, self->weights->exact};

  for (guint i = 0; i < G_N_ELEMENTS (self->hand_over); i++) {
    for (guint layer = 0; layer < n_layers; layer++)
      self->hand_over[i][layer] = part_layer (&parts, config);
    self->hand_over[i][n_layers] = part_ends (&parts, config);
  }
  return parts.used;
}

static gboolean
take_buffers (Mt3CudaLane *self, GError **error)
{
  const Mt3Config *config = &self->weights->config;
  Parts whole = {NULL, 0, self->capacity, self->weights->exact};
  gsize bytes;
  guint8 *block;

  part_whole (&whole, config);
  whole.block =
      mt3_cuda_memory_device (&self->memory, whole.used, "the decoder", error);
  if (whole.block == NULL)
    return FALSE;
  whole.used = 0;
  self->whole = part_whole (&whole, config);
  if (!self->dependent)
    return TRUE;

  self->hand_over_rows = MIN (self->capacity, MT3_CUDA_HAND_OVER_ROWS);
  for (guint i = 0; i < G_N_ELEMENTS (self->hand_over); i++)
    self->hand_over[i] = g_new0 (Mt3CudaBuffers, config->decoder_layers + 1);
  bytes = part_steps (self, NULL);
  block = mt3_cuda_memory_device (&self->memory, bytes, "the decoder", error);
  if (block == NULL)
    return FALSE;
  part_steps (self, block);
  self->hand_over_bytes = (gssize) (bytes / G_N_ELEMENTS (self->hand_over));
  return mt3_cuda_check (cudaMemset (block, MT3_CUDA_ABSENT & 0xff, bytes),
             "prepare the decoder", error) &&
         mt3_cuda_check (
             cudaStreamSynchronize (NULL), "prepare the decoder", error);
}

static gpointer
take (Mt3CudaLane *self, gsize row_bytes, GError **error)
{
  return mt3_cuda_memory_device (
      &self->memory, self->capacity * row_bytes, "the decoder", error);
}

static gboolean
take_host (Mt3CudaLane *self, GError **error)
{
  self->host_rows = mt3_cuda_memory_host (
      &self->memory, self->capacity * sizeof (Mt3CudaRow), "rows", error);
  if (self->host_rows == NULL)
    return FALSE;
  self->host_records = mt3_cuda_memory_host (&self->memory,
      (gsize) MT3_CUDA_RUN_STEPS * self->capacity * sizeof (Mt3CudaRecord),
      "records", error);
  return self->host_records != NULL;
}

static gboolean
take_all (Mt3CudaLane *self, GError **error)
{
  self->rows = take (self, sizeof (Mt3CudaRow), error);
  if (self->rows == NULL)
    return FALSE;
  self->records =
      take (self, MT3_CUDA_RUN_STEPS * sizeof (Mt3CudaRecord), error);
  if (self->records == NULL)
    return FALSE;
  return take_buffers (self, error) && take_host (self, error);
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
  self->graphs = g_hash_table_new_full (NULL, NULL, NULL, destroy_graph);
  return mt3_cuda_check (
             cudaStreamCreateWithFlags (&self->stream, cudaStreamNonBlocking),
             "create a stream", error) &&
         mt3_cuda_check (
             cudaEventCreateWithFlags (&self->done, cudaEventDisableTiming),
             "create an event", error) &&
         take_all (self, error) && build_graphs (self, error);
}

void
mt3_cuda_lane_clear (Mt3CudaLane *self)
{
  g_clear_pointer (&self->graphs, g_hash_table_unref);
  if (self->done != NULL)
    cudaEventDestroy (self->done);
  if (self->stream != NULL)
    cudaStreamDestroy (self->stream);
  mt3_cuda_memory_clear (&self->memory);
  for (guint i = 0; i < G_N_ELEMENTS (self->hand_over); i++)
    g_clear_pointer (&self->hand_over[i], g_free);
}

static cudaError_t
enqueue_run (Mt3CudaLane *self)
{
  cudaGraphExec_t graph =
      g_hash_table_lookup (self->graphs, GUINT_TO_POINTER (self->bucket));
  guint left = self->n_steps;
  cudaError_t result = cudaSuccess;

  for (; left >= MT3_CUDA_GRAPH_STEPS && result == cudaSuccess;
       left -= MT3_CUDA_GRAPH_STEPS)
    result = cudaGraphLaunch (graph, self->stream);
  if (left > 0 && result == cudaSuccess)
    result = enqueue_steps (self, self->bucket, left, FALSE);
  return result;
}

gboolean
mt3_cuda_lane_start (
    Mt3CudaLane *self, guint n_rows, guint n_steps, GError **error)
{
  self->n_rows = n_rows;
  self->n_steps = n_steps;
  self->bucket = bucket_for (n_rows);
  memset (self->host_rows + n_rows, 0,
      (self->bucket - n_rows) * sizeof (Mt3CudaRow));
  if (!mt3_cuda_check (cudaMemcpyAsync (self->rows, self->host_rows,
                           self->bucket * sizeof (Mt3CudaRow),
                           cudaMemcpyHostToDevice, self->stream),
          "copy rows to the device", error) ||
      !mt3_cuda_check (enqueue_run (self), "start decode steps", error) ||
      !mt3_cuda_check (
          cudaMemcpyAsync (self->host_records, self->records,
              (gsize) n_steps * self->bucket * sizeof (Mt3CudaRecord),
              cudaMemcpyDeviceToHost, self->stream),
          "copy tokens from the device", error) ||
      !mt3_cuda_check (cudaEventRecord (self->done, self->stream),
          "start decode steps", error))
    return FALSE;
  self->in_flight = TRUE;
  return TRUE;
}

gboolean
mt3_cuda_lane_wait (Mt3CudaLane *self, GError **error)
{
  self->in_flight = FALSE;
  return mt3_cuda_check (cudaEventSynchronize (self->done), "decode", error);
}
