//! How many samples of each class there are, in all and in each split.

use serde::Serialize;

use crate::data::{Dataset, Label, Split};

/// Numbers of samples in all and by split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// In all.
    pub all: usize,
    /// In training data.
    pub train: usize,
    /// In validation data.
    pub validation: usize,
    /// In test data.
    pub test: usize,
    /// Without a split.
    pub without_split: usize,
}

impl Counts {
    fn add(&mut self, split: Option<Split>) {
        self.all += 1;
        match split {
            Some(Split::Train) => self.train += 1,
            Some(Split::Validation) => self.validation += 1,
            Some(Split::Test) => self.test += 1,
            None => self.without_split += 1,
        }
    }
}

/// Numbers of samples of one class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClassCounts {
    /// The class.
    pub class: String,
    /// Samples that have it.
    #[serde(flatten)]
    pub present: Counts,
    /// Samples of which it is not known whether they have it; only where a sample can have several
    /// classes.
    pub unknown: usize,
}

/// Numbers of samples of a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Census {
    /// By class, in the order of the classes.
    pub classes: Vec<ClassCounts>,
    /// Samples without any label.
    pub unlabelled: Counts,
    /// All samples.
    pub total: Counts,
}

impl Dataset {
    /// Counts the samples by class and split.
    pub fn census(&self) -> Census {
        let class = |class: &String| ClassCounts { class: class.clone(), present: Counts::default(), unknown: 0 };
        let mut classes: Vec<ClassCounts> = self.classes.iter().map(class).collect();
        let mut unlabelled = Counts::default();
        let mut total = Counts::default();
        for sample in &self.samples {
            total.add(sample.split);
            sample.label.present().for_each(|class| classes[class].present.add(sample.split));
            match &sample.label {
                Label::Unknown => unlabelled.add(sample.split),
                Label::Classes(known) => {
                    let unknown = known.iter().enumerate().filter(|(_, known)| known.is_none());
                    unknown.for_each(|(class, _)| classes[class].unknown += 1);
                }
                Label::Class(_) => {}
            }
        }
        Census { classes, unlabelled, total }
    }
}
