/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "training/recorder.h"
#include "error.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define BLOCK (MT3_BANK_RATE / 50)
#define SILENT_PEAK 1e-4f
#define AUDIBLE_DECIBELS (-45.0f)
#define STORED_DECIBELS (-66.0f)
/* A held note that is as loud as this at its end goes on for ever. */
#define SUSTAINED_DECIBELS (-24.0f)
#define LOOP_START 0.45f
#define FULL_SCALE 30000.0f
/* How loud the middle layer of an instrument is in a mix, at its peak. */
#define MELODIC_PEAK 0.12f
#define DRUM_PEAK 0.15f
/* Further than this a sound is not retuned. */
#define REACH_SEMITONES 2

typedef struct {
  Mt3BankSound sound;
  gfloat *samples;
  gfloat peak;
} Note;

struct _Mt3Recorder {
  gboolean may_sustain;
  GArray *notes;
};

struct _Mt3BankWriter {
  GMutex lock;
  gchar *folder;
  FILE *pcm;
  gint64 n_samples;
  GArray *sounds, *instruments;
  gboolean failed;
};

Mt3BankWriter *
mt3_bank_writer_new (const gchar *folder, GError **error)
{
  g_autofree gchar *path = g_build_filename (folder, "bank.pcm", NULL);
  FILE *pcm = fopen (path, "wb");

  if (pcm == NULL) {
    g_set_error (error, MT3_ERROR, MT3_ERROR_IO, "%s cannot be written: %s",
        path, g_strerror (errno));
    return NULL;
  }
  Mt3BankWriter *writer = g_new0 (Mt3BankWriter, 1);
  g_mutex_init (&writer->lock);
  writer->folder = g_strdup (folder);
  writer->pcm = pcm;
  writer->sounds = g_array_new (FALSE, FALSE, sizeof (Mt3BankSound));
  writer->instruments = g_array_new (FALSE, FALSE, sizeof (Mt3BankInstrument));
  return writer;
}

static gboolean
write_table (
    const gchar *folder, const gchar *name, const GArray *table, GError **error)
{
  g_autofree gchar *path = g_build_filename (folder, name, NULL);

  return g_file_set_contents (path, table->data,
      (gssize) table->len * g_array_get_element_size ((GArray *) table), error);
}

gboolean
mt3_bank_writer_finish (Mt3BankWriter *writer, GError **error)
{
  gboolean ok = fclose (writer->pcm) == 0 && !writer->failed;

  if (!ok)
    g_set_error (error, MT3_ERROR, MT3_ERROR_IO,
        "%s/bank.pcm cannot be written; is the disk full?", writer->folder);
  ok = ok &&
       write_table (writer->folder, "bank.sounds", writer->sounds, error) &&
       write_table (
           writer->folder, "bank.instruments", writer->instruments, error);
  g_array_unref (writer->sounds);
  g_array_unref (writer->instruments);
  g_mutex_clear (&writer->lock);
  g_free (writer->folder);
  g_free (writer);
  return ok;
}

guint
mt3_bank_writer_n_instruments (Mt3BankWriter *writer)
{
  return writer->instruments->len;
}

gdouble
mt3_bank_writer_hours (Mt3BankWriter *writer)
{
  return writer->n_samples / (3600.0 * MT3_BANK_RATE);
}

static void
clear_note (gpointer data)
{
  g_free (((Note *) data)->samples);
}

Mt3Recorder *
mt3_recorder_new (gboolean may_sustain)
{
  Mt3Recorder *recorder = g_new0 (Mt3Recorder, 1);

  recorder->may_sustain = may_sustain;
  recorder->notes = g_array_new (FALSE, FALSE, sizeof (Note));
  g_array_set_clear_func (recorder->notes, clear_note);
  return recorder;
}

void
mt3_recorder_free (Mt3Recorder *recorder)
{
  g_array_unref (recorder->notes);
  g_free (recorder);
}

static gfloat
block_power (const gfloat *samples, guint block)
{
  gfloat power = 0;

  for (guint i = 0; i < BLOCK; i++)
    power += samples[block * BLOCK + i] * samples[block * BLOCK + i];
  return power;
}

/* Blocks until the power stays below @decibels under its maximum. */
static guint
blocks_above (const gfloat *powers, guint n, gfloat loudest, gfloat decibels)
{
  gfloat floor = loudest * powf (10, decibels / 10);

  while (n > 0 && powers[n - 1] < floor)
    n--;
  return n;
}

static void
measure (const Mt3Recorder *recorder, Note *note)
{
  guint n = note->sound.length / BLOCK;
  g_autofree gfloat *powers = g_new (gfloat, n);
  gfloat loudest = 0;

  for (guint i = 0; i < n; i++) {
    powers[i] = block_power (note->samples, i);
    loudest = MAX (loudest, powers[i]);
  }
  note->sound.loop = -1;
  note->sound.audible =
      blocks_above (powers, n, loudest, AUDIBLE_DECIBELS) * BLOCK;
  if (recorder->may_sustain &&
      blocks_above (powers, n, loudest, SUSTAINED_DECIBELS) == n)
    note->sound.loop = (gint32) (note->sound.length * LOOP_START);
  else
    note->sound.length =
        blocks_above (powers, n, loudest, STORED_DECIBELS) * BLOCK;
}

void
mt3_recorder_add (Mt3Recorder *recorder, guint pitch, guint velocity,
    gfloat *samples, guint n_samples)
{
  Note note = {
      .sound = {.pitch = pitch, .velocity = velocity, .length = n_samples},
      .samples = samples,
  };

  for (guint i = 0; i < n_samples; i++)
    note.peak = MAX (note.peak, fabsf (samples[i]));
  if (note.peak < SILENT_PEAK) {
    g_free (samples);
    return;
  }
  measure (recorder, &note);
  g_array_append_val (recorder->notes, note);
}

static gint
compare_floats (gconstpointer a, gconstpointer b)
{
  gfloat x = *(const gfloat *) a, y = *(const gfloat *) b;

  return (x > y) - (x < y);
}

/* The median peak of the notes played with @velocity or nearest to it. */
static gfloat
median_peak (const GArray *notes, guint velocity)
{
  g_autoptr (GArray) peaks = g_array_new (FALSE, FALSE, sizeof (gfloat));
  gint nearest = G_MAXINT;

  for (guint i = 0; i < notes->len; i++) {
    const Note *note = &g_array_index (notes, Note, i);
    gint distance = ABS ((gint) note->sound.velocity - (gint) velocity);

    if (distance < nearest)
      g_array_set_size (peaks, 0);
    nearest = MIN (nearest, distance);
    if (distance == nearest)
      g_array_append_val (peaks, note->peak);
  }
  g_array_sort (peaks, compare_floats);
  return g_array_index (peaks, gfloat, peaks->len / 2);
}

/* The note to play a key from: near in pitch first, then in velocity. */
static gint
nearest_note (const GArray *notes, guint pitch, guint velocity, guint reach)
{
  gint best = -1, best_cost = G_MAXINT;

  for (guint i = 0; i < notes->len; i++) {
    const Mt3BankSound *sound = &g_array_index (notes, Note, i).sound;
    gint semitones = ABS ((gint) sound->pitch - (gint) pitch);
    gint cost =
        semitones * 128 + ABS ((gint) sound->velocity - (gint) velocity);

    if (semitones <= (gint) reach && cost < best_cost) {
      best = i;
      best_cost = cost;
    }
  }
  return best;
}

static void
write_samples (
    Mt3BankWriter *writer, const Note *note, gfloat scale, gint16 *buffer)
{
  gsize n = note->sound.length;

  for (gsize i = 0; i < n; i++)
    buffer[i] = (gint16) lrintf (note->samples[i] * scale);
  if (fwrite (buffer, sizeof *buffer, n, writer->pcm) != n)
    writer->failed = TRUE;
}

/* The writer's lock is held. */
static void
write_notes (Mt3BankWriter *writer, const GArray *notes, gfloat scale)
{
  g_autofree gint16 *buffer = NULL;

  for (guint i = 0; i < notes->len; i++) {
    const Note *note = &g_array_index (notes, Note, i);
    Mt3BankSound sound = note->sound;

    buffer = g_renew (gint16, buffer, sound.length);
    write_samples (writer, note, scale, buffer);
    sound.first = writer->n_samples;
    writer->n_samples += sound.length;
    g_array_append_val (writer->sounds, sound);
  }
}

void
mt3_recorder_finish (
    Mt3Recorder *recorder, Mt3BankWriter *writer, Mt3BankInstrument *instrument)
{
  const GArray *notes = recorder->notes;
  guint reach = instrument->is_drum ? 0 : REACH_SEMITONES;
  gfloat loudest = 0, scale;

  if (notes->len == 0)
    return;
  for (guint i = 0; i < notes->len; i++)
    loudest = MAX (loudest, g_array_index (notes, Note, i).peak);
  scale = FULL_SCALE / loudest;
  instrument->gain = (instrument->is_drum ? DRUM_PEAK : MELODIC_PEAK) /
                     (median_peak (notes, mt3_bank_velocities[1]) * scale);

  g_mutex_lock (&writer->lock);
  for (guint layer = 0; layer < MT3_BANK_LAYERS; layer++)
    for (guint pitch = 0; pitch < 128; pitch++) {
      gint note =
          nearest_note (notes, pitch, mt3_bank_velocities[layer], reach);

      instrument->sounds[layer][pitch] =
          note < 0 ? -1 : note + (gint) writer->sounds->len;
    }
  write_notes (writer, notes, scale);
  g_array_append_vals (writer->instruments, instrument, 1);
  g_mutex_unlock (&writer->lock);
}
