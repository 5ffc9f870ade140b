/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * safetensors-writer.h: writes .safetensors files (see safetensors.h).
 */
#pragma once

#include "checkpoint/tensor.h"

G_BEGIN_DECLS

/* Called now and then while writing, with bytes done and in all. */
typedef void (*Mt3Progress) (guint64 done, guint64 total, gpointer user_data);

/**
 * Mt3SafetensorsWrite:
 * @tensors: of one or two dimensions, written row-major under their names
 * @dtype: F32 or F16, what all of them are written as. F16 rounds to nearest
 *   and refuses a value that would become Inf
 * @metadata: (nullable): string -> string
 */
typedef struct {
  const Mt3Tensor *tensors;
  guint n_tensors;
  Mt3DType dtype;
  GHashTable *metadata;
  Mt3Progress progress;
  gpointer user_data;
} Mt3SafetensorsWrite;

/**
 * mt3_safetensors_output:
 *
 * Returns: (transfer full): the file that writing @path makes or replaces: what
 *   @path links to, if it is a link; %NULL with %MT3_ERROR_IO when something
 *   else than a file is there, or a link to nothing
 */
gchar *mt3_safetensors_output (const gchar *path, GError **error);

/**
 * mt3_safetensors_write:
 *
 * Writes a temporary file in the folder of mt3_safetensors_output(), syncs it
 * to disk and renames it: whatever happens, @path is either the old file or the
 * whole new one. A link stays, and leads to the new one. The temporary file has
 * no name while it is written, where the file system allows, so that nothing of
 * it stays when the process is killed; if it then cannot get one, it is written
 * again and @what's progress starts over. The same input gives the same bytes.
 *
 * Returns: %FALSE with %MT3_ERROR_IO, or %MT3_ERROR_MODEL that names the tensor
 */
gboolean mt3_safetensors_write (
    const gchar *path, const Mt3SafetensorsWrite *what, GError **error);

G_END_DECLS
