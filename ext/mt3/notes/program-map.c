/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "notes/program-map.h"

#include "error.h"

void
mt3_program_map_init (Mt3ProgramMap *map)
{
  for (guint program = 0; program < MT3_N_PROGRAMS; program++)
    map->programs[program] = (gint16) program;
  map->drums = TRUE;
}

/* The only program in @set, or MT3_PROGRAM_OFF if there is not one alone. */
static gint16
only_program (const Mt3ProgramSet *set)
{
  gint16 only = MT3_PROGRAM_OFF;

  for (guint program = 0; program < MT3_N_PROGRAMS; program++) {
    if (!mt3_program_set_contains (set, program))
      continue;
    if (only != MT3_PROGRAM_OFF)
      return MT3_PROGRAM_OFF;
    only = (gint16) program;
  }
  return set->drums ? MT3_PROGRAM_OFF : only;
}

static gboolean
parse_target (const gchar *text, gint16 *target, GError **error)
{
  g_autofree gchar *word = g_strstrip (g_strdup (text));
  Mt3ProgramSet set = {0};

  *target = MT3_PROGRAM_OFF;
  if (g_ascii_strcasecmp (word, "off") == 0)
    return TRUE;
  if (!mt3_program_set_add (&set, word, error))
    return FALSE;
  *target = only_program (&set);
  if (*target != MT3_PROGRAM_OFF)
    return TRUE;
  g_set_error (error, MT3_ERROR, MT3_ERROR_FORMAT,
      "'%s' is not one program; after '=' there must be a number from 0 to "
      "127, the name of a program such as Violin, or off",
      word);
  return FALSE;
}

static gboolean
assign (Mt3ProgramMap *map, const gchar *from, const gchar *to, GError **error)
{
  Mt3ProgramSet set = {0};
  gint16 target;

  if (!mt3_program_set_add (&set, from, error) ||
      !parse_target (to, &target, error))
    return FALSE;
  if (set.drums && target != MT3_PROGRAM_OFF) {
    g_set_error (error, MT3_ERROR, MT3_ERROR_FORMAT,
        "drums cannot become '%s', only off: their keys are no pitches", to);
    return FALSE;
  }
  for (guint program = 0; program < MT3_N_PROGRAMS; program++) {
    if (mt3_program_set_contains (&set, program))
      map->programs[program] = target;
  }
  if (set.drums)
    map->drums = FALSE;
  return TRUE;
}

gboolean
mt3_program_map_parse (const gchar *text, Mt3ProgramMap *map, GError **error)
{
  g_auto (GStrv) assignments = g_strsplit (*text ? text : " ", ",", -1);

  mt3_program_map_init (map);
  for (gchar **assignment = assignments; *assignment; assignment++) {
    g_auto (GStrv) sides = g_strsplit (*assignment, "=", 2);

    if (g_strv_length (sides) != 2) {
      g_set_error (error, MT3_ERROR, MT3_ERROR_FORMAT,
          "'%s' is no assignment such as strings=48 or drums=off", *assignment);
      return FALSE;
    }
    if (!assign (map, sides[0], sides[1], error))
      return FALSE;
  }
  return TRUE;
}
