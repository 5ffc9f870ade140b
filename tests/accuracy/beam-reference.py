#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Beam search with the published network: the first windows of some clips give
the tokens that its float32 reference gives when it is searched by T5X's rules.

usage: beam-reference.py MT3_BENCH CLIP...
"""

import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest
import wave

import numpy as np
import torch

N_WINDOWS = 2
N_BEAMS = 4
ALPHA = 0.6
PROGRAM, *CLIPS = sys.argv[1:]
HERE = pathlib.Path(__file__).parent
SHARED = pathlib.Path(os.environ.get('MT3_SHARED', 'missing'))


def load_module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_beginning(reference, path):
    """Whole windows: the padding of the last frame is part of them. As 16 bit,
    so that it can be written down."""
    n = N_WINDOWS * reference.SEG * reference.HOP - reference.HOP
    samples = reference.read_audio(str(path))[:n]
    return np.round(samples * 32768).clip(-32768, 32767).astype('<i2')


def write_wave(path, samples, rate):
    with wave.open(str(path), 'wb') as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())


class Texts:
    """The live texts of a search, and the network's memory of them."""

    def __init__(self, reference, model, log_mel):
        x = torch.from_numpy(log_mel)[None]
        self.model = model
        self.cross = [(k.expand(N_BEAMS, -1, -1, -1),
                       v.expand(N_BEAMS, -1, -1, -1))
                      for k, v in model.cross(model.encode(x))]
        self.kept = [None] * reference.LAYERS
        self.length = 0

    def step(self, parents, tokens):
        parents = torch.from_numpy(parents)
        self.kept = [kv and (kv[0][parents], kv[1][parents])
                     for kv in self.kept]
        logits = self.model.step(torch.from_numpy(tokens), self.length,
                                 self.kept, self.cross)
        self.length += 1
        return logits.numpy()


@unittest.skipUnless(SHARED.is_dir(), 'MT3_SHARED names no folder')
@unittest.skipUnless(shutil.which('ffmpeg'), 'the reference needs ffmpeg')
class BeamReference(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        torch.set_num_threads(2)
        cls.oracle = load_module(HERE / '../check/engine/beam_oracle.py')
        cls.reference = load_module(SHARED / 'reference/mt3_reference.py')
        cls.model = cls.reference.Model(
            cls.reference.load_t5x(str(SHARED / 'mt3-checkpoint')))

    def search(self, samples):
        """The tokens of each window."""
        found = []
        for _, log_mel in self.reference.segments(
                samples.astype(np.float32) / 32768):
            texts = Texts(self.reference, self.model, log_mel)
            found.append(self.oracle.search(
                texts.step, N_BEAMS, ALPHA, self.reference.MAXTOK)[0])
        return found

    @torch.no_grad()
    def check_clip(self, folder, clip):
        samples = read_beginning(self.reference, clip / 'audio.flac')
        windows = self.search(samples)
        self.assertEqual(len(windows), N_WINDOWS)
        audio, golden = folder / 'audio.wav', folder / 'golden.json'
        write_wave(audio, samples, self.reference.SR)
        golden.write_text(json.dumps({'segments': [
            [0.0, tokens] for tokens in windows]}))
        output = subprocess.run(
            [PROGRAM, '--device=cpu', '--precision=exact', '--runs=1',
             f'--model={SHARED / "mt3-checkpoint"}', f'--beam-size={N_BEAMS}',
             f'--beam-alpha={ALPHA}', f'--golden={golden}', audio],
            stdout=subprocess.PIPE, check=True, text=True).stdout
        self.assertIn(f'{N_WINDOWS} of {N_WINDOWS} windows identical', output)
        return windows

    def test_the_tokens_are_those_of_the_reference(self):
        changed = 0
        for name in CLIPS:
            clip = SHARED / 'eval/dev' / name
            greedy = json.loads((clip / 'tokens.json').read_text())['segments']
            with self.subTest(clip=name), \
                    tempfile.TemporaryDirectory() as folder:
                windows = self.check_clip(pathlib.Path(folder), clip)
                changed += sum(tokens != segment[1] for tokens, segment in
                               zip(windows, greedy))
        self.assertGreater(changed, 0, 'windows that are greedy anyway')


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1], warnings='ignore')
