"""Writes tests/fixtures/backbones/focalnet-post-timm: a tiny timm FocalNet with the options of the large models, seeded random weights, and its outputs."""

import json
import pathlib

import timm
import torch
from safetensors.torch import save_file
from timm.models.focalnet import FocalNet

folder = pathlib.Path(__file__).parents[2] / "tests/fixtures/backbones/focalnet-post-timm"
torch.manual_seed(7)
options = dict(
    embed_dim=4, depths=(1, 1, 2, 1), focal_levels=(2, 3, 2, 2), focal_windows=(5, 3, 3, 3), use_overlap_down=True,
    use_post_norm=True, use_post_norm_in_modulation=True, normalize_modulator=True, layerscale_value=0.5, num_classes=0,
)
model = FocalNet(**options).eval()
with torch.no_grad():
    for name, parameter in model.named_parameters():
        noise = torch.randn_like(parameter)
        scale = 0.3 if parameter.dim() > 1 else 0.1
        parameter.copy_(noise * scale if parameter.dim() > 1 or name.endswith("bias") else 1 + noise * scale)


def outputs(model, image, suffix):
    found = {}
    hooks = [
        layer.register_forward_hook(lambda _m, _i, out, n=n: found.__setitem__(f"block_{n:02}{suffix}", out))
        for n, layer in enumerate(model.layers)
    ]
    tokens = model.forward_features(image)
    for hook in hooks:
        hook.remove()
    if suffix:
        found = {}
    return found | {f"tokens{suffix}": tokens, f"embedding{suffix}": tokens.mean((2, 3))}


images = {"": torch.randn(2, 3, 64, 64), "_hi": torch.randn(1, 3, 75, 58)}
with torch.no_grad():
    stored, distance = {}, {}
    for suffix, image in images.items():
        single = outputs(model.float(), image, suffix)
        double = outputs(model.double(), image.double(), suffix)
        distance |= {name: (single[name].double() - double[name]).abs().max().item() for name in single}
        stored |= single | {f"input{suffix}": image}
save_file({name: tensor.float().contiguous() for name, tensor in model.state_dict().items()}, folder / "model.safetensors")
save_file({name: tensor.contiguous() for name, tensor in stored.items()}, folder / "io.safetensors")
config = {
    "fixture": folder.name,
    "reference": {"library": f"timm {timm.__version__}", "torch": torch.__version__},
    "class": "timm.models.focalnet.FocalNet",
    "options": {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()},
    "tolerance": {"max_abs_f32_minus_f64": distance},
}
(folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
