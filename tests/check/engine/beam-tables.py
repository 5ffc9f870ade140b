#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Beam search in random languages: engine/beam.c finds the texts that T5X's
rules find (beam_oracle.py).

usage: beam-tables.py BEAM_TABLE
"""

import itertools
import subprocess
import sys
import unittest

import numpy as np

import beam_oracle

N_CONTEXTS = 97
PROGRAM = sys.argv.pop()


def make_language(seed, n_tokens, end):
    """The larger `end`, the sooner texts end."""
    logits = 3 * np.random.default_rng(seed).standard_normal(
        (N_CONTEXTS, n_tokens))
    logits[:, beam_oracle.END] += end
    return logits.astype(np.float32)


def follow_rules(logits, n_beams, alpha, max_tokens):
    contexts = np.zeros(n_beams, int)

    def step(parents, tokens):
        nonlocal contexts
        if step.begun:
            contexts = (contexts[parents] * 31 + tokens + 1) % N_CONTEXTS
        step.begun = True
        return logits[contexts]

    step.begun = False
    return beam_oracle.search(step, n_beams, alpha, max_tokens)


def run_program(logits, n_beams, alpha, max_tokens):
    output = subprocess.run(
        [PROGRAM] + [str(x) for x in (n_beams, alpha, max_tokens,
                                      *logits.shape)],
        input=logits.tobytes(), stdout=subprocess.PIPE, check=True).stdout
    ended, *tokens = map(int, output.split())
    return tokens, bool(ended)


class BeamTables(unittest.TestCase):
    def test_the_texts_are_those_of_the_rules(self):
        lengths = set()
        for seed, (n_beams, alpha, n_tokens, end) in enumerate(
                itertools.product((1, 2, 4, 16), (0.0, 0.6, 2.0), (40, 1536),
                                  (-2.0, 1.0, 4.0))):
            logits = make_language(seed, n_tokens, end)
            with self.subTest(seed=seed, n_beams=n_beams, alpha=alpha):
                expected = follow_rules(logits, n_beams, alpha, 60)
                self.assertEqual(
                    run_program(logits, n_beams, alpha, 60), expected)
                lengths.add(len(expected[0]))
        self.assertGreater(len(lengths), 5, 'languages that are all alike')


if __name__ == '__main__':
    unittest.main()
