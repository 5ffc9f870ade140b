/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * note-encoder.h: the notes of a piece to the tokens of one window, the reverse
 * of the note decoder (magenta/mt3 note_sequences.py and
 * run_length_encoding.py). What a model is trained to write.
 */
#pragma once

#include "notes/note.h"

G_BEGIN_DECLS

/* The grid step of a time in seconds: its nearest hundredth, as the reference
 * rounds. */
gint64 mt3_note_encoder_step (gdouble seconds);

/**
 * Mt3NoteEncoding:
 * @velocity_bins: of the vocabulary, 1 to 127
 * @ties: open with a tie section
 * @first_step: where the window begins on the grid; shifts count from here
 * @end_step: where the next one begins: events from there on belong to it
 */
typedef struct {
  guint velocity_bins;
  gboolean ties;
  gint64 first_step;
  gint64 end_step;
} Mt3NoteEncoding;

/**
 * mt3_note_encoder_encode:
 * @notes: in any order, with times on the same axis as the steps; of notes of
 *   one key and program that overlap the earlier ends where the later begins,
 *   and of those that begin together the longest counts
 * @tokens: (out caller-allocated): the window's tokens without an end token
 *
 * Returns: how many tokens the window has; those past @max_tokens are not
 *   written. Any thread.
 */
guint mt3_note_encoder_encode (const Mt3NoteEncoding *encoding,
    const Mt3Note *notes, guint n_notes, guint16 *tokens, guint max_tokens);

G_END_DECLS
