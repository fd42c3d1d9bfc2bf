"""The training step of configs/stllm_gpt2.yaml as a PyTorch and transformers user writes it, on random weights.

Same model, shapes and work as `gifqa-bench step`: CLIP ViT-B/32 (frozen, or its states cached), bridge 768 -> 1408, the
Q-Former of BLIP-2 (32 queries a frame), projection, GPT-2; masked video modelling with zeroed tokens (teacher pass without
gradients, mse over the kept tokens), cross entropy on the labelled rows only, gradient norm, clipping, AdamW.
Tuned: SDPA attention, fused AdamW, gradients set to None, logits for labelled rows only, the teacher on visual tokens only.

    python stllm_step.py --batch 4 --frames 3 --text 32 --threads 2 --steps 5

prints one JSON line: seconds a step (the first one apart), peak resident memory, seconds from launch to the end of step 1.
"""
import time

LAUNCH = time.time()                    # imports count

import argparse
import json
import resource
import statistics

import torch
from torch import nn
from torch.nn import functional as F
from transformers.models.blip_2.configuration_blip_2 import Blip2QFormerConfig
from transformers.models.blip_2.modeling_blip_2 import Blip2QFormerModel
from transformers.models.clip.configuration_clip import CLIPVisionConfig
from transformers.models.clip.modeling_clip import CLIPVisionModel
from transformers.models.gpt2.configuration_gpt2 import GPT2Config
from transformers.models.gpt2.modeling_gpt2 import GPT2LMHeadModel

QUERIES, WIDTH, ENCODER, CLIP_WIDTH, CLIP_TOKENS, VOCAB = 32, 768, 1408, 768, 50, 50257


class StLlm(nn.Module):
    def __init__(self, live):
        super().__init__()
        self.clip = None
        if live:
            self.clip = CLIPVisionModel(CLIPVisionConfig(attn_implementation="sdpa")).eval().requires_grad_(False)
        self.bridge = nn.Sequential(nn.Linear(CLIP_WIDTH, ENCODER), nn.LayerNorm(ENCODER))
        self.query = nn.Parameter(0.02 * torch.randn(1, QUERIES, WIDTH))
        self.qformer = Blip2QFormerModel(Blip2QFormerConfig(
            encoder_hidden_size=ENCODER, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))
        self.proj = nn.Linear(WIDTH, WIDTH)
        self.gpt2 = GPT2LMHeadModel(GPT2Config(
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False, attn_implementation="sdpa"))

    def visual(self, vision, batch):
        """[batch*frames, ...] to [batch, frames*QUERIES, WIDTH]"""
        if self.clip is not None:
            with torch.no_grad():
                vision = self.clip(vision, output_hidden_states=True).hidden_states[-2]
        encoded = self.bridge(vision)
        queries = self.query.expand(len(encoded), -1, -1)
        states = self.qformer(query_embeds=queries, encoder_hidden_states=encoded).last_hidden_state
        return self.proj(states).reshape(batch, -1, WIDTH)

    def forward(self, vision, ids, rows, labels, keep):
        """rows [R]: positions of the states that predict labels [R]; keep [batch, visual tokens], None: not masked"""
        visual = self.visual(vision, len(ids))
        tokens = self.gpt2.transformer.wte(ids)
        if keep is None:
            states = self.gpt2.transformer(inputs_embeds=torch.cat([visual, tokens], 1)).last_hidden_state
        else:
            with torch.no_grad():
                teacher = self.gpt2.transformer(inputs_embeds=visual).last_hidden_state
            student = torch.cat([visual * keep[..., None], tokens], 1)
            states = self.gpt2.transformer(inputs_embeds=student).last_hidden_state
        loss = lm = F.cross_entropy(self.gpt2.lm_head(states.flatten(0, 1)[rows]), labels)
        if keep is not None:
            seen = visual.shape[1]
            loss = lm + ((states[:, :seen] - teacher).square().mean(-1) * keep).sum() / keep.sum()
        return loss, lm


def batch_of(o):
    """A seeded batch: vision, ids, rows, labels, keep."""
    frames, seen = o.batch * o.frames, o.frames * QUERIES
    vision = torch.randn(frames, 3, 224, 224) if o.vision == "live" else torch.randn(frames, CLIP_TOKENS, CLIP_WIDTH)
    ids = torch.randint(0, VOCAB, (o.batch, o.text))
    last = torch.arange(o.text - o.labelled, o.text)
    rows = (torch.arange(o.batch)[:, None] * (seen + o.text) + seen + last - 1).flatten()
    keep = None if o.unmasked else (torch.rand(o.batch, seen) >= 0.5).float()
    return vision, ids, rows, ids[:, last].flatten(), keep


def options():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in dict(batch=4, frames=3, text=32, labelled=6, threads=2, steps=5).items():
        a.add_argument(f"--{name}", type=int, default=value)
    a.add_argument("--mode", choices=["eager", "compile"], default="eager")
    a.add_argument("--vision", choices=["cached", "live"], default="cached")
    a.add_argument("--unmasked", action="store_true")
    return a.parse_args()


def main():
    o = options()
    torch.set_num_threads(o.threads)
    torch.manual_seed(1)
    net = StLlm(o.vision == "live")
    trained = [p for p in net.parameters() if p.requires_grad]
    adamw = torch.optim.AdamW(trained, lr=5e-5, weight_decay=0.01, fused=True)
    forward = torch.compile(net) if o.mode == "compile" else net
    batch = batch_of(o)
    seconds, losses = [], []
    for step in range(1 + o.steps):
        start = time.time()
        loss, lm = forward(*batch)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        adamw.step()
        adamw.zero_grad(set_to_none=True)
        losses.append(loss.item())
        seconds.append(time.time() - start)
        if step == 0:
            done = time.time() - LAUNCH
    print(json.dumps(dict(
        vars(o), torch=torch.__version__, trained=sum(p.numel() for p in trained), min_s=min(seconds[1:]),
        median_s=statistics.median(seconds[1:]), max_s=max(seconds[1:]), first_step_s=seconds[0], first_step_done_s=done,
        peak_rss_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, first_loss=losses[0], loss=losses[-1])))


main()
