//! A JSON configuration read key by key: every error names the file and the key, nested keys with
//! dots.
//!
//! A key that is missing or `null` gives `None`; a value of another type, or out of range, is
//! refused.

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{FileError, ModelError, Result};

/// The largest size that a configuration may ask for: no layer is wider, no network deeper.
const LARGEST: u64 = 1 << 16;

/// What a configuration is about; decides the next step that an error names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The network.
    Architecture,
    /// What happens to an image before the network.
    Preprocess,
}

/// A JSON object of a file.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    path: &'a Path,
    subject: Subject,
    /// The keys that lead to the object, each with a dot behind it.
    within: String,
    object: Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// The object that the text of a file holds.
    ///
    /// # Errors
    /// [`FileError::Parse`] where it is no JSON object.
    pub(crate) fn parse(path: &'a Path, text: &str, format: &'static str) -> Result<Self> {
        let object = serde_json::from_str(text).map_err(|source| FileError::Parse {
            path: path.to_path_buf(),
            format,
            source: Box::new(source),
        })?;
        Ok(Fields { path, subject: Subject::Architecture, within: String::new(), object })
    }

    /// The file.
    pub(crate) fn path(&self) -> &'a Path {
        self.path
    }

    /// The same object, read for another purpose.
    pub(crate) fn about(mut self, subject: Subject) -> Self {
        self.subject = subject;
        self
    }

    /// The keys of the object.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.object.keys().map(String::as_str)
    }

    /// The value of a key; `None` where it is missing or `null`.
    pub(crate) fn value(&self, key: &str) -> Option<&Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    /// Whether a key has a value.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// The object below a key.
    pub(crate) fn inner(&self, key: &str) -> Result<Option<Self>> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let object = value.as_object().ok_or_else(|| self.refuse(key, format!("`{value}` is not an object")))?;
        Ok(Some(Fields { within: format!("{}{key}.", self.within), object: object.clone(), ..self.clone() }))
    }

    /// The object below a key, or one without keys.
    pub(crate) fn inner_or_empty(&self, key: &str) -> Result<Self> {
        let empty = || Fields { within: format!("{}{key}.", self.within), object: Map::new(), ..self.clone() };
        Ok(self.inner(key)?.unwrap_or_else(empty))
    }

    /// A text.
    pub(crate) fn text(&self, key: &str) -> Result<Option<&str>> {
        let read = |value: &'_ Value| self.refuse(key, format!("`{value}` is not a text"));
        self.value(key).map(|value| value.as_str().ok_or_else(|| read(value))).transpose()
    }

    /// True or false.
    pub(crate) fn flag(&self, key: &str, default: bool) -> Result<bool> {
        match self.value(key) {
            None => Ok(default),
            Some(Value::Bool(value)) => Ok(*value),
            Some(other) => Err(self.refuse(key, format!("`{other}` is neither true nor false"))),
        }
    }

    /// A number.
    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>> {
        let read = |value: &Value| value.as_f64().ok_or_else(|| self.refuse(key, format!("`{value}` is not a number")));
        self.value(key).map(read).transpose()
    }

    /// A list of numbers.
    pub(crate) fn numbers(&self, key: &str) -> Result<Option<Vec<f64>>> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let numbers = value.as_array().and_then(|values| values.iter().map(Value::as_f64).collect());
        Ok(Some(numbers.ok_or_else(|| self.refuse(key, format!("`{value}` is not a list of numbers")))?))
    }

    /// A size: a whole number of at least 1, or a list of equal ones.
    pub(crate) fn size(&self, key: &str) -> Result<Option<usize>> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let number = match value.as_array().map(Vec::as_slice) {
            Some([first, rest @ ..]) if rest.iter().all(|other| other == first) => size(first),
            Some(_) => return Err(self.refuse(key, format!("`{value}` is not square"))),
            None => size(value),
        };
        Ok(Some(
            number.ok_or_else(|| self.refuse(key, format!("`{value}` is not a whole number from 1 to {LARGEST}")))?,
        ))
    }

    /// A list of whole numbers.
    pub(crate) fn sizes(&self, key: &str) -> Result<Option<Vec<usize>>> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let whole = |value: &Value| value.as_u64().filter(|size| *size <= LARGEST).map(|size| size as usize);
        let sizes = value.as_array().and_then(|values| values.iter().map(whole).collect());
        Ok(Some(sizes.ok_or_else(|| self.refuse(key, format!("`{value}` is not a list of whole numbers")))?))
    }

    /// Refuses every value of an option but the one that is supported, which is also meant where
    /// none is given.
    pub(crate) fn only(&self, key: &str, supported: &Value) -> Result<()> {
        match self.value(key).filter(|value| *value != supported) {
            Some(other) => Err(self.refuse(key, format!("`{other}` is not supported, only `{supported}` is"))),
            None => Ok(()),
        }
    }

    /// The error about a key that is not there.
    pub(crate) fn missing(&self, key: &str) -> crate::error::Error {
        self.refuse(key, "it is missing".to_owned())
    }

    /// The error about a key.
    pub(crate) fn refuse(&self, key: &str, reason: String) -> crate::error::Error {
        let (path, field) = (self.path.to_path_buf(), format!("{}{key}", self.within));
        match self.subject {
            Subject::Architecture => ModelError::Configuration { path, field, reason }.into(),
            Subject::Preprocess => ModelError::Processor { path, field, reason }.into(),
        }
    }
}

fn size(value: &Value) -> Option<usize> {
    value.as_u64().filter(|size| (1..=LARGEST).contains(size)).map(|size| size as usize)
}
