//! The library as programs use it, by its prelude: from images to a classifier's file, from a
//! network to a trained one.

use std::collections::BTreeMap;

use defrost::finetune::{CONFIG, MODEL, RunConfig};
use defrost::prelude::*;

use crate::deploy::Scene;
use crate::embed::{contents, write_images};
use crate::house::{rust_files, source};

/// Images in two class folders, and a small network.
fn scene() -> (Scene, String) {
    let scene = Scene::bare();
    write_images(&scene.path("photos"), 60, 40);
    let model = scene.path("small.onnx").display().to_string();
    (scene, model)
}

#[test]
fn images_become_a_cache_a_probe_and_a_file_that_agrees_with_it() {
    let (scene, model) = scene();
    let images = Dataset::open(scene.path("photos")).unwrap();
    let embedder = Embedder::new(&model).unwrap().device(Device::Cpu);
    let cache = embedder.embed(&images, scene.path("cache")).unwrap();
    let files = contents(cache.path());
    let mut probe = LinearProbe::default().grid([0.1, 1.0]).run(&cache.features().unwrap()).unwrap();
    assert!((0.0..=1.0).contains(&probe.metric(Metric::Accuracy).unwrap()));
    let record = probe.save(&cache.probes(), None).unwrap();
    let exported = Exporter::new(record).model(&model).save(scene.path("classifier.onnx")).unwrap();
    let mut classifier = Classifier::open(exported.file).unwrap();
    let predictions = classifier.predict(&images.paths());

    assert_eq!(predictions.len(), 60);
    let found = |id: &str| {
        let place = images.samples.iter().position(|sample| sample.id == id).unwrap();
        predictions[place].outcome.as_ref().unwrap().probabilities[1]
    };
    for (id, expected) in probe.predictions.ids.iter().zip(probe.predictions.probabilities.rows()) {
        assert!((f64::from(found(id)) - expected[1]).abs() < 1e-4, "`{id}`");
    }
    scene.done(&["embed", "photos", "--model", "small.onnx", "--out", "other", "--device", "cpu"]);
    let parts = |files: &BTreeMap<String, (usize, String)>| -> Vec<(String, String)> {
        let parts = files.iter().filter(|(name, _)| name.ends_with(".parquet"));
        parts.map(|(name, (_, digest))| (name.clone(), digest.clone())).collect()
    };
    let of_command_line = contents(&scene.path("other"));
    assert!(of_command_line.len() > 2);
    assert_eq!(parts(&files), parts(&of_command_line));
}

#[test]
fn a_run_can_be_opened_again_from_its_folder() {
    let (scene, model) = scene();
    let images = Dataset::open(scene.path("photos")).unwrap();
    let training = FineTune::new(&model).unwrap().epochs(1).batch(8).learning_rates([0.01]).device(Device::Cpu);
    let result = training.run(&images, scene.path("run")).unwrap();
    assert!(result.metric(Metric::Accuracy).is_ok() && result.unreadable == 0);
    assert!(scene.path("run").join(MODEL).is_file());
    let config = RunConfig::read(&scene.path("run").join(CONFIG)).unwrap();
    assert_eq!((config.recipe.epochs, config.model.name.as_str()), (1, model.as_str()));
    assert_eq!(config.dataset().unwrap(), images);
    let again = training.run(&images, scene.path("run")).unwrap();
    assert_eq!(
        again.metric(Metric::Accuracy).unwrap(),
        result.metric(Metric::Accuracy).unwrap(),
        "it is complete already"
    );
    let error = training.epochs(2).run(&images, scene.path("run")).unwrap_err().to_string();
    assert!(error.contains("`recipe.epochs` is `1` there and `2` here"), "{error}");
}

#[test]
fn a_name_that_no_model_has_is_refused_before_anything_is_opened() {
    for error in [Embedder::new("efficientnet-lit0").err(), FineTune::new("efficientnet-lit0").err()] {
        let error = error.unwrap();
        assert!(error.to_string().contains("efficientnet-lit0"), "{error}");
        assert!(format!("{error} {:?}", error.hint()).contains("efficientnet-lite0"), "{error}");
    }
}

#[test]
fn examples_are_short_and_run_by_continuous_integration() {
    let examples = rust_files("examples");
    assert!(examples.len() >= 4, "{examples:?}");
    for path in examples {
        assert!(source(&path).lines().count() < 30, "`{path}` is longer than an example");
        let name = path.trim_start_matches("examples/").trim_end_matches(".rs");
        assert!(source(".ci/run").contains(&format!("--example {name} ")), "`.ci/run` does not run `{path}`");
    }
}
