/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "checkpoint/json.h"
#include "error.h"

#include <string.h>

/* One object, not too deep. json-glib reads nested values recursively and
 * skips comments, in which brackets could hide from this count: so nothing but
 * JSON's own characters may stand outside strings. And it leaks all but the
 * last of several roots: so there may be only one. */
static gboolean
is_bounded_object (const gchar *text, gsize length)
{
  static const gchar blank[] = " \t\r\n";
  static const gchar inside[] = " \t\r\n:,.+-0123456789"
                                "abcdefghijklmnopqrstuvwxyzE";
  gboolean in_string = FALSE, begun = FALSE;
  guint depth = 0;

  for (gsize i = 0; i < length; i++) {
    gchar c = text[i];

    if (in_string) {
      if (c == '\\')
        i++;
      else if (c == '"')
        in_string = FALSE;
    } else if (c == '{' || (c == '[' && depth > 0)) {
      if (++depth > MT3_JSON_MAX_DEPTH || (depth == 1 && begun))
        return FALSE;
      begun = TRUE;
    } else if (depth > 0 && c == '"') {
      in_string = TRUE;
    } else if (depth > 0 && (c == '}' || c == ']')) {
      depth--;
    } else if (c == '\0' || strchr (depth > 0 ? inside : blank, c) == NULL) {
      return FALSE;
    }
  }
  return begun && depth == 0;
}

JsonNode *
mt3_json_parse (
    const gchar *text, gsize length, const gchar *what, GError **error)
{
  g_autoptr (JsonParser) parser = json_parser_new_immutable ();
  g_autoptr (GError) cause = NULL;
  JsonNode *root;

  if (length == 0 || !g_utf8_validate_len (text, length, NULL) ||
      !is_bounded_object (text, length)) {
    g_set_error (error, MT3_ERROR, MT3_ERROR_FORMAT,
        "%s is not a JSON object (damaged, or nested deeper than %d)", what,
        MT3_JSON_MAX_DEPTH);
    return NULL;
  }
  if (!json_parser_load_from_data (parser, text, (gssize) length, &cause)) {
    g_set_error (error, MT3_ERROR, MT3_ERROR_FORMAT, "%s is not JSON: %s", what,
        cause->message);
    return NULL;
  }
  root = json_parser_get_root (parser);
  if (root == NULL || !JSON_NODE_HOLDS_OBJECT (root)) {
    g_set_error (
        error, MT3_ERROR, MT3_ERROR_FORMAT, "%s is not a JSON object", what);
    return NULL;
  }
  return json_node_ref (root);
}

const gchar *
mt3_json_string (JsonObject *object, const gchar *member)
{
  JsonNode *node = json_object_get_member (object, member);

  if (node == NULL || !JSON_NODE_HOLDS_VALUE (node) ||
      json_node_get_value_type (node) != G_TYPE_STRING)
    return NULL;
  return json_node_get_string (node);
}

JsonObject *
mt3_json_object (JsonObject *object, const gchar *member)
{
  JsonNode *node = json_object_get_member (object, member);

  if (node == NULL || !JSON_NODE_HOLDS_OBJECT (node))
    return NULL;
  return json_node_get_object (node);
}

gboolean
mt3_json_sizes (
    JsonObject *object, const gchar *member, guint max, guint *n, gsize *sizes)
{
  JsonNode *node = json_object_get_member (object, member);
  JsonArray *array;

  if (node == NULL || !JSON_NODE_HOLDS_ARRAY (node))
    return FALSE;
  array = json_node_get_array (node);
  *n = json_array_get_length (array);
  if (*n > max)
    return FALSE;
  for (guint i = 0; i < *n; i++) {
    JsonNode *item = json_array_get_element (array, i);

    if (!JSON_NODE_HOLDS_VALUE (item) ||
        json_node_get_value_type (item) != G_TYPE_INT64 ||
        json_node_get_int (item) < 0)
      return FALSE;
    sizes[i] = (gsize) json_node_get_int (item);
  }
  return TRUE;
}
