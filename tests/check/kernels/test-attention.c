/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Queries against keys and values in tiles.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "variants.h"

typedef struct {
  gsize n_tokens, head_dim, n_rows;
} Size;

static const Size sizes[] = {
    {1, 64, 1},
    {2, 16, 1},
    {31, 64, 1},
    {33, 64, 2},
    {96, 48, 3},
    {256, 64, 29},
    {100, 20, 5}, /* a head that fills no panel */
    {513, 32, 1},
};

typedef struct {
  Size size;
  gfloat *queries, *keys, *values, *out, *scratch;
  gsize stride;
  Mt3KeyValues kv;
  Mt3Attention attention;
} Case;

/* Tiles are further apart than they must be, and hold what an earlier window
 * left there. */
static Case
case_new (Size size, Mt3PanelType type, const Mt3CpuKernels *kernels)
{
  gsize stride = size.head_dim + 8;
  gsize n_tiles = mt3_round_up (size.n_tokens, MT3_PANEL) / MT3_PANEL;
  gsize tile_bytes = mt3_key_value_tile_bytes (type, size.head_dim) + 128;
  Case c = {
      .size = size,
      .stride = stride,
      .queries = floats_new (size.n_rows * stride),
      .keys = floats_new (size.n_tokens * size.head_dim),
      .values = floats_new (size.n_tokens * size.head_dim),
      .out = floats_new (size.n_rows * stride),
      .scratch = floats_new (mt3_attention_scratch (kernels, size.n_tokens)),
      .kv = {type, size.head_dim, tile_bytes,
          floats_new (n_tiles * tile_bytes / 4)},
  };

  fill_random (c.queries, size.n_rows * stride, 1, 1.0);
  fill_random (c.keys, size.n_tokens * size.head_dim, 2, 1.0);
  fill_random (c.values, size.n_tokens * size.head_dim, 3, 1.0);
  memset (c.kv.tiles, 0x11, n_tiles * tile_bytes);
  kernels->put_key_values (
      &c.kv, 0, size.n_tokens, c.keys, c.values, size.head_dim);
  c.attention =
      (Mt3Attention){NULL, size.n_tokens, c.queries, stride, c.out, stride};
  return c;
}

static void
case_clear (Case *c)
{
  free (c->queries);
  free (c->keys);
  free (c->values);
  free (c->out);
  free (c->scratch);
  free (c->kv.tiles);
}

static void
attend (const Mt3CpuKernels *kernels, Case *c, gsize row, gsize n_rows)
{
  c->attention.key_values = &c->kv;
  kernels->attend (&c->attention, row, n_rows, c->scratch);
}

/* softmax (q K) V of one row, in double precision. */
static void
reference_row (const Case *c, gsize row, gdouble *out)
{
  gsize n = c->size.n_tokens, width = c->size.head_dim;
  g_autofree gdouble *weights = g_new (gdouble, n);
  gdouble largest = -INFINITY, sum = 0.0;

  for (gsize t = 0; t < n; t++) {
    weights[t] = 0.0;
    for (gsize d = 0; d < width; d++)
      weights[t] +=
          (gdouble) c->queries[row * c->stride + d] * c->keys[t * width + d];
    largest = fmax (largest, weights[t]);
  }
  for (gsize t = 0; t < n; t++) {
    weights[t] = exp (weights[t] - largest);
    sum += weights[t];
  }
  for (gsize d = 0; d < width; d++) {
    out[d] = 0.0;
    for (gsize t = 0; t < n; t++)
      out[d] += weights[t] / sum * c->values[t * width + d];
  }
}

START_TEST (test_plain_c_computes_attention)
{
  Case c = case_new (sizes[_i], MT3_PANEL_F32, scalar_kernels ());
  g_autofree gdouble *wanted = g_new (gdouble, c.size.head_dim);

  attend (scalar_kernels (), &c, 0, c.size.n_rows);
  for (gsize row = 0; row < c.size.n_rows; row++) {
    reference_row (&c, row, wanted);
    for (gsize d = 0; d < c.size.head_dim; d++)
      ck_assert_double_eq_tol (c.out[row * c.stride + d], wanted[d], 2e-5);
  }
  case_clear (&c);
}
END_TEST

START_TEST (test_tokens_may_come_one_by_one)
{
  for (const Mt3CpuKernels *const *k = vector_kernels (); *k != NULL; k++) {
    Case together = case_new (sizes[_i], MT3_PANEL_F16, *k);
    Case alone = case_new (sizes[_i], MT3_PANEL_F16, *k);
    gsize n_tiles = mt3_round_up (sizes[_i].n_tokens, MT3_PANEL) / MT3_PANEL;
    gsize bytes = n_tiles * alone.kv.tile_bytes;

    memset (alone.kv.tiles, 0x11, bytes);
    for (gsize i = 0; i < sizes[_i].n_tokens; i++)
      (*k)->put_key_values (&alone.kv, i, 1,
          alone.keys + i * alone.size.head_dim,
          alone.values + i * alone.size.head_dim, 0);
    ck_assert_mem_eq (alone.kv.tiles, together.kv.tiles, bytes);
    case_clear (&together);
    case_clear (&alone);
  }
}
END_TEST

START_TEST (test_nothing_is_written_beside_the_head)
{
  Case c = case_new (sizes[_i], MT3_PANEL_F32, scalar_kernels ());

  memset (c.out, 0x55, c.size.n_rows * c.stride * sizeof (gfloat));
  attend (scalar_kernels (), &c, 0, c.size.n_rows);
  for (gsize row = 0; row < c.size.n_rows; row++)
    for (gsize d = c.size.head_dim; d < c.stride; d++)
      ck_assert_mem_eq (&c.out[row * c.stride + d], "\x55\x55\x55\x55", 4);
  case_clear (&c);
}
END_TEST

START_TEST (test_all_instruction_sets_agree_bit_for_bit)
{
  const Mt3PanelType types[] = {MT3_PANEL_F32, MT3_PANEL_F16};

  for (gsize i = 0; i < G_N_ELEMENTS (types); i++) {
    Case wanted = case_new (sizes[_i], types[i], scalar_kernels ());

    attend (scalar_kernels (), &wanted, 0, wanted.size.n_rows);
    for (const Mt3CpuKernels *const *k = vector_kernels (); *k != NULL; k++) {
      Case found = case_new (sizes[_i], types[i], *k);

      attend (*k, &found, 0, found.size.n_rows);
      check_same_bits (
          found.out, wanted.out, found.size.n_rows * found.stride, (*k)->name);
      case_clear (&found);
    }
    case_clear (&wanted);
  }
}
END_TEST

START_TEST (test_a_row_does_not_depend_on_the_others)
{
  for (const Mt3CpuKernels *const *k = vector_kernels (); *k != NULL; k++) {
    Case together = case_new (sizes[_i], MT3_PANEL_F32, *k);
    Case alone = case_new (sizes[_i], MT3_PANEL_F32, *k);

    attend (*k, &together, 0, together.size.n_rows);
    for (gsize row = 0; row < alone.size.n_rows; row++)
      attend (*k, &alone, row, 1);
    check_same_bits (together.out, alone.out,
        together.size.n_rows * together.stride, (*k)->name);
    case_clear (&together);
    case_clear (&alone);
  }
}
END_TEST

/* Keys and values in rows, against the same in tiles. */
typedef struct {
  gsize n_tokens, width, n_rows;
  gboolean same; /* the keys are the values */
} RowsSize;

static const RowsSize rows_sizes[] = {
    {1, 64, 1, FALSE},
    {2, 128, 6, TRUE},
    {3, 64, 7, FALSE},
    {40, 512, 6, TRUE},
    {256, 64, 13, FALSE},
    {257, 192, 2, TRUE},
    {300, 64, 1, FALSE},
};

typedef struct {
  RowsSize size;
  gfloat *keys, *values; /* of floats */
  gfloat *stored; /* keys, then values */
  gfloat *queries, *out, *scratch;
  Mt3RowAttention attention;
} RowsCase;

static RowsCase
rows_case_new (RowsSize size, Mt3PanelType type, const Mt3CpuKernels *kernels)
{
  gsize n = size.n_tokens * size.width;
  RowsCase c = {
      .size = size,
      .keys = floats_new (n),
      .values = floats_new (n),
      .stored = floats_new (2 * n),
      .queries = floats_new (size.n_rows * size.width),
      .out = floats_new (size.n_rows * size.width),
      .scratch = floats_new (mt3_attention_scratch (kernels, size.n_tokens)),
  };
  gfloat *values = size.same ? c.stored : c.stored + n;

  fill_random (c.keys, n, 1, 0.5);
  fill_random (c.values, n, size.same ? 1 : 3, 0.5);
  fill_random (c.queries, size.n_rows * size.width, 2, 0.5);
  kernels->put_row (type, c.keys, n, c.stored);
  kernels->put_row (type, c.values, n, values);
  c.attention = (Mt3RowAttention){type, c.stored, values, size.n_tokens,
      size.width, c.queries, size.width, c.out, size.width};
  return c;
}

static void
rows_case_clear (RowsCase *c)
{
  free (c->keys);
  free (c->values);
  free (c->stored);
  free (c->queries);
  free (c->out);
  free (c->scratch);
}

START_TEST (test_rows_attend_like_tiles)
{
  RowsSize size = rows_sizes[_i];
  const Mt3CpuKernels *kernels = scalar_kernels ();
  RowsCase c = rows_case_new (size, MT3_PANEL_F32, kernels);
  gsize tile_bytes = mt3_key_value_tile_bytes (MT3_PANEL_F32, size.width);
  gsize n_tiles = mt3_round_up (size.n_tokens, MT3_PANEL) / MT3_PANEL;
  Mt3KeyValues kv = {MT3_PANEL_F32, size.width, tile_bytes,
      floats_new (n_tiles * tile_bytes / 4)};
  gfloat *wanted = floats_new (size.n_rows * size.width);
  Mt3Attention tiles = {
      &kv, size.n_tokens, c.queries, size.width, wanted, size.width};

  kernels->put_key_values (&kv, 0, size.n_tokens, c.keys, c.values, size.width);
  kernels->attend (&tiles, 0, size.n_rows, c.scratch);
  kernels->attend_rows (&c.attention, 0, size.n_rows, c.scratch);
  check_near (c.out, wanted, size.n_rows * size.width, 2e-5, "rows");
  free (kv.tiles);
  free (wanted);
  rows_case_clear (&c);
}
END_TEST

START_TEST (test_rows_agree_bit_for_bit)
{
  RowsSize size = rows_sizes[_i];
  const Mt3PanelType types[] = {MT3_PANEL_F32, MT3_PANEL_F16};

  for (gsize i = 0; i < G_N_ELEMENTS (types); i++) {
    RowsCase wanted = rows_case_new (size, types[i], scalar_kernels ());

    scalar_kernels ()->attend_rows (
        &wanted.attention, 0, size.n_rows, wanted.scratch);
    for (const Mt3CpuKernels *const *k = vector_kernels (); *k != NULL; k++) {
      RowsCase found = rows_case_new (size, types[i], *k);

      for (gsize row = 0; row < size.n_rows; row++)
        (*k)->attend_rows (&found.attention, row, 1, found.scratch);
      check_same_bits (
          found.out, wanted.out, size.n_rows * size.width, (*k)->name);
      (*k)->attend_rows (&found.attention, 0, size.n_rows, found.scratch);
      check_same_bits (
          found.out, wanted.out, size.n_rows * size.width, (*k)->name);
      rows_case_clear (&found);
    }
    rows_case_clear (&wanted);
  }
}
END_TEST

/* Scores near 200 occur in the published model. */
START_TEST (test_large_scores_do_not_overflow)
{
  Case c = case_new ((Size){40, 64, 1}, MT3_PANEL_F32, scalar_kernels ());

  for (gsize d = 0; d < 64; d++)
    c.queries[d] *= 100.0f;
  attend (scalar_kernels (), &c, 0, 1);
  for (gsize d = 0; d < 64; d++)
    ck_assert_float_finite (c.out[d]);
  case_clear (&c);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("attention");
  TCase *tcase = tcase_create ("attention");
  int n = G_N_ELEMENTS (sizes);
  SRunner *runner;
  int n_failed;

  suite_add_tcase (suite, tcase);
  tcase_add_loop_test (tcase, test_plain_c_computes_attention, 0, n);
  tcase_add_loop_test (tcase, test_tokens_may_come_one_by_one, 0, n);
  tcase_add_loop_test (tcase, test_nothing_is_written_beside_the_head, 0, n);
  tcase_add_loop_test (
      tcase, test_all_instruction_sets_agree_bit_for_bit, 0, n);
  tcase_add_loop_test (tcase, test_a_row_does_not_depend_on_the_others, 0, n);
  tcase_add_loop_test (
      tcase, test_rows_attend_like_tiles, 0, G_N_ELEMENTS (rows_sizes));
  tcase_add_loop_test (
      tcase, test_rows_agree_bit_for_bit, 0, G_N_ELEMENTS (rows_sizes));
  tcase_add_test (tcase, test_large_scores_do_not_overflow);

  runner = srunner_create (suite);
  srunner_run_all (runner, CK_ENV);
  n_failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
