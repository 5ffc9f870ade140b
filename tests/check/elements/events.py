#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Live MIDI, put together again, gives exactly the notes of the reference.

Usage: events.py [CLIP...]; without one, all clips of MT3_SHARED/eval.
"""
import sys

from recordings import (MODEL, Gst, clip_folders, golden_notes, meta_notes,
                        rounded, skip)

DRUMS = 9
NOTE_OFF, NOTE_ON, PROGRAM = 0x80, 0x90, 0xc0


class Listener:
    """Knows only what a synthesizer does: one message after the other."""

    def __init__(self):
        self.programs = {}
        self.sounding = {}  # (channel, key): [(onset, velocity, program)]
        self.notes = []
        self.told = []  # by the metas
        self.last = 0

    def hear(self, buffer):
        assert buffer.pts >= self.last, 'time goes back'
        self.last = buffer.pts
        status, *data = buffer.extract_dup(0, buffer.get_size())
        kind, channel = status & 0xf0, status & 0x0f
        if kind == PROGRAM:
            self.programs[channel] = data[0]
        elif kind == NOTE_ON:
            self.sounding.setdefault((channel, data[0]), []).append(
                (buffer.pts / Gst.SECOND, data[1], self.programs[channel]))
        elif kind == NOTE_OFF:
            self.told += meta_notes(buffer)
            self.end(buffer.pts / Gst.SECOND, channel, data[0])

    def end(self, offset, channel, key):
        onset, velocity, program = self.sounding[channel, key].pop(0)
        self.notes.append(
            (onset, offset, key, velocity, program, channel == DRUMS))


def listen(path):
    pipeline = Gst.parse_launch(
        f'filesrc location="{path}" ! decodebin ! mt3transcribe '
        f'model-file="{MODEL}" ! audio/x-midi-event ! '
        'appsink name=sink sync=false')
    sink = pipeline.get_by_name('sink')
    pipeline.set_state(Gst.State.PLAYING)
    listener = Listener()
    while sample := sink.emit('pull-sample'):
        listener.hear(sample.get_buffer())
    error = pipeline.get_bus().pop_filtered(Gst.MessageType.ERROR)
    pipeline.set_state(Gst.State.NULL)
    if error:
        sys.exit(f'{path}: {error.parse_error()}')
    return listener


def check(folder):
    """Yields what differs."""
    expected = rounded(golden_notes(folder))
    listener = listen(folder / 'audio.flac')
    print(f'{folder.name}: {len(expected)} notes')
    for source, notes in (('MIDI', listener.notes), ('meta', listener.told)):
        notes = rounded(notes)
        if notes != expected:
            odd = sorted(set(notes) ^ set(expected))[:4]
            yield (f'{folder.name}: {source}: {len(notes)} notes, not '
                   f'{len(expected)}; {odd}')


def main():
    folders = [folder for folder in clip_folders()
               if not sys.argv[1:] or folder.name in sys.argv[1:]]
    if not folders:
        skip('no clips')
    faults = [fault for folder in folders for fault in check(folder)]
    print('\n'.join(faults) if faults else f'{len(folders)} clips equal')
    return 1 if faults else 0


if __name__ == '__main__':
    sys.exit(main())
