/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * json.h: JSON from files that may be damaged or hostile.
 */
#pragma once

#include <json-glib/json-glib.h>

G_BEGIN_DECLS

/* No JSON that a checkpoint carries nests deeper than 3. */
#define MT3_JSON_MAX_DEPTH 16

/**
 * mt3_json_parse:
 * @what: what the text is, for the message ("model.safetensors: the header")
 *
 * Parses @length bytes that must be one JSON object. Strict where json-glib is
 * lenient (comments, single quotes) and bounded where it recurses.
 *
 * Returns: (transfer full): the root node, an object, or %NULL with
 *   %MT3_ERROR_FORMAT
 */
JsonNode *mt3_json_parse (
    const gchar *text, gsize length, const gchar *what, GError **error);

/* Members of the wanted type; FALSE or NULL when absent or of another. */
const gchar *mt3_json_string (JsonObject *object, const gchar *member);
JsonObject *mt3_json_object (JsonObject *object, const gchar *member);

/* Reads an array of 0 to @max non-negative integers. */
gboolean mt3_json_sizes (
    JsonObject *object, const gchar *member, guint max, guint *n, gsize *sizes);

G_END_DECLS
