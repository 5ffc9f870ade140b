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

static void
put_key_value (
    const Mt3KeyValues *kv, size_t token, const float *key, const float *value)
{
  size_t tile = token / MT3_PANEL, column = token % MT3_PANEL;

  for (size_t d = 0; d < kv->head_dim; d++) {
    void *keys = tile_keys (kv, tile);
    void *values = tile_values (kv, kv->type, tile, d / MT3_PANEL);
    size_t key_index = d * MT3_PANEL + column;
    size_t value_index = column * MT3_PANEL + d % MT3_PANEL;

    if (kv->type == MT3_PANEL_F16) {
      ((uint16_t *) keys)[key_index] = f16_from_float (key[d]);
      ((uint16_t *) values)[value_index] = f16_from_float (value[d]);
    } else {
      ((float *) keys)[key_index] = key[d];
      ((float *) values)[value_index] = value[d];
    }
  }
}

/* A decoder step reads keys and values once, from far away; the rows of a
 * window pass over those again and again. (Past the last tile this fetches
 * something useless, or nothing.) */
ALWAYS_INLINE Prefetch
prefetch_next (const int n_rows, const void *panel, size_t bytes, size_t k)
{
  return n_rows == 1 ? prefetch_part (panel, bytes, k, 0, 1) : no_prefetch;
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
        tile_keys (kv, t), kv->head_dim,
        prefetch_next (n_rows, tile_keys (kv, t + 1),
            mt3_panel_bytes (type, kv->head_dim), kv->head_dim));
    tile_store (n_rows, tile, scores + t * MT3_PANEL, stride);
  }
}

/* sums[r] = weights[r] x values, for the head dimensions of one panel */
ALWAYS_INLINE void
weigh_tile (const int n_rows, Mt3PanelType type, const Mt3KeyValues *kv,
    size_t panel, size_t n_tokens, const float *weights, size_t stride,
    float *sums)
{
  v16 tile[V16_TILE_ROWS][2];

  tile_clear (n_rows, tile);
  for (size_t t = 0; t < n_tokens; t += MT3_PANEL)
    panel_accumulate (n_rows, tile, type, weights + t, stride,
        tile_values (kv, type, t / MT3_PANEL, panel),
        n_tokens - t < MT3_PANEL ? n_tokens - t : MT3_PANEL,
        prefetch_next (n_rows, tile_values (kv, type, t / MT3_PANEL + 1, panel),
            mt3_panel_bytes (type, MT3_PANEL), MT3_PANEL));
  tile_store (n_rows, tile, sums, MT3_PANEL);
}

/* out = sums / total, as far as the head goes */
static void
finish_head (const float *sums, float total, size_t width, float *out)
{
  float divided[MT3_PANEL];

  for (size_t i = 0; i < MT3_PANEL; i += V16_LANES)
    v16_store (divided + i, v16_div (v16_load (sums + i), v16_set (total)));
  memcpy (out, divided, width * sizeof (float));
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
  float totals[V16_TILE_ROWS], sums[V16_TILE_ROWS * MT3_PANEL];

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
      WITH_CONSTANT_ROWS (n_rows, weigh_tile, MT3_PANEL_F16, kv, d / MT3_PANEL,
          attention->n_tokens, scores, stride, sums)
    else
      WITH_CONSTANT_ROWS (n_rows, weigh_tile, MT3_PANEL_F32, kv, d / MT3_PANEL,
          attention->n_tokens, scores, stride, sums)
    for (size_t r = 0; r < n_rows; r++)
      finish_head (sums + r * MT3_PANEL, totals[r], width,
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
