//! Failures of weights, catalog entries and model descriptions.

use std::path::PathBuf;

use crate::error::{Diagnostic, Kind};

/// Weights or a model description do not fit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A checkpoint holds something else than plain tensors: unpickling it as Python does would run
    /// code.
    #[error("`{path}` refers to `{global}`, which is neither a tensor nor plain data; nothing of it was executed")]
    ForbiddenGlobal {
        /// The checkpoint.
        path: PathBuf,
        /// The Python name it refers to, as `module.name`.
        global: String,
    },
    /// A weights file is damaged or of a kind that is not read.
    #[error("`{path}` is not a readable {format}: {reason}")]
    Malformed {
        /// The weights file.
        path: PathBuf,
        /// The format it seemed to have.
        format: &'static str,
        /// What is wrong, with the position where there is one.
        reason: String,
    },
    /// A tensor asked for is not among the weights.
    #[error("`{source_path}` has no tensor `{name}`{}", Suggestions(nearest))]
    UnknownWeight {
        /// The weights file or folder.
        source_path: PathBuf,
        /// The name asked for.
        name: String,
        /// Names it has that resemble it.
        nearest: Vec<String>,
    },
    /// A folder holds no weights, or several to choose from.
    #[error("`{path}` holds {} weights files{}", found.len(), Listed(found))]
    WeightsFile {
        /// The folder.
        path: PathBuf,
        /// The weights files in it.
        found: Vec<String>,
    },
    /// A name is not in the catalog.
    #[error("there is no model `{name}`{}", Suggestions(nearest))]
    UnknownModel {
        /// The name asked for.
        name: String,
        /// Names of the catalog that resemble it.
        nearest: Vec<String>,
    },
    /// A catalog file names a family that is not known.
    #[error("there is no model family `{family}`{}", Listed(known))]
    UnknownFamily {
        /// The family named.
        family: String,
        /// The known families.
        known: Vec<String>,
    },
    /// A tap is none of a model's.
    #[error("`{model}` has no tap `{name}`{}", Suggestions(nearest))]
    UnknownTap {
        /// The model.
        model: String,
        /// The tap asked for.
        name: String,
        /// Taps it has that resemble it.
        nearest: Vec<String>,
        /// All its taps.
        known: Vec<String>,
    },
    /// The class token is asked of what has none.
    #[error("`{tap}` has no class token: it is {shape}")]
    NoClassToken {
        /// The tap.
        tap: String,
        /// Its shape.
        shape: String,
    },
    /// Nothing says how several vectors per image become one.
    #[error("`{tap}` is {shape}, several vectors per image")]
    Unpooled {
        /// The tap.
        tap: String,
        /// Its shape.
        shape: String,
    },
    /// An output's number of features depends on the image.
    #[error("`{tap}` is {shape}: the number of its values is open")]
    OpenSize {
        /// The tap.
        tap: String,
        /// Its shape.
        shape: String,
    },
    /// A network whose graph stands for one image size is asked for with any.
    #[error("the graph of `{model}` stands for one image size, which its positions are resampled for when it is built")]
    OneSize {
        /// The model.
        model: String,
        /// Height and width that its weights were trained at, in pixels.
        size: [usize; 2],
    },
    /// An image size is not made of whole patches.
    #[error("{}x{} pixels are not whole patches of {patch}x{patch} pixels", size[0], size[1])]
    PatchSize {
        /// Height and width asked for, in pixels.
        size: [usize; 2],
        /// Height and width of a patch, in pixels.
        patch: usize,
    },
    /// A network has not the blocks that are to be kept.
    #[error("`{model}` has {has} blocks, of which {asked} cannot be kept")]
    Blocks {
        /// The model.
        model: String,
        /// How many are to be kept.
        asked: usize,
        /// How many there are.
        has: usize,
    },
    /// A preprocessing gives another number of channels than a network takes.
    #[error("`{model}` takes {takes} channels, its preprocessing gives {gives}")]
    Channels {
        /// The model.
        model: String,
        /// Channels of its input.
        takes: usize,
        /// Channels of a preprocessed image.
        gives: usize,
    },
    /// A head on the patch tokens of a backbone that has none.
    #[error("a head on the patch tokens of `{model}` is not possible: {reason}")]
    NoPatches {
        /// The model.
        model: String,
        /// What is missing.
        reason: &'static str,
    },
    /// An option does not apply.
    #[error("`{option}` does not apply: {reason}")]
    Misplaced {
        /// The option.
        option: &'static str,
        /// Why not.
        reason: String,
    },
    /// An ONNX file has no input or output of a name.
    #[error("`{path}` has no {direction} `{name}`{}", Suggestions(nearest))]
    UnknownValue {
        /// The file.
        path: PathBuf,
        /// `input` or `output`.
        direction: &'static str,
        /// The name asked for.
        name: String,
        /// Names it has that resemble it.
        nearest: Vec<String>,
    },
    /// An ONNX file has several inputs or outputs to choose from, or none.
    #[error("`{path}` has {} {direction}s{}", candidates.len(), Listed(candidates))]
    Ambiguous {
        /// The file.
        path: PathBuf,
        /// `input` or `output`.
        direction: &'static str,
        /// What there is, with types.
        candidates: Vec<String>,
    },
    /// An input or output of an ONNX file cannot be used for images or embeddings.
    #[error("`{value}` of `{path}` cannot be used: {reason}")]
    Unsuitable {
        /// The file.
        path: PathBuf,
        /// The input or output.
        value: String,
        /// Why not.
        reason: String,
    },
    /// Nothing tells how images become the input of an ONNX file.
    #[error("nothing says how images become the input of `{path}`")]
    NoPreprocess {
        /// The file.
        path: PathBuf,
    },
    /// A `preprocessor_config.json` asks for something that is not supported or lacks something.
    #[error("`{path}` cannot be followed in `{field}`: {reason}")]
    Processor {
        /// The file.
        path: PathBuf,
        /// The field, with the objects that lead to it.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A model's `config.json` asks for something that is not supported or lacks something.
    #[error("`{path}` describes no network that can be built: `{field}`: {reason}")]
    Configuration {
        /// The file.
        path: PathBuf,
        /// The field, with the objects that lead to it.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The folder of a run in which no epoch is complete.
    #[error("the run `{path}` has no weights: none of its epochs is complete")]
    UntrainedRun {
        /// The folder.
        path: PathBuf,
    },
    /// A folder is no snapshot of a model.
    #[error("the folder `{path}` has none of the files that describe a model{}", Listed(looked_for))]
    NoConfiguration {
        /// The folder.
        path: PathBuf,
        /// The files looked for.
        looked_for: Vec<String>,
    },
    /// A name cannot be given to an imported model.
    #[error("`{name}` cannot be the name of an imported model: {reason}")]
    ImportName {
        /// The name.
        name: String,
        /// Why not.
        reason: String,
    },
    /// Nothing is known to fetch a model's weights from.
    #[error("the weights of `{model}` have to be given")]
    WeightsNeeded {
        /// The model.
        model: String,
        /// Where they can be found, in words.
        origin: String,
        /// Whether `models pull` fetches them.
        pullable: bool,
    },
    /// Weights have none of the names that a family's weights have.
    #[error(
        "`{path}` does not hold weights of the family of `{model}`: it has none of the tensors{}",
        Listed(expected)
    )]
    ForeignWeights {
        /// The model asked for.
        model: String,
        /// The weights file.
        path: PathBuf,
        /// A tensor of each known naming.
        expected: Vec<String>,
        /// Some names it has.
        found: Vec<String>,
    },
    /// Weights hold several copies of a network.
    #[error("`{path}` holds the weights of `{model}` several times, below{}", Listed(prefixes))]
    SeveralNetworks {
        /// The model asked for.
        model: String,
        /// The weights file.
        path: PathBuf,
        /// What the names of each copy start with.
        prefixes: Vec<String>,
    },
    /// Weights do not fit an architecture.
    #[error("`{path}` does not fit `{model}`: {}", .misfits)]
    Misfit {
        /// The model asked for.
        model: String,
        /// The weights file.
        path: PathBuf,
        /// What does not fit.
        misfits: Box<WeightMismatch>,
    },
}

/// A description of preprocessing, to copy into a file beside a model.
pub const PREPROCESS_TEMPLATE: &str = "[preprocess]
resize = { shorter_side = 256 }
filter = \"bicubic\"
crop = { height = 224, width = 224 }
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]";

/// How weights and an architecture differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WeightMismatch {
    /// Parameters that the weights lack, with the nearest names they have.
    pub missing: Vec<(String, Vec<String>)>,
    /// Tensors of the weights that the architecture has no use for.
    pub left_over: Vec<String>,
    /// Tensors of another shape or type: name, what is needed, what is there.
    pub unlike: Vec<(String, String, String)>,
}

impl WeightMismatch {
    /// Entries of each kind that a message lists.
    pub const LISTED: usize = 8;

    /// Whether everything fits.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.left_over.is_empty() && self.unlike.is_empty()
    }
}

impl std::fmt::Display for WeightMismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counts = (self.missing.len(), self.left_over.len(), self.unlike.len());
        write!(f, "{} tensors missing, {} left over, {} of another shape or type", counts.0, counts.1, counts.2)?;
        for (name, nearest) in self.missing.iter().take(WeightMismatch::LISTED) {
            write!(f, "\n  missing    `{name}`{}", Suggestions(nearest))?;
        }
        for name in self.left_over.iter().take(WeightMismatch::LISTED) {
            write!(f, "\n  left over  `{name}`")?;
        }
        for (name, needed, found) in self.unlike.iter().take(WeightMismatch::LISTED) {
            write!(f, "\n  unlike     `{name}`: needed {needed}, found {found}")?;
        }
        let shown = |count: usize| count.min(WeightMismatch::LISTED);
        let rest = counts.0 + counts.1 + counts.2 - shown(counts.0) - shown(counts.1) - shown(counts.2);
        if rest > 0 { write!(f, "\n  and {rest} more") } else { Ok(()) }
    }
}

impl Diagnostic for ModelError {
    fn kind(&self) -> Kind {
        match self {
            ModelError::ForbiddenGlobal { .. }
            | ModelError::Malformed { .. }
            | ModelError::UnknownWeight { .. }
            | ModelError::WeightsFile { .. }
            | ModelError::UnknownModel { .. }
            | ModelError::UnknownFamily { .. }
            | ModelError::UnknownTap { .. }
            | ModelError::PatchSize { .. }
            | ModelError::NoClassToken { .. }
            | ModelError::Unpooled { .. }
            | ModelError::OpenSize { .. }
            | ModelError::OneSize { .. }
            | ModelError::Blocks { .. }
            | ModelError::Channels { .. }
            | ModelError::Misplaced { .. }
            | ModelError::NoPatches { .. }
            | ModelError::UnknownValue { .. }
            | ModelError::Ambiguous { .. }
            | ModelError::Unsuitable { .. }
            | ModelError::NoPreprocess { .. }
            | ModelError::Processor { .. }
            | ModelError::Configuration { .. }
            | ModelError::UntrainedRun { .. }
            | ModelError::NoConfiguration { .. }
            | ModelError::ImportName { .. }
            | ModelError::WeightsNeeded { .. }
            | ModelError::ForeignWeights { .. }
            | ModelError::SeveralNetworks { .. }
            | ModelError::Misfit { .. } => Kind::Input,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            ModelError::ForbiddenGlobal { .. } => Some(
                "if you trust its origin, load it once in Python and save the state dict alone: \
                 `torch.save(model.state_dict(), ...)` or `safetensors.torch.save_file(...)`"
                    .into(),
            ),
            ModelError::Malformed { .. } => Some("fetch the file again and compare its size with the source's".into()),
            ModelError::UnknownWeight { .. } | ModelError::UnknownFamily { .. } => None,
            ModelError::PatchSize { size, patch } => {
                let whole = size.map(|length| (length / patch).max(1) * patch);
                Some(format!("the nearest smaller size is {}x{}", whole[0], whole[1]))
            }
            ModelError::NoClassToken { .. } => Some("take its mean, `<pool mean>`, or all of it, `<pool none>`".into()),
            ModelError::Unpooled { .. } => Some("choose `<pool cls>`, `mean`, `cls+mean` or `none`".into()),
            ModelError::OpenSize { .. } => Some("build it for one size with `<size HEIGHTxWIDTH>`".into()),
            ModelError::OneSize { size: [height, width], .. } => Some(format!(
                "leave `<size>` out for the size of its preprocessing, or give one; its weights were trained at `<size {height}x{width}>`"
            )),
            ModelError::ImportName { .. } => Some("give another one with `<name NAME>`".into()),
            ModelError::UnknownModel { name, .. } if std::path::Path::new(name).exists() => Some(
                "it is a file or folder: `defrost graph show` looks into ONNX files, `defrost models build` opens either".into(),
            ),
            ModelError::UnknownModel { .. } => {
                Some("`defrost models list` shows the catalog; a path to an `.onnx` file works too".into())
            }
            ModelError::Blocks { has, .. } => Some(format!("keep 1 to {has}; `models show` tells what its blocks are")),
            ModelError::Channels { gives, .. } => {
                Some(format!("build the model for {gives} channels with `<channels {gives}>`, or change its preprocessing"))
            }
            ModelError::NoPatches { .. } => Some("`<head linear>` stands on the embedding of any model".into()),
            ModelError::Misplaced { option, .. } => Some(format!("leave `<{option}>` out")),
            ModelError::UnknownValue { path, .. } | ModelError::Unsuitable { path, .. } => {
                Some(format!("`defrost graph show {}` lists inputs and outputs", path.display()))
            }
            ModelError::Ambiguous { direction, .. } => Some(format!(
                "choose one with `<{direction} NAME>`, or with `{direction} = ...` in a TOML file beside the model"
            )),
            ModelError::NoPreprocess { path } => Some(format!(
                "put the model's `preprocessor_config.json` beside it, or write `{}` like this:\n\n{PREPROCESS_TEMPLATE}\n",
                path.with_extension("toml").display()
            )),
            ModelError::Processor { .. } => Some(format!(
                "describe the steps in a TOML file beside an ONNX model, or in one named with `<preprocess>`:\n\n{PREPROCESS_TEMPLATE}\n"
            )),
            ModelError::Configuration { .. } => Some(
                "`defrost models build --help` says which configurations are read; a model exported to ONNX works whatever its architecture"
                    .into(),
            ),
            ModelError::UntrainedRun { .. } => Some("start the run again as it was started: it goes on where it stopped".into()),
            ModelError::NoConfiguration { path, .. } => Some(format!(
                "for weights alone, name the model they belong to: `<model NAME>` with `<weights {}>`",
                path.display()
            )),
            ModelError::UnknownTap { known, .. } => Some(format!("it has `{}`", known.join("`, `"))),
            ModelError::WeightsNeeded { model, origin, pullable: true } => Some(format!(
                "`defrost models pull {model}` fetches {origin}; or name a file with `<weights FILE>`, or try things out with `<random-weights SEED>`"
            )),
            ModelError::WeightsNeeded { origin, .. } => {
                Some(format!("fetch {origin} and name the file with `<weights FILE>`, or try things out with `<random-weights SEED>`"))
            }
            ModelError::ForeignWeights { found, .. } => Some(format!(
                "check that the weights belong to this model; among its tensors are `{}`",
                found.join("`, `")
            )),
            ModelError::SeveralNetworks { .. } => Some("choose one with `<weights-prefix PREFIX>`".into()),
            ModelError::Misfit { .. } => {
                Some("check that the variant (`defrost models list`) is the one the weights were trained for".into())
            }
            ModelError::WeightsFile { found, .. } if found.is_empty() => Some(
                "a folder of weights has `model.safetensors`, an index of shards (`*.index.json`) or a PyTorch \
                 checkpoint (`.pth`, `.pt`, `.bin`)"
                    .into(),
            ),
            ModelError::WeightsFile { .. } => Some("name the file itself instead of the folder".into()),
        }
    }
}

/// `; nearest: ...`, or nothing.
struct Suggestions<'a>(&'a [String]);

impl std::fmt::Display for Suggestions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "; nearest: `{}`", self.0.join("`, `")) }
    }
}

/// `: ...`, or nothing.
struct Listed<'a>(&'a [String]);

impl std::fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ": `{}`", self.0.join("`, `")) }
    }
}
