//! The next step after a failure, in words that hold for the library and for the command line.

use std::fmt;

/// One sentence. The options it speaks of have neutral names, which [`Hint::render`] puts into the
/// words of whoever shows the sentence; displayed, an option is its name in backticks.
///
/// In the text an option stands as `` `<pool>` ``, with a value as `` `<pool mean>` ``.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint(String);

impl Hint {
    /// A hint of this text.
    pub(super) fn new(text: String) -> Self {
        Hint(text)
    }

    /// The sentence, with each option, and its value where one is stated, as `option` writes it.
    pub fn render(&self, option: impl Fn(&str, Option<&str>) -> String) -> String {
        let mut text = String::new();
        let mut rest = self.0.as_str();
        while let Some((before, (found, after))) =
            rest.split_once("`<").and_then(|(before, behind)| Some((before, behind.split_once(">`")?)))
        {
            text.push_str(before);
            text.push_str(&match found.split_once(' ') {
                Some((name, value)) => option(name, Some(value)),
                None => option(found, None),
            });
            rest = after;
        }
        text + rest
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(|name, value| match value {
            Some(value) => format!("`{name} = {value}`"),
            None => format!("`{name}`"),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_written_as_the_reader_knows_them() {
        let hint = Hint::new("take its mean, `<pool mean>`, or leave `<taps>` out; see `a.toml`".to_owned());
        assert_eq!(hint.to_string(), "take its mean, `pool = mean`, or leave `taps` out; see `a.toml`");
        let flag =
            |name: &str, value: Option<&str>| format!("`--{name}{}`", value.map_or(String::new(), |v| format!(" {v}")));
        assert_eq!(hint.render(flag), "take its mean, `--pool mean`, or leave `--taps` out; see `a.toml`");
        assert_eq!(Hint::new("no option `<".to_owned()).to_string(), "no option `<");
    }
}
