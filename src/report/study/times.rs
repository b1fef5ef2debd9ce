//! Times: how long training takes to its best and inference to an image, and what is reached for
//! it.

use crate::records;
use crate::report::scale::Axis;
use crate::report::sheet::{Figure, Panel};
use crate::report::study::backbones::{figure, point};
use crate::report::study::plot::{AxisNames, Line, Point, Row, lines, magnitude, rows};
use crate::study::index::{BackboneFacts, DatasetFacts};
use crate::study::summary::{Setting, StudySummary};
use crate::study::{Experiment, InferenceTime, Measurement, TrainingWork, Work};

/// Iterations until the best validation metric on a dataset, a value per seed.
fn iterations(summary: &StudySummary<'_>, dataset: &DatasetFacts, backbone: &str) -> Vec<f64> {
    let work = Work::Training(TrainingWork::UNFROZEN_LINEAR);
    let cells = summary.results.repeats(&dataset.name, backbone, &work);
    let steps = |measurement: &Measurement| match measurement {
        Measurement::Training { best_step, .. } => Some(*best_step as f64),
        _ => None,
    };
    cells.into_iter().filter_map(|cell| cell.measurement().and_then(steps)).collect()
}

/// The inference times of a backbone.
fn inference<'a>(summary: &StudySummary<'a>, backbone: &str) -> Option<&'a InferenceTime> {
    let own = |cell: &&crate::study::CellResult| cell.cell.backbone == backbone;
    summary.results.of_experiment(Experiment::Time).filter(own).find_map(|cell| match cell.measurement()? {
        Measurement::InferenceTime(time) => Some(time),
        _ => None,
    })
}

/// Iterations relative to the baseline's, a value per seed and dataset: each divided by the
/// baseline's mean on its dataset.
fn relative_iterations(summary: &StudySummary<'_>, backbone: &str, baseline: &str) -> Vec<f64> {
    let mut found = Vec::new();
    for dataset in summary.targets() {
        let base = records::Summary::of(&iterations(summary, dataset, baseline));
        if let Some(base) = base.filter(|base| base.mean > 0.0) {
            found.extend(iterations(summary, dataset, backbone).into_iter().map(|steps| steps / base.mean));
        }
    }
    found
}

/// Figure 3.
pub(super) fn times(summary: &StudySummary<'_>) -> Figure {
    let figure = figure(summary, "figure-3", "Figure 3: times relative to the baseline");
    let figure = Figure { legend: Vec::new(), ..figure };
    let needs = "a baseline and the experiment `time`";
    let has_times = summary.results.of_experiment(Experiment::Time).next().is_some();
    let Some(baseline) = summary.results.study.baseline.as_ref().filter(|_| has_times) else {
        return figure.showing(Vec::new(), "", needs);
    };
    let all = |value: &dyn Fn(&BackboneFacts) -> Vec<f64>, title: &str, name: &str| {
        let row = |(series, backbone): (usize, &BackboneFacts)| {
            let found = records::Summary::of(&value(backbone))?;
            let title = format!("{}: {:.2}", backbone.name, found.mean);
            let points = vec![Point { x: 0.0, y: found.mean, deviation: found.standard_deviation, title }];
            Some(Row { name: backbone.name.clone(), line: Line { series, points } })
        };
        let found: Vec<Row> = summary.results.backbones.iter().enumerate().filter_map(row).collect();
        let largest = found.iter().flat_map(|row| &row.line.points).map(|p| p.y + p.deviation.unwrap_or(0.0));
        let axis = Axis::linear(largest.chain([0.0, 1.0]));
        rows(title, &found, Some(axis), name)
    };
    let base = inference(summary, baseline);
    let seconds = |pick: fn(&InferenceTime) -> f64| {
        move |backbone: &BackboneFacts| -> Vec<f64> {
            inference(summary, &backbone.name).zip(base).map(|(own, base)| pick(own) / pick(base)).into_iter().collect()
        }
    };
    let training = |backbone: &BackboneFacts| relative_iterations(summary, &backbone.name, baseline);
    let name = format!("Relative to {baseline}");
    let batch = base.map_or(0, |base| base.batch);
    let panels = [
        all(&training, "Iterations to the best epoch", &name),
        all(&seconds(|time| time.seconds.single), "Inference, one image at a time", &name),
        all(&seconds(|time| time.seconds.batched), &format!("Inference in batches of {batch}"), &name),
    ];
    let device = base.map_or(String::new(), |base| format!(" on {}", base.device));
    let caption = format!(
        "Training, unfrozen with a linear head: iterations until the best validation metric, divided by the baseline's \
         on the same dataset; mean and standard deviation over datasets and seeds. Inference: median seconds per \
         image, warm{device}."
    );
    figure.showing(panels.into_iter().flatten().collect(), &caption, needs)
}

/// The setting whose figures stand against speed and size: that of the advice.
fn setting<'s>(summary: &'s StudySummary<'_>) -> Option<&'s Setting> {
    let advice = summary.advice.as_ref()?;
    summary.settings.get(advice.candidates.first()?.setting)
}

pub(super) fn caption(summary: &StudySummary<'_>) -> String {
    let title = setting(summary).map_or(String::new(), Setting::title);
    format!("Setting of the best candidate: {title}. Mean and standard deviation over seeds.")
}

/// A panel per dataset: figures of the best candidate's setting along what `x` says of a backbone.
pub(super) fn against(summary: &StudySummary<'_>, name: &str, x: impl Fn(&BackboneFacts) -> Option<f64>) -> Vec<Panel> {
    let Some(Setting { work, .. }) = setting(summary) else { return Vec::new() };
    let panel = |dataset: &DatasetFacts| {
        let line = |(series, backbone): (usize, &BackboneFacts)| {
            Some(Line { series, points: vec![point(summary, dataset, backbone, work, x(backbone)?)?] })
        };
        let found: Vec<Line> = summary.results.backbones.iter().enumerate().filter_map(line).collect();
        let places: Vec<f64> = found.iter().flat_map(|line| &line.points).map(|point| point.x).collect();
        let names = AxisNames { x: name, y: dataset.metric.title() };
        lines(&dataset.name, &found, &Axis::magnitudes(&places, magnitude), names, false)
    };
    summary.targets().filter_map(panel).collect()
}

/// Figures against images per second.
pub(super) fn speed(summary: &StudySummary<'_>) -> Figure {
    let panels = against(summary, "Images per second", |backbone| {
        inference(summary, &backbone.name).map(|time| 1.0 / time.seconds.batched)
    });
    figure(summary, "speed", "Figures against speed").showing(
        panels,
        &caption(summary),
        "the experiment `time`, and a figure of some setting on every dataset",
    )
}
