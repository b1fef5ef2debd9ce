//! Text in columns, and numbers as people read them.

/// Rows as lines: the first column to the left, the others to the right, two spaces between; a missing cell is blank.
pub(crate) fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// `12,345`.
pub(crate) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 image`, `2,000 images`.
pub(crate) fn counted(number: usize, one: &str) -> String {
    let plural = match one.strip_suffix("ss") {
        Some(_) => format!("{one}es"),
        None => format!("{one}s"),
    };
    format!("{} {}", thousands(number), if number == 1 { one } else { &plural })
}

/// `512 B`, `3.4 KiB`, `42.1 MiB`.
pub(crate) fn byte_size(bytes: u64) -> String {
    let mut size = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if size < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{size:.1} {unit}") };
        }
        size /= 1024.0;
    }
    format!("{size:.1} TiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_columns_are_readable() {
        assert_eq!([0, 999, 1000, 1234567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [counted(1, "class"), counted(3, "class"), counted(2000, "image")],
            ["1 class", "3 classes", "2,000 images"]
        );
        assert_eq!([1023, 1536, 44_144_952].map(byte_size), ["1023 B", "1.5 KiB", "42.1 MiB"]);
        let rows = [vec!["class".to_owned(), "all".to_owned()], vec!["é".to_owned(), "1,000".to_owned()]];
        assert_eq!(columns(&rows), "class    all\né      1,000");
    }
}
