//! Metrics equal scikit-learn's (`tests/fixtures/numerics/metrics.json` holds the definitions),
//! classes that are absent from the truth or never predicted included; intervals behave as
//! intervals.

use std::collections::BTreeMap;
use std::path::PathBuf;

use defrost::metrics::cka::Representation;
use defrost::metrics::{Bootstrap, Evaluation, Metric, Predictions, evaluate};
use ndarray::{Array1, Array2, Axis, stack};
use safetensors::SafeTensors;
use serde_json::Value;

/// Largest difference between our figures and the reference's, both computed in f64.
const ROUNDING: f64 = 1e-12;

/// How wide an interval over groups of copies is against that of the samples themselves: the effect
/// of groups is estimated, and averaged with that of groups that err as a whole.
const AS_WIDE: std::ops::Range<f64> = 0.9..1.25;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/numerics").join(name)
}

/// A tensor of a fixture as 64-bit words with its shape.
fn tensor(file: &SafeTensors<'_>, name: &str) -> (Vec<usize>, Vec<[u8; 8]>) {
    let view = file.tensor(name).unwrap();
    let words = view.data().chunks_exact(8).map(|word| word.try_into().unwrap()).collect();
    (view.shape().to_vec(), words)
}

fn floats(file: &SafeTensors<'_>, name: &str) -> Array2<f64> {
    let (shape, words) = tensor(file, name);
    let columns = shape.get(1).copied().unwrap_or(1);
    Array2::from_shape_vec((shape[0], columns), words.into_iter().map(f64::from_le_bytes).collect()).unwrap()
}

fn integers(file: &SafeTensors<'_>, name: &str) -> Vec<usize> {
    tensor(file, name).1.into_iter().map(|word| usize::try_from(i64::from_le_bytes(word)).unwrap()).collect()
}

fn with_cka<T>(read: impl FnOnce(&SafeTensors<'_>, &Value) -> T) -> T {
    let bytes = std::fs::read(fixture("cka.safetensors")).unwrap();
    let record: Value = serde_json::from_str(&std::fs::read_to_string(fixture("cka.json")).unwrap()).unwrap();
    read(&SafeTensors::deserialize(&bytes).unwrap(), &record["cases"])
}

fn with_fixture<T>(read: impl FnOnce(&SafeTensors<'_>, &Value) -> T) -> T {
    let bytes = std::fs::read(fixture("metrics.safetensors")).unwrap();
    let record: Value = serde_json::from_str(&std::fs::read_to_string(fixture("metrics.json")).unwrap()).unwrap();
    read(&SafeTensors::deserialize(&bytes).unwrap(), &record["cases"])
}

fn without_intervals() -> Bootstrap {
    Bootstrap { resamples: 0, ..Bootstrap::default() }
}

/// Compares metrics with the reference's values; `None` must be undefined with a reason.
fn assert_equal(case: &str, evaluation: &Evaluation, expected: &[(Metric, Option<f64>)]) {
    for (metric, expected) in expected {
        let found = &evaluation.metrics[metric];
        match (expected, found.value) {
            (Some(expected), Some(value)) => {
                assert!((value - expected).abs() < ROUNDING, "{case}: {metric} is {value}, expected {expected}");
            }
            (None, None) => assert!(found.undefined.is_some(), "{case}: {metric} is undefined without a reason"),
            _ => assert_eq!(found.value, *expected, "{case}: {metric} {:?}", found.undefined),
        }
    }
}

#[test]
fn multiclass_metrics_equal_the_reference() {
    with_fixture(|file, cases| {
        for (case, record) in cases.as_object().unwrap().iter().filter(|(_, case)| case["kind"] == "multiclass") {
            let truth = integers(file, &format!("{case}.y"));
            let probabilities = floats(file, &format!("{case}.proba"));
            let predictions = Predictions::of_classes(truth, probabilities).unwrap();
            let unordered = evaluate(&predictions, &without_intervals());
            assert!(!unordered.metrics.contains_key(&Metric::QuadraticKappa), "{case}");
            let evaluation = evaluate(&predictions.with_order(true), &without_intervals());
            let values = &record["values"];
            let value = |name: &str| values[name].as_f64();
            // The mean average precision of the reference counts an absent class as 0; here it is
            // undefined.
            let absent = values["roc_auc_ovr_per_class"].as_array().unwrap().iter().any(Value::is_null);
            let strict = |name: &str| value(name).filter(|_| !absent);
            assert_equal(
                case,
                &evaluation,
                &[
                    (Metric::Accuracy, value("accuracy")),
                    (Metric::BalancedAccuracy, value("balanced_accuracy")),
                    (Metric::MacroRecall, value("recall_macro_seen_labels")),
                    (Metric::MacroPrecision, value("precision_macro_seen_labels")),
                    (Metric::MacroF1, value("f1_macro_seen_labels")),
                    (Metric::CohenKappa, value("cohen_kappa")),
                    (Metric::QuadraticKappa, value("quadratic_kappa")),
                    (Metric::RocAucOneVsRest, strict("roc_auc_ovr_macro_sklearn")),
                    (Metric::RocAucOneVsOne, strict("roc_auc_ovo_macro_sklearn")),
                    (Metric::AveragePrecision, strict("average_precision_macro")),
                    (Metric::LogLoss, value("log_loss")),
                    (Metric::Brier, value("brier")),
                    (Metric::Ece, value("ece_15")),
                ],
            );
            if absent {
                let present = [
                    (Metric::RocAucOneVsRestPresent, value("roc_auc_ovr_macro_defined")),
                    (Metric::RocAucOneVsOnePresent, value("roc_auc_ovo_macro_present")),
                    (Metric::AveragePrecisionPresent, value("average_precision_macro_defined")),
                ];
                assert_equal(case, &evaluation, &present);
            }
            assert_eq!(absent, evaluation.metrics.contains_key(&Metric::RocAucOneVsRestPresent), "{case}");
            let confusion: Vec<Vec<u64>> = serde_json::from_value(values["confusion_matrix"].clone()).unwrap();
            assert_eq!(evaluation.confusion.as_ref(), Some(&confusion), "{case}");
            for (class, scores) in evaluation.classes.iter().enumerate() {
                let area = values["roc_auc_ovr_per_class"][class].as_f64();
                assert_eq!(area.is_some(), scores.roc_auc.is_some(), "{case}, class {class}");
                let found = [scores.recall, scores.precision, scores.f1, scores.roc_auc, scores.average_precision];
                let names =
                    ["recall_per_class", "precision_per_class", "f1_per_class", "", "average_precision_per_class"];
                for (found, name) in found.into_iter().zip(names) {
                    // 0/0 is 0 in the reference and undefined here.
                    let expected = if name.is_empty() { area } else { values[name][class].as_f64() };
                    assert!((found.unwrap_or(0.0) - expected.unwrap_or(0.0)).abs() < ROUNDING, "{case} {name} {class}");
                }
            }
        }
    });
}

#[test]
fn binary_metrics_equal_the_reference() {
    with_fixture(|file, cases| {
        let score: Array1<f64> = floats(file, "binary.score").column(0).to_owned();
        let probabilities = stack(Axis(1), &[score.mapv(|s| 1.0 - s).view(), score.view()]).unwrap();
        let predictions = Predictions::of_classes(integers(file, "binary.y"), probabilities).unwrap();
        let evaluation = evaluate(&predictions.with_order(true), &without_intervals());
        let values = &cases["binary"]["values"];
        let expected = [
            (Metric::Accuracy, "accuracy"),
            (Metric::BalancedAccuracy, "balanced_accuracy"),
            (Metric::MacroRecall, "recall_macro"),
            (Metric::MacroPrecision, "precision_macro"),
            (Metric::MacroF1, "f1_macro"),
            (Metric::Sensitivity, "recall"),
            (Metric::Specificity, "specificity"),
            (Metric::CohenKappa, "cohen_kappa"),
            (Metric::QuadraticKappa, "quadratic_kappa"),
            (Metric::RocAuc, "roc_auc"),
            (Metric::AveragePrecision, "average_precision"),
            (Metric::LogLoss, "log_loss"),
            (Metric::Brier, "brier"),
            (Metric::Ece, "ece_15_top_label"),
        ];
        let expected = expected.map(|(metric, name)| (metric, Some(values[name].as_f64().unwrap())));
        assert_equal("binary", &evaluation, &expected);
        assert!((evaluation.classes[1].precision.unwrap() - values["precision"].as_f64().unwrap()).abs() < ROUNDING);
        assert!((evaluation.classes[1].f1.unwrap() - values["f1"].as_f64().unwrap()).abs() < ROUNDING);
    });
}

fn multilabel(file: &SafeTensors<'_>) -> (Array2<Option<bool>>, Array2<f64>) {
    let score = floats(file, "multilabel6_absent.score");
    let truth = integers(file, "multilabel6_absent.y").into_iter().map(|y| Some(y == 1)).collect();
    (Array2::from_shape_vec(score.dim(), truth).unwrap(), score)
}

#[test]
fn multilabel_metrics_equal_the_reference_and_an_absent_label_is_named() {
    with_fixture(|file, cases| {
        let (truth, score) = multilabel(file);
        let names: Vec<String> = (0..6).map(|label| format!("finding {label}")).collect();
        let predictions = Predictions::of_labels(truth, score).unwrap().with_names(&names).unwrap();
        let evaluation = evaluate(&predictions, &without_intervals());
        let values = &cases["multilabel6_absent"]["values"];
        let value = |name: &str| Some(values[name].as_f64().unwrap());
        assert_equal(
            "multilabel",
            &evaluation,
            &[
                (Metric::Accuracy, value("hamming_loss").map(|loss| 1.0 - loss)),
                (Metric::SubsetAccuracy, value("subset_accuracy")),
                (Metric::MacroRecall, value("recall_macro")),
                (Metric::MacroPrecision, value("precision_macro")),
                (Metric::MacroF1, value("f1_macro")),
                (Metric::RocAucMacro, None),
                (Metric::RocAucMacroPresent, value("roc_auc_macro_defined")),
                (Metric::AveragePrecision, None),
                (Metric::AveragePrecisionPresent, value("average_precision_macro_defined")),
            ],
        );
        assert_eq!(evaluation.metrics[&Metric::RocAucMacro].undefined.as_deref(), Some("no sample has `finding 3`"));
    });
}

#[test]
fn unknown_labels_change_nothing_but_their_own_absence() {
    with_fixture(|file, _| {
        let (truth, score) = multilabel(file);
        let kept = 100;
        let mut masked = truth.clone();
        masked.slice_mut(ndarray::s![kept.., ..]).fill(None);
        let of = |truth: Array2<Option<bool>>, score: Array2<f64>| {
            evaluate(&Predictions::of_labels(truth, score).unwrap(), &without_intervals())
        };
        let fewer =
            of(truth.slice(ndarray::s![..kept, ..]).to_owned(), score.slice(ndarray::s![..kept, ..]).to_owned());
        let masked = of(masked, score);
        for (metric, estimate) in &fewer.metrics {
            match estimate.value {
                Some(value) => assert!((masked.metrics[metric].value.unwrap() - value).abs() < ROUNDING, "{metric}"),
                None => assert_eq!(masked.metrics[metric].value, None),
            }
        }
    });
}

#[test]
fn intervals_enclose_the_value_and_groups_widen_them() {
    with_fixture(|file, _| {
        let truth = integers(file, "multi5.y");
        let probabilities = floats(file, "multi5.proba");
        // Each sample four times: as independent samples the interval is half as wide as by groups
        // of four.
        let repeated: Vec<usize> = truth.iter().flat_map(|&class| [class; 4]).collect();
        let rows: Vec<usize> = (0..truth.len()).flat_map(|row| [row; 4]).collect();
        let predictions = Predictions::of_classes(repeated, probabilities.select(Axis(0), &rows)).unwrap();
        let bootstrap = Bootstrap::default();
        let independent = evaluate(&predictions, &bootstrap);
        let grouped = evaluate(&predictions.with_groups(&rows).unwrap(), &bootstrap);
        let original = evaluate(&Predictions::of_classes(truth, probabilities).unwrap(), &bootstrap);
        assert_eq!(grouped.groups, Some(original.samples));
        for (metric, estimate) in &original.metrics {
            let (low, high) = (estimate.low.unwrap(), estimate.high.unwrap());
            // The interval of calibration errors is around the debiased one and ends at 0.
            if !matches!(*metric, Metric::Ece | Metric::EceDebiased) {
                assert!(low < estimate.value.unwrap() && estimate.value.unwrap() < high, "{metric}");
            }
            let by_group = &grouped.metrics[metric];
            let wider = (by_group.high.unwrap() - by_group.low.unwrap()) / (high - low);
            assert!(AS_WIDE.contains(&wider), "{metric}: groups of copies make the interval {wider} times as wide");
            let copies = &independent.metrics[metric];
            let narrower = (copies.high.unwrap() - copies.low.unwrap()) / (high - low);
            // Studentised intervals of skewed losses shorten faster than by the root of the number.
            let least = if *metric == Metric::LogLoss { 0.2 } else { 0.35 };
            assert!((least..0.75).contains(&narrower), "{metric}: width ratio {narrower}");
        }
    });
}

#[test]
fn records_keep_every_figure() {
    with_fixture(|file, _| {
        let predictions =
            Predictions::of_classes(integers(file, "multi6_absent_class.y"), floats(file, "multi6_absent_class.proba"));
        let evaluation = evaluate(&predictions.unwrap(), &Bootstrap::default());
        let text = serde_json::to_string(&evaluation).unwrap();
        let read: Evaluation = serde_json::from_str(&text).unwrap();
        assert_eq!(read.metrics.len(), evaluation.metrics.len());
        let names: BTreeMap<String, Value> =
            serde_json::from_value(serde_json::to_value(&evaluation.metrics).unwrap()).unwrap();
        for metric in evaluation.metrics.keys() {
            assert!(names.contains_key(metric.name()), "`{metric}` has another name in records");
        }
        assert_eq!(names["roc_auc_ovr"]["undefined"], "no sample has `3`");
        assert_eq!(names["roc_auc_ovr"]["value"], Value::Null);
    });
}

#[test]
fn similarities_equal_the_reference() {
    with_cka(|file, cases| {
        for (case, values) in cases.as_object().unwrap() {
            let x = Representation::new(floats(file, &format!("{case}.x")).view());
            let y = Representation::new(floats(file, &format!("{case}.y")).view());
            let found = [
                ("linear_cka", x.linear_cka(&y)),
                ("unbiased_cka", x.unbiased_cka(&y)),
                ("hsic1_xy", x.hsic(&y)),
                ("hsic1_xx", x.hsic(&x)),
                ("hsic1_yy", y.hsic(&y)),
            ];
            for (name, found) in found {
                let expected = values[name].as_f64().unwrap();
                let difference = (found.unwrap() - expected).abs() / expected.abs().max(1.0);
                assert!(difference < ROUNDING, "{case}: {name} is {found:?}, expected {expected}");
            }
        }
    });
}
