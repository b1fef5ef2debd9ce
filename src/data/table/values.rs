//! What the values of a table say: the rules that tables of images, tables of features and label
//! files of published datasets have in common.
//!
//! - **Blank.** An empty cell, and what pandas, R and spreadsheet programs write where nothing is
//!   known: `NA`, `N/A`, `n/a`, `#N/A`, `#N/A N/A`, `#NA`, `<NA>`, `NaN`, `nan`, `-NaN`, `-nan`,
//!   `NaT`, `NULL`, `null`, `None`, `1.#IND`, `-1.#IND`, `1.#QNAN`, `-1.#QNAN` (pandas' own list
//!   and `NaT`), spelled exactly so: `none` and `na` are names. A class that is stated
//!   (`--classes`) is a class, however it is spelled. Parquet has null for what is unknown: where
//!   no classes are stated, `NA`, `N/A`, `n/a`, `None`, `NULL` and `null` beside names in its text
//!   columns are classes, too, as pandas and Polars read them. Both is told with the number of
//!   rows.
//! - **Truth values.** `1`, `1.0`, `true`, `t`, `yes`, `y` and `0`, `0.0`, `false`, `f`, `no`, `n`,
//!   in any case; -1 in any spelling of the number is uncertain.
//! - **Whole numbers.** A column of numbers that are all whole has the same names whether it was
//!   stored as integers, floats (`1.0`, `1e3`) or decimals; 64-bit integers keep every digit.
//! - **Lists.** A list column, or text: `a|b`, `a;b`, `["a", "b"]` (JSON), `['a', 'b']`,
//!   `['a' 'b']`, `('a', 'b')`, `{a,b}` (what Python, NumPy and databases write of a list).

use std::borrow::Cow;

use crate::data::table::StringColumn;

/// Spellings of nothing, see the header.
const MISSING: [&str; 20] = [
    "NA", "N/A", "n/a", "#N/A", "#N/A N/A", "#NA", "<NA>", "NaN", "nan", "-NaN", "-nan", "NaT", "NULL", "null", "None",
    "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN", "",
];

/// Those of [`MISSING`] that are names, too.
const NAMES_OR_MISSING: [&str; 6] = ["NA", "N/A", "n/a", "None", "NULL", "null"];

/// Whether a trimmed cell says that nothing is known or is a name, depending on who wrote it.
pub(super) fn may_be_name(cell: &str) -> bool {
    NAMES_OR_MISSING.contains(&cell)
}

/// Whether a trimmed cell says that nothing is known.
pub(in crate::data) fn is_missing(cell: &str) -> bool {
    MISSING.contains(&cell)
}

/// What a cell of a class's own column says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::data) enum Truth {
    Present,
    Absent,
    Uncertain,
    Blank,
}

/// Reads a cell of a class's own column; `None` for one that says nothing of the kind.
pub(in crate::data) fn truth(cell: Option<&str>) -> Option<Truth> {
    let Some(cell) = cell.filter(|cell| !is_missing(cell)) else { return Some(Truth::Blank) };
    match cell.to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" => Some(Truth::Present),
        "false" | "f" | "no" | "n" => Some(Truth::Absent),
        number => match number.parse::<f64>().ok()? {
            1.0 => Some(Truth::Present),
            0.0 => Some(Truth::Absent),
            -1.0 => Some(Truth::Uncertain),
            _ => None,
        },
    }
}

/// What a cell is as a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    /// Whole, with every digit.
    Whole(i128),
    /// With a fraction.
    Fraction,
}

/// Reads a cell as a number; `None` for text, and for what is infinite.
pub(super) fn number(cell: &str) -> Option<Number> {
    if let Ok(whole) = cell.parse() {
        return Some(Number::Whole(whole));
    }
    let starts_as_number = cell.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    let value: f64 = cell.parse().ok().filter(|value: &f64| starts_as_number && value.is_finite())?;
    // `9007199254740993.0`: the digits before the point are the number.
    let digits = cell.split_once('.').filter(|(_, rest)| !rest.is_empty() && rest.bytes().all(|byte| byte == b'0'));
    if let Some(whole) = digits.and_then(|(digits, _)| digits.parse().ok()) {
        return Some(Number::Whole(whole));
    }
    Some(if value.fract() == 0.0 && value.abs() < 1e30 { Number::Whole(value as i128) } else { Number::Fraction })
}

/// Whether a number is written in a way that only floats are.
pub(super) fn is_decimal(cell: &str) -> bool {
    cell.contains(['.', 'e', 'E'])
}

/// Names of groups or ids: blanks are `None`, and where all are whole numbers and some are written
/// as floats, all are written as integers.
pub(in crate::data) fn names(cells: &StringColumn) -> StringColumn {
    let filled = || cells.iter().flatten().filter(|cell| !is_missing(cell));
    let whole = |cell: &str| match number(cell) {
        Some(Number::Whole(whole)) => Some(whole),
        _ => None,
    };
    let are_floats = filled().any(is_decimal) && filled().all(|cell| whole(cell).is_some());
    let name = |cell: &str| match whole(cell).filter(|_| are_floats) {
        Some(whole) => Cow::Owned(whole.to_string()),
        None => Cow::Owned(cell.to_owned()),
    };
    cells.iter().map(|cell| cell.filter(|cell| !is_missing(cell)).map(|cell| -> Cow<'_, str> { name(cell) })).collect()
}

/// Whether a cell is the text of a list in brackets.
pub(super) fn is_bracketed(cell: &str) -> bool {
    [('[', ']'), ('(', ')'), ('{', '}')].iter().any(|&(open, close)| cell.starts_with(open) && cell.ends_with(close))
}

/// The entries of a list that was written as text; blank entries are `""`.
pub(super) fn entries(cell: &str) -> Vec<String> {
    if !is_bracketed(cell) || cell.len() < 2 {
        return cell.split([';', '|']).map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_owned).collect();
    }
    let mut entries = Vec::new();
    let mut characters = cell[1..cell.len() - 1].chars().peekable();
    while let Some(first) = characters.next() {
        match first {
            ',' => {}
            blank if blank.is_whitespace() => {}
            quote @ ('\'' | '"') => {
                let mut entry = String::new();
                while let Some(next) = characters.next() {
                    match next {
                        '\\' => entry.extend(characters.next()),
                        next if next == quote => break,
                        next => entry.push(next),
                    }
                }
                entries.push(entry.trim().to_owned());
            }
            first => {
                let mut entry = String::from(first);
                // NumPy writes numbers with blanks between them; names without quotes have commas.
                let ends = |next: &char| match cell.contains(',') {
                    true => *next == ',',
                    false => next.is_whitespace(),
                };
                while let Some(next) = characters.next_if(|next| !ends(next)) {
                    entry.push(next);
                }
                let entry = entry.trim();
                entries.push(if is_missing(entry) { String::new() } else { entry.to_owned() });
            }
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truth_values_as_programs_write_them() {
        for cell in ["1", "1.0", "TRUE", "True", "T", "yes", "+1"] {
            assert_eq!(truth(Some(cell)), Some(Truth::Present), "{cell}");
        }
        for cell in ["0", "0.0", "FALSE", "F", "No", "-0"] {
            assert_eq!(truth(Some(cell)), Some(Truth::Absent), "{cell}");
        }
        for cell in [None, Some("NA"), Some("NaN"), Some("#N/A"), Some("<NA>"), Some("None")] {
            assert_eq!(truth(cell), Some(Truth::Blank), "{cell:?}");
        }
        assert_eq!(truth(Some("-1.0")), Some(Truth::Uncertain));
        assert!([Some("2"), Some("x"), Some("inf")].into_iter().all(|cell| truth(cell).is_none()));
    }

    #[test]
    fn whole_numbers_lose_no_digit() {
        assert_eq!(number("9007199254740993"), Some(Number::Whole(9007199254740993)));
        assert_eq!(number("18446744073709551615"), Some(Number::Whole(18446744073709551615)));
        assert_eq!(number("9007199254740993.0"), Some(Number::Whole(9007199254740993)));
        assert_eq!((number("1e3"), number("-2.0")), (Some(Number::Whole(1000)), Some(Number::Whole(-2))));
        assert_eq!((number("0.5"), number("4a"), number("inf")), (Some(Number::Fraction), None, None));
        let read = |cells: &[&str]| names(&cells.iter().map(|cell| Some(*cell)).collect());
        let list = |cells: &StringColumn| cells.iter().map(|cell| cell.map(str::to_owned)).collect::<Vec<_>>();
        assert_eq!(list(&read(&["12.0", "7", "NaN"])), [Some("12".into()), Some("7".into()), None]);
        assert_eq!(list(&read(&["012", "1.5"])), [Some("012".into()), Some("1.5".into())]);
    }

    #[test]
    fn lists_written_as_text() {
        for cell in ["a b|c", "a b; c", "['a b', 'c']", "[\"a b\", \"c\"]", "['a b' 'c']", "('a b', 'c')", "{a b,c}"] {
            assert_eq!(entries(cell), ["a b", "c"], "{cell}");
        }
        assert_eq!(entries("[1. 0.]"), ["1.", "0."]);
        assert_eq!(entries("[1, None, 0]"), ["1", "", "0"]);
        assert!(entries("[]").is_empty() && entries(";").is_empty());
        assert_eq!(entries(r#"["it\"s", 'd\'or']"#), ["it\"s", "d'or"]);
    }
}
