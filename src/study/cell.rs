//! A cell: one computation of a study, told by what it computes and not by the experiments that
//! need it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::finetune::{Freeze, Head};

/// One computation of a study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// Name of its dataset; `None` where it sees none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// Name of its backbone.
    pub backbone: String,
    /// What is computed.
    pub work: Work,
    /// Seed of splits, head, order and augmentation.
    pub seed: u64,
}

/// What a cell computes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Work {
    /// The backbone is trained before everything else that is done with it.
    Pretraining,
    /// A network is trained on images.
    Training(TrainingWork),
    /// Logistic regression on cached embeddings.
    LinearProbe {
        /// Share of the training labels, above 0, at most 1.
        train_fraction: f64,
    },
    /// Weighted nearest neighbours among cached embeddings.
    Knn {
        /// Candidates for the number of neighbours; of several, validation data chooses.
        k: Vec<usize>,
        /// Temperature of the votes.
        temperature: f64,
    },
    /// The time that one image takes.
    InferenceTime {
        /// Images of the larger batch.
        batch: usize,
    },
    /// CKA of every layer before with every layer after the unfrozen training of the same dataset,
    /// backbone and seed.
    LayerSimilarity {
        /// Images that are compared on, at most.
        images: usize,
    },
    /// CKA of the embeddings of two backbones.
    EmbeddingSimilarity {
        /// Name of the other backbone.
        other: String,
        /// Whether both are as their unfrozen training on the dataset left them.
        thawed: bool,
        /// Images that are compared on, at most.
        images: usize,
    },
    /// Scores of cached embeddings that predict what fine-tuning reaches.
    Transferability,
}

/// How a network is trained.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingWork {
    /// What stands on the backbone.
    pub head: Head,
    /// How much of the backbone stays as it is.
    pub freeze: Freeze,
    /// Blocks that are kept, from the first on; all unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_blocks: Option<usize>,
    /// Height and width of the images; the backbone's own unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<usize>,
    /// Share of the training labels, above 0, at most 1.
    pub train_fraction: f64,
}

impl TrainingWork {
    /// A head on the whole backbone, trained with all labels.
    pub const fn new(head: Head, freeze: Freeze) -> Self {
        TrainingWork { head, freeze, keep_blocks: None, size: None, train_fraction: 1.0 }
    }

    /// A linear head on the frozen backbone.
    pub const FROZEN_LINEAR: Self = TrainingWork::new(Head::Linear, Freeze::All);
    /// A linear head, trained together with the backbone.
    pub const UNFROZEN_LINEAR: Self = TrainingWork::new(Head::Linear, Freeze::None);
}

impl fmt::Display for Cell {
    /// In words: `unfrozen, linear head, of dino on lesions, seed 3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.work, self.backbone)?;
        if let Some(dataset) = &self.dataset {
            write!(f, " on {dataset}")?;
        }
        write!(f, ", seed {}", self.seed)
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Work::Pretraining => f.write_str("first training"),
            Work::Training(work) => work.fmt(f),
            Work::LinearProbe { train_fraction } => {
                f.write_str("linear probe")?;
                part(*train_fraction, f)
            }
            Work::Knn { k, .. } if k.len() == 1 => write!(f, "k-NN (k = {})", k[0]),
            Work::Knn { k, .. } => write!(f, "k-NN (best of {} numbers of neighbours)", k.len()),
            Work::InferenceTime { .. } => f.write_str("inference time"),
            Work::LayerSimilarity { .. } => f.write_str("similarity of layers before and after training"),
            Work::EmbeddingSimilarity { other, thawed, .. } => {
                write!(f, "similarity with {other}{}", if *thawed { ", both trained," } else { "" })
            }
            Work::Transferability => f.write_str("transferability scores"),
        }
    }
}

impl fmt::Display for TrainingWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.freeze {
            Freeze::All => f.write_str("frozen")?,
            Freeze::None => f.write_str("unfrozen")?,
            Freeze::Blocks(count) => write!(f, "first {count} blocks frozen")?,
        }
        match self.head {
            Head::Linear => f.write_str(", linear head")?,
            head @ Head::Deit { .. } => write!(f, ", classifier {head}")?,
        }
        if let Some(count) = self.keep_blocks {
            write!(f, ", first {count} blocks kept")?;
        }
        if let Some(size) = self.size {
            write!(f, ", {size} pixels")?;
        }
        part(self.train_fraction, f)
    }
}

fn part(fraction: f64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if fraction < 1.0 { write!(f, ", {} % of the labels", 100.0 * fraction) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_told_in_words_and_read_as_written() {
        let work = TrainingWork { keep_blocks: Some(3), train_fraction: 0.05, ..TrainingWork::UNFROZEN_LINEAR };
        let cell =
            Cell { dataset: Some("lesions".into()), backbone: "dino".into(), work: Work::Training(work), seed: 2 };
        let text = "unfrozen, linear head, first 3 blocks kept, 5 % of the labels of dino on lesions, seed 2";
        assert_eq!(cell.to_string(), text);
        let json = serde_json::to_string(&cell).unwrap();
        assert!(json.contains(r#""kind":"training","head":"linear","freeze":"none","keep_blocks":3"#), "{json}");
        assert_eq!(serde_json::from_str::<Cell>(&json).unwrap(), cell);
    }
}
