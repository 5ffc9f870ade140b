#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What may be trained on, and how music is read and kept."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

SKIPPED = 77
try:
    import mido
    import numpy as np
except ImportError as error:
    print(f'{error}: install python3-mido and python3-numpy to run this')
    sys.exit(SKIPPED)

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / 'ext/mt3/training'))
import corpus  # noqa: E402
import exclusions  # noqa: E402
import gather  # noqa: E402
import generate  # noqa: E402
import midi  # noqa: E402
import native  # noqa: E402
import scores  # noqa: E402
from corpus import Part, Piece  # noqa: E402

CLIPS = pathlib.Path(os.environ.get('MT3_SHARED', 'nowhere')) / 'eval'

EXCLUDED = (
    'openmsx/city_blues', 'maps/MAPS_MUS-chpn-p19_ENSTDkCl', 'MDB Drums/Punk',
    'urmp/01_Jupiter', 'bach/bwv1002', 'asap/Bach/Prelude/bwv_854',
    'asap/Chopin/Chopin, Etude Op. 25 No. 1', 'Mozart, Sonata in F, K. 332',
    'pop909/POP909/045', 'pop909/610', 'freedoom/D_DM01', 'freedoom/D_DM07',
    'freedoom/D_DM18', 'freedoom/D_E1M1', 'freedoom/D_E2M4',
    'freedoom/D_E4M2', 'simutrans/12-Steamin-across-the-prairies',
    'simutrans/27-March-Winds', 'simutrans/45-Misty-Forest',
    'groove/drummer1/eval_session/1_funk-groove1_138_beat_4-4',
    'groove/drummer1/eval_session/8_hiphop-groove8_67_beat_4-4',
    'Eine kleine Nachtmusik', 'Mozart K.525 i', 'Joplin: The Entertainer',
    'Schubert Ave Maria, D.839',
)
ALLOWED = (
    'freedoom/D_DM02', 'freedoom/D_E1M2', 'simutrans/13-Stephenson-blues',
    'groove/drummer1/eval_session/10_soul-groove10_102_beat_4-4',
    'groove/drummer1/session1/8_rock', 'Mozart Quartet No.14 K.387',
    'Schubert Der Erlkönig', 'generated/piano-12',
)

SCORE = '''<score-partwise><work><work-title>Two bars</work-title></work>
<identification><rights>CC0</rights></identification>
<part-list><score-part id="P1"><part-name>Violin 1</part-name></score-part>
</part-list><part id="P1">
<measure><attributes><divisions>2</divisions></attributes>
<direction><sound tempo="120"/></direction>
<note><pitch><step>C</step><octave>4</octave></pitch><duration>4</duration>
</note>
<note><chord/><pitch><step>E</step><octave>4</octave></pitch>
<duration>4</duration></note>
<note><pitch><step>B</step><alter>-1</alter><octave>4</octave></pitch>
<duration>4</duration><tie type="start"/></note></measure>
<measure><note><pitch><step>B</step><alter>-1</alter><octave>4</octave></pitch>
<duration>2</duration><tie type="stop"/></note>
<backup><duration>2</duration></backup>
<note><pitch><step>G</step><octave>3</octave></pitch><duration>8</duration>
</note></measure></part></score-partwise>'''


def midi_file(messages):
    """Bytes of a file with (seconds, message), 1,000 ticks a second."""
    import io
    file = mido.MidiFile(ticks_per_beat=500)
    track = mido.MidiTrack()
    file.tracks.append(track)
    before = 0
    for seconds, message in messages:
        tick = round(seconds * 1000)
        track.append(message.copy(time=tick - before))
        before = tick
    buffer = io.BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()


def note(start, end, key, channel=0):
    return [(start, mido.Message('note_on', note=key, channel=channel)),
            (end, mido.Message('note_off', note=key, channel=channel))]


class Exclusions(unittest.TestCase):
    def test_evaluation_pieces_are_excluded(self):
        for name in EXCLUDED:
            self.assertTrue(exclusions.is_excluded(name), name)

    def test_their_neighbours_are_not(self):
        for name in ALLOWED:
            self.assertFalse(exclusions.is_excluded(name), name)

    def test_gathering_drops_them(self):
        pieces = generate.generate({'piano': 2})
        pieces[0].name = 'freedoom/D_E1M1'
        self.assertEqual(gather.select(pieces, set()), pieces[1:])

    def test_gathering_drops_what_sounds_like_them(self):
        piece, other = generate.generate({'strings': 2})
        held_out = set()
        for part in piece.parts:
            # In another key, faster, under another name.
            rows = part.notes[:, [0, 3]] * (0.5, 1) + (0, 3)
            held_out |= exclusions.prints(rows)
        self.assertEqual(gather.select([piece, other], held_out), [other])

    def test_every_source_is_permissive(self):
        for source, licence in gather.LICENCES.items():
            self.assertIn(licence, ('CC0-1.0', 'CC-BY-4.0', 'BSD-3-Clause',
                                    'Artistic-1.0', 'MIT'), source)

    def test_every_source_is_in_the_ledger(self):
        text = (ROOT / 'ext/mt3/training/DATA.md').read_text()
        for source, licence in gather.LICENCES.items():
            self.assertIn(f'`{source}`', text)
            self.assertIn(licence, text)


class Midi(unittest.TestCase):
    def test_the_pedal_holds_and_the_key_is_remembered(self):
        pedal = [(0.0, mido.Message('control_change', control=64, value=127)),
                 (3.0, mido.Message('control_change', control=64, value=0))]
        events = pedal[:1] + [e for i in range(4) for e in
                              note(i * 0.5, i * 0.5 + 0.2, 60 + i)] + pedal[1:]
        part, = midi.read(midi_file(events))
        np.testing.assert_allclose(part.notes[0, :3], (0, 3, 0.2), atol=0.002)

    def test_a_struck_again_key_ends_the_note_before(self):
        events = sorted(
            [e for i in range(4) for e in note(i, i + 0.9, 60)] +
            [(0.5, mido.Message('note_on', note=60))], key=lambda e: e[0])
        part, = midi.read(midi_file(events))
        self.assertEqual(list(np.round(part.notes[:2, 1], 2)), [0.5, 0.9])

    def test_drums_are_apart(self):
        events = [e for i in range(4) for e in note(i, i + 0.1, 36, 9)]
        part, = midi.read(midi_file(events))
        self.assertTrue(part.is_drum)


class Scores(unittest.TestCase):
    def test_a_score_is_read(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / 'two-bars.musicxml'
            path.write_text(SCORE)
            score = scores.read(path)
        (name, notes), = score.parts
        self.assertEqual((name, score.rights), ('Violin 1', 'CC0'))
        self.assertEqual(score.tempos, [(0, 120)])
        self.assertEqual([tuple(n[:3]) for n in notes],
                         [(0, 2, 60), (0, 2, 64), (2, 3, 70), (4, 4, 55)])


class CorpusFile(unittest.TestCase):
    def test_notes_come_back_to_the_millisecond(self):
        pieces = generate.generate({name: 1 for name in generate.MAKERS})
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / 'corpus.npz'
            corpus.save(path, pieces)
            loaded = corpus.load(path)
        rows = np.concatenate([part.notes for p in pieces for part in p.parts])
        for i, name in enumerate(('onset', 'offset', 'key_up')):
            np.testing.assert_allclose(loaded.notes[name], rows[:, i],
                                       atol=0.0021)
        np.testing.assert_array_equal(loaded.notes['pitch'], rows[:, 3])
        self.assertEqual(loaded.names, [piece.name for piece in pieces])

    def test_long_silences_are_shortened_in_all_parts_alike(self):
        def line(starts):
            return Part(0, False, np.array(
                [(s, s + 1, s + 1, 60, 80) for s in starts], float))
        parts = [line((0, 1, 60)), line((0.5, 61))]
        corpus.shorten_gaps(parts)
        np.testing.assert_allclose(parts[0].notes[:, 0], (0, 1, 6))
        np.testing.assert_allclose(parts[1].notes[:, 0], (0.5, 7))


class Tokens(unittest.TestCase):
    def test_python_hears_what_the_product_writes(self):
        notes = [(0.1, 0.5, 60, 95, 40, False), (0.2, 0.21, 38, 111, 0, True)]
        tokens = native.encode(notes, 8, 0, 204, 64)
        import model
        decoded = native.decode(model.make_config(), [(tokens, True)])
        self.assertEqual([tuple(np.round(n, 2)) for n in sorted(decoded)],
                         [tuple(np.round(n, 2)) for n in notes])


class Texts(unittest.TestCase):
    def must_keep_order(self, rows, n_tokens):
        """What the encoder writes is permitted, the end with it."""
        import model
        texts = native.Texts(model.make_config(), len(rows))
        for i in range(n_tokens.max()):
            writing = i < n_tokens
            permitted = texts.permitted()[np.arange(len(rows)), rows[:, i]]
            self.assertTrue(permitted[writing].all(), f'token {i}')
            texts.follow(rows[:, i])

    def test_scenes_keep_the_order_of_events(self):
        import bank
        from recipe import make_recipe
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            subprocess.run([os.environ['MT3_RENDER_BANK'], '--synthetic', '1',
                            '--stride', '16', folder], check=True,
                           capture_output=True)
            corpus.save(folder / 'corpus.npz', generate.generate(
                {name: 2 for name in generate.MAKERS}))
            source = native.SceneSource(
                corpus.load(folder / 'corpus.npz'), bank.load([folder]),
                make_recipe(8))
            scenes = source.draw(1, 1000, 256 * 128, 1024)
        self.must_keep_order(scenes['tokens'], scenes['n_tokens'])

    @unittest.skipUnless(CLIPS.is_dir(), 'no evaluation clips')
    def test_references_keep_the_order_of_events(self):
        from recipe import program_labels
        labels = program_labels('groups')
        for path in sorted(CLIPS.rglob('ref.json')):
            notes = [(on, off, pitch, velocity, labels[program], bool(drum))
                     for on, off, pitch, velocity, program, drum in
                     json.loads(path.read_text())]
            rows = np.zeros((int(notes[-1][1] / 2.048) + 1, 1025), int)
            n_tokens = np.ones(len(rows), int)
            for i, row in enumerate(rows):
                first = native.step(i * 2.048)
                tokens = native.encode(notes, 8, first, first + 204, 1024)
                row[:len(tokens) + 1] = [*tokens, 1]
                n_tokens[i] += len(tokens)
            self.must_keep_order(rows, n_tokens)


class Averages(unittest.TestCase):
    def test_models_count_by_their_shares(self):
        import average
        models = [({'scale': np.array([1., 2.])}, 3),
                  ({'scale': np.array([5., 2.])}, 1)]
        np.testing.assert_allclose(average.average(models)['scale'], [2, 2])


@unittest.skipUnless(CLIPS.is_dir(), 'no evaluation clips')
class EvaluationClips(unittest.TestCase):
    def test_a_clip_is_recognised_by_ear(self):
        held_out = exclusions.held_out_prints(CLIPS)
        clip = CLIPS / 'dev/asap_bach/ref.json'
        rows = np.array([(n[0], n[1], n[1], n[2], n[3]) for n in
                         json.loads(clip.read_text()) if not n[5]], float)
        piece = Piece('another name', 'lieder', 'piano',
                      [Part(0, False, rows)])
        self.assertTrue(exclusions.sounds_held_out(piece, held_out))


class TrainScript(unittest.TestCase):
    def run_script(self, *args, **env):
        with tempfile.TemporaryDirectory() as folder:
            result = subprocess.run(
                ['bash', ROOT / 'ext/mt3/training/train.sh', *args],
                cwd=folder, env={**os.environ, **env}, text=True,
                stdin=subprocess.DEVNULL, capture_output=True)
            self.assertEqual(os.listdir(folder), [])
        return result.returncode, result.stdout, result.stderr

    def test_explains_itself(self):
        for option in ('-h', '--help'):
            code, answer, complaint = self.run_script(option)
            self.assertEqual((code, complaint), (0, ''))
            self.assertIn('train.sh RUN', answer)
            self.assertIn('MT3_TRAINING_BIN', answer)

    def test_says_how_it_is_used(self):
        for args in ((), ('--minutes',)):
            code, answer, complaint = self.run_script(*args)
            self.assertEqual((code, answer), (2, ''))
            self.assertIn('train.sh RUN', complaint)

    def test_asks_for_the_corpus_before_it_renders(self):
        code, _, complaint = self.run_script('run')
        self.assertEqual(code, 1)
        self.assertIn('there is no training-data/corpus.npz', complaint)


if __name__ == '__main__':
    unittest.main(verbosity=2)
