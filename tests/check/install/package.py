#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""debian/ agrees with the rest of the tree; with "build", packages come of it.

MT3_SOURCE_DIR and MT3_VERSION come from meson.build. Building is slow, and is
skipped (77) where the packages it takes are not installed.
"""
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(os.environ['MT3_SOURCE_DIR'])
DEBIAN = ROOT / 'debian'
RECIPE = ROOT / 'pipelines/build-package.sh'
# Debian takes these for granted.
ESSENTIAL = {'gcc', 'libc6-dev', 'dpkg-dev', 'fakeroot', 'python3',
             'ninja-build', 'lintian'}


def packages_of(group):
    text = (ROOT / 'pipelines/packages.txt').read_text(encoding='utf-8')
    section = re.search(rf'^\[{group}\]\n(.*?)(?=^\[|\Z)', text,
                        re.MULTILINE | re.DOTALL)[1]
    return set(re.findall(r'^[a-z].*$', section, re.MULTILINE))


def control(field):
    text = (DEBIAN / 'control').read_text(encoding='utf-8')
    return re.findall(rf'^{field}: *(.*(?:\n .*)*)', text, re.MULTILINE)


class Folder(unittest.TestCase):
    def test_the_version_is_the_projects(self):
        changelog = (DEBIAN / 'changelog').read_text(encoding='utf-8')
        self.assertEqual(re.match(r'gst-mt3 \((.*)\)', changelog)[1],
                         os.environ['MT3_VERSION'])

    def test_building_takes_the_packages_that_are_listed(self):
        taken = {re.split(r'[ (]', item.strip())[0]
                 for item in control('Build-Depends')[0].split(',')}
        # Under these names packages.txt has what provides them.
        taken -= {'debhelper-compat', 'dh-sequence-gir'}
        self.assertEqual(taken | {'debhelper'},
                         (packages_of('build') | packages_of('package'))
                         - ESSENTIAL)

    def test_every_package_says_what_it_contains(self):
        for package in control('Package'):
            with self.subTest(package):
                self.assertTrue((DEBIAN / f'{package}.install').exists())

    def test_the_recipe_says_how_it_is_used(self):
        result = subprocess.run([RECIPE], text=True, stderr=subprocess.PIPE)
        self.assertEqual(result.returncode, 2)
        self.assertIn('usage: build-package.sh', result.stderr)


class Build(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.dir = Path(folder.name)

    def test_the_plugin_of_the_packages_loads(self):
        subprocess.run([RECIPE, self.dir], check=True)
        packages = [next(self.dir.glob(f'{name}_*.deb'))
                    for name in control('Package')]
        for package in packages:
            subprocess.run(['dpkg-deb', '-x', package, self.dir / 'root'],
                           check=True)
        libraries = next((self.dir / 'root/usr/lib').iterdir())
        said = subprocess.run(
            ['gst-inspect-1.0', 'mt3transcribe'], check=True, text=True,
            stdout=subprocess.PIPE, env={
                **os.environ, 'GST_REGISTRY': str(self.dir / 'registry.bin'),
                'GST_PLUGIN_PATH': str(libraries / 'gstreamer-1.0'),
                'LD_LIBRARY_PATH': str(libraries)}).stdout
        self.assertIn(str(libraries / 'gstreamer-1.0/libgstmt3.so'), said)


def is_installed(package):
    try:
        return subprocess.run(
            ['dpkg-query', '--show', '--showformat=${db:Status-Status}',
             package], text=True, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL).stdout == 'installed'
    except FileNotFoundError:
        return False


if __name__ == '__main__':
    chosen = 'Build' if sys.argv[1:] == ['build'] else 'Folder'
    needed = packages_of('build') | packages_of('package')
    if chosen == 'Build' and not all(map(is_installed, needed)):
        print('the packages of pipelines/packages.txt are missing: skipped')
        sys.exit(77)
    unittest.main(argv=[sys.argv[0], chosen])
