#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Transcribes every audio and video file of a folder, in one process.

The MIDI files get the inputs' names and folders: INPUT/a/song.mp3 becomes
OUTPUT/a/song.mid. A file appears only when it is complete; run the command
again to go on where it stopped, or to try again what failed. All files share
one model, and several are under way at a time so that the engine always has
windows of audio to batch. A file that cannot be transcribed is reported and
the others go on. Files whose names are not those of audio or video are left
out, and counted at the end. Folders that are links are entered, each folder
once.
"""
import argparse
import signal
import sys
import time
from pathlib import Path

try:
    import gi
    gi.require_version('Gst', '1.0')
    from gi.repository import GLib, GObject, Gst
    from find_files import files_below
    from find_plugin import describe_error, init_gstreamer, set_properties
except (ImportError, ValueError) as error:
    sys.exit(f'transcribe-folder.py: {error}. On Debian: apt-get install '
             'python3-gi gir1.2-gstreamer-1.0.')

MAX_KINDS = 10  # named of what is left out

PIPELINE = ('filesrc name=source ! decodebin caps=audio/x-raw '
            'expose-all-streams=false ! mt3transcribe name=mt3 ! '
            'filesink name=sink')


# What GStreamer may decode. What the system thinks of names differs from one
# to the next, leaves out many of these and takes in MIDI and playlists.
SUFFIXES = frozenset('.' + name for name in (
    'aac ac3 adts aif aifc aiff amr ape au awb caf dff dsf dts eac3 flac gsm '
    'loas m4a m4b mka mlp mp1 mp2 mp3 mpc mpga oga ogg opus qcp ra rf64 shn '
    'snd spx tta voc w64 wav weba wma wv '
    '3g2 3gp asf avi dif dv f4v flv m2t m2ts m4v mk3d mkv mov mp4 mpe mpeg '
    'mpg mts mxf nut ogm ogv ogx qt rm rmvb ts viv vob webm wmv').split())


def is_media(path):
    suffix = path.suffix.lower()
    return suffix in SUFFIXES and (suffix not in ('.ts', '.mts')
                                   or is_transport_stream(path))


def is_transport_stream(path):
    """Rather than a text of the same suffix, such as TypeScript."""
    try:
        with path.open('rb') as file:
            head = file.read(197)
    except OSError:
        return True  # to be reported
    return any(head[at:at + 1] == head[at + packet:at + packet + 1] == b'G'
               for at, packet in ((0, 188), (4, 192)))


def make_transcriber(settings):
    element = Gst.ElementFactory.make('mt3transcribe')
    set_properties(element, settings.items())
    return element


def open_model(settings):
    """An element that keeps the model open from the first file to the last."""
    element = make_transcriber(settings)
    bus = Gst.Bus()
    element.set_bus(bus)
    element.set_state(Gst.State.READY)
    while True:
        message = bus.timed_pop_filtered(
            Gst.CLOCK_TIME_NONE, Gst.MessageType.ERROR |
            Gst.MessageType.PROGRESS)
        if message.type == Gst.MessageType.ERROR:
            element.set_state(Gst.State.NULL)
            sys.exit(f'transcribe-folder.py: {describe_error(message)}')
        if message.parse_progress()[0] == Gst.ProgressType.COMPLETE:
            return element


class Job:
    """One file on its way; calls done (job, error) when it has ended."""

    def __init__(self, source, target, settings, done):
        self.source, self.target, self.done = source, target, done
        self.part = target.with_name(f'.{target.name}.part')
        self.started = time.monotonic()
        self.pipeline = Gst.parse_launch(PIPELINE)
        # As URIs, since not every name of a file is text.
        for name, path in (('source', source), ('sink', self.part)):
            self.pipeline.get_by_name(name).set_uri(path.absolute().as_uri())
        set_properties(self.pipeline.get_by_name('mt3'), settings.items())

    def start(self):
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        self.watch = bus.connect('message', self.take_message)
        try:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            self.pipeline.set_state(Gst.State.PLAYING)
        except OSError as error:
            GLib.idle_add(self.finish, str(error))

    def take_message(self, _, message):
        if message.type == Gst.MessageType.EOS:
            self.finish()
        elif message.type == Gst.MessageType.ERROR:
            self.finish(describe_error(message))

    def stop(self):
        bus = self.pipeline.get_bus()
        bus.disconnect(self.watch)
        bus.remove_signal_watch()
        self.pipeline.set_state(Gst.State.NULL)

    def finish(self, error=None):
        self.stop()
        try:
            if error is None:
                self.part.replace(self.target)
            else:
                self.part.unlink(missing_ok=True)
        except OSError as problem:
            error = error or str(problem)
        self.done(self, error)


class Queue:
    """Keeps a number of jobs under way until none is left."""

    def __init__(self, work, settings, n_jobs):
        self.work, self.settings = work, settings
        self.total, self.n_done, self.failed = len(work), 0, []
        self.running = set()
        self.loop = GLib.MainLoop()
        self.n_jobs = n_jobs

    def run(self):
        if not self.work:
            return
        model = open_model(self.settings)
        self.fill()
        try:
            self.loop.run()
        finally:
            for job in self.running:
                job.stop()
                job.part.unlink(missing_ok=True)
            model.set_state(Gst.State.NULL)

    def fill(self):
        while self.work and len(self.running) < self.n_jobs:
            job = Job(*self.work.pop(0), self.settings, self.job_done)
            self.running.add(job)
            job.start()
        if not self.running:
            self.loop.quit()

    def job_done(self, job, error):
        self.running.discard(job)
        self.n_done += 1
        seconds = time.monotonic() - job.started
        if error:
            self.failed.append(job.source)
        print(f'[{self.n_done}/{self.total}] {job.source}: ' +
              (f'FAILED: {error}' if error else
               f'{job.target} ({seconds:.1f} s)'), flush=True)
        self.fill()


def plan(folder, output, force):
    """Pairs of input and output that are still to be done, and the files that
    are neither."""
    if not folder.is_dir():
        sys.exit(f'transcribe-folder.py: {folder} is not a folder')
    targets, others = {}, []
    for source in sorted(files_below(folder)):
        if not is_media(source):
            others.append(source)
            continue
        target = (output / source.relative_to(folder)).with_suffix('.mid')
        if target in targets:
            sys.exit(f'transcribe-folder.py: {source} and {targets[target]} '
                     f'would both become {target}; rename one')
        targets[target] = source
    others = [path for path in others if path not in targets]
    if not targets:
        report_others(others)
        sys.exit(f'transcribe-folder.py: no audio or video files in {folder}')
    work = [(source, target) for target, source in targets.items()
            if force or not target.exists()
            or target.stat().st_mtime < source.stat().st_mtime]
    if len(work) < len(targets):
        print(f'{len(targets) - len(work)} of {len(targets)} files are done '
              'already (--force does them again)')
    return work, others


def report_others(others):
    if others:
        kinds = ' '.join(sorted({path.suffix.lower() or path.name
                                 for path in others})[:MAX_KINDS])
        print('Left out, as their names are not those of audio or video: '
              f'{len(others)} file{"s" * (len(others) > 1)} ({kinds})')


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('input', type=Path, metavar='INPUT')
    parser.add_argument('output', type=Path, metavar='OUTPUT')
    parser.add_argument('--force', action='store_true',
                        help='transcribe again what is there already')
    parser.add_argument('--jobs', type=int, default=2, metavar='N',
                        help='files under way at a time (default 2)')
    properties = parser.add_argument_group('properties of mt3transcribe')
    specs = {spec.name: spec for spec in make_transcriber({}).list_properties()
             if spec.owner_type.name == 'GstMt3Transcribe'
             and spec.flags & GObject.ParamFlags.WRITABLE}
    for name, spec in specs.items():
        properties.add_argument(f'--{name}', dest=name, metavar='VALUE',
                                help=spec.blurb.replace('%', '%%'))
    args = parser.parse_args()
    settings = {name: value for name, value in vars(args).items()
                if name in specs and value is not None}
    make_transcriber(settings)  # ends with a complaint if it cannot
    return args, settings


def main():
    # Ends with whoever read what it prints, instead of raising in a callback.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.stdout.reconfigure(errors='backslashreplace')
    init_gstreamer()
    args, settings = parse_arguments()
    work, others = plan(args.input, args.output, args.force)
    queue = Queue(work, settings, max(1, args.jobs))
    try:
        queue.run()
    except KeyboardInterrupt:
        sys.exit(130)
    report_others(others)
    if queue.failed:
        sys.exit(f'{len(queue.failed)} of {queue.total} files failed')


if __name__ == '__main__':
    main()
