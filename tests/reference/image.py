"""Prints the Pillow results that tests/data/image.c holds, as rows of its tables.

    python3 tests/reference/image.py [SHARED_DIR]

Needs Pillow before 13, which for some shapes runs the vertical pass first; that moves values by one. The made-up picture has at column x, row y: R = (7x + 13y) mod 256, G = (x*x + 3y) mod 256,
B = 5 * (x xor y) mod 256. With SHARED_DIR also ten frames of real GIFs, composed by Pillow.
"""
import hashlib
import sys

import PIL
from PIL import Image

SIZES = [(250, 141, 224), (500, 281, 224), (8, 6, 224), (224, 224, 224), (180, 320, 224), (1, 1, 12), (3, 200, 12),
         (225, 227, 224), (97, 61, 32), (640, 33, 16), (1613, 810, 224), (12, 12, 96)]
RESIZES = [(8, 6, 4, 3), (8, 6, 8, 3), (8, 6, 5, 6), (17, 31, 40, 7), (31, 17, 7, 40), (1, 9, 9, 1), (300, 2, 7, 300),
           (64, 64, 63, 65), (99, 101, 33, 101)]
REAL = [("tgif-qa_2.gif", 0), ("tgif-qa_2.gif", 5), ("tgif-qa_3.gif", 0), ("tgif-qa_action_3.gif", 0),
        ("stllm_monkey.gif", 0), ("stllm_Driving.gif", 0), ("mmaction2_demo.gif", 3), ("fzc_fire.gif", 7),
        ("wuffs_muybridge.gif", 2), ("pillow_hopper.gif", 0)]
FILTERS = {"GQ_BICUBIC": Image.Resampling.BICUBIC, "GQ_NEAREST": Image.Resampling.NEAREST}


def pattern(w, h):
    data = bytes(v for y in range(h) for x in range(w)
                 for v in ((7 * x + 13 * y) % 256, (x * x + 3 * y) % 256, 5 * (x ^ y) % 256))
    return Image.frombytes("RGB", (w, h), data)


def preprocess(im, size, resample):
    w, h = im.size
    new = (size, int(size * h / w)) if w <= h else (int(size * w / h), size)
    left, top = (new[0] - size) // 2, (new[1] - size) // 2
    return im.resize(new, resample).crop((left, top, left + size, top + size))


def digest(im):
    return hashlib.sha256(im.tobytes()).hexdigest()[:32]


print("Pillow", PIL.__version__)
for name, resample in FILTERS.items():
    for w, h, size in SIZES:
        print(f'{{ {w}, {h}, {size}, {size}, true, {name}, "{digest(preprocess(pattern(w, h), size, resample))}" }},')
    for w, h, ow, oh in RESIZES:
        print(f'{{ {w}, {h}, {ow}, {oh}, false, {name}, "{digest(pattern(w, h).resize((ow, oh), resample))}" }},')
if len(sys.argv) > 1:
    for file, frame in REAL:
        im = Image.open(f"{sys.argv[1]}/data/gif/good/{file}")
        im.seek(frame)
        im = im.convert("RGBA")
        on_black = Image.new("RGBA", im.size, (0, 0, 0, 255))
        on_black.alpha_composite(im)
        rgb = on_black.convert("RGB")
        print(f'{{ "{file}", {frame}, "{digest(preprocess(rgb, 224, Image.Resampling.BICUBIC))}" }},')
