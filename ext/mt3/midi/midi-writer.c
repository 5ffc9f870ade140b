/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * midi-writer.c: see midi-writer.h for the shape of the file.
 */
#include "midi/midi-writer.h"

#include <math.h>
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

/* A note on the file's clock. */
typedef struct {
  guint instrument; /* its program, or DRUMS */
  guint32 onset;
  guint32 end;
  const Mt3Note *note;
} TimedNote;

#define DRUMS 128

typedef struct {
  guint32 tick;
  gboolean on;
  const Mt3Note *note;
} Event;

#define ORDER(a, b) (((a) > (b)) - ((a) < (b)))

/* By instrument and key, then time; complete, so that the order of the
 * caller's array never shows in the file. */
static gint
compare_notes (gconstpointer a, gconstpointer b)
{
  const TimedNote *x = a, *y = b;
  gint order = ORDER (x->instrument, y->instrument);

  if (order == 0)
    order = ORDER (x->note->pitch, y->note->pitch);
  if (order == 0)
    order = ORDER (x->onset, y->onset);
  if (order == 0)
    order = ORDER (x->end, y->end);
  if (order == 0)
    order = ORDER (x->note->velocity, y->note->velocity);
  return order;
}

/* By time, ends before onsets. What is equal in that keeps the order of
 * compare_notes(): g_array_sort() is stable. */
static gint
compare_events (gconstpointer a, gconstpointer b)
{
  const Event *x = a, *y = b;
  gint order = ORDER (x->tick, y->tick);

  return order != 0 ? order : ORDER (x->on, y->on);
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
      .instrument = note->is_drum ? DRUMS : note->program,
      .onset = onset,
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

    if (timed->instrument != next->instrument ||
        timed->note->pitch != next->note->pitch)
      next_onset = G_MAXUINT32;
    else if (timed->onset != next->onset)
      next_onset = next->onset;
    timed->end = MIN (timed->end, next_onset);
  }
}

/* All notes on the file's clock, instrument by instrument. */
static GArray *
time_notes (const Mt3Note *notes, guint n_notes)
{
  GArray *timed = g_array_sized_new (FALSE, FALSE, sizeof (TimedNote), n_notes);

  for (guint i = 0; i < n_notes; i++) {
    TimedNote note = time_note (&notes[i]);
    g_array_append_val (timed, note);
  }
  end_sounding (timed);
  g_array_sort (timed, compare_notes);
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

/* A variable-length quantity: seven bits a byte, the highest first. */
static void
put_quantity (GByteArray *file, guint32 value)
{
  for (guint shift = 21; shift > 0; shift -= 7) {
    if (value >> shift)
      put_byte (file, 0x80 | (value >> shift & 0x7f));
  }
  put_byte (file, value & 0x7f);
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
  g_autoptr (GArray) events =
      g_array_sized_new (FALSE, FALSE, sizeof (Event), 2 * n_notes);
  guint32 now = 0;

  for (guint i = 0; i < n_notes; i++) {
    Event both[] = {{notes[i].onset, TRUE, notes[i].note},
        {notes[i].end, FALSE, notes[i].note}};
    g_array_append_vals (events, both, G_N_ELEMENTS (both));
  }
  g_array_sort (events, compare_events);

  for (guint i = 0; i < events->len; i++) {
    const Event *event = &g_array_index (events, Event, i);
    guint8 message[3];

    put_quantity (file, event->tick - now);
    mt3_midi_note_message (event->note, channel, event->on, message);
    g_byte_array_append (file, message, sizeof message);
    now = event->tick;
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
  guint instrument = g_array_index (notes, TimedNote, first).instrument;
  guint end = first + 1;

  while (end < notes->len &&
         g_array_index (notes, TimedNote, end).instrument == instrument)
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
    if (first->instrument != DRUMS) {
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
    if (g_array_index (timed, TimedNote, i).instrument == DRUMS)
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
