# SPDX-License-Identifier: LGPL-2.1-or-later
"""The log-mel front end of magenta/mt3 (spectrograms.py), as the engine has it:
magnitude, not centred, zeros after the window's last sample, HTK mel bins."""
import numpy as np
import torch
import torch.nn.functional as F

LOG_FLOOR = 1e-5


def _mel(hertz):
    return 1127.0 * np.log1p(hertz / 700.0)


def mel_matrix(config):
    """[fft_length / 2 + 1, n_mels] float32."""
    bins = config.fft_length // 2 + 1
    frequencies = _mel(np.linspace(0, config.sample_rate / 2, bins)[1:])
    edges = np.linspace(_mel(config.mel_low_hz), _mel(config.mel_high_hz),
                        config.n_mels + 2)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    rising = (frequencies[:, None] - low) / (centre - low)
    falling = (high - frequencies[:, None]) / (high - centre)
    weights = np.maximum(0, np.minimum(rising, falling))
    # The reference leaves out the constant component.
    return np.pad(weights, [(1, 0), (0, 0)]).astype(np.float32)


class LogMel(torch.nn.Module):
    """[batch, samples] to [batch, samples / hop, mels]."""

    def __init__(self, config):
        super().__init__()
        self.fft_length, self.hop = config.fft_length, config.hop_length
        self.register_buffer(
            'window', torch.hann_window(self.fft_length, periodic=True),
            persistent=False)
        self.register_buffer('mels', torch.from_numpy(mel_matrix(config)),
                             persistent=False)

    def forward(self, audio):
        n_frames = audio.shape[-1] // self.hop
        frames = F.pad(audio, (0, self.fft_length)).unfold(
            -1, self.fft_length, self.hop)[:, :n_frames]
        magnitudes = torch.fft.rfft(frames * self.window).abs()
        mels = magnitudes @ self.mels
        return torch.where(mels > 0, mels, LOG_FLOOR).log()


def windows_of(audio, config, log_mel):
    """A whole signal, [samples], as the network's windows [n, frames, mels].

    An exact number of frames gains one, and rows past the end are zero, not
    the floor: the reference does it so.
    """
    hop, frames = config.hop_length, config.window_frames
    audio = F.pad(audio, (0, hop - len(audio) % hop))
    windows = []
    for start in range(0, len(audio), hop * frames):
        rows = log_mel(audio[None, start:start + hop * frames])[0]
        windows.append(F.pad(rows, (0, 0, 0, frames - len(rows))))
    return torch.stack(windows)
