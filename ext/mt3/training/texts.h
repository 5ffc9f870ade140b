/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * texts.h: the order of texts (kernels/token-order.h), many texts at once: what
 * Python asks while it decodes.
 */
#pragma once

#include "vocabulary/event-order.h"

G_BEGIN_DECLS

/* @states: [@n] of empty texts. */
void mt3_texts_start (
    const Mt3TokenOrder *order, Mt3TokenState *states, guint n);

/* @permitted: (out): [@n][@vocab_size] whether each token may follow. */
void mt3_texts_permitted (const Mt3TokenOrder *order,
    const Mt3TokenState *states, guint n, guint vocab_size, guint8 *permitted);

/* Each text goes on with one of @tokens. */
void mt3_texts_follow (const Mt3TokenOrder *order, Mt3TokenState *states,
    guint n, const gint64 *tokens);

G_END_DECLS
