//! Comma, semicolon or tab separated text: UTF-8, or UTF-16 with its byte order mark (spreadsheet
//! programs' "Unicode text"); one header line, quoted fields as RFC 4180 has them.

use std::borrow::Cow;
use std::path::Path;

use crate::data::table::{Column, StringColumn, Table};
use crate::error::{DataError, Result};

/// A text table whose header has been read.
pub(super) struct Sheet<'a> {
    path: &'a Path,
    /// The whole file.
    content: Cow<'a, str>,
    /// Where the table starts in it.
    start: usize,
    delimiter: u8,
    /// Column names, trimmed.
    pub(super) names: Vec<String>,
    /// Whether the first line holds them.
    header: bool,
    /// Lines before the table.
    skipped: u64,
}

impl<'a> Sheet<'a> {
    /// Checks the encoding, finds the delimiter (the one that a first line `sep=;` states, as
    /// spreadsheet programs write it, otherwise the most frequent of `,`, `;` and tab in the header
    /// line) and reads the header. A line of comment (`#`) in its place is refused.
    ///
    /// # Errors
    /// [`DataError::Table`] with the line for text that is neither UTF-8 nor UTF-16, and for other
    /// formats with this extension.
    pub(super) fn new(path: &'a Path, bytes: &'a [u8]) -> Result<Self> {
        let refuse = |problem: String| DataError::Table { path: path.to_path_buf(), problem };
        if bytes.starts_with(b"PK\x03\x04") {
            return Err(refuse("it is a workbook or archive, not text; export it as CSV".into()).into());
        }
        let content = decoded(bytes).map_err(refuse)?;
        let stated = stated_delimiter(&content);
        let (start, skipped) = stated.map_or((0, 0), |(_, rest)| (content.len() - rest.len(), 1));
        let text = &content[start..];
        let delimiter = stated.map_or_else(|| delimiter(text), |(delimiter, _)| delimiter);
        let header = reader(text, delimiter).headers().cloned().map_err(|error| refuse(error.to_string()))?;
        let names: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
        if names.iter().all(String::is_empty) {
            return Err(refuse("it is empty".into()).into());
        }
        Ok(Sheet { path, content, start, delimiter, names, header: true, skipped })
    }

    /// The table: the file without what stands in front of the names.
    fn text(&self) -> &str {
        &self.content[self.start..]
    }

    /// The same, where the first line must hold the names.
    ///
    /// # Errors
    /// As [`Sheet::new`]; [`DataError::Table`] with the line for comments in place of the names.
    pub(super) fn with_header(path: &'a Path, bytes: &'a [u8]) -> Result<Self> {
        let sheet = Sheet::new(path, bytes)?;
        let mut lines = sheet.text().lines().zip(sheet.skipped + 1..).filter(|(line, _)| !line.trim().is_empty());
        if let (Some((first, number)), Some((second, _))) = (lines.next(), lines.next()) {
            // A header may start with `#`; then the line behind it has as many fields.
            let fields = |line: &str| reader(line, delimiter(second)).headers().map_or(0, csv::StringRecord::len);
            if first.starts_with('#') && (second.starts_with('#') || fields(first) != fields(second)) {
                let problem = format!(
                    "line {number} starts with `#`: comments are not read; take them out, so that the first line has the \
                     names of the columns"
                );
                return Err(DataError::Table { path: path.to_path_buf(), problem }.into());
            }
        }
        Ok(sheet)
    }

    /// The same for a table without header line: the columns are called `0`, `1` ...
    ///
    /// # Errors
    /// As [`Sheet::new`].
    pub(super) fn without_header(path: &'a Path, bytes: &'a [u8]) -> Result<Self> {
        let mut sheet = Sheet::new(path, bytes)?;
        // Lists of files separate their fields, where they have several, by a blank.
        if sheet.names.len() == 1 {
            sheet.delimiter = b' ';
        }
        let first = reader(sheet.text(), sheet.delimiter).headers().map_or(1, csv::StringRecord::len);
        sheet.names = (0..first).map(|index| index.to_string()).collect();
        sheet.header = false;
        Ok(sheet)
    }

    /// Reads the columns of these indices.
    ///
    /// # Errors
    /// [`DataError::Table`] with the line for rows that have more or fewer fields than the header.
    pub(super) fn read(&self, indices: &[usize]) -> Result<Table> {
        let refuse = |problem: String| DataError::Table { path: self.path.to_path_buf(), problem };
        let mut cells = vec![StringColumn::default(); indices.len()];
        let mut rows = Vec::new();
        let mut record = csv::StringRecord::new();
        let mut reader = reader(self.text(), self.delimiter);
        if !self.header {
            reader = options(self.delimiter).has_headers(false).from_reader(self.text().as_bytes());
        }
        while reader.read_record(&mut record).map_err(|error| refuse(error.to_string()))? {
            let line = record.position().map_or(0, |position| self.line(position));
            if record.len() != self.names.len() {
                let (found, expected) = (record.len(), self.names.len());
                let fields = if found == 1 { "field" } else { "fields" };
                // A quote that is not closed swallows the lines behind it.
                let open = record.iter().any(|field| field.contains('\n'));
                let cause = match record.get(0) {
                    _ if open => "; is a quote in it not closed?",
                    Some(first) if first.starts_with('#') => "; comments (`#`) are not read, take the line out",
                    _ => "",
                };
                return Err(
                    refuse(format!("line {line} has {found} {fields}, the header has {expected}{cause}")).into()
                );
            }
            rows.push(line);
            for (cells, &index) in cells.iter_mut().zip(indices) {
                cells.push(record.get(index).unwrap_or_default().trim());
            }
        }
        let mut columns = vec![None; self.names.len()];
        for (cells, &index) in cells.into_iter().zip(indices) {
            columns[index] = Some(Column::Text(cells));
        }
        Ok(Table {
            path: self.path.to_path_buf(),
            names: self.names.clone(),
            columns,
            rows,
            has_nulls: false,
            parts: Vec::new(),
        })
    }

    /// The line a record starts on; its position is where the one before it ended, blank lines
    /// included.
    fn line(&self, position: &csv::Position) -> u64 {
        let rest = self.text().as_bytes().get(position.byte() as usize..).unwrap_or_default();
        let blank = rest.iter().take_while(|byte| matches!(byte, b'\n' | b'\r'));
        self.skipped + position.line() + blank.filter(|byte| **byte == b'\n').count() as u64
    }
}

/// The text of a file without its byte order mark.
///
/// # Errors
/// The line that cannot be read, and as what.
fn decoded(bytes: &[u8]) -> Result<Cow<'_, str>, String> {
    let utf16 = |rest: &[u8], word: fn([u8; 2]) -> u16| {
        let (words, odd) = rest.as_chunks::<2>();
        let mut text = String::with_capacity(words.len());
        for character in char::decode_utf16(words.iter().map(|&bytes| word(bytes))) {
            text.push(character.map_err(|_| {
                format!("line {} is not UTF-16, as the file says it is", 1 + text.matches('\n').count())
            })?);
        }
        if odd.is_empty() { Ok(text) } else { Err("it is UTF-16 and ends in half a character".to_owned()) }
    };
    let text = match bytes {
        [0xff, 0xfe, rest @ ..] => Cow::Owned(utf16(rest, u16::from_le_bytes)?),
        [0xfe, 0xff, rest @ ..] => Cow::Owned(utf16(rest, u16::from_be_bytes)?),
        _ => {
            let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
            Cow::Borrowed(std::str::from_utf8(bytes).map_err(|error| {
                let line = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
                format!("line {line} is not UTF-8; save the table as UTF-8")
            })?)
        }
    };
    if text.contains('\0') {
        return Err("it has zero bytes, as UTF-16 without byte order mark and UTF-32 do; save it as UTF-8".to_owned());
    }
    Ok(text)
}

fn reader(text: &str, delimiter: u8) -> csv::Reader<&[u8]> {
    options(delimiter).from_reader(text.as_bytes())
}

fn options(delimiter: u8) -> csv::ReaderBuilder {
    let mut options = csv::ReaderBuilder::new();
    options.delimiter(delimiter).flexible(true);
    options
}

/// The delimiter that a first line `sep=;` states, and the text behind that line.
fn stated_delimiter(text: &str) -> Option<(u8, &str)> {
    let (line, rest) = text.split_once('\n')?;
    let line = line.trim_end_matches('\r').trim_matches('"');
    let start = line.get(..4).filter(|start| start.eq_ignore_ascii_case("sep="))?;
    match &line.as_bytes()[start.len()..] {
        [delimiter] if delimiter.is_ascii_punctuation() || matches!(delimiter, b'\t' | b' ') => {
            Some((*delimiter, rest))
        }
        _ => None,
    }
}

/// The most frequent delimiter of the header line outside quotes; a comma where there is none.
fn delimiter(text: &str) -> u8 {
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let count = |delimiter: u8| {
        let mut quoted = false;
        let outside = |byte: &u8| {
            quoted ^= *byte == b'"';
            !quoted && *byte == delimiter
        };
        line.as_bytes().iter().copied().filter(outside).count()
    };
    // The last maximum wins: a tab, which names never contain, before a semicolon before a comma.
    let most_frequent = [b',', b';', b'\t'].into_iter().max_by_key(|&delimiter| count(delimiter));
    most_frequent.filter(|&delimiter| count(delimiter) > 0).unwrap_or(b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimiters_in_quotes_and_inside_rows_do_not_count() {
        assert_eq!(delimiter("path,label\na;b;c,d"), b',');
        assert_eq!(delimiter("\n\"a,b,c\";path;label"), b';');
        assert_eq!(delimiter("path\tlabel, all"), b'\t');
        assert_eq!(delimiter("path"), b',');
    }
}
