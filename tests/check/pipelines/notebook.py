#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""pipelines/transcribe.ipynb runs from its first cell to its last.

Environment as for recipes.py.
"""
import os
import shutil
import sys
import tempfile
import unittest
from pathlib import Path

try:
    import ipykernel  # noqa: F401 (runs the cells)
    import matplotlib  # noqa: F401 (the notebook draws with it)
    import nbclient
    import nbformat
except ImportError as missing:
    print(f'skipped: {missing}; pipelines/install-packages.sh test')
    sys.exit(77)
if not shutil.which('fluidsynth'):
    print('skipped: no fluidsynth to render the demo piece with')
    sys.exit(77)

PIPELINES = Path(__file__).resolve().parents[3] / 'pipelines'
NOTEBOOK = PIPELINES / 'transcribe.ipynb'


class Notebook(unittest.TestCase):
    def setUp(self):
        self.notebook = nbformat.read(NOTEBOOK, 4)
        self.cells = [cell for cell in self.notebook.cells
                      if cell.cell_type == 'code']

    def test_is_kept_without_outputs(self):
        for cell in self.cells:
            self.assertEqual(cell.outputs, [])
            self.assertIsNone(cell.execution_count)

    def test_draws_and_plays_the_demo_piece(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        os.environ |= {'GST_MT3_MODEL': os.environ['MT3_TINY_MODEL'],
                       'TMPDIR': scratch.name}
        nbclient.NotebookClient(
            self.notebook, timeout=120, kernel_name='python3',
            resources={'metadata': {'path': PIPELINES}}).execute()
        outputs = [output for cell in self.cells for output in cell.outputs]
        printed = ''.join(output.get('text', '') for output in outputs)
        self.assertRegex(printed, r'^\d+ notes of .* in .*\.mid\n$')
        shown = [output.data for output in outputs if 'data' in output]
        self.assertEqual(sum('image/png' in data for data in shown), 3)
        self.assertEqual(sum('<audio' in data.get('text/html', '')
                             for data in shown), 2)


if __name__ == '__main__':
    unittest.main()
