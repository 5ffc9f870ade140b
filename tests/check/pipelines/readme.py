#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the README says is so: properties, recipes and links."""
import os
import re
import unittest
from pathlib import Path

import gi
gi.require_version('Gst', '1.0')
from gi.repository import GObject, Gst  # noqa: E402

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / 'README.md').read_text(encoding='utf-8')


def section(title):
    return re.search(rf'^## {title}\n(.*?)(?=^## |\Z)', README,
                     re.MULTILINE | re.DOTALL)[1]


def table(text):
    """Rows of cells, without the heading, the rule and code marks."""
    rows = [[cell.strip().replace('`', '') for cell in line.split('|')[1:-1]]
            for line in text.splitlines() if line.startswith('|')]
    return rows[2:]


def enum_values(element, spec):
    """In PyGObject 3.50 spec.enum_class has no values."""
    return type(element.get_property(spec.name)).__enum_values__


def describe_range(element, spec):
    if spec.value_type.is_a(GObject.TYPE_ENUM):
        values = enum_values(element, spec).values()
        return ', '.join(value.value_nick for value in values)
    if hasattr(spec, 'minimum'):
        return f'{spec.minimum} to {spec.maximum}'
    if spec.name.endswith('-file'):
        return 'path'
    return {'gboolean': 'true, false', 'gchararray': 'text',
            'GstStructure': 'structure'}[spec.value_type.name]


def describe_default(element, spec):
    if not spec.flags & GObject.ParamFlags.WRITABLE:
        return 'read only'
    value = spec.default_value
    if spec.value_type.is_a(GObject.TYPE_ENUM):
        return enum_values(element, spec)[int(value)].value_nick
    if isinstance(value, bool):
        return str(value).lower()
    return 'none' if value is None else str(value)


class Readme(unittest.TestCase):
    def test_properties_are_those_of_the_element(self):
        Gst.init(None)
        Gst.Registry.get().scan_path(
            os.path.join(os.environ['MT3_BUILD_DIR'], 'ext/mt3/element'))
        element = Gst.ElementFactory.make('mt3transcribe')
        self.assertIsNotNone(element)
        is_own = [spec for spec in element.list_properties()
                  if spec.owner_type == element.__gtype__]
        known = {spec.name: (describe_range(element, spec),
                             describe_default(element, spec))
                 for spec in is_own}
        rows = table(section('Properties'))
        self.assertTrue(rows)
        for name, values, default, _ in rows:
            with self.subTest(name):
                self.assertEqual((values, default), known.get(name))
        self.assertIn(f'list all {len(known)} ', section('Properties'))

    def test_every_recipe_is_named(self):
        helpers = {'env.sh', 'find_files.py', 'find_plugin.py', 'midi_notes.py',
                   'packages.txt', 'meson.build', 'install-packages.sh', 'build-package.sh',
                   'notes-jsonl.c'}
        for path in (ROOT / 'pipelines').iterdir():
            if path.is_file() and path.name not in helpers:
                with self.subTest(path.name):
                    self.assertIn(f'pipelines/{path.name}', README)

    def test_every_file_named_exists(self):
        for page in (ROOT / 'README.md', *(ROOT / 'docs').glob('*.md')):
            text = page.read_text(encoding='utf-8')
            links = re.findall(r'\]\(([^):#]+)(?:#[^)]*)?\)', text)
            for link in links:
                with self.subTest(page=page.name, link=link):
                    self.assertTrue((page.parent / link).exists())
            for script in re.findall(r'\bpipelines/[\w.-]+\.(?:sh|py)', text):
                with self.subTest(page=page.name, script=script):
                    self.assertTrue((ROOT / script).exists())


if __name__ == '__main__':
    unittest.main()
