"""Runs scan, then FAISS IndexFlatL2 over the rows of the same index file and the same query.
usage: beside_faiss.py SCAN INDEX GIFS"""
import subprocess, sys, time
import faiss
import numpy as np

scan, path, gifs = sys.argv[1], sys.argv[2], int(sys.argv[3])
out = subprocess.run([scan, path, str(gifs), "f32"], check=True, capture_output=True, text=True).stdout.split("\n")
query = np.array([float(v) for v in out[1].split()[1:]], dtype=np.float32)
query /= np.linalg.norm(query.astype(np.float64))
ours = [(int(h.split(":")[0]), float(h.split(":")[1])) for h in out[2].split()[1:]]
index = faiss.IndexFlatL2(512)
data = np.memmap(path, dtype=np.uint8, mode="r")                 # data/search.h has the layout
count, rows, blocks, names = data[-128:-96].view(np.uint64).astype(int)
tables = data[64 + rows * 2048:].view(np.uint8)
first = tables[:8 * (count + 1)].view(np.uint64).astype(int)
gif = tables[16 * (count + 1):][:8 * (blocks + 1)].view(np.uint64).astype(int)
for a, b in zip(first[gif[:-1]], first[gif[1:]]):                # a block: upper halves, then lower halves
    halves = data[64 + a * 2048:64 + b * 2048].view(np.uint16).reshape(2, b - a, 512)
    bits = (halves[0].astype(np.uint32) << 16) + halves[1].view(np.int16).astype(np.int32).view(np.uint32)
    index.add(bits.view(np.float32))
best = 1e9
for _ in range(7):
    start = time.perf_counter()
    squared, found = index.search(query[None], len(ours))
    best = min(best, time.perf_counter() - start)
worst = max(abs(np.sqrt(float(s)) - d) for s, (_, d) in zip(squared[0], ours))
print(f"{gifs} GIFs, {rows} rows of 512 floats: gifqa {out[0]}; FAISS {faiss.__version__} IndexFlatL2 "
      f"{best:.4f} s with {faiss.omp_get_max_threads()} threads")
print("same rows in the same order:", [int(i) for i in found[0]] == [r for r, _ in ours],
      f"; largest difference of a distance {worst:.2g}")
