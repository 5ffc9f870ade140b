# SPDX-License-Identifier: LGPL-2.1-or-later
"""The corpus file: many pieces of music in one small file.

corpus.npz holds integer columns that compress well (milliseconds, differences
of onsets), the pieces' names and sources, and the ledger rows. In memory the
arrays are those of corpus.h.
"""
import dataclasses

import numpy as np

from native import KINDS, NOTE, PART, PIECE

LONGEST_GAP_MS = 4000
MAX_MS = 65535


@dataclasses.dataclass
class Part:
    """notes: rows of onset, offset, key_up (seconds), pitch, velocity."""
    program: int
    is_drum: bool
    notes: np.ndarray


@dataclasses.dataclass
class Piece:
    name: str
    source: str
    kind: str
    parts: list


@dataclasses.dataclass
class Corpus:
    notes: np.ndarray
    parts: np.ndarray
    pieces: np.ndarray
    names: list
    sources: list


def shorten_gaps(parts):
    """Takes out silences longer than LONGEST_GAP_MS, in all parts alike."""
    notes = np.concatenate([part.notes[:, :2] for part in parts])
    notes = notes[np.argsort(notes[:, 0])]
    sounding_until = np.maximum.accumulate(notes[:, 1])
    gaps = notes[:, 0] - np.concatenate([[0], sounding_until[:-1]])
    excess = np.maximum(gaps - LONGEST_GAP_MS / 1000, 0)
    removed = np.cumsum(excess)
    for part in parts:
        at = np.searchsorted(notes[:, 0], part.notes[:, 0], 'right') - 1
        part.notes[:, :3] -= removed[at][:, None]


def save(path, pieces):
    """Writes the pieces (of class Piece)."""
    columns = {name: [] for name in
               ('delta', 'length', 'pedal', 'pitch', 'velocity')}
    parts, table = [], []
    for piece in pieces:
        shorten_gaps(piece.parts)
        table.append((len(parts), len(piece.parts), KINDS.index(piece.kind)))
        for part in piece.parts:
            notes = part.notes[np.argsort(part.notes[:, 0], kind='stable')]
            onset = np.round(notes[:, 0] * 1000).astype(np.int64)
            key_up = np.round((notes[:, 2] - notes[:, 0]) * 1000)
            held = np.round((notes[:, 1] - notes[:, 2]) * 1000)
            columns['delta'].append(np.diff(onset, prepend=0))
            columns['length'].append(np.clip(key_up, 10, MAX_MS))
            columns['pedal'].append(np.clip(held, 0, MAX_MS))
            columns['pitch'].append(notes[:, 3])
            columns['velocity'].append(notes[:, 4])
            parts.append((len(notes), part.program, part.is_drum))
    types = {'pitch': np.uint8, 'velocity': np.uint8, 'delta': np.uint32}
    np.savez_compressed(
        path, parts=np.array(parts, np.uint32),
        pieces=np.array(table, np.uint32),
        names=np.array([p.name for p in pieces]),
        sources=np.array([p.source for p in pieces]),
        **{name: np.concatenate(column).astype(types.get(name, np.uint16))
           for name, column in columns.items()})


def load(path):
    file = np.load(path)
    columns = {name: file[name].astype(np.int64) for name in
               ('delta', 'length', 'pedal')}
    notes = np.zeros(len(columns['delta']), NOTE)
    parts = np.zeros(len(file['parts']), PART)
    pieces = np.zeros(len(file['pieces']), PIECE)

    lengths = file['parts'][:, 0].astype(np.int64)
    first = np.concatenate([[0], np.cumsum(lengths)])
    total = np.cumsum(columns['delta'])
    before = np.repeat(np.concatenate([[0], total])[first[:-1]], lengths)
    onset = total - before
    notes['onset'] = onset / 1000
    notes['key_up'] = (onset + columns['length']) / 1000
    notes['offset'] = (onset + columns['length'] + columns['pedal']) / 1000
    notes['pitch'] = file['pitch']
    notes['velocity'] = file['velocity']

    parts['first_note'], parts['n_notes'] = first[:-1], lengths
    parts['program'], parts['is_drum'] = file['parts'][:, 1:].T
    parts['duration'] = np.maximum.reduceat(notes['offset'], first[:-1])
    parts['mean_pitch'] = np.add.reduceat(
        notes['pitch'].astype(np.int64), first[:-1]) // lengths
    pieces['first_part'], pieces['n_parts'], pieces['kind'] = file['pieces'].T
    pieces['duration'] = np.maximum.reduceat(
        parts['duration'], pieces['first_part'])
    return Corpus(notes, parts, pieces, list(file['names']),
                  list(file['sources']))
