//! Whole probe experiments: what is chosen, what is refused, what is warned of, and what must not
//! matter.

use defrost::data::{Dataset, Label, Sample, Split, Task};
use defrost::error::{Error, ProbeError};
use defrost::metrics::{Bootstrap, Metric};
use defrost::probe::{
    Chosen, Experiment, ExperimentResult, Knn, Linear, LinearModel, LinearParams, LinearProbe, Method, Samples, Scale,
    Solver, SplitConfig,
};
use defrost::records::Record;
use defrost::support::seed::Seed;
use linfa::DatasetBase;
use linfa::prelude::{Fit, Predict};
use ndarray::{Array1, Array2, Axis};
use rand::Rng as _;
use rand::seq::SliceRandom as _;

/// Two fits of the same problem in another order or scaling: both are within the solver's tolerance
/// of the optimum.
const SAME_OPTIMUM: f64 = 1e-5;

/// Overlapping clusters of `classes` classes in 6 dimensions.
fn clusters(count: usize, classes: usize) -> (Array2<f32>, Array1<usize>) {
    let mut random = Seed::new(11).named("clusters").random();
    let labels = Array1::from_shape_fn(count, |row| row % classes);
    let features = Array2::from_shape_fn((count, 6), |(row, column)| {
        let centre = if column == labels[row] % 6 { 1.5f32 } else { 0.0 };
        centre + random.gen_range(-1.5f32..1.5) * (1.0 + column as f32)
    });
    (features, labels)
}

fn samples(count: usize) -> Samples {
    let (features, labels) = clusters(count, 3);
    let sample = |(row, &class): (usize, &usize)| Sample::new(format!("image{row:04}"), "", Label::Class(class));
    let samples = labels.iter().enumerate().map(sample).collect();
    let classes = vec!["a".into(), "b".into(), "c".into()];
    Samples { dataset: Dataset::in_row_order("".into(), Task::Multiclass, classes, samples), features }
}

/// Rows 0, 1, 2 of each ten to validation, test and test, the rest to train.
fn with_splits(mut samples: Samples) -> Samples {
    let split = |row: usize| match row % 10 {
        0 => Split::Validation,
        1 | 2 => Split::Test,
        _ => Split::Train,
    };
    for (row, sample) in samples.dataset.samples.iter_mut().enumerate() {
        sample.split = Some(split(row));
    }
    samples
}

fn linear() -> Method {
    Linear { grid: vec![0.001, 0.1, 10.0], scale: Scale::Standard, tolerance: Some(1e-7), ..Linear::default() }.into()
}

fn experiment(method: Method) -> Experiment {
    Experiment {
        method,
        metric: None,
        division: SplitConfig::default(),
        seed: 0,
        repeats: 1,
        bootstrap: Bootstrap { resamples: 50, ..Bootstrap::default() },
        refit: true,
        adjusting: Default::default(),
    }
}

fn run(experiment: &Experiment, samples: Samples) -> Result<ExperimentResult, Error> {
    experiment.run(&samples)
}

fn refusal(experiment: &Experiment, samples: Samples) -> ProbeError {
    match run(experiment, samples) {
        Err(Error::Probe(error)) => error,
        other => unreachable!("expected a refusal, found {other:?}"),
    }
}

#[test]
fn a_probe_is_stated_in_a_line_and_gives_the_figures_of_its_record() {
    let some = samples(300);
    let result = LinearProbe::default().grid([10.0, 0.001, 0.1]).tolerance(1e-7).repeats(3).run(&some).unwrap();
    let mut plan = Experiment::new(linear());
    plan.repeats = 3;
    let expected = plan.run(&some).unwrap();
    assert_eq!(result.record.metrics, expected.record.metrics);
    assert_eq!(result.metric(Metric::Accuracy).unwrap(), expected.record.summary[&Metric::Accuracy].mean);
    let error = result.metric(Metric::QuadraticKappa).unwrap_err().to_string();
    assert_eq!(error, "there is no `quadratic_kappa`: a multiclass task has no such metric");
}

/// Fewer samples than features are fitted in the span of the samples; the end is that of the full
/// problem: the gradient by every one of the features, computed here by its definition.
#[test]
fn with_fewer_samples_than_features_the_gradient_by_the_features_vanishes() {
    let (count, width, c, tolerance) = (42, 300, 3.0, 1e-9);
    let mut random = Seed::new(12).named("wide").random();
    let labels = Array1::from_shape_fn(count, |row| (row + row / 5) % 3);
    let features = Array2::from_shape_fn((count, width), |(row, column)| {
        let centre = if column % 3 == labels[row] { 0.4f32 } else { 0.0 };
        if row == 41 { 0.25 } else { centre + random.gen_range(-1.0f32..1.0) * (1.0 + (column % 7) as f32) }
    });
    let weights = Array1::from_shape_fn(count, |row| 1.0 + (row % 4) as f32);
    for scale in [Scale::Standard, Scale::None] {
        let params = LinearParams::new().c(c).scale(scale).tolerance(tolerance);
        let dataset = DatasetBase::new(features.clone(), labels.clone()).with_weights(weights.clone());
        let model = params.fit(&dataset).unwrap();
        assert!(model.report().converged, "{:?}", model.report());
        let x = model.scaler().apply(features.view()).mapv(f64::from);
        let mut residuals = model.probabilities(features.view()).unwrap();
        for ((mut row, &label), &weight) in residuals.rows_mut().into_iter().zip(&labels).zip(&weights) {
            row[label] -= 1.0;
            row *= f64::from(weight);
        }
        let total = f64::from(weights.sum());
        let gradient = residuals.t().dot(&x) / total + &(&model.coefficients() / (c * total));
        let worst = largest(&gradient);
        assert!(worst <= 1.001 * tolerance, "{scale:?}: {worst:e}");
        assert!(largest(&(residuals.sum_axis(Axis(0)) / total).insert_axis(Axis(0))) <= 1.001 * tolerance);
    }
}

#[test]
fn the_same_seed_gives_the_same_record_and_another_one_other_splits() {
    let mut several = experiment(linear());
    several.repeats = 3;
    let record = |experiment: &Experiment| {
        let mut record = run(experiment, samples(300)).unwrap().record;
        record.seconds = Default::default();
        record
    };
    let first = record(&several);
    assert_eq!(first, record(&several));
    assert_eq!(first.repeats.iter().map(|repeat| repeat.seed).collect::<Vec<_>>(), [0, 1, 2]);
    let accuracy = |repeat: usize| first.repeats[repeat].metrics[&Metric::Accuracy];
    assert!(accuracy(0) != accuracy(1) || accuracy(1) != accuracy(2), "three splits, three figures");
    let mean = (0..3).map(|repeat| accuracy(repeat).unwrap()).sum::<f64>() / 3.0;
    assert!((first.summary[&Metric::Accuracy].mean - mean).abs() < 1e-12);
    assert_eq!(first.splits[&Split::Train].samples + first.splits[&Split::Test].samples, 300 - 30);
    let interval = &first.metrics[&Metric::Accuracy];
    assert!(interval.low.unwrap() < interval.value.unwrap() && interval.value.unwrap() < interval.high.unwrap());
}

#[test]
fn the_final_probe_learns_from_validation_data_too_unless_told_not_to() {
    let mut fixed = experiment(linear());
    let refitted = run(&fixed, with_splits(samples(300))).unwrap();
    fixed.refit = false;
    let kept = run(&fixed, with_splits(samples(300))).unwrap();
    assert_eq!(refitted.record.chosen, kept.record.chosen);
    assert!(refitted.record.selection.refitted && !kept.record.selection.refitted);

    // The kept one is the probe of the train split alone.
    let all = with_splits(samples(300));
    let rows: Vec<usize> = (0..300).filter(|&row| all.dataset.samples[row].split == Some(Split::Train)).collect();
    let (features, labels) = clusters(300, 3);
    let dataset = DatasetBase::new(features.select(Axis(0), &rows), labels.select(Axis(0), &rows));
    let Chosen::Linear { c, .. } = kept.record.chosen else { unreachable!("a linear probe") };
    let alone = LinearParams::new().c(c).tolerance(1e-7).fit(&dataset).unwrap();
    let test: Vec<usize> = (0..300).filter(|&row| all.dataset.samples[row].split == Some(Split::Test)).collect();
    let expected: Array2<f64> = alone.predict(&features.select(Axis(0), &test));
    assert!(largest(&(&kept.predictions.probabilities - &expected)) < SAME_OPTIMUM);
    assert!(largest(&(&refitted.predictions.probabilities - &expected)) > 1e-3);
}

fn largest(difference: &Array2<f64>) -> f64 {
    difference.iter().fold(0.0, |most, value| most.max(value.abs()))
}

#[test]
fn neither_order_nor_units_of_the_features_matter() {
    let (features, labels) = clusters(400, 3);
    let params = LinearParams::new().c(0.5).tolerance(1e-8);
    let expected: Array2<f64> =
        params.fit(&DatasetBase::new(features.clone(), labels.clone())).unwrap().predict(&features);

    let mut order: Vec<usize> = (0..400).collect();
    order.shuffle(&mut Seed::new(5).random());
    let shuffled = DatasetBase::new(features.select(Axis(0), &order), labels.select(Axis(0), &order));
    let found: Array2<f64> = params.fit(&shuffled).unwrap().predict(&features);
    assert!(largest(&(&found - &expected)) < SAME_OPTIMUM);

    let mut moved = features.clone();
    for (column, mut values) in moved.columns_mut().into_iter().enumerate() {
        values.mapv_inplace(|value| value * 4f32.powi(column as i32) + 3.0);
    }
    let found: Array2<f64> = params.fit(&DatasetBase::new(moved.clone(), labels)).unwrap().predict(&moved);
    assert!(largest(&(&found - &expected)) < SAME_OPTIMUM);
}

#[test]
fn a_weight_of_two_is_a_sample_twice() {
    let (features, labels) = clusters(90, 3);
    let weights = Array1::from_shape_fn(90, |row| if row % 4 == 0 { 2.0f32 } else { 1.0 });
    let twice: Vec<usize> = (0..90).chain((0..90).filter(|row| row % 4 == 0)).collect();
    let params = LinearParams::new().scale(Scale::None).tolerance(1e-8);
    let weighted = params.fit(&DatasetBase::new(features.clone(), labels.clone()).with_weights(weights)).unwrap();
    let repeated =
        params.fit(&DatasetBase::new(features.select(Axis(0), &twice), labels.select(Axis(0), &twice))).unwrap();
    assert!(largest(&(&weighted.coefficients() - &repeated.coefficients())) < SAME_OPTIMUM);
}

#[test]
fn an_unknown_label_is_as_if_the_sample_were_not_there() {
    let (features, classes) = clusters(200, 3);
    let labels = Array2::from_shape_fn((200, 3), |(row, label)| {
        let known = (row / 3 + label) % 4 != 0;
        known.then_some(classes[row] == label)
    });
    let params = LinearParams::new().scale(Scale::None).tolerance(1e-8);
    let together = params.fit(&DatasetBase::new(features.clone(), labels.clone())).unwrap();
    for label in 0..3 {
        let known: Vec<usize> = (0..200).filter(|&row| labels[[row, label]].is_some()).collect();
        let own = labels.select(Axis(0), &known).select(Axis(1), &[label]);
        let alone = params.fit(&DatasetBase::new(features.select(Axis(0), &known), own)).unwrap();
        let difference = &together.coefficients().row(label) - &alone.coefficients().row(0);
        assert!(difference.iter().all(|value| value.abs() < SAME_OPTIMUM), "label {label}");
    }
}

#[test]
fn a_class_without_training_samples_has_probability_zero() {
    let (features, labels) = clusters(60, 2);
    let shifted = labels.mapv(|class| 2 * class + 1);
    let model = LinearParams::new().classes(5).fit(&DatasetBase::new(features.clone(), shifted)).unwrap();
    let probabilities: Array2<f64> = model.predict(&features);
    for row in probabilities.rows() {
        assert_eq!([row[0], row[2], row[4]], [0.0; 3]);
        assert!((row[1] + row[3] - 1.0).abs() < 1e-12);
    }
}

#[test]
fn a_group_in_two_given_splits_is_refused_unless_allowed() {
    let mut leaking = with_splits(samples(60));
    for row in [3, 11, 14] {
        leaking.dataset.samples[row].group = Some("patient 7".into());
    }
    let mut plan = experiment(linear());
    match refusal(&plan, leaking.clone()) {
        ProbeError::Leak { group, first, second, count } => {
            assert_eq!((group.as_str(), first, second, count), ("patient 7", "train", "test", 1));
        }
        other => unreachable!("{other}"),
    }
    plan.division.allow_leak = true;
    let record = run(&plan, leaking.clone()).unwrap().record;
    assert!(record.leaks.iter().any(|leak| leak.contains("in two splits")), "{:?}", record.leaks);
    plan.division.redraw = true;
    let record = run(&plan, leaking).unwrap().record;
    assert_eq!((record.settings.splits.as_str(), record.leaks.len()), ("grouped random", 0));
    let expected = |warning: &String| warning.contains("intervals") || warning.contains("cross-validation");
    assert!(record.warnings.iter().all(expected), "{:?}", record.warnings);
}

#[test]
fn what_cannot_be_probed_is_refused_with_its_place() {
    let plan = experiment(linear());
    let mut broken = samples(60);
    broken.features[[17, 2]] = f32::NAN;
    assert!(
        matches!(refusal(&plan, broken), ProbeError::NotFinite { row: 17, feature: 2, id, .. } if id == "image0017")
    );

    let mut one_class = with_splits(samples(60));
    for row in 0..60 {
        if one_class.dataset.samples[row].split == Some(Split::Train) {
            one_class.dataset.samples[row].label = Label::Class(1);
        }
    }
    assert!(matches!(refusal(&plan, one_class), ProbeError::OneClass { samples: 42, class } if class == "b"));

    let mut no_test = with_splits(samples(60));
    for sample in &mut no_test.dataset.samples {
        sample.split = sample.split.filter(|split| *split != Split::Test).or(Some(Split::Train));
    }
    assert!(matches!(refusal(&plan, no_test), ProbeError::EmptySplit { split: "test" }));

    let mut unlabelled = samples(60);
    unlabelled.dataset.samples.iter_mut().for_each(|sample| sample.label = Label::Unknown);
    assert!(matches!(refusal(&plan, unlabelled), ProbeError::Unlabelled));

    let mut wrong = samples(60);
    wrong.dataset.samples[5].label = Label::Class(3);
    assert!(matches!(refusal(&plan, wrong), ProbeError::Label { id, .. } if id == "image0005"));

    let mut several = experiment(linear());
    several.repeats = 2;
    assert!(matches!(refusal(&several, with_splits(samples(60))), ProbeError::NothingVaries { repeats: 2 }));
}

#[test]
fn too_many_neighbours_are_lowered_and_copies_across_splits_are_refused_unless_allowed() {
    let mut doubled = with_splits(samples(60));
    for row in [3, 11] {
        doubled.dataset.samples[row].content_hash = Some("same".into());
    }
    let mut plan = experiment(Knn::default().k([10, 100, 200]).into());
    let copies = refusal(&plan, doubled.clone());
    assert!(matches!(copies, ProbeError::RepeatedImage { id, count: 1, .. } if id == "image0003"));
    plan.division.allow_leak = true;
    let record = run(&plan, doubled).unwrap().record;
    let tried: Vec<f64> = record.selection.candidates.iter().map(|candidate| candidate.value).collect();
    assert_eq!(tried, [10.0, 42.0]);
    assert!(record.warnings.iter().any(|warning| warning.contains("42 samples")), "{:?}", record.warnings);
    assert!(record.leaks.iter().any(|leak| leak.contains("byte for byte")), "{:?}", record.leaks);
}

/// `C * sum of losses + 1/2 ||W||^2`, scikit-learn's objective, for coefficients `[classes, D]`.
fn objective(c: f64, features: &Array2<f32>, labels: &Array1<usize>, (w, b): (&Array2<f64>, &Array1<f64>)) -> f64 {
    let scores = features.mapv(f64::from).dot(&w.t()) + b;
    let losses = scores.rows().into_iter().zip(labels).map(|(row, &class)| {
        let most = row.fold(f64::NEG_INFINITY, |most, &score| most.max(score));
        most + row.mapv(|score| (score - most).exp()).sum().ln() - row[class]
    });
    c * losses.sum::<f64>() + 0.5 * w.mapv(|value| value * value).sum()
}

#[test]
fn the_own_solver_goes_lower_than_linfa_logistic() {
    let (features, labels) = clusters(300, 3);
    let c = 1.0;
    let params = LinearParams::new().scale(Scale::None).c(c).tolerance(1e-8);
    let own = params.fit(&DatasetBase::new(features.clone(), labels.clone())).unwrap();
    let own = objective(c, &features, &labels, (&own.coefficients().to_owned(), own.intercepts()));
    let theirs = linfa_logistic::MultiLogisticRegression::default().alpha(1.0 / c).max_iterations(1000);
    let theirs = theirs.fit(&DatasetBase::new(features.mapv(f64::from), labels.clone())).unwrap();
    let theirs = objective(c, &features, &labels, (&theirs.params().t().to_owned(), theirs.intercept()));
    assert!(own <= theirs * (1.0 + 1e-9), "own {own}, linfa-logistic {theirs}");
    assert!(theirs < own * 1.1, "the two are not about the same problem: own {own}, linfa-logistic {theirs}");
}

/// Two and three classes, fewer samples than features, and labels of which some are unknown.
#[test]
fn the_reference_solver_finds_the_probe_of_the_own_one() {
    let close = |own: &LinearModel, theirs: &LinearModel, x: &Array2<f32>| {
        let [own_p, their_p] = [own, theirs].map(|model| model.probabilities(x.view()).unwrap());
        let apart = (&own_p - &their_p).iter().fold(0.0f64, |most, value| most.max(value.abs()));
        assert!(apart < 1e-3, "probabilities are {apart} apart");
        let [own, theirs] = [own.report().objective, theirs.report().objective];
        assert!(own <= theirs + 1e-12 && theirs < own * 1.0001, "objective {own} and {theirs}");
    };
    let params = LinearParams::new().tolerance(1e-6);
    let reference = params.clone().solver(Solver::Linfa);
    for (samples, classes) in [(300, 3), (200, 2), (4, 2)] {
        let (x, labels) = clusters(samples, classes);
        let data = DatasetBase::new(x.clone(), labels);
        close(&params.fit(&data).unwrap(), &reference.fit(&data).unwrap(), &x);
    }
    let (x, classes) = clusters(300, 3);
    let label = |(row, column): (usize, usize)| (row % 7 != column).then_some(classes[row] == column);
    let data = DatasetBase::new(x.clone(), Array2::from_shape_fn((300, 3), label));
    close(&params.fit(&data).unwrap(), &reference.fit(&data).unwrap(), &x);
    let weighted = data.with_weights(Array1::from_elem(300, 2.0));
    assert!(reference.fit(&weighted).unwrap_err().to_string().contains("no weights"));
}

/// 42 images, 1,280 features, three classes whose centres are that far from 0 in each feature.
fn few(apart: f32) -> Samples {
    let mut random = Seed::new(5).named("few").random();
    let centres = Array2::from_shape_fn((3, 1280), |_| apart * random.gen_range(-1f32..1.0));
    let features =
        Array2::from_shape_fn((42, 1280), |(row, column)| centres[(row % 3, column)] + random.gen_range(-1.0f32..1.0));
    let sample = |row: usize| Sample::new(format!("image{row:02}"), "", Label::Class(row % 3));
    let classes = vec!["a".into(), "b".into(), "c".into()];
    let dataset = Dataset::in_row_order("".into(), Task::Multiclass, classes, (0..42).map(sample).collect());
    Samples { dataset, features }
}

/// Every C was right on the few validation samples, their log loss fell for ever, and the choice
/// ended at the largest C, 1e5: with classes far apart, with a weak signal, and without any.
#[test]
fn few_samples_choose_by_cross_validation_and_not_the_weakest_penalty() {
    let told = |record: &defrost::probe::Record, words: &str| {
        assert!(record.warnings.iter().any(|warning| warning.contains(words)), "{words}: {:?}", record.warnings);
    };
    for apart in [0.4, 0.1, 0.0] {
        let record = run(&experiment(Linear::default().into()), few(apart)).unwrap().record;
        let Chosen::Linear { c, .. } = record.chosen else { unreachable!("a linear probe") };
        assert!(c <= 1.0, "classes {apart} apart: C = {c}");
        assert_eq!((record.selection.folds, record.selection.candidates.len()), (Some(5), 45));
        told(&record, "C was chosen by 5-fold cross-validation");
    }
    let record = run(&experiment(Knn::default().k([1, 5, 10]).into()), few(0.4)).unwrap().record;
    assert_eq!(record.selection.folds, Some(5));
    told(&record, "k was chosen by 5-fold cross-validation");
}

#[test]
fn test_samples_have_no_say_in_a_choice_by_cross_validation() {
    let plan = experiment(Linear::default().grid([0.001, 0.1, 10.0]).into());
    let known = with_splits(few(0.4));
    let mut other = known.clone();
    for row in (0..42).filter(|row| known.dataset.samples[*row].split == Some(Split::Test)) {
        other.features.row_mut(row).mapv_inplace(|value| 7.0 - 3.0 * value);
    }
    let (one, two) = (run(&plan, known).unwrap().record, run(&plan, other).unwrap().record);
    assert_eq!((one.selection.folds, &one.chosen), (Some(5), &two.chosen));
    assert_eq!(one.selection, two.selection);
}

#[test]
fn a_choice_at_the_edge_of_its_grid_is_told() {
    let edge = Linear { grid: vec![1e-9, 1e-8], scale: Scale::Standard, tolerance: Some(1e-7), ..Linear::default() };
    let record = run(&experiment(edge.into()), samples(400)).unwrap().record;
    assert_eq!(record.selection.folds, None, "forty validation samples choose by themselves");
    let told = |warning: &String| warning.contains("of 2 candidates: a better one may lie beyond");
    assert!(record.warnings.iter().any(told), "{:?}", record.warnings);
}

#[test]
fn a_part_of_the_training_data_leaves_validation_and_test_whole_and_is_found_again() {
    let whole = Experiment::new(linear()).run(&samples(300)).unwrap().record;
    let mut plan = Experiment::new(linear());
    plan.division.train_fraction = "10%".parse().unwrap();
    let record = plan.run(&samples(300)).unwrap().record;
    let counts = |record: &Record| record.splits.values().map(|counts| counts.samples).collect::<Vec<_>>();
    assert_eq!((counts(&whole), counts(&record)), (vec![210, 30, 60], vec![21, 30, 60]));
    assert_eq!(record.splits[&Split::Train].per_class, [7, 7, 7]);
    assert!(whole.selection.refitted && !record.selection.refitted);
    let text = serde_json::to_string(&record).unwrap();
    assert!(
        text.contains(r#""train_fraction":0.1"#) && !serde_json::to_string(&whole).unwrap().contains("train_fraction")
    );
    let again: Record = serde_json::from_str(&text).unwrap();
    assert_eq!(again.partition(&samples(300).dataset).unwrap().train.len(), 21);
}
