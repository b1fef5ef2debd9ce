//! The graph of a classifier: preprocessing, network and head one behind the other, and what the
//! file says about itself.

use crate::deploy::Source;
use crate::deploy::head::{FEATURES, LABEL, PROBABILITIES};
use crate::error::{DeployError, GraphError, Result};
use crate::graph::{Builder, Dim, ElementType, KNOWN_OPSETS, Model, Type, ValueInfo, rewrite};
use crate::tensor::DType;

/// Name of a classifier's input, u8 [N, H, W, 3].
pub const IMAGES: &str = "images";
/// What the preprocessing gives to the network.
const PIXELS: &str = "pixels";
/// The oldest operator set in which the nodes added here mean what they should.
const OLDEST_OPSET: i64 = 13;
/// The oldest operator set that a builder writes; what it writes here means the same down to
/// [`OLDEST_OPSET`].
const WRITTEN_OPSET: i64 = 17;

impl Source {
    /// The classifier as a model, its card among its metadata.
    ///
    /// # Errors
    /// [`GraphError::Opset`] where the network's operator set is too old,
    /// [`DeployError::Inexpressible`] where the network takes several images at once and no other
    /// number, `PixelError::NotInGraph` for preprocessing that is no part of graphs.
    pub fn assemble(&self) -> Result<Model> {
        let body = &self.body;
        let opset = body.model.opset("").unwrap_or(0);
        if opset < OLDEST_OPSET {
            let (domain, highest) = ("ai.onnx".to_owned(), *KNOWN_OPSETS.end());
            return Err(GraphError::Opset { domain, version: opset, lowest: OLDEST_OPSET, highest }.into());
        }
        let batch = match body.fixed_batch {
            None => Dim::symbol("batch"),
            Some(1) => Dim::Fixed(1),
            Some(count) => {
                let reason = format!("the network takes {count} images at once, no other number");
                return Err(DeployError::Inexpressible { what: "the classifier", reason }.into());
            }
        };
        let mut b = Builder::with_opset("classifier", opset.max(WRITTEN_OPSET));
        let shape = [batch.clone(), Dim::symbol("height"), Dim::symbol("width"), Dim::Fixed(3)];
        let images = b.input(IMAGES, DType::U8, &shape);
        let pixels = b.scope("preprocess", |b| self.preprocess.add_to(b, &images))?;
        b.output(PIXELS, &pixels);
        let front = with_opset(b.finish()?, opset);
        let head = with_opset(self.head.model(opset.max(WRITTEN_OPSET), body.width, &self.card)?, opset);

        let network = rewrite::chain(&front, PIXELS, &body.model, &body.input)?;
        // The network's value may have another name now, but is still in its place behind the
        // output of the front.
        let place = body.model.graph.outputs.iter().position(|output| output.name == body.output);
        let features = place.and_then(|place| network.graph.outputs.get(front.graph.outputs.len() + place));
        let features = features.map_or(body.output.clone(), |output| output.name.clone());
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

/// The model under another operator set, in which its nodes mean the same.
fn with_opset(mut model: Model, opset: i64) -> Model {
    for imported in &mut model.opset_imports {
        imported.version = opset;
    }
    model
}
