"""Writes tokenizer.tsv: hard texts and the ids that Hugging Face's tokenizers give them.

usage: tokenizer.py DIR [LINES]    DIR holds gpt2/ and clip/, each with vocab.json and merges.txt
Lines: kind, "s" when special tokens in the text count, hex of the bytes, ids. Bytes that are not UTF-8 reach CLIP's
tokenizer as Python's errors="replace" reads them. Characters younger than Unicode 14 are left out: the Unicode tables
of the two sides differ there.
"""
import json
import pathlib
import random
import sys
import unicodedata

from transformers import CLIPTokenizerFast, GPT2TokenizerFast

BLOCKS = [(0x20, 0x7E), (0x20, 0x7E), (0xA0, 0x24F), (0x250, 0x36F), (0x300, 0x36F), (0x370, 0x52F), (0x530, 0x7FF),
          (0x900, 0xDFF), (0xE00, 0x11FF), (0x1E00, 0x1FFF), (0x2000, 0x206F), (0x2100, 0x218F), (0x2460, 0x24FF),
          (0x3000, 0x30FF), (0x4E00, 0x4FFF), (0xAC00, 0xADFF), (0xF900, 0xFAFF), (0xFB00, 0xFB4F), (0xFF00, 0xFFEF),
          (0x10400, 0x1044F), (0x1D165, 0x1D1FF), (0x1F300, 0x1F64F), (0x2F800, 0x2F9FF)]
BITS = ["'s", "'T", "'re", "'ll ", "n't", " ", "  ", "\t", "\n\n", "\r\n", "\u0085", "\u00a0", "\u3000", "\u200d", "\u180e",
        "\x1c", "\x1f", "\u2028", "İ", "ΟΔΟΣ", "ẞ", "ǅ", "K", "Å", "ﬁ", "½", "²", "Ⅷ", "ⅷ", "٣", "e\u0301\u0323", "\u0344",
        "\u1100\u1161\u11a8", "\uac00\u11a8", "\u0958", "q\u0307\u0323", "2024", "!!!", "...", "the man", " cat", "DOG",
        "<|endoftext|>", "<|startoftext|>", "<|ENDOFTEXT|>", "<|endoftext", "</w>", "Ġ", "👍🏽", "👨‍👩‍👧"]


def load(kind, folder):
    vocab = json.loads((folder / "vocab.json").read_text())
    lines = (folder / "merges.txt").read_text(encoding="utf8").split("\n")[1:]
    return kind(vocab=vocab, merges=[tuple(line.split(" ")) for line in lines if line])


def character(rng):
    while True:
        c = chr(rng.randint(*rng.choice(BLOCKS)))
        if unicodedata.category(c) not in ("Cn", "Cs", "Co"):
            return c


def texts(count):
    rng = random.Random(14)
    yield from BITS
    for i in range(count):
        parts = [rng.choice(BITS) if rng.random() < 0.4 else character(rng) for _ in range(rng.randint(1, 12))]
        yield "".join(parts)


def broken(count):
    rng = random.Random(15)
    heads = [b"\xc0\x80", b"\xe0\x9f", b"\xed\xa0\x80", b"\xf0\x9f\x98", b"\xf4\x90", b"\xf8", b"\xe2\x82", b"\x80", b"\xff"]
    for _ in range(count):
        yield b"".join(rng.choice([rng.choice(heads), rng.choice(BITS).encode(), bytes([rng.randrange(256)])])
                       for _ in range(rng.randint(1, 6)))


def main():
    root, count = pathlib.Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 150
    tables = {"gpt2": load(GPT2TokenizerFast, root / "gpt2"), "clip": load(CLIPTokenizerFast, root / "clip")}
    rows = []
    for name, table in tables.items():
        for special in (False, True):
            table.backend_tokenizer.encode_special_tokens = not special
            cases = [(t.encode(), t) for t in texts(count)]
            if name == "clip":
                cases += [(b, b.decode(errors="replace")) for b in broken(count // 4)]
            for data, text in cases:
                if special and "<|" not in text:
                    continue
                ids = table.backend_tokenizer.encode(text, add_special_tokens=False).ids
                rows.append("\t".join([name, "s" if special else "-", data.hex(), " ".join(map(str, ids))]))
    out = sys.argv[3] if len(sys.argv) > 3 else pathlib.Path(__file__).with_suffix(".tsv")
    pathlib.Path(out).write_text("\n".join(rows) + "\n")


main()
