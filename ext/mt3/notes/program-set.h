/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * program-set.h: instruments by what people call them.
 */
#pragma once

#include "checkpoint/model-config.h"
#include "engine/token-set.h"

G_BEGIN_DECLS

#define MT3_N_PROGRAMS 128

/**
 * Mt3ProgramSet: some of the instruments
 * @programs: General MIDI program p is in the set when bit p % 32 of
 *   programs[p / 32] is set
 */
typedef struct {
  guint32 programs[MT3_N_PROGRAMS / 32];
  gboolean drums;
} Mt3ProgramSet;

static inline gboolean
mt3_program_set_contains (const Mt3ProgramSet *set, guint program)
{
  return (set->programs[program / 32] >> (program % 32) & 1) != 0;
}

/**
 * mt3_program_set_add:
 * @name: a General MIDI program by its name ("Violin") or number from 0
 *   ("40"), a range of numbers ("40-47"), one of the 16 classes of programs
 *   ("Strings", programs 40 to 47), or "drums"; upper and lower case and
 *   spaces around it do not matter
 * @error: MT3_ERROR_FORMAT; says what was not understood and what would be
 *
 * Adds what @name stands for.
 */
gboolean mt3_program_set_add (
    Mt3ProgramSet *set, const gchar *name, GError **error);

/**
 * mt3_program_set_parse:
 * @text: names as mt3_program_set_add() knows them, between commas
 *
 * Fills @set. There must be something between any two commas.
 */
gboolean mt3_program_set_parse (
    const gchar *text, Mt3ProgramSet *set, GError **error);

/**
 * mt3_program_set_tokens:
 * @config: of the model that is to write the tokens
 *
 * A program in @set allows the one that the model writes for it: a model that
 * tells only families apart writes a cello as its first bowed string.
 *
 * Returns: (transfer full): all tokens but those of programs that are not in
 *   @set, of drum hits if drums are not, and of pitches if only drums are
 */
Mt3TokenSet *mt3_program_set_tokens (
    const Mt3ProgramSet *set, const Mt3Config *config);

G_END_DECLS
