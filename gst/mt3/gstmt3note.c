/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstmt3note.c: the boxed note and its structure.
 */
/**
 * SECTION:gstmt3note
 * @title: GstMt3Note
 * @short_description: a transcribed note
 *
 * A note as #GstMt3NoteMeta carries it on buffers and the `mt3-notes` message
 * on the bus.
 *
 * As a #GstStructure it is named `note` and has these fields:
 *
 * * #guint `id`: 1, 2, 3 ... in the order of onsets
 * * #guint `pitch`: MIDI key, 0 to 127
 * * #guint `velocity`: 1 to 127
 * * #guint `program`: General MIDI program, 0 to 127; 0 for drums
 * * #gboolean `is-drum`: whether it is a drum hit
 * * #GstClockTime `onset`: stream time at which it begins
 * * #GstClockTime `end`: stream time at which it ends; %GST_CLOCK_TIME_NONE
 *   while it sounds
 * * #gdouble `confidence`: 0 to 1
 *
 * Since: 0.1
 */
#include "gstmt3note.h"

#include "gstmt3notebytes.h"

#define NOTE_NAME "note"

G_DEFINE_BOXED_TYPE (
    GstMt3Note, gst_mt3_note, gst_mt3_note_copy, gst_mt3_note_free);

/**
 * gst_mt3_note_new:
 *
 * Makes a note to be filled in.
 *
 * Returns: (transfer full): a note of zeros without times
 *
 * Since: 0.1
 */
GstMt3Note *
gst_mt3_note_new (void)
{
  GstMt3Note *note = g_new0 (GstMt3Note, 1);

  note->onset = GST_CLOCK_TIME_NONE;
  note->end = GST_CLOCK_TIME_NONE;
  return note;
}

/**
 * gst_mt3_note_copy:
 * @note: a note
 *
 * Makes another note like @note.
 *
 * Returns: (transfer full): a copy
 *
 * Since: 0.1
 */
GstMt3Note *
gst_mt3_note_copy (const GstMt3Note *note)
{
  return g_memdup2 (note, sizeof *note);
}

/**
 * gst_mt3_note_free:
 * @note: (transfer full): a note
 *
 * Frees @note.
 *
 * Since: 0.1
 */
void
gst_mt3_note_free (GstMt3Note *note)
{
  g_free (note);
}

/**
 * gst_mt3_note_to_structure:
 * @note: a note
 *
 * Turns @note into what messages carry.
 *
 * Returns: (transfer full): the note as a structure named `note`
 *
 * Since: 0.1
 */
GstStructure *
gst_mt3_note_to_structure (const GstMt3Note *note)
{
  return gst_structure_new (NOTE_NAME, "id", G_TYPE_UINT, note->id, "pitch",
      G_TYPE_UINT, (guint) note->pitch, "velocity", G_TYPE_UINT,
      (guint) note->velocity, "program", G_TYPE_UINT, (guint) note->program,
      "is-drum", G_TYPE_BOOLEAN, note->is_drum, "onset", GST_TYPE_CLOCK_TIME,
      note->onset, "end", GST_TYPE_CLOCK_TIME, note->end, "confidence",
      G_TYPE_DOUBLE, note->confidence, NULL);
}

/**
 * gst_mt3_note_from_structure:
 * @structure: a structure as gst_mt3_note_to_structure() makes it
 *
 * Turns what messages carry into a note.
 *
 * Returns: (transfer full) (nullable): the note, or %NULL when @structure is
 *   none: a field is missing, or beyond what #GstMt3Note says
 *
 * Since: 0.1
 */
GstMt3Note *
gst_mt3_note_from_structure (const GstStructure *structure)
{
  GstMt3Note note = {0};
  guint pitch, velocity, program;

  if (!gst_structure_has_name (structure, NOTE_NAME))
    return NULL;
  if (!gst_structure_get (structure, "id", G_TYPE_UINT, &note.id, "pitch",
          G_TYPE_UINT, &pitch, "velocity", G_TYPE_UINT, &velocity, "program",
          G_TYPE_UINT, &program, "is-drum", G_TYPE_BOOLEAN, &note.is_drum,
          "onset", GST_TYPE_CLOCK_TIME, &note.onset, "end", GST_TYPE_CLOCK_TIME,
          &note.end, "confidence", G_TYPE_DOUBLE, &note.confidence, NULL))
    return NULL;
  /* What does not fit into a byte is beyond the range as the largest is. */
  note.pitch = MIN (pitch, G_MAXUINT8);
  note.velocity = MIN (velocity, G_MAXUINT8);
  note.program = MIN (program, G_MAXUINT8);
  return gst_mt3_note_is_valid (&note) ? gst_mt3_note_copy (&note) : NULL;
}
