/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * staging.h: the folder in the user's cache where a download gathers, and stays
 * until it is complete: $XDG_CACHE_HOME/gst-mt3/fetch-KEY.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct _Mt3Staging Mt3Staging;

/**
 * mt3_staging_open:
 * @key: what is downloaded, as part of a file name
 *
 * Creates the folder or takes it as an earlier try left it, and locks it
 * against other processes.
 *
 * Returns: (transfer full): the folder, or %NULL with %MT3_ERROR_IO
 */
Mt3Staging *mt3_staging_open (const gchar *key, GError **error);

/* Unlocks; what is in the folder stays. */
void mt3_staging_close (Mt3Staging *staging);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Mt3Staging, mt3_staging_close)

const gchar *mt3_staging_path (const Mt3Staging *staging);

/**
 * mt3_staging_file:
 * @name: of one or two components
 *
 * Returns: (transfer full): the path of a file in the folder, whose own folder
 *   now exists; or %NULL with %MT3_ERROR_IO
 */
gchar *mt3_staging_file (
    const Mt3Staging *staging, const gchar *name, GError **error);

/* Removes the files of these names and what folders are empty then. */
void mt3_staging_remove (
    const Mt3Staging *staging, const gchar *const *names, guint n_names);

G_END_DECLS
