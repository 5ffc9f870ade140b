/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * vocabulary.h: tokens and the events they stand for (magenta/mt3
 * event_codec.py and vocabularies.py).
 *
 * id = 3 + index; indexes follow each other: shift 0..1000 (10 ms each), pitch
 * 0..127, velocity 0..bins (0 is note-off), tie, program 0..127, drum 0..127.
 * Ids past the last are invalid, as are the specials 0 (pad), 1 (end), 2
 * (unknown).
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef enum {
  MT3_EVENT_INVALID,
  MT3_EVENT_SHIFT,
  MT3_EVENT_PITCH,
  MT3_EVENT_VELOCITY,
  MT3_EVENT_TIE,
  MT3_EVENT_PROGRAM,
  MT3_EVENT_DRUM,
} Mt3EventType;

typedef struct {
  Mt3EventType type;
  guint value;
} Mt3Event;

#define MT3_SHIFTS_PER_SECOND 100
#define MT3_MAX_SHIFT 1000

/* @velocity_bins: 1 to 127. Pure functions; any thread. */
Mt3Event mt3_vocabulary_event (guint velocity_bins, guint token);

/* The token of an event; 0 when the event is not in the vocabulary. */
guint mt3_vocabulary_token (guint velocity_bins, Mt3Event event);

/* First id that is not a token (1391 with one velocity bin). */
guint mt3_vocabulary_size (guint velocity_bins);

/* MIDI velocity of a velocity bin: 0 stays 0, b gives 127 b / bins. */
guint mt3_vocabulary_velocity (guint velocity_bins, guint bin);

const gchar *mt3_event_type_name (Mt3EventType type);

G_END_DECLS
