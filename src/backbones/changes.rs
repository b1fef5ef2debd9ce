//! What a user changes about a published network: its input channels, and how many of its blocks
//! are kept.
//!
//! **Channels.** The first convolution's weights W_c (c: red, green, blue) become W'_k for the
//! channels k of the new input, by one of three rules:
//!
//! - `sum` (one channel): the network gives for a grey image what it gives for that image in all
//!   three channels. Means and deviations of the preprocessing may differ per channel, `x_c = (g -
//!   m_c) / s_c`; the new input is `(g - m) / s` with the means of the three, and `x_c = (s / s_c)
//!   x + (m - m_c) / s_c`. So `W' = sum_c (s / s_c) W_c`, and what the offsets contribute is added
//!   behind the convolution: a bias, or where the convolution pads with zeros, the response to a
//!   map of ones, which is smaller at the border. With a preprocessing of one channel, all three
//!   receive that channel: `W' = sum_c W_c`.
//! - `red` (any number): channel k gets the weights of channel k modulo 3, as they are. For one
//!   channel those are the red filters; this reproduces the code of the study (see arXiv
//!   2310.19522) and is no equivalent of anything.
//! - `repeat` (two or more): as `red`, times 3 / N, so that N equal channels give what three equal
//!   ones give; timm does the same.
//!
//! **Blocks.** The first K blocks (transformers) or stages (convolutional networks) are kept, what
//! lies behind them is left out of the graph and of the file. The embedding stays what the family
//! defines it to be, taken behind the last kept block: vision transformers apply their last norm to
//! the class token, as the evaluation of DINOv2's inner blocks and the study do, and have no
//! projection; SAM takes the mean of the patch map; SEEM's FocalNet has a norm for each stage and
//! takes the mean behind that of the last kept one; the other convolutional networks take the mean
//! of the stage's output, for their last norm or convolution fits the last stage only. The output
//! of the last kept block itself, which the study hands to an appended classifier, is the tap
//! `block_NN`.

use std::str::FromStr;

use crate::error::{ModelError, Result};
use crate::preprocess::{Channels, Preprocess};
use crate::tensor::HostTensor;

/// Channels that published networks take.
pub(crate) const COLOURS: usize = 3;

/// What a user changes about a published network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Another number of input channels.
    pub channels: Option<InputChannels>,
    /// How many blocks or stages are kept, from the first on.
    pub keep_blocks: Option<usize>,
}

/// A number of input channels, and how the first convolution's weights are adapted to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputChannels {
    count: usize,
    rule: ChannelRule,
}

/// How weights for red, green and blue become weights for other channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelRule {
    /// Their sum: one grey channel has the effect of three equal ones.
    Sum,
    /// Those of red, green, blue, red, ... as they are: for one channel the red ones.
    Red,
    /// Those of red, green, blue, red, ... times 3 / N.
    Repeat,
}

impl ChannelRule {
    const ALL: [(ChannelRule, &'static str); 3] =
        [(ChannelRule::Sum, "sum"), (ChannelRule::Red, "red"), (ChannelRule::Repeat, "repeat")];

    fn name(self) -> &'static str {
        ChannelRule::ALL.iter().find(|(rule, _)| *rule == self).map_or("", |(_, name)| name)
    }
}

impl FromStr for ChannelRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = ChannelRule::ALL.iter().find(|(_, name)| *name == text).map(|(rule, _)| *rule);
        found.ok_or_else(|| "expected `sum`, `red` or `repeat`".to_owned())
    }
}

impl InputChannels {
    /// `count` channels by `rule`; if none is given, by the sum for one channel, else by
    /// repetition.
    ///
    /// # Errors
    /// [`ModelError::Misplaced`] for a rule that makes no such number of channels.
    pub fn new(count: usize, rule: Option<ChannelRule>) -> Result<Self> {
        let rule = rule.unwrap_or(if count == 1 { ChannelRule::Sum } else { ChannelRule::Repeat });
        let refuse = |option, reason: &str| Err(ModelError::Misplaced { option, reason: reason.to_owned() }.into());
        match (rule, count) {
            (_, 0) => refuse("channels", "a network has at least one input channel"),
            (ChannelRule::Sum, 2..) if count != COLOURS => {
                refuse("channel-rule", "`sum` makes one channel; for more there are `repeat` and `red`")
            }
            (ChannelRule::Repeat, 1) => {
                refuse("channel-rule", "`repeat` makes two or more channels; for one there are `sum` and `red`")
            }
            _ => Ok(InputChannels { count, rule }),
        }
    }

    /// How a network is adapted whose images would go through `preprocess`; `None` where it stays
    /// as it is.
    pub(crate) fn adaptation(self, preprocess: &Preprocess) -> Option<Adaptation> {
        let InputChannels { count, rule } = self;
        if count == COLOURS {
            return None;
        }
        let cycled = |values: &[f32]| (0..count).map(|channel| values[channel % values.len()]).collect();
        let mut changed = Preprocess {
            channels: match count {
                1 => Channels::Grey,
                _ => Channels::Many(count as u32),
            },
            mean: cycled(&preprocess.mean),
            std: cycled(&preprocess.std),
            ..preprocess.clone()
        };
        let mut mixing = vec![[0f64; COLOURS]; count];
        let mut offsets = [0f64; COLOURS];
        match rule {
            ChannelRule::Sum => {
                changed.mean = vec![mean(&preprocess.mean)];
                changed.std = vec![mean(&preprocess.std)];
                let (mean, std) = (f64::from(changed.mean[0]), f64::from(changed.std[0]));
                for colour in 0..COLOURS {
                    let own = |values: &[f32]| f64::from(values[colour % values.len()]);
                    mixing[0][colour] = std / own(&preprocess.std);
                    offsets[colour] = (mean - own(&preprocess.mean)) / own(&preprocess.std);
                }
            }
            ChannelRule::Red | ChannelRule::Repeat => {
                let factor = if rule == ChannelRule::Red { 1.0 } else { COLOURS as f64 / count as f64 };
                mixing.iter_mut().enumerate().for_each(|(channel, row)| row[channel % COLOURS] = factor);
            }
        }
        let text = format!("input channels {count} ({})", rule.name());
        Some(Adaptation { mixing, offsets, preprocess: changed, text })
    }
}

/// The mean of values that lie close together.
fn mean(values: &[f32]) -> f32 {
    (values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len().max(1) as f64) as f32
}

/// How the colours that a network was trained on come from the channels it gets: `colour c = sum_k
/// mixing[k][c] channel k + offsets[c]`.
#[derive(Clone, Debug)]
pub(crate) struct Adaptation {
    mixing: Vec<[f64; COLOURS]>,
    offsets: [f64; COLOURS],
    /// The preprocessing that gives the channels.
    pub(crate) preprocess: Preprocess,
    /// What was done, in words.
    pub(crate) text: String,
}

impl Adaptation {
    /// Number of channels.
    pub(crate) fn channels(&self) -> usize {
        self.mixing.len()
    }

    /// The weights `[O, channels, h, w]` for weights `[O, 3, h, w]`.
    pub(crate) fn weights(&self, weights: &HostTensor) -> HostTensor {
        mixed(weights, &self.mixing)
    }

    /// What a channel of ones contributes through the offsets, as weights `[O, 1, h, w]`; `None`
    /// where nothing.
    pub(crate) fn offset_weights(&self, weights: &HostTensor) -> Option<HostTensor> {
        (self.offsets != [0.0; COLOURS]).then(|| mixed(weights, &[self.offsets]))
    }
}

/// Weights `[O, 3, h, w] f32` mixed to `[O, N, h, w]`, a row of factors for each of N channels.
fn mixed(weights: &HostTensor, factors: &[[f64; COLOURS]]) -> HostTensor {
    let mut shape = weights.shape().to_vec();
    shape[1] = factors.len();
    let (values, count) = (weights.values::<f32>().unwrap_or_default(), factors.len());
    let taps = shape[2..].iter().product::<usize>();
    HostTensor::from_fn(&shape, |flat| {
        let (filter, channel, tap) = (flat / taps / count, flat / taps % count, flat % taps);
        let colour = |colour: usize| f64::from(values[(filter * COLOURS + colour) * taps + tap]);
        (0..COLOURS).map(|at| factors[channel][at] * colour(at)).sum::<f64>() as f32
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adaptation(count: usize, rule: ChannelRule) -> Adaptation {
        InputChannels::new(count, Some(rule)).unwrap().adaptation(&Preprocess::imagenet(256, 224)).unwrap()
    }

    /// Filters that respond with 1, 10 and 100 to the three colours.
    fn weights() -> HostTensor {
        HostTensor::from_vec(vec![1, 3, 1, 1], vec![1f32, 10.0, 100.0]).unwrap()
    }

    #[test]
    fn red_takes_weights_in_turn_and_repeat_scales_them() {
        let values = |count, rule| {
            let adapted = adaptation(count, rule).weights(&weights());
            adapted.values::<f32>().unwrap().to_vec()
        };
        assert_eq!(values(1, ChannelRule::Red), [1.0]);
        assert_eq!(values(4, ChannelRule::Red), [1.0, 10.0, 100.0, 1.0]);
        assert_eq!(values(6, ChannelRule::Repeat), [0.5, 5.0, 50.0, 0.5, 5.0, 50.0]);
        let four = adaptation(4, ChannelRule::Repeat).preprocess;
        assert_eq!((four.mean[3], four.std[3]), (0.485, 0.229));
        assert!(four.check().is_err(), "images have one or three channels");
    }

    #[test]
    fn the_sum_follows_the_colours_through_their_own_means_and_deviations() {
        let sum = adaptation(1, ChannelRule::Sum);
        let (colours, grey) = (Preprocess::imagenet(256, 224), &sum.preprocess);
        let sample = 0.3f64;
        let normalised = |mean: f32, std: f32| (sample - f64::from(mean)) / f64::from(std);
        let expected: f64 = (0..3).map(|c| 10f64.powi(c as i32) * normalised(colours.mean[c], colours.std[c])).sum();
        let first = |tensor: HostTensor| f64::from(tensor.values::<f32>().unwrap()[0]);
        let (weight, offset) = (first(sum.weights(&weights())), first(sum.offset_weights(&weights()).unwrap()));
        let found = weight * normalised(grey.mean[0], grey.std[0]) + offset;
        assert!((found - expected).abs() < 1e-4, "{found} instead of {expected}");
        assert_eq!(grey.channels, Channels::Grey);
    }

    #[test]
    fn a_preprocessing_of_one_channel_reaches_all_three_colours() {
        let own = Preprocess { channels: Channels::Grey, mean: vec![0.5], std: vec![0.25], ..Preprocess::clip(224) };
        let sum = InputChannels::new(1, None).unwrap().adaptation(&own).unwrap();
        assert_eq!(sum.preprocess, own);
        assert_eq!(sum.weights(&weights()).values::<f32>().unwrap().as_ref(), [111.0]);
        assert!(sum.offset_weights(&weights()).is_none());
    }

    #[test]
    fn rules_that_make_no_such_number_are_refused() {
        for (count, rule) in [(4, ChannelRule::Sum), (1, ChannelRule::Repeat), (0, ChannelRule::Red)] {
            assert!(InputChannels::new(count, Some(rule)).is_err(), "{count} {rule:?}");
        }
        let three = InputChannels::new(3, None).unwrap();
        assert!(three.adaptation(&Preprocess::clip(224)).is_none());
    }
}
