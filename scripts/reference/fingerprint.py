"""Prints the `[variant.fingerprint]` of a catalog model: what timm gives for the known input, with the
published weights.

usage: python scripts/reference/fingerprint.py NAME WEIGHTS    (needs torch, timm, safetensors, numpy)

NAME is that of an entry whose hub repository is one of timm's; WEIGHTS its checkpoint, in timm's names or,
for EfficientNet-Lite0, in those of `efficientnet_lite_pytorch`. The known input is that of
`src/backbones/zoo/fingerprint.rs`.
"""

import hashlib
import json
import sys
import tomllib
from pathlib import Path

import numpy as np
import timm
import torch

ROOT = Path(__file__).resolve().parents[2]
name, weights = sys.argv[1], Path(sys.argv[2])
variants = [variant for path in (ROOT / "models").glob("*.toml") for variant in tomllib.loads(path.read_text())["variant"]]
variant = next(variant for variant in variants if variant["name"] == name)
crop = variant["preprocess"].get("crop") or variant["preprocess"]["resize"]["exact"]
shape = [2, 3, crop["height"], crop["width"]]

if weights.suffix == ".safetensors":
    from safetensors.torch import load_file

    state = load_file(weights)
else:
    state = torch.load(weights, weights_only=True, map_location="cpu")
is_vit = variant["hub"]["repository"].startswith(("timm/vit", "timm/deit"))
model = timm.create_model(variant["hub"]["repository"].removeprefix("timm/"), **({"img_size": shape[2:]} if is_vit else {})).eval()
if name == "efficientnet-lite0":
    fixture = ROOT / "tests/fixtures/backbones/efficientnet-lite0-pypi/config.json"
    to_timm = json.loads(fixture.read_text())["names"]["to_timm_tf_efficientnet_lite0"]
    state = {to_timm.get(key, key): value for key, value in state.items()}
if is_vit:
    # Positions for the crop's size.
    state = timm.models.vision_transformer.checkpoint_filter_fn(state, model)
model.load_state_dict(state)

per_image = shape[1] * shape[2] * shape[3]
at = np.arange(per_image)[None] + 1 + 7919 * np.arange(shape[0])[:, None]
values = (4.0 * np.modf(at * 0.6180339887498949)[0] - 2.0).astype(np.float32)
with torch.no_grad():
    features = model.forward_features(torch.from_numpy(values.reshape(shape)))
    embedding = features.mean((2, 3)) if features.ndim == 4 else features[:, 0]
embedding = embedding.numpy()
count = 24
samples = [[row[i * len(row) // count] for i in range(count)] for row in embedding]
text = lambda values: "[" + ", ".join(f"{value:.9g}" for value in values) + "]"
print("[variant.fingerprint]")
print(f'made_by = "timm {timm.__version__}, PyTorch {torch.__version__.split("+")[0]}"')
print(f'weights_sha256 = "{hashlib.sha256(weights.read_bytes()).hexdigest()}"')
print(f'input = "input"\nshape = {shape}\ntolerance = 0.001\n')
print("[[variant.fingerprint.outputs]]")
print(f'name = "embedding"\nlength = {embedding.shape[1]}\nlargest = {abs(embedding).max():.9g}')
print(f"norms = {text(np.linalg.norm(embedding.astype(np.float64), axis=1))}")
print("samples = [\n" + "".join(f"  {text(row)},\n" for row in samples) + "]")
