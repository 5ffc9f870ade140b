#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Trains a model from a corpus and a note bank; goes on where it stopped.

  train.py --corpus corpus.npz --bank BANK --out RUN --minutes 25

All GPUs that are visible train together (CUDA_VISIBLE_DEVICES), each on
windows of its own; --batch is what one of them gets.

RUN holds state.pt (everything, to go on from), model.safetensors (the averaged
weights, for the product) and log.jsonl (the curve). With --stop-after the call
ends early and the next one with the same --out continues.
"""
import argparse
import contextlib
import functools
import json
import os
import pathlib
import queue
import threading
import time

import torch
import torch.nn.functional as F
from torch import nn

import bank as bank_file
import corpus as corpus_file
import model as network
import native
import team as teams
import weights
from augmentation import Augmentation, piano_rolls
from frontend import LogMel
from mixing import PREROLL, Mixer
from optimiser import Optimiser
from recipe import SOURCES, make_recipe, program_labels

WARMUP_STEPS = 200
# The rate stays up for this share of the run, then falls in a straight line;
# where training starts from a model, it falls from the beginning (--constant
# sets another share).
CONSTANT_SHARE = 0.45
FINAL_RATE = 0.02
AVERAGE_DECAY = 0.9995
# The head's share of the loss, before and after the middle of the run. A model
# that training starts from comes without a head: a new one would mislead it.
AUXILIARY_WEIGHTS = (0.15, 0.05)
# Three windows in four have fewer tokens than this; padding them all to the
# longest would double the decoder's work.
SHORT_SHARE = 0.75
LOG_STEPS = 100
SAVE_SECONDS = 60
# So often the processes agree on what time it is.
AGREE_STEPS = 10
DATA_STATEMENT = f'Trained from scratch on {SOURCES}'


class Objective(nn.Module):
    """The loss of a batch whose windows come shortest first: what is compiled.

    short and long are the targets of the two parts, padded with 0.
    """

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, mels, short, short_heard, long, long_heard, rolls):
        encoded = self.model.encode(mels)
        split = len(short)
        loss = tokens = right = 0
        for targets, heard, part in ((short, short_heard, encoded[:split]),
                                     (long, long_heard, encoded[split:])):
            logits = self.model.logits(part, targets, heard).float()
            counted = targets > 0
            loss = loss + F.cross_entropy(
                logits.flatten(0, 1), targets.flatten(), ignore_index=0,
                reduction='sum')
            tokens = tokens + counted.sum()
            right = right + ((logits.argmax(-1) == targets) & counted).sum()
        auxiliary = F.binary_cross_entropy_with_logits(
            self.model.auxiliary(encoded).float(), rolls,
            reduction='sum') / rolls[:, :, 0].numel()
        return loss / tokens, auxiliary, right / tokens


class Feed:
    """Draws batches on threads of its own, from every stride-th seed."""

    def __init__(self, source, options, window_samples, first_seed, stride=1):
        self._draw = lambda seed: source.draw(
            seed, options.batch, window_samples, options.long_tokens)
        self._pin = torch.cuda.is_available() and options.device == 'cuda'
        # New threads begin on the first GPU, whichever their process has.
        self._gpu = torch.cuda.current_device() if self._pin else None
        self._queue = queue.Queue(24)
        self._lock = threading.Lock()
        self._stopped = False
        self._stride = stride
        self._seed = (options.seed << 32) + first_seed
        for _ in range(options.threads):
            threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        if self._pin:
            torch.cuda.set_device(self._gpu)
        while not self._stopped:
            with self._lock:
                seed = self._seed
                self._seed += self._stride
            batch = {name: torch.from_numpy(array)
                     for name, array in self._draw(seed).items()}
            if self._pin:
                batch = {name: t.pin_memory() for name, t in batch.items()}
            while not self._stopped:
                with contextlib.suppress(queue.Full):
                    self._queue.put(batch, timeout=0.5)
                    break

    def next(self, device):
        return {name: tensor.to(device, non_blocking=True)
                for name, tensor in self._queue.get().items()}

    def stop(self):
        self._stopped = True


def hear_mistakes(tokens, probability):
    """Some of the tokens that the decoder hears are another window's, so that
    it learns to go on after a mistake of its own instead of repeating it."""
    other = tokens[torch.randperm(len(tokens), device=tokens.device)]
    wrong = torch.rand(tokens.shape, device=tokens.device) < probability
    return torch.where(wrong & (tokens > 0) & (other > 0), other, tokens)


def hear_repeats(tokens, heard, probability, limits):
    """Into some of the windows the last few tokens are put again, up to three
    times: what a decoder that runs in circles hears. Nothing is to be learnt
    there, but how to go on behind. limits: [batch], the longest a window may
    become. Returns targets (0 where there are none) and what is heard."""
    batch, width = tokens.shape
    device = tokens.device
    length = (tokens > 0).sum(1)
    period = torch.randint(1, 7, (batch,), device=device)
    added = period * torch.randint(1, 4, (batch,), device=device)
    place = period + (torch.rand(batch, device=device) *
                      (length - period).clamp(min=1)).long()
    chosen = ((torch.rand(batch, device=device) < probability) &
              (place < length) & (length + added <= limits))
    place, period = place[:, None], period[:, None]
    added = torch.where(chosen, added, 0)[:, None]
    column = torch.arange(width, device=device)
    again = (column >= place) & (column < place + added)
    source = torch.where(
        again, place - period + (column - place) % period,
        torch.where(column >= place, column - added, column)).clamp(min=0)
    targets = tokens.gather(1, source).masked_fill(again, 0)
    return targets, heard.gather(1, source)


def wait_for(paths, seconds):
    """Those of the files that are there after so long at most."""
    until = time.time() + seconds
    missing = list(paths)
    while missing and time.time() < until:
        missing = [path for path in missing if not path.exists()]
        time.sleep(0.1)
    return [path for path in paths if path.exists()]


class Trainer:
    def __init__(self, options, team=None):
        self.options = options
        self.team = team or teams.Team(device=options.device)
        self.device = options.device
        self.out = pathlib.Path(options.out)
        self.out.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(options.seed)
        torch.backends.cuda.matmul.allow_tf32 = True
        if options.init:
            self.model, _ = weights.load(options.init, self.device)
        else:
            config = network.make_config(**dict(options.config))
            self.model = network.Mt3(config).to(self.device)
        self.config = self.model.config
        self.config.set_programs(program_labels(options.labels))
        self.parameters = list(self.model.parameters())
        self.team.follow_first(self.parameters)
        self.average = {name: value.detach().clone() for name, value
                        in self.model.state_dict().items()}
        self.optimiser = Optimiser(self.model)
        self.step, self.elapsed, self.history = 0, 0.0, []
        self.minutes = options.minutes
        self.constant_share = options.constant if options.constant is not None \
            else 0 if options.init else CONSTANT_SHARE
        self.auxiliary_weights = (0, 0) if options.init else AUXILIARY_WEIGHTS
        self.state_path = self.out / 'state.pt'
        if self.state_path.exists():
            self._resume()
        # Rooms and noise of its own for each process and each call.
        torch.manual_seed(
            (options.seed << 32) + (self.step << 8) + self.team.rank)
        self.window_samples = (
            self.config.window_frames * self.config.hop_length)
        self.augment = Augmentation(
            self.config, LogMel(self.config).to(self.device), self.device)
        self.objective = Objective(self.model)
        if options.compile:
            self.objective = torch.compile(self.objective, dynamic=False)
            self._compile()
        self._prepare_data()

    def _prepare_data(self):
        options, config = self.options, self.config
        tables = [pathlib.Path(folder) / 'bank.instruments'
                  for folder in options.bank]
        present = wait_for([pathlib.Path(options.corpus), *tables],
                           60 * options.wait)
        corpus = corpus_file.load(options.corpus)
        bank = bank_file.load([folder for folder, table in
                               zip(options.bank, tables) if table in present]
                              if options.wait else options.bank)
        recipe = make_recipe(config.velocity_bins, options.labels,
                             dict(options.recipe))
        self.mixer = Mixer(bank, self.device)
        first_seed = self.step * self.team.size + self.team.rank
        self.feed = Feed(native.SceneSource(corpus, bank, recipe), options,
                         self.window_samples, first_seed, self.team.size)

    def _resume(self):
        state = torch.load(self.state_path, map_location=self.device)
        self.model.load_state_dict(state['model'])
        self.average = state['average']
        self.optimiser.load_state_dict(state['optimiser'])
        self.step, self.elapsed = state['step'], state['elapsed']
        self.history = state['history']
        if self.team.leads:
            print(f'going on from step {self.step}', flush=True)

    def save(self):
        temporary = self.state_path.with_suffix('.tmp')
        torch.save({'model': self.model.state_dict(), 'average': self.average,
                    'optimiser': self.optimiser.state_dict(),
                    'step': self.step, 'elapsed': self.elapsed,
                    'history': self.history}, temporary)
        os.replace(temporary, self.state_path)
        temporary = self.out / 'model.tmp'
        weights.export(
            temporary, self.average, self.config,
            {'name': self.options.name, 'license': self.options.license,
             'data': DATA_STATEMENT, 'steps': str(self.step)})
        os.replace(temporary, self.out / 'model.safetensors')

    def progress(self):
        if self.options.steps:
            return self.step / self.options.steps
        return self.elapsed / (60 * self.minutes)

    def rate(self):
        falling = (1 - self.progress()) / (1 - self.constant_share)
        warmup = min(WARMUP_STEPS, (self.options.steps or float('inf')) / 10)
        return (self.options.rate * min(1, (self.step + 1) / warmup) *
                (FINAL_RATE + (1 - FINAL_RATE) * min(1, max(0, falling))))

    def _mels(self, batch):
        audio = self.mixer(batch['first'], batch['voices'],
                           batch['n_voices'], self.window_samples)
        return self.augment(audio, batch['cut'], batch['n_voices'],
                            batch['setting'])

    @torch.no_grad()
    def _hear(self, batch, mels):
        """Network inputs and targets of a batch."""
        rolls = piano_rolls(batch['roll'], batch['n_roll'],
                            self.config.window_frames)
        tokens = batch['tokens'].long()
        heard = hear_mistakes(tokens, self.options.mistakes)
        split = int(len(tokens) * SHORT_SHARE)
        limits = torch.full((len(tokens),), self.options.long_tokens,
                            device=tokens.device)
        limits[:split] = self.options.short_tokens
        tokens, heard = hear_repeats(
            tokens, heard, self.options.repeats, limits)
        short = slice(None, split), slice(None, self.options.short_tokens)
        return (mels, tokens[short].contiguous(), heard[short].contiguous(),
                tokens[split:].contiguous(), heard[split:].contiguous(), rolls)

    @torch.no_grad()
    def _average_weights(self):
        decay = min(AVERAGE_DECAY, (1 + self.step) / (10 + self.step))
        state = self.model.state_dict()
        names = list(self.average)
        torch._foreach_mul_([self.average[n] for n in names], decay)
        torch._foreach_add_([self.average[n] for n in names],
                            [state[n] for n in names], alpha=1 - decay)

    def _gradients(self, batch, mels):
        """Adds them to the parameters'. Returns loss, auxiliary, accuracy."""
        inputs = self._hear(batch, mels)
        precision = torch.autocast('cuda', torch.bfloat16) \
            if self.device == 'cuda' else contextlib.nullcontext()
        with precision:
            loss, auxiliary, accuracy = self.objective(*inputs)
        share = self.auxiliary_weights[self.progress() > 0.5]
        (loss + share * auxiliary).backward()
        return loss, auxiliary, accuracy

    def _compile(self):
        """By way of a batch of silence: what there is to hear may still be on
        its way (--wait)."""
        n, options = self.options.batch, self.options
        zeros = functools.partial(torch.zeros, device=self.device)
        batch = {
            'tokens': zeros(n, options.long_tokens, dtype=torch.int16) + 1,
            'roll': zeros(n, native.MAX_VOICES, 4, dtype=torch.int16),
            'n_roll': zeros(n, dtype=torch.int32)}
        with torch.no_grad():
            mels = self.augment(
                zeros(n, PREROLL + self.window_samples),
                torch.full_like(batch['n_roll'], self.window_samples),
                batch['n_roll'], batch['n_roll'])
        self._gradients(batch, mels)
        self.model.zero_grad(set_to_none=True)

    def _train_step(self):
        batch = self.feed.next(self.device)
        with torch.no_grad():
            mels = self._mels(batch)
        loss, auxiliary, accuracy = self._gradients(batch, mels)
        self.team.average_gradients(self.parameters)
        self.optimiser.step(self.rate())
        self.step += 1
        self._average_weights()
        return torch.stack([loss.detach(), auxiliary.detach(), accuracy])

    def _log(self, losses, started):
        apart = self.team.follow_first(self.parameters)
        if not self.team.leads:
            return
        loss, auxiliary, accuracy = torch.stack(losses).mean(0).tolist()
        row = {'step': self.step, 'seconds': round(self.elapsed, 1),
               'loss': round(loss, 4), 'auxiliary': round(auxiliary, 4),
               'accuracy': round(accuracy, 4), 'rate': f'{self.rate():.2e}',
               'windows_per_second': round(
                   len(losses) * self.options.batch * self.team.size /
                   (time.time() - started))}
        if apart:
            row['apart'] = apart
        self.history.append(row)
        with open(self.out / 'log.jsonl', 'a') as file:
            file.write(json.dumps(row) + '\n')
        print(row, flush=True)

    def run(self):
        """Until the budget is spent, or this call's share of it."""
        options = self.options
        stop_at = time.time() + 60 * (options.stop_after or float('inf'))
        saved = logged = last = time.time()
        losses, began_at, elapsed, stopped = [], self.step, self.elapsed, False
        while self.progress() < 1 and not stopped:
            losses.append(self._train_step())
            now = time.time()
            # The first steps compile: that is not training time.
            elapsed += now - last if self.step > began_at + 3 else 0
            last = now
            if self.step % AGREE_STEPS == 0:
                minutes = (elapsed + options.until - now) / 60 \
                    if options.until else options.minutes
                self.elapsed, self.minutes, stopped = \
                    self.team.numbers_of_first(
                        elapsed, max(minutes, 1e-6), now > stop_at)
            if len(losses) == options.log_steps:
                self._log(losses, logged)
                losses, logged = [], time.time()
            if self.team.leads and now - saved > SAVE_SECONDS:
                self.save()
                saved = last = time.time()
        self.feed.stop()
        if self.team.leads:
            self.save()
            print('done' if self.progress() >= 1 else 'stopped', flush=True)


def train(options, team):
    Trainer(options, team).run()


def pair(text):
    name, value = text.split('=')
    return name, json.loads(value)


def parse_options(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('--corpus', required=True)
    parser.add_argument('--bank', required=True, nargs='+',
                        help='folders that mt3-render-bank wrote')
    parser.add_argument('--out', required=True)
    parser.add_argument('--minutes', type=float, default=25,
                        help='of the whole run, over all calls')
    parser.add_argument('--steps', type=int, help='instead of --minutes')
    parser.add_argument('--within', type=float, metavar='MINUTES', help=(
        'instead of --minutes: end so long after this call began, however '
        'long waiting and compiling take'))
    parser.add_argument('--wait', type=float, default=0, metavar='MINUTES',
                        help='for a corpus and banks that are on their way')
    parser.add_argument('--stop-after', type=float, metavar='MINUTES')
    parser.add_argument('--init', help='a .safetensors model to start from')
    parser.add_argument('--processes', type=int, help='default: one a GPU')
    parser.add_argument('--batch', type=int, default=512,
                        help='windows of each process')
    parser.add_argument('--short-tokens', type=int, default=192)
    parser.add_argument('--long-tokens', type=int, default=512)
    parser.add_argument('--rate', type=float, default=2e-3)
    parser.add_argument('--constant', type=float, metavar='SHARE', help=(
        'of the run that the rate stays up'))
    parser.add_argument('--mistakes', type=float, default=0.02)
    parser.add_argument('--repeats', type=float, default=0.15)
    parser.add_argument('--labels', default='groups',
                        choices=['groups', 'classes', 'all'])
    parser.add_argument('--recipe', type=pair, action='append', default=[],
                        metavar='NAME=VALUE')
    parser.add_argument('--config', type=pair, action='append', default=[],
                        metavar='NAME=VALUE', help='dimensions, see model.py')
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--threads', type=int, help='of each process',
                        default=min(8, max(1, (os.cpu_count() or 2) - 3)))
    parser.add_argument('--device', default=(
        'cuda' if torch.cuda.is_available() else 'cpu'))
    parser.add_argument('--compile', type=int,
                        default=int(torch.cuda.is_available()))
    parser.add_argument('--log-steps', type=int, default=LOG_STEPS)
    parser.add_argument('--name', default='mt3-small')
    parser.add_argument('--license', default='CC-BY-4.0')
    options = parser.parse_args(arguments)
    options.until = options.within and time.time() + 60 * options.within
    if options.processes is None:
        options.processes = \
            torch.cuda.device_count() if options.device == 'cuda' else 1
    return options


if __name__ == '__main__':
    teams.run(train, parse_options())
