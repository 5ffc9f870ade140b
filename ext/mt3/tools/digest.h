/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * digest.h: SHA-256 (FIPS 180-4) of a checkpoint, whether file or directory.
 */
#pragma once

#include <glib.h>
#include <string.h>

G_BEGIN_DECLS

#define MT3_SHA256_LENGTH 64 /* in hex */

/* The list of a directory's files, beside them. */
#define MT3_DIGEST_LIST "SHA256SUMS"

/* Whether @text is a SHA-256 in hex. */
static inline gboolean
mt3_is_sha256 (const gchar *text)
{
  return strlen (text) == MT3_SHA256_LENGTH &&
         strspn (text, "0123456789abcdefABCDEF") == MT3_SHA256_LENGTH;
}

/* (transfer full): the digest of a file in hex; NULL with %MT3_ERROR_IO. */
gchar *mt3_digest_file (const gchar *path, GError **error);

/**
 * mt3_digest_print:
 * @path: a file, or a directory, whose files are taken in the order of their
 *   names, but for a list of them in #MT3_DIGEST_LIST: its own digest cannot
 *   stand in it
 *
 * Prints a line "HEX  NAME" for each file, as sha256sum does.
 *
 * Returns: (transfer full): the digest in hex: of the file, or of the lines
 *   printed for a directory; %NULL with %MT3_ERROR_IO
 */
gchar *mt3_digest_print (const gchar *path, GError **error);

G_END_DECLS
