#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The catalogues of po/ say everything that users read, in every language.

MT3_SOURCE_DIR is the source tree. Skipped (77) without the gettext tools.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(os.environ['MT3_SOURCE_DIR'])
PO = ROOT / 'po'
SOURCES = sorted(path for folder in ('ext', 'gst')
                 for path in (ROOT / folder).rglob('*.c'))


def entries(path):
    return [line for line in path.read_text(encoding='utf-8').split('\n')
            if line and not line.startswith('#')]


LANGUAGES = entries(PO / 'LINGUAS')


def run(*command):
    return subprocess.run(command, cwd=ROOT, check=True, text=True,
                          encoding='utf-8', stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE,
                          env={**os.environ, 'LC_ALL': 'C.UTF-8'})


class Sources(unittest.TestCase):
    def test_potfiles_lists_every_file_with_texts(self):
        self.assertEqual(
            entries(PO / 'POTFILES'),
            [str(path.relative_to(ROOT)) for path in SOURCES
             if re.search(r'\bN?_ ?\("', path.read_text(encoding='utf-8'))])

    def test_every_error_of_an_element_is_marked(self):
        posted = re.compile(r'\bGST_ELEMENT_(?:ERROR|WARNING|INFO) \('
                            r'\w+, \w+, \w+,\s*(\(.{8})', re.DOTALL)
        for path in SOURCES:
            for text in posted.findall(path.read_text(encoding='utf-8')):
                with self.subTest(path.name, text=text):
                    self.assertRegex(text, r'^\((?:_ \(|NULL\))')


class Catalogues(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.dir = Path(folder.name)
        cls.template = cls.dir / 'template.pot'
        run('xgettext', '--from-code=UTF-8', '--keyword=_', '--keyword=N_',
            '--files-from=po/POTFILES', f'--output={cls.template}')

    def test_french_german_and_spanish_are_there(self):
        self.assertLessEqual({'de', 'es', 'fr'}, set(LANGUAGES))

    def test_nothing_is_untranslated_or_fuzzy(self):
        for language in LANGUAGES:
            with self.subTest(language):
                merged = self.dir / f'{language}.po'
                run('msgmerge', '--quiet', '--no-fuzzy-matching',
                    f'--output-file={merged}', PO / f'{language}.po',
                    self.template)
                said = run('msgfmt', '--check', '--statistics',
                           '--output-file=/dev/null', merged).stderr
                self.assertRegex(said, r'^\d+ translated messages\.$')

    def test_no_text_of_the_past_is_kept(self):
        for language in LANGUAGES:
            with self.subTest(language):
                translated = set(re.findall(
                    r'^msgid "(.*)"$', run(
                        'msgcat', '--no-wrap', PO / f'{language}.po').stdout,
                    re.MULTILINE))
                current = set(re.findall(
                    r'^msgid "(.*)"$', run(
                        'msgcat', '--no-wrap', self.template).stdout,
                    re.MULTILINE))
                self.assertEqual(translated, current)


if __name__ == '__main__':
    if not all(map(shutil.which, ('xgettext', 'msgmerge', 'msgfmt', 'msgcat'))):
        print('no gettext tools: skipped')
        sys.exit(77)
    unittest.main()
