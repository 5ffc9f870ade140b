#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""MT3 in PyTorch as it is fast there, to be measured beside gst-mt3: merged
weights, fused attention and norms, static caches, and a decode step as a CUDA
graph, for a few lengths of the cache. All windows of a recording are one batch.

Prints the median time from samples to tokens, both on the host, of the whole
recording; the windows with the tokens that are expected; and the time of a step
of one window alone. Needs PyTorch 2.4 or later, and NumPy.
"""
import argparse
import json
import statistics
import struct
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

EOS = 1
CHECK_EVERY = 16  # steps between looks at whether all windows have ended
SHORTEST = 128  # tokens the smallest graph has caches for
WINDOW = 20  # the one that is decoded alone


def read_model(path):
    data = Path(path).read_bytes()
    size, = struct.unpack('<Q', data[:8])
    header = json.loads(data[8:8 + size])
    config = json.loads(header.pop('__metadata__')['mt3.config'])
    types = {'F32': np.float32, 'F16': np.float16}
    tensors = {}
    for name, tensor in header.items():
        begin, end = (8 + size + offset for offset in tensor['data_offsets'])
        array = np.frombuffer(data[begin:end], types[tensor['dtype']])
        tensors[name] = torch.from_numpy(
            array.reshape(tensor['shape']).astype(np.float32))
    return config, tensors


def mel_matrix(config):
    """tf.signal.linear_to_mel_weight_matrix."""
    def mel(hz):
        return 1127.0 * np.log1p(hz / 700.0)

    bins = config['fft_length'] // 2 + 1
    f = mel(np.linspace(0.0, config['sample_rate'] / 2.0, bins)[1:])[:, None]
    edges = np.linspace(mel(config['mel_low_hz']), mel(config['mel_high_hz']),
                        config['n_mels'] + 2)[None]
    low, centre, high = edges[:, :-2], edges[:, 1:-1], edges[:, 2:]
    matrix = np.maximum(0.0, np.minimum((f - low) / (centre - low),
                                        (high - f) / (high - centre)))
    return torch.from_numpy(np.pad(matrix, [[1, 0], [0, 0]]).astype('f4'))


def sinusoids(n, width):
    steps = -np.log(10000.0) / (width // 2 - 1)
    angles = np.arange(n)[:, None] * np.exp(np.arange(width // 2) * steps)
    return torch.from_numpy(
        np.concatenate([np.sin(angles), np.cos(angles)], 1).astype('f4'))


class Network:
    def __init__(self, path, device, dtype):
        self.config, w = read_model(path)
        self.dtype, self.device = dtype, device
        self.heads = self.config['n_heads']
        self.places = sinusoids(2048, self.config['d_model']).to(device, dtype)
        self.mel = mel_matrix(self.config).to(device)
        self.hann = torch.hann_window(self.config['fft_length'], device=device)
        for part in ('encoder', 'decoder'):
            for i in range(self.config[part + '_layers']):
                self._merge(w, f'{part}/layers_{i}/')
        self.w = {name: tensor.to(device, dtype) for name, tensor in w.items()}
        self.layers = self.config['decoder_layers']

    @staticmethod
    def _merge(w, layer):
        for name, merged, parts in (
                ('attention', 'qkv', ('query', 'key', 'value')),
                ('self_attention', 'qkv', ('query', 'key', 'value')),
                ('encoder_decoder_attention', 'kv', ('key', 'value')),
                ('mlp', 'wi', ('wi_0', 'wi_1'))):
            names = [f'{layer}{name}/{part}/kernel' for part in parts]
            if names[0] in w:
                w[f'{layer}{name}/{merged}'] = torch.cat(
                    [w.pop(n) for n in names], 1)

    def norm(self, x, name):
        return F.rms_norm(x, x.shape[-1:], self.w[name + '/scale'], 1e-6)

    def split(self, x, n):
        """[batch, time, n * inner] to n of [batch, heads, time, 64]."""
        return x.view(*x.shape[:2], n, self.heads, -1).permute(2, 0, 3, 1, 4)

    def project(self, heads, name):
        return heads.transpose(1, 2).flatten(2) @ self.w[name + '/out/kernel']

    def mlp(self, x, layer):
        h = self.norm(x, layer + 'pre_mlp_layer_norm')
        gate, up = (h @ self.w[layer + 'mlp/wi']).chunk(2, -1)
        return (F.gelu(gate, approximate='tanh') * up) @ self.w[
            layer + 'mlp/wo/kernel']

    def log_mel(self, samples, n_frames):
        """[windows, samples] to [windows, frames, mels]; no frames, zeros."""
        c = self.config
        frames = F.pad(samples, (0, c['fft_length'])).unfold(
            1, c['fft_length'], c['hop_length'])[:, :c['window_frames']]
        mels = torch.fft.rfft(frames * self.hann).abs() @ self.mel
        x = torch.log(torch.where(mels > 0, mels, 1e-5))
        there = torch.arange(c['window_frames'], device=self.device)
        return x * (there < n_frames[:, None])[:, :, None]

    def encode(self, x):
        x = x.to(self.dtype) @ self.w[
            'encoder/continuous_inputs_projection/kernel']
        x = x + self.places[:x.shape[1]]
        for i in range(self.config['encoder_layers']):
            layer = f'encoder/layers_{i}/'
            h = self.norm(x, layer + 'pre_attention_layer_norm')
            q, k, v = self.split(h @ self.w[layer + 'attention/qkv'], 3)
            a = F.scaled_dot_product_attention(q, k, v, scale=1.0)
            x = x + self.project(a, layer + 'attention')
            x = x + self.mlp(x, layer)
        return self.norm(x, 'encoder/encoder_norm')


class Decoder:
    """Greedy, of a fixed number of windows, in memory that stays."""

    def __init__(self, network, n_windows):
        c, device = network.config, network.device
        most = c['max_tokens']

        def heads(n):
            return torch.zeros(network.layers, 2, n_windows, c['n_heads'], n,
                               c['head_dim'], device=device,
                               dtype=network.dtype)

        self.network, self.most = network, most
        self.own, self.cross = heads(most), heads(c['window_frames'])
        self.token = torch.zeros(n_windows, 1, dtype=torch.long, device=device)
        self.ended = torch.zeros_like(self.token, dtype=torch.bool)
        self.position = torch.zeros(1, dtype=torch.long, device=device)
        self.tokens = torch.zeros(most, n_windows, dtype=torch.long,
                                  device=device)
        self.lengths = [n for n in (SHORTEST << i for i in range(16))
                        if n < most] + [most]
        self.graphs = {}

    def step(self, length):
        """One token of all windows, of which none has more than @length."""
        n, w = self.network, self.network.w
        x = (w['decoder/token_embedder/embedding'][self.token]
             + n.places[self.position])
        seen = (torch.arange(length, device=n.device)
                <= self.position).view(1, 1, 1, -1)
        for i in range(n.layers):
            layer = f'decoder/layers_{i}/'
            h = n.norm(x, layer + 'pre_self_attention_layer_norm')
            q, k, v = n.split(h @ w[layer + 'self_attention/qkv'], 3)
            for cache, new in zip(self.own[i], (k, v)):
                cache.index_copy_(2, self.position, new)
            keys, values = self.own[i, :, :, :, :length]
            a = F.scaled_dot_product_attention(q, keys, values, attn_mask=seen,
                                               scale=1.0)
            x = x + n.project(a, layer + 'self_attention')
            h = n.norm(x, layer + 'pre_cross_attention_layer_norm')
            name = layer + 'encoder_decoder_attention'
            q, = n.split(h @ w[name + '/query/kernel'], 1)
            a = F.scaled_dot_product_attention(q, *self.cross[i], scale=1.0)
            x = x + n.project(a, name)
            x = x + n.mlp(x, layer)
        x = n.norm(x, 'decoder/decoder_norm')
        token = (x @ w['decoder/logits_dense/kernel']).argmax(-1)
        self.token.copy_(token.masked_fill(self.ended, 0))
        self.ended |= token == EOS
        self.tokens.index_copy_(0, self.position, self.token.T)
        self.position += 1

    def capture(self):
        self.clear()
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            for length in self.lengths:
                self.step(length)  # libraries set themselves up
        torch.cuda.current_stream().wait_stream(side)
        for length in self.lengths:
            self.graphs[length] = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graphs[length]):
                self.step(length)

    def clear(self):
        for tensor in (self.token, self.ended, self.position):
            tensor.zero_()

    def run(self, encoded):
        """The tokens of each window, without the last, and the steps."""
        n = self.network
        for i in range(n.layers):
            self.cross[i].copy_(n.split(encoded @ n.w[
                f'decoder/layers_{i}/encoder_decoder_attention/kv'], 2))
        self.clear()
        for step in range(self.most):
            length = next(m for m in self.lengths if step < m)
            if self.graphs:
                self.graphs[length].replay()
            else:
                self.step(length)
            if step % CHECK_EVERY == CHECK_EVERY - 1 and self.ended.all():
                break
        rows = self.tokens[:step + 1].T.tolist()
        return [row[:row.index(EOS)] if EOS in row else row
                for row in rows], step + 1


def read_windows(path, config):
    """Raw audio of 16 bits to windows of samples, and frames in each."""
    samples = np.fromfile(path, '<i2').astype(np.float32) / 32768.0
    hop, frames = config['hop_length'], config['window_frames']
    samples = np.pad(samples, (0, hop - len(samples) % hop))
    n_frames = len(samples) // hop
    samples = np.pad(samples, (0, -n_frames % frames * hop))
    counts = [min(frames, n_frames - i) for i in range(0, n_frames, frames)]
    return (torch.from_numpy(samples.reshape(len(counts), -1)),
            torch.tensor(counts))


def median_time(run, n_runs):
    times = []
    for i in range(n_runs + 1):
        start = time.perf_counter()
        result = run()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:]), result


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('model', help='safetensors, converted by mt3-model')
    parser.add_argument('audio', help='raw, 16 kHz, mono, 16 bits')
    parser.add_argument('tokens', help='JSON of the tokens that are expected')
    parser.add_argument('--dtypes', nargs='+', metavar='DTYPE',
                        default=('bfloat16', 'float32'))
    parser.add_argument('--device', default='cuda', help='cpu: without graphs')
    parser.add_argument('--windows', type=int, help='only the first so many')
    parser.add_argument('--runs', type=int, default=5)
    parser.add_argument('--json', metavar='FILE', help='write figures to FILE')
    return parser.parse_args()


def measure(args, dtype):
    network = Network(args.model, args.device, getattr(torch, dtype))
    samples, frames = read_windows(args.audio, network.config)
    samples, frames = samples[:args.windows], frames[:args.windows]
    expected = json.loads(Path(args.tokens).read_text())['segments']

    def decoder(n):
        made = Decoder(network, n)
        if args.device != 'cpu':
            made.capture()
        return made

    def transcribe(decoder, samples, frames):
        mels = network.log_mel(samples.to(args.device), frames.to(args.device))
        return decoder.run(network.encode(mels))

    whole, alone = decoder(len(samples)), decoder(1)
    seconds, (tokens, steps) = median_time(
        lambda: transcribe(whole, samples, frames), args.runs)
    one = slice(WINDOW, WINDOW + 1) if len(samples) > WINDOW else slice(1)
    window, (_, window_steps) = median_time(
        lambda: transcribe(alone, samples[one], frames[one]), args.runs)
    return {'torch': torch.__version__, 'windows': len(samples),
            'identical-windows': sum(a == b[1]
                                     for a, b in zip(tokens, expected)),
            'seconds': seconds, 'steps': steps,
            'window': window, 'window-steps': window_steps}


@torch.no_grad()
def main():
    args = parse_arguments()
    figures = {dtype: measure(args, dtype) for dtype in args.dtypes}
    for dtype, run in figures.items():
        print(f'PyTorch {run["torch"]}, {dtype}: {run["seconds"]:.3f} s, '
              f'{run["steps"]} steps, {run["identical-windows"]} of '
              f'{run["windows"]} windows identical; a window alone '
              f'{run["window"]:.4f} s, '
              f'{1e6 * run["window"] / run["window-steps"]:.0f} us a step')
    if args.json:
        Path(args.json).write_text(json.dumps(figures))


if __name__ == '__main__':
    main()
