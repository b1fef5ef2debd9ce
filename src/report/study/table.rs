//! A table and its forms: Markdown, CSV, LaTeX (`booktabs`), and what the page's template sees.

use serde::Serialize;

use crate::study::summary::Score;

/// A table of a study.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Table {
    /// Name of its files, without extension.
    pub(super) name: String,
    pub(super) title: String,
    /// How to read it.
    pub(super) caption: String,
    pub(super) header: Vec<String>,
    pub(super) rows: Vec<Vec<Entry>>,
    /// What differs from the baseline and what is missing, in words.
    pub(super) notes: Vec<String>,
}

/// A cell of a table.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Entry {
    /// As people read it; `±` stands before a deviation.
    pub(super) text: String,
    /// The number behind it.
    pub(super) value: Option<f64>,
    /// Its standard deviation.
    pub(super) deviation: Option<f64>,
    /// Whether it is the best of its column.
    pub(super) best: bool,
    /// Whether it stands to the right.
    pub(super) number: bool,
}

impl Entry {
    /// Words.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Entry { text: text.into(), ..Entry::default() }
    }

    /// A number as `text`.
    pub(super) fn number(value: f64, text: String) -> Self {
        Entry { text, value: Some(value), number: true, ..Entry::default() }
    }

    /// Mean and standard deviation to three decimals.
    pub(super) fn mean(value: f64, deviation: Option<f64>) -> Self {
        let text = match deviation {
            Some(deviation) => format!("{value:.3} ± {deviation:.3}"),
            None => format!("{value:.3}"),
        };
        Entry { deviation, ..Entry::number(value, text) }
    }

    /// What stands where a number would.
    pub(super) fn missing(text: &str) -> Self {
        Entry { text: text.to_owned(), number: true, ..Entry::default() }
    }
}

impl Table {
    /// GitHub's Markdown.
    pub(super) fn markdown(&self) -> String {
        let escaped = |text: &str| text.replace('|', "\\|").replace('\n', " ");
        let mut out = format!("# {}\n\n{}\n\n", self.title, self.caption);
        let header: Vec<String> = self.header.iter().map(|name| escaped(name)).collect();
        out.push_str(&format!("| {} |\n", header.join(" | ")));
        let rule: Vec<&str> = (0..header.len()).map(|at| if self.is_number(at) { "--:" } else { ":--" }).collect();
        out.push_str(&format!("|{}|\n", rule.join("|")));
        for row in &self.rows {
            let entry = |entry: &Entry| {
                let text = escaped(&entry.text);
                if entry.best { format!("**{text}**") } else { text }
            };
            out.push_str(&format!("| {} |\n", row.iter().map(entry).collect::<Vec<_>>().join(" | ")));
        }
        self.notes.iter().for_each(|note| out.push_str(&format!("\n- {}", escaped(note))));
        if self.notes.is_empty() { out } else { out + "\n" }
    }

    /// Numbers in full; a column whose numbers have deviations is followed by theirs.
    pub(super) fn csv(&self) -> String {
        let deviates: Vec<bool> =
            (0..self.header.len()).map(|at| self.rows.iter().any(|row| row[at].deviation.is_some())).collect();
        let mut lines = Vec::new();
        let names = self.header.iter().zip(&deviates).flat_map(|(name, deviates)| {
            std::iter::once(name.clone()).chain(deviates.then(|| format!("{name}, standard deviation")))
        });
        lines.push(names.map(|name| quoted(&name)).collect::<Vec<_>>());
        let full = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
        for row in &self.rows {
            let cells = row.iter().zip(&deviates).flat_map(|(entry, deviates)| {
                let is_gap = entry.number && entry.value.is_none();
                let value = if entry.number { full(entry.value) } else { quoted(&entry.text) };
                std::iter::once(if is_gap { String::new() } else { value })
                    .chain(deviates.then(|| full(entry.deviation)))
            });
            lines.push(cells.collect());
        }
        lines.into_iter().map(|line| line.join(",") + "\n").collect()
    }

    /// A `table` for LaTeX with the package `booktabs`.
    pub(super) fn latex(&self) -> String {
        let columns: String = (0..self.header.len()).map(|at| if self.is_number(at) { 'r' } else { 'l' }).collect();
        let header: Vec<String> = self.header.iter().map(|name| latex(name)).collect();
        let mut out = format!(
            "% needs \\usepackage{{booktabs}}\n\\begin{{table}}\n\\caption{{{} {}}}\n\\label{{tab:{}}}\n\\centering\n\
             \\begin{{tabular}}{{{columns}}}\n\\toprule\n{} \\\\\n\\midrule\n",
            latex(&format!("{}.", self.title)),
            latex(&self.caption),
            self.name,
            header.join(" & ")
        );
        for row in &self.rows {
            let entry = |entry: &Entry| {
                let text = latex(&entry.text);
                if entry.best { format!("\\textbf{{{text}}}") } else { text }
            };
            out.push_str(&format!("{} \\\\\n", row.iter().map(entry).collect::<Vec<_>>().join(" & ")));
        }
        out.push_str("\\bottomrule\n\\end{tabular}\n");
        for note in &self.notes {
            out.push_str(&format!("\\par\\footnotesize {}\n", latex(note)));
        }
        out + "\\end{table}\n"
    }

    fn is_number(&self, column: usize) -> bool {
        self.rows.iter().any(|row| row[column].number)
    }

    /// Marks the best number of a column; all that are equal to it in print.
    pub(super) fn mark_best(&mut self, column: usize, larger_is_better: bool) {
        let sign = if larger_is_better { 1.0 } else { -1.0 };
        let values = self.rows.iter().filter_map(|row| row[column].value);
        let Some(best) = values.max_by(|a, b| (sign * a).total_cmp(&(sign * b))) else { return };
        let printed = format!("{best:.3}");
        for row in &mut self.rows {
            row[column].best = row[column].value.is_some_and(|value| format!("{value:.3}") == printed);
        }
    }
}

/// A figure as it is printed; empty for what is no cell of the study, a dash for what is missing.
pub(super) fn score_entry(score: &Score) -> Entry {
    match (score.summary, score.planned) {
        (Some(summary), _) => {
            let mut entry = Entry::mean(summary.mean, summary.standard_deviation);
            if summary.repeats < score.planned {
                entry.text.push_str(&format!(" ({} of {})", summary.repeats, score.planned));
            }
            entry
        }
        (None, 0) => Entry::missing(""),
        (None, _) => Entry::missing("–"),
    }
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

fn latex(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\textbackslash{}"),
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => out.extend(['\\', letter]),
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '±' => out.push_str("$\\pm$"),
            '−' => out.push_str("$-$"),
            '×' => out.push_str("$\\times$"),
            '–' => out.push_str("--"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let row = |name: &str, entry: Entry| vec![Entry::text(name), entry];
        let mut table = Table {
            name: "table-1".into(),
            title: "Table 1".into(),
            caption: "Mean over 2 seeds.".into(),
            header: vec!["Backbone".into(), "A, b_1".into()],
            rows: vec![
                row("x|y", Entry::mean(0.91249, Some(0.01))),
                row("z & co", Entry::mean(0.5, None)),
                row("w", Entry::missing("–")),
            ],
            notes: vec!["50 % of it".into()],
        };
        table.mark_best(1, true);
        table
    }

    #[test]
    fn every_form_has_the_same_cells() {
        assert_eq!(
            table().markdown(),
            "# Table 1\n\nMean over 2 seeds.\n\n| Backbone | A, b_1 |\n|:--|--:|\n| x\\|y | **0.912 ± 0.010** |\n\
             | z & co | 0.500 |\n| w | – |\n\n- 50 % of it\n"
        );
        assert_eq!(
            table().csv(),
            "Backbone,\"A, b_1\",\"A, b_1, standard deviation\"\nx|y,0.91249,0.01\nz & co,0.5,\nw,,\n"
        );
        let latex = table().latex();
        assert!(latex.contains("\\begin{tabular}{lr}\n\\toprule\nBackbone & A, b\\_1 \\\\"), "{latex}");
        assert!(latex.contains("x|y & \\textbf{0.912 $\\pm$ 0.010} \\\\\nz \\& co & 0.500 \\\\"), "{latex}");
        assert!(latex.contains("50 \\% of it"));
    }

    #[test]
    fn equal_in_print_is_equally_good() {
        let mut table = table();
        table.rows[1][1] = Entry::mean(0.9121, None);
        table.mark_best(1, true);
        assert!(table.rows[0][1].best && table.rows[1][1].best && !table.rows[2][1].best);
        table.mark_best(1, false);
        assert!(table.rows[1][1].best, "the smallest");
    }
}
