//! A user's ONNX file as a backbone: its input and output found by inspection, its preprocessing read from beside it.
//!
//! Nothing is guessed: where the file leaves a choice, the error lists the candidates and names the option that decides.
//! Images go in as f32, [N, C, H, W] or [N, H, W, C] (then a transpose is put in front); one vector per image comes out,
//! [N, D], from an output of that shape or by pooling tokens [N, T, D] or a feature map [N, C, H, W].

use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::backbones::Backbone;
use crate::backbones::ModelOptions;
use crate::backbones::Output;
use crate::backbones::Pool;
use crate::backbones::Provenance;
use crate::backbones::Taps;
use crate::backbones::build::PREPROCESS_PROPERTY;
use crate::backbones::processor;
use crate::backbones::sidecar;
use crate::backbones::sidecar::Layout;
use crate::backbones::sidecar::Sidecar;
use crate::error::ModelError;
use crate::error::Result;
use crate::graph::Dim;
use crate::graph::Model;
use crate::graph::Node;
use crate::graph::Tensor;
use crate::graph::TensorData;
use crate::graph::Type;
use crate::graph::TypeKind;
use crate::graph::ValueInfo;
use crate::graph::shape_text;
use crate::graph::validate;
use crate::preprocess::Preprocess;
use crate::support::fs;
use crate::support::names;
use crate::tensor::DType;
use crate::tensor::HostTensor;

/// Opens a user's file.
pub(super) fn open(path: &Path, options: &ModelOptions) -> Result<Backbone> {
    for (given, option) in [
        (options.weights.is_some(), "--weights"),
        (options.random_weights.is_some(), "--random-weights"),
        (options.size.is_some(), "--size"),
        (options.taps != Taps::None, "--taps"),
    ] {
        if given {
            let reason = "it applies to models of the catalog, not to an ONNX file".to_owned();
            return Err(ModelError::Misplaced { option, reason }.into());
        }
    }
    let mut model = Model::load(path)?;
    validate(&model)?;
    let sidecar = sidecar::beside(path)?;
    let preprocess = preprocess(path, options, &sidecar, &model)?;
    let file = External { path };
    let weights_sha256 = file.digest(&model)?;
    let (input, fixed_batch) = file.image_input(&mut model, options, &sidecar, &preprocess)?;
    let embedding = file.embedding_output(&mut model, options, &sidecar)?;
    validate(&model)?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let random = model.property("defrost.weights").is_some_and(|weights| weights.starts_with("random weights"));
    let licence = sidecar.licence.or_else(|| model.property("defrost.licence").map(str::to_owned));
    let provenance = Provenance { family: "onnx".to_owned(), weights: name.clone(), weights_sha256, licence, random };
    Ok(Backbone { name, graph: model, input, embedding, taps: Vec::new(), fixed_batch, preprocess, provenance })
}

/// The preprocessing: as the user says, from beside the file, or from the file's own properties.
fn preprocess(path: &Path, options: &ModelOptions, sidecar: &Sidecar, model: &Model) -> Result<Preprocess> {
    let specification = if let Some(file) = &options.preprocess {
        sidecar::preprocess(file)?
    } else if let Some(specification) = &sidecar.preprocess {
        specification.clone()
    } else if let Some(config) = Some(path.with_file_name(processor::FILE)).filter(|config| config.is_file()) {
        processor::parse(&config, &fs::read_text(&config)?)?
    } else if let Some(text) = model.property(PREPROCESS_PROPERTY) {
        serde_json::from_str(text).map_err(|source| crate::error::FileError::Parse {
            path: path.to_path_buf(),
            format: "backbone: its property `defrost.preprocess` is no preprocessing",
            source: Box::new(source),
        })?
    } else {
        return Err(ModelError::NoPreprocess { path: path.to_path_buf() }.into());
    };
    specification.clone().check()?;
    Ok(specification)
}

/// A user's file, for errors.
struct External<'a> {
    path: &'a Path,
}

impl External<'_> {
    /// The sha256 of the file, or of the file and all weights where these lie in other files.
    fn digest(&self, model: &Model) -> Result<String> {
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
                hasher.update(bytes);
            }
        }
        Ok(fs::hexadecimal(&hasher.finalize()))
    }

    /// The name of the input for images, brought to [N, C, H, W], and its batch where that is fixed.
    fn image_input(
        &self,
        model: &mut Model,
        options: &ModelOptions,
        sidecar: &Sidecar,
        preprocess: &Preprocess,
    ) -> Result<(String, Option<usize>)> {
        let inputs: Vec<ValueInfo> = model.graph.required_inputs().cloned().collect();
        let wanted = options.input.as_ref().or(sidecar.input.as_ref());
        let input = self.choose("input", &inputs, wanted)?;
        if let Some(other) = inputs.iter().find(|other| other.name != input.name) {
            return Err(self.unsuitable(&input, format!("the model needs `{}` too", other.name)));
        }
        let (dtype, shape) = self.tensor(&input)?;
        if dtype != Some(DType::F32) {
            return Err(self.unsuitable(&input, format!("it takes {} and not f32", self.type_text(&input))));
        }
        let [batch, second, third, last] = shape.as_slice() else {
            return Err(self.unsuitable(&input, format!("it is {} and not a batch of images", shape_text(&shape))));
        };
        let channels = preprocess.channels.count();
        let is_channels = |dim: &Dim| matches!(fixed(dim), Some(1 | 3));
        let layout = match (sidecar.layout, is_channels(second), is_channels(last)) {
            (Some(layout), _, _) => layout,
            (None, true, false) => Layout::Nchw,
            (None, false, true) => Layout::Nhwc,
            (None, ..) => {
                let reason = format!(
                    "it is {}, which does not tell channels from rows: write `layout = \"nchw\"` (or \"nhwc\") into `{}`",
                    shape_text(&shape),
                    self.path.with_extension("toml").display()
                );
                return Err(self.unsuitable(&input, reason));
            }
        };
        let (channel, height, width) = match layout {
            Layout::Nchw => (second, third, last),
            Layout::Nhwc => (last, second, third),
        };
        if let Some(found) = fixed(channel).filter(|found| *found != channels) {
            let reason = format!("it takes {found} channels, the preprocessing gives {channels}");
            return Err(self.unsuitable(&input, reason));
        }
        let given = preprocess.clone().check()?.output_shape();
        for (axis, dim, given) in [("rows", height, given.map(|s| s[1])), ("columns", width, given.map(|s| s[2]))] {
            if let Some(needed) = fixed(dim).filter(|needed| given != Some(*needed)) {
                let given = given.map_or("images of different sizes".to_owned(), |given| format!("{given} {axis}"));
                return Err(
                    self.unsuitable(&input, format!("it takes {needed} {axis}, the preprocessing gives {given}"))
                );
            }
        }
        let fixed_batch = fixed(batch);
        if layout == Layout::Nchw {
            return Ok((input.name, fixed_batch));
        }
        let name = free_name(model, &format!("{}_nchw", input.name));
        let shape = [batch, channel, height, width].map(Clone::clone).to_vec();
        let transpose = Node::new("Transpose", &[&name], &[&input.name]).with("perm", vec![0i64, 2, 3, 1]);
        model.graph.nodes.insert(0, transpose);
        model.graph.inputs.retain(|other| other.name != input.name);
        model.graph.inputs.insert(0, ValueInfo::new(&name, Type::tensor(DType::F32, Some(shape))));
        Ok((name, fixed_batch))
    }

    /// The output with one vector per image; all others are dropped.
    fn embedding_output(&self, model: &mut Model, options: &ModelOptions, sidecar: &Sidecar) -> Result<Output> {
        let wanted = options.output.as_ref().or(sidecar.output.as_ref());
        let output = self.choose("output", &model.graph.outputs, wanted)?;
        let (dtype, shape) = self.tensor(&output)?;
        if dtype != Some(DType::F32) {
            return Err(self.unsuitable(&output, format!("it gives {} and not f32", self.type_text(&output))));
        }
        let pool = options.pool.or(sidecar.pool);
        let width = |axis: usize| {
            fixed(&shape[axis]).ok_or_else(|| {
                self.unsuitable(&output, format!("it is {}: the number of features is open", shape_text(&shape)))
            })
        };
        let unpooled = |choices: &str| {
            let reason = format!("it is {}, several vectors per image: choose `--pool {choices}`", shape_text(&shape));
            self.unsuitable(&output, reason)
        };
        let value = output.name.as_str();
        let (nodes, width) = match (shape.len(), pool) {
            (2, _) => (Vec::new(), width(1)?),
            (3, Some(Pool::Cls)) => {
                let index = constant(model, &HostTensor::scalar(0i64));
                (vec![Node::new("Gather", &[value, &index], &[]).with("axis", 1)], width(2)?)
            }
            (3, Some(Pool::Mean)) => {
                // The axes are an input since operator set 18.
                let node = if model.opset("").is_some_and(|version| version >= 18) {
                    let axes = constant(model, &HostTensor::vector(vec![1i64]));
                    Node::new("ReduceMean", &[value, &axes], &[])
                } else {
                    Node::new("ReduceMean", &[value], &[]).with("axes", vec![1i64])
                };
                (vec![node.with("keepdims", 0)], width(2)?)
            }
            (3, None) => return Err(unpooled("cls` or `--pool mean")),
            (4, pool) => {
                let is_vector = shape[2..].iter().all(|dim| fixed(dim) == Some(1));
                if !is_vector && pool != Some(Pool::Mean) {
                    return Err(unpooled("mean"));
                }
                let pooled = Node::new("GlobalAveragePool", &[value], &[]);
                (vec![pooled, Node::new("Flatten", &[], &[]).with("axis", 1)], width(1)?)
            }
            _ => return Err(self.unsuitable(&output, format!("it is {}, no vector per image", shape_text(&shape)))),
        };
        let mut last = output.name.clone();
        for mut node in nodes {
            let name = free_name(model, &format!("{}_{}", output.name, node.operator.to_lowercase()));
            if node.inputs.is_empty() {
                node.inputs.push(last);
            }
            node.outputs.push(name.clone());
            model.graph.nodes.push(node);
            last = name;
        }
        let shape = vec![shape[0].clone(), Dim::Fixed(width as i64)];
        model.graph.outputs = vec![ValueInfo::new(&last, Type::tensor(DType::F32, Some(shape)))];
        Ok(Output { name: last, width })
    }

    /// The value of that name, or the only one.
    fn choose(&self, direction: &'static str, values: &[ValueInfo], wanted: Option<&String>) -> Result<ValueInfo> {
        let known = || values.iter().map(|value| format!("{} {}", value.name, self.type_text(value))).collect();
        match (wanted, values) {
            (Some(wanted), _) => values.iter().find(|value| value.name == *wanted).cloned().ok_or_else(|| {
                let nearest = names::nearest(wanted, values.iter().map(|value| value.name.as_str()));
                let nearest = nearest.into_iter().map(str::to_owned).collect();
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
    fn tensor(&self, value: &ValueInfo) -> Result<(Option<DType>, Vec<Dim>)> {
        match value.r#type.as_ref().and_then(|r#type| r#type.kind.as_ref()) {
            Some(TypeKind::Tensor(tensor)) => match &tensor.shape {
                Some(shape) => Ok((tensor.element.dtype(), shape.clone())),
                None => Err(self.unsuitable(value, "the file does not tell its shape".to_owned())),
            },
            _ => Err(self.unsuitable(value, "it is no tensor".to_owned())),
        }
    }

    fn type_text(&self, value: &ValueInfo) -> String {
        value.r#type.as_ref().map_or_else(|| "of unknown type".to_owned(), ToString::to_string)
    }

    fn unsuitable(&self, value: &ValueInfo, reason: String) -> crate::error::Error {
        ModelError::Unsuitable { path: self.path.to_path_buf(), value: value.name.clone(), reason }.into()
    }
}

/// The size of an axis that is the same for all inputs.
fn fixed(dim: &Dim) -> Option<usize> {
    match dim {
        Dim::Fixed(size) => usize::try_from(*size).ok().filter(|size| *size > 0),
        _ => None,
    }
}

/// Adds a constant under a free name.
fn constant(model: &mut Model, tensor: &HostTensor) -> String {
    let name = free_name(model, "pool_constant");
    model.graph.initializers.push(Tensor::new(&name, tensor));
    name
}

/// `name`, or `name_1` and so on where it is taken.
fn free_name(model: &Model, name: &str) -> String {
    let taken: std::collections::HashSet<&str> = model.graph.value_names().into_iter().collect();
    let numbered = std::iter::once(name.to_owned()).chain((1..).map(|number| format!("{name}_{number}")));
    numbered.into_iter().find(|candidate| !taken.contains(candidate.as_str())).unwrap_or_else(|| name.to_owned())
}
