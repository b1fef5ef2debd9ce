//! Probes against scikit-learn, Newton's optimum and the k-NN of DINO and DINOv2, on the stored
//! digits.

use std::path::PathBuf;

use defrost::probe::{KnnParams, LinearModel, LinearParams, Scale, nearest};
use defrost::tensor::HostTensor;
use defrost::tensor::safetensors::Tensors;
use linfa::DatasetBase;
use linfa::prelude::{Fit, Predict};
use ndarray::{Array1, Array2, Axis};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/numerics").join(name)
}

fn tensors(name: &str) -> Tensors {
    defrost::tensor::safetensors::read(&fixture(name)).unwrap().0
}

fn json(name: &str) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(fixture(name)).unwrap()).unwrap()
}

/// A stored array of any numeric type as f64.
fn matrix(tensor: &HostTensor) -> Array2<f64> {
    let values: Vec<f64> = if let Some(values) = tensor.values::<f64>() {
        values.to_vec()
    } else if let Some(values) = tensor.values::<f32>() {
        values.iter().map(|&value| f64::from(value)).collect()
    } else if let Some(values) = tensor.values::<i32>() {
        values.iter().map(|&value| f64::from(value)).collect()
    } else {
        tensor.values::<i64>().unwrap().iter().map(|&value| value as f64).collect()
    };
    let columns = tensor.shape().get(1).copied().unwrap_or(1);
    Array2::from_shape_vec((tensor.shape()[0], columns), values).unwrap()
}

/// The digits with their stored split.
struct Digits {
    train: Array2<f32>,
    test: Array2<f32>,
    train_classes: Array1<usize>,
    train_labels: Array2<Option<bool>>,
}

fn digits() -> Digits {
    let stored = tensors("digits.safetensors");
    let rows = |name: &str| matrix(&stored[name]).column(0).mapv(|row| row as usize).to_vec();
    let (train, test) = (rows("train_idx"), rows("test_idx"));
    let features = matrix(&stored["features"]).mapv(|value| value as f32);
    let classes = matrix(&stored["labels"]).column(0).mapv(|class| class as usize);
    let labels = matrix(&stored["multilabel"]).mapv(|label| Some(label == 1.0));
    Digits {
        test: features.select(Axis(0), &test),
        train_classes: classes.select(Axis(0), &train),
        train_labels: labels.select(Axis(0), &train),
        train: features.select(Axis(0), &train),
    }
}

fn largest_difference(found: &Array2<f64>, expected: &Array2<f64>) -> f64 {
    assert_eq!(found.dim(), expected.dim());
    (found - expected).iter().fold(0.0, |most, difference| most.max(difference.abs()))
}

/// Coefficients, centred intercepts and test probabilities agree with the optimum at least as well
/// as scikit-learn's do, with room for its own luck where it is already within 1e-7.
fn check_optimum(model: &LinearModel, kind: &str, c: &str, test: &Array2<f32>) {
    let stored = tensors("linear_probe.safetensors");
    let entry = |field: &str| matrix(&stored[&format!("{kind}_C{c}.{field}")]);
    let facts = json("linear_probe.json")["results"][format!("{kind}_C{c}")]["sklearn_minus_exact_max_abs"].clone();
    let allowed = |field: &str| facts[field].as_f64().unwrap().max(1e-7);
    let coefficients = largest_difference(&model.coefficients().to_owned(), &entry("coef_exact"));
    assert!(coefficients <= allowed("coef"), "{kind} C {c}: coefficients differ by {coefficients:e}");
    let mut intercepts = model.intercepts().clone();
    if kind == "multiclass" {
        let mean = intercepts.mean().unwrap();
        intercepts -= mean;
    }
    let difference = largest_difference(&intercepts.insert_axis(Axis(1)), &entry("intercept_exact"));
    assert!(difference <= allowed("intercept"), "{kind} C {c}: intercepts differ by {difference:e}");
    let probabilities: Array2<f64> = model.predict(test);
    // The stored probabilities are scikit-learn's: twice its distance from the optimum.
    let difference = largest_difference(&probabilities, &entry("proba_test"));
    assert!(difference <= 2.0 * allowed("proba_test"), "{kind} C {c}: probabilities differ by {difference:e}");
}

fn exact(c: f64) -> LinearParams {
    LinearParams::new().c(c).scale(Scale::None).tolerance(1e-9)
}

#[test]
fn multinomial_probe_reaches_newton_s_optimum() {
    let digits = digits();
    let dataset = DatasetBase::new(digits.train.clone(), digits.train_classes.clone());
    for (c, name) in [(0.01, "0.01"), (1.0, "1"), (100.0, "100")] {
        let model = exact(c).fit(&dataset).unwrap();
        assert!(model.report().converged, "{:?}", model.report());
        check_optimum(&model, "multiclass", name, &digits.test);
    }
}

#[test]
fn multi_label_probe_reaches_newton_s_optimum() {
    let digits = digits();
    let dataset = DatasetBase::new(digits.train.clone(), digits.train_labels.clone());
    for (c, name) in [(0.01, "0.01"), (1.0, "1"), (100.0, "100")] {
        let model = exact(c).fit(&dataset).unwrap();
        assert!(model.report().converged, "{:?}", model.report());
        check_optimum(&model, "multilabel", name, &digits.test);
    }
}

/// Gaps between similarities or votes below this one may close in f32.
const ROUNDING: f64 = 1e-6;

#[test]
fn neighbours_are_the_stored_ones() {
    let digits = digits();
    let unit = |x: &Array2<f32>| {
        let mut unit = x.clone();
        unit.rows_mut().into_iter().for_each(|mut row| {
            let norm = row.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
            row.mapv_inplace(|value| (f64::from(value) / norm) as f32);
        });
        unit
    };
    let found = nearest(unit(&digits.train).view(), unit(&digits.test).view(), 20);
    let stored = tensors("knn.safetensors");
    let similarities = matrix(&stored["similarity_top20"]);
    assert!(largest_difference(&found.similarities.mapv(f64::from), &similarities) < ROUNDING);
    let positions = matrix(&stored["neighbours_top20"]);
    let mut compared = 0;
    for ((query, rank), &position) in positions.indexed_iter() {
        let near = |other: usize| (similarities[[query, other]] - similarities[[query, rank]]).abs() < ROUNDING;
        if (rank > 0 && near(rank - 1)) || (rank < 19 && near(rank + 1)) || rank == 19 {
            continue;
        }
        assert_eq!(f64::from(found.positions[[query, rank]]), position, "query {query}, rank {rank}");
        compared += 1;
    }
    assert!(compared > 4000, "only {compared} neighbours are clear enough to be compared");
}

#[test]
fn votes_are_those_of_dino_for_every_k_and_temperature() {
    let digits = digits();
    let stored = tensors("knn.safetensors");
    let neighbours = [1, 5, 10, 20, 100, 200];
    for (temperature, name) in [(0.07, "0.07"), (0.1, "0.1")] {
        let dataset = DatasetBase::new(digits.train.clone(), digits.train_classes.clone());
        let model = KnnParams::new().temperature(temperature).fit(&dataset).unwrap();
        let tables = model.probabilities(digits.test.view(), &neighbours).unwrap();
        for (k, found) in neighbours.iter().zip(&tables) {
            let entry = |field: &str| matrix(&stored[&format!("k{k}_T{name}.{field}")]);
            let gaps = matrix(&stored[&format!("k{k}.sim_gap")]);
            let (expected, classes, margins) = (entry("proba"), entry("pred"), entry("vote_gap"));
            let predicted = defrost::metrics::predicted_classes(found.view());
            let mut compared = 0;
            for query in 0..found.nrows() {
                if gaps[[query, 0]] < ROUNDING {
                    continue;
                }
                compared += 1;
                let difference = (&found.row(query) - &expected.row(query)).iter().fold(0.0f64, |m, d| m.max(d.abs()));
                // A similarity that is off by 1e-7 changes a vote by 1e-7 / T of itself.
                assert!(difference < 5e-6, "k {k}, T {name}, query {query}: {difference:e}");
                if margins[[query, 0]] > 1e-5 {
                    assert_eq!(predicted[query] as f64, classes[[query, 0]], "k {k}, T {name}, query {query}");
                }
            }
            assert!(compared >= 215, "k {k}: only {compared} queries are clear enough to be compared");
        }
    }
}

#[test]
fn multi_label_votes_of_complete_labels_are_shares_of_the_class_votes() {
    let digits = digits();
    // Labels that say which of three classes a digit is: the votes must be those of the class task.
    let classes = digits.train_classes.mapv(|class| class % 3);
    let labels = Array2::from_shape_fn((classes.len(), 3), |(row, class)| Some(classes[row] == class));
    let fitted = KnnParams::new().k(20).fit(&DatasetBase::new(digits.train.clone(), classes)).unwrap();
    let labelled = KnnParams::new().k(20).fit(&DatasetBase::new(digits.train.clone(), labels)).unwrap();
    let (one, other): (Array2<f64>, Array2<f64>) = (fitted.predict(&digits.test), labelled.predict(&digits.test));
    assert!(largest_difference(&one, &other) < 1e-12);
}
