#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What GST_DEBUG shows: INFO a configuration, DEBUG a window, LOG a buffer.

MT3_SOURCE_DIR and MT3_TINY_MODEL come from meson.build.
"""
import os
import re
import subprocess
import unittest
from pathlib import Path

ROOT = Path(os.environ['MT3_SOURCE_DIR'])
MODEL = os.environ['MT3_TINY_MODEL']
WINDOW = 32768  # samples


def log_of(level, n_windows):
    """Pairs of category and text."""
    text = subprocess.run(
        ['gst-launch-1.0', '-q', 'audiotestsrc', 'wave=saw',
         f'num-buffers={4 * n_windows - 1}', f'samplesperbuffer={WINDOW // 4}', '!',
         'audio/x-raw,rate=16000', '!', 'mt3transcribe', f'model-file={MODEL}',
         'device=cpu', '!', 'fakesink'], check=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, 'GST_DEBUG_NO_COLOR': '1',
             'GST_DEBUG': f'mt3*:{level}'}).stdout
    return re.findall(rf'^\S+ +\d+ +\S+ [A-Z]+ +(mt3\w+) (.*)$', text,
                      re.MULTILINE)


class Levels(unittest.TestCase):
    def test_info_tells_a_run_in_a_handful_of_lines(self):
        for n_windows in (2, 5):
            log = log_of('INFO', n_windows)
            self.assertLessEqual(len(log), 10, log)
            text = '\n'.join(line for _, line in log)
            for fact in (MODEL, 'device=(string)cpu', 'precision=(string)exact',
                         'rate=(int)16000', 'output is audio/midi',
                         f' windows=(guint64){n_windows}'):
                with self.subTest(fact):
                    self.assertIn(fact, text)

    def test_debug_tells_of_every_window_going_in_and_coming_out(self):
        log = log_of('DEBUG', 5)
        for category in ('mt3sink', 'mt3src'):
            with self.subTest(category):
                self.assertEqual(
                    [int(match[1]) for name, line in log if name == category
                     for match in [re.search(r'> window (\d+)[,:]', line)]
                     if match], list(range(5)))

    def test_debug_tells_little_else(self):
        growth = len(log_of('DEBUG', 9)) - len(log_of('DEBUG', 5))
        self.assertEqual(growth, 4 * 2)

    def test_log_tells_of_every_buffer(self):
        buffers = [line for name, line in log_of('LOG', 2)
                   if name == 'mt3audioinput' and 'buffer: ' in line]
        self.assertEqual(len(buffers), 2 * 4 - 1)


class Categories(unittest.TestCase):
    def test_are_explained_in_the_docs(self):
        source = (ROOT / 'ext/mt3/element/debug.c').read_text(encoding='utf-8')
        page = (ROOT / 'docs/troubleshooting.md').read_text(encoding='utf-8')
        self.assertEqual(
            set(re.findall(r'"(mt3\w+)"', source)),
            set(re.findall(r'^\| `(mt3\w+)` ', page, re.MULTILINE)))


if __name__ == '__main__':
    unittest.main()
