"""The training step of configs/stllm_gpt2.yaml in PyTorch on a GPU, on random weights: beside `gifqa-bench step --device cuda`.

Same sizes and work: CLIP's states cached, bridge 768 -> 1408 with a layer norm, the Q-Former of BLIP-2 (32 queries a frame),
projection, GPT-2 124M; masked video modelling with zeroed tokens (teacher without gradients on visual tokens only, mse over
the kept ones), cross entropy on the labelled rows only, gradient norm, clipping, AdamW. Written without transformers, as
tightly as PyTorch allows: packed q, k, v, scaled_dot_product_attention, fused AdamW, gradients set to None, nothing waits
for the GPU inside a step, inputs come from page-locked memory.

    step.py --shape 8x4 --shape 64x8 --mode eager --mode compile --weights autocast

--weights autocast: float parameters under bfloat16 autocast, what keeps float masters as gifqa does. bf16: everything
bfloat16, no masters: faster and other numerics. Prints one JSON object; times are CUDA events.
"""
import time

LAUNCH = time.time()                    # imports count

import argparse
import gc
import json
import statistics

import torch
from torch import nn
from torch.nn import functional as F

QUERIES, WIDTH, ENCODER, CLIP_WIDTH, CLIP_TOKENS, VOCAB, POSITIONS, HEADS, LAYERS = 32, 768, 1408, 768, 50, 50257, 1024, 12, 12


def heads(x, parts):
    """[B,T,parts*WIDTH] to `parts` tensors [B,HEADS,T,64]"""
    b, t, _ = x.shape
    return x.view(b, t, parts, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4).unbind(0)


def joined(x):
    return x.transpose(1, 2).flatten(2)


class Gpt2Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.fc1, self.fc2 = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        q, k, v = heads(self.qkv(self.ln1(x)), 3)
        x = x + self.out(joined(F.scaled_dot_product_attention(q, k, v, is_causal=True)))
        return x + self.fc2(F.gelu(self.fc1(self.ln2(x)), approximate="tanh"))


class QformerBlock(nn.Module):
    def __init__(self, cross):
        super().__init__()
        self.qkv, self.out, self.ln1 = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH, eps=1e-12)
        self.cross = cross
        if cross:
            self.q, self.kv = nn.Linear(WIDTH, WIDTH), nn.Linear(ENCODER, 2 * WIDTH)
            self.cross_out, self.ln2 = nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH, eps=1e-12)
        self.fc1, self.fc2, self.ln3 = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH), nn.LayerNorm(WIDTH, eps=1e-12)

    def forward(self, x, encoded):
        q, k, v = heads(self.qkv(x), 3)
        x = self.ln1(x + self.out(joined(F.scaled_dot_product_attention(q, k, v))))
        if self.cross:
            (q,), (k, v) = heads(self.q(x), 1), heads(self.kv(encoded), 2)
            x = self.ln2(x + self.cross_out(joined(F.scaled_dot_product_attention(q, k, v))))
        return self.ln3(x + self.fc2(F.gelu(self.fc1(x))))


class StLlm(nn.Module):
    def __init__(self):
        super().__init__()
        self.bridge, self.bridge_ln = nn.Linear(CLIP_WIDTH, ENCODER), nn.LayerNorm(ENCODER)
        self.query, self.query_ln = nn.Parameter(0.02 * torch.randn(1, QUERIES, WIDTH)), nn.LayerNorm(WIDTH, eps=1e-12)
        self.qformer = nn.ModuleList(QformerBlock(i % 2 == 0) for i in range(LAYERS))
        self.proj = nn.Linear(WIDTH, WIDTH)
        self.wte, self.wpe = nn.Embedding(VOCAB, WIDTH), nn.Embedding(POSITIONS, WIDTH)
        self.gpt2 = nn.ModuleList(Gpt2Block() for _ in range(LAYERS))
        self.ln_f = nn.LayerNorm(WIDTH)
        for p in (self.wte.weight, self.wpe.weight):
            nn.init.normal_(p, std=0.02)

    def states(self, x):
        x = x + self.wpe.weight[:x.shape[1]].to(x.dtype)
        for block in self.gpt2:
            x = block(x)
        return self.ln_f(x)

    def forward(self, vision, ids, rows, labels, keep):
        """vision [batch*frames,50,768]; rows [R]: positions of the states that predict labels [R]; keep [batch, visual tokens]"""
        encoded = self.bridge_ln(self.bridge(vision))
        x = self.query_ln(self.query).expand(len(encoded), -1, -1)
        for block in self.qformer:
            x = block(x, encoded)
        visual = self.proj(x).reshape(len(ids), -1, WIDTH)
        with torch.no_grad():
            teacher = self.states(visual)
        tokens = self.wte(ids).to(visual.dtype)
        states = self.states(torch.cat([visual * keep[..., None].to(visual.dtype), tokens], 1))
        logits = F.linear(states.flatten(0, 1)[rows], self.wte.weight)
        loss = F.cross_entropy(logits.float(), labels)
        seen = visual.shape[1]
        return loss + ((states[:, :seen] - teacher).float().square().mean(-1) * keep).sum() / keep.sum()


def batch_of(batch, frames, text, labelled, dtype):
    """A seeded batch in page-locked memory."""
    seen = frames * QUERIES
    vision = torch.randn(batch * frames, CLIP_TOKENS, CLIP_WIDTH).to(dtype)
    ids = torch.randint(0, VOCAB, (batch, text))
    last = torch.arange(text - labelled, text)
    rows = (torch.arange(batch)[:, None] * (seen + text) + seen + last - 1).flatten()
    keep = (torch.rand(batch, seen) >= 0.5).float()
    return [x.pin_memory() for x in (vision, ids, rows, ids[:, last].flatten().contiguous(), keep)]


def measure(o, shape, mode, weights):
    batch, frames = map(int, shape.split("x"))
    torch.manual_seed(1)
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    begin = time.time()
    net = StLlm().cuda()
    if weights == "bf16":
        net = net.bfloat16()
    trained = list(net.parameters())
    adamw = torch.optim.AdamW(trained, lr=5e-5, weight_decay=0.01, fused=True)
    forward = torch.compile(net) if mode == "compile" else net
    data = batch_of(batch, frames, o.text, o.labelled, torch.bfloat16)
    events = [torch.cuda.Event(enable_timing=True) for _ in range(o.steps + 1)]

    def step():
        moved = [x.cuda(non_blocking=True) for x in data]
        with torch.autocast("cuda", torch.bfloat16, enabled=weights == "autocast"):
            loss = forward(*moved)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        adamw.step()
        adamw.zero_grad(set_to_none=True)
        return loss

    first = step().item()
    first_s = time.time() - begin
    for _ in range(3):
        step()
    for event in events:
        event.record()
        loss = step()
    torch.cuda.synchronize()
    seconds = [a.elapsed_time(b) / 1e3 for a, b in zip(events, events[1:])]
    free, total = torch.cuda.mem_get_info()
    median = statistics.median(seconds)
    return dict(shape=shape, mode=mode, weights=weights, batch=batch, frames=frames, text=o.text, labelled=o.labelled,
                trained=sum(p.numel() for p in trained), first_step_s=first_s, first_step_done_s=time.time() - LAUNCH,
                median_s=median, min_s=min(seconds), max_s=max(seconds), samples_per_s=batch / median, first_loss=first,
                loss=loss.item(), peak_allocated_mib=torch.cuda.max_memory_allocated() / 2**20,
                peak_reserved_mib=torch.cuda.max_memory_reserved() / 2**20, gpu_used_mib=(total - free) / 2**20)


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--shape", action="append", help="BATCHxFRAMES; repeatable")
    a.add_argument("--mode", action="append", choices=["eager", "compile"])
    a.add_argument("--weights", choices=["autocast", "bf16"], default="autocast")
    for name, value in dict(text=32, labelled=6, steps=20).items():
        a.add_argument(f"--{name}", type=int, default=value)
    a.add_argument("--count", action="store_true", help="the number of parameters; needs no GPU")
    o = a.parse_args()
    if o.count:
        print(json.dumps(dict(trained=sum(p.numel() for p in StLlm().parameters()))))
        return
    torch.cuda.init()
    torch.backends.cuda.matmul.allow_tf32 = True
    out = []
    for mode in o.mode or ["eager"]:
        for shape in o.shape or ["8x4"]:
            torch._dynamo.reset()
            try:
                out.append(measure(o, shape, mode, o.weights))
            except torch.cuda.OutOfMemoryError:
                out.append(dict(shape=shape, mode=mode, weights=o.weights, why="out of GPU memory"))
            print(json.dumps(dict(ok=True, torch=torch.__version__, gpu=torch.cuda.get_device_name(), steps=out)), flush=True)


main()
