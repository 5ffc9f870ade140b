#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Transcribes a folder of clips and prints the MT3 paper's metrics.

A clip is a folder with an audio file (audio.*) and ref.json, the notes that
were played: a list of [onset_s, offset_s, pitch, velocity, program, is_drum].
Scores are F1, per clip and as the mean of each kind of clip; the kind and its
onset tolerance come from the first words of the folder's name (docs/accuracy.md).
"""
import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'pipelines'))
try:
    from find_files import files_below
    from metrics import score
    from midi_notes import read_notes
except ImportError as error:
    sys.exit(f'accuracy.py: {error}. On Debian: apt-get install '
             'python3-mir-eval python3-mido.')

# First words of a clip's name: kind, onset tolerance in seconds. References
# that were aligned by a program rather than played are good to 100 ms.
KINDS = (
    ('maps_real', 'real piano', 0.05),
    ('maps_synth', 'sampled piano', 0.05),
    ('asap', 'rendered piano', 0.05),
    ('pop909', 'rendered piano', 0.05),
    ('bachviolin', 'strings', 0.1),
    ('urmp', 'strings', 0.1),
    ('chamber', 'rendered strings', 0.05),
    ('freedoom', 'rendered bands', 0.05),
    ('openmsx', 'rendered bands', 0.05),
    ('simutrans', 'rendered bands', 0.05),
    ('keep_on_rolling', 'rendered bands', 0.05),
    ('gugs', 'demo songs', 0.05),
    ('mdb_drums', 'real drums', 0.05),
    ('groove', 'rendered drums', 0.05),
    ('vocadito', 'singing', 0.05),
)
EXTRA = 'other', 0.05

# Options of transcribe-folder.py
PASSED_ON = ('model-file', 'device', 'precision', 'threads', 'jobs', 'programs',
             'beam-size', 'beam-alpha')

SKIPPED = 77  # what meson test understands


def kind_of(name):
    return next((rest for prefix, *rest in KINDS if name.startswith(prefix)),
                EXTRA)


def find_clips(folder):
    clips = sorted(path.parent for path in files_below(folder)
                   if path.name == 'ref.json')
    if not clips:
        print(f'accuracy.py: no clips (folders with ref.json) in {folder}')
        sys.exit(SKIPPED)
    return clips


def read_json_notes(path):
    with open(path, encoding='utf-8') as file:
        notes = json.load(file)
    notes = notes['notes'] if isinstance(notes, dict) else notes
    return [tuple(note) for note in notes]


def transcribe(folder, clips, options):
    """Transcribes the folder in one process; returns the notes of each clip."""
    with tempfile.TemporaryDirectory() as work:
        result = subprocess.run(
            [sys.executable, ROOT / 'pipelines' / 'transcribe-folder.py',
             *options, folder, work])
        if result.returncode != 0:
            sys.exit(result.returncode)
        return [read_notes(Path(work) / clip.relative_to(folder) / 'audio.mid')
                for clip in clips]


def evaluate(clip, notes):
    kind, tolerance = kind_of(clip.name)
    result = {'clip': clip.name, 'kind': kind, 'tolerance': tolerance,
              'notes': len(notes),
              'scores': score(read_json_notes(clip / 'ref.json'), notes,
                              tolerance)}
    golden = clip / 'notes.json'
    if golden.exists():
        result['as golden'] = sorted(notes) == sorted(read_json_notes(golden))
    return result


def mean(values):
    values = [value for value in values if value is not None]
    return sum(values) / len(values) if values else None


def summarise(results):
    kinds = {}
    for result in results:
        kinds.setdefault(result['kind'], []).append(result['scores'])
    return {kind: {'clips': len(scores),
                   'scores': {name: mean([s[name] for s in scores])
                              for name in scores[0]}}
            for kind, scores in kinds.items()}


def print_table(title, rows):
    names = list(rows[0][1])
    widths = [max(6, len(name)) for name in names]
    label = max(len(title), *(len(name) for name, _ in rows))
    print(f'{title:{label}}', *(f'{n:>{w}}' for n, w in zip(names, widths)),
          sep='  ')
    for row, scores in rows:
        cells = ('-' if scores[n] is None else f'{scores[n]:.3f}'
                 for n in names)
        print(f'{row:{label}}', *(f'{c:>{w}}' for c, w in zip(cells, widths)),
              sep='  ')
    print()


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('folders', nargs='+', type=Path,
                        metavar='FOLDER')
    parser.add_argument('--notes-from', metavar='NAME',
                        help='score this JSON file of each clip instead of '
                        'transcribing')
    parser.add_argument('--json', metavar='FILE', help='write all scores here')
    parser.add_argument('--require-golden', action='store_true',
                        help='fail unless the notes are those of every '
                        "clip's notes.json")
    for name in PASSED_ON:
        parser.add_argument(f'--{name}', help='as transcribe-folder.py')
    return parser.parse_args()


def estimates(folder, clips, args):
    if args.notes_from:
        return [read_json_notes(clip / args.notes_from) for clip in clips]
    values = {name: getattr(args, name.replace('-', '_'))
              for name in PASSED_ON}
    options = [f'--{name}={value}' for name, value in values.items()
               if value is not None]
    return transcribe(folder, clips, options)


def main():
    args = parse_arguments()
    results = []
    for folder in args.folders:
        clips = find_clips(folder)
        results += [evaluate(clip, notes) for clip, notes in
                    zip(clips, estimates(folder, clips, args))]
    kinds = summarise(results)
    print_table('clip', [(r['clip'], r['scores']) for r in results])
    print_table('kind (mean)', [(f"{kind} ({k['clips']})", k['scores'])
                                for kind, k in kinds.items()])
    golden = [r['as golden'] for r in results if 'as golden' in r]
    if golden:
        print(f'{sum(golden)} of {len(golden)} clips have exactly the notes '
              'of their notes.json')
    if args.json:
        with open(args.json, 'w', encoding='utf-8') as file:
            json.dump({'clips': results, 'kinds': kinds}, file, indent=1)
    if args.require_golden and not (golden and all(golden)):
        sys.exit(1)


if __name__ == '__main__':
    main()
