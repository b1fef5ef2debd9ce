//! From the parts of a classifier to a verified file. Nothing is left behind where it differs from
//! the library.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::backbones::ModelOptions;
use crate::data::{Dataset, IMAGE_EXTENSIONS};
use crate::deploy;
use crate::deploy::model_card::ModelCard;
use crate::deploy::source::{ExportOptions, Source};
use crate::deploy::verify;
use crate::deploy::verify::Example;
use crate::error::{DeployError, Result};
use crate::runtime::Runtime;
use crate::support::fs;
use crate::support::progress::{Progress, Silent};

/// Images that a classifier is verified on, unless another number is asked for.
const VERIFIED: usize = 16;

/// A saved classifier.
#[derive(Clone, Debug, Serialize)]
pub struct Exported {
    /// The file.
    pub file: PathBuf,
    /// Its size in bytes; above 2 GiB the weights lie in a file beside it.
    pub bytes: u64,
    /// Its sha256.
    pub sha256: String,
    /// What it says about itself.
    #[serde(flatten)]
    pub card: ModelCard,
}

/// Exports the classifier of a probe or of a run. Made with [`Exporter::new`], changed by setters,
/// used by [`Exporter::save`].
#[derive(Clone)]
pub struct Exporter<'a> {
    source: PathBuf,
    options: ExportOptions,
    images: Option<PathBuf>,
    count: usize,
    progress: &'a dyn Progress,
}

impl Exporter<'static> {
    /// Of the record that a probe saved, `CACHE/probes/linear.json`, or of a run's directory.
    pub fn new(source: impl Into<PathBuf>) -> Self {
        Exporter {
            source: source.into(),
            options: ExportOptions::default(),
            images: None,
            count: VERIFIED,
            progress: &Silent,
        }
    }
}

impl<'a> Exporter<'a> {
    /// The model that made the embeddings, where it is not the one that the cache names.
    #[must_use]
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.options.model = Some(model.into());
        self
    }

    /// What else there is to say about that model; its taps follow from the cache.
    #[must_use]
    pub fn model_options(mut self, options: ModelOptions) -> Self {
        self.options.options = options;
        self
    }

    /// The embedding cache, where it is not the one that the record lies in or names.
    #[must_use]
    pub fn cache(mut self, cache: impl Into<PathBuf>) -> Self {
        self.options.cache = Some(cache.into());
        self
    }

    /// Above which probabilities, 0 to 1, labels count as present: one for all, or one per label;
    /// from which probability on the second of two classes is the answer.
    #[must_use]
    pub fn thresholds(mut self, thresholds: impl Into<Vec<f32>>) -> Self {
        self.options.thresholds = thresholds.into();
        self
    }

    /// Images to verify the file on instead of the test images it was evaluated on: a folder, a
    /// table or one file.
    #[must_use]
    pub fn verify_on(mut self, images: impl Into<PathBuf>) -> Self {
        self.images = Some(images.into());
        self
    }

    /// How many images to verify the file on, evenly spread, >= 1; 16 unless given.
    #[must_use]
    pub fn verify_images(mut self, count: usize) -> Self {
        self.count = count;
        self
    }

    /// Who is told how far the work is; nobody unless given.
    #[must_use]
    pub fn progress<'b>(self, progress: &'b dyn Progress) -> Exporter<'b> {
        Exporter { progress, ..self }
    }

    /// Joins the parts, compares the result with the library on real images, and saves it.
    ///
    /// # Errors
    /// Those of [`open`](deploy::open), [`DeployError::Differs`] and [`DeployError::NoImages`],
    /// those of [`Source::assemble`], of reading images and of ONNX Runtime; `FileError` where the
    /// file cannot be written.
    pub fn save(&self, out: impl AsRef<Path>) -> Result<Exported> {
        let out = out.as_ref();
        let source = deploy::open(&self.source, &self.options, self.progress)?;
        if source.card.origin.random_weights {
            let note = "note: the weights of the network are random; what the classifier gives means nothing";
            self.progress.note(note);
        }
        let examples = self.examples(&source)?;
        let mut model = source.assemble()?;
        let runtime = Runtime::ensure(None, self.progress)?;
        let verification = verify::verify(&source, &model, &examples, &runtime, self.progress)?;
        let card = ModelCard { verification: Some(verification), ..source.card.clone() };
        model.metadata = card.properties();
        model.save(out)?;
        let (bytes, sha256) = (fs::size(out)?, fs::sha256_of_file(out)?);
        Ok(Exported { file: out.to_path_buf(), bytes, sha256, card })
    }

    /// The images to compare on.
    fn examples<'s>(&self, source: &'s Source) -> Result<Vec<Example<'s>>> {
        let Some(path) = &self.images else { return self.tested(source) };
        let paths = match is_image(path) {
            true => vec![path.clone()],
            false => Dataset::open(path)?.samples.into_iter().map(|sample| sample.path).collect(),
        };
        let examples: Vec<Example<'s>> =
            verify::spread(paths, self.count).iter().map(|path| verify::example(path)).collect();
        match examples.is_empty() {
            true => Err(DeployError::NoImages { reason: format!("`{}` has none", path.display()) }.into()),
            false => Ok(examples),
        }
    }

    /// The test images that are where they were.
    fn tested<'s>(&self, source: &'s Source) -> Result<Vec<Example<'s>>> {
        let tested = source.tested.as_ref().map_err(|reason| DeployError::NoImages { reason: reason.clone() })?;
        let there: Vec<Example<'s>> = tested
            .iter()
            .filter(|tested| tested.path.is_file())
            .map(|tested| Example { path: tested.path.clone(), recorded: Some(&tested.probabilities) })
            .collect();
        if there.is_empty() {
            let first = tested.first().map(|first| format!(", such as `{}`", first.path.display()));
            let reason =
                format!("none of the {} test images is where it was{}", tested.len(), first.unwrap_or_default());
            return Err(DeployError::NoImages { reason }.into());
        }
        Ok(verify::spread(there, self.count))
    }
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    path.is_file() && extension.is_some_and(|extension| IMAGE_EXTENSIONS.contains(&extension.as_str()))
}
