#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What torch.save itself writes converts to the same model.

Usage: torch-files.py MT3-MODEL MT3-MAKE-MODEL
"""
import json
import pathlib
import pickle
import subprocess
import sys
import tempfile
import unittest

import torch

MT3_MODEL, MAKE_MODEL = sys.argv[1:3]


def split_safetensors(path):
    """The header and the arrays."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], 'little')
    return json.loads(data[8:8 + length]), bytearray(data[8 + length:])


def read_safetensors(path):
    header, arrays = split_safetensors(path)
    header.pop('__metadata__')
    return {name: torch.frombuffer(
                arrays, dtype=torch.float32, offset=entry['data_offsets'][0],
                count=torch.Size(entry['shape']).numel()).reshape(
                    entry['shape']).clone()
            for name, entry in header.items()}


class Wrapped(torch.nn.Module):
    """A module tree whose state dict has the given names."""

    def __init__(self, state):
        super().__init__()
        for name, value in state.items():
            *path, last = name.split('.')
            module = self
            for part in path:
                if not hasattr(module, part):
                    module.add_module(part, torch.nn.Module())
                module = getattr(module, part)
            setattr(module, last, torch.nn.Parameter(value))


class Evil:
    def __reduce__(self):
        return print, ('executed',)


class TorchFiles(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.path = pathlib.Path(cls.folder.name)
        model = cls.path / 'model.safetensors'
        subprocess.run([MAKE_MODEL, '--hugging-face', '--output', model],
                       check=True)
        cls.state = read_safetensors(model)
        cls.expected = cls.convert(model)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def convert(cls, path):
        out = cls.path / 'out.safetensors'
        subprocess.run([MT3_MODEL, 'convert', path, out], check=True)
        header, arrays = split_safetensors(out)
        # Only safetensors carry metadata of their own.
        header['__metadata__'] = header['__metadata__']['mt3.config']
        return header, arrays

    def test_forms_that_load(self):
        module = Wrapped(self.state)
        optimizer = torch.optim.Adam(module.parameters())
        forms = {
            'plain.pth': self.state,
            'half.pt': {k: v.half() for k, v in self.state.items()},
            'bfloat.pt': {k: v.bfloat16() for k, v in self.state.items()},
            'transposed.pth': {k: v.t().contiguous().t() if v.dim() == 2 else v
                               for k, v in self.state.items()},
            'module.bin': module.state_dict(),
            'parallel.pth': torch.nn.DataParallel(module).state_dict(),
            'wrapped.ckpt': {'epoch': 3, 'loss': 0.5, 'done': False,
                             'optimizer': optimizer.state_dict(),
                             'state_dict': module.state_dict()},
        }
        for name, form in forms.items():
            with self.subTest(name):
                torch.save(form, self.path / name)
                self.assertEqual(self.convert(self.path / name), self.expected)

    def must_fail(self, path, message):
        done = subprocess.run([MT3_MODEL, 'inspect', path], text=True,
                              capture_output=True)
        self.assertEqual(done.returncode, 3)
        self.assertIn(message, done.stderr)
        self.assertEqual(done.stdout, '')

    def test_the_old_format_says_what_to_do(self):
        path = self.path / 'old.pth'
        torch.save(self.state, path, _use_new_zipfile_serialization=False)
        self.must_fail(path, 'save it anew with a later one')

    def test_a_whole_module_is_refused_by_its_class(self):
        path = self.path / 'whole.pth'
        torch.save(Wrapped(self.state), path)
        self.must_fail(path, 'names __main__.Wrapped')

    def test_nothing_is_executed(self):
        path = self.path / 'evil.pth'
        torch.save({'state_dict': self.state, 'x': Evil()}, path)
        self.must_fail(path, 'names __builtin__.print')

    def test_a_later_protocol_says_what_to_do(self):
        path = self.path / 'protocol.pth'
        torch.save(self.state, path, pickle_protocol=pickle.HIGHEST_PROTOCOL)
        self.must_fail(path, 'expected 2, which torch.save writes')

    def test_a_view_with_gaps_is_refused(self):
        path = self.path / 'gaps.pth'
        name = 'proj.weight'
        state = {name: self.state[name][:, ::2]}
        torch.save(state, path)
        self.must_fail(path, 'tensor proj.weight: its strides leave gaps')


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1])
