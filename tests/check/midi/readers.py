#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Others read from our files the notes that we wrote.

Usage: readers.py NOTES_TO_MIDI

A band of our own always, and the notes of every evaluation clip if MT3_SHARED
names them. Readers that are not installed are skipped.
"""
import collections
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

try:
    import mido
except ImportError:
    mido = None
try:
    import pretty_midi
except ImportError:
    pretty_midi = None
try:
    import gi
    gi.require_version('Gst', '1.0')
    from gi.repository import Gst
    Gst.init(None)
except (ImportError, ValueError):
    Gst = None

WILDMIDI_CONFIG = '/etc/wildmidi/wildmidi.cfg'
DRUMS = 128

# 20 instruments, so that ports are needed, and drums; a key repeats at once.
BAND = [[0.5 * step, 0.5 * step + 0.5, 40 + program, 1 + 6 * program,
         6 * program, False]
        for step in range(4) for program in range(20)]
BAND += [[0.25 * step, 0.25 * step + 0.01, 36 + step, 127, 0, True]
         for step in range(8)]


def has_element(name):
    return Gst is not None and Gst.ElementFactory.find(name) is not None


def songs():
    yield 'band', BAND
    shared = pathlib.Path(os.environ.get('MT3_SHARED', '/nonexistent'))
    for path in sorted(shared.glob('eval/*/*/notes.json')):
        yield path.parent.name, json.loads(path.read_text())['notes']


def milliseconds(seconds):
    return round(1000 * seconds)


def written(notes):
    """(onset ms, end ms, key, velocity, program or DRUMS), sorted."""
    return sorted((milliseconds(onset), milliseconds(end), key, velocity,
                   DRUMS if is_drum else program)
                  for onset, end, key, velocity, program, is_drum in notes)


def read_by_mido(path):
    song = mido.MidiFile(path)
    assert song.type == 1 and song.ticks_per_beat == 500
    for track in song.tracks[1:]:
        now, program, sounding = 0, None, collections.defaultdict(list)
        for message in track:
            now += message.time
            if message.type == 'program_change':
                program = DRUMS if message.channel == 9 else message.program
            elif message.type == 'note_on':
                sounding[message.note].append((now, message.velocity))
            elif message.type == 'note_off':
                onset, velocity = sounding[message.note].pop(0)
                yield onset, now, message.note, velocity, program
        assert not any(sounding.values())


def read_by_pretty_midi(path):
    for instrument in pretty_midi.PrettyMIDI(path).instruments:
        for note in instrument.notes:
            yield (milliseconds(note.start), milliseconds(note.end),
                   note.pitch, note.velocity,
                   DRUMS if instrument.is_drum else instrument.program)


def read_by_midiparse(path):
    """Messages: (ms, whether an onset, key). midiparse knows no ports."""
    pipeline = Gst.parse_launch(
        f'filesrc location="{path}" ! midiparse ! appsink name=sink sync=false')
    sink = pipeline.get_by_name('sink')
    pipeline.set_state(Gst.State.PLAYING)
    while (sample := sink.emit('pull-sample')) is not None:
        buffer = sample.get_buffer()
        message = buffer.extract_dup(0, buffer.get_size())
        if message[0] & 0xe0 == 0x80:
            yield (round(buffer.pts / Gst.MSECOND), message[0] & 0x10 != 0,
                   message[1])
    pipeline.set_state(Gst.State.NULL)


class Readers(unittest.TestCase):
    maxDiff = 2000

    def check(self, read, expected):
        for name, notes in songs():
            with self.subTest(song=name), tempfile.TemporaryDirectory() as tmp:
                song = os.path.join(tmp, 'notes.json')
                path = os.path.join(tmp, 'notes.mid')
                pathlib.Path(song).write_text(json.dumps({'notes': notes}))
                subprocess.run([NOTES_TO_MIDI, song, path], check=True)
                self.assertEqual(sorted(read(path)), expected(notes))

    @unittest.skipIf(mido is None, 'needs mido')
    def test_mido_reads_the_same_notes(self):
        self.check(read_by_mido, written)

    @unittest.skipIf(pretty_midi is None, 'needs pretty_midi')
    def test_pretty_midi_reads_the_same_notes(self):
        self.check(read_by_pretty_midi, written)

    @unittest.skipUnless(has_element('midiparse') and has_element('appsink'),
                         'needs PyGObject, midiparse and appsink')
    def test_midiparse_reads_the_same_onsets_and_ends(self):
        self.check(read_by_midiparse, lambda notes: sorted(
            [(onset, True, key) for onset, _, key, *_ in written(notes)] +
            [(end, False, key) for _, end, key, *_ in written(notes)]))

    @unittest.skipUnless(
        has_element('wildmididec') and os.path.exists(WILDMIDI_CONFIG),
        'needs PyGObject, wildmididec and ' + WILDMIDI_CONFIG)
    def test_wildmididec_plays_to_the_end(self):
        self.check(play_by_wildmididec, lambda notes: [Gst.MessageType.EOS])


def play_by_wildmididec(path):
    pipeline = Gst.parse_launch(
        f'filesrc location="{path}" ! wildmididec ! fakesink')
    pipeline.set_state(Gst.State.PLAYING)
    message = pipeline.get_bus().timed_pop_filtered(
        Gst.CLOCK_TIME_NONE, Gst.MessageType.EOS | Gst.MessageType.ERROR)
    pipeline.set_state(Gst.State.NULL)
    return [message.type]


if __name__ == '__main__':
    if mido is None and pretty_midi is None and Gst is None:
        print('skipped: needs mido, pretty_midi or PyGObject')
        sys.exit(77)
    NOTES_TO_MIDI = sys.argv.pop(1)
    unittest.main(verbosity=2)
