#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Changes what a model's file says of the model, and no weight.

  configure.py MODEL.safetensors OUT.safetensors NAME=NUMBER ...

The names are those of checkpoint/model-config.h: ordered_events=1 makes a model
that was trained here before there was such a rule keep the order of its texts.
"""
import argparse

import weights


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('model')
    parser.add_argument('out')
    parser.add_argument('changes', nargs='+', metavar='NAME=NUMBER')
    options = parser.parse_args()
    pairs = (change.split('=') for change in options.changes)
    weights.change_config(options.model, options.out,
                          {name: float(number) for name, number in pairs})


if __name__ == '__main__':
    main()
