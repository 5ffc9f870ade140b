#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Gathers sampled notes for the bank: 16 kHz mono FLAC and samples.tsv.

  gather-samples.py --salamander DIR --rumpf DIR --sonic-pi DIR \
    --violin DIR --cello DIR --out SAMPLES

DATA.md says where the sets come from and what their licences are.
"""
import argparse
import pathlib
import re

import numpy as np

import audio

SEMITONES = {'C': 0, 'Cs': 1, 'D': 2, 'Ds': 3, 'E': 4, 'F': 5, 'Fs': 6,
             'G': 7, 'Gs': 8, 'A': 9, 'As': 10, 'B': 11}
LONGEST_SECONDS = 8
# The set has one layer of sixteen, in the middle of its range.
SALAMANDER_VELOCITY = 80
BOWED_VELOCITY = 80
HELD_SECONDS = 4
# drumkit.xml of the rumpf kit lists its instruments from this key upwards;
# those past the General MIDI drums are loops and effects.
RUMPF_FIRST_KEY, RUMPF_KEYS = 36, 18
SONIC_PI = {
    'drum_heavy_kick': (36, 100), 'drum_bass_soft': (36, 60),
    'drum_bass_hard': (36, 100), 'drum_snare_soft': (38, 60),
    'drum_snare_hard': (38, 105), 'drum_cymbal_closed': (42, 80),
    'drum_cymbal_pedal': (44, 70), 'drum_cymbal_open': (46, 85),
    'drum_cymbal_soft': (49, 60), 'drum_cymbal_hard': (49, 105),
    'drum_splash_soft': (55, 60), 'drum_splash_hard': (55, 105),
    'drum_tom_lo_soft': (43, 60), 'drum_tom_lo_hard': (43, 105),
    'drum_tom_mid_soft': (47, 60), 'drum_tom_mid_hard': (47, 105),
    'drum_tom_hi_soft': (50, 60), 'drum_tom_hi_hard': (50, 105),
    'drum_cowbell': (56, 85),
}


def salamander(folder):
    for path in sorted(folder.rglob('*.ogg')):
        match = re.fullmatch(r'([A-G]s?)(\d)', path.stem)
        if match:
            key = SEMITONES[match[1]] + 12 * (int(match[2]) + 1)
            yield 'salamander', 0, key, SALAMANDER_VELOCITY, path


def rumpf(folder):
    xml = next(folder.rglob('drumkit.xml')).read_text(errors='replace')
    files = re.findall(r'<filename>(.*?)</filename>', xml)
    for i, name in enumerate(files[:RUMPF_KEYS]):
        yield 'rumpf', 'drum', RUMPF_FIRST_KEY + i, 90, folder / name


def sonic_pi(folder):
    for name, (key, velocity) in SONIC_PI.items():
        yield 'sonic-pi', 'drum', key, velocity, folder / f'{name}.flac'


def bowed(name, program, folder):
    """Every note twice: as the bow strikes it, and from its middle on, as it
    is heard where the bow goes on to the next note."""
    for path in sorted(folder.iterdir()):
        match = re.fullmatch(r'([A-G]s?)(\d)', path.stem)
        if match and path.suffix in ('.wav', '.mp3', '.ogg'):
            key = SEMITONES[match[1]] + 12 * (int(match[2]) + 1)
            for manner in '', '-legato':
                yield name + manner, program, key, BOWED_VELOCITY, path


def violin(folder):
    yield from bowed('violin', 40, folder)


def cello(folder):
    # Its notes are high ones, which violas' parts have and cellos' have not.
    yield from bowed('cello', 41, folder)


def held(samples, from_middle):
    """A stretch that does not die away, for a loop."""
    begin = 0.3 * len(samples) if from_middle else (
        np.argmax(np.abs(samples) > 0.02 * np.abs(samples).max()))
    end = min(begin + 16000 * HELD_SECONDS, 0.75 * len(samples))
    samples = samples[int(begin):int(end)].copy()
    samples[:160] *= np.linspace(0, 1, 160)
    return samples


def from_attack(samples):
    """Without the silence before the note, faded where it is cut."""
    loud = np.abs(samples) > 0.02 * np.abs(samples).max()
    start = max(0, int(np.argmax(loud)) - 16)
    samples = samples[start:start + 16000 * LONGEST_SECONDS].copy()
    fade = min(len(samples), 800)
    samples[-fade:] *= np.linspace(1, 0, fade)
    return samples


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    readers = {'salamander': salamander, 'rumpf': rumpf, 'sonic_pi': sonic_pi,
               'violin': violin, 'cello': cello}
    for name in readers:
        parser.add_argument('--' + name.replace('_', '-'), type=pathlib.Path)
    parser.add_argument('--out', type=pathlib.Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    lines = []
    for reader, read in readers.items():
        folder = getattr(options, reader)
        notes = read(folder) if folder else ()
        for name, program, key, velocity, path in notes:
            target = f'{name}-{key}-{velocity}.flac'
            samples = audio.read(path)
            audio.write_flac(
                options.out / target,
                held(samples, name.endswith('-legato'))
                if reader in ('violin', 'cello') else from_attack(samples))
            lines.append(f'{name}\t{program}\t{key}\t{velocity}\t{target}\n')
    (options.out / 'samples.tsv').write_text(''.join(lines))
    print(f'{len(lines)} samples in {options.out}')


if __name__ == '__main__':
    main()
