# SPDX-License-Identifier: LGPL-2.1-or-later
"""For the Python recipes what env.sh is for the others, and how they set
properties and tell of errors."""
import os
import sys
from pathlib import Path

from gi.repository import GLib, GObject, Gst


def init_gstreamer():
    """Finds the plugin of this source tree's build, and that the CUDA engine,
    before installed ones, and the model of the tree behind all that are
    installed."""
    root = Path(__file__).resolve().parents[1]
    build = Path(os.environ.get('MT3_BUILD_DIR', root / 'build'))
    plugins = [str(build / 'ext' / 'mt3' / 'element')]
    if os.environ.get('GST_PLUGIN_PATH'):
        plugins.append(os.environ['GST_PLUGIN_PATH'])
    data = os.environ.get('XDG_DATA_DIRS') or '/usr/local/share:/usr/share'
    os.environ['GST_PLUGIN_PATH'] = ':'.join(plugins)
    engine = build / 'ext' / 'mt3' / 'engine' / 'cuda'
    if (engine / 'libmt3cuda.so').exists():
        os.environ.setdefault('GST_MT3_MODULE_DIR', str(engine))
    os.environ['XDG_DATA_DIRS'] = f'{data}:{root / "ext" / "mt3" / "data"}'
    Gst.init(None)
    if not Gst.ElementFactory.find('mt3transcribe'):
        sys.exit(f'{Path(sys.argv[0]).name}: GStreamer does not know the '
                 f'element mt3transcribe, and it is not built in {build}. Build it '
                 '(README) or set GST_PLUGIN_PATH.')


def out_of_range(spec, text):
    try:
        return not spec.minimum <= float(text) <= spec.maximum
    except (AttributeError, ValueError):  # no number
        return False


def set_properties(element, settings):
    """Sets properties by their names to texts, as gst-launch-1.0 does. Ends the
    program if that cannot be, where GStreamer would say nothing."""
    factory = element.get_factory().get_name()
    for name, text in settings:
        spec = element.find_property(name)
        quoted = text.replace('\\', '\\\\').replace('"', '\\"')
        problem = None
        if not spec or not spec.flags & GObject.ParamFlags.WRITABLE:
            problem = (f'{name} is no property of {factory} that can be set; '
                       f'gst-inspect-1.0 {factory} lists them')
        elif out_of_range(spec, text):
            problem = (f'{name} cannot be {text}, but {spec.minimum:g} to '
                       f'{spec.maximum:g}')
        else:
            try:
                Gst.parse_launch(f'{factory} {name}="{quoted}"')
            except GLib.Error:
                problem = f'{name} cannot be {text}'
        if problem:
            print(f'{Path(sys.argv[0]).name}: {problem}', file=sys.stderr)
            sys.exit(2)
        Gst.util_set_object_arg(element, name, text)


def describe_error(message):
    """The text of an error message, and the reason that the element added behind
    the line of its source."""
    error, details = message.parse_error()
    reason = '\n'.join((details or '').split('\n')[1:])
    return f'{error.message} ({reason})' if reason else error.message
