#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The model that comes with gst-mt3, where no other is installed.

MT3_BUILD_DIR comes from meson.build. The demo piece is rendered and
transcribed; the floors are below what any model worth shipping reaches.
"""
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PIPELINES = ROOT / 'pipelines'
sys.path[:0] = [str(PIPELINES), str(ROOT / 'tests/accuracy')]
from metrics import score  # noqa: E402
from midi_notes import read_notes  # noqa: E402


class ShippedModel(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.dir = Path(folder.name)
        self.env = {**os.environ, 'XDG_DATA_HOME': str(self.dir),
                    'XDG_DATA_DIRS': str(self.dir),
                    'GST_REGISTRY': str(self.dir / 'registry.bin')}
        self.env.pop('GST_MT3_MODEL', None)

    def run_recipe(self, name, *args):
        interpreter = [sys.executable] if name.endswith('.py') else []
        result = subprocess.run(
            [*interpreter, PIPELINES / name, *args], cwd=self.dir,
            env=self.env, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(result.returncode, 0, result.stdout)

    def test_hears_what_the_demo_piece_plays(self):
        self.run_recipe('demo-piece.py', 'piece.mid')
        self.run_recipe('play-midi.sh', 'piece.mid', 'piece.wav')
        self.run_recipe('transcribe-file.sh', 'piece.wav', 'heard.mid')
        scores = score(read_notes(self.dir / 'piece.mid'),
                       read_notes(self.dir / 'heard.mid'), 0.05)
        self.assertGreater(scores['onset'], 0.7, scores)
        self.assertGreater(scores['drum classes'], 0.7, scores)

    def test_is_found_by_the_recipes_in_python(self):
        (self.dir / 'in').mkdir()
        subprocess.run(
            ['gst-launch-1.0', '-q', *'audiotestsrc num-buffers=20 ! wavenc ! '
             'filesink location=in/a.wav'.split()], cwd=self.dir, check=True)
        self.run_recipe('transcribe-folder.py', 'in', 'out')
        self.assertTrue((self.dir / 'out' / 'a.mid').exists())

    def test_hears_nothing_in_silence_and_noise(self):
        for wave in ('silence', 'white-noise', 'pink-noise'):
            with self.subTest(wave):
                subprocess.run(
                    ['gst-launch-1.0', '-q', *f'audiotestsrc wave={wave} '
                     'num-buffers=200 ! wavenc ! filesink location=a.wav'
                     .split()], cwd=self.dir, check=True)
                self.run_recipe('transcribe-file.sh', 'a.wav', 'a.mid')
                self.assertEqual(read_notes(self.dir / 'a.mid'), [])


if __name__ == '__main__':
    unittest.main()
