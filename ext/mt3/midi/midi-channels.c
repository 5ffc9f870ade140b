/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "midi/midi-channels.h"

#define NO_PROGRAM (-1)

typedef struct {
  gint program; /* or NO_PROGRAM */
  guint64 used; /* when a note last began or ended: a count, 0 is never */
  GArray *sounding; /* Mt3Note, in the order of their onsets */
} Channel;

struct _Mt3MidiChannels {
  Channel channels[MT3_MIDI_CHANNELS];
  guint64 now;
};

Mt3MidiChannels *
mt3_midi_channels_new (void)
{
  Mt3MidiChannels *self = g_new0 (Mt3MidiChannels, 1);

  for (guint i = 0; i < MT3_MIDI_CHANNELS; i++) {
    self->channels[i].program = NO_PROGRAM;
    self->channels[i].sounding = g_array_new (FALSE, FALSE, sizeof (Mt3Note));
  }
  return self;
}

void
mt3_midi_channels_free (Mt3MidiChannels *self)
{
  for (guint i = 0; i < MT3_MIDI_CHANNELS; i++)
    g_array_unref (self->channels[i].sounding);
  g_free (self);
}

static gint
program_of (const Mt3Note *note)
{
  return note->is_drum ? 0 : note->program;
}

gboolean
mt3_midi_channels_plays (
    const Mt3MidiChannels *self, guint channel, const Mt3Note *note)
{
  return note->is_drum == (channel == MT3_MIDI_DRUM_CHANNEL) &&
         self->channels[channel].program == program_of (note);
}

/* Whether @a should be taken before @b: a silent one, then the one that was
 * used longest ago. */
static gboolean
is_better (const Channel *a, const Channel *b)
{
  gboolean a_sounds = a->sounding->len > 0, b_sounds = b->sounding->len > 0;

  return a_sounds != b_sounds ? b_sounds : a->used < b->used;
}

guint
mt3_midi_channels_choose (const Mt3MidiChannels *self, const Mt3Note *note)
{
  guint best = 0;

  if (note->is_drum)
    return MT3_MIDI_DRUM_CHANNEL;
  for (guint i = 0; i < MT3_MIDI_CHANNELS; i++) {
    if (mt3_midi_channels_plays (self, i, note))
      return i;
    if (i != MT3_MIDI_DRUM_CHANNEL &&
        is_better (&self->channels[i], &self->channels[best]))
      best = i;
  }
  return best;
}

gboolean
mt3_midi_channels_cut (Mt3MidiChannels *self, guint channel, Mt3Note *note)
{
  GArray *sounding = self->channels[channel].sounding;

  if (sounding->len == 0)
    return FALSE;
  *note = g_array_index (sounding, Mt3Note, 0);
  g_array_remove_index (sounding, 0);
  return TRUE;
}

void
mt3_midi_channels_begin (
    Mt3MidiChannels *self, guint channel, const Mt3Note *note)
{
  self->channels[channel].program = program_of (note);
  self->channels[channel].used = ++self->now;
  g_array_append_vals (self->channels[channel].sounding, note, 1);
}

gint
mt3_midi_channels_end (Mt3MidiChannels *self, const Mt3Note *note)
{
  for (guint c = 0; c < MT3_MIDI_CHANNELS; c++) {
    GArray *sounding = self->channels[c].sounding;

    for (guint i = 0; i < sounding->len; i++) {
      if (g_array_index (sounding, Mt3Note, i).id != note->id)
        continue;
      self->channels[c].used = ++self->now;
      g_array_remove_index (sounding, i);
      return (gint) c;
    }
  }
  return -1;
}

void
mt3_midi_program_message (const Mt3Note *note, guint channel, guint8 bytes[2])
{
  bytes[0] = 0xc0 | channel;
  bytes[1] = program_of (note);
}
