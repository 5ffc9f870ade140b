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

/* A matrix to pack from one or more tensors with the same rows. */
typedef struct {
  Mt3Matrix *matrix;
  const Mt3Tensor *sources[MAX_SOURCES];
  guint n_sources;
  gboolean interleave; /* half a panel from each in turn, else side by side */
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

static void
plan_matrix (Packer *packer, Mt3Matrix *matrix, gboolean interleave,
    const Mt3Tensor *first, const Mt3Tensor *second, const Mt3Tensor *third)
{
  MatrixPlan plan = {matrix, {first, second, third}, 1, interleave, 0};
  guint index = packer->matrices->len;
  gsize n_columns = 0;

  while (plan.n_sources < MAX_SOURCES && plan.sources[plan.n_sources] != NULL)
    plan.n_sources++;
  for (guint i = 0; i < plan.n_sources; i++)
    n_columns += interleave ? mt3_round_up (first->shape[1], MT3_PANEL / 2)
                            : plan.sources[i]->shape[1];

  matrix->type = choose_type (packer, &plan);
  matrix->n_rows = first->shape[0];
  matrix->n_panels = mt3_round_up (n_columns, MT3_PANEL) / MT3_PANEL;
  plan.offset = take (packer,
      matrix->n_panels * mt3_panel_bytes (matrix->type, matrix->n_rows));
  packer->scratch_floats =
      MAX (packer->scratch_floats, matrix->n_rows * MT3_PANEL * 2);

  g_array_append_val (packer->matrices, plan);
  for (guint i = 0; i < matrix->n_panels; i++) {
    PanelTask task = {index, i};

    g_array_append_val (packer->tasks, task);
  }
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
  plan_matrix (packer, &layer->qkv, FALSE,
      TENSOR ("encoder/layers_%u/attention/query/kernel", i),
      TENSOR ("encoder/layers_%u/attention/key/kernel", i),
      TENSOR ("encoder/layers_%u/attention/value/kernel", i));
  plan_matrix (packer, &layer->out, FALSE,
      TENSOR ("encoder/layers_%u/attention/out/kernel", i), NULL, NULL);
  plan_rows (packer, &layer->mlp_norm,
      TENSOR ("encoder/layers_%u/pre_mlp_layer_norm/scale", i));
  plan_matrix (packer, &layer->gate, TRUE,
      TENSOR ("encoder/layers_%u/mlp/wi_0/kernel", i),
      TENSOR ("encoder/layers_%u/mlp/wi_1/kernel", i), NULL);
  plan_matrix (packer, &layer->down, FALSE,
      TENSOR ("encoder/layers_%u/mlp/wo/kernel", i), NULL, NULL);
}

static void
plan_decoder_layer (Packer *packer, Mt3CpuDecoderLayer *layer, guint i)
{
  const Mt3Model *model = packer->model;

  plan_rows (packer, &layer->self_norm,
      TENSOR ("decoder/layers_%u/pre_self_attention_layer_norm/scale", i));
  plan_matrix (packer, &layer->self_qkv, FALSE,
      TENSOR ("decoder/layers_%u/self_attention/query/kernel", i),
      TENSOR ("decoder/layers_%u/self_attention/key/kernel", i),
      TENSOR ("decoder/layers_%u/self_attention/value/kernel", i));
  plan_matrix (packer, &layer->self_out, FALSE,
      TENSOR ("decoder/layers_%u/self_attention/out/kernel", i), NULL, NULL);
  plan_rows (packer, &layer->cross_norm,
      TENSOR ("decoder/layers_%u/pre_cross_attention_layer_norm/scale", i));
  plan_matrix (packer, &layer->cross_query, FALSE,
      TENSOR ("decoder/layers_%u/encoder_decoder_attention/query/kernel", i),
      NULL, NULL);
  plan_matrix (packer, &layer->cross_out, FALSE,
      TENSOR ("decoder/layers_%u/encoder_decoder_attention/out/kernel", i),
      NULL, NULL);
  plan_rows (packer, &layer->mlp_norm,
      TENSOR ("decoder/layers_%u/pre_mlp_layer_norm/scale", i));
  plan_matrix (packer, &layer->gate, TRUE,
      TENSOR ("decoder/layers_%u/mlp/wi_0/kernel", i),
      TENSOR ("decoder/layers_%u/mlp/wi_1/kernel", i), NULL);
  plan_matrix (packer, &layer->down, FALSE,
      TENSOR ("decoder/layers_%u/mlp/wo/kernel", i), NULL, NULL);
}

/* In the order of use; cross_kv, used once a window, after the decoder. */
static void
plan_network (Packer *packer)
{
  const Mt3Model *model = packer->model;
  Mt3CpuWeights *weights = packer->weights;

  plan_matrix (packer, &weights->input, FALSE,
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
  plan_matrix (packer, &weights->logits, FALSE,
      TENSOR ("decoder/logits_dense/kernel"), NULL, NULL);
  for (guint i = 0; i < weights->n_decoder_layers; i++)
    plan_matrix (packer, &weights->decoder[i].cross_kv, FALSE,
        TENSOR ("decoder/layers_%u/encoder_decoder_attention/key/kernel", i),
        TENSOR ("decoder/layers_%u/encoder_decoder_attention/value/kernel", i),
        NULL);
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
read_panel (const MatrixPlan *plan, guint index, gfloat *panel, gfloat *scratch)
{
  gsize first = (gsize) index * MT3_PANEL, end = first + MT3_PANEL;
  gsize start = 0; /* column of the matrix where a source begins */

  if (plan->interleave) {
    for (guint i = 0; i < plan->n_sources; i++)
      read_columns (plan->sources[i], first / 2, MT3_PANEL / 2, panel,
          i * MT3_PANEL / 2, scratch);
    return;
  }
  memset (panel, 0, plan->matrix->n_rows * MT3_PANEL * sizeof (gfloat));
  for (guint i = 0; i < plan->n_sources; i++) {
    gsize width = plan->sources[i]->shape[1];
    gsize from = MAX (first, start), to = MIN (end, start + width);

    if (from < to)
      read_columns (plan->sources[i], from - start, to - from, panel,
          from - first, scratch);
    start += width;
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
    read_panel (plan, task.panel, (gfloat *) out, scratch);
    return;
  }
  read_panel (plan, task.panel, scratch, scratch + packer->scratch_floats / 2);
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
  weights->width = mt3_round_up (config->d_model, MT3_PANEL);
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
