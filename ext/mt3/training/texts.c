/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "training/texts.h"

#define END_TOKEN 1

void
mt3_texts_start (const Mt3TokenOrder *order, Mt3TokenState *states, guint n)
{
  for (guint i = 0; i < n; i++)
    states[i] = mt3_token_order_start (order);
}

void
mt3_texts_permitted (const Mt3TokenOrder *order, const Mt3TokenState *states,
    guint n, guint vocab_size, guint8 *permitted)
{
  for (guint i = 0; i < n; i++)
    for (guint token = 0; token < vocab_size; token++)
      *permitted++ =
          mt3_token_order_permits (order, &states[i], (int) token, END_TOKEN);
}

void
mt3_texts_follow (const Mt3TokenOrder *order, Mt3TokenState *states, guint n,
    const gint64 *tokens)
{
  for (guint i = 0; i < n; i++)
    mt3_token_order_follow (order, &states[i], (int) tokens[i]);
}
