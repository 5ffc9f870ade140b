/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * zip.h: the entries of a zip file whose data is stored as it is.
 * PKWARE APPNOTE.TXT 6.3.10, sections 4.3.7 (local header), 4.3.12 (central
 * directory), 4.3.16 (its end).
 *
 * The libraries for zip (libzip, minizip) copy what they read and do not tell
 * where in the file it lies, so that weights would be in memory twice. Without
 * decompression a zip file is no more than a table of offsets, read here.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/**
 * mt3_zip_read:
 * @file: the whole file
 * @path: names it in messages
 *
 * Every extent is checked. Checksums are not: the writer of the files that we
 * read can leave them out, and values are judged later anyhow. Files that need
 * the zip64 extension (4 GiB, or 65535 entries) are refused.
 *
 * Returns: (transfer full): name -> #GBytes, views of @file that keep it alive;
 *   or %NULL with %MT3_ERROR_FORMAT
 */
GHashTable *mt3_zip_read (GBytes *file, const gchar *path, GError **error);

G_END_DECLS
