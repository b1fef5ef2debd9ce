//! Named tensors of a model, whatever file they come from.
//!
//! Reads safetensors (single files and shards with an index) and PyTorch checkpoints (the zip
//! format and the older stream of pickles), recognised by content. Files are memory-mapped; a
//! tensor's bytes are a slice of the mapping unless its strides demand a copy. Refused: anything in
//! a checkpoint that is neither a tensor nor plain data.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::error::{ModelError, Result};
use crate::support::{fs, mapped, names};
use crate::tensor::strided::{Strided, malformed};
use crate::tensor::{DType, HostTensor, pickle, safetensors};

/// Weight files by extension, where a folder does not say which one it means.
const EXTENSIONS: [&str; 4] = ["safetensors", "pth", "pt", "bin"];
/// Files a folder's weights are looked for in, in this order.
const WELL_KNOWN: [&str; 4] =
    ["model.safetensors.index.json", "model.safetensors", "pytorch_model.bin.index.json", "pytorch_model.bin"];

/// Named tensors with where they came from.
#[derive(Clone)]
pub struct Weights {
    source: PathBuf,
    files: Vec<(String, Bytes)>,
    tensors: BTreeMap<String, Strided>,
    metadata: BTreeMap<String, String>,
    digest: OnceLock<String>,
}

impl Weights {
    /// Opens a weights file, an index of shards, or a folder that holds one of them.
    ///
    /// # Errors
    /// [`ModelError::WeightsFile`] for a folder with none or several; [`ModelError::Malformed`] for
    /// damaged files; [`ModelError::ForbiddenGlobal`] for a pickle that holds more than tensors and
    /// plain data.
    pub fn open(path: &Path) -> Result<Self> {
        let file = if path.is_dir() { file_of(path)? } else { path.to_path_buf() };
        let parts = if file.to_string_lossy().ends_with(".index.json") {
            safetensors::shards(&file)?
        } else {
            vec![file.clone()]
        };
        let mut weights = Weights {
            source: file,
            files: Vec::new(),
            tensors: BTreeMap::new(),
            metadata: BTreeMap::new(),
            digest: OnceLock::new(),
        };
        for part in parts {
            weights.add(&part, mapped::read_shared(&part)?)?;
        }
        Ok(weights)
    }

    /// The weights file of a folder that has the name every library looks for, or its index of
    /// shards.
    pub fn well_known(folder: &Path) -> Option<PathBuf> {
        WELL_KNOWN.iter().map(|name| folder.join(name)).find(|path| path.is_file())
    }

    /// The tensors in the bytes of a file.
    #[cfg(test)]
    pub(super) fn of_bytes(path: &Path, bytes: Bytes) -> Result<Self> {
        let source = path.to_path_buf();
        let mut weights = Weights {
            source,
            files: Vec::new(),
            tensors: BTreeMap::new(),
            metadata: BTreeMap::new(),
            digest: OnceLock::new(),
        };
        weights.add(path, bytes)?;
        Ok(weights)
    }

    /// Named tensors that are in memory already; their digest is that of the safetensors file they
    /// would make.
    pub fn from_tensors(tensors: BTreeMap<String, HostTensor>) -> Self {
        let content = Bytes::from(safetensors::to_bytes(&tensors, &BTreeMap::new()));
        let tensors = tensors.into_iter().map(|(name, tensor)| (name, Strided::dense(tensor))).collect();
        let files = vec![("memory".to_owned(), content)];
        Weights { source: PathBuf::from("memory"), files, tensors, metadata: BTreeMap::new(), digest: OnceLock::new() }
    }

    fn add(&mut self, path: &Path, bytes: Bytes) -> Result<()> {
        let tensors = match Format::of(&bytes) {
            Some(Format::Safetensors) => {
                let (tensors, metadata) = safetensors::parse(path, &bytes)?;
                self.metadata.extend(metadata);
                tensors.into_iter().map(|(name, tensor)| (name, Strided::dense(tensor))).collect()
            }
            Some(Format::Zip) => pickle::read_zip(path, &bytes)?,
            Some(Format::Pickle) => pickle::read_stream(path, &bytes)?,
            None => {
                let reason = if bytes.is_empty() {
                    "it is empty"
                } else if bytes.starts_with(b"version https://git-lfs") {
                    "it is a Git LFS pointer, not the file itself"
                } else {
                    "it starts neither like safetensors nor like a PyTorch checkpoint"
                };
                return Err(malformed(path, "weights file", reason));
            }
        };
        for (name, tensor) in tensors {
            if self.tensors.contains_key(&name) {
                return Err(malformed(path, "set of shards", format!("tensor `{name}` is in two of them")));
            }
            self.tensors.insert(name, tensor);
        }
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        self.files.push((name, bytes));
        Ok(())
    }

    /// The file (or index of shards) the tensors come from.
    pub fn source(&self) -> &Path {
        &self.source
    }

    /// What the files say about themselves (safetensors' `__metadata__`).
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there is no tensor.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// Whether a tensor of this name exists.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Shape of a tensor.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|tensor| tensor.shape.as_slice())
    }

    /// Element type of a tensor.
    pub fn dtype(&self, name: &str) -> Option<DType> {
        self.tensors.get(name).map(|tensor| tensor.dtype)
    }

    /// A tensor; shares the file's bytes where they are stored row-major.
    ///
    /// # Errors
    /// [`ModelError::UnknownWeight`] with the nearest names.
    pub fn get(&self, name: &str) -> Result<HostTensor> {
        let tensor = self.tensors.get(name).ok_or_else(|| ModelError::UnknownWeight {
            source_path: self.source.clone(),
            name: name.to_owned(),
            nearest: names::nearest(name, self.names()),
        })?;
        tensor
            .materialise()
            .ok_or_else(|| malformed(&self.source, "weights file", format!("tensor `{name}` is out of bounds")))
    }

    /// The sha256 of the content, lower-case hexadecimal: of the file itself, or for shards of the
    /// lines `sha256 name` that `sha256sum` prints for them in order.
    pub fn digest(&self) -> &str {
        self.digest.get_or_init(|| {
            let digest = |bytes: &Bytes| {
                let mut hasher = Sha256::new();
                mapped::update(&mut hasher, bytes);
                fs::hexadecimal(&hasher.finalize())
            };
            if let [(_, bytes)] = self.files.as_slice() {
                return digest(bytes);
            }
            let mut hasher = Sha256::new();
            for (name, bytes) in &self.files {
                hasher.update(format!("{}  {name}\n", digest(bytes)));
            }
            fs::hexadecimal(&hasher.finalize())
        })
    }
}

impl std::fmt::Debug for Weights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Weights({} tensors of `{}`)", self.len(), self.source.display())
    }
}

enum Format {
    Safetensors,
    Zip,
    Pickle,
}

impl Format {
    fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [b'P', b'K', 3, 4, ..] => Some(Format::Zip),
            [0x80, 2..=5, ..] if bytes.get(8) != Some(&b'{') => Some(Format::Pickle),
            [_, _, _, _, _, _, _, _, b'{', ..] => Some(Format::Safetensors),
            _ => None,
        }
    }
}

/// The one weights file of a folder.
fn file_of(folder: &Path) -> Result<PathBuf> {
    if let Some(found) = Weights::well_known(folder) {
        return Ok(found);
    }
    let named = |path: &PathBuf, extension: &str| path.extension().is_some_and(|found| found == extension);
    let files: Vec<PathBuf> = fs::list(folder)?.into_iter().filter(|path| path.is_file()).collect();
    let mut found: Vec<PathBuf> =
        files.iter().filter(|path| path.to_string_lossy().ends_with(".safetensors.index.json")).cloned().collect();
    if found.is_empty() {
        found = files.into_iter().filter(|path| EXTENSIONS.iter().any(|extension| named(path, extension))).collect();
    }
    if let [only] = found.as_slice() {
        return Ok(only.clone());
    }
    let found =
        found.iter().filter_map(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned()).collect();
    Err(ModelError::WeightsFile { path: folder.to_path_buf(), found }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_are_honoured_and_bounds_checked() {
        let storage = HostTensor::vector(vec![0f32, 1.0, 2.0, 3.0, 4.0, 5.0]).bytes().clone();
        let transposed = Strided { dtype: DType::F32, shape: vec![3, 2], offset: 0, strides: vec![1, 3], storage };
        let tensor = transposed.materialise().unwrap();
        assert_eq!(tensor.values::<f32>().unwrap().as_ref(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert!(Strided { offset: 1, ..transposed.clone() }.materialise().is_none());
        assert!(Strided { shape: vec![1 << 40], strides: vec![0], ..transposed }.materialise().is_none());
    }

    #[test]
    fn the_digest_of_one_file_is_that_of_its_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model.safetensors");
        let tensors = BTreeMap::from([("bias".to_owned(), HostTensor::vector(vec![1.0f32, -2.0]))]);
        safetensors::write(&path, &tensors, &BTreeMap::new()).unwrap();
        let weights = Weights::open(directory.path()).unwrap();
        assert_eq!(weights.digest(), fs::sha256_of_file(&path).unwrap());
        assert_eq!(weights.digest(), Weights::from_tensors(tensors).digest());
        assert_eq!(weights.get("bias").unwrap().values::<f32>().unwrap().as_ref(), [1.0, -2.0]);
    }

    #[test]
    fn an_unknown_name_lists_the_nearest() {
        let tensors = BTreeMap::from([("conv_stem.weight".to_owned(), HostTensor::vector(vec![1.0f32]))]);
        let error = Weights::from_tensors(tensors).get("conv_sten.weight").unwrap_err();
        assert_eq!(error.to_string(), "`memory` has no tensor `conv_sten.weight`; nearest: `conv_stem.weight`");
    }

    #[test]
    fn folders_with_no_or_several_weights_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let none = Weights::open(directory.path()).unwrap_err();
        assert!(none.to_string().ends_with("holds 0 weights files"), "{none}");
        fs::replace(&directory.path().join("a.pth"), b"").unwrap();
        fs::replace(&directory.path().join("b.pth"), b"").unwrap();
        let several = Weights::open(directory.path()).unwrap_err();
        assert!(several.to_string().ends_with("holds 2 weights files: `a.pth`, `b.pth`"), "{several}");
    }
}
