/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "element/settings-notes.h"

#include <math.h>

#include "error.h"
#include "vocabulary/event-order.h"

#define DEFAULT_MAX_TOKENS 0
#define DEFAULT_TEMPERATURE 0.0
#define DEFAULT_TOP_K 0
#define DEFAULT_TOP_P 1.0
#define DEFAULT_SEED 0
#define DEFAULT_BEAM_SIZE 1
#define DEFAULT_BEAM_ALPHA 0.6 /* that of T5X */
#define DEFAULT_SILENCE_THRESHOLD SILENCE_OFF
#define DEFAULT_MIN_DURATION 0
#define DEFAULT_VELOCITY 0

#define MAX_MAX_TOKENS 65535
#define MAX_TEMPERATURE 100.0
#define MAX_TOP_K 65535
#define MAX_BEAM_ALPHA 10.0
#define SILENCE_OFF (-200.0) /* dBFS; below what 24 bit can express */
#define MAX_MIN_DURATION (10 * GST_SECOND) /* bounds what is held back */

enum {
  PROP_MAX_TOKENS,
  PROP_TEMPERATURE,
  PROP_TOP_K,
  PROP_TOP_P,
  PROP_SEED,
  PROP_BEAM_SIZE,
  PROP_BEAM_ALPHA,
  PROP_PROGRAMS,
  PROP_SILENCE_THRESHOLD,
  PROP_PROGRAM_MAP,
  PROP_MIN_DURATION,
  PROP_VELOCITY,
  N_PROPERTIES,
};

#define FLAGS                                                                  \
  (G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | GST_PARAM_MUTABLE_PLAYING)
#define READY_FLAGS                                                            \
  (G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | GST_PARAM_MUTABLE_READY)

void
gst_mt3_note_settings_init (GstMt3NoteSettings *settings)
{
  *settings = (GstMt3NoteSettings){
      .max_tokens = DEFAULT_MAX_TOKENS,
      .temperature = DEFAULT_TEMPERATURE,
      .top_k = DEFAULT_TOP_K,
      .top_p = DEFAULT_TOP_P,
      .seed = DEFAULT_SEED,
      .beam_size = DEFAULT_BEAM_SIZE,
      .beam_alpha = DEFAULT_BEAM_ALPHA,
      .all_programs = TRUE,
      .silence_threshold = DEFAULT_SILENCE_THRESHOLD,
      .min_duration = DEFAULT_MIN_DURATION,
      .velocity = DEFAULT_VELOCITY,
  };
  mt3_program_map_init (&settings->map);
}

void
gst_mt3_note_settings_clear (GstMt3NoteSettings *settings)
{
  g_clear_pointer (&settings->programs, g_free);
  g_clear_pointer (&settings->program_map, g_free);
}

/* How tokens are chosen. */
static void
gst_mt3_note_settings_install_sampling (GObjectClass *klass, guint first)
{
  /**
   * GstMt3Transcribe:max-tokens:
   *
   * A window that reaches the limit keeps the notes it has so far. Counts for
   * the windows that begin after it was set.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, first + PROP_MAX_TOKENS,
      g_param_spec_uint ("max-tokens", "Max tokens",
          "Tokens a window, at most (0 = the model's own limit)", 0,
          MAX_MAX_TOKENS, DEFAULT_MAX_TOKENS, FLAGS));

  /**
   * GstMt3Transcribe:temperature:
   *
   * 0 always chooses the most probable token, as the reference does, and is
   * the most accurate. Otherwise tokens are drawn with the probabilities of
   * softmax (logits / temperature): 1 draws as the model believes, less dares
   * less. Counts for the windows that begin after it was set.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, first + PROP_TEMPERATURE,
      g_param_spec_double ("temperature", "Temperature",
          "Draw tokens, the more freely the higher (0 = take the most "
          "probable, which is the most accurate)",
          0.0, MAX_TEMPERATURE, DEFAULT_TEMPERATURE, FLAGS));

  /**
   * GstMt3Transcribe:top-k:
   *
   * Has no effect while #GstMt3Transcribe:temperature is 0.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, first + PROP_TOP_K,
      g_param_spec_uint ("top-k", "Top k",
          "With a temperature: draw among so many of the most probable tokens "
          "(0 = all)",
          0, MAX_TOP_K, DEFAULT_TOP_K, FLAGS));

  /**
   * GstMt3Transcribe:top-p:
   *
   * Has no effect while #GstMt3Transcribe:temperature is 0. With
   * #GstMt3Transcribe:top-k too, a token must be among both.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, first + PROP_TOP_P,
      g_param_spec_double ("top-p", "Top p",
          "With a temperature: draw among the fewest tokens that together are "
          "this probable (1 = all)",
          0.0, 1.0, DEFAULT_TOP_P, FLAGS));

  /**
   * GstMt3Transcribe:seed:
   *
   * The same seed draws the same tokens from the same audio, whatever the
   * batch size, the threads, and whatever else the engine transcribes.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, first + PROP_SEED,
      g_param_spec_uint64 ("seed", "Seed",
          "With a temperature: the same seed writes the same notes", 0,
          G_MAXUINT64, DEFAULT_SEED, FLAGS));
}

/* How texts are chosen. */
static void
gst_mt3_note_settings_install_search (GObjectClass *klass, guint first)
{
  /**
   * GstMt3Transcribe:beam-size:
   *
   * 1 takes the most probable token each time. More searches: so many texts
   * grow side by side, and the one that is the most probable as a whole is the
   * result, as T5X's `beam_search` finds it with `num_decodes` beams (the
   * default there, for Magenta's model too, is 4). That is slower, and seldom a
   * better transcription: docs/accuracy.md has figures.
   *
   * Only the CPU searches: `device=auto` becomes `cpu`, and `cuda` is an error.
   * Each beam takes the room of a window (#GstMt3Transcribe:batch-size). With a
   * #GstMt3Transcribe:temperature above 0 it is an error.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, first + PROP_BEAM_SIZE,
      g_param_spec_uint ("beam-size", "Beam size",
          "Beams of a search for the most probable notes of a window; slower, "
          "and on the CPU alone (1 = no search)",
          1, MT3_MAX_BEAMS, DEFAULT_BEAM_SIZE, READY_FLAGS));

  /**
   * GstMt3Transcribe:beam-alpha:
   *
   * A text's log-probability is divided by ((5 + length) / 6) ^ alpha, `alpha`
   * of T5X. Has no effect while #GstMt3Transcribe:beam-size is 1. Counts for
   * the windows that begin after it was set.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, first + PROP_BEAM_ALPHA,
      g_param_spec_double ("beam-alpha", "Beam alpha",
          "How much a search with beams favours more notes (0 = not)", 0.0,
          MAX_BEAM_ALPHA, DEFAULT_BEAM_ALPHA, FLAGS));
}

/* What may be decoded at all. */
static void
gst_mt3_note_settings_install_limits (GObjectClass *klass, guint first)
{
  /**
   * GstMt3Transcribe:programs:
   *
   * The only instruments there are, between commas: General MIDI programs by
   * name (`Violin`) or number from 0 (`40`), ranges (`40-47`), the classes of
   * General MIDI (`Piano`, `Chromatic Percussion`, `Organ`, `Guitar`, `Bass`,
   * `Strings`, `Ensemble`, `Brass`, `Reed`, `Pipe`, `Synth Lead`, `Synth Pad`,
   * `Synth Effects`, `Ethnic`, `Percussive`, `Sound Effects`) and `drums`; case
   * does not matter. Example: `piano,Acoustic Bass,drums`. Unset or empty: all.
   *
   * The model cannot name others and so gives their notes to those it may name,
   * or to none. Counts for the windows that begin after it was set; what sounds
   * of an instrument that is not allowed any more ends there.
   *
   * A value that is not understood is an error when the element goes to PAUSED.
   * Set later, it posts a warning and the value before stays in force.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, first + PROP_PROGRAMS,
      g_param_spec_string ("programs", "Programs",
          "The only instruments there are, by General MIDI name, class or "
          "number, such as piano,Violin,32-39,drums (unset = all)",
          NULL, FLAGS));

  /**
   * GstMt3Transcribe:silence-threshold:
   *
   * Windows with no sample louder than this are not decoded: they are taken to
   * be silent, and what sounds ends where they begin. The statistic
   * `silent-windows` counts them. At -200 all windows are decoded, even of
   * digital silence, as the reference does.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, first + PROP_SILENCE_THRESHOLD,
      g_param_spec_double ("silence-threshold", "Silence threshold",
          "Save the work on windows with a peak below, in dBFS: they count as "
          "silent (-200 = decode all)",
          SILENCE_OFF, 0.0, DEFAULT_SILENCE_THRESHOLD, FLAGS));
}

/* What becomes of notes that were decoded. */
static void
gst_mt3_note_settings_install_shaping (GObjectClass *klass, guint first)
{
  /**
   * GstMt3Transcribe:program-map:
   *
   * Assignments between commas: to the left of `=` instruments as
   * #GstMt3Transcribe:programs has them, to the right one program by number or
   * name, or `off` to leave them out. Example:
   * `piano=0,40-47=String Ensemble 1,drums=off`. Unset or empty: as decoded.
   * Each assignment speaks of instruments as they were decoded; of two that
   * speak of the same one the later counts. Drums can only be left out.
   *
   * Where two instruments become one, a key that begins while it sounds ends
   * the note before; keys that begin together are one note, which ends with the
   * last of them. Counts for notes that begin after it was set. What is not
   * understood is treated as that of #GstMt3Transcribe:programs.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, first + PROP_PROGRAM_MAP,
      g_param_spec_string ("program-map", "Program map",
          "Instruments that become others or are left out, such as "
          "strings=48,drums=off (unset = none)",
          NULL, FLAGS));

  /**
   * GstMt3Transcribe:min-duration:
   *
   * Shorter notes are left out; drum hits have no duration and stay. Live, a
   * note is only known to be long enough when it has lasted: the latency grows
   * by this.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, first + PROP_MIN_DURATION,
      g_param_spec_uint64 ("min-duration", "Minimum duration",
          "Leave out pitched notes shorter than so many nanoseconds; live, the "
          "latency grows by it",
          0, MAX_MIN_DURATION, DEFAULT_MIN_DURATION, READY_FLAGS));

  /**
   * GstMt3Transcribe:velocity:
   *
   * The multitrack model knows no velocities: all its notes have 127. Counts
   * for notes that begin after it was set.
   *
   * Since: 0.1
   */
  g_object_class_install_property (klass, first + PROP_VELOCITY,
      g_param_spec_uint ("velocity", "Velocity",
          "Velocity of all notes (0 = as decoded)", 0, 127, DEFAULT_VELOCITY,
          FLAGS));
}

guint
gst_mt3_note_settings_install (GObjectClass *klass, guint first)
{
  gst_mt3_note_settings_install_sampling (klass, first);
  gst_mt3_note_settings_install_search (klass, first);
  gst_mt3_note_settings_install_limits (klass, first);
  gst_mt3_note_settings_install_shaping (klass, first);

  return first + N_PROPERTIES;
}

static gboolean
is_set (const gchar *text)
{
  return text && *text;
}

static void
gst_mt3_note_settings_set_programs (
    GstMt3NoteSettings *settings, const GValue *value)
{
  Mt3ProgramSet set;

  g_free (settings->programs);
  settings->programs = g_value_dup_string (value);
  if (!is_set (settings->programs)) {
    settings->all_programs = TRUE;
  } else if (mt3_program_set_parse (settings->programs, &set, NULL)) {
    settings->program_set = set;
    settings->all_programs = FALSE;
  }
}

static void
gst_mt3_note_settings_set_program_map (
    GstMt3NoteSettings *settings, const GValue *value)
{
  Mt3ProgramMap map;

  g_free (settings->program_map);
  settings->program_map = g_value_dup_string (value);
  if (!is_set (settings->program_map))
    mt3_program_map_init (&settings->map);
  else if (mt3_program_map_parse (settings->program_map, &map, NULL))
    settings->map = map;
}

gboolean
gst_mt3_note_settings_set (
    GstMt3NoteSettings *settings, guint index, const GValue *value)
{
  switch (index) {
    case PROP_MAX_TOKENS:
      settings->max_tokens = g_value_get_uint (value);
      return TRUE;
    case PROP_TEMPERATURE:
      settings->temperature = g_value_get_double (value);
      return TRUE;
    case PROP_TOP_K:
      settings->top_k = g_value_get_uint (value);
      return TRUE;
    case PROP_TOP_P:
      settings->top_p = g_value_get_double (value);
      return TRUE;
    case PROP_SEED:
      settings->seed = g_value_get_uint64 (value);
      return TRUE;
    case PROP_BEAM_SIZE:
      settings->beam_size = g_value_get_uint (value);
      return TRUE;
    case PROP_BEAM_ALPHA:
      settings->beam_alpha = g_value_get_double (value);
      return TRUE;
    case PROP_PROGRAMS:
      gst_mt3_note_settings_set_programs (settings, value);
      return TRUE;
    case PROP_SILENCE_THRESHOLD:
      settings->silence_threshold = g_value_get_double (value);
      return TRUE;
    case PROP_PROGRAM_MAP:
      gst_mt3_note_settings_set_program_map (settings, value);
      return TRUE;
    case PROP_MIN_DURATION:
      settings->min_duration = g_value_get_uint64 (value);
      return TRUE;
    case PROP_VELOCITY:
      settings->velocity = g_value_get_uint (value);
      return TRUE;
    default:
      return FALSE;
  }
}

gboolean
gst_mt3_note_settings_get (
    const GstMt3NoteSettings *settings, guint index, GValue *value)
{
  switch (index) {
    case PROP_MAX_TOKENS:
      g_value_set_uint (value, settings->max_tokens);
      return TRUE;
    case PROP_TEMPERATURE:
      g_value_set_double (value, settings->temperature);
      return TRUE;
    case PROP_TOP_K:
      g_value_set_uint (value, settings->top_k);
      return TRUE;
    case PROP_TOP_P:
      g_value_set_double (value, settings->top_p);
      return TRUE;
    case PROP_SEED:
      g_value_set_uint64 (value, settings->seed);
      return TRUE;
    case PROP_BEAM_SIZE:
      g_value_set_uint (value, settings->beam_size);
      return TRUE;
    case PROP_BEAM_ALPHA:
      g_value_set_double (value, settings->beam_alpha);
      return TRUE;
    case PROP_PROGRAMS:
      g_value_set_string (value, settings->programs);
      return TRUE;
    case PROP_SILENCE_THRESHOLD:
      g_value_set_double (value, settings->silence_threshold);
      return TRUE;
    case PROP_PROGRAM_MAP:
      g_value_set_string (value, settings->program_map);
      return TRUE;
    case PROP_MIN_DURATION:
      g_value_set_uint64 (value, settings->min_duration);
      return TRUE;
    case PROP_VELOCITY:
      g_value_set_uint (value, settings->velocity);
      return TRUE;
    default:
      return FALSE;
  }
}

gboolean
gst_mt3_note_settings_check (const GstMt3NoteSettings *settings, GError **error)
{
  Mt3ProgramSet set;
  Mt3ProgramMap map;

  if (is_set (settings->programs) &&
      !mt3_program_set_parse (settings->programs, &set, error)) {
    g_prefix_error (error, "programs: ");
    return FALSE;
  }
  if (is_set (settings->program_map) &&
      !mt3_program_map_parse (settings->program_map, &map, error)) {
    g_prefix_error (error, "program-map: ");
    return FALSE;
  }
  if (settings->beam_size > 1 && settings->temperature > 0.0) {
    g_set_error (error, MT3_ERROR, MT3_ERROR_UNSUPPORTED,
        "beam-size is %u and temperature %g: a search draws no tokens. Set "
        "temperature to 0, or beam-size to 1",
        settings->beam_size, settings->temperature);
    return FALSE;
  }
  return TRUE;
}

Mt3Decoding
gst_mt3_note_settings_decoding (
    const GstMt3NoteSettings *settings, const Mt3Config *config)
{
  gboolean searches = settings->beam_size > 1;
  const Mt3TokenSet *allowed =
      settings->all_programs
          ? NULL
          : mt3_program_set_tokens (&settings->program_set, config);

  return (Mt3Decoding){
      .max_tokens = settings->max_tokens,
      .temperature = searches ? 0.0f : (gfloat) settings->temperature,
      .top_k = settings->top_k,
      .top_p = (gfloat) settings->top_p,
      .seed = settings->seed,
      .allowed = allowed,
      .beam_size = settings->beam_size,
      .beam_alpha = searches ? (gfloat) settings->beam_alpha : 0.0f,
      .order = mt3_event_order (config, allowed),
  };
}

gboolean
gst_mt3_note_settings_is_silent (
    const GstMt3NoteSettings *settings, gfloat peak)
{
  return settings->silence_threshold > SILENCE_OFF &&
         peak < pow (10.0, settings->silence_threshold / 20.0);
}
