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
rows = np.memmap(path, dtype=np.float32, mode="r", offset=64, shape=(gifs * 41, 512))
index = faiss.IndexFlatL2(512)
for at in range(0, len(rows), 1 << 16):
    index.add(np.ascontiguousarray(rows[at:at + (1 << 16)]))
best = 1e9
for _ in range(7):
    start = time.perf_counter()
    squared, found = index.search(query[None], len(ours))
    best = min(best, time.perf_counter() - start)
worst = max(abs(np.sqrt(float(s)) - d) for s, (_, d) in zip(squared[0], ours))
print(f"{gifs} GIFs, {len(rows)} rows of 512 floats: gifqa {out[0]}; FAISS {faiss.__version__} IndexFlatL2 "
      f"{best:.4f} s with {faiss.omp_get_max_threads()} threads")
print("same rows in the same order:", [int(i) for i in found[0]] == [r for r, _ in ours],
      f"; largest difference of a distance {worst:.2g}")
