#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Trains a model further on recordings of one's own.

  finetune.py --init MODEL.safetensors --recordings DIR --out RUN --minutes 5

DIR holds pairs, at any depth: NAME.flac (or .wav, .ogg) with NAME.mid beside
it, or folders with audio.* and ref.json as for tests/accuracy. Any model that
mt3-model convert wrote will do, the published one too. RUN is as train.py's.
"""
import argparse
import json
import pathlib
import random
import sys

import numpy as np
import torch

import audio
import midi
import native
import train
from native import MAX_VOICES
from recipe import program_labels

AUDIO = ('.flac', '.wav', '.ogg')
SHIFTS_PER_SECOND = 100


def read_notes(path):
    """Rows of onset, offset, pitch, velocity, program, is_drum."""
    if path.suffix == '.json':
        return [tuple(note) for note in json.loads(path.read_text())]
    return [(n[0], n[1], int(n[3]), int(n[4]), part.program, part.is_drum)
            for part in midi.read(path.read_bytes()) for n in part.notes]


def find_recordings(folder):
    for path in sorted(pathlib.Path(folder).rglob('*')):
        if path.suffix not in AUDIO:
            continue
        for notes in (path.with_suffix('.mid'), path.with_name('ref.json')):
            if notes.exists():
                yield path, notes
                break


class Recordings:
    """Draws windows anywhere in a folder's recordings."""

    def __init__(self, folder, config, labels, seed):
        self.config = config
        self.rng = random.Random(seed)
        self.takes = []
        for path, notes in find_recordings(folder):
            rows = [(o, e, p, v, labels[program], drum) for
                    o, e, p, v, program, drum in read_notes(notes)]
            self.takes.append((audio.read(path, config.sample_rate), rows))
        if not self.takes:
            sys.exit(f'{folder}: no audio with a .mid or ref.json beside it')
        self.weights = [len(samples) for samples, _ in self.takes]

    def window(self, n_samples, max_tokens):
        """Audio, tokens with the end token, notes in hundredths, and where
        the recording ends."""
        rate = self.config.sample_rate
        seconds = n_samples / rate
        while True:
            samples, rows = self.rng.choices(self.takes, self.weights)[0]
            start = self.rng.randrange(max(1, len(samples) - rate // 4))
            at = start / rate
            phase = self.rng.uniform(0, 1 / SHIFTS_PER_SECOND)
            heard = [(o - at + phase, e - at + phase, *rest) for o, e, *rest
                     in rows if e > at and o < at + seconds]
            end = int((seconds + phase) * SHIFTS_PER_SECOND)
            tokens = native.encode(heard, self.config.velocity_bins, 0, end,
                                   max_tokens - 1)
            if tokens is not None and len(heard) <= MAX_VOICES:
                break
        piece = samples[start:start + n_samples]
        roll = [(p, round(o * SHIFTS_PER_SECOND) if o >= 0 else -1,
                 min(end, max(0, round(e * SHIFTS_PER_SECOND))), drum)
                for o, e, p, _, _, drum in heard]
        return (np.pad(piece, (0, n_samples - len(piece))),
                [*tokens, train.network.END], roll, len(piece))


class RecordingsFeed:
    """What train.Feed is to scenes."""

    def __init__(self, recordings, options, window_samples):
        self.recordings, self.options = recordings, options
        self.window_samples = window_samples

    def next(self, device):
        options, n = self.options, self.options.batch
        batch = {'audio': np.zeros((n, self.window_samples), np.float32),
                 'tokens': np.zeros((n, options.long_tokens), np.int64),
                 'roll': np.zeros((n, MAX_VOICES, 4), np.int16),
                 'n_roll': np.zeros(n, np.int32),
                 'cut': np.zeros(n, np.int32)}
        windows = [self.recordings.window(
            self.window_samples, options.long_tokens) for _ in range(n)]
        for i, (samples, tokens, roll, cut) in enumerate(
                sorted(windows, key=lambda window: len(window[1]))):
            batch['audio'][i] = samples
            batch['tokens'][i, :len(tokens)] = tokens
            batch['roll'][i, :len(roll)] = np.reshape(roll, (-1, 4))
            batch['n_roll'][i], batch['cut'][i] = len(roll), cut
        return {name: torch.from_numpy(array).to(device)
                for name, array in batch.items()}

    def stop(self):
        pass


class FineTuner(train.Trainer):
    def _prepare_data(self):
        options, config = self.options, self.config
        self.feed = RecordingsFeed(
            Recordings(options.recordings, config,
                       program_labels(options.labels), options.seed),
            options, self.window_samples)

    def _mels(self, batch):
        return self.augment.gently(batch['audio'], batch['cut'])


def main():
    extra = argparse.ArgumentParser(add_help=False)
    extra.add_argument('--recordings')
    known, rest = extra.parse_known_args()
    if not known.recordings:
        sys.exit(__doc__)
    # A tenth of the rate of training from scratch keeps what was learned.
    options = train.parse_options(
        ['--corpus', '', '--bank', '', '--rate', '2e-4', *rest])
    options.recordings = known.recordings
    FineTuner(options).run()


if __name__ == '__main__':
    main()
