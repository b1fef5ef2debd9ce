//! Builds a model of a known family into an ONNX graph.

use crate::backbones::blueprint::Blueprint;
use crate::backbones::changes::{Adaptation, COLOURS};
use crate::backbones::family::Family;
use crate::backbones::layers::{Network, Tap};
use crate::backbones::options::{Size, Taps};
use crate::backbones::parameters::Parameters;
use crate::backbones::pool::{note_taps, vector_info};
use crate::backbones::zoo::catalog::Entry;
use crate::backbones::{Backbone, EMBEDDING, Output, Provenance};
use crate::error::{FileError, ModelError, Result};
use crate::graph::Model;
use crate::preprocess::Preprocess;
use crate::support::names;
use crate::support::seed::Seed;
use crate::tensor::Weights;

/// Name of the input of every graph built here.
const INPUT: &str = "input";
/// Name of the tap of the last tokens or feature map.
const TOKENS: &str = "tokens";
/// Key of the model property that holds the preprocessing, as JSON.
pub(crate) const PREPROCESS_PROPERTY: &str = "defrost.preprocess";
/// Key of the model property that says what was changed about the published network.
pub(crate) const CHANGES_PROPERTY: &str = "defrost.changes";
/// What lies between two changes in that property.
pub(crate) const CHANGES_SEPARATOR: &str = "; ";

/// A blueprint's changes as they concern its family.
struct Plan {
    /// How the first convolution is adapted, where it is.
    adaptation: Option<Adaptation>,
    /// What happens to an image before the network.
    preprocess: Preprocess,
    /// How many blocks are kept, where not all are.
    keep_blocks: Option<usize>,
    /// The changes in words.
    changes: Vec<String>,
}

impl Plan {
    fn of(blueprint: &Blueprint, family: &dyn Family) -> Result<Self> {
        let model = || blueprint.name.clone();
        let adaptation = blueprint.changes.channels.and_then(|channels| channels.adaptation(&blueprint.preprocess));
        let preprocess = adaptation.as_ref().map_or(&blueprint.preprocess, |adaptation| &adaptation.preprocess).clone();
        let takes = adaptation.as_ref().map_or(COLOURS, Adaptation::channels);
        let gives = preprocess.channels.count();
        if takes != gives {
            return Err(ModelError::Channels { model: model(), takes, gives }.into());
        }
        let has = family.blocks();
        let keep_blocks = match blueprint.changes.keep_blocks {
            Some(asked) if !(1..=has).contains(&asked) => {
                return Err(ModelError::Blocks { model: model(), asked, has }.into());
            }
            kept => kept.filter(|kept| *kept < has),
        };
        let channels = adaptation.as_ref().map(|adaptation| adaptation.text.clone());
        let blocks = keep_blocks.map(|kept| format!("first {kept} of {has} blocks"));
        Ok(Plan { adaptation, preprocess, keep_blocks, changes: channels.into_iter().chain(blocks).collect() })
    }
}

/// The parameters a model is built from.
#[derive(Clone, Copy, Debug)]
pub enum Origin<'a> {
    /// Weights; a prefix chooses one of several networks in them.
    Weights(&'a Weights, Option<&'a str>),
    /// Seeded random numbers.
    Random(u64),
}

/// Builds a model of the catalog.
///
/// # Errors
/// [`ModelError::ForeignWeights`], [`ModelError::SeveralNetworks`] and [`ModelError::Misfit`] when
/// the weights are not those of the model, [`ModelError::UnknownTap`]; for changed models
/// [`ModelError::Channels`] and [`ModelError::Blocks`].
pub fn build(entry: &Entry, origin: Origin<'_>, size: Size, taps: &Taps) -> Result<Backbone> {
    build_blueprint(&entry.blueprint(), origin, size, taps)
}

/// Builds a model of a known family.
///
/// # Errors
/// As [`build`], and [`ModelError::UnknownFamily`] and [`FileError::Parse`] for a blueprint of no
/// family.
pub fn build_blueprint(blueprint: &Blueprint, origin: Origin<'_>, size: Size, taps: &Taps) -> Result<Backbone> {
    let name = &blueprint.name;
    let family = blueprint.family()?;
    let Plan { adaptation, preprocess, keep_blocks, changes } = Plan::of(blueprint, family.as_ref())?;
    let construct = |keep_blocks| {
        let parameters = match origin {
            Origin::Weights(weights, prefix) => Parameters::stored(name, family.namings(), weights, prefix)?,
            Origin::Random(seed) => Parameters::random(name, Seed::new(seed)),
        };
        let fixed = match size {
            Size::Any => None,
            Size::Fixed { height, width } => Some([height, width]),
        };
        let mut network = Network::new(name, parameters, fixed);
        (network.adaptation, network.keep_blocks) = (adaptation.clone(), keep_blocks);
        let outline = family.build(&mut network)?;
        Ok::<_, crate::error::Error>((network, outline))
    };
    // The weights have to be those of the whole network, whatever is kept of it.
    let (whole, outline) = construct(None)?;
    let naming = whole.parameters.naming();
    let (network, outline) = match keep_blocks {
        None => (whole, outline),
        Some(_) => {
            whole.parameters.finish()?;
            construct(keep_blocks)?
        }
    };
    let Network { mut builder, parameters, taps: mut tappable, .. } = network;
    let names = parameters.names();
    match keep_blocks {
        None => parameters.finish()?,
        Some(_) => parameters.finish_part()?,
    }
    tappable.push(Tap {
        name: TOKENS.to_owned(),
        value: outline.tokens,
        width: outline.token_width,
        axes: outline.token_axes,
    });
    let wanted = wanted(name, taps, &tappable)?;
    builder.output(EMBEDDING, &outline.embedding);
    let mut outputs = Vec::new();
    for (index, Tap { name: tap, value, width, axes }) in tappable.iter().enumerate() {
        if wanted.contains(&index) {
            builder.output(tap, value);
            outputs.push(Output { name: tap.clone(), tap: tap.clone(), width: *width, axes: *axes, pool: None });
        } else {
            // The value keeps its name in the graph, so that it can be tapped later.
            builder.name(value, tap);
        }
    }
    let mut graph = builder.finish()?;
    let declared = graph.graph.outputs.iter_mut().filter(|output| output.name == EMBEDDING);
    declared.for_each(|output| *output = vector_info(EMBEDDING, None, outline.width));
    let (weights, weights_sha256) = match origin {
        Origin::Weights(weights, _) => (file_name(weights), weights.digest().to_owned()),
        Origin::Random(seed) => {
            let text = format!("random weights, seed {seed}");
            let digest = crate::support::fs::sha256(format!("{name}: {text}").as_bytes());
            (text, digest)
        }
    };
    let random = matches!(origin, Origin::Random(_));
    let provenance = Provenance {
        family: blueprint.family.clone(),
        weights,
        weights_sha256,
        licence: blueprint.licence.clone().filter(|_| !random),
        random,
        changes,
    };
    describe(&mut graph, blueprint, &preprocess, &provenance, naming)?;
    if !outputs.is_empty() {
        note_taps(&mut graph, &outputs)?;
    }
    Ok(Backbone {
        name: name.clone(),
        graph,
        input: INPUT.to_owned(),
        embedding: Output::embedding(EMBEDDING, outline.width, None),
        taps: outputs,
        parameters: names,
        fixed_batch: None,
        preprocess,
        provenance,
    })
}

/// The weights' file without its folder, which differs from machine to machine.
fn file_name(weights: &Weights) -> String {
    weights.source().file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Numbers of the blocks that are tapped.
fn wanted(model: &str, taps: &Taps, tappable: &[Tap]) -> Result<Vec<usize>> {
    let names = match taps {
        Taps::None => return Ok(Vec::new()),
        Taps::All => return Ok((0..tappable.len()).collect()),
        Taps::Names(names) => names,
    };
    let find = |name: &String| {
        tappable.iter().position(|tap| tap.name == *name).ok_or_else(|| {
            let known: Vec<String> = tappable.iter().map(|tap| tap.name.clone()).collect();
            let nearest = names::nearest(name, known.iter().map(String::as_str));
            ModelError::UnknownTap { model: model.to_owned(), name: name.clone(), nearest, known }.into()
        })
    };
    names.iter().map(find).collect()
}

/// Writes into the model what it is, so that the file tells it without the catalog.
fn describe(
    graph: &mut Model,
    blueprint: &Blueprint,
    preprocess: &Preprocess,
    provenance: &Provenance,
    naming: Option<&str>,
) -> Result<()> {
    let preprocess = serde_json::to_string(preprocess).map_err(|source| FileError::Parse {
        path: "preprocess".into(),
        format: "JSON",
        source: Box::new(source),
    })?;
    graph.set_property("defrost.model", blueprint.name.as_str());
    graph.set_property("defrost.family", blueprint.family.as_str());
    graph.set_property("defrost.weights", provenance.weights.as_str());
    graph.set_property("defrost.weights_sha256", provenance.weights_sha256.as_str());
    let licence = provenance.licence.as_deref();
    if let Some(licence) = licence.or(provenance.random.then_some("none: the weights are random")) {
        graph.set_property("defrost.licence", licence);
    }
    if let Some(naming) = naming {
        graph.set_property("defrost.naming", naming);
    }
    if !provenance.changes.is_empty() {
        graph.set_property(CHANGES_PROPERTY, provenance.changes.join(CHANGES_SEPARATOR));
    }
    graph.set_property(PREPROCESS_PROPERTY, preprocess);
    Ok(())
}
