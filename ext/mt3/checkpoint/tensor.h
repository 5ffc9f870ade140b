/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * tensor.h: one named array of a checkpoint, as its file stores it.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef enum {
  MT3_DTYPE_F32,
  MT3_DTYPE_F16,
  MT3_DTYPE_BF16,
} Mt3DType;

#define MT3_TENSOR_MAX_DIMS 4

/**
 * Mt3Tensor:
 *
 * A view: @data belongs to the #Mt3Model. Matrices are logically [in, out]
 * ([rows, columns]) whatever the file's layout: a reader of a transposed
 * layout (Hugging Face stores [out, in]) swaps @shape and @stride.
 */
typedef struct {
  const gchar *name; /* canonical: T5X, "encoder/layers_0/mlp/wo/kernel" */
  Mt3DType dtype;
  guint n_dims;
  gsize shape[MT3_TENSOR_MAX_DIMS];
  gsize stride[MT3_TENSOR_MAX_DIMS]; /* in elements */
  gconstpointer data; /* little endian, maybe unaligned */
} Mt3Tensor;

gsize mt3_dtype_size (Mt3DType dtype);
const gchar *mt3_dtype_name (Mt3DType dtype); /* "F32", "F16", "BF16" */
gsize mt3_tensor_n_elements (const Mt3Tensor *tensor);

/**
 * mt3_tensor_read_block:
 * @tensor: a tensor of one or two dimensions; a vector counts as one row
 * @out: n_rows * n_columns floats, row-major
 *
 * Reads rows [row, row + n_rows) and columns [column, column + n_columns) as
 * float32, converting F16 and BF16 exactly. Columns past the tensor's last
 * read as 0, so that a packer need not treat the last panel apart. Thread
 * safe; the hot path of opening a model (contiguous F32 is a row-wise copy).
 */
void mt3_tensor_read_block (const Mt3Tensor *tensor, gsize row, gsize n_rows,
    gsize column, gsize n_columns, gfloat *out);

/* TRUE when every element is exactly a float16 (then float16 storage in an
 * engine loses nothing). Reads the whole tensor unless it is stored as F16. */
gboolean mt3_tensor_fits_f16 (const Mt3Tensor *tensor);

/* Index of the first element that is Inf or NaN, or -1. */
gssize mt3_tensor_find_nonfinite (const Mt3Tensor *tensor);

G_END_DECLS
