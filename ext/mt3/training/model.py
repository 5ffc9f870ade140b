# SPDX-License-Identifier: LGPL-2.1-or-later
"""The MT3 network (magenta/mt3 network.py) of any dimensions.

Module names are those of the T5X checkpoint, so that export is a matter of
transposing. Two liberties while training, both undone at export: attention
scores are scaled by 1/sqrt(head_dim), and an auxiliary head on the encoder
predicts onsets, sounding notes and drum hits frame by frame.
"""
import json
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import native

# cuDNN's attention makes a plan for every shape, which takes as long as ten
# steps of training.
if hasattr(torch.backends.cuda, 'enable_cudnn_sdp'):
    torch.backends.cuda.enable_cudnn_sdp(False)

END, START = 1, 0
RMS_EPSILON = 1e-6
AUXILIARY_OUTPUTS = 3 * 128

# 12.3 million parameters, 24.5 MB in fp16. Deep in the encoder, where the
# listening is done once a window; shallow in the decoder, whose every layer
# costs a step of every token.
DEFAULTS = {
    'sample_rate': 16000, 'hop_length': 128, 'fft_length': 2048, 'n_mels': 512,
    'mel_low_hz': 20.0, 'mel_high_hz': 7600.0, 'window_frames': 256,
    'd_model': 320, 'n_heads': 5, 'head_dim': 64, 'encoder_layers': 6,
    'decoder_layers': 3, 'encoder_d_ff': 768, 'decoder_d_ff': 640,
    'max_tokens': 1024, 'velocity_bins': 8, 'ties': True,
    'ordered_events': True,
}


def make_config(**changes):
    """A native.Config; the vocabulary's size follows from its velocity bins,
    in whole panels of 32 as the CPU kernels like them."""
    values = {**DEFAULTS, **changes}
    size = native.vocabulary_size(values['velocity_bins'])
    values.setdefault('vocab_size', (size + 31) // 32 * 32)
    return native.Config(**values)


def config_to_json(config):
    values = {name: getattr(config, name) for name, _ in config._fields_}
    for name in 'ties', 'ordered_events':
        values[name] = bool(values[name])
    values['written_programs'] = config.get_programs()
    return json.dumps(values)


def config_from_json(text):
    values = json.loads(text)
    written = values.pop('written_programs', range(128))
    config = native.Config(**values)
    config.set_programs(written)
    return config


def sinusoids(length, width):
    """[length, width]: all sines, then all cosines."""
    rates = np.exp(np.arange(width // 2) *
                   (-math.log(10000.0) / (width // 2 - 1)))
    angles = np.arange(length)[:, None] * rates
    table = np.concatenate([np.sin(angles), np.cos(angles)], 1)
    return torch.from_numpy(table.astype(np.float32))


def attend(q, k, v, causal, seen=None):
    """seen: of which keys; for all the same."""
    if hasattr(F, 'scaled_dot_product_attention'):
        return F.scaled_dot_product_attention(
            q, k, v, attn_mask=seen, is_causal=causal)
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    if seen is not None:
        scores = scores.masked_fill(~seen, -1e9)
    if causal:
        scores = scores + torch.full(
            scores.shape[-2:], -1e9, device=q.device).triu(1)
    return scores.softmax(-1) @ v


class Norm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x):
        y = x.float()
        y = y * torch.rsqrt((y * y).mean(-1, keepdim=True) + RMS_EPSILON)
        return (y * self.scale).to(x.dtype)


def linear(inputs, outputs, gain=1.0):
    layer = nn.Linear(inputs, outputs, bias=False)
    nn.init.normal_(layer.weight, std=gain / math.sqrt(inputs))
    return layer


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        inner = config.n_heads * config.head_dim
        self.n_heads = config.n_heads
        self.query = linear(config.d_model, inner)
        self.key = linear(config.d_model, inner)
        self.value = linear(config.d_model, inner)
        self.out = linear(inner, config.d_model, 0.3)

    def heads(self, x):
        return x.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)

    def keys_and_values(self, memory):
        return self.heads(self.key(memory)), self.heads(self.value(memory))

    def forward(self, x, keys, values, causal=False, seen=None):
        y = attend(self.heads(self.query(x)), keys, values, causal, seen)
        return self.out(y.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.wi_0 = linear(width, hidden)
        self.wi_1 = linear(width, hidden)
        self.wo = linear(hidden, width, 0.3)

    def forward(self, x):
        gate = F.gelu(self.wi_0(x), approximate='tanh')
        return self.wo(gate * self.wi_1(x))


class EncoderLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.pre_attention_layer_norm = Norm(config.d_model)
        self.attention = Attention(config)
        self.pre_mlp_layer_norm = Norm(config.d_model)
        self.mlp = Mlp(config.d_model, config.encoder_d_ff)

    def forward(self, x):
        y = self.pre_attention_layer_norm(x)
        x = x + self.attention(y, *self.attention.keys_and_values(y))
        return x + self.mlp(self.pre_mlp_layer_norm(x))


class Past:
    """A layer's keys and values of the tokens before, in memory that grows by
    many tokens at a time: none copies all those before it."""
    PIECE = 64

    def __init__(self, memory):
        """memory: any keys and values of the layer, for the shapes."""
        self.both = [x[:, :, :0] for x in memory]
        self.length = 0

    def add(self, new):
        """Those of all tokens, with the new ones."""
        end = self.length + new[0].shape[2]
        if end > self.both[0].shape[2]:
            more = -(-end // self.PIECE) * self.PIECE - self.both[0].shape[2]
            self.both = [F.pad(x, (0, 0, 0, more)) for x in self.both]
        for kept, x in zip(self.both, new):
            kept[:, :, self.length:end] = x
        self.length = end
        return [x[:, :, :end] for x in self.both]

    def keep(self, rows):
        self.both = [x[rows] for x in self.both]


class DecoderLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.pre_self_attention_layer_norm = Norm(config.d_model)
        self.self_attention = Attention(config)
        self.pre_cross_attention_layer_norm = Norm(config.d_model)
        self.encoder_decoder_attention = Attention(config)
        self.pre_mlp_layer_norm = Norm(config.d_model)
        self.mlp = Mlp(config.d_model, config.decoder_d_ff)

    def forward(self, x, memory, past=None, seen=None):
        """memory: the encoder's keys and values for this layer. past: a Past
        that x goes on from, or None when x is the whole sequence; seen: which
        of its keys there are, if not all."""
        y = self.pre_self_attention_layer_norm(x)
        own = self.self_attention.keys_and_values(y)
        if past is not None:
            own = past.add(own)
        x = x + self.self_attention(y, *own, causal=past is None, seen=seen)
        y = self.pre_cross_attention_layer_norm(x)
        x = x + self.encoder_decoder_attention(y, *memory)
        return x + self.mlp(self.pre_mlp_layer_norm(x))


class Encoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.continuous_inputs_projection = linear(
            config.n_mels, config.d_model, 0.3)
        self.layers = nn.ModuleList(
            EncoderLayer(config) for _ in range(config.encoder_layers))
        self.encoder_norm = Norm(config.d_model)

    def forward(self, mels, positions):
        x = self.continuous_inputs_projection(mels)
        x = x + positions[:mels.shape[1]].to(x.dtype)
        for layer in self.layers:
            x = layer(x)
        return self.encoder_norm(x)


class Decoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.token_embedder = nn.Embedding(config.vocab_size, config.d_model)
        self.layers = nn.ModuleList(
            DecoderLayer(config) for _ in range(config.decoder_layers))
        self.decoder_norm = Norm(config.d_model)
        self.logits_dense = linear(config.d_model, config.vocab_size, 0.5)

    def memory(self, encoded):
        return [layer.encoder_decoder_attention.keys_and_values(encoded)
                for layer in self.layers]

    def states(self, tokens, positions, memory, past=None, seen=None):
        """The residual stream behind the last layer. past: of each layer;
        seen: of all."""
        x = (self.token_embedder(tokens) + positions).to(memory[0][0].dtype)
        for i, layer in enumerate(self.layers):
            x = layer(x, memory[i], past[i] if past else None, seen)
        return x

    def choose(self, states):
        """Their logits."""
        return self.logits_dense(self.decoder_norm(states))


class Mt3(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.auxiliary = nn.Linear(config.d_model, AUXILIARY_OUTPUTS)
        # Most of a piano roll is empty.
        nn.init.constant_(self.auxiliary.bias, -4.5)
        longest = max(config.max_tokens, config.window_frames)
        self.register_buffer(
            'positions', sinusoids(longest, config.d_model), persistent=False)
        self._order_shifts()

    @torch.no_grad()
    def _order_shifts(self):
        """Starts the embeddings of the shifts that occur as places in time, a
        frame for each 8 ms: cross attention finds its way sooner."""
        config = self.config
        steps = int(100 * config.window_frames * config.hop_length /
                    config.sample_rate) + 2
        frames = np.arange(steps) * config.sample_rate / config.hop_length / 100
        rates = np.exp(np.arange(config.d_model // 2) *
                       (-math.log(10000.0) / (config.d_model // 2 - 1)))
        angles = torch.from_numpy((frames[:, None] * rates).astype(np.float32))
        turned, _ = torch.linalg.qr(torch.randn(config.d_model, config.d_model))
        places = torch.cat([angles.sin(), angles.cos()], 1) @ turned
        table = self.decoder.token_embedder.weight
        table[3:3 + steps] = 0.3 * table[3:3 + steps] + 1.2 * places

    def encode(self, mels):
        return self.encoder(mels, self.positions)

    def states(self, encoded, targets, inputs=None):
        """Those that the targets come of, [batch, length, d_model],
        teacher-forced. inputs: the tokens to hear instead of the targets, for
        training on mistakes."""
        inputs = targets if inputs is None else inputs
        tokens = F.pad(inputs[:, :-1], (1, 0), value=START)
        return self.decoder.states(tokens, self.positions[:tokens.shape[1]],
                                   self.decoder.memory(encoded))

    def logits(self, encoded, targets, inputs=None):
        """[batch, length, vocabulary], as states()."""
        return self.decoder.choose(self.states(encoded, targets, inputs))

    @torch.no_grad()
    def greedy(self, mels, max_tokens=None):
        """For each window its tokens without the end, and whether it ended."""
        rows = self.write(self.encode(mels),
                          max_tokens or self.config.max_tokens).tolist()
        return [(row[:row.index(END)], True) if END in row else (row, False)
                for row in rows]

    @torch.no_grad()
    def write(self, encoded, max_tokens, states=None):
        """Greedy texts, [n, length], with nothing but END behind their ends.
        states: [n, max_tokens, d_model], where to put what each came of."""
        memory = self.decoder.memory(encoded)
        n, device = len(encoded), encoded.device
        token = torch.full((n, 1), START, device=device)
        going = torch.arange(n, device=device)
        written = torch.full((n, max_tokens), END, device=device)
        past = [Past(layer) for layer in memory]
        texts = native.Texts(self.config, n) \
            if self.config.ordered_events else None
        for i in range(max_tokens):
            x = self.decoder.states(token, self.positions[i], memory, past)
            logits = self.decoder.choose(x)[:, -1]
            if texts:
                permitted = torch.from_numpy(texts.permitted())
                logits = logits.masked_fill(~permitted.to(device), -math.inf)
            token = logits.argmax(-1, keepdim=True)
            if texts:
                texts.follow(token[:, 0].cpu())
            written[going, i] = token[:, 0]
            if states is not None:
                states[going, i] = x[:, 0]
            # Asking costs a trip to the device.
            if i % 16 < 15:
                continue
            kept = (written[going, :i + 1] != END).all(1).nonzero()[:, 0]
            if len(kept) == 0:
                break
            if len(kept) < len(going):
                going, token = going[kept], token[kept]
                if texts:
                    texts.keep(kept.cpu())
                # Layer by layer, so that they are not there twice.
                for layer, (k, v) in enumerate(memory):
                    memory[layer] = k[kept], v[kept]
                    past[layer].keep(kept)
        # A text of which others are not done goes on behind its end.
        ended = (written == END).cumsum(1) > 0
        return written.masked_fill_(ended, END)[:, :i + 1]
