# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a draft network learns from: the texts that a model writes of windows of
music, and the states of its decoder that they came of. A clip's tokens.json and
the scenes' labels are not asked what is right: the model is.
"""
import argparse
import dataclasses
import json
import pathlib

import numpy as np
import torch

import audio
import model as network
import native
from augmentation import Augmentation
from frontend import LogMel, windows_of
from mixing import Mixer
from recipe import make_recipe
from train import Feed
from writer import Writer

# How many are drawn, mixed and encoded together.
DRAWN = 512
MOST_DRAWN_TOKENS = 1024
# Windows with much in them are what is waited for: those whose scenes have
# fewer tokens are taken the less often, down to one in five.
DENSE_TOKENS, QUIET_SHARE = 90, 0.2
# Other shares than recipe.py's: the model is another one, which hears music of
# many instruments, and what it is run on is whole songs.
SCENES = {'piano': 0.17, 'band': 0.46, 'medley': 0.14, 'lines': 0.12,
          'drums': 0.08, 'empty': 0.03}
CHANGES = {'drop_part': 0.3, 'same_program': 0.85, 'near_program': 0.1,
           'sampled': 0.8, 'recorded': 0.35, 'truncated': 0.04,
           'distractor': 0.04}


@dataclasses.dataclass
class Windows:
    """encoded: [n, frames, d_model]; states: [n, length, d_model], that each
    token came of; tokens: [n, length] with the end, 0 behind it; lengths: [n],
    with the end."""
    encoded: torch.Tensor
    states: torch.Tensor
    tokens: torch.Tensor
    lengths: torch.Tensor

    def __len__(self):
        return len(self.lengths)

    def __getitem__(self, rows):
        return Windows(*(value[rows] for value in vars(self).values()))

    def parts(self, n):
        """n windows at a time."""
        return (self[start:start + n] for start in range(0, len(self), n))


class Source:
    """Fresh windows, n at a time, each with a text that the model ended within
    so many tokens."""

    def __init__(self, model, corpus, bank, options):
        config = self.config = model.config
        self.model, self.n = model, options.batch
        self.writer = None if config.ordered_events else Writer(
            model, self.n, options.longest)
        self.longest, self.device = options.longest, options.device
        self.samples = config.window_frames * config.hop_length
        self.precision = next(model.parameters()).dtype
        self.mixer = Mixer(bank, self.device)
        self.augment = Augmentation(
            config, LogMel(config).to(self.device), self.device)
        recipe = make_recipe(config.velocity_bins, 'all',
                             {**SCENES, **CHANGES})
        self.feed = Feed(
            native.SceneSource(corpus, bank, recipe), argparse.Namespace(
                batch=min(DRAWN, self.n), long_tokens=MOST_DRAWN_TOKENS,
                threads=options.threads, seed=options.seed,
                device=self.device), self.samples, 0)

    @torch.no_grad()
    def _encoded(self):
        """Of a batch of scenes, less some of the quiet ones."""
        batch = self.feed.next(self.device)
        share = (batch['n_tokens'] / DENSE_TOKENS).clamp(min=QUIET_SHARE)
        taken = torch.rand(len(share), device=self.device) < share
        batch = {name: value[taken] for name, value in batch.items()}
        heard = self.mixer(batch['first'], batch['voices'], batch['n_voices'],
                           self.samples)
        mels = self.augment(heard, batch['cut'], batch['n_voices'],
                            batch['setting'])
        return self.model.encode(mels.to(self.precision))

    def next(self):
        encoded = []
        while sum(map(len, encoded)) < self.n:
            encoded.append(self._encoded())
        encoded = torch.cat(encoded)[:self.n]
        if self.writer:
            return whole(encoded, *self.writer.write(encoded))
        # Zeros, for attention to what is not seen is a product with 0.
        states = encoded.new_zeros(
            len(encoded), self.longest, self.config.d_model)
        tokens = self.model.write(encoded, self.longest, states)
        return whole(encoded, tokens, states[:, :tokens.shape[1]])

    def stop(self):
        self.feed.stop()


def whole(encoded, tokens, states):
    """The windows whose texts the model ended."""
    ends = tokens == network.END
    lengths = ends.int().argmax(1) + 1
    # An end alone has no token before it to guess it from.
    kept = ends.any(1) & (lengths > 1)
    tokens = tokens.masked_fill(ends.cumsum(1) > 1, 0)
    return Windows(encoded[kept], states[kept], tokens[kept], lengths[kept])


class Pool:
    """The last windows that came, in memory of one size."""

    def __init__(self, size, config, longest, precision, device):
        def room(*shape, dtype=precision):
            return torch.zeros(size, *shape, dtype=dtype, device=device)

        self.windows = Windows(
            room(config.window_frames, config.d_model),
            room(longest, config.d_model), room(longest, dtype=torch.long),
            room(dtype=torch.long))
        # On the host, where batches are made up.
        self.lengths = np.zeros(size, np.int64)
        self.come = 0

    def add(self, windows):
        places = (self.come + np.arange(len(windows))) % len(self.lengths)
        self.lengths[places] = windows.lengths.cpu().numpy()
        width = windows.tokens.shape[1]
        rows, kept = torch.from_numpy(places), self.windows
        rows = rows.to(kept.tokens.device)
        kept.encoded[rows] = windows.encoded
        kept.states[rows, :width] = windows.states
        kept.tokens[rows] = 0
        kept.tokens[rows, :width] = windows.tokens
        kept.lengths[rows] = windows.lengths
        self.come += len(windows)

    def batches(self, n, most_tokens, rng):
        """Some n windows of the pool, in batches of alike lengths of up to so
        many tokens with their padding; in no order."""
        there = min(self.come, len(self.lengths))
        rows = np.concatenate([rng.permutation(there)
                               for _ in range(-(-n // there))])[:n]
        rows = rows[np.argsort(
            self.lengths[rows] * rng.uniform(0.9, 1.1, len(rows)))]
        found, start, longest = [], 0, 0
        for i, length in enumerate(self.lengths[rows]):
            longest = max(longest, length)
            if longest * (i + 1 - start) > most_tokens and i > start:
                found.append(rows[start:i])
                start, longest = i, length
        found.append(rows[start:])
        rng.shuffle(found)
        return found

    def take(self, rows):
        width = int(self.lengths[rows].max())
        kept = self.windows
        rows = torch.from_numpy(rows).to(kept.tokens.device)
        return Windows(kept.encoded[rows], kept.states[rows, :width],
                       kept.tokens[rows, :width], kept.lengths[rows])


@torch.no_grad()
def read_clip(folder, model, device):
    """Its windows with the texts of tokens.json; all of one clip."""
    config = model.config
    precision = next(model.parameters()).dtype
    samples = torch.from_numpy(audio.read(
        next(folder.glob('audio.*')), config.sample_rate)).to(device)
    log_mel = LogMel(config).to(device)
    mels = windows_of(samples, config, log_mel).to(precision)
    texts = [[*tokens, network.END] for _, tokens in json.loads(
        (folder / 'tokens.json').read_text())['segments']]
    if len(texts) != len(mels):
        raise SystemExit(f'{folder}: {len(mels)} windows, '
                         f'but tokens.json has {len(texts)}')
    tokens = torch.zeros(len(texts), max(map(len, texts)), dtype=torch.long)
    for row, text in zip(tokens, texts):
        row[:len(text)] = torch.tensor(text)
    tokens = tokens.to(device)
    encoded = model.encode(mels)
    return Windows(encoded, model.states(encoded, tokens), tokens,
                   torch.tensor([len(text) for text in texts], device=device))


def read_clips(folder, model, device):
    """{set: [Windows]}: each folder in the folder is a set of clips, which are
    the folders with tokens.json, or a clip itself."""
    sets = {}
    for path in sorted(pathlib.Path(folder).rglob('tokens.json')):
        name = path.relative_to(folder).parts[0]
        sets.setdefault(name, []).append(
            read_clip(path.parent, model, device))
    return sets
