"""GPTQ as its authors publish it (arXiv:2210.17323), in PyTorch: what bench-device's times are compared with.

    python3 bench/gptq_torch.py [--device cuda] [--repetitions 3] M N

Prints the median milliseconds for W[M, N] at 4 bit in groups of 128, with the factor of H, lazy updates of 128 columns at a time. M, N, H
and the damping are those of bench-device.
"""
import argparse
import statistics
import time

import torch

BLOCK, GROUP, BITS, DAMP = 128, 128, 4, 0.05


def inverse_factor(h):
    """Upper Cholesky factor of the inverse of the damped H."""
    n = h.shape[0]
    h = h.clone()
    h[range(n), range(n)] += DAMP * torch.mean(torch.diagonal(h))
    return torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(h)), upper=True)


def scales_of(w):
    """A symmetric grid's scale of each row, kept in 16 bits."""
    scale = (2 * w.abs().amax(dim=1) / (2**BITS - 1)).half().float()
    return torch.where(scale > 0, scale, torch.ones_like(scale))


def gptq(w, h):
    """Codes and scales of w[M, N]."""
    w, u = w.clone(), inverse_factor(h)
    codes = torch.empty(w.shape, dtype=torch.uint8, device=w.device)
    scales = []
    half, top = 2 ** (BITS - 1), 2**BITS - 1
    for first in range(0, w.shape[1], BLOCK):
        last = min(first + BLOCK, w.shape[1])
        block, u_block = w[:, first:last].clone(), u[first:last, first:last]
        errors = torch.zeros_like(block)
        for i in range(last - first):
            if (first + i) % GROUP == 0:
                scales.append(scales_of(block[:, i:i + GROUP]))
            scale = scales[-1]
            code = torch.clamp(torch.round(block[:, i] / scale) + half, 0, top)
            error = (block[:, i] - scale * (code - half)) / u_block[i, i]
            block[:, i:] -= error.unsqueeze(1).matmul(u_block[i, i:].unsqueeze(0))
            codes[:, first + i] = code.to(torch.uint8)
            errors[:, i] = error
        w[:, last:] -= errors.matmul(u[first:last, last:])
    return codes, torch.stack(scales, dim=1)


def milliseconds(device, work):
    if device != "cuda":
        start = time.perf_counter()
        work()
        return (time.perf_counter() - start) * 1e3
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    work()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("m", type=int)
    parser.add_argument("n", type=int)
    args = parser.parse_args()
    torch.manual_seed(1)
    torch.backends.cuda.matmul.allow_tf32 = False
    x = torch.randn(2 * args.n, args.n, device=args.device)
    w, h = torch.randn(args.m, args.n, device=args.device), x.T.matmul(x)
    gptq(w, h)  # warm-up
    print(f"{statistics.median(milliseconds(args.device, lambda: gptq(w, h)) for _ in range(args.repetitions)):.2f}")


if __name__ == "__main__":
    main()
