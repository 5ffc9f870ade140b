/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * zarr.h: an array in a folder of the zarr storage format, version 2, as
 * TensorStore writes it under T5X: `.zarray` (JSON) and one gzip chunk.
 * https://zarr-specs.readthedocs.io/en/latest/v2/v2.0.html
 */
#pragma once

#include "checkpoint/tensor.h"

G_BEGIN_DECLS

/**
 * Mt3Zarr:
 *
 * What `.zarray` says. One chunk that spans the array, C order, no filters.
 */
typedef struct {
  gchar dtype[16]; /* in numpy's words, "<f4" */
  guint n_dims;
  gsize shape[MT3_TENSOR_MAX_DIMS];
  gboolean compressed; /* gzip or zlib, which inflate tells apart */
  gchar separator; /* between the chunk's indices: '.' or '/' */
} Mt3Zarr;

/* Parses the text of a `.zarray`; @what names it in messages. */
gboolean mt3_zarr_parse (const gchar *text, gsize length, const gchar *what,
    Mt3Zarr *zarr, GError **error);

/**
 * mt3_zarr_decode:
 * @chunk: the chunk's bytes as stored; @what names it in messages
 *
 * Returns: (transfer full): exactly the bytes of the array; or %NULL with
 *   %MT3_ERROR_FORMAT, when the dtype is not readable, too. Never allocates
 *   more than deflate could have packed into @chunk.
 */
GBytes *mt3_zarr_decode (
    const Mt3Zarr *zarr, GBytes *chunk, const gchar *what, GError **error);

/**
 * mt3_zarr_read:
 * @folder: holds `.zarray` and the chunk
 * @array: (out): its bytes, (transfer full), or %NULL when the dtype is not
 *   one of #Mt3DType (then only @zarr is filled)
 */
gboolean mt3_zarr_read (
    const gchar *folder, Mt3Zarr *zarr, GBytes **array, GError **error);

G_END_DECLS
