/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * note.h: a transcribed note.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/**
 * Mt3Note:
 * @id: 1, 2, 3 ... in the order of onsets decoded; unique in one decoder's run
 * @onset: seconds from the start of the audio
 * @offset: seconds; a drum hit ends 10 ms after its onset
 * @pitch: MIDI key 0..127 (for drums the General MIDI drum key)
 * @velocity: 1..127
 * @program: General MIDI program 0..127; 0 for drums
 * @confidence: 0..1, the probability that the model gave to the tokens that
 *   made the onset: the product over the tokens of its window after the pitch
 *   or drum token before, up to and with its own (so the shift, program and
 *   velocity that a chord shares count for its first note); 1 when not known
 */
typedef struct {
  guint id;
  gdouble onset;
  gdouble offset;
  guint8 pitch;
  guint8 velocity;
  guint8 program;
  gboolean is_drum;
  gfloat confidence;
} Mt3Note;

/* "Acoustic Grand Piano" ...; for drums "Drums". Never NULL. */
const gchar *mt3_program_name (guint program, gboolean is_drum);

G_END_DECLS
