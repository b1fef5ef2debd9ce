#!/usr/bin/env python3
"""Exports networks of timm, torchvision, transformers and open_clip with random weights by both of PyTorch's exporters, differentiates
the files with `defrost graph differentiate`, checks the result with `onnx.checker`, runs it on ONNX Runtime, and compares the
loss and every gradient with PyTorch's.

    .venv/bin/pip install torch torchvision timm transformers open_clip_torch onnx onnxruntime onnxscript
    cargo build --release
    .venv/bin/python scripts/differentiate_exports.py [--only swin] [--defrost target/release/defrost]

Every `grad/...` of the file is compared with PyTorch's gradient of the same values. An exporter may store a parameter transposed
or under a name of its own: gradients are matched by the stored values. Both exporters fold batch normalisations behind
convolutions into them: with `s = weight / sqrt(variance + epsilon)`, the file has `s * kernel`, whose gradient is PyTorch's of
the kernel over `s`, and `bias - s * mean`, whose gradient is that of the bias. The measure is the largest difference over the
largest entry of PyTorch's gradient; where a gradient is zero but for rounding (its largest entry below 1e-6 of the norm of all),
the largest difference over that norm.

An exporter may also fold what it computes of parameters alone (tables of relative positions) into constants, which are counted
as "others". Then the network is exported once more without folding ("plain"), and every parameter must have its gradient there.

The exit code is 1 when a network cannot be differentiated or a gradient differs.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy
import onnx
import onnxruntime
import open_clip
import timm
import torch
import torchvision
import transformers
from onnx import numpy_helper

ALLOWED, ZERO = 1e-4, 1e-6
CLASSES, BATCH = 5, 2


class Pooled(torch.nn.Module):
    """The image tower of CLIP with a linear head."""

    def __init__(self):
        super().__init__()
        config = transformers.CLIPVisionConfig(
            hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, image_size=64, patch_size=16
        )
        self.tower = transformers.CLIPVisionModel(config)
        self.tower.set_attn_implementation("eager")
        self.head = torch.nn.Linear(48, CLASSES)

    def forward(self, images):
        return self.head(self.tower(images).pooler_output)


def timm_model(name, **options):
    return lambda: timm.create_model(name, num_classes=CLASSES, **options)


def torchvision_model(name, **options):
    return lambda: torchvision.models.get_model(name, weights=None, num_classes=CLASSES, **options)


SMALL_SWIN = dict(patch_size=[4, 4], embed_dim=24, depths=[2, 2], num_heads=[2, 4], window_size=[4, 4])

# Name, network, image size.
NETWORKS = [
    ("vit timm", timm_model("vit_tiny_patch16_224", img_size=64, depth=2), 64),
    ("vit torchvision", lambda: torchvision.models.VisionTransformer(64, 16, 2, 4, 48, 96, num_classes=CLASSES), 64),
    ("vit qk-norm layer-scale", timm_model("vit_medium_patch16_gap_256", img_size=64, depth=2, embed_dim=64, num_heads=4), 64),
    ("clip timm", timm_model("vit_base_patch32_clip_224", img_size=64, depth=2, embed_dim=48, num_heads=4), 64),
    ("clip quickgelu timm", timm_model("vit_base_patch32_clip_quickgelu_224", img_size=64, depth=2, embed_dim=48, num_heads=4), 64),
    ("clip transformers", Pooled, 64),
    ("clip open_clip", lambda: open_clip.transformer.VisionTransformer(64, 16, 48, 2, 4, 2.0, output_dim=CLASSES), 64),
    ("clip resnet open_clip", lambda: open_clip.modified_resnet.ModifiedResNet([1, 1, 1, 1], CLASSES, 4, 64, 16), 64),
    ("dinov2 timm", timm_model("vit_small_patch14_reg4_dinov2", img_size=56, depth=2, embed_dim=48, num_heads=4), 56),
    ("resnet torchvision", torchvision_model("resnet18"), 64),
    ("resnet timm", timm_model("resnet26d"), 64),
    ("resnext torchvision", lambda: torchvision.models.ResNet(
        torchvision.models.resnet.Bottleneck, [1, 1, 1, 1], CLASSES, groups=8, width_per_group=4), 64),
    ("convnext timm", timm_model("convnext_atto", depths=(1, 1, 2, 1)), 64),
    ("convnext torchvision", lambda: torchvision.models.ConvNeXt(
        [torchvision.models.convnext.CNBlockConfig(24, 48, 1), torchvision.models.convnext.CNBlockConfig(48, None, 1)],
        num_classes=CLASSES), 64),
    ("efficientnet timm", timm_model("efficientnet_b0"), 64),
    ("efficientnet-lite timm", timm_model("tf_efficientnet_lite0"), 64),
    ("efficientnet torchvision", torchvision_model("efficientnet_b0"), 64),
    ("mobilenet-v3 torchvision", torchvision_model("mobilenet_v3_small"), 64),
    ("mobilenet-v3 timm", timm_model("mobilenetv3_small_050"), 64),
    ("swin timm", timm_model("swin_tiny_patch4_window7_224", img_size=64, window_size=4, depths=(2, 2), embed_dim=24, num_heads=(2, 4)), 64),
    ("swin torchvision", lambda: torchvision.models.SwinTransformer(num_classes=CLASSES, **SMALL_SWIN), 64),
    ("swin-v2 torchvision", lambda: torchvision.models.SwinTransformer(
        num_classes=CLASSES, block=torchvision.models.swin_transformer.SwinTransformerBlockV2,
        downsample_layer=torchvision.models.swin_transformer.PatchMergingV2, **SMALL_SWIN), 64),
    ("regnet torchvision", torchvision_model("regnet_y_400mf"), 64),
    ("densenet torchvision", lambda: torchvision.models.DenseNet(8, (2, 2), 16, num_classes=CLASSES), 64),
    ("maxvit timm", timm_model("maxvit_pico_rw_256", img_size=64), 64),
    ("coatnet timm", timm_model("coatnet_nano_rw_224", img_size=64), 64),
]


def build(make):
    """A network in evaluation mode whose norms and scales do not hide anything."""
    torch.manual_seed(0)
    network = make().eval()
    for name, tensor in network.named_parameters():
        if tensor.ndim <= 1 or tensor.std() == 0:
            tensor.data += 0.1 * torch.randn_like(tensor)
    for name, tensor in network.named_buffers():
        if name.endswith("running_mean"):
            tensor.data = 0.1 * torch.randn_like(tensor)
        elif name.endswith("running_var"):
            tensor.data = 0.5 + torch.rand_like(tensor)
    return network


def export(network, images, path, exporter, plain):
    names = dict(input_names=["input"], output_names=["logits"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if exporter == "dynamo":
            batch = {0: torch.export.Dim("batch", min=1, max=64)}
            torch.onnx.export(network, (images,), path, dynamo=True, dynamic_shapes=(batch,), verbose=False, optimize=not plain, **names)
        else:
            axes = {"input": {0: "batch"}, "logits": {0: "batch"}}
            if plain:
                names |= dict(do_constant_folding=False, training=torch.onnx.TrainingMode.PRESERVE)
            torch.onnx.export(network, (images,), path, dynamo=False, opset_version=17, dynamic_axes=axes, **names)


def folded(network, parameters):
    """What becomes of convolutions and batch normalisations that are folded: values and gradients, for every pair that fits."""
    norms = [(name, norm) for name, norm in network.named_modules() if isinstance(norm, torch.nn.BatchNorm2d)]
    for name, layer in network.named_modules():
        if not isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear)):
            continue
        for title, norm in norms:
            if norm.num_features != layer.weight.shape[0] or f"{name}.weight" not in parameters:
                continue
            scale = (norm.weight / torch.sqrt(norm.running_var + norm.eps)).detach().numpy()
            kernel, gradient = parameters[f"{name}.weight"]
            wide = scale.reshape(-1, *[1] * (kernel.ndim - 1))
            yield f"{name}.weight x {title}", (kernel * wide, gradient / wide)
            bias = norm.bias.detach().numpy() - norm.running_mean.numpy() * scale
            if layer.bias is not None:
                bias = bias + layer.bias.detach().numpy() * scale
            yield f"{title}.bias x {name}", (bias, parameters[f"{title}.bias"][1])


def expected(network, images, labels):
    """PyTorch's loss, and the values and gradients of what a file may hold."""
    network.zero_grad()
    loss = torch.nn.functional.cross_entropy(network(images), labels)
    loss.backward()
    own = {name: (tensor.detach().numpy(), tensor.grad.numpy())
           for name, tensor in network.named_parameters() if tensor.grad is not None}
    return loss.item(), own, dict(folded(network, own))


def matched(stored, candidates):
    """The candidate whose values are stored, with its gradient laid out as the stored values are."""
    for name, (values, gradient) in candidates.items():
        if values.size != stored.size:
            continue
        for order in ([None] if values.ndim < 2 else [None, (1, 0, *range(2, values.ndim))]):
            turned = values if order is None else values.transpose(order)
            if numpy.allclose(turned.reshape(stored.shape), stored, rtol=1e-5, atol=1e-7):
                return name, (gradient if order is None else gradient.transpose(order)).reshape(stored.shape)
    return None


def compare(network, images, labels, exported, differentiated):
    loss, own, folded_ones = expected(network, images, labels)
    session = onnxruntime.InferenceSession(str(differentiated), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(None, {"input": images.numpy(), "labels": labels.numpy()})))
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(exported).graph.initializer}
    norm = float(numpy.sqrt(sum((gradient.astype(float) ** 2).sum() for _, gradient in own.values())))
    seen, outputs, compared, worst, complaints = set(), 0, 0, 0.0, []
    if abs(found["loss"] - loss) > ALLOWED * abs(loss):
        complaints.append(f"loss {found['loss']} for {loss}")
    for title, gradient in found.items():
        if not title.startswith("grad/"):
            continue
        outputs += 1
        match = matched(stored[title.removeprefix("grad/")], own) or matched(stored[title.removeprefix("grad/")], folded_ones)
        if match is None:
            continue
        name, reference = match
        seen.update(name.split(" x "))
        compared += 1
        difference, largest = numpy.abs(gradient - reference).max(), numpy.abs(reference).max()
        error = float(difference / (norm if largest <= ZERO * norm else largest))
        worst = max(worst, error)
        if not error <= ALLOWED:
            complaints.append(f"{name}: {difference:.2e} of {largest:.2e}")
    # Of a batch normalisation that was folded, the weight is gone and the bias may be named after it.
    missing = [name for name in sorted(set(own) - seen) if name.removesuffix(".weight").removesuffix(".bias") not in seen]
    return dict(compared=compared, outputs=outputs, worst=worst, loss=abs(found["loss"] - loss) / abs(loss), complaints=complaints,
                missing=missing)


def differentiate(defrost, exported, out):
    command = [defrost, "graph", "differentiate", exported, "--output", "logits", "--loss", "cross-entropy", "--out", out]
    run = subprocess.run([str(part) for part in command] + ["--json"], capture_output=True, text=True)
    if run.returncode != 0:
        raise RuntimeError(run.stderr.strip())
    return json.loads(run.stdout)


@dataclasses.dataclass
class Row:
    """One network through one exporter."""

    title: str
    make: object
    size: int
    exporter: str
    plain: bool

    def tell(self, text):
        print(f"{self.title:26} {self.exporter + (' plain' if self.plain else ''):17} {text}", flush=True)

    def run(self, folder, defrost):
        """Whether what was compared holds, and whether every parameter was."""
        start = time.perf_counter()
        network = build(self.make)
        images = torch.randn(BATCH, 3, self.size, self.size, generator=torch.Generator().manual_seed(1))
        labels = torch.tensor([index % CLASSES for index in range(1, BATCH + 1)])
        name = f"{self.title.replace(' ', '-')}-{self.exporter}{'-plain' if self.plain else ''}"
        exported, differentiated = folder / f"{name}.onnx", folder / f"{name}.train.onnx"
        try:
            export(network, images, str(exported), self.exporter, self.plain)
        except Exception as error:
            self.tell(f"not exported by PyTorch: {str(error).splitlines()[0][:80]}")
            return True, True
        try:
            summary = differentiate(defrost, exported, differentiated)
            onnx.checker.check_model(str(differentiated), full_check=True)
            result = compare(network, images, labels, exported, differentiated)
        except Exception as error:
            self.tell(f"FAILED: {error}")
            return False, True
        others = result["outputs"] - result["compared"]
        self.tell(f"{summary['nodes']:6} {result['compared']:9} {others:6} {result['loss']:9.1e} {result['worst']:9.1e} "
                  f"{time.perf_counter() - start:8.1f}")
        for complaint in result["complaints"] + [f"no gradient of {name}" for name in result["missing"] if self.plain]:
            print(f"    {complaint}")
        return not result["complaints"], not result["missing"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--defrost", default="target/release/defrost")
    parser.add_argument("--only", default="", help="networks whose names contain this")
    parser.add_argument("--exporter", choices=["torchscript", "dynamo"], help="one exporter; both if left out")
    parser.add_argument("--keep", type=Path, help="folder for the files")
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, timm {timm.__version__}, torchvision {torchvision.__version__}, "
          f"onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}")
    print(f"{'network':26} {'exporter':17} {'nodes':>6} {'gradients':>9} {'others':>6} {'loss':>9} {'worst':>9} {'seconds':>8}")
    failed = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for title, make, size in NETWORKS:
            if arguments.only not in title:
                continue
            for exporter in [arguments.exporter] if arguments.exporter else ["torchscript", "dynamo"]:
                for plain in [False, True]:
                    row = Row(title, make, size, exporter, plain)
                    holds, complete = row.run(folder, arguments.defrost)
                    failed += not holds
                    if complete:
                        break
                else:
                    failed += holds
    print("all as PyTorch" if failed == 0 else f"{failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
