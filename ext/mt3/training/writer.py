# SPDX-License-Identifier: LGPL-2.1-or-later
"""Greedy texts of thousands of windows, for a GPU: steps of the decoder in
memory that stays, each a CUDA graph, so that the host has next to nothing to
do; where there is no GPU, the same steps without graphs. Not for models whose
texts keep an order of events: the host looks after that, in Mt3.write().
"""
import torch

from model import END, START

# Rows are halved as texts end, down to so many.
FEWEST_ROWS = 128
# A graph's caches are as long as one of these, or as the longest text.
LENGTHS = (64, 128, 192, 256, 384)
# Asking how many go on costs a trip to the device.
ASK_EVERY = 16


class Caches:
    """A model.Past for graphs: the place of the next token is in memory too."""

    def __init__(self, both, place):
        self.both, self.place = both, place

    def add(self, new):
        for kept, x in zip(self.both, new):
            kept.index_copy_(2, self.place, x)
        return self.both


class Writer:
    """Of n windows at a time, and texts of no more than so many tokens."""

    def __init__(self, model, n, longest, fewest_rows=FEWEST_ROWS):
        config, like = model.config, next(model.parameters())
        self.model, self.longest, self.rows = model, longest, [n]
        while self.rows[-1] // 2 >= fewest_rows:
            self.rows.append(self.rows[-1] // 2)
        self.lengths = [m for m in LENGTHS if m < longest] + [longest]

        def room(*shape, **kind):
            return torch.zeros(n, *shape, device=like.device,
                               **{'dtype': like.dtype, **kind})

        def heads(length):
            return [[room(config.n_heads, length, config.head_dim)
                     for _ in 'kv'] for _ in model.decoder.layers]

        self.memory, self.past = heads(config.window_frames), heads(longest)
        # By row: which window it has, its last token, whether it has ended.
        self.window = room(dtype=torch.long)
        self.token = room(1, dtype=torch.long)
        self.ended = room(dtype=torch.bool)
        self.place = torch.zeros(1, dtype=torch.long, device=like.device)
        # By window.
        self.written = room(longest, dtype=torch.long)
        self.states = room(longest, config.d_model)
        self.graphs = {}
        if like.is_cuda:
            self._capture()

    @torch.no_grad()
    def _step(self, n, length):
        """A token of the first n rows, none of which has more than length."""
        seen = torch.arange(length, device=self.place.device) <= self.place
        past = [Caches([x[:n, :, :length] for x in layer], self.place)
                for layer in self.past]
        x = self.model.decoder.states(
            self.token[:n], self.model.positions[self.place],
            [[x[:n] for x in layer] for layer in self.memory], past,
            seen[None, None, None])
        token = self.model.decoder.choose(x).argmax(-1)
        self.token[:n] = token
        self.ended[:n] |= token[:, 0] == END
        self.written[self.window[:n], self.place] = token[:, 0]
        self.states[self.window[:n], self.place] = x[:, 0]
        self.place += 1

    def _capture(self):
        shapes = [(n, length) for n in self.rows for length in self.lengths]
        side, pool = torch.cuda.Stream(), None
        with torch.cuda.stream(side):
            for shape in shapes:
                self.place.zero_()
                self._step(*shape)  # libraries set themselves up
        torch.cuda.synchronize()
        for shape in shapes:
            graph = self.graphs[shape] = torch.cuda.CUDAGraph()
            # Other threads go on copying what is drawn.
            with torch.cuda.graph(graph, pool,
                                  capture_error_mode='thread_local'):
                self._step(*shape)
            pool = graph.pool()

    def _move(self, n):
        """Those that go on to the first n rows, of which some may have ended."""
        length = int(self.place)
        rows = self.ended.sort(stable=True).indices[:n]
        for pair in self.past:
            for x in pair:
                x[:n, :, :length] = x[rows, :, :length]
        for x in (*sum(self.memory, []), self.window, self.token, self.ended):
            x[:n] = x[rows]

    @torch.no_grad()
    def write(self, encoded):
        """Of no more than n windows, [windows, frames, d_model]: their texts,
        [windows, length], as Mt3.write(); and the states that they came of,
        [windows, length, d_model], of no use behind an end, and the caller's
        till the next call."""
        n = len(encoded)
        for layer, pair in zip(self.model.decoder.memory(encoded), self.memory):
            for x, there in zip(layer, pair):
                there[:n] = x
        self.window.copy_(torch.arange(len(self.window)))
        self.token.fill_(START)
        self.ended.fill_(False)
        self.ended[n:] = True
        self.written.fill_(END)
        self.place.zero_()
        rows = min(m for m in self.rows if m >= n)
        for i in range(self.longest):
            shape = rows, next(m for m in self.lengths if i < m)
            if self.graphs:
                self.graphs[shape].replay()
            else:
                self._step(*shape)
            if i % ASK_EVERY < ASK_EVERY - 1:
                continue
            going = rows - int(self.ended[:rows].sum())
            if going == 0:
                break
            fewer = min(m for m in self.rows if m >= going)
            if fewer < rows:
                self._move(fewer)
                rows = fewer
        written = self.written[:n, :i + 1]
        ended = (written == END).cumsum(1) > 0
        return written.masked_fill(ended, END), self.states[:n, :i + 1]
