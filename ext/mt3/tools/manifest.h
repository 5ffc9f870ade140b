/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * manifest.h: the files of a checkpoint and their SHA-256, as sha256sum and
 * "mt3-model verify" list them.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* The published checkpoint has 295 files in 36 kB. */
#define MT3_MANIFEST_MAX_BYTES (1024 * 1024)

/**
 * Mt3ManifestFile:
 * @name: relative, of one or two components of letters, digits and "._-", as
 *   the files of a T5X checkpoint have: safe as a path and in a URL
 * @sha256: in lower-case hex
 */
typedef struct {
  gchar *name;
  gchar *sha256;
} Mt3ManifestFile;

/**
 * mt3_manifest_parse:
 * @what: names the text in messages
 *
 * Returns: (transfer full): array of #Mt3ManifestFile, not empty; or %NULL with
 *   %MT3_ERROR_FORMAT
 */
GPtrArray *mt3_manifest_parse (
    const gchar *text, gsize length, const gchar *what, GError **error);

/* A manifest of one file, or NULL with %MT3_ERROR_FORMAT for a name that no
 * manifest may have. */
GPtrArray *mt3_manifest_of_file (
    const gchar *name, const gchar *sha256, GError **error);

/* The text of the manifest of the multitrack model that Google publishes. */
GBytes *mt3_manifest_published (void);

G_END_DECLS
