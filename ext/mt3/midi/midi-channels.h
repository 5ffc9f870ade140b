/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * midi-channels.h: which of the 16 channels of a live MIDI stream plays what.
 *
 * Drums have channel 10 (General MIDI 1, MMA RP-003). Every program gets one
 * of the other 15 when its first note begins, and keeps it as long as there are
 * enough: of more than 15 programs one takes over the channel that was used
 * least recently among those where nothing sounds, or, when all of them sound,
 * among all.
 */
#pragma once

#include "midi/midi-writer.h"

G_BEGIN_DECLS

#define MT3_MIDI_CHANNELS 16

typedef struct _Mt3MidiChannels Mt3MidiChannels;

/* All functions: one thread at a time. */
Mt3MidiChannels *mt3_midi_channels_new (void);
void mt3_midi_channels_free (Mt3MidiChannels *channels);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Mt3MidiChannels, mt3_midi_channels_free)

/* The channel (from 0) for a note that begins. Changes nothing. */
guint mt3_midi_channels_choose (
    const Mt3MidiChannels *channels, const Mt3Note *note);

/* Whether @channel plays the instrument of @note. If not, its notes have to end
 * and its program has to change before @note begins. */
gboolean mt3_midi_channels_plays (
    const Mt3MidiChannels *channels, guint channel, const Mt3Note *note);

/* Takes away the note that has sounded longest on @channel; FALSE if none does.
 * mt3_midi_channels_end() knows it no more. */
gboolean mt3_midi_channels_cut (
    Mt3MidiChannels *channels, guint channel, Mt3Note *note);

/* @note begins to sound on @channel, which plays its instrument from now on. */
void mt3_midi_channels_begin (
    Mt3MidiChannels *channels, guint channel, const Mt3Note *note);

/* The note with the id of @note ends. Returns its channel; negative when it
 * sounds on none. */
gint mt3_midi_channels_end (Mt3MidiChannels *channels, const Mt3Note *note);

/* The two bytes of the program change that @note asks for; see
 * mt3_midi_note_message(). */
void mt3_midi_program_message (
    const Mt3Note *note, guint channel, guint8 bytes[2]);

G_END_DECLS
