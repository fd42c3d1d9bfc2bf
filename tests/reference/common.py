"""What the fixture writers share: seeded weights, safetensors with both precisions, small helpers."""
import json
import pathlib
import re
import zlib

import numpy as np
import torch
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
torch.set_grad_enabled(True)
torch.set_num_threads(1)


def rng(name):
    """One independent stream a name; PCG64 and its normals are stable across numpy versions."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def random_weight(name, shape, stream=None):
    """Float32 values that make every part of a layer matter: lively matrices, gains off 1, biases off 0. stream: drawn
    from the stream of this name instead of the tensor's own."""
    r = rng(stream or name)
    values = r.standard_normal(shape)
    is_norm = "norm" in name.lower() or ".ln_" in name or name.startswith("ln_") or "_ln." in name
    if is_norm and name.endswith("weight"):
        values = 1 + 0.2 * values
    elif name.endswith("bias"):
        values = 0.2 * values
    elif "embedding" in name or name.startswith(("wte", "wpe", "query_tokens")):
        values = 0.3 * values
    elif len(shape) >= 2:
        conv1d = ".c_" in name                               # GPT-2 stores [in, out]
        fan_in = shape[0] if conv1d else np.prod(shape) / shape[0]
        values = (1.2 if "c_attn" in name else 0.9) * values / np.sqrt(fan_in)
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def fill(module, prefix=""):
    """Gives every parameter its seeded float32 value and makes the module float64, evaluating, without dropout."""
    state = {name: random_weight(prefix + name, tuple(p.shape)) for name, p in module.named_parameters()}
    module.double().eval()
    with torch.no_grad():
        for name, p in module.named_parameters():
            p.copy_(state[name])
    return module


def save(name, tensors, config):
    """name.safetensors + name.json. Float64 tensors stay so for up to 64 values, otherwise become float32."""
    arrays = {}
    for key, t in tensors.items():
        a = t.detach().numpy() if isinstance(t, torch.Tensor) else np.asarray(t)
        if a.dtype == np.float64 and a.size > 64:
            a = a.astype(np.float32)
        if a.dtype == np.int64:
            a = a.astype(np.int32)
        arrays[key] = np.ascontiguousarray(a)
    path = HERE / f"{name}.safetensors"
    save_file(arrays, path)
    path.chmod(0o644)
    write_json(name, config)
    return arrays


def write_json(name, config):
    text = json.dumps(config, indent=1)
    text = re.sub(r"\[([^\[\]{}]*)\]", lambda m: "[" + " ".join(m[1].split()) + "]", text)   # flat lists on one line
    (HERE / f"{name}.json").write_text(text + "\n")
