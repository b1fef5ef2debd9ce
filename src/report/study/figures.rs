//! The figures of a study: 1 to 8 of the paper, label fractions, accuracy against speed and
//! parameters, and average ranks.

use crate::finetune::Freeze;
use crate::report::scale::Axis;
use crate::report::sheet::{Figure, Panel};
use crate::report::study::backbones::{figure, point};
use crate::report::study::plot::{AxisNames, Line, Point, Row, lines, magnitude, percent, rows};
use crate::report::study::{similarity, times};
use crate::report::view::in_sentence;
use crate::study::index::{BackboneFacts, DatasetFacts};
use crate::study::summary::{Setting, SettingRanks, StudySummary};
use crate::study::{CellResult, Experiment, TrainingWork, Work};

/// Every figure, in the order of the page; one without panels has nothing computed to show, and its
/// caption says what it would need.
pub(super) fn figures(summary: &StudySummary<'_>) -> Vec<Figure> {
    let mut figures = vec![
        source_size(summary),
        nearest_neighbours(summary),
        times::times(summary),
        freezing(summary),
        decapitation(summary),
        model_size(summary),
    ];
    figures.extend([similarity::layers(summary), similarity::backbones(summary)]);
    figures.extend([
        label_fractions(summary),
        times::speed(summary),
        parameters(summary),
        critical_difference(summary),
    ]);
    figures
}

/// Percent by which a setting's mean of a backbone is above that of another, averaged over the
/// datasets that have both; `None` without such a dataset.
fn gain(summary: &StudySummary<'_>, work: &Work, backbone: &str, base: &str) -> Option<f64> {
    let of = |dataset: &DatasetFacts| {
        let mean = |backbone: &str| summary.score_of(work, dataset, backbone).mean();
        let (own, base) = (mean(backbone)?, mean(base)?);
        let sign = if dataset.metric.larger_is_better() { 1.0 } else { -1.0 };
        (base != 0.0).then(|| sign * 100.0 * (own - base) / base.abs())
    };
    let gains: Vec<f64> = summary.targets().filter_map(of).collect();
    (!gains.is_empty()).then(|| gains.iter().sum::<f64>() / gains.len() as f64)
}

/// One panel per setting: gains over `base` along what `x` says of a backbone.
fn gains(
    summary: &StudySummary<'_>,
    settings: &[Setting],
    base: &str,
    name: &str,
    x: impl Fn(&BackboneFacts) -> Option<f64>,
) -> Vec<Panel> {
    let panel = |setting: &Setting| {
        let line = |(series, backbone): (usize, &BackboneFacts)| {
            let (x, y) = (x(backbone)?, gain(summary, &setting.work, &backbone.name, base)?);
            let title = format!("{}: {y:+.1} %", backbone.name);
            Some(Line { series, points: vec![Point { x, y, deviation: None, title }] })
        };
        let found: Vec<Line> = summary.results.backbones.iter().enumerate().filter_map(line).collect();
        let places: Vec<f64> = found.iter().flat_map(|line| &line.points).map(|point| point.x).collect();
        let names = AxisNames { x: name, y: &format!("Gain over {base}, %") };
        lines(&setting.title(), &found, &Axis::magnitudes(&places, magnitude), names, false)
    };
    settings.iter().filter_map(panel).collect()
}

fn source_size(summary: &StudySummary<'_>) -> Figure {
    let panels = summary.results.study.baseline.as_ref().map_or_else(Vec::new, |baseline| {
        gains(summary, &summary.settings, baseline, "Images it was trained on", |backbone| {
            backbone.source_images.map(|count| count as f64)
        })
    });
    figure(summary, "figure-1", "Figure 1: relative gain against the size of the source data").showing(
        panels,
        "Gain over the baseline in percent of its figure, averaged over the datasets.",
        "a baseline, and backbones whose `source_images` are known",
    )
}

fn nearest_neighbours(summary: &StudySummary<'_>) -> Figure {
    let settings = summary.settings.iter().filter(|setting| setting.experiment == Experiment::Knn);
    let settings: Vec<&Setting> = settings.collect();
    let mut panels = Vec::new();
    for dataset in summary.targets() {
        for setting in &settings {
            let row = |(series, backbone): (usize, &BackboneFacts)| {
                let points = vec![point(summary, dataset, backbone, &setting.work, 0.0)?];
                Some(Row { name: backbone.name.clone(), line: Line { series, points } })
            };
            let found: Vec<Row> = summary.results.backbones.iter().enumerate().filter_map(row).collect();
            let title = format!("{}, {}", dataset.name, setting.title());
            panels.extend(rows(&title, &found, None, dataset.metric.title()));
        }
    }
    let columns = settings.len();
    let figure = Figure { legend: Vec::new(), columns, ..figure(summary, "figure-2", "Figure 2: nearest neighbours") };
    figure.showing(panels, "Mean and standard deviation over seeds.", "the experiment `knn`")
}

/// The curves of every backbone on one dataset, along what `place` says of a training.
fn curves(
    summary: &StudySummary<'_>,
    experiment: Experiment,
    dataset: &DatasetFacts,
    place: impl Fn(&TrainingWork, &BackboneFacts) -> Option<f64>,
) -> Vec<Line> {
    let line = |(series, backbone): (usize, &BackboneFacts)| {
        let mut works: Vec<(&TrainingWork, &Work)> = Vec::new();
        for cell in summary.results.of_experiment(experiment) {
            if let Some(work) = cell.training()
                && cell.cell.backbone == backbone.name
                && !works.iter().any(|(other, _)| *other == work)
            {
                works.push((work, &cell.cell.work));
            }
        }
        let of = |(training, work): &(&TrainingWork, &Work)| {
            point(summary, dataset, backbone, work, place(training, backbone)?)
        };
        let mut points: Vec<Point> = works.iter().filter_map(of).collect();
        points.sort_by(|a, b| a.x.total_cmp(&b.x));
        Line { series, points }
    };
    summary.results.backbones.iter().enumerate().map(line).filter(|line| !line.points.is_empty()).collect()
}

/// From 0 to the most blocks that a line has.
fn block_axis(lines: &[Line]) -> Axis {
    let last = lines.iter().flat_map(|line| &line.points).map(|point| point.x).fold(1.0, f64::max);
    let count = last as usize;
    let every = count.div_ceil(7).max(1);
    let ticks = (0..=count).filter(|block| block % every == 0).map(|block| (block as f64, block.to_string()));
    Axis::with_ticks(0.0, last, ticks.collect())
}

fn freezing(summary: &StudySummary<'_>) -> Figure {
    let panel = |dataset: &DatasetFacts| {
        let found = curves(summary, Experiment::ProgressiveFreezing, dataset, |work, backbone| match work.freeze {
            Freeze::None => Some(0.0),
            Freeze::Blocks(count) => Some(count as f64),
            Freeze::All => Some(backbone.blocks as f64),
        });
        let names = AxisNames { x: "Frozen blocks", y: dataset.metric.title() };
        lines(&dataset.name, &found, &block_axis(&found), names, true)
    };
    figure(summary, "figure-4", "Figure 4: progressive freezing").showing(
        summary.targets().filter_map(panel).collect(),
        "The first blocks stay as they are, the others are trained with a linear head; mean and standard deviation \
         over seeds.",
        "the experiment `progressive-freezing`",
    )
}

fn decapitation(summary: &StudySummary<'_>) -> Figure {
    let mut panels = Vec::new();
    for (freeze, text) in [(Freeze::All, "frozen"), (Freeze::None, "unfrozen")] {
        for dataset in summary.targets() {
            let found = curves(summary, Experiment::Decapitation, dataset, |work, backbone| {
                (work.freeze == freeze).then(|| work.keep_blocks.unwrap_or(backbone.blocks) as f64)
            });
            let names = AxisNames { x: "Kept blocks", y: dataset.metric.title() };
            panels.extend(lines(&format!("{}, {text}", dataset.name), &found, &block_axis(&found), names, true));
        }
    }
    let columns = summary.targets().count();
    Figure { columns, ..figure(summary, "figure-5", "Figure 5: decapitation") }.showing(
        panels,
        "A transformer is appended to the first blocks, which are frozen (first row) or trained with it (second row).",
        "the experiment `decapitation`",
    )
}

fn model_size(summary: &StudySummary<'_>) -> Figure {
    let cells: Vec<_> = summary.results.of_experiment(Experiment::ModelSize).collect();
    let mut settings: Vec<Setting> = Vec::new();
    let mut members: Vec<&str> = Vec::new();
    for cell in &cells {
        let work = &cell.cell.work;
        if matches!(work, Work::Training(_) | Work::LinearProbe { .. }) {
            let setting = Setting { experiment: Experiment::ModelSize, work: work.clone() };
            settings.extend((!settings.contains(&setting)).then_some(setting));
            members.extend((!members.contains(&cell.cell.backbone.as_str())).then_some(cell.cell.backbone.as_str()));
        }
    }
    // The base model is the member that other experiments are about, too.
    let is_shared = |member: &&str| {
        let own = |cell: &&CellResult| cell.cell.backbone == **member;
        summary.results.cells.iter().filter(own).any(|cell| !cell.experiments.contains(&Experiment::ModelSize))
    };
    let base = members.iter().find(|member| is_shared(member)).or(members.first()).copied();
    let panels = base.map_or_else(Vec::new, |base| {
        gains(summary, &settings, base, "Parameters", |backbone| {
            members.contains(&backbone.name.as_str()).then_some(backbone.parameters? as f64)
        })
    });
    let caption = format!("Gain over {} in percent, averaged over the datasets.", base.unwrap_or("the base model"));
    let mut figure = figure(summary, "figure-6", "Figure 6: model size");
    figure.legend.retain(|entry| members.contains(&entry.text.as_str()));
    figure.showing(panels, &caption, "the experiment `model-size`")
}

fn label_fractions(summary: &StudySummary<'_>) -> Figure {
    let mut panels = Vec::new();
    let mut kinds: Vec<Setting> = Vec::new();
    for cell in summary.results.of_experiment(Experiment::LabelFraction) {
        if let Some((work, _)) = whole(&cell.cell.work) {
            let setting = Setting { experiment: Experiment::LabelFraction, work };
            kinds.extend((!kinds.contains(&setting)).then_some(setting));
        }
    }
    for kind in &kinds {
        for dataset in summary.targets() {
            let line = |(series, backbone): (usize, &BackboneFacts)| {
                let mut found: Vec<Point> = Vec::new();
                for cell in summary.results.of_experiment(Experiment::LabelFraction) {
                    let Some((whole, share)) = whole(&cell.cell.work) else { continue };
                    if whole == kind.work && !found.iter().any(|point| point.x == share) {
                        found.extend(point(summary, dataset, backbone, &cell.cell.work, share));
                    }
                }
                found.sort_by(|a, b| a.x.total_cmp(&b.x));
                Line { series, points: found }
            };
            let found: Vec<Line> = summary.results.backbones.iter().enumerate().map(line).collect();
            let mut shares: Vec<f64> = found.iter().flat_map(|line| &line.points).map(|point| point.x).collect();
            shares.sort_by(f64::total_cmp);
            shares.dedup();
            let names = AxisNames { x: "Share of the training labels", y: dataset.metric.title() };
            let axis = Axis::logarithmic(&shares).with_texts(percent);
            panels.extend(lines(
                &format!("{}, {}", dataset.name, in_sentence(&kind.title())),
                &found,
                &axis,
                names,
                true,
            ));
        }
    }
    let columns = summary.targets().count();
    Figure { columns, ..figure(summary, "label-fractions", "Label fractions") }.showing(
        panels,
        "Trained on a part of the labelled images, the smaller parts within the larger ones; mean and standard \
         deviation over seeds.",
        "the experiment `label-fraction`",
    )
}

/// What a cell computes with all labels, and the share that it has.
fn whole(work: &Work) -> Option<(Work, f64)> {
    match work {
        Work::Training(training) => {
            Some((Work::Training(TrainingWork { train_fraction: 1.0, ..*training }), training.train_fraction))
        }
        Work::LinearProbe { train_fraction } => Some((Work::LinearProbe { train_fraction: 1.0 }, *train_fraction)),
        _ => None,
    }
}

fn parameters(summary: &StudySummary<'_>) -> Figure {
    let panels = times::against(summary, "Parameters", |backbone| backbone.parameters.map(|count| count as f64));
    figure(summary, "parameters", "Figures against parameters").showing(
        panels,
        &times::caption(summary),
        "a figure of some setting on every dataset",
    )
}

fn critical_difference(summary: &StudySummary<'_>) -> Figure {
    let panel = |of_setting: &SettingRanks| {
        let ranks = &of_setting.ranks;
        let mut order: Vec<usize> = (0..of_setting.backbones.len()).collect();
        order.sort_by(|&a, &b| ranks.ranks[a].total_cmp(&ranks.ranks[b]));
        let row = |place: usize| {
            let (name, rank) = (&of_setting.backbones[place], ranks.ranks[place]);
            let series = summary.results.backbones.iter().position(|backbone| backbone.name == *name)?;
            let title = format!("{name}: average rank {rank:.2}");
            let half = Some(ranks.critical_difference / 2.0);
            let points = vec![Point { x: 0.0, y: rank, deviation: half, title }];
            Some(Row { name: name.clone(), line: Line { series, points } })
        };
        let found: Vec<Row> = order.into_iter().filter_map(row).collect();
        let title = summary.settings[of_setting.setting].title();
        rows(&title, &found, None, &format!("Average rank, critical difference {:.2}", ranks.critical_difference))
    };
    let figure = figure(summary, "critical-difference", "Average ranks with their critical difference");
    Figure { legend: Vec::new(), ..figure }.showing(
        summary.ranks.iter().filter_map(panel).collect(),
        "1 is the best. Lines are as long as the critical difference (Nemenyi, 5 %): backbones whose lines overlap are \
         not distinguishable by their ranks over the datasets.",
        "two backbones with a figure on every dataset in some setting",
    )
}
