//! Configurations of published models give what the catalog says; names and options that are not
//! understood are refused.

use std::path::Path;

use serde_json::{Value, json};

use crate::backbones::zoo::catalog::find;
use crate::backbones::zoo::json_config::Fields;
use crate::backbones::zoo::snapshot::timm_names::Architecture;
use crate::backbones::zoo::snapshot::{Context, Description, describe, timm_names};
use crate::error::Result;
use crate::preprocess::Preprocess;
use crate::support::progress::Silent;

fn described(config: &Value) -> Result<Description> {
    let path = Path::new("folder/config.json");
    let text = config.to_string();
    let fields = Fields::parse(path, &text, "model configuration (JSON)")?;
    describe(&fields, &Context { folder: Path::new("no such folder"), weights: None, progress: &Silent })
}

fn stored(file: &str) -> serde_json::Map<String, Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/snapshots").join(file);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// An architecture without what is meant anyway.
fn essence(mut table: toml::Table) -> toml::Table {
    let number = |table: &toml::Table, key: &str| table.get(key).and_then(toml::Value::as_integer).unwrap_or(0);
    if number(&table, "hidden") == 4 * number(&table, "width") {
        table.remove("hidden");
    }
    let class_position = table.get("class_position").and_then(toml::Value::as_bool);
    if class_position == Some(number(&table, "registers") == 0) {
        table.remove("class_position");
    }
    for key in ["levels", "windows"] {
        let default = toml::Value::try_from([if key == "levels" { 2 } else { 3 }; 4]).unwrap();
        table.retain(|name, value| name != key || *value != default);
    }
    table.retain(|name, value| name != "mlp_ratio" || value.as_float() != Some(4.0));
    for (key, default) in [("registers", toml::Value::Integer(0)), ("stem", toml::Value::Integer(64))] {
        table.retain(|name, value| name != key || *value != default);
    }
    let channels = toml::Value::try_from([64, 128, 256, 512]).unwrap();
    table.retain(|name, value| name != "channels" || *value != channels);
    table.retain(|name, value| {
        let is_default =
            value.as_bool() == Some(name == "patch_bias") || (name == "mlp" && value.as_str() == Some("gelu"));
        !is_default
    });
    table
}

#[test]
fn names_mean_what_timm_makes_of_them() {
    for (name, facts) in stored("timm_names.json") {
        let architecture =
            timm_names::architecture(&name).unwrap_or_else(|| unreachable!("`{name}` is not understood"));
        if matches!(architecture, Architecture::ResNet(..) | Architecture::EfficientNetLite(..)) {
            let found = find(name.trim_start_matches("tf_").replace('_', "-").as_str()).unwrap();
            assert_eq!(json!(found.variant.parameters), facts["parameters"], "{name}");
            continue;
        }
        let table = described(&json!({"architecture": name})).unwrap().architecture;
        for (key, fact) in facts.as_object().unwrap() {
            assert_eq!(&serde_json::to_value(&table[key]).unwrap(), fact, "{name}: {key}");
        }
    }
}

#[test]
fn published_configurations_of_timm_give_the_architectures_of_the_catalog() {
    for (name, config) in stored("timm_published.json") {
        let (entry, found) = (find(&name).unwrap(), described(&config).unwrap());
        assert_eq!(found.family, entry.family, "{name}");
        assert_eq!(essence(found.architecture), essence(entry.variant.architecture), "{name}");
        let preprocess = found.preprocess.unwrap().specification;
        // timm evaluates some otherwise than the original releases, whose preprocessing the catalog
        // has.
        let expected = match name.split('-').next() {
            Some("dinov2") => Preprocess::imagenet(518, 518),
            Some("deit" | "dino") => Preprocess::imagenet(248, 224),
            Some("efficientnet") => {
                Preprocess { mean: vec![0.5; 3], std: vec![0.5; 3], ..entry.variant.preprocess.clone() }
            }
            _ => entry.variant.preprocess,
        };
        assert_eq!(preprocess, expected, "{name}");
    }
}

/// Configurations as the repositories have them; what does not describe the image tower is left
/// out.
#[test]
fn published_configurations_of_other_libraries_give_the_architectures_of_the_catalog() {
    let dinov2 = |width: usize, depth: usize, heads: usize, swiglu: bool| {
        json!({"architectures": ["Dinov2Model"], "attention_probs_dropout_prob": 0.0, "drop_path_rate": 0.0, "hidden_act": "gelu",
            "hidden_dropout_prob": 0.0, "hidden_size": width, "image_size": 518, "initializer_range": 0.02,
            "layer_norm_eps": 1e-06, "layerscale_value": 1.0, "mlp_ratio": 4, "model_type": "dinov2", "num_attention_heads": heads,
            "num_channels": 3, "num_hidden_layers": depth, "patch_size": 14, "qkv_bias": true, "torch_dtype": "float32",
            "transformers_version": "4.31.0.dev0", "use_swiglu_ffn": swiglu})
    };
    let mut with_registers = dinov2(768, 12, 12, false);
    with_registers["model_type"] = "dinov2_with_registers".into();
    with_registers["num_register_tokens"] = 4.into();
    let clip = json!({"architectures": ["CLIPModel"], "model_type": "clip", "projection_dim": 512, "text_config": {"hidden_size": 512},
        "vision_config": {"hidden_act": "quick_gelu", "hidden_size": 768, "image_size": 224, "intermediate_size": 3072,
            "layer_norm_eps": 1e-05, "model_type": "clip_vision_model", "num_attention_heads": 12, "num_hidden_layers": 12,
            "patch_size": 16, "projection_dim": 512, "return_dict": true}, "vision_config_dict": {"hidden_size": 768}});
    let blip = json!({"architectures": ["BlipForConditionalGeneration"], "model_type": "blip", "projection_dim": 512,
        "vision_config": {"hidden_act": "gelu", "hidden_size": 768, "image_size": 384, "intermediate_size": 3072,
            "layer_norm_eps": 1e-05, "model_type": "blip_vision_model", "num_attention_heads": 12, "num_channels": 3,
            "num_hidden_layers": 12, "patch_size": 16}});
    let sam = json!({"architectures": ["SamModel"], "model_type": "sam", "vision_config": {"global_attn_indexes": [2, 5, 8, 11],
        "hidden_act": "gelu", "hidden_size": 768, "image_size": 1024, "intermediate_size": 6144, "layer_norm_eps": 1e-06,
        "mlp_dim": 3072, "mlp_ratio": 4.0, "num_attention_heads": 12, "num_hidden_layers": 12, "output_channels": 256,
        "patch_size": 16, "qkv_bias": true, "use_abs_pos": true, "use_rel_pos": true, "window_size": 14}});
    let open_clip = json!({"model_cfg": {"embed_dim": 512, "vision_cfg": {"image_size": 224, "layers": 12, "width": 768,
        "patch_size": 16}, "text_cfg": {"context_length": 77, "width": 512, "heads": 8, "layers": 12}},
        "preprocess_cfg": {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]}});
    let resnet = json!({"architectures": ["ResNetForImageClassification"], "model_type": "resnet", "depths": [3, 4, 6, 3],
        "downsample_in_first_stage": false, "embedding_size": 64, "hidden_act": "relu", "layer_type": "bottleneck",
        "hidden_sizes": [256, 512, 1024, 2048], "num_channels": 3});
    for (name, config) in [
        ("dinov2-base", dinov2(768, 12, 12, false)),
        ("dinov2-giant", dinov2(1536, 40, 24, true)),
        ("dinov2-base-reg", with_registers),
        ("clip-base", clip),
        ("blip-base", blip),
        ("sam-base", sam),
        ("openclip-base", open_clip),
        ("resnet50", resnet),
    ] {
        let (entry, found) = (find(name).unwrap(), described(&config).unwrap());
        assert_eq!(found.family, entry.family, "{name}");
        assert_eq!(essence(found.architecture), essence(entry.variant.architecture), "{name}");
        if name == "openclip-base" {
            assert_eq!(found.preprocess.unwrap().specification, entry.variant.preprocess);
        }
    }
    // Keys with their class's default are often left out.
    let short = described(&json!({"model_type": "clip_vision_model", "patch_size": 16})).unwrap();
    assert_eq!(essence(short.architecture), essence(find("clip-base").unwrap().variant.architecture));
}

#[test]
fn what_no_family_has_is_refused_by_file_and_key() {
    for (config, expected) in [
        (json!({"hidden_size": 8}), "`model_type`: it is missing, and so are `architecture` (timm)"),
        (json!({"model_type": "swin"}), "`model_type`: `swin` is not one of `blip`"),
        (json!({"model_type": "vit", "hidden_act": "gelu_new"}), "`hidden_act`: the activation `gelu_new` is unknown"),
        (
            json!({"model_type": "clip", "vision_config": {"hidden_act": "tanh"}}),
            "`vision_config.hidden_act`: the activation",
        ),
        (
            json!({"model_type": "dinov2", "image_size": 225}),
            "`image_size`: 225 pixels are not whole patches of `patch_size` = 14",
        ),
        (
            json!({"model_type": "vit", "num_attention_heads": 7}),
            "`num_attention_heads`: 7 heads do not divide `hidden_size` = 768",
        ),
        (json!({"model_type": "vit", "qkv_bias": false}), "`qkv_bias`: `false` is not supported, only `true` is"),
        (json!({"model_type": "vit", "hidden_size": 0}), "`hidden_size`: `0` is not a whole number from 1 to"),
        (
            json!({"model_type": "vit", "hidden_size": 1u64 << 40}),
            "`hidden_size`: `1099511627776` is not a whole number",
        ),
        (json!({"model_type": "vit", "image_size": [224, 256]}), "`image_size`: `[224,256]` is not square"),
        (json!({"model_type": "vit", "num_channels": 1}), "`num_channels`: `1` is not supported"),
        (
            json!({"model_type": "resnet", "downsample_in_bottleneck": true}),
            "`downsample_in_bottleneck`: `true` is not",
        ),
        (json!({"model_type": "sam", "vision_config": []}), "`vision_config`: `[]` is not an object"),
        (json!({"architecture": "swin_base"}), "`architecture`: `swin_base` is no name of timm's that is understood"),
        (
            json!({"architecture": "vit_base_patch16_224", "model_args": {"global_pool": "avg"}}),
            "`model_args.global_pool`: `avg` is not supported, only `token` is",
        ),
        (
            json!({"architecture": "vit_base_patch16_224", "model_args": {"rope_type": "cat"}}),
            "`model_args.rope_type`: this option is not supported",
        ),
        (
            json!({"architecture": "vit_base_patch16_224", "pretrained_cfg": {"crop_mode": "border"}}),
            "`pretrained_cfg.crop_mode`: `border` is not supported",
        ),
        (
            json!({"model_cfg": {"embed_dim": 8, "vision_cfg": {"timm_model_name": "vit_base"}}}),
            "`model_cfg.vision_cfg.timm_model_name`: this option is not supported",
        ),
        (
            json!({"model_cfg": {"embed_dim": 8, "vision_cfg": {"layers": [3, 4, 6, 3]}}}),
            "`model_cfg.vision_cfg.layers`: a list",
        ),
        (json!({"naming": "timm", "architecture": "vit"}), "`img_size`: it is missing"),
        (
            json!({"architecture": "focalnet_tiny_srf", "model_args": {"focal_levels": [2, 2]}}),
            "`model_args.focal_levels`: `[2, 2]` are not four stages",
        ),
        (
            json!({"naming": "seem", "architecture": "d2focalnet", "use_conv_embed": false, "embed_dim": 8}),
            "`depths`: it is missing",
        ),
        (json!({"naming": "timm", "architecture": "mixer"}), "`architecture`: `mixer` is not one of"),
    ] {
        let error = described(&config).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.starts_with("`folder/config.json` "), "{config}: {error}");
        assert!(error.contains(expected), "{config}: {error}");
    }
}
