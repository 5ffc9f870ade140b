/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Reading tensors: dtypes, layouts, edges, and values that are no numbers.
 */
#include "fixtures.h"
#include "checkpoint/half.h"

#include <math.h>
#include <string.h>

/* The value of a float16 by its definition. */
static gdouble
half_by_definition (guint16 half)
{
  gint exponent = (half >> 10) & 31, mantissa = half & 1023;
  gdouble sign = half & 0x8000 ? -1.0 : 1.0;

  if (exponent == 0)
    return sign * ldexp (mantissa, -24);
  return sign * ldexp (1024 + mantissa, exponent - 25);
}

START_TEST (every_half_is_exact)
{
  for (guint half = 0; half < 65536; half++) {
    gfloat value = mt3_half_to_float ((guint16) half);

    if ((half & 0x7c00) != 0x7c00) {
      ck_assert_double_eq (value, half_by_definition ((guint16) half));
      ck_assert_uint_eq (mt3_float_to_half (value), half);
    } else if ((half & 0x3ff) == 0) {
      ck_assert (isinf (value) && (value < 0) == (half >= 0x8000));
      ck_assert_uint_eq (mt3_float_to_half (value), half);
    } else {
      ck_assert (isnan (value) &&
                 isnan (mt3_half_to_float (mt3_float_to_half (value))));
    }
  }
}
END_TEST

static const struct {
  gfloat value;
  guint16 half;
} roundings[] = {
    {0x1.002p0f, 0x3c00}, /* halfway between 1 and the next: to even */
    {0x1.006p0f, 0x3c02}, /* halfway, up to even */
    {0x1.00201p0f, 0x3c01}, /* just above halfway */
    {65519.996f, 0x7bff}, /* the last that rounds down */
    {65520.0f, 0x7c00}, /* the first that overflows */
    {-65520.0f, 0xfc00}, {0x1p-24f, 0x0001}, /* the smallest denormal */
    {0x1p-25f, 0x0000}, /* halfway to it: to even */
    {0x1.000002p-25f, 0x0001},
    {0x1.ff8p-15f, 0x03ff}, /* the largest denormal */
    {0x1.ffcp-15f, 0x0400}, /* rounds up into the normal numbers */
    {-0.0f, 0x8000}, {1e-40f, 0x0000}, /* a float32 denormal */
};

START_TEST (floats_round_to_the_nearest_half)
{
  ck_assert_uint_eq (
      mt3_float_to_half (roundings[_i].value), roundings[_i].half);
}
END_TEST

START_TEST (bfloat_is_the_upper_half_of_a_float)
{
  ck_assert_float_eq (mt3_bfloat_to_float (0x3f80), 1.0f);
  ck_assert_float_eq (mt3_bfloat_to_float (0xc049), -3.140625f);
  ck_assert_float_eq (mt3_bfloat_to_float (0x0001), 0x1p-133f);
}
END_TEST

/* Rows of 3 x 5: value = 10 * row + column, in any dtype and layout, at an odd
 * address. */
typedef struct {
  guint8 bytes[1 + 15 * sizeof (gfloat)];
  Mt3Tensor tensor;
} Grid;

static void
grid_init (Grid *grid, Mt3DType dtype, gboolean transposed)
{
  gsize size = mt3_dtype_size (dtype);

  grid->tensor = (Mt3Tensor){
      .name = "grid",
      .dtype = dtype,
      .n_dims = 2,
      .shape = {3, 5},
      .stride = {transposed ? 1 : 5, transposed ? 3 : 1},
      .data = grid->bytes + 1,
  };
  for (gsize row = 0; row < 3; row++) {
    for (gsize column = 0; column < 5; column++) {
      gsize at = row * grid->tensor.stride[0] + column * grid->tensor.stride[1];
      gfloat value = 10.0f * (gfloat) row + (gfloat) column;
      guint16 half = dtype == MT3_DTYPE_F16
                         ? mt3_float_to_half (value)
                         : (guint16) (mt3_float_bits (value) >> 16);
      memcpy (grid->bytes + 1 + at * size,
          size == 4 ? (gconstpointer) &value : &half, size);
    }
  }
}

static const struct {
  Mt3DType dtype;
  gboolean transposed;
} layouts[] = {
    {MT3_DTYPE_F32, FALSE},
    {MT3_DTYPE_F32, TRUE},
    {MT3_DTYPE_F16, FALSE},
    {MT3_DTYPE_F16, TRUE},
    {MT3_DTYPE_BF16, FALSE},
    {MT3_DTYPE_BF16, TRUE},
};

START_TEST (blocks_read_the_same_in_every_dtype_and_layout)
{
  const gfloat expected[] = {12, 13, 14, 22, 23, 24};
  gfloat block[6];
  Grid grid;

  grid_init (&grid, layouts[_i].dtype, layouts[_i].transposed);
  mt3_tensor_read_block (&grid.tensor, 1, 2, 2, 3, block);
  ck_assert_mem_eq (block, expected, sizeof block);
}
END_TEST

START_TEST (columns_past_the_last_read_as_zero)
{
  const gfloat expected[] = {4, 0, 0, 14, 0, 0};
  const gfloat nothing[4] = {0};
  gfloat block[6];
  Grid grid;

  grid_init (&grid, layouts[_i].dtype, layouts[_i].transposed);
  memset (block, 0xff, sizeof block);
  mt3_tensor_read_block (&grid.tensor, 0, 2, 4, 3, block);
  ck_assert_mem_eq (block, expected, sizeof block);
  mt3_tensor_read_block (&grid.tensor, 0, 2, 7, 2, block);
  ck_assert_mem_eq (block, nothing, sizeof nothing);
}
END_TEST

START_TEST (a_vector_is_one_row)
{
  const gfloat values[] = {1, 2, 3, 4};
  const gfloat expected[] = {2, 3, 4, 0};
  const Mt3Tensor tensor = {
      .n_dims = 1, .shape = {4}, .stride = {1}, .data = values};
  gfloat row[4];

  mt3_tensor_read_block (&tensor, 0, 1, 1, 4, row);
  ck_assert_mem_eq (row, expected, sizeof row);
}
END_TEST

/* 4096 elements are tested at once: look inside, at the seam, and behind. */
static const gsize places[] = {0, 1, 2047, 4095, 4096, 8191, 8192, 9999};

static void
find_one (Mt3DType dtype, guint32 bits, gssize expected)
{
  gsize size = mt3_dtype_size (dtype);
  g_autofree guint8 *data = g_malloc0 (10000 * size);
  const Mt3Tensor tensor = {.dtype = dtype,
      .n_dims = 2,
      .shape = {100, 100},
      .stride = {100, 1},
      .data = data};

  for (gsize i = 0; i < G_N_ELEMENTS (places); i++) {
    memcpy (data + places[i] * size, &bits, size);
    ck_assert_int_eq (mt3_tensor_find_nonfinite (&tensor),
        expected < 0 ? -1 : (gssize) places[i]);
    memset (data + places[i] * size, 0, size);
  }
}

static const struct {
  Mt3DType dtype;
  guint32 bits;
  gssize expected;
} values[] = {
    {MT3_DTYPE_F32, 0x7f800000, 0}, /* Inf */
    {MT3_DTYPE_F32, 0xff800000, 0}, /* -Inf */
    {MT3_DTYPE_F32, 0x7fc00000, 0}, /* NaN */
    {MT3_DTYPE_F32, 0xff800001, 0}, /* signalling NaN */
    {MT3_DTYPE_F32, 0x7f7fffff, -1}, /* the largest */
    {MT3_DTYPE_F32, 0xff7fffff, -1}, /* the smallest */
    {MT3_DTYPE_F32, 0x80000001, -1}, /* denormal */
    {MT3_DTYPE_F16, 0x7c00, 0},
    {MT3_DTYPE_F16, 0xfe00, 0},
    {MT3_DTYPE_F16, 0x7bff, -1},
    {MT3_DTYPE_F16, 0x8001, -1},
    {MT3_DTYPE_BF16, 0x7f80, 0},
    {MT3_DTYPE_BF16, 0xffc0, 0},
    {MT3_DTYPE_BF16, 0x7f7f, -1},
    {MT3_DTYPE_BF16, 0x7c00, -1},
};

START_TEST (inf_and_nan_are_found_wherever_they_are)
{
  find_one (values[_i].dtype, values[_i].bits, values[_i].expected);
}
END_TEST

static const struct {
  gfloat value;
  gboolean fits;
} fits[] = {
    {1.0f, TRUE},
    {65504.0f, TRUE},
    {65505.0f, FALSE},
    {1e6f, FALSE},
    {0x1p-24f, TRUE},
    {0x1p-25f, FALSE},
    {0.1f, FALSE},
    {-0.0f, TRUE},
};

START_TEST (a_tensor_fits_f16_when_every_element_does)
{
  const gfloat data[] = {0.5f, 2.0f, fits[_i].value};
  const Mt3Tensor tensor = {
      .n_dims = 1, .shape = {3}, .stride = {1}, .data = data};

  ck_assert_int_eq (mt3_tensor_fits_f16 (&tensor), fits[_i].fits);
}
END_TEST

Suite *
tensor_suite (void)
{
  Suite *suite = suite_create ("tensor");
  TCase *tcase = tcase_create ("tensor");

  tcase_add_test (tcase, every_half_is_exact);
  tcase_add_loop_test (
      tcase, floats_round_to_the_nearest_half, 0, G_N_ELEMENTS (roundings));
  tcase_add_test (tcase, bfloat_is_the_upper_half_of_a_float);
  tcase_add_loop_test (tcase, blocks_read_the_same_in_every_dtype_and_layout, 0,
      G_N_ELEMENTS (layouts));
  tcase_add_loop_test (
      tcase, columns_past_the_last_read_as_zero, 0, G_N_ELEMENTS (layouts));
  tcase_add_test (tcase, a_vector_is_one_row);
  tcase_add_loop_test (
      tcase, inf_and_nan_are_found_wherever_they_are, 0, G_N_ELEMENTS (values));
  tcase_add_loop_test (
      tcase, a_tensor_fits_f16_when_every_element_does, 0, G_N_ELEMENTS (fits));
  suite_add_tcase (suite, tcase);
  return suite;
}
