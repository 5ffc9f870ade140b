/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * forward.h: MT3's forward pass on the threads of a pool: a window of audio
 * to keys and values (the encoder), and rows of tokens to logits (a step of
 * the decoder).
 *
 * Activations are rows of floats, padded with zeros to a whole panel; what a
 * row becomes never depends on the other rows, nor on the threads.
 */
#pragma once

#include "engine/cpu/weights.h"

G_BEGIN_DECLS

/* Rows of activations. */
typedef struct {
  gfloat *data;
  gsize stride;
} Mt3Rows;

static inline gfloat *
mt3_row (const Mt3Rows *rows, gsize i)
{
  return rows->data + i * rows->stride;
}

/* Where the time goes, in microseconds since the backend opened. */
typedef struct {
  guint64 log_mel;
  guint64 encoder;
  guint64 cross;
  guint64 decoder;
  guint64 decoder_attention; /* part of decoder */
  guint64 decoder_steps;
  guint64 open; /* packing the weights */
} Mt3CpuTimes;

/**
 * Mt3CpuForward:
 *
 * Weights, kernels, threads and scratch memory. Rows are used by one call at
 * a time: up to window_frames of them by the encoder, n_slots by the decoder.
 */
typedef struct {
  Mt3Config config;
  const Mt3CpuKernels *kernels;
  Mt3Pool *pool;
  Mt3CpuWeights *weights;
  Mt3LogMel *log_mel;
  Mt3PanelType kv_type;
  gsize kv_tile_bytes; /* of a head of the encoder */
  gsize head_width; /* of a head in the decoder: whole MT3_ROW_WIDTHs */

  gfloat *positions; /* sinusoids [max (window_frames, max_tokens)][width] */
  Mt3Rows x; /* residual */
  Mt3Rows normed;
  Mt3Rows qkv;
  Mt3Rows attended;
  Mt3Rows queries; /* of cross-attention, [head][width] */
  Mt3Rows contexts; /* what they found */
  Mt3Rows gated;
  Mt3Rows logits;
  guint16 *halves; /* a product's input as bfloat16 */
  guint8 *encoder_kv; /* of one layer: [head][tile] */
  guint8 *scratch; /* [thread][scratch_bytes] */
  gsize scratch_bytes;
  gpointer memory; /* everything above points into it */
  gsize n_bytes;

  Mt3CpuTimes times;
} Mt3CpuForward;

/**
 * mt3_cpu_forward_new:
 * @n_rows: of the decoder
 */
Mt3CpuForward *mt3_cpu_forward_new (const Mt3Model *model,
    Mt3Precision precision, const Mt3CpuKernels *kernels, guint n_threads,
    guint n_rows, GError **error);
void mt3_cpu_forward_free (Mt3CpuForward *forward);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Mt3CpuForward, mt3_cpu_forward_free)

/* Bytes that the decoder reads of a window: the encoder's output as rows of
 * width numbers, keys and values at once (see weights.c). */
gsize mt3_cpu_forward_cross_bytes (const Mt3CpuForward *forward);

/* Bytes of the self-attention keys and values of max_tokens tokens,
 * [layer][head][keys, values][token][head_width]. Zeros at first. */
gsize mt3_cpu_forward_self_bytes (const Mt3CpuForward *forward);

/* The stages of a window: log-mel into normed, from there the encoder's output
 * into normed again, from there rows to @cross. */
void mt3_cpu_forward_log_mel (
    Mt3CpuForward *forward, const gfloat *samples, guint n_frames);
void mt3_cpu_forward_encode (Mt3CpuForward *forward);
void mt3_cpu_forward_cross (Mt3CpuForward *forward, gpointer cross);

/* Copies the keys and values of the tokens at the positions from @first on and
 * before @end. */
void mt3_cpu_forward_copy_tokens (const Mt3CpuForward *forward,
    gconstpointer from, gpointer to, guint first, guint end);

/* One row of a decoder step. */
typedef struct {
  guint token; /* decoder input */
  guint position; /* tokens before it, whose keys and values @self holds */
  gpointer self;
  gpointer cross;
} Mt3CpuDecoderRow;

/* One step: row i of logits is for rows[i]. */
void mt3_cpu_forward_step (
    Mt3CpuForward *forward, const Mt3CpuDecoderRow *rows, guint n_rows);

G_END_DECLS
