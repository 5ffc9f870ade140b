# SPDX-License-Identifier: LGPL-2.1-or-later
"""The note bank (bank.h) as arrays."""
import dataclasses
import pathlib

import numpy as np

from native import INSTRUMENT, SOUND


@dataclasses.dataclass
class Bank:
    """samples: int16, memory-mapped; the rest as in bank.h."""
    samples: np.ndarray
    sounds: np.ndarray
    instruments: np.ndarray


def load(folders):
    """One bank of several folders, which sound fonts that travel one by one
    are rendered to."""
    samples, sounds, instruments = [], [], []
    n_samples = n_sounds = 0
    for folder in map(pathlib.Path, folders):
        pcm = np.memmap(folder / 'bank.pcm', '<i2', 'r')
        some_sounds = np.fromfile(folder / 'bank.sounds', SOUND)
        some_instruments = np.fromfile(folder / 'bank.instruments', INSTRUMENT)
        some_sounds['first'] += n_samples
        table = some_instruments['sounds']
        table[table >= 0] += n_sounds
        n_samples += len(pcm)
        n_sounds += len(some_sounds)
        samples.append(pcm)
        sounds.append(some_sounds)
        instruments.append(some_instruments)
    return Bank(samples, np.concatenate(sounds), np.concatenate(instruments))
