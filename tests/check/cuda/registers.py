#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fails when a kernel keeps registers in memory on any architecture.

A spill costs more than it looks: the stack lies in device memory, and kernels
here are sized so that none is needed.

usage: registers.py REPORT...
"""
import re
import sys

ENTRY = re.compile(r"Compiling entry function '(\w+)' for '(\w+)'")
SPILL = re.compile(r'(\d+) bytes spill stores, (\d+) bytes spill loads')

n_kernels = n_spilled = 0
for path in sys.argv[1:]:
    kernel = None
    for line in open(path):
        entry = ENTRY.search(line)
        spill = SPILL.search(line)
        if entry:
            kernel = entry.groups()
        elif spill and kernel:
            n_kernels += 1
            if spill.groups() != ('0', '0'):
                n_spilled += 1
                print(f'{path}: {kernel[0]} spills on {kernel[1]}: '
                      f'{line.strip()}')
            kernel = None
print(f'{n_kernels} kernels, {n_spilled} with spills')
sys.exit(1 if n_spilled or not n_kernels else 0)
