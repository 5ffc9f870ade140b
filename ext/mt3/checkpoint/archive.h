/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * archive.h: what a checkpoint file holds, under the file's own names and in
 * its own layout, before anything is known about MT3. The readers (t5x.h,
 * safetensors.h, pth.h) fill one; report.h makes sense of it.
 */
#pragma once

#include "checkpoint/tensor.h"

G_BEGIN_DECLS

/**
 * Mt3ArchiveEntry:
 * @tensor: named and laid out as in the file (row-major)
 * @dtype_name: the dtype in the file's own words ("F32", "<f4", "int8")
 * @readable: whether @dtype_name is one of #Mt3DType; if not, @tensor has no
 *   data and is only there to be reported
 */
typedef struct {
  Mt3Tensor tensor;
  const gchar *dtype_name;
  gboolean readable;
} Mt3ArchiveEntry;

typedef struct {
  gchar *path;
  gchar *config_json; /* of a config.json beside the tensors, or NULL */
  GArray *entries; /* Mt3ArchiveEntry, in file order */
  GHashTable *metadata; /* owned string -> owned string */
  GStringChunk *strings;
  GPtrArray *buffers; /* GBytes that entries point into */
  GBytes *mapping; /* the buffer that is a mapped file, or NULL */
} Mt3Archive;

Mt3Archive *mt3_archive_new (const gchar *path);
void mt3_archive_free (Mt3Archive *archive);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Mt3Archive, mt3_archive_free)

/**
 * mt3_archive_read:
 * @path: a T5X directory or its `checkpoint` file, a safetensors file, or a
 *   PyTorch state dict
 *
 * Chooses the reader by what @path is. Values and names are not judged.
 *
 * Returns: (transfer full): the archive, or %NULL with an #MT3_ERROR, whose
 *   message is as mt3_printable() has it: the readers say what files say
 */
Mt3Archive *mt3_archive_read (const gchar *path, GError **error);

/* For the readers: a file's content, mapped. NULL with MT3_ERROR_NOT_FOUND,
 * MT3_ERROR_FORMAT (it is a pipe, a folder or the like), MT3_ERROR_MEMORY or
 * MT3_ERROR_IO. Never waits for a pipe. */
GBytes *mt3_archive_map_file (const gchar *path, GError **error);

/* Adds an entry; copies the strings, not the data. @shape has n_dims (at most
 * MT3_TENSOR_MAX_DIMS) numbers. */
void mt3_archive_add (Mt3Archive *archive, const gchar *name,
    const gchar *dtype_name, guint n_dims, const gsize *shape,
    gconstpointer data);

/* Keeps @buffer (transfer full) alive as long as the archive. */
void mt3_archive_keep (Mt3Archive *archive, GBytes *buffer);

/* The dtype of a name in any of the formats' words: "F32", "<f4", "float32"
 * and so on. FALSE when it is not one of #Mt3DType. */
gboolean mt3_dtype_from_name (const gchar *name, Mt3DType *dtype);

/* Bytes of an array, or FALSE when they exceed MT3_ARRAY_MAX_BYTES. */
#define MT3_ARRAY_MAX_BYTES (G_GUINT64_CONSTANT (1) << 31)
gboolean mt3_array_bytes (
    guint n_dims, const gsize *shape, gsize element, gsize *bytes);

/* "512 x 384", for messages; free with g_free(). */
gchar *mt3_shape_to_string (guint n_dims, const gsize *shape);

G_END_DECLS
