#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Notes cross processes on their buffers.

Skipped (77) before GStreamer 1.26, whose unixfdsink waits for who receives; 1.24
already serializes metas.
"""
import json
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import gi
gi.require_version('Gst', '1.0')
gi.require_version('GstMt3', '1.0')
from gi.repository import Gst, GstMt3  # noqa: E402

SECONDS = 5
AUDIO = (f'audiotestsrc num-buffers={SECONDS * 10} samplesperbuffer=1600 '
         'wave=ticks ! audio/x-raw, rate=16000, channels=1')


def notes_of(description, element, pad):
    """Plays to the end; all notes that pass there."""
    pipeline = Gst.parse_launch(description)
    notes = []

    def take(_, info):
        for note in GstMt3.buffer_get_mt3_notes(info.get_buffer()):
            notes.append([note.id, note.pitch, note.velocity, note.program,
                          note.is_drum, note.onset, note.end, note.confidence])
        return Gst.PadProbeReturn.OK

    pipeline.get_by_name(element).get_static_pad(pad).add_probe(
        Gst.PadProbeType.BUFFER, take)
    pipeline.set_state(Gst.State.PLAYING)
    message = pipeline.get_bus().timed_pop_filtered(
        60 * Gst.SECOND, Gst.MessageType.EOS | Gst.MessageType.ERROR)
    pipeline.set_state(Gst.State.NULL)
    if message.type == Gst.MessageType.ERROR:
        sys.exit(': '.join(map(str, message.parse_error())))
    return notes


class Notes(unittest.TestCase):
    def check(self, caps):
        with tempfile.TemporaryDirectory() as folder:
            socket = Path(folder) / 'socket'
            child = subprocess.Popen([sys.executable, __file__, socket],
                                     stdout=subprocess.PIPE)
            sent = notes_of(
                f'{AUDIO} ! mt3transcribe name=m ! {caps} ! '
                f'unixfdsink socket-path={socket} wait-for-connection=true '
                'sync=false', 'm', 'src')
            received = json.loads(child.communicate(timeout=60)[0])
        self.assertGreater(len(sent), 0)
        self.assertEqual(received, sent)

    def test_of_live_midi_arrive(self):
        self.check('audio/x-midi-event')

    def test_of_a_file_arrive(self):
        self.check('audio/midi')


def receive(socket):
    """What another process gets, printed as JSON."""
    GstMt3.mt3_init()
    while not Path(socket).exists():
        time.sleep(0.01)
    json.dump(notes_of(
        f'unixfdsrc socket-path={socket} ! fakesink name=end sync=false',
        'end', 'sink'), sys.stdout)


if __name__ == '__main__':
    Gst.init(None)
    sink = Gst.ElementFactory.make('unixfdsink')
    if not sink or not sink.find_property('wait-for-connection'):
        print(f'{Gst.version_string()}: no unixfdsink that waits; skipped')
        sys.exit(77)
    if len(sys.argv) > 1:
        receive(sys.argv[1])
    else:
        unittest.main()
