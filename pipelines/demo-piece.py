#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes the demo piece: ten bars for piano, cello, flute and drums, made
for this project. The music is dedicated to the public domain (CC0 1.0).
"""
import argparse

import mido

BEAT = 480
TEMPO = mido.bpm2tempo(100)

# One chord a bar, from the bass upwards.
CHORDS = [(57, 60, 64), (53, 57, 60), (48, 52, 55), (55, 59, 62),
          (57, 60, 64), (53, 57, 60), (50, 53, 57), (52, 56, 59),
          (53, 57, 60), (57, 60, 64)]

# (start in beats, length in beats, key): the flute joins in the third bar.
MELODY = [(8, 1.5, 76), (9.5, .5, 74), (10, 1, 72), (11, 1, 79),
          (12, 1.5, 74), (13.5, .5, 71), (14, 2, 74),
          (16, 1, 72), (17, .5, 71), (17.5, .5, 72), (18, 2, 76),
          (20, 1.5, 77), (21.5, .5, 76), (22, 1, 72), (23, 1, 69),
          (24, 1, 74), (25, 1, 77), (26, 1, 81), (27, 1, 77),
          (28, 1.5, 80), (29.5, .5, 76), (30, 2, 71),
          (32, 1, 72), (33, 1, 77), (34, 1.5, 81), (35.5, .5, 79),
          (36, 3.5, 76)]

KICK, SNARE, HAT, CRASH = 36, 38, 42, 49


def piano():
    """Broken chords, then a held one."""
    for bar, chord in enumerate(CHORDS[:-1]):
        for step in range(8):
            key = chord[(0, 1, 2, 1, 0, 2, 1, 2)[step]] + 12 * (step == 5)
            yield 4 * bar + step / 2, .5, key, 72 + 12 * (step % 4 == 0)
    for key in (*CHORDS[-1], CHORDS[-1][0] + 12):
        yield 36, 3.5, key, 80


def cello():
    for bar, chord in enumerate(CHORDS[2:-1], 2):
        root = chord[0] - 12
        for start, length, step in ((0, 1.5, 0), (1.5, .5, 0), (2, 1, 7),
                                    (3, 1, 0)):
            yield 4 * bar + start, length, root + step, 92
    yield 36, 3.5, CHORDS[-1][0] - 12, 92


def flute():
    for start, length, key in MELODY:
        yield start, length * .95, key, 90


def drums():
    for bar in range(4, 9):
        if bar in (4, 8):
            yield 4 * bar, .25, CRASH, 95
        for eighth in range(8):
            yield 4 * bar + eighth / 2, .25, HAT, 70 + 15 * (eighth % 2 == 0)
        for start, key in ((0, KICK), (1, SNARE), (2, KICK), (2.5, KICK),
                           (3, SNARE)):
            yield 4 * bar + start, .25, key, 105
    yield 36, .25, CRASH, 100
    yield 36, .25, KICK, 105


PARTS = (('Piano', 0, 0, piano), ('Cello', 1, 42, cello),
         ('Flute', 2, 73, flute), ('Drums', 9, 0, drums))


def write_part(name, channel, program, notes):
    track = mido.MidiTrack()
    track.append(mido.MetaMessage('track_name', name=name))
    track.append(mido.Message('program_change', channel=channel,
                              program=program))
    events = []
    for start, length, key, velocity in notes:
        on, off = round(start * BEAT), round((start + length) * BEAT)
        events += [(on, 1, 'note_on', key, velocity),
                   (off, 0, 'note_off', key, 0)]
    last = 0
    for tick, _, kind, key, velocity in sorted(events):
        track.append(mido.Message(kind, channel=channel, note=key,
                                  velocity=velocity, time=tick - last))
        last = tick
    return track


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('output', metavar='OUTPUT.mid')
    args = parser.parse_args()
    conductor = mido.MidiTrack(
        [mido.MetaMessage('track_name', name='Demo piece'),
         mido.MetaMessage('set_tempo', tempo=TEMPO)])
    midi = mido.MidiFile(ticks_per_beat=BEAT)
    midi.tracks = [conductor] + [
        write_part(name, channel, program, notes())
        for name, channel, program, notes in PARTS]
    midi.save(args.output)


if __name__ == '__main__':
    main()
