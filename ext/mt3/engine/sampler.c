/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/sampler.h"

#include <math.h>
#include <stdlib.h>

/* The finaliser of splitmix64 (Steele, Lea and Flood 2014). */
static guint64
mix (guint64 x)
{
  x = (x ^ (x >> 30)) * G_GUINT64_CONSTANT (0xbf58476d1ce4e5b9);
  x = (x ^ (x >> 27)) * G_GUINT64_CONSTANT (0x94d049bb133111eb);
  return x ^ (x >> 31);
}

gdouble
mt3_sampler_uniform (guint64 seed, guint64 index, guint position)
{
  const guint64 golden = G_GUINT64_CONSTANT (0x9e3779b97f4a7c15);
  guint64 x = mix (seed + golden);

  x = mix (x + index * golden + golden);
  x = mix (x + position * golden + golden);
  return (gdouble) (x >> 11) * 0x1p-53;
}

static gint
compare_candidates (gconstpointer a, gconstpointer b)
{
  const Mt3Candidate *x = a, *y = b;

  if (x->weight != y->weight)
    return x->weight > y->weight ? -1 : 1;
  return x->token < y->token ? -1 : 1;
}

guint
mt3_sampler_best (const gfloat *logits, guint n, const Mt3Decoding *decoding,
    const Mt3TokenState *state)
{
  gfloat largest = -INFINITY;
  guint best = MT3_TOKEN_EOS;

  for (guint i = 0; i < n; i++) {
    if (logits[i] <= largest || !mt3_decoding_permits (decoding, state, i))
      continue;
    largest = logits[i];
    best = i;
  }
  return best;
}

/* The permitted tokens, with weights relative to the most probable one's.
 * Returns how many; the sum of their weights goes to @sum. */
static guint
weigh (const gfloat *logits, guint n, const Mt3Decoding *decoding,
    const Mt3TokenState *state, Mt3Candidate *candidates, gdouble *sum)
{
  const gfloat largest = logits[mt3_sampler_best (logits, n, decoding, state)];
  guint n_permitted = 0;

  *sum = 0.0;
  for (guint i = 0; i < n; i++) {
    gdouble weight;

    if (!mt3_decoding_permits (decoding, state, i))
      continue;
    weight = exp (((gdouble) logits[i] - largest) / decoding->temperature);
    candidates[n_permitted++] = (Mt3Candidate){weight, i};
    *sum += weight;
  }
  return n_permitted;
}

/* How many of the sorted candidates stay. */
static guint
count_kept (const Mt3Candidate *candidates, guint n,
    const Mt3Decoding *decoding, gdouble sum)
{
  guint most = decoding->top_k > 0 ? MIN (decoding->top_k, n) : n;
  gdouble reached = 0.0;

  if (decoding->top_p >= 1.0f)
    return most;
  for (guint i = 0; i < most; i++) {
    reached += candidates[i].weight;
    if (reached >= decoding->top_p * sum)
      return i + 1;
  }
  return most;
}

guint
mt3_sampler_draw (const gfloat *logits, guint n, const Mt3Decoding *decoding,
    const Mt3TokenState *state, guint64 index, guint position,
    Mt3Candidate *candidates)
{
  gdouble sum, target = 0.0;
  guint n_permitted = weigh (logits, n, decoding, state, candidates, &sum);
  guint n_kept;

  if (n_permitted == 0)
    return MT3_TOKEN_EOS;
  qsort (candidates, n_permitted, sizeof *candidates, compare_candidates);
  n_kept = count_kept (candidates, n_permitted, decoding, sum);
  for (guint i = 0; i < n_kept; i++)
    target += candidates[i].weight;
  target *= mt3_sampler_uniform (decoding->seed, index, position);

  for (guint i = 0; i + 1 < n_kept; i++) {
    target -= candidates[i].weight;
    if (target < 0.0)
      return candidates[i].token;
  }
  return candidates[n_kept - 1].token;
}
