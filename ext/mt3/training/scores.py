# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads MusicXML scores and plays them as a person would: tempo that gives
way, phrases that swell, hands that are never quite together, a pedal.

MusicXML 4.0: https://www.w3.org/2021/06/musicxml40/. Repeats are not played
again, grace notes and ornaments not at all.
"""
import dataclasses
import random
import re
import xml.etree.ElementTree as ElementTree
import zipfile

import numpy as np

from corpus import Part, Piece
from generate import press_pedal, swell

STEPS = {'C': 0, 'D': 2, 'E': 4, 'F': 5, 'G': 7, 'A': 9, 'B': 11}
DYNAMICS = {'ppp': 25, 'pp': 36, 'p': 50, 'mp': 62, 'mf': 76, 'f': 92,
            'ff': 108, 'fff': 120, 'sf': 105, 'sfz': 105, 'fp': 85, 'fz': 100}
PROGRAMS = {'violin': 40, 'viola': 41, 'violoncello': 42, 'cello': 42,
            'contrabass': 43, 'double bass': 43, 'piano': 0, 'guitar': 24,
            'harp': 46, 'flute': 73, 'oboe': 68, 'clarinet': 71,
            'bassoon': 70, 'horn': 60, 'trumpet': 56, 'organ': 19}
# A singer's line goes to an instrument that sings.
SINGERS = (40, 40, 42, 52, 53, 65, 66, 68, 71, 73, 56)
DEFAULT_TEMPO = 96


@dataclasses.dataclass
class Score:
    """parts: (name, [(onset, length, pitch, velocity, short)]) in quarters;
    tempos: [(quarter, beats a minute)]."""
    title: str
    rights: str
    parts: list
    tempos: list


def _open(path):
    if str(path).endswith('.mxl'):
        with zipfile.ZipFile(path) as archive:
            container = ElementTree.fromstring(
                archive.read('META-INF/container.xml'))
            name = next(e for e in container.iter()
                        if e.tag.endswith('rootfile')).get('full-path')
            return ElementTree.fromstring(archive.read(name))
    return ElementTree.parse(path).getroot()


class _PartReader:
    def __init__(self):
        self.notes, self.tempos, self.open = [], [], {}
        self.divisions, self.velocity, self.transpose = 1, 72, 0

    def read(self, part):
        start = 0.0
        for measure in part.iter('measure'):
            start += self._measure(measure, start)
        return self.notes

    def _measure(self, measure, start):
        at = furthest = previous = 0.0
        for element in measure:
            if element.tag == 'attributes':
                self._attributes(element)
            elif element.tag == 'direction':
                self._direction(element, start + at)
            elif element.tag == 'backup':
                at -= self._duration(element)
            elif element.tag == 'forward':
                at += self._duration(element)
            elif element.tag == 'note' and element.find('grace') is None:
                if element.find('chord') is None:
                    previous = at
                    at += self._duration(element)
                self._note(element, start + previous)
            furthest = max(furthest, at)
        return furthest

    def _duration(self, element):
        return float(element.findtext('duration', '0')) / self.divisions

    def _attributes(self, element):
        self.divisions = float(
            element.findtext('divisions', str(self.divisions)))
        transpose = element.find('transpose')
        if transpose is not None:
            self.transpose = int(transpose.findtext('chromatic', '0')) + \
                12 * int(transpose.findtext('octave-change', '0'))

    def _direction(self, element, at):
        for dynamics in element.iter('dynamics'):
            for mark in dynamics:
                self.velocity = DYNAMICS.get(mark.tag, self.velocity)
        for sound in element.iter('sound'):
            if sound.get('tempo'):
                self.tempos.append((at, float(sound.get('tempo'))))

    def _note(self, element, at):
        pitch = element.find('pitch')
        if pitch is None:
            return
        key = 12 * (int(pitch.findtext('octave')) + 1) + \
            STEPS[pitch.findtext('step')] + \
            round(float(pitch.findtext('alter', '0'))) + self.transpose
        ties = {tie.get('type') for tie in element.findall('tie')}
        length = self._duration(element)
        if 'stop' in ties and key in self.open:
            self.notes[self.open[key]][1] = \
                at + length - self.notes[self.open[key]][0]
        else:
            self.notes.append([at, length, key, self.velocity,
                               element.find('.//staccato') is not None])
            self.open[key] = len(self.notes) - 1
        if 'start' not in ties:
            self.open.pop(key, None)


def read(path):
    root = _open(path)
    names = {p.get('id'): p.findtext('part-name', '') for p in
             root.iter('score-part')}
    parts, tempos = [], []
    for part in root.findall('part'):
        reader = _PartReader()
        parts.append((names.get(part.get('id'), ''), reader.read(part)))
        tempos += reader.tempos
    title = ' '.join(filter(None, (
        root.findtext('.//creator[@type="composer"]'),
        root.findtext('.//work-title'), root.findtext('.//movement-title'))))
    return Score(title, root.findtext('.//rights', ''), parts, sorted(tempos))


class _Clock:
    """Quarters to seconds, with a tempo that breathes."""

    def __init__(self, tempos, quarters, rng):
        grid = np.arange(0, quarters + 2, 0.25)
        marks = [(0, DEFAULT_TEMPO)] + tempos
        places = [at for at, _ in marks]
        tempo = np.array([bpm for _, bpm in marks])[
            np.searchsorted(places, grid, 'right') - 1].clip(25, 240)
        period = rng.uniform(6, 30)
        sway = 1 + rng.uniform(0, 0.12) * np.sin(
            2 * np.pi * grid / period + rng.uniform(0, 6.3))
        noise = np.convolve([rng.gauss(0, 0.08) for _ in grid],
                            np.ones(8) / 8, 'same')
        seconds = 60 / tempo * 0.25 * sway * (1 + noise)
        self.grid = grid
        self.seconds = np.concatenate([[0], np.cumsum(seconds)[:-1]])

    def __call__(self, quarter):
        return float(np.interp(quarter, self.grid, self.seconds))


def _perform(notes, clock, rng, is_piano):
    tight = rng.uniform(0.003, 0.015)
    articulation = rng.uniform(0.75, 1.02)
    played = []
    for at, length, key, velocity, short in notes:
        onset = max(0, clock(at) + rng.gauss(0, tight))
        held = (clock(at + length) - clock(at)) * (
            0.45 if short else articulation * rng.uniform(0.9, 1.05))
        loud = int(np.clip(rng.gauss(velocity, 7), 8, 127))
        end = onset + max(0.04, held)
        if 21 <= key <= 108:
            played.append((onset, end, end, key, loud))
    played = swell(played, rng)
    if is_piano and rng.random() < 0.7 and notes:
        last = max(n[0] for n in notes)
        played = press_pedal(
            played, [clock(q) for q in np.arange(1, last, 2)], rng)
    return np.array(sorted(played), np.float64).reshape(-1, 5)


def program_of(name, rng):
    for word, program in PROGRAMS.items():
        if re.search(rf'\b{word}', name, re.I):
            return program
    return rng.choice(SINGERS)


def perform(score, name, source):
    """Pieces: the score, and where a piano accompanies, the piano alone."""
    rng = random.Random(name)
    quarters = max((n[0] + n[1] for _, notes in score.parts for n in notes),
                   default=0)
    clock = _Clock(score.tempos, quarters, rng)
    parts = []
    for part_name, notes in score.parts:
        program = program_of(part_name, rng)
        played = _perform(notes, clock, rng, program == 0)
        if len(played) >= 4:
            parts.append(Part(program, False, played))
    pianos = [part for part in parts if part.program == 0]
    pieces = []
    if len(parts) > len(pianos):
        pieces.append(Piece(name, source, 'strings', parts))
    if pianos:
        pieces.append(Piece(name + ' (piano)', source, 'piano', [
            Part(0, False, part.notes.copy()) for part in pianos]))
    return pieces
