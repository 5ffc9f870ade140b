/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * config-json.h: #Mt3Config as JSON, the value of the safetensors metadata key
 * MT3_CONFIG_KEY and what a config.json beside a checkpoint may hold.
 */
#pragma once

#include "checkpoint/model-config.h"

G_BEGIN_DECLS

#define MT3_CONFIG_KEY "mt3.config"

/* Which fields a JSON text gave: bit i is field i of the table, the next one
 * the list of programs. */
typedef guint32 Mt3ConfigMask;

/* All fields under their names in #Mt3Config; free with g_free(). */
gchar *mt3_config_to_json (const Mt3Config *config);

/**
 * mt3_config_parse:
 * @config: fields that @text does not give stay as they are
 * @given: (out): which it gives
 * @what: names the text in messages
 *
 * Takes our names and those of a Hugging Face T5 config.json (d_kv, num_heads,
 * num_layers, num_decoder_layers, d_ff); other members and nulls are ignored.
 */
gboolean mt3_config_parse (Mt3Config *config, Mt3ConfigMask *given,
    const gchar *text, const gchar *what, GError **error);

/* Whether a config.json is of such a model: its model_type is "t5" (Hugging
 * Face) or "mt3". Folders hold many files of that name, and what one says of
 * the front end no shape contradicts. */
gboolean mt3_config_is_for_mt3 (const gchar *text);

/* Copies the fields in @mask. */
void mt3_config_overlay (
    Mt3Config *config, const Mt3Config *from, Mt3ConfigMask mask);

/* TRUE when @mask holds the field of this name. */
gboolean mt3_config_mask_has (Mt3ConfigMask mask, const gchar *field);

/* FALSE, with %MT3_ERROR_MODEL, for numbers that no network can have. */
gboolean mt3_config_check (const Mt3Config *config, GError **error);

G_END_DECLS
