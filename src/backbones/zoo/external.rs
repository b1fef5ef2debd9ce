//! A user's ONNX file as errors name it: its values by name, and what of them is refused.

use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::backbones::pool::TAPS_PROPERTY;
use crate::error::{FileError, ModelError, Result};
use crate::graph::{Dim, Model, TensorData, TypeKind, ValueInfo};
use crate::support::{fs, mapped, names};
use crate::tensor::DType;

/// A user's file, for errors.
pub(crate) struct External<'a> {
    pub(crate) path: &'a Path,
}

impl External<'_> {
    /// The sha256 of the file, or of the file and all weights where these lie in other files.
    pub(crate) fn digest(&self, model: &Model) -> Result<String> {
        let own = fs::sha256_of_file(self.path)?;
        let size = self.path.metadata().map_err(fs::io_error("read", self.path))?.len();
        let weights: u64 = model.graph.initializers.iter().map(|tensor| tensor.data.size() as u64).sum();
        if weights <= size {
            return Ok(own);
        }
        let mut hasher = Sha256::new();
        hasher.update(own);
        for tensor in &model.graph.initializers {
            if let TensorData::Bytes(bytes) = &tensor.data {
                mapped::update(&mut hasher, bytes);
            }
        }
        Ok(fs::hexadecimal(&hasher.finalize()))
    }

    pub(crate) fn unreadable(&self, property: &str, source: serde_json::Error) -> crate::error::Error {
        let format = match property {
            TAPS_PROPERTY => "backbone: its property `defrost.taps` lists no taps",
            _ => "backbone: its property `defrost.preprocess` is no preprocessing",
        };
        FileError::Parse { path: self.path.to_path_buf(), format, source: Box::new(source) }.into()
    }

    /// The value of that name, or the only one.
    pub(crate) fn choose(
        &self,
        direction: &'static str,
        values: &[ValueInfo],
        wanted: Option<&String>,
    ) -> Result<ValueInfo> {
        let known = || values.iter().map(|value| format!("{} {}", value.name, self.type_text(value))).collect();
        match (wanted, values) {
            (Some(wanted), _) => values.iter().find(|value| value.name == *wanted).cloned().ok_or_else(|| {
                let nearest = names::nearest(wanted, values.iter().map(|value| value.name.as_str()));
                let (path, name) = (self.path.to_path_buf(), wanted.clone());
                ModelError::UnknownValue { path, direction, name, nearest }.into()
            }),
            (None, [only]) => Ok(only.clone()),
            (None, _) => {
                Err(ModelError::Ambiguous { path: self.path.to_path_buf(), direction, candidates: known() }.into())
            }
        }
    }

    /// Element type and shape of a value.
    pub(crate) fn tensor(&self, value: &ValueInfo) -> Result<(Option<DType>, Vec<Dim>)> {
        match value.r#type.as_ref().and_then(|r#type| r#type.kind.as_ref()) {
            Some(TypeKind::Tensor(tensor)) => match &tensor.shape {
                Some(shape) => Ok((tensor.element.dtype(), shape.clone())),
                None => Err(self.unsuitable(value, "the file does not tell its shape".to_owned())),
            },
            _ => Err(self.unsuitable(value, "it is no tensor".to_owned())),
        }
    }

    pub(crate) fn type_text(&self, value: &ValueInfo) -> String {
        value.r#type.as_ref().map_or_else(|| "of unknown type".to_owned(), ToString::to_string)
    }

    pub(crate) fn unsuitable(&self, value: &ValueInfo, reason: String) -> crate::error::Error {
        ModelError::Unsuitable { path: self.path.to_path_buf(), value: value.name.clone(), reason }.into()
    }
}

/// The size of an axis that is the same for all inputs.
pub(crate) fn fixed(dim: &Dim) -> Option<usize> {
    match dim {
        Dim::Fixed(size) => usize::try_from(*size).ok().filter(|size| *size > 0),
        _ => None,
    }
}
