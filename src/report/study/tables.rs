//! The tables of a study.

use crate::metrics::RepeatedDifference;
use crate::report::study::table::{Entry, Table, score_entry};
use crate::report::study::transferability;
use crate::report::tables::signed;
use crate::report::view::in_sentence;
use crate::study::index::DatasetFacts;
use crate::study::summary::{Candidate, PairedComparison, Score, Setting, StudySummary, Verdict};
use crate::study::{Experiment, Work};
use crate::support::numbers::counted;

/// Every table that the study has cells for, in the order of the page.
pub(super) fn tables(summary: &StudySummary<'_>) -> Vec<Table> {
    let parts: [(&str, &str, &[Experiment]); 4] = [
        ("table-1", "Table 1: frozen backbones", &[Experiment::FrozenLinear, Experiment::FrozenClassifier]),
        ("table-2", "Table 2: unfrozen backbones", &[Experiment::UnfrozenLinear, Experiment::UnfrozenClassifier]),
        ("table-3", "Table 3: larger images", &[Experiment::Resolution]),
        ("embeddings", "Probes of embeddings", &[Experiment::LinearProbe, Experiment::Knn]),
    ];
    let scores = parts.into_iter().filter_map(|(name, title, experiments)| {
        let is_of = |setting: &Setting| experiments.contains(&setting.experiment);
        let settings: Vec<usize> = (0..summary.settings.len()).filter(|at| is_of(&summary.settings[*at])).collect();
        (!settings.is_empty()).then(|| score_table(summary, name, title, &settings))
    });
    leaderboard(summary)
        .into_iter()
        .chain(scores)
        .chain(comparisons(summary))
        .chain(ranks(summary))
        .chain(transferability::table(summary))
        .collect()
}

/// Backbones and settings that have figures on every dataset, the best first.
fn leaderboard(summary: &StudySummary<'_>) -> Option<Table> {
    let advice = summary.advice.as_ref()?;
    let datasets: Vec<&DatasetFacts> = summary.targets().collect();
    let names = datasets.iter().map(|dataset| format!("{}, {}", dataset.name, in_sentence(dataset.metric.title())));
    let row = |candidate: &Candidate| {
        let verdict = match (candidate.behind.is_empty(), candidate.is_behind()) {
            (true, _) => "the best",
            (false, true) => "worse",
            (false, false) => "not distinguishable",
        };
        let mut row = vec![
            Entry::text(&candidate.backbone),
            Entry::text(summary.settings[candidate.setting].title()),
            Entry::number(candidate.rank, format!("{:.1}", candidate.rank)),
        ];
        row.extend(datasets.iter().map(|dataset| {
            let setting = &summary.settings[candidate.setting];
            score_entry(&summary.score(setting, dataset, &candidate.backbone))
        }));
        row.push(Entry::text(verdict));
        row
    };
    let mut table = Table {
        name: "leaderboard".to_owned(),
        title: "Leaderboard".to_owned(),
        caption: "Backbones and settings with a figure on every dataset, by their average rank over the datasets. \
                  Against the best: worse on some dataset at the 5 % level after Holm, or not distinguishable on any. \
                  The best was chosen on these test images, so that its own figures are a little too good."
            .to_owned(),
        header: ["Backbone", "Setting", "Average rank"]
            .map(str::to_owned)
            .into_iter()
            .chain(names)
            .chain(["Against the best".to_owned()])
            .collect(),
        rows: advice.candidates.iter().map(row).collect(),
        notes: Vec::new(),
    };
    for (at, dataset) in datasets.iter().enumerate() {
        table.mark_best(3 + at, dataset.metric.larger_is_better());
    }
    Some(table)
}

/// A column of a table of scores.
struct Column<'a> {
    setting: &'a Setting,
    dataset: &'a DatasetFacts,
}

/// Backbones in rows; a column for each setting and dataset.
fn score_table(summary: &StudySummary<'_>, name: &str, title: &str, settings: &[usize]) -> Table {
    let datasets: Vec<&DatasetFacts> = summary.targets().collect();
    let of = |setting: &usize| {
        let setting = &summary.settings[*setting];
        datasets.iter().map(move |dataset| Column { setting, dataset })
    };
    let columns: Vec<Column<'_>> = settings.iter().flat_map(of).collect();
    let heading = |Column { setting, dataset }: &Column<'_>| {
        format!("{}: {}, {}", setting.title(), dataset.name, in_sentence(dataset.metric.title()))
    };
    let mut table = Table {
        name: name.to_owned(),
        title: title.to_owned(),
        caption: format!(
            "Mean ± standard deviation over {} on the test splits. Bold: the best of its column.",
            counted(summary.results.study.repeats, "seed")
        ),
        header: std::iter::once("Backbone".to_owned()).chain(columns.iter().map(heading)).collect(),
        rows: Vec::new(),
        notes: Vec::new(),
    };
    let mut missing = Missing::default();
    for backbone in &summary.results.backbones {
        let mut row = vec![Entry::text(&backbone.name)];
        for Column { setting, dataset } in &columns {
            let score = summary.score(setting, dataset, &backbone.name);
            missing.note(&score, || format!("{} on {}, {}", backbone.name, dataset.name, setting.title()));
            row.push(score_entry(&score));
        }
        if row[1..].iter().any(|entry| !entry.text.is_empty()) {
            table.rows.push(row);
        }
    }
    for (at, column) in columns.iter().enumerate() {
        table.mark_best(at + 1, column.dataset.metric.larger_is_better());
    }
    for setting in settings {
        table.notes.extend(verdicts(summary, *setting));
    }
    table.notes.extend(missing.notes());
    table
}

/// Cells that are missing, by their reason.
#[derive(Default)]
struct Missing(Vec<MissingCells>);

struct MissingCells {
    reason: String,
    names: Vec<String>,
}

impl Missing {
    fn note(&mut self, score: &Score, name: impl Fn() -> String) {
        for reason in &score.missing {
            match self.0.iter_mut().find(|other| other.reason == *reason) {
                Some(other) => other.names.push(name()),
                None => self.0.push(MissingCells { reason: reason.clone(), names: vec![name()] }),
            }
        }
    }

    fn notes(self) -> impl Iterator<Item = String> {
        let text = |MissingCells { reason, names }| format!("Missing: {} ({reason}).", names.join("; "));
        self.0.into_iter().map(text)
    }
}

/// What differs from the baseline in a setting, dataset by dataset, in words.
fn verdicts(summary: &StudySummary<'_>, setting: usize) -> Vec<String> {
    let Some(baseline) = &summary.results.study.baseline else { return Vec::new() };
    let sentence = |dataset: &DatasetFacts| {
        let of = |verdict: Verdict| -> Vec<&str> {
            let fits = |comparison: &&PairedComparison| {
                (comparison.setting, comparison.dataset.as_str()) == (setting, dataset.name.as_str())
                    && comparison.verdict() == Some(verdict)
            };
            summary.comparisons.iter().filter(fits).map(|comparison| comparison.backbone.as_str()).collect()
        };
        let part = |(verdict, text): (Verdict, &str)| {
            let names = of(verdict);
            (!names.is_empty()).then(|| format!("{text} {}", names.join(", ")))
        };
        let parts: Vec<String> = [
            (Verdict::Better, "better:"),
            (Verdict::Worse, "worse:"),
            (Verdict::NotDistinguishable, "not distinguishable:"),
        ]
        .into_iter()
        .filter_map(part)
        .collect();
        let title = summary.settings[setting].title();
        (!parts.is_empty()).then(|| format!("{title} on {}, against {baseline}: {}.", dataset.name, parts.join("; ")))
    };
    summary.targets().filter_map(sentence).collect()
}

/// Every backbone against the baseline.
fn comparisons(summary: &StudySummary<'_>) -> Option<Table> {
    let baseline = summary.results.study.baseline.as_ref()?;
    if summary.comparisons.is_empty() {
        return None;
    }
    let header = ["Setting", "Dataset", "Backbone", "Difference", "Low", "High", "p", "p after Holm", "Against it"];
    let row = |comparison: &PairedComparison| {
        let mut row = vec![
            Entry::text(summary.settings[comparison.setting].title()),
            Entry::text(&comparison.dataset),
            Entry::text(&comparison.backbone),
        ];
        match &comparison.difference {
            Ok(RepeatedDifference { value, low, high, p, .. }) => row.extend([
                Entry::number(*value, signed(*value)),
                Entry::number(*low, signed(*low)),
                Entry::number(*high, signed(*high)),
                Entry::number(*p, p_text(*p)),
                comparison.adjusted.map_or(Entry::missing("–"), |p| Entry::number(p, p_text(p))),
                Entry::text(comparison.verdict().map_or("–", Verdict::name)),
            ]),
            Err(reason) => row.extend([
                Entry::missing("–"),
                Entry::missing("–"),
                Entry::missing("–"),
                Entry::missing("–"),
                Entry::missing("–"),
                Entry::text(format!("not compared: {reason}")),
            ]),
        }
        row
    };
    let seeds = summary.results.study.repeats;
    let caption = format!(
        "Backbone minus {baseline} on the same test images of {}. The 95 % interval, low to high, counts images (by \
         group: jackknife) and {}; p by Student's t, after Holm over all comparisons of a setting; the level is 5 %.",
        counted(seeds, "seed"),
        if seeds > 1 { "seeds" } else { "no seeds, of which there is one" }
    );
    Some(Table {
        name: "comparisons".to_owned(),
        title: format!("Differences from {baseline}"),
        caption,
        header: header.map(str::to_owned).to_vec(),
        rows: summary.comparisons.iter().map(row).collect(),
        notes: Vec::new(),
    })
}

/// Average ranks of the backbones in each setting.
fn ranks(summary: &StudySummary<'_>) -> Option<Table> {
    if summary.ranks.is_empty() {
        return None;
    }
    let mut table = Table {
        name: "ranks".to_owned(),
        title: "Average ranks over datasets".to_owned(),
        caption: "1 is the best. Backbones whose ranks are less apart than the critical difference (Nemenyi, 5 %) are \
                  not distinguishable by ranks; p is Friedman's of \"all alike\" in Iman and Davenport's form."
            .to_owned(),
        header: vec!["Backbone".to_owned()],
        rows: summary.results.backbones.iter().map(|backbone| vec![Entry::text(&backbone.name)]).collect(),
        notes: Vec::new(),
    };
    for of_setting in &summary.ranks {
        let title = summary.settings[of_setting.setting].title();
        let ranks = &of_setting.ranks;
        table.header.push(title.clone());
        for (row, backbone) in table.rows.iter_mut().zip(&summary.results.backbones) {
            let place = of_setting.backbones.iter().position(|name| *name == backbone.name);
            row.push(
                place.map_or(Entry::missing("–"), |at| {
                    Entry::number(ranks.ranks[at], format!("{:.2}", ranks.ranks[at]))
                }),
            );
        }
        table.mark_best(table.header.len() - 1, false);
        let p = ranks.p.map_or("with one dataset there is no test".to_owned(), |p| {
            let text = p_text(p);
            if text.starts_with('<') { format!("p {text}") } else { format!("p = {text}") }
        });
        table.notes.push(format!(
            "{title}: critical difference {:.2} over {}; {p}.",
            ranks.critical_difference,
            counted(ranks.datasets, "dataset")
        ));
    }
    Some(table)
}

/// Every figure of every training and probe, a line each: what all figures are drawn from.
pub(super) fn scores(summary: &StudySummary<'_>) -> Table {
    let header = ["Dataset", "Backbone", "What", "Experiments", "Metric", "Mean", "Seeds", "Missing"];
    let mut rows = Vec::new();
    for dataset in summary.targets() {
        for backbone in &summary.results.backbones {
            let mut seen: Vec<&Work> = Vec::new();
            for cell in &summary.results.cells {
                let own = &cell.cell;
                let is_scored = matches!(own.work, Work::Training(_) | Work::LinearProbe { .. } | Work::Knn { .. });
                let is_here = own.dataset.as_deref() == Some(dataset.name.as_str()) && own.backbone == backbone.name;
                if !is_scored || !is_here || seen.contains(&&own.work) {
                    continue;
                }
                seen.push(&own.work);
                let repeats = summary.results.repeats(&dataset.name, &backbone.name, &own.work);
                let score = Score::new(&repeats, dataset.metric);
                let experiments: Vec<&str> = cell.experiments.iter().map(|experiment| experiment.name()).collect();
                let seeds = score.summary.map_or(0, |summary| summary.repeats);
                rows.push(vec![
                    Entry::text(&dataset.name),
                    Entry::text(&backbone.name),
                    Entry::text(own.work.to_string()),
                    Entry::text(experiments.join(" ")),
                    Entry::text(dataset.metric.name()),
                    score_entry(&score),
                    Entry::number(seeds as f64, format!("{seeds} of {}", score.planned)),
                    Entry::text(score.missing.join("; ")),
                ]);
            }
        }
    }
    Table {
        name: "scores".to_owned(),
        title: "All figures".to_owned(),
        caption: "Mean ± standard deviation over seeds on the test splits.".to_owned(),
        header: header.map(str::to_owned).to_vec(),
        rows,
        notes: Vec::new(),
    }
}

fn p_text(p: f64) -> String {
    if p < 0.001 { "< 0.001".to_owned() } else { format!("{p:.3}") }
}
