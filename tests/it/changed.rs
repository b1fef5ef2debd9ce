//! Changed networks: other input channels, fewer blocks. Every family, against the unchanged
//! network and the fixtures.

use std::collections::BTreeMap;
use std::process::Command;

use defrost::backbones::{
    self, Backbone, Blueprint, Changes, ChannelRule, InputChannels, ModelOptions, Origin, Size, Taps,
};
use defrost::error::{Error, ModelError};
use defrost::preprocess::{Channels, Preprocess};
use defrost::runtime::Optimization;
use defrost::support::progress::Silent;
use defrost::tensor::{HostTensor, Tolerance};

use crate::parity::{EFFICIENTNET_LITE, FOCALNET, Fixture, RESNET, all, assert_close, run};

fn changed(fixture: &Fixture, changes: Changes, size: Size) -> defrost::Result<Backbone> {
    let blueprint = Blueprint { changes, ..fixture.entry().blueprint() };
    backbones::build_blueprint(&blueprint, Origin::Weights(&fixture.weights(), None), size, &Taps::All)
}

fn channels(count: usize, rule: ChannelRule) -> Changes {
    Changes { channels: Some(InputChannels::new(count, Some(rule)).unwrap()), ..Changes::default() }
}

fn keep(blocks: usize) -> Changes {
    Changes { keep_blocks: Some(blocks), ..Changes::default() }
}

/// `[1, channels, H, W]` of seeded numbers in 0..1.
fn image(channels: usize, [height, width]: [usize; 2]) -> HostTensor {
    let mut state = 1u32;
    HostTensor::from_fn(&[1, channels, height, width], |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32
    })
}

/// A value for every channel and position of an image of that many channels.
fn mapped(image: &HostTensor, channels: usize, value: impl Fn(&dyn Fn(usize) -> f32, usize) -> f32) -> HostTensor {
    let &[_, own, height, width] = image.shape() else { unreachable!() };
    let (values, plane) = (image.values::<f32>().unwrap(), height * width);
    HostTensor::from_fn(&[1, channels, height, width], |flat| {
        let at = |channel: usize| values[channel % own * plane + flat % plane];
        value(&at, flat / plane)
    })
}

/// The preprocessing's last step.
fn normalised(image: &HostTensor, preprocess: &Preprocess) -> HostTensor {
    let (mean, std) = (&preprocess.mean, &preprocess.std);
    mapped(image, mean.len(), |sample, channel| (sample(channel) - mean[channel]) / std[channel])
}

/// Sizes to try: the fixtures' own, and where it may be, an odd one of an open graph.
fn sizes(fixture: &Fixture) -> Vec<(Size, [usize; 2])> {
    let outputs = fixture.outputs();
    let &[_, _, height, width] = outputs["input"].shape() else { unreachable!() };
    let mut sizes = vec![(Size::Fixed { height, width }, [height, width])];
    if ["efficientnet", "resnet", "focalnet"].iter().any(|family| fixture.folder.starts_with(family)) {
        sizes.extend([(Size::Any, [67, 82]), (Size::Fixed { height: 66, width: 83 }, [66, 83])]);
    }
    sizes
}

/// The adapted network for `channels`, against the unchanged one for `colours`.
#[track_caller]
fn equals_unchanged(fixture: &Fixture, changes: Changes, size: Size, [channels, colours]: [&HostTensor; 2]) {
    let (plain, adapted) = (changed(fixture, Changes::default(), size), changed(fixture, changes, size));
    let expected = run(&plain.unwrap().graph, Optimization::Full, colours);
    let tolerance = fixture.tolerance();
    for (name, found) in run(&adapted.unwrap().graph, Optimization::Full, channels) {
        let what = format!("{} {name} {changes:?} {size:?}", fixture.folder);
        assert_close(&found, &expected[&name], tolerance(&name), &what);
    }
}

#[test]
fn a_grey_image_in_one_channel_equals_itself_in_three() {
    for fixture in all() {
        for (size, shape) in sizes(&fixture) {
            let sum = channels(1, ChannelRule::Sum);
            let (grey, backbone) = (image(1, shape), changed(&fixture, sum, size).unwrap());
            assert_eq!(backbone.preprocess.channels, Channels::Grey);
            let one = normalised(&grey, &backbone.preprocess);
            let three = normalised(&grey, &fixture.entry().variant.preprocess);
            assert_eq!((one.shape()[1], three.shape()[1]), (1, 3));
            equals_unchanged(&fixture, sum, size, [&one, &three]);
        }
    }
}

#[test]
fn the_red_filters_see_the_first_channel_as_it_is() {
    for fixture in all() {
        let (size, shape) = sizes(&fixture)[0];
        let first = image(1, shape);
        let red = mapped(&first, 3, |sample, channel| if channel == 0 { sample(0) } else { 0.0 });
        equals_unchanged(&fixture, channels(1, ChannelRule::Red), size, [&first, &red]);
    }
}

#[test]
fn repeated_filters_share_what_three_channels_give() {
    for fixture in all() {
        let (size, shape) = sizes(&fixture)[0];
        let four = image(4, shape);
        let three =
            mapped(&four, 3, |sample, channel| 0.75 * (sample(channel) + if channel == 0 { sample(3) } else { 0.0 }));
        equals_unchanged(&fixture, channels(4, ChannelRule::Repeat), size, [&four, &three]);
    }
}

/// The mean over the positions of a map, channels first or last, or the first of tokens.
fn pooled(map: &HostTensor, channels: usize, last: bool) -> HostTensor {
    let (batch, values) = (map.shape()[0], map.values::<f32>().unwrap());
    let places = map.len() / batch / channels;
    HostTensor::from_fn(&[batch, channels], |flat| {
        let (row, channel) = (flat / channels, flat % channels);
        let at = |place: usize| if last { place * channels + channel } else { channel * places + place };
        let sum: f64 = (0..places).map(|place| f64::from(values[row * places * channels + at(place)])).sum();
        (sum / places as f64) as f32
    })
}

/// The class token behind the network's last norm.
fn normed_class(tokens: &HostTensor, graph: &defrost::graph::Model) -> HostTensor {
    let &[batch, count, width] = tokens.shape() else { unreachable!() };
    let norm = graph.graph.nodes.iter().rfind(|node| node.operator == "LayerNormalization").unwrap();
    let parameter = |at: usize| {
        let tensor = graph.graph.initializer(&norm.inputs[at]).unwrap().to_host().unwrap();
        tensor.values::<f32>().unwrap().to_vec()
    };
    let (weight, bias) = (parameter(1), parameter(2));
    let Some(defrost::graph::AttributeValue::Float(epsilon)) = norm.attribute("epsilon") else { unreachable!() };
    let epsilon = f64::from(*epsilon);
    let values = tokens.values::<f32>().unwrap();
    let rows = (0..batch).flat_map(|row| {
        let token = &values[row * count * width..][..width];
        let mean = token.iter().map(|x| f64::from(*x)).sum::<f64>() / width as f64;
        let variance = token.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / width as f64;
        let scale = (variance + epsilon).sqrt();
        let normed = token.iter().map(move |x| (f64::from(*x) - mean) / scale);
        normed.zip(weight.iter().zip(&bias)).map(|(x, (w, b))| x as f32 * w + b).collect::<Vec<f32>>()
    });
    HostTensor::from_vec(vec![batch, width], rows.collect()).unwrap()
}

/// The embedding that the documentation promises for a cut behind a block, from what the fixture
/// stored.
fn promised(
    fixture: &Fixture,
    kept: usize,
    expected: &BTreeMap<String, HostTensor>,
    graph: &defrost::graph::Model,
) -> HostTensor {
    let last = &expected[&format!("block_{:02}", kept - 1)];
    match fixture.folder {
        "focalnet-d2-seem" => {
            let normed = &expected[&format!("res{}", kept + 1)];
            pooled(normed, normed.shape()[1], false)
        }
        folder if folder.starts_with("sam") => pooled(last, last.shape()[3], true),
        _ if last.shape().len() == 4 => pooled(last, last.shape()[1], false),
        _ => normed_class(last, graph),
    }
}

#[test]
fn a_cut_network_gives_the_stored_block_and_the_promised_embedding() {
    for fixture in all() {
        let (expected, tolerance) = (fixture.outputs(), fixture.tolerance());
        let blocks = expected.keys().filter(|name| name.starts_with("block_")).count();
        let &[_, _, height, width] = expected["input"].shape() else { unreachable!() };
        let whole = changed(&fixture, Changes::default(), Size::Any).unwrap();
        for kept in 1..blocks {
            for size in [Size::Any, Size::Fixed { height, width }] {
                let cut = changed(&fixture, keep(kept), size).unwrap();
                assert_eq!(cut.provenance.changes, [format!("first {kept} of {blocks} blocks")]);
                let found = run(&cut.graph, Optimization::Full, &expected["input"]);
                let what = format!("{}, first {kept} blocks", fixture.folder);
                for index in 0..kept {
                    let name = format!("block_{index:02}");
                    assert_close(&found[&name], &expected[&name], tolerance(&name), &what);
                }
                assert!(!found.contains_key(&format!("block_{kept:02}")), "{what}");
                assert!(!found.contains_key("projected"), "{what}");
                let embedding = promised(&fixture, kept, &expected, &cut.graph);
                assert_eq!(cut.embedding.width, embedding.shape()[1], "{what}");
                // The norm of a small token may enlarge what the blocks are off by.
                let Tolerance::Absolute(most) = tolerance(&format!("block_{:02}", kept - 1)) else { unreachable!() };
                assert_close(&found["embedding"], &embedding, Tolerance::Absolute(5.0 * most), &what);
                // What is left out is left out of the file, too.
                let names = |backbone: &Backbone| -> Vec<String> {
                    backbone.graph.graph.initializers.iter().map(|tensor| tensor.name.clone()).collect()
                };
                let (kept_names, all_names) = (names(&cut), names(&whole));
                assert!(kept_names.len() < all_names.len(), "{what}");
                let used: Vec<&String> = cut.graph.graph.nodes.iter().flat_map(|node| &node.inputs).collect();
                let unused: Vec<_> = kept_names.iter().filter(|name| !used.contains(name)).collect();
                assert!(unused.is_empty(), "{what}: {unused:?}");
            }
        }
        let all_kept = changed(&fixture, keep(blocks), Size::Any).unwrap();
        assert_eq!(all_kept.graph.to_bytes().unwrap(), whole.graph.to_bytes().unwrap(), "{}", fixture.folder);
    }
}

#[test]
fn the_weights_of_a_cut_network_still_have_to_be_those_of_the_whole() {
    let mut tensors = defrost::tensor::safetensors::read(&RESNET.path("model.safetensors")).unwrap().0;
    tensors.remove("layer4.0.bn2.weight").unwrap();
    let weights = defrost::tensor::Weights::from_tensors(tensors);
    let blueprint = Blueprint { changes: keep(1), ..RESNET.entry().blueprint() };
    let error = backbones::build_blueprint(&blueprint, Origin::Weights(&weights, None), Size::Any, &Taps::None);
    let error = error.unwrap_err();
    assert!(matches!(&error, Error::Model(ModelError::Misfit { .. })), "{error}");
}

#[test]
fn what_cannot_be_changed_is_refused() {
    let open = |options: ModelOptions| {
        backbones::open("resnet18", &ModelOptions { random_weights: Some(0), ..options }, &Silent).unwrap_err()
    };
    for (options, expected) in [
        (ModelOptions { keep_blocks: Some(0), ..ModelOptions::default() }, "has 4 blocks, of which 0 cannot be kept"),
        (ModelOptions { keep_blocks: Some(5), ..ModelOptions::default() }, "has 4 blocks, of which 5 cannot be kept"),
        (
            ModelOptions { channel_rule: Some(ChannelRule::Red), ..ModelOptions::default() },
            "`channel-rule` does not apply",
        ),
        (
            ModelOptions { channels: Some(4), channel_rule: Some(ChannelRule::Sum), ..ModelOptions::default() },
            "`sum` makes one channel",
        ),
    ] {
        let error = open(options).to_string();
        assert!(error.contains(expected), "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let grey = folder.path().join("grey.toml");
    std::fs::write(&grey, "channels = \"grey\"\nfilter = \"bilinear\"\nresize = { exact = { height = 64, width = 64 } }\nmean = [0.5]\nstd = [0.25]\n").unwrap();
    let options = ModelOptions { preprocess: Some(grey.clone()), ..ModelOptions::default() };
    let error = open(options).to_string();
    assert_eq!(error, "`resnet18` takes 3 channels, its preprocessing gives 1");
    let options =
        ModelOptions { preprocess: Some(grey), channels: Some(1), random_weights: Some(0), ..ModelOptions::default() };
    let backbone = backbones::open("resnet18", &options, &Silent).unwrap();
    assert_eq!(
        (backbone.preprocess.mean.as_slice(), backbone.preprocess.std.as_slice()),
        ([0.5].as_slice(), [0.25].as_slice())
    );
}

#[test]
fn files_and_caches_tell_the_changes() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    for (class, shade) in [("dark", 40u8), ("light", 200)] {
        std::fs::create_dir_all(images.join(class)).unwrap();
        let pixels = image::GrayImage::from_fn(40, 30, |x, y| image::Luma([shade.wrapping_add((x * y) as u8)]));
        pixels.save(images.join(class).join("a.png")).unwrap();
    }
    let defrost = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_defrost"));
        command.current_dir(folder.path()).args(arguments).output().unwrap()
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let built = defrost(&[
        "models",
        "build",
        "efficientnet-lite0",
        "--random-weights",
        "0",
        "--channels",
        "1",
        "--keep-blocks",
        "2",
        "--out",
        "small.onnx",
    ]);
    assert!(built.status.success(), "{}", text(&built.stderr));
    let expected = "input channels 1 (sum), first 2 of 7 blocks";
    assert!(text(&built.stdout).contains(expected), "{}", text(&built.stdout));
    let model = defrost::graph::Model::load(&folder.path().join("small.onnx")).unwrap();
    assert_eq!(model.property("defrost.changes"), Some("input channels 1 (sum); first 2 of 7 blocks"));
    let path = folder.path().join("small.onnx");
    let backbone = backbones::open(path.to_str().unwrap(), &ModelOptions::default(), &Silent).unwrap();
    assert_eq!(backbone.provenance.changes.join(", "), expected);
    assert_eq!((backbone.preprocess.channels, backbone.embedding.width), (Channels::Grey, 24));
    let embed = |arguments: &[&str]| {
        let fixed = ["embed", "images", "--model", "efficientnet-lite0", "--random-weights", "0", "--out", "cache"];
        defrost(&[&fixed, arguments].concat())
    };
    let output = embed(&["--channels", "1", "--keep-blocks", "2"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let manifest = defrost::embed::Manifest::read(&folder.path().join("cache")).unwrap().unwrap();
    assert_eq!(manifest.model.changes.join(", "), expected);
    assert_eq!(manifest.rows, 2);
    let other = embed(&["--channels", "1", "--channel-rule", "red", "--keep-blocks", "2"]);
    assert_eq!(other.status.code(), Some(2));
    let told = "changes to the network: cached input channels 1 (sum), first 2 of 7 blocks, now input channels 1 (red)";
    assert!(text(&other.stderr).contains(told), "{}", text(&other.stderr));
    let many = defrost(&[
        "embed",
        "images",
        "--model",
        "efficientnet-lite0",
        "--random-weights",
        "0",
        "--out",
        "many",
        "--channels",
        "4",
    ]);
    assert_eq!(many.status.code(), Some(2));
    assert!(text(&many.stderr).contains("`channels` is 4, expected colours or grey"), "{}", text(&many.stderr));
}

#[test]
fn a_tap_that_shares_its_value_with_another_keeps_its_name() {
    for (fixture, tap) in [(RESNET, "block_03"), (EFFICIENTNET_LITE, "block_06"), (FOCALNET[0], "block_03")] {
        for name in [tap, "tokens"] {
            let taps = Taps::Names(vec![name.to_owned()]);
            let backbone = fixture.build(&fixture.weights(), Size::Any, &taps).unwrap();
            let (expected, tolerance) = (fixture.outputs(), fixture.tolerance());
            let found = run(&backbone.graph, Optimization::Full, &expected["input"]);
            assert_close(&found[name], &expected[name], tolerance(name), name);
        }
    }
}
