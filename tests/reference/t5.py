"""T5 of both versions: encoder states, logits, loss, every gradient, and generated ids.

Writes t5_tiny_v10 (ReLU, tied head), t5_tiny_v11 (gated, head of its own) and t5_tiny_generate.json.
Run: python t5.py (versions: README.md)."""
import numpy as np
import torch
from transformers import T5Config, T5ForConditionalGeneration
from transformers.models.t5 import modeling_t5

from common import fill, rng, save, write_json

V10 = dict(vocab_size=37, d_model=16, d_kv=6, num_heads=3, d_ff=40, num_layers=2, num_decoder_layers=3,
           relative_attention_num_buckets=8, relative_attention_max_distance=12, feed_forward_proj="relu",
           tie_word_embeddings=True)
V11 = dict(vocab_size=37, d_model=24, d_kv=8, num_heads=2, d_ff=20, num_layers=2, num_decoder_layers=2,
           relative_attention_num_buckets=32, relative_attention_max_distance=128, feed_forward_proj="gated-gelu",
           tie_word_embeddings=False)
SOURCE_LENGTHS, TARGET_LENGTHS = [13, 7, 1], [9, 4, 1]


def norm(self, x):
    """T5LayerNorm without its detour over float32."""
    return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))


modeling_t5.T5LayerNorm.forward = norm


def model_of(config, name):
    model = T5ForConditionalGeneration(T5Config(**config, dropout_rate=0.0, decoder_start_token_id=0, pad_token_id=0,
                                                eos_token_id=1, attn_implementation="sdpa"))
    if not config["tie_word_embeddings"]:          # transformers 5 ties them whatever the configuration says
        model.lm_head.weight = torch.nn.Parameter(torch.empty_like(model.shared.weight))
    fill(model, name + ".")
    with torch.no_grad():                          # queries small, as T5 has them: nothing divides the scores
        for key, p in model.named_parameters():
            if key.endswith(".q.weight"):
                p.mul_(config["d_kv"] ** -0.5)
                p.copy_(p.float())
            if key == "shared.weight" or key == "lm_head.weight":
                p.copy_(torch.from_numpy(rng(name + key).standard_normal(tuple(p.shape)).astype(np.float32)))
    return model


def published(model):
    """One name a tensor, as save_pretrained() writes them."""
    return {k: p for k, p in model.named_parameters() if "embed_tokens" not in k}


def step(name, config):
    model = model_of(config, name)
    source = torch.tensor(rng(name + " source").integers(2, 37, (3, 13)))
    labels = torch.tensor(rng(name + " labels").integers(2, 37, (3, 9)))
    mask = torch.zeros(3, 13, dtype=torch.long)
    for b, (s, t) in enumerate(zip(SOURCE_LENGTHS, TARGET_LENGTHS)):
        mask[b, :s] = 1
        source[b, s:] = 0
        source[b, s - 1] = 1
        labels[b, t - 1] = 1
        labels[b, t:] = -100
    out = model(input_ids=source, attention_mask=mask, labels=labels)
    out.loss.backward()
    tensors = {k: p.float() for k, p in published(model).items()}
    tensors |= {"in.source": source, "in.labels": labels, "in.lengths": torch.tensor(SOURCE_LENGTHS),
                "out.encoder": out.encoder_last_hidden_state, "out.logits": out.logits, "out.loss": out.loss.reshape(1)}
    for k, p in published(model).items():
        tensors[f"grad.{k}"] = p.grad
    save(name, tensors, config | {"layer_norm_epsilon": 1e-6, "source_lengths": SOURCE_LENGTHS,
                                  "target_lengths": TARGET_LENGTHS})


SOURCES = [[5, 9, 30, 1], [2, 1], [20, 20, 20, 20, 3, 7, 8, 21, 30, 1], [11, 36, 14, 15, 1], [33, 2, 17, 8, 1], [1]]
END_ROW_TIMES = 2.0                                # exact in every precision
SEARCHES = [dict(num_beams=1), dict(num_beams=2), dict(num_beams=4), dict(num_beams=3, length_penalty=0.0),
            dict(num_beams=3, length_penalty=2.0), dict(num_beams=2, early_stopping=True),
            dict(num_beams=1, no_repeat_ngram_size=2), dict(num_beams=4, no_repeat_ngram_size=2),
            dict(num_beams=5, no_repeat_ngram_size=3, length_penalty=1.5, early_stopping=True),
            dict(num_beams=1, min_new_tokens=5), dict(num_beams=3, min_new_tokens=5)]


def generate_once(model, source, search):
    ids = torch.tensor([source])
    out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=11, do_sample=False, use_cache=False,
                         return_dict_in_generate=True, output_scores=True, **search)
    score = float(out.sequences_scores[0]) if search["num_beams"] > 1 else None
    ids = out.sequences[0, 1:].tolist()
    while len(ids) > 1 and ids[-1] == 0 and 1 in ids:                # what a shorter best beam is padded with
        ids.pop()
    return ids, score


def push_end(model):
    """The end token is made likely by hand, else random weights would seldom say it."""
    with torch.no_grad():
        model.lm_head.weight[1] *= END_ROW_TIMES
    return model


def generate():
    cases, ended, kinds = [], 0, set()
    for name, config in (("t5_tiny_v10", V10), ("t5_tiny_v11", V11)):
        wide, narrow = push_end(model_of(config, name)), push_end(model_of(config, name)).float()
        for source in SOURCES:
            for search in SEARCHES:
                ids, score = generate_once(wide, source, search)
                same, _ = generate_once(narrow, source, search)
                if ids != same:
                    print("left out: float32 decodes another text", name, source, search)
                    continue
                cases.append({"model": name, "source": source, "max_new_tokens": 11, **search, "generated": ids,
                              "score": score})
                ended += 1 in ids
                kinds.add((name, tuple(source), tuple(ids)))
    print("generate: %d cases, %d ended, %d different" % (len(cases), ended, len(kinds)))
    assert ended >= 20 and len(cases) - ended >= 20 and len(cases) >= 120 and len(kinds) > 30
    write_json("t5_tiny_generate", {"eos": 1, "start": 0, "end_row_times": END_ROW_TIMES, "cases": cases})


if __name__ == "__main__":
    step("t5_tiny_v10", V10)
    step("t5_tiny_v11", V11)
    generate()
