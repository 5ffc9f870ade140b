/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "training/font.h"
#include "error.h"
#include "training/general-midi.h"

#include <fluidsynth.h>
#include <math.h>
#include <string.h>

/* FluidSynth filters nothing when it plays samples slower than they were
 * recorded: render at three times the rate and take the treble off here. */
#define OVERSAMPLING 3
#define TAPS 97
#define DRUM_BANK 128
#define LAST_KIT 48
#define FIRST_KEY 21
#define LAST_KEY 108
#define FIRST_DRUM 27
#define LAST_DRUM 87
#define PIANO_SECONDS 7
#define DECAYING_SECONDS 4.5f
#define SUSTAINED_SECONDS 3
#define DRUM_SECONDS 2

typedef struct {
  fluid_settings_t *settings;
  fluid_synth_t *synth;
  gint font;
  gchar *path;
} Synth;

static void
synth_free (gpointer data)
{
  Synth *synth = data;

  delete_fluid_synth (synth->synth);
  delete_fluid_settings (synth->settings);
  g_free (synth->path);
  g_free (synth);
}

static GPrivate thread_synth = G_PRIVATE_INIT (synth_free);

/* This thread's synthesiser with @path loaded, or NULL. */
static Synth *
synth_get (const gchar *path)
{
  Synth *synth = g_private_get (&thread_synth);

  if (synth && g_str_equal (synth->path, path))
    return synth;
  synth = g_new0 (Synth, 1);
  synth->path = g_strdup (path);
  synth->settings = new_fluid_settings ();
  fluid_settings_setnum (
      synth->settings, "synth.sample-rate", MT3_BANK_RATE * OVERSAMPLING);
  fluid_settings_setint (synth->settings, "synth.reverb.active", 0);
  fluid_settings_setint (synth->settings, "synth.chorus.active", 0);
  fluid_settings_setint (synth->settings, "synth.dynamic-sample-loading", 1);
  synth->synth = new_fluid_synth (synth->settings);
  synth->font = fluid_synth_sfload (synth->synth, path, 0);
  g_private_replace (&thread_synth, synth);
  return synth->font < 0 ? NULL : synth;
}

static gboolean
is_acoustic_kit (const gchar *name)
{
  static const gchar *const kits[] = {
      "Standard", "Room", "Power", "Jazz", "Brush"};

  for (gsize i = 0; i < G_N_ELEMENTS (kits); i++)
    if (strstr (name, kits[i]))
      return TRUE;
  return FALSE;
}

/* The other banks hold the same sounds with other controllers; kits past the
 * orchestra's are marching bands and effects with a handful of keys. */
static gboolean
is_wanted (gint bank, gint program)
{
  if (bank == DRUM_BANK)
    return program <= LAST_KIT;
  return bank == 0 || bank == 8 || bank == 16;
}

GArray *
mt3_font_presets (const gchar *path, guint8 source, GError **error)
{
  Synth *synth = synth_get (path);
  GArray *presets;

  if (synth == NULL) {
    g_set_error (error, MT3_ERROR, MT3_ERROR_FORMAT,
        "%s is no sound font that FluidSynth can read", path);
    return NULL;
  }
  presets = g_array_new (FALSE, TRUE, sizeof (Mt3FontPreset));
  fluid_sfont_t *font = fluid_synth_get_sfont_by_id (synth->synth, synth->font);
  fluid_sfont_iteration_start (font);
  for (fluid_preset_t *p; (p = fluid_sfont_iteration_next (font));) {
    gint bank = fluid_preset_get_banknum (p);
    Mt3FontPreset preset = {
        .path = path,
        .bank = bank,
        .program = fluid_preset_get_num (p),
        .is_drum = bank == DRUM_BANK,
        .is_acoustic =
            bank != DRUM_BANK || is_acoustic_kit (fluid_preset_get_name (p)),
        .source = source,
    };

    if (is_wanted (bank, preset.program))
      g_array_append_val (presets, preset);
  }
  return presets;
}

/* A low-pass filter at the bank's Nyquist frequency: sinc under a Blackman
 * window, one sample in OVERSAMPLING kept. */
static const gfloat *
decimation_filter (void)
{
  static gfloat taps[TAPS];
  static gsize ready;

  if (g_once_init_enter (&ready)) {
    for (gint i = 0; i < TAPS; i++) {
      gint tap = i - TAPS / 2;
      gdouble x = tap * 0.95 / OVERSAMPLING;
      gdouble w = 2 * G_PI * (i + 0.5) / TAPS;

      taps[i] = (0.42 - 0.5 * cos (w) + 0.08 * cos (2 * w)) * 0.95 /
                OVERSAMPLING * (x == 0 ? 1 : sin (G_PI * x) / (G_PI * x));
    }
    g_once_init_leave (&ready, 1);
  }
  return taps;
}

/* @padded has TAPS / 2 zeros on either side. */
static gfloat *
decimate (const gfloat *padded, guint n_samples)
{
  const gfloat *taps = decimation_filter ();
  gfloat *out = g_new (gfloat, n_samples);

  for (guint i = 0; i < n_samples; i++) {
    gfloat sum = 0;

    for (guint j = 0; j < TAPS; j++)
      sum += taps[j] * padded[i * OVERSAMPLING + j];
    out[i] = sum;
  }
  return out;
}

static gfloat *
record_note (fluid_synth_t *synth, gint channel, guint key, guint velocity,
    guint n_samples)
{
  guint n = n_samples * OVERSAMPLING;
  g_autofree gfloat *left = g_new0 (gfloat, n + TAPS);
  g_autofree gfloat *right = g_new0 (gfloat, n + TAPS);

  fluid_synth_noteon (synth, channel, key, velocity);
  fluid_synth_write_float (synth, n, left, TAPS / 2, 1, right, TAPS / 2, 1);
  fluid_synth_all_sounds_off (synth, channel);
  for (guint i = 0; i < n + TAPS; i++)
    left[i] = (left[i] + right[i]) / 2;
  return decimate (left, n_samples);
}

static gfloat
seconds_for (const Mt3FontPreset *preset)
{
  if (preset->is_drum)
    return DRUM_SECONDS;
  if (mt3_general_midi_sustains (preset->program))
    return SUSTAINED_SECONDS;
  return preset->program < 8 ? PIANO_SECONDS : DECAYING_SECONDS;
}

void
mt3_font_record (const Mt3FontPreset *preset, Mt3BankWriter *writer)
{
  Synth *synth = synth_get (preset->path);
  gint channel = preset->is_drum ? 9 : 0;
  guint first = preset->is_drum ? FIRST_DRUM : FIRST_KEY;
  guint last = preset->is_drum ? LAST_DRUM : LAST_KEY;
  guint step = preset->is_drum || preset->program < 8 ? 1 : 2;
  guint n_samples = (guint) (seconds_for (preset) * MT3_BANK_RATE);
  gboolean sustains =
      !preset->is_drum && mt3_general_midi_sustains (preset->program);
  g_autoptr (Mt3Recorder) recorder = mt3_recorder_new (sustains);
  Mt3BankInstrument instrument = {
      .program = preset->program,
      .is_drum = preset->is_drum,
      .is_acoustic = preset->is_acoustic,
      .source = preset->source,
  };

  if (synth == NULL ||
      fluid_synth_program_select (synth->synth, channel, synth->font,
          preset->bank, preset->program) != FLUID_OK)
    return;
  for (guint layer = 0; layer < MT3_BANK_LAYERS; layer++)
    for (guint key = first; key <= last; key += step)
      mt3_recorder_add (recorder, key, mt3_bank_velocities[layer],
          record_note (synth->synth, channel, key, mt3_bank_velocities[layer],
              n_samples),
          n_samples);
  mt3_recorder_finish (recorder, writer, &instrument);
}
