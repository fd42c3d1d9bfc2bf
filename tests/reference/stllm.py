"""The whole ST-LLM training step: cached CLIP features -> bridge -> Q-Former -> projection -> GPT-2, both losses.

Q-Former and GPT-2 are the Hugging Face classes in float64. Every sample runs alone, without padding, and each mask
mode is built as its definition says (removed tokens are really removed), so nothing here shares the tricks of
an implementation that pads, masks by length or fuses the two passes.
"""
import dataclasses

import torch
from torch import nn
from transformers import Blip2QFormerConfig, Blip2QFormerModel, GPT2Config, GPT2Model

from common import fill, random_weight, rng, save


@dataclasses.dataclass(frozen=True)
class Sizes:
    frames: int = 2
    queries: int = 4
    clip_width: int = 12
    bridge_width: int = 20
    qformer_width: int = 16
    qformer_layers: int = 3
    qformer_heads: int = 2
    qformer_ffn: int = 28
    width: int = 24
    layers: int = 2
    heads: int = 3
    vocab: int = 37
    positions: int = 22

    @property
    def visual(self):
        return self.frames * self.queries


TINY = Sizes()
B, TOKENS, N, END = 3, 5, TINY.visual, TINY.vocab - 1
QUESTIONS = [[4, 8, 15, 16], [23, 1], [7, 7, 30, 2, 19]]
ANSWERS = [[3, 12, END], [28, END], [9, 5, 31, 0, END]]
TEXTS = list(zip(QUESTIONS, ANSWERS))

KEEP_UNEVEN = [[1, 0, 1, 1, 0, 0, 1, 0], [1, 1, 1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 1, 0, 0]]
KEEP_EXACT = [[0, 1, 1, 0, 1, 1, 0, 1], [1, 1, 0, 0, 0, 1, 1, 1], [1, 0, 1, 1, 1, 1, 0, 0]]

MVM = dict(mode="zero", pos="keep", zero_attn="visible", loss="mse", denom="actual", predictor="none", weight=2.0)
MODES = {
    "none": dict(bridge="adapter", mvm=None, keep=None),
    "zero_mse": dict(bridge="adapter", mvm=MVM, keep=KEEP_UNEVEN),
    "zero_sse_expected": dict(bridge="adapter", mvm=MVM | dict(loss="sse", denom="expected", rate=0.45, weight=0.25),
                              keep=KEEP_UNEVEN),
    "hidden_cos": dict(bridge="adapter", mvm=MVM | dict(zero_attn="hidden", loss="cos"), keep=KEEP_EXACT,
                       same_as=[MVM | dict(mode="drop", loss="cos")]),
    "drop_compact_cos": dict(bridge="adapter",
                             mvm=MVM | dict(mode="drop", pos="compact", loss="cos", predictor="linear_ln", weight=1.5),
                             keep=KEEP_EXACT),
    "reinit_kv": dict(bridge="reinit_kv", mvm=MVM | dict(loss="cos"), keep=KEEP_UNEVEN),
}


class Step(nn.Module):
    def __init__(self, bridge, sizes=TINY):
        super().__init__()
        self.sizes = z = sizes
        encoder_width = z.bridge_width if bridge == "adapter" else z.clip_width
        if bridge == "adapter":
            self.bridge = nn.Linear(z.clip_width, z.bridge_width)
        self.bridge_ln = nn.LayerNorm(encoder_width, eps=1e-6)
        self.query_tokens = nn.Parameter(torch.zeros(1, z.queries, z.qformer_width))
        self.qformer = Blip2QFormerModel(Blip2QFormerConfig(
            hidden_size=z.qformer_width, num_hidden_layers=z.qformer_layers, num_attention_heads=z.qformer_heads,
            intermediate_size=z.qformer_ffn, hidden_act="gelu", hidden_dropout_prob=0, attention_probs_dropout_prob=0,
            layer_norm_eps=1e-12, cross_attention_frequency=2, encoder_hidden_size=encoder_width,
            attn_implementation="sdpa"))
        self.proj = nn.Linear(z.qformer_width, z.width)
        self.gpt2 = GPT2Model(GPT2Config(
            vocab_size=z.vocab, n_positions=z.positions, n_embd=z.width, n_layer=z.layers, n_head=z.heads, resid_pdrop=0,
            embd_pdrop=0, attn_pdrop=0, bos_token_id=z.vocab - 1, eos_token_id=z.vocab - 1, attn_implementation="sdpa"))
        self.mvm_predictor = nn.Linear(z.width, z.width)
        self.mvm_predictor_ln = nn.LayerNorm(z.width)

    def vision(self, features):
        x = self.bridge(features) if hasattr(self, "bridge") else features
        encoded = self.bridge_ln(x)
        queries = self.query_tokens.expand(features.shape[0], -1, -1)
        states = self.qformer(query_embeds=queries, encoder_hidden_states=encoded).last_hidden_state
        visual = self.proj(states).reshape(-1, self.sizes.visual, self.sizes.width)      # all queries of frame 0 first
        return encoded, states, visual

    def lm(self, embeds, positions, hidden=()):
        """One sample [S, D]; nobody but themselves attends to the positions `hidden`."""
        s = embeds.shape[0]
        allowed = torch.ones(s, s, dtype=torch.bool).tril()
        allowed[:, list(hidden)] = False
        allowed.fill_diagonal_(True)
        return self.gpt2(inputs_embeds=embeds[None], position_ids=torch.tensor([positions]),
                         attention_mask=allowed[None, None], use_cache=False).last_hidden_state[0]


def published_name(name):
    """GPT-2 tensors carry no prefix in the published files."""
    return name.removeprefix("gpt2.")


def make_step(bridge):
    step = Step(bridge).double().eval()
    with torch.no_grad():
        for name, p in step.named_parameters():
            seed_name = published_name(name)
            if bridge == "reinit_kv" and name.startswith(("bridge_ln", "qformer")) and p.shape[-1] == TINY.clip_width:
                seed_name = "reinit_kv " + seed_name
            p.copy_(random_weight(seed_name, tuple(p.shape)))
    return step


def student_sample(step, visual, b, ids, mode, keep):
    """States after ln_f of the visual tokens that stayed, their indices, and of the text."""
    text, n = step.gpt2.wte(torch.tensor(ids)), step.sizes.visual
    kept = [j for j in range(n) if keep is None or keep[b][j]]
    text_at = list(range(n, n + len(text)))
    if keep is None:
        h = step.lm(torch.cat([visual[b], text]), list(range(n)) + text_at)
    elif mode["mode"] == "zero":
        flags = torch.tensor(keep[b]).to(visual.dtype)[:, None]
        hidden = [j for j in range(n) if not keep[b][j]] if mode["zero_attn"] == "hidden" else []
        h = step.lm(torch.cat([visual[b] * flags, text]), list(range(n)) + text_at, hidden)
    else:
        positions = kept + text_at if mode["pos"] == "keep" else list(range(len(kept) + len(text)))
        h = step.lm(torch.cat([visual[b][kept], text]), positions)
        return h[: len(kept)], kept, h[len(kept):]
    return h[:n][kept], kept, h[n:]


def mvm_term(step, mode, states, teacher):
    """Sum over the kept tokens of one sample, before the denominator."""
    if mode["predictor"] == "linear_ln":
        states = step.mvm_predictor_ln(step.mvm_predictor(states))
    if mode["loss"] == "cos":
        p = states / states.norm(dim=-1, keepdim=True).clamp_min(1e-8)
        q = teacher / teacher.norm(dim=-1, keepdim=True).clamp_min(1e-8)
        return (2 - 2 * (p * q).sum(-1)).sum()
    squares = (states - teacher).square().sum()
    return squares / step.sizes.width if mode["loss"] == "mse" else squares


def run(step, features, texts, mode, keep):
    """texts: one (question ids, answer ids with the end token) a sample."""
    samples, n, width = len(texts), step.sizes.visual, step.sizes.width
    encoded, states, visual = step.vision(features)
    longest = max(len(q) + len(a) for q, a in texts)
    out = {"bridge": encoded, "qformer": states, "visual": visual,
           "student_visual": visual.new_zeros(samples, n, width), "student_text": visual.new_zeros(samples, longest, width)}
    if keep is not None:
        out["teacher"] = visual.new_zeros(samples, n, width)
    nll, labels, mvm, kept_count = 0, 0, visual.new_zeros(()), 0
    for b, (question, answer) in enumerate(texts):
        seen, kept, text = student_sample(step, visual, b, question + answer, mode, keep)
        out["student_visual"][b, kept] = seen.detach()
        out["student_text"][b, : len(text)] = text.detach()
        first = len(question) - 1                            # the last prompt token predicts the first answer token
        logits = text[first: first + len(answer)] @ step.gpt2.wte.weight.T
        nll = nll + nn.functional.cross_entropy(logits, torch.tensor(answer), reduction="sum")
        labels += len(answer)
        if keep is not None:
            with torch.no_grad():
                teacher = step.lm(visual[b].detach(), list(range(n)))
            out["teacher"][b] = teacher
            mvm = mvm + mvm_term(step, mode, seen, teacher[kept])
            kept_count += len(kept)
    loss_lm, total = nll / labels, nll / labels
    if keep is not None:
        m = kept_count if mode["denom"] == "actual" else (1 - mode["rate"]) * n * samples
        mvm = mvm / m
        total = loss_lm + mode["weight"] * mvm
    out |= {"loss_lm": loss_lm, "loss_mvm": mvm, "loss_total": total}
    return out


def gradients(step, features, mode, keep, texts=TEXTS):
    step.zero_grad()
    features = features.clone().requires_grad_(True)
    out = run(step, features, texts, mode, keep)
    out["loss_total"].backward()
    grads = {published_name(n): p.grad.clone() for n, p in step.named_parameters() if p.grad is not None}
    return out, grads, features.grad


def inputs():
    longest = max(len(q) + len(a) for q, a in zip(QUESTIONS, ANSWERS))
    text = [q + a + [END] * (longest - len(q) - len(a)) for q, a in zip(QUESTIONS, ANSWERS)]
    features = torch.from_numpy(rng("stllm features").standard_normal((B * TINY.frames, TOKENS, TINY.clip_width))).float()
    return features, {"in.features": features, "in.text_ids": torch.tensor(text),
                      "in.question_len": torch.tensor([len(q) for q in QUESTIONS]),
                      "in.answer_len": torch.tensor([len(a) for a in ANSWERS])}


CONFIG = dict(batch=B, frames=TINY.frames, tokens=TOKENS, clip_width=TINY.clip_width, bridge_width=TINY.bridge_width,
              bridge_ln_eps=1e-6, queries=TINY.queries, visual_tokens=N, end=END,
              qformer=dict(width=TINY.qformer_width, layers=TINY.qformer_layers, heads=TINY.qformer_heads,
                           ffn=TINY.qformer_ffn, cross_every=2, eps=1e-12),
              gpt2=dict(width=TINY.width, layers=TINY.layers, heads=TINY.heads, vocab=TINY.vocab,
                        positions=TINY.positions, eps=1e-5),
              predictor_ln_eps=1e-5)


def write_weights():
    step = make_step("adapter")
    save("stllm_tiny_weights", {published_name(n): p.detach().float() for n, p in step.named_parameters()}, CONFIG)
    other = make_step("reinit_kv")
    base = dict(step.named_parameters())
    own = {published_name(n): p.detach().float() for n, p in other.named_parameters()
           if n not in base or base[n].shape != p.shape}
    save("stllm_tiny_reinit_kv_weights", own, CONFIG | dict(replaces="these tensors; there is no bridge.weight, bridge.bias"))


def check_same(reference, mode, keep):
    """Another way to write the same step must give the same numbers."""
    _, want, want_features = reference
    out, got, got_features = gradients(make_step("adapter"), inputs()[0].double(), mode, keep)
    assert got.keys() == want.keys()
    for name in want:
        torch.testing.assert_close(got[name], want[name], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(got_features, want_features, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(out["loss_total"], reference[0]["loss_total"], rtol=1e-12, atol=0)


def float32_error(bridge, mode, keep, wide):
    """Largest error of the same step in float32 PyTorch: of the losses, and of any gradient against its own scale."""
    out, got, _ = gradients(make_step(bridge).float(), inputs()[0], mode, keep)
    top = max(g.abs().max() for g in wide[1].values())
    worst = max(float((got[n] - g).abs().max() / max(g.abs().max(), 1e-2 * top)) for n, g in wide[1].items())
    loss, want = out["loss_total"].item(), wide[0]["loss_total"].item()
    return {"loss": abs(loss - want) / want, "gradient": worst}


def write_modes():
    features, common = inputs()
    for name, spec in MODES.items():
        mode, keep = spec["mvm"], spec["keep"]
        out, grads, feature_grad = reference = gradients(make_step(spec["bridge"]), features.double(), mode, keep)
        for other in spec.get("same_as", []):
            check_same(reference, other, keep)
        tensors = dict(common)
        if keep is not None:
            tensors["in.keep"] = torch.tensor(keep, dtype=torch.uint8)
        for key, value in out.items():
            tensors[f"out.{key}"] = value.detach().reshape(1) if value.dim() == 0 else value
        tensors |= {f"grad.{n}": g for n, g in grads.items()} | {"grad.features": feature_grad}
        save(f"stllm_tiny_{name}", tensors, {
            "bridge": spec["bridge"], "mvm": mode, "same_as": spec.get("same_as", []),
            "losses": {k: out[f"loss_{k}"].item() for k in ("lm", "mvm", "total")},
            "float32_error": float32_error(spec["bridge"], mode, keep, reference), "config": CONFIG,
        })
        print(name, {k: round(out[f"loss_{k}"].item(), 6) for k in ("lm", "mvm", "total")}, len(grads), "gradients")
