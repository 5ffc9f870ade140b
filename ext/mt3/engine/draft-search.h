/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * draft-search.h: where the draft network of a model is looked for.
 */
#pragma once

#include "checkpoint/draft.h"

G_BEGIN_DECLS

/**
 * mt3_draft_search:
 *
 * The file that the environment variable GST_MT3_DRAFT names, if it names one;
 * no draft network if it is "none". Otherwise the first draft.safetensors in
 * the places of mt3_model_places() that is sound and was made for @model: the
 * others are passed over, since the model runs without, too.
 *
 * Returns: (transfer full): the network; %NULL when there is none for @model;
 *   %NULL with %MT3_ERROR_DRAFT, and the reason, when the file that was named
 *   is missing, damaged or for another model
 */
Mt3Draft *mt3_draft_search (const Mt3Model *model, GError **error);

G_END_DECLS
