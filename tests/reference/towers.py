"""CLIP and GPT-2 alone: every hidden state, logits, loss, gradients, and generated ids."""
import numpy as np
import torch
from transformers import CLIPConfig, CLIPModel, GPT2Config, GPT2LMHeadModel

from common import fill, rng, save, write_json

MEAN = [0.48145466, 0.4578275, 0.40821073]
STD = [0.26862954, 0.26130258, 0.27577711]

# ---- CLIP --------------------------------------------------------------------------------------------

VISION = dict(hidden_size=16, intermediate_size=40, num_hidden_layers=3, num_attention_heads=2, image_size=12, patch_size=4,
              hidden_act="quick_gelu")
TEXT = dict(hidden_size=24, intermediate_size=56, num_hidden_layers=2, num_attention_heads=3, vocab_size=50,
            max_position_embeddings=9, hidden_act="quick_gelu", bos_token_id=48, eos_token_id=2)
CLIP_IDS = [
    [48, 7, 12, 49, 49, 49, 49, 49, 49],        # padded with the end token: the first one is pooled
    [48, 3, 49, 0, 0, 0, 0, 0, 0],              # padded with 0
    [48, 1, 2, 3, 4, 5, 6, 7, 49],              # full length
    [48, 49, 0, 0, 0, 0, 0, 0, 0],              # empty text
]


def clip():
    config = CLIPConfig(vision_config=VISION, text_config=TEXT, projection_dim=12, attn_implementation="sdpa")
    model = fill(CLIPModel(config))
    with torch.no_grad():
        model.logit_scale.copy_(torch.tensor(np.float32(3.3)))
    frames = rng("clip frames").integers(0, 256, (3, 12, 12, 3), dtype=np.uint8)
    frames[2, :, :, 1] = 255
    pixels = (torch.tensor(frames).double() / 255 - torch.tensor(MEAN).double()) / torch.tensor(STD).double()
    pixels = pixels.permute(0, 3, 1, 2).contiguous()
    ids = torch.tensor(CLIP_IDS)
    with torch.no_grad():
        vision = model.vision_model(pixel_values=pixels, output_hidden_states=True)
        text = model.text_model(input_ids=ids, output_hidden_states=True)
        both = model(input_ids=ids, pixel_values=pixels)
        image_raw, text_raw = model.visual_projection(vision.pooler_output), model.text_projection(text.pooler_output)
    tensors = {k: v.float() for k, v in model.state_dict().items() if not k.endswith("position_ids")}
    tensors |= {"in.frames": frames, "in.pixels": pixels, "in.ids": ids}
    for i, h in enumerate(vision.hidden_states):
        tensors[f"out.vision.hidden.{i}"] = h
    for i, h in enumerate(text.hidden_states):
        tensors[f"out.text.hidden.{i}"] = h
    tensors |= {
        "out.vision.pooled": vision.pooler_output, "out.vision.projected": image_raw, "out.image_embeds": both.image_embeds,
        "out.text.pooled": text.pooler_output, "out.text.projected": text_raw, "out.text_embeds": both.text_embeds,
        "out.logits_per_text": both.logits_per_text,
    }
    save("clip_tiny", tensors, {
        "vision": VISION, "text": TEXT, "projection_dim": 12, "image_mean": MEAN, "image_std": STD, "layer_norm_eps": 1e-5,
        "pooling": "first occurrence of the largest id",
    })


# ---- GPT-2 -------------------------------------------------------------------------------------------

GPT2 = dict(vocab_size=37, n_positions=24, n_embd=16, n_layer=2, n_head=2, activation_function="gelu_new",
            bos_token_id=36, eos_token_id=36)


def gpt2_model():
    model = GPT2LMHeadModel(GPT2Config(**GPT2, attn_implementation="sdpa", resid_pdrop=0, embd_pdrop=0, attn_pdrop=0))
    fill(model.transformer)
    return model.double().eval()


def gpt2():
    model = gpt2_model()
    ids = torch.tensor(rng("gpt2 ids").integers(0, 37, (3, 11)))
    lengths = [11, 7, 2]
    targets = torch.full(ids.shape, -1)
    for row, n in enumerate(lengths):
        targets[row, : n - 1] = ids[row, 1:n]
    out = model(input_ids=ids, output_hidden_states=True)
    kept = targets >= 0
    loss = torch.nn.functional.cross_entropy(out.logits[kept], targets[kept])
    loss.backward()
    tensors = {k: p.float() for k, p in model.transformer.named_parameters()}
    tensors |= {"in.ids": ids, "in.targets": targets, "out.logits": out.logits, "out.loss": loss.reshape(1)}
    for i, h in enumerate(out.hidden_states):
        tensors[f"out.hidden.{i}"] = h
    for k, p in model.transformer.named_parameters():
        tensors[f"grad.{k}"] = p.grad
    save("gpt2_tiny", tensors, GPT2 | {"layer_norm_epsilon": 1e-5, "lengths": lengths})


PROMPTS = [[5, 9, 30], [0, 1], [20, 20, 20, 20, 3], [11], [33, 2, 17, 8], [35, 28]]
SEARCHES = [dict(num_beams=1), dict(num_beams=2), dict(num_beams=3), dict(num_beams=3, length_penalty=0.0),
            dict(num_beams=3, length_penalty=2.0), dict(num_beams=2, early_stopping=True),
            dict(num_beams=3, length_penalty=-1.0), dict(num_beams=1, min_new_tokens=5),
            dict(num_beams=3, min_new_tokens=5)]


def generate_once(model, prompt, search, new_tokens):
    ids = torch.tensor([prompt])
    out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=new_tokens, do_sample=False, pad_token_id=36,
                         return_dict_in_generate=True, output_scores=True, **search)
    generated = out.sequences[0, len(prompt):].tolist()
    score = float(out.sequences_scores[0]) if search["num_beams"] > 1 else None
    return generated, score


def gpt2_generate():
    """The end token is made likely by hand, else random weights would never say it."""
    wide, narrow = gpt2_model(), gpt2_model().float()
    for m in (wide, narrow):
        with torch.no_grad():
            m.transformer.ln_f.bias += 1.4 * m.transformer.wte.weight[36] / m.transformer.wte.weight[36].norm()
    cases = []
    for prompt in PROMPTS:
        for search in SEARCHES:
            ids, score = generate_once(wide, prompt, search, 9)
            same, _ = generate_once(narrow, prompt, search, 9)
            assert ids == same, "float32 decodes another text: choose another prompt"
            cases.append({"prompt": prompt, "max_new_tokens": 9, **search, "generated": ids, "score": score})
    ended = sum(36 in c["generated"] for c in cases)
    differ = len({(tuple(c["prompt"]), tuple(c["generated"])) for c in cases})
    assert 10 <= ended < len(cases) and differ > len(PROMPTS) + 4, (ended, differ)
    write_json("gpt2_tiny_generate", {
        "weights": "gpt2_tiny.safetensors", "ln_f.bias": wide.transformer.ln_f.bias.float().tolist(), "eos": 36,
        "length": "generated tokens, the end token included", "cases": cases,
    })
    return ended, differ
