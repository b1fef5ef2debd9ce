//! `defrost probe`: fit a linear or nearest-neighbour probe on features, choose its
//! hyper-parameter, evaluate it.

pub(super) mod table;

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Instant;

use crate::cli::adjust_flags::AdjustFlags;
use crate::cli::choice::{SCALES, SOLVERS, choice};
use crate::cli::dataset::NameList;
use crate::cli::{Outcome, Printer};
use crate::data::split::{Fractions, TrainFraction};
use crate::embed::{FeatureColumns, Features, embedding_columns, schema};
use crate::error::{Error, FileError, ProbeError, Result};
use crate::metrics::{Bootstrap, Metric};
use crate::probe::{
    DEFAULT_ITERATIONS, DEFAULT_K, DEFAULT_TEMPERATURE, Experiment, Knn, Linear, Method, Record, Scale, Solver,
    SplitConfig, default_grid,
};
use crate::support::progress::Progress as _;

/// Probe features: how well does a simple classifier on frozen features do?
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    probe: Probe,
}

const EXAMPLES: &str = "Examples:
  defrost probe linear cache
  defrost probe knn cache --repeats 5
  defrost probe linear features.parquet --embedding vector --label diagnosis --out results";

#[derive(Debug, clap::Subcommand)]
enum Probe {
    /// Logistic regression, its penalty chosen on validation data.
    #[command(after_help = LINEAR_EXAMPLES)]
    Linear {
        #[command(flatten)]
        shared: Shared,
        /// What is done to the features first; statistics come from the samples the probe is fitted
        /// on.
        #[arg(long, value_parser = choice::<Scale>(SCALES), default_value = "standard")]
        scale: Scale,
        /// Candidates for C (inverse penalty), for example 0.01,1,100; one value fixes it. Default:
        /// 45 from 1e-6 to 1e5.
        #[arg(long, value_delimiter = ',', value_name = "C,..")]
        c_grid: Vec<f64>,
        /// Largest entry of the gradient of a fitted probe, as scikit-learn's `tol`. Default: 1e-6,
        /// and scikit-learn's 1e-4 where samples x features x classes are more than 2^28.
        #[arg(long, value_name = "G")]
        tolerance: Option<f64>,
        /// Steps of the solver for one candidate, at most.
        #[arg(long, default_value_t = DEFAULT_ITERATIONS, value_name = "N")]
        iterations: usize,
        /// Who fits.
        #[arg(long, value_parser = choice::<Solver>(SOLVERS), default_value = "own")]
        solver: Solver,
    },
    /// Exact weighted nearest neighbours, their number chosen on validation data.
    #[command(after_help = KNN_EXAMPLES)]
    Knn {
        #[command(flatten)]
        shared: Shared,
        /// Candidates for the number of neighbours; one value fixes it.
        #[arg(long, value_delimiter = ',', value_name = "K,..", default_values_t = DEFAULT_K)]
        k: Vec<usize>,
        /// Votes are weighted by exp(cosine similarity / temperature).
        #[arg(long, default_value_t = DEFAULT_TEMPERATURE, value_name = "T")]
        temperature: f64,
    },
}

const LINEAR_EXAMPLES: &str = "Examples:
  defrost probe linear cache
  defrost probe linear cache --scale l2 --c-grid 0.01,0.1,1,10 --repeats 5 --json
  defrost probe linear cache --tap all
  defrost probe linear cache --calibrate --threshold sensitivity=0.95
  defrost probe linear fundus --calibrate --cut-points
  defrost probe linear features.parquet --embedding vector --label diagnosis --out results";
const KNN_EXAMPLES: &str = "Examples:
  defrost probe knn cache
  defrost probe knn cache --k 20 --temperature 0.1 --tap block_05
  defrost probe knn cache --calibrate --threshold youden
  defrost probe knn features.parquet --embedding vector --label diagnosis --out results";

/// What both probes share.
#[derive(Debug, clap::Args)]
struct Shared {
    /// An embedding cache, or a Parquet file (or a folder of them) with a column of embeddings and
    /// one of labels.
    #[arg(value_name = "CACHE")]
    cache: PathBuf,
    /// Column of the features: a tap of the cache, or the embedding column of a Parquet file; `all`
    /// probes each of them on the same splits, for the curve along the layers in the report.
    #[arg(long, visible_alias = "embedding", value_name = "COLUMN")]
    tap: Option<String>,
    /// Column of the labels of a Parquet file.
    #[arg(long, value_name = "COLUMN")]
    label: Option<String>,
    /// Class names of a Parquet file in their order, separated by commas; a name that has a comma
    /// in it in double quotes [default: the names found, sorted].
    #[arg(long, value_name = "NAMES")]
    classes: Vec<NameList>,
    /// Metric that decides between candidates; by default accuracy, quadratic_kappa for ordered
    /// classes, roc_auc_macro for several labels per image.
    #[arg(long, value_parser = parse_metric, value_name = "METRIC")]
    metric: Option<Metric>,
    /// Train, validation and test shares of splits that are drawn.
    #[arg(long, default_value = "70,10,20", value_name = "TRAIN,VAL,TEST")]
    fractions: Fractions,
    /// Seed of the splits; repeats count up from it.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Number of repeats with splits of their own.
    #[arg(long, default_value_t = 1, value_name = "N")]
    repeats: usize,
    /// Train on this part of the train split, `0.05` or `5%`: classes in proportion, groups whole,
    /// every class kept; a smaller part lies within a larger one of the same seed. The probe is then
    /// not fitted again on train and validation.
    #[arg(long, default_value = "100%", value_name = "SHARE")]
    train_fraction: TrainFraction,
    /// Draw new splits although the samples have some.
    #[arg(long)]
    resplit: bool,
    /// Accept given splits that divide a group (a patient, say) or copies of an image between them;
    /// the report shows it in red.
    #[arg(long)]
    allow_leak: bool,
    /// Keep the probe that was fitted on train alone, instead of fitting it again on train and
    /// validation.
    #[arg(long)]
    no_refit: bool,
    /// Resamples behind the intervals of losses; 0 gives no intervals at all.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    bootstrap: usize,
    /// Folder for record, predictions and weights; by default `probes` in the cache, nowhere for a
    /// Parquet file. In a cache that cannot be written to they are not kept, with exit code 1.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    adjust: AdjustFlags,
}

/// What `--tap` takes for every column.
const ALL: &str = "all";

/// The metric of that name.
pub(super) fn parse_metric(name: &str) -> Result<Metric, String> {
    serde_json::from_value(serde_json::Value::from(name)).map_err(|error| error.to_string())
}

impl Arguments {
    /// Reads the features, runs the experiment, saves and prints what it found.
    pub(crate) fn run(&self, printer: &Printer) -> Result<Outcome> {
        let (shared, method) = match &self.probe {
            Probe::Linear { shared, scale, c_grid, tolerance, iterations, solver } => {
                let grid = if c_grid.is_empty() { default_grid() } else { c_grid.clone() };
                let linear = Linear {
                    scale: *scale,
                    tolerance: *tolerance,
                    iterations: *iterations,
                    solver: *solver,
                    ..Linear::default()
                };
                (shared, Method::from(linear.grid(grid)))
            }
            Probe::Knn { shared, k, temperature } => {
                let knn = Knn { temperature: *temperature, ..Knn::default() };
                (shared, Method::from(knn.k(k.clone())))
            }
        };
        if shared.tap.as_deref() != Some(ALL) {
            let (record, saved) = shared.probe(&method, shared.tap.clone(), printer)?;
            printer.result(&record, table::describe)?;
            return match saved {
                Ok(Some(path)) => {
                    printer.say(&format!("saved `{}`", path.display()));
                    Ok(Outcome::Done)
                }
                Ok(None) => Ok(Outcome::Done),
                Err(error) => shared.not_kept(error, printer),
            };
        }
        let mut records = Vec::new();
        let (mut kept, mut refused) = (Vec::new(), None);
        for column in embedding_columns(&shared.cache)? {
            let (record, saved) = shared.probe(&method, Some(column), printer)?;
            records.push(record);
            match saved {
                Ok(path) => kept.extend(path),
                Err(error) => refused = Some(error),
            }
        }
        printer.result(&records, |records| table::describe_layers(records))?;
        if let Some(directory) = kept.first().and_then(|path| path.parent()) {
            printer.say(&format!("saved {} records in `{}`", kept.len(), directory.display()));
        }
        refused.map_or(Ok(Outcome::Done), |error| shared.not_kept(error, printer))
    }
}

impl Shared {
    /// Probes one column and saves what it finds; gives the record and the file it was saved in.
    fn probe(
        &self,
        method: &Method,
        column: Option<String>,
        printer: &Printer,
    ) -> Result<(Record, Result<Option<PathBuf>>)> {
        let start = Instant::now();
        let columns =
            FeatureColumns { features: column, label: self.label.clone(), classes: NameList::names(&self.classes) };
        let features = Features::open(&self.cache, &columns)?;
        for note in &features.dataset.notes {
            printer.note(&format!("note: {note}"));
        }
        let is_cache = features.manifest.is_some();
        let directory = self.out.clone().or_else(|| is_cache.then(|| self.cache.join("probes")));
        let read = start.elapsed().as_secs_f64();
        let mut result = self.experiment(method.clone())?.run_with(&features, printer)?;
        result.record.seconds.read = read;
        // The embedding's record goes without the name of its column; so does a table's, which has
        // but one as a rule.
        let column = result.record.source.column.clone();
        let named = (column != schema::EMBEDDING && (is_cache || self.tap.as_deref() == Some(ALL))).then_some(column);
        let saved = directory.map(|directory| result.save(&directory, named.as_deref())).transpose();
        for leak in &result.record.leaks {
            printer.note(&format!("LEAK, as allowed: {leak}; the figures are too good"));
        }
        for warning in &result.record.warnings {
            let column = named.as_ref().map_or_else(String::new, |column| format!(" (`{column}`)"));
            printer.note(&format!("warning{column}: {warning}"));
        }
        Ok((result.record, saved))
    }

    /// What was found is printed but could not be saved: said, with exit code 1, where it was to
    /// lie in a cache that is not the user's to write to; an error where a folder was asked for or
    /// the disk fails.
    fn not_kept(&self, error: Error, printer: &Printer) -> Result<Outcome> {
        let refused = match &error {
            Error::File(FileError::Io { source, .. }) => {
                matches!(source.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem)
            }
            _ => false,
        };
        if self.out.is_some() || !refused {
            return Err(error);
        }
        let cache = self.cache.display();
        printer.note(&format!("warning: not kept, as `{cache}` cannot be written to: name a folder with `--out`"));
        Ok(Outcome::Incomplete)
    }

    fn experiment(&self, method: Method) -> Result<Experiment, ProbeError> {
        let division = SplitConfig {
            redraw: self.resplit,
            fractions: self.fractions,
            allow_leak: self.allow_leak,
            train_fraction: self.train_fraction,
        };
        Ok(Experiment {
            method,
            metric: self.metric,
            division,
            seed: self.seed,
            repeats: self.repeats,
            bootstrap: Bootstrap { resamples: self.bootstrap, ..Bootstrap::default() },
            refit: !self.no_refit,
            adjusting: self.adjust.adjusting(),
        })
    }
}
