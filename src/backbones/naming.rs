//! Names of weights: those that a family asks for, and those that published files have.

/// One way in which the weights of a family are named.
pub(crate) struct Naming {
    /// Whose names these are: `timm`.
    pub(crate) label: &'static str,
    /// A name that these weights have and those of other namings do not; also tells a common
    /// prefix.
    pub(crate) anchor: &'static str,
    /// The stored name of a parameter of the family; `../NAME` lies beside the prefix instead of
    /// below it.
    pub(crate) stored: Box<dyn Fn(&str) -> String>,
    /// Whether a stored name is that of something the backbone leaves out, such as its classifier.
    pub(crate) left_out: Box<dyn Fn(&str) -> bool>,
}

/// Beginnings of names: ours and a library's.
pub(crate) type Pairs = &'static [(&'static str, &'static str)];

/// `name` with its beginning replaced by the first pair that matches.
pub(crate) fn replaced(name: &str, pairs: Pairs) -> String {
    let found = pairs.iter().find_map(|(ours, theirs)| Some(format!("{theirs}{}", name.strip_prefix(ours)?)));
    found.unwrap_or_else(|| name.to_owned())
}

/// The index and the rest of a name within a block, `blocks.INDEX.REST`.
pub(crate) fn within_block(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix("blocks.")?.split_once('.')
}
