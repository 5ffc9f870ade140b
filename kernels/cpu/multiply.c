/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * multiply.c: rows of activations times a packed matrix.
 */
#include "panel.h"

/* gelu (x), the form with tanh, as x / (1 + e^-2u) */
ALWAYS_INLINE v16
gelu (v16 x)
{
  const float sqrt_2_over_pi = 0.7978845608f;
  v16 cube = v16_mul (v16_mul (x, x), x);
  v16 u = v16_mul (
      v16_set (sqrt_2_over_pi), v16_fma (v16_set (0.044715f), cube, x));
  v16 e = v16_exp (v16_mul (v16_set (-2.0f), u));

  return v16_div (x, v16_add (v16_set (1.0f), e));
}

ALWAYS_INLINE void
finish_row (Mt3Epilogue epilogue, float *row, size_t panel, const float *sums)
{
  v16 left = v16_load (sums), right = v16_load (sums + HALF_PANEL);
  float *out = row + panel * MT3_PANEL;

  switch (epilogue) {
    case MT3_STORE:
      v16_store (out, left);
      v16_store (out + HALF_PANEL, right);
      break;
    case MT3_ADD:
      v16_store (out, v16_add (v16_load (out), left));
      v16_store (
          out + HALF_PANEL, v16_add (v16_load (out + HALF_PANEL), right));
      break;
    case MT3_GATE:
      v16_store (row + panel * HALF_PANEL, v16_mul (gelu (left), right));
      break;
  }
}

ALWAYS_INLINE const char *
matrix_panel (const Mt3Matrix *matrix, size_t panel)
{
  return (const char *) matrix->panels +
         panel * mt3_panel_bytes (matrix->type, matrix->n_rows);
}

/* The first input of a panel's block. */
ALWAYS_INLINE size_t
matrix_input (const Mt3Matrix *matrix, size_t panel)
{
  return matrix->n_blocks <= 1 ? 0
                               : panel / (matrix->n_panels / matrix->n_blocks) *
                                     matrix->block_stride;
}

/* To fetch for each row of a panel: more than this is much. */
#define DENSE_BYTES (CACHE_LINE / 4)

/* The sums of one tile, before the epilogue: [n_rows][MT3_PANEL]. */
ALWAYS_INLINE void
multiply_tile (const int n_rows, Mt3PanelType type, const Mt3Product *product,
    size_t row, size_t panel, Prefetch prefetch, float *sums)
{
  const Mt3Matrix *matrix = product->matrix;
  const char *weights = matrix_panel (matrix, panel);
  size_t stride = product->in_stride;
  size_t first = row * stride + matrix_input (matrix, panel);
  v16 tile[V16_TILE_ROWS][2];

  tile_clear (n_rows, tile);
  if (type == MT3_PANEL_BF16)
    panel_accumulate_bf16 (n_rows, tile, (const uint16_t *) product->in + first,
        stride, (const uint32_t *) weights, matrix->n_rows);
  else if (prefetch.n_bytes > matrix->n_rows * DENSE_BYTES)
    panel_accumulate_dense (n_rows, tile, type,
        (const float *) product->in + first, stride, weights, matrix->n_rows,
        prefetch);
  else
    panel_accumulate_sparse (n_rows, tile, type,
        (const float *) product->in + first, stride, weights, matrix->n_rows,
        prefetch);
  tile_store (n_rows, tile, sums, MT3_PANEL);
}

typedef void (*TileFunc) (const Mt3Product *product, size_t row, size_t n_rows,
    size_t panel, Prefetch prefetch, float *sums);

static void
multiply_tile_f32 (const Mt3Product *product, size_t row, size_t n_rows,
    size_t panel, Prefetch prefetch, float *sums)
{
  WITH_CONSTANT_ROWS (
      n_rows, multiply_tile, MT3_PANEL_F32, product, row, panel, prefetch, sums)
}

static void
multiply_tile_f16 (const Mt3Product *product, size_t row, size_t n_rows,
    size_t panel, Prefetch prefetch, float *sums)
{
  WITH_CONSTANT_ROWS (
      n_rows, multiply_tile, MT3_PANEL_F16, product, row, panel, prefetch, sums)
}

static void
multiply_tile_bf16 (const Mt3Product *product, size_t row, size_t n_rows,
    size_t panel, Prefetch prefetch, float *sums)
{
  WITH_CONSTANT_ROWS (n_rows, multiply_tile, MT3_PANEL_BF16, product, row,
      panel, prefetch, sums)
}

static void
multiply (const Mt3Product *product, size_t row, size_t n_rows, size_t panel,
    size_t n_panels)
{
  static const TileFunc tile_funcs[] = {
      [MT3_PANEL_F32] = multiply_tile_f32,
      [MT3_PANEL_F16] = multiply_tile_f16,
      [MT3_PANEL_BF16] = multiply_tile_bf16,
  };
  const Mt3Matrix *matrix = product->matrix;
  TileFunc tile_func = tile_funcs[matrix->type];
  size_t bytes = mt3_panel_bytes (matrix->type, matrix->n_rows);
  size_t n_tiles = (n_rows + V16_TILE_ROWS - 1) / V16_TILE_ROWS;

  /* A panel stays in the second-level cache while all rows pass over it, and
   * the next one arrives there meanwhile. */
  for (size_t p = panel; p < panel + n_panels; p++)
    for (size_t i = 0; i < n_tiles; i++) {
      size_t start = row + tile_start (n_rows, n_tiles, i);
      size_t end = row + tile_start (n_rows, n_tiles, i + 1);
      Prefetch prefetch = no_prefetch;
      float sums[V16_TILE_ROWS * MT3_PANEL];

      if (p + 1 < panel + n_panels)
        prefetch =
            (Prefetch){matrix_panel (matrix, p + 1) + bytes * i / n_tiles,
                bytes / n_tiles};
      tile_func (product, start, end - start, p, prefetch, sums);
      for (size_t r = start; r < end; r++)
        finish_row (product->epilogue, product->out + r * product->out_stride,
            p, sums + (r - start) * MT3_PANEL);
    }
}

static void
to_bf16 (const float *in, size_t n, uint16_t *out)
{
  for (size_t i = 0; i < n; i++)
    out[i] = bf16_from_float (in[i]);
  if (n % 2 != 0)
    out[n] = 0;
}

static void
pack_panel (Mt3PanelType type, const float *in, size_t n_rows, void *out)
{
  uint16_t *half = out;

  switch (type) {
    case MT3_PANEL_F32:
      memcpy (out, in, mt3_panel_bytes (type, n_rows));
      break;
    case MT3_PANEL_F16:
      for (size_t i = 0; i < n_rows * MT3_PANEL; i += V16_LANES)
        v16_store_f16 (half + i, v16_load (in + i));
      break;
    case MT3_PANEL_BF16:
      memset (out, 0, mt3_panel_bytes (type, n_rows));
      for (size_t k = 0; k < n_rows; k++)
        for (size_t j = 0; j < MT3_PANEL; j++)
          half[(k / 2 * MT3_PANEL + j) * 2 + k % 2] =
              bf16_from_float (in[k * MT3_PANEL + j]);
      break;
  }
}
