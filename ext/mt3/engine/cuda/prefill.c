/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/cuda/prefill.h"

#include <string.h>

static gboolean
init_stage (Mt3CudaPrefill *self, Mt3CudaPrefillStage *stage, GError **error)
{
  const gsize samples =
      self->batch * mt3_config_window_samples (&self->weights->config);

  stage->samples = mt3_cuda_memory_host (
      &self->memory, samples * sizeof (gfloat), "samples", error);
  if (stage->samples == NULL)
    return FALSE;
  stage->allowed = mt3_cuda_memory_host (&self->memory,
      self->batch * mt3_cuda_allowed_words (&self->weights->config) *
          sizeof (guint32),
      "allowed tokens", error);
  if (stage->allowed == NULL)
    return FALSE;
  stage->slots = mt3_cuda_memory_host (
      &self->memory, 2 * self->batch * sizeof (gint), "slots", error);
  return stage->slots != NULL &&
         mt3_cuda_check (
             cudaEventCreateWithFlags (&stage->done, cudaEventDisableTiming),
             "create an event", error);
}

static gboolean
take_planes (
    Mt3CudaPrefill *self, guint width, Mt3CudaPlanes *planes, GError **error)
{
  const Mt3CudaWeights *w = self->weights;

  return mt3_cuda_memory_planes (&self->memory,
      (gsize) self->batch * w->config.window_frames * width, TRUE, planes,
      "the encoder", error);
}

/* A product whose fields all steps share. */
static Mt3CudaGemm
product (const Mt3CudaPrefill *self, guint n_windows, Mt3CudaPlanes a,
    Mt3CudaPlanes w, guint n, guint k)
{
  const Mt3Config *config = &self->weights->config;

  return (Mt3CudaGemm){
      .a = a,
      .w = w,
      .m = (int) (n_windows * config->window_frames),
      .n = (int) n,
      .k = (int) k,
      .n_heads = (int) config->n_heads,
      .frames = (int) config->window_frames,
      .slots = self->device_slots,
      .overflow = self->slots->overflow,
  };
}

/* Only kernels lie between the first product and the last. */
static Mt3CudaLaunch
launch (const Mt3CudaPrefill *self)
{
  return (Mt3CudaLaunch){.stream = self->stream, .dependent = self->dependent};
}

/* x = addend + product, for the residual sums and the position encoding. */
static cudaError_t
add (const Mt3CudaPrefill *self, Mt3CudaGemm gemm, const gfloat *addend,
    guint addend_rows)
{
  gemm.epilogue = MT3_CUDA_ADD;
  gemm.addend = addend;
  gemm.addend_rows = (int) addend_rows;
  gemm.x = self->x;
  gemm.out = self->planes;
  gemm.out_squares = self->squares;
  return mt3_cuda_gemm (&gemm, launch (self));
}

static cudaError_t
normalised (const Mt3CudaPrefill *self, Mt3CudaGemm gemm,
    Mt3CudaEpilogue epilogue, Mt3CudaPlanes out)
{
  gemm.epilogue = epilogue;
  gemm.squares = self->squares;
  gemm.out = out;
  gemm.cache = self->slots->cross;
  gemm.cache_slot = self->slots->cross_slot;
  gemm.cache_half = !self->weights->split;
  gemm.cache_lo = self->slots->cross_lo;
  return mt3_cuda_gemm (&gemm, launch (self));
}

static cudaError_t
front_end (const Mt3CudaPrefill *self, guint n_windows)
{
  const Mt3CudaWeights *w = self->weights;
  const Mt3CudaMel mel = {
      .samples = self->slots->samples,
      .slots = self->device_slots,
      .n_frames = self->device_slots + self->batch,
      .n_windows = (int) n_windows,
      .frames = (int) w->config.window_frames,
      .hop = (int) w->config.hop_length,
      .fft = (int) w->config.fft_length,
      .n_mels = (int) w->config.n_mels,
      .hann = w->hann,
      .twiddle = w->twiddle,
      .mel_start = w->mel_start,
      .mel_offset = w->mel_offset,
      .mel_weight = w->mel_weight,
      .out = self->mel,
      .overflow = self->slots->overflow,
  };

  return mt3_cuda_mel (&mel, self->stream);
}

static cudaError_t
encoder_layer (
    const Mt3CudaPrefill *self, guint n_windows, const Mt3CudaEncoderLayer *w)
{
  const Mt3Config *config = &self->weights->config;
  const guint d = config->d_model, inner = mt3_config_inner (config);
  const guint ff = config->encoder_d_ff;
  const guint rows = n_windows * config->window_frames;
  const Mt3CudaAttention attention = {
      .qkv = self->qkv,
      .out = self->attended,
      .n_windows = (int) n_windows,
      .frames = (int) config->window_frames,
      .n_heads = (int) config->n_heads,
  };
  cudaError_t result;

  result = normalised (self,
      product (self, n_windows, self->planes, w->qkv, 3 * inner, d),
      MT3_CUDA_STORE, self->qkv);
  if (result == cudaSuccess)
    result = mt3_cuda_attention (&attention, launch (self));
  if (result == cudaSuccess)
    result =
        add (self, product (self, n_windows, self->attended, w->out, d, inner),
            self->x, rows);
  if (result == cudaSuccess)
    result = normalised (self,
        product (self, n_windows, self->planes, w->up, 2 * ff, d),
        MT3_CUDA_GATED, self->gated);
  if (result == cudaSuccess)
    result = add (self, product (self, n_windows, self->gated, w->down, d, ff),
        self->x, rows);
  return result;
}

/* Of the windows that @device_slots names. */
static cudaError_t
compute (gconstpointer prefill, guint n_windows)
{
  const Mt3CudaPrefill *self = prefill;
  const Mt3CudaWeights *w = self->weights;
  const Mt3Config *config = &w->config;
  const guint cross = self->weights->n_layers * 2 * mt3_config_inner (config);
  cudaError_t result = front_end (self, n_windows);

  if (result == cudaSuccess)
    result = add (self,
        product (self, n_windows, self->mel, w->projection, config->d_model,
            config->n_mels),
        w->positions, config->window_frames);
  for (guint i = 0; i < config->encoder_layers && result == cudaSuccess; i++)
    result = encoder_layer (self, n_windows, &w->encoder[i]);
  if (result == cudaSuccess)
    result = normalised (self,
        product (
            self, n_windows, self->planes, w->cross_kv, cross, config->d_model),
        MT3_CUDA_CROSS_KV, (Mt3CudaPlanes){0});
  return result;
}

/* The graph of a whole batch: one call of the host, who has windows to copy and
 * lanes to look after, and not one for each kernel. These have to have run
 * before: of no frames. */
static gboolean
capture (Mt3CudaPrefill *self, GError **error)
{
  if (!mt3_cuda_check (compute (self, self->batch), "encode silence", error) ||
      !mt3_cuda_check (
          cudaStreamSynchronize (self->stream), "encode silence", error))
    return FALSE;
  self->whole = mt3_cuda_graph_new (
      self->stream, compute, self, self->batch, "the encoder", error);
  return self->whole != NULL;
}

gboolean
mt3_cuda_prefill_init (Mt3CudaPrefill *self, const Mt3CudaWeights *weights,
    Mt3CudaSlots *slots, guint batch, gboolean dependent, GError **error)
{
  const Mt3Config *config = &weights->config;
  const gsize rows = (gsize) batch * config->window_frames;

  self->weights = weights;
  self->slots = slots;
  self->batch = batch;
  self->dependent = dependent;
  if (!mt3_cuda_check (
          cudaStreamCreateWithFlags (&self->stream, cudaStreamNonBlocking),
          "create a stream", error))
    return FALSE;
  for (guint i = 0; i < MT3_CUDA_PREFILL_STAGES; i++)
    if (!init_stage (self, &self->stages[i], error))
      return FALSE;
  self->device_slots = mt3_cuda_memory_device (
      &self->memory, 2 * batch * sizeof (gint), "slots", error);
  if (self->device_slots == NULL)
    return FALSE;
  self->x = mt3_cuda_memory_device (&self->memory,
      rows * config->d_model * sizeof (gfloat), "the encoder", error);
  if (self->x == NULL)
    return FALSE;
  self->squares = mt3_cuda_memory_device (&self->memory,
      rows * config->d_model / MT3_CUDA_PREFILL_SQUARES * sizeof (gfloat),
      "the encoder", error);
  return self->squares != NULL &&
         take_planes (self, config->n_mels, &self->mel, error) &&
         take_planes (self, config->d_model, &self->planes, error) &&
         take_planes (self, 3 * mt3_config_inner (config), &self->qkv, error) &&
         take_planes (
             self, mt3_config_inner (config), &self->attended, error) &&
         take_planes (self, config->encoder_d_ff, &self->gated, error) &&
         capture (self, error);
}

void
mt3_cuda_prefill_clear (Mt3CudaPrefill *self)
{
  mt3_cuda_wait_idle (self->stream);
  for (guint i = 0; i < MT3_CUDA_PREFILL_STAGES; i++)
    if (self->stages[i].done != NULL)
      cudaEventDestroy (self->stages[i].done);
  g_clear_pointer (&self->whole, mt3_cuda_graph_free);
  if (self->stream != NULL)
    cudaStreamDestroy (self->stream);
  mt3_cuda_memory_clear (&self->memory);
}

static Mt3CudaPrefillStage *
filling_stage (Mt3CudaPrefill *self)
{
  return &self->stages[self->n_started % MT3_CUDA_PREFILL_STAGES];
}

/* The tokens that a window may have go to their slot's place on the device. */
static gboolean
add_allowed (
    Mt3CudaPrefill *self, const Mt3BackendWindow *window, GError **error)
{
  const gsize words = mt3_cuda_allowed_words (&self->weights->config);
  guint32 *bits = filling_stage (self)->allowed + self->n_waiting * words;

  if (window->decoding.allowed == NULL)
    return TRUE;
  memcpy (bits, window->decoding.allowed->bits, words * sizeof (guint32));
  return mt3_cuda_check (
      cudaMemcpyAsync (self->slots->allowed + window->slot * words, bits,
          words * sizeof (guint32), cudaMemcpyHostToDevice, self->stream),
      "copy allowed tokens to the device", error);
}

/* The samples go to their slot's place on the device. */
gboolean
mt3_cuda_prefill_add (
    Mt3CudaPrefill *self, const Mt3BackendWindow *window, GError **error)
{
  const gsize n = mt3_config_window_samples (&self->weights->config);
  Mt3CudaPrefillStage *stage = filling_stage (self);
  const guint i = self->n_waiting;
  gfloat *samples = stage->samples + i * n;

  /* The batch that used this stage before may still be copying from it. */
  if (i == 0 && !mt3_cuda_check (cudaEventSynchronize (stage->done),
                    "encode windows", error))
    return FALSE;
  memcpy (samples, window->samples, n * sizeof (gfloat));
  stage->slots[i] = (gint) window->slot;
  stage->slots[self->batch + i] = (gint) window->n_frames;
  if (!mt3_cuda_check (
          cudaMemcpyAsync (self->slots->samples + window->slot * n, samples,
              n * sizeof (gfloat), cudaMemcpyHostToDevice, self->stream),
          "copy samples to the device", error) ||
      !add_allowed (self, window, error))
    return FALSE;
  self->n_waiting++;
  return self->n_waiting < self->batch ||
         mt3_cuda_prefill_start (self, TRUE, error);
}

static cudaError_t
encode (const Mt3CudaPrefill *self)
{
  return self->n_waiting == self->batch ? mt3_cuda_graph_launch (self->whole)
                                        : compute (self, self->n_waiting);
}

gboolean
mt3_cuda_prefill_start (Mt3CudaPrefill *self, gboolean force, GError **error)
{
  Mt3CudaPrefillStage *stage = filling_stage (self);

  if (self->n_waiting == 0 ||
      (!force && !mt3_cuda_prefill_is_done (self, self->n_started)))
    return TRUE;
  if (!mt3_cuda_check (cudaMemcpyAsync (self->device_slots, stage->slots,
                           2 * self->batch * sizeof (gint),
                           cudaMemcpyHostToDevice, self->stream),
          "copy slot numbers to the device", error) ||
      !mt3_cuda_check (encode (self), "start the encoder", error) ||
      !mt3_cuda_check (cudaEventRecord (stage->done, self->stream),
          "start the encoder", error))
    return FALSE;
  self->n_waiting = 0;
  self->n_started++;
  return TRUE;
}

gboolean
mt3_cuda_prefill_is_done (Mt3CudaPrefill *self, guint64 number)
{
  if (number > self->n_started)
    return FALSE;
  while (self->n_done < number) {
    Mt3CudaPrefillStage *next =
        &self->stages[self->n_done % MT3_CUDA_PREFILL_STAGES];

    /* A stage that was used again belongs to a batch that is done. */
    if (self->n_started - self->n_done <= MT3_CUDA_PREFILL_STAGES &&
        cudaEventQuery (next->done) != cudaSuccess)
      return FALSE;
    self->n_done++;
  }
  return TRUE;
}

gboolean
mt3_cuda_prefill_wait (Mt3CudaPrefill *self, GError **error)
{
  if (mt3_cuda_prefill_is_done (self, self->n_started) &&
      !mt3_cuda_prefill_start (self, TRUE, error))
    return FALSE;
  if (self->n_done == self->n_started)
    return TRUE;
  if (!mt3_cuda_check (
          cudaEventSynchronize (
              self->stages[self->n_done % MT3_CUDA_PREFILL_STAGES].done),
          "encode windows", error))
    return FALSE;
  self->n_done++;
  return TRUE;
}
