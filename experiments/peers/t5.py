"""Text from text with a T5 as a transformers user runs it, on random weights of T5-base's sizes.

Same prompts and answers as `gifqa-bench t5`: lengths spread evenly, batches of like length, every answer as long as asked
for. Tuned: inference mode, SDPA attention where the installed version has it for T5, the cache of generate().

    python t5.py --batch 16 --tokens 16 --threads 2

prints one JSON line: prompts a second, seconds of encoder and decoder, peak resident memory.
"""
import argparse
import json
import resource
import time

import torch
import transformers
from transformers import T5Config, T5ForConditionalGeneration

BASE = dict(vocab_size=32128, d_model=768, d_kv=64, num_heads=12, d_ff=3072, num_layers=12, num_decoder_layers=12,
            decoder_start_token_id=0, pad_token_id=0, eos_token_id=1)


def batches(a):
    n, out = a.prompts, []
    lengths = [a.shortest + i * (a.longest - a.shortest) // max(n - 1, 1) for i in range(n)]
    for at in range(0, n, a.batch):
        some = lengths[at:at + a.batch]
        ids = torch.zeros(len(some), max(some), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, length in enumerate(some):
            ids[row, :length] = torch.randint(3, BASE["vocab_size"], (length,))
            ids[row, length - 1] = 1
            mask[row, :length] = 1
        out.append((ids, mask))
    return out


@torch.inference_mode()
def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--batch", type=int, default=16)
    p.add_argument("--beams", type=int, default=1)
    p.add_argument("--tokens", type=int, default=16)
    p.add_argument("--prompts", type=int, default=48)
    p.add_argument("--shortest", type=int, default=16)
    p.add_argument("--longest", type=int, default=40)
    p.add_argument("--bf16", action="store_true", help="weights and activations")
    p.add_argument("--threads", type=int, default=2)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(1)
    model = T5ForConditionalGeneration(T5Config(**BASE)).eval()
    if a.bf16:
        model = model.to(torch.bfloat16)
    spent = [0.0]

    def before(module, *_):
        module.began = time.perf_counter()

    def after(module, *_):
        spent[0] += time.perf_counter() - module.began

    model.encoder.register_forward_pre_hook(before)
    model.encoder.register_forward_hook(after)
    work, seconds = batches(a), 0.0
    for _ in range(2):                         # the first pass over all of them warms up
        spent[0], start = 0.0, time.perf_counter()
        for ids, mask in work:
            out = model.generate(input_ids=ids, attention_mask=mask, do_sample=False, num_beams=a.beams,
                                 min_new_tokens=a.tokens, max_new_tokens=a.tokens)
            assert out.shape[1] == a.tokens + 1, out.shape
        seconds = time.perf_counter() - start
    print(json.dumps({"torch": torch.__version__, "transformers": transformers.__version__, "threads": a.threads,
                      "attention": model.config._attn_implementation, "pairs_per_s": a.prompts / seconds,
                      "encoder_s": spent[0], "decoder_s": seconds - spent[0],
                      "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


main()
