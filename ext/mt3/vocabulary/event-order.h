/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * event-order.h: the order that a model's events have, in tokens.
 */
#pragma once

#include "checkpoint/model-config.h"
#include "engine/token-set.h"
#include "kernels/token-order.h"

G_BEGIN_DECLS

/**
 * mt3_event_order:
 * @config: of the model that is to write the tokens
 * @allowed: (nullable): the only tokens that it may write, all shifts,
 *   velocities and the tie among them
 *
 * Returns: the order of the model's texts, of what it may write of them; none
 *   unless @config says that it keeps one. Any thread.
 */
Mt3TokenOrder mt3_event_order (
    const Mt3Config *config, const Mt3TokenSet *allowed);

G_END_DECLS
