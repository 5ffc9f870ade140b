#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The draft network that comes along, asked about what the published model wrote
of a recording (eval/dev of MT3_SHARED)."""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

SKIPPED = 77
try:
    import scipy  # noqa: F401 (audio.py)
    import torch
except ImportError as error:
    print(f'{error}: install python3-torch and python3-scipy to run this')
    sys.exit(SKIPPED)

ROOT = pathlib.Path(__file__).resolve().parents[3]
SHARED = pathlib.Path(os.environ.get('MT3_SHARED', ''))
CLIP = SHARED / 'eval/dev/urmp15_01_Jupiter'
if not CLIP.is_dir() or not (SHARED / 'mt3-checkpoint').is_dir():
    print('skipped: no mt3-checkpoint and eval/dev in MT3_SHARED '
          f'({os.environ.get("MT3_SHARED", "unset")})')
    sys.exit(SKIPPED)
sys.path.insert(0, str(ROOT / 'ext/mt3/training'))
import draft_data  # noqa: E402
import draft_model  # noqa: E402
import draft_score  # noqa: E402
import weights  # noqa: E402

DRAFT = ROOT / 'ext/mt3/data/gst-mt3/draft.safetensors'


class ShippedDraft(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / 'model.safetensors'
            subprocess.run(
                [os.environ['MT3_MODEL'], 'convert', SHARED / 'mt3-checkpoint',
                 path], check=True, capture_output=True)
            cls.model, _ = weights.load(path)

    def test_it_is_for_the_published_model_and_guesses_what_that_writes(self):
        draft = draft_model.load(DRAFT, self.model)
        with torch.no_grad():
            windows = draft_data.read_clip(CLIP, self.model, 'cpu')
            result = draft_score.score(draft, [windows])
        for share in result['acceptance']:
            self.assertGreater(share, 0.6, result)
        self.assertGreater(result['tokens_a_step'][-1], 2.4, result)

    def test_it_says_what_may_be_done_with_it(self):
        _, metadata = weights.read(DRAFT)
        self.assertEqual(metadata['license'], 'CC-BY-4.0')
        self.assertIn('ext/mt3/training/DATA.md', metadata['data'])


if __name__ == '__main__':
    unittest.main(verbosity=2)
