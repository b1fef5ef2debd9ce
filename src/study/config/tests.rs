//! What a study file may say, and how it is refused.

use super::*;

const FILE: &str = r#"
baseline = "imnet"
repeats = 3
errata = ["red-filters"]

[recipe]
epochs = 2

[[dataset]]
name = "photos"
path = "photos"
metric = "balanced_accuracy"

[[dataset]]
name = "articles"
example = "fashion-mnist"
target = false

[[backbone]]
name = "imnet"
model = "deit-tiny"

[[backbone]]
name = "own"
model = "deit-tiny"
options.random_weights = 0
train = { dataset = "articles", recipe = { epochs = 7 } }

[[experiment]]
name = "decapitation"
blocks = [1, 2]
backbones = ["own"]
head = "deit:192x2x3"
"#;

fn read(text: &str) -> Result<Study> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.toml");
    std::fs::write(&path, text).unwrap();
    let study = Study::read(&path)?;
    assert_eq!(study.datasets[0].path.as_deref(), Some(folder.path().join("photos").as_path()));
    Ok(study)
}

fn refusal(from: &str, to: &str) -> String {
    assert!(FILE.contains(from), "{from}");
    let error = read(&FILE.replace(from, to)).unwrap_err();
    format!("{}; {}", error.with_causes(), error.hint().map(|hint| hint.to_string()).unwrap_or_default())
}

#[test]
fn a_study_file_is_read_and_written() {
    let study = read(FILE).unwrap();
    let again: Study = toml::from_str(&study.text().unwrap()).unwrap();
    assert_eq!(again, study);
    let recipe = study.recipe().unwrap();
    assert_eq!((recipe.epochs, recipe.batch), (2, Recipe::study().batch));
    let first = study.backbone("own").unwrap().pretraining(&study).unwrap().unwrap();
    assert_eq!((first.epochs, first.batch), (7, Recipe::study().batch));
    assert_eq!(study.targets().map(|dataset| dataset.name.as_str()).collect::<Vec<_>>(), ["photos"]);
    assert_eq!(study.experiments[0].dataset_names(&study), ["photos"]);
    assert_eq!(study.seeds().collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn mistakes_are_named_with_their_key() {
    let contains = |from: &str, to: &str, expected: &str| {
        let found = refusal(from, to);
        assert!(found.contains(expected), "{found}");
    };
    contains("repeats = 3", "repeat = 3", "unknown field `repeat`");
    contains("epochs = 2", "epoch = 2", "unknown field `epoch`");
    contains("epochs = 2", "seed = 2", "`seed` belongs to the experiments");
    contains("name = \"own\"", "name = \"imnet\"", "two entries `[[backbone]]` of the name `imnet`");
    contains("baseline = \"imnet\"", "baseline = \"imgnet\"", "there are `imnet`, `own`");
    contains("dataset = \"articles\"", "dataset = \"clothes\"", "`backbone.own.train.dataset` names `clothes`");
    contains("blocks = [1, 2]", "k = 3", "`experiment.decapitation.k` is a key of another experiment");
    contains("name = \"decapitation\"", "name = \"decapitate\"", "unknown variant `decapitate`");
    contains("\"red-filters\"", "\"no-seed\"", "unknown variant `no-seed`");
    contains("path = \"photos\"", "", "`dataset.photos.path` is said 0 times");
    contains("balanced_accuracy", "fairness", "unknown variant `fairness`");
    contains("target = false", "target = true\nimages = 0", "`dataset.articles.images` is 0");
    contains("head = \"deit:192x2x3\"", "head = \"linear\"", "expected `deit-b`");
    contains("repeats = 3", "repeats = 0", "`repeats` is 0");
}
