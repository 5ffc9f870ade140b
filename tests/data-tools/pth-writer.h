/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * pth-writer.h: writes state dicts as torch.save does, for tests: the zip file
 * with its entries stored and aligned, and the pickle of protocol 2.
 */
#pragma once

#include "random-model.h"

G_BEGIN_DECLS

/**
 * PthOptions:
 * @dtype: what the tensors are written as
 * @wrapper: (nullable): the state dict stands under this key, beside "epoch"
 * @prefix: (nullable): before every name
 * @transposed: matrices are stored column by column
 * @shared: all tensors lie in one storage
 */
typedef struct {
  Mt3DType dtype;
  const gchar *wrapper;
  const gchar *prefix;
  gboolean transposed;
  gboolean shared;
} PthOptions;

/* The file of a model. */
GBytes *pth_write (const RandomModel *model, const PthOptions *options);

/* A file with this data.pkl and one storage data/0 of @storage_size zeros. */
GBytes *pth_write_pickle (
    gconstpointer pickle, gsize length, gsize storage_size);

G_END_DECLS
