//! Options that take one of a few names: those of the library's types, each with a line of help.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use serde::de::value::{Error, StringDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer as _};

/// A name and what it means.
type Choice = [&'static str; 2];

pub(crate) const SCALES: &[Choice] = &[
    [
        "standard",
        "Subtract each feature's mean and divide by its standard deviation (divisor N), both of the fitted samples. A \
         constant feature is only centred",
    ],
    ["l2", "Divide each sample by its Euclidean norm (at least 1e-12)"],
    ["none", "Features as they are"],
];
pub(crate) const SOLVERS: &[Choice] =
    &[["own", "This program's L-BFGS"], ["linfa", "The crate linfa-logistic, as a reference"]];
pub(crate) const LOSSES: &[Choice] = &[
    ["cross-entropy", "Of one class of several"],
    ["bce", "Of each label by itself; unknown labels do not count"],
    [
        "mse",
        "Squared distance of the expected class index, under the predicted probabilities, from the true one: for \
         ordered classes",
    ],
];
pub(crate) const SAMPLINGS: &[Choice] = &[
    ["uniform", "Every sample once"],
    ["balanced", "As many samples as there are, drawn with replacement so that every class is equally likely"],
];
pub(crate) const SCHEDULES: &[Choice] = &[
    ["constant", "Stays"],
    ["cosine", "Falls to 0 along half a cosine"],
    ["plateau", "Is divided by 10 when the validation metric has not improved for some epochs (the study's)"],
    [
        "one-cycle",
        "Rises from 1/25 over the first three tenths of all steps and falls to 1/250,000, both along half a cosine \
         (Smith 2018, arXiv 1708.07120, with the defaults of PyTorch's `OneCycleLR`); it is a warm-up by itself",
    ],
];
pub(crate) const BATCH_NORMS: &[Choice] = &[
    [
        "frozen",
        "They normalise with the statistics they came with, as in evaluation; only their scale and bias are trained",
    ],
    [
        "updated",
        "Trained ones normalise with the statistics of the batch and keep running ones, with PyTorch's momentum of 0.1",
    ],
];
pub(crate) const ENGINES: &[Choice] = &[
    ["graph", "Gradients and updates as standard operators: on any ONNX Runtime and every device"],
    ["ort", "ONNX Runtime's training API: on the CPU, by a library that has it"],
];

/// The parser of an option that takes one of these names.
pub(crate) fn choice<T>(choices: &'static [Choice]) -> impl TypedValueParser<Value = T>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    let values = choices.iter().map(|[name, help]| PossibleValue::new(*name).help(*help));
    PossibleValuesParser::new(values).try_map(value)
}

fn value<T: DeserializeOwned>(name: String) -> Result<T, Error> {
    let name: StringDeserializer<Error> = name.into_deserializer();
    T::deserialize(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finetune::{BatchNorm, EngineKind, Loss, Sampling, Schedule};
    use crate::probe::{Scale, Solver};

    fn all<T: DeserializeOwned + PartialEq>(choices: &[Choice]) -> usize {
        let mut values: Vec<T> = choices.iter().map(|[name, _]| value((*name).to_owned()).unwrap()).collect();
        values.dedup();
        values.len()
    }

    #[test]
    fn every_name_is_one_of_the_type() {
        assert_eq!((all::<Scale>(SCALES), all::<Solver>(SOLVERS), all::<Loss>(LOSSES)), (3, 2, 3));
        assert_eq!((all::<Sampling>(SAMPLINGS), all::<Schedule>(SCHEDULES)), (2, 4));
        assert_eq!((all::<BatchNorm>(BATCH_NORMS), all::<EngineKind>(ENGINES)), (2, 2));
        assert!(LOSSES.iter().all(|[name, _]| value::<Loss>((*name).to_owned()).unwrap().name() == *name));
    }
}
