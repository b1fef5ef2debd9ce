//! What all transformers have: image, patch, width, depth and heads, under the keys of each
//! library, checked together.

use crate::backbones::zoo::json_config::Fields;
use crate::backbones::zoo::snapshot::integer;
use crate::error::Result;

/// A size: its key, and what is meant where the key has no value.
#[derive(Clone, Copy)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) default: Option<usize>,
}

impl Key {
    /// A size that may be left out.
    pub(super) const fn or(name: &'static str, default: usize) -> Self {
        Key { name, default: Some(default) }
    }

    /// A size that must be given.
    pub(super) const fn required(name: &'static str) -> Self {
        Key { name, default: None }
    }

    pub(super) fn read(self, fields: &Fields<'_>) -> Result<usize> {
        match (fields.size(self.name)?, self.default) {
            (Some(size), _) | (None, Some(size)) => Ok(size),
            (None, None) => Err(fields.missing(self.name)),
        }
    }
}

/// The keys of a transformer's sizes.
#[derive(Clone, Copy)]
pub(super) struct Keys {
    pub(super) image: Key,
    pub(super) patch: Key,
    pub(super) width: Key,
    pub(super) depth: Key,
    pub(super) heads: Key,
}

/// Sizes that fit each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) image: usize,
    pub(super) width: usize,
    pub(super) patch: usize,
    pub(super) depth: usize,
    pub(super) heads: usize,
}

impl Keys {
    /// Reads the sizes.
    ///
    /// # Errors
    /// [`ModelError::Configuration`](crate::error::ModelError::Configuration) for an image that is
    /// not made of whole patches and for heads that do not divide the width.
    pub(super) fn read(&self, fields: &Fields<'_>) -> Result<Sizes> {
        let sizes = Sizes {
            image: self.image.read(fields)?,
            patch: self.patch.read(fields)?,
            width: self.width.read(fields)?,
            depth: self.depth.read(fields)?,
            heads: self.heads.read(fields)?,
        };
        if !sizes.image.is_multiple_of(sizes.patch) {
            let reason =
                format!("{} pixels are not whole patches of `{}` = {}", sizes.image, self.patch.name, sizes.patch);
            return Err(fields.refuse(self.image.name, reason));
        }
        if !sizes.width.is_multiple_of(sizes.heads) {
            let reason = format!("{} heads do not divide `{}` = {}", sizes.heads, self.width.name, sizes.width);
            return Err(fields.refuse(self.heads.name, reason));
        }
        Ok(sizes)
    }
}

impl Sizes {
    /// The sizes as a catalog entry has them.
    pub(super) fn table(&self) -> toml::Table {
        let sizes = [
            ("image", self.image),
            ("patch", self.patch),
            ("width", self.width),
            ("depth", self.depth),
            ("heads", self.heads),
        ];
        sizes.into_iter().map(|(key, size)| (key.to_owned(), integer(size))).collect()
    }
}

/// The catalog's name of an activation.
///
/// # Errors
/// [`ModelError::Configuration`](crate::error::ModelError::Configuration) with the known ones.
pub(super) fn activation(fields: &Fields<'_>, key: &str, default: &'static str) -> Result<&'static str> {
    const KNOWN: [(&str, &str); 3] = [("gelu", "gelu"), ("quick_gelu", "quick-gelu"), ("quickgelu", "quick-gelu")];
    let name = fields.text(key)?.unwrap_or(default);
    KNOWN.iter().find(|(theirs, _)| *theirs == name).map(|(_, ours)| *ours).ok_or_else(|| {
        fields.refuse(key, format!("the activation `{name}` is unknown; known are `gelu` and `quick_gelu`"))
    })
}
