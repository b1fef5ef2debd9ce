//! A user's ONNX file as a backbone: its input and output found by inspection, its preprocessing
//! read from beside it.
//!
//! Nothing is guessed: where the file leaves a choice, the error lists the candidates and names the
//! option that decides. Images go in as f32, [N, C, H, W] or [N, H, W, C] (then a transpose is put
//! in front); one vector per image comes out, [N, D], from an output of that shape or by pooling
//! tokens [N, T, D] or a feature map [N, C, H, W]. Taps are further outputs, or inner values, of
//! the same kinds.

use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::backbones::build::{CHANGES_PROPERTY, CHANGES_SEPARATOR, EMBEDDING, PREPROCESS_PROPERTY};
use crate::backbones::pool::{Pooling, Source, TAPS_PROPERTY, note_taps, vector_info};
use crate::backbones::sidecar::{Layout, Sidecar};
use crate::backbones::{Axes, Backbone, ModelOptions, Output, Pool, Provenance, Taps, hf_processor, sidecar};
use crate::error::{FileError, ModelError, Result};
use crate::graph::rewrite::{UniqueNames, transpose_input};
use crate::graph::{Dim, Model, TensorData, TypeKind, ValueInfo, infer, shape_text, validate};
use crate::preprocess::Preprocess;
use crate::support::{fs, mapped, names};
use crate::tensor::DType;

/// Opens a user's file.
pub(super) fn open(path: &Path, options: &ModelOptions) -> Result<Backbone> {
    for (given, option) in [
        (options.weights.is_some(), "--weights"),
        (options.random_weights.is_some(), "--random-weights"),
        (options.size.is_some(), "--size"),
        (options.channels.is_some(), "--channels"),
        (options.channel_rule.is_some(), "--channel-rule"),
        (options.keep_blocks.is_some(), "--keep-blocks"),
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
    let (embedding, taps) = file.outputs(&mut model, options, &sidecar)?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let random = model.property("defrost.weights").is_some_and(|weights| weights.starts_with("random weights"));
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
    } else if let Some(config) = Some(path.with_file_name(hf_processor::FILE)).filter(|config| config.is_file()) {
        hf_processor::parse(&config, &fs::read_text(&config)?)?
    } else if let Some(text) = model.property(PREPROCESS_PROPERTY) {
        serde_json::from_str(text).map_err(|source| External { path }.unreadable(PREPROCESS_PROPERTY, source))?
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
                mapped::update(&mut hasher, bytes);
            }
        }
        Ok(fs::hexadecimal(&hasher.finalize()))
    }

    /// The name of the input for images, brought to [N, C, H, W], and its batch where that is
    /// fixed.
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
        let name = UniqueNames::of(&model.graph).take(&format!("{}_nchw", input.name));
        let shape = [batch, channel, height, width].map(Clone::clone).to_vec();
        transpose_input(model, &input.name, &name, &[0, 2, 3, 1], shape).apply(model)?;
        Ok((name, fixed_batch))
    }

    /// Embedding and taps as the outputs of the model; all others are dropped.
    fn outputs(&self, model: &mut Model, options: &ModelOptions, sidecar: &Sidecar) -> Result<(Output, Vec<Output>)> {
        let mut pooling = Pooling::new(model);
        let (embedding, [source, info]) = self.embedding_output(model, &mut pooling, (options, sidecar))?;
        let (taps, infos): (Vec<Output>, Vec<ValueInfo>) =
            self.taps(model, (&options.taps, &source.name), sidecar)?.into_iter().unzip();
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
        (options, sidecar): (&ModelOptions, &Sidecar),
    ) -> Result<(Output, [ValueInfo; 2])> {
        // A file written here calls its embedding so, whatever else it gives.
        let own = Some(EMBEDDING.to_owned()).filter(|_| model.property("defrost.model").is_some());
        let wanted = options.output.as_ref().or(sidecar.output.as_ref()).or(own.as_ref());
        let output = self.choose("output", &model.graph.outputs, wanted)?;
        let (dtype, shape) = self.tensor(&output)?;
        if dtype != Some(DType::F32) {
            return Err(self.unsuitable(&output, format!("it gives {} and not f32", self.type_text(&output))));
        }
        let axes = self.axes(model, sidecar, (&output, &shape))?;
        let channel = if axes == Axes::ChannelsFirst || axes == Axes::Vector { 1 } else { shape.len() - 1 };
        if fixed(&shape[channel]).is_none() {
            let reason = format!("it is {}: the number of features is open", shape_text(&shape));
            return Err(self.unsuitable(&output, reason));
        }
        let is_vector = axes == Axes::ChannelsFirst && shape[2..].iter().all(|dim| fixed(dim) == Some(1));
        let how = match (axes, options.pool.or(sidecar.pool)) {
            (Axes::Vector, _) => None,
            (_, None) if is_vector => Some(Pool::Mean),
            (_, Some(how)) => Some(how),
            (_, None) => {
                let choices = match axes {
                    Axes::ChannelsFirst | Axes::ChannelsLast => "mean",
                    _ => "cls` or `--pool mean",
                };
                let several = format!("it is {}, several vectors per image", shape_text(&shape));
                return Err(self.unsuitable(&output, format!("{several}: choose `--pool {choices}`")));
            }
        };
        let source = Source { name: &output.name, axes, shape: &shape };
        let (name, width) = pooling.add(&source, how.unwrap_or(Pool::Mean), None)?;
        let info = vector_info(&name, shape.first(), width);
        Ok((Output::embedding(&name, width, how), [output, info]))
    }

    /// Further outputs, or inner values: those named, or all other outputs of the file.
    fn taps(
        &self,
        model: &Model,
        (taps, source): (&Taps, &str),
        sidecar: &Sidecar,
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
        let facts = infer(model)?.facts;
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
            if dtype != Some(DType::F32) {
                return Err(self.unsuitable(&info, format!("it gives {} and not f32", self.type_text(&info))));
            }
            let axes = self.axes(model, sidecar, (&info, &shape))?;
            let channel = if axes == Axes::ChannelsFirst || axes == Axes::Vector { 1 } else { shape.len() - 1 };
            let width = fixed(&shape[channel]).ok_or_else(|| {
                self.unsuitable(&info, format!("it is {}: the number of features is open", shape_text(&shape)))
            })?;
            found.push((Output { name: name.to_owned(), tap: name.to_owned(), width, axes, pool: None }, info));
        }
        Ok(found)
    }

    /// What a file written here says about its taps.
    fn noted_taps(&self, model: &Model) -> Result<Vec<Output>> {
        let Some(text) = model.property(TAPS_PROPERTY) else { return Ok(Vec::new()) };
        serde_json::from_str(text).map_err(|source| self.unreadable("defrost.taps", source))
    }

    /// How the features of a value lie: as the file or its description says, else as the number of
    /// axes tells.
    fn axes(&self, model: &Model, sidecar: &Sidecar, (value, shape): (&ValueInfo, &[Dim])) -> Result<Axes> {
        if let Some(noted) = self.noted_taps(model)?.into_iter().find(|tap| tap.name == value.name) {
            return Ok(noted.axes);
        }
        match shape.len() {
            2 => Ok(Axes::Vector),
            3 | 4 if model.property("defrost.model").is_some() => {
                let reason = "the file does not tell how its features lie: build it again with `--taps`".to_owned();
                Err(self.unsuitable(value, reason))
            }
            3 => Ok(match sidecar.prefix {
                Some(prefix) => Axes::Tokens { class: prefix > 0, prefix },
                None => Axes::Sequence,
            }),
            4 => Ok(Axes::ChannelsFirst),
            _ => Err(self.unsuitable(value, format!("it is {}, no vector per image", shape_text(shape)))),
        }
    }

    fn unknown_tap(&self, model: &Model, name: &str) -> crate::error::Error {
        let known: Vec<String> = model.graph.outputs.iter().map(|output| output.name.clone()).collect();
        let nearest = names::nearest(name, model.graph.value_names()).into_iter().map(str::to_owned).collect();
        ModelError::UnknownTap { model: self.path.display().to_string(), name: name.to_owned(), nearest, known }.into()
    }

    fn unreadable(&self, property: &str, source: serde_json::Error) -> crate::error::Error {
        let format = match property {
            TAPS_PROPERTY => "backbone: its property `defrost.taps` lists no taps",
            _ => "backbone: its property `defrost.preprocess` is no preprocessing",
        };
        FileError::Parse { path: self.path.to_path_buf(), format, source: Box::new(source) }.into()
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
