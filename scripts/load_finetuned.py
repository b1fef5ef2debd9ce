#!/usr/bin/env python3
"""Loads the weights of a fine-tuning run back into the library that they came from, and compares the logits with `model.onnx`.

    .venv/bin/pip install torch timm transformers onnxruntime safetensors efficientnet-lite-pytorch
    .venv/bin/python scripts/load_finetuned.py RUN [--model NAME]

RUN is the folder of `defrost finetune`, with a linear head. Parameters lie in `checkpoints/best/model.safetensors` under the
names of the weights that the run started from (timm's where these were random); the head's are `head.weight` and `head.bias`
(the file's metadata tells, under `defrost.head`). Exits with 1 where the largest difference of a logit exceeds 1e-3.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from safetensors import safe_open

# Names in timm of the models of the catalog whose weights have timm's names.
TIMM = {
    "deit-tiny": "deit_tiny_patch16_224", "deit-small": "deit_small_patch16_224", "deit-base": "deit_base_patch16_224",
    "dino-base": "vit_base_patch16_224.dino", "resnet18": "resnet18", "resnet34": "resnet34", "resnet50": "resnet50",
    "resnet101": "resnet101", "resnet152": "resnet152", "efficientnet-lite0": "tf_efficientnet_lite0",
    "dinov2-small": "vit_small_patch14_dinov2.lvd142m", "dinov2-base": "vit_base_patch14_dinov2.lvd142m",
}


def read(run):
    with safe_open(run / "checkpoints/best/model.safetensors", "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()


def with_timm(name, weights, head, classes, size):
    import timm

    options = {"img_size": size} if name.startswith(("vit", "deit")) else {}
    model = timm.create_model(name, pretrained=False, num_classes=classes, **options)
    ours = model.default_cfg["classifier"]
    renamed = {f"{ours}.{key.removeprefix(head + '.')}" if key.startswith(head + ".") else key: tensor
               for key, tensor in weights.items()}
    left = model.load_state_dict(renamed, strict=False)
    missing = [key for key in left.missing_keys if not key.endswith("num_batches_tracked")]
    assert not missing and not left.unexpected_keys, (missing, left.unexpected_keys)
    return model.eval()


def with_efficientnet_lite(name, weights, head, classes):
    from efficientnet_lite_pytorch import EfficientNet

    model = EfficientNet.from_name(name, num_classes=classes)
    renamed = {f"_fc.{key.removeprefix(head + '.')}" if key.startswith(head + ".") else key: tensor
               for key, tensor in weights.items()}
    left = model.load_state_dict(renamed, strict=False)
    missing = [key for key in left.missing_keys if not key.endswith("num_batches_tracked")]
    assert not missing and not left.unexpected_keys, (missing, left.unexpected_keys)
    return model.eval()


def with_transformers(name, weights, head):
    """The backbone by its configuration (a repository or a folder), and the head behind its class token."""
    from safetensors.torch import save_file
    from transformers import AutoConfig, AutoModel

    own = {key: tensor for key, tensor in weights.items() if not key.startswith(head + ".")}
    # Names in files are not those in memory in every version: `from_pretrained` translates, `load_state_dict` does not.
    with tempfile.TemporaryDirectory() as folder:
        AutoConfig.from_pretrained(name).save_pretrained(folder)
        save_file(own, str(Path(folder) / "model.safetensors"), {"format": "pt"})
        backbone, info = AutoModel.from_pretrained(folder, output_loading_info=True)
    # Not part of the classifier, and so not of the run.
    missing = [key for key in info["missing_keys"] if not key.startswith("pooler.") and not key.endswith("mask_token")]
    assert not missing and not info["unexpected_keys"] and not info["mismatched_keys"], info
    weight, bias = weights[f"{head}.weight"], weights[f"{head}.bias"]
    backbone.eval()
    return lambda x: torch.nn.functional.linear(backbone(x).last_hidden_state[:, 0], weight, bias)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--model", help="the model's name in the library, where it is not known; for transformers a repository or a folder with `config.json`")
    parser.add_argument("--images", type=int, default=4)
    options = parser.parse_args()
    weights, about = read(options.run)
    head, classes = about["defrost.head"], len(json.loads(about["defrost.classes"]))
    name, naming = about["defrost.model"], about.get("defrost.naming", "timm")
    session = onnxruntime.InferenceSession(str(options.run / "model.onnx"), providers=["CPUExecutionProvider"])
    shape = session.get_inputs()[0].shape
    if naming == "timm":
        model = with_timm(options.model or TIMM[name], weights, head, classes, shape[2:])
    elif naming == "efficientnet_lite_pytorch":
        model = with_efficientnet_lite(options.model or name, weights, head, classes)
    elif naming.startswith("transformers-"):
        model = with_transformers(options.model or sys.exit("name the repository or folder with --model"), weights, head)
    else:
        sys.exit(f"weights named as in `{naming}` are not loaded by this script")
    size = [side if isinstance(side, int) else 224 for side in shape[1:]]
    images = np.random.default_rng(0).standard_normal((options.images, *size), dtype=np.float32)
    logits = session.run(["logits"], {session.get_inputs()[0].name: images})[0]
    with torch.no_grad():
        expected = model(torch.from_numpy(images)).numpy()
    largest = float(np.abs(logits - expected).max())
    print(f"{name} ({naming}): {len(weights)} tensors loaded, logits up to {np.abs(expected).max():.2f}, largest difference {largest:.1e}")
    return 0 if largest <= 1e-3 else 1


if __name__ == "__main__":
    sys.exit(main())
