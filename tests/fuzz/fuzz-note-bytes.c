/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A byte of version, then a note as another process sends it.
 */
#include "fuzz.h"

#include <gst/mt3/gstmt3notebytes.h>

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  guint8 again[GST_MT3_NOTE_BYTES_SIZE];
  GstMt3Note note;

  if (size == 0 ||
      !gst_mt3_note_read_bytes (&note, data + 1, size - 1, data[0]))
    return 0;
  g_assert_cmpuint (note.pitch, <=, 127);
  g_assert_cmpuint (note.program, <=, 127);
  g_assert (note.velocity >= 1 && note.velocity <= 127);
  g_assert (note.confidence >= 0.0 && note.confidence <= 1.0);
  gst_mt3_note_write_bytes (&note, again);
  g_assert_cmpmem (again, sizeof again, data + 1, size - 1);
  return 0;
}

void
fuzz_seeds (GPtrArray *seeds)
{
  static const GstMt3Note notes[] = {
      {1, 60, 100, 40, FALSE, GST_SECOND, GST_CLOCK_TIME_NONE, 0.75},
      {2, 36, 1, 0, TRUE, 0, GST_MSECOND, 1.0},
  };

  for (guint i = 0; i < G_N_ELEMENTS (notes); i++) {
    guint8 seed[1 + GST_MT3_NOTE_BYTES_SIZE] = {GST_MT3_NOTE_BYTES_VERSION};

    gst_mt3_note_write_bytes (&notes[i], seed + 1);
    g_ptr_array_add (seeds, g_bytes_new (seed, sizeof seed));
  }
}
