#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Trains a tiny draft network for a tiny model of random weights."""
import argparse
import hashlib
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
import audio  # noqa: E402
import bank  # noqa: E402
import corpus  # noqa: E402
import draft_data  # noqa: E402
import draft_model  # noqa: E402
import draft_score  # noqa: E402
import frontend  # noqa: E402
import generate  # noqa: E402
import model as network  # noqa: E402
import weights  # noqa: E402
import writer  # noqa: E402

DIMENSIONS = {'d_model': 64, 'n_heads': 2, 'head_dim': 16, 'encoder_layers': 1,
              'decoder_layers': 2, 'encoder_d_ff': 96, 'decoder_d_ff': 80,
              'window_frames': 64, 'n_mels': 64, 'fft_length': 512,
              'max_tokens': 128, 'velocity_bins': 1, 'ordered_events': False}
# Of which the model's texts are, END among them: so they do end.
WORDS = (network.END, 5, 90, 1010, 1050, 1100, 1132, 1134, 1140, 1300)
LONGEST = 64
KERNELS = {
    'state/kernel': (64, 64), 'own_state/kernel': (64, 64),
    'self_attention/query/kernel': (64, 32),
    'self_attention/key/kernel': (64, 32),
    'self_attention/value/kernel': (64, 32),
    'self_attention/out/kernel': (32, 64),
    'encoder_decoder_attention/query/kernel': (64, 32),
    'encoder_decoder_attention/key/kernel': (64, 32),
    'encoder_decoder_attention/value/kernel': (64, 32),
    'encoder_decoder_attention/out/kernel': (32, 64),
    'mlp/wi_0/kernel': (64, 80), 'mlp/wi_1/kernel': (64, 80),
    'mlp/wo/kernel': (80, 64),
    'own_mlp/wi_0/kernel': (64, 80), 'own_mlp/wi_1/kernel': (64, 80),
    'own_mlp/wo/kernel': (80, 64)}
SCALES = [f'{name}/scale' for name in (
    'pre_state_layer_norm', 'pre_own_state_layer_norm',
    'pre_self_attention_layer_norm', 'pre_cross_attention_layer_norm',
    'pre_mlp_layer_norm', 'pre_own_mlp_layer_norm')]


def make_model():
    torch.manual_seed(3)
    model = network.Mt3(network.make_config(**DIMENSIONS))
    with torch.no_grad():
        others = torch.ones(model.config.vocab_size, dtype=torch.bool)
        others[list(WORDS)] = False
        model.decoder.logits_dense.weight[others] = 0
        model.decoder.decoder_norm.scale.uniform_(0.5, 1.5)
    return model


def draft_for_real(draft, window, n_drafts):
    """Steps of the decoder that one window takes when the network is run as an
    engine runs it: over what is known, then on its own guesses one by one."""
    text, length = window.tokens[0], int(window.lengths)
    memory = draft.encoder_decoder_attention.keys_and_values(window.encoded)
    steps = known = 1
    while known < length:
        guessed = []
        x = draft(draft.enter(0, 0, window.states[:, :known],
                              window.tokens[:, :known]), memory)
        while True:
            x = x[:, -1:]
            guessed.append(int(draft.choose(x).argmax(-1)))
            if len(guessed) == n_drafts:
                break
            place = known - 1 + len(guessed)
            x = draft.go_on(len(guessed), place, x,
                            torch.tensor([guessed[-1:]]))
        # The decoder's own choices stand until the first that was not guessed.
        for guess in [*guessed, None]:
            known += 1
            if known >= length or guess != text[known - 1]:
                break
        steps += 1
    return steps


class Draft(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        torch.set_num_threads(1)
        cls.folder = tempfile.TemporaryDirectory()
        cls.work = pathlib.Path(cls.folder.name)
        (cls.work / 'bank').mkdir()
        subprocess.run(
            [os.environ['MT3_RENDER_BANK'], '--synthetic', '1', '--stride',
             '16', cls.work / 'bank'], check=True, capture_output=True)
        corpus.save(cls.work / 'corpus.npz', generate.generate(
            {name: 2 for name in generate.MAKERS}))
        cls.model = make_model()
        weights.export(cls.work / 'model.safetensors', cls.model.state_dict(),
                       cls.model.config, {}, 'F32')
        cls.write_clip()

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def write_clip(cls):
        config = cls.model.config
        clip = cls.work / 'clips/noise'
        clip.mkdir(parents=True)
        audio.write_flac(clip / 'audio.flac',
                         0.1 * torch.randn(30000).numpy())
        windows = frontend.windows_of(
            torch.from_numpy(audio.read(clip / 'audio.flac')), config,
            frontend.LogMel(config))
        (clip / 'tokens.json').write_text(json.dumps({'segments': [
            [0.0, tokens] for tokens, _ in cls.model.greedy(windows)]}))

    def windows(self, n=24):
        source = draft_data.Source(
            self.model, corpus.load(self.work / 'corpus.npz'),
            bank.load([self.work / 'bank']), argparse.Namespace(
                batch=n, longest=LONGEST, threads=1, seed=5, device='cpu'))
        windows = source.next()
        source.stop()
        return windows

    def fresh(self):
        draft = draft_model.Draft(self.model)
        draft.start_as_last_layer()
        return draft

    def test_0_texts_come_of_their_states(self):
        windows = self.windows()
        self.assertGreater(len(windows), 8)
        self.assertGreater(len(set(windows.lengths.tolist())), 3)
        forced = self.model.states(windows.encoded, windows.tokens)
        chosen = self.model.decoder.choose(windows.states).argmax(-1)
        for i, length in enumerate(windows.lengths.tolist()):
            text = windows.tokens[i]
            self.assertEqual(text[length - 1], network.END)
            self.assertFalse(text[length:].any())
            self.assertEqual(chosen[i, :length].tolist(),
                             text[:length].tolist())
            torch.testing.assert_close(
                windows.states[i, :length], forced[i, :length],
                atol=1e-4, rtol=1e-4)

    def test_1_texts_in_memory_that_stays_are_the_same(self):
        encoded = torch.cat([self.windows().encoded] * 2)[:13]
        expected = self.model.write(encoded, LONGEST)
        ends = (expected == network.END).int().argmax(1)
        self.assertGreater(ends.max() - ends.min(), writer.ASK_EVERY)
        # Once more, in memory that others have used.
        stays = writer.Writer(self.model, 16, LONGEST, fewest_rows=2)
        for order in list(range(13)), [5, 0, 11]:
            tokens, states = stays.write(encoded[order])
            width = tokens.shape[1]
            self.assertEqual(tokens.tolist(),
                             expected[order, :width].tolist())
            self.assertTrue((expected[order, width:] == network.END).all())
            forced = self.model.states(encoded[order], tokens)
            for i, end in enumerate(ends[order].tolist()):
                torch.testing.assert_close(
                    states[i, :end + 1], forced[i, :end + 1],
                    atol=1e-4, rtol=1e-4)

    def test_1_the_pool_keeps_the_last_windows(self):
        windows = self.windows()
        pool = draft_data.Pool(6, self.model.config, LONGEST, torch.float,
                               'cpu')
        for part in windows[:10].parts(4):
            pool.add(part)
        rng = np.random.default_rng(1)
        batches = pool.batches(13, 40, rng)
        self.assertEqual(sum(map(len, batches)), 13)
        for rows in batches:
            some = pool.take(rows)
            if len(rows) > 1:
                self.assertLessEqual(some.tokens.numel(), 40)
            for i, row in enumerate(rows.tolist()):
                source = windows[row + 6 if row < 4 else row]
                length = int(source.lengths)
                self.assertEqual(some.lengths[i], length)
                self.assertEqual(some.tokens[i, :length].tolist(),
                                 source.tokens[:length].tolist())
                torch.testing.assert_close(some.states[i, :length],
                                           source.states[:length])
                torch.testing.assert_close(some.encoded[i], source.encoded)

    def test_2_the_file_has_what_the_product_reads(self):
        path, draft = self.work / 'draft.safetensors', self.fresh()
        draft_model.save(path, draft, self.model, {'name': 'a'})
        tensors, metadata = weights.read(path)
        shapes = {**KERNELS, **{name: (64,) for name in SCALES}}
        self.assertEqual({name: tensor.shape for name, tensor
                          in tensors.items()}, shapes)
        scale = self.model.decoder.decoder_norm.scale.detach()
        self.assertEqual(metadata, {
            'name': 'a', 'mt3.model': hashlib.sha256(
                scale.half().numpy().tobytes()).hexdigest()})
        again = draft_model.load(path, self.model).state_dict()
        for name, value in draft.state_dict().items():
            torch.testing.assert_close(again[name], value, atol=1e-3,
                                       rtol=1e-3)
        other = make_model()
        with torch.no_grad():
            other.decoder.decoder_norm.scale[3] += 0.5
        with self.assertRaises(SystemExit):
            draft_model.load(path, other)

    def train(self, out, *options):
        subprocess.run(
            [sys.executable, SOURCE / 'train-draft.py', '--model',
             self.work / 'model.safetensors', '--corpus',
             self.work / 'corpus.npz', '--bank', self.work / 'bank', '--out',
             self.work / out, '--batch', '24', '--pool', '32', '--longest',
             str(LONGEST), '--tokens', '256', '--threads', '1', '--device',
             'cpu', '--log-seconds', '0', *options],
            check=True, capture_output=True, text=True)

    def test_3_training_lowers_the_loss(self):
        self.train('run', '--clips', self.work / 'clips', '--steps', '100',
                   '--passes', '10', '--rate', '1e-2')
        rows = [json.loads(row) for row in
                (self.work / 'run/log.jsonl').read_text().splitlines()]
        self.assertEqual(rows[-1]['step'], 100)
        self.assertGreater(rows[-1]['windows'], rows[0]['windows'])
        for first, last in zip(rows[0]['loss'], rows[-1]['loss']):
            self.assertLess(last, first - 0.5)
        results = json.loads((self.work / 'run/results.json').read_text())
        self.assertEqual(set(results), {'noise', 'held out'})
        # One in ten would be chance.
        self.assertGreater(results['held out']['acceptance'][0], 0.3)
        self.assertGreater(results['held out']['tokens_a_step'][1], 1.1)

    def test_4_steps_are_counted_as_drafting_takes_them(self):
        draft = draft_model.load(self.work / 'run/draft.safetensors',
                                 self.model)
        windows = self.windows()
        right = draft_score.right_guesses(draft, windows)
        saved = 0
        for i, length in enumerate(windows.lengths.tolist()):
            for n_drafts in range(1, draft_model.DEPTHS + 1):
                with torch.no_grad():
                    steps = draft_for_real(draft, windows[i:i + 1], n_drafts)
                self.assertEqual(
                    draft_score.rounds(right[i], length, n_drafts), steps)
                saved += length - steps
        self.assertGreater(saved, 0)

    def test_5_training_starts_at_random_or_from_what_is_named(self):
        def start(*options):
            self.train('start', '--steps', '1', '--rate', '0', *options)
            return weights.read(self.work / 'start/draft.safetensors')[0]

        model = weights.read(self.work / 'model.safetensors')[0]
        at_random, as_model = start(), start('--from-model')
        for name in 'self_attention/value/kernel', 'mlp/wi_0/kernel':
            expected = model[f'decoder/layers_1/{name}']
            self.assertGreater(np.abs(at_random[name] - expected).max(), 0.1)
            np.testing.assert_allclose(as_model[name], expected, atol=0.01)
        last = self.work / 'run/draft.safetensors'
        as_last = start('--init', last)
        for name, expected in weights.read(last)[0].items():
            np.testing.assert_allclose(as_last[name], expected, atol=1e-3)

    def test_6_rounds_and_acceptance_of_a_known_text(self):
        right = np.zeros((draft_model.DEPTHS, 6), bool)
        self.assertEqual(draft_score.rounds(right, 6, 3), 6)
        right[:, :] = True
        for depth in range(draft_model.DEPTHS):
            right[depth, 5 - depth:] = False
        self.assertEqual([draft_score.rounds(right, 6, n) for n in (1, 2, 3)],
                         [4, 3, 3])
        self.assertEqual(draft_score.acceptance([(right, 6)]), [1, 1, 1])
        right[1, 0] = False
        self.assertEqual(draft_score.acceptance([(right, 6)]), [1, .75, 1])


if __name__ == '__main__':
    unittest.main(verbosity=2)
