# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is trained on: where it comes from (DATA.md says more), and the numbers of
scene.h's Mt3Recipe with their reasons.

A run changes some of them with --recipe NAME=VALUE and its log says which.
"""
import native

SOURCES = (
    'OpenScore string quartets and Lieder (CC0), the '
    'Groove MIDI dataset (CC BY 4.0), Freedoom (BSD-3-Clause) and Simutrans '
    '(Artistic-1.0) music and generated music, played by FluidR3 and '
    'MuseScore_General (MIT), Salamander Grand Piano (CC BY 3.0), VSCO 2 CE '
    '(CC0, as edited by N. Brosowsky, CC BY 3.0), a cello by flcellogrl (CC BY '
    '3.0), the rumpf kit (CC BY 3.0), Sonic Pi samples (CC0) and synthetic '
    'instruments; see ext/mt3/training/DATA.md')

# Real recordings are mostly of pianos, bands and drums; a little of all else.
# Run 1 took violins for saxophones and trumpets: fewer windows where anything
# plays anything, more of strings.
SCENES = {'piano': 0.31, 'band': 0.25, 'medley': 0.06, 'lines': 0.22,
          'drums': 0.11, 'empty': 0.05}

DEFAULTS = {
    # A part that often plays on a wrong instrument teaches confusion.
    'same_program': 0.72,
    'near_program': 0.20,
    'drop_part': 0.6,
    # Fonts hold more machines than drums; recordings, more drums.
    'acoustic_kit': 0.75,
    # Pianos and violins of run 1 were synthetic two times in three; with none
    # of these many timbres a model would know a handful of real ones by heart.
    'sampled': 0.6,
    # References of recorded and sampled pianos end with the key, and there is
    # a pedal; those of rendered files end with the pedal.
    'recorded': 0.5,
    # Bowed notes last until the next one more often than scores' players of
    # corpus.npz would have it (0.75 to 1.02 of what is written).
    'legato': 0.5,
    'unpedalled': 0.3,
    'distractor': 0.10,
    'truncated': 0.10,
    'vibrato': 0.5,
    'detune': 40.0,
    'stretch': 0.28,
}

# Instruments that two seconds of audio tell apart; each group is written as
# its first program, and no group crosses a class of General MIDI.
GROUPS = [
    (0, 1, 2, 3), (4, 5), (6, 7), (11, 12, 13, 15), (9, 8, 10, 14),
    (16, 17, 18, 19, 20), (21, 22, 23), (24, 25), (27, 26, 28), (30, 29, 31),
    (33, 32, 34, 35, 36, 37), (38, 39), (40, 41, 42, 43, 44), (45, 46), (47,),
    (48, 49, 50, 51, 55), (52, 53, 54), (56, 57, 58, 59, 60, 61, 62, 63),
    (65, 64, 66, 67), (68, 69, 70, 71), (73, 72, 74, 75, 76, 77, 78, 79),
    tuple(range(80, 88)), tuple(range(88, 96)), tuple(range(96, 104)),
    (104, 105, 106, 107, 108), (110, 109, 111), (114, 112, 113, 115, 116, 117,
                                                 118, 119),
]

# Drums that nobody tells apart without seeing the kit: the second bass drum,
# snare, crash and ride.
DRUM_GROUPS = [(36, 35), (38, 40), (49, 57), (51, 59)]


def program_labels(which):
    """128 programs: 'groups' as above, 'classes' of eight, or 'all'."""
    if which == 'classes':
        return [program // 8 * 8 for program in range(128)]
    labels = list(range(128))
    if which == 'groups':
        for group in GROUPS:
            for program in group:
                labels[program] = group[0]
    return labels


def make_recipe(velocity_bins, labels='groups', changes=None):
    """changes: {name: number}; scenes go by their names."""
    changes = dict(changes or {})
    scenes = [changes.pop(name, SCENES[name]) for name in native.SCENES]
    unknown = set(changes) - set(DEFAULTS)
    if unknown:
        raise SystemExit(f'the recipe has no {", ".join(sorted(unknown))}')
    recipe = native.Recipe(velocity_bins=velocity_bins,
                           **{**DEFAULTS, **changes})
    recipe.scenes[:] = scenes
    recipe.labels[:] = program_labels(labels)
    recipe.drum_labels[:] = range(128)
    for first, second in DRUM_GROUPS:
        recipe.drum_labels[second] = first
    return recipe
