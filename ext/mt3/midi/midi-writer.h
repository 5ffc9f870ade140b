/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * midi-writer.h: notes to a Standard MIDI File (MIDI 1.0, RP-001 v1.0).
 *
 * Format 1: a conductor track (name, one tempo at tick 0), then one track an
 * instrument in order of program (drums last) with its name, program change
 * and notes. Division 500 at 500,000 us a quarter: a tick is exactly 1 ms at a
 * nominal 120 BPM; MT3 hears no tempo. Ticks are absolute times rounded once.
 * Drums play on channel 10; pitched instruments take the other 15 channels of
 * port 0, then of port 1 ...; with more than one port every track names its own
 * (meta event 0x21). Every event carries its status byte: running status trips
 * common readers.
 *
 * Within a tick notes end before others begin; no note is shorter than a tick.
 * A MIDI key cannot sound twice: a note still sounding when its key begins
 * again on the same track ends there, as MT3 itself has it. (Notes of one key
 * that begin in the same tick are all kept, first on first off.)
 */
#pragma once

#include "notes/note.h"

G_BEGIN_DECLS

#define MT3_MIDI_DIVISION 500
#define MT3_MIDI_TEMPO_US 500000
#define MT3_MIDI_DRUM_CHANNEL 9 /* counted from 0: "channel 10" */

/**
 * mt3_midi_write:
 * @notes: in any order
 * @title: (nullable): UTF-8 name of the conductor track
 *
 * A note whose offset is NAN (still sounding) ends with the latest event of
 * the file. Times past 268,435.455 s, the longest delta time, count as that.
 * Same notes in any order, same bytes. Pure; any thread.
 *
 * Returns: (transfer full): the whole file.
 */
GByteArray *mt3_midi_write (
    const Mt3Note *notes, guint n_notes, const gchar *title);

/* One channel message of a note (note-on or note-off), status byte first, for
 * files and live streams. @channel: 0..15. */
void mt3_midi_note_message (
    const Mt3Note *note, guint channel, gboolean on, guint8 bytes[3]);

G_END_DECLS
