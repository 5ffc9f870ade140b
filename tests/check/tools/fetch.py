#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""mt3-model fetch against a web server that works, and one that does not.

Usage: fetch.py MT3-MODEL MAKE-T5X
"""
import fcntl
import hashlib
import os
import pathlib
import pty
import resource
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import unittest

import server as web

MT3_MODEL, MAKE_T5X = (os.path.abspath(path) for path in sys.argv[1:3])
CHECKPOINT = pathlib.Path(os.environ['MT3_SHARED']) / 'mt3-checkpoint'
KERNEL = 'target.encoder.layers_0.mlp.wi_0.kernel/0.0'
# None of the small checkpoint's files has as many bytes, but its model has.
SMALL_DISK = 16384
SMALLER_DISK = 512


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def read_folder(folder):
    return {'/' + str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob('*')) if path.is_file()}


class Fetch(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.path = pathlib.Path(temporary.name)
        checkpoint = self.path / 'checkpoint'
        checkpoint.mkdir()
        subprocess.run([MAKE_T5X, checkpoint], check=True)
        self.env = {'PATH': os.environ['PATH'], 'HOME': str(self.path),
                    'XDG_DATA_HOME': str(self.path / 'data'),
                    'XDG_CACHE_HOME': str(self.path / 'cache'),
                    'ASAN_OPTIONS': os.environ.get('ASAN_OPTIONS', '')}
        self.output = self.path / 'data/gst-mt3/model.safetensors'
        expected = self.path / 'expected.safetensors'
        subprocess.run([MT3_MODEL, 'convert', checkpoint, expected],
                       check=True)
        self.expected = expected.read_bytes()
        *listing, total, verdict = subprocess.run(
            [MT3_MODEL, 'verify', checkpoint], text=True, check=True,
            stdout=subprocess.PIPE).stdout.splitlines(keepends=True)
        self.digest = total.split()[0]
        self.server = web.Server(read_folder(checkpoint) | {
            '/SHA256SUMS': ''.join(listing).encode()})
        self.addCleanup(self.server.close)
        self.kernel = '/' + KERNEL

    def command(self, *options):
        return [MT3_MODEL, 'fetch', '--timeout=1', '--retries=1', *options]

    def of_server(self):
        return ['--url', self.server.url, '--sha256', self.digest]

    def run_command(self, *options, **arguments):
        return subprocess.run(self.command(*options), env=self.env, text=True,
                              capture_output=True, timeout=60, **arguments)

    def must_fetch(self, *options):
        done = self.run_command(*(options or self.of_server()))
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        self.assertEqual(self.output.read_bytes(), self.expected)
        self.assertEqual(list(self.path.glob('cache/gst-mt3/*')), [])

    def must_fail(self, code, message, *options, **arguments):
        done = self.run_command(*(options or self.of_server()), **arguments)
        self.assertIn(message, done.stderr)
        self.assertEqual((done.returncode, done.stdout), (code, ''))

    def requests_of(self, name):
        return [asked for path, asked in self.server.requests if path == name]

    def half(self):
        return f'bytes={len(self.server.files[self.kernel]) // 2}-'

    # What it is for

    def test_a_checkpoint_is_converted_and_installed(self):
        self.must_fetch()
        self.assertEqual(len(self.server.requests), len(self.server.files))

    def test_output_says_where(self):
        self.output = self.path / 'new folder/mine.safetensors'
        self.must_fetch(*self.of_server(), '--output', self.output)

    def test_a_model_file_is_converted_and_installed(self):
        model = (self.path / 'expected.safetensors').read_bytes()
        self.server.files['/a/b.safetensors'] = model
        self.must_fetch('--url', self.server.url + '/a/b.safetensors',
                        '--sha256', sha256(model).upper())

    def test_redirects_are_followed(self):
        self.server.files['/elsewhere'] = self.server.files[self.kernel]
        self.server.tricks[self.kernel] = [web.redirect('/elsewhere')]
        self.must_fetch()

    def test_a_terminal_shows_progress(self):
        ours, theirs = pty.openpty()
        done = subprocess.run(self.command(*self.of_server()), env=self.env,
                              stderr=theirs, stdout=subprocess.DEVNULL)
        os.close(theirs)
        shown = os.read(ours, 65536).decode()
        os.close(ours)
        self.assertEqual(done.returncode, 0)
        self.assertRegex(shown, '^\rdownload +[0-9] %')
        self.assertIn('download 100 %', shown)

    @unittest.skipUnless(CHECKPOINT.exists(), f'no {CHECKPOINT}')
    def test_the_published_checkpoint_needs_no_digest(self):
        self.server.files = read_folder(CHECKPOINT)
        expected = self.path / 'published.safetensors'
        subprocess.run([MT3_MODEL, 'convert', CHECKPOINT, expected],
                       check=True)
        self.expected = expected.read_bytes()
        self.must_fetch('--url', self.server.url + '/')

    # Connections that fail

    def test_what_was_cut_off_is_continued(self):
        self.server.tricks[self.kernel] = [web.cut_off]
        self.must_fetch()
        self.assertEqual(self.requests_of(self.kernel), [None, self.half()])

    def test_failures_that_pass_are_tried_again(self):
        for name, trick in {'stall': web.stall, 'hang up': web.hang_up,
                            'no answer': web.stall_at_once,
                            'status 500': web.status(500),
                            'status 429': web.status(429)}.items():
            with self.subTest(name):
                self.output.unlink(missing_ok=True)
                self.server.tricks[self.kernel] = [trick]
                self.must_fetch()

    def test_a_server_that_ignores_ranges_starts_over(self):
        self.server.tricks[self.kernel] = [web.cut_off, web.ignore_range]
        self.must_fetch()

    def test_the_next_try_goes_on_where_the_last_stopped(self):
        self.server.tricks[self.kernel] = [web.cut_off, web.hang_up]
        self.must_fail(3, 'what has come is kept in ')
        self.assertFalse(self.output.exists())
        before = {path for path, asked in self.server.requests}
        self.server.requests.clear()
        self.must_fetch()
        self.assertEqual(self.server.requests[0], (self.kernel, self.half()))
        again = {path for path, asked in self.server.requests}
        self.assertEqual(before & again, {self.kernel})

    def test_a_killed_fetch_goes_on_where_it_stopped(self):
        self.server.tricks[self.kernel] = [web.stall]
        process = subprocess.Popen(
            [MT3_MODEL, 'fetch', *self.of_server()], env=self.env)
        part = self.path / f'cache/gst-mt3/fetch-{self.digest}/{KERNEL}.part'
        while not part.exists() or part.stat().st_size == 0:
            time.sleep(0.01)
        process.kill()
        process.wait()
        self.must_fetch()
        self.assertEqual(self.requests_of(self.kernel), [None, self.half()])

    def test_a_server_that_is_not_there_is_named(self):
        self.server.close()
        self.must_fail(3, f'cannot fetch {self.server.url}/SHA256SUMS: ')

    # Servers that answer something else

    def test_what_is_missing_is_not_asked_for_twice(self):
        del self.server.files[self.kernel]
        self.must_fail(3, f'{KERNEL}: the server answers with HTTP status 404')
        self.assertEqual(len(self.requests_of(self.kernel)), 1)

    def test_a_server_that_stays_broken_is_given_up(self):
        self.server.tricks[self.kernel] = [web.status(500)] * 9
        self.must_fail(3, 'the server answers with HTTP status 500')
        self.assertEqual(len(self.requests_of(self.kernel)), 2)

    def test_wrong_bytes_are_refused_and_forgotten(self):
        self.server.tricks[self.kernel] = [web.wrong_bytes]
        self.must_fail(1, 'expected SHA-256 ')
        self.assertEqual(list(self.path.rglob('*.part')), [])
        self.must_fetch()

    def test_wrong_bytes_before_a_break_are_fetched_anew(self):
        self.server.tricks[self.kernel] = [web.wrong_half]
        self.must_fetch()
        self.assertEqual(self.requests_of(self.kernel),
                         [None, self.half(), None])

    def test_a_part_that_is_too_long_is_fetched_anew(self):
        self.server.tricks[self.kernel] = [web.cut_off, web.hang_up]
        self.must_fail(3, 'what has come is kept')
        part = next(self.path.rglob('0.0.part'))
        part.write_bytes(bytes(100000))
        self.must_fetch()

    def test_more_bytes_promised_than_sent_do_not_matter(self):
        self.server.tricks[self.kernel] = [web.promise_more]
        self.must_fetch()
        self.assertEqual(len(self.requests_of(self.kernel)), 1)

    def test_fewer_bytes_promised_than_sent_are_not_enough(self):
        self.server.tricks[self.kernel] = [web.promise_less]
        self.must_fail(1, 'expected SHA-256 ')

    def test_endless_answers_end(self):
        self.server.tricks['/SHA256SUMS'] = [web.endless]
        self.must_fail(1, 'sends more than the 1048576 bytes')
        self.assertEqual(list(self.path.rglob('*.part')), [])

    def test_another_list_is_refused(self):
        self.server.files['/SHA256SUMS'] += b'\n'
        self.must_fail(1, 'SHA256SUMS: expected SHA-256 ' + self.digest)

    def test_names_that_lead_elsewhere_are_refused(self):
        for name in ('../x', '/etc/x', 'a/b/c', 'a/../x', 'a//x', 'a/', '.',
                     '%2e%2e/x', 'a b', ''):
            with self.subTest(name):
                listing = f'{sha256(b"")}  {name}\n'.encode()
                self.server.files['/SHA256SUMS'] = listing
                self.digest = sha256(listing)
                self.must_fail(1, 'expected a SHA-256 and the name of a file')

    def test_redirects_out_of_the_web_are_refused(self):
        self.server.tricks[self.kernel] = [web.redirect('file:///etc/passwd')]
        self.must_fail(3, f'cannot fetch {self.server.url}{self.kernel}: ')

    @unittest.skipUnless(shutil.which('openssl'), 'no openssl')
    def test_a_certificate_of_nobody_is_refused(self):
        pem = self.path / 'server.pem'
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048',
                        '-nodes', '-subj', '/CN=127.0.0.1', '-keyout', pem,
                        '-out', self.path / 'certificate.pem'],
                       check=True, capture_output=True)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(self.path / 'certificate.pem', pem)
        secure = web.Server(self.server.files, tls)
        self.addCleanup(secure.close)
        self.must_fail(3, 'certificate', '--url', secure.url, '--sha256',
                       self.digest)
        self.assertEqual(secure.requests, [])

    # Disks

    def limit(self, size):
        """A disk that is full sooner than it should be: writing beyond @size
        fails."""
        def set_limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        return {'preexec_fn': set_limit, 'restore_signals': False}

    def test_a_full_cache_is_named_and_what_fits_is_kept(self):
        self.must_fail(3, 'cannot write ', **self.limit(SMALLER_DISK))
        part = next(self.path.rglob('*.part'))
        self.assertEqual(part.stat().st_size, SMALLER_DISK)
        self.must_fetch()

    def test_a_full_data_folder_leaves_the_old_model(self):
        self.output.parent.mkdir(parents=True)
        self.output.write_bytes(b'old')
        self.must_fail(3, f'cannot write {self.output}: ',
                       **self.limit(SMALL_DISK))
        self.assertEqual(read_folder(self.path / 'data'),
                         {'/gst-mt3/model.safetensors': b'old'})
        self.server.requests.clear()
        self.must_fetch()
        self.assertEqual(self.server.requests, [])

    def test_a_failed_download_leaves_the_old_model(self):
        self.output.parent.mkdir(parents=True)
        self.output.write_bytes(b'old')
        self.server.tricks[self.kernel] = [web.wrong_bytes]
        self.must_fail(1, 'expected SHA-256 ')
        self.assertEqual(self.output.read_bytes(), b'old')

    def test_an_output_that_cannot_be_written_is_named_first(self):
        (self.path / 'a file').touch()
        os.mkfifo(self.path / 'pipe')
        for output in (self.path / 'a file/model.safetensors', self.path,
                       self.path / 'pipe'):
            with self.subTest(output):
                self.must_fail(3, f'cannot write {output}: ',
                               *self.of_server(), '--output', output)
        self.assertEqual(self.server.requests, [])

    @unittest.skipIf(os.geteuid() == 0, 'root may write anywhere')
    def test_a_folder_without_permission_is_named_first(self):
        self.path.joinpath('data').mkdir(0o500)
        self.must_fail(3, 'Permission denied; choose another file')
        self.assertEqual(self.server.requests, [])

    def test_a_cache_that_cannot_be_written_is_named(self):
        (self.path / 'cache').touch()
        self.must_fail(3, f'cannot create the folder {self.path}/cache/')

    def test_two_at_a_time_do_not_mix(self):
        folder = self.path / 'cache/gst-mt3' / f'fetch-{self.digest}'
        folder.mkdir(parents=True)
        with open(folder / 'lock', 'w', encoding='ascii') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.must_fail(3, 'another mt3-model is fetching')
        self.must_fetch()

    # Arguments

    def test_wrong_arguments_exit_with_2(self):
        url = self.server.url
        for options in (['model'], ['--url', 'ftp://127.0.0.1/x'],
                        ['--url', 'mt3'], ['--url', url, '--sha256', '12'],
                        ['--url', url + '/model.pth'],
                        ['--sha256', sha256(b'')],
                        [*self.of_server(), '--output', ''],
                        ['--url', url, '--timeout=0'],
                        ['--url', url, '--retries=-1']):
            with self.subTest(options):
                self.must_fail(2, 'see mt3-model fetch --help', *options)
        self.assertEqual(self.server.requests, [])


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
