#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""pipelines/transcribe-folder.py with many files, bad ones, and its death."""
import os
import shutil
import signal
import subprocess
import sys
import unittest
from pathlib import Path

from recipes import MODEL, PIPELINES, Recipe

N_FILES = 300
# 250 files take 0.3 MiB, and 16 where their pipelines are not freed.
MAX_GROWTH = 4 << 20


def resident_bytes(pid):
    for line in Path(f'/proc/{pid}/status').read_text().splitlines():
        if line.startswith('VmRSS:'):
            return int(line.split()[1]) << 10
    raise AssertionError('no VmRSS')


class Batch(Recipe):
    def setUp(self):
        super().setUp()
        self.launch('audiotestsrc wave=saw num-buffers=4 samplesperbuffer=4000',
                    '! audio/x-raw,rate=16000 ! wavenc !',
                    'filesink location=one.wav')
        self.run_recipe('transcribe-file.sh', 'one.wav', 'one.mid')
        self.expected = (self.dir / 'one.mid').read_bytes()

    def make_input(self, names):
        for name in names:
            path = self.dir / 'in' / name
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.dir / 'one.wav', path)

    def start(self, *options):
        return subprocess.Popen(
            [sys.executable, PIPELINES / 'transcribe-folder.py', 'in', 'out',
             *options], cwd=self.dir, env=self.env, text=True,
            errors='backslashreplace', stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def results(self):
        return {path.relative_to(self.dir / 'out'): path
                for path in (self.dir / 'out').rglob('*') if path.is_file()}


class ManyFiles(Batch):
    def test_take_one_model_and_no_more_memory(self):
        self.make_input(f'{i % 10}/{i:03}.wav' for i in range(N_FILES))
        model = self.dir / 'model.safetensors'
        shutil.copy(MODEL, model)
        resident = []
        with self.start('--jobs=1', f'--model-file={model}') as batch:
            for i, line in enumerate(batch.stdout):
                self.assertNotIn('FAILED', line)
                if i == 0:
                    self.spoil(model)
                resident.append(resident_bytes(batch.pid))
        self.assertEqual(batch.returncode, 0)
        self.assertEqual(len(self.results()), N_FILES)
        self.assertLess(max(resident[50:]) - resident[50], MAX_GROWTH)

    def spoil(self, model):
        """Puts another file in the model's place that nobody can tell from it
        without reading it again."""
        before = model.stat()
        spoilt = self.dir / 'spoilt'
        spoilt.write_bytes(bytes(before.st_size))
        os.utime(spoilt, ns=(before.st_atime_ns, before.st_mtime_ns))
        spoilt.replace(model)


class Death(Batch):
    def test_leaves_whole_files_and_the_next_run_does_the_rest(self):
        self.make_input(f'{i:02}.wav' for i in range(40))
        with self.start() as batch:
            for _ in range(10):
                batch.stdout.readline()
            batch.send_signal(signal.SIGKILL)
        whole = {name: path.stat().st_mtime_ns
                 for name, path in self.results().items()
                 if path.suffix == '.mid'}
        self.assertGreaterEqual(len(whole), 10)
        self.assertLess(len(whole), 40)
        self.run_recipe('transcribe-folder.py', 'in', 'out')
        results = self.results()
        self.assertEqual(len(results), 40)
        for name, path in results.items():
            self.assertEqual(path.read_bytes(), self.expected, name)
        for name, time in whole.items():
            self.assertEqual(results[name].stat().st_mtime_ns, time, name)


    def test_of_its_reader_ends_it(self):
        self.make_input(f'{i:02}.wav' for i in range(40))
        with self.start() as batch:
            batch.stdout.readline()
            batch.stdout.close()
            self.assertEqual(batch.wait(), -signal.SIGPIPE)


class BadFiles(Batch):
    def setUp(self):
        super().setUp()
        self.make_input(['a.wav', 'z.wav'])

    def assert_only_fails(self, *names):
        answer = self.run_recipe('transcribe-folder.py', 'in', 'out', code=1)
        for name in names:
            self.assertRegex(answer, rf'{name}: FAILED: \S')
        self.assertIn(f'{len(names)} of {len(names) + 2} files failed', answer)
        self.assertEqual({str(name) for name in self.results()},
                         {'a.mid', 'z.mid'})

    def test_of_every_kind_are_reported(self):
        whole = (self.dir / 'one.wav').read_bytes()
        for name, content in {'empty.wav': b'', 'text.mp3': b'no music\n' * 99,
                              'header.wav': whole[:30]}.items():
            (self.dir / 'in' / name).write_bytes(content)
        self.launch('videotestsrc num-buffers=5 ! jpegenc ! matroskamux !',
                    'filesink location=in/mute.mkv')
        self.assert_only_fails('empty.wav', 'text.mp3', 'header.wav',
                               'mute.mkv')

    def test_whose_output_cannot_be_written_are_reported(self):
        self.make_input(['folder.wav', 'file/b.wav'])
        (self.dir / 'out/folder.mid').mkdir(parents=True)
        os.utime(self.dir / 'out/folder.mid', (0, 0))
        (self.dir / 'out/file').write_text('')
        answer = self.run_recipe('transcribe-folder.py', 'in', 'out', code=1)
        self.assertRegex(answer, r'folder.wav: FAILED: \S')
        self.assertRegex(answer, r'b.wav: FAILED: \S')
        self.assertIn('2 of 4 files failed', answer)

    def test_may_have_any_name(self):
        name = b'caf\xe9 #1?%.wav'
        shutil.copy(self.dir / 'one.wav',
                    os.path.join(os.fsencode(self.dir), b'in', name))
        self.run_recipe('transcribe-folder.py', 'in', 'out')
        self.assertEqual(len(self.results()), 3)

    def test_are_not_looked_at_without_a_model(self):
        answer = self.run_recipe('transcribe-folder.py', 'in', 'out',
                                 '--model-file=/no/such', code=1)
        self.assertIn('/no/such', answer)
        self.assertNotIn('a.wav', answer)


if __name__ == '__main__':
    unittest.main()
