"""Which frames CLIP-Cut's modes choose, on animations whose right frames are known.

usage: ablation.py BIN DIR        BIN holds gifqa-prep; DIR gets everything and is used again

1. gifqa-prep world draws clips. A small CLIP learns from the training clips which frame shows what a text names.
2. Held-out clips are put together: four shots of four shapes an animation, each shown one to three times. The question
   is that of one of the clips; the right frames are those of its shot.
3. gifqa-prep build --sampler clipcut chooses frames with each setting; head tells which. Printed: a table."""
import json, os, random, subprocess, sys
import numpy as np
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPModel

torch.set_num_threads(1)
BIN, DIR = sys.argv[1] + "/", sys.argv[2]
SHAPES = ["square", "circle", "triangle", "cross"]
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0),
           "purple": (160, 32, 240), "white": (255, 255, 255)}
MEAN = np.array([0.48145466, 0.4578275, 0.40821073])
STD = np.array([0.26862954, 0.26130258, 0.27577711])
K, ANIMATIONS = 4, 400


def run(*args):
    return subprocess.run([BIN + "gifqa-prep", *map(str, args)], check=True, capture_output=True, text=True).stdout


def rows(split):
    for line in open(f"{DIR}/w/{split}.tsv").read().splitlines()[1:]:
        yield line.split("\t")


def frames_of(name):
    gif, out = Image.open(f"{DIR}/w/gif/{name}"), []
    for f in range(gif.n_frames):
        gif.seek(f)
        out.append(np.asarray(gif.convert("RGB"))[4::8, 4::8])
    return np.stack(out)


def colour_in(frames):
    """Name of the object's colour, and which frames show it: the background is the most frequent colour."""
    flat, counts = np.unique(frames.reshape(-1, 3), axis=0, return_counts=True)
    back = flat[counts.argmax()]
    seen = (frames != back).any(-1)
    if not seen.any():
        return None, None
    value = np.median(frames[seen], axis=0)
    return min(COLOURS, key=lambda c: np.abs(value - COLOURS[c]).sum()), seen.any((1, 2))


def clips(split):
    """(gif, question, answer, kind, shape, colour, frames, shows) of the clips with one object."""
    for gif, question, answer, kind in rows(split):
        if kind in ("order", "transition"):
            continue
        shape = answer if kind == "object" else next(s for s in SHAPES if s in question)
        frames = frames_of(gif)
        colour, shows = colour_in(frames)
        if colour:
            yield gif, question, answer, kind, shape, colour, frames, shows


WORDS = None


def ids(texts):
    out = np.full((len(texts), 24), 1)           # <end>, which is also the padding
    for i, t in enumerate(texts):
        for j, w in enumerate(t.replace("?", " ?").split()):
            out[i, j] = WORDS.index(w)
    return torch.tensor(out)


def pixels(frames):
    return torch.tensor(((frames / 255.0 - MEAN) / STD).transpose(0, 3, 1, 2), dtype=torch.float32)


def text_for(shape, colour, r):
    """A text, and the shape and colour it names (None: any)."""
    kind = r.randrange(4)
    if kind == 0:
        return f"what shape is the {colour} object ?", None, colour
    if kind == 1:
        return f"the {colour} {shape}", shape, colour
    return r.choice([f"what color is the {shape} ?", f"where is the {shape} ?", f"what does the {shape} do ?",
                     f"which way does the {shape} move ?"] +
                    [f"how many times does the {shape} {a} ?" for a in ("hide", "move", "grow", "shrink")]), shape, None


def train(path):
    data = [(f, s, c) for _, _, _, _, s, c, frames, shows in clips("train") for f in frames[shows]]
    torch.manual_seed(1)
    r = random.Random(1)
    net = CLIPModel(CLIPConfig(
        text_config=dict(vocab_size=len(WORDS), hidden_size=64, intermediate_size=256, num_hidden_layers=2,
                         num_attention_heads=2, max_position_embeddings=24, eos_token_id=1, bos_token_id=0,
                         pad_token_id=1, projection_dim=32),
        vision_config=dict(image_size=12, patch_size=3, hidden_size=64, intermediate_size=256, num_hidden_layers=2,
                           num_attention_heads=2, projection_dim=32), projection_dim=32, logit_scale_init_value=2.0))
    bias = torch.nn.Parameter(torch.tensor(-2.0))
    opt = torch.optim.AdamW([*net.parameters(), bias], lr=1e-3, weight_decay=0.01)
    for step in range(600):
        batch = [r.choice(data) for _ in range(128)]
        told = [text_for(s, c, r) for _, s, c in batch]
        out = net(input_ids=ids([t for t, _, _ in told]), pixel_values=pixels(np.stack([b[0] for b in batch])))
        right = torch.tensor([[(s in (None, shape)) and (c in (None, colour)) for _, shape, colour in batch]
                              for _, s, c in told])
        logit = out.logits_per_text + bias
        loss = torch.nn.functional.softplus(torch.where(right, -logit, logit)).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        if step % 100 == 99:
            print(f"step {step + 1}: loss {loss.item():.4f}, {((logit > 0) == right).float().mean():.4f} of pairs right",
                  file=sys.stderr)
    net.save_pretrained(path)


def animations():
    """GIFs, a table with two kinds of descriptions, and the right frames of each."""
    pool = {s: [c for c in clips("test") if c[4] == s] for s in SHAPES}
    r, truth = random.Random(2), []
    os.makedirs(f"{DIR}/gifs", exist_ok=True)
    tables = {name: open(f"{DIR}/{name}.tsv", "w") for name in ("answer", "whole")}
    for t in tables.values():
        t.write("gif\tquestion\tanswer\ttype\tdescription\n")
    while len(truth) < ANIMATIONS:
        shots = [r.choice(pool[s]) for s in r.sample(SHAPES, 4)]
        asked = r.choice(shots)
        if asked[3] == "object" and sum(s[5] == asked[5] for s in shots) > 1:
            continue                             # "the red object" would be two
        name, frames, right = f"{len(truth):04}.gif", [], []
        for s in shots:
            repeated = np.concatenate([s[6]] * r.choice((1, 1, 2, 3)))
            if s is asked:
                right = range(len(frames), len(frames) + len(repeated))
            frames.extend(repeated)
        big = [Image.fromarray(np.kron(f, np.ones((8, 8, 1), np.uint8))) for f in frames]
        for f, image in enumerate(big):          # a pixel that always differs: equal frames would be merged
            image.putpixel((0, 0), (f, 128, 128))
        big[0].save(f"{DIR}/gifs/{name}", save_all=True, append_images=big[1:], duration=100)
        assert Image.open(f"{DIR}/gifs/{name}").n_frames == len(frames)
        for t, words in (("answer", asked[2]), ("whole", " ".join(f"the {s[5]} {s[4]}" for s in shots))):
            tables[t].write("\t".join([name, asked[1], asked[2], asked[3], words]) + "\n")
        bounds = np.cumsum([0] + [len(s[6]) for s in shots])
        truth.append((set(right), len(frames)))
    return truth


def measure(truth, table, described, mode, apart):
    out = f"{DIR}/sets/{table}-{described}-{mode}-{apart}"
    run("build", f"{DIR}/{table}.tsv", "-g", f"{DIR}/gifs", "-o", out, "-t", f"{DIR}/w", "-k", K, "--sampler", "clipcut",
        "--weights", f"{DIR}/clip", "--mode", mode, *(["--apart", apart] if apart else []),
        *["--description"] * described, "--set", f"model.tokenizer.clip={DIR}/w", "--set", "image.filter=nearest")
    told = [json.loads(line) for line in run("head", out, "-n", ANIMATIONS, "--json").splitlines()]
    hit, share, gap = [], [], []
    for row in told:
        right, n = truth[int(row["gif"][:4])]
        frame = row["keyframes"]
        inside = [f in right for f in frame]
        hit.append(any(inside))
        share.append(sum(inside) / K)
        gap.append(min(np.diff(frame)))
    return np.mean(hit), np.mean(share), np.mean(gap)


if __name__ == "__main__":
    run("world", "--preset", "micro", "-o", f"{DIR}/w", "--seed", 3, "--train", 2500, "--val", 8, "--test", 1000,
        "--novel", 8)
    WORDS = open(f"{DIR}/w/words.txt").read().split()
    if not os.path.exists(f"{DIR}/clip/model.safetensors"):
        train(f"{DIR}/clip")
    truth = animations()
    lengths = [n for _, n in truth]
    print(f"{ANIMATIONS} animations of {min(lengths)} to {max(lengths)} frames, k = {K}; the right shot has "
          f"{np.mean([len(s) / n for s, n in truth]):.2f} of the frames")
    print("| mode | apart | text | hit | share | smallest gap |\n|---|---|---|---|---|---|")
    for mode, apart in (("clip", 0), ("clip", 2), ("clip", 4), ("clip", 8), ("mix", 0), ("mix", 4), ("uniform", 0)):
        for table, described in (("answer", 0), ("answer", 1), ("whole", 1)) if mode != "uniform" else (("answer", 0),):
            h, s, g = measure(truth, table, described, mode, apart)
            text = "question" if not described else f"question + {'the answer' if table == 'answer' else 'all shots'}"
            print(f"| {mode} | {apart} | {text} | {h:.3f} | {s:.3f} | {g:.1f} |", flush=True)
