//! The order of class names: as stated, otherwise sorted, numbers by value.

use std::collections::BTreeSet;
use std::path::Path;

use crate::error::{DataError, Result};
use crate::support::names;

/// The class names of a dataset in their order: `stated` where given (all of `found` must be among
/// them), otherwise `found` sorted as text, or by value where all of them are whole numbers.
///
/// # Errors
/// [`DataError::UnknownClass`] with the nearest stated names.
pub(super) fn in_order(source: &Path, stated: &[String], found: BTreeSet<&str>) -> Result<Vec<String>> {
    if stated.is_empty() {
        let mut classes: Vec<&str> = found.into_iter().collect();
        let numbers: Option<Vec<i128>> = classes.iter().map(|class| class.parse().ok()).collect();
        if numbers.is_some() {
            classes.sort_by_key(|class| class.parse::<i128>().ok());
        }
        return Ok(classes.into_iter().map(str::to_owned).collect());
    }
    if let Some(twice) = stated.iter().enumerate().find(|(i, class)| stated[..*i].contains(class)) {
        return Err(DataError::ClassTwice { class: twice.1.clone() }.into());
    }
    if let Some(unknown) = found.into_iter().find(|class| !stated.iter().any(|known| known == class)) {
        let nearest = names::nearest(unknown, stated.iter().map(String::as_str));
        return Err(DataError::UnknownClass {
            path: source.to_path_buf(),
            rows: Box::default(),
            class: unknown.to_owned(),
            nearest,
            stated: stated.to_vec(),
        }
        .into());
    }
    Ok(stated.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(stated: &[&str], found: &[&str]) -> Result<Vec<String>> {
        let stated: Vec<String> = stated.iter().map(|class| class.to_string()).collect();
        in_order(Path::new("table.csv"), &stated, found.iter().copied().collect())
    }

    #[test]
    fn numbers_are_ordered_by_value_and_names_as_text() {
        assert_eq!(order(&[], &["10", "9", "-1"]).unwrap(), ["-1", "9", "10"]);
        assert_eq!(order(&[], &["4b", "10", "4a"]).unwrap(), ["10", "4a", "4b"]);
        assert_eq!(order(&["mild", "severe"], &["severe"]).unwrap(), ["mild", "severe"]);
    }

    #[test]
    fn a_class_that_is_not_stated_is_refused_with_the_nearest_names() {
        let error = order(&["mild", "severe"], &["sever"]).unwrap_err();
        assert_eq!(error.to_string(), "class `sever` in `table.csv` is not one of the stated classes");
        assert!(error.hint().unwrap().to_string().contains("`severe`"), "{:?}", error.hint());
        assert!(order(&["mild", "mild"], &["mild"]).is_err());
    }
}
