#!/usr/bin/env python3
"""Reads one shard with h5py, by its published layout alone, and prints what is in it: an independent reader.

usage: shard.py FILE.h5        (needs h5py and numpy; tests/data/shard.c runs it and compares)
One line per GIF: name, frame numbers, sums of its pixels and features, and of the vectors of all its frames where there are
any; one line per question.

Shards of codec none and gzip need nothing else. What row-delta+zstd packed is taken as raw chunks and unpacked here by
libzstd, from what the file says of its filters.
"""
import ctypes
import sys

import h5py
import numpy as np

SHUFFLE, ROW_DELTA, ZSTD = 2, 407, 32015


def texts(group, flat, off):
    data, at = bytes(group[flat][:]), group[off][:]
    return [data[a:b].decode("utf-8") for a, b in zip(at, at[1:])]


def ragged(group, flat, off):
    data, at = group[flat][:], group[off][:]
    return [data[a:b].tolist() for a, b in zip(at, at[1:])]


def unzstd(packed, size):
    zstd = ctypes.CDLL("libzstd.so.1")
    zstd.ZSTD_decompress.restype = ctypes.c_size_t
    out = ctypes.create_string_buffer(size)
    n = zstd.ZSTD_decompress(out, ctypes.c_size_t(size), packed, ctypes.c_size_t(len(packed)))
    assert n == size, (n, size)
    return np.frombuffer(out, np.uint8)


def unpack(data, i):
    """Row i of a dataset whose filters end with zstd."""
    plist = data.id.get_create_plist()
    filters = [plist.get_filter(k) for k in range(plist.get_nfilters())]
    assert filters[-1][0] == ZSTD and len(filters) == 2, filters
    mask, packed = data.id.read_direct_chunk((i,) + (0,) * (data.ndim - 1))
    assert mask == 0
    size = data.id.get_type().get_size()
    row = unzstd(packed, int(np.prod(data.shape[1:])) * size)
    kind, stride = filters[0][0], filters[0][2][0]
    if kind == SHUFFLE:
        row = row.reshape(size, -1).T.reshape(-1)
    else:
        assert kind == ROW_DELTA, kind
        row = np.add.accumulate(row.reshape(-1, stride), axis=0, dtype=np.uint8).reshape(-1)
    if size == 2:                                # bfloat16: the upper half of a float
        return (np.ascontiguousarray(row).view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return np.ascontiguousarray(row).view(np.float32 if size == 4 else np.uint8)


def vectors(gif, read):
    """Of all frames of all GIFs, [frames, P]."""
    data = gif["pooled"]
    return np.concatenate([np.asarray(read(data, b), np.float64).reshape(data.shape[1:]) for b in range(len(data))])


def main(path):
    with h5py.File(path, "r") as f:
        a, gif, qa = f.attrs, f["gif"], f["qa"]
        text = {k: v.decode() if isinstance(v, bytes) else v for k, v in a.items()}
        assert text["format"] == "gifqa-shard" and a["version"] == 1
        read = unpack if text["codec"] == "row-delta+zstd" else lambda data, i: data[i]
        print(text["codec"], a["keyframes"], a["size"], a["tokens"], a["width"], a["n_gif"], a["n_qa"],
              *text["types"].split("\n"))
        names = texts(gif, "name", "name_off")
        pooled = vectors(gif, read) if "pooled" in gif else None
        for i, name in enumerate(names):
            pixels = int(read(gif["frames"], i).astype(np.int64).sum()) if "frames" in gif else 0
            features = float(read(gif["tokens"], i).astype(np.float64).sum()) if "tokens" in gif else 0.0
            at, n = (gif["pooled_at"][i], gif["pooled_n"][i]) if pooled is not None else (0, 0)
            print(name, *gif["frame_idx"][i], *gif["delay_cs"][i], gif["n_frames"][i], *gif["wh"][i], gif["flags"][i],
                  bytes(gif["sha256"][i]).hex()[:8], pixels, f"{features:.6f}",
                  *([n, f"{pooled[at:at + n].sum():.6f}"] if n else []))
        rows = zip(qa["gif"][:], qa["type"][:], texts(qa, "q_text", "q_text_off"), texts(qa, "a_text", "a_text_off"),
                   ragged(qa, "q_tok", "q_off"), ragged(qa, "a_tok", "a_off"))
        for g, t, question, answer, q, ans in rows:
            print(g, t, question, answer, *q, "/", *ans)


if __name__ == "__main__":
    main(sys.argv[1])
