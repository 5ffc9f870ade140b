/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * t5x-writer.h: writes T5X checkpoints as Google's tools do, for tests: vectors
 * inline in the tree, matrices as gzip-compressed zarr folders, and the
 * optimizer's state beside the parameters.
 */
#pragma once

#include "random-model.h"

/**
 * T5xOptions:
 * @bare: the tree starts at "target", as newer T5X writes it; else at
 *   "optimizer", with "state" beside "target"
 * @dtype: of the zarr arrays, "<f4" (default) or "<f2"
 */
typedef struct {
  gboolean bare;
  const gchar *dtype;
} T5xOptions;

/* Writes into @folder, which exists. @model has T5X names. */
void t5x_write (
    const RandomModel *model, const gchar *folder, const T5xOptions *options);

/* Writes @length bytes to a new gzip file. */
void t5x_write_gzip (const gchar *path, gconstpointer data, gsize length);
