/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * midi-chunks.h: whether something is a Standard MIDI File from end to end.
 */
#pragma once

#include <gst/check/gstcheck.h>

/* GstByteReader reads words where they lie, which sanitizers object to. */
static inline guint32
read_uint32_be (const guint8 *bytes)
{
  return (guint32) bytes[0] << 24 | bytes[1] << 16 | bytes[2] << 8 | bytes[3];
}

/* Chunks must fill it to the last byte; returns how many there are. */
static inline guint
check_midi_chunks (gconstpointer data, gsize size)
{
  const guint8 *bytes = data;
  guint n_chunks = 0;
  gsize at = 0;

  fail_unless (size >= 14 && memcmp (data, "MThd", 4) == 0);
  for (; at + 8 <= size; n_chunks++)
    at += 8 + read_uint32_be (bytes + at + 4);
  fail_unless_equals_int (at, size);
  fail_unless (n_chunks >= 2);

  return n_chunks;
}
