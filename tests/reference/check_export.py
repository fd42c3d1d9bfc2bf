"""Loads an exported model with transformers and compares it with numbers that gifqa wrote.

    python check_export.py EXPORT_DIR NUMBERS.json [--tolerance 1e-4]

EXPORT_DIR has gifqa.json and one folder a tower (clip/, qformer/, gpt2/), each with config.json and model.safetensors;
bridge.*, bridge_ln.*, proj.*, query_tokens and mvm_predictor* may lie in any *.safetensors below EXPORT_DIR. A model
without a bridge has no bridge tensors; a GPT-2 without biases is compared as one whose biases are zero.
NUMBERS.json has any of these objects; arrays are nested lists:

    t5       {"ids": [B,S], "target_ids": [B,T], "logits": [B,T,V]}
    gpt2     {"ids": [B,S], "logits": [B,S,V]}
    clip     {"pixels": [n,3,H,W], "image_embeds": [n,P], "ids": [m,L], "text_embeds": [m,P]}   embeds of unit length
    qformer  {"encoder": [n,T,E], "states": [n,Q,W]}
    stllm    {"features": [k,T,W], "ids": [S], "logits": [S,V]}   one sample: k frames, the rows of the text's tokens

Prints one line an object; ends with 1 when one is off by more than the tolerance (of the largest value) or none is there.
"""
import argparse
import json
import pathlib
import sys

import torch
from safetensors.torch import load_file
from torch.nn import functional as F
from transformers import Blip2QFormerConfig, Blip2QFormerModel, CLIPModel, GPT2LMHeadModel, T5ForConditionalGeneration


def tower(model_class, path, missing_ok=()):
    model, info = model_class.from_pretrained(path, output_loading_info=True, dtype=torch.float32)
    missing = [k for k in info["missing_keys"] if not k.startswith(tuple(missing_ok))]
    zero = [k for k in missing if k.endswith(".bias")]  # trained without biases: all of them are absent
    biases = sum(k.endswith(".bias") for k in model.state_dict())
    if len(zero) != len(missing) or len(zero) not in (0, biases) or info["unexpected_keys"]:
        sys.exit(f"{path}: missing {missing}, unexpected {sorted(info['unexpected_keys'])}")
    for name in zero:
        model.get_parameter(name).data.zero_()
    return model.double().eval()


class Export:
    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.about = json.loads((self.root / "gifqa.json").read_text())
        self.loose = {}
        for path in sorted(self.root.rglob("*.safetensors")):
            self.loose |= {k: v.double() for k, v in load_file(path).items()}

    def gpt2(self):
        return tower(GPT2LMHeadModel, self.root / "gpt2", missing_ok=["lm_head"])

    def t5(self):
        return tower(T5ForConditionalGeneration, self.root / "t5")

    def clip(self):
        return tower(CLIPModel, self.root / "clip")

    def qformer(self):
        config = Blip2QFormerConfig.from_pretrained(self.root / "qformer")
        model = Blip2QFormerModel(config)
        state = {k.removeprefix("qformer."): v for k, v in self.loose.items() if k.startswith("qformer.")}
        model.load_state_dict(state, strict=True)
        return model.double().eval()

    def encode(self, features):
        if "bridge.weight" in self.loose:
            features = F.linear(features, self.loose["bridge.weight"], self.loose["bridge.bias"])
        if "bridge_ln.weight" not in self.loose:
            return features
        w, b = self.loose["bridge_ln.weight"], self.loose["bridge_ln.bias"]
        return F.layer_norm(features, w.shape, w, b, eps=1e-6)

    def query(self, encoder):
        queries = self.loose["query_tokens"].expand(encoder.shape[0], -1, -1)
        return self.qformer()(query_embeds=queries, encoder_hidden_states=encoder).last_hidden_state

    def visual(self, features):
        states = self.query(self.encode(features))
        return F.linear(states, self.loose["proj.weight"], self.loose["proj.bias"]).flatten(0, 1)


def numbers(case, key):
    return torch.tensor(case[key], dtype=torch.long if key.endswith("ids") else torch.float64)


def check_gpt2(export, case):
    return {"logits": export.gpt2()(input_ids=numbers(case, "ids")).logits}


def check_t5(export, case):
    return {"logits": export.t5()(input_ids=numbers(case, "ids"), decoder_input_ids=numbers(case, "target_ids")).logits}


def check_clip(export, case):
    model, out = export.clip(), {}
    if "pixels" in case:
        pooled = model.vision_model(pixel_values=numbers(case, "pixels")).pooler_output
        out["image_embeds"] = F.normalize(model.visual_projection(pooled), dim=-1)
    if "ids" in case:
        pooled = model.text_model(input_ids=numbers(case, "ids")).pooler_output
        out["text_embeds"] = F.normalize(model.text_projection(pooled), dim=-1)
    return out


def check_qformer(export, case):
    return {"states": export.query(numbers(case, "encoder"))}


def check_stllm(export, case):
    gpt2, visual = export.gpt2(), export.visual(numbers(case, "features"))
    text = gpt2.transformer.wte(numbers(case, "ids"))
    logits = gpt2(inputs_embeds=torch.cat([visual, text])[None]).logits[0]
    return {"logits": logits[len(visual):]}


CHECKS = {"gpt2": check_gpt2, "clip": check_clip, "qformer": check_qformer, "stllm": check_stllm, "t5": check_t5}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export")
    parser.add_argument("numbers", type=pathlib.Path)
    parser.add_argument("--tolerance", type=float, default=1e-4)
    args = parser.parse_args()
    export, given, compared, worst = Export(args.export), json.loads(args.numbers.read_text()), 0, 0.0
    for name, check in CHECKS.items():
        if name not in given:
            continue
        with torch.no_grad():
            expected = check(export, given[name])
        for key, want in expected.items():
            got = numbers(given[name], key)
            if got.shape != want.shape:
                sys.exit(f"{name} {key}: shape {list(got.shape)}, transformers gives {list(want.shape)}")
            error = float((got - want).abs().max() / want.abs().max())
            print(f"{name} {key} {list(got.shape)}: largest error {error:.2e}")
            worst, compared = max(worst, error), compared + 1
    if not compared:
        sys.exit(f"{args.numbers}: none of {', '.join(CHECKS)}")
    sys.exit(0 if worst <= args.tolerance else 1)


main()
