/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Beam search over a language that is a table: what follows a text depends on
 * a number that its tokens make. For beam-tables.py.
 *
 * usage: beam-table N_BEAMS ALPHA MAX_TOKENS N_CONTEXTS N_TOKENS < LOGITS
 *
 * LOGITS: N_CONTEXTS rows of N_TOKENS floats, of the machine's own byte order.
 * Prints 1 if the text ended, else 0, and its tokens.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/beam.h"

typedef struct {
  guint n_contexts, n_tokens;
  gfloat *logits;
  guint contexts[MT3_MAX_BEAMS]; /* of the live texts */
} Table;

static gfloat
log_sum_exp (const gfloat *x, guint n)
{
  gdouble sum = 0.0;

  for (guint i = 0; i < n; i++)
    sum += exp (x[i]);
  return (gfloat) log (sum);
}

static void
follow_texts (Table *table, const Mt3BeamSearch *search)
{
  guint contexts[MT3_MAX_BEAMS];

  for (guint beam = 0; beam < search->n_live; beam++) {
    const Mt3BeamNode *last = mt3_beam_search_last (search, beam);

    contexts[beam] = (table->contexts[last->parent] * 31 + last->token + 1) %
                     table->n_contexts;
  }
  for (guint beam = 0; beam < search->n_live; beam++)
    table->contexts[beam] = contexts[beam];
}

static gboolean
step (Table *table, Mt3BeamSearch *search)
{
  guint n = mt3_beam_search_n_candidates (search);
  Mt3BeamCandidate candidates[2 * MT3_MAX_BEAMS * MT3_MAX_BEAMS];
  guint n_live = search->n_live;
  gboolean goes_on;

  for (guint beam = 0; beam < n_live; beam++) {
    const gfloat *logits =
        table->logits + table->contexts[beam] * table->n_tokens;

    mt3_beam_search_rank (search, beam, logits, table->n_tokens,
        log_sum_exp (logits, table->n_tokens), candidates + beam * n);
  }
  goes_on = mt3_beam_search_step (search, candidates, n_live * n);
  follow_texts (table, search);
  return goes_on;
}

int
main (int argc, char **argv)
{
  g_autoptr (Mt3BeamSearch) search = NULL;
  g_autofree gfloat *logits = NULL;
  g_autofree guint16 *tokens = NULL;
  g_autofree gfloat *log_probs = NULL;
  Table table = {0};
  Mt3Decoding decoding = MT3_DECODING_GREEDY;
  gboolean ended;
  guint n;

  if (argc != 6)
    return EXIT_FAILURE;
  decoding.beam_size = atoi (argv[1]);
  decoding.beam_alpha = (gfloat) g_ascii_strtod (argv[2], NULL);
  decoding.max_tokens = atoi (argv[3]);
  table.n_contexts = atoi (argv[4]);
  table.n_tokens = atoi (argv[5]);
  logits = table.logits = g_new (gfloat, table.n_contexts * table.n_tokens);
  if (fread (logits, sizeof *logits * table.n_tokens, table.n_contexts,
          stdin) != table.n_contexts)
    return EXIT_FAILURE;

  search = mt3_beam_search_new (&decoding);
  while (step (&table, search))
    continue;
  tokens = g_new (guint16, decoding.max_tokens);
  log_probs = g_new (gfloat, decoding.max_tokens);
  n = mt3_beam_search_read (search, tokens, log_probs, &ended);
  printf ("%d", ended);
  for (guint i = 0; i < n; i++)
    printf (" %u", tokens[i]);
  printf ("\n");
  return EXIT_SUCCESS;
}
