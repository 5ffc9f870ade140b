/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * bank.h: the note bank: single notes of many instruments, rendered once, from
 * which training mixes its audio on the GPU.
 *
 * On disk: bank.pcm (int16, mono, MT3_BANK_RATE, all sounds one after the
 * other), bank.sounds and bank.instruments (arrays of the structures below,
 * little endian).
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

#define MT3_BANK_RATE 16000
#define MT3_BANK_LAYERS 3

/* Velocities that the layers are played with. */
static const guint8 mt3_bank_velocities[MT3_BANK_LAYERS] = {42, 78, 114};

/**
 * Mt3BankSound:
 * @first: sample in bank.pcm
 * @length: samples
 * @audible: samples until it has decayed by 45 dB below its loudest; a label
 *   ends here even where the key is held on
 * @loop: sample from which a held note goes forth and back, or -1 when it dies
 *   away by itself
 */
typedef struct {
  gint64 first;
  gint32 length;
  gint32 audible;
  gint32 loop;
  guint8 pitch;
  guint8 velocity;
  guint8 padding[10];
} Mt3BankSound;

/**
 * Mt3BankInstrument:
 * @sounds: index of the sound nearest to a key, or -1: not in its range
 * @gain: brings its middle layer to a common loudness
 * @program: General MIDI program; of a drum kit the kit's number
 * @is_acoustic: a kit of real drums, or sampled rather than synthetic
 * @source: which font, sample set or synthesiser it comes from
 */
typedef struct {
  gint32 sounds[MT3_BANK_LAYERS][128];
  gfloat gain;
  guint8 program;
  guint8 is_drum;
  guint8 is_acoustic;
  guint8 source;
} Mt3BankInstrument;

G_STATIC_ASSERT (sizeof (Mt3BankSound) == 32);
G_STATIC_ASSERT (sizeof (Mt3BankInstrument) == 4 * 3 * 128 + 8);

G_END_DECLS
