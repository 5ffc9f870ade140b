/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * beam.h: beam search: several texts of a window grow side by side, and the
 * most probable one that ends is the result.
 *
 * The rules are those of beam_search() in T5X (t5x/decoding.py). In a step each
 * live text is continued by every token. Of all continuations the
 * 2 n_beams most probable are looked at: those that end are finished, and the
 * first n_beams of the others live on. The score of a finished text is its
 * log-probability / ((5 + length) / 6) ^ alpha, its end token counted (Wu et
 * al. 2016, without coverage); the n_beams best are kept. The search ends when
 * these are so good that no live text can still become better, or at
 * max_tokens.
 *
 * Sums of log-probabilities are double here and float there, so a tie to the
 * last bit may go another way.
 */
#pragma once

#include "engine/decoding.h"

G_BEGIN_DECLS

/* A live text and the token that may follow it. */
typedef struct {
  guint beam;
  guint token;
  gfloat log_prob; /* of the token; -INFINITY: there is none */
} Mt3BeamCandidate;

/* A token of a live text; @parent is the beam of the token before it. */
typedef struct {
  guint16 token;
  guint16 parent;
  gfloat log_prob;
} Mt3BeamNode;

/* A finished text: the first n_tokens of those that end in @beam. */
typedef struct {
  gdouble score;
  guint n_tokens; /* without the end token */
  guint beam;
} Mt3BeamEnding;

/**
 * Mt3BeamSearch:
 * @n_tokens: of each live text
 * @n_live: 1 at first, the empty text
 * @sums: log-probabilities of the live texts, the best first
 * @states: of the live texts, if they keep an order
 * @finished: the best first
 * @nodes: [max_tokens][n_beams]
 *
 * The search in one window. Used by one thread at a time.
 */
typedef struct {
  const Mt3Decoding *decoding;
  guint n_beams;
  guint n_tokens;
  guint n_live;
  gdouble sums[MT3_MAX_BEAMS];
  Mt3TokenState states[MT3_MAX_BEAMS];
  guint n_finished;
  Mt3BeamEnding finished[MT3_MAX_BEAMS];
  Mt3BeamNode *nodes;
} Mt3BeamSearch;

/* @decoding: with a beam_size of 1 to MT3_MAX_BEAMS, and max_tokens of 1 or
 * more; must live as long. */
Mt3BeamSearch *mt3_beam_search_new (const Mt3Decoding *decoding);
void mt3_beam_search_free (Mt3BeamSearch *search);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Mt3BeamSearch, mt3_beam_search_free)

/* Continuations that a live text gives to a step. */
static inline guint
mt3_beam_search_n_candidates (const Mt3BeamSearch *search)
{
  return 2 * search->n_beams;
}

/**
 * mt3_beam_search_rank:
 * @logits: @n of them, what follows the live text @beam
 * @normaliser: log (sum (e^logits))
 * @candidates: room for mt3_beam_search_n_candidates(), all of which are
 *   written: the most probable that are permitted first, of equals the lower
 *   token; the end where none is
 *
 * Does not change the search, so texts may be ranked in parallel.
 */
void mt3_beam_search_rank (const Mt3BeamSearch *search, guint beam,
    const gfloat *logits, guint n, gfloat normaliser,
    Mt3BeamCandidate *candidates);

/**
 * mt3_beam_search_step:
 * @candidates: those of all live texts, @n of them; their order is changed
 *
 * Returns: whether the search goes on.
 */
gboolean mt3_beam_search_step (
    Mt3BeamSearch *search, Mt3BeamCandidate *candidates, guint n);

/* The last token of the live text @beam, and the text it goes on from, by its
 * number before the last step. After a step only. */
const Mt3BeamNode *mt3_beam_search_last (
    const Mt3BeamSearch *search, guint beam);

/* How many of their first @n_tokens tokens the texts that are @a and @b at that
 * length have in common. */
guint mt3_beam_search_in_common (
    const Mt3BeamSearch *search, guint n_tokens, guint a, guint b);

/**
 * mt3_beam_search_read:
 * @tokens, @log_probs: room for max_tokens
 * @ended: (out): FALSE when no text ended, and the best live one is read
 *
 * The result. Returns: how many tokens, without the end token.
 */
guint mt3_beam_search_read (const Mt3BeamSearch *search, guint16 *tokens,
    gfloat *log_probs, gboolean *ended);

G_END_DECLS
