#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""usage: read-notes.py INPUT

How an application reads notes off the bus and off buffers, in Python. It needs
GstMt3-1.0.typelib, which is built where gobject-introspection is installed.
Before gst-mt3 is installed, run it as
meson devenv -C build ../pipelines/read-notes.py "$PWD/INPUT"
"""
import sys

import gi
gi.require_version('Gst', '1.0')
try:
    gi.require_version('GstMt3', '1.0')
except ValueError as error:
    sys.exit(f'read-notes.py: {error}\n{__doc__}')
from gi.repository import Gst, GstMt3  # noqa: E402

PIPELINE = ('filesrc name=source ! '
            'decodebin caps=audio/x-raw expose-all-streams=false ! '
            'mt3transcribe post-messages=true ! audio/x-midi-event ! '
            'fakesink name=sink sync=false signal-handoffs=true')


def print_notes(source, notes):
    for note in notes:
        drums = ' (drums)' if note.is_drum else ''
        line = (f'{source}: note {note.id}, program {note.program}{drums}, '
                f'key {note.pitch}, from {note.onset / Gst.SECOND:.2f} s')
        if note.end != Gst.CLOCK_TIME_NONE:
            line += f' to {note.end / Gst.SECOND:.2f} s'
        print(line + '\n', end='')  # at once: two threads print


def handle_buffer(sink, buffer, pad):
    """In a streaming thread, for every buffer."""
    print_notes('buffer', GstMt3.buffer_get_mt3_notes(buffer))


def handle_message(message):
    """Returns whether more will come."""
    if message.type == Gst.MessageType.ERROR:
        error, details = message.parse_error()
        sys.exit(f'read-notes.py: {error.message}\n{details}')
    is_notes, *_, notes = GstMt3.mt3_notes_message_parse(message)
    if is_notes:
        print_notes('message', notes)
    return message.type != Gst.MessageType.EOS


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    Gst.init(None)
    pipeline = Gst.parse_launch(PIPELINE)
    pipeline.get_by_name('source').set_property('location', sys.argv[1])
    pipeline.get_by_name('sink').connect('handoff', handle_buffer)
    bus = pipeline.get_bus()
    pipeline.set_state(Gst.State.PLAYING)
    try:
        while handle_message(bus.timed_pop(Gst.CLOCK_TIME_NONE)):
            pass
    finally:
        pipeline.set_state(Gst.State.NULL)


if __name__ == '__main__':
    main()
