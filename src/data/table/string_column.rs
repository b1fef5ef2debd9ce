//! The cells of a column of text, end to end in one buffer: a column of a million cells is two
//! allocations.

/// Cells as text, trimmed; an empty cell is blank.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StringColumn {
    text: String,
    /// Where each cell ends in `text`.
    ends: Vec<usize>,
}

impl StringColumn {
    /// Adds a cell; an empty one is blank.
    pub fn push(&mut self, cell: &str) {
        self.text.push_str(cell);
        self.ends.push(self.text.len());
    }

    /// Number of cells.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no cell.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// A cell; `None` where it is blank, or where there is no such row.
    pub fn get(&self, row: usize) -> Option<&str> {
        let end = *self.ends.get(row)?;
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        self.text.get(start..end).filter(|cell| !cell.is_empty())
    }

    /// All cells in order, `None` for blank ones.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Option<&str>> {
        (0..self.len()).map(|row| self.get(row))
    }

    /// Adds the cells of another column behind these.
    pub fn append(&mut self, more: &StringColumn) {
        let before = self.text.len();
        self.text.push_str(&more.text);
        self.ends.extend(more.ends.iter().map(|end| before + end));
    }
}

impl<T: AsRef<str>> FromIterator<Option<T>> for StringColumn {
    fn from_iter<I: IntoIterator<Item = Option<T>>>(cells: I) -> Self {
        let mut texts = StringColumn::default();
        for cell in cells {
            texts.push(cell.as_ref().map_or("", T::as_ref));
        }
        texts
    }
}

/// Lists of texts, a row each; `None` is no list, which differs from an empty one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ListColumn {
    entries: StringColumn,
    /// Where the list of each row ends in `entries`, and whether there is one.
    ends: Vec<(usize, bool)>,
}

impl ListColumn {
    /// Adds a list; an entry of `None` is blank.
    pub(super) fn push(&mut self, list: Option<&mut dyn Iterator<Item = Option<&str>>>) {
        let is_list = list.is_some();
        list.into_iter().flatten().for_each(|entry| self.entries.push(entry.unwrap_or_default()));
        self.ends.push((self.entries.len(), is_list));
    }

    /// The entries of a row, `None` for blank ones; `None` where there is no list.
    pub(super) fn get(&self, row: usize) -> Option<impl ExactSizeIterator<Item = Option<&str>>> {
        let (end, is_list) = *self.ends.get(row)?;
        let start = if row == 0 { 0 } else { self.ends[row - 1].0 };
        is_list.then(|| (start..end).map(|entry| self.entries.get(entry)))
    }

    /// Adds the lists of another column behind these.
    pub(super) fn append(&mut self, more: &ListColumn) {
        let before = self.entries.len();
        self.entries.append(&more.entries);
        self.ends.extend(more.ends.iter().map(|(end, is_list)| (before + end, *is_list)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_come_back_and_empty_ones_are_blank() {
        let cells = [Some("a"), None, Some(""), Some("ö b"), Some("c")];
        let mut texts: StringColumn = cells.into_iter().collect();
        texts.append(&[Some("d"), None].into_iter().collect());
        let expected = [Some("a"), None, None, Some("ö b"), Some("c"), Some("d"), None];
        assert_eq!(texts.iter().collect::<Vec<_>>(), expected);
        assert_eq!((texts.len(), texts.get(0), texts.get(7)), (7, Some("a"), None));
    }
}
