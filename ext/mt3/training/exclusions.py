# SPDX-License-Identifier: LGPL-2.1-or-later
"""Keeps the evaluation music out of the training data, by name and by ear.

By name: exclusions.txt. By ear: pieces that share melodic material with
held-out notes, wherever they come from and whatever key they are in.
"""
import collections
import json
import pathlib
import re

import numpy as np

LIST = pathlib.Path(__file__).with_name('exclusions.txt')
# Intervals and rough rhythm of so many successive notes make a fingerprint.
NOTES_A_PRINT = 14
# Scales and repeated notes are everybody's.
MIN_INTERVALS = 5
MIN_SHARED = 6


def patterns():
    lines = LIST.read_text(encoding='utf-8').splitlines()
    return [re.compile(line, re.I) for line in lines
            if line and not line.startswith('#')]


PATTERNS = patterns()


def is_excluded(name):
    words = re.sub(r'[\s_.,-]+', ' ', str(name))
    return any(pattern.search(words) for pattern in PATTERNS)


def prints(notes):
    """Fingerprints of notes (rows of onset, pitch): the intervals of the
    highest note of every onset, in any key and at any tempo."""
    highest = collections.OrderedDict()
    for onset, pitch in sorted((round(float(o), 2), int(p)) for o, p in notes):
        highest[onset] = max(pitch, highest.get(onset, 0))
    steps = np.diff(list(highest.values()))
    found = set()
    for i in range(len(steps) - NOTES_A_PRINT + 2):
        gram = tuple(int(s) for s in steps[i:i + NOTES_A_PRINT - 1])
        if len(set(gram)) >= MIN_INTERVALS:
            found.add(gram)
    return found


def held_out_prints(folder):
    """Those of every ref.json below a folder."""
    found = set()
    for path in pathlib.Path(folder).rglob('ref.json'):
        notes = json.loads(path.read_text())
        by_program = collections.defaultdict(list)
        for onset, _, pitch, _, program, is_drum in notes:
            if not is_drum:
                by_program[program].append((onset, pitch))
        for group in by_program.values():
            found |= prints(group)
    return found


def sounds_held_out(piece, held_out):
    """TRUE for a piece (corpus.Piece) that shares melodies with the prints."""
    shared = set()
    for part in piece.parts:
        if not part.is_drum:
            shared |= prints(part.notes[:, [0, 3]]) & held_out
    return len(shared) >= MIN_SHARED
