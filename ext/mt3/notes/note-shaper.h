/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * note-shaper.h: notes as somebody wants them, out of notes as they were
 * decoded: under other programs, without the shortest, equally loud.
 */
#pragma once

#include "notes/note-decoder.h"
#include "notes/program-map.h"

G_BEGIN_DECLS

typedef struct _Mt3NoteShaper Mt3NoteShaper;

/**
 * mt3_note_shaper_new:
 * @min_duration: pitched notes that are shorter, in seconds, are left out; 0
 *   leaves out none. Drum hits have no duration and always stay
 * @callback: gets the notes that stay
 *
 * Stands between a decoder and who uses its notes: it is called as the decoder
 * calls, and calls as the decoder would, with onsets that never go back in
 * time and ids that count from 1. A new one changes nothing.
 *
 * What is not known to be long enough is held back, and so is what comes after
 * it: reports come up to @min_duration later, in time of the audio.
 */
Mt3NoteShaper *mt3_note_shaper_new (
    gdouble min_duration, Mt3NoteCallback callback, gpointer user_data);
void mt3_note_shaper_free (Mt3NoteShaper *shaper);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Mt3NoteShaper, mt3_note_shaper_free)

/**
 * mt3_note_shaper_set:
 * @map: the programs of notes that begin from now on
 * @velocity: their velocity, 1 to 127; 0 is as decoded
 *
 * Two notes of one pitch that @map gives the same program are one key on one
 * instrument: where they begin together they become one note, the first, which
 * ends when the last of them does; where one begins while the other sounds, it
 * ends the other.
 */
void mt3_note_shaper_set (
    Mt3NoteShaper *shaper, const Mt3ProgramMap *map, guint velocity);

/* An #Mt3NoteCallback; @shaper is an #Mt3NoteShaper. */
void mt3_note_shaper_note (
    const Mt3Note *note, gboolean ended, gpointer shaper);

/* No onset or end before @seconds comes any more: reports what that decides,
 * which is everything before @seconds less min_duration. */
void mt3_note_shaper_advance (Mt3NoteShaper *shaper, gdouble seconds);

/* After the decoder's own finish: reports everything. */
void mt3_note_shaper_finish (Mt3NoteShaper *shaper);

G_END_DECLS
