//! The parameters of a network: taken by name from weights, each checked, none forgotten.
//!
//! A family asks for its parameters by its own names; a [`Naming`] and a prefix lead to the stored
//! ones. What is missing, left over or of a wrong shape is collected while the graph is built and
//! reported at once by [`Parameters::finish`]: no graph leaves this module with a parameter that
//! the weights did not give.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngCore;

use crate::backbones::naming::Naming;
use crate::error::{ModelError, Result, WeightMismatch};
use crate::support::names;
use crate::support::seed::Seed;
use crate::tensor::{HostTensor, Weights};

/// A parameter: the name it is stored under, and its values in f32.
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) tensor: HostTensor,
}

/// Gives a family its parameters.
pub(crate) struct Parameters<'w> {
    model: String,
    origin: Origin<'w>,
    /// Names within the family that are drawn although there are weights.
    drawn: Option<(Seed, &'static [&'static str])>,
    taken: BTreeMap<String, Vec<usize>>,
    misfits: WeightMismatch,
}

enum Origin<'w> {
    Stored { weights: &'w Weights, prefix: String, naming: Naming },
    Random(Seed),
}

impl<'w> Parameters<'w> {
    /// Parameters from weights: finds out how they are named and below which prefix they lie.
    ///
    /// # Errors
    /// [`ModelError::ForeignWeights`] when no naming of the family matches,
    /// [`ModelError::SeveralNetworks`] when more than one place does and `prefix` chooses none.
    pub(crate) fn stored(
        model: &str,
        mut namings: Vec<Naming>,
        weights: &'w Weights,
        prefix: Option<&str>,
    ) -> Result<Self> {
        let places_of = |naming: &Naming| -> BTreeSet<String> {
            let starts = weights.names().filter_map(|name| name.strip_suffix(naming.anchor));
            let starts = starts.filter(|start| start.is_empty() || start.ends_with('.'));
            starts.filter(|start| prefix.is_none_or(|wanted| wanted == *start)).map(str::to_owned).collect()
        };
        let found = namings.iter().map(places_of).enumerate().find(|(_, places)| !places.is_empty());
        let (index, places) = found.unwrap_or_default();
        let path = weights.source().to_path_buf();
        let mut places = places.into_iter();
        match (places.next(), places.next()) {
            (Some(prefix), None) => {
                let naming = namings.swap_remove(index);
                let origin = Origin::Stored { weights, prefix, naming };
                Ok(Parameters::of(model, origin))
            }
            (Some(first), Some(second)) => {
                let prefixes = [first, second].into_iter().chain(places).collect();
                Err(ModelError::SeveralNetworks { model: model.to_owned(), path, prefixes }.into())
            }
            (None, _) => {
                let prefix = prefix.unwrap_or_default();
                let expected = namings.iter().map(|naming| format!("{prefix}{}", naming.anchor)).collect();
                let found = weights.names().take(3).map(str::to_owned).collect();
                Err(ModelError::ForeignWeights { model: model.to_owned(), path, expected, found }.into())
            }
        }
    }

    /// Seeded random parameters: uniform with the standard deviation of He's initialisation for
    /// matrices and kernels; norms and scales start as the identity.
    pub(crate) fn random(model: &str, seed: Seed) -> Self {
        let origin = Origin::Random(seed.named("weights"));
        Parameters::of(model, origin)
    }

    /// Parameters from weights but for those whose names in the family start with one of `drawn`;
    /// what else the weights hold is left.
    ///
    /// # Errors
    /// As [`Parameters::stored`].
    pub(crate) fn partly(
        model: &str,
        namings: Vec<Naming>,
        weights: &'w Weights,
        seed: Seed,
        drawn: &'static [&'static str],
    ) -> Result<Self> {
        let stored = Parameters::stored(model, namings, weights, None)?;
        Ok(Parameters { drawn: Some((seed.named("weights"), drawn)), ..stored })
    }

    fn of(model: &str, origin: Origin<'w>) -> Self {
        Parameters {
            model: model.to_owned(),
            origin,
            drawn: None,
            taken: BTreeMap::new(),
            misfits: WeightMismatch::default(),
        }
    }

    /// Whose naming the weights follow; `None` for random ones.
    pub(crate) fn naming(&self) -> Option<&'static str> {
        match &self.origin {
            Origin::Stored { naming, .. } => Some(naming.label),
            Origin::Random(_) => None,
        }
    }

    /// The stored shape of a parameter; `None` for random ones and for those that are not there.
    pub(crate) fn shape(&self, name: &str) -> Option<Vec<usize>> {
        match &self.origin {
            Origin::Stored { weights, prefix, naming } => {
                weights.shape(&below(prefix, &(naming.stored)(name))).map(<[usize]>::to_vec)
            }
            Origin::Random(_) => None,
        }
    }

    /// A parameter by its name in the family, of the shape given.
    pub(crate) fn take(&mut self, name: &str, shape: &[usize]) -> Result<Parameter> {
        let draws = |(_, drawn): &(Seed, &[&str])| drawn.iter().any(|start| name.starts_with(start));
        let (stored, tensor) = match &self.origin {
            Origin::Stored { .. } if self.drawn.as_ref().is_some_and(draws) => {
                let seed = self.drawn.map_or(Seed::new(0), |(seed, _)| seed);
                (name.to_owned(), random(seed, name, shape))
            }
            Origin::Random(seed) => (name.to_owned(), random(*seed, name, shape)),
            Origin::Stored { weights, prefix, naming } => {
                let stored = below(prefix, &(naming.stored)(name));
                let tensor = match weights.shape(&stored) {
                    None => {
                        // Further ones are not listed.
                        let known = weights.names().filter(|_| self.misfits.missing.len() < WeightMismatch::LISTED);
                        let nearest = names::nearest(&stored, known);
                        self.misfits.missing.push((stored.clone(), nearest));
                        None
                    }
                    Some(found) if found != shape => {
                        self.misfits.unlike.push((stored.clone(), format!("{shape:?}"), format!("{found:?}")));
                        None
                    }
                    Some(_) => {
                        let tensor = weights.get(&stored)?;
                        let values = tensor.to_f32().map(|values| match values {
                            std::borrow::Cow::Borrowed(_) => Some(tensor.clone()),
                            std::borrow::Cow::Owned(values) => HostTensor::from_vec(shape.to_vec(), values),
                        });
                        if values.is_none() {
                            let found = format!("integers of type {}", tensor.dtype());
                            self.misfits.unlike.push((stored.clone(), "floating-point numbers".to_owned(), found));
                        }
                        values.flatten()
                    }
                };
                (stored, tensor)
            }
        };
        self.taken.insert(stored.clone(), shape.to_vec());
        // What does not fit is stood in for by zeros until `finish` refuses the whole.
        let tensor = tensor.or_else(|| HostTensor::from_vec(shape.to_vec(), vec![0f32; shape.iter().product()]));
        match tensor {
            Some(tensor) => Ok(Parameter { name: stored, tensor }),
            None => Err(self.refusal()),
        }
    }

    /// The stored names of the parameters taken so far, in alphabetical order.
    pub(crate) fn names(&self) -> Vec<String> {
        self.taken.keys().cloned().collect()
    }

    /// Checks that every parameter was there and every tensor was used.
    ///
    /// # Errors
    /// [`ModelError::Misfit`] with everything that was missing, left over or of a wrong shape.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.collect_left_over();
        self.finish_part()
    }

    /// As [`Parameters::finish`], but lets tensors be that were not used: for a part of a network
    /// whose whole was checked.
    pub(crate) fn finish_part(self) -> Result<()> {
        if self.misfits.is_empty() { Ok(()) } else { Err(self.refusal()) }
    }

    fn collect_left_over(&mut self) {
        if let (Origin::Stored { weights, prefix, naming }, None) = (&self.origin, self.drawn) {
            let own = weights.names().filter_map(|name| name.strip_prefix(prefix.as_str()).map(|short| (name, short)));
            let unused = own.filter(|(name, short)| !self.taken.contains_key(*name) && !(naming.left_out)(short));
            self.misfits.left_over = unused.map(|(name, _)| name.to_owned()).collect();
        }
    }

    fn refusal(&self) -> crate::error::Error {
        let path = match &self.origin {
            Origin::Stored { weights, .. } => weights.source().to_path_buf(),
            Origin::Random(_) => "random weights".into(),
        };
        ModelError::Misfit { model: self.model.clone(), path, misfits: Box::new(self.misfits.clone()) }.into()
    }
}

/// The full name of what lies below a prefix, or with `../` beside its last part.
fn below(prefix: &str, name: &str) -> String {
    match name.strip_prefix("../") {
        None => format!("{prefix}{name}"),
        Some(name) => {
            let parent = prefix.trim_end_matches('.').rfind('.').map_or("", |dot| &prefix[..=dot]);
            format!("{parent}{name}")
        }
    }
}

fn random(seed: Seed, name: &str, shape: &[usize]) -> Option<HostTensor> {
    let elements = shape.iter().product();
    let values = match shape {
        [] | [_] if ["running_var", "weight", "gamma"].iter().any(|end| name.ends_with(end)) => vec![1f32; elements],
        [] | [_] => vec![0f32; elements],
        _ => {
            let inputs: usize = shape[1..].iter().product();
            let bound = (6.0 / inputs.max(1) as f32).sqrt();
            let mut words = vec![0u32; elements];
            seed.named(name).random().fill_bytes(bytemuck::cast_slice_mut(&mut words));
            let mut values = vec![0f32; elements];
            for (value, word) in values.iter_mut().zip(&words) {
                // The upper 24 bits as a number from -1 up to 1.
                *value = ((u32::from_le(*word) >> 8) as f32 / (1 << 23) as f32 - 1.0) * bound;
            }
            values
        }
    };
    HostTensor::from_vec(shape.to_vec(), values)
}
