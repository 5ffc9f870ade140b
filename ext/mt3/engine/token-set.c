/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/token-set.h"

#include <string.h>

static guint
n_words (guint n_tokens)
{
  return (n_tokens + 31) / 32;
}

Mt3TokenSet *
mt3_token_set_new (guint n_tokens)
{
  Mt3TokenSet *set =
      g_malloc0 (sizeof *set + n_words (n_tokens) * sizeof set->bits[0]);

  g_atomic_ref_count_init (&set->ref_count);
  set->n_tokens = n_tokens;
  return set;
}

Mt3TokenSet *
mt3_token_set_ref (const Mt3TokenSet *set)
{
  Mt3TokenSet *self = (Mt3TokenSet *) set;

  if (self != NULL)
    g_atomic_ref_count_inc (&self->ref_count);
  return self;
}

void
mt3_token_set_unref (const Mt3TokenSet *set)
{
  Mt3TokenSet *self = (Mt3TokenSet *) set;

  if (self != NULL && g_atomic_ref_count_dec (&self->ref_count))
    g_free (self);
}

void
mt3_token_set_add (Mt3TokenSet *set, guint token)
{
  g_return_if_fail (token < set->n_tokens);

  set->bits[token / 32] |= 1u << (token % 32);
}

gboolean
mt3_token_set_equal (const Mt3TokenSet *a, const Mt3TokenSet *b)
{
  if (a == NULL || b == NULL)
    return a == b;
  return a->n_tokens == b->n_tokens &&
         memcmp (a->bits, b->bits, n_words (a->n_tokens) * sizeof a->bits[0]) ==
             0;
}
