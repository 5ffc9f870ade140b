/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * midi-chunks.h: whether something is a Standard MIDI File from end to end.
 */
#pragma once

#include <gst/base/gstbytereader.h>
#include <gst/check/gstcheck.h>

/* Chunks must fill it to the last byte; returns how many there are. */
static inline guint
check_midi_chunks (gconstpointer data, gsize size)
{
  GstByteReader reader = GST_BYTE_READER_INIT (data, (guint) size);
  guint32 type, length, n_chunks = 0;

  fail_unless (gst_byte_reader_peek_uint32_be (&reader, &type));
  fail_unless_equals_int (type, 0x4d546864); /* MThd */
  while (gst_byte_reader_get_remaining (&reader) > 0) {
    fail_unless (gst_byte_reader_get_uint32_be (&reader, &type));
    fail_unless (gst_byte_reader_get_uint32_be (&reader, &length));
    fail_unless (gst_byte_reader_skip (&reader, length));
    n_chunks++;
  }
  fail_unless (n_chunks >= 2);

  return n_chunks;
}
