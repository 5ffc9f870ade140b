/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * decoder.c: one step of the decoder for some rows, each with a history of
 * its own.
 */
#include "engine/cpu/parallel.h"

typedef struct {
  Mt3CpuForward *forward;
  const Mt3CpuDecoderRow *rows;
  guint layer;
  guint head_parts; /* tasks that the heads of a row are divided into */
} AttendTask;

/* The tiles of one head of a row. */
static Mt3KeyValues
self_key_values (const AttendTask *task, gsize row, gsize head)
{
  const Mt3CpuForward *forward = task->forward;
  const Mt3Config *config = &forward->config;
  gsize tile = task->layer * config->n_heads + head;

  return (Mt3KeyValues){forward->kv_type, config->head_dim,
      config->decoder_layers * config->n_heads * forward->kv_tile_bytes,
      (guint8 *) task->rows[row].self + tile * forward->kv_tile_bytes};
}

static void
attend_self (gpointer data, gsize i, gsize thread)
{
  const AttendTask *task = data;
  const Mt3CpuForward *forward = task->forward;
  const Mt3Config *config = &forward->config;
  gsize row = i / task->head_parts, part = i % task->head_parts;
  gsize end = config->n_heads * (part + 1) / task->head_parts;
  gsize inner = mt3_config_inner (config), position = task->rows[row].position;

  for (gsize head = config->n_heads * part / task->head_parts; head < end;
       head++) {
    gsize column = head * config->head_dim;
    const gfloat *query = mt3_row (&forward->qkv, row) + column;
    Mt3KeyValues kv = self_key_values (task, row, head);
    Mt3KeyValues next = self_key_values (task, row, MIN (head + 1, end - 1));
    Mt3Attention attention = {&kv, next.tiles, position + 1, query, 0,
        mt3_row (&forward->attended, row) + column, 0};

    forward->kernels->put_key_values (
        &kv, position, 1, query + inner, query + 2 * inner, 0);
    forward->kernels->attend (
        &attention, 0, 1, mt3_cpu_scratch (forward, thread));
  }
}

/* The heads are the rows of queries here: all look at the same frames. */
static void
attend_cross (gpointer data, gsize i, gsize thread)
{
  const AttendTask *task = data;
  const Mt3CpuForward *forward = task->forward;
  const Mt3Config *config = &forward->config;
  gsize row = i / task->head_parts, part = i % task->head_parts;
  gsize first = config->n_heads * part / task->head_parts;
  gsize end = config->n_heads * (part + 1) / task->head_parts;
  gsize width = forward->weights->width;
  Mt3RowAttention attention = {forward->kv_type, task->rows[row].cross,
      config->window_frames, width, mt3_row (&forward->queries, row), width,
      mt3_row (&forward->contexts, row), width};

  forward->kernels->attend_rows (
      &attention, first, end - first, mt3_cpu_scratch (forward, thread));
}

static void
run_attention (AttendTask *task, Mt3PoolFunc function, guint n_tasks)
{
  gint64 start = g_get_monotonic_time ();

  mt3_pool_run (task->forward->pool, function, task, n_tasks);
  task->forward->times.decoder_attention += g_get_monotonic_time () - start;
}

static void
decode_layer (
    Mt3CpuForward *forward, guint i, const Mt3CpuDecoderRow *rows, guint n)
{
  const Mt3CpuDecoderLayer *layer = &forward->weights->decoder[i];
  guint n_heads = forward->config.n_heads;
  guint n_threads = mt3_pool_n_threads (forward->pool);
  AttendTask task = {
      forward, rows, i, CLAMP ((n_threads + n - 1) / n, 1, n_heads)};

  mt3_cpu_norm (forward, layer->self_norm, n);
  mt3_cpu_multiply (
      forward, &layer->self_qkv, &forward->normed, &forward->qkv, n, MT3_STORE);
  run_attention (&task, attend_self, n * task.head_parts);
  mt3_cpu_multiply (
      forward, &layer->self_out, &forward->attended, &forward->x, n, MT3_ADD);

  mt3_cpu_norm (forward, layer->cross_norm, n);
  mt3_cpu_multiply (forward, &layer->cross_query, &forward->normed,
      &forward->qkv, n, MT3_STORE);
  mt3_cpu_multiply (forward, &layer->cross_key, &forward->qkv,
      &forward->queries, n, MT3_STORE);
  run_attention (&task, attend_cross, n * task.head_parts);
  mt3_cpu_multiply (forward, &layer->cross_value, &forward->contexts,
      &forward->attended, n, MT3_STORE);
  mt3_cpu_multiply (
      forward, &layer->cross_out, &forward->attended, &forward->x, n, MT3_ADD);

  mt3_cpu_norm (forward, layer->mlp_norm, n);
  mt3_cpu_multiply (
      forward, &layer->gate, &forward->normed, &forward->gated, n, MT3_GATE);
  mt3_cpu_multiply (
      forward, &layer->down, &forward->gated, &forward->x, n, MT3_ADD);
}

static void
embed (Mt3CpuForward *forward, const Mt3CpuDecoderRow *row, gfloat *x)
{
  gsize width = forward->weights->width;
  const gfloat *token = forward->weights->embedding + row->token * width;
  const gfloat *position = forward->positions + row->position * width;

  for (gsize i = 0; i < width; i++)
    x[i] = token[i] + position[i];
}

void
mt3_cpu_forward_step (
    Mt3CpuForward *forward, const Mt3CpuDecoderRow *rows, guint n_rows)
{
  const Mt3CpuWeights *weights = forward->weights;
  gint64 start = g_get_monotonic_time ();

  for (guint i = 0; i < n_rows; i++)
    embed (forward, &rows[i], mt3_row (&forward->x, i));
  for (guint i = 0; i < weights->n_decoder_layers; i++)
    decode_layer (forward, i, rows, n_rows);
  mt3_cpu_norm (forward, weights->decoder_norm, n_rows);
  mt3_cpu_multiply (forward, &weights->logits, &forward->normed,
      &forward->logits, n_rows, MT3_STORE);
  forward->times.decoder += g_get_monotonic_time () - start;
  forward->times.decoder_steps++;
}
