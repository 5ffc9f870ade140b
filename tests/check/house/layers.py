#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The stages see only the stages before them.

Usage: layers.py SOURCE_ROOT

Fails when a file includes a header of a later stage, when anything but the
element includes GStreamer, or when kernels include anything of the stages.
"""
import pathlib
import re
import sys

ORDER = ['checkpoint', 'windows', 'engine', 'vocabulary', 'notes', 'midi',
         'element']
INCLUDE = re.compile(r'^\s*#\s*include\s+["<]([^">]+)[">]', re.M)


def sources(folder):
    for path in sorted(folder.rglob('*')):
        if path.suffix in ('.c', '.h', '.cu', '.cuh'):
            yield path, INCLUDE.findall(path.read_text())


def faults(root):
    for rank, stage in enumerate(ORDER):
        for path, headers in sources(root / 'ext/mt3' / stage):
            for header in headers:
                first = header.split('/')[0]
                if first in ORDER and ORDER.index(first) > rank:
                    yield f'{path}: {stage} includes a later stage: {header}'
                if first == 'gst' and stage != 'element':
                    yield f'{path}: only the element sees GStreamer: {header}'
    for path, headers in sources(root / 'kernels'):
        for header in headers:
            if header.split('/')[0] in ORDER + ['gst', 'glib.h']:
                yield f'{path}: a kernel includes {header}'


def main():
    root = pathlib.Path(sys.argv[1])
    found = list(faults(root))
    print('\n'.join(found) if found else 'every stage sees only earlier ones')
    return 1 if found else 0


if __name__ == '__main__':
    sys.exit(main())
