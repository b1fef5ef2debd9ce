"""Writes `tests/fixtures/snapshots`: configurations as timm and transformers save them, for the weights of `tests/fixtures/backbones`;
and the fixtures `resnet-transformers` and `deit-transformers`, which have weights and outputs of their own.

usage: python scripts/reference/snapshots.py    (needs torch, timm, transformers, safetensors; run once, the results are kept)

Every configuration is checked first: the library builds its model from it, loads the fixture's weights strictly and must give the
fixture's embedding. `timm_names.json` holds what timm makes of its names; `timm_published.json` what it saves for the models that
the catalog names.
"""

import json
import re
import tempfile
import tomllib
from pathlib import Path

import timm
import torch
import transformers as hf
from safetensors.torch import load_file, save_file
from timm.models.focalnet import FocalNet
from timm.models._hub import save_config_for_hf

ROOT = Path(__file__).resolve().parents[2]
BACKBONES = ROOT / "tests/fixtures/backbones"
FOLDER = ROOT / "tests/fixtures/snapshots"
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
torch.manual_seed(0)


def fixture(name):
    read = lambda file: load_file(BACKBONES / name / file)
    config = json.loads((BACKBONES / name / "config.json").read_text())
    return config, read("model.safetensors"), read("io.safetensors")


def saved_timm(model, **options):
    with tempfile.TemporaryDirectory() as folder:
        save_config_for_hf(model, str(Path(folder) / "config.json"), **options)
        return json.loads((Path(folder) / "config.json").read_text())


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n")


def close(found, expected, name):
    worst = (found - expected).abs().max().item()
    assert worst < 1e-4, (name, worst)
    print(f"{name}: within {worst:.1e} of the fixture")


def of_timm(name, **arguments):
    config, weights, tensors = fixture(name)
    config = {"img_size": 64} | config
    entrypoint = config.get("entrypoint") or config.get("like_entrypoint", "focalnet_tiny_lrf")
    size = config["img_size"]
    data = {"input_size": (3, size, size)}
    if entrypoint.startswith("focalnet"):
        # These functions take no sizes; the class does.
        model = FocalNet(**{"num_classes": 0} | arguments).eval()
        model.pretrained_cfg = timm.get_pretrained_cfg(f"{entrypoint}.ms_in1k").to_dict()
    else:
        model = timm.create_model(entrypoint, num_classes=config.get("num_classes", 0), **arguments).eval()
    model.load_state_dict(weights)
    with torch.no_grad():
        features = model.forward_features(tensors["input"])
        if name == "sam-timm":
            close(features, tensors["tokens"], name)
        else:
            close(features.mean((2, 3)) if features.ndim == 4 else features[:, 0], tensors["embedding"], name)
    write(FOLDER / name / "config.json", saved_timm(model, model_args=arguments, data_config=data))


vit = dict(img_size=56, depth=2, mlp_ratio=3.0)
of_timm("dinov2-timm", **vit, embed_dim=48, num_heads=4)
of_timm("dinov2-reg4-timm", **vit, embed_dim=40, num_heads=5)
of_timm("dinov2-swiglu-timm", img_size=56, depth=2, embed_dim=36, num_heads=3)
of_timm("dino-vit-timm", img_size=64, depth=2, embed_dim=48, num_heads=3, mlp_ratio=3.0)
of_timm("clip-timm", img_size=64, depth=2, embed_dim=40, num_heads=4, mlp_ratio=3.0)
of_timm("resnet-timm", layers=[1, 2, 2, 1], channels=[8, 12, 16, 24])
of_timm(
    "sam-timm", img_size=56, patch_size=8, embed_dim=40, depth=2, num_heads=4, window_size=4, global_attn_indexes=[1],
    neck_chans=24,
)

of_timm("focalnet-srf-timm", embed_dim=6, depths=[1, 1, 2, 1])
of_timm("focalnet-lrf-timm", embed_dim=6, depths=[1, 2, 1, 1], focal_levels=[3, 3, 3, 3])
of_timm("focalnet-post-timm", **fixture("focalnet-post-timm")[0]["options"])


def of_transformers(name, config, processor, whole=None):
    """Saves a configuration, `whole` where it is part of a larger model's, and an image processor."""
    _, weights, tensors = fixture(name)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        config.save_pretrained(folder)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        kinds = {"clip_vision_model": hf.CLIPVisionModelWithProjection, "blip_vision_model": hf.BlipVisionModel}
        model = kinds.get(config.model_type, hf.AutoModel).from_pretrained(folder).eval()
        with torch.no_grad():
            outputs = model(tensors["input"])
        projects = config.model_type == "clip_vision_model"
        found, key = (outputs.image_embeds, "projected") if projects else (outputs.last_hidden_state, "tokens")
        close(found, tensors[key], name)
    target = FOLDER / name
    target.mkdir(parents=True, exist_ok=True)
    (whole or config).save_pretrained(target)
    processor.save_pretrained(target)


def described(name, kind):
    return kind(**fixture(name)[0]["hf_config"])


square = lambda side: {"height": side, "width": side}
of_transformers(
    "dinov2-transformers", described("dinov2-transformers", hf.Dinov2Config),
    hf.BitImageProcessor(size={"shortest_edge": 64}, crop_size=square(56), **IMAGENET),
)
of_transformers(
    "dino-vit-transformers", described("dino-vit-transformers", hf.ViTConfig), hf.ViTImageProcessor(size=square(64))
)
clip = described("clip-transformers", hf.CLIPVisionConfig)
of_transformers(
    "clip-transformers", clip, hf.CLIPImageProcessor(size={"shortest_edge": 56}, crop_size=square(56)),
    hf.CLIPConfig(vision_config=clip.to_dict(), projection_dim=clip.projection_dim),
)
blip = described("blip-transformers", hf.BlipVisionConfig)
of_transformers("blip-transformers", blip, hf.BlipImageProcessor(size=square(56)), hf.BlipConfig(vision_config=blip.to_dict()))
sam = described("sam-transformers", hf.SamVisionConfig)
of_transformers("sam-transformers", sam, hf.SamImageProcessor(), hf.SamConfig(vision_config=sam.to_dict()))


def new_fixture(name, model, config, processor, embedding, sizes):
    """A fixture with random weights of its own: weights, inputs and outputs, and how far f32 is from f64."""
    model = model(config).eval()
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                scale = 0.1 if tensor.ndim > 1 else 0.3
                around_one = key.endswith(("norm.weight", "_before.weight", "_after.weight", "normalization.weight", "running_var"))
                tensor.copy_(torch.randn_like(tensor) * scale + float(around_one))
                if key.endswith("running_var"):
                    tensor.abs_()
    tensors, distances = {}, {}
    for suffix, shape in sizes.items():
        image = torch.randn(shape)
        tensors[f"input{suffix}"] = image
        exact = embedding(model.double(), image.double())
        for key, value in embedding(model.float(), image).items():
            tensors[f"{key}{suffix}"] = value.contiguous().clone()
            distances[f"{key}{suffix}"] = (value.double() - exact[key]).abs().max().item()
    target = BACKBONES / name
    target.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        weights = load_file(Path(folder) / "model.safetensors")
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    save_file(tensors, target / "io.safetensors")
    reference = {"library": f"transformers {hf.__version__}", "torch": torch.__version__.split("+")[0]}
    write(target / "config.json", {"fixture": name, "reference": reference, "tolerance": {"max_abs_f32_minus_f64": distances}})
    config.architectures = [type(model).__name__]
    (FOLDER / name).mkdir(parents=True, exist_ok=True)
    config.save_pretrained(FOLDER / name)
    processor.save_pretrained(FOLDER / name)


def of_resnet(model, image):
    with torch.no_grad():
        outputs = model(image, output_hidden_states=True)
    found = {"tokens": outputs.last_hidden_state, "embedding": outputs.pooler_output.flatten(1)}
    return found | {f"block_{at:02}": value for at, value in enumerate(outputs.hidden_states[1:])}


def of_deit(model, image):
    with torch.no_grad():
        outputs = model(image, output_hidden_states=True, interpolate_pos_encoding=True)
    found = {"tokens": outputs.last_hidden_state, "embedding": outputs.last_hidden_state[:, 0]}
    # The last of the hidden states may have passed the last norm already, depending on the version.
    return found | {"block_00": outputs.hidden_states[1]}


new_fixture(
    "resnet-transformers", hf.ResNetModel,
    hf.ResNetConfig(embedding_size=16, hidden_sizes=[32, 48, 64, 96], depths=[1, 2, 2, 1]),
    hf.ConvNextImageProcessor(size={"shortest_edge": 64}, crop_pct=0.875, **IMAGENET),
    of_resnet, {"": (2, 3, 64, 64), "_hi": (1, 3, 67, 82)},
)
new_fixture(
    "deit-transformers", hf.DeiTModel,
    hf.DeiTConfig(hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96, image_size=64),
    hf.DeiTImageProcessor(size=square(72), crop_size=square(64)),
    of_deit, {"": (2, 3, 64, 64), "_hi": (1, 3, 64, 80)},
)

UNDERSTOOD = re.compile(
    r"vit_(tiny|small|medium|base|large|huge|giant|gigantic)_patch\d+_((reg\d_)?dinov2|(clip_(quickgelu_)?)?\d+)"
    r"|deit_\w+_(distilled_)?patch16_\d+|samvit_\w+_patch16|resnet(18|34|50|101|152)|tf_efficientnet_lite\d"
    r"|focalnet_(tiny|small|base|large|xlarge|huge)_(srf|lrf|fl3|fl4)"
)


def facts(name):
    with torch.device("meta"):
        model = timm.create_model(name)
    shapes = {key: list(value.shape) for key, value in model.state_dict().items()}
    if name.startswith(("resnet", "tf_eff")):
        return {"parameters": sum(p.numel() for key, p in model.named_parameters() if not key.startswith(("fc.", "classifier.")))}
    if name.startswith("focalnet"):
        stages, modulations = model.layers, [stage.blocks[0].modulation for stage in model.layers]
        return {
            "width": shapes["stem.proj.weight"][0], "depths": [len(stage.blocks) for stage in stages],
            "levels": [modulation.focal_level for modulation in modulations],
            "windows": [modulation.focal_window for modulation in modulations],
            "mlp_ratio": stages[0].blocks[0].mlp_ratio, "overlap": shapes["stem.proj.weight"][2] == 7,
            "post_norm": "layers.0.blocks.0.norm1_post.weight" in shapes,
            "norm_in_modulation": "layers.0.blocks.0.modulation.norm.weight" in shapes,
            "scaled_modulator": modulations[0].normalize_modulator,
            "layer_scale": "layers.0.blocks.0.ls1.gamma" in shapes,
        }
    block = model.blocks[0]
    found = {
        "image": model.patch_embed.img_size[0], "patch": model.patch_embed.patch_size[0], "width": model.embed_dim,
        "depth": len(model.blocks), "heads": block.attn.num_heads, "hidden": block.mlp.fc2.weight.shape[1],
        "epsilon": block.norm1.eps,
    }
    if name.startswith("samvit"):
        return found | {
            "window": max(block.window_size for block in model.blocks),
            "global_blocks": [at for at, block in enumerate(model.blocks) if block.window_size == 0],
            "neck": shapes["neck.0.weight"][0],
        }
    positions = shapes["pos_embed"][1] - (found["image"] // found["patch"]) ** 2
    activation = type(block.mlp.act).__name__
    mlp = {"GELU": "gelu", "QuickGELU": "quick-gelu", "SiLU": "swiglu"}[activation]
    return found | {
        "mlp": mlp, "layer_scale": "blocks.0.ls1.gamma" in shapes, "registers": shapes.get("reg_token", [0, 0])[1],
        "class_position": positions > 0, "distilled": "dist_token" in shapes,
        "norm_before": "norm_pre.weight" in shapes, "patch_bias": "patch_embed.proj.bias" in shapes,
    }


names = [name for name in timm.list_models() if UNDERSTOOD.fullmatch(name)]
write(FOLDER / "timm_names.json", {name: facts(name) for name in names})
published = {}
for path in sorted((ROOT / "models").glob("*.toml")):
    for variant in tomllib.loads(path.read_text())["variant"]:
        repository = variant.get("hub", {}).get("repository", "")
        if repository.startswith("timm/") and UNDERSTOOD.fullmatch(repository[5:].split(".")[0]):
            with torch.device("meta"):
                model = timm.create_model(repository[5:])
            published[variant["name"]] = saved_timm(model)
write(FOLDER / "timm_published.json", published)
print(f"{len(names)} names, {len(published)} published configurations")
