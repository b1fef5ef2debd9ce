//! Every failure `defrost` can report: what went wrong, which kind of failure it is, and the next
//! step.
//!
//! One enum, [`Error`], with one variant per area. Each area keeps its own typed enum in its own
//! file, with the path, row, operator, node, expected and found values as fields. Messages are
//! lower case without a full stop, literals in backticks.

mod cache;
mod data;
mod deploy;
mod fetch;
mod files;
mod finetune;
mod graph;
mod hint;
mod hub;
mod metric;
mod model;
mod pixels;
mod probe;
mod report;
mod runtime;
mod study;

pub use cache::CacheError;
pub use data::DataError;
pub use deploy::DeployError;
pub use fetch::FetchError;
pub use files::FileError;
pub use finetune::FinetuneError;
pub use graph::GraphError;
pub use hint::Hint;
pub use hub::HubError;
pub use metric::MetricError;
pub use model::{ModelError, PREPROCESS_TEMPLATE, WeightMismatch};
pub use pixels::PixelError;
pub use probe::ProbeError;
pub use report::ReportError;
pub use runtime::RuntimeError;
pub use study::StudyError;

/// Result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the reader of an error can do about it; decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The run finished, but some items failed or a check did not hold: exit code 1.
    Incomplete,
    /// Flags or input are wrong: exit code 2.
    Input,
    /// ONNX Runtime, device, disk or network are not as needed: exit code 3.
    Environment,
}

impl Kind {
    /// The process exit code of this kind.
    pub const fn exit_code(self) -> u8 {
        match self {
            Kind::Incomplete => 1,
            Kind::Input => 2,
            Kind::Environment => 3,
        }
    }
}

/// Any failure of the crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or directory could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A wheel could not be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A model could not be fetched from the hub, or is not the one fetched before.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// An ONNX graph is malformed or an edit of it is impossible.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// ONNX Runtime is missing, unusable or refused a call.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// An image could not be decoded or preprocessed.
    #[error(transparent)]
    Pixels(#[from] PixelError),
    /// Weights or a model description do not fit.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// An embedding cache or a feature table is not as needed.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A dataset, table or split is not as needed.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Predictions cannot be evaluated.
    #[error(transparent)]
    Metric(#[from] MetricError),
    /// A probe cannot be fitted or evaluated.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// A network cannot be trained.
    #[error(transparent)]
    Finetune(#[from] FinetuneError),
    /// A classifier cannot be exported or run.
    #[error(transparent)]
    Deploy(#[from] DeployError),
    /// A report cannot be made.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// A study cannot be planned or run.
    #[error(transparent)]
    Study(#[from] StudyError),
}

impl Error {
    /// The error and its causes on one line.
    pub fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(inner) = cause {
            text.push_str(&format!(": {inner}"));
            cause = inner.source();
        }
        text
    }

    /// What the reader can do about it; decides the exit code.
    pub fn kind(&self) -> Kind {
        self.area().kind()
    }

    /// The next step, one sentence, where there is one that helps.
    pub fn hint(&self) -> Option<Hint> {
        self.area().hint().map(Hint::new)
    }

    fn area(&self) -> &dyn Diagnostic {
        match self {
            Error::File(error) => error,
            Error::Fetch(error) => error,
            Error::Hub(error) => error,
            Error::Graph(error) => error,
            Error::Runtime(error) => error,
            Error::Pixels(error) => error,
            Error::Model(error) => error,
            Error::Cache(error) => error,
            Error::Data(error) => error,
            Error::Metric(error) => error,
            Error::Probe(error) => error,
            Error::Finetune(error) => error,
            Error::Deploy(error) => error,
            Error::Report(error) => error,
            Error::Study(error) => error,
        }
    }
}

/// What an area's errors say beyond their message.
trait Diagnostic {
    /// What the reader can do about it.
    fn kind(&self) -> Kind {
        Kind::Input
    }

    /// The next step, with options written as [`Hint`] says.
    fn hint(&self) -> Option<String> {
        None
    }
}
