/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstmt3notebytes.h"

#include <string.h>

#define MAX_MIDI_VALUE 127

/* Bytes may lie anywhere, but GStreamer's macros take what is aligned. */
typedef struct {
  _Alignas(guint64) guint8 bytes[GST_MT3_NOTE_BYTES_SIZE];
} Aligned;

/* Not that it ends after its onset: where another segment began between them,
 * stream time may have gone back. */
gboolean
gst_mt3_note_is_valid (const GstMt3Note *note)
{
  return note->pitch <= MAX_MIDI_VALUE && note->velocity >= 1 &&
         note->velocity <= MAX_MIDI_VALUE && note->program <= MAX_MIDI_VALUE &&
         note->confidence >= 0.0 && note->confidence <= 1.0;
}

void
gst_mt3_note_write_bytes (
    const GstMt3Note *note, guint8 bytes[GST_MT3_NOTE_BYTES_SIZE])
{
  Aligned out;

  GST_WRITE_UINT32_LE (out.bytes, note->id);
  out.bytes[4] = note->pitch;
  out.bytes[5] = note->velocity;
  out.bytes[6] = note->program;
  out.bytes[7] = note->is_drum ? 1 : 0;
  GST_WRITE_UINT64_LE (out.bytes + 8, note->onset);
  GST_WRITE_UINT64_LE (out.bytes + 16, note->end);
  GST_WRITE_DOUBLE_LE (out.bytes + 24, note->confidence);
  memcpy (bytes, out.bytes, sizeof out.bytes);
}

gboolean
gst_mt3_note_read_bytes (
    GstMt3Note *note, const guint8 *bytes, gsize size, guint8 version)
{
  Aligned in;

  if (version != GST_MT3_NOTE_BYTES_VERSION ||
      size != GST_MT3_NOTE_BYTES_SIZE || bytes[7] > 1)
    return FALSE;
  memcpy (in.bytes, bytes, sizeof in.bytes);

  *note = (GstMt3Note){
      .id = GST_READ_UINT32_LE (in.bytes),
      .pitch = bytes[4],
      .velocity = bytes[5],
      .program = bytes[6],
      .is_drum = bytes[7] != 0,
      .onset = GST_READ_UINT64_LE (in.bytes + 8),
      .end = GST_READ_UINT64_LE (in.bytes + 16),
      .confidence = GST_READ_DOUBLE_LE (in.bytes + 24),
  };
  return gst_mt3_note_is_valid (note);
}
