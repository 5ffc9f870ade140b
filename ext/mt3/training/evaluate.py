#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Transcribes a folder of clips with a model and scores it (mir_eval).

  evaluate.py MODEL.safetensors CLIPS [--out RESULTS.json]

A clip is a folder with audio.* and ref.json, as for tests/accuracy, whose
metrics and kinds these are. Without python3-mir-eval and python3-mido the
tokens and notes are written all the same, to be scored elsewhere with
--scores-of RESULTS.json.
"""
import argparse
import collections
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / 'tests' / 'accuracy'))


def transcribe(model_path, folder, device, batch=256):
    """{clip: {'notes': [...], 'windows': [(tokens, ended)]}}"""
    import torch

    import audio
    import native
    import weights
    from frontend import LogMel, windows_of

    model, _ = weights.load(model_path, device)
    config = model.config
    log_mel = LogMel(config).to(device)
    clips, windows = [], []
    for reference in sorted(folder.rglob('ref.json')):
        clip = reference.parent
        samples = torch.from_numpy(audio.read(
            next(clip.glob('audio.*')), config.sample_rate)).to(device)
        windows.append(windows_of(samples, config, log_mel))
        clips.append(clip)
    everything = torch.cat(windows)
    answers = []
    for start in range(0, len(everything), batch):
        answers += model.greedy(everything[start:start + batch])
    results, at = {}, 0
    for clip, rows in zip(clips, windows):
        some, at = answers[at:at + len(rows)], at + len(rows)
        results[str(clip.relative_to(folder))] = {
            'notes': native.decode(config, some), 'windows': some}
    return results


def notes_in_nothing(model_path, device):
    """How many notes are heard in silence, dither, noise and hum."""
    import torch

    import native
    import weights
    from frontend import LogMel, windows_of

    model, _ = weights.load(model_path, device)
    config = model.config
    torch.manual_seed(0)
    n = 4 * config.window_frames * config.hop_length
    time = torch.arange(n) / config.sample_rate
    log_mel = LogMel(config).to(device)
    heard = {}
    for name, audio in (
            ('silence', torch.zeros(n)),
            ('dither', torch.randint(-1, 2, (n,)) / 32768),
            ('quiet noise', torch.randn(n) * 1e-3),
            ('loud noise', torch.randn(n) * 0.1),
            ('hum', 0.01 * torch.sin(2 * torch.pi * 50 * time))):
        windows = windows_of(audio.to(device), config, log_mel)
        heard[name] = len(native.decode(config, model.greedy(windows)))
    return heard


def score(results, folder):
    """Prints each kind's mean scores; nothing without the libraries."""
    try:
        from accuracy import kind_of, read_json_notes
        from metrics import score as score_clip
    except (ImportError, SystemExit):
        print('no python3-mir-eval and python3-mido: not scored')
        return
    kinds = collections.defaultdict(list)
    for name, result in results.items():
        kind, tolerance = kind_of(pathlib.Path(name).name)
        reference = read_json_notes(folder / name / 'ref.json')
        notes = [tuple(note) for note in result['notes']]
        kinds[kind].append(score_clip(reference, notes, tolerance))
    for kind, rows in sorted(kinds.items()):
        means = {}
        for metric in rows[0]:
            values = [r[metric] for r in rows if r[metric] is not None]
            if values:
                means[metric] = round(sum(values) / len(values), 3)
        print(f'{kind:18}', means)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('model', nargs='?')
    parser.add_argument('clips', type=pathlib.Path)
    parser.add_argument('--out')
    parser.add_argument('--scores-of', metavar='RESULTS.json')
    parser.add_argument('--device', default='cpu')
    options = parser.parse_args()
    if options.scores_of:
        with open(options.scores_of, encoding='utf-8') as file:
            results = json.load(file)
    else:
        results = transcribe(options.model, options.clips, options.device)
    if options.out:
        with open(options.out, 'w', encoding='utf-8') as file:
            json.dump(results, file)
    windows = [w for result in results.values() for w in result['windows']]
    print(f'{len(windows)} windows, {sum(len(w[0]) for w in windows)} tokens, '
          f'{sum(not w[1] for w in windows)} windows without an end')
    if options.model and not options.scores_of:
        print('notes in', notes_in_nothing(options.model, options.device))
    score(results, options.clips)


if __name__ == '__main__':
    main()
