"""The Markdown of one tools/gpu-acceptance: report.py FILE.json"""
import json
import sys

NOT = "not measured"
run = json.load(open(sys.argv[1]))
phases = {p["name"]: p for p in run["phases"]}


def data(name):
    return (phases.get(name) or {}).get("data") or {}


def table(head, rows):
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(NOT if cell is None else str(cell) for cell in row) + " |")
    print()


def number(x, digits=1):
    return None if x is None else f"{x:,.{digits}f}"


def ratio(a, b):
    return None if not a or not b else a / b


def peer(name, shape):
    return next((s for s in data(name).get("steps", []) if s["shape"] == shape and "why" not in s), {})


def verdict(value, target, least, digits=2, percent=False):
    """[measured, target, met?]"""
    show = (lambda x: f"{100 * x:.0f} %") if percent else (lambda x: f"{x:.{digits}f}")
    bound = ("at least " if least else "at most ") + show(target)
    if value is None:
        return [bound, None, NOT]
    return [bound, show(value), "yes" if (value >= target) == least or value == target else "**no**"]


SHAPES = {"8x4": "8 GIFs x 4 frames", "64x8": "64 GIFs x 8 frames"}
PEERS = {"torch_eager": "PyTorch eager, autocast", "torch_compile": "torch.compile, autocast", "torch_bf16": "PyTorch eager, all bf16"}

print(f"# {run['gpu']}, {run['date'][:10]}\n")
print(f"Commit {run['commit']}; driver {run['driver']}; built with CUDA {run['toolkit']}; cuBLASLt {run.get('cublaslt')}, "
      f"cuDNN {run.get('cudnn')}, PyTorch {run.get('torch')}. `tools/gpu-acceptance`, {run['seconds']} s.\n")
table(["phase", "result", "s", "remark"], [[p["name"], p["result"], f"{p['seconds']:.1f}", p["note"].replace("|", "/")[:160]] for p in run["phases"]])

# ---- targets

roofs = data("roofs")
attention = {(a["tq"], a["tk"], a["batch"], a["way"]): a for a in roofs.get("attention", [])}
theirs = {(a["tq"], a["tk"], a["batch"]): a for a in data("torch_attention").get("attention", [])}


def both(a):
    return a["forward_s"] + a["backward_s"] if a and "forward_s" in a else None


def memory_bound(name):
    """The share of the copy's bandwidth of ops bound by it, by time; of those too large for a cache."""
    rows = [r for r in data(name).get("ops", []) if r["bound"] == "memory" and r["calls"] and r["gbytes"] / r["calls"] > 0.05 and r["seconds"] > 0
            and r["direction"]]
    spent = sum(r["seconds"] for r in rows)
    return sum(r["of_roof"] * r["seconds"] for r in rows) / spent if spent else None


worst = [ratio(both(attention.get((*k[:3], "cudnn"))), both(attention.get((*k[:3], "own")))) for k in attention if k[3] == "own"]
worst = [w for w in worst if w]
targets = []
for shape, share in (("64x8", .45), ("8x4", .30)):
    targets.append([f"model FLOP utilisation of the bf16 roof, {shape}", *verdict(data("step_" + shape).get("of_gemm"), share, True, percent=True)])
for shape in SHAPES:
    fast = ratio(data("step_" + shape).get("samples_per_s"), peer("torch_compile", shape).get("samples_per_s"))
    targets.append([f"samples/s over torch.compile, {shape}", *verdict(fast, 1.3, True)])
for shape in SHAPES:
    small = ratio(data("step_" + shape).get("gpu_growth_mib"), peer("torch_compile", shape).get("peak_reserved_mib"))
    targets.append([f"memory over torch.compile, {shape}", *verdict(small, 0.7, False)])
targets.append(["memory-bound ops at 64x8, share of copy bandwidth", *verdict(memory_bound("step_64x8"), .85, True, percent=True)])
targets.append(["own attention over cuDNN, worst shape", *verdict(min(worst) if worst else None, .80, True, percent=True)])
targets.append(["start to the end of the first step, 8x4, s", *verdict(data("step_8x4").get("first_step_done_s"), 10, False, 1)])
rate, first = data("step_8x4").get("samples_per_s"), data("step_8x4").get("first_step_done_s")
targets.append(["1,000 pairs x 3 epochs, cached, s (first step and 3,000 / (samples/s), 8x4)",
                *verdict(first + 3000 / rate if rate and first else None, 10, False, 1)])
print("## Targets\n")
table(["what", "target", "measured", "met"], targets)

# ---- what was measured

print("## Roofs\n")
table(["copy, GB/s read and written", "bf16 products, TFLOP/s", "fp32 products, TFLOP/s"],
      [[number(roofs.get("copy_gbytes"), 0), number(ratio(roofs.get("bf16_gflops"), 1e3)), number(ratio(roofs.get("fp32_gflops"), 1e3))]])

print("## A training step of configs/stllm_gpt2.yaml\n")
rows = []
for shape, words in SHAPES.items():
    for name, label in (("tuned_", "gifqa, engine.tune"), ("step_", "gifqa")):
        o = data(name + shape)
        rows.append([words, label, number(o.get("samples_per_s")), number(1e3 * o["median_s"], 2) if o else None,
                     f"{100 * o['of_gemm']:.0f} %" if o else None, number(o.get("gpu_growth_mib"), 0), number(o.get("first_step_done_s"))])
    for name, label in PEERS.items():
        s = peer(name, shape)
        share = ratio(o.get("gflop", 0) / s["median_s"], roofs.get("bf16_gflops")) if o and s else None
        rows.append([words, label, number(s.get("samples_per_s")), number(1e3 * s["median_s"], 2) if s else None,
                     f"{100 * share:.0f} %" if share else None, number(s.get("peak_reserved_mib"), 0), number(s.get("first_step_done_s"))])
o = data("largest")
rows.append([f"{o['batch']} GIFs x 8 frames: the largest power of two that fits" if o else "the largest batch x 8 frames", "gifqa",
             number(o.get("samples_per_s")), number(1e3 * o["median_s"], 2) if o else None,
             f"{100 * o['of_gemm']:.0f} %" if o else None, number(o.get("gpu_growth_mib"), 0), number(o.get("first_step_done_s"))])
table(["shape", "who", "samples/s", "step, ms", "of the bf16 roof", "memory, MiB", "first step done, s"], rows)
print("Memory: gifqa everything it took on the GPU after its context; PyTorch the most its allocator reserved. FLOPs are gifqa's count "
      "for everybody. PyTorch's first step counts the imports and, in a process of several shapes, those before.\n")

print("## Attention, microseconds forward + backward (12 heads of 64, bf16)\n")
rows = []
for tq, tk, batch in dict.fromkeys(k[:3] for k in attention):
    row = [f"{tq} on {tk}" + (" causal" if attention[tq, tk, batch, "own"]["causal"] else ""), batch]
    for way in ("own", "cudnn", "unfused"):
        s = both(attention.get((tq, tk, batch, way)))
        row.append(number(1e6 * s) if s else None)
    s = both(theirs.get((tq, tk, batch)))
    rows.append(row + [number(1e6 * s) if s else None])
table(["queries on keys", "samples", "own", "cuDNN", "unfused", "PyTorch SDPA"], rows or [[None] * 6])

for name in ("step_8x4", "step_64x8", "live"):
    ops = data(name).get("ops")
    print(f"## Ops of `{name}`, each by itself" + ("\n" if ops else f": {NOT}\n"))
    if ops:
        rows = [[r["op"], r["direction"], r["sizes"], r["calls"], number(1e6 * r["seconds"]), number(ratio(r["gbytes"], r["seconds"]), 0) or "",
                 number(ratio(r["gflop"], 1e3 * r["seconds"])) or "", f"{100 * r['of_roof']:.0f} % of {r['bound']}" if r["of_roof"] else ""]
                for r in ops if r["seconds"] > 0]
        table(["op", "direction", "sizes", "calls", "us of a step", "GB/s", "TFLOP/s", "of the roof"], rows)

print("## Features and answers\n")
table(["CLIP features, frames/s (256 at a time)", "decoding, tokens/s (one question)"],
      [[number(data("features").get("frames_per_s"), 0), number(data("decode").get("tokens_per_s"))]])
