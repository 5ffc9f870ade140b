/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "training/player.h"

#include <math.h>

/* A piano's lowest strings under the pedal are heard for so long. */
#define LONGEST_NOTE_SECONDS 14.0f
/* What ended earlier than this has died away, room and all. */
#define TAIL_SECONDS 0.75f
#define LOWEST_PITCH 21
#define HIGHEST_PITCH 108
#define SHORTEST_NOTE_SECONDS 0.03f
/* Between the layers, amplitude follows velocity as General MIDI's fonts do. */
#define VELOCITY_EXPONENT 1.6f
#define FOREVER 1e9f
/* How much shorter or longer than written a note may become in legato. */
#define LEGATO_SHORTER 0.35f
#define LEGATO_LONGER 1.0f

static guint
layer_of (guint velocity)
{
  guint best = 0;

  for (guint i = 1; i < MT3_BANK_LAYERS; i++)
    if (ABS ((gint) mt3_bank_velocities[i] - (gint) velocity) <
        ABS ((gint) mt3_bank_velocities[best] - (gint) velocity))
      best = i;
  return best;
}

static gboolean
in_range (const Mt3Player *player, gint pitch)
{
  if (player->instrument->is_drum)
    return pitch >= 0 && pitch < 128;
  return pitch >= LOWEST_PITCH && pitch <= HIGHEST_PITCH;
}

static void
add_voice (Mt3Scene *scene, const Mt3Player *player, const Mt3BankSound *sound,
    guint velocity, gfloat speed, gfloat onset, gfloat offset)
{
  gfloat *voice = scene->voices[scene->n_voices];
  gboolean is_drum = player->instrument->is_drum;
  gfloat loudness =
      powf ((gfloat) velocity / sound->velocity, VELOCITY_EXPONENT);

  scene->first[scene->n_voices++] = sound->first;
  voice[0] = sound->length;
  voice[1] = onset * MT3_BANK_RATE;
  voice[2] = is_drum ? FOREVER : (offset - onset) * MT3_BANK_RATE;
  voice[3] = player->instrument->gain * player->gain * loudness;
  voice[4] = speed;
  voice[5] = player->release * mt3_random_range (&scene->random, 0.8f, 1.2f) *
             MT3_BANK_RATE;
  voice[6] = player->attack * MT3_BANK_RATE;
  /* The integral of a speed that swings by the depth. */
  voice[7] = player->vibrato_rate > 0
                 ? player->vibrato_depth / player->vibrato_rate
                 : 0;
  voice[8] = player->vibrato_rate;
  voice[9] = mt3_random_range (&scene->random, 0, 2 * (gfloat) G_PI);
  voice[10] = sound->loop;
  voice[11] = 0;
}

static void
add_note (Mt3Scene *scene, const Mt3Player *player, guint pitch, guint velocity,
    gfloat onset, gfloat offset)
{
  gboolean is_drum = player->instrument->is_drum;

  if (player->label < 0 || onset >= scene->seconds || offset < 0)
    return;
  if (is_drum && onset < 0)
    return;
  scene->notes[scene->n_notes++] = (Mt3Note){
      .onset = onset,
      .offset = offset,
      .pitch = is_drum ? player->drum_labels[pitch] : pitch,
      .velocity = velocity,
      .program = is_drum ? 0 : player->label,
      .is_drum = is_drum,
  };
}

void
mt3_scene_play_note (Mt3Scene *scene, const Mt3Player *player, guint pitch,
    guint velocity, gfloat onset, gfloat offset, gfloat written)
{
  gint32 index = player->instrument->sounds[layer_of (velocity)][pitch];
  if (index < 0 || scene->n_voices >= MT3_SCENE_MAX_VOICES)
    return;

  const Mt3BankSound *sound = &scene->sounds[index];
  gboolean is_drum = player->instrument->is_drum;
  gfloat cents =
      player->detune_cents + mt3_random_range (&scene->random, -4, 4);
  gint semitones = is_drum ? 0 : (gint) pitch - sound->pitch;
  gfloat speed = exp2f (semitones / 12.0f + cents / 1200);
  gfloat heard = sound->audible / speed / MT3_BANK_RATE;

  if (sound->loop < 0 && onset + heard + TAIL_SECONDS < 0)
    return;
  add_voice (scene, player, sound, velocity, speed, onset, offset);
  /* Nobody can hear a note end that has died away before. */
  if (sound->loop < 0)
    written = MIN (written, onset + MAX (heard, SHORTEST_NOTE_SECONDS));
  add_note (scene, player, pitch, velocity, onset, written);
}

static guint
first_note_after (const Mt3CorpusNote *notes, guint n_notes, gfloat time)
{
  guint low = 0, high = n_notes;

  while (low < high) {
    guint middle = (low + high) / 2;

    if (notes[middle].onset < time)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* When the key of notes[i] is let go by who plays legato: at the onset that is
 * nearest to where the note was to end, unless none is near. */
static gfloat
legato_end (const Mt3CorpusNote *notes, guint n_notes, guint i)
{
  gfloat length = notes[i].key_up - notes[i].onset;
  gfloat earliest = notes[i].key_up - LEGATO_SHORTER * length;
  gfloat latest = notes[i].key_up + LEGATO_LONGER * length;
  gfloat best = notes[i].key_up, nearest = FOREVER;

  for (guint j = first_note_after (notes, n_notes, earliest);
       j < n_notes && notes[j].onset <= latest; j++) {
    gfloat distance = fabsf (notes[j].onset - notes[i].key_up);

    if (notes[j].onset > notes[i].onset + SHORTEST_NOTE_SECONDS &&
        distance < nearest) {
      nearest = distance;
      best = notes[j].onset;
    }
  }
  return best;
}

void
mt3_scene_play (Mt3Scene *scene, const Mt3Player *player,
    const Mt3CorpusNote *all_notes, const Mt3CorpusPart *part, gfloat start)
{
  const Mt3CorpusNote *notes = all_notes + part->first_note;
  gfloat stretch = scene->stretch;
  gfloat end = start + scene->seconds / stretch;
  guint i = first_note_after (
      notes, part->n_notes, start - LONGEST_NOTE_SECONDS / stretch);

  for (; i < part->n_notes && notes[i].onset < end; i++) {
    gfloat key_up =
        player->legato ? legato_end (notes, part->n_notes, i) : notes[i].key_up;
    gfloat onset = (notes[i].onset - start) * stretch;
    gfloat shortest = onset + SHORTEST_NOTE_SECONDS;
    gfloat released = MAX ((key_up - start) * stretch, shortest);
    /* Who holds the pedal, or has none to hold. */
    gfloat offset = player->key_up
                        ? released
                        : MAX ((notes[i].offset - start) * stretch, released);
    gint pitch = notes[i].pitch + player->transpose;
    gfloat velocity =
        127 * powf (notes[i].velocity / 127.0f, scene->velocity_power);

    if (offset < -TAIL_SECONDS || !in_range (player, pitch))
      continue;
    mt3_scene_play_note (scene, player, pitch,
        CLAMP (lrintf (velocity), 8, 127), onset, offset,
        player->key_labels ? released : offset);
  }
}
