#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The manual says of each tool what its --help says.

Usage: man-pages.py FOLDER TOOL...

FOLDER holds a page TOOL.1 for each of the tools. A tool may have commands:
lines of two spaces and a name under the heading "Commands:".
"""
import os
import re
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

FOLDER = Path(sys.argv[1])
PAGES = {Path(tool): FOLDER / f'{Path(tool).name}.1' for tool in sys.argv[2:]}


def help_of(*command):
    return subprocess.run([*command, '--help'], check=True, text=True,
                          stdout=subprocess.PIPE,
                          env={**os.environ, 'LC_ALL': 'C'}).stdout


def commands_of(text):
    listed = re.search(r'^Commands:\n(.*?)\n\n', text, re.MULTILINE | re.DOTALL)
    return set(re.findall(r'^  (\w\S*)', listed[1], re.MULTILINE)
               if listed else [])


def options_of(text):
    return set(re.findall(r'(?<![\w-])--?[a-z][\w-]*', text))


class ManPages(unittest.TestCase):
    def test_name_every_command_and_no_other(self):
        for tool, page in PAGES.items():
            text = page.read_text(encoding='utf-8')
            self.assertEqual(
                set(re.findall(r'^\.It Cm (\w+)', text, re.MULTILINE)),
                commands_of(help_of(tool)))

    def test_name_every_option_and_no_other(self):
        for tool, page in PAGES.items():
            text = page.read_text(encoding='utf-8')
            general = help_of(tool)
            taken = {'--help'}.union(
                options_of(general), *(options_of(help_of(tool, command))
                                       for command in commands_of(general)))
            named = {'-' + option.replace('\\-', '-') for option in re.findall(
                r'\bFl ((?:\\-)?[a-z][\w-]*(?:\\-[\w-]+)*)', text)}
            self.assertEqual(named, taken)

    def test_name_every_exit_status(self):
        for tool, page in PAGES.items():
            text = page.read_text(encoding='utf-8')
            codes = re.search(r'^Exit codes:\n((?:  \d+ .*\n?)+)',
                              help_of(tool), re.MULTILINE)
            status = re.search(r'^\.Sh EXIT STATUS\n(.*?)^\.Sh', text,
                               re.MULTILINE | re.DOTALL)
            if codes:
                self.assertEqual(
                    re.findall(r'^\.It (\d+)$', status[1], re.MULTILINE),
                    re.findall(r'^  (\d+)', codes[1], re.MULTILINE))

    @unittest.skipUnless(shutil.which('mandoc'), 'no mandoc')
    def test_satisfy_mandoc(self):
        for page in PAGES.values():
            result = subprocess.run(
                ['mandoc', '-Tlint', '-Wwarning', page], text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            self.assertEqual((result.stdout, result.returncode), ('', 0))

    @unittest.skipUnless(shutil.which('man'), 'no man')
    def test_satisfy_groff(self):
        for page in PAGES.values():
            result = subprocess.run(
                ['man', '--warnings', '--encoding=UTF-8', '--local-file', page],
                env={**os.environ, 'LC_ALL': 'C.UTF-8', 'MANROFFSEQ': '',
                     'MANWIDTH': '80'}, check=True, text=True,
                encoding='utf-8', stdout=subprocess.PIPE,
                stderr=subprocess.PIPE)
            self.assertEqual(result.stderr, '')
            self.assertIn('EXIT STATUS', result.stdout)


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1])
