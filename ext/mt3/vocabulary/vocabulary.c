/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * vocabulary.c: the ranges of the vocabulary, one after the other.
 */
#include "vocabulary/vocabulary.h"

#define N_SPECIAL_TOKENS 3
#define N_MIDI_VALUES 128

/* How many values events of a type take; MT3_EVENT_INVALID has none. The
 * ranges follow each other in the order of Mt3EventType. */
static guint
n_values (guint velocity_bins, Mt3EventType type)
{
  switch (type) {
    case MT3_EVENT_SHIFT:
      return MT3_MAX_SHIFT + 1;
    case MT3_EVENT_VELOCITY:
      return velocity_bins + 1;
    case MT3_EVENT_TIE:
      return 1;
    case MT3_EVENT_PITCH:
    case MT3_EVENT_PROGRAM:
    case MT3_EVENT_DRUM:
      return N_MIDI_VALUES;
    case MT3_EVENT_INVALID:
      break;
  }
  return 0;
}

Mt3Event
mt3_vocabulary_event (guint velocity_bins, guint token)
{
  if (token < N_SPECIAL_TOKENS)
    return (Mt3Event){MT3_EVENT_INVALID, 0};

  guint value = token - N_SPECIAL_TOKENS;
  for (guint type = MT3_EVENT_SHIFT; type <= MT3_EVENT_DRUM; type++) {
    guint n = n_values (velocity_bins, type);
    if (value < n)
      return (Mt3Event){type, value};
    value -= n;
  }
  return (Mt3Event){MT3_EVENT_INVALID, 0};
}

guint
mt3_vocabulary_token (guint velocity_bins, Mt3Event event)
{
  if (event.value >= n_values (velocity_bins, event.type))
    return 0;

  guint token = N_SPECIAL_TOKENS + event.value;
  for (guint type = MT3_EVENT_SHIFT; type < event.type; type++)
    token += n_values (velocity_bins, type);
  return token;
}

guint
mt3_vocabulary_size (guint velocity_bins)
{
  Mt3Event last = {MT3_EVENT_DRUM, N_MIDI_VALUES - 1};

  return mt3_vocabulary_token (velocity_bins, last) + 1;
}

guint
mt3_vocabulary_velocity (guint velocity_bins, guint bin)
{
  return 127 * bin / velocity_bins;
}

const gchar *
mt3_event_type_name (Mt3EventType type)
{
  static const gchar *const names[] = {
      [MT3_EVENT_INVALID] = "invalid",
      [MT3_EVENT_SHIFT] = "shift",
      [MT3_EVENT_PITCH] = "pitch",
      [MT3_EVENT_VELOCITY] = "velocity",
      [MT3_EVENT_TIE] = "tie",
      [MT3_EVENT_PROGRAM] = "program",
      [MT3_EVENT_DRUM] = "drum",
  };

  return (guint) type < G_N_ELEMENTS (names) ? names[type] : "invalid";
}
