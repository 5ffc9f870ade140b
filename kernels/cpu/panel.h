/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * panel.h: the one loop that all of MT3's time goes into.
 */
#pragma once

#include "cpu-kernels.h"
#include "simd.h"

#define HALF_PANEL (MT3_PANEL / 2)

/* Calls function (n, ...) for n = n_rows with a constant n, so that the
 * compiler can keep the tile in registers. */
#define WITH_CONSTANT_ROWS(n_rows, function, ...)                              \
  switch (n_rows) {                                                            \
    CASE_ROWS (1, function, __VA_ARGS__)                                       \
    CASE_ROWS (2, function, __VA_ARGS__)                                       \
    CASES_3 (function, __VA_ARGS__)                                            \
    CASES_4_TO_12 (function, __VA_ARGS__)                                      \
  }
#define CASE_ROWS(n, function, ...)                                            \
  case n:                                                                      \
    function (n, __VA_ARGS__);                                                 \
    break;

#if V16_TILE_ROWS >= 3
#define CASES_3(function, ...) CASE_ROWS (3, function, __VA_ARGS__)
#else
#define CASES_3(function, ...)
#endif

#if V16_TILE_ROWS == 12
#define CASES_4_TO_12(function, ...)                                           \
  CASE_ROWS (4, function, __VA_ARGS__)                                         \
  CASE_ROWS (5, function, __VA_ARGS__)                                         \
  CASE_ROWS (6, function, __VA_ARGS__)                                         \
  CASE_ROWS (7, function, __VA_ARGS__)                                         \
  CASE_ROWS (8, function, __VA_ARGS__)                                         \
  CASE_ROWS (9, function, __VA_ARGS__)                                         \
  CASE_ROWS (10, function, __VA_ARGS__)                                        \
  CASE_ROWS (11, function, __VA_ARGS__)                                        \
  CASE_ROWS (12, function, __VA_ARGS__)
#else
#define CASES_4_TO_12(function, ...)
#endif

ALWAYS_INLINE v16
panel_load (Mt3PanelType type, const void *panel, size_t index)
{
  return type == MT3_PANEL_F16 ? v16_load_f16 ((const uint16_t *) panel + index)
                               : v16_load ((const float *) panel + index);
}

ALWAYS_INLINE const char *
panel_row (Mt3PanelType type, const void *panel, size_t i)
{
  return (const char *) panel + i * MT3_PANEL * (type == MT3_PANEL_F16 ? 2 : 4);
}

#define CACHE_LINE 64

/* Rows of a panel that the first-level cache is asked for ahead. */
#define NEAR_ROWS 8

/* Memory to bring into the second-level cache while a panel is multiplied:
 * hardware prefetchers stop at page boundaries, and weights and keys are read
 * once and then not for milliseconds. */
typedef struct {
  const char *first; /* two places at a time, so that one is in time */
  const char *second;
  size_t step; /* bytes for each row of the panel; 0: nothing to fetch */
} Prefetch;

static const Prefetch no_prefetch = {NULL, NULL, 0};

/* The @part-th of @n_parts of a panel of @bytes, during @n_rows rows. */
ALWAYS_INLINE Prefetch
prefetch_part (
    const void *panel, size_t bytes, size_t n_rows, size_t part, size_t n_parts)
{
  const char *first = (const char *) panel + bytes / 2 * part / n_parts;

  return (Prefetch){first, first + bytes / 2, bytes / 2 / (n_rows * n_parts)};
}

ALWAYS_INLINE void
panel_step (const int n_rows, v16 (*tile)[2], Mt3PanelType type,
    const float *in, size_t in_stride, const void *panel, size_t i)
{
  v16 left = panel_load (type, panel, i * MT3_PANEL);
  v16 right = panel_load (type, panel, i * MT3_PANEL + HALF_PANEL);

#pragma GCC unroll 16
  for (int r = 0; r < n_rows; r++) {
    v16 x = v16_set (in[r * in_stride + i]);

    tile[r][0] = v16_fma (x, left, tile[r][0]);
    tile[r][1] = v16_fma (x, right, tile[r][1]);
  }
}

/* tile[r] += in[r] x panel, for n_rows rows of length k: one chain of fused
 * multiply-adds, in the order of k, for each of n_rows x MT3_PANEL sums. */
ALWAYS_INLINE void
panel_accumulate (const int n_rows, v16 (*tile)[2], Mt3PanelType type,
    const float *in, size_t in_stride, const void *panel, size_t k,
    Prefetch prefetch)
{
  /* A prefetch costs as much as a load: a tenth when all else is cached. */
  if (prefetch.step == 0) {
    for (size_t i = 0; i < k; i++)
      panel_step (n_rows, tile, type, in, in_stride, panel, i);
    return;
  }
  for (size_t i = 0; i < k; i++) {
    __builtin_prefetch (prefetch.first + i * prefetch.step, 0, 2);
    __builtin_prefetch (prefetch.second + i * prefetch.step, 0, 2);
    __builtin_prefetch (panel_row (type, panel, i + NEAR_ROWS), 0, 3);
    __builtin_prefetch (
        panel_row (type, panel, i + NEAR_ROWS) + CACHE_LINE, 0, 3);
    panel_step (n_rows, tile, type, in, in_stride, panel, i);
  }
}

/* The same for bfloat16: each step adds the products of a pair of inputs. */
ALWAYS_INLINE void
panel_accumulate_bf16 (const int n_rows, v16 (*tile)[2], const uint16_t *in,
    size_t in_stride, const uint32_t *panel, size_t k)
{
  for (size_t i = 0; i < (k + 1) / 2; i++) {
#pragma GCC unroll 16
    for (int r = 0; r < n_rows; r++) {
      uint32_t pair;

      memcpy (&pair, in + r * in_stride + 2 * i, sizeof pair);
      tile[r][0] = v16_add_bf16 (tile[r][0], pair, panel + i * MT3_PANEL);
      tile[r][1] =
          v16_add_bf16 (tile[r][1], pair, panel + i * MT3_PANEL + HALF_PANEL);
    }
  }
}

ALWAYS_INLINE void
tile_clear (const int n_rows, v16 (*tile)[2])
{
#pragma GCC unroll 16
  for (int r = 0; r < n_rows; r++)
    tile[r][0] = tile[r][1] = v16_set (0.0f);
}

/* Keeps the sums of a tile as rows of @stride. */
ALWAYS_INLINE void
tile_store (const int n_rows, v16 (*tile)[2], float *out, size_t stride)
{
#pragma GCC unroll 16
  for (int r = 0; r < n_rows; r++) {
    v16_store (out + r * stride, tile[r][0]);
    v16_store (out + r * stride + HALF_PANEL, tile[r][1]);
  }
}

/* Where the i-th of n_tiles nearly equal tiles of n_rows rows begins. */
static inline size_t
tile_start (size_t n_rows, size_t n_tiles, size_t i)
{
  return n_rows * i / n_tiles;
}
