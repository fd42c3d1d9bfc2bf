"""The whole stllm step at its real sizes, and decoding: PyTorch + transformers in float64 and float32 beside gifqa.

ViT-B/32 -> Q-Former (encoder width 1408) -> GPT-2 124M, the model of stllm.py with the sizes and options of a file of
configs/. All of it works in one scratch folder; experiments/parity/run.sh calls the parts in order:

    full_size.py make DIR --seed N           weights and one batch -> DIR/*.safetensors
    gifqa-parity step CONFIG DIR             losses, states, gradients, one AdamW step -> DIR/ours
    full_size.py fp32 CONFIG DIR             the same from PyTorch in float32 -> DIR/torch
    full_size.py compare CONFIG DIR --tsv F  the same in float64, kept nowhere: errors of both against it
    full_size.py prompts DIR --seed N        prompts and weights for decoding -> DIR/{prompts.*,gpt2_decode}.safetensors
    gifqa-parity decode CONFIG DIR NAME OUT  answers -> DIR/OUT.safetensors
    full_size.py decode DIR NAME OUT ...     generate() on the same prompts, compared token by token

Masks are drawn by gifqa (DIR/ours/states.safetensors holds them); everything else comes from `make`.
"""
import argparse
import fnmatch
import json
import pathlib

import numpy as np
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, GPT2Config, GPT2LMHeadModel

import stllm
from common import random_weight, rng

SIZES = stllm.Sizes(frames=3, queries=32, clip_width=768, bridge_width=1408, qformer_width=768, qformer_layers=12,
                    qformer_heads=12, qformer_ffn=3072, width=768, layers=12, heads=12, vocab=50257, positions=1024)
END = SIZES.vocab - 1
SAMPLES, TEXT, ANSWERS = 2, 32, (6, 5)                       # ids of a sample, of them in its answer (end token included)
MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
# What random_weight() is multiplied with: words whose logits have the spread of real ones (about 1.7, so that the
# softmax is not one word), patches of the size of the position table, and a Q-Former whose queries stay different:
# when attention adds much of the same to all queries of a frame, they are alike after some layers, and the gradients
# of the scores are nothing but rounding.
SCALE = {"wte.weight": 0.2, "*.patch_embedding.weight": 0.06, "qformer.*.query.weight": 2, "qformer.*.key.weight": 2,
         "qformer.*attention.output.dense.weight": 0.3}
END_LIKELY = 2.6                                             # added to ln_f.bias along the end token's row of wte
FILES = {"clip": ("vision_model", "visual_projection"), "qformer": ("qformer", "query_tokens"),
         "stllm": ("bridge", "proj", "mvm_predictor"), "gpt2": ("wte", "wpe", "h.", "ln_f")}


# ---- weights and inputs ------------------------------------------------------------------------------

def clip_tower():
    return CLIPVisionModelWithProjection(CLIPVisionConfig(attn_implementation="sdpa")).eval()


def empty(make):
    """A module whose parameters have shapes only."""
    with torch.device("meta"):
        return make()


def scale_of(name, table=SCALE):
    return next((scale for pattern, scale in table.items() if fnmatch.fnmatch(name, pattern)), 1)


def add_end(tensors, amount):
    """Makes the end token more likely: with random weights no word stands out."""
    end = tensors["wte.weight"][END]
    tensors["ln_f.bias"] += amount * end / end.norm()


def make(folder, seed):
    folder.mkdir(parents=True, exist_ok=True)
    shapes = {}
    for module in (empty(clip_tower), empty(lambda: stllm.Step("adapter", SIZES))):
        shapes |= {stllm.published_name(n): tuple(p.shape) for n, p in module.named_parameters()}
    for file, prefixes in FILES.items():
        tensors = {n: random_weight(n, s, f"full size {seed} {n}") * scale_of(n) for n, s in shapes.items()
                   if n.startswith(prefixes)}
        if file == "gpt2":
            add_end(tensors, END_LIKELY)
        save_file(tensors, folder / f"{file}.safetensors")
    r = rng(f"full size {seed} batch")
    ids = torch.from_numpy(r.integers(0, END, (SAMPLES, TEXT), dtype=np.int32))
    lengths = [TEXT - 3 * b for b in range(SAMPLES)]        # the second sample is shorter: padding
    for b, n in enumerate(lengths):
        ids[b, n - 1:] = END
    save_file({"in.frames": torch.from_numpy(r.integers(0, 256, (SAMPLES * SIZES.frames, 224, 224, 3), dtype=np.uint8)),
               "in.text_ids": ids, "in.question_len": torch.tensor([n - a for n, a in zip(lengths, ANSWERS)]).int(),
               "in.answer_len": torch.tensor(ANSWERS).int()}, folder / "batch.safetensors")


def load_clip(folder, dtype):
    model = clip_tower().to(dtype)
    model.load_state_dict(load_file(folder / "clip.safetensors"), strict=False)
    return model


def load_step(folder, dtype, gpt2="gpt2"):
    step = stllm.Step("adapter", SIZES).eval()
    weights = {}
    for file in ("qformer", "stllm", gpt2):
        weights |= load_file(folder / f"{file}.safetensors")
    with torch.no_grad():
        for name, p in step.named_parameters():
            p.copy_(weights[stllm.published_name(name)])
    return step.to(dtype)


def clip_states(folder, frames, dtype):
    """hidden[-2] of the frozen tower, as stllm_*.yaml say."""
    pixels = (frames.to(dtype) / 255 - torch.tensor(MEAN, dtype=dtype)) / torch.tensor(STD, dtype=dtype)
    with torch.no_grad():
        out = load_clip(folder, dtype)(pixel_values=pixels.permute(0, 3, 1, 2).contiguous(), output_hidden_states=True)
    return out.hidden_states[-2]


def texts_of(batch):
    out = []
    lengths = zip(batch["in.question_len"].tolist(), batch["in.answer_len"].tolist())
    for ids, (q, a) in zip(batch["in.text_ids"].tolist(), lengths):
        out.append((ids[:q], ids[q: q + a]))
    return out


# ---- the step ----------------------------------------------------------------------------------------

MVM_DEFAULTS = dict(mode="zero", pos="keep", zero_attn="visible", loss="cos", denom="actual", predictor="none",
                    weight=1.0)


def read_config(path):
    config = yaml.load(path.read_text(), yaml.BaseLoader)    # BaseLoader: 5e-5 is no number to YAML 1.1
    mvm = MVM_DEFAULTS | {k: v for k, v in config["mvm"].items() if k in MVM_DEFAULTS}
    return config, mvm | dict(weight=float(mvm["weight"]))


def our_name(name):
    """Enough of gifqa's name of a parameter for the patterns of train.groups."""
    for prefix, ours in (("query_tokens", "qformer.query"), ("mvm_predictor", "mvm.predictor."), ("bridge", "bridge."),
                         ("proj.", "proj."), ("qformer.", "qformer.")):
        if name.startswith(prefix):
            return ours
    return "gpt2."


def optimiser(config, params):
    """torch.optim.AdamW with one group a parameter: multiplier of its pattern, decay of matrices only."""
    t = config["train"]
    groups = []
    for name, p in params.items():
        lr = float(t["lr"])
        for g in t["groups"]:
            lr = float(t["lr"]) * float(g["lr_mult"]) if fnmatch.fnmatch(our_name(name), g["match"]) else lr
        groups.append({"params": [p], "lr": lr, "weight_decay": float(t["weight_decay"]) if p.dim() > 1 else 0.0})
    return torch.optim.AdamW(groups, betas=(float(t["beta1"]), float(t["beta2"])), eps=float(t["eps"]), foreach=False)


def forward_backward(config_path, folder, dtype):
    """The step up to clipped gradients: config, parameters that have one, states, losses, norm before clipping."""
    config, mode = read_config(config_path)
    batch, drawn = load_file(folder / "batch.safetensors"), load_file(folder / "ours" / "states.safetensors")
    keep, texts = drawn["in.keep"].tolist(), texts_of(batch)
    features = clip_states(folder, batch["in.frames"], dtype)
    step = load_step(folder, dtype)
    out = stllm.run(step, features, texts, mode | dict(rate=drawn["in.rate"].item()), keep)
    out["loss_total"].backward()
    params = {stllm.published_name(n): p for n, p in step.named_parameters() if p.grad is not None}
    kept = torch.tensor(keep, dtype=torch.bool)
    answer = torch.cat([out["student_text"][b, len(q) - 1: len(q) + len(a) - 1] for b, (q, a) in enumerate(texts)])
    states = {"clip": features, "encoded": out["bridge"], "queries": out["qformer"], "visual": out["visual"],
              "student_visual": out["student_visual"][kept], "student_answer": answer, "teacher": out["teacher"][kept]}
    states = {k: v.detach().contiguous() for k, v in states.items()}
    losses = torch.stack([out[f"loss_{k}"].detach() for k in ("lm", "mvm", "total")]).double()
    return config, params, states, losses


def clip_gradients(config, params):
    return float(torch.nn.utils.clip_grad_norm_(params.values(), float(config["train"]["clip"])))


def fp32(config_path, folder):
    config, params, states, losses = forward_backward(config_path, folder, torch.float32)
    to = folder / "torch"
    to.mkdir(exist_ok=True)
    save_file({n: p.grad for n, p in params.items()}, to / "grad.safetensors")
    norm = clip_gradients(config, params)
    save_file(states | {"losses": torch.cat([losses, torch.tensor([norm]).double()])}, to / "states.safetensors")
    opt = optimiser(config, params)
    opt.step()
    for kind, get in (("m", lambda p: opt.state[p]["exp_avg"]), ("v", lambda p: opt.state[p]["exp_avg_sq"]),
                      ("w", lambda p: p.detach())):
        save_file({n: get(p) for n, p in params.items()}, to / f"{kind}.safetensors")


class Side:
    """What one float32 implementation wrote."""
    def __init__(self, folder):
        self.states = load_file(folder / "states.safetensors")
        self.at = {}
        for path in sorted(folder.glob("*.safetensors")):
            kind = path.name.split(".")[0]
            file = safe_open(path, "pt")
            self.at |= {(kind, n): file for n in file.keys() if kind != "states"}

    def get(self, kind, name):
        return self.at[kind, name].get_tensor(name).double()

    def names(self, kind):
        return {n for k, n in self.at if k == kind}


def rms(x):
    return float(x.norm()) / x.numel() ** 0.5


def spacings(got, start, m, v, group):
    """How far new weights are from one AdamW step in float64 with the same moments, in spacings of float32."""
    (b1, b2), lr = group["betas"], group["lr"]
    want = start * (1 - lr * group["weight_decay"]) - lr * (m / (1 - b1)) / ((v / (1 - b2)).sqrt() + group["eps"])
    unit = torch.from_numpy(np.spacing(torch.maximum(start.abs(), want.abs()).float().numpy())).double()
    return float(((got - want).abs() / unit).max())


def step_errors(row, p, start, sides, opt):
    """One AdamW step of one parameter in float64, and what both sides made of theirs. p.grad is clipped already."""
    start = start.double()
    opt.step()
    want = {"m": opt.state[p]["exp_avg"], "v": opt.state[p]["exp_avg_sq"], "w": p.detach()}
    got = [{k: s.get(k, row["name"]) for k in want} for s in sides]
    for k in want:
        row[k] = [rms(g[k] - want[k]) for g in got]
        row[f"{k}_rms"] = rms(want[k] - start if k == "w" else want[k])
    row["spacings"] = [spacings(g["w"], start, g["m"], g["v"], opt.param_groups[0]) for g in got]
    row["turned"] = [int(((g["w"] - start) * (want["w"] - start) < 0).sum()) for g in got]


def compare(config_path, folder, tsv):
    ours, other = sides = [Side(folder / "ours"), Side(folder / "torch")]
    config, params, states, losses = forward_backward(config_path, folder, torch.float64)
    assert ours.names("grad") >= set(params) and other.names("grad") == set(params)
    rows = []
    for name, p in params.items():
        off = [rms(s.get("grad", name) - p.grad) for s in sides]
        rows.append({"name": name, "n": p.numel(), "rms": rms(p.grad), "g": off})
    norm = clip_gradients(config, params)
    start = {}
    for file in ("qformer", "stllm", "gpt2"):
        start |= load_file(folder / f"{file}.safetensors")
    for row in rows:
        p = params.pop(row["name"])
        step_errors(row, p, start[row["name"]], sides, optimiser(config, {row["name"]: p}))
        p.grad = None
    write_tsv(rows, tsv)
    report(config_path, rows, states, torch.cat([losses, torch.tensor([norm]).double()]), sides)


# ---- tables ------------------------------------------------------------------------------------------

def ratio(pair):
    return pair[0] / pair[1] if pair[1] else (1.0 if pair[0] == 0 else float("inf"))


def zero_in_theory(row):
    """A constant added to all scores of a row changes nothing: the gradient of a key's bias is rounding alone."""
    return row["name"].endswith("key.bias")


def write_tsv(rows, path):
    head = ["tensor", "elements", "rms gradient", "ours", "PyTorch", "ratio", "ratio of m", "ratio of v", "spacings ours",
            "spacings PyTorch", "turned ours", "turned PyTorch"]
    lines = ["\t".join(head)]
    for r in rows:
        scale = r["rms"] if not zero_in_theory(r) else 1.0
        lines.append("\t".join([r["name"], str(r["n"]), f"{r['rms']:.2e}", *(f"{e / scale:.2e}" for e in r["g"]),
                                *(f"{ratio(r[k]):.2f}" for k in ("g", "m", "v")), *(f"{u:.2f}" for u in r["spacings"]),
                                *(str(t) for t in r["turned"])]))
    path.write_text("\n".join(lines) + "\n")


def table(head, rows):
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for r in rows:
        print("| " + " | ".join(r) + " |")
    print()


def report_states(states, losses, sides):
    rows = []
    for i, name in enumerate(("LM loss", "MVM loss", "total loss", "gradient norm")):
        want = float(losses[i])
        pair = [abs(float(s.states["losses"][i]) - want) / abs(want) for s in sides]
        rows.append([name, f"{want:.9g}", *(f"{e:.1e}" for e in pair), ""])
    for name, want in states.items():
        pair = [rms(s.states[name].double().reshape(want.shape) - want) / rms(want) for s in sides]
        rows.append([name, f"{list(want.shape)}", *(f"{e:.2e}" for e in pair), f"{ratio(pair):.2f}"])
    table(["", "value or shape", "ours", "PyTorch", "ratio"], rows)


def report_gradients(rows):
    real = [r for r in rows if not zero_in_theory(r)]
    ratios = np.array([ratio(r["g"]) for r in rows])
    total = [sum(r["g"][i] ** 2 * r["n"] for r in rows) ** 0.5 for i in range(2)]
    whole = sum(r["rms"] ** 2 * r["n"] for r in rows) ** 0.5
    print(f"{len(rows)} gradients; all as one vector: ours {total[0] / whole:.2e}, PyTorch {total[1] / whole:.2e}, ratio "
          f"{ratio(total):.2f}. Ratio by tensor: "
          + ", ".join(f"{q} % {np.percentile(ratios, q):.2f}" for q in (0, 10, 50, 90, 99, 100))
          + f"; {(ratios > 1).sum()} above 1, {(ratios > 1.5).sum()} above 1.5.\n")
    line = lambda r: [r["name"], f"{r['rms']:.1e}", *(f"{e / r['rms']:.2e}" for e in r["g"]), f"{ratio(r['g']):.2f}"]
    head = ["gradient", "root mean square", "ours", "PyTorch", "ratio"]
    print("Worst ten:\n")
    table(head, [line(r) for r in sorted(real, key=lambda r: -r["g"][0] / r["rms"])[:10]])
    above = [r for r in rows if ratio(r["g"]) > 1.5]
    if above:
        print("Above 1.5 (errors of key biases are absolute, their gradient is zero in theory):\n")
        zero = lambda r: [r["name"], "0 in theory", *(f"{e:.1e}" for e in r["g"]), f"{ratio(r['g']):.2f}"]
        table(head, [zero(r) if zero_in_theory(r) else line(r) for r in above])


def report_step(rows):
    elements = sum(r["n"] for r in rows)
    lines = []
    for k, what in (("m", "first moment"), ("v", "second moment"), ("w", "update")):
        whole = sum(r[f"{k}_rms"] ** 2 * r["n"] for r in rows) ** 0.5
        pair = [sum(r[k][i] ** 2 * r["n"] for r in rows) ** 0.5 for i in range(2)]
        lines.append([f"{what}, all tensors as one vector", *(f"{e / whole:.2e}" for e in pair), f"{ratio(pair):.2f}"])
    turned = [sum(r["turned"][i] for r in rows) for i in range(2)]
    lines.append([f"weights of {elements} that moved the other way", *map(str, turned), f"{ratio(turned):.2f}"])
    pair = [max(r["spacings"][i] for r in rows) for i in range(2)]
    lines.append(["largest error of a weight given its moments, in float32 spacings", *(f"{e:.2f}" for e in pair), ""])
    table(["AdamW, first step", "ours", "PyTorch", "ratio"], lines)


def report(config_path, rows, states, losses, sides):
    print(f"### {config_path.name}\n")
    report_states(states, losses, sides)
    report_gradients(rows)
    report_step(rows)


# ---- decoding ----------------------------------------------------------------------------------------

PROMPTS, LONGEST, NEW = 100, 24, 12                          # of each kind; ids of a question; new tokens
# GPT-2's weights for decoding: attention adds less of the same to all positions and biases weigh less, or the most
# likely token is one and the same whatever the prompt.
LIVELY, END_AGAIN = {"*.attn.c_proj.weight": 0.3, "*.bias": 0.3}, 1.4


def prompts(folder, seed):
    """100 prompts behind the visual tokens of three frames, 100 of text alone; lengths 1 to 24; weights for decoding."""
    weights = load_file(folder / "gpt2.safetensors")
    weights = {n: w * scale_of(n, LIVELY) for n, w in weights.items()}
    add_end(weights, END_AGAIN)
    save_file(weights, folder / "gpt2_decode.safetensors")
    for kind in ("visual", "text"):
        r = rng(f"full size {seed} prompts {kind}")
        tensors = {"in.ids": torch.from_numpy(r.integers(0, END, (PROMPTS, LONGEST), dtype=np.int32)),
                   "in.length": torch.from_numpy(r.integers(1, LONGEST + 1, PROMPTS, dtype=np.int32))}
        if kind == "visual":
            features = r.standard_normal((PROMPTS, SIZES.frames, 50, SIZES.clip_width))
            tensors["in.features"] = torch.from_numpy(features).float()
        save_file(tensors, folder / f"prompts.{kind}.safetensors")


class Decoder:
    def __init__(self, folder, dtype):
        self.step = load_step(folder, dtype, "gpt2_decode")
        self.lm = GPT2LMHeadModel(GPT2Config(attn_implementation="sdpa", resid_pdrop=0, embd_pdrop=0, attn_pdrop=0))
        self.lm.transformer = self.step.gpt2
        self.lm.tie_weights()
        self.lm.to(dtype).eval()

    def embed(self, ids, visual):
        """ids [n,L], visual [n,N,D] or None."""
        text = self.step.gpt2.wte(torch.tensor(ids))
        return text if visual is None else torch.cat([visual, text], 1)

    def generate(self, ids, visual, search):
        """New ids of n prompts of one length, so that nothing is padded, and how far each greedy token was ahead."""
        x = self.embed(ids, visual)
        out = self.lm.generate(inputs_embeds=x, attention_mask=torch.ones(x.shape[:2], dtype=torch.long), do_sample=False,
                               max_new_tokens=NEW, pad_token_id=END, eos_token_id=END, return_dict_in_generate=True,
                               output_scores=True, **search)
        answers, margins = [until_end(a) for a in out.sequences.tolist()], []
        if search["num_beams"] == 1:
            top = torch.stack(out.scores, 1).topk(2).values
            margins = [t[0] - t[1] for i, a in enumerate(answers) for t in top[i, : len(a)].tolist()]
        return answers, margins

    def logits(self, ids, visual, answer):
        """Rows that predict the tokens of the answer of one prompt."""
        x = self.embed([ids + answer], visual)
        return self.lm(inputs_embeds=x).logits[0, x.shape[1] - len(answer) - 1: -1]


def until_end(ids):
    return ids[: ids.index(END) + 1] if END in ids else ids


def explain(decoder, ids, visual, ours, theirs, search):
    """In float64: what separates the two answers."""
    score = []
    for answer in (ours, theirs):
        logp = decoder.logits(ids, visual, answer).log_softmax(-1)
        score.append(float(logp[range(len(answer)), answer].sum()) / len(answer) ** search.get("length_penalty", 1.0))
    at = next(i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b)
    row = decoder.logits(ids, visual, ours)[at]
    return (f"first differs at token {at}: logits ours {float(row[ours[at]]):.7f}, theirs {float(row[theirs[at]]):.7f}; "
            f"score ours {score[0]:.9f}, theirs {score[1]:.9f}")


def decode(folder, kind, out, search):
    given, got = load_file(folder / f"prompts.{kind}.safetensors"), load_file(folder / f"{out}.safetensors")["out.ids"]
    decoder = Decoder(folder, torch.float32)

    def see(d, at):
        return None if kind == "text" else d.step.vision(given["in.features"][at].flatten(0, 1).to(d.lm.dtype))[2]

    lengths, theirs, margins = given["in.length"].tolist(), {}, []
    with torch.no_grad():
        for n in sorted(set(lengths)):
            at = [b for b in range(PROMPTS) if lengths[b] == n]
            answers, ahead = decoder.generate(given["in.ids"][at, :n].tolist(), see(decoder, at), search)
            theirs |= dict(zip(at, answers))
            margins += ahead
        ours = {b: [i for i in got[b].tolist() if i >= 0] for b in range(PROMPTS)}
        differ = [b for b in range(PROMPTS) if ours[b] != theirs[b]]
        wide = Decoder(folder, torch.float64) if differ else None
        for b in differ:
            ids = given["in.ids"][b, : lengths[b]].tolist()
            print(f"prompt {b}: {explain(wide, ids, see(wide, [b]), ours[b], theirs[b], search)}\n")
    ended = sum(a[-1] == END for a in theirs.values())
    seen = len({i for a in theirs.values() for i in a})
    table(["prompts", "search", "identical", "ended early", "tokens", "different ids", "smallest lead of a token"],
          [[kind, json.dumps(search), f"{PROMPTS - len(differ)} of {PROMPTS}", str(ended),
            str(sum(map(len, theirs.values()))), str(seen), f"{min(margins):.1e}" if margins else ""]])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["make", "fp32", "compare", "prompts", "decode"])
    parser.add_argument("rest", nargs="+")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tsv", type=pathlib.Path)
    parser.add_argument("--search", type=json.loads, default={"num_beams": 1})
    a = parser.parse_args()
    torch.set_num_threads(1 if a.command == "decode" else 2)
    if a.command in ("make", "prompts"):
        {"make": make, "prompts": prompts}[a.command](pathlib.Path(a.rest[0]), a.seed)
    elif a.command == "fp32":
        fp32(*map(pathlib.Path, a.rest))
    elif a.command == "compare":
        compare(*map(pathlib.Path, a.rest), a.tsv)
    else:
        decode(pathlib.Path(a.rest[0]), a.rest[1], a.rest[2], a.search)


main()
