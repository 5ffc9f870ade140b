/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * weights.c: two passes over one description of the network. The first lists
 * what there is and how much memory it takes; the second, on all threads,
 * fills one block of memory panel by panel.
 */
#include "engine/cpu/weights.h"

#include <string.h>

#include "engine/cpu/memory.h"
#include "error.h"

#define ALIGNMENT 64
#define MAX_SOURCES 3

/* How the columns of a matrix come from those of its tensors. */
typedef enum {
  BESIDE, /* one tensor after the other */
  INTERLEAVED, /* half a panel from each of two in turn */
  KEY_BLOCKS, /* a block for each head: its columns, transposed */
  VALUE_BLOCKS, /* a block for each head: its columns */
  PADDED_HEADS, /* one tensor, the rows of each head padded */
} Layout;

/* A matrix to pack from one or more tensors. */
typedef struct {
  Mt3Matrix *matrix;
  const Mt3Tensor *sources[MAX_SOURCES];
  guint n_sources;
  Layout layout;
  gsize offset; /* in the block */
} MatrixPlan;

/* A vector, or the rows of the embedding, to copy and pad. */
typedef struct {
  const gfloat **rows;
  const Mt3Tensor *source;
  gsize offset;
} RowsPlan;

typedef struct {
  guint matrix, panel;
} PanelTask;

typedef struct {
  const Mt3Model *model;
  Mt3Precision precision;
  const Mt3CpuKernels *kernels;
  Mt3CpuWeights *weights;
  GArray *matrices; /* MatrixPlan */
  GArray *rows; /* RowsPlan */
  GArray *tasks; /* PanelTask */
  gsize n_bytes;
  gsize scratch_floats; /* one panel of the tallest matrix */
  gfloat *scratch;
} Packer;

static gsize
n_panels (gsize n_columns)
{
  return mt3_round_up (n_columns, MT3_PANEL) / MT3_PANEL;
}

static gsize
take (Packer *packer, gsize n_bytes)
{
  gsize offset = packer->n_bytes;

  packer->n_bytes += mt3_round_up (n_bytes, ALIGNMENT);
  return offset;
}

static Mt3PanelType
choose_type (const Packer *packer, const MatrixPlan *plan)
{
  if (packer->precision == MT3_PRECISION_BF16)
    return MT3_PANEL_BF16;
  if (packer->precision == MT3_PRECISION_FAST)
    return MT3_PANEL_F16;
  for (guint i = 0; i < plan->n_sources; i++)
    if (!mt3_tensor_fits_f16 (plan->sources[i]))
      return MT3_PANEL_F32;
  return MT3_PANEL_F16;
}

/* Adds a matrix whose dimensions are set. */
static void
plan_panels (Packer *packer, MatrixPlan *plan)
{
  Mt3Matrix *matrix = plan->matrix;
  guint index = packer->matrices->len;

  matrix->type = choose_type (packer, plan);
  plan->offset = take (packer,
      matrix->n_panels * mt3_panel_bytes (matrix->type, matrix->n_rows));
  packer->scratch_floats =
      MAX (packer->scratch_floats, matrix->n_rows * MT3_PANEL * 2);

  g_array_append_vals (packer->matrices, plan, 1);
  for (guint i = 0; i < matrix->n_panels; i++) {
    PanelTask task = {index, i};

    g_array_append_val (packer->tasks, task);
  }
}

/* Tensors with the same rows, BESIDE each other or INTERLEAVED. */
static void
plan_matrix (Packer *packer, Mt3Matrix *matrix, Layout layout,
    const Mt3Tensor *first, const Mt3Tensor *second, const Mt3Tensor *third)
{
  MatrixPlan plan = {matrix, {first, second, third}, 1, layout, 0};
  gsize n_columns = 0;

  while (plan.n_sources < MAX_SOURCES && plan.sources[plan.n_sources] != NULL)
    plan.n_sources++;
  for (guint i = 0; i < plan.n_sources; i++)
    n_columns += layout == INTERLEAVED
                     ? mt3_round_up (first->shape[1], MT3_PANEL / 2)
                     : plan.sources[i]->shape[1];
  matrix->n_rows = first->shape[0];
  matrix->n_panels = n_panels (n_columns);
  plan_panels (packer, &plan);
}

/* An output projection, from heads padded to the width that they have in the
 * decoder's attention. */
static void
plan_out (Packer *packer, Mt3Matrix *matrix, const Mt3Tensor *out)
{
  const Mt3Config *config = mt3_model_config (packer->model);
  MatrixPlan plan = {matrix, {out}, 1, PADDED_HEADS, 0};

  matrix->n_rows =
      config->n_heads * mt3_round_up (config->head_dim, MT3_ROW_WIDTH);
  matrix->n_panels = n_panels (config->d_model);
  plan_panels (packer, &plan);
}

/* Cross-attention is computed in the space of the encoder's output E. With
 * K = E A and V = E B, a head's scores q K^T are (q A^T) E^T and its result
 * w V is (w E) B. All heads and layers then read E alone, a twelfth of the
 * keys and values that they would have. */
static void
plan_cross_attention (Packer *packer, Mt3CpuDecoderLayer *layer,
    const Mt3Tensor *key, const Mt3Tensor *value)
{
  const Mt3Config *config = mt3_model_config (packer->model);
  gsize n_heads = config->n_heads, width = packer->weights->width;
  MatrixPlan key_plan = {&layer->cross_key, {key}, 1, KEY_BLOCKS, 0};
  MatrixPlan value_plan = {&layer->cross_value, {value}, 1, VALUE_BLOCKS, 0};

  layer->cross_key = (Mt3Matrix){
      .n_rows = config->head_dim,
      .n_panels = n_heads * width / MT3_PANEL,
      .n_blocks = n_heads,
      .block_stride = config->head_dim,
  };
  layer->cross_value = (Mt3Matrix){
      .n_rows = config->d_model,
      .n_panels =
          n_heads * mt3_round_up (config->head_dim, MT3_ROW_WIDTH) / MT3_PANEL,
      .n_blocks = n_heads,
      .block_stride = width,
  };
  plan_panels (packer, &key_plan);
  plan_panels (packer, &value_plan);
}

static void
plan_rows (Packer *packer, const gfloat **rows, const Mt3Tensor *source)
{
  gsize n = source->n_dims < 2 ? 1 : source->shape[0];
  RowsPlan plan = {rows, source,
      take (packer, n * packer->weights->width * sizeof (gfloat))};

  g_array_append_val (packer->rows, plan);
}

#define TENSOR(format, ...) mt3_model_tensor (model, format, ##__VA_ARGS__)

static void
plan_encoder_layer (Packer *packer, Mt3CpuEncoderLayer *layer, guint i)
{
  const Mt3Model *model = packer->model;

  plan_rows (packer, &layer->attention_norm,
      TENSOR ("encoder/layers_%u/pre_attention_layer_norm/scale", i));
  plan_matrix (packer, &layer->qkv, BESIDE,
      TENSOR ("encoder/layers_%u/attention/query/kernel", i),
      TENSOR ("encoder/layers_%u/attention/key/kernel", i),
      TENSOR ("encoder/layers_%u/attention/value/kernel", i));
  plan_matrix (packer, &layer->out, BESIDE,
      TENSOR ("encoder/layers_%u/attention/out/kernel", i), NULL, NULL);
  plan_rows (packer, &layer->mlp_norm,
      TENSOR ("encoder/layers_%u/pre_mlp_layer_norm/scale", i));
  plan_matrix (packer, &layer->gate, INTERLEAVED,
      TENSOR ("encoder/layers_%u/mlp/wi_0/kernel", i),
      TENSOR ("encoder/layers_%u/mlp/wi_1/kernel", i), NULL);
  plan_matrix (packer, &layer->down, BESIDE,
      TENSOR ("encoder/layers_%u/mlp/wo/kernel", i), NULL, NULL);
}

static void
plan_decoder_layer (Packer *packer, Mt3CpuDecoderLayer *layer, guint i)
{
  const Mt3Model *model = packer->model;

  plan_rows (packer, &layer->self_norm,
      TENSOR ("decoder/layers_%u/pre_self_attention_layer_norm/scale", i));
  plan_matrix (packer, &layer->self_qkv, BESIDE,
      TENSOR ("decoder/layers_%u/self_attention/query/kernel", i),
      TENSOR ("decoder/layers_%u/self_attention/key/kernel", i),
      TENSOR ("decoder/layers_%u/self_attention/value/kernel", i));
  plan_out (packer, &layer->self_out,
      TENSOR ("decoder/layers_%u/self_attention/out/kernel", i));
  plan_rows (packer, &layer->cross_norm,
      TENSOR ("decoder/layers_%u/pre_cross_attention_layer_norm/scale", i));
  plan_matrix (packer, &layer->cross_query, BESIDE,
      TENSOR ("decoder/layers_%u/encoder_decoder_attention/query/kernel", i),
      NULL, NULL);
  plan_cross_attention (packer, layer,
      TENSOR ("decoder/layers_%u/encoder_decoder_attention/key/kernel", i),
      TENSOR ("decoder/layers_%u/encoder_decoder_attention/value/kernel", i));
  plan_out (packer, &layer->cross_out,
      TENSOR ("decoder/layers_%u/encoder_decoder_attention/out/kernel", i));
  plan_rows (packer, &layer->mlp_norm,
      TENSOR ("decoder/layers_%u/pre_mlp_layer_norm/scale", i));
  plan_matrix (packer, &layer->gate, INTERLEAVED,
      TENSOR ("decoder/layers_%u/mlp/wi_0/kernel", i),
      TENSOR ("decoder/layers_%u/mlp/wi_1/kernel", i), NULL);
  plan_matrix (packer, &layer->down, BESIDE,
      TENSOR ("decoder/layers_%u/mlp/wo/kernel", i), NULL, NULL);
}

/* In the order of use. */
static void
plan_network (Packer *packer)
{
  const Mt3Model *model = packer->model;
  Mt3CpuWeights *weights = packer->weights;

  plan_matrix (packer, &weights->input, BESIDE,
      TENSOR ("encoder/continuous_inputs_projection/kernel"), NULL, NULL);
  for (guint i = 0; i < weights->n_encoder_layers; i++)
    plan_encoder_layer (packer, &weights->encoder[i], i);
  plan_rows (
      packer, &weights->encoder_norm, TENSOR ("encoder/encoder_norm/scale"));
  plan_rows (
      packer, &weights->embedding, TENSOR ("decoder/token_embedder/embedding"));
  for (guint i = 0; i < weights->n_decoder_layers; i++)
    plan_decoder_layer (packer, &weights->decoder[i], i);
  plan_rows (
      packer, &weights->decoder_norm, TENSOR ("decoder/decoder_norm/scale"));
  plan_matrix (packer, &weights->logits, BESIDE,
      TENSOR ("decoder/logits_dense/kernel"), NULL, NULL);
}

/* Columns [column, column + n) of @source to @to of a panel of floats. */
static void
read_columns (const Mt3Tensor *source, gsize column, gsize n, gfloat *panel,
    gsize to, gfloat *scratch)
{
  gsize n_rows = source->shape[0];

  if (n == MT3_PANEL) {
    mt3_tensor_read_block (source, 0, n_rows, column, n, panel);
    return;
  }
  mt3_tensor_read_block (source, 0, n_rows, column, n, scratch);
  for (gsize row = 0; row < n_rows; row++)
    memcpy (
        panel + row * MT3_PANEL + to, scratch + row * n, n * sizeof (gfloat));
}

static void
read_beside (
    const MatrixPlan *plan, guint index, gfloat *panel, gfloat *scratch)
{
  gsize first = (gsize) index * MT3_PANEL, end = first + MT3_PANEL;
  gsize start = 0; /* column of the matrix where a source begins */

  for (guint i = 0; i < plan->n_sources; i++) {
    gsize width = plan->sources[i]->shape[1];
    gsize from = MAX (first, start), to = MIN (end, start + width);

    if (from < to)
      read_columns (plan->sources[i], from - start, to - from, panel,
          from - first, scratch);
    start += width;
  }
}

/* Of a head's [d_model, head_dim], rows become the columns of a panel. */
static void
read_key_block (
    const MatrixPlan *plan, guint index, gfloat *panel, gfloat *scratch)
{
  const Mt3Matrix *matrix = plan->matrix;
  gsize per_head = matrix->n_panels / matrix->n_blocks;
  gsize head = index / per_head, row = index % per_head * MT3_PANEL;
  gsize n_rows = plan->sources[0]->shape[0];
  gsize n = row < n_rows ? MIN (n_rows - row, MT3_PANEL) : 0;

  mt3_tensor_read_block (
      plan->sources[0], row, n, head * matrix->n_rows, matrix->n_rows, scratch);
  for (gsize i = 0; i < n; i++)
    for (gsize d = 0; d < matrix->n_rows; d++)
      panel[d * MT3_PANEL + i] = scratch[i * matrix->n_rows + d];
}

static void
read_value_block (
    const MatrixPlan *plan, guint index, gfloat *panel, gfloat *scratch)
{
  const Mt3Matrix *matrix = plan->matrix;
  gsize per_head = matrix->n_panels / matrix->n_blocks;
  gsize head_dim = plan->sources[0]->shape[1] / matrix->n_blocks;
  gsize column = index % per_head * MT3_PANEL;

  if (column < head_dim)
    read_columns (plan->sources[0], index / per_head * head_dim + column,
        MIN (head_dim - column, MT3_PANEL), panel, 0, scratch);
}

static void
read_padded_heads (const MatrixPlan *plan, guint n_heads, guint index,
    gfloat *panel, gfloat *scratch)
{
  gsize head_dim = plan->sources[0]->shape[0] / n_heads;
  gsize padded = plan->matrix->n_rows / n_heads;

  mt3_tensor_read_block (plan->sources[0], 0, n_heads * head_dim,
      (gsize) index * MT3_PANEL, MT3_PANEL, scratch);
  for (gsize head = 0; head < n_heads; head++)
    memcpy (panel + head * padded * MT3_PANEL,
        scratch + head * head_dim * MT3_PANEL,
        head_dim * MT3_PANEL * sizeof (gfloat));
}

static void
read_panel (const Packer *packer, const MatrixPlan *plan, guint index,
    gfloat *panel, gfloat *scratch)
{
  memset (panel, 0, plan->matrix->n_rows * MT3_PANEL * sizeof (gfloat));
  switch (plan->layout) {
    case BESIDE:
      read_beside (plan, index, panel, scratch);
      break;
    case INTERLEAVED:
      for (guint i = 0; i < plan->n_sources; i++)
        read_columns (plan->sources[i], (gsize) index * MT3_PANEL / 2,
            MT3_PANEL / 2, panel, i * MT3_PANEL / 2, scratch);
      break;
    case KEY_BLOCKS:
      read_key_block (plan, index, panel, scratch);
      break;
    case VALUE_BLOCKS:
      read_value_block (plan, index, panel, scratch);
      break;
    case PADDED_HEADS:
      read_padded_heads (plan, mt3_model_config (packer->model)->n_heads, index,
          panel, scratch);
      break;
  }
}

static void
pack_panel (gpointer data, gsize i, gsize thread)
{
  Packer *packer = data;
  PanelTask task = g_array_index (packer->tasks, PanelTask, i);
  const MatrixPlan *plan =
      &g_array_index (packer->matrices, MatrixPlan, task.matrix);
  const Mt3Matrix *matrix = plan->matrix;
  gfloat *scratch = packer->scratch + thread * packer->scratch_floats;
  guint8 *out = (guint8 *) matrix->panels +
                task.panel * mt3_panel_bytes (matrix->type, matrix->n_rows);

  if (matrix->type == MT3_PANEL_F32) {
    read_panel (packer, plan, task.panel, (gfloat *) out, scratch);
    return;
  }
  read_panel (
      packer, plan, task.panel, scratch, scratch + packer->scratch_floats / 2);
  packer->kernels->pack_panel (matrix->type, scratch, matrix->n_rows, out);
}

static void
copy_rows (const Packer *packer, const RowsPlan *plan)
{
  gsize n = plan->source->n_dims < 2 ? 1 : plan->source->shape[0];

  mt3_tensor_read_block (
      plan->source, 0, n, 0, packer->weights->width, (gfloat *) *plan->rows);
}

static gboolean
pack (Packer *packer, Mt3Pool *pool, GError **error)
{
  Mt3CpuWeights *weights = packer->weights;
  gsize n_scratch = mt3_pool_n_threads (pool) * packer->scratch_floats;

  weights->n_bytes = packer->n_bytes;
  weights->memory = mt3_memory_new (
      weights->n_bytes, MT3_PAGES_HUGE, "the model's weights", error);
  packer->scratch = g_try_new (gfloat, n_scratch);
  if (weights->memory == NULL)
    return FALSE;
  if (packer->scratch == NULL) {
    g_set_error_literal (error, MT3_ERROR, MT3_ERROR_MEMORY,
        "Not enough memory to load the model: close other programs");
    return FALSE;
  }

  for (guint i = 0; i < packer->matrices->len; i++) {
    MatrixPlan *plan = &g_array_index (packer->matrices, MatrixPlan, i);

    plan->matrix->panels = (guint8 *) weights->memory + plan->offset;
  }
  for (guint i = 0; i < packer->rows->len; i++) {
    RowsPlan *plan = &g_array_index (packer->rows, RowsPlan, i);

    *plan->rows = (gpointer) ((guint8 *) weights->memory + plan->offset);
    copy_rows (packer, plan);
  }
  mt3_pool_run (pool, pack_panel, packer, packer->tasks->len);
  return TRUE;
}

Mt3CpuWeights *
mt3_cpu_weights_new (const Mt3Model *model, Mt3Precision precision,
    const Mt3CpuKernels *kernels, Mt3Pool *pool, GError **error)
{
  const Mt3Config *config = mt3_model_config (model);
  g_autoptr (Mt3CpuWeights) weights = g_new0 (Mt3CpuWeights, 1);
  Packer packer = {
      .model = model,
      .precision = precision,
      .kernels = kernels,
      .weights = weights,
      .matrices = g_array_new (FALSE, FALSE, sizeof (MatrixPlan)),
      .rows = g_array_new (FALSE, FALSE, sizeof (RowsPlan)),
      .tasks = g_array_new (FALSE, FALSE, sizeof (PanelTask)),
  };
  gboolean packed;

  weights->n_encoder_layers = config->encoder_layers;
  weights->n_decoder_layers = config->decoder_layers;
  weights->width = mt3_round_up (config->d_model, MT3_ROW_WIDTH);
  weights->encoder = g_new0 (Mt3CpuEncoderLayer, weights->n_encoder_layers);
  weights->decoder = g_new0 (Mt3CpuDecoderLayer, weights->n_decoder_layers);

  plan_network (&packer);
  packed = pack (&packer, pool, error);

  g_free (packer.scratch);
  g_array_unref (packer.matrices);
  g_array_unref (packer.rows);
  g_array_unref (packer.tasks);
  return packed ? g_steal_pointer (&weights) : NULL;
}

void
mt3_cpu_weights_free (Mt3CpuWeights *weights)
{
  if (weights == NULL)
    return;
  mt3_memory_free (weights->memory, weights->n_bytes);
  g_free (weights->encoder);
  g_free (weights->decoder);
  g_free (weights);
}
