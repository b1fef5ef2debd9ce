"""Compares what `defrost embed` makes of images with what the image processors of `transformers` and timm's
transforms make.

    python scripts/reference/processors.py FOLDER target/debug/defrost [--images 60]

For each processor: images of random sizes (also smaller than the crop), a network that gives back its input,
the processor's own configuration beside it, and the largest difference of all values. The reference are the
processors over PIL (`...Pil`, formerly the slow ones); those over torchvision start odd crops alike and
resample otherwise. Needed: numpy, pillow, onnx, pyarrow, transformers, timm, torch.
"""

import argparse
import glob
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pyarrow.parquet as parquet
import transformers
from onnx import TensorProto, helper
from PIL import Image

MEAN, STD = [0.48, 0.45, 0.4], [0.26, 0.26, 0.27]
NORMAL = {"do_normalize": True, "image_mean": MEAN, "image_std": STD, "do_rescale": True, "rescale_factor": 1 / 255}


def square(length):
    return {"height": length, "width": length}


CONFIGURATIONS = {
    "clip": ("CLIP", {"size": {"shortest_edge": 18}, "crop_size": square(16), "do_center_crop": True, "resample": 3}),
    "clip_odd": ("CLIP", {"size": {"shortest_edge": 23}, "crop_size": square(16), "do_center_crop": True, "resample": 3}),
    "clip_large_crop": ("CLIP", {"size": {"shortest_edge": 16}, "crop_size": square(21), "do_center_crop": True, "resample": 3}),
    "clip_no_resize": ("CLIP", {"do_resize": False, "size": {"shortest_edge": 16}, "crop_size": square(33), "resample": 3}),
    "bit": ("Bit", {"size": {"shortest_edge": 26}, "crop_size": square(21), "do_center_crop": True, "resample": 3}),
    "bit_wide": ("Bit", {"size": {"shortest_edge": 26}, "crop_size": {"height": 17, "width": 30}, "do_center_crop": True, "resample": 2}),
    "vit": ("ViT", {"size": {"height": 17, "width": 24}, "resample": 2}),
    "vit_raw": ("ViT", {"size": square(16), "resample": 2, "do_rescale": False, "image_mean": [127.5] * 3, "image_std": [127.5] * 3}),
    "vit_plain": ("ViT", {"size": square(16), "resample": 2, "do_normalize": False}),
    "deit": ("DeiT", {"size": square(25), "crop_size": square(18), "do_center_crop": True, "resample": 3}),
    "siglip": ("Siglip", {"size": square(19), "resample": 3}),
    "siglip_lanczos": ("Siglip", {"size": square(19), "resample": 1}),
    "convnext": ("ConvNext", {"size": {"shortest_edge": 28}, "crop_pct": 0.875, "resample": 3}),
    "convnext_default": ("ConvNext", {"size": {"shortest_edge": 27}, "crop_pct": 0.9, "resample": 2}),
    "convnext_384": ("ConvNext", {"size": {"shortest_edge": 384}, "crop_pct": 1.0, "resample": 3}),
    "blip": ("Blip", {"size": square(20), "resample": 3}),
}
#: Configurations of timm, as its `config.json` has them below `pretrained_cfg`; a word of the refusal where
#: there must be one.
TIMM = [
    ({"input_size": [3, 21, 21], "crop_pct": 0.875, "crop_mode": "center", "interpolation": "bicubic"}, None),
    ({"input_size": [3, 20, 20], "crop_pct": 0.95, "crop_mode": "center", "interpolation": "bilinear"}, None),
    ({"input_size": [3, 23, 23], "crop_pct": 0.9, "interpolation": "lanczos"}, None),
    ({"input_size": [3, 24, 24], "crop_pct": 1.0}, None),
    ({"input_size": [3, 16, 16], "crop_pct": 1.25, "interpolation": "bicubic"}, None),
    ({"input_size": [3, 22, 22], "crop_pct": 0.0}, None),
    ({"input_size": [3, 19, 19]}, None),
    ({"input_size": [3, 21, 21], "crop_pct": 0.9, "crop_mode": "squash", "interpolation": "bilinear"}, None),
    ({"input_size": [3, 24, 36], "crop_pct": 0.85, "crop_mode": "squash", "interpolation": "bicubic"}, None),
    ({"input_size": [3, 21, 21], "crop_pct": 0.9, "crop_mode": "border"}, "border"),
    ({"input_size": [3, 24, 36], "crop_pct": 0.9, "crop_mode": "center"}, "center"),
    ({"input_size": [3, 21, 21], "interpolation": "nearest"}, "nearest"),
    ({"input_size": [3, 21, 21], "interpolation": "box"}, "box"),
    ({"input_size": [3, 21, 21], "interpolation": "hamming"}, "hamming"),
]


def identity(path, shape):
    images = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])
    values = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", int(np.prod(shape))])
    graph = helper.make_graph([helper.make_node("Flatten", ["x"], ["y"], axis=1)], "pixels", [images], [values])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, path)


def processor(family, configuration):
    kind = getattr(transformers, f"{family}ImageProcessorPil", None) or getattr(transformers, f"{family}ImageProcessor")
    return kind(**configuration)


def timm_transform(configuration):
    """What timm itself makes of a configuration."""
    from timm.data import create_transform, resolve_data_config

    return create_transform(**resolve_data_config({}, pretrained_cfg={"mean": MEAN, "std": STD, **configuration}))


def read_by_program(program, folder, configuration):
    """What the program reads from a folder of timm, as a file for `--preprocess`; or its refusal."""
    os.makedirs(f"{folder}/model")
    with open(f"{folder}/model/config.json", "w") as out:
        stored = {"mean": MEAN, "std": STD, **configuration}
        json.dump({"architecture": "tf_efficientnet_lite0", "pretrained_cfg": stored}, out)
    built = f"{folder}/built.onnx"
    command = [program, "models", "build", f"{folder}/model", "--random-weights", "0", "--no-fingerprint"]
    command += ["--out", built]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        return None, done.stderr
    properties = {entry.key: entry.value for entry in onnx.load(built).metadata_props}
    text = "[preprocess]\n"
    for key, value in json.loads(properties["defrost.preprocess"]).items():
        text += f"{key} = {toml(value)}\n"
    os.remove(built)
    with open(f"{folder}/model.toml", "w") as out:
        out.write(text)
    return f"{folder}/model.toml", ""


def toml(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + " }"
    return json.dumps(value)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("program")
    parser.add_argument("--images", type=int, default=60)
    arguments = parser.parse_args()
    rng = np.random.default_rng(3)
    images = os.path.join(arguments.folder, "images")
    shutil.rmtree(arguments.folder, ignore_errors=True)
    os.makedirs(images)
    for at in range(arguments.images):
        height, width = rng.integers(8, 70, 2)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(f"{images}/{at:03}.png")
    failed = False
    timm = [(f"timm {' '.join(str(value) for value in entry.values())}", (None, (entry, word))) for entry, word in TIMM]
    for number, (name, (family, configuration)) in enumerate([*CONFIGURATIONS.items(), *timm]):
        folder = os.path.join(arguments.folder, str(number))
        os.makedirs(folder)
        if family:
            configuration = {**NORMAL, "do_resize": True, **configuration}
            reference = processor(family, configuration)
            run = lambda image: reference(image, return_tensors="np")["pixel_values"][0]
            stored = {**configuration, "image_processor_type": f"{family}ImageProcessor"}
            with open(f"{folder}/preprocessor_config.json", "w") as out:
                json.dump(stored, out)
        else:
            configuration, word = configuration
            preprocess, refusal = read_by_program(arguments.program, folder, configuration)
            if preprocess is None or word:
                is_named = preprocess is None and word is not None and f"`{word}`" in refusal
                failed |= not is_named
                unexpected = f"NOT AS EXPECTED: {refusal.strip() or preprocess}"
                print(f"{name}: {'refused by name' if is_named else unexpected}")
                continue
            transform = timm_transform(configuration)
            run = lambda image: transform(image).numpy()
        expected = {os.path.basename(file): run(Image.open(file)) for file in sorted(glob.glob(f"{images}/*.png"))}
        identity(f"{folder}/model.onnx", next(iter(expected.values())).shape)
        command = [arguments.program, "embed", images, "--model", f"{folder}/model.onnx", "--out", f"{folder}/cache", "--device", "cpu"]
        done = subprocess.run(command, capture_output=True, text=True)
        found = {}
        for part in glob.glob(f"{folder}/cache/part-*.parquet"):
            table = parquet.read_table(part, columns=["id", "embedding"]).to_pydict()
            found.update(zip(table["id"], table["embedding"]))
        missing = [file for file in expected if file not in found]
        if missing:
            failed = True
            print(f"{name}: {len(missing)} of {len(expected)} without values: {done.stderr.strip().splitlines()[-1:]}")
            continue
        worst = max(np.abs(np.asarray(found[file]) - value.reshape(-1)).max() for file, value in expected.items())
        failed |= worst > 2e-5
        print(f"{name}: largest difference on {len(expected)} images {worst:.2e}")
    sys.exit(bool(failed))


main()
