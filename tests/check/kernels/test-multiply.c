/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Rows of activations times a packed matrix.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "variants.h"

typedef struct {
  gsize n_rows, k, n_panels;
} Size;

static const Size sizes[] = {
    {1, 1, 1},
    {1, 512, 3},
    {2, 7, 2},
    {3, 64, 1},
    {5, 33, 2},
    {12, 100, 1},
    {13, 384, 2},
    {25, 96, 1},
    {64, 17, 3},
};

static const Mt3PanelType types[] = {
    MT3_PANEL_F32, MT3_PANEL_F16, MT3_PANEL_BF16};
static const Mt3Epilogue epilogues[] = {MT3_STORE, MT3_ADD, MT3_GATE};

/* A product of random numbers. */
typedef struct {
  Size size;
  Mt3Matrix matrix;
  Mt3Product product;
  gfloat *weights; /* as floats, [panel][k][MT3_PANEL] */
  gfloat *in;
  guint16 *halves;
  gfloat *out;
  gsize out_floats;
  void *panels;
} Case;

static Case
case_new (Size size, Mt3PanelType type, Mt3Epilogue epilogue)
{
  gsize panel_bytes = mt3_panel_bytes (type, size.k);
  gsize panel_floats = size.k * MT3_PANEL;
  gsize stride = mt3_round_up (size.k, 2) + 2;
  gsize out_stride = size.n_panels * MT3_PANEL + 16;
  Case c = {
      .size = size,
      .weights = floats_new (size.n_panels * panel_floats),
      .in = floats_new (size.n_rows * stride),
      .halves = g_new0 (guint16, size.n_rows * stride),
      .out_floats = size.n_rows * out_stride,
      .out = floats_new (size.n_rows * out_stride),
      .panels = floats_new (size.n_panels * panel_bytes / 4),
  };

  fill_random (c.weights, size.n_panels * panel_floats, 1, 0.1);
  fill_random (c.in, size.n_rows * stride, 2, 1.0);
  fill_random (c.out, c.out_floats, 3, 1.0);
  for (gsize i = 0; i < size.n_panels; i++)
    scalar_kernels ()->pack_panel (type, c.weights + i * panel_floats, size.k,
        (guint8 *) c.panels + i * panel_bytes);
  for (gsize i = 0; i < size.n_rows; i++)
    scalar_kernels ()->to_bf16 (
        c.in + i * stride, size.k, c.halves + i * stride);
  c.matrix = (Mt3Matrix){type, size.k, size.n_panels, c.panels};
  c.product = (Mt3Product){NULL, epilogue,
      type == MT3_PANEL_BF16 ? (void *) c.halves : c.in, stride, c.out,
      out_stride};
  return c;
}

static void
case_clear (Case *c)
{
  free (c->weights);
  free (c->in);
  g_free (c->halves);
  free (c->out);
  free (c->panels);
}

static void
multiply (const Mt3CpuKernels *kernels, Case *c)
{
  c->product.matrix = &c->matrix;
  kernels->multiply (&c->product, 0, c->size.n_rows, 0, c->size.n_panels);
}

static gdouble
gelu (gdouble x)
{
  return 0.5 * x *
         (1.0 + tanh (sqrt (2.0 / M_PI) * (x + 0.044715 * x * x * x)));
}

static gdouble
dot (const Case *c, gsize row, gsize panel, gsize column)
{
  gdouble sum = 0.0;

  for (gsize k = 0; k < c->size.k; k++)
    sum += (gdouble) c->in[row * c->product.in_stride + k] *
           c->weights[(panel * c->size.k + k) * MT3_PANEL + column];
  return sum;
}

/* What out should hold, from what it holds. */
static gdouble
expected (const Case *c, gsize row, gsize panel, gsize column)
{
  gsize half = MT3_PANEL / 2;

  switch (c->product.epilogue) {
    case MT3_STORE:
      return dot (c, row, panel, column);
    case MT3_ADD:
      return dot (c, row, panel, column) +
             c->out[row * c->product.out_stride + panel * MT3_PANEL + column];
    case MT3_GATE:
      break;
  }
  return gelu (dot (c, row, panel, column)) *
         dot (c, row, panel, half + column);
}

static void
check_product (Mt3Epilogue epilogue, Size size)
{
  Case c = case_new (size, MT3_PANEL_F32, epilogue);
  gsize width = epilogue == MT3_GATE ? MT3_PANEL / 2 : MT3_PANEL;
  gsize n = size.n_rows * size.n_panels * width;
  g_autofree gdouble *wanted = g_new (gdouble, n);
  gsize i = 0;

  for (gsize row = 0; row < size.n_rows; row++)
    for (gsize panel = 0; panel < size.n_panels; panel++)
      for (gsize column = 0; column < width; column++)
        wanted[i++] = expected (&c, row, panel, column);
  multiply (scalar_kernels (), &c);
  i = 0;
  for (gsize row = 0; row < size.n_rows; row++)
    for (gsize panel = 0; panel < size.n_panels; panel++)
      for (gsize column = 0; column < width; column++, i++)
        ck_assert_double_eq_tol (
            c.out[row * c.product.out_stride + panel * width + column],
            wanted[i], 1e-5 * (1.0 + fabs (wanted[i])));
  case_clear (&c);
}

START_TEST (test_plain_c_computes_the_product)
{
  for (gsize i = 0; i < G_N_ELEMENTS (sizes); i++)
    check_product (epilogues[_i], sizes[i]);
}
END_TEST

/* bfloat16 in hardware flushes subnormal numbers, so it is only near. */
START_TEST (test_all_instruction_sets_agree_bit_for_bit)
{
  for (gsize i = 0; i < G_N_ELEMENTS (sizes) * 3; i++) {
    Mt3PanelType type = types[i % 3];
    Case wanted = case_new (sizes[i / 3], type, epilogues[_i]);

    multiply (scalar_kernels (), &wanted);
    for (const Mt3CpuKernels *const *k = vector_kernels (); *k != NULL; k++) {
      Case found = case_new (sizes[i / 3], type, epilogues[_i]);

      multiply (*k, &found);
      if (type == MT3_PANEL_BF16)
        check_near (found.out, wanted.out, found.out_floats, 1e-5, (*k)->name);
      else
        check_same_bits (found.out, wanted.out, found.out_floats, (*k)->name);
      case_clear (&found);
    }
    case_clear (&wanted);
  }
}
END_TEST

static void
check_row_alone (const Mt3CpuKernels *kernels, Case *all, gsize row)
{
  gsize stride = all->product.out_stride;
  gfloat *together = floats_new (stride);

  memcpy (together, all->out + row * stride, stride * sizeof (gfloat));
  memset (all->out + row * stride, 0, stride * sizeof (gfloat));
  for (gsize panel = 0; panel < all->size.n_panels; panel++)
    kernels->multiply (&all->product, row, 1, panel, 1);
  check_same_bits (all->out + row * stride, together,
      all->size.n_panels * MT3_PANEL, kernels->name);
  free (together);
}

START_TEST (test_a_row_does_not_depend_on_the_others)
{
  const Mt3CpuKernels *const *vectors = vector_kernels ();

  for (gsize n_rows = 1; n_rows <= 40; n_rows++)
    for (gsize k = 0; k == 0 || vectors[k - 1] != NULL; k++) {
      const Mt3CpuKernels *kernels =
          k == 0 ? scalar_kernels () : vectors[k - 1];
      Case c = case_new ((Size){n_rows, 48, 2}, types[_i], MT3_STORE);

      multiply (kernels, &c);
      for (gsize row = 0; row < n_rows; row++)
        check_row_alone (kernels, &c, row);
      case_clear (&c);
    }
}
END_TEST

/* Each block of a block-diagonal matrix sees its own inputs. */
START_TEST (test_blocks_multiply_their_own_inputs)
{
  const gsize n_blocks = 3, k = 16, stride = 20, n_rows = 5;
  Case blocks = case_new ((Size){n_rows, n_blocks * stride, 2 * n_blocks},
      MT3_PANEL_F32, MT3_STORE);
  Case alone = case_new ((Size){n_rows, k, 2}, MT3_PANEL_F32, MT3_STORE);

  blocks.matrix = (Mt3Matrix){
      MT3_PANEL_F32, k, 2 * n_blocks, blocks.weights, n_blocks, stride};
  multiply (scalar_kernels (), &blocks);
  for (gsize block = 0; block < n_blocks; block++) {
    alone.matrix.panels = blocks.weights + block * 2 * k * MT3_PANEL;
    alone.product.in = blocks.in + block * stride;
    alone.product.in_stride = blocks.product.in_stride;
    multiply (scalar_kernels (), &alone);
    for (gsize row = 0; row < n_rows; row++)
      check_same_bits (
          blocks.out + row * blocks.product.out_stride + block * 2 * MT3_PANEL,
          alone.out + row * alone.product.out_stride, 2 * MT3_PANEL, "block");
  }
  case_clear (&blocks);
  case_clear (&alone);
}
END_TEST

START_TEST (test_f16_panels_lose_nothing_that_f16_holds)
{
  Size size = {4, 64, 1};
  Case exact = case_new (size, MT3_PANEL_F32, MT3_STORE);
  Case half = case_new (size, MT3_PANEL_F16, MT3_STORE);

  for (gsize i = 0; i < size.k * MT3_PANEL; i++)
    exact.weights[i] = (gint) (i % 4001) / 1024.0f - 2.0f;
  memcpy (exact.panels, exact.weights, mt3_panel_bytes (MT3_PANEL_F32, size.k));
  scalar_kernels ()->pack_panel (
      MT3_PANEL_F16, exact.weights, size.k, half.panels);
  multiply (scalar_kernels (), &exact);
  multiply (scalar_kernels (), &half);
  check_same_bits (exact.out, half.out, MT3_PANEL, "f16");
  case_clear (&exact);
  case_clear (&half);
}
END_TEST

START_TEST (test_packing_is_the_same_everywhere)
{
  gsize k = 37, n = k * MT3_PANEL, bytes = mt3_panel_bytes (types[_i], k);
  gfloat *weights = floats_new (n);
  g_autofree guint8 *wanted = g_malloc0 (bytes);
  g_autofree guint8 *found = g_malloc0 (bytes);

  fill_random (weights, n, 4, 1.0);
  scalar_kernels ()->pack_panel (types[_i], weights, k, wanted);
  for (const Mt3CpuKernels *const *v = vector_kernels (); *v != NULL; v++) {
    (*v)->pack_panel (types[_i], weights, k, found);
    ck_assert_mem_eq (found, wanted, bytes);
  }
  free (weights);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("multiply");
  TCase *tcase = tcase_create ("multiply");
  SRunner *runner;
  int n_failed;

  suite_add_tcase (suite, tcase);
  tcase_add_loop_test (tcase, test_plain_c_computes_the_product, 0, 3);
  tcase_add_loop_test (
      tcase, test_all_instruction_sets_agree_bit_for_bit, 0, 3);
  tcase_add_loop_test (tcase, test_a_row_does_not_depend_on_the_others, 0, 3);
  tcase_add_test (tcase, test_blocks_multiply_their_own_inputs);
  tcase_add_test (tcase, test_f16_panels_lose_nothing_that_f16_holds);
  tcase_add_loop_test (tcase, test_packing_is_the_same_everywhere, 0, 3);

  runner = srunner_create (suite);
  srunner_run_all (runner, CK_ENV);
  n_failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
