"""Writes adamw_tiny: AdamW with decoupled decay, clipping by global norm, warm-up and cosine, in float64.

torch.optim.AdamW is the reference for the update, torch.nn.utils.clip_grad_norm_ for the clipping; the two parameters
stand for a decayed matrix and a bias without decay and with another learning rate. The gradients are inputs.
"""
import math

import torch
from torch import nn

from common import rng, save

STEPS, WARMUP, PEAK, FLOOR, CLIP = 5, 2, 3e-2, 0.1, 1.0
BETAS, EPS, DECAY, BIAS_LR_MULTIPLIER = (0.9, 0.95), 1e-8, 0.1, 0.5


def schedule(step, kind, warmup, total, floor):
    """Learning rate of update `step` = 0, 1, ... as a multiple of the peak: linear warm-up that never uses 0, then decay."""
    if step < warmup:
        return (step + 1) / warmup
    if kind == "constant":
        return 1.0
    t = (step - warmup) / max(1, total - warmup)
    fall = 0.5 * (1 + math.cos(math.pi * t)) if kind == "cosine" else 1 - t
    return floor + (1 - floor) * fall


def main():
    r = rng("adamw")
    matrix = nn.Parameter(torch.from_numpy(r.standard_normal((4, 3))).float().double())
    bias = nn.Parameter(torch.from_numpy(r.standard_normal(5)).float().double())
    groups = [{"params": [matrix], "weight_decay": DECAY}, {"params": [bias], "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=PEAK, betas=BETAS, eps=EPS)
    tensors = {"in.matrix": matrix.detach().clone(), "in.bias": bias.detach().clone()}
    rates = [schedule(s, "cosine", WARMUP, STEPS, FLOOR) * PEAK for s in range(STEPS)]
    norms = []
    for step in range(STEPS):
        scale = [4.0, 0.05, 1.0, 1e-9, 30.0][step]           # clipped, not clipped, about 1, vanishing, far beyond
        for p, name in ((matrix, "matrix"), (bias, "bias")):
            p.grad = torch.from_numpy(scale * r.standard_normal(p.shape)).float().double()
            tensors[f"in.grad.{step}.{name}"] = p.grad.clone()
        norms.append(float(nn.utils.clip_grad_norm_([matrix, bias], CLIP)))
        for group, multiplier in zip(optimiser.param_groups, (1.0, BIAS_LR_MULTIPLIER)):
            group["lr"] = rates[step] * multiplier
        optimiser.step()
        for p, name in ((matrix, "matrix"), (bias, "bias")):
            tensors[f"out.{step}.{name}"] = p.detach().clone()
            tensors[f"out.{step}.m.{name}"] = optimiser.state[p]["exp_avg"].clone()
            tensors[f"out.{step}.v.{name}"] = optimiser.state[p]["exp_avg_sq"].clone()
    save("adamw_tiny", tensors, {
        "steps": STEPS, "warmup": WARMUP, "peak_lr": PEAK, "floor": FLOOR, "clip": CLIP, "betas": BETAS, "eps": EPS,
        "decay": {"matrix": DECAY, "bias": 0.0}, "lr_multiplier": {"matrix": 1.0, "bias": BIAS_LR_MULTIPLIER},
        "lr": rates, "grad_norm": norms,
        "schedules": {kind: [schedule(s, kind, 3, 10, 0.0) for s in range(10)] for kind in ("cosine", "linear", "constant")},
    })


main()
