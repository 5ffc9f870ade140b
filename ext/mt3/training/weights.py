# SPDX-License-Identifier: LGPL-2.1-or-later
"""The product's model files: safetensors with T5X names, kernels as [in, out],
the configuration under mt3.config (checkpoint/config-json.h)."""
import json
import re
import struct

import numpy as np
import torch

from model import Mt3, config_from_json, config_to_json

CONFIG_KEY = 'mt3.config'
_TYPES = {'F32': np.dtype('<f4'), 'F16': np.dtype('<f2')}


def _t5x_name(name):
    """encoder.layers.0.mlp.wo.weight: encoder/layers_0/mlp/wo/kernel, True
    (to be transposed); None for what is only there to train."""
    if name.startswith('auxiliary.'):
        return None, False
    path = re.sub(r'\.layers\.(\d+)\.', r'/layers_\1/', name).replace('.', '/')
    if path.endswith('token_embedder/weight'):
        return path.replace('/weight', '/embedding'), False
    if path.endswith('/weight'):
        return path.replace('/weight', '/kernel'), True
    return path, False


def _query_factor(t5x_name, config):
    """The network is run without scaling attention scores: what training
    divides them by goes into the queries."""
    return config.head_dim ** -0.5 if '/query/' in t5x_name else 1.0


def to_tensors(state, config):
    """A network's state dictionary as {T5X name: float32 array}."""
    tensors = {}
    for name, value in state.items():
        t5x, transposed = _t5x_name(name)
        if t5x:
            value = value.detach().cpu().float() * _query_factor(t5x, config)
            tensors[t5x] = (value.T if transposed else value).numpy()
    return tensors


def from_tensors(network, tensors, config):
    """Gives a network what to_tensors() gave."""
    state = network.state_dict()
    for name in state:
        t5x, transposed = _t5x_name(name)
        if t5x:
            value = torch.from_numpy(tensors[t5x].copy())
            value = value / _query_factor(t5x, config)
            state[name] = value.T.contiguous() if transposed else value
    network.load_state_dict(state)


def write(path, tensors, metadata, dtype='F16'):
    header, offset, blocks = {'__metadata__': metadata}, 0, []
    for name, array in sorted(tensors.items()):
        if np.abs(array).max() > np.finfo(_TYPES[dtype]).max:
            raise ValueError(f'{name} has values too large for {dtype}')
        block = np.ascontiguousarray(array, _TYPES[dtype]).tobytes()
        header[name] = {'dtype': dtype, 'shape': list(array.shape),
                        'data_offsets': [offset, offset + len(block)]}
        offset += len(block)
        blocks.append(block)
    _write_file(path, header, b''.join(blocks))


def _write_file(path, header, data):
    text = json.dumps(header).encode()
    text += b' ' * (-len(text) % 8)
    with open(path, 'wb') as file:
        file.write(struct.pack('<Q', len(text)) + text + data)


def _read_file(path):
    with open(path, 'rb') as file:
        length, = struct.unpack('<Q', file.read(8))
        return json.loads(file.read(length)), file.read()


def change_config(path, out, changes):
    """Writes the file again with other values ({name: value}) in its
    configuration; the tensors' bytes stay as they are."""
    header, data = _read_file(path)
    config = config_from_json(header['__metadata__'][CONFIG_KEY])
    for name, value in changes.items():
        if name not in dict(config._fields_):
            raise SystemExit(f'a configuration has no {name}')
        setattr(config, name, type(getattr(config, name))(value))
    header['__metadata__'][CONFIG_KEY] = config_to_json(config)
    _write_file(out, header, data)


def read(path):
    """The tensors as float32, and the metadata."""
    header, data = _read_file(path)
    metadata = header.pop('__metadata__', {})
    tensors = {}
    for name, entry in header.items():
        if entry['dtype'] not in _TYPES:
            raise SystemExit(f'{path}: {name} is {entry["dtype"]}; convert the '
                             'file with mt3-model convert')
        start, end = entry['data_offsets']
        tensors[name] = np.frombuffer(
            data[start:end], _TYPES[entry['dtype']]).reshape(
                entry['shape']).astype(np.float32)
    return tensors, metadata


def export(path, state, config, metadata, dtype='F16'):
    """Writes a model that mt3_model_open() reads. metadata: strings, such as
    name, license and data."""
    write(path, to_tensors(state, config),
          {**metadata, CONFIG_KEY: config_to_json(config)}, dtype)


def load(path, device='cpu'):
    """A network ready to run or to train further, and the file's metadata."""
    tensors, metadata = read(path)
    if CONFIG_KEY not in metadata:
        raise SystemExit(f'{path} has no {CONFIG_KEY}; write it with '
                         'mt3-model convert')
    config = config_from_json(metadata[CONFIG_KEY])
    network = Mt3(config)
    from_tensors(network, tensors, config)
    return network.to(device), metadata
