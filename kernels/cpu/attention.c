/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * attention.c: keys and values in tiles, and queries against them.
 */
#include "panel.h"

ALWAYS_INLINE void *
tile_keys (const Mt3KeyValues *kv, size_t tile)
{
  return (char *) kv->tiles + tile * kv->tile_bytes;
}

ALWAYS_INLINE void *
tile_values (
    const Mt3KeyValues *kv, Mt3PanelType type, size_t tile, size_t panel)
{
  return (char *) tile_keys (kv, tile) + mt3_panel_bytes (type, kv->head_dim) +
         panel * mt3_panel_bytes (type, MT3_PANEL);
}

ALWAYS_INLINE void
put_number (Mt3PanelType type, void *panel, size_t i, float number)
{
  if (type == MT3_PANEL_F16)
    ((uint16_t *) panel)[i] = f16_from_float (number);
  else
    ((float *) panel)[i] = number;
}

/* Tokens of one tile. Keys turn: a panel's columns are tokens. */
ALWAYS_INLINE void
put_in_tile (Mt3PanelType type, const Mt3KeyValues *kv, size_t token, size_t n,
    const float *keys, const float *values, size_t stride)
{
  size_t tile = token / MT3_PANEL, column = token % MT3_PANEL;

  for (size_t d = 0; d < kv->head_dim; d++)
    for (size_t i = 0; i < n; i++)
      put_number (type, tile_keys (kv, tile), d * MT3_PANEL + column + i,
          keys[i * stride + d]);
  for (size_t i = 0; i < n; i++)
    for (size_t d = 0; d < kv->head_dim; d++)
      put_number (type, tile_values (kv, type, tile, d / MT3_PANEL),
          (column + i) * MT3_PANEL + d % MT3_PANEL, values[i * stride + d]);
}

static void
put_key_values (const Mt3KeyValues *kv, size_t token, size_t n,
    const float *keys, const float *values, size_t stride)
{
  for (size_t done = 0; done < n;) {
    size_t left = n - done, space = MT3_PANEL - (token + done) % MT3_PANEL;
    size_t part = left < space ? left : space;
    const float *part_keys = keys + done * stride;
    const float *part_values = values + done * stride;

    if (kv->type == MT3_PANEL_F16)
      put_in_tile (MT3_PANEL_F16, kv, token + done, part, part_keys,
          part_values, stride);
    else
      put_in_tile (MT3_PANEL_F32, kv, token + done, part, part_keys,
          part_values, stride);
    done += part;
  }
}

static void
put_row (Mt3PanelType type, const float *in, size_t n, void *out)
{
  for (size_t i = 0; i < n; i++)
    put_number (type, out, i, in[i]);
}

/* scores[r][token] = q[r] . key[token], whole tiles of tokens */
ALWAYS_INLINE void
score_tile (const int n_rows, Mt3PanelType type, const Mt3Attention *attention,
    size_t row, size_t stride, float *scores)
{
  const Mt3KeyValues *kv = attention->key_values;
  const float *queries = attention->queries + row * attention->query_stride;
  size_t n_tiles = stride / MT3_PANEL;

  for (size_t t = 0; t < n_tiles; t++) {
    v16 tile[V16_TILE_ROWS][2];

    tile_clear (n_rows, tile);
    panel_accumulate (n_rows, tile, type, queries, attention->query_stride,
        tile_keys (kv, t), kv->head_dim);
    tile_store (n_rows, tile, scores + t * MT3_PANEL, stride);
  }
}

/* sums[r] = weights[r] x values, for the head dimensions of one panel */
ALWAYS_INLINE void
weigh_tile (const int n_rows, Mt3PanelType type, const Mt3Attention *attention,
    size_t panel, const float *weights, size_t stride, float *sums)
{
  const Mt3KeyValues *kv = attention->key_values;
  size_t n_tokens = attention->n_tokens;
  v16 tile[V16_TILE_ROWS][2];

  tile_clear (n_rows, tile);
  for (size_t t = 0; t < n_tokens; t += MT3_PANEL)
    panel_accumulate (n_rows, tile, type, weights + t, stride,
        tile_values (kv, type, t / MT3_PANEL, panel),
        n_tokens - t < MT3_PANEL ? n_tokens - t : MT3_PANEL);
  tile_store (n_rows, tile, sums, MT3_PANEL);
}

/* out = sums / total, @width of them; sums are whole panels */
static void
divide (const float *sums, float total, size_t width, float *out)
{
  for (size_t i = 0; i < width; i += V16_LANES) {
    float divided[V16_LANES];
    size_t n = width - i < V16_LANES ? width - i : V16_LANES;

    v16_store (divided, v16_div (v16_load (sums + i), v16_set (total)));
    memcpy (out + i, divided, n * sizeof (float));
  }
}

/* x = e^(x - max), sum returned; whole vectors are written. */
static float
exponentials (float *x, size_t n)
{
  v16 largest = v16_set (-INFINITY);
  v16 sum = v16_set (0.0f);

  for (size_t i = 0; i < n; i += V16_LANES) {
    v16 v = v16_load_n (x + i, n - i, -INFINITY);

    v16_store (x + i, v);
    largest = v16_max (largest, v);
  }
  largest = v16_set (v16_largest (largest));
  for (size_t i = 0; i < n; i += V16_LANES) {
    v16 e = v16_exp (v16_sub (v16_load (x + i), largest));

    v16_store (x + i, e);
    sum = v16_add (sum, e);
  }
  return v16_sum (sum);
}

static void
attend_tile (
    const Mt3Attention *attention, size_t row, size_t n_rows, float *scores)
{
  const Mt3KeyValues *kv = attention->key_values;
  size_t stride = mt3_round_up (attention->n_tokens, MT3_PANEL);
  float *out = attention->out + row * attention->out_stride;
  float totals[V16_TILE_ROWS] = {0}, sums[V16_TILE_ROWS * MT3_PANEL];

  if (kv->type == MT3_PANEL_F16)
    WITH_CONSTANT_ROWS (
        n_rows, score_tile, MT3_PANEL_F16, attention, row, stride, scores)
  else
    WITH_CONSTANT_ROWS (
        n_rows, score_tile, MT3_PANEL_F32, attention, row, stride, scores)

  for (size_t r = 0; r < n_rows; r++)
    totals[r] = exponentials (scores + r * stride, attention->n_tokens);

  for (size_t d = 0; d < kv->head_dim; d += MT3_PANEL) {
    size_t width = kv->head_dim - d < MT3_PANEL ? kv->head_dim - d : MT3_PANEL;

    if (kv->type == MT3_PANEL_F16)
      WITH_CONSTANT_ROWS (n_rows, weigh_tile, MT3_PANEL_F16, attention,
          d / MT3_PANEL, scores, stride, sums)
    else
      WITH_CONSTANT_ROWS (n_rows, weigh_tile, MT3_PANEL_F32, attention,
          d / MT3_PANEL, scores, stride, sums)
    for (size_t r = 0; r < n_rows; r++)
      divide (sums + r * MT3_PANEL, totals[r], width,
          out + r * attention->out_stride + d);
  }
}

static void
attend (
    const Mt3Attention *attention, size_t row, size_t n_rows, float *scratch)
{
  size_t n_tiles = (n_rows + V16_TILE_ROWS - 1) / V16_TILE_ROWS;

  for (size_t i = 0; i < n_tiles; i++) {
    size_t start = tile_start (n_rows, n_tiles, i);

    attend_tile (attention, row + start,
        tile_start (n_rows, n_tiles, i + 1) - start, scratch);
  }
}

/* Few rows of queries leave room for wide tiles. */
#define WIDE (MT3_ROW_WIDTH / V16_LANES)
#define WIDE_ROWS (V16_TILE_ROWS / 2)

/* What to fetch while the keys are read: the values, or, where they are the
 * same rows, the rows after those. */
ALWAYS_INLINE const char *
rows_ahead (const Mt3RowAttention *attention, Mt3PanelType type)
{
  size_t ahead =
      attention->keys == attention->values ? WIDE * attention->width : 0;

  return (const char *) attention->values +
         ahead * (type == MT3_PANEL_F16 ? 2 : 4);
}

ALWAYS_INLINE void
wide_clear (const int n_rows, v16 (*tile)[WIDE])
{
#pragma GCC unroll 16
  for (int r = 0; r < n_rows; r++)
    for (int j = 0; j < WIDE; j++)
      tile[r][j] = v16_set (0.0f);
}

/* scores[r][token + 0 .. 3]: products of query rows and rows of numbers, lane
 * by lane and then over the lanes. */
ALWAYS_INLINE void
score_four (const int n_rows, const Mt3RowAttention *attention,
    Mt3PanelType type, size_t row, size_t token, float *scores, size_t stride)
{
  const float *queries = attention->queries + row * attention->query_stride;
  size_t width = attention->width, last = attention->n_tokens - 1;
  const char *ahead = rows_ahead (attention, type);
  size_t first[WIDE];
  v16 tile[WIDE_ROWS][WIDE];

  /* Past the last token stands the last again. */
  for (size_t j = 0; j < WIDE; j++)
    first[j] = (token + j < last ? token + j : last) * width;
  wide_clear (n_rows, tile);
  for (size_t i = 0; i < width; i += V16_LANES) {
    v16 numbers[WIDE];

#pragma GCC unroll 4
    for (int j = 0; j < WIDE; j++) {
      __builtin_prefetch (
          ahead + (first[j] + i) * (type == MT3_PANEL_F16 ? 2 : 4));
      numbers[j] = panel_load (type, attention->keys, first[j] + i);
    }
#pragma GCC unroll 16
    for (int r = 0; r < n_rows; r++) {
      v16 query = v16_load (queries + r * attention->query_stride + i);

      V16_KEEP (query);
#pragma GCC unroll 4
      for (int j = 0; j < WIDE; j++)
        tile[r][j] = v16_fma (query, numbers[j], tile[r][j]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < n_rows; r++)
    for (int j = 0; j < WIDE; j++)
      scores[r * stride + token + j] = v16_sum (tile[r][j]);
}

ALWAYS_INLINE void
score_rows (const int n_rows, Mt3PanelType type,
    const Mt3RowAttention *attention, size_t row, size_t stride, float *scores)
{
  for (size_t t = 0; t < attention->n_tokens; t += WIDE)
    score_four (n_rows, attention, type, row, t, scores, stride);
}

/* sums[r] = weights[r] x values, for WIDE vectors of columns */
ALWAYS_INLINE void
weigh_rows (const int n_rows, Mt3PanelType type,
    const Mt3RowAttention *attention, size_t column, const float *weights,
    size_t stride, float *sums)
{
  v16 tile[WIDE_ROWS][WIDE];

  wide_clear (n_rows, tile);
  for (size_t t = 0; t < attention->n_tokens; t++) {
    v16 numbers[WIDE];

#pragma GCC unroll 4
    for (int j = 0; j < WIDE; j++)
      numbers[j] = panel_load (type, attention->values,
          t * attention->width + column + j * V16_LANES);
#pragma GCC unroll 16
    for (int r = 0; r < n_rows; r++) {
      v16 weight = v16_set (weights[r * stride + t]);

#pragma GCC unroll 4
      for (int j = 0; j < WIDE; j++)
        tile[r][j] = v16_fma (weight, numbers[j], tile[r][j]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < n_rows; r++)
    for (int j = 0; j < WIDE; j++)
      v16_store (sums + r * MT3_ROW_WIDTH + j * V16_LANES, tile[r][j]);
}

static void
attend_rows_tile (
    const Mt3RowAttention *attention, size_t row, size_t n_rows, float *scores)
{
  size_t stride = mt3_round_up (attention->n_tokens, MT3_PANEL);
  float *out = attention->out + row * attention->out_stride;
  float totals[WIDE_ROWS] = {0}, sums[WIDE_ROWS * MT3_ROW_WIDTH];

  if (attention->type == MT3_PANEL_F16)
    WITH_CONSTANT_FEW_ROWS (
        n_rows, score_rows, MT3_PANEL_F16, attention, row, stride, scores)
  else
    WITH_CONSTANT_FEW_ROWS (
        n_rows, score_rows, MT3_PANEL_F32, attention, row, stride, scores)

  for (size_t r = 0; r < n_rows; r++)
    totals[r] = exponentials (scores + r * stride, attention->n_tokens);

  for (size_t i = 0; i < attention->width; i += MT3_ROW_WIDTH) {
    if (attention->type == MT3_PANEL_F16)
      WITH_CONSTANT_FEW_ROWS (
          n_rows, weigh_rows, MT3_PANEL_F16, attention, i, scores, stride, sums)
    else
      WITH_CONSTANT_FEW_ROWS (
          n_rows, weigh_rows, MT3_PANEL_F32, attention, i, scores, stride, sums)
    for (size_t r = 0; r < n_rows; r++)
      divide (sums + r * MT3_ROW_WIDTH, totals[r], MT3_ROW_WIDTH,
          out + r * attention->out_stride + i);
  }
}

static void
attend_rows (
    const Mt3RowAttention *attention, size_t row, size_t n_rows, float *scratch)
{
  size_t n_tiles = (n_rows + WIDE_ROWS - 1) / WIDE_ROWS;

  for (size_t i = 0; i < n_tiles; i++) {
    size_t start = tile_start (n_rows, n_tiles, i);

    attend_rows_tile (attention, row + start,
        tile_start (n_rows, n_tiles, i + 1) - start, scratch);
  }
}
