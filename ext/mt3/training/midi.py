# SPDX-License-Identifier: LGPL-2.1-or-later
"""Standard MIDI files as pieces: pedal, tempo and overlaps resolved."""
import collections
import io
import re

import mido
import numpy as np

from corpus import Part

DRUM_CHANNEL = 9
SUSTAIN = 64
MIN_SECONDS = 0.02
# Effects of a synthesiser rather than notes.
FIRST_EFFECT = 120


class _Reader:
    """Follows the keys and pedals of sixteen channels."""

    def __init__(self):
        self.parts = collections.defaultdict(list)
        self.programs = [0] * 16
        self.pedals = [False] * 16
        # (channel, key) to [onset, velocity, program, key up or None]
        self.sounding = {}

    def message(self, time, message):
        channel = message.channel
        if message.type == 'program_change':
            self.programs[channel] = message.program
        elif message.type == 'control_change' and message.control == SUSTAIN:
            self._pedal(time, channel, message.value >= 64)
        elif message.type == 'note_on' and message.velocity > 0:
            self._end(time, (channel, message.note))
            self.sounding[channel, message.note] = [
                time, message.velocity, self.programs[channel], None]
        elif message.type in ('note_on', 'note_off'):
            self._key_up(time, (channel, message.note))

    def _pedal(self, time, channel, down):
        self.pedals[channel] = down
        if not down:
            for key, note in list(self.sounding.items()):
                if key[0] == channel and note[3] is not None:
                    self._end(time, key)

    def _key_up(self, time, key):
        note = self.sounding.get(key)
        if note is None or note[3] is not None:
            return
        note[3] = time
        if not self.pedals[key[0]] or key[0] == DRUM_CHANNEL:
            self._end(time, key)

    def _end(self, time, key):
        note = self.sounding.pop(key, None)
        if note is None:
            return
        onset, velocity, program, key_up = note
        is_drum = key[0] == DRUM_CHANNEL
        end = max(time, onset + MIN_SECONDS)
        key_up = max(min(end, time if key_up is None else key_up),
                     onset + MIN_SECONDS)
        self.parts[0 if is_drum else program, is_drum].append(
            (onset, end, key_up, key[1], velocity))

    def finish(self, time):
        for key in list(self.sounding):
            self._end(time, key)


def read(data):
    """The parts of a MIDI file (bytes), one a program, drums apart."""
    reader, time = _Reader(), 0.0
    # mido refuses whole files for a key signature that does not exist.
    data = re.sub(rb'\xff\x59\x02..', b'\xff\x59\x02\0\0', data, flags=re.S)
    for message in mido.MidiFile(file=io.BytesIO(data), clip=True):
        time += message.time
        if not message.is_meta and hasattr(message, 'channel'):
            reader.message(time, message)
    reader.finish(time)
    return [Part(program, is_drum, np.array(sorted(notes), np.float64))
            for (program, is_drum), notes in sorted(reader.parts.items())
            if program < FIRST_EFFECT and len(notes) >= 4]
