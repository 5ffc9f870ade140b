/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstmt3notebytes.h"

#define MAX_MIDI_VALUE 127

void
gst_mt3_note_write_bytes (
    const GstMt3Note *note, guint8 bytes[GST_MT3_NOTE_BYTES_SIZE])
{
  GST_WRITE_UINT32_LE (bytes, note->id);
  bytes[4] = note->pitch;
  bytes[5] = note->velocity;
  bytes[6] = note->program;
  bytes[7] = note->is_drum ? 1 : 0;
  GST_WRITE_UINT64_LE (bytes + 8, note->onset);
  GST_WRITE_UINT64_LE (bytes + 16, note->end);
  GST_WRITE_DOUBLE_LE (bytes + 24, note->confidence);
}

gboolean
gst_mt3_note_read_bytes (
    GstMt3Note *note, const guint8 *bytes, gsize size, guint8 version)
{
  if (version != GST_MT3_NOTE_BYTES_VERSION || size != GST_MT3_NOTE_BYTES_SIZE)
    return FALSE;
  if (MAX (MAX (bytes[4], bytes[5]), bytes[6]) > MAX_MIDI_VALUE || bytes[7] > 1)
    return FALSE;

  *note = (GstMt3Note){
      .id = GST_READ_UINT32_LE (bytes),
      .pitch = bytes[4],
      .velocity = bytes[5],
      .program = bytes[6],
      .is_drum = bytes[7] != 0,
      .onset = GST_READ_UINT64_LE (bytes + 8),
      .end = GST_READ_UINT64_LE (bytes + 16),
      .confidence = GST_READ_DOUBLE_LE (bytes + 24),
  };
  return TRUE;
}
