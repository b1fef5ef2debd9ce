//! Division of samples into training, validation and test data.
//!
//! [`assign`] is a pure function of ids, labels, groups and seed: neither the order of the samples
//! nor the place of the files matters. What it promises:
//! - stratified: each class is divided in the stated proportions, off by less than one sample per
//!   split; a class with at least as many samples as there are splits is in all of them, even where
//!   that costs the proportion;
//! - grouped: no group is in two splits; class proportions are met as nearly as the groups allow,
//!   by a greedy assignment (large groups and rare classes first, to the split that lacks them
//!   most) improved by moves and swaps;
//! - several labels per sample: as grouped, with each sample its own group.
//!
//! The default fractions are 70 % training, 10 % validation and 20 % test: the test share of the
//! study this follows, with validation data taken from the rest, so that hyper-parameters are never
//! chosen on test data.

mod balance;
mod fractions;
mod stratify;
mod subset;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::data::{Dataset, Label, Sample, Split};
use crate::error::{DataError, Result};
use crate::support::seed::Seed;

pub use fractions::Fractions;
pub use subset::{TrainFraction, subset};

/// What [`assign`] knows of one sample.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// Unique name.
    pub id: &'a str,
    /// The label.
    pub label: &'a Label,
    /// Patient, lesion or another unit that must not be divided; a member without one stands by
    /// itself.
    pub group: Option<&'a str>,
    /// The split the dataset states.
    pub given: Option<Split>,
}

/// How to divide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// `Given` where every member states a split, otherwise `Grouped` where any has a group,
    /// otherwise `Stratified`.
    #[default]
    Auto,
    /// As stated. Where no member is in validation and its fraction is above 0, validation data is
    /// drawn from the training data, its share of training and validation together as in the
    /// fractions; test data is never touched.
    Given,
    /// Random, each class in the stated proportions; groups are not regarded.
    Stratified,
    /// Random, groups whole, each class as nearly in the stated proportions as the groups allow.
    Grouped,
}

/// A request to divide samples.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How to divide.
    pub policy: Policy,
    /// Proportions of the splits.
    pub fractions: Fractions,
    /// Where the random draws start; the same seed gives the same splits.
    pub seed: Seed,
}

impl Default for Plan {
    fn default() -> Self {
        Plan { policy: Policy::Auto, fractions: Fractions::default(), seed: Seed::new(0) }
    }
}

/// The outcome of [`assign`].
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// The policy that was followed, never `Auto`.
    pub policy: Policy,
    /// The split of each member, in the order of the members.
    pub splits: Vec<Split>,
    /// Classes (by index) that are missing from a split that was asked for or given, though the
    /// dataset has them.
    pub absent: Vec<(usize, Split)>,
    /// Groups that are in more than one split, sorted; only a given or a stratified assignment can
    /// have any.
    pub divided_groups: Vec<String>,
}

impl Dataset {
    /// The samples as [`assign`] takes them.
    pub fn members(&self) -> Vec<Member<'_>> {
        let samples = self.samples.iter();
        samples
            .map(|Sample { id, label, group, split, .. }| Member { id, label, group: group.as_deref(), given: *split })
            .collect()
    }
}

/// Divides the members into splits.
///
/// # Errors
/// [`DataError::SplitsNotGiven`] where policy `Given` finds members without a split, or `Auto`
/// finds some with and some without; [`DataError::NoGroups`]; [`DataError::TooFew`] where there are
/// fewer samples or groups than splits; [`DataError::EmptySplit`] where classes of one or two
/// samples leave a split without any.
pub fn assign(members: &[Member<'_>], plan: &Plan) -> Result<Assignment> {
    let policy = choose(members, plan.policy)?;
    let seed = plan.seed.named("split");
    let everyone: Vec<usize> = (0..members.len()).collect();
    let mut splits = vec![Split::Train; members.len()];
    match policy {
        Policy::Given => given(members, plan, &mut splits)?,
        _ => divide(members, &everyone, &Request { policy, fractions: plan.fractions, seed }, &mut splits)?,
    }
    let absent = absent(members, &splits);
    let groups = members.iter().zip(&splits).filter_map(|(member, split)| Some((member.group?, *split)));
    Ok(Assignment { policy, absent, divided_groups: divided_groups(groups), splits })
}

/// A division of some members at random.
struct Request {
    policy: Policy,
    fractions: Fractions,
    seed: Seed,
}

/// What `Auto` means for these members.
fn choose(members: &[Member<'_>], policy: Policy) -> Result<Policy> {
    let without = members.iter().filter(|member| member.given.is_none()).count();
    let grouped = members.iter().any(|member| member.group.is_some());
    let missing = |first: Option<&Member<'_>>| DataError::SplitsNotGiven {
        id: first.map(|member| member.id.to_owned()).unwrap_or_default(),
        without,
        total: members.len(),
    };
    match policy {
        Policy::Given | Policy::Auto if without == 0 && !members.is_empty() => Ok(Policy::Given),
        Policy::Auto if without == members.len() => Ok(if grouped { Policy::Grouped } else { Policy::Stratified }),
        Policy::Given | Policy::Auto => Err(missing(members.iter().find(|member| member.given.is_none())).into()),
        Policy::Grouped if !grouped => Err(DataError::NoGroups.into()),
        Policy::Grouped | Policy::Stratified => Ok(policy),
    }
}

/// The stated splits, with validation data drawn from the training data where none is stated.
fn given(members: &[Member<'_>], plan: &Plan, splits: &mut [Split]) -> Result<()> {
    for (split, member) in splits.iter_mut().zip(members) {
        *split = member.given.unwrap_or(Split::Train);
    }
    let fractions = plan.fractions;
    if splits.contains(&Split::Validation) || fractions.validation == 0.0 {
        return Ok(());
    }
    let training: Vec<usize> = (0..members.len()).filter(|&index| splits[index] == Split::Train).collect();
    let share = fractions.validation / (fractions.train + fractions.validation);
    let request = Request {
        policy: if members.iter().any(|member| member.group.is_some()) { Policy::Grouped } else { Policy::Stratified },
        fractions: Fractions { train: 1.0 - share, validation: share, test: 0.0 },
        seed: plan.seed.named("split"),
    };
    divide(members, &training, &request, splits)
}

/// Divides the members `chosen` at random and writes their splits.
fn divide(members: &[Member<'_>], chosen: &[usize], request: &Request, splits: &mut [Split]) -> Result<()> {
    // The rank of a member depends on its id alone, so that adding a member moves few others.
    let rank = |index: usize| (request.seed.named(members[index].id).number(), members[index].id);
    let mut ranked: Vec<_> = chosen.par_iter().map(|&index| (rank(index), index)).collect();
    ranked.par_sort_unstable();
    let order: Vec<usize> = ranked.into_iter().map(|(_, index)| index).collect();
    let several = members.iter().any(|member| matches!(member.label, Label::Classes(_)));
    if request.policy == Policy::Grouped || several {
        balance::divide(members, &order, request, splits)?;
    } else {
        stratify::divide(members, &order, request.fractions, splits)?;
    }
    match request.fractions.wanted().into_iter().find(|(split, _)| chosen.iter().all(|&i| splits[i] != *split)) {
        Some((split, _)) => Err(DataError::EmptySplit { split: split.name() }.into()),
        None => Ok(()),
    }
}

/// Classes that some member has and a non-empty or requested split lacks.
fn absent(members: &[Member<'_>], splits: &[Split]) -> Vec<(usize, Split)> {
    let used: BTreeSet<Split> = splits.iter().copied().collect();
    let mut present: BTreeMap<usize, BTreeSet<Split>> = BTreeMap::new();
    for (member, &split) in members.iter().zip(splits) {
        for class in member.label.present() {
            present.entry(class).or_default().insert(split);
        }
    }
    present.iter().flat_map(|(&class, found)| used.difference(found).map(move |&split| (class, split))).collect()
}

/// The groups that are in more than one split, sorted; `members` are the group and split of each
/// member that has both.
pub fn divided_groups<'a>(members: impl IntoIterator<Item = (&'a str, Split)>) -> Vec<String> {
    let mut first: HashMap<&str, Split> = HashMap::new();
    let mut divided: BTreeSet<&str> = BTreeSet::new();
    for (group, split) in members {
        if *first.entry(group).or_insert(split) != split {
            divided.insert(group);
        }
    }
    divided.into_iter().map(str::to_owned).collect()
}
