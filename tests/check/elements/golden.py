#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The element gives exactly the notes of the reference.

Usage: golden.py [CLIP...]; without one, all clips of MT3_SHARED/eval.
"""
import sys
import tempfile

from recordings import clip_folders, golden_notes, rounded, skip, transcribe


def first_difference(found, expected):
    for one, other in zip(found, expected):
        if one != other:
            return f'{one}, not {other}'
    return f'{len(found)} notes, not {len(expected)}'


def check(folder, scratch):
    """Yields what differs."""
    expected = rounded(golden_notes(folder))
    metas, midi, stats = transcribe(folder / 'audio.flac', scratch)
    for source, notes in (('meta', metas), ('MIDI', midi)):
        notes = rounded(notes)
        if notes != expected:
            yield f'{folder.name}: {source}: {first_difference(notes, expected)}'
    factor = stats.get_double('real-time-factor').value
    print(f'{folder.name}: {len(expected)} notes, {factor:.1f} x real time')


def main():
    folders = [folder for folder in clip_folders()
               if not sys.argv[1:] or folder.name in sys.argv[1:]]
    if not folders:
        skip('no clips')
    with tempfile.TemporaryDirectory() as scratch:
        faults = [fault for folder in folders for fault in check(folder, scratch)]
    print('\n'.join(faults) if faults else f'{len(folders)} clips equal')
    return 1 if faults else 0


if __name__ == '__main__':
    sys.exit(main())
