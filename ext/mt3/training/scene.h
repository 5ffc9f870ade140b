/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * scene.h: draws the windows that a model is trained on: which music, played by
 * which sounds of the note bank, and the tokens the model should answer.
 *
 * Everything random comes from the seed: the same seed, corpus, bank and recipe
 * give the same windows.
 */
#pragma once

#include "training/bank.h"
#include "training/corpus.h"

G_BEGIN_DECLS

#define MT3_SCENE_MAX_VOICES 192
#define MT3_SCENE_VOICE_FIELDS 12

typedef enum {
  MT3_SCENE_PIANO, /* one keyboard */
  MT3_SCENE_BAND, /* a piece as it is written */
  MT3_SCENE_MEDLEY, /* parts of different pieces at once */
  MT3_SCENE_LINES, /* one to four melody instruments */
  MT3_SCENE_DRUMS,
  MT3_SCENE_EMPTY, /* silence, noise or distractors: no notes */
  MT3_N_SCENE_KINDS,
} Mt3SceneKind;

/* How a window is to sound, and what an end under the pedal means. */
typedef enum {
  MT3_SETTING_ANY,
  /* A file that a program rendered: clean; notes end with the pedal. */
  MT3_SETTING_RENDERED,
  /* A room, a microphone; notes end with the key. */
  MT3_SETTING_RECORDED,
} Mt3Setting;

/**
 * Mt3Recipe:
 * @scenes: how often each kind is drawn (any scale)
 * @same_program: probability that a part keeps its program
 * @near_program: ... takes another one of its General MIDI class
 * @drop_part: ... is left out of a band
 * @acoustic_kit: ... that drums are a kit of real drums
 * @sampled: ... that sampled notes are played rather than synthetic ones
 * @recorded: ... that a piano or a string is a recording of one
 * @legato: ... that notes last until the next one
 * @unpedalled: ... that a piano is heard without its pedal
 * @distractor: ... that something sounds that has no notes
 * @truncated: ... that the audio ends inside the window
 * @vibrato: ... that strings, winds and voices have it
 * @detune: cents, at most, that everything is off concert pitch
 * @stretch: tempo factors are exp(-stretch) to exp(stretch)
 * @labels: the program that the model should write for a program
 * @drum_labels: the key that it should write for a drum's key
 */
typedef struct {
  gfloat scenes[MT3_N_SCENE_KINDS];
  gfloat same_program, near_program, drop_part;
  gfloat acoustic_kit, sampled, recorded, legato;
  gfloat unpedalled, distractor, truncated, vibrato;
  gfloat detune, stretch;
  guint32 velocity_bins;
  guint8 labels[128];
  guint8 drum_labels[128];
} Mt3Recipe;

typedef struct _Mt3SceneSource Mt3SceneSource;

/* @corpus and @bank are borrowed until mt3_scene_source_free(). */
Mt3SceneSource *mt3_scene_source_new (const Mt3Corpus *corpus,
    const Mt3BankSound *sounds, const Mt3BankInstrument *instruments,
    guint n_instruments, const Mt3Recipe *recipe);
void mt3_scene_source_free (Mt3SceneSource *source);

/**
 * Mt3SceneBatch: arrays for @n_windows windows, allocated by the caller
 * @window_samples: of one window
 * @first: [n_windows][MAX_VOICES]: where the voice's sound is in bank.pcm
 * @voices: [n_windows][MAX_VOICES][VOICE_FIELDS], times in samples:
 *   0 length of the sound, 1 start, 2 duration until the release, 3 gain,
 *   4 speed, 5 time constant of the release, 6 attack, 7 depth of the vibrato
 *   in samples, 8 its frequency in radians a sample, 9 its phase, 10 loop
 *   start or -1, 11 unused
 * @n_voices: [n_windows]
 * @tokens: [n_windows][max_tokens], 0 after the end token
 * @n_tokens: [n_windows], with the end token
 * @roll: [n_windows][MAX_VOICES][4]: the notes as pitch, onset and end in
 *   hundredths of a second from the window's start, is_drum
 * @n_roll: [n_windows]
 * @cut: [n_windows]: the sample at which the audio ends; window_samples: not
 * @setting: [n_windows]: a #Mt3Setting
 */
typedef struct {
  guint32 n_windows, window_samples, max_tokens;
  gint64 *first;
  gfloat *voices;
  gint32 *n_voices;
  gint16 *tokens;
  gint32 *n_tokens;
  gint16 *roll;
  gint32 *n_roll;
  gint32 *cut;
  gint32 *setting;
} Mt3SceneBatch;

/* Fills @batch. Any number of threads may draw from one source. */
void mt3_scene_source_draw (
    const Mt3SceneSource *source, guint64 seed, const Mt3SceneBatch *batch);

G_END_DECLS
