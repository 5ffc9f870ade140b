/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * token-set.h: which tokens a window may be written with.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct _Mt3TokenSet Mt3TokenSet;

/**
 * Mt3TokenSet:
 * @n_tokens: size of the vocabulary that it was made for
 * @bits: token t is in the set when bit t % 32 of bits[t / 32] is set; bits
 *   from n_tokens on are clear
 *
 * Immutable once it is shared; references may be taken and dropped by any
 * thread. The end token must be in the set.
 */
struct _Mt3TokenSet {
  gatomicrefcount ref_count;
  guint n_tokens;
  guint32 bits[];
};

/* An empty set. */
Mt3TokenSet *mt3_token_set_new (guint n_tokens);

/* Both accept NULL. */
Mt3TokenSet *mt3_token_set_ref (const Mt3TokenSet *set);
void mt3_token_set_unref (const Mt3TokenSet *set);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Mt3TokenSet, mt3_token_set_unref)

/* For who makes it, before it is shared. */
void mt3_token_set_add (Mt3TokenSet *set, guint token);

/* Any id is safe: a file decides how large its vocabulary is, and what lies
 * beyond it is in no set. */
static inline gboolean
mt3_token_set_contains (const Mt3TokenSet *set, guint token)
{
  return token < set->n_tokens &&
         (set->bits[token / 32] >> (token % 32) & 1) != 0;
}

gboolean mt3_token_set_equal (const Mt3TokenSet *a, const Mt3TokenSet *b);

G_END_DECLS
