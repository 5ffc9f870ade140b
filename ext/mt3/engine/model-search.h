/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * model-search.h: where a model is looked for when nobody named one.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/**
 * mt3_model_search:
 * @model_file: (nullable): what the user asked for; returned as it is
 *
 * Otherwise, in this order: the environment variable GST_MT3_MODEL;
 * gst-mt3/model.safetensors in $XDG_DATA_HOME and each of $XDG_DATA_DIRS; the
 * model installed with the plugin (MT3_DATADIR/model.safetensors).
 *
 * Returns: (transfer full): a path, or %NULL with MT3_ERROR_NOT_FOUND that
 * lists every place looked at and says what to do.
 */
gchar *mt3_model_search (const gchar *model_file, GError **error);

/* Where a file of this name that belongs to models is looked for, best first:
 * gst-mt3 in $XDG_DATA_HOME and each of $XDG_DATA_DIRS, and MT3_DATADIR.
 * Returns: (transfer full): array of paths, whether or not there is such a file
 */
GPtrArray *mt3_model_places (const gchar *name);

G_END_DECLS
