/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * schema.h: the tensors that an MT3 network of given dimensions has (source:
 * magenta/mt3, mt3/network.py), and those of a draft network (draft.h).
 */
#pragma once

#include "checkpoint/model-config.h"

G_BEGIN_DECLS

/**
 * Mt3SchemaTensor:
 * @name: canonical
 * @shape: [rows, columns] = [in, out] of a matrix, or [length] of a vector
 */
typedef struct {
  gchar *name;
  guint n_dims;
  gsize shape[2];
} Mt3SchemaTensor;

/* All tensors in canonical order: encoder input to output, decoder input to
 * output. Returns: (transfer full): array of #Mt3SchemaTensor */
GArray *mt3_schema_new (const Mt3Config *config);

/* Likewise of a draft network for a model of this configuration. */
GArray *mt3_draft_schema_new (const Mt3Config *config);

G_END_DECLS
