#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The properties that say which notes are written, on recordings.

Usage: instruments.py [unittest arguments]
"""
import sys
import tempfile
import unittest

from recordings import SHARED, golden_notes, rounded, skip, transcribe

PIANO = SHARED / 'eval/dev/maps_real_bk_xmas4_ENSTDkCl'
STRINGS = SHARED / 'eval/dev/urmp15_01_Jupiter'
BAND = SHARED / 'eval/dev/mdb_drums_80sRock'
ONSET, OFFSET, PITCH, VELOCITY, PROGRAM, IS_DRUM = range(6)

if not all(folder.exists() for folder in (PIANO, STRINGS, BAND)):
    skip('no clips')


def play(folder, properties):
    """The notes of a clip; those of the file must be the same."""
    with tempfile.TemporaryDirectory() as scratch:
        metas, midi, _ = transcribe(
            folder / 'audio.flac', scratch, properties=properties)
    if rounded(metas) != rounded(midi):
        sys.exit(f'{properties}: metas and MIDI differ')
    return rounded(metas)


def golden(folder, keep=lambda note: True):
    return [note for note in rounded(golden_notes(folder)) if keep(note)]


def instruments(notes):
    return {'drums' if note[IS_DRUM] else note[PROGRAM] for note in notes}


def share_found(expected, notes):
    """Of the expected notes, those with the same key and, to 50 ms, onset."""
    left = list(notes)
    n_found = 0
    for note in expected:
        match = next((other for other in left
                      if other[PITCH] == note[PITCH] and
                      abs(other[ONSET] - note[ONSET]) <= 0.05), None)
        if match:
            left.remove(match)
            n_found += 1
    return n_found / len(expected)


class Programs(unittest.TestCase):
    """What is not allowed never appears; what is, still does."""

    def test_a_piano_alone(self):
        self.assertEqual(instruments(golden(PIANO)), {0, 4})
        notes = play(PIANO, 'programs=0')
        self.assertEqual(instruments(notes), {0})
        self.assertGreater(share_found(golden(PIANO), notes), 0.95)

    def test_drums_alone(self):
        drums = golden(BAND, lambda note: note[IS_DRUM])
        notes = play(BAND, 'programs=drums')
        self.assertEqual(instruments(notes), {'drums'})
        self.assertGreater(share_found(drums, notes), 0.8)

    def test_instruments_that_do_not_play(self):
        for programs, allowed in (('brass', range(56, 64)),
                                  ('cello,71', (42, 71)), ('banjo', (105,))):
            with self.subTest(programs):
                self.assertLessEqual(
                    instruments(play(STRINGS, f'programs={programs}')),
                    set(allowed))

    def test_all_is_the_default(self):
        self.assertEqual(play(STRINGS, 'programs="0-127, drums"'),
                         golden(STRINGS))


class AfterDecoding(unittest.TestCase):
    def test_a_part_is_left_out(self):
        self.assertEqual(
            play(STRINGS, 'program-map="violin=off,drums=off"'),
            golden(STRINGS, lambda note: note[PROGRAM] != 40))

    def test_parts_become_one(self):
        notes = play(STRINGS, 'program-map=0-127=48')
        self.assertEqual(instruments(notes), {48})
        self.assertEqual({note[ONSET:OFFSET] for note in notes},
                         {note[ONSET:OFFSET] for note in golden(STRINGS)})

    def test_short_notes_are_left_out(self):
        expected = golden(
            STRINGS, lambda note: note[OFFSET] - note[ONSET] > 0.195)
        self.assertLess(len(expected), len(golden(STRINGS)))
        self.assertEqual(play(STRINGS, 'min-duration=200000000'), expected)


class Sampling(unittest.TestCase):
    def test_a_seed_repeats_its_notes_whatever_the_batch_and_threads(self):
        drawn = play(STRINGS, 'temperature=1 seed=7 batch-size=1 threads=1')
        self.assertEqual(drawn, play(
            STRINGS, 'temperature=1 seed=7 batch-size=5 threads=2'))
        self.assertNotEqual(drawn, play(STRINGS, 'temperature=1 seed=8'))
        self.assertNotEqual(drawn, golden(STRINGS))

    def test_one_candidate_is_no_choice(self):
        self.assertEqual(play(STRINGS, 'temperature=1 top-k=1'),
                         golden(STRINGS))
        self.assertEqual(play(STRINGS, 'temperature=1 top-p=0'),
                         golden(STRINGS))


if __name__ == '__main__':
    unittest.main(verbosity=2)
