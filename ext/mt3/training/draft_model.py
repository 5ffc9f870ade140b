# SPDX-License-Identifier: LGPL-2.1-or-later
"""A draft network: guesses what a model's decoder writes next, so that one step
of the decoder can check several tokens (Leviathan et al., 2023,
arXiv:2211.17192). It goes by the state of the decoder that the last token came
of, as EAGLE does (Li et al., 2024, arXiv:2401.15077). checkpoint/draft.h has the
arithmetic; the product reads the file through it.
"""
import hashlib

import torch
import torch.nn.functional as F
from torch import nn

import weights
from model import DecoderLayer, Mlp, Norm, linear, sinusoids

# How many drafts a step may have: what is trained for and scored.
DEPTHS = 3
# The metadata that says which model it is for.
MODEL_KEY = 'mt3.model'
# Of a state, as training starts: about half of what MT3's embeddings are.
FIRST_SHARE = 0.5


class Draft(DecoderLayer):
    """A layer of the decoder's form, with a way in for a state and a token. The
    attributes' names are those of the file's tensors. model: lends its
    embeddings and logits, which stay what they are."""

    def __init__(self, model):
        config, width = model.config, model.config.d_model
        super().__init__(config)
        self.config = config
        # In a tuple, and so no part of this module.
        self.lent = (model.decoder,)
        self.pre_state_layer_norm = Norm(width)
        self.state = linear(width, width)
        self.pre_own_state_layer_norm = Norm(width)
        self.own_state = linear(width, width)
        self.pre_own_mlp_layer_norm = Norm(width)
        self.own_mlp = Mlp(width, config.decoder_d_ff)
        self.register_buffer(
            'positions', sinusoids(config.max_tokens + DEPTHS, width),
            persistent=False)
        with torch.no_grad():
            for matrix in self.state, self.own_state:
                matrix.weight.copy_(torch.eye(width) * FIRST_SHARE)

    def start_as_last_layer(self):
        """Starts with the decoder's last layer."""
        last = self.lent[0].layers[-1].state_dict()
        self.load_state_dict({
            **self.state_dict(), **last,
            **{name.replace('mlp', 'own_mlp'): value
               for name, value in last.items() if 'mlp' in name}})

    def enter(self, depth, place, states, tokens):
        """What a pass has of tokens, [batch, length], the first of which has
        this place in the text, counted from 0. states: those that they came of:
        the decoder's where depth is 0, else the draft's before."""
        norm, matrix = \
            (self.pre_own_state_layer_norm, self.own_state) if depth else \
            (self.pre_state_layer_norm, self.state)
        x = matrix(norm(states)) + self.lent[0].token_embedder(tokens) + \
            self.positions[place:place + tokens.shape[1]]
        return x.to(states.dtype)

    def go_on(self, depth, place, states, tokens):
        """The states behind the first: what the layer heard is in them."""
        x = self.enter(depth, place, states, tokens)
        return x + self.own_mlp(self.pre_own_mlp_layer_norm(x))

    def choose(self, states):
        """Their logits."""
        return self.lent[0].choose(states)

    def guesses(self, encoded, states, tokens, depths=DEPTHS):
        """Yields depths times logits [batch, length, vocabulary]: those of
        tokens[t + 1], then of tokens[t + 2], ..., with tokens[:t + 1] and
        states[:t + 1] known and all drafts between taken to be right."""
        memory = self.encoder_decoder_attention.keys_and_values(encoded)
        length = tokens.shape[1]
        followed = F.pad(tokens, (0, depths))
        states = self(self.enter(0, 0, states, tokens), memory)
        yield self.choose(states)
        for depth in range(1, depths):
            states = self.go_on(
                depth, depth, states, followed[:, depth:depth + length])
            yield self.choose(states)


def _digest(model):
    """As mt3_draft_model_digest()."""
    scale = model.decoder.decoder_norm.scale.detach().cpu().numpy()
    return hashlib.sha256(scale.astype('<f2').tobytes()).hexdigest()


def save(path, draft, model, metadata):
    """Writes what mt3_draft_open() reads. metadata: strings."""
    weights.write(path, weights.to_tensors(draft.state_dict(), draft.config),
                  {**metadata, MODEL_KEY: _digest(model)})


def load(path, model, device='cpu'):
    """The model's draft network, to run or to train further."""
    tensors, metadata = weights.read(path)
    if metadata.get(MODEL_KEY) != _digest(model):
        raise SystemExit(f'{path} was made for another model')
    draft = Draft(model)
    weights.from_tensors(draft, tensors, model.config)
    return draft.to(device)
