#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fails when a kernel keeps registers in memory on any architecture, or was not
compiled for one.

A spill costs more than it looks: the stack lies in device memory, and kernels
here are sized so that none is needed.

usage: registers.py REPORT...
"""
import re
import sys

ENTRY = re.compile(r"Compiling entry function '(\w+)' for '(\w+)'")
SPILL = re.compile(r'(\d+) bytes spill stores, (\d+) bytes spill loads')

# Of a source, by whether it is for Hopper alone.
ARCHITECTURES = {True: {'sm_90a'},
                 False: {'sm_75', 'sm_80', 'sm_86', 'sm_89', 'sm_90'}}

n_kernels = n_spilled = n_left_out = 0
for path in sys.argv[1:]:
    kernel = None
    found = set()
    for line in open(path):
        entry = ENTRY.search(line)
        spill = SPILL.search(line)
        if entry:
            kernel = entry.groups()
            found.add(kernel[1])
        elif spill and kernel:
            n_kernels += 1
            if spill.groups() != ('0', '0'):
                n_spilled += 1
                print(f'{path}: {kernel[0]} spills on {kernel[1]}: '
                      f'{line.strip()}')
            kernel = None
    expected = ARCHITECTURES['sm_90a' in found]
    if not found >= expected:
        n_left_out += 1
        print(f'{path}: not for {", ".join(sorted(expected - found))}')
print(f'{n_kernels} kernels, {n_spilled} with spills')
sys.exit(1 if n_spilled or n_left_out or not n_kernels else 0)
