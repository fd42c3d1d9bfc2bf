"""scaled_dot_product_attention of PyTorch at the shapes of `gifqa-bench gpu`: bfloat16, 12 heads of 64, forward and backward.

    attention.py [--batch 8 --batch 64]

q, k, v are views into packed rows, as a model has them. Prints one JSON object: seconds of one call, the median of several
runs of a CUDA graph of as many calls as take some milliseconds.
"""
import argparse
import json
import statistics

import torch
from torch.nn import functional as F

HEADS, HEAD = 12, 64
SHAPES = [(50, 50, False), (77, 77, True), (160, 160, True), (296, 296, True), (32, 50, False)]


def timed(job, want=4e-3, rounds=21):
    """Seconds of one job()."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            job()
        start.record(side)
        job()
        end.record(side)
    torch.cuda.synchronize()
    times = max(1, min(400, int(want / max(start.elapsed_time(end) / 1e3, 1e-6))))
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(times):
            job()
    graph.replay()
    seconds = []
    for _ in range(rounds):
        start.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        seconds.append(start.elapsed_time(end) / 1e3 / times)
    return statistics.median(seconds)


def split(x, parts):
    return x.unflatten(-1, (parts, HEADS, HEAD)).permute(2, 0, 3, 1, 4).unbind(0)


def measure(batch, tq, tk, causal):
    make = lambda t, parts: torch.randn(batch, t, parts * HEADS * HEAD, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    if tq == tk:
        leaves = [make(tq, 3)]
        q, k, v = split(leaves[0], 3)
    else:
        leaves = [make(tq, 1), make(tk, 2)]
        (q,), (k, v) = split(leaves[0], 1), split(leaves[1], 2)
    attend = lambda: F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    gradient = torch.randn_like(attend())
    forward = timed(attend)
    both = timed(lambda: torch.autograd.grad(attend(), leaves, gradient))
    return dict(tq=tq, tk=tk, causal=causal, batch=batch, forward_s=forward, backward_s=both - forward)


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--batch", type=int, action="append")
    o = a.parse_args()
    torch.manual_seed(1)
    out = []
    for shape in SHAPES:
        for batch in o.batch or [8, 64]:
            try:
                out.append(measure(batch, *shape))
            except RuntimeError as e:
                out.append(dict(tq=shape[0], tk=shape[1], causal=shape[2], batch=batch, why=str(e).splitlines()[0][:200]))
    print(json.dumps(dict(ok=True, torch=torch.__version__, gpu=torch.cuda.get_device_name(), attention=out)))


main()
