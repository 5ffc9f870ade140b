# SPDX-License-Identifier: LGPL-2.1-or-later
"""Music made by rules, for what free collections lack: played piano with its
pedal, drum kits of many styles with fills, string lines and dense bands.

The rules are plain on purpose. Harmony walks among the degrees of a key;
melodies walk its scale; accompaniments are figures on the chord; drums are
sixteen or twelve steps a bar with a probability each; then everything is
played by a human: late, early, louder, softer. It need not please. It must
have the densities, ranges, polyphony and timing of what people play.
"""
import random

import numpy as np

from corpus import Part, Piece

MAJOR, MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)
# Where a chord of a degree usually goes.
NEXT_DEGREES = {0: (3, 4, 5, 1, 2), 1: (4, 6, 3), 2: (5, 3), 3: (4, 0, 1),
                4: (0, 0, 5, 3), 5: (3, 1, 4), 6: (0, 2)}

# Eight or twelve or sixteen steps a bar: probability of a hit, in tenths.
# Keys: k kick, s snare, h closed hat, o open hat, r ride, x rim, b ride bell,
# p pedalled hat, g ghost notes of the snare, t toms.
GROOVES = {
    'rock': {'k': '9000002090500010', 's': '0000900000009000',
             'h': '9090909090909090', 'o': '0000000000000030'},
    'hard rock': {'k': '9000000090900020', 's': '0000900000009000',
                  'r': '9000900090009000', 'h': '0000000000000000'},
    'punk': {'k': '9000009090000000', 's': '0000900000009000',
             'h': '9090909090909090'},
    'fast punk': {'k': '9090909090909090', 's': '0909090909090909',
                  'r': '9090909090909090'},
    'metal': {'k': '9999999999999999', 's': '0000900000009000',
              'r': '9000900090009000'},
    'funk': {'k': '9020009002300600', 's': '0000900000009000',
             'g': '0204032400240304', 'h': '9595959595959595',
             'o': '0000001000000020'},
    'disco': {'k': '9000900090009000', 's': '0000900000009000',
              'h': '9030903090309030', 'o': '0080008000800080'},
    'house': {'k': '9000900090009000', 's': '0000700000007000',
              'o': '0090009000900090', 'h': '4444444444444444'},
    'hip hop': {'k': '9003000050901000', 's': '0000900000009000',
                'h': '9090929092909093'},
    'soul': {'k': '9000003070400000', 's': '0000900000009000',
             'h': '9090909090909090', 'x': '0000000000020000'},
    'ballad': {'k': '9000000040600000', 's': '0000000090000000',
               'h': '9000900090009000'},
    'bossa nova': {'k': '9000008090000080', 'x': '9009003000900900',
                   'h': '9090909090909090', 'p': '0000900000009000'},
    'samba': {'k': '9006900690069006', 'x': '6046406440464064',
              'h': '9696969696969696', 'p': '0090009000900090'},
    'reggae': {'k': '0000000090000000', 'x': '0000000090000000',
               'h': '0090009000900090'},
    'train': {'k': '9000900090009000', 's': '5696569656965696'},
    'swing': {'r': '900906900906', 'p': '000900000900', 'k': '400200300101',
              'g': '010102030201', 's': '000010010020'},
    'shuffle': {'k': '900003900300', 's': '000900000900',
                'h': '906906906906'},
    'slow twelve': {'k': '900000005000', 's': '000000900000',
                    'h': '909090909090'},
    'waltz': {'k': '900000000000', 's': '000050005000', 'h': '900090009000'},
    'brushes': {'s': '606906606906', 'p': '000900000900',
                'k': '300000300000'},
}
TOMS = (50, 48, 47, 45, 43, 41)


class Player:
    """Draws what a human does to a time and a velocity."""

    def __init__(self, rng, tightness=None):
        self.rng = rng
        self.jitter = tightness or rng.uniform(0.002, 0.018)
        self.drag = rng.uniform(-0.01, 0.015)
        self.accent = rng.uniform(4, 14)

    def time(self, seconds):
        return max(0, seconds + self.drag + self.rng.gauss(0, self.jitter))

    def velocity(self, mean):
        return int(min(127, max(6, self.rng.gauss(mean, self.accent))))


def part(program, notes, is_drum=False):
    """notes: rows of onset, offset, key_up, pitch, velocity."""
    return Part(program, is_drum, np.array(sorted(notes), np.float64))


class Song:
    """A key, a tempo and a row of chords, one or two a bar."""

    def __init__(self, rng, bars, beats=None):
        self.rng = rng
        self.tonic = rng.randrange(12)
        self.scale = rng.choice((MAJOR, MAJOR, MINOR))
        self.beat = 60 / rng.triangular(55, 190, 110)
        self.beats = beats or rng.choice((4, 4, 4, 3))
        self.bars = bars
        self.chords, degree = [], 0
        for bar in range(bars):
            for start, length in rng.choice(
                    ([(0, self.beats)], [(0, self.beats)],
                     [(0, 2), (2, self.beats - 2)])):
                self.chords.append((
                    (bar * self.beats + start) * self.beat,
                    length * self.beat, degree))
                degree = rng.choice(NEXT_DEGREES[degree])

    def pitch(self, step, base):
        """The scale's step-th note above the tonic near base."""
        octave, index = divmod(step, 7)
        root = base + (self.tonic - base) % 12
        return root + 12 * octave + self.scale[index]

    def chord(self, degree, base, n=3):
        steps = [degree, degree + 2, degree + 4, degree + 6][:max(3, n)]
        return [self.pitch(step, base) for step in steps][:n]

    @property
    def duration(self):
        return self.bars * self.beats * self.beat


def melody(song, rng, base, density, legato, player):
    """A walk on the scale with leaps to the chord's notes, and rests."""
    notes, step, time = [], rng.randrange(7), 0.0
    while time < song.duration:
        length = song.beat * rng.choice((0.25, 0.5, 0.5, 1, 1, 1.5, 2, 4)) / \
            density
        if rng.random() > 0.12:
            step += rng.choice((-2, -1, -1, 0, 1, 1, 2, rng.randint(-5, 5)))
            step = max(-5, min(12, step))
            pitch = song.pitch(step, base) + rng.choice((0,) * 15 + (1,))
            onset = player.time(time)
            end = onset + max(0.05, length * legato * rng.uniform(0.85, 1.05))
            notes.append((onset, end, end, pitch, player.velocity(80)))
        time += length
    return notes


def accompaniment(song, rng, base, figure, player):
    """Chords as blocks, arpeggios, an Alberti bass, a stride or tremolo."""
    notes = []
    for start, length, degree in song.chords:
        pitches = song.chord(degree, base, rng.choice((3, 3, 4)))
        step = song.beat * {'block': rng.choice((1, 2, 4)), 'alberti': 0.5,
                            'arpeggio': rng.choice((0.25, 0.5)),
                            'stride': 1, 'tremolo': 0.25}[figure]
        n = max(1, round(length / step))
        for i in range(n):
            chosen = {
                'block': pitches, 'tremolo': pitches[i % 2::2] or pitches,
                'alberti': [pitches[(0, -1, 1, -1)[i % 4]]],
                'arpeggio': [pitches[i % len(pitches)] +
                             12 * (i // len(pitches) % 3)],
                'stride': [pitches[0] - 12] if i % 2 == 0 else pitches,
            }[figure]
            at = player.time(start + i * step)
            for j, pitch in enumerate(chosen):
                onset = at + j * rng.uniform(0, 0.012)
                end = onset + step * rng.uniform(0.4, 1.0)
                notes.append((onset, end, end, pitch, player.velocity(66)))
    return notes


def runs(song, rng, player):
    """Fast scales, broken octaves and repeated notes, as in studies."""
    notes, time = [], 0.0
    while time < song.duration:
        step, direction = rng.randint(-7, 14), rng.choice((-1, 1))
        interval = rng.choice((1, 1, 2, 7, 0))
        speed = song.beat / rng.choice((3, 4, 6, 8))
        for _ in range(rng.randint(6, 24)):
            pitch = song.pitch(max(-14, min(24, step)), 60)
            onset = player.time(time)
            end = onset + speed * rng.uniform(0.6, 1.3)
            notes.append((onset, end, end, pitch, player.velocity(74)))
            step += direction * interval
            time += speed
        time += song.beat * rng.choice((0, 0, 1))
    return notes


def press_pedal(notes, changes, rng):
    """Holds what is struck until the pedal comes up at the next harmony; now
    and then it is not pressed at all."""
    lifts = np.array([c + rng.uniform(-0.05, 0.08) for c in changes] + [1e9])
    pressed = [rng.random() < 0.85 for _ in lifts]
    held = []
    for onset, end, key_up, pitch, velocity in notes:
        i = int(np.searchsorted(lifts, key_up))
        if pressed[i] and lifts[i] < 1e9:
            end = max(end, float(lifts[i]))
        held.append((onset, end, key_up, pitch, velocity))
    return held


def swell(notes, rng):
    """Phrases grow and fade."""
    period, depth = rng.uniform(6, 20), rng.uniform(0, 22)
    phase = rng.uniform(0, 6.3)
    return [(o, e, k, p, int(np.clip(
        v + depth * np.sin(2 * np.pi * o / period + phase), 6, 127)))
        for o, e, k, p, v in notes]


def piano(rng):
    song = Song(rng, rng.randint(24, 48))
    player = Player(rng)
    figure = rng.choice(('block', 'alberti', 'arpeggio', 'stride', 'tremolo'))
    notes = accompaniment(song, rng, rng.choice((36, 43, 48)), figure, player)
    if rng.random() < 0.8:
        notes += melody(song, rng, rng.choice((60, 67, 72)),
                        rng.choice((1, 1, 2)), rng.uniform(0.5, 1.1), player)
    if rng.random() < 0.35:
        notes += runs(song, rng, player)
    notes = swell(notes, rng)
    if rng.random() < 0.75:
        notes = press_pedal(notes, [c[0] for c in song.chords[1:]], rng)
    notes = [n for n in notes if 21 <= n[3] <= 108]
    return Piece('piano', 'generated', 'piano', [part(0, notes)])


def fill(rng, start, step, n, player):
    """A run around the kit, to a crash on the next bar's first beat."""
    hits, tom = [], 0
    for i in range(n):
        if rng.random() < 0.85:
            key = rng.choice((38, TOMS[min(tom, 5)], TOMS[min(tom, 5)]))
            hits.append((player.time(start + i * step), key,
                         player.velocity(88)))
        tom += rng.random() < 0.4
    hits.append((player.time(start + n * step), rng.choice((49, 57, 55)),
                 player.velocity(105)))
    hits.append((player.time(start + n * step), 36, player.velocity(105)))
    return hits


def drum_part(rng, song):
    name = rng.choice(sorted(GROOVES))
    groove = GROOVES[name]
    steps = len(next(iter(groove.values())))
    player = Player(rng, rng.choice((0.001, None, None)))
    keys = {'k': rng.choice((36, 36, 35)), 's': rng.choice((38, 38, 40)),
            'h': 42, 'o': 46, 'r': rng.choice((51, 51, 59)), 'x': 37, 'b': 53,
            'p': 44, 'g': 38}
    loud = {'k': 95, 's': 98, 'h': 72, 'o': 80, 'r': 76, 'x': 80, 'b': 85,
            'p': 60, 'g': 34}
    bar = song.beats * song.beat if steps != 16 or song.beats == 4 else \
        4 * song.beat
    step = bar / steps
    hits = []
    for i in range(int(song.duration / bar)):
        filled = rng.random() < (0.5 if i % 4 == 3 else 0.05)
        n_fill = rng.choice((4, 8, steps // 2)) if filled else 0
        for symbol, pattern in groove.items():
            for j in range(steps - n_fill):
                if rng.random() < int(pattern[j]) / 9.5:
                    accent = 6 if j % 4 == 0 else -6
                    hits.append((player.time(i * bar + j * step), keys[symbol],
                                 player.velocity(loud[symbol] + accent)))
        if filled:
            hits += fill(rng, i * bar + (steps - n_fill) * step, step, n_fill,
                         player)
    return part(0, [(t, t + 0.1, t + 0.1, k, v) for t, k, v in hits], True)


def drums(rng):
    song = Song(rng, rng.randint(12, 32), 4)
    return Piece('drums', 'generated', 'drums', [drum_part(rng, song)])


def strings(rng):
    """One to four bowed lines, from long notes to quick ones."""
    song = Song(rng, rng.randint(20, 40))
    parts = []
    for base, program in rng.sample(
            [(67, 40), (62, 40), (55, 41), (43, 42)], rng.randint(1, 4)):
        notes = melody(song, rng, base, rng.choice((0.5, 1, 1, 2, 3)),
                       rng.uniform(0.7, 1.05), Player(rng, 0.012))
        if rng.random() < 0.2:  # double stops
            notes += [(o, e, k, p + rng.choice((-5, -7, -12, 4, 7)), v)
                      for o, e, k, p, v in notes if rng.random() < 0.3]
        notes = [n for n in notes if 28 <= n[3] <= 100]
        parts.append(part(program, swell(notes, rng)))
    return Piece('strings', 'generated', 'strings', parts)


def bass_line(song, rng, player):
    notes, figure = [], rng.choice((0.5, 1, 1, 2, 0.25))
    for start, length, degree in song.chords:
        step = song.beat * figure
        for i in range(max(1, round(length / step))):
            if rng.random() < 0.15:
                continue
            pitch = song.pitch(degree + rng.choice((0, 0, 0, 4, 7, 2)), 28)
            onset = player.time(start + i * step)
            end = onset + step * rng.uniform(0.5, 1.0)
            notes.append((onset, end, end, pitch, player.velocity(88)))
    return notes


def band(rng):
    song = Song(rng, rng.randint(20, 40))
    parts = [part(rng.choice((32, 33, 33, 34, 35, 36, 38, 39)),
                  bass_line(song, rng, Player(rng)))]
    if rng.random() < 0.85:
        parts.append(drum_part(rng, song))
    for _ in range(rng.randint(1, 3)):
        program = rng.choice((0, 1, 4, 5, 16, 18, 24, 25, 26, 27, 28, 29, 30))
        figure = rng.choice(('block', 'arpeggio', 'stride', 'tremolo'))
        parts.append(part(program, accompaniment(
            song, rng, rng.choice((48, 52, 55)), figure, Player(rng))))
    for _ in range(rng.randint(0, 2)):
        program = rng.choice((56, 57, 61, 65, 66, 71, 73, 80, 81, 22, 11, 40,
                              27, 30))
        parts.append(part(program, melody(
            song, rng, rng.choice((55, 60, 67)), 1, 0.9, Player(rng))))
    if rng.random() < 0.5:
        parts.append(part(rng.choice((48, 49, 50, 52, 88, 89, 90)),
                          accompaniment(song, rng, 55, 'block', Player(rng))))
    return Piece('band', 'generated', 'band', parts)


MAKERS = {'piano': piano, 'drums': drums, 'strings': strings, 'band': band}


def generate(counts, seed=0):
    """Pieces; counts: {maker: how many}."""
    pieces = []
    for name, n in counts.items():
        for i in range(n):
            piece = MAKERS[name](random.Random(f'{seed} {name} {i}'))
            piece.name = f'generated/{name}-{i}'
            pieces.append(piece)
    return pieces
