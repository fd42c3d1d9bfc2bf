"""Decoding, preprocessing, tokenizing: ours and theirs, taking turns in one run, as Markdown tables. Called by data.sh;
standard library only."""
import argparse
import json
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


def run(command):
    """The object on the last line that a program prints."""
    out = subprocess.run([str(c) for c in command], check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(out.strip().splitlines()[-1])


def turns(o, ours, theirs, but=None):
    """Both sides alternately; equal amounts of work, or the comparison is void (`but`: a key that may differ)."""
    mine, peer = [], []
    for _ in range(o.turns):
        mine.append(run([os.path.join(o.bin, "gifqa-bench"), *ours, "--rounds", 3, "--json"]))
        peer.append(run([o.python, os.path.join(HERE, "..", "peers", "data.py"), "--rounds", 1, *theirs]))
    for key in ("files", "frames", "bytes", "tokens", "line_tokens"):
        if key != but and mine[0].get(key) != peer[0].get(key):
            sys.exit(f"data.py: {key}: {mine[0].get(key)} here, {peer[0].get(key)} there: not the same work")
    return mine, peer


def seconds(runs, way):
    return [s for r in runs for s in r[way]["seconds"]]


def heading(mine, peer, amount):
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], stdout=subprocess.PIPE, text=True)
    print(f"{amount} Machine: {mine[0]['machine']}; commit {commit.stdout.strip()}; {peer[0]['library']}; "
          f"{len(mine)} turns; one thread each unless a row says otherwise.\n")
    print("| what | ours | spread | theirs | spread | ratio |\n|---|--:|---|--:|---|--:|")


def row(name, mine, way, peer, their_way, amount, unit):
    a, b = seconds(mine, way), seconds(peer, their_way)
    m, n = amount / statistics.median(a), amount / statistics.median(b)
    digits = 1 if unit == "MB/s" else 0

    def spread(s):
        return f"{amount / max(s):,.{digits}f} to {amount / min(s):,.{digits}f}"

    print(f"| {name} | {m:,.{digits}f} {unit} | {spread(a)} | {n:,.{digits}f} {unit} | {spread(b)} | {m / n:.1f} |")


def gif(o):
    mine, peer = turns(o, ["gif", o.gifs], ["gif", o.gifs])
    frames = mine[0]["frames"]
    heading(mine, peer, f"## GIF decoding\n\n{mine[0]['files']} files, {frames} frames, each composed to the full canvas.")
    row("RGBA canvas in place; Pillow: RGB or RGBA as it loads", mine, "rgba", peer, "as_loaded", frames, "frames/s")
    row("the same; Pillow: palette indices where one palette serves", mine, "rgba", peer, "as_loaded_indexed", frames,
        "frames/s")
    row("RGBA, a copy of each frame; Pillow: convert(\"RGBA\")", mine, "rgba_copied", peer, "rgba", frames, "frames/s")
    row("RGB over black; Pillow: convert(\"RGB\")", mine, "rgb", peer, "rgb", frames, "frames/s")


def image(o):
    mine, peer = turns(o, ["image", o.gifs], ["image", o.gifs])
    frames = mine[0]["frames"]
    heading(mine, peer, f"\n## Preprocessing for CLIP\n\nThe same {frames} frames, decoded to RGB before the clock starts.")
    row("bicubic resize and centre crop; Pillow: the same", mine, "resize", peer, "resize", frames, "frames/s")
    row("to normalised floats; Pillow and NumPy by hand", mine, "all", peer, "by_hand", frames, "frames/s")
    row("the same; `CLIPImageProcessor`", mine, "all", peer, "processor", frames, "frames/s")


def tokenize(o):
    for number, kind in enumerate(("gpt2", "clip", "t5", "t5-fast")):
        files = os.path.join(o.tokenizers, kind.split("-")[0])
        mine, peer = turns(o, ["tokenize", "--tokenizer", files, o.text], ["tokenize", kind, files, o.text],
                           "tokens" if kind == "t5-fast" else None)
        mb, tokens = mine[0]["bytes"] / 1e6, mine[0]["tokens"]
        name = {"gpt2": "GPT-2", "clip": "CLIP"}.get(kind, f"T5, {peer[0]['library']}")
        if not number:
            heading(mine, peer, f"\n## Tokenizers\n\n{mine[0]['bytes']:,} bytes of English, the same ids counted on both sides.")
        rate = tokens / statistics.median(seconds(mine, "whole")) / 1e6
        other = f"; theirs {peer[0]['tokens']:,}, summed in double" if tokens != peer[0]["tokens"] else ""
        row(f"{name}, one string ({tokens:,} tokens, ours {rate:.1f} M/s{other})", mine, "whole", peer, "whole", mb, "MB/s")
        row(f"{name}, line by line; theirs: one batch", mine, "lines", peer, "lines", mb, "MB/s")
        row(f"{name}, the same; theirs on two threads", mine, "lines", peer, "lines_2_threads", mb, "MB/s")


LOADS = [
    ("frames, T=8, stored as they are", ["--what", "frames", "--keyframes", 8]),
    ("frames, T=8, stored as they are, one reader", ["--what", "frames", "--keyframes", 8, "--threads", 1]),
    ("frames, T=8, gzip", ["--what", "frames", "--keyframes", 8, "--codec", "gzip", "--gifs", 64]),
    ("features, T=8, bfloat16", ["--what", "features", "--keyframes", 8]),
    ("features, T=3, bfloat16", ["--what", "features", "--keyframes", 3]),
    ("features, T=3, float32", ["--what", "features", "--keyframes", 3, "--f32"]),
]


def load(o):
    print("\n## Loader\n\nFrames are [T,224,224,3] bytes, features [T,50,768] handed over as float32; two readers, batch 8; "
          "every sample's\nchecksum is checked. Shards made for this, so they are in the page cache: no disk is measured.\n")
    print("| samples | samples/s | spread | KB stored | KB handed over |\n|---|--:|---|--:|--:|")
    for name, args in LOADS:
        r = run([os.path.join(o.bin, "gifqa-bench"), "load", *args, "--rounds", 9, "--json"])
        t = r["keyframes"]
        out = t * 224 * 224 * 3 if r["what"] == "frames" else t * 50 * 768 * 4
        print(f"| {name} | {r['samples_per_s']:,.0f} | {min(r['rounds']):,.0f} to {max(r['rounds']):,.0f} "
              f"| {r['stored_bytes'] / 1e3:,.0f} | {out / 1e3:,.0f} |")


PARTS = {"gif": gif, "image": image, "tokenize": tokenize, "load": load}


def main():
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument("gifs")
    a.add_argument("tokenizers")
    a.add_argument("text")
    a.add_argument("--bin", default=os.path.join(ROOT, "build", "release", "bin"))
    a.add_argument("--python", default=os.environ.get("PYTHON", sys.executable))
    a.add_argument("--turns", type=int, default=3)
    a.add_argument("--only", choices=PARTS)
    o = a.parse_args()
    for name, part in PARTS.items():
        if o.only in (None, name):
            part(o)
            sys.stdout.flush()


main()
