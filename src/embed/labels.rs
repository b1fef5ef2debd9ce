//! Labels of feature tables: what the values of a column say about task, classes and each row's
//! label.

use std::collections::{BTreeMap, BTreeSet};

use crate::data::{Label, Task};

/// A value of a label column, before the classes are known.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RawLabel {
    /// Null.
    Unknown,
    /// A class by name.
    Text(String),
    /// A class by number.
    Number(i64),
    /// One entry per class: present, absent or unknown.
    Flags(Vec<Option<bool>>),
    /// The classes that are present.
    Names(Vec<String>),
}

/// Task, classes and labels of a table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Labels {
    /// What the labels mean.
    pub(crate) task: Task,
    /// Class names in their order.
    pub(crate) classes: Vec<String>,
    /// One label per row.
    pub(crate) labels: Vec<Label>,
}

/// Reads labels whose classes are known.
///
/// # Errors
/// Row (from 0) and problem of the first label that is none of the classes.
pub(crate) fn known(task: Task, classes: &[String], raw: Vec<RawLabel>) -> Result<Labels, (usize, String)> {
    let numbers: BTreeMap<&str, usize> = classes.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
    let mut labels = Vec::with_capacity(raw.len());
    for (row, label) in raw.into_iter().enumerate() {
        labels.push(match label {
            RawLabel::Unknown => Label::Unknown,
            RawLabel::Text(name) => match numbers.get(name.as_str()) {
                Some(&class) => Label::Class(class),
                None => return Err((row, format!("`{name}` is no class of the cache"))),
            },
            RawLabel::Flags(flags) if flags.len() == classes.len() => Label::Classes(flags),
            RawLabel::Flags(flags) => {
                return Err((row, format!("{} labels for {} classes", flags.len(), classes.len())));
            }
            RawLabel::Number(_) | RawLabel::Names(_) => return Err((row, "the label is of another kind".into())),
        });
    }
    Ok(Labels { task, classes: classes.to_vec(), labels })
}

/// Finds classes in labels: names sorted, numbers in their order, flags as `class_0`, `class_1`,
/// ...
///
/// # Errors
/// Row (from 0) and problem of the first label that does not fit those before it.
pub(crate) fn found(raw: Vec<RawLabel>) -> Result<Labels, (usize, String)> {
    match raw.iter().find(|label| **label != RawLabel::Unknown) {
        None => {
            let labels = vec![Label::Unknown; raw.len()];
            Ok(Labels { task: Task::Unlabelled, classes: Vec::new(), labels })
        }
        Some(RawLabel::Flags(flags)) => {
            let classes: Vec<String> = (0..flags.len()).map(|class| format!("class_{class}")).collect();
            known(Task::MultiLabel, &classes, raw)
        }
        Some(RawLabel::Names(_)) => Ok(present_names(raw)),
        Some(_) => {
            let numbers: BTreeSet<i64> =
                raw.iter().filter_map(|l| if let RawLabel::Number(n) = l { Some(*n) } else { None }).collect();
            let names: BTreeSet<&String> =
                raw.iter().filter_map(|l| if let RawLabel::Text(name) = l { Some(name) } else { None }).collect();
            let classes: Vec<String> = numbers.iter().map(i64::to_string).chain(names.into_iter().cloned()).collect();
            let text = |label| match label {
                RawLabel::Number(number) => RawLabel::Text(number.to_string()),
                other => other,
            };
            known(Task::Multiclass, &classes, raw.into_iter().map(text).collect())
        }
    }
}

/// Labels that list the names present: what is not listed is absent, null is unknown.
fn present_names(raw: Vec<RawLabel>) -> Labels {
    let mut classes = BTreeSet::new();
    for label in &raw {
        if let RawLabel::Names(names) = label {
            classes.extend(names.iter().cloned());
        }
    }
    let classes: Vec<String> = classes.into_iter().collect();
    let labels = raw
        .into_iter()
        .map(|label| match label {
            RawLabel::Names(names) => Label::Classes(classes.iter().map(|class| Some(names.contains(class))).collect()),
            _ => Label::Unknown,
        })
        .collect();
    Labels { task: Task::MultiLabel, classes, labels }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_order_and_names_are_sorted() {
        let numbers = found(vec![RawLabel::Number(10), RawLabel::Number(2), RawLabel::Unknown]).unwrap();
        assert_eq!(numbers.classes, ["2", "10"]);
        assert_eq!(numbers.labels, [Label::Class(1), Label::Class(0), Label::Unknown]);
        let names = found(vec![RawLabel::Text("b".into()), RawLabel::Text("a".into())]).unwrap();
        assert_eq!((names.task, names.classes), (Task::Multiclass, vec!["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn lists_are_multi_label_and_ragged_ones_are_refused() {
        let flags = found(vec![RawLabel::Flags(vec![Some(true), None]), RawLabel::Flags(vec![Some(false), None])]);
        assert_eq!(flags.unwrap().labels[0], Label::Classes(vec![Some(true), None]));
        let ragged = found(vec![RawLabel::Flags(vec![None, None]), RawLabel::Flags(vec![None])]);
        assert_eq!(ragged.unwrap_err().0, 1);
        let names = found(vec![RawLabel::Names(vec!["x".into()]), RawLabel::Names(vec![])]).unwrap();
        assert_eq!(names.labels, [Label::Classes(vec![Some(true)]), Label::Classes(vec![Some(false)])]);
    }
}
