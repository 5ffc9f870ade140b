/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/beam.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static gdouble
brevity_penalty (const Mt3BeamSearch *self, guint length)
{
  return pow ((5.0 + length) / 6.0, self->decoding->beam_alpha);
}

static Mt3BeamNode *
node_at (const Mt3BeamSearch *self, guint position, guint beam)
{
  return &self->nodes[(gsize) position * self->n_beams + beam];
}

Mt3BeamSearch *
mt3_beam_search_new (const Mt3Decoding *decoding)
{
  Mt3BeamSearch *self = g_new0 (Mt3BeamSearch, 1);

  self->decoding = decoding;
  self->n_beams = decoding->beam_size;
  self->n_live = 1;
  self->states[0] = mt3_token_order_start (&decoding->order);
  self->nodes =
      g_new (Mt3BeamNode, (gsize) decoding->max_tokens * self->n_beams);
  return self;
}

void
mt3_beam_search_free (Mt3BeamSearch *self)
{
  if (self == NULL)
    return;
  g_free (self->nodes);
  g_free (self);
}

/* Puts token @i among the @n_kept best so far, of at most @most. Returns how
 * many there are then. */
static guint
insert_token (
    guint *best, guint n_kept, guint most, const gfloat *logits, guint i)
{
  guint at;

  if (n_kept == most && !(logits[i] > logits[best[most - 1]]))
    return n_kept;
  at = n_kept < most ? n_kept++ : most - 1;
  for (; at > 0 && logits[i] > logits[best[at - 1]]; at--)
    best[at] = best[at - 1];
  best[at] = i;
  return n_kept;
}

void
mt3_beam_search_rank (const Mt3BeamSearch *self, guint beam,
    const gfloat *logits, guint n, gfloat normaliser,
    Mt3BeamCandidate *candidates)
{
  guint most = mt3_beam_search_n_candidates (self), n_kept = 0;
  guint best[2 * MT3_MAX_BEAMS];

  for (guint i = 0; i < n; i++)
    if (mt3_decoding_permits (self->decoding, &self->states[beam], i))
      n_kept = insert_token (best, n_kept, most, logits, i);
  if (n_kept == 0)
    best[n_kept++] = MT3_TOKEN_EOS;
  for (guint i = 0; i < n_kept; i++)
    candidates[i] =
        (Mt3BeamCandidate){beam, best[i], logits[best[i]] - normaliser};
  for (guint i = n_kept; i < most; i++)
    candidates[i] = (Mt3BeamCandidate){beam, MT3_TOKEN_EOS, -INFINITY};
}

static gint
compare_candidates (gconstpointer a, gconstpointer b, gpointer data)
{
  const Mt3BeamSearch *self = data;
  const Mt3BeamCandidate *x = a, *y = b;
  gdouble x_sum = self->sums[x->beam] + x->log_prob;
  gdouble y_sum = self->sums[y->beam] + y->log_prob;

  if (x_sum != y_sum)
    return x_sum > y_sum ? -1 : 1;
  if (x->beam != y->beam)
    return x->beam < y->beam ? -1 : 1;
  return x->token < y->token ? -1 : x->token > y->token;
}

/* The live text @beam ends here. */
static void
finish_text (Mt3BeamSearch *self, guint beam, gdouble sum)
{
  gdouble score = sum / brevity_penalty (self, self->n_tokens + 1);
  guint at = self->n_finished;

  if (at < self->n_beams)
    self->n_finished++;
  else if (score <= self->finished[--at].score)
    return;
  for (; at > 0 && score > self->finished[at - 1].score; at--)
    self->finished[at] = self->finished[at - 1];
  self->finished[at] = (Mt3BeamEnding){score, self->n_tokens, beam};
}

/* Log-probabilities only fall, so no live text can score better than the best
 * of them would if it ended as it is, at the greatest length. That T5X takes
 * for one more than there can be. */
static gboolean
can_improve (const Mt3BeamSearch *self)
{
  if (self->n_finished < self->n_beams)
    return TRUE;
  return self->finished[self->n_beams - 1].score <=
         self->sums[0] / brevity_penalty (self, self->decoding->max_tokens + 1);
}

gboolean
mt3_beam_search_step (
    Mt3BeamSearch *self, Mt3BeamCandidate *candidates, guint n)
{
  guint most = MIN (n, mt3_beam_search_n_candidates (self)), n_live = 0;
  gdouble sums[MT3_MAX_BEAMS];
  Mt3TokenState states[MT3_MAX_BEAMS];

  g_qsort_with_data (
      candidates, n, sizeof *candidates, compare_candidates, self);
  for (guint i = 0; i < most; i++) {
    const Mt3BeamCandidate *next = &candidates[i];
    gdouble sum = self->sums[next->beam] + next->log_prob;

    if (!(sum > -INFINITY))
      break;
    if (next->token == MT3_TOKEN_EOS) {
      finish_text (self, next->beam, sum);
    } else if (n_live < self->n_beams) {
      *node_at (self, self->n_tokens, n_live) =
          (Mt3BeamNode){next->token, next->beam, next->log_prob};
      states[n_live] = self->states[next->beam];
      mt3_token_order_follow (
          &self->decoding->order, &states[n_live], (int) next->token);
      sums[n_live++] = sum;
    }
  }
  memcpy (self->sums, sums, n_live * sizeof *sums);
  memcpy (self->states, states, n_live * sizeof *states);
  self->n_live = n_live;
  self->n_tokens++;
  return n_live > 0 && self->n_tokens < self->decoding->max_tokens &&
         can_improve (self);
}

const Mt3BeamNode *
mt3_beam_search_last (const Mt3BeamSearch *self, guint beam)
{
  return node_at (self, self->n_tokens - 1, beam);
}

guint
mt3_beam_search_in_common (
    const Mt3BeamSearch *self, guint n_tokens, guint a, guint b)
{
  while (n_tokens > 0 && a != b) {
    n_tokens--;
    a = node_at (self, n_tokens, a)->parent;
    b = node_at (self, n_tokens, b)->parent;
  }
  return n_tokens;
}

guint
mt3_beam_search_read (const Mt3BeamSearch *self, guint16 *tokens,
    gfloat *log_probs, gboolean *ended)
{
  guint n_tokens, beam = 0;

  *ended = self->n_finished > 0;
  if (*ended)
    beam = self->finished[0].beam;
  n_tokens = *ended             ? self->finished[0].n_tokens
             : self->n_live > 0 ? self->n_tokens
                                : 0;
  for (guint i = n_tokens; i-- > 0;) {
    const Mt3BeamNode *node = node_at (self, i, beam);

    tokens[i] = node->token;
    log_probs[i] = node->log_prob;
    beam = node->parent;
  }
  return n_tokens;
}
