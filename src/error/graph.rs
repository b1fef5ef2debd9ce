//! Failures of ONNX graphs; every variant names the node or value.

use std::path::PathBuf;

use crate::error::Diagnostic;

/// An ONNX graph is malformed or an edit of it is impossible.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// The bytes are no protobuf message of an ONNX model.
    #[error("not a protobuf message of an ONNX model, or cut short")]
    Protobuf {
        /// The decoder's reason.
        source: prost::DecodeError,
    },
    /// A part that ONNX requires is not there.
    #[error("{what} is missing in {place}")]
    Missing {
        /// The part.
        what: &'static str,
        /// Where it should be.
        place: String,
    },
    /// A code stands for nothing ONNX knows.
    #[error("{place} has the unknown {what} code {code}")]
    UnknownCode {
        /// What kind of code: `element type`, `attribute type`.
        what: &'static str,
        /// Where it stands.
        place: String,
        /// The code.
        code: i32,
    },
    /// A stored tensor has a negative size.
    #[error("tensor `{tensor}` has the impossible shape {shape:?}")]
    TensorShape {
        /// The tensor.
        tensor: String,
        /// Its shape.
        shape: Vec<i64>,
    },
    /// A stored tensor does not have the data that its shape and type need.
    #[error("tensor `{tensor}`, {element}{shape:?}, has {found} bytes or strings of data, expected {expected}")]
    TensorSize {
        /// The tensor.
        tensor: String,
        /// Element type.
        element: String,
        /// Its shape.
        shape: Vec<usize>,
        /// What shape and type need.
        expected: String,
        /// What is there.
        found: usize,
    },
    /// External data would be read from outside the model's directory.
    #[error("tensor `{tensor}` wants its data from `{location}`, which is not inside the model's directory")]
    ExternalPath {
        /// The tensor.
        tensor: String,
        /// The file, as the model names it.
        location: String,
    },
    /// External data is asked for where there is no directory to read it from.
    #[error("tensor `{tensor}` has its data in the file `{location}`, but the model was not loaded from a directory")]
    ExternalInMemory {
        /// The tensor.
        tensor: String,
        /// The file, as the model names it.
        location: String,
    },
    /// An entry that describes external data is no number.
    #[error("tensor `{tensor}` has `{value}` as the {key} of its external data, expected a number")]
    ExternalEntry {
        /// The tensor.
        tensor: String,
        /// The entry: `offset`, `length`.
        key: &'static str,
        /// What it says.
        value: String,
    },
    /// External data lies behind the end of its file, or has the wrong length.
    #[error(
        "tensor `{tensor}` needs {expected} bytes and wants {length} bytes at offset {offset} of `{path}`, which has {size}"
    )]
    ExternalRange {
        /// The tensor.
        tensor: String,
        /// The file.
        path: PathBuf,
        /// First byte.
        offset: u64,
        /// Number of bytes.
        length: u64,
        /// What shape and type need.
        expected: u64,
        /// Size of the file.
        size: u64,
    },
    /// The standard operators' version is outside of what is understood.
    #[error("the model uses version {version} of the operator set `{domain}`, expected {lowest} to {highest}")]
    Opset {
        /// The domain; `ai.onnx` for the standard operators.
        domain: String,
        /// The imported version.
        version: i64,
        /// Lowest version accepted.
        lowest: i64,
        /// Highest version accepted.
        highest: i64,
    },
    /// A node's domain is not imported.
    #[error("node `{node}` uses `{operator}` of the operator set `{domain}`, which the model does not import")]
    OpsetMissing {
        /// The node.
        node: String,
        /// Its operator.
        operator: String,
        /// The domain.
        domain: String,
    },
    /// Two definitions of one value.
    #[error("value `{value}` is defined twice in graph `{graph}`, the second time by {by}")]
    Duplicate {
        /// The value.
        value: String,
        /// The graph.
        graph: String,
        /// The second definition.
        by: String,
    },
    /// A node reads a value that nothing defines.
    #[error("node `{node}` ({operator}) reads `{value}`, which nothing in graph `{graph}` defines")]
    Undefined {
        /// The value.
        value: String,
        /// The reading node.
        node: String,
        /// Its operator.
        operator: String,
        /// The graph.
        graph: String,
    },
    /// A graph's output is computed by nothing.
    #[error("output `{value}` of graph `{graph}` is computed by nothing")]
    OutputUndefined {
        /// The output.
        value: String,
        /// The graph.
        graph: String,
    },
    /// Nodes wait for each other.
    #[error("nodes of graph `{graph}` need each other in a circle: {}", nodes.join(" -> "))]
    Cycle {
        /// The graph.
        graph: String,
        /// The nodes of one circle, the first again at the end.
        nodes: Vec<String>,
    },
    /// No value has that name.
    #[error("the graph has no value `{name}`")]
    UnknownValue {
        /// The name asked for.
        name: String,
        /// Names that resemble it.
        nearest: Vec<String>,
    },
    /// A node's inputs or attributes do not fit its operator.
    #[error("node `{node}` ({operator}): expected {expected}, found {found}")]
    Operator {
        /// The node.
        node: String,
        /// Its operator.
        operator: String,
        /// What the operator needs.
        expected: String,
        /// What it got.
        found: String,
    },
    /// A function of the model cannot be replaced by its body.
    #[error("the function `{function}` cannot be inlined: {problem}")]
    Function {
        /// The function, with its domain.
        function: String,
        /// Why not.
        problem: String,
    },
    /// A node between the loss and a value it is differentiated by has no gradient rule.
    #[error("node `{node}` ({operator}) has no gradient rule and lies on the way to the loss: {}", way(path))]
    NoGradient {
        /// The node.
        node: String,
        /// Its operator, with its domain if that is not the standard one.
        operator: String,
        /// Labels of the nodes from this one to the one that computes the loss.
        path: Vec<String>,
    },
    /// A model of gradients would have none.
    #[error("no weight has a gradient of a loss on `{output}`: {}", reasons(fixed))]
    NothingTrained {
        /// The output that the loss stands on.
        output: String,
        /// The weights, each with the reason.
        fixed: Vec<String>,
    },
    /// What is to be differentiated is no single number.
    #[error("`{value}` of shape {shape} cannot be a loss, which is a single number")]
    NotScalar {
        /// The value.
        value: String,
        /// Its shape.
        shape: String,
    },
    /// A model is larger than protobuf allows, even without its weights.
    #[error("the model takes {size} bytes without external data, more than the {limit} that protobuf allows")]
    TooLarge {
        /// Bytes needed.
        size: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// What lies between the chosen values is not closed.
    #[error("`{value}` {problem} `{}`", to.join("`, `"))]
    Cut {
        /// The value in the way.
        value: String,
        /// The outputs asked for.
        to: Vec<String>,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A value that is to become an input has no known type.
    #[error("the type of `{value}`, which is to be an input, is not known")]
    UntypedInput {
        /// The value.
        value: String,
    },
    /// There is nothing that 8-bit integers could compute.
    #[error("the graph has no matrix product with constant weights")]
    NoProducts,
    /// A model that ONNX Runtime's training API would not take.
    #[error("{what} is {found}, ONNX Runtime's training API needs {expected}")]
    Artifact {
        /// The model, parameter or file.
        what: String,
        /// What is needed.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A named edit cannot be made or leaves a graph that is not valid.
    #[error("the edit `{patch}` cannot be made")]
    Patch {
        /// Name of the edit.
        patch: &'static str,
        /// The reason.
        source: Box<GraphError>,
    },
}

/// The nodes of a way, the middle of a long one left out.
fn way(path: &[String]) -> String {
    match path {
        [first @ .., _, _, _] if first.len() > 4 => {
            format!("{} -> ... -> {}", first[..3].join(" -> "), path[path.len() - 3..].join(" -> "))
        }
        _ => path.join(" -> "),
    }
}

impl Diagnostic for GraphError {
    fn hint(&self) -> Option<String> {
        match self {
            GraphError::Protobuf { .. } => {
                Some("check that the file is an ONNX model and that its download is complete".into())
            }
            GraphError::UnknownValue { nearest, .. } if nearest.is_empty() => {
                Some("`defrost graph show FILE --text` lists all values".into())
            }
            GraphError::UnknownValue { nearest, .. } => Some(format!("did you mean `{}`?", nearest.join("`, `"))),
            GraphError::ExternalRange { path, .. } => {
                Some(format!("`{}` is incomplete or belongs to another model; fetch both files again", path.display()))
            }
            GraphError::ExternalInMemory { .. } => Some("load the model from its file".into()),
            GraphError::Opset { .. } => Some("export the model again with an operator set in that range".into()),
            GraphError::NoGradient { .. } => Some(
                "differentiate by parameters behind that node only, or export the model without the operator".into(),
            ),
            GraphError::Function { .. } => {
                Some("inline the functions where the model is made: `onnx.inliner.inline_local_functions`".into())
            }
            GraphError::NothingTrained { .. } => Some(
                "name an output that depends on floating-point weights, or put a head on it with `<classes>`".into(),
            ),
            GraphError::NotScalar { .. } => Some("reduce it to its mean first, or choose a loss".into()),
            GraphError::Cut { .. } => Some("name exactly the values that the part starts from".into()),
            GraphError::Patch { source, .. } => source.hint(),
            GraphError::NoProducts => Some(
                "convolutions are not computed in 8-bit integers: leave such a network in f32, or choose a transformer"
                    .into(),
            ),
            _ => None,
        }
    }
}

/// Why weights have no gradient, the first few.
fn reasons(fixed: &[String]) -> String {
    match fixed {
        [] => "the model stores none".to_owned(),
        all if all.len() <= 5 => all.join(", "),
        all => format!("{} and {} more", all[..5].join(", "), all.len() - 5),
    }
}
