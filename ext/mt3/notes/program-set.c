/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "notes/program-set.h"

#include <string.h>

#include "error.h"
#include "notes/note.h"
#include "vocabulary/vocabulary.h"

#define CLASS_SIZE 8

/* General MIDI 1 (MMA RP-003), eight programs each. */
static const gchar *const classes[] = {
    "Piano",
    "Chromatic Percussion",
    "Organ",
    "Guitar",
    "Bass",
    "Strings",
    "Ensemble",
    "Brass",
    "Reed",
    "Pipe",
    "Synth Lead",
    "Synth Pad",
    "Synth Effects",
    "Ethnic",
    "Percussive",
    "Sound Effects",
    NULL,
};

G_STATIC_ASSERT ((G_N_ELEMENTS (classes) - 1) * CLASS_SIZE == MT3_N_PROGRAMS);

static void
add_programs (Mt3ProgramSet *set, guint first, guint last)
{
  for (guint program = first; program <= last; program++)
    set->programs[program / 32] |= 1u << (program % 32);
}

/* A whole number from 0 to 127 at *@text, which moves behind it. */
static gboolean
scan_program (const gchar **text, guint *program)
{
  gchar *end;
  guint64 number;

  if (!g_ascii_isdigit (**text))
    return FALSE;
  number = g_ascii_strtoull (*text, &end, 10);
  *text = end;
  *program = (guint) MIN (number, MT3_N_PROGRAMS);
  return number < MT3_N_PROGRAMS;
}

static gboolean
add_numbers (Mt3ProgramSet *set, const gchar *text)
{
  guint first, last;

  if (!scan_program (&text, &first))
    return FALSE;
  last = first;
  if (*text == '-') {
    text++;
    if (!scan_program (&text, &last))
      return FALSE;
  }
  if (*text != '\0' || first > last)
    return FALSE;
  add_programs (set, first, last);
  return TRUE;
}

static gboolean
add_named (Mt3ProgramSet *set, const gchar *name)
{
  if (g_ascii_strcasecmp (name, "drums") == 0) {
    set->drums = TRUE;
    return TRUE;
  }
  for (guint i = 0; classes[i]; i++) {
    if (g_ascii_strcasecmp (name, classes[i]) == 0) {
      add_programs (set, CLASS_SIZE * i, CLASS_SIZE * i + CLASS_SIZE - 1);
      return TRUE;
    }
  }
  for (guint program = 0; program < MT3_N_PROGRAMS; program++) {
    if (g_ascii_strcasecmp (name, mt3_program_name (program, FALSE)) == 0) {
      add_programs (set, program, program);
      return TRUE;
    }
  }
  return FALSE;
}

/* The names of programs that hold @part, such as the saxes: "; perhaps ...". */
static gchar *
suggest (const gchar *part)
{
  g_autofree gchar *folded = g_ascii_strdown (part, -1);
  GString *text = g_string_new (NULL);

  for (guint program = 0; program < MT3_N_PROGRAMS && *part; program++) {
    const gchar *name = mt3_program_name (program, FALSE);
    g_autofree gchar *lower = g_ascii_strdown (name, -1);

    if (strstr (lower, folded))
      g_string_append_printf (
          text, "%s%s", text->len == 0 ? "; perhaps " : ", ", name);
  }
  return g_string_free (text, FALSE);
}

gboolean
mt3_program_set_add (Mt3ProgramSet *set, const gchar *name, GError **error)
{
  g_autofree gchar *word = g_strstrip (g_strdup (name));
  g_autofree gchar *known = NULL, *suggestion = NULL;

  if (add_numbers (set, word) || add_named (set, word))
    return TRUE;
  known = g_strjoinv (", ", (gchar **) classes);
  suggestion = suggest (word);
  g_set_error (error, MT3_ERROR, MT3_ERROR_FORMAT,
      "'%s' is no instrument; possible are the numbers 0 to 127, ranges such "
      "as 40-47, drums, the names of General MIDI such as Violin, and its "
      "classes %s%s",
      word, known, suggestion);
  return FALSE;
}

gboolean
mt3_program_set_parse (const gchar *text, Mt3ProgramSet *set, GError **error)
{
  /* Not even one name is in an empty text, to g_strsplit(). */
  g_auto (GStrv) names = g_strsplit (*text ? text : " ", ",", -1);

  *set = (Mt3ProgramSet){0};
  for (gchar **name = names; *name; name++) {
    if (!mt3_program_set_add (set, *name, error))
      return FALSE;
  }
  return TRUE;
}

static gboolean
has_programs (const Mt3ProgramSet *set)
{
  guint32 any = 0;

  for (guint i = 0; i < G_N_ELEMENTS (set->programs); i++)
    any |= set->programs[i];
  return any != 0;
}

static gboolean
allows (const Mt3ProgramSet *set, Mt3Event event)
{
  switch (event.type) {
    case MT3_EVENT_PROGRAM:
      return mt3_program_set_contains (set, event.value);
    case MT3_EVENT_PITCH:
      return has_programs (set);
    case MT3_EVENT_DRUM:
      return set->drums;
    default:
      return TRUE;
  }
}

/* The programs that the model writes for those of @set. */
static Mt3ProgramSet
written_set (const Mt3ProgramSet *set, const Mt3Config *config)
{
  Mt3ProgramSet result = {.drums = set->drums};

  for (guint program = 0; program < MT3_N_PROGRAMS; program++) {
    guint written = mt3_config_written_program (config, program);

    if (mt3_program_set_contains (set, program))
      add_programs (&result, written, written);
  }
  return result;
}

Mt3TokenSet *
mt3_program_set_tokens (const Mt3ProgramSet *set, const Mt3Config *config)
{
  Mt3TokenSet *tokens = mt3_token_set_new (config->vocab_size);
  Mt3ProgramSet written = written_set (set, config);

  for (guint token = 0; token < config->vocab_size; token++) {
    if (allows (&written, mt3_vocabulary_event (config->velocity_bins, token)))
      mt3_token_set_add (tokens, token);
  }
  return tokens;
}
