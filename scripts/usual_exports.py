#!/usr/bin/env python3
"""Tries ONNX files as PyTorch's exporters, ONNX Runtime's tools and other writers make them in every verb
that takes one.

    python scripts/usual_exports.py FOLDER target/release/defrost [--only vit]

The networks are those of timm, torchvision and transformers in small, with random weights. For each file a
line: what `graph show`, `embed`, `export` of a probe on those embeddings, `graph differentiate` and
`finetune` (one epoch of three steps) say of it: `ok`, or the number of a refusal that is written out below.
What `embed` gives is compared with ONNX Runtime's. Where a flag is needed it is part of the line. The exit
code is 1 where a verb ends with another code than 0 and 2, or gives other values. Needed: torch, torchvision,
timm, transformers, onnx, onnxscript, onnxruntime, pyarrow, pillow.
"""

import argparse
import contextlib
import glob
import io
import os
import shutil
import subprocess
import sys
import warnings

import numpy as np
import onnx
import onnxruntime
import pyarrow.parquet as parquet
import timm
import torch
import torchvision
import transformers
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import quantization
from PIL import Image

SIDE = 32


def timm_model(name, **options):
    return lambda: timm.create_model(name, num_classes=0, **options)


def vit(**options):
    return timm_model(
        "vit_tiny_patch16_224", img_size=SIDE, depth=2, embed_dim=32, num_heads=2, patch_size=8, **options
    )


def transformers_model(kind, **options):
    small = dict(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=8,
    )
    configuration = getattr(transformers, f"{kind}Config")(**{**small, **options})
    return lambda: getattr(transformers, f"{kind}Model")(configuration)


class Clip(torch.nn.Module):
    """Both towers, as the exports of Optimum have them."""

    def __init__(self):
        super().__init__()
        tower = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2)
        text = dict(**tower, vocab_size=50, max_position_embeddings=8, eos_token_id=49, bos_token_id=48)
        configuration = transformers.CLIPConfig(
            text_config=text, vision_config=dict(**tower, image_size=SIDE, patch_size=8), projection_dim=24
        )
        self.model = transformers.CLIPModel(configuration)
        self.model.set_attn_implementation("eager")

    def forward(self, input_ids, pixel_values, attention_mask):
        out = self.model(input_ids=input_ids, pixel_values=pixel_values, attention_mask=attention_mask)
        return out.logits_per_image, out.logits_per_text, out.text_embeds, out.image_embeds


class Hidden(torch.nn.Module):
    """Last hidden state and pooled output of a model of transformers, or one of them."""

    def __init__(self, model, names):
        super().__init__()
        self.model, self.names = model, names

    def forward(self, pixel_values):
        out = self.model(pixel_values=pixel_values)
        return tuple(getattr(out, name) for name in self.names)


class Around(torch.nn.Module):
    """A network behind a change of its input."""

    def __init__(self, model, change):
        super().__init__()
        self.model, self.change = model, change

    def forward(self, x):
        return self.model(self.change(x))


def hidden(make, *names):
    return lambda: Hidden(make(), names)


def around(make, change):
    return lambda: Around(make(), change)


class Case:
    """A network, how it is exported, what is done to the file, and the flags that `embed` needs."""

    def __init__(self, name, make, opset=None, dynamo=False, fixed=None, after=None, flags=(), **more):
        self.name, self.make, self.opset, self.dynamo, self.fixed = name, make, opset, dynamo, fixed
        self.after, self.flags, self.more = after, list(flags), more

    def example(self):
        shape = self.more.get("shape", (3, SIDE, SIDE))
        images = torch.rand(self.fixed or 2, *shape)
        if self.more.get("dtype") == "u8":
            images = (images * 255).to(torch.uint8)
        if self.more.get("dtype") == "f16":
            images = images.half()
        return images

    def write(self, path):
        torch.manual_seed(0)
        # Older operator sets have no translation of PyTorch's own attention.
        timm.layers.set_fused_attn(self.more.get("fused_attention", True))
        network = self.make().eval()
        if self.more.get("dtype") == "f16":
            network = network.half()
        inputs, names = [self.example()], ["pixel_values"]
        if self.more.get("text"):
            ids = torch.tensor([[48, 1, 2, 49]] * 2)
            inputs, names = [ids, inputs[0], torch.ones_like(ids)], ["input_ids", "pixel_values", "attention_mask"]
        axes = {name: {0: "batch"} for name in names}
        if self.more.get("any_size"):
            axes["pixel_values"].update({2: "height", 3: "width"})
        options = dict(
            input_names=names, output_names=self.more.get("outputs"), opset_version=self.opset, dynamo=self.dynamo
        )
        if self.fixed is None and self.dynamo:
            options["dynamic_shapes"] = [
                {axis: torch.export.Dim.AUTO if axis else torch.export.Dim.DYNAMIC for axis in axes[name]}
                for name in names
            ]
        elif self.fixed is None:
            options["dynamic_axes"] = {**axes, **{name: {0: "batch"} for name in self.more.get("outputs") or []}}
        options.update(self.more.get("export", {}))
        with warnings.catch_warnings(), torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            torch.onnx.export(network, tuple(inputs), path, verbose=False, **options)
        if self.after:
            self.after(path)


def dynamic_int8(path):
    quantization.quantize_dynamic(path, path, weight_type=quantization.QuantType.QUInt8)


def static_int8(layout):
    class Reader(quantization.CalibrationDataReader):
        def __init__(self):
            self.left = [
                {"pixel_values": np.random.default_rng(n).random((2, 3, SIDE, SIDE), np.float32)} for n in range(3)
            ]

        def get_next(self):
            return self.left.pop() if self.left else None

    def quantised(path):
        # The converter finds no biases behind the nodes by which the exporter shares equal ones.
        quantization.quant_pre_process(path, path, skip_symbolic_shape=True)
        quantization.quantize_static(path, path, Reader(), quant_format=layout)

    return quantised


def optimised(path):
    """As ONNX Runtime writes a graph that it has fused."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = path + ".fused"
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    os.replace(path + ".fused", path)


def half_inside(path):
    """Weights in half precision that a Cast brings back, as converters for smaller files write them."""
    model = onnx.load(path)
    casts = []
    for tensor in list(model.graph.initializer):
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) > 1:
            values = numpy_helper.to_array(tensor).astype(np.float16)
            model.graph.initializer.remove(tensor)
            model.graph.initializer.append(numpy_helper.from_array(values, tensor.name + "_f16"))
            casts.append(helper.make_node("Cast", [tensor.name + "_f16"], [tensor.name], to=TensorProto.FLOAT))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(casts + nodes)
    onnx.save(model, path)


def weights_as_constants(path):
    model = onnx.load(path)
    nodes = [helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in model.graph.initializer]
    del model.graph.initializer[:]
    nodes += list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, path)


def sparse_weights(path):
    """A matrix whose small entries are dropped, as a sparse initializer."""
    model = onnx.load(path)
    largest = max((t for t in model.graph.initializer if len(t.dims) == 2), key=lambda t: int(np.prod(t.dims)))
    values = numpy_helper.to_array(largest).copy()
    values[np.abs(values) < np.median(np.abs(values))] = 0
    at = np.flatnonzero(values)
    kept = numpy_helper.from_array(values.reshape(-1)[at], largest.name)
    sparse = helper.make_sparse_tensor(
        kept, numpy_helper.from_array(at.astype(np.int64), largest.name + "_at"), list(largest.dims)
    )
    model.graph.initializer.remove(largest)
    model.graph.sparse_initializer.append(sparse)
    onnx.save(model, path)


def branch(path):
    """A matrix product behind the network inside both branches of an `If`, with weights of their own."""
    model = onnx.load(path)
    output = model.graph.output[0].name
    width = model.graph.output[0].type.tensor_type.shape.dim[1].dim_value or 32
    rng = np.random.default_rng(1)

    def part(name):
        weight = numpy_helper.from_array(rng.normal(size=(width, 6)).astype(np.float32), name + "_w")
        product = helper.make_node("MatMul", [output, name + "_w"], [name + "_y"])
        out = helper.make_tensor_value_info(name + "_y", TensorProto.FLOAT, None)
        return helper.make_graph([product], name, [], [out], [weight])

    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "is_wide"))
    choose = helper.make_node("If", ["is_wide"], ["chosen"], then_branch=part("then"), else_branch=part("else"))
    model.graph.node.append(choose)
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("chosen", TensorProto.FLOAT, ["batch", 6]))
    onnx.save(model, path)


def without_shapes(path):
    """Outputs whose shape nothing states."""
    model = onnx.load(path)
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]
    onnx.save(model, path)


TOKENS = ["last_hidden_state", "pooler_output"]
CASES = [
    Case("resnet timm, opset 11", timm_model("resnet10t"), 11),
    Case("resnet timm, opset 17", timm_model("resnet10t"), 17),
    Case("resnet timm, dynamo", timm_model("resnet10t"), dynamo=True),
    Case("resnet timm, fixed batch 1", timm_model("resnet10t"), 17, fixed=1),
    Case("resnet timm, fixed batch 4", timm_model("resnet10t"), 17, fixed=4),
    Case("vit timm, fixed batch 4, dynamo", vit(), 18, True, fixed=4),
    Case("resnet timm, any size", timm_model("resnet10t"), 17, any_size=True),
    Case("resnet torchvision with classes", lambda: torchvision.models.resnet18(num_classes=7), 13),
    Case("feature map timm", timm_model("resnet10t", global_pool=""), 17, flags=["--pool", "mean"]),
    Case("mobilenet torchvision, opset 12", lambda: torchvision.models.mobilenet_v3_small(num_classes=7), 12),
    Case("efficientnet timm, opset 14", timm_model("efficientnet_lite0"), 14),
    Case(
        "convnext timm, dynamo", timm_model("convnext_atto", depths=(1, 1, 1, 1), dims=(8, 16, 24, 32)), dynamo=True
    ),
    Case(
        "swin timm",
        timm_model(
            "swin_tiny_patch4_window7_224",
            img_size=SIDE,
            window_size=4,
            depths=(1, 1),
            embed_dim=16,
            num_heads=(2, 4),
        ),
        17,
    ),
    Case("vit timm, opset 13", vit(), 13, fused_attention=False),
    Case("vit timm, opset 16", vit(), 16),
    Case("vit timm, opset 20", vit(), 20),
    Case("vit timm, dynamo 21", vit(), 21, True),
    Case("vit timm, dynamo 23", vit(), 23, True),
    Case("vit timm, dynamo, not optimised", vit(), 18, True, export={"optimize": False}),
    Case("vit timm, external data", vit(), 18, True, export={"external_data": True}),
    Case("vit timm, tokens", vit(global_pool=""), 17, flags=["--pool", "cls"]),
    Case(
        "vit transformers",
        hidden(transformers_model("ViT"), *TOKENS),
        17,
        outputs=TOKENS,
        flags=["--output", "pooler_output"],
    ),
    Case(
        "vit transformers, dynamo",
        hidden(transformers_model("ViT"), *TOKENS),
        18,
        True,
        outputs=TOKENS,
        flags=["--output", "pooler_output"],
    ),
    Case(
        "dinov2 transformers",
        hidden(transformers_model("Dinov2", mlp_ratio=2), TOKENS[0]),
        17,
        outputs=TOKENS[:1],
        flags=["--pool", "cls"],
    ),
    Case(
        "siglip transformers",
        hidden(transformers_model("SiglipVision"), *TOKENS),
        17,
        outputs=TOKENS,
        flags=["--output", "pooler_output"],
    ),
    Case(
        "clip vision transformers",
        hidden(transformers_model("CLIPVision"), *TOKENS),
        14,
        outputs=TOKENS,
        flags=["--output", "pooler_output"],
    ),
    Case(
        "clip, both towers",
        Clip,
        17,
        text=True,
        outputs=["logits_per_image", "logits_per_text", "text_embeds", "image_embeds"],
        flags=["--input", "pixel_values", "--output", "image_embeds"],
    ),
    Case(
        "clip, both towers, dynamo",
        Clip,
        18,
        True,
        text=True,
        outputs=["logits_per_image", "logits_per_text", "text_embeds", "image_embeds"],
        flags=["--input", "pixel_values", "--output", "image_embeds"],
    ),
    Case("vit timm, f16", vit(), 17, dtype="f16"),
    Case("resnet timm, f16 weights behind Cast", timm_model("resnet10t"), 17, after=half_inside),
    Case("resnet timm, constants", timm_model("resnet10t"), 17, after=weights_as_constants),
    Case("vit timm, int8 dynamic", vit(), 17, after=dynamic_int8),
    Case("resnet timm, int8 QDQ", timm_model("resnet10t"), 17, after=static_int8(quantization.QuantFormat.QDQ)),
    Case(
        "resnet timm, int8 QOperator",
        timm_model("resnet10t"),
        17,
        after=static_int8(quantization.QuantFormat.QOperator),
    ),
    Case("vit timm, fused by ONNX Runtime", vit(), 17, after=optimised),
    Case("vit timm, sparse weights", vit(), 17, after=sparse_weights),
    Case("vit timm, branches", vit(), 17, after=branch),
    Case("vit timm, no shapes", vit(), 17, after=without_shapes),
    Case(
        "resnet timm, channels last",
        around(timm_model("resnet10t"), lambda x: x.permute(0, 3, 1, 2)),
        17,
        shape=(SIDE, SIDE, 3),
    ),
    Case("resnet timm, u8", around(timm_model("resnet10t"), lambda x: x.float() / 255), 17, dtype="u8"),
]
PREPROCESS = f"""[preprocess]
resize = {{ exact = {{ height = {SIDE}, width = {SIDE} }} }}
filter = "bilinear"
mean = [0.0, 0.0, 0.0]
std = [1.0, 1.0, 1.0]
"""


def reference(path, images, case):
    """What ONNX Runtime gives for the images, [N, D]; `None` where a flag pools."""
    if "--pool" in case.flags:
        return None
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    output = (
        case.flags[case.flags.index("--output") + 1] if "--output" in case.flags else session.get_outputs()[0].name
    )
    pixels = np.stack([np.asarray(Image.open(file)) for file in images]).astype(np.float32) / 255
    if case.more.get("dtype") == "u8":
        pixels = np.round(pixels * 255).astype(np.uint8)
    if case.more.get("shape") is None:
        pixels = pixels.transpose(0, 3, 1, 2)
    if case.more.get("dtype") == "f16":
        pixels = pixels.astype(np.float16)
    rows, step = [], case.fixed or 1
    for at in range(0, len(pixels), step):
        part = pixels[at : at + step]
        part = np.concatenate([part, np.zeros((step - len(part), *part.shape[1:]), part.dtype)])
        feeds = {"pixel_values": part}
        if case.more.get("text"):
            ids = np.array([[48, 1, 2, 49]] * len(part), np.int64)
            feeds.update(input_ids=ids, attention_mask=np.ones_like(ids))
        feeds = {given.name: feeds[given.name] for given in session.get_inputs()}
        rows.append(session.run([output], feeds)[0].reshape(step, -1))
    return np.concatenate(rows)[: len(pixels)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("program")
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    folder, program = arguments.folder, os.path.abspath(arguments.program)
    shutil.rmtree(folder, ignore_errors=True)
    rng = np.random.default_rng(0)
    images = []
    for number in range(30):
        place = f"{folder}/images/{'ab'[number % 2]}"
        os.makedirs(place, exist_ok=True)
        images.append(f"{place}/{number:02}.png")
        Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(images[-1])
    refusals, failed = [], False

    def tried(name, *command):
        nonlocal failed
        done = subprocess.run([program, *command], capture_output=True, text=True)
        if done.returncode == 0:
            return "ok"
        said = done.stderr.strip()
        start = said.rfind("error:")
        failed |= done.returncode not in (0, 2)
        refusals.append(f"{name}, {' '.join(command[:2])}, exit code {done.returncode}: {said[start:][:600]}")
        return f"({len(refusals)})" if done.returncode == 2 else f"FAILED ({len(refusals)})"

    for number, case in enumerate(CASES):
        if arguments.only not in case.name:
            continue
        place = f"{folder}/{number:02}"
        os.makedirs(place)
        path = f"{place}/model.onnx"
        try:
            case.write(path)
        except Exception as error:  # what the exporter itself cannot do is no fault of the program
            print(
                f"{case.name:40} not exported: {type(error).__name__}: {str(error)[:120].splitlines()[0]}", flush=True
            )
            continue
        with open(f"{place}/model.toml", "w") as out:
            out.write(PREPROCESS)
        cells = {"show": tried(case.name, "graph", "show", path)}
        cells["embed"] = tried(
            case.name,
            "embed",
            f"{folder}/images",
            "--model",
            path,
            *case.flags,
            "--out",
            f"{place}/cache",
            "--device",
            "cpu",
        )
        if cells["embed"] == "ok":
            found = {}
            for part in glob.glob(f"{place}/cache/part-*.parquet"):
                rows = parquet.read_table(part, columns=["id", "embedding"]).to_pydict()
                found.update(zip(rows["id"], rows["embedding"]))
            expected = reference(path, images, case)
            if expected is not None:
                rows = np.array([found[os.path.relpath(image, f"{folder}/images")] for image in images])
                worst = np.abs(rows - expected).max() / max(np.abs(expected).max(), 1e-6)
                allowed = 2e-3 if case.more.get("dtype") == "f16" else 2e-5
                cells["embed"] = f"ok {worst:.0e}"
                if worst > allowed:
                    failed, cells["embed"] = True, f"OTHER {worst:.0e}"
            tried(case.name, "probe", "knn", f"{place}/cache", "--k", "3")
            cells["export"] = tried(
                case.name,
                "export",
                f"{place}/cache/probes/knn.json",
                "--model",
                path,
                *case.flags,
                "--verify",
                f"{folder}/images",
                "--out",
                f"{place}/classifier.onnx",
            )
        named = [output.name for output in onnx.load(path, load_external_data=False).graph.output]
        output = case.flags[case.flags.index("--output") + 1] if "--output" in case.flags else named[0]
        cells["differentiate"] = tried(
            case.name,
            "graph",
            "differentiate",
            path,
            "--output",
            output,
            "--loss",
            "cross-entropy",
            "--out",
            f"{place}/train.onnx",
        )
        cells["finetune"] = tried(
            case.name,
            "finetune",
            f"{folder}/images",
            "--model",
            path,
            *case.flags,
            "--epochs",
            "1",
            "--batch",
            "8",
            "--out",
            f"{place}/run",
            "--device",
            "cpu",
        )
        line = "  ".join(f"{verb} {said}" for verb, said in cells.items())
        print(f"{case.name:40} {line}{'   ' + ' '.join(case.flags) if case.flags else ''}", flush=True)
    for number, refusal in enumerate(refusals, 1):
        print(f"\n({number}) {refusal}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
