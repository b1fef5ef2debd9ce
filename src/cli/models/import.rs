//! `defrost models import`: a user's ONNX file under a name.

use std::path::PathBuf;

use crate::backbones;
use crate::backbones::{ImportOptions, ModelOptions, Pool};
use crate::cli::models::built::{Built, fingerprint_of};
use crate::cli::{Outcome, Printer};
use crate::error::Result;

/// Register an ONNX file under a name, with its preprocessing and the output that is the embedding.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  defrost models import tower.onnx\n  \
    defrost models import export/model.onnx --name chest-vit --output last_hidden_state --pool cls\n  \
    defrost models import chest.onnx --preprocess chest.toml --licence MIT\n\n\
    The file is copied into the cache directory, with its external data and what is said about it; afterwards `--model NAME` \
    means it and `defrost models list` shows it. What is said in a TOML file beside the file, or in a \
    `preprocessor_config.json`, need not be said again.")]
pub(super) struct Arguments {
    /// The ONNX file.
    file: PathBuf,
    /// The name to give it [default: that of the file].
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The input that takes the images, where there are several.
    #[arg(long, value_name = "NAME")]
    input: Option<String>,
    /// The output that is the embedding, where there are several.
    #[arg(long, value_name = "NAME")]
    output: Option<String>,
    /// How several vectors per image become one: `cls`, `mean`, `cls+mean` or `none`.
    #[arg(long, value_name = "HOW")]
    pool: Option<Pool>,
    /// Its preprocessing: a TOML file or a `preprocessor_config.json`.
    #[arg(long, value_name = "FILE")]
    preprocess: Option<PathBuf>,
    /// Its licence.
    #[arg(long, value_name = "LICENCE")]
    licence: Option<String>,
    /// Replace an import of the same name.
    #[arg(long)]
    replace: bool,
}

impl Arguments {
    pub(super) fn run(&self, printer: &Printer) -> Result<Outcome> {
        let options = ImportOptions {
            name: self.name.clone(),
            licence: self.licence.clone(),
            replace: self.replace,
            model: ModelOptions {
                input: self.input.clone(),
                output: self.output.clone(),
                pool: self.pool,
                preprocess: self.preprocess.clone(),
                ..ModelOptions::default()
            },
        };
        let backbone = backbones::import(&self.file, &options, printer)?;
        backbone.note_random_weights(printer);
        let fingerprint = fingerprint_of(&backbone, printer)?;
        if let Some(fingerprint) = &fingerprint {
            backbones::keep_fingerprint(&backbone.name, fingerprint)?;
        }
        Built::new(backbone, self.file.display().to_string(), fingerprint.is_some()).print(printer)?;
        Ok(Outcome::Done)
    }
}
