/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gstmt3notebytes.h: a note as bytes, for what carries metas between processes
 * and machines (GStreamer >= 1.24), and what makes one. Private to the library.
 */
#pragma once

#include <gst/mt3/gstmt3note.h>

G_BEGIN_DECLS

/* Rises when the layout changes. */
#define GST_MT3_NOTE_BYTES_VERSION 0

/* Little endian: id (4 bytes), pitch, velocity, program, is_drum (1 each),
 * onset, end, confidence (8 each). */
#define GST_MT3_NOTE_BYTES_SIZE 32

/* Whether the values of @note, which may come from anywhere, are within what
 * #GstMt3Note says. */
gboolean gst_mt3_note_is_valid (const GstMt3Note *note);

void gst_mt3_note_write_bytes (
    const GstMt3Note *note, guint8 bytes[GST_MT3_NOTE_BYTES_SIZE]);

/* FALSE when @bytes, which may come from anywhere, are no note. */
gboolean gst_mt3_note_read_bytes (
    GstMt3Note *note, const guint8 *bytes, gsize size, guint8 version);

G_END_DECLS
