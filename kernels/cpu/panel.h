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
    CASES_HALF_TILE (function, __VA_ARGS__)                                    \
    CASES_WHOLE_TILE (function, __VA_ARGS__)                                   \
  }

/* The same for up to half as many rows. */
#define WITH_CONSTANT_FEW_ROWS(n_rows, function, ...)                          \
  switch (n_rows) {                                                            \
    CASES_HALF_TILE (function, __VA_ARGS__)                                    \
  }

#define CASE_ROWS(n, function, ...)                                            \
  case n:                                                                      \
    function (n, __VA_ARGS__);                                                 \
    break;

#if V16_TILE_ROWS == 12
#define CASES_HALF_TILE(function, ...)                                         \
  CASE_ROWS (1, function, __VA_ARGS__)                                         \
  CASE_ROWS (2, function, __VA_ARGS__)                                         \
  CASE_ROWS (3, function, __VA_ARGS__)                                         \
  CASE_ROWS (4, function, __VA_ARGS__)                                         \
  CASE_ROWS (5, function, __VA_ARGS__)                                         \
  CASE_ROWS (6, function, __VA_ARGS__)
#define CASES_WHOLE_TILE(function, ...)                                        \
  CASE_ROWS (7, function, __VA_ARGS__)                                         \
  CASE_ROWS (8, function, __VA_ARGS__)                                         \
  CASE_ROWS (9, function, __VA_ARGS__)                                         \
  CASE_ROWS (10, function, __VA_ARGS__)                                        \
  CASE_ROWS (11, function, __VA_ARGS__)                                        \
  CASE_ROWS (12, function, __VA_ARGS__)
#else
#define CASES_HALF_TILE(function, ...) CASE_ROWS (1, function, __VA_ARGS__)
#if V16_TILE_ROWS == 3
#define CASES_WHOLE_TILE(function, ...)                                        \
  CASE_ROWS (2, function, __VA_ARGS__)                                         \
  CASE_ROWS (3, function, __VA_ARGS__)
#else
#define CASES_WHOLE_TILE(function, ...) CASE_ROWS (2, function, __VA_ARGS__)
#endif
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
  const char *start;
  size_t n_bytes;
} Prefetch;

static const Prefetch no_prefetch = {NULL, 0};

ALWAYS_INLINE void
panel_step (const int n_rows, v16 (*tile)[2], Mt3PanelType type,
    const float *in, size_t in_stride, const void *panel, size_t i)
{
  v16 left = panel_load (type, panel, i * MT3_PANEL);
  v16 right = panel_load (type, panel, i * MT3_PANEL + HALF_PANEL);

  V16_KEEP (left);
  V16_KEEP (right);
#pragma GCC unroll 16
  for (int r = 0; r < n_rows; r++) {
    v16 x = v16_set (in[r * in_stride + i]);

    tile[r][0] = v16_fma (x, left, tile[r][0]);
    tile[r][1] = v16_fma (x, right, tile[r][1]);
  }
}

/* Rows of a panel between two fetches of a few lines. */
#define SPARSE_ROWS 64

/* tile[r] += in[r] x panel, for n_rows rows of length k: one chain of fused
 * multiply-adds, in the order of k, for each of n_rows x MT3_PANEL sums. */
ALWAYS_INLINE void
panel_accumulate (const int n_rows, v16 (*tile)[2], Mt3PanelType type,
    const float *in, size_t in_stride, const void *panel, size_t k)
{
  for (size_t i = 0; i < k; i++)
    panel_step (n_rows, tile, type, in, in_stride, panel, i);
}

/* The same, fetching as much as it reads, or nearly: two lines with each row,
 * and the panel itself into the first-level cache. */
ALWAYS_INLINE void
panel_accumulate_dense (const int n_rows, v16 (*tile)[2], Mt3PanelType type,
    const float *in, size_t in_stride, const void *panel, size_t k,
    Prefetch prefetch)
{
  const char *second = prefetch.start + prefetch.n_bytes / 2;
  size_t step = prefetch.n_bytes / 2 / k;

  for (size_t i = 0; i < k; i++) {
    const char *near = panel_row (type, panel, i + NEAR_ROWS);

    __builtin_prefetch (prefetch.start + i * step, 0, 2);
    __builtin_prefetch (second + i * step, 0, 2);
    __builtin_prefetch (near, 0, 3);
    __builtin_prefetch (near + CACHE_LINE, 0, 3);
    panel_step (n_rows, tile, type, in, in_stride, panel, i);
  }
}

/* The same, fetching little: a prefetch in every row would cost a tenth of
 * the speed, all of them at once would stall. */
ALWAYS_INLINE void
panel_accumulate_sparse (const int n_rows, v16 (*tile)[2], Mt3PanelType type,
    const float *in, size_t in_stride, const void *panel, size_t k,
    Prefetch prefetch)
{
  for (size_t i = 0; i < k; i += SPARSE_ROWS) {
    for (size_t at = prefetch.n_bytes * i / k;
         at < prefetch.n_bytes * (i + SPARSE_ROWS) / k; at += CACHE_LINE)
      __builtin_prefetch (prefetch.start + at, 0, 2);
    panel_accumulate (n_rows, tile, type, in + i, in_stride,
        panel_row (type, panel, i), k - i < SPARSE_ROWS ? k - i : SPARSE_ROWS);
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
