/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * golden-notes.h: the notes that a recording should give.
 */
#pragma once

#include <gst/mt3/mt3.h>

G_BEGIN_DECLS

/* A note to the 10 ms that MT3 tells. */
typedef struct {
  gint onset, end;
  gint pitch, velocity, program, is_drum;
} GoldenNote;

/* Reads a notes.json ({"notes": [[onset, offset, pitch, velocity, program,
 * is_drum], ...]}, times in seconds). Elements: GoldenNote, in order. */
GArray *golden_notes_read (const gchar *path, GError **error);

/* Adds a note that has ended. */
void golden_notes_add (GArray *notes, const GstMt3Note *note);

/* Brings notes into the order of golden_notes_read(). */
void golden_notes_sort (GArray *notes);

gboolean golden_notes_equal (const GArray *a, const GArray *b);

G_END_DECLS
