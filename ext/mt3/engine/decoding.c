/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/decoding.h"

#include <string.h>

gboolean
mt3_decoding_equal (const Mt3Decoding *a, const Mt3Decoding *b)
{
  return a->max_tokens == b->max_tokens && a->temperature == b->temperature &&
         a->top_k == b->top_k && a->top_p == b->top_p && a->seed == b->seed &&
         a->beam_size == b->beam_size && a->beam_alpha == b->beam_alpha &&
         memcmp (&a->order, &b->order, sizeof a->order) == 0 &&
         mt3_token_set_equal (a->allowed, b->allowed);
}

Mt3Decoding
mt3_decoding_copy (const Mt3Decoding *decoding)
{
  mt3_token_set_ref (decoding->allowed);
  return *decoding;
}

void
mt3_decoding_clear (Mt3Decoding *decoding)
{
  mt3_token_set_unref (decoding->allowed);
  decoding->allowed = NULL;
}
