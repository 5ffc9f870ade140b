# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests with recordings share: the real model, and mt3transcribe."""
import json
import os
import sys
from pathlib import Path

SKIPPED = 77  # what meson test understands


def skip(reason):
    print(f'skipped: {reason}')
    sys.exit(SKIPPED)


try:
    import gi
    gi.require_version('Gst', '1.0')
    gi.require_version('GstMt3', '1.0')
    from gi.repository import Gst, GstMt3
    import mido  # noqa: F401 (midi_notes needs it)
except (ImportError, ValueError) as missing:
    skip(f'needs PyGObject, Gst and GstMt3 typelibs and mido ({missing})')

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / 'pipelines'))
from midi_notes import read_notes  # noqa: E402

SHARED = Path(os.environ.get('MT3_SHARED', ''))
MODEL = SHARED / 'mt3-checkpoint'
if not MODEL.exists():
    skip(f'no published checkpoint at {MODEL}')
Gst.init(None)


def clip_folders():
    return sorted(path.parent for path in SHARED.glob('eval/*/*/notes.json'))


def golden_notes(folder):
    notes = json.loads((folder / 'notes.json').read_text())['notes']
    return [tuple(note) for note in notes]


def meta_notes(buffer):
    return [(note.onset / Gst.SECOND, note.end / Gst.SECOND, note.pitch,
             note.velocity, note.program, note.is_drum)
            for note in GstMt3.buffer_get_mt3_notes(buffer)]


def transcribe(path, scratch, decode='decodebin', properties=''):
    """Returns the notes of the buffer's metas, those of the file, and stats."""
    pipeline = Gst.parse_launch(
        f'filesrc location="{path}" ! {decode} ! mt3transcribe name=mt3 '
        f'{properties} ! appsink name=sink sync=false')
    mt3 = pipeline.get_by_name('mt3')
    mt3.set_property('model-file', str(MODEL))
    pipeline.set_state(Gst.State.PLAYING)
    sample = pipeline.get_by_name('sink').emit('pull-sample')
    error = pipeline.get_bus().pop_filtered(Gst.MessageType.ERROR)
    if error or not sample:
        sys.exit(f'{path}: {error.parse_error() if error else "no file"}')
    stats = mt3.get_property('stats')
    buffer = sample.get_buffer()
    midi = Path(scratch) / 'transcription.mid'
    midi.write_bytes(buffer.extract_dup(0, buffer.get_size()))
    notes = meta_notes(buffer)
    pipeline.set_state(Gst.State.NULL)
    return notes, [tuple(note) for note in read_notes(midi)], stats


def rounded(notes):
    """As notes.json writes them: to 10 ms, which is all MT3 tells."""
    return sorted((round(note[0], 2), round(note[1], 2), *note[2:])
                  for note in notes)
