/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * encoder.c: a window of audio to what the decoder reads of it.
 */
#include "engine/cpu/parallel.h"

#include <string.h>

/* Queries of one head that a task takes. */
#define QUERY_ROWS 48

typedef struct {
  Mt3CpuForward *forward;
  const gfloat *samples;
  guint n_frames;
} LogMelTask;

static void
log_mel_frames (gpointer data, gsize i, gsize thread)
{
  const LogMelTask *task = data;
  const Mt3CpuForward *forward = task->forward;
  gsize frame = i * MT3_LOG_MEL_FRAMES;

  forward->kernels->log_mel (forward->log_mel, task->samples,
      (gsize) task->n_frames * forward->config.hop_length, frame,
      MIN (task->n_frames - frame, MT3_LOG_MEL_FRAMES),
      mt3_row (&forward->normed, frame), forward->normed.stride,
      mt3_cpu_scratch (forward, thread));
}

/* Rows past the last frame are 0, not the logarithm's floor, and attention
 * does not mask them. */
void
mt3_cpu_forward_log_mel (
    Mt3CpuForward *forward, const gfloat *samples, guint n_frames)
{
  LogMelTask task = {forward, samples, n_frames};
  gint64 start = g_get_monotonic_time ();

  mt3_pool_run (forward->pool, log_mel_frames, &task,
      (n_frames + MT3_LOG_MEL_FRAMES - 1) / MT3_LOG_MEL_FRAMES);
  memset (mt3_row (&forward->normed, n_frames), 0,
      (forward->config.window_frames - n_frames) * forward->normed.stride *
          sizeof (gfloat));
  forward->times.log_mel += g_get_monotonic_time () - start;
}

typedef struct {
  Mt3CpuForward *forward;
  guint8 *tiles; /* [head][tile] */
  gsize keys; /* column of qkv where the keys begin; values follow */
  gsize n_tiles;
} KeepTask;

static Mt3KeyValues
head_key_values (const KeepTask *task, gsize head)
{
  const Mt3CpuForward *forward = task->forward;
  gsize tile_bytes = forward->kv_tile_bytes;

  return (Mt3KeyValues){forward->kv_type, forward->config.head_dim, tile_bytes,
      task->tiles + head * task->n_tiles * tile_bytes};
}

static void
keep_tile (gpointer data, gsize i, gsize thread)
{
  const KeepTask *task = data;
  const Mt3Config *config = &task->forward->config;
  gsize head = i % config->n_heads;
  gsize first = i / config->n_heads * MT3_PANEL;
  const gfloat *keys = mt3_row (&task->forward->qkv, first) + task->keys +
                       head * config->head_dim;
  Mt3KeyValues kv = head_key_values (task, head);

  task->forward->kernels->put_key_values (&kv, first,
      MIN (config->window_frames - first, MT3_PANEL), keys,
      keys + mt3_config_inner (config), task->forward->qkv.stride);
}

/* Tiles of the keys and values of all frames and heads, from qkv. */
static KeepTask
keep_key_values (Mt3CpuForward *forward, gsize keys, guint8 *tiles)
{
  KeepTask task = {forward, tiles, keys,
      mt3_round_up (forward->config.window_frames, MT3_PANEL) / MT3_PANEL};

  mt3_pool_run (
      forward->pool, keep_tile, &task, task.n_tiles * forward->config.n_heads);
  return task;
}

static void
attend_head (gpointer data, gsize i, gsize thread)
{
  const KeepTask *task = data;
  const Mt3CpuForward *forward = task->forward;
  const Mt3Config *config = &forward->config;
  gsize head = i % config->n_heads;
  gsize row = i / config->n_heads * QUERY_ROWS;
  gsize column = head * config->head_dim;
  Mt3KeyValues kv = head_key_values (task, head);
  Mt3Attention attention = {&kv, config->window_frames,
      forward->qkv.data + column, forward->qkv.stride,
      forward->attended.data + column, forward->attended.stride};

  forward->kernels->attend (&attention, row,
      MIN (config->window_frames - row, QUERY_ROWS),
      mt3_cpu_scratch (forward, thread));
}

static void
encode_layer (Mt3CpuForward *forward, const Mt3CpuEncoderLayer *layer)
{
  const Mt3Config *config = &forward->config;
  guint n = config->window_frames;
  gsize inner = mt3_config_inner (config);
  KeepTask kept;

  mt3_cpu_norm (forward, layer->attention_norm, n);
  mt3_cpu_multiply (
      forward, &layer->qkv, &forward->normed, &forward->qkv, n, MT3_STORE);
  kept = keep_key_values (forward, inner, forward->encoder_kv);
  mt3_pool_run (forward->pool, attend_head, &kept,
      config->n_heads * ((n + QUERY_ROWS - 1) / QUERY_ROWS));
  mt3_cpu_multiply (
      forward, &layer->out, &forward->attended, &forward->x, n, MT3_ADD);

  mt3_cpu_norm (forward, layer->mlp_norm, n);
  mt3_cpu_multiply (
      forward, &layer->gate, &forward->normed, &forward->gated, n, MT3_GATE);
  mt3_cpu_multiply (
      forward, &layer->down, &forward->gated, &forward->x, n, MT3_ADD);
}

void
mt3_cpu_forward_encode (Mt3CpuForward *forward)
{
  const Mt3CpuWeights *weights = forward->weights;
  guint n = forward->config.window_frames;
  gint64 start = g_get_monotonic_time ();

  for (guint i = 0; i < n; i++)
    memcpy (mt3_row (&forward->x, i), forward->positions + i * weights->width,
        weights->width * sizeof (gfloat));
  mt3_cpu_multiply (
      forward, &weights->input, &forward->normed, &forward->x, n, MT3_ADD);
  for (guint i = 0; i < weights->n_encoder_layers; i++)
    encode_layer (forward, &weights->encoder[i]);
  mt3_cpu_norm (forward, weights->encoder_norm, n);
  forward->times.encoder += g_get_monotonic_time () - start;
}

void
mt3_cpu_forward_cross (Mt3CpuForward *forward, gpointer cross)
{
  guint n = forward->config.window_frames;
  gsize row_bytes = mt3_cpu_forward_cross_bytes (forward) / n;
  gint64 start = g_get_monotonic_time ();

  for (guint i = 0; i < n; i++)
    forward->kernels->put_row (forward->kv_type, mt3_row (&forward->normed, i),
        forward->config.d_model, (guint8 *) cross + i * row_bytes);
  forward->times.cross += g_get_monotonic_time () - start;
}
