/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * safetensors.h: reader of .safetensors files: eight bytes with the length of
 * a JSON header, the header, then the arrays.
 * https://github.com/huggingface/safetensors#format
 */
#pragma once

#include "checkpoint/archive.h"

G_BEGIN_DECLS

/* 189 tensors need 30 kB. */
#define MT3_SAFETENSORS_MAX_HEADER (16u * 1024 * 1024)

/**
 * mt3_safetensors_read:
 *
 * Maps the file: the entries point into the page cache. As the format demands,
 * the arrays must fill the space behind the header without gap or overlap.
 *
 * Who replaces the file while it is open must do so by renaming another over
 * it, as safetensors-writer.h does: cutting a mapped file short kills its
 * readers (SIGBUS).
 *
 * Returns: (transfer full): the archive, or %NULL with an #MT3_ERROR that
 *   names the file and the tensor
 */
Mt3Archive *mt3_safetensors_read (const gchar *path, GError **error);

/* The same from the file's bytes; @path is for messages. */
Mt3Archive *mt3_safetensors_read_bytes (
    GBytes *bytes, const gchar *path, GError **error);

G_END_DECLS
