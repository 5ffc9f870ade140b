/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * note-decoder.h: tokens of consecutive windows to notes (magenta/mt3
 * note_sequences.py and metrics_utils.py, with and without ties), with every
 * rounding of the reference.
 */
#pragma once

#include "checkpoint/model-config.h"
#include "engine/token-set.h"
#include "notes/note.h"

G_BEGIN_DECLS

typedef struct _Mt3NoteDecoder Mt3NoteDecoder;

/* What was decoded, skipped and cut since new or reset. */
typedef struct {
  guint64 windows;
  guint64 silent_windows; /* of these, those that were not decoded */
  guint64 empty_windows; /* those without a single valid pitch or drum */
  guint64 unfinished_windows; /* no end token */
  guint64 notes; /* onsets */
  guint64 invalid_events; /* skipped: no such token, or none that fits */
  guint64 dropped_events; /* tokens after the next window's start */
} Mt3NoteDecoderStats;

/**
 * Mt3NoteCallback:
 * @note: (transfer none); on a note-on @note->offset is NAN and the note will
 *   be reported again when it ends, with the same id
 * @ended: FALSE at the onset, TRUE at the end
 *
 * Onsets and ends come in the order the reference decodes them. Onsets never
 * go back in time, but for mt3_note_decoder_change_model(). Ends may lie ahead
 * of the reports that follow: a drum ends 10 ms after its onset, and so does a
 * note that is ended sooner. The callback must not call the decoder.
 */
typedef void (*Mt3NoteCallback) (
    const Mt3Note *note, gboolean ended, gpointer user_data);

/* @callback may be NULL when only mt3_note_decoder_notes() is wanted. */
Mt3NoteDecoder *mt3_note_decoder_new (
    const Mt3Config *config, Mt3NoteCallback callback, gpointer user_data);
void mt3_note_decoder_free (Mt3NoteDecoder *decoder);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Mt3NoteDecoder, mt3_note_decoder_free)

/**
 * mt3_note_decoder_push:
 * @index: of the window; windows must come in order (gaps are allowed: the
 *   time follows the index)
 * @last: no window follows (then events may run past the window's end)
 * @log_probs: (nullable): one a token
 * @ended: the model wrote its end token; without it the tokens count all the
 *   same
 *
 * Any ids are safe. A window that is left out need not be pushed: what sounds
 * goes on, unless mt3_note_decoder_interrupt() ends it.
 */
void mt3_note_decoder_push (Mt3NoteDecoder *decoder, guint64 index,
    gboolean last, const guint16 *tokens, const gfloat *log_probs,
    guint n_tokens, gboolean ended);

/* The same for a window that is silent and was not decoded: what sounds ends
 * at its start. */
void mt3_note_decoder_push_silence (Mt3NoteDecoder *decoder, guint64 index);

/**
 * mt3_note_decoder_set_allowed:
 * @allowed: (nullable): what the windows that are pushed from now on were
 *   written with
 *
 * A model that may not write the tokens of some programs can still begin a
 * note without having named any program, or go on with that of a window before.
 * Such notes are invalid events unless @allowed has their program's token.
 */
void mt3_note_decoder_set_allowed (
    Mt3NoteDecoder *decoder, const Mt3TokenSet *allowed);
/* Ends every note that still sounds where window @index begins: it and what
 * follows up to the next window pushed is not known. */
void mt3_note_decoder_interrupt (Mt3NoteDecoder *decoder, guint64 index);

/**
 * mt3_note_decoder_change_model:
 * @config: of the model that wrote the windows that are pushed from now on
 * @start: when window 0 of them begins, in seconds
 *
 * Ends what sounds there. Ids and statistics go on, and so does time from
 * @start, though the window before, which was cut there, may have told of
 * later.
 */
void mt3_note_decoder_change_model (
    Mt3NoteDecoder *decoder, const Mt3Config *config, gdouble start);

/* Ends every note that still sounds, as the reference does at the end. */
void mt3_note_decoder_finish (Mt3NoteDecoder *decoder);

/* Forgets everything but what is allowed. */
void mt3_note_decoder_reset (Mt3NoteDecoder *decoder);

/* Notes ended so far, in the reference's order. Valid until the next call. */
const Mt3Note *mt3_note_decoder_notes (
    const Mt3NoteDecoder *decoder, guint *n_notes);

/* Notes that sound now. */
guint mt3_note_decoder_n_active (const Mt3NoteDecoder *decoder);

/* (transfer full): a copy of them (#Mt3Note, offset NAN) in the order of their
 * onsets, for a file written before the end. */
GArray *mt3_note_decoder_active_notes (const Mt3NoteDecoder *decoder);

/* Frees the memory of ended notes in streams that never end: without it
 * memory grows with the notes, with it it is bounded. */
void mt3_note_decoder_forget_ended (Mt3NoteDecoder *decoder);

void mt3_note_decoder_get_stats (
    const Mt3NoteDecoder *decoder, Mt3NoteDecoderStats *stats);

G_END_DECLS
