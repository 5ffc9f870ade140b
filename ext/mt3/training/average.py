#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Averages models weight by weight: snapshots of a run, or runs that began with
one another's weights.

  average.py OUT.safetensors MODEL.safetensors:SHARE [MODEL:SHARE ...]

Shares are of any scale. The metadata is the first model's, its steps with the
shares behind them.
"""
import argparse

import weights


def average(models):
    """{name: array} of [({name: array}, share)]."""
    total = sum(share for _, share in models)
    return {name: sum(tensors[name] * (share / total)
                      for tensors, share in models)
            for name in models[0][0]}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('out')
    parser.add_argument('models', nargs='+', metavar='MODEL:SHARE')
    options = parser.parse_args()
    models, steps, metadata = [], [], None
    for argument in options.models:
        path, share = argument.rsplit(':', 1)
        tensors, some = weights.read(path)
        metadata = metadata or dict(some)
        models.append((tensors, float(share)))
        steps.append(f'{share} of {some.get("steps", "?")}')
    metadata['steps'] = ', '.join(steps)
    weights.write(options.out, average(models), metadata)


if __name__ == '__main__':
    main()
