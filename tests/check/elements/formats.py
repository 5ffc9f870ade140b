#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Recordings as people have them, through decodebin, give the same music.

Each clip becomes 44.1 or 48 kHz stereo in usual formats (by ffmpeg). Lossless
ones differ only by two resamplings; lossy ones change what MT3 hears, above
all in chip music with its bright tones. The bounds are what the worse of the
clips reached (1.00 lossless, 0.95 AAC by libav and 0.82 by FAAD, 0.84 MP3 and
Vorbis), less a margin.
"""
import subprocess
import shutil
import sys
import tempfile
from pathlib import Path

from recordings import SHARED, golden_notes, rounded, skip, transcribe

CLIPS = ('asap_mozart', 'openmsx_the_fast_route')
ONSET_TOLERANCE = 0.05

# As good as a studio's: the clips have music up to their last hertz, and what
# ffmpeg does by default dulls it before any of this project hears it.
FILTER = ('aresample={}:filter_size=256:cutoff=0.995,'
          'pan=stereo|c0=c0|c1=c0')
STEREO = ('-af', FILTER.format(44100))
VIDEO = ('-f', 'lavfi', '-i', 'testsrc=size=64x48:rate=10', '-shortest',
         '-c:v', 'mpeg4')
LIBAV = subprocess.run(['gst-inspect-1.0', '--exists', 'avdec_aac'],
                       check=False).returncode == 0
AAC_BOUND = 0.9 if LIBAV else 0.78
# File name, what ffmpeg makes it with, least F-measure.
FORMATS = (
    ('cd.flac', (*STEREO, '-sample_fmt', 's16'), 0.98),
    ('dvd.wav', ('-af', FILTER.format(48000), '-c:a', 'pcm_s24le'), 0.98),
    ('song.mp3', (*STEREO, '-c:a', 'libmp3lame', '-b:a', '192k'), 0.8),
    ('song.ogg', (*STEREO, '-c:a', 'libvorbis', '-q:a', '6'), 0.8),
    ('song.m4a', (*STEREO, '-c:a', 'aac', '-b:a', '192k'), AAC_BOUND),
    ('video.mp4', (*VIDEO, *STEREO, '-c:a', 'aac', '-b:a', '192k'),
     AAC_BOUND),
    ('video.mkv', (*VIDEO, *STEREO, '-c:a', 'libvorbis', '-q:a', '6'), 0.8),
)


def f_measure(found, expected):
    """Notes match by pitch and kind, with onsets within the tolerance."""
    left = list(expected)
    matched = 0
    for onset, _, pitch, _, _, is_drum in found:
        near = [note for note in left if (note[2], note[5]) == (pitch, is_drum)
                and abs(note[0] - onset) <= ONSET_TOLERANCE]
        if near:
            left.remove(min(near, key=lambda note: abs(note[0] - onset)))
            matched += 1
    return 2 * matched / max(1, len(found) + len(expected))


def encode(source, options, path):
    result = subprocess.run(
        ['ffmpeg', '-loglevel', 'error', '-y', '-i', source, *options, path],
        capture_output=True, text=True, check=False)
    if result.returncode:
        print(f'{path.name}: not made: {result.stderr.strip()}')
    return result.returncode == 0


def check(clip, scratch):
    """Yields what is too different."""
    folder = SHARED / 'eval' / 'dev' / clip
    expected = rounded(golden_notes(folder))
    for name, options, bound in FORMATS:
        path = Path(scratch) / name
        if not encode(folder / 'audio.flac', options, path):
            continue
        # Of a video decodebin would show the pictures too.
        _, notes, _ = transcribe(
            path, scratch, decode='decodebin caps=audio/x-raw')
        score = f_measure(rounded(notes), expected)
        print(f'{clip}: {name}: F-measure {score:.3f}')
        if score < bound:
            yield f'{clip}: {name}: F-measure {score:.3f} < {bound}'


def main():
    if not shutil.which('ffmpeg'):
        skip('no ffmpeg')
    with tempfile.TemporaryDirectory() as scratch:
        faults = [fault for clip in CLIPS for fault in check(clip, scratch)]
    print('\n'.join(faults))
    return 1 if faults else 0


if __name__ == '__main__':
    sys.exit(main())
