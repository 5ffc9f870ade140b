/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * player.h: who plays a part: an instrument of the note bank and a manner of
 * playing, and the notes that this makes in a window.
 */
#pragma once

#include "notes/note.h"
#include "training/corpus.h"
#include "training/random.h"
#include "training/scene.h"

G_BEGIN_DECLS

/**
 * Mt3Player:
 * @label: program to write, or -1: a distractor, which has no notes
 * @drum_labels: (nullable): the key to write for a drum's key
 * @key_up: ends notes when the key is let go, whatever the pedal does
 * @key_labels: writes that they end then, though the pedal may hold the sound
 * @legato: holds keys until the next note of the part, where one is near
 * @release: seconds; @attack: seconds
 * @vibrato_depth: of the speed; @vibrato_rate: radians a sample
 */
typedef struct {
  const Mt3BankInstrument *instrument;
  gint label;
  const guint8 *drum_labels;
  gint transpose;
  gboolean key_up, key_labels, legato;
  gfloat gain, detune_cents, release, attack, vibrato_depth, vibrato_rate;
} Mt3Player;

/* A window being filled; times in seconds from its start. */
typedef struct {
  Mt3Random random;
  const Mt3BankSound *sounds;
  gfloat seconds;
  gfloat stretch; /* factor of the tempo */
  gfloat velocity_power; /* of the dynamics: below 1 evens them out */
  gint64 *first;
  gfloat (*voices)[MT3_SCENE_VOICE_FIELDS];
  guint n_voices;
  Mt3Note notes[MT3_SCENE_MAX_VOICES];
  guint n_notes;
} Mt3Scene;

/* Plays the window of @part that starts @start seconds into the piece. */
void mt3_scene_play (Mt3Scene *scene, const Mt3Player *player,
    const Mt3CorpusNote *notes, const Mt3CorpusPart *part, gfloat start);

/* Plays one note; @velocity as it comes out; @written: its end in the tokens,
 * @offset when it is heard. */
void mt3_scene_play_note (Mt3Scene *scene, const Mt3Player *player, guint pitch,
    guint velocity, gfloat onset, gfloat offset, gfloat written);

G_END_DECLS
