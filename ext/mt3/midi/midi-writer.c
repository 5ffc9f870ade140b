/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * midi-writer.c: see midi-writer.h for the shape of the file.
 */
#include "midi/midi-writer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TICKS_PER_SECOND (MT3_MIDI_DIVISION * (1000000.0 / MT3_MIDI_TEMPO_US))
#define MAX_TICK 0x0fffffff /* the largest variable-length quantity */
#define CHANNELS_PER_PORT 15 /* that play pitched instruments */
#define RELEASE_VELOCITY 64 /* what MIDI 1.0 has senders without one send */

enum {
  META_TRACK_NAME = 0x03,
  META_PORT = 0x21,
  META_END_OF_TRACK = 0x2f,
  META_TEMPO = 0x51,
};

/* A note on the file's clock. @place: what orders notes first, as a number, so
 * that sorting is fast: instrument, key, onset. */
typedef struct {
  guint64 place;
  guint32 end;
  const Mt3Note *note;
} TimedNote;

#define DRUMS 128 /* an instrument, after the programs */
#define N_KEYS ((DRUMS + 1) << 7)

static guint64
make_place (guint instrument, guint key, guint32 onset)
{
  return (guint64) instrument << 48 | (guint64) key << 32 | onset;
}

static guint
instrument_of (const TimedNote *timed)
{
  return timed->place >> 48;
}

static guint32
onset_of (const TimedNote *timed)
{
  return (guint32) timed->place;
}

#define ORDER(a, b) (((a) > (b)) - ((a) < (b)))

/* Complete, so that the order of the caller's array never shows in the file. */
static gint
compare_notes (gconstpointer a, gconstpointer b)
{
  const TimedNote *x = a, *y = b;

  if (x->place != y->place)
    return ORDER (x->place, y->place);
  if (x->end != y->end)
    return ORDER (x->end, y->end);
  return ORDER (x->note->velocity, y->note->velocity);
}

/* When a note of an instrument begins or ends, as a number, so that sorting is
 * fast: the tick, then whether it begins (ends come first), then which of the
 * instrument's notes it is. */
static guint64
make_event (guint32 tick, gboolean on, guint32 note)
{
  return (guint64) tick << 33 | (guint64) on << 32 | note;
}

static gint
compare_events (gconstpointer a, gconstpointer b)
{
  guint64 x = *(const guint64 *) a, y = *(const guint64 *) b;

  return ORDER (x, y);
}

static guint32
ticks (gdouble seconds)
{
  /* Unlike CLAMP(), these make a number of a NaN. */
  return round (fmin (fmax (seconds * TICKS_PER_SECOND, 0.0), MAX_TICK));
}

static TimedNote
time_note (const Mt3Note *note)
{
  guint32 onset = MIN (ticks (note->onset), MAX_TICK - 1);
  guint32 end = isnan (note->offset) ? onset : ticks (note->offset);

  return (TimedNote){
      .place = make_place (
          note->is_drum ? DRUMS : note->program, note->pitch, onset),
      .end = MAX (end, onset + 1),
      .note = note,
  };
}

/* Ends what still sounds with the latest event. */
static void
end_sounding (GArray *notes)
{
  guint32 last = 0;

  for (guint i = 0; i < notes->len; i++)
    last = MAX (last, g_array_index (notes, TimedNote, i).end);
  for (guint i = 0; i < notes->len; i++) {
    TimedNote *timed = &g_array_index (notes, TimedNote, i);
    if (isnan (timed->note->offset))
      timed->end = last;
  }
}

/* Ends notes where their key begins again on the same instrument. */
static void
cut_overlaps (GArray *notes)
{
  guint32 next_onset = G_MAXUINT32;

  for (guint i = notes->len - 1; i > 0; i--) {
    const TimedNote *next = &g_array_index (notes, TimedNote, i);
    TimedNote *timed = &g_array_index (notes, TimedNote, i - 1);

    if (timed->place >> 32 != next->place >> 32)
      next_onset = G_MAXUINT32;
    else if (timed->place != next->place)
      next_onset = onset_of (next);
    timed->end = MIN (timed->end, next_onset);
  }
}

static guint
key_of (const Mt3Note *note)
{
  return (note->is_drum ? DRUMS : note->program) << 7 | note->pitch;
}

/* Puts all notes on the file's clock, key by key; in each the order is still
 * the caller's. */
static void
gather_keys (GArray *timed, const Mt3Note *notes)
{
  g_autofree guint *ends = g_new0 (guint, N_KEYS);

  for (guint i = 0; i < timed->len; i++)
    ends[key_of (&notes[i])]++;
  for (guint key = 1; key < N_KEYS; key++)
    ends[key] += ends[key - 1];
  for (guint i = timed->len; i-- > 0;)
    g_array_index (timed, TimedNote, --ends[key_of (&notes[i])]) =
        time_note (&notes[i]);
}

/* By insertion: callers mostly have each key's notes in their order. */
static void
sort_notes (GArray *notes)
{
  TimedNote *timed = (TimedNote *) notes->data;

  for (guint i = 1; i < notes->len; i++) {
    TimedNote note = timed[i];
    guint at = i;

    for (; at > 0 && compare_notes (&timed[at - 1], &note) > 0; at--)
      timed[at] = timed[at - 1];
    timed[at] = note;
  }
}

/* All notes on the file's clock, instrument by instrument. */
static GArray *
time_notes (const Mt3Note *notes, guint n_notes)
{
  GArray *timed = g_array_sized_new (FALSE, FALSE, sizeof (TimedNote), n_notes);

  g_array_set_size (timed, n_notes);
  gather_keys (timed, notes);
  end_sounding (timed);
  sort_notes (timed);
  if (n_notes > 0)
    cut_overlaps (timed);
  return timed;
}

static void
put_byte (GByteArray *file, guint8 byte)
{
  g_byte_array_append (file, &byte, 1);
}

static void
put_u16 (GByteArray *file, guint16 value)
{
  value = GUINT16_TO_BE (value);
  g_byte_array_append (file, (const guint8 *) &value, sizeof value);
}

/* A variable-length quantity: seven bits a byte, the highest first. Returns how
 * many of the four @bytes it takes. */
static guint
encode_quantity (guint32 value, guint8 *bytes)
{
  guint n = 0;

  for (guint shift = 21; shift > 0; shift -= 7) {
    if (value >> shift)
      bytes[n++] = 0x80 | (value >> shift & 0x7f);
  }
  bytes[n++] = value & 0x7f;
  return n;
}

static void
put_quantity (GByteArray *file, guint32 value)
{
  guint8 bytes[4];

  g_byte_array_append (file, bytes, encode_quantity (value, bytes));
}

/* A meta event right after the event before. */
static void
put_meta (GByteArray *file, guint8 type, gconstpointer data, guint32 size)
{
  put_quantity (file, 0);
  put_byte (file, 0xff);
  put_byte (file, type);
  put_quantity (file, size);
  g_byte_array_append (file, data, size);
}

static void
put_name (GByteArray *file, const gchar *name)
{
  put_meta (file, META_TRACK_NAME, name, MIN (strlen (name), MAX_TICK));
}

static void
put_header (GByteArray *file, guint n_tracks)
{
  static const guint8 chunk[] = {'M', 'T', 'h', 'd', 0, 0, 0, 6};

  g_byte_array_append (file, chunk, sizeof chunk);
  put_u16 (file, 1);
  put_u16 (file, n_tracks);
  put_u16 (file, MT3_MIDI_DIVISION);
}

/* Returns where the track's data begins, for end_track(). */
static guint
begin_track (GByteArray *file)
{
  static const guint8 chunk[] = {'M', 'T', 'r', 'k', 0, 0, 0, 0};

  g_byte_array_append (file, chunk, sizeof chunk);
  return file->len;
}

static void
end_track (GByteArray *file, guint start)
{
  put_meta (file, META_END_OF_TRACK, NULL, 0);

  guint32 size = GUINT32_TO_BE (file->len - start);
  memcpy (file->data + start - sizeof size, &size, sizeof size);
}

static void
put_conductor (GByteArray *file, const gchar *title)
{
  static const guint8 tempo[] = {MT3_MIDI_TEMPO_US >> 16,
      MT3_MIDI_TEMPO_US >> 8 & 0xff, MT3_MIDI_TEMPO_US & 0xff};
  guint start = begin_track (file);

  if (title)
    put_name (file, title);
  put_meta (file, META_TEMPO, tempo, sizeof tempo);
  end_track (file, start);
}

static void
put_notes (
    GByteArray *file, const TimedNote *notes, guint n_notes, guint channel)
{
  gsize n_events = 2 * (gsize) n_notes;
  g_autofree guint64 *events = g_new (guint64, n_events);
  guint32 now = 0;

  for (guint i = 0; i < n_notes; i++) {
    events[2 * i] = make_event (onset_of (&notes[i]), TRUE, i);
    events[2 * i + 1] = make_event (notes[i].end, FALSE, i);
  }
  qsort (events, n_events, sizeof *events, compare_events);

  for (gsize i = 0; i < n_events; i++) {
    guint32 tick = events[i] >> 33;
    gboolean on = events[i] >> 32 & 1;
    guint8 bytes[4 + 3];
    guint n = encode_quantity (tick - now, bytes);

    mt3_midi_note_message (
        notes[(guint32) events[i]].note, channel, on, bytes + n);
    g_byte_array_append (file, bytes, n + 3);
    now = tick;
  }
}

/* The track of one instrument; @port is negative when one port is enough. */
static void
put_instrument (GByteArray *file, const TimedNote *notes, guint n_notes,
    guint channel, gint port)
{
  const Mt3Note *first = notes[0].note;
  guint start = begin_track (file);

  put_name (file, mt3_program_name (first->program, first->is_drum));
  if (port >= 0) {
    guint8 byte = port;
    put_meta (file, META_PORT, &byte, 1);
  }
  put_quantity (file, 0);
  put_byte (file, 0xc0 | channel);
  put_byte (file, first->is_drum ? 0 : first->program);
  put_notes (file, notes, n_notes, channel);
  end_track (file, start);
}

/* How many notes, from @first on, the same instrument plays. */
static guint
instrument_length (const GArray *notes, guint first)
{
  guint instrument = instrument_of (&g_array_index (notes, TimedNote, first));
  guint end = first + 1;

  while (end < notes->len &&
         instrument_of (&g_array_index (notes, TimedNote, end)) == instrument)
    end++;
  return end - first;
}

static void
put_instruments (GByteArray *file, const GArray *notes, gboolean with_ports)
{
  guint n_pitched = 0;

  for (guint i = 0, n; i < notes->len; i += n) {
    const TimedNote *first = &g_array_index (notes, TimedNote, i);
    guint channel = MT3_MIDI_DRUM_CHANNEL, port = 0;

    n = instrument_length (notes, i);
    if (instrument_of (first) != DRUMS) {
      channel = n_pitched % CHANNELS_PER_PORT;
      if (channel >= MT3_MIDI_DRUM_CHANNEL)
        channel++;
      port = n_pitched++ / CHANNELS_PER_PORT;
    }
    put_instrument (file, first, n, channel, with_ports ? (gint) port : -1);
  }
}

GByteArray *
mt3_midi_write (const Mt3Note *notes, guint n_notes, const gchar *title)
{
  g_autoptr (GArray) timed = time_notes (notes, n_notes);
  GByteArray *file = g_byte_array_new ();
  guint n_pitched = 0, n_drums = 0;

  for (guint i = 0; i < timed->len; i += instrument_length (timed, i)) {
    if (instrument_of (&g_array_index (timed, TimedNote, i)) == DRUMS)
      n_drums++;
    else
      n_pitched++;
  }
  put_header (file, 1 + n_pitched + n_drums);
  put_conductor (file, title);
  put_instruments (file, timed, n_pitched > CHANNELS_PER_PORT);
  return file;
}

void
mt3_midi_note_message (
    const Mt3Note *note, guint channel, gboolean on, guint8 bytes[3])
{
  bytes[0] = (on ? 0x90 : 0x80) | channel;
  bytes[1] = note->pitch;
  bytes[2] = on ? note->velocity : RELEASE_VELOCITY;
}
