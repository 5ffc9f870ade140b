/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * decoding.h: how tokens are chosen, and the window result that every backend
 * returns. Shared by the scheduler and all backends.
 */
#pragma once

#include "engine/token-set.h"
#include "kernels/token-order.h"

G_BEGIN_DECLS

#define MT3_TOKEN_START 0 /* decoder input before the first token (= pad) */
#define MT3_TOKEN_EOS 1

/* The most beams of a search. */
#define MT3_MAX_BEAMS 16

/**
 * Mt3Decoding:
 * @max_tokens: stop after this many tokens without an end token; 0 means the
 *   model's own limit
 * @temperature: 0 is greedy (the reference); otherwise logits are divided by
 *   it and a token is drawn
 * @top_k: draw among the k most probable tokens only; 0 is all
 * @top_p: draw among the fewest tokens whose probabilities reach p; 1 is all
 * @seed: of the draw; together with the window's index and the token position
 *   it decides every draw, so a result depends on nothing else (not on batch,
 *   slot, thread or device count)
 * @allowed: (nullable): the only tokens that may be chosen, greedily or drawn;
 *   NULL is all. Log-probabilities stay those of the model, over all tokens.
 *   Made for the model's vocab_size. Borrowed: a stream takes a reference of
 *   its own, which each of its windows keeps until its transcript is popped
 * @beam_size: 0 or 1: one text, token by token; more: a search among so many
 *   (engine/beam.h), which draws nothing: temperature must be 0. The engine
 *   must have been opened for it; one that was not takes as many as it can
 * @beam_alpha: of a search: the longer a text, the more its probability is
 *   raised; 0 is not at all
 * @order: that texts keep; only for models whose configuration says
 *   ordered_events. Where @allowed leaves nothing that keeps it, the text ends
 */
typedef struct {
  guint max_tokens;
  gfloat temperature;
  guint top_k;
  gfloat top_p;
  guint64 seed;
  const Mt3TokenSet *allowed;
  guint beam_size;
  gfloat beam_alpha;
  Mt3TokenOrder order;
} Mt3Decoding;

#define MT3_DECODING_GREEDY ((Mt3Decoding){0, 0.0f, 0, 1.0f, 0, NULL, 1, 0.0f})

gboolean mt3_decoding_equal (const Mt3Decoding *a, const Mt3Decoding *b);

/* @decoding with a reference of its own to what is allowed; give it back with
 * mt3_decoding_clear(). */
Mt3Decoding mt3_decoding_copy (const Mt3Decoding *decoding);
void mt3_decoding_clear (Mt3Decoding *decoding);

/* Whether @token may follow a text in @state. */
static inline gboolean
mt3_decoding_permits (
    const Mt3Decoding *decoding, const Mt3TokenState *state, guint token)
{
  return (decoding->allowed == NULL ||
             mt3_token_set_contains (decoding->allowed, token)) &&
         (!mt3_token_order_exists (&decoding->order) ||
             mt3_token_order_permits (
                 &decoding->order, state, (int) token, MT3_TOKEN_EOS));
}

G_END_DECLS
