#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Prints what GStreamer's documentation tool (hotdoc) wants to know of a plugin.

usage: plugin-cache.py PLUGIN > docs/plugins/gst_plugins_cache.json

PLUGIN is the plugin's file. With this file in the tree its pages can be built
where the plugin is not. The form is that of gst-hotdoc-plugins-scanner, a
program of GStreamer's own build.
"""
import json
import re
import sys
from pathlib import Path

import gi
gi.require_version('Gst', '1.0')
from gi.repository import GObject, Gst  # noqa: E402

PARENTS = 'GstElement', 'GstObject', 'GInitiallyUnowned', 'GObject'


def is_enum(spec):
    return spec.value_type.is_a(GObject.TYPE_ENUM)


def text(value):
    if value is None:
        return 'NULL'
    if isinstance(value, bool):
        return str(value).lower()
    return f'{value:g}' if isinstance(value, float) else str(value)


def default(spec, value):
    if is_enum(spec):
        return f'{value.value_nick} ({int(value)})'
    return value.to_string() if isinstance(value, Gst.Structure) else text(value)


def mutable(flags):
    for name in 'playing', 'paused', 'ready':
        if flags & getattr(Gst, f'PARAM_MUTABLE_{name.upper()}'):
            return name
    return 'null'


def property_of(element, spec):
    flags = spec.flags
    described = {
        'blurb': spec.blurb,
        'conditionally-available':
            bool(flags & Gst.PARAM_CONDITIONALLY_AVAILABLE),
        'construct': bool(flags & GObject.ParamFlags.CONSTRUCT),
        'construct-only': bool(flags & GObject.ParamFlags.CONSTRUCT_ONLY),
        'controllable': bool(flags & Gst.PARAM_CONTROLLABLE),
        'default': default(spec, element.get_property(spec.name)),
        'mutable': mutable(flags),
        'readable': bool(flags & GObject.ParamFlags.READABLE),
        'type': spec.value_type.name,
        'writable': bool(flags & GObject.ParamFlags.WRITABLE),
    }
    if hasattr(spec, 'minimum'):
        described |= {'min': text(spec.minimum), 'max': text(spec.maximum)}
    return described


def caps_of(template):
    caps = template.get_caps()
    return '\n'.join(structure_of(caps.get_structure(i))
                     for i in range(caps.get_size()))


def structure_of(structure):
    """Python cannot get the values of ranges and lists, but read them."""
    names = [structure.nth_field_name(i) for i in range(structure.n_fields())]
    values = re.fullmatch(
        ', '.join([structure.get_name()] +
                  [rf'{name}=(?:\(\w+\))?(.*)' for name in names]),
        structure.to_string().rstrip(';')).groups()
    return ''.join([structure.get_name() + ':\n'] + [
        f'{name:>15}: {value}\n' for name, value in zip(names, values)])


def enum_of(element, spec):
    # PyGObject 3.50 no longer tells the values of spec.enum_class.
    values = type(element.get_property(spec.name)).__enum_values__
    return {'kind': 'enum', 'values': [
        {'desc': value.value_name, 'name': value.value_nick,
         'value': str(number)}
        for number, value in values.items()]}


def own_properties(element):
    return [spec for spec in element.list_properties()
            if spec.owner_type == element.__gtype__]


def element_of(factory, element):
    templates = [element.get_pad_template(static.name_template)
                 for static in factory.get_static_pad_templates()]
    return {
        **{key: factory.get_metadata(key)
           for key in ('author', 'description', 'klass', 'long-name')},
        'hierarchy': [element.__gtype__.name, *PARENTS],
        'pad-templates': {
            template.name_template: {
                'caps': caps_of(template),
                'direction': template.direction.value_nick,
                'presence': template.presence.value_nick,
            } for template in templates},
        'properties': {spec.name: property_of(element, spec)
                       for spec in own_properties(element)},
        'rank': 'none' if factory.get_rank() == Gst.Rank.NONE
                else str(factory.get_rank()),
    }


def plugin_of(path):
    plugin = Gst.Plugin.load_file(str(path))
    factories = [feature for feature in
                 Gst.Registry.get().get_feature_list_by_plugin(plugin.get_name())
                 if isinstance(feature, Gst.ElementFactory)]
    elements = {factory.get_name(): (factory, factory.create())
                for factory in factories}
    return {plugin.get_name(): {
        'description': plugin.get_description(),
        'elements': {name: element_of(*pair) for name, pair in elements.items()},
        'filename': Path(path).name.removeprefix('lib').split('.')[0],
        'license': plugin.get_license(),
        'other-types': {spec.value_type.name: enum_of(element, spec)
                        for _, element in elements.values()
                        for spec in own_properties(element) if is_enum(spec)},
        'package': plugin.get_package(),
        'source': plugin.get_source(),
        'tracers': {},
        'url': plugin.get_origin(),
    }}


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    Gst.init(None)
    print(json.dumps(plugin_of(sys.argv[1]), indent=4, sort_keys=True))


if __name__ == '__main__':
    main()
