#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Trains a draft network for a model (draft_model.py), on one GPU.

  train-draft.py --model MODEL.safetensors --corpus corpus.npz --bank BANK \\
    --out RUN --minutes 10 [--clips CLIPS]

Windows are drawn, the model writes their texts, and the network is trained on
them, in turns, to the end: there is more to learn from windows than from
epochs. RUN gets draft.safetensors, the same every few seconds while it lasts,
log.jsonl, and results.json: acceptance and tokens a step on windows that were
held out and on clips with tokens.json.
"""
import argparse
import contextlib
import json
import os
import pathlib
import time

import numpy as np
import torch
import torch.nn.functional as F

import bank as bank_file
import corpus as corpus_file
import draft_data
import draft_model
import weights
from draft_model import DEPTHS
from draft_score import score
from optimiser import Optimiser
from recipe import SOURCES

# A draft counts only behind right ones, so the first count most.
DEPTH_WEIGHTS = (1.0, 0.8, 0.6)
# What is learnt: the token that the model wrote, and for this share how likely
# it took all of them to be.
LIKELY_SHARE = 0.7
WARMUP_STEPS = 100
# The rate stays up for this share of the run, then falls in a straight line.
CONSTANT_SHARE = 0.4
FINAL_RATE = 0.02
# Windows of the first batch that are never trained on.
MOST_HELD_OUT = 512
DATA_STATEMENT = f'Trained on what the model wrote of {SOURCES}'


class Trainer:
    def __init__(self, options):
        self.options, self.device = options, options.device
        self.gpu = options.device == 'cuda'
        self.out = pathlib.Path(options.out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.log_path = self.out / 'log.jsonl'
        self.log_path.unlink(missing_ok=True)
        torch.manual_seed(options.seed)
        self.rng = np.random.default_rng(options.seed)
        self.model, _ = weights.load(options.model)
        self.model.requires_grad_(False)
        self.draft = draft_model.Draft(self.model)
        if options.init:
            self.draft = draft_model.load(options.init, self.model)
        elif options.from_model:
            self.draft.start_as_last_layer()
        self.draft.to(self.device)
        # Float16 writes the texts that float32 writes, but for one token in
        # two thousand; bfloat16, for one in three hundred.
        self.model = self.model.to(
            self.device, torch.half if self.gpu else torch.float)
        self.optimiser = Optimiser(self.draft)
        self.step = self.trained = 0
        self.spent = {'writing': 0.0, 'training': 0.0}

    def prepare(self):
        options = self.options
        self.scored = draft_data.read_clips(
            options.clips, self.model, self.device) if options.clips else {}
        self.source = draft_data.Source(
            self.model, corpus_file.load(options.corpus),
            bank_file.load(options.bank), options)
        self.pool = draft_data.Pool(
            options.pool, self.model.config, options.longest,
            self.source.precision, self.device)
        first = self.source.next()
        n_held_out = min(MOST_HELD_OUT, len(first) // 4)
        self.scored['held out'] = [first[:n_held_out]]
        self.pool.add(first[n_held_out:])

    @contextlib.contextmanager
    def _timed(self, what):
        started = time.time()
        yield
        if self.gpu:
            torch.cuda.synchronize()
        self.spent[what] += time.time() - started

    def progress(self):
        options = self.options
        if options.steps:
            return self.step / options.steps
        return (time.time() - options.started) / (60 * options.minutes)

    def rate(self):
        falling = (1 - self.progress()) / (1 - CONSTANT_SHARE)
        return (self.options.rate * min(1, (self.step + 1) / WARMUP_STEPS) *
                (FINAL_RATE + (1 - FINAL_RATE) * min(1, max(0, falling))))

    def _precision(self):
        return torch.autocast('cuda', torch.bfloat16) if self.gpu \
            else contextlib.nullcontext()

    @torch.no_grad()
    def _likely(self, states):
        """How likely the model took each token to be."""
        return self.model.decoder.choose(states).float().softmax(-1)

    def _train_step(self, windows):
        """[DEPTHS, 3]: sums of the written tokens' losses and of right guesses,
        and how many."""
        kind = torch.bfloat16 if self.gpu else torch.float
        encoded, states = windows.encoded.to(kind), windows.states.to(kind)
        sums, loss = [], 0
        with self._precision():
            tokens = F.pad(windows.tokens, (0, DEPTHS))
            likely = F.pad(self._likely(states), (0, 0, 0, DEPTHS))
            for depth, logits in enumerate(self.draft.guesses(
                    encoded, states, windows.tokens)):
                place = slice(depth + 1, depth + 1 + logits.shape[1])
                expected = tokens[:, place]
                there = expected > 0
                found = logits.float().log_softmax(-1)
                written = -(there * found.gather(
                    -1, expected[..., None])[..., 0]).sum()
                all_of_them = -(
                    there * (likely[:, place] * found).sum(-1)).sum()
                loss = loss + DEPTH_WEIGHTS[depth] * torch.lerp(
                    written, all_of_them, LIKELY_SHARE) / \
                    there.sum().clamp(min=1)
                right = ((logits.argmax(-1) == expected) & there).sum()
                sums.append(
                    torch.stack([written.detach(), right, there.sum()]))
        loss.backward()
        self.optimiser.step(self.rate())
        self.step += 1
        return torch.stack(sums)

    def _score(self):
        """{set: summary}. Clips are float16's or float32's, as the states."""
        with torch.autocast('cuda', torch.half) if self.gpu \
                else contextlib.nullcontext():
            return {name: score(self.draft, clips)
                    for name, clips in self.scored.items()}

    def _log(self, sums):
        sums = torch.stack(sums).sum(0)
        loss, right = (sums[:, :2] / sums[:, 2:]).T.tolist()
        row = {'step': self.step,
               'seconds': round(time.time() - self.options.started, 1),
               'windows': self.pool.come, 'trained': self.trained,
               **{name: round(seconds, 1)
                  for name, seconds in self.spent.items()},
               'rate': f'{self.rate():.2e}',
               'loss': [round(x, 4) for x in loss],
               'right': [round(x, 4) for x in right],
               'acceptance': {name: result['acceptance'] for name, result
                              in self._score().items()}}
        with open(self.log_path, 'a', encoding='utf-8') as file:
            file.write(json.dumps(row) + '\n')
        print(row, flush=True)

    def save(self):
        path = self.out / 'draft.tmp'
        draft_model.save(path, self.draft, self.model, {
            'name': self.options.name, 'license': self.options.license,
            'data': self.options.data, 'steps': str(self.step),
            'windows': str(self.pool.come)})
        os.replace(path, self.out / 'draft.safetensors')

    def run(self):
        self.prepare()
        sums, logged, fresh = [], time.time(), self.pool.come
        while True:
            with self._timed('training'):
                sums += self._train(fresh * self.options.passes)
            done = self.progress() >= 1
            if done or time.time() - logged > self.options.log_seconds:
                self._log(sums)
                self.save()
                sums, logged = [], time.time()
            if done:
                break
            with self._timed('writing'):
                windows = self.source.next()
                self.pool.add(windows)
                fresh = len(windows)
        self.source.stop()
        self._finish()

    def _train(self, n_windows):
        """On windows of the pool, until there is no time left."""
        sums = []
        for rows in self.pool.batches(
                n_windows, self.options.tokens, self.rng):
            sums.append(self._train_step(self.pool.take(rows)))
            self.trained += len(rows)
            # The clock is to be that of what has been done.
            if self.gpu and self.step % 8 == 0:
                torch.cuda.synchronize()
            if self.progress() >= 1:
                break
        return sums

    def _finish(self):
        """What is scored is what the file holds."""
        self.draft = draft_model.load(
            self.out / 'draft.safetensors', self.model, self.device)
        results = self._score()
        (self.out / 'results.json').write_text(json.dumps(results, indent=1))
        for name, result in results.items():
            print(name, result)


def parse_options():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('--model', required=True)
    parser.add_argument('--corpus', required=True)
    parser.add_argument('--bank', required=True, nargs='+',
                        help='folders that mt3-render-bank wrote')
    parser.add_argument('--out', required=True)
    parser.add_argument('--clips', help=(
        'folder of clips with audio.* and tokens.json, or of folders of such'))
    parser.add_argument('--minutes', type=float, default=10,
                        help='from the start of this call')
    parser.add_argument('--steps', type=int, help='instead of --minutes')
    start = parser.add_mutually_exclusive_group()
    start.add_argument('--init', help='a draft network to start from')
    start.add_argument('--from-model', action='store_true', help=(
        "start from the model's last layer, and be under the model's\n"
        "licence; else from random weights"))
    parser.add_argument('--batch', type=int, default=2048,
                        help='windows that the model writes at a time')
    parser.add_argument('--longest', type=int, default=512,
                        help='tokens; windows with longer texts are left out')
    parser.add_argument('--pool', type=int, default=32768, help=(
        'windows that are kept; a GPU holds 0.8 MB of each for MT3'))
    parser.add_argument('--passes', type=int, default=5,
                        help='how often each window is trained on')
    parser.add_argument('--tokens', type=int, default=24576,
                        help='of a training step, with their padding')
    parser.add_argument('--rate', type=float, default=2e-3)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--threads', type=int,
                        default=min(8, max(1, (os.cpu_count() or 2) - 3)))
    parser.add_argument('--device', default=(
        'cuda' if torch.cuda.is_available() else 'cpu'))
    parser.add_argument('--log-seconds', type=float, default=20)
    parser.add_argument('--name', default='mt3-draft')
    parser.add_argument('--license', default='CC-BY-4.0')
    parser.add_argument('--data', default=DATA_STATEMENT)
    options = parser.parse_args()
    options.started = time.time()
    return options


if __name__ == '__main__':
    Trainer(parse_options()).run()
