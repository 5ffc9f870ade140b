# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads the notes of a Standard MIDI File, in seconds."""
from collections import defaultdict, namedtuple
import bisect

import mido

DRUM_CHANNEL = 9

Note = namedtuple('Note', 'onset offset pitch velocity program is_drum')


class _Clock:
    """Ticks to seconds, through every tempo of the file."""

    def __init__(self, midi):
        self.division = midi.ticks_per_beat
        tempi = {0: 500000}
        for track in midi.tracks:
            tick = 0
            for message in track:
                tick += message.time
                if message.type == 'set_tempo':
                    tempi[tick] = message.tempo
        self.ticks = sorted(tempi)
        self.tempi = [tempi[tick] for tick in self.ticks]
        # Microseconds times the division, so that sums stay whole numbers.
        self.starts = [0]
        for i in range(1, len(self.ticks)):
            step = self.ticks[i] - self.ticks[i - 1]
            self.starts.append(self.starts[-1] + step * self.tempi[i - 1])

    def seconds(self, tick):
        i = bisect.bisect_right(self.ticks, tick) - 1
        scaled = self.starts[i] + (tick - self.ticks[i]) * self.tempi[i]
        return scaled / (self.division * 1000000)


def _track_notes(track, clock):
    """A channel belongs to its track: ports reuse channel numbers."""
    programs = defaultdict(int)
    sounding = defaultdict(list)
    tick = 0
    for message in track:
        tick += message.time
        if message.type == 'program_change':
            programs[message.channel] = message.program
        elif message.type == 'note_on' and message.velocity > 0:
            sounding[message.channel, message.note].append(
                (tick, message.velocity, programs[message.channel]))
        elif message.type in ('note_on', 'note_off'):
            key = (message.channel, message.note)
            if sounding[key]:
                start, velocity, program = sounding[key].pop(0)
                is_drum = message.channel == DRUM_CHANNEL
                yield Note(clock.seconds(start), clock.seconds(tick),
                           message.note, velocity,
                           0 if is_drum else program, is_drum)


def read_notes(path):
    """The notes of a file as a list sorted by onset."""
    midi = mido.MidiFile(path)
    clock = _Clock(midi)
    return sorted(note for track in midi.tracks
                  for note in _track_notes(track, clock))
