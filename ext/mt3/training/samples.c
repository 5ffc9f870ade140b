/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "training/samples.h"
#include "error.h"
#include "training/general-midi.h"

#include <sndfile.h>

#define N_COLUMNS 5
#define MAX_SECONDS 10

typedef struct {
  Mt3Recorder *recorder;
  Mt3BankInstrument instrument;
} Set;

static gfloat *
read_audio (const gchar *path, guint *n_samples, GError **error)
{
  SF_INFO info = {0};
  SNDFILE *file = sf_open (path, SFM_READ, &info);
  gfloat *samples;

  if (file == NULL || info.samplerate != MT3_BANK_RATE || info.channels != 1) {
    g_set_error (error, MT3_ERROR, MT3_ERROR_FORMAT,
        "%s: %s; expected mono audio at %d Hz", path,
        file ? "wrong rate or channels" : sf_strerror (NULL), MT3_BANK_RATE);
    if (file)
      sf_close (file);
    return NULL;
  }
  *n_samples = MIN (info.frames, MAX_SECONDS * MT3_BANK_RATE);
  samples = g_new0 (gfloat, *n_samples);
  sf_readf_float (file, samples, *n_samples);
  sf_close (file);
  return samples;
}

static Set *
get_set (GHashTable *sets, gchar **columns, guint8 source)
{
  Set *set = g_hash_table_lookup (sets, columns[0]);
  gboolean is_drum = g_str_equal (columns[1], "drum");
  guint program =
      is_drum ? 0 : (guint) g_ascii_strtoull (columns[1], NULL, 10) & 127;

  if (set)
    return set;
  set = g_new0 (Set, 1);
  set->recorder =
      mt3_recorder_new (!is_drum && mt3_general_midi_sustains (program));
  set->instrument.program = program;
  set->instrument.is_drum = is_drum;
  set->instrument.is_acoustic = TRUE;
  set->instrument.source = source;
  g_hash_table_insert (sets, g_strdup (columns[0]), set);
  return set;
}

static gboolean
record_line (GHashTable *sets, const gchar *folder, const gchar *line,
    guint8 source, GError **error)
{
  g_auto (GStrv) columns = g_strsplit (line, "\t", 0);
  g_autofree gchar *path = NULL;
  gfloat *samples;
  guint n_samples = 0;

  if (g_strv_length (columns) != N_COLUMNS) {
    g_set_error (error, MT3_ERROR, MT3_ERROR_FORMAT,
        "%s/samples.tsv: \"%s\" has not %d columns", folder, line, N_COLUMNS);
    return FALSE;
  }
  path = g_build_filename (folder, columns[4], NULL);
  samples = read_audio (path, &n_samples, error);
  if (samples == NULL)
    return FALSE;
  mt3_recorder_add (get_set (sets, columns, source)->recorder,
      (guint) g_ascii_strtoull (columns[2], NULL, 10) & 127,
      CLAMP ((guint) g_ascii_strtoull (columns[3], NULL, 10), 1, 127), samples,
      n_samples);
  return TRUE;
}

static void
set_free (gpointer data)
{
  mt3_recorder_free (((Set *) data)->recorder);
  g_free (data);
}

gboolean
mt3_samples_record (
    const gchar *folder, guint8 source, Mt3BankWriter *writer, GError **error)
{
  g_autofree gchar *path = g_build_filename (folder, "samples.tsv", NULL);
  g_autofree gchar *text = NULL;
  g_autoptr (GHashTable) sets =
      g_hash_table_new_full (g_str_hash, g_str_equal, g_free, set_free);
  GHashTableIter iter;
  gpointer set;

  if (!g_file_get_contents (path, &text, NULL, error))
    return FALSE;
  g_auto (GStrv) lines = g_strsplit (text, "\n", 0);
  for (gchar **line = lines; *line; line++)
    if (**line && !record_line (sets, folder, *line, source, error))
      return FALSE;
  g_hash_table_iter_init (&iter, sets);
  while (g_hash_table_iter_next (&iter, NULL, &set))
    mt3_recorder_finish (
        ((Set *) set)->recorder, writer, &((Set *) set)->instrument);
  return TRUE;
}
