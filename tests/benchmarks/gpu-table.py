#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Prints the figures that gpu.sh measured as the README's table.

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


def rows():
    fast, exact, window, queue, file, live = map(
        figures, ('fast', 'exact', 'window', 'queue', 'file', 'live'))
    yield (f'180 s of dense music, `precision=fast` ({identical_share():.1f} % '
           "of all windows have the reference's tokens)", clip(fast),
           'PyTorch, bfloat16 and CUDA graphs: 330 ms (15 of 88 windows)')
    yield ('same, `precision=exact`', clip(exact),
           'Magenta, float32: 3.38 s (88 of 88)')
    yield ('same, FLAC file to MIDI file through a pipeline, `fast`',
           f'{milliseconds(file["pipeline"])}, {file["overhead"]:.0f} % more '
           f'than the engine ({milliseconds(file["engine"])}); from WAV '
           f'{file["overhead-wav"]:.0f} %; decoding FLAC alone '
           f'{milliseconds(file["decoding-alone"])}', '')
    yield ('one window alone, a token',
           f'{1e6 * window["decode"] / window["decode-steps"]:.0f} us',
           'PyTorch, CUDA graphs: 640 us')
    yield ('2,000 windows queued',
           f'{queue["real-time-factor"]:,.0f} x real time', '')
    yield ("500 live elements, from a window's last sample to its notes",
           f'median {milliseconds(live["latency-median"])}, p99 '
           f'{milliseconds(live["latency-p99"])}, at most '
           f'{milliseconds(live["latency-most"])}; '
           f'{live["dropped-windows"]} windows left out, '
           f'{live["streams-alike"]} streams alike', '')
    yield ('first note of a file: engine open; new process',
           f'{milliseconds(file["first-note"])}; '
           f'{(FIGURES / "first-note").read_text().strip()}', '')
    yield (f'opening, graphs for {fast["slots"]} windows included',
           f'{fast["open"]:.2f} s', '')
    yield ('device memory',
           f'{fast["device-memory"]:,.0f} MiB `fast`, '
           f'{exact["device-memory"]:,.0f} MiB `exact` for {fast["slots"]} '
           'windows at once; with the driver\'s own, `fast`: '
           f'{int((FIGURES / "device-memory").read_text()):,} MiB', '')


print('| What | gst-mt3 | elsewhere |\n|---|---|---|')
for row in rows():
    print('| ' + ' | '.join(row) + ' |')
