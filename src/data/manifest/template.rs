//! Texts with columns in braces: `train/{Path|1..}.jpg`.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::data::table::StringColumn;

/// Columns by name.
pub(super) type Columns<'a> = HashMap<&'a str, &'a StringColumn>;

/// A text with columns in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Template {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Cell { column: String, part: Part },
}

/// What is taken of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    All,
    /// One component of a path.
    One(usize),
    /// The components of a path from this one on.
    From(usize),
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            let (inside, after) =
                after.split_once('}').ok_or_else(|| format!("`{text}` has a brace that is not closed"))?;
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            pieces.push(
                cell(inside)
                    .ok_or_else(|| format!("`{{{inside}}}` is none of {{column}}, {{column|2}}, {{column|1..}}"))?,
            );
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Template { text, pieces })
    }
}

impl From<Template> for String {
    fn from(template: Template) -> String {
        template.text
    }
}

fn cell(inside: &str) -> Option<Piece> {
    let (column, part) = match inside.split_once('|') {
        None => (inside, Part::All),
        Some((column, part)) => match part.strip_suffix("..") {
            Some(first) => (column, Part::From(first.parse().ok()?)),
            None => (column, Part::One(part.parse().ok()?)),
        },
    };
    (!column.is_empty()).then(|| Piece::Cell { column: column.to_owned(), part })
}

impl Template {
    /// The columns in it.
    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Cell { column, .. } => Some(column.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// The text for a row; `None` where a cell is blank or has no such component.
    pub(super) fn fill(&self, columns: &Columns<'_>, row: usize) -> Option<String> {
        let mut filled = String::with_capacity(self.text.len() + 32);
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Cell { column, part } => {
                    let cell = columns.get(column.as_str())?.get(row)?;
                    match part {
                        Part::All => filled.push_str(cell),
                        Part::One(index) => filled.push_str(components(cell).nth(*index)?),
                        Part::From(index) => {
                            let mut rest = components(cell).skip(*index);
                            filled.push_str(rest.next()?);
                            for component in rest {
                                filled.push('/');
                                filled.push_str(component);
                            }
                        }
                    }
                }
            }
        }
        Some(filled)
    }
}

/// The components of a path of any system.
fn components(path: &str) -> impl Iterator<Item = &str> {
    path.split(['/', '\\']).filter(|component| !component.is_empty() && *component != ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_and_their_components_fill_a_template() {
        let cells = [Some("CheXpert-v1.0/train/patient1/view.jpg"), None].into_iter().collect();
        let columns: Columns<'_> = [("Path", &cells)].into();
        let fill = |text: &str, row| Template::try_from(text.to_owned()).unwrap().fill(&columns, row);
        assert_eq!(fill("{Path|2}", 0).unwrap(), "patient1");
        assert_eq!(fill("a/{Path|1..}.x", 0).unwrap(), "a/train/patient1/view.jpg.x");
        assert_eq!(fill("{Path|4}", 0), None);
        assert_eq!(fill("{Path|4..}", 0), None);
        assert_eq!(fill("{Path}", 1), None);
        assert_eq!(fill("{Other}", 0), None);
        for wrong in ["{Path", "{}", "{Path|x}", "{|1}"] {
            assert!(Template::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
