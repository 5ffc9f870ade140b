#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Draws the notes of a MIDI file as a picture: a colour for each instrument,
drums in lanes of their own below."""
import argparse
import sys

try:
    from PIL import Image, ImageDraw, ImageFont
    from midi_notes import read_notes
except ImportError as error:
    sys.exit(f'piano-roll.py: {error}. On Debian: apt-get install '
             'python3-pil python3-mido.')

WIDTH, MARGIN, ROW, LANE = 1500, 48, 8, 14
PAPER, GRID, BLACK_KEY, INK = '#ffffff', '#d9dee5', '#f3f5f8', '#2b333d'
COLOURS = ('#3b78c2', '#d4772c', '#3f9a57', '#9358b5', '#c2475b', '#2a9aa3',
           '#a3812a', '#6b6fd1', '#7d8a2e', '#b0569a')
DRUM_COLOUR = '#5b6570'

FAMILIES = ('piano', 'chromatic percussion', 'organ', 'guitar', 'bass',
            'strings', 'ensemble', 'brass', 'reed', 'pipe', 'synth lead',
            'synth pad', 'synth effects', 'ethnic', 'percussive', 'effects')
DRUMS = {35: 'bass drum', 36: 'bass drum', 37: 'side stick', 38: 'snare',
         39: 'clap', 40: 'snare', 42: 'hi-hat', 44: 'pedal hi-hat',
         46: 'open hi-hat', 49: 'crash', 51: 'ride', 52: 'china', 53: 'bell',
         54: 'tambourine', 55: 'splash', 56: 'cowbell', 57: 'crash',
         59: 'ride'}


def drum_name(key):
    return 'tom' if key in (41, 43, 45, 47, 48, 50) else \
        DRUMS.get(key, f'drum {key}')


class Roll:
    """The picture's geometry; y grows downwards."""

    def __init__(self, notes):
        self.pitched = [n for n in notes if not n.is_drum]
        self.hits = [n for n in notes if n.is_drum]
        pitches = [n.pitch for n in self.pitched] or [60]
        self.low = min(pitches) - 2
        self.high = max(pitches) + 2
        names = dict.fromkeys(drum_name(n.pitch) for n in
                              sorted(self.hits, key=lambda n: n.pitch))
        self.lanes = {name: i for i, name in enumerate(names)}
        self.seconds = max((n.offset for n in notes), default=1.0)
        self.scale = (WIDTH - 3 * MARGIN) / self.seconds
        self.top = MARGIN
        self.floor = self.top + ROW * (self.high - self.low + 1)
        self.bottom = self.floor + LANE * len(self.lanes) + \
            (LANE if self.lanes else 0)
        self.size = (WIDTH, self.bottom + MARGIN)

    def x(self, seconds):
        return 2 * MARGIN + seconds * self.scale

    def y(self, pitch):
        return self.top + ROW * (self.high - pitch)

    def lane(self, key):
        return self.floor + LANE // 2 + LANE * self.lanes[drum_name(key)]


def load_font(size):
    try:
        return ImageFont.truetype('DejaVuSans.ttf', size)
    except OSError:
        return ImageFont.load_default()


def draw_grid(draw, roll, font):
    right = roll.x(roll.seconds)
    for pitch in range(roll.low, roll.high + 1):
        y = roll.y(pitch)
        if pitch % 12 in (1, 3, 6, 8, 10):
            draw.rectangle((roll.x(0), y, right, y + ROW - 1), fill=BLACK_KEY)
        if pitch % 12 == 0:
            draw.line((roll.x(0), y + ROW, right, y + ROW), fill=GRID)
            draw.text((roll.x(0) - 8, y + ROW // 2), f'C{pitch // 12 - 1}',
                      fill=INK, font=font, anchor='rm')
    step = next(s for s in (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 10 ** 9)
                if s * roll.scale >= 50)
    for second in range(0, int(roll.seconds) + 1, step):
        x = roll.x(second)
        draw.line((x, roll.top, x, roll.bottom), fill=GRID)
        draw.text((x, roll.bottom + 6), f'{second} s', fill=INK, font=font,
                  anchor='ma')
    for name, lane in roll.lanes.items():
        draw.text((roll.x(0) - 8, roll.floor + LANE * (lane + 1)), name,
                  fill=INK, font=font, anchor='rm')


def draw_notes(draw, roll, colours):
    for note in sorted(roll.pitched, key=lambda n: -n.program):
        x0, y = roll.x(note.onset), roll.y(note.pitch)
        x1 = max(x0 + 2, roll.x(note.offset) - 1)
        draw.rectangle((x0, y, x1, y + ROW - 1), fill=colours[note.program])
    for hit in roll.hits:
        x, y = roll.x(hit.onset), roll.lane(hit.pitch)
        draw.rectangle((x, y + 2, x + 3, y + LANE - 2), fill=DRUM_COLOUR)


def draw_legend(draw, roll, colours, font):
    x = 2 * MARGIN
    entries = [(f'{FAMILIES[program // 8]} ({program})', colour)
               for program, colour in colours.items()]
    if roll.hits:
        entries.append(('drums', DRUM_COLOUR))
    for name, colour in entries:
        draw.rectangle((x, 18, x + 12, 30), fill=colour)
        draw.text((x + 18, 24), name, fill=INK, font=font, anchor='lm')
        x += 36 + int(draw.textlength(name, font=font))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('midi', metavar='INPUT.mid')
    parser.add_argument('picture', metavar='OUTPUT.png')
    args = parser.parse_args()
    try:
        notes = read_notes(args.midi)
    except (OSError, EOFError, ValueError, KeyError) as error:
        sys.exit(f'piano-roll.py: cannot read {args.midi}: {error}')
    roll = Roll(notes)
    programs = sorted({n.program for n in roll.pitched})
    colours = {program: COLOURS[i % len(COLOURS)]
               for i, program in enumerate(programs)}
    image = Image.new('RGB', roll.size, PAPER)
    draw = ImageDraw.Draw(image)
    font = load_font(12)
    draw_grid(draw, roll, font)
    draw_notes(draw, roll, colours)
    draw_legend(draw, roll, colours, font)
    try:
        image.save(args.picture)
    except (OSError, ValueError) as error:
        sys.exit(f'piano-roll.py: cannot write {args.picture}: {error}')


if __name__ == '__main__':
    main()
