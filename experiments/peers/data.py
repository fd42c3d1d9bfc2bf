"""What gifqa-bench gif, image and tokenize are compared with: Pillow, transformers, tokenizers.

    data.py gif GIFS            Pillow: every frame as a full canvas
    data.py image GIFS          Pillow and CLIPImageProcessor: decoded RGB frames to [3,224,224] floats
    data.py tokenize gpt2|clip FILES TEXT     Hugging Face's tokenizers (FILES: vocab.json and merges.txt)
    data.py tokenize t5|t5-fast FILES TEXT    sentencepiece, Hugging Face's tokenizers (FILES: spiece.model)

Prints one JSON object: for each way of doing it the seconds of every round, after a first one (image: a first frame of
each size) that is not timed. Files are in memory before the clock starts. One thread, except "lines_2_threads".
"""
import argparse
import glob
import io
import json
import os
import statistics
import time

os.environ.setdefault("RAYON_NUM_THREADS", "2")
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
SIDE = 224


def timed(job):
    begin = time.perf_counter()
    job()
    return time.perf_counter() - begin


def series(seconds, amount):
    median = statistics.median(seconds)
    return {"per_s": amount / median, "median_s": median, "min_s": min(seconds), "seconds": seconds}


def read_gifs(folder):
    return [open(path, "rb").read() for path in sorted(glob.glob(os.path.join(folder, "*.gif")))]


def frames_of(data, mode):
    from PIL import Image, ImageSequence
    for frame in ImageSequence.Iterator(Image.open(io.BytesIO(data))):
        frame.load()                    # decodes and composes the canvas
        yield frame.convert(mode) if mode else frame


def bench_gif(folder, rounds):
    import PIL
    from PIL import GifImagePlugin
    files = read_gifs(folder)
    frames = sum(1 for data in files for _ in frames_of(data, None))
    strategies = GifImagePlugin.LoadingStrategy
    out = {"files": len(files), "frames": frames, "library": "Pillow " + PIL.__version__}
    ways = {"as_loaded": (None, strategies.RGB_AFTER_FIRST),
            "as_loaded_indexed": (None, strategies.RGB_AFTER_DIFFERENT_PALETTE_ONLY),
            "rgba": ("RGBA", strategies.RGB_AFTER_FIRST),
            "rgb": ("RGB", strategies.RGB_AFTER_FIRST)}
    seconds = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, (mode, strategy) in ways.items():
            GifImagePlugin.LOADING_STRATEGY = strategy
            took = timed(lambda: [None for data in files for _ in frames_of(data, mode)])
            if turn:
                seconds[name].append(took)
    return out | {name: series(s, frames) for name, s in seconds.items()}


def resize_and_crop(image):
    from PIL import Image
    w, h = image.size
    w, h = (SIDE, SIDE * h // w) if w <= h else (SIDE * w // h, SIDE)
    image = image.resize((w, h), Image.BICUBIC)
    left, top = (w - SIDE) // 2, (h - SIDE) // 2
    return image.crop((left, top, left + SIDE, top + SIDE))


def bench_image(folder, rounds):
    import numpy as np
    import PIL
    import torch
    import transformers
    from transformers import CLIPImageProcessor
    torch.set_num_threads(1)
    processor = CLIPImageProcessor()
    scale = np.float32(1 / 255) / np.array(processor.image_std, np.float32)
    shift = np.array(processor.image_mean, np.float32) / np.array(processor.image_std, np.float32)

    def by_hand(image):
        pixels = np.asarray(resize_and_crop(image)).transpose(2, 0, 1)
        return pixels * scale[:, None, None] - shift[:, None, None]

    ways = {"resize": resize_and_crop, "by_hand": by_hand,
            "processor": lambda image: processor(image, return_tensors="np")}
    seconds = {name: [0.0] * rounds for name in ways}
    frames = 0
    files = read_gifs(folder)
    for data in files:                  # one clip at a time: decoded clips are large
        clip = list(frames_of(data, "RGB"))
        frames += len(clip)
        for way in ways.values():
            way(clip[0])
        for turn in range(rounds):
            for name, way in ways.items():
                seconds[name][turn] += timed(lambda: [None for image in clip if way(image) is None])
    library = (f"Pillow {PIL.__version__}, transformers {transformers.__version__} "
               f"{type(processor).__name__}, numpy {np.__version__}")
    out = {"files": len(files), "frames": frames, "library": library}
    return out | {name: series(s, frames) for name, s in seconds.items()}


def make_unigram(folder):
    from sentencepiece import sentencepiece_model_pb2
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    model = sentencepiece_model_pb2.ModelProto()
    with open(os.path.join(folder, "spiece.model"), "rb") as file:
        model.ParseFromString(file.read())
    tokenizer = Tokenizer(models.Unigram([(p.piece, p.score) for p in model.pieces], unk_id=2, byte_fallback=False))
    tokenizer.normalizer = normalizers.Precompiled(model.normalizer_spec.precompiled_charsmap)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")])
    return tokenizer


def make_tokenizer(kind, folder):
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
    if kind == "t5-fast":
        return make_unigram(folder)
    files = os.path.join(folder, "vocab.json"), os.path.join(folder, "merges.txt")
    if kind == "gpt2":
        tokenizer = Tokenizer(models.BPE.from_file(*files))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        return tokenizer
    tokenizer = Tokenizer(models.BPE.from_file(*files, end_of_word_suffix="</w>",
                                               unk_token="<|endoftext|>"))
    tokenizer.normalizer = normalizers.Sequence([
        normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    words = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(words), behavior="removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False)])
    return tokenizer


def ways_of_sentencepiece(folder, text, lines):
    """Library, how to do it (in parallel or not), how to count ids."""
    import sentencepiece
    model = sentencepiece.SentencePieceProcessor(model_file=os.path.join(folder, "spiece.model"))
    ways = {"whole": (False, lambda: model.encode(text)),
            "lines": (False, lambda: model.encode(lines, num_threads=1)),
            "lines_2_threads": (True, lambda: model.encode(lines, num_threads=2))}
    return "sentencepiece " + sentencepiece.__version__, ways, len


def ways_of_tokenizers(kind, folder, text, lines):
    import tokenizers
    tokenizer = make_tokenizer(kind, folder)
    ways = {"whole": (False, lambda: tokenizer.encode(text)),
            "lines": (False, lambda: tokenizer.encode_batch_fast(lines)),
            "lines_2_threads": (True, lambda: tokenizer.encode_batch_fast(lines))}
    return "tokenizers " + tokenizers.__version__, ways, lambda e: len(e.ids)


def bench_tokenize(kind, folder, path, rounds):
    text = open(path, encoding="utf-8", newline="").read()
    lines = text.split("\n")
    size = len(text.encode()) / 1e6
    library, ways, count = (ways_of_sentencepiece(folder, text, lines) if kind == "t5" else
                            ways_of_tokenizers(kind, folder, text, lines))

    def set_parallel(on):
        os.environ["TOKENIZERS_PARALLELISM"] = "true" if on else "false"

    seconds = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, (parallel, way) in ways.items():
            set_parallel(parallel)
            took = timed(way)
            if turn:
                seconds[name].append(took)
    out = {"bytes": round(size * 1e6), "tokens": count(ways["whole"][1]()),
           "line_tokens": sum(map(count, ways["lines"][1]())), "library": library}
    return out | {name: series(s, size) for name, s in seconds.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("gif", "image"):
        commands.add_parser(name).add_argument("gifs")
    tokenize = commands.add_parser("tokenize")
    tokenize.add_argument("kind", choices=["gpt2", "clip", "t5", "t5-fast"])
    tokenize.add_argument("files")
    tokenize.add_argument("text")
    args = parser.parse_args()
    if args.command == "tokenize":
        out = bench_tokenize(args.kind, args.files, args.text, args.rounds)
    else:
        out = (bench_gif if args.command == "gif" else bench_image)(args.gifs, args.rounds)
    print(json.dumps(out))


if __name__ == "__main__":
    main()
