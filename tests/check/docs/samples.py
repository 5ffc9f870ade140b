#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What docs/library.md shows compiles, runs and is complete.

usage: samples.py GIR COMPILER [FLAG...]

GIR is GstMt3-1.0.gir; the compiler and its flags are those of the project.
"""
import re
import subprocess
import sys
import unittest
from pathlib import Path

import gi
gi.require_version('Gst', '1.0')
gi.require_version('GstMt3', '1.0')
from gi.repository import Gst, GstMt3  # noqa: E402

PAGE = Path(__file__).resolve().parents[3] / 'docs' / 'library.md'
GIR, *COMPILE = sys.argv[1:]
sys.argv[1:] = []


def samples(language):
    return re.findall(rf'^```{language}\n(.*?)^```$',
                      PAGE.read_text(encoding='utf-8'),
                      re.MULTILINE | re.DOTALL)


def example_note():
    note = GstMt3.Mt3Note.new()
    note.pitch = 60
    note.velocity = 100
    note.onset = Gst.SECOND
    return note


class LibraryPage(unittest.TestCase):
    def test_samples_in_c_compile(self):
        self.assertGreater(len(samples('c')), 0)
        for sample in samples('c'):
            result = subprocess.run(
                [*COMPILE, '-Wall', '-Wextra', '-Wno-unused-parameter',
                 '-Werror', '-fsyntax-only', '-x', 'c', '-'],
                input=sample, text=True, stderr=subprocess.PIPE)
            self.assertEqual(result.returncode, 0, result.stderr + sample)

    def test_samples_in_python_run(self):
        printed = []
        names = {'print': printed.append}
        for sample in samples('python'):
            exec(sample, names)
        pad = Gst.Pad.new('src', Gst.PadDirection.SRC)
        pad.set_active(True)
        pad.push_event(Gst.Event.new_stream_start('sample'))
        segment = Gst.Segment()
        segment.init(Gst.Format.TIME)
        pad.push_event(Gst.Event.new_segment(segment))
        names['watch_pad'](pad)
        buffer = Gst.Buffer.new()
        GstMt3.buffer_add_mt3_note_meta(buffer, example_note())
        pad.push(buffer)
        names['print_message'](None, GstMt3.mt3_notes_message_new(
            None, 0, 0, 2 * Gst.SECOND, 0, [example_note()]))
        self.assertEqual(printed, ['key 60 begins at 1.0 s',
                                   '1 notes of the window at 2.0 s'])

    def test_every_function_is_named(self):
        functions = re.findall(r'c:identifier="(\w+)"',
                               Path(GIR).read_text(encoding='utf-8'))
        page = PAGE.read_text(encoding='utf-8')
        for function in functions:
            if not function.endswith(('_get_type', '_get_info')):
                self.assertIn(function, page)


if __name__ == '__main__':
    Gst.init(None)
    unittest.main()
