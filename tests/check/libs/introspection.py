#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Python reads and writes notes on buffers and messages."""
import sys
import unittest

try:
    import gi
    gi.require_version('Gst', '1.0')
    from gi.repository import Gst
except (ImportError, ValueError) as missing:
    print(f'skipped: needs PyGObject and Gst-1.0.typelib ({missing})')
    sys.exit(77)
gi.require_version('GstMt3', '1.0')
from gi.repository import GstMt3  # noqa: E402


def example(number):
    note = GstMt3.Mt3Note.new()
    note.id = number
    note.pitch = 60
    note.velocity = 100
    note.program = 40
    note.onset = 3 * Gst.SECOND // 2
    note.confidence = 0.75
    return note


class Notes(unittest.TestCase):
    def assert_example(self, note, number):
        self.assertEqual(
            (note.id, note.pitch, note.velocity, note.program, note.is_drum),
            (number, 60, 100, 40, False))
        self.assertEqual(note.onset, 1500000000)
        self.assertEqual(note.end, Gst.CLOCK_TIME_NONE)
        self.assertEqual(note.confidence, 0.75)

    def test_a_buffer_gives_its_notes(self):
        buffer = Gst.Buffer.new()
        GstMt3.buffer_add_mt3_note_meta(buffer, example(1))
        GstMt3.buffer_add_mt3_note_meta(buffer, example(2))
        meta = GstMt3.buffer_get_mt3_note_meta(buffer)
        self.assert_example(meta.note, 1)
        first, second = GstMt3.buffer_get_mt3_notes(buffer)
        self.assert_example(first, 1)
        self.assert_example(second, 2)

    def test_notes_outlive_their_buffer(self):
        buffer = Gst.Buffer.new()
        GstMt3.buffer_add_mt3_note_meta(buffer, example(1))
        notes = GstMt3.buffer_get_mt3_notes(buffer)
        del buffer
        self.assert_example(notes[0], 1)

    def test_a_buffer_without_notes_gives_none(self):
        buffer = Gst.Buffer.new()
        self.assertIsNone(GstMt3.buffer_get_mt3_note_meta(buffer))
        self.assertEqual(GstMt3.buffer_get_mt3_notes(buffer), [])

    def test_a_message_gives_its_times_and_notes(self):
        message = GstMt3.mt3_notes_message_new(
            None, 1, 2, 3, 4, [example(1), example(2)])
        is_notes, *times, notes = GstMt3.mt3_notes_message_parse(message)
        self.assertTrue(is_notes)
        self.assertEqual(times, [1, 2, 3, 4])
        self.assert_example(notes[0], 1)
        self.assert_example(notes[1], 2)

    def test_another_message_is_refused(self):
        is_notes, *_ = GstMt3.mt3_notes_message_parse(
            Gst.Message.new_eos(None))
        self.assertFalse(is_notes)


if __name__ == '__main__':
    Gst.init(None)
    unittest.main()
