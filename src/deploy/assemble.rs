//! The graph of a classifier: preprocessing, network and head one behind the other, and what the
//! file says about itself.

use crate::deploy::head::{FEATURES, LABEL, PROBABILITIES};
use crate::deploy::source::{ExportedNetwork, Source};
use crate::error::{DeployError, Result};
use crate::graph::{Builder, Dim, ElementType, Model, Type, ValueInfo, rewrite};
use crate::tensor::DType;

/// Name of a classifier's input, u8 [N, H, W, 3].
pub const IMAGES: &str = "images";
/// What the preprocessing gives to the network.
const PIXELS: &str = "pixels";
/// Input and output of a network that is given one image.
const IMAGE: &str = "image";
const FIRST: &str = "first";
/// The oldest operator set in which the nodes added here mean what they should.
const OLDEST_OPSET: i64 = 13;
/// The oldest operator set that a builder writes; what it writes here means the same down to
/// [`OLDEST_OPSET`].
const WRITTEN_OPSET: i64 = 17;

impl Source {
    /// The classifier as a model, its card among its metadata.
    ///
    /// # Errors
    /// `GraphError` where the network's operator set is too old and cannot be lifted,
    /// `PixelError::NotInGraph` for preprocessing that is no part of graphs.
    pub fn assemble(&self) -> Result<Model> {
        let lifted;
        let mut body = &self.body;
        if body.model.opset("").unwrap_or(0) < OLDEST_OPSET {
            lifted = ExportedNetwork { model: rewrite::lift(body.model.clone())?, ..body.clone() };
            body = &lifted;
        }
        let opset = body.model.opset("").unwrap_or(0);
        let batch = body.fixed_batch.map_or(Dim::symbol("batch"), Dim::from);
        let mut b = Builder::with_opset("classifier", opset.max(WRITTEN_OPSET));
        let shape = [batch.clone(), Dim::symbol("height"), Dim::symbol("width"), Dim::Fixed(3)];
        let images = b.input(IMAGES, DType::U8, &shape);
        let pixels = b.scope("preprocess", |b| self.preprocess.add_to(b, &images))?;
        b.output(PIXELS, &pixels);
        let front = with_opset(b.finish()?, opset);
        let head = with_opset(self.head.model(opset.max(WRITTEN_OPSET), body.width, &self.card)?, opset);

        let network = rewrite::chain(&front, PIXELS, &body.model, &body.input)?;
        let features = body.output_behind(&front, &network);
        let mut model = rewrite::chain(&network, &features, &head, FEATURES)?;
        let classes = Dim::from(self.card.classes.len());
        let label = match self.card.decides_one_by_one() {
            true => vec![batch.clone(), classes.clone()],
            false => vec![batch.clone()],
        };
        // Sizes between the parts were said by each for itself.
        let outputs = vec![
            ValueInfo::new(PROBABILITIES, Type::tensor(DType::F32, Some(vec![batch, classes]))),
            ValueInfo::new(LABEL, Type::tensor(ElementType::I64, Some(label))),
        ];
        rewrite::declare_outputs(outputs).apply(&mut model)?;
        rewrite::dead(&model).apply(&mut model)?;
        let mut model = rewrite::slice_pushdown(model)?;
        model.doc = format!(
            "images uint8 [N, H, W, 3] (RGB) of any size in; probabilities float32 [N, {}] and label int64 out",
            self.card.classes.len()
        );
        model.metadata = self.card.properties();
        Ok(model)
    }
}

impl ExportedNetwork {
    /// The network for one image at a time: one that takes several at once, and no other number, is
    /// given the image as often, and its first row counts.
    ///
    /// # Errors
    /// [`DeployError::Inexpressible`] where the input has no known shape; what joining graphs gives.
    pub(super) fn for_one_image(self) -> Result<Self> {
        let Some(count) = self.fixed_batch.filter(|&count| count > 1) else { return Ok(self) };
        let opset = self.model.opset("").unwrap_or(0);
        let input = self.model.graph.inputs.iter().find(|input| input.name == self.input);
        let Some([_, rest @ ..]) = input.and_then(|input| input.tensor_type()?.shape.as_deref()) else {
            let reason = "the shape of its input is not known".to_owned();
            return Err(DeployError::Inexpressible { what: "the network", reason }.into());
        };
        let shape = [&[Dim::Fixed(1)], rest].concat();
        let repeats = [vec![count as i64], vec![1; rest.len()]].concat();
        let mut b = Builder::with_opset("repeat", opset.max(WRITTEN_OPSET));
        let image = b.input(IMAGE, DType::F32, &shape);
        let repeats = b.integers(&repeats);
        let repeated = b.apply("Tile", &[&image, &repeats]);
        b.output(PIXELS, &repeated);
        let front = with_opset(b.finish()?, opset);
        let mut b = Builder::with_opset("first", opset.max(WRITTEN_OPSET));
        let rows = b.input(FEATURES, DType::F32, &[Dim::from(count), Dim::from(self.width)]);
        let row = b.narrow(&rows, 0, 0..1);
        b.output(FIRST, &row);
        let back = with_opset(b.finish()?, opset);

        let network = rewrite::chain(&front, PIXELS, &self.model, &self.input)?;
        let features = self.output_behind(&front, &network);
        let mut model = rewrite::chain(&network, &features, &back, FEATURES)?;
        // Another name where the network has this one.
        let output = model.graph.outputs.pop().map_or_else(|| FIRST.to_owned(), |output| output.name);
        let info = ValueInfo::new(&output, Type::tensor(DType::F32, Some(vec![Dim::Fixed(1), Dim::from(self.width)])));
        rewrite::declare_outputs(vec![info]).apply(&mut model)?;
        model.metadata = self.model.metadata;
        let input = model.graph.required_inputs().next().map_or(IMAGE.to_owned(), |input| input.name.clone());
        Ok(ExportedNetwork { model, input, output, fixed_batch: Some(1), width: self.width })
    }

    /// The name of the output in `joined`, the network behind `front`: another one where `front` has
    /// it, too, but in its place behind the outputs of `front`.
    fn output_behind(&self, front: &Model, joined: &Model) -> String {
        let place = self.model.graph.outputs.iter().position(|output| output.name == self.output);
        let output = place.and_then(|place| joined.graph.outputs.get(front.graph.outputs.len() + place));
        output.map_or(self.output.clone(), |output| output.name.clone())
    }
}

/// The model under another operator set, in which its nodes mean the same.
fn with_opset(mut model: Model, opset: i64) -> Model {
    for imported in &mut model.opset_imports {
        imported.version = opset;
    }
    model
}
