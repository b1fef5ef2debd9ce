//! Differences between two ways on the same test images, over seeds and images by group.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use rand::seq::SliceRandom as _;

use crate::error::Result;
use crate::metrics::{LeaveOut, Metric, RepeatedDifference, holm, repeated_difference};
use crate::records::PredictionTable;
use crate::study::summary::Setting;
use crate::study::{CellResult, StudyResults};
use crate::support::seed::Seed;

/// Most blocks of groups that are left out one by one.
const MAX_BLOCKS: usize = 200;
/// Coverage of intervals.
const COVERAGE: f64 = 0.95;

/// A backbone against the baseline on one dataset, in one setting.
#[derive(Clone, Debug, PartialEq)]
pub struct PairedComparison {
    /// Position of the setting.
    pub setting: usize,
    /// Name of the dataset.
    pub dataset: String,
    /// Name of the backbone.
    pub backbone: String,
    /// Backbone minus baseline; where there is none, the reason.
    pub difference: std::result::Result<RepeatedDifference, String>,
    /// The p-value after Holm over the comparisons of the setting.
    pub adjusted: Option<f64>,
    /// Whether a larger metric is better.
    pub larger_is_better: bool,
}

/// What a comparison says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The backbone is better.
    Better,
    /// The backbone is worse.
    Worse,
    /// Neither can be said.
    NotDistinguishable,
}

impl Verdict {
    /// In words.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Better => "better",
            Verdict::Worse => "worse",
            Verdict::NotDistinguishable => "not distinguishable",
        }
    }

    /// Of a difference and its p-value, adjusted for others where there are others.
    pub(super) fn new(difference: &RepeatedDifference, p: f64, larger_is_better: bool) -> Verdict {
        match (p < 1.0 - COVERAGE, (difference.value > 0.0) == larger_is_better) {
            (false, _) => Verdict::NotDistinguishable,
            (true, true) => Verdict::Better,
            (true, false) => Verdict::Worse,
        }
    }
}

impl PairedComparison {
    /// What it says at a level of 5 % after Holm; `None` where there is no difference.
    pub fn verdict(&self) -> Option<Verdict> {
        let difference = self.difference.as_ref().ok()?;
        Some(Verdict::new(difference, self.adjusted?, self.larger_is_better))
    }
}

/// One method's repeats on a dataset.
struct Repeats {
    setting: usize,
    backbone: String,
    by_seed: BTreeMap<u64, Repeat>,
}

struct Repeat {
    /// Of ids and truth: equal where the test images are.
    test: u64,
    figure: LeaveOut,
}

/// Every method's figures on one dataset, without each block of test images.
pub(super) struct Replicates {
    repeats: Vec<Repeats>,
}

impl Replicates {
    /// Reads the predictions of the settings' cells on a dataset.
    pub(super) fn read(results: &StudyResults, settings: &[Setting], dataset: &str, metric: Metric) -> Result<Self> {
        let mut cells: Vec<(usize, &CellResult)> = Vec::new();
        for (setting, Setting { work, .. }) in settings.iter().enumerate() {
            for backbone in &results.backbones {
                let repeats = results.repeats(dataset, &backbone.name, work);
                cells.extend(repeats.into_iter().map(|cell| (setting, cell)));
            }
        }
        let mut units = BTreeSet::new();
        for (_, cell) in &cells {
            if let Some(table) = cell.predictions()? {
                units.extend((0..table.ids.len()).map(|row| unit(&table, row)));
            }
        }
        let blocks = Blocks::new(units);
        let mut repeats: Vec<Repeats> = Vec::new();
        for (setting, cell) in cells {
            let Some(table) = cell.predictions()? else { continue };
            let backbone = &cell.cell.backbone;
            let place = repeats.iter().position(|other| other.setting == setting && other.backbone == *backbone);
            let place = place.unwrap_or_else(|| {
                repeats.push(Repeats { setting, backbone: backbone.clone(), by_seed: BTreeMap::new() });
                repeats.len() - 1
            });
            repeats[place].by_seed.insert(cell.cell.seed, blocks.repeat(&table, metric)?);
        }
        Ok(Replicates { repeats })
    }

    fn of(&self, setting: usize, backbone: &str) -> Option<&Repeats> {
        self.repeats.iter().find(|repeats| repeats.setting == setting && repeats.backbone == backbone)
    }

    /// Second minus first, each a setting and a backbone; where they cannot be compared, why.
    pub(super) fn difference(
        &self,
        first: Method<'_>,
        second: Method<'_>,
    ) -> std::result::Result<RepeatedDifference, String> {
        let find = |method: Method<'_>| {
            let missing = || format!("{} has no predictions there", method.backbone);
            self.of(method.setting, method.backbone).ok_or_else(missing)
        };
        let (a, b) = (find(first)?, find(second)?);
        let shared: Vec<(&Repeat, &Repeat)> =
            a.by_seed.iter().filter_map(|(seed, repeat)| Some((repeat, b.by_seed.get(seed)?))).collect();
        if shared.is_empty() {
            return Err("they have no seed in common".to_owned());
        }
        if shared.iter().any(|(a, b)| a.test != b.test) {
            return Err("their test images differ".to_owned());
        }
        let (a, b): (Vec<LeaveOut>, Vec<LeaveOut>) =
            shared.into_iter().map(|(a, b)| (a.figure.clone(), b.figure.clone())).unzip();
        repeated_difference(&a, &b, COVERAGE).ok_or_else(|| "the metric is undefined".to_owned())
    }
}

/// A setting with a backbone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Method<'a> {
    pub(super) setting: usize,
    pub(super) backbone: &'a str,
}

/// The group of a sample, or the sample itself.
fn unit(table: &PredictionTable, row: usize) -> String {
    match &table.groups[row] {
        Some(group) => format!("group {group}"),
        None => format!("image {}", table.ids[row]),
    }
}

/// The block of each unit, the same for all cells of a dataset.
struct Blocks {
    of: BTreeMap<String, usize>,
    count: usize,
}

impl Blocks {
    fn new(units: BTreeSet<String>) -> Blocks {
        let count = units.len().min(MAX_BLOCKS);
        let mut units: Vec<String> = units.into_iter().collect();
        units.shuffle(&mut Seed::new(0).named("study/blocks").random());
        Blocks { of: units.into_iter().enumerate().map(|(at, unit)| (unit, at % count)).collect(), count }
    }

    fn repeat(&self, table: &PredictionTable, metric: Metric) -> Result<Repeat> {
        // Probes and networks may list their test images in other orders.
        let mut order: Vec<usize> = (0..table.ids.len()).collect();
        order.sort_by(|&a, &b| table.ids[a].cmp(&table.ids[b]));
        order.retain(|&row| table.truth[row] != crate::data::Label::Unknown);
        let table = table.rows(&order);
        let blocks: Vec<usize> = (0..table.ids.len()).map(|row| self.of[&unit(&table, row)]).collect();
        let mut hasher = DefaultHasher::new();
        table.ids.hash(&mut hasher);
        format!("{:?}", table.truth).hash(&mut hasher);
        let figure = LeaveOut::new(&table.predictions()?, metric, &blocks, self.count);
        Ok(Repeat { test: hasher.finish(), figure })
    }
}

/// Fills in the p-values after Holm, over the comparisons of each setting.
pub(super) fn adjust(comparisons: &mut [PairedComparison], settings: usize) {
    for setting in 0..settings {
        let family: Vec<(usize, f64)> = comparisons
            .iter()
            .enumerate()
            .filter(|(_, comparison)| comparison.setting == setting)
            .filter_map(|(at, comparison)| Some((at, comparison.difference.as_ref().ok()?.p)))
            .collect();
        let adjusted = holm(&family.iter().map(|(_, p)| *p).collect::<Vec<_>>());
        for ((at, _), p) in family.into_iter().zip(adjusted) {
            comparisons[at].adjusted = Some(p);
        }
    }
}
