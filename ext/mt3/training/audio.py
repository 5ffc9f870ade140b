# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads and writes audio files through libsndfile."""
import ctypes as C
import math

import numpy as np
from scipy.signal import resample_poly

_READ, _WRITE = 0x10, 0x20
FLAC_16 = 0x170000 | 0x0002


class _Info(C.Structure):
    _fields_ = [('frames', C.c_int64), ('samplerate', C.c_int),
                ('channels', C.c_int), ('format', C.c_int),
                ('sections', C.c_int), ('seekable', C.c_int)]


def _library():
    library = C.CDLL('libsndfile.so.1')
    library.sf_open.restype = C.c_void_p
    library.sf_open.argtypes = [C.c_char_p, C.c_int, C.POINTER(_Info)]
    library.sf_strerror.restype = C.c_char_p
    library.sf_strerror.argtypes = [C.c_void_p]
    for function in (library.sf_readf_float, library.sf_writef_float):
        function.restype = C.c_int64
        function.argtypes = [C.c_void_p, C.c_void_p, C.c_int64]
    library.sf_close.argtypes = [C.c_void_p]
    return library


_LIBRARY = _library()


def _open(path, mode, info):
    file = _LIBRARY.sf_open(str(path).encode(), mode, C.byref(info))
    if not file:
        raise OSError(f'{path}: {_LIBRARY.sf_strerror(None).decode()}')
    return file


def read(path, rate=16000):
    """Mono float32 samples at the rate."""
    info = _Info()
    file = _open(path, _READ, info)
    samples = np.zeros((info.frames, info.channels), np.float32)
    _LIBRARY.sf_readf_float(file, samples.ctypes.data, info.frames)
    _LIBRARY.sf_close(file)
    mono = samples.mean(1)
    if info.samplerate != rate:
        common = math.gcd(rate, info.samplerate)
        mono = resample_poly(mono, rate // common, info.samplerate // common)
    return mono.astype(np.float32)


def write_flac(path, samples, rate=16000):
    """16-bit mono; samples beyond full scale are clipped."""
    samples = np.ascontiguousarray(np.clip(samples, -1, 0.9999), np.float32)
    file = _open(path, _WRITE, _Info(0, rate, 1, FLAC_16, 0, 0))
    _LIBRARY.sf_writef_float(file, samples.ctypes.data, len(samples))
    _LIBRARY.sf_close(file)
