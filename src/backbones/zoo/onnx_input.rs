//! The image input of a user's ONNX file, brought to f32 `[N, C, H, W]`.
//!
//! - Inputs that the chosen outputs do not need are cut away.
//! - `[N, H, W, C]` gets a transpose in front; f16, bf16 and f64 get a cast.
//! - u8 takes pixels as they are, 0 to 255: the preprocessing has to leave them unnormalised (mean
//!   0, deviation 1, or 1 / 255), and they are rounded in front of the network.

use std::path::Path;

use crate::backbones::options::{ModelOptions, Taps};
use crate::backbones::zoo::external::{External, fixed};
use crate::backbones::zoo::sidecar::{Layout, Sidecar};
use crate::error::Result;
use crate::graph::rewrite::{UniqueNames, cut};
use crate::graph::{Dim, ElementType, Model, Node, Tensor, Type, ValueInfo, shape_text};
use crate::preprocess::Preprocess;
use crate::tensor::{DType, HostTensor};

/// Largest value of a pixel of 8 bits.
const LARGEST: f32 = 255.0;

/// The input for images.
pub(crate) struct ImageInput {
    /// Its name, `[N, C, H, W] f32`.
    pub(crate) name: String,
    /// The number of images that the network takes at once, where it takes no other.
    pub(crate) fixed_batch: Option<usize>,
}

/// What a user says about a file, and where it lies.
pub(crate) struct Described<'a> {
    pub(crate) path: &'a Path,
    pub(crate) options: &'a ModelOptions,
    pub(crate) sidecar: &'a Sidecar,
    pub(crate) preprocess: &'a Preprocess,
}

impl Described<'_> {
    fn file(&self) -> External<'_> {
        External { path: self.path }
    }

    /// Finds the input and brings it to the form that images have here.
    pub(crate) fn image_input(&self, model: &mut Model) -> Result<ImageInput> {
        self.keep_needed(model)?;
        let file = self.file();
        let inputs: Vec<ValueInfo> = model.graph.required_inputs().cloned().collect();
        let wanted = self.options.input.as_ref().or(self.sidecar.input.as_ref());
        let input = file.choose("input", &inputs, wanted)?;
        if let Some(other) = inputs.iter().find(|other| other.name != input.name) {
            return Err(file.unsuitable(&input, format!("the model needs `{}` too", other.name)));
        }
        let (dtype, shape) = file.tensor(&input)?;
        let Some(dtype) = dtype.filter(|dtype| dtype.is_float() || *dtype == DType::U8) else {
            return Err(file
                .unsuitable(&input, format!("it takes {} and not f32, f16, bf16, f64 or u8", file.type_text(&input))));
        };
        let [batch, second, third, last] = shape.as_slice() else {
            return Err(file.unsuitable(&input, format!("it is {} and not a batch of images", shape_text(&shape))));
        };
        let layout = self.layout(&input, &shape)?;
        let [channel, height, width] = match layout {
            Layout::Nchw => [second, third, last],
            Layout::Nhwc => [last, second, third],
        };
        self.check_size(&input, [channel, height, width])?;
        let fixed_batch = fixed(batch);
        let mut front = Front { model, nodes: Vec::new(), name: input.name.clone() };
        match dtype {
            DType::F32 => {}
            DType::U8 => front.add_pixels(self.pixel_factor(&input)?, &input.name),
            _ => front.add_cast(dtype, &input.name),
        }
        if layout == Layout::Nhwc {
            let node = Node::new("Transpose", &[], &[]).with("perm", vec![0i64, 2, 3, 1]);
            front.add(node, &format!("{}_nchw", input.name));
        }
        let shape = [batch, channel, height, width].map(Clone::clone).to_vec();
        Ok(ImageInput { name: front.finish(&input.name, shape), fixed_batch })
    }

    /// Cuts away what the chosen outputs do not need, where the model has several inputs.
    fn keep_needed(&self, model: &mut Model) -> Result<()> {
        if model.graph.required_inputs().count() < 2 {
            return Ok(());
        }
        let wanted = self.options.output.as_ref().or(self.sidecar.output.as_ref());
        let output = self.file().choose("output", &model.graph.outputs, wanted)?;
        let mut outputs = vec![output.name];
        let others: Vec<String> = match &self.options.taps {
            Taps::None => Vec::new(),
            Taps::All => model.graph.outputs.iter().map(|output| output.name.clone()).collect(),
            Taps::Names(names) => names.clone(),
        };
        let known = model.graph.value_names();
        // A tap that is none is told of later, with the nearest names.
        let others = others.into_iter().filter(|name| known.contains(&name.as_str()));
        for name in others {
            if !outputs.contains(&name) {
                outputs.push(name);
            }
        }
        cut(model, &[], &outputs)?.apply(model)
    }

    /// The order of the axes: as the description says, else as the number of channels tells.
    fn layout(&self, input: &ValueInfo, shape: &[Dim]) -> Result<Layout> {
        let is_channels = |dim: &Dim| matches!(fixed(dim), Some(1 | 3));
        let is_last = shape.last().is_some_and(is_channels);
        match (self.sidecar.layout, shape.get(1).is_some_and(is_channels), is_last) {
            (Some(layout), _, _) => Ok(layout),
            (None, true, false) => Ok(Layout::Nchw),
            (None, false, true) => Ok(Layout::Nhwc),
            (None, ..) => {
                let reason = format!(
                    "it is {}, which does not tell channels from rows: write `layout = \"nchw\"` (or \"nhwc\") into `{}`",
                    shape_text(shape),
                    self.path.with_extension("toml").display()
                );
                Err(self.file().unsuitable(input, reason))
            }
        }
    }

    /// Refuses a preprocessing that gives another size or number of channels.
    fn check_size(&self, input: &ValueInfo, [channel, height, width]: [&Dim; 3]) -> Result<()> {
        let channels = self.preprocess.channels.count();
        if let Some(found) = fixed(channel).filter(|found| *found != channels) {
            let reason = format!("it takes {found} channels, the preprocessing gives {channels}");
            return Err(self.file().unsuitable(input, reason));
        }
        let given = self.preprocess.clone().check()?.output_shape();
        for (axis, dim, given) in [("rows", height, given.map(|s| s[1])), ("columns", width, given.map(|s| s[2]))] {
            if let Some(needed) = fixed(dim).filter(|needed| given != Some(*needed)) {
                let given = given.map_or("images of different sizes".to_owned(), |given| format!("{given} {axis}"));
                let reason = format!("it takes {needed} {axis}, the preprocessing gives {given}");
                return Err(self.file().unsuitable(input, reason));
            }
        }
        Ok(())
    }

    /// What preprocessed values are multiplied by to be pixels from 0 to 255.
    fn pixel_factor(&self, input: &ValueInfo) -> Result<f32> {
        let is_all = |values: &[f32], number: f32| values.iter().all(|value| (value - number).abs() < 1e-6);
        let (mean, std) = (&self.preprocess.mean, &self.preprocess.std);
        match (is_all(mean, 0.0), is_all(std, 1.0), is_all(std, 1.0 / LARGEST)) {
            (true, true, _) => Ok(LARGEST),
            (true, _, true) => Ok(1.0),
            _ => {
                let reason = "it takes u8, pixels from 0 to 255 as they are, but the preprocessing normalises them: \
                              state mean 0 and std 1 for every channel";
                Err(self.file().unsuitable(input, reason.to_owned()))
            }
        }
    }
}

/// Nodes in front of an input, the first to run last.
struct Front<'a> {
    model: &'a mut Model,
    nodes: Vec<Node>,
    /// The value that the nodes so far read.
    name: String,
}

impl Front<'_> {
    /// Puts a node, its other inputs behind the first given already, in front.
    fn add(&mut self, mut node: Node, input: &str) {
        let taken = self.nodes.iter().flat_map(|node| &node.inputs).any(|name| name == input);
        let mut names = UniqueNames::of(&self.model.graph);
        let mut name = names.take(input);
        if taken {
            name = names.take(&format!("{input}_0"));
        }
        node.inputs.insert(0, name.clone());
        node.outputs = vec![self.name.clone()];
        self.nodes.push(node);
        self.name = name;
    }

    fn add_cast(&mut self, dtype: DType, input: &str) {
        let code = i64::from(ElementType::from(dtype).code());
        self.add(Node::new("Cast", &[], &[]).with("to", code), &format!("{input}_f32"));
    }

    /// `floor(x * factor + 1/2)` as u8.
    fn add_pixels(&mut self, factor: f32, input: &str) {
        let code = i64::from(ElementType::U8.code());
        self.add(Node::new("Cast", &[], &[]).with("to", code), &format!("{input}_whole"));
        self.add(Node::new("Floor", &[], &[]), &format!("{input}_shifted"));
        for (operator, number, name) in [("Add", 0.5f32, "scaled"), ("Mul", factor, "f32")] {
            let constant = UniqueNames::of(&self.model.graph).take(&format!("{input}_{}", operator.to_lowercase()));
            self.model.graph.initializers.push(Tensor::new(&constant, &HostTensor::scalar(number)));
            self.add(Node::new(operator, &[&constant], &[]), &format!("{input}_{name}"));
        }
    }

    /// Puts the nodes into the model, whose input `old` they take the place of; gives the new
    /// input's name.
    fn finish(self, old: &str, shape: Vec<Dim>) -> String {
        let Front { model, nodes, name } = self;
        if nodes.is_empty() {
            return name;
        }
        for node in nodes {
            model.graph.nodes.insert(0, node);
        }
        model.graph.inputs.retain(|other| other.name != old);
        model.graph.inputs.insert(0, ValueInfo::new(&name, Type::tensor(DType::F32, Some(shape))));
        name
    }
}
