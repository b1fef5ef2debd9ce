//! A user's ONNX file as a backbone: its input and output found by inspection, its preprocessing
//! read from beside it.
//!
//! Nothing is guessed: where the file leaves a choice, the error lists the candidates and names the
//! option that decides. Images go in as f32, [N, C, H, W] or [N, H, W, C] (then a transpose is put
//! in front); one vector per image comes out, [N, D], from an output of that shape or by pooling
//! tokens [N, T, D] or a feature map [N, C, H, W]. Taps are further outputs, or inner values, of
//! the same kinds.

use std::collections::HashMap;
use std::path::Path;

use crate::backbones::build::{CHANGES_PROPERTY, CHANGES_SEPARATOR, PREPROCESS_PROPERTY};
use crate::backbones::options::{ModelOptions, Pool, Taps};
use crate::backbones::pool::{Pooling, Source, TAPS_PROPERTY, note_taps, vector_info};
use crate::backbones::zoo::external::{External, fixed};
use crate::backbones::zoo::hf_processor::ConfigFile;
use crate::backbones::zoo::onnx_input::{Described, ImageInput};
use crate::backbones::zoo::sidecar::Sidecar;
use crate::backbones::zoo::{hf_processor, run_folder, sidecar};
use crate::backbones::{Axes, Backbone, EMBEDDING, Output, Provenance};
use crate::error::{ModelError, Result};
use crate::graph::{
    Dim, ElementType, Fact, Model, TensorType, Type, TypeKind, ValueInfo, infer, inline_functions, shape_text, validate,
};
use crate::preprocess::Preprocess;
use crate::runtime::{Device, ModelSource, Runtime, Session, SessionOptions};
use crate::support::names;
use crate::support::progress::Silent;
use crate::tensor::{DType, HostTensor};

/// Opens a user's file.
pub(crate) fn open(path: &Path, options: &ModelOptions) -> Result<Backbone> {
    for (given, option) in [
        (options.weights.is_some(), "weights"),
        (options.random_weights.is_some(), "random-weights"),
        (options.size.is_some(), "size"),
        (options.channels.is_some(), "channels"),
        (options.channel_rule.is_some(), "channel-rule"),
        (options.keep_blocks.is_some(), "keep-blocks"),
    ] {
        if given {
            let reason = "it applies to models of the catalog, not to an ONNX file".to_owned();
            return Err(ModelError::Misplaced { option, reason }.into());
        }
    }
    let model = Model::load(path)?;
    validate(&model)?;
    let mut model = inline_functions(model)?;
    let sidecar = sidecar::beside(path)?;
    let preprocess = preprocess(path, options, &sidecar, &model)?;
    let file = External { path };
    let weights_sha256 = file.digest(&model)?;
    let described = Described { path, options, sidecar: &sidecar, preprocess: &preprocess };
    let ImageInput { name: input, fixed_batch } = described.image_input(&mut model)?;
    let images = preprocess.clone().check()?.output_shape();
    let probe = images.map(|[channels, height, width]| {
        HostTensor::from_fn(&[fixed_batch.unwrap_or(1), channels, height, width], |_| 0f32)
    });
    let file = Outputs { file, model: &model.clone(), input: &input, probe, facts: infer(&model)?.facts };
    let (embedding, taps) = file.outputs(&mut model, options, &sidecar)?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let random = model.property("defrost.weights").is_some_and(run_folder::are_random);
    let licence = sidecar.licence.or_else(|| model.property("defrost.licence").map(str::to_owned));
    let changes = model.property(CHANGES_PROPERTY).unwrap_or_default();
    let changes = changes.split(CHANGES_SEPARATOR).filter(|change| !change.is_empty()).map(str::to_owned).collect();
    let (family, weights) = ("onnx".to_owned(), name.clone());
    let provenance = Provenance { family, weights, weights_sha256, licence, random, changes };
    let parameters = parameters(&model);
    let mut backbone =
        Backbone { name, graph: model, input, embedding, taps, parameters, fixed_batch, preprocess, provenance };
    if options.pool.or(sidecar.pool).is_some() {
        backbone.pool_taps(options.pool.or(sidecar.pool))?;
    }
    Ok(backbone)
}

/// The initializers that are weights: those of floating-point numbers with more than one element.
/// Files written here call the constants of an architecture `constant`.
fn parameters(model: &Model) -> Vec<String> {
    let own = model.property("defrost.model").is_some();
    let is_constant = |name: &str| {
        let last = name.rsplit('.').next().unwrap_or(name);
        own && last.strip_prefix("constant").is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    };
    let weights = model.graph.initializers.iter().filter(|tensor| {
        tensor.element.is_float() && tensor.elements().is_some_and(|count| count > 1) && !is_constant(&tensor.name)
    });
    weights.map(|tensor| tensor.name.clone()).collect()
}

/// The preprocessing: as the user says, from beside the file, or from the file's own properties.
fn preprocess(path: &Path, options: &ModelOptions, sidecar: &Sidecar, model: &Model) -> Result<Preprocess> {
    let specification = if let Some(file) = &options.preprocess {
        sidecar::preprocess(file)?
    } else if let Some(specification) = &sidecar.preprocess {
        specification.clone()
    } else if let Some(ConfigFile { path, text }) = hf_processor::beside(path)? {
        hf_processor::parse(&path, &text)?
    } else if let Some(text) = model.property(PREPROCESS_PROPERTY) {
        serde_json::from_str(text).map_err(|source| External { path }.unreadable(PREPROCESS_PROPERTY, source))?
    } else {
        return Err(ModelError::NoPreprocess { path: path.to_path_buf() }.into());
    };
    specification.clone().check()?;
    Ok(specification)
}

/// Finds out what a user's file gives.
struct Outputs<'a> {
    file: External<'a>,
    model: &'a Model,
    /// The input for images.
    input: &'a str,
    /// Black images that a run shows the sizes of outputs with, where their size is known.
    probe: Option<HostTensor>,
    facts: HashMap<String, Fact>,
}

impl Outputs<'_> {
    /// Element type and shape of a value: as the file tells them, else as inference finds them,
    /// else as one run shows them.
    fn tensor(&self, value: &ValueInfo) -> Result<(Option<DType>, Vec<Dim>)> {
        let kind = value.r#type.as_ref().and_then(|known| known.kind.as_ref());
        if kind.is_some_and(|kind| !matches!(kind, TypeKind::Tensor(_))) {
            return self.file.tensor(value);
        }
        let is_closed = |shape: &[Dim]| !shape.is_empty() && shape[1..].iter().all(|dim| fixed(dim).is_some());
        let declared = value.tensor_type();
        if let Some(TensorType { element, shape: Some(shape), .. }) = declared
            && (is_closed(shape) || element.dtype().is_none())
        {
            return Ok((element.dtype(), shape.clone()));
        }
        let inferred = self.facts.get(&value.name).filter(|fact| fact.element.dtype().is_some());
        if let Some(Fact { element, shape: Some(shape), .. }) = inferred
            && is_closed(shape)
        {
            return Ok((element.dtype(), shape.clone()));
        }
        let known = declared.and_then(|known| known.shape.clone()).or_else(|| inferred?.shape.clone());
        // A feature map or tokens of open size have their channels all the same.
        let has_channels = |shape: &[Dim]| match shape {
            [_, channels, _, _] | [_, _, channels] => fixed(channels).is_some(),
            _ => false,
        };
        match (&self.probe, known) {
            (Some(images), known) if !known.as_deref().is_some_and(has_channels) => {
                self.measured(&value.name, images, known.as_deref())
            }
            (_, Some(shape)) => {
                let element = declared.map(|known| known.element).or_else(|| Some(inferred?.element));
                Ok((element.and_then(ElementType::dtype), shape))
            }
            (_, None) => self.file.tensor(value),
        }
    }

    /// Element type and shape of what one run gives; the first axis stays as it is known.
    fn measured(&self, name: &str, images: &HostTensor, known: Option<&[Dim]>) -> Result<(Option<DType>, Vec<Dim>)> {
        let mut model = self.model.clone();
        model.graph.outputs = vec![ValueInfo::untyped(name)];
        let runtime = Runtime::ensure(None, &Silent)?;
        let options = SessionOptions { device: Device::Cpu, ..SessionOptions::default() };
        let mut session = Session::open(&runtime, ModelSource::Detached(&model.detach()?), &options)?;
        let results = session.run(&[(self.input, images)], &[name])?;
        let Some(result) = results.first() else { return self.file.tensor(&ValueInfo::untyped(name)) };
        let mut shape: Vec<Dim> = result.shape().iter().map(|&size| Dim::from(size)).collect();
        if let Some(first) = shape.first_mut() {
            *first = known.and_then(|known| known.first().cloned()).unwrap_or(Dim::Unknown);
        }
        Ok((Some(result.dtype()), shape))
    }

    /// Embedding and taps as the outputs of the model; all others are dropped.
    fn outputs(&self, model: &mut Model, options: &ModelOptions, sidecar: &Sidecar) -> Result<(Output, Vec<Output>)> {
        let mut pooling = Pooling::new(model);
        let (embedding, [source, info]) = self.embedding_output(model, &mut pooling, options, sidecar)?;
        let (taps, infos): (Vec<Output>, Vec<ValueInfo>) =
            self.taps(model, &options.taps, &source.name, sidecar, &mut pooling)?.into_iter().unzip();
        pooling.patch.outputs = Some([info].into_iter().chain(infos).collect());
        pooling.patch.apply(model)?;
        if !taps.is_empty() {
            note_taps(model, &taps)?;
        }
        Ok((embedding, taps))
    }

    /// The output with one vector per image, pooled where it has several; with it, the output of
    /// the file and the new one.
    fn embedding_output(
        &self,
        model: &Model,
        pooling: &mut Pooling,
        options: &ModelOptions,
        sidecar: &Sidecar,
    ) -> Result<(Output, [ValueInfo; 2])> {
        // A file written here calls its embedding so, whatever else it gives.
        let own = Some(EMBEDDING.to_owned()).filter(|_| model.property("defrost.model").is_some());
        let wanted = options.output.as_ref().or(sidecar.output.as_ref()).or(own.as_ref());
        let output = self.file.choose("output", &model.graph.outputs, wanted)?;
        let (dtype, shape) = self.tensor(&output)?;
        let Some(dtype) = dtype.filter(|dtype| dtype.is_float()) else {
            let reason = format!("it gives {} and no floating-point numbers", self.file.type_text(&output));
            return Err(self.file.unsuitable(&output, reason));
        };
        let axes = self.axes(model, sidecar, &output, &shape)?;
        let channel = if axes == Axes::ChannelsFirst || axes == Axes::Vector { 1 } else { shape.len() - 1 };
        if fixed(&shape[channel]).is_none() {
            let reason = format!("it is {}: the number of features is open", shape_text(&shape));
            return Err(self.file.unsuitable(&output, reason));
        }
        let is_vector = axes == Axes::ChannelsFirst && shape[2..].iter().all(|dim| fixed(dim) == Some(1));
        let how = match (axes, options.pool.or(sidecar.pool)) {
            (Axes::Vector, _) => None,
            (_, None) if is_vector => Some(Pool::Mean),
            (_, Some(how)) => Some(how),
            (_, None) => {
                let choices = match axes {
                    Axes::ChannelsFirst | Axes::ChannelsLast => "mean",
                    _ => "cls` or `mean",
                };
                let several = format!("it is {}, several vectors per image", shape_text(&shape));
                return Err(self.file.unsuitable(&output, format!("{several}: choose `pool`: `{choices}`")));
            }
        };
        let single = if dtype == DType::F32 { output.name.clone() } else { pooling.cast_to_f32(&output.name) };
        let source = Source { name: &single, axes, shape: &shape };
        let (name, width) = pooling.add(&source, how.unwrap_or(Pool::Mean), None)?;
        let info = vector_info(&name, shape.first(), width);
        Ok((Output::embedding(&name, width, how), [output, info]))
    }

    /// Further outputs, or inner values: those named, or all other outputs of the file.
    #[expect(clippy::too_many_arguments, reason = "five beside the receiver")]
    fn taps(
        &self,
        model: &Model,
        taps: &Taps,
        source: &str,
        sidecar: &Sidecar,
        pooling: &mut Pooling,
    ) -> Result<Vec<(Output, ValueInfo)>> {
        let noted = self.noted_taps(model)?;
        let names: Vec<&str> = match taps {
            Taps::None => return Ok(Vec::new()),
            Taps::All => {
                let others = model.graph.outputs.iter().filter(|output| output.name != source);
                others.map(|output| output.name.as_str()).collect()
            }
            Taps::Names(names) => names.iter().map(String::as_str).collect(),
        };
        let facts = &self.facts;
        let mut found = Vec::new();
        for name in names {
            if let Some(tap) = noted.iter().find(|tap| tap.tap == name || tap.name == name) {
                let info = model.graph.outputs.iter().find(|output| output.name == tap.name);
                found.push((tap.clone(), info.cloned().ok_or_else(|| self.unknown_tap(model, name))?));
                continue;
            }
            let fact = facts.get(name).ok_or_else(|| self.unknown_tap(model, name))?;
            let info = ValueInfo { r#type: fact.to_type(), ..ValueInfo::untyped(name) };
            let (dtype, shape) = self.tensor(&info)?;
            let Some(dtype) = dtype.filter(|dtype| dtype.is_float()) else {
                let reason = format!("it gives {} and no floating-point numbers", self.file.type_text(&info));
                return Err(self.file.unsuitable(&info, reason));
            };
            let axes = self.axes(model, sidecar, &info, &shape)?;
            let channel = if axes == Axes::ChannelsFirst || axes == Axes::Vector { 1 } else { shape.len() - 1 };
            let width = fixed(&shape[channel]).ok_or_else(|| {
                self.file.unsuitable(&info, format!("it is {}: the number of features is open", shape_text(&shape)))
            })?;
            let single = if dtype == DType::F32 { name.to_owned() } else { pooling.cast_to_f32(name) };
            let info = ValueInfo::new(&single, Type::tensor(DType::F32, Some(shape)));
            found.push((Output { name: single, tap: name.to_owned(), width, axes, pool: None }, info));
        }
        Ok(found)
    }

    /// What a file written here says about its taps.
    fn noted_taps(&self, model: &Model) -> Result<Vec<Output>> {
        let Some(text) = model.property(TAPS_PROPERTY) else { return Ok(Vec::new()) };
        serde_json::from_str(text).map_err(|source| self.file.unreadable("defrost.taps", source))
    }

    /// How the features of a value lie: as the file or its description says, else as the number of
    /// axes tells.
    fn axes(&self, model: &Model, sidecar: &Sidecar, value: &ValueInfo, shape: &[Dim]) -> Result<Axes> {
        if let Some(noted) = self.noted_taps(model)?.into_iter().find(|tap| tap.name == value.name) {
            return Ok(noted.axes);
        }
        match shape.len() {
            2 => Ok(Axes::Vector),
            3 | 4 if model.property("defrost.model").is_some() => {
                let reason = "the file does not tell how its features lie: build it again with `taps`".to_owned();
                Err(self.file.unsuitable(value, reason))
            }
            3 => Ok(match sidecar.prefix {
                Some(prefix) => Axes::Tokens { class: prefix > 0, prefix },
                None => Axes::Sequence,
            }),
            4 => Ok(Axes::ChannelsFirst),
            _ => Err(self.file.unsuitable(value, format!("it is {}, no vector per image", shape_text(shape)))),
        }
    }

    fn unknown_tap(&self, model: &Model, name: &str) -> crate::error::Error {
        let known: Vec<String> = model.graph.outputs.iter().map(|output| output.name.clone()).collect();
        let nearest = names::nearest(name, model.graph.value_names());
        ModelError::UnknownTap { model: self.file.path.display().to_string(), name: name.to_owned(), nearest, known }
            .into()
    }
}
