#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""docs/plugins/gst_plugins_cache.json is what the plugin says of itself.

usage: plugin-cache.py PLUGIN
"""
import json
import subprocess
import sys
import unittest
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[3] / 'docs' / 'plugins'


class PluginCache(unittest.TestCase):
    def test_says_what_the_plugin_says(self):
        now = subprocess.run(
            [sys.executable, FOLDER / 'plugin-cache.py', PLUGIN], check=True,
            stdout=subprocess.PIPE).stdout
        cache = (FOLDER / 'gst_plugins_cache.json').read_text(encoding='utf-8')
        self.maxDiff = None
        self.assertEqual(json.loads(cache), json.loads(now),
                         '\nRun docs/plugins/plugin-cache.py')


if __name__ == '__main__':
    PLUGIN = sys.argv.pop()
    unittest.main()
