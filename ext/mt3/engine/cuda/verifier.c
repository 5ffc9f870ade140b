/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/cuda/verifier.h"

#include <string.h>

#include "engine/cuda/graph.h"

/* Of a batch at most, if there are as many slots: enough to fill the device. */
#define MOST_BLOCKS 32

#define BLOCK_ROWS MT3_CUDA_BLOCK_ROWS

/* The blocks that a batch of @n_blocks is padded to: a power of two, or one and
 * a half. */
static guint
bucket_for (guint n_blocks)
{
  guint bucket = 1;

  while (bucket < n_blocks) {
    if (bucket >= 2 && bucket + bucket / 2 >= n_blocks)
      return bucket + bucket / 2;
    bucket *= 2;
  }
  return bucket;
}

static guint
count_blocks (guint n_rows)
{
  return (n_rows + BLOCK_ROWS - 1) / BLOCK_ROWS;
}

/* ----------------------------------------------------------- a batch */

/* Kernels of a batch in order; stops at the first that fails. */
typedef struct {
  const Mt3CudaVerifier *verifier;
  guint n_blocks;
  Mt3CudaLaunch launch;
  cudaError_t result;
} Batch;

static void
embed (Batch *batch)
{
  const Mt3CudaVerifier *v = batch->verifier;
  const Mt3CudaEmbed args = {
      .rows = v->rows,
      .n_rows = (int) (batch->n_blocks * BLOCK_ROWS),
      .embedding = v->weights->embedding,
      .positions = v->weights->positions,
      .d_model = (int) v->weights->config.d_model,
      .x = v->x,
      .out = v->planes,
      .out_squares = v->squares,
  };

  batch->result = mt3_cuda_embed (&args, batch->launch);
  /* Only kernels lie behind this one. */
  batch->launch.dependent = v->dependent;
}

static void
multiply (Batch *batch, Mt3CudaGemm gemm)
{
  const Mt3CudaVerifier *v = batch->verifier;

  gemm.m = (int) (batch->n_blocks * BLOCK_ROWS);
  gemm.frames = BLOCK_ROWS;
  gemm.slots = v->numbers;
  gemm.overflow = v->flags;
  if (batch->result == cudaSuccess)
    batch->result = mt3_cuda_gemm (&gemm, batch->launch);
}

/* x += a w^T */
static void
add (Batch *batch, Mt3CudaPlanes a, Mt3CudaPlanes w, guint k)
{
  const Mt3CudaVerifier *v = batch->verifier;

  multiply (batch, (Mt3CudaGemm){
                       .a = a,
                       .w = w,
                       .n = (int) v->weights->config.d_model,
                       .k = (int) k,
                       .epilogue = MT3_CUDA_ADD,
                       .addend = v->x,
                       .addend_rows = (int) (batch->n_blocks * BLOCK_ROWS),
                       .x = v->x,
                       .out = v->planes,
                       .out_squares = v->squares,
                   });
}

/* A product of the normalised x, to @out or (FLOATS) to @floats. */
static void
multiply_normalised (Batch *batch, Mt3CudaPlanes w, guint n,
    Mt3CudaEpilogue epilogue, Mt3CudaPlanes out, gfloat *floats)
{
  const Mt3CudaVerifier *v = batch->verifier;

  multiply (batch, (Mt3CudaGemm){
                       .a = v->planes,
                       .w = w,
                       .squares = v->squares,
                       .n = (int) n,
                       .k = (int) v->weights->config.d_model,
                       .epilogue = epilogue,
                       .x = floats,
                       .out = out,
                   });
}

static void
attend (Batch *batch, Mt3CudaAttention attention)
{
  const Mt3CudaVerifier *v = batch->verifier;

  attention.out = v->attended;
  attention.n_heads = (int) v->weights->config.n_heads;
  attention.blocks = v->blocks;
  attention.n_blocks = (int) batch->n_blocks;
  if (batch->result == cudaSuccess)
    batch->result = mt3_cuda_attention (&attention, batch->launch);
}

static void
cross_attend (Batch *batch, guint layer)
{
  const Mt3CudaVerifier *v = batch->verifier;
  const Mt3Config *config = &v->weights->config;
  const gsize first = (gsize) layer * 2 * mt3_config_inner (config) *
                      config->window_frames * sizeof (guint16);

  attend (batch, (Mt3CudaAttention){
                     .kind = MT3_CUDA_CROSS,
                     .qkv = v->query,
                     .frames = (int) config->window_frames,
                     .cache.hi = (guint8 *) v->slots->cross + first,
                     .cache.lo = (guint8 *) v->slots->cross_lo + first,
                     .cache_slot = v->slots->cross_slot,
                     .n_slots = (int) v->slots->n_slots,
                 });
}

static void
decoder_layer (Batch *batch, guint layer)
{
  const Mt3CudaVerifier *v = batch->verifier;
  const Mt3CudaVerifierLayer *w = &v->weights->verifier[layer];
  const guint inner = mt3_config_inner (&v->weights->config);
  const guint ff = v->weights->config.decoder_d_ff;

  multiply_normalised (batch, w->qkv, 3 * inner, MT3_CUDA_STORE, v->qkv, NULL);
  attend (batch, (Mt3CudaAttention){.kind = MT3_CUDA_CAUSAL, .qkv = v->qkv});
  add (batch, v->attended, w->self_out, inner);
  multiply_normalised (
      batch, w->cross_query, inner, MT3_CUDA_STORE, v->query, NULL);
  cross_attend (batch, layer);
  add (batch, v->attended, w->cross_out, inner);
  multiply_normalised (batch, w->up, 2 * ff, MT3_CUDA_GATED, v->gated, NULL);
  add (batch, v->gated, w->down, ff);
}

/* Chooses the tokens; @planes only say in which form the decoder is. */
static void
sample (Batch *batch)
{
  const Mt3CudaVerifier *v = batch->verifier;
  const Mt3Config *config = &v->weights->config;
  const Mt3CudaSample args = {
      .logits = v->logits,
      .vocab = (int) config->vocab_size,
      .rows = v->rows,
      .n_rows = (int) (batch->n_blocks * BLOCK_ROWS),
      .places = 1,
      .records = v->records,
      .embedding = v->weights->embedding,
      .positions = v->weights->positions,
      .d_model = (int) config->d_model,
      .overflow = v->slots->overflow,
      .allowed = v->slots->allowed,
      .ordered = config->ordered_events,
      .x = v->x,
      .out = v->planes,
      .out_squares = v->squares,
  };

  if (batch->result == cudaSuccess)
    batch->result = mt3_cuda_sample (&args, batch->launch);
}

static cudaError_t
enqueue (gconstpointer data, guint n_blocks)
{
  const Mt3CudaVerifier *self = data;
  const Mt3Config *config = &self->weights->config;
  Batch batch = {self, n_blocks, {.stream = self->stream}, cudaSuccess};

  embed (&batch);
  for (guint layer = 0; layer < config->decoder_layers; layer++)
    decoder_layer (&batch, layer);
  multiply_normalised (&batch, self->weights->verifier_logits,
      config->vocab_size, MT3_CUDA_FLOATS, (Mt3CudaPlanes){0}, self->logits);
  sample (&batch);
  return batch.result;
}

/* ---------------------------------------------------------------- life */

static gpointer
take (Mt3CudaVerifier *self, gsize block_bytes, GError **error)
{
  return mt3_cuda_memory_device (
      &self->memory, self->capacity * block_bytes, "verification", error);
}

static gpointer
take_host (Mt3CudaVerifier *self, gsize block_bytes, GError **error)
{
  return mt3_cuda_memory_host (
      &self->memory, self->capacity * block_bytes, "verification", error);
}

static gboolean
take_planes (
    Mt3CudaVerifier *self, guint width, Mt3CudaPlanes *planes, GError **error)
{
  return mt3_cuda_memory_planes (&self->memory,
      (gsize) self->capacity * BLOCK_ROWS * width, TRUE, planes, "verification",
      error);
}

/* What goes to the device and comes back. */
static gboolean
take_texts (Mt3CudaVerifier *self, GError **error)
{
  const struct {
    gpointer *host, *device;
    gsize block_bytes;
  } arrays[] = {
      {(gpointer *) &self->host_rows, (gpointer *) &self->rows,
          BLOCK_ROWS * sizeof (Mt3CudaRow)},
      {(gpointer *) &self->host_blocks, (gpointer *) &self->blocks,
          sizeof (Mt3CudaBlock)},
      {(gpointer *) &self->host_records, (gpointer *) &self->records,
          BLOCK_ROWS * sizeof (Mt3CudaRecord)},
      {(gpointer *) &self->host_flags, (gpointer *) &self->flags,
          sizeof (gint)},
  };

  for (guint i = 0; i < G_N_ELEMENTS (arrays); i++) {
    *arrays[i].host = take_host (self, arrays[i].block_bytes, error);
    if (*arrays[i].host == NULL)
      return FALSE;
    *arrays[i].device = take (self, arrays[i].block_bytes, error);
    if (*arrays[i].device == NULL)
      return FALSE;
  }
  self->texts = g_new (Mt3CudaText, self->capacity);
  return TRUE;
}

static gboolean
take_numbers (Mt3CudaVerifier *self, GError **error)
{
  self->numbers = take (self, sizeof (gint), error);
  if (self->numbers == NULL)
    return FALSE;
  for (guint i = 0; i < self->capacity; i++)
    self->host_flags[i] = (gint) i;
  return mt3_cuda_check (
      cudaMemcpy (self->numbers, self->host_flags,
          self->capacity * sizeof (gint), cudaMemcpyHostToDevice),
      "copy the numbers of blocks to the device", error);
}

static gboolean
take_activations (Mt3CudaVerifier *self, GError **error)
{
  const Mt3Config *config = &self->weights->config;
  const guint d = config->d_model, inner = mt3_config_inner (config);
  const gsize row = BLOCK_ROWS * sizeof (gfloat);

  self->x = take (self, d * row, error);
  if (self->x == NULL)
    return FALSE;
  self->squares = take (self, d / MT3_CUDA_PREFILL_SQUARES * row, error);
  if (self->squares == NULL)
    return FALSE;
  self->logits = take (self, config->vocab_size * row, error);
  return self->logits != NULL && take_planes (self, d, &self->planes, error) &&
         take_planes (self, 3 * inner, &self->qkv, error) &&
         take_planes (self, inner, &self->query, error) &&
         take_planes (self, inner, &self->attended, error) &&
         take_planes (self, config->decoder_d_ff, &self->gated, error);
}

static gboolean
build_graphs (Mt3CudaVerifier *self, GError **error)
{
  for (guint n = 1; n <= self->capacity; n++) {
    Mt3CudaGraph *graph;

    n = bucket_for (n);
    if (!mt3_cuda_check (enqueue (self, n), "verify a text", error))
      return FALSE;
    graph = mt3_cuda_graph_new (
        self->stream, enqueue, self, n, "verification", error);
    if (graph == NULL)
      return FALSE;
    g_hash_table_insert (self->graphs, GUINT_TO_POINTER (n), graph);
  }
  return TRUE;
}

gboolean
mt3_cuda_verifier_init (Mt3CudaVerifier *self, const Mt3CudaWeights *weights,
    const Mt3CudaSlots *slots, gboolean dependent, GError **error)
{
  const guint longest = count_blocks (weights->config.max_tokens);

  self->weights = weights;
  self->slots = slots;
  self->dependent = dependent;
  self->capacity =
      bucket_for (MAX (longest, MIN (MOST_BLOCKS, slots->n_slots * longest)));
  self->graphs = g_hash_table_new_full (NULL, NULL, NULL, mt3_cuda_graph_free);
  return mt3_cuda_check (
             cudaStreamCreateWithFlags (&self->stream, cudaStreamNonBlocking),
             "create a stream", error) &&
         mt3_cuda_check (
             cudaEventCreateWithFlags (&self->done, cudaEventDisableTiming),
             "create an event", error) &&
         take_texts (self, error) && take_numbers (self, error) &&
         take_activations (self, error) && build_graphs (self, error) &&
         mt3_cuda_check (
             cudaStreamSynchronize (self->stream), "verify a text", error);
}

void
mt3_cuda_verifier_clear (Mt3CudaVerifier *self)
{
  mt3_cuda_wait_idle (self->stream);
  g_clear_pointer (&self->graphs, g_hash_table_unref);
  if (self->done != NULL)
    cudaEventDestroy (self->done);
  if (self->stream != NULL)
    cudaStreamDestroy (self->stream);
  g_clear_pointer (&self->texts, g_free);
  mt3_cuda_memory_clear (&self->memory);
}

/* ------------------------------------------------------------- batches */

Mt3CudaRow *
mt3_cuda_verifier_add (Mt3CudaVerifier *self, guint slot, guint n_rows)
{
  const guint n = count_blocks (n_rows), first = self->n_blocks * BLOCK_ROWS;
  Mt3CudaRow *rows = self->host_rows + first;

  if (self->busy || self->n_blocks + n > self->capacity)
    return NULL;
  self->texts[self->n_texts++] = (Mt3CudaText){slot, first, n_rows};
  for (guint i = 0; i < n; i++)
    self->host_blocks[self->n_blocks++] =
        (Mt3CudaBlock){(int32_t) first, (int32_t) slot};
  memset (rows + n_rows, 0, (n * BLOCK_ROWS - n_rows) * sizeof (Mt3CudaRow));
  return rows;
}

static void
pad (Mt3CudaVerifier *self, guint bucket)
{
  const guint n = bucket - self->n_blocks;

  memset (self->host_rows + self->n_blocks * BLOCK_ROWS, 0,
      n * BLOCK_ROWS * sizeof (Mt3CudaRow));
  for (guint i = self->n_blocks; i < bucket; i++)
    self->host_blocks[i] = (Mt3CudaBlock){-1, 0};
  memset (self->host_flags, 0, bucket * sizeof (gint));
}

static cudaError_t
copy (Mt3CudaVerifier *self, gpointer to, gconstpointer from, gsize bytes,
    enum cudaMemcpyKind kind)
{
  return cudaMemcpyAsync (to, from, bytes, kind, self->stream);
}

static gboolean
copy_texts (Mt3CudaVerifier *self, guint n, GError **error)
{
  const gchar *what = "copy texts to the device";

  return mt3_cuda_check (
             copy (self, self->rows, self->host_rows,
                 n * BLOCK_ROWS * sizeof (Mt3CudaRow), cudaMemcpyHostToDevice),
             what, error) &&
         mt3_cuda_check (copy (self, self->blocks, self->host_blocks,
                             n * sizeof (Mt3CudaBlock), cudaMemcpyHostToDevice),
             what, error) &&
         mt3_cuda_check (copy (self, self->flags, self->host_flags,
                             n * sizeof (gint), cudaMemcpyHostToDevice),
             what, error);
}

static gboolean
copy_results (Mt3CudaVerifier *self, guint n, GError **error)
{
  const gchar *what = "copy tokens from the device";

  return mt3_cuda_check (copy (self, self->host_records, self->records,
                             n * BLOCK_ROWS * sizeof (Mt3CudaRecord),
                             cudaMemcpyDeviceToHost),
             what, error) &&
         mt3_cuda_check (copy (self, self->host_flags, self->flags,
                             n * sizeof (gint), cudaMemcpyDeviceToHost),
             what, error);
}

gboolean
mt3_cuda_verifier_start (Mt3CudaVerifier *self, GError **error)
{
  const guint bucket = bucket_for (self->n_blocks);
  const Mt3CudaGraph *graph =
      g_hash_table_lookup (self->graphs, GUINT_TO_POINTER (bucket));

  pad (self, bucket);
  self->busy = TRUE;
  return copy_texts (self, bucket, error) &&
         mt3_cuda_check (
             mt3_cuda_graph_launch (graph), "verify texts", error) &&
         copy_results (self, bucket, error) &&
         mt3_cuda_check (
             cudaEventRecord (self->done, self->stream), "verify texts", error);
}

gboolean
mt3_cuda_verifier_is_done (const Mt3CudaVerifier *self)
{
  return self->busy && cudaEventQuery (self->done) == cudaSuccess;
}

gboolean
mt3_cuda_verifier_wait (Mt3CudaVerifier *self, GError **error)
{
  self->busy = FALSE;
  return mt3_cuda_check (
      cudaEventSynchronize (self->done), "verify texts", error);
}

void
mt3_cuda_verifier_reset (Mt3CudaVerifier *self)
{
  self->n_blocks = self->n_texts = 0;
}

gboolean
mt3_cuda_verifier_overflowed (
    const Mt3CudaVerifier *self, const Mt3CudaText *text)
{
  const guint first = text->first / BLOCK_ROWS;

  for (guint i = 0; i < count_blocks (text->n_rows); i++)
    if (self->host_flags[first + i] != 0)
      return TRUE;
  return FALSE;
}
