//! Weights under every name they are published by: the original releases' names give the fixtures'
//! numbers, too, and for every naming what is missing, left over or of a wrong shape is listed with
//! the nearest names.

use defrost::backbones::{self, Origin, Size, Taps};
use defrost::error::{Error, ModelError};
use defrost::runtime::Optimization;
use defrost::tensor::safetensors::{self, Tensors};
use defrost::tensor::{HostTensor, Weights};

use crate::parity::{FOCALNET, Fixture, SAM, TRANSFORMERS, all, assert_close, run};

fn fixture(folder: &str) -> Fixture {
    all().into_iter().find(|fixture| fixture.folder == folder).unwrap()
}

fn tensors(fixture: &Fixture) -> Tensors {
    safetensors::read(&fixture.path("model.safetensors")).unwrap().0
}

/// The same tensors by other names; what `rename` does not name is dropped.
fn renamed(tensors: Tensors, rename: impl Fn(&str) -> Option<String>) -> Tensors {
    tensors.into_iter().filter_map(|(name, tensor)| Some((rename(&name)?, tensor))).collect()
}

fn below(tensors: Tensors, prefix: &str) -> Tensors {
    renamed(tensors, |name| Some(format!("{prefix}{name}")))
}

fn replaced(name: &str, pairs: &[(&str, &str)]) -> String {
    pairs.iter().fold(name.to_owned(), |name, (from, to)| name.replace(from, to))
}

/// What the fixture stored at its base size comes out under these names, too.
#[track_caller]
fn equals_fixture(fixture: &Fixture, tensors: Tensors, naming: &str) {
    let weights = Weights::from_tensors(tensors);
    let backbone = backbones::build(&fixture.entry(), Origin::Weights(&weights, None), Size::Any, &Taps::All).unwrap();
    assert_eq!(backbone.graph.property("defrost.naming"), Some(naming));
    let (expected, tolerance) = (fixture.outputs(), fixture.tolerance());
    for (name, tensor) in run(&backbone.graph, Optimization::Full, &expected["input"]) {
        assert_close(&tensor, &expected[&name], tolerance(&name), &format!("{} as {naming}: {name}", fixture.folder));
    }
}

#[test]
fn focalnet_by_the_names_of_its_release_and_of_seem() {
    for folder in ["focalnet-srf-timm", "focalnet-post-timm"] {
        let fixture = fixture(folder);
        let release = tensors(&fixture).into_iter().map(|(name, tensor)| {
            let name = replaced(
                &name,
                &[
                    ("stem.", "patch_embed."),
                    ("_post.", "."),
                    ("modulation.norm.", "modulation.ln."),
                    ("ls1.gamma", "gamma_1"),
                    ("ls2.gamma", "gamma_2"),
                    ("layers.1.downsample", "layers.0.downsample"),
                    ("layers.2.downsample", "layers.1.downsample"),
                    ("layers.3.downsample", "layers.2.downsample"),
                ],
            );
            // Linear layers are matrices there, all but the one called `h`.
            let is_linear = ["modulation.f.weight", "modulation.proj.weight", "fc1.weight", "fc2.weight"];
            let shape = match is_linear.iter().any(|end| name.ends_with(end)) {
                true => tensor.shape()[..2].to_vec(),
                false => tensor.shape().to_vec(),
            };
            (format!("model.{name}"), tensor.reshaped(shape).unwrap())
        });
        equals_fixture(&fixture, release.collect(), "microsoft");
    }
    let seem = FOCALNET[3];
    let mut checkpoint = below(tensors(&seem), "backbone.");
    checkpoint.insert("sem_seg_head.predictor.query_feat.weight".to_owned(), HostTensor::vector(vec![1f32; 4]));
    equals_fixture(&seem, checkpoint, "seem");
}

#[test]
fn sam_by_the_names_of_its_release() {
    let release = renamed(tensors(&SAM[0]), |name| {
        Some(format!("image_encoder.{}", replaced(name, &[("mlp.fc1.", "mlp.lin1."), ("mlp.fc2.", "mlp.lin2.")])))
    });
    equals_fixture(&SAM[0], release, "segment-anything");
}

#[test]
fn blip_and_dino_by_the_names_of_their_releases() {
    let dino = fixture("dino-vit-timm");
    let mut whole = below(tensors(&dino), "visual_encoder.");
    whole.insert("text_encoder.embeddings.word_embeddings.weight".to_owned(), HostTensor::vector(vec![1f32; 4]));
    equals_fixture(&dino, whole, "timm");
}

/// A position for the class token, which timm has added to the token itself.
fn with_class_position(tensors: &mut Tensors, name: &str) {
    let positions = tensors[name].values::<f32>().unwrap().into_owned();
    let &[_, count, width] = tensors[name].shape() else { unreachable!() };
    let values = [vec![0.0; width], positions].concat();
    tensors.insert(name.to_owned(), HostTensor::from_vec(vec![1, count + 1, width], values).unwrap());
}

#[test]
fn dinov2_by_the_names_of_its_release() {
    for folder in ["dinov2-timm", "dinov2-reg4-timm", "dinov2-swiglu-timm"] {
        let fixture = fixture(folder);
        let width = tensors(&fixture)["norm.bias"].len();
        let mut release = renamed(tensors(&fixture), |name| {
            let mlp = [("mlp.fc1.", "mlp.w12."), ("mlp.fc2.", "mlp.w3.")];
            let name = replaced(name, &[("reg_token", "register_tokens")]);
            Some(if folder == "dinov2-swiglu-timm" { replaced(&name, &mlp) } else { name })
        });
        release.insert("mask_token".to_owned(), HostTensor::from_vec(vec![1, width], vec![0f32; width]).unwrap());
        if folder == "dinov2-reg4-timm" {
            with_class_position(&mut release, "pos_embed");
        }
        equals_fixture(&fixture, release, "dinov2");
    }
}

#[test]
fn dinov2_with_registers_or_swiglu_by_the_names_of_transformers() {
    for folder in ["dinov2-reg4-timm", "dinov2-swiglu-timm"] {
        let fixture = fixture(folder);
        let mut named = Tensors::new();
        for (name, tensor) in tensors(&fixture) {
            if let Some((start, end)) = name.split_once("attn.qkv.") {
                // One matrix for query, key and value becomes three.
                let part = tensor.bytes().len() / 3;
                for (at, which) in ["query", "key", "value"].into_iter().enumerate() {
                    let mut shape = tensor.shape().to_vec();
                    shape[0] /= 3;
                    let bytes = tensor.bytes().slice(at * part..(at + 1) * part);
                    let start = start.replace("blocks.", "encoder.layer.");
                    let name = format!("{start}attention.attention.{which}.{end}");
                    named.insert(name, HostTensor::new(tensor.dtype(), shape, bytes).unwrap());
                }
                continue;
            }
            let mlp = [("mlp.fc1.", "mlp.weights_in."), ("mlp.fc2.", "mlp.weights_out.")];
            let name = if folder == "dinov2-swiglu-timm" { replaced(&name, &mlp) } else { name };
            let name = match name.strip_prefix("norm.") {
                Some(rest) => format!("layernorm.{rest}"),
                None => name,
            };
            let name = replaced(
                &name,
                &[
                    ("cls_token", "embeddings.cls_token"),
                    ("pos_embed", "embeddings.position_embeddings"),
                    ("reg_token", "embeddings.register_tokens"),
                    ("patch_embed.proj.", "embeddings.patch_embeddings.projection."),
                    ("blocks.", "encoder.layer."),
                    ("attn.proj.", "attention.output.dense."),
                    ("ls1.gamma", "layer_scale1.lambda1"),
                    ("ls2.gamma", "layer_scale2.lambda1"),
                ],
            );
            named.insert(name, tensor);
        }
        if folder == "dinov2-reg4-timm" {
            with_class_position(&mut named, "embeddings.position_embeddings");
        }
        equals_fixture(&fixture, named, "transformers-dinov2");
    }
}

/// Names of parts that a backbone leaves out or can do without.
const UNNEEDED: [&str; 7] =
    ["num_batches_tracked", "mask_token", "pooler.dense", "position_ids", "classifier.", "head.", "fc."];

fn refusal(fixture: &Fixture, tensors: Tensors) -> Option<ModelError> {
    match fixture.build(&Weights::from_tensors(tensors), Size::Any, &Taps::None) {
        Ok(_) => None,
        Err(Error::Model(error)) => Some(error),
        Err(other) => unreachable!("{}: {other}", fixture.folder),
    }
}

#[test]
fn what_does_not_fit_is_listed_for_every_naming() {
    for fixture in all() {
        let own = tensors(&fixture);
        let is_left_out = |name: &str| {
            let end =
                |part: &str| name.starts_with(part) || (part.starts_with(|c: char| c != 'f') && name.contains(part));
            UNNEEDED.iter().any(|part| end(part))
        };
        // open_clip's file holds the text tower, too.
        let tower = if fixture.folder == "openclip-visual" { "visual." } else { "" };
        let needed: Vec<&String> = own.keys().filter(|name| name.starts_with(tower) && !is_left_out(name)).collect();
        let (mut listed, mut foreign) = (0, 0);
        for name in needed.iter().step_by(needed.len() / 6) {
            let what = format!("{}: {name}", fixture.folder);
            let mut changed = own.clone();
            let moved = changed.remove(*name).unwrap();
            changed.insert(format!("{name}_old"), moved);
            match refusal(&fixture, changed.clone()).expect(&what) {
                ModelError::Misfit { misfits, .. } => {
                    assert_eq!(misfits.left_over, [format!("{name}_old")], "{what}");
                    let [(missing, nearest)] = misfits.missing.as_slice() else { unreachable!("{what}: {misfits}") };
                    assert_eq!(missing, *name, "{what}");
                    let are_there = !nearest.is_empty() && nearest.iter().all(|name| changed.contains_key(name));
                    assert!(are_there, "{what}: {nearest:?}");
                    listed += 1;
                }
                ModelError::ForeignWeights { expected, .. } => {
                    assert!(expected.iter().any(|anchor| name.ends_with(anchor)), "{what}: {expected:?}");
                    foreign += 1;
                }
                other => unreachable!("{what}: {other}"),
            }
            let mut changed = own.clone();
            let longer = own[*name].len() + 1;
            changed.insert((*name).clone(), HostTensor::vector(vec![0f32; longer]));
            let Some(ModelError::Misfit { misfits, .. }) = refusal(&fixture, changed) else { unreachable!("{what}") };
            let [(unlike, needed, found)] = misfits.unlike.as_slice() else { unreachable!("{what}: {misfits}") };
            assert_eq!((unlike, found), (*name, &format!("[{longer}]")), "{what}");
            assert!(needed.starts_with('['), "{what}: {needed}");
        }
        assert!(listed >= 4, "{}: {listed} listed, {foreign} without the anchor", fixture.folder);
    }
}

#[test]
fn every_naming_has_an_anchor_that_no_other_library_uses() {
    // Weights of one library are never taken for those of another.
    for fixture in TRANSFORMERS.into_iter().chain(SAM).chain(FOCALNET) {
        let backbone = fixture.build(&fixture.weights(), Size::Any, &Taps::None).unwrap();
        let naming = backbone.graph.property("defrost.naming").unwrap().to_owned();
        let library = fixture.folder.rsplit('-').next().unwrap();
        let expected = match library {
            "visual" => "open_clip",
            other => other,
        };
        assert!(naming.starts_with(expected), "{}: {naming}", fixture.folder);
    }
}
