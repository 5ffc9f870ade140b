/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * font.h: records the instruments of a sound font through libfluidsynth.
 */
#pragma once

#include "training/recorder.h"

G_BEGIN_DECLS

/* A preset to record; what mt3_font_presets() finds. */
typedef struct {
  const gchar *path; /* of the font, borrowed */
  gint bank, program;
  gboolean is_drum, is_acoustic;
  guint8 source;
} Mt3FontPreset;

/**
 * mt3_font_presets:
 *
 * The melodic presets of General MIDI with their variations, and the drum kits.
 *
 * Returns: (transfer full): array of #Mt3FontPreset
 */
GArray *mt3_font_presets (const gchar *path, guint8 source, GError **error);

/* Records @preset into the bank. Any thread: each has a synthesiser. */
void mt3_font_record (const Mt3FontPreset *preset, Mt3BankWriter *writer);

G_END_DECLS
