/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * t5x.h: T5X checkpoints as Google publishes them: a folder with a msgpack
 * file `checkpoint` (the tree of parameters; small arrays inline, large ones
 * as references) and one zarr folder for each large array.
 *
 * Sources: t5x/checkpoints.py (references, "optimizer/target" or "target"),
 * flax/serialization.py (ext type 1: msgpack of [shape, dtype, bytes]).
 */
#pragma once

#include "checkpoint/archive.h"

G_BEGIN_DECLS

/**
 * mt3_t5x_read:
 * @folder: holds `checkpoint` and the zarr folders
 *
 * Reads the parameters, not the optimizer's state. Names are the tree's, joined
 * by slashes, without the leading "target". Arrays are decompressed by several
 * threads.
 *
 * Returns: (transfer full): the archive, or %NULL with an #MT3_ERROR that
 *   names the file and the tensor
 */
Mt3Archive *mt3_t5x_read (const gchar *folder, GError **error);

/* The same from the bytes of `checkpoint`; references are looked up in
 * @folder. */
Mt3Archive *mt3_t5x_read_tree (
    GBytes *tree, const gchar *folder, GError **error);

G_END_DECLS
