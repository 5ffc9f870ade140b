# SPDX-License-Identifier: LGPL-2.1-or-later
"""Muon for the matrices inside the layers, AdamW for everything else.

Muon: momentum, made orthogonal by five Newton-Schulz steps (Jordan et al.,
2024, https://kellerjordan.github.io/posts/muon), scaled to AdamW's step size
(Liu et al., 2025, arXiv:2502.16982).
"""
import math

import torch

MOMENTUM = 0.95
WEIGHT_DECAY = 0.05
ADAM_SHARE = 0.75  # of Muon's learning rate
CLIP_NORM = 1.0
# Tables of tokens and what is beside the layers: AdamW's.
OUTER = {'token_embedder', 'continuous_inputs_projection', 'logits_dense',
         'auxiliary'}


def orthogonalise(matrices):
    """[n, rows, columns]: singular values to about one."""
    x = matrices.bfloat16() if matrices.is_cuda else matrices
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.transpose(-1, -2)
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        a = x @ x.transpose(-1, -2)
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return (x.transpose(-1, -2) if tall else x).float()


class Optimiser:
    def __init__(self, model):
        inner = [parameter for name, parameter in model.named_parameters()
                 if parameter.ndim == 2 and OUTER.isdisjoint(name.split('.'))]
        chosen = {id(parameter) for parameter in inner}
        self.others = [p for p in model.parameters() if id(p) not in chosen]
        fused = {'fused': True} if self.others[0].is_cuda else {}
        self.adam = torch.optim.AdamW(
            self.others, betas=(0.9, 0.98), weight_decay=0.0, **fused)
        # Matrices of one shape are worked on together.
        self.groups = {}
        for parameter in inner:
            self.groups.setdefault(tuple(parameter.shape), []).append(parameter)
        self.momenta = {
            shape: torch.zeros(len(group), *shape, device=group[0].device)
            for shape, group in self.groups.items()}

    @torch.no_grad()
    def step(self, rate):
        for group in self.adam.param_groups:
            group['lr'] = rate * ADAM_SHARE
        torch.nn.utils.clip_grad_norm_(self.others, CLIP_NORM)
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)
        for shape, group in self.groups.items():
            gradients = torch.stack([p.grad for p in group]).float()
            momentum = self.momenta[shape].mul_(MOMENTUM).add_(gradients)
            updates = orthogonalise(gradients + MOMENTUM * momentum)
            scale = rate * 0.2 * math.sqrt(max(shape))
            torch._foreach_mul_(group, 1 - rate * WEIGHT_DECAY)
            torch._foreach_add_(group, list(updates.unbind()), alpha=-scale)
            for parameter in group:
                parameter.grad = None

    def state_dict(self):
        return {'adam': self.adam.state_dict(),
                'momenta': {'x'.join(map(str, shape)): momentum
                            for shape, momentum in self.momenta.items()}}

    def load_state_dict(self, state):
        self.adam.load_state_dict(state['adam'])
        for shape, momentum in self.momenta.items():
            momentum.copy_(state['momenta']['x'.join(map(str, shape))])
