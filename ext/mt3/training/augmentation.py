# SPDX-License-Identifier: LGPL-2.1-or-later
"""What happens to music between the instruments and the file: rooms, tone
controls, compression, overload, level, hiss and hum, 16 bits, an early end.

Everything is drawn anew for every window, on the device, in one batch.
"""
import math

import torch
import torch.nn.functional as F

from mixing import PREROLL
from native import ANY

RATE = 16000
ROOM_SAMPLES = 16384
ENVELOPE_SAMPLES = 320
LSB = 1 / 32768
# How often, by setting: any, rendered, recorded. What a program rendered is
# clean, and its notes end with the pedal; recordings' end with the key. The
# model can only tell which is meant by how it sounds.
ROOM = (0.65, 0.8, 0.95)
TONE = (0.8, 0.2, 0.9)
NOISE = (0.75, 0.1, 0.9)
# FluidSynth's reverb is 25 dB under the sound and lasts for a second.
ROOM_SECONDS = ((0.1, 1.5), (0.5, 1.4), (0.15, 1.8))
WET = ((0.05, 0.9), (0.03, 0.1), (0.08, 1.0))
# Decibels at most, at 8 kHz: recorded pianos and strings are darker than sound
# fonts by 10 to 40.
TILT = (12.0, 6.0, 40.0)
# The loudest sample of a window. FluidSynth's default gain leaves 25 dB;
# recordings are levelled. Some of each kind are not.
LEVEL = ((0.02, 1.0), (0.006, 0.2), (0.025, 1.0))
UNUSUAL_LEVEL = 0.2


class Augmentation:
    def __init__(self, config, log_mel, device):
        self.window_samples = config.window_frames * config.hop_length
        self.hop, self.frames = config.hop_length, config.window_frames
        self.log_mel, self.device = log_mel, device
        # Once: what is copied to a GPU in every step waits for it.
        (self.room, self.tone, self.noise, self.room_seconds, self.wet,
         self.tilt, self.level) = (
            torch.tensor(table, device=device) for table in
            (ROOM, TONE, NOISE, ROOM_SECONDS, WET, TILT, LEVEL))

    def __call__(self, mixed, cut, n_voices, setting):
        """Log-mel windows of mixed audio [batch, PREROLL + window]. cut: where
        the audio ends; n_voices: 0 for windows of silence; setting: see
        scene.h."""
        setting = setting.long()[:, None]
        audio = self._room_and_tone(mixed, setting)[:, PREROLL:]
        audio = self._compress(audio)
        audio = self._overload(audio)
        audio = self._level(audio, setting)
        audio = audio + self._noise(audio, n_voices) * self.often(
            setting, self.noise)
        audio = self._to_16_bits(audio)
        return self._end_early(audio, cut)

    def gently(self, audio, cut):
        """The same for recordings, which have been in a room already."""
        audio = self._level(audio, torch.full(
            (len(audio), 1), ANY, device=self.device))
        present = (audio.abs().amax(1) > 0).int()
        audio = audio + self._noise(audio, present) * self.chance(
            len(audio), NOISE[ANY])
        return self._end_early(self._to_16_bits(audio), cut)

    def uniform(self, batch, low, high):
        return torch.rand(batch, 1, device=self.device) * (high - low) + low

    def log_uniform(self, batch, low, high):
        return self.uniform(batch, math.log(low), math.log(high)).exp()

    def chance(self, batch, probability):
        return self.uniform(batch, 0, 1) < probability

    def often(self, setting, table):
        """Where something happens, by setting."""
        return self.chance(len(setting), table[setting])

    def log_uniform_by(self, setting, table):
        """Between the limits that the table has for each setting."""
        low, high = table[setting[:, 0]].log().unbind(1)
        share = self.uniform(len(setting), 0, 1)
        return (low[:, None] + share * (high - low)[:, None]).exp()

    def _rooms(self, setting):
        """Impulse responses: the sound itself, a few early reflections and
        noise that dies away by 60 dB in the room's time."""
        batch = len(setting)
        time = torch.arange(ROOM_SAMPLES, device=self.device) / RATE
        seconds = self.log_uniform_by(setting, self.room_seconds)
        late = torch.randn(batch, ROOM_SAMPLES, device=self.device)
        late = late * torch.exp(-6.9 * time / seconds)
        late = late * (time > self.uniform(batch, 0.001, 0.025))
        late = late / (late.norm(dim=1, keepdim=True) + 1e-6)
        early = torch.zeros_like(late)
        places = (torch.rand(batch, 6, device=self.device) ** 2 *
                  0.04 * RATE).long() + 16
        gains = torch.randn(batch, 6, device=self.device) * 0.25
        early.scatter_add_(1, places, gains)
        wet = self.log_uniform_by(setting, self.wet) * self.often(
            setting, self.room)
        room = wet * (late + early)
        room[:, 0] += 1
        return room

    def _tone(self, setting, bins):
        """A smooth random frequency response, sometimes without treble."""
        batch = len(setting)
        height = torch.linspace(0, 1, bins, device=self.device).sqrt()[None]
        decibels = torch.zeros(batch, bins, device=self.device)
        for i in range(1, 6):
            swing = torch.randn(batch, 1, device=self.device) * 5 / i ** 0.5
            decibels += swing * torch.cos(
                math.pi * i * height + self.uniform(batch, 0, 2 * math.pi))
        decibels -= height * self.tilt[setting] * self.uniform(batch, -0.25, 1)
        decibels = decibels * self.often(setting, self.tone)
        edge = self.uniform(batch, 0.45, 1)
        steep = (height - edge).clamp(min=0) * 250 * self.chance(batch, 0.2)
        return 10 ** ((decibels - steep.clamp(max=50)) / 20)

    def _room_and_tone(self, audio, setting):
        size = 1 << (audio.shape[1] + ROOM_SAMPLES - 1).bit_length()
        spectrum = torch.fft.rfft(audio, n=size)
        rooms = torch.fft.rfft(self._rooms(setting), n=size)
        tone = self._tone(setting, spectrum.shape[1])
        heard = torch.fft.irfft(spectrum * rooms * tone, n=size)
        return heard[:, :audio.shape[1]]

    def _compress(self, audio):
        batch = len(audio)
        envelope = F.avg_pool1d(
            audio[:, None].abs(), ENVELOPE_SAMPLES + 1, 1,
            ENVELOPE_SAMPLES // 2)[:, 0]
        loudest = envelope.amax(1, keepdim=True) + 1e-5
        threshold = loudest * self.log_uniform(batch, 0.03, 0.5)
        ratio = self.uniform(batch, 1.5, 6)
        gain = (envelope / threshold).clamp(min=1) ** (1 / ratio - 1)
        return torch.where(self.chance(batch, 0.35), audio * gain, audio)

    def _overload(self, audio):
        batch = len(audio)
        peak = audio.abs().amax(1, keepdim=True) + 1e-5
        drive = self.log_uniform(batch, 0.5, 4)
        driven = torch.tanh(audio / peak * drive) / drive * peak
        return torch.where(self.chance(batch, 0.15), driven, audio)

    def _level(self, audio, setting):
        peak = audio.abs().amax(1, keepdim=True)
        level = torch.where(
            self.chance(len(audio), UNUSUAL_LEVEL),
            self.log_uniform(len(audio), 0.02, 1),
            self.log_uniform_by(setting, self.level))
        # What is all but silent in the mix stays so.
        return audio / peak.clamp(min=0.02) * level

    def _noise(self, audio, n_voices):
        batch, n = audio.shape
        white = torch.fft.rfft(torch.randn_like(audio))
        height = torch.arange(white.shape[1], device=self.device) + 100.0
        # From white noise to the rumble of a quiet hall.
        hiss = torch.fft.irfft(white * height ** -self.uniform(batch, 0, 1.5),
                               n=n)
        hiss = hiss / (hiss.std(1, keepdim=True) + 1e-9)
        peak = audio.abs().amax(1, keepdim=True)
        under = 10 ** (-self.uniform(batch, 22, 75) / 20) * 0.2 * peak
        alone = self.log_uniform(batch, 1e-5, 0.1)
        gain = torch.where(n_voices[:, None] > 0, under, alone)
        hum = self._hum(batch, n) * self.chance(batch, 0.08)
        return (hiss + hum) * gain

    def _hum(self, batch, n):
        time = torch.arange(n, device=self.device) / RATE
        mains = torch.where(self.chance(batch, 0.5), 50.0, 60.0)
        return sum(torch.sin(2 * math.pi * i * mains * time) / i
                   for i in (1, 2, 3))

    def _to_16_bits(self, audio):
        audio = audio.clamp(-1, 1)
        dither = torch.rand_like(audio) - torch.rand_like(audio)
        dither = dither * self.chance(len(audio), 0.7)
        rounded = torch.round(audio / LSB + dither) * LSB
        return torch.where(self.chance(len(audio), 0.9), rounded, audio)

    def _end_early(self, audio, cut):
        """Half of the windows that end early are a file's last one, whose rows
        past the end the front end leaves at zero; in the others the recording
        goes on in dithered silence."""
        sample = torch.arange(audio.shape[1], device=self.device)
        ended = sample >= cut[:, None]
        file_ends = self.chance(len(audio), 0.5) & (
            cut[:, None] < self.window_samples)
        dither = torch.randint(-1, 2, audio.shape, device=self.device) * LSB
        dither = dither * self.chance(len(audio), 0.7)
        audio = torch.where(ended, dither.masked_fill(file_ends, 0.0), audio)
        mels = self.log_mel(audio)
        row = torch.arange(self.frames, device=self.device)
        missing = file_ends & (row > cut[:, None] // self.hop)
        return mels.masked_fill(missing[:, :, None], 0.0)


def piano_rolls(roll, n_roll, frames):
    """What the auxiliary head predicts, [batch, frames, 384]: onsets, sounding
    notes, drum hits. roll as in scene.h. Nothing here waits for the device:
    notes that are not there add nothing."""
    batch, n, _ = roll.shape
    there = torch.arange(n, device=roll.device) < n_roll[:, None]
    pitch, on, off, drum = (roll[..., i].long() for i in range(4))
    pitch, drum = pitch.clamp(0, 127), drum.clamp(0, 1)
    # Hundredths of a second to frames of 8 ms.
    first = (on.clamp(min=0) * 5 // 4).clamp(max=frames - 1)
    end = torch.maximum((off * 5 // 4).clamp(0, frames), first + 1)

    onsets = torch.zeros(batch, frames * 384, device=roll.device)
    onsets.scatter_add_(1, first * 384 + pitch + 256 * drum,
                        (there & (on >= 0)).float())
    steps = torch.zeros(batch, (frames + 1) * 128, device=roll.device)
    held = (there & (drum == 0)).float()
    steps.scatter_add_(1, first * 128 + pitch, held)
    steps.scatter_add_(1, end * 128 + pitch, -held)
    rolls = onsets.clamp(max=1).view(batch, frames, 384)
    sounding = steps.view(batch, frames + 1, 128).cumsum(1)[:, :frames] > 0.5
    rolls[:, :, 128:256] = sounding.float()
    return rolls
