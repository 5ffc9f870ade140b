#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Prints the figures that gpu.sh measured as the README's table. Fails where
tokens are not the reference's: of the long recording's windows in `exact` all
have to be, of all recordings' in `fast` 96 %.

usage: gpu-table.py FIGURES_DIR
"""
import json
import sys
from pathlib import Path

FIGURES = Path(sys.argv[1])
CLIP_SECONDS = 180.0


def figures(name):
    return json.loads((FIGURES / f'{name}.json').read_text())


def milliseconds(seconds):
    return f'{1e3 * seconds:.0f} ms' if seconds >= 0.01 else (
        f'{1e3 * seconds:.1f} ms')


def identical_share():
    """Of all recordings' windows, in per cent."""
    runs = [json.loads(path.read_text())
            for path in FIGURES.glob('recording-*.json')] + [figures('fast')]
    return 100.0 * sum(run['identical-windows'] for run in runs) / sum(
        run['windows'] for run in runs)


def clip(run):
    return (f'{milliseconds(run["seconds"])}, '
            f'{CLIP_SECONDS / run["seconds"]:,.0f} x real time, '
            f'{run["identical-windows"]} of {run["windows"]} windows')


def torch(dtype):
    """PyTorch's figures in this run; {} without."""
    path = FIGURES / 'torch.json'
    return json.loads(path.read_text())[dtype] if path.exists() else {}


def torch_clip(dtype):
    run = torch(dtype)
    return run and (
        f'PyTorch {run["torch"]}, {dtype}, CUDA graphs: '
        f'{milliseconds(run["seconds"])} '
        f'({run["identical-windows"]} of {run["windows"]} windows)')


def music():
    return (f'180 s of dense music, `precision=fast` ({identical_share():.1f} '
            "% of all windows have the reference's tokens)",
            clip(figures('fast')), torch_clip('bfloat16') or '')


def music_exact():
    return ('same, `precision=exact`', clip(figures('exact')),
            torch_clip('float32') or '')


def notes():
    run = json.loads((FIGURES / 'notes.json').read_text())
    return (f'note F1 on {run["recordings"]} recordings, `fast` less the '
            "reference's, points", ', '.join(
                f'{name} {moved:+.2f}'
                for name, moved in run['moved']['MT3'].items()), '')


def pipeline():
    file = figures('file')
    return ('same through a pipeline to a MIDI file, `fast`; more than the '
            'engine alone just then',
            f'from WAV {milliseconds(file["pipeline-wav"])}, '
            f'{file["overhead-wav"]:.0f} %; from FLAC '
            f'{milliseconds(file["pipeline"])}, {file["overhead"]:.0f} % '
            f'(with queues {milliseconds(file["pipeline-queues"])}; decoding '
            f'it alone {milliseconds(file["decoding-alone"])}, the '
            f'engine {milliseconds(file["engine"])})', '')


def microseconds_a_token(name):
    window = figures(name)
    return f'{1e6 * window["decode"] / (window["tokens"] + 1):.0f} us'


def microseconds_a_step(name):
    window = figures(name)
    return f'{1e6 * window["decode"] / window["decode-steps"]:.0f} us'


def token():
    other = torch('bfloat16')
    return ('one window alone, a token; in `exact`; a step of several places',
            f'{microseconds_a_token("window-fast")}; '
            f'{microseconds_a_token("window-exact")}; '
            f'{microseconds_a_step("window-fast")}',
            f'PyTorch, CUDA graphs: '
            f'{1e6 * other["window"] / other["window-steps"]:.0f} us'
            if other else '')


def queue():
    return ('2,000 windows queued; in `exact`',
            f'{figures("queue-fast")["real-time-factor"]:,.0f} x real time; '
            f'{figures("queue-exact")["real-time-factor"]:,.0f} x', '')


def small():
    run, exact = figures('small-fast'), figures('small-exact')
    queued = figures('small-queue')["real-time-factor"]
    return ('mt3-small: 180 s in `fast`; in `exact`; 2,000 windows queued',
            f'{milliseconds(run["seconds"])}, '
            f'{CLIP_SECONDS / run["seconds"]:,.0f} x; '
            f'{milliseconds(exact["seconds"])}; {queued:,.0f} x real time', '')


def live():
    run = figures('live')
    return (f'{run["streams"]} live elements, from a window\'s last sample to '
            'its notes',
            f'median {milliseconds(run["latency-median"])}, p99 '
            f'{milliseconds(run["latency-p99"])}, at most '
            f'{milliseconds(run["latency-most"])}; {run["dropped-windows"]} '
            f'windows left out, {run["streams-alike"]} streams alike', '')


def first_note():
    return ('the first note of a file: with the engine open; of a new process',
            f'{milliseconds(figures("file")["first-note"])}; '
            f'{(FIGURES / "first-note").read_text().strip()}', '')


def opening():
    fast = figures('fast')
    return (f'opening, graphs for {fast["slots"]} windows included',
            f'{fast["open"]:.2f} s', '')


def memory():
    fast, exact = figures('fast'), figures('exact')
    whole = int((FIGURES / 'device-memory').read_text())
    return (f'device memory, {fast["slots"]} windows at once `fast`, '
            f'{exact["slots"]} `exact`',
            f'{fast["device-memory"]:,.0f} MiB ({whole:,} with the '
            f"driver's own), {exact['device-memory']:,.0f} MiB", '')


print('| What | gst-mt3 | PyTorch |\n|---|---|---|')
for row in (music, music_exact, notes, pipeline, token, queue, live, first_note,
            opening, memory, small):
    try:
        print('| ' + ' | '.join(row()) + ' |')
    except (OSError, KeyError) as missing:
        print(f'| {row.__name__} | not measured: {missing} | |')
try:
    exact = figures('exact')
    faithful = (exact['identical-windows'] == exact['windows'] and
                identical_share() >= 96.0)
except (OSError, KeyError):
    faithful = False
if not faithful:
    sys.exit("tokens are not the reference's, or were not compared with them")
