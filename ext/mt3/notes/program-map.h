/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * program-map.h: which instrument takes the part of which.
 */
#pragma once

#include "notes/program-set.h"

G_BEGIN_DECLS

#define MT3_PROGRAM_OFF (-1)

/**
 * Mt3ProgramMap:
 * @programs: what becomes of program p: a program, or MT3_PROGRAM_OFF, whose
 *   notes are left out
 * @drums: whether drums stay
 */
typedef struct {
  gint16 programs[MT3_N_PROGRAMS];
  gboolean drums;
} Mt3ProgramMap;

/* Changes nothing. */
void mt3_program_map_init (Mt3ProgramMap *map);

/**
 * mt3_program_map_parse:
 * @text: "piano=0, 40-47=String Ensemble 1, drums=off": assignments between
 *   commas, each of instruments as mt3_program_set_add() knows them to one
 *   program by its number or name, or to "off"
 * @error: MT3_ERROR_FORMAT; says what was not understood and what would be
 *
 * Fills @map. Each assignment speaks of the instruments as they were decoded,
 * none of the result of another; of two that speak of the same instrument the
 * later counts. Drums can only be left out: their keys are no pitches.
 */
gboolean mt3_program_map_parse (
    const gchar *text, Mt3ProgramMap *map, GError **error);

G_END_DECLS
