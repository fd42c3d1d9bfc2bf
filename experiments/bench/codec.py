"""What the codecs of shards save and cost, as Markdown: python3 codec.py GIFS > tables/codec.md. Standard library only.

Frames and CLIP's states of the GIFs in GIFS that have eight frames or more, CLIP's states of the toy world, and random
numbers; each as one data set of codec none, which gifqa-prep convert packs, and gifqa-bench load reads.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
CODECS = ["none", "gzip", "row-delta+zstd"]
T = 8


def run(o, program, *args):
    out = subprocess.run([os.path.join(o.bin, program), *map(str, args)], check=True, stdout=subprocess.PIPE, text=True)
    return [json.loads(line) for line in out.stdout.splitlines() if line.startswith("{")]


def build(o, table, gifs, out, *more):
    run(o, "gifqa-prep", "build", table, "--gifs", gifs, "-o", out, "-k", T, "--set", "data.max_bad=1000", "--json", *more)
    return out


def table_of(gifs, names, path):
    with open(path, "w") as f:
        f.write("gif\tquestion\tanswer\ttype\n" + "".join(f"{n}\twhat is it?\tcat\tobject\n" for n in names))
    return path


def long_ones(o, gifs, dir):
    """A table of the GIFs with T frames or more: in others frames are taken twice, which packs well."""
    names = sorted(n for n in os.listdir(gifs) if n.endswith(".gif"))
    all = build(o, table_of(gifs, names, f"{dir}/all.tsv"), gifs, f"{dir}/all", "--config",
                f"{ROOT}/configs/stllm_gpt2.yaml")
    rows = run(o, "gifqa-prep", "head", all, "-n", len(names), "--json")
    names = sorted({r["gif"] for r in rows if r["n_frames"] >= T})
    return table_of(gifs, names, f"{dir}/long.tsv"), len(names)


def measure(o, name, plain, what, rounds):
    """A row for each codec: of the same data, read by two readers."""
    whole = None
    for codec in CODECS:
        out = f"{plain}-{codec}"
        made = run(o, "gifqa-prep", "convert", plain, "-o", out, "--codec", codec, "--json")[0]
        load = run(o, "gifqa-bench", "load", "--data", out, "--what", what, "--rounds", rounds, "--json")[0]
        whole = whole or made["bytes"]
        print(f"| {name} | {codec} | {made['bytes'] / made['gifs'] / 1e3:,.1f} | {whole / made['bytes']:.2f} "
              f"| {whole / made['seconds'] / 1e6:,.0f} | {load['samples_per_s']:,.0f} "
              f"| {min(load['rounds']):,.0f} to {max(load['rounds']):,.0f} |")
        sys.stdout.flush()
        shutil.rmtree(out)
    return load["machine"]


def main():
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument("gifs")
    a.add_argument("--bin", default=os.path.join(ROOT, "build", "release", "bin"))
    a.add_argument("--rounds", type=int, default=9)
    o = a.parse_args()
    with tempfile.TemporaryDirectory() as dir:
        table, n = long_ones(o, o.gifs, dir)
        gpt2 = ["--config", f"{ROOT}/configs/stllm_gpt2.yaml", "--bf16", "--weights", "random:1"]
        nano = ["--config", f"{ROOT}/configs/stllm_nano.yaml", "--bf16", "--weights", "random:1"]
        run(o, "gifqa-prep", "world", "-o", f"{dir}/world", "--train", 2000, "--val", 1, "--test", 1, "--novel", 1, "--json")
        toy = f"{dir}/world/train.tsv", f"{dir}/world/gif"
        print(f"# What the codecs of shards save and cost\n\n{n} real GIFs, {T} frames each; 2,000 GIFs of the toy world. "
              "CLIP's weights are random: its states are of the real\nshape and of real pictures, but not those of trained "
              "weights. Two readers, batch 8, from the page cache.\n")
        print("| sample | codec | KB stored | ratio | written, MB/s | samples/s | spread |\n|---|---|--:|--:|--:|--:|---|")
        measure(o, "real frames [8,224,224,3]", build(o, table, o.gifs, f"{dir}/frames", *gpt2[:2]), "frames", o.rounds)
        measure(o, "toy frames [8,12,12,3]", build(o, *toy, f"{dir}/toy", *nano[:2]), "frames", o.rounds)
        measure(o, "CLIP's states of real frames [8,50,768]",
                build(o, table, o.gifs, f"{dir}/states", "--features", "clip", *gpt2), "features", o.rounds)
        measure(o, "CLIP's states of toy frames [8,10,32]", build(o, *toy, f"{dir}/nano", "--features", "clip", *nano),
                "features", o.rounds)
        for codec in CODECS:
            r = run(o, "gifqa-bench", "load", "--what", "features", "--keyframes", 1, "--codec", codec, "--rounds", o.rounds,
                    "--json")[0]
            print(f"| random numbers in -2..2 [1,50,768] | {codec} | {r['stored_bytes'] / 1e3:,.1f} | {76.8e3 / r['stored_bytes']:.2f} "
                  f"| | {r['samples_per_s']:,.0f} | {min(r['rounds']):,.0f} to {max(r['rounds']):,.0f} |")
        commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], stdout=subprocess.PIPE, text=True)
        print(f"\n{r['machine']}; commit {commit.stdout.strip()}. \"Written\" is `gifqa-prep convert`: read, packed, synced, "
              "read back and compared, hashed.")


main()
