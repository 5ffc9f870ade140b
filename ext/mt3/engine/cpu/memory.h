/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * memory.h: large blocks of memory for the CPU backend.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* The size of the pages that a block is made of. Huge ones for what is read
 * at random and used to its end; small ones for what grows. */
typedef enum { MT3_PAGES_SMALL, MT3_PAGES_HUGE } Mt3Pages;

/**
 * mt3_memory_new:
 * @what: for the message, "the weights"
 *
 * Address space that reads as zeros and becomes resident as it is written,
 * aligned for any vector (and to huge pages, if these).
 *
 * Returns: the block, or %NULL with #MT3_ERROR_MEMORY.
 */
gpointer mt3_memory_new (
    gsize n_bytes, Mt3Pages pages, const gchar *what, GError **error);
void mt3_memory_free (gpointer memory, gsize n_bytes);

/* Gives back the small pages that lie wholly in a part of a block; they read
 * as zeros again. */
void mt3_memory_discard (gpointer start, gsize n_bytes);

G_END_DECLS
