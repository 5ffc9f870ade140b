#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compiles one CUDA source and keeps the assembler's report on registers.

usage: compile.py NVCC SOURCE OBJECT REPORT [NVCC_ARGUMENT...]
"""
import subprocess
import sys

nvcc, source, target, report, *arguments = sys.argv[1:]
done = subprocess.run([nvcc, *arguments, '-c', source, '-o', target],
                      stderr=subprocess.PIPE, text=True)
with open(report, 'w') as file:
    file.write(done.stderr)
for line in done.stderr.splitlines():
    if 'warning' in line or 'error' in line:
        print(line, file=sys.stderr)
sys.exit(done.returncode)
