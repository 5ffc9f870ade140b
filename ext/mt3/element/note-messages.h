/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * note-messages.h: what the bus is told about notes.
 */
#pragma once

#include "element/output.h"

G_BEGIN_DECLS

typedef struct _GstMt3NoteMessages GstMt3NoteMessages;

/* All functions belong to the source pad's task. */
GstMt3NoteMessages *gst_mt3_note_messages_new (
    const GstMt3OutputContext *context);
void gst_mt3_note_messages_free (GstMt3NoteMessages *messages);

/* Takes note of a note at its onset (offset is NAN) and at its end; notes of
 * which the onset was not told may end, too. */
void gst_mt3_note_messages_add (
    GstMt3NoteMessages *messages, const Mt3Note *note, gboolean ended);

/**
 * gst_mt3_note_messages_take:
 * @src: the element
 * @from: where the audio begins in which the notes were heard, in seconds from
 *   the first sample
 * @to: where it ends
 *
 * Returns: (transfer full) (nullable): a message of all notes that were added
 *   since the last call, each once with all that is known of it; %NULL if
 *   there are none
 */
GstMessage *gst_mt3_note_messages_take (
    GstMt3NoteMessages *messages, GstObject *src, gdouble from, gdouble to);

/* Forgets all notes: nobody wants to be told. */
void gst_mt3_note_messages_forget (GstMt3NoteMessages *messages);

G_END_DECLS
