#!/usr/bin/env python3
"""Reads one shard with h5py, by its published layout alone, and prints what is in it: an independent reader.

usage: shard.py FILE.h5        (needs h5py and numpy; tests/data/shard.c runs it and compares)
One line per GIF: name, frame numbers, sums of its pixels and features; one line per question.
"""
import sys

import h5py
import numpy as np


def texts(group, flat, off):
    data, at = bytes(group[flat][:]), group[off][:]
    return [data[a:b].decode("utf-8") for a, b in zip(at, at[1:])]


def ragged(group, flat, off):
    data, at = group[flat][:], group[off][:]
    return [data[a:b].tolist() for a, b in zip(at, at[1:])]


def main(path):
    with h5py.File(path, "r") as f:
        a, gif, qa = f.attrs, f["gif"], f["qa"]
        text = {k: v.decode() if isinstance(v, bytes) else v for k, v in a.items()}
        assert text["format"] == "gifqa-shard" and a["version"] == 1
        print(text["codec"], a["keyframes"], a["size"], a["tokens"], a["width"], a["n_gif"], a["n_qa"],
              *text["types"].split("\n"))
        names = texts(gif, "name", "name_off")
        for i, name in enumerate(names):
            pixels = int(gif["frames"][i].astype(np.int64).sum()) if "frames" in gif else 0
            features = float(gif["tokens"][i].astype(np.float64).sum()) if "tokens" in gif else 0.0
            print(name, *gif["frame_idx"][i], *gif["delay_cs"][i], gif["n_frames"][i], *gif["wh"][i], gif["flags"][i],
                  bytes(gif["sha256"][i]).hex()[:8], pixels, f"{features:.6f}")
        rows = zip(qa["gif"][:], qa["type"][:], texts(qa, "q_text", "q_text_off"), texts(qa, "a_text", "a_text_off"),
                   ragged(qa, "q_tok", "q_off"), ragged(qa, "a_tok", "a_off"))
        for g, t, question, answer, q, ans in rows:
            print(g, t, question, answer, *q, "/", *ans)


if __name__ == "__main__":
    main(sys.argv[1])
