# SPDX-License-Identifier: LGPL-2.1-or-later
"""The metrics of the MT3 paper (Gardner et al., ICLR 2022), by mir_eval.

Notes are (onset, offset, pitch, velocity, program, is_drum), times in seconds.
Scores are F1; a score is None where the reference has nothing to score.
"""
import numpy as np
from mir_eval import transcription

MIN_DURATION = 0.01
OFFSET_RATIO = 0.2

# The drum kit's keys by the kind of drum, as note-seq groups them
# (drums_encoder_decoder.py). MT3 names drums by the kit it was trained with:
# one snare drum for another is no mistake of the ear.
DRUM_CLASSES = {key: keys[0] for keys in (
    (36, 35), (38, 37, 39, 40), (42, 44), (46,), (45, 41, 43), (48, 47),
    (50,), (49, 52, 55, 57), (51, 53, 59)) for key in keys}

GROUPINGS = {
    'flat': lambda program: 0,
    'class': lambda program: 8 * (program // 8),
    'full': lambda program: program,
}


def _arrays(notes):
    intervals = [(n[0], max(n[1], n[0] + MIN_DURATION)) for n in notes]
    pitches = [440.0 * 2 ** ((n[2] - 69) / 12) for n in notes]
    return np.array(intervals).reshape(-1, 2), np.array(pitches)


def precision_recall_f1(reference, estimate, tolerance, offsets):
    if not reference or not estimate:
        return 0.0, 0.0, 0.0
    return transcription.precision_recall_f1_overlap(
        *_arrays(reference), *_arrays(estimate), onset_tolerance=tolerance,
        offset_ratio=OFFSET_RATIO if offsets else None)[:3]


def _multi_instrument(reference, estimate, tolerance, group):
    """A note counts only if its instrument is right; drums by onset alone."""
    def instrument(note):
        return (0 if note[5] else group(note[4]), bool(note[5]))

    hits_in_estimate = hits_in_reference = 0.0
    for key in {instrument(n) for n in [*reference, *estimate]}:
        ref = [n for n in reference if instrument(n) == key]
        est = [n for n in estimate if instrument(n) == key]
        precision, recall, _ = precision_recall_f1(
            ref, est, tolerance, offsets=not key[1])
        hits_in_estimate += precision * len(est)
        hits_in_reference += recall * len(ref)
    precision = hits_in_estimate / max(1, len(estimate))
    recall = hits_in_reference / max(1, len(reference))
    total = precision + recall
    return 2 * precision * recall / total if total else 0.0


def _drums(notes, classes=None):
    return [(*n[:2], classes.get(n[2], n[2]) if classes else n[2], *n[3:])
            for n in notes if n[5]]


def score(reference, estimate, tolerance=0.05):
    """All scores of one clip as a dictionary, in the order of the table."""
    def f1(ref, est, offsets):
        if not ref:
            return None
        return precision_recall_f1(ref, est, tolerance, offsets)[2]

    pitched_ref = [n for n in reference if not n[5]]
    pitched_est = [n for n in estimate if not n[5]]
    scores = {
        'onset': f1(pitched_ref, pitched_est, offsets=False),
        'onset+offset': f1(pitched_ref, pitched_est, offsets=True),
    }
    for name, group in GROUPINGS.items():
        scores[name] = _multi_instrument(
            reference, estimate, tolerance, group)
    scores['drums'] = f1(_drums(reference), _drums(estimate), offsets=False)
    scores['drum classes'] = f1(_drums(reference, DRUM_CLASSES),
                                _drums(estimate, DRUM_CLASSES), offsets=False)
    return scores
