#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""mt3-bench-element refuses to measure another element than its own.

Another has an engine of its own, which makes a pipeline look slow."""
import os
import subprocess
import sys
import tempfile
import unittest


class OtherPlugin(unittest.TestCase):
    def test_a_plugin_in_its_process_is_an_error_that_says_what_to_do(self):
        with tempfile.TemporaryDirectory() as work:
            run = subprocess.run(
                [sys.argv[1], 'clip.wav'], capture_output=True, text=True,
                env=dict(os.environ, GST_REGISTRY_FORK='no',
                         GST_REGISTRY=os.path.join(work, 'registry'),
                         GST_PLUGIN_PATH=sys.argv[2]))
        self.assertNotEqual(run.returncode, 0)
        self.assertIn('unset GST_REGISTRY_FORK or GST_PLUGIN_PATH', run.stderr)


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1])
