//! Fine-tuning runs as models: what their folders give is what their networks compute before the
//! head, whatever they started from.

use std::path::Path;

use defrost::backbones::{self, Backbone, ModelOptions, Size, Taps};
use defrost::data::Dataset;
use defrost::data::augment::Augmentation;
use defrost::finetune::{BatchNorm, FineTune, Freeze, Line, Recipe, read_journal};
use defrost::graph::{BatchNormParameters, Builder, ConvOptions, Dim, Model};
use defrost::runtime::{Device, ModelSource, Session, SessionOptions};
use defrost::support::progress::Silent;
use defrost::support::seed::Seed;
use defrost::tensor::{DType, HostTensor};
use rand::Rng;

use crate::session::runtime;

const SIDE: usize = 32;

fn drawn(name: &str, shape: &[usize], bound: f32) -> HostTensor {
    let mut random = Seed::new(3).named(name).random();
    HostTensor::from_fn(shape, |_| random.gen_range(-bound..bound))
}

/// Dark and bright noise, `each` images of both.
fn images(folder: &Path, each: usize) -> Dataset {
    for (class, name) in ["dark", "bright"].into_iter().enumerate() {
        std::fs::create_dir_all(folder.join(name)).unwrap();
        for number in 0..each {
            let mut random = Seed::new(number as u64).named(name).random();
            let low = 60 * class as u8;
            let image = image::RgbImage::from_fn(40, 40, |_, _| {
                image::Rgb([0; 3].map(|_: u8| random.gen_range(low..low + 150)))
            });
            image.save(folder.join(name).join(format!("{number:02}.png"))).unwrap();
        }
    }
    Dataset::open(folder).unwrap()
}

fn at_size(options: ModelOptions) -> ModelOptions {
    ModelOptions { size: Some(Size::Fixed { height: SIDE, width: SIDE }), ..options }
}

/// A short training from `model`.
fn train(model: &str, options: ModelOptions, images: &Dataset, run: &Path) {
    let recipe = Recipe { augmentation: Augmentation::default(), bootstrap: 0, ..Recipe::default() };
    let run_of = FineTune::new(model).unwrap().model_options(options).recipe(recipe).epochs(1).batch(4);
    run_of.learning_rates([1e-3]).device(Device::Cpu).run(images, run).unwrap();
}

fn open(model: &Path, options: &ModelOptions) -> Backbone {
    backbones::open(&model.display().to_string(), options, &Silent).unwrap()
}

/// What a graph gives for the images of a seed.
fn output(model: &Model, input: &str, shape: [usize; 4], name: &str) -> Vec<f32> {
    let bytes = model.to_bytes().unwrap();
    let options = SessionOptions { device: Device::Cpu, threads: 1, ..SessionOptions::default() };
    let mut session = Session::open(&runtime(), ModelSource::Bytes(&bytes), &options).unwrap();
    let result = session.run(&[(input, &drawn("images", &shape, 2.0))], &[name]).unwrap();
    result[0].values::<f32>().unwrap().into_owned()
}

/// Whether the folder's embedding is that of the run's own network.
fn check(run: &Path, channels: usize) {
    let (backbone, shape) = (open(run, &ModelOptions::default()), [2, channels, SIDE, SIDE]);
    let network = Model::load(&run.join("model.onnx")).unwrap();
    let expected = output(&network, &backbone.input, shape, "embedding");
    let found = output(&backbone.graph, &backbone.input, shape, &backbone.embedding.name);
    let largest = expected.iter().fold(0f32, |most, value| most.max(value.abs()));
    let difference = expected.iter().zip(&found).fold(0f32, |most, (a, b)| most.max((a - b).abs()));
    assert_eq!(expected.len(), 2 * backbone.embedding.width);
    assert!(largest > 0.0 && difference <= 1e-5 * largest, "{}: {difference} of {largest}", run.display());
    assert!(!backbone.provenance.random && backbone.provenance.weights.ends_with(", fine-tuned"));
}

#[test]
fn a_run_gives_the_features_of_its_own_network_and_so_does_a_run_that_started_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let images = images(&path("images"), 10);
    let options =
        ModelOptions { random_weights: Some(1), keep_blocks: Some(3), channels: Some(1), ..ModelOptions::default() };
    train("deit-tiny", at_size(options), &images, &path("first"));
    check(&path("first"), 1);
    train(&path("first").display().to_string(), ModelOptions::default(), &images, &path("second"));
    check(&path("second"), 1);

    // Taps, blocks and sizes are chosen as ever; a cut leaves earlier blocks as they were.
    let taps =
        |keep_blocks, taps: &str| ModelOptions { keep_blocks, taps: taps.parse().unwrap(), ..ModelOptions::default() };
    let (whole, cut) = (open(&path("second"), &taps(None, "all")), open(&path("second"), &taps(Some(2), "block_01")));
    assert_eq!(whole.taps.len(), 4);
    let [whole, cut] = [whole, cut].map(|model| output(&model.graph, &model.input, [2, 1, SIDE, SIDE], "block_01"));
    assert_eq!(whole, cut);
    let larger = ModelOptions { size: Some(Size::Fixed { height: 64, width: 48 }), ..ModelOptions::default() };
    assert_eq!(open(&path("second"), &larger).fixed_size(), Some([64, 48]));

    let refusal = |model: &Path, options: ModelOptions| {
        backbones::open(&model.display().to_string(), &options, &Silent).unwrap_err().to_string()
    };
    let more = refusal(&path("second"), taps(Some(4), "none"));
    assert!(more.ends_with("has 3 blocks, of which 4 cannot be kept"), "{more}");
    let channels = refusal(&path("first"), ModelOptions { channels: Some(3), ..ModelOptions::default() });
    assert!(channels.contains("`channels` does not apply") && channels.contains("is a run"), "{channels}");
    std::fs::remove_dir_all(path("second").join("checkpoints/best")).unwrap();
    let untrained = refusal(&path("second"), ModelOptions::default());
    assert!(untrained.ends_with("has no weights: none of its epochs is complete"), "{untrained}");
    // A run that was moved to where the one lay that it started from.
    std::fs::copy(path("second/config.toml"), path("first/config.toml")).unwrap();
    let circle = refusal(&path("first"), ModelOptions::default());
    assert!(circle.ends_with("starts from itself"), "{circle}");
}

#[test]
fn a_run_of_an_onnx_file_gives_its_features_statistics_of_batch_norms_included() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let images = images(&path("images"), 10);
    let mut b = Builder::new("small");
    let side = Dim::from(SIDE);
    let x = b.input("pixels", DType::F32, &[Dim::symbol("batch"), Dim::Fixed(3), side.clone(), side]);
    let kernel = b.parameter("conv.weight", &drawn("conv", &[6, 3, 3, 3], 0.3));
    let [scale, bias, mean, variance] = [("weight", 1f32), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)]
        .map(|(name, value)| b.parameter(&format!("norm.{name}"), &HostTensor::vector(vec![value; 6])));
    let x = b.conv(&x, &kernel, None, ConvOptions { strides: [2, 2], ..ConvOptions::default() });
    let parameters = BatchNormParameters { scale: &scale, bias: &bias, mean: &mean, variance: &variance };
    let x = b.batch_norm(&x, parameters, 1e-5);
    let x = b.relu(&x);
    b.output("map", &x);
    b.finish().unwrap().save(&path("small.onnx")).unwrap();
    let text = format!(
        "pool = \"mean\"\n[preprocess]\nresize.shorter_side = {SIDE}\nfilter = \"bilinear\"\n\
         crop = {{ height = {SIDE}, width = {SIDE} }}\nmean = [0.5, 0.5, 0.5]\nstd = [0.25, 0.25, 0.25]\n"
    );
    std::fs::write(path("small.toml"), text).unwrap();
    let recipe =
        Recipe { epochs: 1, batch: 4, warmup: 0.0, learning_rates: vec![1e-2], bootstrap: 0, ..Recipe::study() };
    let model = FineTune::new(path("small.onnx").display().to_string()).unwrap().recipe(recipe);
    model.device(Device::Cpu).run(&images, path("run")).unwrap();
    check(&path("run"), 3);
    let statistic = |model: &Backbone| {
        let stored = model.graph.graph.initializer("norm.running_var").unwrap().to_host().unwrap();
        stored.values::<f32>().unwrap().into_owned()
    };
    let after = statistic(&open(&path("run"), &ModelOptions::default()));
    assert_ne!(after, statistic(&open(&path("small.onnx"), &ModelOptions::default())), "they follow the batches");
    let tapped = open(&path("run"), &ModelOptions { taps: Taps::Names(vec!["map".into()]), ..ModelOptions::default() });
    assert_eq!(tapped.taps.len(), 1);
}

/// The largest loss of any step.
fn largest_loss(run: &Path) -> f32 {
    let steps = read_journal(run).unwrap().into_iter();
    let losses = steps.filter_map(|line| if let Line::Step { loss, .. } = line { Some(loss) } else { None });
    losses.fold(0.0, f32::max)
}

#[test]
fn random_batch_norms_do_not_explode_and_those_of_a_frozen_foundation_stay() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let images = images(&path("images"), 12);
    let options = at_size(ModelOptions { random_weights: Some(0), keep_blocks: Some(3), ..ModelOptions::default() });
    let start = backbones::open("resnet18", &options, &Silent).unwrap();
    let variances = |model: &Backbone, block: &str| -> Vec<Vec<f32>> {
        let names = model.parameters.iter().filter(|name| name.ends_with("running_var") && name.starts_with(block));
        let stored = names.map(|name| model.graph.graph.initializer(name).unwrap().to_host().unwrap());
        stored.map(|tensor| tensor.values::<f32>().unwrap().into_owned()).collect()
    };
    let short = |recipe: Recipe| Recipe {
        epochs: 2,
        batch: 8,
        warmup: 0.0,
        learning_rates: vec![1e-3],
        bootstrap: 0,
        ..recipe
    };
    let run = |name: &str, recipe: Recipe| {
        let model = FineTune::new("resnet18").unwrap().model_options(options.clone()).recipe(short(recipe));
        model.device(Device::Cpu).run(&images, path(name)).unwrap();
        (largest_loss(&path(name)), open(&path(name), &ModelOptions::default()))
    };
    // Two classes: a guess costs 0.69.
    for (name, recipe) in [("study", Recipe::study()), ("default", Recipe::default())] {
        let (loss, trained) = run(name, recipe);
        assert!(loss < 5.0, "{name}: {loss}");
        assert_ne!(variances(&trained, "layer1"), variances(&start, "layer1"));
    }
    let kept = Recipe { batch_norm: Some(BatchNorm::Frozen), ..Recipe::study() };
    let (exploded, _) = run("kept", kept);
    assert!(exploded > 20.0, "statistics that nothing was measured for: {exploded}");
    let (_, part) = run("part", Recipe { freeze: Freeze::Blocks(2), ..Recipe::study() });
    assert_eq!(variances(&part, "layer1"), variances(&start, "layer1"));
    assert_ne!(variances(&part, "layer3"), variances(&start, "layer3"));
    let (_, frozen) = run("frozen", Recipe { freeze: Freeze::All, ..Recipe::study() });
    assert_eq!(variances(&frozen, "layer"), variances(&start, "layer"));
}
