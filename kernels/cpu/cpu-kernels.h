/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * cpu-kernels.h: the arithmetic of MT3 on a CPU, one table of functions for
 * each instruction set.
 *
 * Two promises hold for every function. Each output element is computed by
 * one fixed chain of operations, so how the work is divided (rows, panels,
 * threads, batches) never changes a bit. And every instruction set gives the
 * same bits (see simd.h); bfloat16 alone is merely close.
 *
 * Matrices are row-major; strides count elements. Rows of activations are
 * padded with zeros to a whole number of panels.
 */
#pragma once

#include "log-mel.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Columns of a panel. */
#define MT3_PANEL 32

/* How the elements of a panel are stored. */
typedef enum {
  MT3_PANEL_F32,
  MT3_PANEL_F16,
  MT3_PANEL_BF16, /* rows in pairs: two neighbours of a column together */
} Mt3PanelType;

/**
 * Mt3Matrix:
 * @n_rows: the inputs (K)
 * @n_panels: the outputs, MT3_PANEL at a time
 * @panels: n_panels times [n_rows][MT3_PANEL]
 *
 * @n_blocks: more than 1 for a block-diagonal matrix, whose blocks have
 *   n_panels / n_blocks panels each
 * @block_stride: from the inputs of one block to those of the next
 *
 * A weight matrix, cut into panels of columns: the order in which the
 * multiplication reads it.
 */
typedef struct {
  Mt3PanelType type;
  size_t n_rows;
  size_t n_panels;
  const void *panels;
  size_t n_blocks;
  size_t block_stride;
} Mt3Matrix;

static inline size_t
mt3_round_up (size_t n, size_t multiple)
{
  return (n + multiple - 1) / multiple * multiple;
}

/* Bytes of a panel of n_rows rows. */
static inline size_t
mt3_panel_bytes (Mt3PanelType type, size_t n_rows)
{
  switch (type) {
    case MT3_PANEL_F32:
      return n_rows * MT3_PANEL * 4;
    case MT3_PANEL_F16:
      return n_rows * MT3_PANEL * 2;
    case MT3_PANEL_BF16:
      break;
  }
  return mt3_round_up (n_rows, 2) * MT3_PANEL * 2;
}

/* What becomes of a product. */
typedef enum {
  MT3_STORE, /* out = product */
  MT3_ADD, /* out += product: the residual */
  MT3_GATE, /* out = gelu (left half of the panel) * (right half): panels
               hold 16 columns of wi_0 beside 16 of wi_1, and half as many
               columns come out */
} Mt3Epilogue;

/**
 * Mt3Product:
 * @in: rows of floats; rows of bfloat16 (from to_bf16) when @matrix is BF16
 *
 * out = in x matrix, followed by the epilogue.
 */
typedef struct {
  const Mt3Matrix *matrix;
  Mt3Epilogue epilogue;
  const void *in;
  size_t in_stride;
  float *out;
  size_t out_stride;
} Mt3Product;

/**
 * Mt3KeyValues:
 *
 * The keys and values of one head, MT3_PANEL tokens to a tile: the keys as a
 * panel [head_dim][MT3_PANEL] (columns are tokens), then the values as panels
 * [MT3_PANEL][MT3_PANEL] (rows are tokens, columns head dimensions). So both
 * products of attention are products with panels too.
 *
 * @tile_bytes: distance from one tile to the next, at least
 *   mt3_key_value_tile_bytes()
 */
typedef struct {
  Mt3PanelType type; /* F32 or F16 */
  size_t head_dim;
  size_t tile_bytes;
  void *tiles;
} Mt3KeyValues;

static inline size_t
mt3_key_value_tile_bytes (Mt3PanelType type, size_t head_dim)
{
  return mt3_panel_bytes (type, head_dim) +
         mt3_round_up (head_dim, MT3_PANEL) / MT3_PANEL *
             mt3_panel_bytes (type, MT3_PANEL);
}

/* Queries of a window against its keys and values: many rows pass over them. */
typedef struct {
  const Mt3KeyValues *key_values;
  size_t n_tokens;
  const float *queries;
  size_t query_stride;
  float *out;
  size_t out_stride;
} Mt3Attention;

/**
 * Mt3RowAttention:
 * @keys, @values: n_tokens rows of @width numbers each, and they may be the
 *   same rows
 * @width: a multiple of MT3_ROW_WIDTH; keys and values hold zeros from the
 *   head's last dimension on, queries any finite numbers
 *
 * A few queries of a decoder step, which reads keys and values once: they lie
 * as they come, one token after the other.
 */
typedef struct {
  Mt3PanelType type; /* F32 or F16 */
  const void *keys;
  const void *values;
  size_t n_tokens;
  size_t width;
  const float *queries;
  size_t query_stride;
  float *out;
  size_t out_stride;
} Mt3RowAttention;

#define MT3_ROW_WIDTH 64

typedef struct {
  const char *name; /* "AVX-512" */
  bool fast_bf16; /* multiplies bfloat16 in hardware */
  size_t tile_rows; /* rows that a product computes at a time */

  /* Rows [row, row + n_rows) of panels [panel, panel + n_panels). */
  void (*multiply) (const Mt3Product *product, size_t row, size_t n_rows,
      size_t panel, size_t n_panels);

  /* Stores a panel [n_rows][MT3_PANEL] of floats as @type. */
  void (*pack_panel) (
      Mt3PanelType type, const float *in, size_t n_rows, void *out);

  /* n floats (rounded up to an even number of results) for a BF16 product */
  void (*to_bf16) (const float *in, size_t n, uint16_t *out);

  /* out = x / sqrt (mean (x^2) + 1e-6) * scale; x, scale and out hold zeros
   * from n to the next multiple of 16. */
  void (*rms_norm) (const float *x, const float *scale, size_t n, float *out);

  /* Stores the keys and values of n tokens, rows of @stride, from @token on. */
  void (*put_key_values) (const Mt3KeyValues *key_values, size_t token,
      size_t n, const float *keys, const float *values, size_t stride);

  /* out = softmax (q K) V, without scaling (MT3 folds it into q).
   * @scratch: mt3_attention_scratch() floats */
  void (*attend) (
      const Mt3Attention *attention, size_t row, size_t n_rows, float *scratch);

  /* Rows of plan->n_mels floats for frames [frame, frame + n_frames), at most
   * MT3_LOG_MEL_FRAMES, of @n_samples samples with zeros after them.
   * @scratch: mt3_log_mel_scratch() bytes */
  void (*log_mel) (const Mt3LogMel *plan, const float *samples,
      size_t n_samples, size_t frame, size_t n_frames, float *out,
      size_t out_stride, void *scratch);

  /* Stores n numbers as @type, for attend_rows(). */
  void (*put_row) (Mt3PanelType type, const float *in, size_t n, void *out);

  /* The same as attend() with rows. */
  void (*attend_rows) (const Mt3RowAttention *attention, size_t row,
      size_t n_rows, float *scratch);

  /* log (sum (e^x)); @largest: index of the first of the largest. */
  float (*log_sum_exp) (const float *x, size_t n, size_t *largest);
} Mt3CpuKernels;

/* Floats of scratch for attend(). */
size_t mt3_attention_scratch (const Mt3CpuKernels *kernels, size_t n_tokens);

/**
 * mt3_cpu_kernels:
 * @name: "scalar", "avx2", "avx512", "avx512bf16"; %NULL is the best that this
 *   CPU runs
 *
 * Returns: the table, or %NULL when this CPU or build cannot run @name.
 */
const Mt3CpuKernels *mt3_cpu_kernels (const char *name);
