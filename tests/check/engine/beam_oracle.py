# SPDX-License-Identifier: LGPL-2.1-or-later
"""Beam search by T5X's rules (t5x/decoding.py), on arrays of a fixed size as
there, for comparison with engine/beam.c: 2 n_beams continuations a step,
minus 1e7 for what is not alive or not finished."""

import numpy as np

END = 1
NEVER = -1e7


def log_softmax(logits):
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def brevity_penalty(alpha, length):
    return ((5.0 + length) / 6.0) ** alpha


def best(values, n):
    """The indices of the n largest, the largest first, of equals the first."""
    return np.argsort(-values, kind='stable')[:n]


def is_over(n_beams, alpha, max_tokens, live, scores, flags):
    could_be = live.max() / brevity_penalty(alpha, max_tokens + 1)
    return flags.all() and scores.min() > could_be


def search(step, n_beams, alpha, max_tokens):
    """step(parents, tokens) gives the logits [n_beams, vocabulary] that follow
    the texts which go on from those numbered `parents` with `tokens`; at first
    it gets zeros. Returns the tokens of the best text and whether it ended."""
    live = np.array([0.0] + [NEVER] * (n_beams - 1))
    texts = np.zeros((n_beams, max_tokens), int)
    scores = np.full(n_beams, NEVER)
    finished = np.zeros((n_beams, max_tokens), int)
    flags = np.zeros(n_beams, bool)
    parents, tokens = np.zeros(n_beams, int), np.zeros(n_beams, int)

    for length in range(max_tokens):
        sums = live[:, None] + log_softmax(step(parents, tokens))
        n_vocab = sums.shape[1]
        top = best(sums.ravel(), 2 * n_beams)
        new_sums = sums.ravel()[top]
        new_texts = texts[top // n_vocab]
        new_texts[:, length] = top % n_vocab
        ends = new_texts[:, length] == END

        new_scores = np.where(
            ends, new_sums / brevity_penalty(alpha, length + 1), NEVER)
        all_scores = np.concatenate([scores, new_scores])
        keep = best(all_scores, n_beams)
        scores = all_scores[keep]
        finished = np.concatenate([finished, new_texts])[keep]
        flags = np.concatenate([flags, ends])[keep]

        go_on = best(np.where(ends, NEVER, new_sums), n_beams)
        live, texts = new_sums[go_on], new_texts[go_on]
        parents, tokens = (top // n_vocab)[go_on], texts[:, length]
        if is_over(n_beams, alpha, max_tokens, live, scores, flags):
            break

    if flags.any():
        text = finished[0].tolist()
        return text[:text.index(END)], True
    return texts[0][:length + 1].tolist(), False
