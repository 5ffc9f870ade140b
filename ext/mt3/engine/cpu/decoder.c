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
} AttendTask;

static void
attend (const Mt3CpuForward *forward, const Mt3KeyValues *kv, gsize n_tokens,
    gsize row, gsize head, gsize thread)
{
  gsize column = head * forward->config.head_dim;
  Mt3Attention attention = {kv, n_tokens, mt3_row (&forward->qkv, row) + column,
      forward->qkv.stride, mt3_row (&forward->attended, row) + column,
      forward->attended.stride};

  forward->kernels->attend (
      &attention, 0, 1, mt3_cpu_scratch (forward, thread));
}

static void
attend_self (gpointer data, gsize i, gsize thread)
{
  const AttendTask *task = data;
  const Mt3CpuForward *forward = task->forward;
  const Mt3Config *config = &forward->config;
  gsize row = i / config->n_heads, head = i % config->n_heads;
  gsize n_tiles_a_token = config->decoder_layers * config->n_heads;
  gsize tile = task->layer * config->n_heads + head;
  gsize inner = mt3_config_inner (config);
  const gfloat *key =
      mt3_row (&forward->qkv, row) + inner + head * config->head_dim;
  const Mt3CpuDecoderRow *decoder_row = &task->rows[row];
  Mt3KeyValues kv = {forward->kv_type, config->head_dim,
      n_tiles_a_token * forward->kv_tile_bytes,
      (guint8 *) decoder_row->self + tile * forward->kv_tile_bytes};

  forward->kernels->put_key_value (
      &kv, decoder_row->position, key, key + inner);
  attend (forward, &kv, decoder_row->position + 1, row, head, thread);
}

static void
attend_cross (gpointer data, gsize i, gsize thread)
{
  const AttendTask *task = data;
  const Mt3CpuForward *forward = task->forward;
  const Mt3Config *config = &forward->config;
  gsize row = i / config->n_heads, head = i % config->n_heads;
  gsize head_bytes = mt3_cpu_forward_cross_bytes (forward) /
                     config->decoder_layers / config->n_heads;
  Mt3KeyValues kv = {forward->kv_type, config->head_dim, forward->kv_tile_bytes,
      (guint8 *) task->rows[row].cross +
          (task->layer * config->n_heads + head) * head_bytes};

  attend (forward, &kv, config->window_frames, row, head, thread);
}

static void
run_attention (AttendTask *task, Mt3PoolFunc function, guint n_rows)
{
  Mt3CpuForward *forward = task->forward;
  gint64 start = g_get_monotonic_time ();

  mt3_pool_run (
      forward->pool, function, task, n_rows * forward->config.n_heads);
  forward->times.decoder_attention += g_get_monotonic_time () - start;
}

static void
decode_layer (
    Mt3CpuForward *forward, guint i, const Mt3CpuDecoderRow *rows, guint n)
{
  const Mt3CpuDecoderLayer *layer = &forward->weights->decoder[i];
  AttendTask task = {forward, rows, i};

  mt3_cpu_norm (forward, layer->self_norm, n);
  mt3_cpu_multiply (
      forward, &layer->self_qkv, &forward->normed, &forward->qkv, n, MT3_STORE);
  run_attention (&task, attend_self, n);
  mt3_cpu_multiply (
      forward, &layer->self_out, &forward->attended, &forward->x, n, MT3_ADD);

  mt3_cpu_norm (forward, layer->cross_norm, n);
  mt3_cpu_multiply (forward, &layer->cross_query, &forward->normed,
      &forward->qkv, n, MT3_STORE);
  run_attention (&task, attend_cross, n);
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
