/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * derive.h: the configuration of a checkpoint, from what its file says and
 * from the shapes of its tensors.
 */
#pragma once

#include "checkpoint/mapping.h"
#include "checkpoint/model-config.h"

G_BEGIN_DECLS

/**
 * mt3_config_derive:
 *
 * For each number, the first of: the metadata MT3_CONFIG_KEY or else a
 * config.json beside the file that is of such a model; the tensors' shapes; the
 * published model of that vocabulary size (1664: the piano model; any other:
 * multitrack).
 *
 * Returns: %FALSE, with %MT3_ERROR_MODEL or %MT3_ERROR_FORMAT, when the file's
 *   own words are unusable; @config is then as good as it can be
 */
gboolean mt3_config_derive (Mt3Config *config, const Mt3Archive *archive,
    const Mt3Mapping *mapping, GError **error);

G_END_DECLS
