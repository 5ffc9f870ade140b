/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * general-midi.h: which instruments can hold a note (General MIDI 1 sound
 * set); the others die away whatever the key does.
 */
#pragma once

#include <glib.h>

static inline gboolean
mt3_general_midi_sustains (guint program)
{
  return (program >= 16 && program <= 23) || /* organs */
         (program >= 40 && program <= 44) || /* bowed strings */
         (program >= 48 && program <= 54) || /* ensembles, voices */
         (program >= 56 && program <= 97) || /* winds, synthesisers */
         (program >= 99 && program <= 103 && program != 102) ||
         (program >= 109 && program <= 111); /* bagpipe, fiddle, shanai */
}
