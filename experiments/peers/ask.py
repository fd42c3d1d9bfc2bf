"""A question to a GIF as a Python user answers it: Pillow, CLIP ViT-B/32, FAISS, Q-Former, GPT-2, on random weights.

Same sizes and phases as `gifqa-bench ask`: every frame through CLIP, groups of three frames compared with the question's
embedding, the three nearest through bridge and Q-Former, greedy decoding with a cache.

    python ask.py cat.gif --tokens 16 --threads 2

prints one JSON line: the seconds of each phase and the peak resident memory.
"""
import time

LAUNCH = time.time()

import argparse
import json
import resource

import faiss
import torch
from PIL import Image, ImageSequence
from torch import nn
from transformers.models.blip_2.configuration_blip_2 import Blip2QFormerConfig
from transformers.models.blip_2.modeling_blip_2 import Blip2QFormerModel
from transformers.models.clip.configuration_clip import CLIPConfig
from transformers.models.clip.modeling_clip import CLIPModel
from transformers.models.gpt2.configuration_gpt2 import GPT2Config
from transformers.models.gpt2.modeling_gpt2 import GPT2LMHeadModel

try:
    from transformers import CLIPImageProcessorPil as CLIPImageProcessor
except ImportError:
    from transformers import CLIPImageProcessor

GROUP, CHOSEN, FRAMES_AT_ONCE = 3, 3, 32


class Phases:
    """Seconds between calls, by name."""

    def __init__(self, start):
        self.seconds, self.last = {}, start

    def __call__(self, name):
        now = time.time()
        self.seconds[name] = self.seconds.get(name, 0) + now - self.last
        self.last = now


def models():
    clip = CLIPModel(CLIPConfig()).eval()
    bridge = nn.Sequential(nn.Linear(768, 1408), nn.LayerNorm(1408))
    qformer = Blip2QFormerModel(Blip2QFormerConfig()).eval()
    return clip, bridge, qformer, 0.02 * torch.randn(1, 32, 768), nn.Linear(768, 768), GPT2LMHeadModel(GPT2Config()).eval()


def embed(clip, pixels):
    """Frames to unit embeddings and the states that the Q-Former reads, a few frames at a time."""
    parts, states = [], []
    for some in pixels.split(FRAMES_AT_ONCE):
        out = clip.vision_model(some, output_hidden_states=True)
        parts.append(nn.functional.normalize(clip.visual_projection(out.pooler_output), dim=-1))
        states.append(out.hidden_states[-2])
    return torch.cat(parts), torch.cat(states)


def nearest(clip, ids, frames):
    """The frames in the middle of the groups nearest to the question, in time order."""
    question = nn.functional.normalize(clip.text_projection(clip.text_model(ids).pooler_output), dim=-1)
    groups = torch.stack([g.mean(0) for g in frames.split(GROUP)])
    index = faiss.IndexFlatL2(groups.shape[1])
    index.add(groups.numpy())
    _, found = index.search(question.numpy(), CHOSEN)
    return sorted(min(GROUP * int(i) + 1, len(frames) - 1) for i in found[0] if i >= 0)


@torch.inference_mode()
def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("gif")
    a.add_argument("--tokens", type=int, default=16)
    a.add_argument("--threads", type=int, default=2)
    o = a.parse_args()
    lap = Phases(LAUNCH)
    lap("import")
    torch.set_num_threads(o.threads)
    faiss.omp_set_num_threads(o.threads)
    torch.manual_seed(1)
    clip, bridge, qformer, query, proj, gpt2 = models()
    lap("init")
    frames = [f.convert("RGB") for f in ImageSequence.Iterator(Image.open(o.gif))]
    lap("decode")
    pixels = CLIPImageProcessor()(frames, return_tensors="pt")["pixel_values"]
    lap("preprocess")
    embedded, states = embed(clip, pixels)
    lap("clip_vision")
    ids = torch.randint(0, 40000, (1, 18))
    ids[0, -1] = clip.config.text_config.eos_token_id
    chosen = nearest(clip, ids, embedded)
    lap("text_and_topk")
    queries = query.expand(len(chosen), -1, -1)
    visual = proj(qformer(query_embeds=queries, encoder_hidden_states=bridge(states[chosen])).last_hidden_state)
    lap("qformer")
    prompt = torch.cat([visual.reshape(1, -1, 768), gpt2.transformer.wte(torch.randint(0, 50257, (1, 16)))], 1)
    gpt2.generate(inputs_embeds=prompt, max_new_tokens=o.tokens, min_new_tokens=o.tokens, do_sample=False, pad_token_id=50256)
    lap("generate")
    lap.seconds["total"] = time.time() - LAUNCH
    print(json.dumps(dict(
        gif=o.gif, frames=len(frames), size=frames[0].size, tokens=o.tokens, threads=o.threads, torch=torch.__version__,
        peak_rss_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, seconds=lap.seconds)))


main()
