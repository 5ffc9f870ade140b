#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The products and the attention of an encoder layer, for a batch of 32 windows,
by cuBLASLt and cuDNN through PyTorch, to be measured beside gst-mt3's kernels.

These work in split form: a number is the sum of two in float16, and a product
three of theirs, with float32 sums. cuBLASLt can be asked for that by one product
of three times the depth. cuDNN's fused attention can for the scores, but rounds
what comes out of the softmax to float16: two of the values' three products.

gst-mt3's kernels normalise, gate and add what comes out, and split it again. For
cuBLASLt a kernel beside each product stands for that here, which reads and writes
no more than it would have to: it does not split.

Prints microseconds, the fastest of some rounds as gpu-gemm and gpu-attention
have it, and the root of the mean square of the error, relative to float64. Needs
PyTorch 2.8 or later.
"""
import argparse
import json
import re
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

WINDOWS, FRAMES, HEADS, WIDTH = 32, 256, 6, 64
ROUNDS, LAUNCHES = 5, 50
PRODUCTS = {  # columns, depth, what follows; named as gpu-gemm does
    'query, key, value': (1152, 512, 'normalise'),
    "attention's out": (512, 384, 'add'),
    'gate and up': (2048, 512, 'gate'),
    'down': (512, 1024, 'add'),
}


def microseconds(run):
    """Of one launch, without the host: all of a round are one graph."""
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        run()  # libraries choose, and set themselves up
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(LAUNCHES):
            run()
    best = float('inf')
    for _ in range(ROUNDS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        best = min(best, 1e3 * start.elapsed_time(end) / LAUNCHES)
    return best


def error(result, expected):
    difference = result.double() - expected
    return float((difference.norm() / expected.norm()).item())


def split(x):
    """float32 to the two float16 that it is the sum of."""
    high = x.half()
    return high, (x - high.float()).half()


def deep(a, b, along_a, along_b):
    """Both split, so that one product of them is three."""
    (ah, al), (bh, bl) = split(a), split(b)
    return torch.cat([ah, al, ah], along_a), torch.cat([bh, bh, bl], along_b)


def follow(kind, columns):
    """What follows a product, as far as it has to be read and written."""
    rows = WINDOWS * FRAMES
    if kind == 'gate':
        half = columns // 2
        gated = torch.empty(rows, half, device='cuda')
        return lambda x: torch.mul(x[:, :half], x[:, half:], out=gated)
    if kind == 'add':
        residual = torch.zeros(rows, columns, device='cuda')
        return lambda x: torch.add(x, residual, out=residual)
    scales = torch.ones(rows, 1, device='cuda')
    scaled = torch.empty(rows, columns, device='cuda')
    return lambda x: torch.mul(x, scales, out=scaled)


def measure_product(columns, depth, kind):
    a = torch.randn(WINDOWS * FRAMES, depth, device='cuda')
    w = torch.randn(depth, columns, device='cuda') * 0.1
    expected = a.double() @ w.double()
    half_a, half_w = a.half(), w.half()
    deep_a, deep_w = deep(a, w, 1, 0)
    finish = follow(kind, columns)

    def split_product():
        return torch.mm(deep_a, deep_w, out_dtype=torch.float32)

    off = error(split_product(), expected)
    return {
        'cuBLASLt, float16': (microseconds(lambda: half_a @ half_w),
                              error(half_a @ half_w, expected)),
        'cuBLASLt, split': (microseconds(split_product), off),
        'cuBLASLt, split, and what follows': (
            microseconds(lambda: finish(split_product())), off),
    }


def unfused(q, k, v):
    """The split form by two batched products, and what lies between."""
    deep_q, deep_k = deep(q, k, 2, 2)

    def run():
        scores = torch.bmm(deep_q, deep_k.transpose(1, 2),
                           out_dtype=torch.float32)
        deep_p, deep_v = deep(scores.softmax(2), v, 2, 1)
        return torch.bmm(deep_p, deep_v, out_dtype=torch.float32)

    return run


def measure_attention():
    shape = (WINDOWS, HEADS, FRAMES, WIDTH)
    q, k, v = (torch.randn(shape, device='cuda') * scale
               for scale in (0.4, 0.4, 1.0))
    expected = F.scaled_dot_product_attention(
        q.double(), k.double(), v.double(), scale=1.0)
    halves = [x.half() for x in (q, k, v)]
    deep_q, deep_k = deep(q, k, 3, 3)
    wide_v = torch.cat(split(v), 3)
    flat = [x.flatten(0, 1) for x in (q, k, v)]

    def fused(backend, *tensors):
        def run():
            with sdpa_kernel(backend):
                return F.scaled_dot_product_attention(*tensors, scale=1.0)
        return run

    def together(values):
        return values[..., :WIDTH].float() + values[..., WIDTH:].float()

    runs = {
        'cuDNN, float16': (fused(SDPBackend.CUDNN_ATTENTION, *halves), None),
        'FlashAttention, float16': (
            fused(SDPBackend.FLASH_ATTENTION, *halves), None),
        'cuDNN, split but for the softmax': (
            fused(SDPBackend.CUDNN_ATTENTION, deep_q, deep_k, wide_v),
            together),
        'memory-efficient, float32': (
            fused(SDPBackend.EFFICIENT_ATTENTION, q, k, v), None),
        'split, not fused, cuBLASLt': (
            unfused(*flat), lambda x: x.view(shape)),
    }
    figures = {}
    for name, (run, finish) in runs.items():
        try:
            result = run()
            figures[name] = (microseconds(run), error(
                finish(result) if finish else result, expected))
        except RuntimeError as reason:
            print(f'{name}: {str(reason).splitlines()[0]}')
    return figures


def read_kernels(folder):
    """gst-mt3's: what gpu-gemm and gpu-attention printed."""
    figures = {}
    pattern = (r"(?m)^(.+?) +tile \d+ 32 windows +([\d.]+) us .*"
               r"error ([\d.e+-]+)$")
    for name, us, off in re.findall(
            pattern, (folder / 'gpu-gemm.log').read_text()):
        figures[name] = min(figures.get(name, (float('inf'),)),
                            (float(us), float(off)))
    us, off = re.search(
        rf"(?m)^encoder, {HEADS} heads, the device's kernel, "
        rf'{WINDOWS * FRAMES} rows: +([\d.]+) us, error ([\d.e+-]+)$',
        (folder / 'gpu-attention.log').read_text()).groups()
    figures['attention'] = float(us), float(off)
    return figures


def show(name, figures):
    print(f'{name:<52} {figures[0]:7.1f} us, error {figures[1]:.1e}')


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('logs', type=Path, help='a folder with gpu-gemm.log '
                        'and gpu-attention.log, what those printed')
    parser.add_argument('--json', metavar='FILE', help='write figures to FILE')
    return parser.parse_args()


@torch.no_grad()
def main():
    args = parse_arguments()
    torch.manual_seed(0)
    torch.backends.cuda.preferred_blas_library('cublaslt')
    ours = read_kernels(args.logs)
    print(f'{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, '
          f'cuDNN {torch.backends.cudnn.version()}')
    figures, sums = {}, {}
    for product, shape in PRODUCTS.items():
        figures[product] = measure_product(*shape)
        figures[product]['gst-mt3, split'] = ours[product]
    figures['attention'] = measure_attention()
    figures['attention']['gst-mt3, split'] = ours['attention']
    for part, runs in figures.items():
        for name, run in runs.items():
            show(f'{part}: {name}', run)
            if part in PRODUCTS:
                sums[name] = sums.get(name, 0.0) + run[0]
    for name, us in sums.items():
        print(f'four products: {name:<37} {us:7.1f} us')
    if args.json:
        Path(args.json).write_text(json.dumps(figures))


if __name__ == '__main__':
    main()
