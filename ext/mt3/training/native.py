# SPDX-License-Identifier: LGPL-2.1-or-later
"""libmt3training: the product's vocabulary, encoder and decoder, by ctypes.

The structures are those of bank.h, corpus.h, scene.h, note.h, note-decoder.h,
model-config.h and token-order.h.
"""
import ctypes as C
import os
import pathlib

import numpy as np

MAX_VOICES = 192
VOICE_FIELDS = 12
SCENES = ('piano', 'band', 'medley', 'lines', 'drums', 'empty')
# Mt3Setting
ANY, RENDERED, RECORDED = range(3)
KINDS = ('piano', 'band', 'drums', 'strings')

NOTE = np.dtype([('onset', '<f4'), ('offset', '<f4'), ('key_up', '<f4'),
                 ('pitch', 'u1'), ('velocity', 'u1'), ('padding', 'u1', 2)])
PART = np.dtype([('first_note', '<u4'), ('n_notes', '<u4'),
                 ('duration', '<f4'), ('program', 'u1'), ('is_drum', 'u1'),
                 ('mean_pitch', 'u1'), ('padding', 'u1')])
PIECE = np.dtype([('first_part', '<u4'), ('n_parts', '<u4'),
                  ('duration', '<f4'), ('kind', '<u4')])
SOUND = np.dtype([('first', '<i8'), ('length', '<i4'), ('audible', '<i4'),
                  ('loop', '<i4'), ('pitch', 'u1'), ('velocity', 'u1'),
                  ('padding', 'u1', 10)])
INSTRUMENT = np.dtype([('sounds', '<i4', (3, 128)), ('gain', '<f4'),
                       ('program', 'u1'), ('is_drum', 'u1'),
                       ('is_acoustic', 'u1'), ('source', 'u1')])


class Corpus(C.Structure):
    _fields_ = [('notes', C.c_void_p), ('parts', C.c_void_p),
                ('pieces', C.c_void_p), ('n_notes', C.c_uint32),
                ('n_parts', C.c_uint32), ('n_pieces', C.c_uint32)]


class Recipe(C.Structure):
    _fields_ = [('scenes', C.c_float * len(SCENES))] + [
        (name, C.c_float) for name in (
            'same_program', 'near_program', 'drop_part', 'acoustic_kit',
            'sampled', 'recorded', 'legato', 'unpedalled', 'distractor', 'truncated', 'vibrato', 'detune',
            'stretch')] + [
        ('velocity_bins', C.c_uint32), ('labels', C.c_uint8 * 128),
        ('drum_labels', C.c_uint8 * 128)]


class SceneBatch(C.Structure):
    _fields_ = [('n_windows', C.c_uint32), ('window_samples', C.c_uint32),
                ('max_tokens', C.c_uint32)] + [
        (name, C.c_void_p) for name in (
            'first', 'voices', 'n_voices', 'tokens', 'n_tokens', 'roll',
            'n_roll', 'cut', 'setting')]


class Note(C.Structure):
    _fields_ = [('id', C.c_uint), ('onset', C.c_double),
                ('offset', C.c_double), ('pitch', C.c_uint8),
                ('velocity', C.c_uint8), ('program', C.c_uint8),
                ('is_drum', C.c_int), ('confidence', C.c_float)]


class Config(C.Structure):
    """Mt3Config; its fields are also the members of the file's mt3.config."""
    _fields_ = [(name, C.c_uint) for name in (
        'sample_rate', 'hop_length', 'fft_length', 'n_mels')] + [
        ('mel_low_hz', C.c_double), ('mel_high_hz', C.c_double)] + [
        (name, C.c_uint) for name in (
            'window_frames', 'd_model', 'n_heads', 'head_dim',
            'encoder_layers', 'decoder_layers', 'encoder_d_ff',
            'decoder_d_ff', 'vocab_size', 'max_tokens', 'velocity_bins')] + [
        ('ties', C.c_int), ('ordered_events', C.c_int),
        ('written_programs', C.c_uint8 * 128)]

    def get_programs(self):
        """128 numbers: the program that is written for each."""
        return [written - 1 if written else program for program, written
                in enumerate(self.written_programs)]

    def set_programs(self, written):
        self.written_programs[:] = [
            0 if w == program else w + 1 for program, w in enumerate(written)]


# Mt3TokenState
STATE = np.dtype([('next', '<i4'), ('shift', '<i2'), ('program', '<i2'),
                  ('velocity', '<i2'), ('in_ties', 'u1'), ('place', 'u1')])


class Order(C.Structure):
    """Mt3TokenOrder: the first token of each kind, and the one behind."""
    _fields_ = [(f'{kind}_{edge}', C.c_uint16) for kind in (
        'shift', 'pitch', 'velocity', 'tie', 'program', 'drum')
        for edge in ('first', 'end')]


class Encoding(C.Structure):
    _fields_ = [('velocity_bins', C.c_uint), ('ties', C.c_int),
                ('first_step', C.c_int64), ('end_step', C.c_int64)]


_PROTOTYPES = {
    'mt3_scene_source_new': (C.c_void_p, [C.c_void_p] * 3 +
                             [C.c_uint, C.c_void_p]),
    'mt3_scene_source_free': (None, [C.c_void_p]),
    'mt3_scene_source_draw': (None, [C.c_void_p, C.c_uint64, C.c_void_p]),
    'mt3_event_order': (Order, [C.c_void_p] * 2),
    'mt3_texts_start': (None, [C.c_void_p] * 2 + [C.c_uint]),
    'mt3_texts_permitted': (None, [C.c_void_p] * 2 + [C.c_uint] * 2 +
                            [C.c_void_p]),
    'mt3_texts_follow': (None, [C.c_void_p] * 2 + [C.c_uint, C.c_void_p]),
    'mt3_vocabulary_size': (C.c_uint, [C.c_uint]),
    'mt3_note_encoder_step': (C.c_int64, [C.c_double]),
    'mt3_note_encoder_encode': (C.c_uint, [C.c_void_p, C.c_void_p, C.c_uint,
                                           C.c_void_p, C.c_uint]),
    'mt3_note_decoder_new': (C.c_void_p, [C.c_void_p] * 3),
    'mt3_note_decoder_free': (None, [C.c_void_p]),
    'mt3_note_decoder_push': (None, [C.c_void_p, C.c_uint64, C.c_int,
                                     C.c_void_p, C.c_void_p, C.c_uint,
                                     C.c_int]),
    'mt3_note_decoder_finish': (None, [C.c_void_p]),
    'mt3_note_decoder_notes': (C.POINTER(Note), [C.c_void_p, C.c_void_p]),
}


def _load():
    path = os.environ.get('MT3_TRAINING_LIBRARY')
    if not path:
        raise SystemExit(
            'set MT3_TRAINING_LIBRARY to libmt3training.so of a build folder '
            '(ninja ext/mt3/training/libmt3training.so)')
    library = C.CDLL(str(pathlib.Path(path).resolve()))
    for name, (result, arguments) in _PROTOTYPES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


LIBRARY = _load()


def vocabulary_size(velocity_bins):
    return LIBRARY.mt3_vocabulary_size(velocity_bins)


def step(seconds):
    return LIBRARY.mt3_note_encoder_step(seconds)


class SceneSource:
    """Draws batches of windows; see scene.h. Threads may share one."""

    def __init__(self, corpus, bank, recipe):
        # What C borrows must live as long as this object.
        self._kept = corpus, bank, recipe
        view = Corpus(corpus.notes.ctypes.data, corpus.parts.ctypes.data,
                      corpus.pieces.ctypes.data, len(corpus.notes),
                      len(corpus.parts), len(corpus.pieces))
        self._source = LIBRARY.mt3_scene_source_new(
            C.byref(view), bank.sounds.ctypes.data,
            bank.instruments.ctypes.data, len(bank.instruments),
            C.byref(recipe))

    def __del__(self):
        if getattr(self, '_source', None):
            LIBRARY.mt3_scene_source_free(self._source)

    def draw(self, seed, n_windows, window_samples, max_tokens):
        """A dictionary of arrays, shortest windows (in tokens) first."""
        shapes = {
            'first': ((n_windows, MAX_VOICES), np.int64),
            'voices': ((n_windows, MAX_VOICES, VOICE_FIELDS), np.float32),
            'n_voices': ((n_windows,), np.int32),
            'tokens': ((n_windows, max_tokens), np.int16),
            'n_tokens': ((n_windows,), np.int32),
            'roll': ((n_windows, MAX_VOICES, 4), np.int16),
            'n_roll': ((n_windows,), np.int32),
            'cut': ((n_windows,), np.int32),
            'setting': ((n_windows,), np.int32),
        }
        arrays = {name: np.zeros(*shape) for name, shape in shapes.items()}
        batch = SceneBatch(n_windows, window_samples, max_tokens, **{
            name: array.ctypes.data for name, array in arrays.items()})
        LIBRARY.mt3_scene_source_draw(self._source, seed, C.byref(batch))
        order = np.argsort(arrays['n_tokens'], kind='stable')
        return {name: array[order] for name, array in arrays.items()}


class Texts:
    """Which tokens may follow n texts that keep a model's order of events; see
    texts.h."""

    def __init__(self, config, n):
        self._order = LIBRARY.mt3_event_order(C.byref(config), None)
        self._vocab_size = config.vocab_size
        self._states = np.zeros(n, STATE)
        LIBRARY.mt3_texts_start(
            C.byref(self._order), self._states.ctypes.data, n)

    def permitted(self):
        """[texts, tokens]"""
        n = len(self._states)
        result = np.empty((n, self._vocab_size), bool)
        LIBRARY.mt3_texts_permitted(
            C.byref(self._order), self._states.ctypes.data, n,
            self._vocab_size, result.ctypes.data)
        return result

    def follow(self, tokens):
        tokens = np.ascontiguousarray(tokens, np.int64)
        LIBRARY.mt3_texts_follow(
            C.byref(self._order), self._states.ctypes.data, len(tokens),
            tokens.ctypes.data)

    def keep(self, rows):
        self._states = self._states[rows].copy()


def encode(notes, velocity_bins, first_step, end_step, max_tokens):
    """Tokens, without an end token, of notes (onset, offset, pitch, velocity,
    program, is_drum); None when they are more than max_tokens."""
    array = (Note * len(notes))(*[
        Note(0, n[0], n[1], n[2], n[3], n[4], bool(n[5]), 1) for n in notes])
    tokens = np.zeros(max_tokens, np.uint16)
    encoding = Encoding(velocity_bins, 1, first_step, end_step)
    n_tokens = LIBRARY.mt3_note_encoder_encode(
        C.byref(encoding), array, len(notes), tokens.ctypes.data, max_tokens)
    return tokens[:n_tokens] if n_tokens <= max_tokens else None


def decode(config, windows):
    """Notes, as in encode(), of the windows' tokens (lists without the end
    token, each with whether it ended)."""
    decoder = LIBRARY.mt3_note_decoder_new(C.byref(config), None, None)
    for index, (tokens, ended) in enumerate(windows):
        array = np.asarray(tokens, np.uint16)
        LIBRARY.mt3_note_decoder_push(
            decoder, index, index + 1 == len(windows), array.ctypes.data,
            None, len(array), ended)
    LIBRARY.mt3_note_decoder_finish(decoder)
    n_notes = C.c_uint()
    notes = LIBRARY.mt3_note_decoder_notes(decoder, C.byref(n_notes))
    result = [(n.onset, n.offset, n.pitch, n.velocity, n.program,
               bool(n.is_drum)) for n in notes[:n_notes.value]]
    LIBRARY.mt3_note_decoder_free(decoder)
    return result
