# SPDX-License-Identifier: LGPL-2.1-or-later
"""Mixes windows from the note bank: every voice is gathered at its speed, put
under its envelope and added. One Triton program for each 1,024 samples on the
GPU; plain PyTorch elsewhere (tests).

The fields of a voice are described in scene.h.
"""
import numpy as np
import torch

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

from native import MAX_VOICES, VOICE_FIELDS

BLOCK = 1024
# Heard before the window begins, so that rooms and releases are under way.
PREROLL = 8 * BLOCK
# A sound that was cut off in the bank fades instead of clicking.
FADE = 1600.0
# Releases are followed for so many of their time constants.
RELEASES = 7.0

if triton:
    @triton.jit
    def _mix_kernel(bank, first, voices, n_voices, out,
                    max_voices: tl.constexpr, fields: tl.constexpr,
                    length: tl.constexpr, preroll: tl.constexpr,
                    fade: tl.constexpr, releases: tl.constexpr,
                    block: tl.constexpr):
        window, chunk = tl.program_id(0), tl.program_id(1)
        sample = chunk * block + tl.arange(0, block)
        time = (sample - preroll).to(tl.float32)
        chunk_start = (chunk * block - preroll).to(tl.float32)
        total = tl.zeros((block,), tl.float32)
        for i in range(tl.load(n_voices + window)):
            index = window * max_voices + i
            v = voices + index * fields
            start, held = tl.load(v + 1), tl.load(v + 2)
            release = tl.load(v + 5)
            if (chunk_start + block > start) & \
                    (chunk_start < start + held + releases * release):
                last, gain = tl.load(v) - 2.0, tl.load(v + 3)
                speed, attack = tl.load(v + 4), tl.load(v + 6)
                depth, rate = tl.load(v + 7), tl.load(v + 8)
                phase, loop = tl.load(v + 9), tl.load(v + 10)
                x = time - start
                at = x * speed + depth * (
                    tl.sin(x * rate + phase) - tl.sin(phase))
                # Past its end a held note goes forth and back in its loop.
                period = 2.0 * (last - loop)
                y = (at - loop) - tl.floor((at - loop) / period) * period
                y = loop + tl.where(y > 0.5 * period, period - y, y)
                at = tl.where(loop >= 0, tl.where(at >= last, y, at), at)
                heard = (x >= 0) & (at >= 0) & (at <= last)
                whole = tl.floor(at)
                address = bank + tl.load(first + index) + whole.to(tl.int32)
                a = tl.load(address, mask=heard, other=0).to(tl.float32)
                b = tl.load(address + 1, mask=heard, other=0).to(tl.float32)
                envelope = tl.where(x > held, tl.exp(-(x - held) / release),
                                    1.0)
                envelope *= tl.minimum(1.0, (x + 1.0) / (attack + 1.0))
                envelope *= tl.where(loop < 0, tl.minimum(
                    1.0, (last - at) / fade), 1.0)
                total += tl.where(
                    heard, (a + (b - a) * (at - whole)) * envelope * gain, 0.0)
        tl.store(out + window * length + sample, total)


def _mix_window(bank, first, voices, length):
    """The kernel's arithmetic for one window; voices [n, fields]."""
    last, start, held, gain, speed, release, attack, depth, rate, phase, loop \
        = (voices[:, i:i + 1] for i in range(VOICE_FIELDS - 1))
    last = last - 2
    x = torch.arange(length, device=bank.device) - PREROLL - start
    at = x * speed + depth * (torch.sin(x * rate + phase) - torch.sin(phase))
    period = 2 * (last - loop)
    y = torch.remainder(at - loop, period)
    y = loop + torch.where(y > period / 2, period - y, y)
    at = torch.where((loop >= 0) & (at >= last), y, at)
    heard = (x >= 0) & (at >= 0) & (at <= last)
    at = torch.where(heard, at, torch.zeros_like(at))
    whole = at.floor()
    address = first[:, None] + whole.long()
    a, b = bank[address].float(), bank[address + 1].float()
    envelope = torch.exp(-(x - held).clamp(min=0) / release)
    envelope = envelope * ((x + 1) / (attack + 1)).clamp(max=1)
    envelope = torch.where(
        loop < 0, envelope * ((last - at) / FADE).clamp(max=1), envelope)
    mixed = (a + (b - a) * (at - whole)) * envelope * gain
    return torch.where(heard, mixed, torch.zeros_like(mixed)).sum(0)


class Mixer:
    """Holds the bank's samples on a device."""

    def __init__(self, bank, device):
        self.samples = torch.empty(
            sum(len(pcm) for pcm in bank.samples) + 1, dtype=torch.int16,
            device=device)
        position = 0
        for pcm in bank.samples:
            for start in range(0, len(pcm), 1 << 27):
                chunk = torch.from_numpy(np.array(pcm[start:start + (1 << 27)]))
                self.samples[position:position + len(chunk)] = chunk.to(device)
                position += len(chunk)

    def __call__(self, first, voices, n_voices, window_samples):
        """[batch, PREROLL + window_samples] float32."""
        length = PREROLL + window_samples
        if not self.samples.is_cuda:
            return torch.stack([
                _mix_window(self.samples, first[i, :n], voices[i, :n], length)
                for i, n in enumerate(n_voices.tolist())])
        out = torch.empty(len(first), length, device=self.samples.device)
        _mix_kernel[(len(first), length // BLOCK)](
            self.samples, first, voices, n_voices, out, MAX_VOICES,
            VOICE_FIELDS, length, PREROLL, FADE, RELEASES, BLOCK)
        return out
