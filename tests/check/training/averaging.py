#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two processes that hear half of a batch each learn what one learns from all
of it. Exits with 1 when they do not; smoke.py runs it."""
import argparse
import pathlib
import sys

import torch

SOURCE = pathlib.Path(__file__).resolve().parents[3] / 'ext/mt3/training'
sys.path.insert(0, str(SOURCE))
import team as teams  # noqa: E402


def gradients(rows, team):
    torch.manual_seed(0)
    layer = torch.nn.Linear(8, 3)
    layer(rows).square().mean().backward()
    parameters = list(layer.parameters())
    team.average_gradients(parameters)
    return [p.grad for p in parameters]


def check(options, team):
    torch.manual_seed(1)
    rows = torch.randn(2 * team.size, 8)
    expected = gradients(rows, teams.Team())
    averaged = gradients(rows[2 * team.rank:2 * team.rank + 2], team)
    for whole, parts in zip(expected, averaged):
        torch.testing.assert_close(parts, whole)
    # Also weights that have come apart are found, and mended.
    weights = torch.full((3,), float(team.rank))
    assert team.follow_first([weights]) == team.size - 1
    assert weights.tolist() == [0, 0, 0]
    assert team.numbers_of_first(team.rank, 7.0) == (0, 7)


if __name__ == '__main__':
    teams.run(check, argparse.Namespace(processes=2, device='cpu'))
