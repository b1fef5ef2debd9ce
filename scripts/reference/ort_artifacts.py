#!/usr/bin/env python3
"""Trains from artifacts that `defrost graph differentiate --artifacts` wrote, with ONNX Runtime's own Python API, and
compares the losses with AdamW in float64 on the gradients of the same model in a plain session.

    python3.11 -m venv /opt/ort-training
    /opt/ort-training/bin/pip install onnxruntime-training-cpu==1.19.2 'numpy<2' onnx==1.16.2 torch
    defrost graph differentiate model.onnx --output logits --loss cross-entropy \
        --artifacts artifacts --clip 1 --out gradients.onnx
    /opt/ort-training/bin/python scripts/reference/ort_artifacts.py \
        artifacts gradients.onnx [--steps 20] [--batch 4] [--size 64]

Clipping and weight decay are read from the optimizer's model. The exit code is 1 where a loss differs by more
than 1e-5.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from onnxruntime.training import api

BETAS, EPSILON = (0.9, 0.999), 1e-8


def gradients(path):
    """A session of the model of gradients whose weights are inputs, and the weights."""
    model = onnx.load(path)
    names = [output.name[5:] for output in model.graph.output if output.name.startswith("grad/")]
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    weights = {name: numpy_helper.to_array(stored[name]).astype(np.float64) for name in names}
    kept = [tensor for tensor in model.graph.initializer if tensor.name not in weights]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    users = [value.name for value in model.graph.input]
    model.graph.input.extend(helper.make_tensor_value_info(name, 1, value.shape) for name, value in weights.items())
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session, weights, users


def batches(session, users, options):
    """Random inputs and labels for every step, by name."""
    random = np.random.default_rng(0)
    for _ in range(options.steps):
        fed = {}
        for value in session.get_inputs():
            if value.name not in users:
                continue
            open_sizes = [options.batch] + [options.size] * len(value.shape)
            shape = [size if isinstance(size, int) else open_sizes[axis] for axis, size in enumerate(value.shape)]
            if value.type == "tensor(int64)":
                fed[value.name] = random.integers(0, options.classes, shape)
            else:
                fed[value.name] = random.standard_normal(shape).astype(np.float32)
        yield fed


def attributes(folder):
    """Norm of clipping (none where there is none) and weight decay."""
    nodes = {node.op_type: node for node in onnx.load(folder / "optimizer_model.onnx").graph.node}
    read = lambda node: {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    clip = read(nodes["InplaceClipGradNorm"])["max_norm"] if "InplaceClipGradNorm" in nodes else None
    return clip, read(nodes["AdamWOptimizer"])["weight_decay"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifacts", type=Path)
    parser.add_argument("gradients", type=Path)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=64, help="of axes that the model leaves open")
    parser.add_argument("--classes", type=int, default=3, help="labels are below it")
    parser.add_argument("--rate", type=float, default=1e-3)
    options = parser.parse_args()
    session, weights, users = gradients(options.gradients)
    clip, decay = attributes(options.artifacts)
    state = api.CheckpointState.load_checkpoint(options.artifacts / "checkpoint")
    models = [str(options.artifacts / f"{name}_model.onnx") for name in ("training", "eval", "optimizer")]
    module = api.Module(models[0], state, models[1])
    optimizer = api.Optimizer(models[2], module)
    optimizer.set_learning_rate(options.rate)
    moments = {name: [np.zeros_like(value), np.zeros_like(value)] for name, value in weights.items()}
    names = [output.name for output in session.get_outputs()]
    holds = True
    for step, fed in enumerate(batches(session, users, options), 1):
        inputs = [fed[name] for name in module.input_names() if name in fed]
        module.eval()
        judged = module(*inputs)[0]
        module.train()
        loss = module(*inputs)
        loss = float(loss[0] if isinstance(loss, (list, tuple)) else loss)
        optimizer.step()
        module.lazy_reset_grad()
        found = dict(zip(names, session.run(names, {**fed, **{k: v.astype(np.float32) for k, v in weights.items()}})))
        expected = float(found["loss"])
        slopes = {name: found[f"grad/{name}"].astype(np.float64) for name in weights}
        norm = np.sqrt(sum((slope**2).sum() for slope in slopes.values()))
        factor = min(1.0, clip / (norm + 1e-6)) if clip else 1.0
        for name, slope in slopes.items():
            first, second = moments[name]
            first[...] = BETAS[0] * first + (1 - BETAS[0]) * factor * slope
            second[...] = BETAS[1] * second + (1 - BETAS[1]) * (factor * slope) ** 2
            rate = options.rate / (1 - BETAS[0] ** step)
            root = np.sqrt(second / (1 - BETAS[1] ** step)) + EPSILON
            weights[name] = weights[name] * (1 - options.rate * decay) - rate * first / root
        differences = [abs(value - expected) / abs(expected) for value in (loss, float(judged))]
        holds = holds and max(differences) <= 1e-5
        print(
            f"step {step:3}  training {loss:.7f}  evaluation {float(judged):.7f}  expected {expected:.7f}  "
            f"difference {max(differences):.1e}"
        )
    print(f"{len(weights)} parameters, clip {clip}, weight decay {decay}: " + ("equal" if holds else "DIFFERENT"))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
