#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What `DESTDIR=... ninja install` installs is complete and works from there.

Usage: staged.py COMPILER...

MT3_BUILD_DIR, MT3_PREFIX, MT3_LIBDIR, MT3_VERSION and MT3_OPTIONS (what the
build has: gir, nls, tools) come from meson.build.
"""
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

BUILD = Path(os.environ['MT3_BUILD_DIR'])
PREFIX = Path(os.environ['MT3_PREFIX'])
LIBDIR = os.environ['MT3_LIBDIR']
OPTIONS = os.environ['MT3_OPTIONS'].split()
COMPILER = sys.argv[1:]
HERE = Path(__file__).resolve().parent

# Every installed file is of one of these kinds, and none is missing.
KINDS = {
    'plugin': f'{LIBDIR}/gstreamer-1.0/libgstmt3.so',
    'library': f'{LIBDIR}/libgstmt3-1.0.so(.0(.[.0-9]+)?)?',
    'headers': 'include/gstreamer-1.0/gst/mt3/[a-z0-9-]+.h',
    'pkg-config': f'{LIBDIR}/pkgconfig/gstreamer-mt3-1.0.pc',
    'model': 'share/gst-mt3/model.safetensors',
    'draft network': 'share/gst-mt3/draft.safetensors',
    'documents': 'share/doc/gst-mt3/.+',
}
if 'gir' in OPTIONS:
    KINDS['gir'] = 'share/gir-1.0/GstMt3-1.0.gir'
    KINDS['typelib'] = f'{LIBDIR}/girepository-1.0/GstMt3-1.0.typelib'
if 'nls' in OPTIONS:
    for language in ('de', 'es', 'fr'):
        KINDS[language] = f'share/locale/{language}/LC_MESSAGES/gst-mt3-1.0.mo'
if 'tools' in OPTIONS:
    for tool in ('mt3-model', 'mt3-notes-jsonl'):
        KINDS[tool] = f'bin/{tool}'
        KINDS[f'{tool}.1'] = f'share/man/man1/{tool}.1'
if 'cuda' in OPTIONS:
    KINDS['CUDA module'] = f'{LIBDIR}/gst-mt3/libmt3cuda.so'


def run(*command, **more):
    result = subprocess.run(command, text=True, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            **more)
    if result.returncode != 0:
        raise AssertionError(f'{command}: {result.stdout}')
    return result.stdout


@contextlib.contextmanager
def kept_log():
    """Whoever installed from this build must still be able to uninstall."""
    log = BUILD / 'meson-logs' / 'install-log.txt'
    before = log.read_bytes() if log.exists() else None
    try:
        yield
    finally:
        log.unlink()
        if before is not None:
            log.write_bytes(before)


def install(stage):
    run('meson', 'install', '-C', BUILD, '--no-rebuild', '--destdir', stage)
    return stage / PREFIX.relative_to('/')


class Installation(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.stage = Path(folder.name)
        with kept_log():
            cls.root = install(cls.stage)
        cls.libdir = cls.root / LIBDIR
        cls.env = {
            **os.environ, 'LC_ALL': 'C.UTF-8',
            'LD_LIBRARY_PATH': str(cls.libdir),
            'GI_TYPELIB_PATH': str(cls.libdir / 'girepository-1.0'),
            'GST_PLUGIN_PATH': str(cls.libdir / 'gstreamer-1.0'),
            'GST_REGISTRY': str(cls.stage / 'registry.bin')}

    def files(self):
        return {str(path.relative_to(self.root))
                for path in self.root.rglob('*') if not path.is_dir()}

    def test_every_file_is_where_it_belongs(self):
        for file in self.files():
            with self.subTest(file):
                self.assertTrue(any(re.fullmatch(kind, file)
                                    for kind in KINDS.values()))

    def test_no_kind_of_file_is_missing(self):
        for name, kind in KINDS.items():
            with self.subTest(name):
                self.assertTrue(any(re.fullmatch(kind, file)
                                    for file in self.files()))

    def test_links_between_the_documents_hold(self):
        docs = self.root / 'share/doc/gst-mt3'
        for page in docs.rglob('*.md'):
            for link in re.findall(r'\]\(((?:\.\./|docs/)?[\w/-]+\.(?:md|png))',
                                   page.read_text(encoding='utf-8')):
                with self.subTest(page=page.name, link=link):
                    self.assertTrue((page.parent / link).exists())

    def test_gstreamer_finds_the_plugin(self):
        said = run('gst-inspect-1.0', 'mt3transcribe', env=self.env)
        self.assertIn(str(self.libdir / 'gstreamer-1.0' / 'libgstmt3.so'), said)
        self.assertRegex(said, rf'Version +{os.environ["MT3_VERSION"]}\n')

    def assertNoFileIsLinkedSo(self, pattern):
        for file in self.files():
            with self.subTest(file):
                self.assertNotRegex(subprocess.run(
                    ['readelf', '--dynamic', self.root / file], text=True,
                    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout,
                    pattern)

    def test_no_file_remembers_where_it_was_built(self):
        self.assertNoFileIsLinkedSo(r'\((RPATH|RUNPATH)\)')

    def test_nothing_links_cuda(self):
        """Its engine, too, finds the driver at run time."""
        self.assertNoFileIsLinkedSo(
            r'\(NEEDED\).*\[lib(cuda|cublas|cudnn|nv)')

    def pkg_config(self, *arguments):
        """As if the staged tree were the prefix itself."""
        folder = self.stage / 'pkgconfig'
        folder.mkdir(exist_ok=True)
        text = (self.libdir / 'pkgconfig/gstreamer-mt3-1.0.pc').read_text()
        (folder / 'gstreamer-mt3-1.0.pc').write_text(
            re.sub('^prefix=.*', f'prefix={self.root}', text,
                   flags=re.MULTILINE))
        path = os.pathsep.join(filter(None, [
            str(folder), os.environ.get('PKG_CONFIG_PATH')]))
        return run('pkg-config', *arguments, 'gstreamer-mt3-1.0',
                   env={**os.environ, 'PKG_CONFIG_PATH': path}).split()

    def test_pkg_config_knows_the_version(self):
        self.assertEqual(self.pkg_config('--modversion'),
                         [os.environ['MT3_VERSION']])

    def test_a_program_compiles_links_and_runs(self):
        program = self.stage / 'print-note'
        run(*COMPILER, '-Wall', '-Werror', '-o', program,
            HERE / 'print-note.c', *self.pkg_config('--cflags', '--libs'))
        self.assertEqual(run(program, env=self.env), 'note 1, pitch 60\n')

    @unittest.skipUnless('gir' in OPTIONS, 'no introspection')
    def test_python_reads_the_typelib(self):
        said = run('/usr/bin/python3', '-c', 'import gi; '
                   'gi.require_version ("GstMt3", "1.0"); '
                   'from gi.repository import GstMt3; '
                   'print (GstMt3.Mt3Note ().pitch)', env=self.env)
        self.assertEqual(said, '0\n')

    @unittest.skipUnless('tools' in OPTIONS, 'no tools')
    def test_the_tools_run(self):
        for tool in ('mt3-model', 'mt3-notes-jsonl'):
            with self.subTest(tool):
                self.assertIn('Usage:', run(self.root / 'bin' / tool, '--help',
                                            env=self.env))


class Uninstallation(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.stage = Path(folder.name)

    def test_leaves_nothing(self):
        with kept_log():
            install(self.stage)
            run('ninja', '-C', BUILD, 'uninstall')
        self.assertEqual(
            [path for path in self.stage.rglob('*') if not path.is_dir()], [])
        self.assertEqual(list(self.stage.rglob('*gst*')), [])


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1])
