/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * model.h: a validated checkpoint: configuration plus every tensor of the
 * network under its canonical (T5X) name, whatever file it came from.
 */
#pragma once

#include "checkpoint/model-config.h"
#include "checkpoint/tensor.h"

G_BEGIN_DECLS

typedef struct _Mt3Model Mt3Model;

/**
 * mt3_model_open:
 * @path: a T5X directory (or its `checkpoint` file), a `.safetensors` file or a
 *   PyTorch state dict (`.pth`; both T5X or Hugging Face T5 names; F32, F16,
 *   BF16)
 *
 * Opens, maps names, derives the configuration and validates every name,
 * shape, dtype and value. Files are memory-mapped: their tensors are views
 * into the page cache. Safe to call from any thread; may block on disk.
 *
 * Returns: (transfer full): the model, or %NULL with an #MT3_ERROR that names
 * the file and the tensor, what was expected and what was found.
 */
Mt3Model *mt3_model_open (const gchar *path, GError **error);

Mt3Model *mt3_model_ref (Mt3Model *model);
void mt3_model_unref (Mt3Model *model);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Mt3Model, mt3_model_unref)

const gchar *mt3_model_path (const Mt3Model *model);
const Mt3Config *mt3_model_config (const Mt3Model *model);

/* Parameters in all tensors. */
guint64 mt3_model_n_parameters (const Mt3Model *model);

/* All tensors in the canonical order of the schema. */
const Mt3Tensor *mt3_model_tensors (const Mt3Model *model, guint *n_tensors);

/* A tensor by canonical name, e.g.
 *   mt3_model_tensor (model, "decoder/layers_%u/mlp/wo/kernel", layer)
 * Never NULL for a name of the schema: the model was validated. */
const Mt3Tensor *mt3_model_tensor (
    const Mt3Model *model, const gchar *format, ...) G_GNUC_PRINTF (2, 3);

/* Free-form metadata of the file ("license", "name", "data"...) or NULL. */
const gchar *mt3_model_metadata (const Mt3Model *model, const gchar *key);

/* Tells the kernel that the mapped pages are not needed for now (an engine
 * calls it once its own packed copy is made, so that resident memory holds
 * the weights once). The tensors stay valid. */
void mt3_model_release_pages (Mt3Model *model);

G_END_DECLS
