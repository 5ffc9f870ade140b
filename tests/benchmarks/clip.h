/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * clip.h: a recording cut into windows, and the tokens it should give.
 */
#pragma once

#include <json-glib/json-glib.h>

#include "windows/windower.h"

G_BEGIN_DECLS

/* Windows of a file of 16 kHz mono audio (any format of libsndfile), or NULL
 * and an #MT3_ERROR. Elements: #Mt3Window. */
GPtrArray *clip_read (
    const gchar *path, const Mt3Config *config, GError **error);

/* Writes @windows in a row, as they were read, to a WAV file of 16 bits. */
gboolean clip_write_wav (const GPtrArray *windows, const Mt3Config *config,
    const gchar *path, GError **error);

/* A copy of @window as the @index-th of a stream. */
Mt3Window *clip_copy_window (const Mt3Window *window, const Mt3Config *config,
    guint64 index, gboolean last);

/* The array of that name in a file's JSON object, or NULL and an error. */
JsonArray *golden_read_array (
    const gchar *path, const gchar *name, GError **error);

/* Reads a tokens.json ({"segments": [[start, [token, ...]], ...]}). Elements:
 * GArray of guint16. */
GPtrArray *golden_read (const gchar *path, GError **error);

/* TRUE when @tokens are the @i-th of @golden. */
gboolean golden_matches (
    const GPtrArray *golden, guint i, const guint16 *tokens, guint n_tokens);

G_END_DECLS
