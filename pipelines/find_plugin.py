# SPDX-License-Identifier: LGPL-2.1-or-later
"""Lets the Python recipes find the plugin."""
import os
import sys
from pathlib import Path

from gi.repository import Gst


def find_plugin():
    """Uses the plugin of this source tree's build if none is installed."""
    root = Path(__file__).resolve().parents[1]
    build = Path(os.environ.get('MT3_BUILD_DIR', root / 'build'))
    if not Gst.ElementFactory.find('mt3transcribe'):
        Gst.Registry.get().scan_path(str(build / 'ext' / 'mt3' / 'element'))
    if not Gst.ElementFactory.find('mt3transcribe'):
        sys.exit(f'{Path(sys.argv[0]).name}: GStreamer does not know the '
                 f'element mt3transcribe, and it is not built in {build}. Build it '
                 '(README) or set GST_PLUGIN_PATH.')
