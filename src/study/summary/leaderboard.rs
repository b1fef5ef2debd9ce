//! Which backbone and setting to take, and how sure that is.

use crate::metrics::{Metric, RepeatedDifference, holm, middle_ranks};
use crate::study::summary::differences::{Method, Replicates, Verdict};
use crate::study::summary::{Setting, StudySummary};

/// Alternatives that are named in a sentence.
const MAX_NAMED: usize = 3;

/// A backbone in a setting, on every dataset.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Position of the setting.
    pub setting: usize,
    /// Name of the backbone.
    pub backbone: String,
    /// Its mean over the repeats on each dataset.
    pub means: Vec<f64>,
    /// Its rank among all candidates, averaged over the datasets; 1 is the best.
    pub rank: f64,
    /// The first candidate minus this one on each dataset, with what it says after Holm over all of
    /// them; empty for the first, `None` where they cannot be compared.
    pub behind: Vec<Option<Behind>>,
}

/// How much better the first candidate is.
#[derive(Clone, Debug, PartialEq)]
pub struct Behind {
    /// First minus this one.
    pub difference: RepeatedDifference,
    /// The p-value after Holm.
    pub adjusted: f64,
    /// What it says of the first.
    pub verdict: Verdict,
}

/// The candidates, the best first, and what follows.
#[derive(Clone, Debug, PartialEq)]
pub struct Advice {
    /// Every backbone and setting that has figures on all datasets.
    pub candidates: Vec<Candidate>,
    /// What to take, and how sure that is: a sentence each.
    pub sentences: [String; 2],
}

impl Candidate {
    /// Whether the first is better on some dataset.
    pub fn is_behind(&self) -> bool {
        self.behind.iter().flatten().any(|behind| behind.verdict == Verdict::Better)
    }

    fn name(&self, settings: &[Setting]) -> String {
        format!("{} {}", self.backbone, settings[self.setting].phrase())
    }
}

impl Advice {
    /// `None` where no backbone has figures on all datasets in any setting.
    pub(super) fn new(summary: &StudySummary<'_>, replicates: &[Replicates]) -> Option<Advice> {
        let metrics: Vec<Metric> = summary.targets().map(|dataset| dataset.metric).collect();
        let mut candidates = candidates(summary);
        let datasets = candidates.first()?.means.len();
        for (dataset, metric) in metrics.iter().enumerate() {
            let sign = if metric.larger_is_better() { -1.0 } else { 1.0 };
            let values: Vec<f64> = candidates.iter().map(|candidate| sign * candidate.means[dataset]).collect();
            for (candidate, rank) in candidates.iter_mut().zip(middle_ranks(&values)) {
                candidate.rank += rank / datasets as f64;
            }
        }
        candidates.sort_by(|a, b| a.rank.total_cmp(&b.rank));
        let first = candidates[0].clone();
        let mut differences: Vec<Vec<Option<RepeatedDifference>>> = Vec::new();
        for other in &candidates[1..] {
            let a = Method { setting: other.setting, backbone: &other.backbone };
            let b = Method { setting: first.setting, backbone: &first.backbone };
            differences.push(replicates.iter().map(|replicates| replicates.difference(a, b).ok()).collect());
        }
        let p: Vec<f64> = differences.iter().flatten().flatten().map(|difference| difference.p).collect();
        let mut adjusted = holm(&p).into_iter();
        for (candidate, differences) in candidates[1..].iter_mut().zip(differences) {
            let behind = |(difference, metric): (Option<RepeatedDifference>, &Metric)| {
                let difference = difference?;
                let adjusted = adjusted.next()?;
                let verdict = Verdict::new(&difference, adjusted, metric.larger_is_better());
                Some(Behind { difference, adjusted, verdict })
            };
            candidate.behind = differences.into_iter().zip(&metrics).map(behind).collect();
        }
        let sentences = [take(summary, &candidates), sureness(summary, &candidates)];
        Some(Advice { candidates, sentences })
    }
}

fn candidates(summary: &StudySummary<'_>) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    for (position, setting) in summary.settings.iter().enumerate() {
        for backbone in &summary.results.backbones {
            let means: Option<Vec<f64>> =
                summary.targets().map(|dataset| summary.score(setting, dataset, &backbone.name).mean()).collect();
            candidates.extend(means.map(|means| Candidate {
                setting: position,
                backbone: backbone.name.clone(),
                means,
                rank: 0.0,
                behind: Vec::new(),
            }));
        }
    }
    candidates
}

/// The first sentence.
fn take(summary: &StudySummary<'_>, candidates: &[Candidate]) -> String {
    let first = &candidates[0];
    let figures: Vec<String> = summary
        .targets()
        .zip(&first.means)
        .map(|(dataset, mean)| format!("{} {mean:.3} on {}", dataset.metric.title(), dataset.name))
        .collect();
    let place = match (candidates.len(), first.means.len()) {
        (1, _) => "it is the only one with figures on every dataset".to_owned(),
        (count, 1) => format!("it is the best of {count} ways"),
        (count, datasets) => {
            format!("of {count} ways it has the best average rank, {:.1}, over {datasets} datasets", first.rank)
        }
    };
    format!("Take {}: {place} ({}).", first.name(&summary.settings), figures.join(", "))
}

/// The second sentence.
fn sureness(summary: &StudySummary<'_>, candidates: &[Candidate]) -> String {
    let (behind, beside): (Vec<&Candidate>, Vec<&Candidate>) =
        candidates[1..].iter().partition(|candidate| candidate.is_behind());
    let Some(next) = candidates.get(1) else {
        return "There is nothing to compare it with.".to_owned();
    };
    let closest = || {
        let found = next.behind.iter().zip(summary.targets()).find_map(|(behind, dataset)| {
            let RepeatedDifference { value, low, high, .. } = behind.as_ref()?.difference;
            Some(format!("{value:+.3} ({low:+.3} to {high:+.3}) on {}", dataset.name).replace('-', "−"))
        });
        found.map_or(String::new(), |text| format!("; to the next, {}, it is {text}", next.name(&summary.settings)))
    };
    let repeats = summary.results.study.repeats;
    let seeds = if repeats == 1 { " (one seed: what seeds change is not counted)" } else { "" };
    let all = candidates.len() - 1;
    if beside.is_empty() {
        let others = if all == 1 { "the other".to_owned() } else { format!("all {all} others") };
        return format!(
            "That is sure at the 5 % level: it is better than {others} on some dataset{}{seeds}.",
            closest()
        );
    }
    let mut names: Vec<String> =
        beside.iter().take(MAX_NAMED).map(|candidate| candidate.name(&summary.settings)).collect();
    if beside.len() > MAX_NAMED {
        names.push(format!("{} more", beside.len() - MAX_NAMED));
    }
    let named = match names.split_last() {
        Some((last, first)) if !first.is_empty() => format!("{} and {last}", first.join("; ")),
        _ => names.concat(),
    };
    format!(
        "That is not sure: on these test images it is not distinguishable from {named}; it is better than {} of {all} \
         others on some dataset{}{seeds}.",
        behind.len(),
        closest()
    )
}
