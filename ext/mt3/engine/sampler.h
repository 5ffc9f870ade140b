/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * sampler.h: which token follows, given its logits.
 */
#pragma once

#include "engine/decoding.h"

G_BEGIN_DECLS

/* A token that may be drawn, with its weight. */
typedef struct {
  gdouble weight;
  guint token;
} Mt3Candidate;

/**
 * mt3_sampler_uniform:
 *
 * The number in [0, 1) that decides the draw at @position of window @index: a
 * hash of the three, so that draws need no state and depend on nothing else.
 */
gdouble mt3_sampler_uniform (guint64 seed, guint64 index, guint position);

/* The most probable of the @n tokens that @decoding permits to follow a text in
 * @state; of equals the lower one, the end where there is none. */
guint mt3_sampler_best (const gfloat *logits, guint n,
    const Mt3Decoding *decoding, const Mt3TokenState *state);

/**
 * mt3_sampler_draw:
 * @logits: @n of them, finite
 * @decoding: with a temperature above 0
 * @candidates: scratch for @n
 *
 * Draws one of the permitted tokens with probability softmax (logits /
 * temperature) among the top_k most probable, and of those among the fewest
 * whose probabilities (of all that are permitted) reach top_p; at least one
 * stays. Among equals the lower token comes first. The end where none is
 * permitted.
 */
guint mt3_sampler_draw (const gfloat *logits, guint n,
    const Mt3Decoding *decoding, const Mt3TokenState *state, guint64 index,
    guint position, Mt3Candidate *candidates);

G_END_DECLS
