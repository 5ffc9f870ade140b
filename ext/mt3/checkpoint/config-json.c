/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "checkpoint/config-json.h"
#include "checkpoint/json.h"
#include "error.h"

#include <string.h>

typedef enum { UINT, DOUBLE, BOOLEAN } Type;

typedef struct {
  const gchar *name;
  gsize offset;
  Type type;
  gdouble min, max;
} Field;

#define MEMBER(name) #name, G_STRUCT_OFFSET(Mt3Config, name)

/* The bounds only keep products within 32 bits and loops within reason. */
static const Field fields[] = {
    {MEMBER (sample_rate), UINT, 1000, 384000},
    {MEMBER (hop_length), UINT, 1, 65536},
    {MEMBER (fft_length), UINT, 16, 65536},
    {MEMBER (n_mels), UINT, 1, 8192},
    {MEMBER (mel_low_hz), DOUBLE, 0, 192000},
    {MEMBER (mel_high_hz), DOUBLE, 0, 192000},
    {MEMBER (window_frames), UINT, 1, 8192},
    {MEMBER (d_model), UINT, 4, 16384},
    {MEMBER (n_heads), UINT, 1, 256},
    {MEMBER (head_dim), UINT, 1, 1024},
    {MEMBER (encoder_layers), UINT, 1, 256},
    {MEMBER (decoder_layers), UINT, 1, 256},
    {MEMBER (encoder_d_ff), UINT, 1, 65536},
    {MEMBER (decoder_d_ff), UINT, 1, 65536},
    {MEMBER (vocab_size), UINT, 4, 65536},
    {MEMBER (max_tokens), UINT, 1, 65536},
    {MEMBER (velocity_bins), UINT, 1, 127},
    {MEMBER (ties), BOOLEAN, 0, 1},
    {MEMBER (ordered_events), BOOLEAN, 0, 1},
};

/* What one shift reaches. */
#define MAX_ORDERED_SECONDS 10

/* 128 numbers: the program that is written for each. */
#define PROGRAMS "written_programs"
/* The bit behind those of the table. */
#define PROGRAMS_BIT ((Mt3ConfigMask) 1 << G_N_ELEMENTS (fields))

G_STATIC_ASSERT (G_N_ELEMENTS (fields) < 32);

static const struct {
  const gchar *hugging_face;
  const gchar *name;
} aliases[] = {
    {"d_kv", "head_dim"},
    {"num_heads", "n_heads"},
    {"num_layers", "encoder_layers"},
    {"num_decoder_layers", "decoder_layers"},
    {"d_ff", "encoder_d_ff"},
    {"d_ff", "decoder_d_ff"},
};

static gdouble
get_field (const Mt3Config *config, const Field *field)
{
  if (field->type == DOUBLE)
    return G_STRUCT_MEMBER (gdouble, config, field->offset);
  return G_STRUCT_MEMBER (guint, config, field->offset);
}

static void
set_field (Mt3Config *config, const Field *field, gdouble value)
{
  if (field->type == DOUBLE)
    G_STRUCT_MEMBER (gdouble, config, field->offset) = value;
  else
    G_STRUCT_MEMBER (guint, config, field->offset) = (guint) value;
}

static const Field *
find_field (const gchar *name)
{
  for (gsize i = 0; i < G_N_ELEMENTS (fields); i++)
    if (g_str_equal (fields[i].name, name))
      return &fields[i];
  return NULL;
}

static Mt3ConfigMask
field_bit (const Field *field)
{
  return (Mt3ConfigMask) 1 << (field - fields);
}

static gboolean
has_groups (const Mt3Config *config)
{
  for (guint i = 0; i < MT3_CONFIG_PROGRAMS; i++)
    if (mt3_config_written_program (config, i) != i)
      return TRUE;
  return FALSE;
}

static void
add_programs (JsonBuilder *builder, const Mt3Config *config)
{
  json_builder_set_member_name (builder, PROGRAMS);
  json_builder_begin_array (builder);
  for (guint i = 0; i < MT3_CONFIG_PROGRAMS; i++)
    json_builder_add_int_value (
        builder, mt3_config_written_program (config, i));
  json_builder_end_array (builder);
}

gchar *
mt3_config_to_json (const Mt3Config *config)
{
  g_autoptr (JsonBuilder) builder = json_builder_new ();
  g_autoptr (JsonNode) root = NULL;

  json_builder_begin_object (builder);
  for (gsize i = 0; i < G_N_ELEMENTS (fields); i++) {
    gdouble value = get_field (config, &fields[i]);

    json_builder_set_member_name (builder, fields[i].name);
    if (fields[i].type == BOOLEAN)
      json_builder_add_boolean_value (builder, value != 0.0);
    else if (fields[i].type == DOUBLE)
      json_builder_add_double_value (builder, value);
    else
      json_builder_add_int_value (builder, (gint64) value);
  }
  if (has_groups (config))
    add_programs (builder, config);
  json_builder_end_object (builder);
  root = json_builder_get_root (builder);
  return json_to_string (root, FALSE);
}

/* The number that @node holds; FALSE when it holds something else. */
static gboolean
node_number (JsonNode *node, gboolean boolean, gdouble *value)
{
  GType type;

  if (!JSON_NODE_HOLDS_VALUE (node))
    return FALSE;
  type = json_node_get_value_type (node);
  if (boolean) {
    *value = json_node_get_boolean (node);
    return type == G_TYPE_BOOLEAN;
  }
  *value = json_node_get_double (node);
  return type == G_TYPE_INT64 || type == G_TYPE_DOUBLE;
}

static gboolean
take_member (Mt3Config *config, Mt3ConfigMask *given, JsonObject *object,
    const gchar *member, const Field *field, const gchar *what, GError **error)
{
  JsonNode *node = json_object_get_member (object, member);
  gdouble value = 0;

  if (node == NULL || JSON_NODE_HOLDS_NULL (node))
    return TRUE;
  if (!node_number (node, field->type == BOOLEAN, &value) ||
      !(value >= field->min && value <= field->max) ||
      (field->type != DOUBLE && value != (guint) value)) {
    g_autofree gchar *found = json_to_string (node, FALSE);

    g_set_error (error, MT3_ERROR, MT3_ERROR_MODEL,
        "%s: %s is %.40s; expected %s from %g to %g", what, member, found,
        field->type == DOUBLE ? "a number" : "a whole number or truth value",
        field->min, field->max);
    return FALSE;
  }
  set_field (config, field, value);
  *given |= field_bit (field);
  return TRUE;
}

static gboolean
take_programs (Mt3Config *config, Mt3ConfigMask *given, JsonObject *object,
    const gchar *what, GError **error)
{
  JsonNode *node = json_object_get_member (object, PROGRAMS);
  gsize written[MT3_CONFIG_PROGRAMS];
  guint n;
  gboolean valid;

  if (node == NULL || JSON_NODE_HOLDS_NULL (node))
    return TRUE;
  valid = mt3_json_sizes (object, PROGRAMS, MT3_CONFIG_PROGRAMS, &n, written) &&
          n == MT3_CONFIG_PROGRAMS;
  for (guint i = 0; valid && i < n; i++)
    /* What stands for others must stand for itself. */
    valid = written[i] < n && written[written[i]] == written[i];
  if (!valid) {
    g_set_error (error, MT3_ERROR, MT3_ERROR_MODEL,
        "%s: " PROGRAMS " is no list of %u programs, each the one that is "
        "written for its place",
        what, MT3_CONFIG_PROGRAMS);
    return FALSE;
  }
  for (guint i = 0; i < n; i++)
    config->written_programs[i] = written[i] == i ? 0 : written[i] + 1;
  *given |= PROGRAMS_BIT;
  return TRUE;
}

gboolean
mt3_config_parse (Mt3Config *config, Mt3ConfigMask *given, const gchar *text,
    const gchar *what, GError **error)
{
  g_autoptr (JsonNode) root = mt3_json_parse (text, strlen (text), what, error);
  JsonObject *object;

  *given = 0;
  if (root == NULL)
    return FALSE;
  object = json_node_get_object (root);
  for (gsize i = 0; i < G_N_ELEMENTS (aliases); i++)
    if (!take_member (config, given, object, aliases[i].hugging_face,
            find_field (aliases[i].name), what, error))
      return FALSE;
  for (gsize i = 0; i < G_N_ELEMENTS (fields); i++)
    if (!take_member (
            config, given, object, fields[i].name, &fields[i], what, error))
      return FALSE;
  return take_programs (config, given, object, what, error);
}

gboolean
mt3_config_is_for_mt3 (const gchar *text)
{
  g_autoptr (JsonNode) root =
      mt3_json_parse (text, strlen (text), "config.json", NULL);
  const gchar *type = NULL;

  if (root != NULL)
    type = mt3_json_string (json_node_get_object (root), "model_type");
  return g_strcmp0 (type, "t5") == 0 || g_strcmp0 (type, "mt3") == 0;
}

void
mt3_config_overlay (
    Mt3Config *config, const Mt3Config *from, Mt3ConfigMask mask)
{
  for (gsize i = 0; i < G_N_ELEMENTS (fields); i++)
    if (mask & field_bit (&fields[i]))
      set_field (config, &fields[i], get_field (from, &fields[i]));
  if (mask & PROGRAMS_BIT)
    memcpy (config->written_programs, from->written_programs,
        sizeof config->written_programs);
}

gboolean
mt3_config_mask_has (Mt3ConfigMask mask, const gchar *field)
{
  return (mask & field_bit (find_field (field))) != 0;
}

gboolean
mt3_config_check (const Mt3Config *config, GError **error)
{
  for (gsize i = 0; i < G_N_ELEMENTS (fields); i++) {
    gdouble value = get_field (config, &fields[i]);

    if (value < fields[i].min || value > fields[i].max) {
      g_set_error (error, MT3_ERROR, MT3_ERROR_MODEL,
          "the model's %s is %g; expected %g to %g", fields[i].name, value,
          fields[i].min, fields[i].max);
      return FALSE;
    }
  }
  if (config->d_model % 2 != 0) {
    g_set_error (error, MT3_ERROR, MT3_ERROR_MODEL,
        "the model's d_model is %u; the position table needs an even number",
        config->d_model);
    return FALSE;
  }
  if (config->mel_low_hz >= config->mel_high_hz ||
      config->mel_high_hz > config->sample_rate / 2.0) {
    g_set_error (error, MT3_ERROR, MT3_ERROR_MODEL,
        "the model's mel bins span %g to %g Hz; expected a rising range up to "
        "half its sample rate, %u Hz",
        config->mel_low_hz, config->mel_high_hz, config->sample_rate);
    return FALSE;
  }
  if (config->ordered_events && mt3_config_window_samples (config) >
                                    MAX_ORDERED_SECONDS * config->sample_rate) {
    g_set_error (error, MT3_ERROR, MT3_ERROR_MODEL,
        "the model's windows last more than %d s; texts with ordered_events "
        "have one token for any time in a window",
        MAX_ORDERED_SECONDS);
    return FALSE;
  }
  return TRUE;
}
