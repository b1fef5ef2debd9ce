#!/usr/bin/env python3
# /// script
# requires-python = ">=3.10"
# dependencies = ["numpy", "onnx>=1.16", "onnxruntime>=1.19"]
# ///
"""Copies every model of the ONNX project's own test data and compares what ONNX Runtime makes of original and copy.

The models come from the pinned wheel `onnx` 1.16.1 (folders node, simple, pytorch-operator, pytorch-converted, light), which
pip fetches into a temporary directory unless --wheel names one. Each goes through `defrost graph copy`; original and copy run
on the test's inputs, and their outputs must be the same bit for bit. Original and
copy must also say the same, message by message, whether ONNX Runtime runs them or not. Last, the types of the outputs are taken
out of the file, and what `defrost graph show` infers in their place must not contradict the outputs that ONNX Runtime computed.

Exit code 0 if every model is copied and none differs. The packages above are those of the Python that runs this script.
"""

import argparse
import collections
import glob
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile

import numpy as np
import onnx
import onnx.numpy_helper
import onnxruntime

WHEEL = "onnx-1.16.1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
WHEEL_SHA256 = "45cf20421aeac03872bea5fd6ebf92abe15c4d1461a2572eb839add5059e2a09"
FOLDERS = ["node", "simple", "pytorch-operator", "pytorch-converted", "light"]


def fetch_wheel(directory):
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", directory]
    command += ["--only-binary=:all:", "--python-version", "3.11", "--platform", "manylinux2014_x86_64", "onnx==1.16.1"]
    subprocess.run(command, check=True)
    return os.path.join(directory, WHEEL)


def check_wheel(path):
    with open(path, "rb") as file:
        found = hashlib.sha256(file.read()).hexdigest()
    if found != WHEEL_SHA256:
        sys.exit(f"{path} has sha256 {found}, expected {WHEEL_SHA256}")


def models(root):
    for folder in FOLDERS:
        for path in sorted(glob.glob(os.path.join(root, folder, "**", "*.onnx"), recursive=True)):
            yield folder, path


def value_of(path, type_proto):
    with open(path, "rb") as file:
        content = file.read()
    kind = type_proto.WhichOneof("value")
    if kind == "sequence_type":
        return onnx.numpy_helper.to_list(onnx.SequenceProto.FromString(content))
    if kind == "optional_type":
        return onnx.numpy_helper.to_optional(onnx.OptionalProto.FromString(content))
    return onnx.numpy_helper.to_array(onnx.TensorProto.FromString(content))


def random_input(input_info):
    """An input for models that ship none: the same numbers for original and copy."""
    tensor = input_info.type.tensor_type
    shape = [dim.dim_value or 1 for dim in tensor.shape.dim]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    return np.random.default_rng(0).random(shape).astype(dtype)


def test_inputs(path, model):
    constants = {tensor.name for tensor in model.graph.initializer}
    data_sets = sorted(glob.glob(os.path.join(os.path.dirname(path), "test_data_set_*")))
    if not data_sets or "light" in path.split(os.sep):
        return [{info.name: random_input(info) for info in model.graph.input if info.name not in constants}]
    sets = []
    for directory in data_sets:
        inputs = {}
        for index, info in enumerate(model.graph.input):
            file = os.path.join(directory, f"input_{index}.pb")
            if os.path.exists(file):
                inputs[info.name] = value_of(file, info.type)
        sets.append(inputs)
    return sets


def run(path, input_sets):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    known = {info.name for info in session.get_inputs()} | {info.name for info in session.get_overridable_initializers()}
    return [session.run(None, {k: v for k, v in inputs.items() if k in known}) for inputs in input_sets]


def same(a, b):
    if a is None or b is None:
        return a is b
    if isinstance(a, (list, tuple)):
        return isinstance(b, (list, tuple)) and len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    return a.tolist() == b.tolist() if a.dtype == object else a.tobytes() == b.tobytes()


def content(message):
    """What a message says, in a form that does not depend on which field holds a tensor's elements."""
    if isinstance(message, onnx.TensorProto):
        rest = onnx.TensorProto()
        rest.CopyFrom(message)
        for field in ["raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data"]:
            rest.ClearField(field)
        array = list(message.string_data) or onnx.numpy_helper.to_array(message).tobytes()
        return fields(rest) | {"elements": array}
    return fields(message)


def fields(message):
    found = {}
    is_dimension = isinstance(message, onnx.TensorShapeProto.Dimension)
    for field, value in message.ListFields():
        if hasattr(value, "ListFields"):
            found[field.name] = content(value)
        elif hasattr(value, "__len__") and not isinstance(value, (str, bytes)):
            found[field.name] = [content(entry) if hasattr(entry, "ListFields") else entry for entry in value]
        elif value or is_dimension:
            # An empty text or a zero that is not written means the same, except for the size of an axis.
            found[field.name] = value
    return found


NAMES = {"float16": "f16", "float32": "f32", "float64": "f64", "bool": "bool", "object": "string"}
NAMES |= {f"{kind}{bits}": f"{kind[0]}{bits}" for kind in ["int", "uint"] for bits in [8, 16, 32, 64]}


def inferred(binary, model, results, scratch):
    """How many outputs have a completely, partly, not inferred type; and what contradicts the outputs themselves."""
    untyped = onnx.ModelProto()
    untyped.CopyFrom(model)
    del untyped.graph.value_info[:]
    for output in untyped.graph.output:
        output.ClearField("type")
    onnx.save(untyped, scratch)
    shown = subprocess.run([binary, "graph", "show", "--json", scratch], capture_output=True, text=True, check=True)
    record = json.loads(shown.stdout)
    known, contradictions = collections.Counter(), record["problems"]
    for output, result in zip(record["outputs"], results):
        if output["type"] is None:
            known["types not inferred"] += 1
            continue
        element, _, shape = output["type"].partition("[")
        sizes = [size for size in shape[:-1].split(", ") if size]
        is_complete = all(size.isdigit() for size in sizes)
        known["types inferred" if is_complete else "types inferred in part"] += 1
        same_element = element.startswith("f8") or element == NAMES.get(str(result.dtype))
        sizes = result.shape if sizes == ["..."] else sizes
        same_shape = len(sizes) == result.ndim and all(
            not str(size).isdigit() or int(size) == actual for size, actual in zip(sizes, result.shape)
        )
        if not (same_element and same_shape):
            contradictions.append(f"{output['type']} inferred, {result.dtype}{list(result.shape)} computed")
    return known, contradictions


def reason(error):
    text = str(error)
    classes = [
        ("element type that the Python interface of ONNX Runtime cannot pass", r"[Nn]umpy[ _]type"),
        ("kernel refuses attributes or locale", r"Exception during initialization"),
        ("operator not implemented", r"NOT_IMPLEMENTED|Could not find an implementation"),
        ("operator or operator set unknown", r"is not a registered function/op|No Op registered|No opset import"),
        ("element type not accepted", r"Type Error|type inference|is not supported|Unexpected input data type"),
        ("operator set not released or too old", r"opset|Opset"),
        ("shape refused", r"ShapeInference|shape"),
    ]
    for name, pattern in classes:
        if re.search(pattern, text):
            return name
    return "other: " + text.strip().splitlines()[0][:120]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default="target/release/defrost", help="the defrost binary")
    parser.add_argument("--wheel", help="the onnx 1.16.1 wheel, if it is there already")
    parser.add_argument("--json", help="write every model's outcome to this file")
    arguments = parser.parse_args()

    counts, reasons, types = collections.Counter(), collections.Counter(), collections.Counter()
    failures, records = [], []
    with tempfile.TemporaryDirectory() as directory:
        wheel = arguments.wheel or fetch_wheel(directory)
        check_wheel(wheel)
        prefix = "onnx/backend/test/data/"
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(directory, [name for name in archive.namelist() if name.startswith(prefix)])
        copy = os.path.join(directory, "copy.onnx")
        for folder, path in models(os.path.join(directory, prefix)):
            name = os.path.relpath(path, os.path.join(directory, prefix))
            counts[folder, "models"] += 1
            outcome, known = examine(arguments.binary, path, copy)
            types.update(known)
            kind = outcome.split(":")[0]
            counts[folder, kind] += 1
            if kind == "failed":
                failures.append(f"{name}: {outcome}")
            if kind == "not runnable":
                reasons[outcome.split(": ", 1)[1]] += 1
            records.append({"model": name, "outcome": outcome})

    columns = ["models", "equal", "not runnable", "failed"]
    print(f"onnxruntime {onnxruntime.__version__}; copied and saved: every model that is not `failed`")
    print(f"{'':20}" + "".join(f"{column:>14}" for column in columns))
    for folder in FOLDERS + ["all"]:
        row = [sum(v for (f, k), v in counts.items() if k == c and folder in (f, "all")) for c in columns]
        print(f"{folder:20}" + "".join(f"{value:>14}" for value in row))
    for text, count in reasons.most_common():
        print(f"not runnable, original as copy: {count:4}  {text}")
    print(", ".join(f"{count} {text}" for text, count in types.most_common()))
    for failure in failures:
        print(failure)
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(records, file, indent=1)
    return 1 if failures else 0


def examine(binary, path, copy):
    """The outcome for one model, and how far the types of its outputs are inferred."""
    process = subprocess.run([binary, "graph", "copy", path, copy], capture_output=True, text=True)
    if process.returncode != 0:
        return "failed: copy: " + " | ".join(process.stderr.strip().splitlines()), {}
    model = onnx.load(path)
    if repr(content(model)) != repr(content(onnx.load(copy))):
        return "failed: the copy does not say the same as the original", {}
    try:
        inputs = test_inputs(path, model)
        expected = run(path, inputs)
    except Exception as error:
        # What the original does not do, the copy must not do either.
        try:
            run(copy, inputs)
        except Exception as of_copy:
            mine, others = reason(of_copy), reason(error)
            return f"not runnable: {others}" if mine == others else f"failed: original `{others}`, copy `{mine}`", {}
        return f"failed: the original does not run ({reason(error)}), the copy does", {}
    try:
        found = run(copy, inputs)
    except Exception as error:
        return f"failed: the copy does not run: {error}", {}
    if not same(expected, found):
        return "failed: the outputs differ", {}
    known, contradictions = inferred(binary, model, expected[0], copy)
    return ("failed: " + "; ".join(contradictions) if contradictions else "equal"), known


if __name__ == "__main__":
    sys.exit(main())
