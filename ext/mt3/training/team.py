# SPDX-License-Identifier: LGPL-2.1-or-later
"""The processes that train one model together, one for each GPU of a host.

Every process holds the same weights and draws windows of its own. Gradients
are averaged; the first process decides what time it is, logs and saves.
"""
import datetime
import os
import tempfile

import torch
import torch.distributed as dist
import torch.multiprocessing as processes

# Compiling and a slow disk may keep one process waiting for the others; for
# longer than this, one of them has died.
TIMEOUT = datetime.timedelta(minutes=5)


class Team:
    """rank of size processes; of one there is nothing to agree on."""

    def __init__(self, rank=0, size=1, device='cpu', meeting=None):
        self.rank, self.size, self.device = rank, size, device
        if size > 1:
            # A file to meet at needs neither a free port nor a host's name.
            dist.init_process_group(
                'nccl' if device == 'cuda' else 'gloo', timeout=TIMEOUT,
                init_method=f'file://{meeting}', rank=rank, world_size=size)

    @property
    def leads(self):
        return self.rank == 0

    def leave(self):
        if self.size > 1:
            dist.destroy_process_group()

    @torch.no_grad()
    def average_gradients(self, parameters):
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        parts = (flat / self.size).split([g.numel() for g in gradients])
        for parameter, part in zip(parameters, parts):
            parameter.grad = part.view_as(parameter)

    def numbers_of_first(self, *numbers):
        """What the first process passes, in all of them."""
        if self.size == 1:
            return numbers
        box = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        dist.broadcast(box, 0)
        return tuple(box.tolist())

    @torch.no_grad()
    def follow_first(self, tensors):
        """Gives all processes the first one's values; returns the largest
        difference that there was."""
        if self.size == 1:
            return 0.0
        flat = torch.cat([t.flatten() for t in tensors])
        own = flat.clone()
        dist.broadcast(flat, 0)
        apart = (flat - own).abs().max()
        dist.all_reduce(apart, dist.ReduceOp.MAX)
        for tensor, part in zip(tensors,
                                flat.split([t.numel() for t in tensors])):
            tensor.copy_(part.view_as(tensor))
        return apart.item()


def _member(rank, work, options, meeting):
    if options.device == 'cuda':
        torch.cuda.set_device(rank)
    team = Team(rank, options.processes, options.device, meeting)
    work(options, team)
    team.leave()


def run(work, options):
    """Calls work(options, team) in options.processes processes. When one of
    them fails, the others are ended and its error is raised."""
    if options.processes == 1:
        work(options, Team(device=options.device))
        return
    with tempfile.TemporaryDirectory() as folder:
        processes.spawn(
            _member, (work, options, os.path.join(folder, 'meeting')),
            options.processes)
