#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the kernels take that libmt3kerneltrace.so wrote down: for each stream
how long it worked, and for each kernel and grid how often, how long and in all.

A kernel's time is counted from the end of the one before in its stream: with
dependent launch it starts earlier, and waits. Only what follows the last mel
kernels is looked at, which is the last run of mt3-bench.
"""
import argparse
import re
import subprocess
from collections import defaultdict, namedtuple

RUN_NS = 20e6  # the mel kernels of a run's windows lie as close as that

Kernel = namedtuple('Kernel', 'start end stream grid name')


def read(path):
    kernels = []
    for line in open(path, encoding='utf-8'):
        start, end, stream, x, y, _, name = line.split(None, 6)
        kernels.append(Kernel(int(start), int(end), int(stream),
                              f'{x}x{y}', name.strip()))
    return sorted(kernels)


def last_run(kernels):
    mels = [k.start for k in kernels if 'mel_kernel' in k.name]
    if not mels:
        return kernels
    begin = min(start for start in mels if mels[-1] - start < RUN_NS)
    return [k for k in kernels if k.start >= begin]


def readable(names):
    names = sorted(names)
    try:
        text = subprocess.run(['c++filt'], input='\n'.join(names), text=True,
                              capture_output=True, check=True).stdout
    except FileNotFoundError:
        return dict(zip(names, names))
    # without parameters, and the types of what templates are given
    short = [re.sub(r'\(.*', '', re.sub(r'\((Mt3\w+|bool|int)\)', '', name))
             for name in text.splitlines()]
    return {name: s.removeprefix('void ') for name, s in zip(names, short)}


def own_times(kernels):
    """(kernel, ns) in the order of their ends, for each stream."""
    streams = defaultdict(list)
    for kernel in sorted(kernels, key=lambda k: k.end):
        before = streams[kernel.stream]
        idle_until = before[-1][0].end if before else kernel.start
        before.append((kernel, kernel.end - max(kernel.start, idle_until)))
    return streams


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('trace')
    parser.add_argument('--lines', type=int, default=40)
    args = parser.parse_args()
    kernels = last_run(read(args.trace))
    names = readable({k.name for k in kernels})
    streams = own_times(kernels)
    begin = min(k.start for k in kernels)
    times = defaultdict(list)

    for number, timed in sorted(streams.items()):
        working = sum(ns for _, ns in timed)
        first, last = timed[0][0].start - begin, timed[-1][0].end - begin
        print(f'stream {number}: {first / 1e6:.2f} to {last / 1e6:.2f} ms, '
              f'{working / 1e6:.2f} at work, {len(timed)} kernels')
        for kernel, ns in timed:
            times[names[kernel.name], kernel.grid].append(ns / 1e3)
    print('      ms  number  median    p90 us')
    for (name, grid), us in sorted(times.items(), key=lambda t: -sum(t[1])
                                   )[:args.lines]:
        us.sort()
        print(f'{sum(us) / 1e3:8.2f} {len(us):7} {us[len(us) // 2]:7.2f} '
              f'{us[len(us) * 9 // 10]:6.2f}  {grid} {name}')


if __name__ == '__main__':
    main()
