/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "checkpoint/tensor.h"
#include "checkpoint/half.h"

#include <string.h>

/* Files need not align their arrays, and vectorised loads do not care. */
typedef guint32 UnalignedU32 __attribute__ ((aligned (1), may_alias));
typedef guint16 UnalignedU16 __attribute__ ((aligned (1), may_alias));

/* Elements whose test is one branch: a constant, so that it vectorises. */
#define FINITE_BLOCK 4096

gsize
mt3_dtype_size (Mt3DType dtype)
{
  return dtype == MT3_DTYPE_F32 ? 4 : 2;
}

const gchar *
mt3_dtype_name (Mt3DType dtype)
{
  static const gchar *const names[] = {"F32", "F16", "BF16"};

  return names[dtype];
}

gsize
mt3_tensor_n_elements (const Mt3Tensor *tensor)
{
  gsize n = 1;

  for (guint i = 0; i < tensor->n_dims; i++)
    n *= tensor->shape[i];
  return n;
}

static inline gfloat
read_element (Mt3DType dtype, const guint8 *data, gsize index)
{
  guint16 half;
  gfloat value;

  if (dtype == MT3_DTYPE_F32) {
    memcpy (&value, data + 4 * index, sizeof value);
    return value;
  }
  memcpy (&half, data + 2 * index, sizeof half);
  return dtype == MT3_DTYPE_F16 ? mt3_half_to_float (half)
                                : mt3_bfloat_to_float (half);
}

/* The branch on the dtype stands outside the loop, which then vectorises. */
static void
read_row (Mt3DType dtype, const guint8 *data, gsize n, gfloat *out)
{
  const UnalignedU16 *halves = (const UnalignedU16 *) data;

  switch (dtype) {
    case MT3_DTYPE_F32:
      memcpy (out, data, n * sizeof (gfloat));
      break;
    case MT3_DTYPE_F16:
      for (gsize i = 0; i < n; i++)
        out[i] = mt3_half_to_float (halves[i]);
      break;
    case MT3_DTYPE_BF16:
      for (gsize i = 0; i < n; i++)
        out[i] = mt3_bfloat_to_float (halves[i]);
      break;
  }
}

/* A transposed layout is contiguous down the columns: read in that order. */
static void
read_columns (const Mt3Tensor *tensor, gsize row, gsize n_rows, gsize column,
    gsize n_columns, gsize out_stride, gfloat *out)
{
  for (gsize c = 0; c < n_columns; c++) {
    gsize first = row * tensor->stride[0] + (column + c) * tensor->stride[1];

    for (gsize r = 0; r < n_rows; r++)
      out[r * out_stride + c] = read_element (
          tensor->dtype, tensor->data, first + r * tensor->stride[0]);
  }
}

void
mt3_tensor_read_block (const Mt3Tensor *tensor, gsize row, gsize n_rows,
    gsize column, gsize n_columns, gfloat *out)
{
  gboolean vector = tensor->n_dims < 2;
  gsize width = vector ? mt3_tensor_n_elements (tensor) : tensor->shape[1];
  gsize row_stride = vector ? 0 : tensor->stride[0];
  gsize column_stride = vector ? 1 : tensor->stride[1];
  gsize size = mt3_dtype_size (tensor->dtype);
  gsize inside = column < width ? MIN (n_columns, width - column) : 0;

  if (inside < n_columns)
    for (gsize r = 0; r < n_rows; r++)
      memset (out + r * n_columns + inside, 0,
          (n_columns - inside) * sizeof (gfloat));

  if (column_stride != 1) {
    read_columns (tensor, row, n_rows, column, inside, n_columns, out);
    return;
  }
  for (gsize r = 0; r < n_rows; r++)
    read_row (tensor->dtype,
        (const guint8 *) tensor->data +
            ((row + r) * row_stride + column) * size,
        inside, out + r * n_columns);
}

gboolean
mt3_tensor_fits_f16 (const Mt3Tensor *tensor)
{
  gsize n = mt3_tensor_n_elements (tensor);

  if (tensor->dtype == MT3_DTYPE_F16)
    return TRUE;
  for (gsize i = 0; i < n; i++) {
    gfloat value = read_element (tensor->dtype, tensor->data, i);

    if (mt3_half_to_float (mt3_float_to_half (value)) != value)
      return FALSE;
  }
  return TRUE;
}

/* Adding one to the exponent carries into the sign bit exactly when the
 * exponent was all ones, which is what Inf and NaN have in common. */
static gboolean
block_is_finite_u32 (const UnalignedU32 *bits)
{
  guint32 carry = 0;

  for (gsize i = 0; i < FINITE_BLOCK; i++)
    carry |= (bits[i] & 0x7f800000) + 0x00800000;
  return (carry & 0x80000000) == 0;
}

static gboolean
block_is_finite_u16 (const UnalignedU16 *bits, guint16 exponent, guint16 one)
{
  guint16 carry = 0;

  for (gsize i = 0; i < FINITE_BLOCK; i++)
    carry |= (guint16) ((bits[i] & exponent) + one);
  return (carry & 0x8000) == 0;
}

static gboolean
block_is_finite (Mt3DType dtype, const guint8 *data)
{
  switch (dtype) {
    case MT3_DTYPE_F32:
      return block_is_finite_u32 ((const UnalignedU32 *) data);
    case MT3_DTYPE_F16:
      return block_is_finite_u16 ((const UnalignedU16 *) data, 0x7c00, 0x0400);
    default:
      return block_is_finite_u16 ((const UnalignedU16 *) data, 0x7f80, 0x0080);
  }
}

gssize
mt3_tensor_find_nonfinite (const Mt3Tensor *tensor)
{
  gsize n = mt3_tensor_n_elements (tensor);
  gsize size = mt3_dtype_size (tensor->dtype);
  const guint8 *data = tensor->data;

  for (gsize start = 0; start < n; start += FINITE_BLOCK) {
    gsize end = MIN (n, start + FINITE_BLOCK);

    if (end - start == FINITE_BLOCK &&
        block_is_finite (tensor->dtype, data + start * size))
      continue;
    for (gsize i = start; i < end; i++) {
      gfloat value = read_element (tensor->dtype, data, i);

      if (value - value != 0.0f)
        return (gssize) i;
    }
  }
  return -1;
}
