#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Built and installed into a prefix of its own, gst-mt3 finds what lies there.

MT3_SOURCE_DIR comes from meson.build. Slow: it builds.
"""
import os
import subprocess
import tempfile
import unittest
from pathlib import Path


class Prefix(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.dir = Path(folder.name)
        build = cls.dir / 'build'
        cls.setup = cls.run_command(
            'meson', 'setup', build, os.environ['MT3_SOURCE_DIR'],
            f'--prefix={cls.dir / "prefix"}', '--libdir=lib',
            '-Dcuda=disabled', '-Dtests=disabled', '-Dbenchmarks=disabled',
            '-Dintrospection=disabled', '-Dnls=enabled')
        cls.run_command('ninja', '-C', build, 'install')
        cls.model = cls.dir / 'prefix/share/gst-mt3/model.safetensors'
        # Nothing but the prefix: no home, no system.
        cls.env = {
            **{name: value for name, value in os.environ.items()
               if name != 'GST_MT3_MODEL'},
            'XDG_DATA_HOME': str(cls.dir), 'XDG_DATA_DIRS': str(cls.dir),
            'LC_ALL': 'C.UTF-8', 'LANGUAGE': 'de',
            'LD_LIBRARY_PATH': str(cls.dir / 'prefix/lib'),
            'GST_PLUGIN_PATH': str(cls.dir / 'prefix/lib/gstreamer-1.0'),
            'GST_REGISTRY': str(cls.dir / 'registry.bin')}

    @staticmethod
    def run_command(*command, code=0, **more):
        result = subprocess.run(
            command, text=True, encoding='utf-8', stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more)
        assert result.returncode == code, (command, result.stdout)
        return result.stdout

    def transcribe(self, code=0):
        return self.run_command(
            'gst-launch-1.0', *'audiotestsrc num-buffers=20 ! mt3transcribe ! '
            'filesink location=a.mid'.split(), cwd=self.dir, env=self.env,
            code=code)

    def test_setup_says_how_gstreamer_finds_the_plugin_there(self):
        self.assertIn(self.env['GST_PLUGIN_PATH'], self.setup)
        self.assertIn('set GST_PLUGIN_PATH', self.setup)

    def test_without_a_model_it_says_in_german_what_to_do(self):
        away = self.model.rename(self.dir / 'away.safetensors')
        self.addCleanup(away.rename, self.model)
        # That of gst-launch-1.0 when the change to PAUSED fails.
        said = self.transcribe(code=255)
        self.assertIn('Es wurde kein Modell gefunden', said)
        self.assertIn(str(self.model), said)

    def test_the_model_that_comes_along_transcribes(self):
        self.transcribe()
        self.assertEqual((self.dir / 'a.mid').read_bytes()[:4], b'MThd')


if __name__ == '__main__':
    unittest.main()
