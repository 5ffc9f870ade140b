#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What applications do with notes: mt3-notes-jsonl and the examples.

Environment as for recipes.py; what the random model hears is noise here too.
"""
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import unittest
from pathlib import Path

from recipes import Recipe, read_notes

BUILD = Path(os.environ['MT3_BUILD_DIR'])
PIPELINES = Path(__file__).resolve().parents[3] / 'pipelines'
MODEL = os.environ['MT3_TINY_MODEL']


class Application(Recipe):
    def setUp(self):
        super().setUp()
        self.env |= {
            'GST_PLUGIN_PATH': str(BUILD / 'ext/mt3/element'),
            'GI_TYPELIB_PATH': str(BUILD / 'gst/mt3'),
            'LD_LIBRARY_PATH': str(BUILD / 'gst/mt3'),
            'LC_ALL': 'C.UTF-8'}

    def run_program(self, *command, code=0, **env):
        """Returns what it wrote to stdout and stderr."""
        result = subprocess.run(
            command, cwd=self.dir, env=self.env | env, text=True,
            stdin=subprocess.DEVNULL, capture_output=True)
        self.assertEqual(result.returncode, code, result.stderr)
        return result.stdout, result.stderr


class NotesJsonl(Application):
    FIELDS = {'id': int, 'onset': float, 'offset': float, 'pitch': int,
              'velocity': int, 'program': int, 'program_name': str,
              'drum': bool, 'confidence': float}

    def print_notes(self, *args, **kwargs):
        return self.run_program(PIPELINES / 'notes-jsonl', *args, **kwargs)

    def test_prints_an_object_a_note(self):
        self.make_audio('a.flac', 20)
        output, _ = self.print_notes('a.flac')
        notes = [json.loads(line) for line in output.splitlines()]
        self.assertGreater(len(notes), 0)
        for note in notes:
            self.assertEqual(
                {name: type(value) for name, value in note.items()},
                self.FIELDS)

    def test_prints_the_notes_of_the_file(self):
        self.make_audio('a.flac', 20)
        output, _ = self.print_notes('a.flac')
        self.run_recipe('transcribe-file.sh', 'a.flac', 'a.mid')
        printed = [json.loads(line) for line in output.splitlines()]
        self.assertEqual(
            sorted((n['onset'], n['offset'], n['pitch'], n['velocity'],
                    n['program'], n['drum']) for n in printed),
            [tuple(note) for note in read_notes(self.dir / 'a.mid')])

    def test_writes_numbers_as_json_has_them_in_every_locale(self):
        locale = self.dir / 'de_DE.UTF-8'
        if not shutil.which('localedef') or subprocess.run(
                ['localedef', '--no-archive', '-i', 'de_DE', '-f', 'UTF-8',
                 locale], stderr=subprocess.DEVNULL).returncode:
            self.skipTest('cannot make a German locale (package locales)')
        german = {'LOCPATH': str(self.dir), 'LC_ALL': 'de_DE.UTF-8'}
        self.assertEqual(self.run_program(
            '/usr/bin/printf', '%.1f', '1,5', **german)[0], '1,5')
        self.make_audio('a.flac', 20)
        plain, _ = self.print_notes('a.flac')
        self.assertEqual(self.print_notes('a.flac', **german)[0], plain)

    def test_takes_a_uri_too(self):
        path = self.make_audio('a.flac', 20).rename(self.dir / 'a b.flac')
        self.assertEqual(self.print_notes(path.as_uri()),
                         self.print_notes('a b.flac'))

    def test_reads_a_file_whose_name_looks_like_a_uri(self):
        self.make_audio('a.flac').rename(self.dir / 'Mozart: Sonata.flac')
        self.print_notes('Mozart: Sonata.flac')

    def test_passes_properties_on(self):
        self.make_audio('a.flac')
        self.print_notes('a.flac', f'model-file={MODEL}', 'device=cpu',
                         GST_MT3_MODEL='/nonexistent')

    def test_is_silent_about_progress_unless_one_watches(self):
        self.make_audio('a.flac')
        self.assertEqual(self.print_notes('a.flac')[1], '')

    def test_explains_itself(self):
        output, _ = self.print_notes('--help')
        for field in self.FIELDS:
            self.assertIn(f'"{field}"', output)

    def test_says_what_is_wrong(self):
        self.make_audio('a.flac')
        (self.dir / 'b.flac').write_text('no audio at all')
        self.launch('videotestsrc num-buffers=5 ! jpegenc ! matroskamux !',
                    'filesink location=v.mkv')
        for args, code, words in (
                (['--nonsense'], 2, '--nonsense'),
                (['none.flac'], 1, 'none.flac'),
                (['b.flac'], 1, 'b.flac'),
                (['v.mkv'], 1, 'v.mkv: there is no sound in it'),
                (['a.flac', 'colour=blue'], 2, 'colour=blue'),
                (['a.flac', 'stats=1'], 2, 'stats=1'),
                (['a.flac', 'device'], 2, 'device'),
                (['a.flac', 'device=toaster'], 2, 'toaster'),
                (['a.flac', 'velocity=200'], 2, 'velocity cannot be 200'),
                (['a.flac', 'programs=pianoo'], 1, "'pianoo' is no"),
                (['a.flac', 'model-file=.'], 1, 'no file named checkpoint'),
                (['a.flac', 'model-file=/nonexistent'], 1, '/nonexistent')):
            with self.subTest(args):
                output, errors = self.print_notes(*args, code=code)
                self.assertEqual(output, '')
                self.assertIn('mt3-notes-jsonl: ', errors)
                self.assertIn(words, errors)

    def test_says_how_to_build_it(self):
        _, errors = self.print_notes('a.flac', code=1,
                                     MT3_BUILD_DIR='/nonexistent')
        self.assertIn('mt3-notes-jsonl is not built in /nonexistent', errors)
        self.assertIn('ninja -C build', errors)

    def test_says_that_the_disk_is_full(self):
        self.make_audio('a.flac', 20)
        with open('/dev/full', 'w') as full:
            result = subprocess.run(
                [PIPELINES / 'notes-jsonl', 'a.flac'], cwd=self.dir,
                env=self.env, stdout=full, stderr=subprocess.PIPE, text=True)
        self.assertEqual(result.returncode, 1)
        self.assertIn('cannot write', result.stderr)


class Terminal(Application):
    """mt3-notes-jsonl with somebody before it."""

    def setUp(self):
        super().setUp()
        self.launch('audiotestsrc wave=saw num-buffers=3600 samplesperbuffer='
                    '8000 ! audio/x-raw,rate=8000,format=S16LE ! wavenc !',
                    'filesink location=hour.wav')
        self.screen, terminal = pty.openpty()
        self.addCleanup(os.close, self.screen)
        self.process = subprocess.Popen(
            [BUILD / 'pipelines/mt3-notes-jsonl', 'hour.wav'], cwd=self.dir,
            env=self.env, stdout=subprocess.PIPE, stderr=terminal, text=True)
        os.close(terminal)
        self.addCleanup(self.process.stdout.close)

    def wait_progress(self):
        seen = ''
        while not re.search(r'\d+ percent', seen):
            seen += os.read(self.screen, 1000).decode()

    def test_shows_progress(self):
        self.wait_progress()
        self.process.kill()
        self.process.wait()

    def test_ends_with_whole_lines_when_interrupted(self):
        self.wait_progress()
        self.process.send_signal(signal.SIGINT)
        output = self.process.stdout.read()
        self.assertEqual(self.process.wait(), 130)
        for line in output.splitlines():
            json.loads(line)


class ReadNotes(Application):
    EXAMPLES = ((BUILD / 'pipelines/read-notes',),
                (sys.executable, PIPELINES / 'read-notes.py'))

    def setUp(self):
        super().setUp()
        self.make_audio('a.flac', 20)

    def test_reads_the_same_off_messages_and_buffers(self):
        for example in self.EXAMPLES:
            with self.subTest(example):
                lines = self.run_program(*example, 'a.flac')[0].splitlines()
                ended = {source: {text for where, text in (
                    line.split(': ', 1) for line in lines)
                    if where == source and ' to ' in text}
                    for source in ('message', 'buffer')}
                self.assertGreater(len(ended['message']), 0)
                self.assertEqual(ended['message'], ended['buffer'])

    def test_c_and_python_read_the_same(self):
        in_c, in_python = (
            sorted(self.run_program(*example, 'a.flac')[0].splitlines())
            for example in self.EXAMPLES)
        self.assertEqual(in_c, in_python)

    def test_says_what_went_wrong(self):
        for example in self.EXAMPLES:
            with self.subTest(example):
                output, errors = self.run_program(
                    *example, 'none.flac', code=1)
                self.assertIn('read-notes', errors)


if __name__ == '__main__':
    unittest.main()
