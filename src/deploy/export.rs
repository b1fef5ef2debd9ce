//! From the parts of a classifier to a verified file. Nothing is left behind where it differs from
//! the library.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::data;
use crate::data::OpenOptions;
use crate::deploy::verify::Example;
use crate::deploy::{ModelCard, Source, verify};
use crate::error::{DeployError, Result};
use crate::runtime::Runtime;
use crate::support::fs;
use crate::support::progress::Progress;

/// How a classifier is saved.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// The file to write.
    pub out: &'a Path,
    /// Images to verify it on instead of the test images it was evaluated on: a folder or a table.
    pub images: Option<&'a Path>,
    /// How many of them, evenly spread.
    pub count: usize,
}

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

/// Joins the parts, compares the result with the library on real images, and saves it.
///
/// # Errors
/// [`DeployError::Differs`] and [`DeployError::NoImages`], those of [`Source::assemble`], of
/// reading images and of ONNX Runtime; `FileError` where the file cannot be written.
pub fn export(
    source: &Source,
    plan: &Plan<'_>,
    runtime: &dyn Fn() -> Result<Runtime>,
    progress: &dyn Progress,
) -> Result<Exported> {
    let examples = examples(source, plan)?;
    let mut model = source.assemble()?;
    let verification = verify::verify(source, &model, &examples, &runtime()?, progress)?;
    let card = ModelCard { verification: Some(verification), ..source.card.clone() };
    model.metadata = card.properties();
    model.save(plan.out)?;
    let (bytes, sha256) = (fs::size(plan.out)?, fs::sha256_of_file(plan.out)?);
    Ok(Exported { file: plan.out.to_path_buf(), bytes, sha256, card })
}

/// The images to compare on.
fn examples<'a>(source: &'a Source, plan: &Plan<'_>) -> Result<Vec<Example<'a>>> {
    if let Some(path) = plan.images {
        let paths = if is_image(path) {
            vec![path.to_path_buf()]
        } else {
            data::open(path, &OpenOptions::default())?.samples.into_iter().map(|sample| sample.path).collect()
        };
        let examples: Vec<Example<'a>> =
            verify::spread(paths, plan.count).iter().map(|path| verify::example(path)).collect();
        return match examples.is_empty() {
            true => Err(DeployError::NoImages { reason: format!("`{}` has none", path.display()) }.into()),
            false => Ok(examples),
        };
    }
    let tested = source.tested.as_ref().map_err(|reason| DeployError::NoImages { reason: reason.clone() })?;
    let there: Vec<Example<'a>> = tested
        .iter()
        .filter(|tested| tested.path.is_file())
        .map(|tested| Example { path: tested.path.clone(), recorded: Some(&tested.probabilities) })
        .collect();
    if there.is_empty() {
        let first = tested.first().map(|first| format!(", such as `{}`", first.path.display()));
        let reason = format!("none of the {} test images is where it was{}", tested.len(), first.unwrap_or_default());
        return Err(DeployError::NoImages { reason }.into());
    }
    Ok(verify::spread(there, plan.count))
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    path.is_file() && extension.is_some_and(|extension| data::IMAGE_EXTENSIONS.contains(&extension.as_str()))
}
