#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes a model that float16 cannot compute from one that it can.

The gated hidden values of decoder layer 0 grow by 2^14 and the matrix behind
them shrinks as much: the same function, out of float16's range.

usage: overflow-model.py IN.safetensors OUT.safetensors
"""
import json
import struct
import sys

import numpy as np

FACTORS = {'decoder/layers_0/mlp/wi_1/kernel': 2.0 ** 14,
           'decoder/layers_0/mlp/wo/kernel': 2.0 ** -14}

with open(sys.argv[1], 'rb') as file:
    data = bytearray(file.read())
size = struct.unpack_from('<Q', data)[0]
header = json.loads(bytes(data[8:8 + size]))
for name, factor in FACTORS.items():
    first, last = header[name]['data_offsets']
    at = slice(8 + size + first, 8 + size + last)
    data[at] = (np.frombuffer(bytes(data[at]), '<f4')
                * np.float32(factor)).tobytes()
with open(sys.argv[2], 'wb') as file:
    file.write(data)
