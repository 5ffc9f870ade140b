/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstmt3notebytes.h"

#include <string.h>

#define MAX_MIDI_VALUE 127

/* Bytes may lie anywhere, but GStreamer's macros take what is aligned. */
typedef struct {
  _Alignas(guint64) guint8 bytes[GST_MT3_NOTE_BYTES_SIZE];
} Aligned;

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
  gdouble confidence;

  if (version != GST_MT3_NOTE_BYTES_VERSION || size != GST_MT3_NOTE_BYTES_SIZE)
    return FALSE;
  if (MAX (MAX (bytes[4], bytes[5]), bytes[6]) > MAX_MIDI_VALUE ||
      bytes[5] == 0 || bytes[7] > 1)
    return FALSE;
  memcpy (in.bytes, bytes, sizeof in.bytes);
  confidence = GST_READ_DOUBLE_LE (in.bytes + 24);
  if (!(confidence >= 0.0 && confidence <= 1.0))
    return FALSE;

  *note = (GstMt3Note){
      .id = GST_READ_UINT32_LE (in.bytes),
      .pitch = bytes[4],
      .velocity = bytes[5],
      .program = bytes[6],
      .is_drum = bytes[7] != 0,
      .onset = GST_READ_UINT64_LE (in.bytes + 8),
      .end = GST_READ_UINT64_LE (in.bytes + 16),
      .confidence = confidence,
  };
  return TRUE;
}
