# SPDX-License-Identifier: LGPL-2.1-or-later
"""How many steps a draft network saves, found without drafting: every guess at
every place of a known text is made at once, and what would have happened is
counted from which of them are right.
"""
import numpy as np
import torch

from draft_model import DEPTHS

# Windows scored together.
BATCH = 32


@torch.no_grad()
def right_guesses(draft, windows):
    """[windows, DEPTHS, length]: whether tokens[t + 1 + depth] is guessed; not
    where the text has ended."""
    tokens = windows.tokens
    right = torch.zeros(len(tokens), DEPTHS, tokens.shape[1], dtype=torch.bool,
                        device=tokens.device)
    guesses = draft.guesses(windows.encoded, windows.states, tokens)
    for depth, logits in enumerate(guesses):
        expected = tokens[:, depth + 1:]
        guessed = logits.argmax(-1)[:, :expected.shape[1]]
        right[:, depth, :expected.shape[1]] = \
            (guessed == expected) & (expected > 0)
    return right.cpu().numpy()


def rounds(right, length, drafts):
    """Steps of the decoder until a text of so many tokens is written, when each
    but the first checks so many drafts. right: [DEPTHS, length]."""
    steps = known = 1
    while known < length:
        accepted = 0
        while accepted < drafts and right[accepted, known - 1]:
            accepted += 1
        # What the step itself chooses behind the last right draft, unless that
        # was the end.
        known = min(known + accepted + 1, length)
        steps += 1
    return steps


def acceptance(rows):
    """By depth: how many drafts are right, of those behind right ones. rows:
    (right, length) of each window."""
    reached, accepted = np.zeros(DEPTHS), np.zeros(DEPTHS)
    for right, length in rows:
        alive = np.ones(length, bool)
        for depth in range(DEPTHS):
            alive = alive[:max(0, length - 1 - depth)]
            reached[depth] += alive.sum()
            alive = alive & right[depth, :len(alive)]
            accepted[depth] += alive.sum()
    return [round(float(share), 4) for share in
            accepted / np.maximum(reached, 1)]


def score(draft, clips):
    """Of all the clips' windows: how many, their tokens, acceptance by depth;
    tokens a step, and steps of the longest window, with 1 ... DEPTHS drafts."""
    rows = []
    for windows in clips:
        for part in windows.parts(BATCH):
            rows += zip(right_guesses(draft, part), part.lengths.tolist())
    tokens = sum(length for _, length in rows)
    longest = max(rows, key=lambda row: row[1])
    drafts = range(1, DEPTHS + 1)
    return {
        'windows': len(rows), 'tokens': tokens,
        'acceptance': acceptance(rows),
        'tokens_a_step': [
            round(tokens / sum(rounds(*row, n) for row in rows), 3)
            for n in drafts],
        'longest': longest[1],
        'steps_of_longest': [rounds(*longest, n) for n in drafts]}
