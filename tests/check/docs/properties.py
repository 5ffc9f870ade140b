#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What docs/element.md says of properties and statistics is so.

usage: properties.py [--update]

--update writes the table of properties anew, from the element itself.
GST_PLUGIN_PATH leads to the plugin.
"""
import re
import sys
import unittest
from pathlib import Path

import gi
gi.require_version('Gst', '1.0')
from gi.repository import GObject, Gst  # noqa: E402

PAGE = Path(__file__).resolve().parents[3] / 'docs' / 'element.md'
TABLE = re.compile(r'(?<=<!-- properties -->\n\n).*?(?=\n\n<!-- end -->)',
                   re.DOTALL)
HEADING = ('| Property | Values | Default | Set | Meaning |\n'
           '|---|---|---|---|---|')


def enum_values(element, spec):
    """In PyGObject 3.50 spec.enum_class has no values."""
    return type(element.get_property(spec.name)).__enum_values__


def values(element, spec):
    if spec.value_type.is_a(GObject.TYPE_ENUM):
        return ', '.join(f'`{value.value_nick}`' for value
                         in enum_values(element, spec).values())
    if hasattr(spec, 'minimum'):
        return f'{spec.minimum:.15g} to {spec.maximum:.15g}' \
            if spec.value_type == GObject.TYPE_DOUBLE \
            else f'{spec.minimum} to {spec.maximum}'
    return {'gboolean': '`true`, `false`', 'gchararray': 'text',
            'GstStructure': 'structure'}[spec.value_type.name]


def default(element, spec):
    # A structure's specification has none.
    value = getattr(spec, 'default_value', None)
    if value is None:
        return ''
    if spec.value_type.is_a(GObject.TYPE_ENUM):
        return f'`{enum_values(element, spec)[int(value)].value_nick}`'
    if isinstance(value, bool):
        return f'`{str(value).lower()}`'
    return f'{value:.15g}' if isinstance(value, float) else str(value)


def when(spec):
    if not spec.flags & GObject.ParamFlags.WRITABLE:
        return 'never'
    return 'any time' if spec.flags & Gst.PARAM_MUTABLE_PLAYING else 'NULL, READY'


def meaning(element, spec):
    if not spec.value_type.is_a(GObject.TYPE_ENUM):
        return spec.blurb
    return '; '.join([spec.blurb] + [
        f'`{value.value_nick}`: {value.value_name}' for value
        in enum_values(element, spec).values()])


def table(element):
    own = sorted((spec for spec in element.list_properties()
                  if spec.owner_type == element.__gtype__),
                 key=lambda spec: spec.name)
    return '\n'.join([HEADING] + [
        f'| `{spec.name}` | {values(element, spec)} | {default(element, spec)} '
        f'| {when(spec)} | {meaning(element, spec)} |' for spec in own])


class ElementPage(unittest.TestCase):
    def setUp(self):
        self.element = Gst.ElementFactory.make('mt3transcribe')
        self.page = PAGE.read_text(encoding='utf-8')

    def test_properties_are_those_of_the_element(self):
        self.assertEqual(TABLE.search(self.page)[0], table(self.element),
                         f'\nRun {Path(__file__).name} --update')

    def test_every_statistic_is_explained(self):
        stats = self.element.get_property('stats')
        for i in range(stats.n_fields()):
            self.assertIn(f'`{stats.nth_field_name(i)}`', self.page)


def main():
    Gst.init(None)
    if sys.argv[1:] != ['--update']:
        unittest.main()
    element = Gst.ElementFactory.make('mt3transcribe')
    PAGE.write_text(TABLE.sub(lambda _: table(element),
                              PAGE.read_text(encoding='utf-8')),
                    encoding='utf-8')


if __name__ == '__main__':
    main()
