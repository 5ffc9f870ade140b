# SPDX-License-Identifier: LGPL-2.1-or-later
"""For the Python recipes what env.sh is for the others."""
import os
import sys
from pathlib import Path

from gi.repository import Gst


def init_gstreamer():
    """Finds the plugin of this source tree's build before an installed one, and
    the model of the tree behind all that are installed."""
    root = Path(__file__).resolve().parents[1]
    build = Path(os.environ.get('MT3_BUILD_DIR', root / 'build'))
    plugins = [str(build / 'ext' / 'mt3' / 'element')]
    if os.environ.get('GST_PLUGIN_PATH'):
        plugins.append(os.environ['GST_PLUGIN_PATH'])
    data = os.environ.get('XDG_DATA_DIRS') or '/usr/local/share:/usr/share'
    os.environ['GST_PLUGIN_PATH'] = ':'.join(plugins)
    os.environ['XDG_DATA_DIRS'] = f'{data}:{root / "ext" / "mt3" / "data"}'
    Gst.init(None)
    if not Gst.ElementFactory.find('mt3transcribe'):
        sys.exit(f'{Path(sys.argv[0]).name}: GStreamer does not know the '
                 f'element mt3transcribe, and it is not built in {build}. Build it '
                 '(README) or set GST_PLUGIN_PATH.')
