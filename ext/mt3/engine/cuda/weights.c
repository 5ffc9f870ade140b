/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/cuda/weights.h"

#include "engine/cuda/tables.h"

/* Tokens that a step is given where there is a draft network: of 2 to 4 the
 * fastest. */
#define PLACES MT3_CUDA_MOST_PLACES

/* On the way from the model to the device, one tensor at a time. */
typedef struct {
  Mt3CudaWeights *weights;
  const Mt3Model *model;
  const Mt3Draft *draft;
  Mt3CudaMemory scratch;
  gfloat *host;
  gfloat *device;
  gfloat *scale;
  gfloat *factors[2]; /* of a composed matrix */
  gboolean split; /* the form of what is loaded now, and its layout */
  Mt3CudaLayout layout;
} Loader;

static gsize
largest_tensor (const Mt3Model *model)
{
  guint n = 0;
  const Mt3Tensor *tensors = mt3_model_tensors (model, &n);
  gsize largest = 0;

  for (guint i = 0; i < n; i++)
    largest = MAX (largest, mt3_tensor_n_elements (&tensors[i]));
  return largest;
}

static gboolean
loader_init (Loader *self, GError **error)
{
  const gsize bytes = largest_tensor (self->model) * sizeof (gfloat);

  self->host =
      mt3_cuda_memory_host (&self->scratch, bytes, "loading the model", error);
  if (self->host == NULL)
    return FALSE;
  self->device = mt3_cuda_memory_device (
      &self->scratch, bytes, "loading the model", error);
  if (self->device == NULL)
    return FALSE;
  self->scale = mt3_cuda_memory_device (
      &self->scratch, bytes, "loading the model", error);
  if (self->scale == NULL)
    return FALSE;
  for (guint i = 0; i < G_N_ELEMENTS (self->factors); i++) {
    self->factors[i] = mt3_cuda_memory_device (
        &self->scratch, bytes, "loading the model", error);
    if (self->factors[i] == NULL)
      return FALSE;
  }
  return TRUE;
}

/* A tensor as it is, float32, to @device. */
static gboolean
upload (Loader *self, const Mt3Tensor *tensor, gfloat *device, GError **error)
{
  const gsize rows = tensor->n_dims == 1 ? 1 : tensor->shape[0];
  const gsize columns = tensor->shape[tensor->n_dims - 1];

  mt3_tensor_read_block (tensor, 0, rows, 0, columns, self->host);
  return mt3_cuda_check (
      cudaMemcpy (device, self->host, rows * columns * sizeof (gfloat),
          cudaMemcpyHostToDevice),
      "copy a tensor to the device", error);
}

/* What comes next is multiplied with this norm's scale; NULL: with none. */
static gboolean
set_scale (Loader *self, const Mt3Tensor *scale, GError **error)
{
  return upload (self, scale, self->scale, error);
}

/* Packs [k, n] floats on the device into rows row0, row0 + row_step ... of
 * @out. */
static gboolean
pack_device (Loader *self, gsize k, gsize n, gboolean scaled, Mt3CudaPlanes out,
    guint row0, guint row_step, GError **error)
{
  const Mt3CudaPack pack = {
      .in = self->device,
      .scale = scaled ? self->scale : NULL,
      .k = (int) k,
      .n = (int) n,
      .out = out,
      .layout = self->layout,
      .row0 = (int) row0,
      .row_step = (int) row_step,
  };

  return mt3_cuda_check (mt3_cuda_pack (&pack, NULL), "pack a tensor", error) &&
         mt3_cuda_check (cudaStreamSynchronize (NULL), "pack a tensor", error);
}

static gboolean
pack (Loader *self, const Mt3Tensor *tensor, gboolean scaled, Mt3CudaPlanes out,
    guint row0, guint row_step, GError **error)
{
  return upload (self, tensor, self->device, error) &&
         pack_device (self, tensor->shape[0], tensor->shape[1], scaled, out,
             row0, row_step, error);
}

static gboolean
take (
    Loader *self, gsize rows, gsize columns, Mt3CudaPlanes *out, GError **error)
{
  return mt3_cuda_memory_planes (&self->weights->memory, rows * columns,
      self->split, out, "the model's weights", error);
}

/* A matrix alone. */
static gboolean
load (Loader *self, const Mt3Tensor *tensor, gboolean scaled,
    Mt3CudaPlanes *out, GError **error)
{
  return take (self, tensor->shape[1], tensor->shape[0], out, error) &&
         pack (self, tensor, scaled, *out, 0, 1, error);
}

/* Query, key and value, stacked, and room for @more rows. */
static gboolean
load_qkv (Loader *self, const Mt3Tensor *const tensors[3], guint more,
    Mt3CudaPlanes *out, GError **error)
{
  const guint inner = mt3_config_inner (&self->weights->config);

  if (!take (self, 3 * inner + more, self->weights->config.d_model, out, error))
    return FALSE;
  for (guint i = 0; i < 3; i++)
    if (!pack (self, tensors[i], TRUE, *out, i * inner, 1, error))
      return FALSE;
  return TRUE;
}

/* The feed-forward part of a layer, with the norm before it. */
static gboolean
load_unit (Loader *self, const Mt3Tensor *scale, const Mt3Tensor *gate,
    const Mt3Tensor *linear, const Mt3Tensor *out, Mt3CudaPlanes *up,
    Mt3CudaPlanes *down, GError **error)
{
  return set_scale (self, scale, error) &&
         take (self, 2 * gate->shape[1], gate->shape[0], up, error) &&
         pack (self, gate, TRUE, *up, 0, 2, error) &&
         pack (self, linear, TRUE, *up, 1, 2, error) &&
         load (self, out, FALSE, down, error);
}

static const Mt3Tensor *
encoder_tensor (const Loader *self, guint layer, const gchar *name)
{
  return mt3_model_tensor (self->model, "encoder/layers_%u/%s", layer, name);
}

static gboolean
load_encoder_layer (Loader *self, guint layer, GError **error)
{
  const Mt3Tensor *const qkv[] = {
      encoder_tensor (self, layer, "attention/query/kernel"),
      encoder_tensor (self, layer, "attention/key/kernel"),
      encoder_tensor (self, layer, "attention/value/kernel")};
  Mt3CudaEncoderLayer *out = &self->weights->encoder[layer];

  return set_scale (self,
             encoder_tensor (self, layer, "pre_attention_layer_norm/scale"),
             error) &&
         load_qkv (self, qkv, 0, &out->qkv, error) &&
         load (self, encoder_tensor (self, layer, "attention/out/kernel"),
             FALSE, &out->out, error) &&
         load_unit (self,
             encoder_tensor (self, layer, "pre_mlp_layer_norm/scale"),
             encoder_tensor (self, layer, "mlp/wi_0/kernel"),
             encoder_tensor (self, layer, "mlp/wi_1/kernel"),
             encoder_tensor (self, layer, "mlp/wo/kernel"), &out->up,
             &out->down, error);
}

/* Of a layer of the decoder, or of the draft network's, which follows them. */
static const Mt3Tensor *
layer_tensor (const Loader *self, guint layer, const gchar *format, ...)
{
  g_autofree gchar *name = NULL;
  va_list args;

  va_start (args, format);
  name = g_strdup_vprintf (format, args);
  va_end (args);
  return layer < self->weights->config.decoder_layers
             ? mt3_model_tensor (
                   self->model, "decoder/layers_%u/%s", layer, name)
             : mt3_draft_tensor (self->draft, name);
}

/* What comes next lies behind this norm of the decoder's. */
static gboolean
set_layer_scale (Loader *self, const gchar *norm, guint layer, GError **error)
{
  return set_scale (self, layer_tensor (self, layer, "%s/scale", norm), error);
}

/* A matrix of an attention of the decoder. */
static gboolean
load_matrix (Loader *self, guint layer, const gchar *name, gboolean scaled,
    Mt3CudaPlanes *out, GError **error)
{
  return load (
      self, layer_tensor (self, layer, "%s/kernel", name), scaled, out, error);
}

static gboolean
load_self_qkv (
    Loader *self, guint layer, guint more, Mt3CudaPlanes *out, GError **error)
{
  const Mt3Tensor *const qkv[] = {
      layer_tensor (self, layer, "self_attention/query/kernel"),
      layer_tensor (self, layer, "self_attention/key/kernel"),
      layer_tensor (self, layer, "self_attention/value/kernel")};

  return set_layer_scale (
             self, "pre_self_attention_layer_norm", layer, error) &&
         load_qkv (self, qkv, more, out, error);
}

static gboolean
load_layer_unit (Loader *self, guint layer, Mt3CudaPlanes *up,
    Mt3CudaPlanes *down, GError **error)
{
  return load_unit (self,
      layer_tensor (self, layer, "pre_mlp_layer_norm/scale"),
      layer_tensor (self, layer, "mlp/wi_0/kernel"),
      layer_tensor (self, layer, "mlp/wi_1/kernel"),
      layer_tensor (self, layer, "mlp/wo/kernel"), up, down, error);
}

/* Self-attention with its norm, and the two parts of the cross-attention's
 * query, with the norm that lies before that. */
static gboolean
load_attention (Loader *self, guint layer, GError **error)
{
  const gsize d = self->weights->config.d_model;
  const guint inner = mt3_config_inner (&self->weights->config);
  const Mt3Tensor *out =
      layer_tensor (self, layer, "self_attention/out/kernel");
  const Mt3Tensor *query =
      layer_tensor (self, layer, "encoder_decoder_attention/query/kernel");
  Mt3CudaDecoderLayer *w = &self->weights->decoder[layer];

  return load_self_qkv (self, layer, inner, &w->qkv, error) &&
         take (self, d + inner, inner, &w->self_out, error) &&
         pack (self, out, FALSE, w->self_out, 0, 1, error) &&
         set_layer_scale (
             self, "pre_cross_attention_layer_norm", layer, error) &&
         pack (self, query, TRUE, w->qkv, 3 * inner, 1, error) &&
         upload (self, out, self->factors[0], error) &&
         upload (self, query, self->factors[1], error) &&
         mt3_cuda_check (
             mt3_cuda_compose (self->factors[0], self->scale, self->factors[1],
                 (int) inner, (int) d, (int) inner, self->device, NULL),
             "compose the query", error) &&
         pack_device (
             self, inner, inner, FALSE, w->self_out, (guint) d, 1, error);
}

static gboolean
load_decoder_layer (Loader *self, guint layer, GError **error)
{
  Mt3CudaDecoderLayer *out = &self->weights->decoder[layer];

  return load_attention (self, layer, error) &&
         load_matrix (self, layer, "encoder_decoder_attention/out", FALSE,
             &out->cross_out, error) &&
         load_layer_unit (self, layer, &out->up, &out->down, error);
}

/* Keys and values of all layers as one matrix behind the encoder's norm. */
static gboolean
load_cross_kv (Loader *self, GError **error)
{
  static const gchar *const names[] = {"key", "value"};
  const Mt3Config *config = &self->weights->config;
  const guint inner = mt3_config_inner (config);
  Mt3CudaPlanes *out = &self->weights->cross_kv;

  if (!set_scale (self,
          mt3_model_tensor (self->model, "encoder/encoder_norm/scale"),
          error) ||
      !take (self, (gsize) self->weights->n_layers * 2 * inner, config->d_model,
          out, error))
    return FALSE;
  for (guint i = 0; i < 2 * self->weights->n_layers; i++)
    if (!pack (self,
            layer_tensor (self, i / 2, "encoder_decoder_attention/%s/kernel",
                names[i % 2]),
            TRUE, *out, i * inner, 1, error))
      return FALSE;
  return TRUE;
}

static gpointer
copy_table (
    Mt3CudaWeights *self, gconstpointer table, gsize bytes, GError **error)
{
  gpointer device =
      mt3_cuda_memory_device (&self->memory, bytes, "tables", error);

  if (device == NULL || !mt3_cuda_check (cudaMemcpy (device, table, bytes,
                                             cudaMemcpyHostToDevice),
                            "copy tables to the device", error))
    return NULL;
  return device;
}

static gboolean
load_tables (Mt3CudaWeights *self, GError **error)
{
  const Mt3Config *config = &self->config;
  g_autoptr (Mt3CudaTables) tables = mt3_cuda_tables_new (config);

  self->hann = copy_table (
      self, tables->hann, config->fft_length * sizeof (gfloat), error);
  if (self->hann == NULL)
    return FALSE;
  self->twiddle = copy_table (
      self, tables->twiddle, config->fft_length * 2 * sizeof (gfloat), error);
  if (self->twiddle == NULL)
    return FALSE;
  self->mel_start = copy_table (
      self, tables->mel_start, config->n_mels * sizeof (gint), error);
  if (self->mel_start == NULL)
    return FALSE;
  self->mel_offset = copy_table (
      self, tables->mel_offset, (config->n_mels + 1) * sizeof (gint), error);
  if (self->mel_offset == NULL)
    return FALSE;
  self->mel_weight = copy_table (self, tables->mel_weight->data,
      tables->mel_weight->len * sizeof (gfloat), error);
  if (self->mel_weight == NULL)
    return FALSE;
  self->positions = copy_table (self, tables->positions,
      (gsize) tables->n_positions * config->d_model * sizeof (gfloat), error);
  return self->positions != NULL;
}

static gboolean
load_encoder (Loader *self, GError **error)
{
  self->split = TRUE;
  self->layout = MT3_CUDA_ROW_MAJOR;
  if (!load (self,
          mt3_model_tensor (
              self->model, "encoder/continuous_inputs_projection/kernel"),
          FALSE, &self->weights->projection, error))
    return FALSE;
  for (guint i = 0; i < self->weights->config.encoder_layers; i++)
    if (!load_encoder_layer (self, i, error))
      return FALSE;
  return load_cross_kv (self, error);
}

static gboolean
load_decoder (Loader *self, GError **error)
{
  Mt3CudaWeights *weights = self->weights;
  const Mt3Tensor *embedding =
      mt3_model_tensor (self->model, "decoder/token_embedder/embedding");

  self->split = weights->split;
  self->layout = mt3_cuda_decode_layout (self->split);
  weights->embedding = mt3_cuda_memory_device (&weights->memory,
      mt3_tensor_n_elements (embedding) * sizeof (gfloat),
      "the token embedding", error);
  if (weights->embedding == NULL ||
      !upload (self, embedding, weights->embedding, error))
    return FALSE;
  for (guint i = 0; i < weights->n_layers; i++)
    if (!load_decoder_layer (self, i, error))
      return FALSE;
  return set_scale (self,
             mt3_model_tensor (self->model, "decoder/decoder_norm/scale"),
             error) &&
         load (self,
             mt3_model_tensor (self->model, "decoder/logits_dense/kernel"),
             TRUE, &weights->logits, error);
}

/* A matrix of the draft network's, with the norm before it. */
static gboolean
load_draft_matrix (Loader *self, const gchar *norm, const gchar *matrix,
    Mt3CudaPlanes *out, GError **error)
{
  return set_scale (self, mt3_draft_tensor (self->draft, norm), error) &&
         load (self, mt3_draft_tensor (self->draft, matrix), TRUE, out, error);
}

/* But for its layer, which is the decoder's last. */
static gboolean
load_draft (Loader *self, GError **error)
{
  Mt3CudaDraftNetwork *out = &self->weights->draft;

  return load_draft_matrix (self, "pre_state_layer_norm/scale", "state/kernel",
             &out->state, error) &&
         load_draft_matrix (self, "pre_own_state_layer_norm/scale",
             "own_state/kernel", &out->own_state, error) &&
         load_unit (self,
             mt3_draft_tensor (self->draft, "pre_own_mlp_layer_norm/scale"),
             mt3_draft_tensor (self->draft, "own_mlp/wi_0/kernel"),
             mt3_draft_tensor (self->draft, "own_mlp/wi_1/kernel"),
             mt3_draft_tensor (self->draft, "own_mlp/wo/kernel"), &out->own_up,
             &out->own_down, error);
}

static gboolean
load_verifier_layer (Loader *self, guint layer, GError **error)
{
  Mt3CudaVerifierLayer *out = &self->weights->verifier[layer];

  return load_self_qkv (self, layer, 0, &out->qkv, error) &&
         load_matrix (
             self, layer, "self_attention/out", FALSE, &out->self_out, error) &&
         set_layer_scale (
             self, "pre_cross_attention_layer_norm", layer, error) &&
         load_matrix (self, layer, "encoder_decoder_attention/query", TRUE,
             &out->cross_query, error) &&
         load_matrix (self, layer, "encoder_decoder_attention/out", FALSE,
             &out->cross_out, error) &&
         load_layer_unit (self, layer, &out->up, &out->down, error);
}

static gboolean
load_verifier (Loader *self, GError **error)
{
  Mt3CudaWeights *weights = self->weights;
  const guint wide = MT3_CUDA_WIDTH_MULTIPLE;
  const Mt3Tensor *logits =
      mt3_model_tensor (self->model, "decoder/logits_dense/kernel");
  const gsize rows = (logits->shape[1] + wide - 1) / wide * wide;

  self->split = TRUE;
  self->layout = MT3_CUDA_ROW_MAJOR;
  for (guint i = 0; i < weights->config.decoder_layers; i++)
    if (!load_verifier_layer (self, i, error))
      return FALSE;
  return set_scale (self,
             mt3_model_tensor (self->model, "decoder/decoder_norm/scale"),
             error) &&
         take (
             self, rows, logits->shape[0], &weights->verifier_logits, error) &&
         pack (self, logits, TRUE, weights->verifier_logits, 0, 1, error);
}

static gboolean
load_all (Loader *self, Mt3CudaMethod method, GError **error)
{
  return loader_init (self, error) && load_tables (self->weights, error) &&
         load_encoder (self, error) && load_decoder (self, error) &&
         (self->draft == NULL || load_draft (self, error)) &&
         (method != MT3_CUDA_VERIFIES || load_verifier (self, error));
}

/* Where a step of several tokens is hardly longer than one of one: by the
 * products for compute capability 9.0, in float16. */
static gboolean
drafts_pay (Mt3CudaMethod method)
{
  return method != MT3_CUDA_STEPS_EXACTLY &&
         mt3_cuda_decode_layout (FALSE) == MT3_CUDA_ROW_MAJOR;
}

Mt3CudaWeights *
mt3_cuda_weights_new (const Mt3Model *model, const Mt3Draft *draft,
    Mt3CudaMethod method, GError **error)
{
  g_autoptr (Mt3CudaWeights) self = g_new0 (Mt3CudaWeights, 1);
  Loader loader = {.weights = self, .model = model};
  gboolean ok;

  self->config = *mt3_model_config (model);
  self->split = method == MT3_CUDA_STEPS_EXACTLY;
  if (drafts_pay (method))
    loader.draft = draft;
  self->n_places = loader.draft != NULL ? PLACES : 1;
  self->n_layers = self->config.decoder_layers + (loader.draft != NULL ? 1 : 0);
  self->encoder = g_new0 (Mt3CudaEncoderLayer, self->config.encoder_layers);
  self->decoder = g_new0 (Mt3CudaDecoderLayer, self->n_layers);
  self->verifier = g_new0 (Mt3CudaVerifierLayer, self->config.decoder_layers);
  ok = load_all (&loader, method, error);
  mt3_cuda_memory_clear (&loader.scratch);
  return ok ? g_steal_pointer (&self) : NULL;
}

void
mt3_cuda_weights_free (Mt3CudaWeights *self)
{
  mt3_cuda_memory_clear (&self->memory);
  g_free (self->encoder);
  g_free (self->decoder);
  g_free (self->verifier);
  g_free (self);
}
