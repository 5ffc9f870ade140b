#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Trains a tiny model on a tiny corpus: the whole recipe in a minute.

In order: the note bank is rendered, music is generated, the loss falls,
training goes on where it stopped, the export is a model that the product opens
and that gives the same tokens in its CPU engine as in PyTorch, and a recording
can be trained on.
"""
import contextlib
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

SKIPPED = 77
# Threads that spin while they wait starve a busy machine.
os.environ['OMP_NUM_THREADS'] = '1'
try:
    import numpy as np
    import scipy  # noqa: F401 (audio.py)
    import torch
except ImportError as error:
    print(f'{error}: install python3-torch and python3-scipy to run this')
    sys.exit(SKIPPED)

SOURCE = pathlib.Path(__file__).resolve().parents[3] / 'ext/mt3/training'
sys.path.insert(0, str(SOURCE))

DIMENSIONS = {'d_model': 64, 'n_heads': 2, 'head_dim': 32, 'encoder_layers': 1,
              'decoder_layers': 2, 'encoder_d_ff': 96, 'decoder_d_ff': 128,
              'window_frames': 64, 'n_mels': 64, 'fft_length': 512,
              'max_tokens': 128}
STEPS = 40


def run(*command):
    return subprocess.run([str(part) for part in command], check=True,
                          capture_output=True, text=True).stdout


class Recipe(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.work = pathlib.Path(cls.folder.name)
        import corpus
        import generate
        (cls.work / 'bank').mkdir()
        # A piano, an organ and a drum kit.
        run(os.environ['MT3_RENDER_BANK'], '--synthetic', 1, '--stride', 16,
            cls.work / 'bank')
        corpus.save(cls.work / 'corpus.npz', generate.generate(
            {name: 2 for name in generate.MAKERS}))

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def options(self, out, steps):
        return [
            '--corpus', str(self.work / 'corpus.npz'), '--bank',
            str(self.work / 'bank'), '--out', str(self.work / out),
            '--steps', str(steps), '--batch', '8', '--short-tokens', '48',
            '--long-tokens', '128', '--log-steps', '5', '--threads', '1',
            '--rate', '5e-3', '--device', 'cpu', '--compile', '0',
            *(f'--config={name}={value}' for name, value in
              DIMENSIONS.items())]

    def train(self, steps):
        import train
        options = train.parse_options(self.options('run', steps))
        with contextlib.redirect_stdout(io.StringIO()) as output:
            train.Trainer(options).run()
        rows = (self.work / 'run/log.jsonl').read_text().splitlines()
        return output.getvalue(), [json.loads(row) for row in rows]

    def test_0_repeats_are_heard_and_not_asked_for(self):
        import train
        torch.manual_seed(0)
        width = 64
        length = torch.randint(2, 50, (200,))
        tokens = torch.randint(1, 900, (200, width))
        tokens[torch.arange(width) >= length[:, None]] = 0
        limits = torch.full((200,), 60)
        targets, heard = train.hear_repeats(tokens, tokens, 0.5, limits)
        repeated = 0
        for before, target, sound in zip(tokens, targets, heard):
            again = (sound > 0) & (target == 0)
            self.assertEqual(target[target > 0].tolist(),
                             before[before > 0].tolist())
            self.assertEqual(sound[~again].tolist(), target[~again].tolist())
            places = again.nonzero().flatten()
            if len(places) == 0:
                continue
            repeated += 1
            first, n = int(places[0]), len(places)
            self.assertEqual(places.tolist(), list(range(first, first + n)))
            self.assertTrue(any(
                sound[first:first + n].equal(sound[first - k:first - k + n])
                for k in range(1, 7) if first >= k))
        self.assertGreater(repeated, 50)
        self.assertLess(repeated, 150)

    def test_1_loss_falls(self):
        _, rows = self.train(STEPS)
        self.assertEqual(rows[-1]['step'], STEPS)
        self.assertLess(rows[-1]['loss'], rows[0]['loss'] - 1)
        self.assertLess(rows[-1]['auxiliary'], rows[0]['auxiliary'])

    def test_2_training_goes_on_where_it_stopped(self):
        output, rows = self.train(STEPS + 10)
        self.assertIn(f'going on from step {STEPS}', output)
        self.assertEqual([row['step'] for row in rows],
                         list(range(5, STEPS + 11, 5)))
        self.assertLess(rows[-1]['loss'], rows[0]['loss'] - 1)

    def test_3_the_product_opens_the_export(self):
        model = self.work / 'run/model.safetensors'
        run(os.environ['MT3_MODEL'], 'verify', model)
        described = run(os.environ['MT3_MODEL'], 'inspect', model)
        for said in ('CC-BY-4.0', 'Groove MIDI', 'order yes'):
            self.assertIn(said, described)

    def test_3_what_a_file_says_of_its_model_can_be_changed(self):
        model, other = (self.work / 'run/model.safetensors',
                        self.work / 'other.safetensors')
        run(sys.executable, SOURCE / 'configure.py', model, other,
            'ordered_events=0')
        self.assertIn('order no', run(os.environ['MT3_MODEL'], 'inspect',
                                      other))
        import weights
        (before, _), (after, _) = weights.read(model), weights.read(other)
        for name, tensor in before.items():
            np.testing.assert_array_equal(after[name], tensor)

    def test_6_processes_train_one_model_together(self):
        run(sys.executable, SOURCE / 'train.py', *self.options('team', 20),
            '--processes', 2)
        rows = [json.loads(row) for row in
                (self.work / 'team/log.jsonl').read_text().splitlines()]
        self.assertEqual([row['step'] for row in rows], [5, 10, 15, 20])
        self.assertLess(rows[-1]['loss'], rows[0]['loss'] - 0.3)
        # Written where the processes' weights were not the same.
        self.assertFalse(any('apart' in row for row in rows))
        run(os.environ['MT3_MODEL'], 'verify',
            self.work / 'team/model.safetensors')

    def test_7_gradients_are_averaged(self):
        # A file of its own: what is called in other processes is imported.
        run(sys.executable, pathlib.Path(__file__).parent / 'averaging.py')

    def recording(self):
        """A scene of the training data as a clip: audio.flac and ref.json."""
        import audio
        import bank
        import corpus
        import mixing
        import native
        from recipe import make_recipe
        music = corpus.load(self.work / 'corpus.npz')
        sounds = bank.load([self.work / 'bank'])
        source = native.SceneSource(music, sounds, make_recipe(
            8, changes={'truncated': 0.0, 'empty': 0.0}))
        samples = 24 * mixing.BLOCK
        mixer = mixing.Mixer(sounds, 'cpu')
        # Scenes may begin in a rest: take the first that is loud enough.
        for seed in range(100):
            scene = {name: torch.from_numpy(array) for name, array in
                     source.draw(seed, 1, samples, 2000).items()}
            heard = mixer(scene['first'], scene['voices'], scene['n_voices'],
                          samples)[0, mixing.PREROLL:].numpy()
            if np.abs(heard).max() > 0.01 and scene['n_roll'][0] > 2:
                break
        clip = self.work / 'clips/made'
        clip.mkdir(parents=True, exist_ok=True)
        audio.write_flac(clip / 'audio.flac', heard / np.abs(heard).max())
        notes = [(max(0, on) / 100, off / 100, pitch, 90, 0, bool(drum))
                 for pitch, on, off, drum in
                 scene['roll'][0, :scene['n_roll'][0]].tolist()]
        (clip / 'ref.json').write_text(json.dumps(notes))
        return clip

    @unittest.skipUnless('MT3_BENCH' in os.environ, 'mt3-bench is not built')
    def test_4_the_engine_gives_the_same_tokens(self):
        import evaluate
        model = self.work / 'run/model.safetensors'
        clip = self.recording()
        windows = evaluate.transcribe(
            model, clip.parent, 'cpu')['made']['windows']
        self.assertGreater(sum(len(tokens) for tokens, _ in windows), 0)
        (self.work / 'tokens.json').write_text(json.dumps(
            {'segments': [[0, tokens] for tokens, _ in windows]}))
        said = run(os.environ['MT3_BENCH'], '--model', model, '--device',
                   'cpu', '--precision', 'exact', '--runs', 1, '--golden',
                   self.work / 'tokens.json', clip / 'audio.flac')
        self.assertIn(f'{len(windows)} of {len(windows)} windows identical',
                      said)

    def test_5_a_recording_can_be_trained_on(self):
        clip = self.recording()
        out = self.work / 'tuned'
        run(sys.executable, SOURCE / 'finetune.py', '--init',
            self.work / 'run/model.safetensors', '--recordings', clip.parent,
            '--out', out, '--steps', 4, '--batch', 4, '--short-tokens', 64,
            '--long-tokens', 128, '--log-steps', 2, '--device', 'cpu',
            '--compile', 0)
        run(os.environ['MT3_MODEL'], 'verify', out / 'model.safetensors')


if __name__ == '__main__':
    unittest.main(verbosity=2)
