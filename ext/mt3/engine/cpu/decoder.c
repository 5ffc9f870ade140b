/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * decoder.c: one step of the decoder for some rows, each with a history of
 * its own.
 */
#include "engine/cpu/parallel.h"

#include <string.h>

typedef struct {
  Mt3CpuForward *forward;
  const Mt3CpuDecoderRow *rows;
  guint layer;
  guint head_parts; /* tasks that the heads of a row are divided into */
} AttendTask;

static void
attend_self_head (const AttendTask *task, gsize row, gsize head, gsize thread)
{
  const Mt3CpuForward *forward = task->forward;
  const Mt3Config *config = &forward->config;
  gsize n_heads = config->n_heads, inner = mt3_config_inner (config);
  gsize head_bytes =
      mt3_cpu_forward_self_bytes (forward) / (config->decoder_layers * n_heads);
  gsize position = task->rows[row].position;
  guint8 *keys = (guint8 *) task->rows[row].self +
                 (task->layer * n_heads + head) * head_bytes;
  guint8 *values = keys + head_bytes / 2;
  gsize here = position * (head_bytes / 2 / config->max_tokens);
  const gfloat *query = mt3_row (&forward->qkv, row) + head * config->head_dim;
  Mt3RowAttention attention = {forward->kv_type, keys, values, position + 1,
      forward->head_width, query, 0,
      mt3_row (&forward->attended, row) + head * forward->head_width, 0};

  forward->kernels->put_row (
      forward->kv_type, query + inner, config->head_dim, keys + here);
  forward->kernels->put_row (
      forward->kv_type, query + 2 * inner, config->head_dim, values + here);
  forward->kernels->attend_rows (
      &attention, 0, 1, mt3_cpu_scratch (forward, thread));
}

static void
attend_self (gpointer data, gsize i, gsize thread)
{
  const AttendTask *task = data;
  gsize n_heads = task->forward->config.n_heads;
  gsize row = i / task->head_parts, part = i % task->head_parts;
  gsize end = n_heads * (part + 1) / task->head_parts;

  for (gsize head = n_heads * part / task->head_parts; head < end; head++)
    attend_self_head (task, row, head, thread);
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
      task->rows[row].cross, config->window_frames, width,
      mt3_row (&forward->queries, row), width,
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

void
mt3_cpu_forward_copy_tokens (const Mt3CpuForward *forward, gconstpointer from,
    gpointer to, guint first, guint end)
{
  const Mt3Config *config = &forward->config;
  gsize n_parts = 2 * config->n_heads * config->decoder_layers;
  gsize part_bytes = mt3_cpu_forward_self_bytes (forward) / n_parts;
  gsize token_bytes = part_bytes / config->max_tokens;

  for (gsize part = 0; part < n_parts; part++) {
    gsize start = part * part_bytes + first * token_bytes;

    memcpy ((guint8 *) to + start, (const guint8 *) from + start,
        (end - first) * token_bytes);
  }
}
