/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * pth.h: PyTorch state dicts, as torch.save writes them since version 1.6: a
 * zip file with the pickle data.pkl, which names the tensors, and one entry
 * data/KEY for each storage.
 *
 * Sources: torch/serialization.py (_save: persistent ids), torch/_utils.py
 * (_rebuild_tensor_v2), caffe2/serialize/inline_container.h (layout).
 */
#pragma once

#include "checkpoint/archive.h"

G_BEGIN_DECLS

/* Whether a file is to be read as PyTorch's: by its first bytes (of a zip file,
 * or of the format before 1.6, which mt3_pth_read() refuses), or by a name that
 * ends in .pth or .pt. */
gboolean mt3_pth_is_likely (const gchar *path);

/**
 * mt3_pth_read:
 *
 * Maps the file: the entries point into the page cache. The state dict is the
 * top of the pickle, or what stands there under "state_dict",
 * "model_state_dict" or "model"; a prefix "module.", "model." or "_orig_mod."
 * that all names share is left out. Nothing in the file is executed (see
 * pickle.h). Tensors must be dense: row-major, or a transposed matrix.
 *
 * Returns: (transfer full): the archive, or %NULL with an #MT3_ERROR that
 *   names the file and the tensor
 */
Mt3Archive *mt3_pth_read (const gchar *path, GError **error);

/* The same from the file's bytes; @path is for messages. */
Mt3Archive *mt3_pth_read_bytes (
    GBytes *bytes, const gchar *path, GError **error);

G_END_DECLS
