/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Notes of PACKED_SIZE bytes each: onset, offset (8, the bytes of a double),
 * pitch, velocity, program, is_drum (1).
 */
#include "fuzz.h"
#include "midi/midi-writer.h"

#include <math.h>
#include <string.h>

#define PACKED_SIZE 20

static Mt3Note
unpack_note (const guint8 *bytes)
{
  Mt3Note note = {
      .pitch = bytes[16] & 0x7f,
      .velocity = 1 + bytes[17] % 127,
      .program = bytes[18] & 0x7f,
      .is_drum = bytes[19] & 1,
  };

  memcpy (&note.onset, bytes, 8);
  memcpy (&note.offset, bytes + 8, 8);
  return note;
}

static guint32
read_u32 (const guint8 *bytes)
{
  return (guint32) bytes[0] << 24 | bytes[1] << 16 | bytes[2] << 8 | bytes[3];
}

/* The chunks fill the file, and there are as many as the header says. */
static void
check_chunks (const GByteArray *file)
{
  guint n_tracks = file->data[10] << 8 | file->data[11];
  gsize at = 14;

  for (guint i = 0; i < n_tracks; i++) {
    g_assert_cmpmem (file->data + at, 4, "MTrk", 4);
    at += 8 + read_u32 (file->data + at + 4);
    g_assert_cmpmem (file->data + at - 4, 4, "\0\xff\x2f\0", 4);
  }
  g_assert_cmpuint (at, ==, file->len);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  guint n_notes = (guint) (size / PACKED_SIZE);
  g_autofree Mt3Note *notes = g_new (Mt3Note, n_notes);
  g_autofree Mt3Note *reversed = g_new (Mt3Note, n_notes);

  for (guint i = 0; i < n_notes; i++) {
    notes[i] = unpack_note (data + i * PACKED_SIZE);
    reversed[n_notes - 1 - i] = notes[i];
  }

  g_autoptr (GByteArray) file = mt3_midi_write (notes, n_notes, "fuzz");
  g_autoptr (GByteArray) again = mt3_midi_write (reversed, n_notes, "fuzz");
  check_chunks (file);
  g_assert_cmpmem (file->data, file->len, again->data, again->len);
  return 0;
}

static void
pack_note (GByteArray *seed, const Mt3Note *note)
{
  const guint8 rest[] = {
      note->pitch, note->velocity, note->program, (guint8) note->is_drum};

  g_byte_array_append (seed, (const guint8 *) &note->onset, 8);
  g_byte_array_append (seed, (const guint8 *) &note->offset, 8);
  g_byte_array_append (seed, rest, sizeof rest);
}

void
fuzz_seeds (GPtrArray *seeds)
{
  static const Mt3Note notes[] = {
      {1, 0.0, 0.5, 60, 100, 0, FALSE, 1},
      {2, 0.25, 0.75, 60, 100, 0, FALSE, 1},
      {3, 0.25, 0.26, 36, 127, 0, TRUE, 1},
      {4, 1.0, NAN, 64, 1, 40, FALSE, 1},
  };
  GByteArray *few = g_byte_array_new (), *many = g_byte_array_new ();

  for (guint i = 0; i < G_N_ELEMENTS (notes); i++)
    pack_note (few, &notes[i]);
  for (guint i = 0; i < 20; i++) {
    Mt3Note note = notes[0];
    note.program = i;
    pack_note (many, &note);
  }
  g_ptr_array_add (seeds, g_byte_array_free_to_bytes (few));
  g_ptr_array_add (seeds, g_byte_array_free_to_bytes (many));
}
