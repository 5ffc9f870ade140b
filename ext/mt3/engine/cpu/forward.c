/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * forward.c: memory and tables of the forward pass.
 */
#include "engine/cpu/forward.h"

#include <math.h>

#include "engine/cpu/memory.h"
#include "error.h"

#define ALIGNMENT 64
#define LONGEST_WAVE 10000.0

/* Rows apart by an odd number of cache lines: those of one tile then fall
 * into different sets of the first-level cache. */
static gsize
row_stride (gsize width)
{
  return mt3_round_up (width, MT3_ROW_WIDTH) + MT3_PANEL / 2;
}

static gsize
n_tiles (gsize n_tokens)
{
  return mt3_round_up (n_tokens, MT3_PANEL) / MT3_PANEL;
}

gsize
mt3_cpu_forward_cross_bytes (const Mt3CpuForward *forward)
{
  return mt3_panel_bytes (forward->kv_type, forward->weights->width) /
         MT3_PANEL * forward->config.window_frames;
}

gsize
mt3_cpu_forward_self_bytes (const Mt3CpuForward *forward)
{
  const Mt3Config *config = &forward->config;

  return mt3_panel_bytes (forward->kv_type, forward->head_width) / MT3_PANEL *
         config->max_tokens * 2 * config->n_heads * config->decoder_layers;
}

/* Position i: sines of i over wavelengths from 2 pi to 10000 * 2 pi in the
 * first half of a row, cosines in the second (d/2 - 1 steps between them). */
static void
fill_positions (Mt3CpuForward *forward, gsize n)
{
  guint half = forward->config.d_model / 2;

  for (gsize i = 0; i < n; i++)
    for (guint j = 0; j < half; j++) {
      gdouble rate = exp (-log (LONGEST_WAVE) / MAX (half - 1, 1) * j);
      gfloat *row = forward->positions + i * forward->weights->width;

      row[j] = sin ((gdouble) i * rate);
      row[half + j] = cos ((gdouble) i * rate);
    }
}

/* Assigns the scratch memory; sizes only while @memory is NULL. */
static gsize
lay_out (Mt3CpuForward *forward, guint8 *memory, gsize n_rows)
{
  const Mt3Config *config = &forward->config;
  gsize n_positions = MAX (config->window_frames, config->max_tokens);
  gsize most_rows = MAX (n_rows, config->window_frames);
  gsize inner = mt3_config_inner (config);
  gsize d_ff = MAX (config->encoder_d_ff, config->decoder_d_ff);
  gsize widest = MAX (MAX (config->d_model, config->n_mels),
      MAX (MAX (inner, d_ff), config->vocab_size));
  gsize absorbed = config->n_heads * forward->weights->width;
  gsize used = 0;

#define TAKE(pointer, bytes)                                                   \
  G_STMT_START                                                                 \
  {                                                                            \
    (pointer) = memory != NULL ? (gpointer) (memory + used) : NULL;            \
    used += mt3_round_up (bytes, ALIGNMENT);                                   \
  }                                                                            \
  G_STMT_END
#define TAKE_ROWS(rows, n, width)                                              \
  G_STMT_START                                                                 \
  {                                                                            \
    (rows).stride = row_stride (width);                                        \
    TAKE ((rows).data, (n) * (rows).stride * sizeof (gfloat));                 \
  }                                                                            \
  G_STMT_END

  TAKE (forward->positions,
      n_positions * forward->weights->width * sizeof (gfloat));
  TAKE_ROWS (forward->x, most_rows, config->d_model);
  TAKE_ROWS (forward->normed, most_rows, MAX (config->d_model, config->n_mels));
  TAKE_ROWS (forward->qkv, most_rows, 3 * inner);
  TAKE_ROWS (
      forward->attended, most_rows, config->n_heads * forward->head_width);
  TAKE_ROWS (forward->queries, n_rows, absorbed);
  TAKE_ROWS (forward->contexts, n_rows, absorbed);
  TAKE_ROWS (forward->gated, most_rows, d_ff);
  TAKE_ROWS (forward->logits, n_rows, config->vocab_size);
  TAKE (forward->halves,
      sizeof (guint16) *
          MAX (most_rows * (widest + 1), n_rows * forward->queries.stride));
  TAKE (forward->encoder_kv, config->n_heads * forward->kv_tile_bytes *
                                 n_tiles (config->window_frames));
  forward->scratch_bytes =
      mt3_round_up (MAX (mt3_log_mel_scratch (forward->log_mel),
                        sizeof (gfloat) * mt3_attention_scratch (
                                              forward->kernels, n_positions)),
          ALIGNMENT);
  TAKE (forward->scratch,
      mt3_pool_n_threads (forward->pool) * forward->scratch_bytes);
#undef TAKE_ROWS
#undef TAKE
  return used;
}

static gboolean
make_tables (Mt3CpuForward *forward, guint n_rows, GError **error)
{
  const Mt3Config *config = &forward->config;

  forward->log_mel = mt3_log_mel_new (config->sample_rate, config->hop_length,
      config->fft_length, config->n_mels, config->mel_low_hz,
      config->mel_high_hz);
  if (forward->log_mel == NULL) {
    g_set_error_literal (error, MT3_ERROR, MT3_ERROR_MEMORY,
        "Not enough memory for the tables of the front end");
    return FALSE;
  }
  forward->n_bytes = lay_out (forward, NULL, n_rows);
  forward->memory = mt3_memory_new (
      forward->n_bytes, MT3_PAGES_HUGE, "the CPU engine's scratch", error);
  if (forward->memory == NULL)
    return FALSE;
  lay_out (forward, forward->memory, n_rows);
  fill_positions (forward, MAX (config->window_frames, config->max_tokens));
  return TRUE;
}

static gboolean
check_config (const Mt3Config *config, GError **error)
{
  guint n = config->fft_length;

  if (n < 8 || (n & (n - 1)) != 0) {
    g_set_error (error, MT3_ERROR, MT3_ERROR_UNSUPPORTED,
        "The model's fft_length is %u: the CPU engine needs a power of two", n);
    return FALSE;
  }
  return TRUE;
}

Mt3CpuForward *
mt3_cpu_forward_new (const Mt3Model *model, Mt3Precision precision,
    const Mt3CpuKernels *kernels, guint n_threads, guint n_rows, GError **error)
{
  g_autoptr (Mt3CpuForward) forward = g_new0 (Mt3CpuForward, 1);
  gint64 start = g_get_monotonic_time ();

  forward->config = *mt3_model_config (model);
  forward->kernels = kernels;
  forward->kv_type =
      precision == MT3_PRECISION_EXACT ? MT3_PANEL_F32 : MT3_PANEL_F16;
  forward->kv_tile_bytes =
      mt3_key_value_tile_bytes (forward->kv_type, forward->config.head_dim);
  forward->head_width = mt3_round_up (forward->config.head_dim, MT3_ROW_WIDTH);
  if (!check_config (&forward->config, error))
    return NULL;

  forward->pool = mt3_pool_new (n_threads);
  if (forward->pool == NULL) {
    g_set_error (error, MT3_ERROR, MT3_ERROR_MEMORY,
        "Cannot start %u threads: use fewer", n_threads);
    return NULL;
  }
  forward->weights =
      mt3_cpu_weights_new (model, precision, kernels, forward->pool, error);
  if (forward->weights == NULL || !make_tables (forward, n_rows, error))
    return NULL;
  forward->times.open = g_get_monotonic_time () - start;
  return g_steal_pointer (&forward);
}

void
mt3_cpu_forward_free (Mt3CpuForward *forward)
{
  if (forward == NULL)
    return;
  mt3_memory_free (forward->memory, forward->n_bytes);
  mt3_log_mel_free (forward->log_mel);
  mt3_cpu_weights_free (forward->weights);
  mt3_pool_free (forward->pool);
  g_free (forward);
}
