#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Scores the MIDI files that gpu.sh wrote: note F1 of `fast` beside `exact`'s
and the reference's, as the mean of all recordings, in per cent.

Fails unless MT3 in `exact` writes the reference's notes, every one, and no mean
moves by more than 0.2 points in `fast`.

usage: gpu-notes.py EVAL_DIR OUT_DIR
"""
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'accuracy'))
import accuracy

SCORES = 'onset', 'onset+offset', 'class', 'drum classes'
MOST = 0.2  # points

recordings, written = (Path(argument) for argument in sys.argv[1:])
CLIPS = accuracy.find_clips(recordings)


def written_notes(name, clip):
    return accuracy.read_notes(
        written / name / clip.relative_to(recordings) / 'audio.mid')


def reference_notes(clip):
    return accuracy.read_json_notes(clip / 'notes.json')


def evaluate(name, clip):
    return accuracy.evaluate(
        clip, written_notes(name, clip) if name else reference_notes(clip))


def means(name):
    """Of each score, and whether all notes are the reference's."""
    with ProcessPoolExecutor() as pool:
        results = list(pool.map(partial(evaluate, name), CLIPS))
    return ([100.0 * accuracy.mean([r['scores'][score] for r in results])
             for score in SCORES],
            all(r.get('as golden') for r in results))


def print_row(name, cells):
    print(f'{name:34}', *(f'{cell:>{len(score)}}'
                          for score, cell in zip(SCORES, cells)), sep='  ')


def compare(model, base, base_name, fast_name):
    """By how many points each score moves."""
    fast, _ = means(fast_name)
    moved = [f - b for f, b in zip(fast, base)]
    print_row(f'{model}, {base_name}', (f'{x:.2f}' for x in base))
    print_row(f'{model}, fast', (f'{x:.2f}' for x in fast))
    print_row('  moved by, points', (f'{x:+.2f}' for x in moved))
    return dict(zip(SCORES, moved))


def main():
    print_row(f'note F1, {len(CLIPS)} recordings', SCORES)
    reference, _ = means(None)
    _, golden = means('notes-exact')
    moved = {'MT3': compare('MT3', reference, 'the reference', 'notes-fast'),
             'mt3-small': compare('mt3-small', means('small-exact')[0],
                                  'exact', 'small-fast')}
    print('MT3 in exact:', "the reference's notes, every one" if golden else
          "NOT the reference's notes")
    (written / 'notes.json').write_text(
        json.dumps({'recordings': len(CLIPS), 'moved': moved}))
    most = max(abs(x) for scores in moved.values() for x in scores.values())
    sys.exit(0 if golden and most <= MOST else 1)


if __name__ == '__main__':
    main()
