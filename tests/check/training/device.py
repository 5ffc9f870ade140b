#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""On a GPU: the mixing kernel gives what its plain PyTorch twin gives.

Usage: device.py CORPUS.npz BANK_FOLDER ...
"""
import pathlib
import sys
import time

import torch

if not torch.cuda.is_available():
    print('no CUDA device: skipped')
    sys.exit(77)

SOURCE = pathlib.Path(__file__).resolve().parents[3] / 'ext/mt3/training'
sys.path.insert(0, str(SOURCE))
import bank  # noqa: E402
import corpus  # noqa: E402
import mixing  # noqa: E402
import native  # noqa: E402
from recipe import make_recipe  # noqa: E402

# Of the peak; 2.2e-3 was measured: float32 time runs to 40,960 samples.
TOLERANCE = 4e-3


def main():
    sounds = bank.load(sys.argv[2:])
    source = native.SceneSource(corpus.load(sys.argv[1]), sounds,
                                make_recipe(8))
    mixer = mixing.Mixer(sounds, 'cuda')
    scene = {name: torch.from_numpy(array).cuda() for name, array in
             source.draw(1, 64, 32768, 512).items()}
    arguments = scene['first'], scene['voices'], scene['n_voices']
    mixed = mixer(*arguments, 32768)
    torch.cuda.synchronize()
    start = time.time()
    mixer(*arguments, 32768)
    torch.cuda.synchronize()
    print(f'{64 / (time.time() - start):.0f} windows/s mixed')
    worst = 0.0
    for i, n in enumerate(scene['n_voices'].tolist()):
        expected = mixing._mix_window(
            mixer.samples, scene['first'][i, :n], scene['voices'][i, :n],
            mixed.shape[1])
        scale = expected.abs().max().item() + 1e-3
        worst = max(worst, (mixed[i] - expected).abs().max().item() / scale)
    print(f'largest difference {worst:.2e} of the peak')
    return worst > TOLERANCE


if __name__ == '__main__':
    sys.exit(main())
