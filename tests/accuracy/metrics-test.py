#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the scores mean, on notes that can be counted by hand."""
import tempfile
import unittest
from pathlib import Path

from accuracy import find_clips, kind_of, summarise
from metrics import score

PIANO, GUITAR, BASS_DRUM = 0, 24, 35


def note(onset, pitch=60, program=PIANO, length=1.0, drum=False):
    return onset, onset + length, pitch, 100, program, drum


def drum(onset, pitch=BASS_DRUM):
    return note(onset, pitch, 0, 0.01, True)


REFERENCE = [note(0.0), note(1.0), note(2.0, 64, GUITAR), drum(3.0)]


class Clips(unittest.TestCase):
    def test_are_found_behind_links(self):
        with tempfile.TemporaryDirectory() as folder:
            clip = Path(folder) / 'real' / 'clip'
            clip.mkdir(parents=True)
            (clip / 'ref.json').write_text('[]')
            (Path(folder) / 'linked').mkdir()
            link = Path(folder) / 'linked' / 'clip'
            link.symlink_to(clip)
            self.assertEqual(find_clips(link.parent), [link])


class Scores(unittest.TestCase):
    def assertScores(self, estimate, tolerance=0.05, **expected):
        scores = score(REFERENCE, estimate, tolerance)
        for name, value in expected.items():
            self.assertAlmostEqual(scores[name.replace('_', '+')], value,
                                   msg=name)

    def test_are_1_for_the_reference_itself(self):
        self.assertEqual(set(score(REFERENCE, REFERENCE).values()), {1.0})

    def test_are_0_for_no_notes(self):
        self.assertEqual(set(score(REFERENCE, []).values()), {0.0})

    def test_an_onset_may_be_50_ms_off(self):
        for shift, onset in ((0.049, 1), (0.051, 2 / 3)):
            self.assertScores([note(shift), *REFERENCE[1:]], onset=onset)

    def test_the_tolerance_can_be_100_ms(self):
        self.assertScores([note(0.09), *REFERENCE[1:]], 0.1, onset=1,
                          flat=1)

    def test_an_offset_may_be_a_fifth_of_the_note_off(self):
        for length, both in ((1.19, 1), (1.21, 2 / 3)):
            self.assertScores([note(0, length=length), *REFERENCE[1:]],
                              onset=1, onset_offset=both)

    def test_instruments_count_by_class_or_program(self):
        for program, by_class, by_program in (
                (GUITAR + 1, 1, 0.75), (PIANO, 0.75, 0.75)):
            scores = score(REFERENCE, [*REFERENCE[:2],
                                       note(2.0, 64, program), drum(3.0)])
            self.assertEqual(scores['onset'], 1)
            self.assertEqual(scores['flat'], 1)
            self.assertAlmostEqual(scores['class'], by_class)
            self.assertAlmostEqual(scores['full'], by_program)

    def test_another_bass_drum_is_right_by_class_only(self):
        scores = score(REFERENCE, [*REFERENCE[:3], drum(3.0, 36)])
        self.assertEqual((scores['drums'], scores['drum classes']), (0, 1))

    def test_drums_are_no_pitched_notes(self):
        self.assertScores([*REFERENCE, drum(1.5)], onset=1, drums=2 / 3)

    def test_there_is_no_score_without_a_reference(self):
        scores = score([drum(0.0)], [drum(0.0)])
        self.assertIsNone(scores['onset'])
        self.assertIsNone(score([note(0.0)], [note(0.0)])['drums'])


class Kinds(unittest.TestCase):
    def test_come_from_the_first_words_of_the_name(self):
        for name, kind in (('maps_real_x', ('real piano', 0.05)),
                           ('urmp15_01', ('strings', 0.1)),
                           ('my_song', ('other', 0.05))):
            self.assertEqual(tuple(kind_of(name)), kind)

    def test_are_summed_up_by_the_mean_of_what_has_a_score(self):
        results = [{'kind': 'band', 'scores': {'onset': value}}
                   for value in (0.5, None, 1.0)]
        self.assertEqual(summarise(results), {
            'band': {'clips': 3, 'scores': {'onset': 0.75}}})


if __name__ == '__main__':
    unittest.main()
