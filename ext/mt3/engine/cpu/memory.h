/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * memory.h: large blocks of memory for the CPU backend.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/**
 * mt3_memory_new:
 * @what: for the message, "the weights"
 *
 * Address space that reads as zeros and becomes resident as it is written, in
 * huge pages where the system has them: aligned for those and for any vector.
 *
 * Returns: the block, or %NULL with #MT3_ERROR_MEMORY.
 */
gpointer mt3_memory_new (gsize n_bytes, const gchar *what, GError **error);
void mt3_memory_free (gpointer memory, gsize n_bytes);

/* Gives the pages of a part of a block back; it reads as zeros again. Only
 * whole huge pages inside the part are given back. */
void mt3_memory_discard (gpointer start, gsize n_bytes);

/* A pointer aligned as mt3_memory_new() wants blocks to follow each other. */
gsize mt3_memory_round_up (gsize n_bytes);

G_END_DECLS
