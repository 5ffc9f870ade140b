/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstmt3note.h: a transcribed note, as applications see it.
 */
#pragma once

#include <gst/mt3/mt3-prelude.h>

G_BEGIN_DECLS

#define GST_TYPE_MT3_NOTE (gst_mt3_note_get_type ())

typedef struct _GstMt3Note GstMt3Note;

/**
 * GstMt3Note:
 * @id: 1, 2, 3 ... in the order of onsets; unique between two flushes of one
 *   element
 * @pitch: MIDI key, 0 to 127; for drums the General MIDI drum key
 * @velocity: 1 to 127
 * @program: General MIDI program, 0 to 127; 0 for drums
 * @is_drum: whether it is a drum hit
 * @onset: stream time at which it begins
 * @end: stream time at which it ends; %GST_CLOCK_TIME_NONE while it sounds;
 *   before @onset where a segment of earlier audio began in between
 * @confidence: 0 to 1, the probability that the model gave to the tokens that
 *   made the onset
 *
 * A transcribed note. Buffers tell of the same note twice, with the same @id:
 * at its onset, when @end is not known yet, and at its end. A message that
 * already knows both tells of it once.
 *
 * What is beyond these ranges is no note for gst_mt3_note_from_structure(),
 * gst_mt3_notes_message_parse() and what receives buffers from other processes.
 *
 * Since: 0.1
 */
struct _GstMt3Note {
  guint id;
  guint8 pitch;
  guint8 velocity;
  guint8 program;
  gboolean is_drum;
  GstClockTime onset;
  GstClockTime end;
  gdouble confidence;

  /*< private >*/
  gpointer _gst_reserved[GST_PADDING];
};

GST_MT3_API
GType gst_mt3_note_get_type (void);

GST_MT3_API
GstMt3Note *gst_mt3_note_new (void);

GST_MT3_API
GstMt3Note *gst_mt3_note_copy (const GstMt3Note *note);

GST_MT3_API
void gst_mt3_note_free (GstMt3Note *note);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (GstMt3Note, gst_mt3_note_free)

GST_MT3_API
GstStructure *gst_mt3_note_to_structure (const GstMt3Note *note);

GST_MT3_API
GstMt3Note *gst_mt3_note_from_structure (const GstStructure *structure);

G_END_DECLS
