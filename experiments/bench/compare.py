"""Ours and theirs, taking turns in one run, as Markdown tables. Called by step.sh, ask.sh, t5.sh and growth.sh; standard library only.

    compare.py step|ask|t5|growth [options]      --help lists them
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
CONFIG = os.path.join(ROOT, "configs", "stllm_gpt2.yaml")


def run(command):
    """The object on the last line that a program prints."""
    out = subprocess.run([str(c) for c in command], check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(out.strip().splitlines()[-1])


def ours(o, command, *args):
    return run([os.path.join(o.bin, "gifqa-bench"), command, "--threads", o.threads, "--json", *args])


def theirs(o, script, *args):
    return run([o.python, os.path.join(HERE, "..", "peers", script), "--threads", o.threads, *args])


def middle(runs, key):
    return statistics.median(key(r) for r in runs)


def spread(runs, low, high):
    return f"{min(r[low] for r in runs):.2f} to {max(r[high] for r in runs):.2f}"


def heading(o, r, peer):
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], stdout=subprocess.PIPE, text=True).stdout.strip()
    them = f"; PyTorch {peer['torch']}" if peer else ""
    print(f"Machine: {r['machine']}; {r['threads']} threads; kernels {r['kernels']}; commit {commit}{them}; rounds: {o.rounds}.\n")


# ---- a training step ---------------------------------------------------------------------------

STEPS = [
    ("batch 4, cached", ["--batch", 4, "--vision", "cached"]),
    ("batch 2, cached", ["--batch", 2, "--vision", "cached"]),
    ("batch 4, CLIP on the fly", ["--batch", 4, "--vision", "live"]),
    ("batch 2, CLIP on the fly", ["--batch", 2, "--vision", "live"]),
]


def step(o):
    table, memory = [], []
    for name, both in STEPS:
        mine, segment, peer = [], [], []
        for _ in range(o.rounds):
            args = [*both, "--frames", 3, "--text", 32, "--labelled", 6, "--steps", o.steps]
            mine.append(ours(o, "step", "--config", CONFIG, "--masked", *args))
            peer.append(theirs(o, "stllm_step.py", *args))
            segment.append(ours(o, "step", "--config", CONFIG, "--masked", "--checkpoint", "segment", *args))
        if not table:
            heading(o, mine[0], peer[0])
        a, b, s = (middle(runs, lambda r: r["median_s"]) for runs in (mine, peer, segment))
        table.append(f"| {name} | {a:.2f} | {spread(mine, 'min_s', 'max_s')} | {b:.2f} | {spread(peer, 'min_s', 'max_s')} "
                     f"| {a / b:.2f} | {min(r['min_s'] for r in mine) / min(r['min_s'] for r in peer):.2f} "
                     f"| {middle(mine, lambda r: r['gflops']):.0f} | {s:.2f} |")
        a, b, s = (middle(runs, lambda r: r["peak_rss_mib"]) for runs in (mine, peer, segment))
        first = [middle(runs, lambda r: r["first_step_done_s"]) for runs in (mine, peer)]
        memory.append(f"| {name} | {a:,.0f} | {s:,.0f} | {b:,.0f} | {a / b:.2f} | {s / b:.2f} | {first[0]:.1f} | {first[1]:.1f} |")
    print("Seconds a step, the median of the rounds' medians; spread: the fastest and the slowest step.\n")
    print("| step | ours | spread | PyTorch | spread | ratio | ratio of the fastest | our GFLOP/s | ours, segment |")
    print("|---|--:|---|--:|---|--:|--:|--:|--:|")
    print(*table, sep="\n")
    print("\nPeak resident memory in MiB, and seconds from launch to the end of the first step.\n")
    print("| step | ours, keep | ours, segment | PyTorch | ratio, keep | ratio, segment | ours: first step done | PyTorch |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    print(*memory, sep="\n")


# ---- a question --------------------------------------------------------------------------------

PHASES = ["init", "decode", "preprocess", "clip_vision", "text_and_topk", "qformer", "generate"]


def ask(o):
    if not o.gif:
        sys.exit("compare.py ask: name GIFs with --gif FILE")
    for gif in o.gif:
        mine, peer = [], []
        for _ in range(o.rounds):
            mine.append(ours(o, "ask", "--gif", gif, "--tokens", o.tokens))
            peer.append(theirs(o, "ask.py", gif, "--tokens", o.tokens))
        r = mine[0]
        if gif == o.gif[0]:
            heading(o, r, peer[0])
        print(f"\n{os.path.basename(gif)}: {r['frames']} frames of {r['size'][0]}x{r['size'][1]}, {r['tokens']} tokens. "
              "Seconds, the median of the rounds (fastest to slowest).\n")
        print("| phase | ours | Python | ratio |\n|---|--:|--:|--:|")

        def row(name, value):
            a, b = [value(x) for x in mine], [value(x) for x in peer]
            a, b = sorted(a), sorted(b)
            m, n = statistics.median(a), statistics.median(b)
            print(f"| {name} | {m:.3f} ({a[0]:.3f} to {a[-1]:.3f}) | {n:.3f} ({b[0]:.3f} to {b[-1]:.3f}) | {m / n if n else 0:.2f} |")

        print(f"| import | | {middle(peer, lambda x: x['seconds']['import']):.3f} | |")
        for phase in PHASES:
            row(phase, lambda x: x["seconds"][phase])
        row("total", lambda x: x["seconds"]["total"])
        row("total without init", lambda x: x["seconds"]["total"] - x["seconds"]["init"])
        row("CLIP, ms a frame", lambda x: 1e3 * x["seconds"]["clip_vision"] / x["frames"])
        row("qformer + generate, ms a token", lambda x: 1e3 * (x["seconds"]["qformer"] + x["seconds"]["generate"]) / x["tokens"])
        row("peak memory, MiB", lambda x: x["peak_rss_mib"])


# ---- text from text ----------------------------------------------------------------------------

TEXTS = [("batch 1", ["--batch", 1, "--prompts", 8]), ("batch 8", ["--batch", 8, "--prompts", 32]),
         ("batch 16", ["--batch", 16, "--prompts", 32]), ("batch 8, 4 beams", ["--batch", 8, "--beams", 4, "--prompts", 16])]


def t5(o):
    rows = []
    for name, both in TEXTS:
        mine, half, peer = [], [], []
        for _ in range(o.rounds):
            args = [*both, "--tokens", o.tokens]
            mine.append(ours(o, "t5", *args))
            peer.append(theirs(o, "t5.py", *args))
            half.append(ours(o, "t5", "--set", "engine.precision=bf16", *args))
        if not rows:
            heading(o, mine[0], peer[0])
            print(f"T5-base's sizes, prompts of {mine[0]['lengths'][0]} to {mine[0]['lengths'][1]} tokens, answers of "
                  f"{mine[0]['tokens']}; transformers {peer[0]['transformers']}, attention {peer[0]['attention']}. The fastest "
                  "round of each side.\n")
        a, p, h = (max(runs, key=lambda r: r["pairs_per_s"]) for runs in (mine, peer, half))
        rows.append(f"| {name} | {a['pairs_per_s']:.2f} | {p['pairs_per_s']:.2f} | {a['pairs_per_s'] / p['pairs_per_s']:.2f} "
                    f"| {a['encoder_s']:.2f} | {p['encoder_s']:.2f} | {a['decoder_s']:.2f} | {p['decoder_s']:.2f} "
                    f"| {h['pairs_per_s']:.2f} | {h['encoder_s']:.2f} | {a['peak_rss_mib']:,.0f} | {p['peak_rss_mib']:,.0f} |")
    print("| | pairs/s | PyTorch | ratio | encoder s | PyTorch | decoder s | PyTorch | pairs/s, bf16 | encoder s, bf16 | MiB | PyTorch |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    print(*rows, sep="\n")


# ---- growth ------------------------------------------------------------------------------------

SIZES = [1, 2, 4, 8, 16]


def grow(o, *args):
    return ours(o, "step", "--config", CONFIG, "--masked", "--text", 32, "--steps", o.steps, *args)


def growth_row(name, r):
    off = 100 * (r["growth_over_plan"] - 1)
    grown = r["plan_bytes"]
    return (f"| {name} | {r['median_s']:.3f} | {r['mean_s']['forward']:.3f} | {r['gflops']:.0f} | {r['peak_rss_mib']:,.0f} "
            f"| {r['growth_mib']:,.0f} | {r['plan_mib']:,.0f} | {off:+.2f} % | {grown['act'] / 2**20:,.0f} |")


def polyline(points, box, most_x, most_y, colour):
    x0, y0, w, h = box
    xy = [(x0 + w * x / most_x, y0 + h - h * y / most_y) for x, y in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in xy)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in xy)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>{dots}'


def panel(x0, title, unit, lines):
    """A chart 330 wide: lines are (label, colour, [(x, y)])."""
    box = (x0 + 50, 40, 250, 200)
    most_x, most_y = max(SIZES), 1.05 * max(y for _, _, points in lines for _, y in points)
    out = [f'<text x="{x0 + 50}" y="22" font-weight="bold">{title}</text>',
           f'<rect x="{box[0]}" y="{box[1]}" width="{box[2]}" height="{box[3]}" fill="none" stroke="#999"/>']
    for size in SIZES:
        out.append(f'<text x="{box[0] + box[2] * size / most_x:.1f}" y="256" text-anchor="middle">{size}</text>')
    for part in range(5):
        y = box[1] + box[3] * (1 - part / 4)
        out.append(f'<text x="{box[0] - 6}" y="{y + 4:.1f}" text-anchor="end">{most_y * part / 4:,.{0 if most_y > 40 else 1}f}</text>')
        out.append(f'<line x1="{box[0]}" x2="{box[0] + box[2]}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
    for i, (label, colour, points) in enumerate(lines):
        out.append(polyline(points, box, most_x, most_y, colour))
        out.append(f'<text x="{box[0] + 10}" y="{60 + 16 * i}" fill="{colour}">{label}</text>')
    out.append(f'<text x="{x0 + 175}" y="276" text-anchor="middle">{unit}</text>')
    return "\n".join(out)


def picture(path, batches, frames):
    def points(runs, value):
        return [(n, value(r)) for n, r in runs]

    kinds = [("batch, 3 frames", "#1b6ca8", batches), ("frames, batch 2", "#c2410c", frames)]
    time = [(label, colour, points(runs, lambda r: r["median_s"])) for label, colour, runs in kinds]
    memory = [(label, colour, points(runs, lambda r: r["growth_mib"])) for label, colour, runs in kinds]
    memory.append(("as planned", "#666", points(batches, lambda r: r["plan_mib"])))
    memory.append(("", "#666", points(frames, lambda r: r["plan_mib"])))
    with open(path, "w") as f:
        f.write('<svg xmlns="http://www.w3.org/2000/svg" width="680" height="290" font-family="sans-serif" font-size="11">\n'
                '<rect width="680" height="290" fill="white"/>\n'
                + panel(0, "seconds a step", "batch, or frames a sample", time) + "\n"
                + panel(330, "memory of the step, MiB", "batch, or frames a sample", list(reversed(memory))) + "\n</svg>\n")


def growth(o):
    batches = [(n, grow(o, "--batch", n, "--frames", 3)) for n in SIZES]
    frames = [(n, grow(o, "--batch", 2, "--frames", n)) for n in SIZES]
    segment = [(n, grow(o, "--batch", n, "--frames", 3, "--checkpoint", "segment")) for n in SIZES if n in (1, 4, 16)]
    gpt2 = [(n, grow(o, "--batch", 2, "--frames", 3, "--set", f"gpt2.preset={n}")) for n in ("124m", "355m")]
    o.rounds = 1
    heading(o, batches[0][1], None)
    rows = [growth_row(f"batch {n}, 3 frames", r) for n, r in batches]
    rows += [growth_row(f"batch 2, {n} frames", r) for n, r in frames]
    rows += [growth_row(f"batch {n}, 3 frames, segment", r) for n, r in segment]
    rows += [growth_row(f"batch 2, 3 frames, GPT-2 {n.upper()}", r) for n, r in gpt2]
    print("Masked steps on cached features, 32 text tokens. Grew: peak resident memory less what was resident before the\n"
          "model was made; planned: the sum of the arenas, known before the first step.\n")
    print("| step | s | forward s | GFLOP/s | peak MiB | grew MiB | planned MiB | off by | activations MiB |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    print(*rows, sep="\n")
    off = max((abs(r["growth_over_plan"] - 1) for _, r in batches + frames + segment + gpt2))
    print(f"\nThe largest deviation from the plan: {100 * off:.2f} %.")
    picture(os.path.join(HERE, "growth.svg"), batches, frames)


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("what", choices=["step", "ask", "t5", "growth"])
    a.add_argument("--bin", default=os.path.join(ROOT, "build", "release", "bin"))
    a.add_argument("--python", default=os.environ.get("PYTHON", sys.executable), help="an interpreter with PyTorch")
    a.add_argument("--threads", type=int, default=2)
    a.add_argument("--rounds", type=int, default=3)
    a.add_argument("--steps", type=int, default=4)
    a.add_argument("--tokens", type=int, default=16)
    a.add_argument("--gif", action="append")
    o = a.parse_args()
    {"step": step, "ask": ask, "t5": t5, "growth": growth}[o.what](o)


main()
