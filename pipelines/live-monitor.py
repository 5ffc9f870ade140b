#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Prints the notes of live audio as they come, some seconds after they sound.

Listens to the microphone, to any live source that gst-launch-1.0 could name
(--source "pulsesrc device=monitor"), or to a file at the speed of its music.
When the computer is too slow, what is left out is reported.
"""
import argparse
import signal
import sys

try:
    import gi
    gi.require_version('Gst', '1.0')
    from gi.repository import GLib, Gst
    from find_plugin import describe_error, init_gstreamer, set_properties
except (ImportError, ValueError) as error:
    sys.exit(f'live-monitor.py: {error}. On Debian: apt-get install '
             'python3-gi gir1.2-gstreamer-1.0.')

PIPELINE = ('{source} ! mt3transcribe name=mt3 ! audio/x-midi-event ! '
            'fakesink name=sink sync=true signal-handoffs=true')
FILE = 'filesrc name=file ! decodebin caps=audio/x-raw expose-all-streams=false'

KEYS = ('C', 'C#', 'D', 'D#', 'E', 'F', 'F#', 'G', 'G#', 'A', 'A#', 'B')
DRUMS = 9  # the channel
NOTE_ON, PROGRAM = 0x90, 0xc0


class Monitor:
    """Reads live MIDI: one message a buffer, its status byte first."""

    def __init__(self):
        self.programs = {}  # by channel

    def handle_buffer(self, sink, buffer, pad):
        status, *data = buffer.extract_dup(0, buffer.get_size())
        kind, channel = status & 0xf0, status & 0x0f
        if kind == PROGRAM:
            self.programs[channel] = data[0]
        elif kind == NOTE_ON:
            self.print_note(buffer.pts / Gst.SECOND, channel, *data)

    def print_note(self, seconds, channel, key, velocity):
        if channel == DRUMS:
            what = f'drum {key}'
        else:
            what = (f'{KEYS[key % 12]}{key // 12 - 1:<4} '
                    f'program {self.programs[channel]}')
        print(f'{seconds:9.2f} s  {what}', flush=True)


def handle_message(bus, message, pipeline, loop):
    if message.type == Gst.MessageType.EOS:
        loop.quit()
    elif message.type == Gst.MessageType.LATENCY:
        pipeline.recalculate_latency()
    elif message.type == Gst.MessageType.WARNING:
        print(message.parse_warning()[0].message, file=sys.stderr)
    elif message.type == Gst.MessageType.ERROR:
        sys.exit(f'live-monitor.py: {describe_error(message)}')


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group()
    source.add_argument('--source', default='autoaudiosrc',
                        help='of gst-launch-1.0 (%(default)s)')
    source.add_argument('--file', help='audio or video')
    parser.add_argument('settings', nargs='*', metavar='PROPERTY=VALUE',
                        help='of mt3transcribe, such as device=cpu')
    return parser.parse_args()


def make_pipeline(arguments):
    source = FILE if arguments.file else arguments.source
    try:
        pipeline = Gst.parse_launch(PIPELINE.format(source=source))
    except GLib.Error as error:
        sys.exit(f'live-monitor.py: {error.message}')
    if arguments.file:
        pipeline.get_by_name('file').set_property('location', arguments.file)
    set_properties(pipeline.get_by_name('mt3'), [
        setting.partition('=')[::2] for setting in arguments.settings])
    pipeline.get_by_name('sink').connect('handoff', Monitor().handle_buffer)
    return pipeline


def main():
    arguments = parse_arguments()
    init_gstreamer()
    pipeline = make_pipeline(arguments)
    loop = GLib.MainLoop()
    bus = pipeline.get_bus()
    bus.add_signal_watch()
    bus.connect('message', handle_message, pipeline, loop)
    # What is under way is still printed.
    GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, signal.SIGINT,
                         pipeline.send_event, Gst.Event.new_eos())
    pipeline.set_state(Gst.State.PLAYING)
    try:
        loop.run()
    finally:
        pipeline.set_state(Gst.State.NULL)


if __name__ == '__main__':
    main()
