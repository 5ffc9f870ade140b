/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vocabulary/event-order.h"

#include "vocabulary/vocabulary.h"

#define LAST_MIDI_VALUE 127

/* The tokens of a type, from value 0 to the last that is allowed. */
static Mt3TokenRange
range_of (guint velocity_bins, Mt3EventType type, guint max_value,
    const Mt3TokenSet *allowed)
{
  guint first = mt3_vocabulary_token (velocity_bins, (Mt3Event){type, 0});
  guint end = first + max_value + 1;

  while (allowed != NULL && end > first &&
         !mt3_token_set_contains (allowed, end - 1))
    end--;
  return (Mt3TokenRange){first, end};
}

/* The last step of the grid that begins inside a window: events of the next
 * one belong to the next window. */
static guint
last_shift (const Mt3Config *config)
{
  guint64 samples = mt3_config_window_samples (config);
  guint64 steps = (samples * MT3_SHIFTS_PER_SECOND - 1) / config->sample_rate;

  return MIN (steps, MT3_MAX_SHIFT);
}

Mt3TokenOrder
mt3_event_order (const Mt3Config *config, const Mt3TokenSet *allowed)
{
  const guint bins = config->velocity_bins, last = LAST_MIDI_VALUE;

  if (!config->ordered_events)
    return (Mt3TokenOrder){0};
  return (Mt3TokenOrder){
      .shift = range_of (bins, MT3_EVENT_SHIFT, last_shift (config), NULL),
      .pitch = range_of (bins, MT3_EVENT_PITCH, last, allowed),
      .velocity = range_of (bins, MT3_EVENT_VELOCITY, bins, NULL),
      .tie = config->ties ? range_of (bins, MT3_EVENT_TIE, 0, NULL)
                          : (Mt3TokenRange){0},
      .program = range_of (bins, MT3_EVENT_PROGRAM, last, NULL),
      .drum = range_of (bins, MT3_EVENT_DRUM, last, allowed),
  };
}
