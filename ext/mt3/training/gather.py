#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Gathers music into one corpus file, with a ledger of what it is.

  gather.py --lieder DIR --quartets DIR --groove DIR --freedoom A.wad B.wad \\
      --simutrans DIR --held-out EVAL --out corpus.npz

DATA.md says where the sources come from and what their licences are. The
ledger, beside the corpus, has a line for every piece: name, source, licence,
kind, notes, seconds. Pieces of exclusions.txt, and pieces that sound like
those under --held-out, are left out and counted.
"""
import argparse
import collections
import hashlib
import multiprocessing
import pathlib
import struct

import numpy as np

import corpus
import exclusions
import generate
import midi
import scores
from corpus import Piece

LICENCES = {
    'lieder': 'CC0-1.0', 'quartets': 'CC0-1.0', 'groove': 'CC-BY-4.0',
    'freedoom': 'BSD-3-Clause', 'simutrans': 'Artistic-1.0',
    'generated': 'CC0-1.0',
}
# Hits at the edge of Roland's pads, as General MIDI names them (Gillick et
# al., ICML 2019, appendix).
ROLAND_KEYS = {22: 42, 26: 46, 40: 38, 58: 43, 55: 49, 59: 51}
GENERATED = {'piano': 700, 'drums': 500, 'strings': 250, 'band': 500}
# Hands of real pieces are worth more than those of rules.
MIN_PIANO_SHARE = 0.75


def midi_kind(parts):
    drums = sum(len(p.notes) for p in parts if p.is_drum)
    pianos = sum(len(p.notes) for p in parts if not p.is_drum and p.program < 4)
    total = sum(len(p.notes) for p in parts)
    if drums == total:
        return 'drums'
    return 'piano' if pianos >= MIN_PIANO_SHARE * total else 'band'


def from_midi(data, name, source):
    try:
        parts = midi.read(data)
    except (OSError, EOFError, ValueError, IndexError, KeyError) as error:
        print(f'{name}: {error}')
        return []
    return [Piece(name, source, midi_kind(parts), parts)] if parts else []


def from_simutrans(path):
    return from_midi(path.read_bytes(), f'simutrans/{path.stem}', 'simutrans')


def from_groove(path):
    name = '/'.join(path.parts[-3:])
    pieces = from_midi(path.read_bytes(), f'groove/{name}', 'groove')
    for piece in pieces:
        for part in piece.parts:
            keys = part.notes[:, 3]
            for edge, key in ROLAND_KEYS.items():
                keys[keys == edge] = key
    return pieces


def from_score(source):
    def read(path):
        try:
            score = scores.read(path)
        except (OSError, ValueError, KeyError, StopIteration,
                scores.ElementTree.ParseError) as error:
            print(f'{path}: {error}')
            return []
        if 'CC0' not in score.rights and 'Public Domain' not in score.rights:
            print(f'{path}: rights "{score.rights}", left out')
            return []
        return scores.perform(
            score, f'{source}/{score.title} ({path.stem})', source)
    return read


def wad_lumps(path):
    """Names and contents of a WAD file's lumps (id Software's format)."""
    data = path.read_bytes()
    _, n_lumps, directory = struct.unpack_from('<4sii', data)
    for i in range(n_lumps):
        start, size, name = struct.unpack_from('<ii8s', data,
                                               directory + 16 * i)
        yield name.rstrip(b'\0').decode('ascii', 'replace'), \
            data[start:start + size]


def from_freedoom(path):
    return [piece for name, data in wad_lumps(path) if data[:4] == b'MThd'
            for piece in from_midi(data, f'freedoom/{name}', 'freedoom')]


READERS = {
    'lieder': from_score('lieder'), 'quartets': from_score('quartets'),
    'groove': from_groove, 'freedoom': from_freedoom,
    'simutrans': from_simutrans,
}


def read_one(job):
    source, path = job
    return READERS[source](path)


def find(options):
    patterns = {'lieder': '*.mxl', 'quartets': '*.mxl', 'groove': '*.mid',
                'simutrans': '*.mid'}
    jobs = [(source, path) for source, pattern in patterns.items()
            for folder in getattr(options, source)
            for path in sorted(pathlib.Path(folder).rglob(pattern))]
    return jobs + [('freedoom', pathlib.Path(p)) for p in options.freedoom]


def digest(piece):
    keys = b''.join(part.notes[:200, 3].astype(np.uint8).tobytes()
                    for part in piece.parts)
    return hashlib.sha256(keys).digest()


def select(pieces, held_out):
    """Drops excluded pieces and all but the first of equal ones."""
    kept, seen, dropped = [], set(), collections.Counter()
    for piece in pieces:
        if exclusions.is_excluded(piece.name):
            dropped['by name'] += 1
        elif digest(piece) in seen:
            dropped['twice'] += 1
        elif exclusions.sounds_held_out(piece, held_out):
            print('sounds like a held-out piece:', piece.name)
            dropped['by ear'] += 1
        else:
            seen.add(digest(piece))
            kept.append(piece)
    print('left out:', dict(dropped))
    return kept


def write_ledger(path, pieces):
    with open(path, 'w', encoding='utf-8') as file:
        file.write('name\tsource\tlicence\tkind\tnotes\tseconds\n')
        for piece in pieces:
            notes = sum(len(part.notes) for part in piece.parts)
            seconds = max(part.notes[:, 1].max() for part in piece.parts)
            file.write(f'{piece.name}\t{piece.source}\t'
                       f'{LICENCES[piece.source]}\t{piece.kind}\t{notes}\t'
                       f'{seconds:.0f}\n')


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for source in READERS:
        parser.add_argument(f'--{source}', nargs='+', default=[])
    parser.add_argument('--generated', type=float, default=1,
                        help='how many times the usual generated music')
    parser.add_argument('--held-out', nargs='+', default=[],
                        help='folders of clips that must not be trained on')
    parser.add_argument('--out', default='corpus.npz')
    options = parser.parse_args()

    held_out = set()
    for folder in options.held_out:
        held_out |= exclusions.held_out_prints(folder)
    with multiprocessing.Pool() as pool:
        found = pool.map(read_one, find(options), chunksize=4)
    pieces = select([p for some in found for p in some], held_out)
    pieces += generate.generate({
        name: round(n * options.generated) for name, n in GENERATED.items()})
    corpus.save(options.out, pieces)
    write_ledger(pathlib.Path(options.out).with_suffix('.tsv'), pieces)

    table = collections.Counter()
    for piece in pieces:
        table[piece.source, piece.kind, 'pieces'] += 1
        table[piece.source, piece.kind, 'notes'] += sum(
            len(part.notes) for part in piece.parts)
    for key, count in sorted(table.items()):
        print(*key, count)


if __name__ == '__main__':
    main()
