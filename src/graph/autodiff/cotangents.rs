//! The cotangents that the readers of one value have passed back so far, and their sum.

use crate::error::GraphError;
use crate::graph::ops::Cotangent;
use crate::graph::{Builder, Dim, Value};

/// What the readers of one value have passed back so far.
#[derive(Default)]
pub(super) struct Pending {
    whole: Option<Value>,
    parts: Vec<Part>,
}

/// A cotangent that is zero outside of a part of an axis.
struct Part {
    axis: usize,
    start: i64,
    length: i64,
    value: Value,
}

impl Pending {
    /// Adds what a reader of `value` passes back.
    pub(super) fn add(&mut self, builder: &mut Builder, value: &Value, cotangent: Cotangent) {
        match cotangent {
            Cotangent::Whole(more) => self.add_whole(builder, more),
            Cotangent::Part { axis, start, value: part } => match size(builder, &part, axis) {
                Some(length) if size(builder, value, axis) == Some(length) => self.add_whole(builder, part),
                Some(length) => self.parts.push(Part { axis, start, length, value: part }),
                None => builder.fail(GraphError::Operator {
                    node: part.name().to_owned(),
                    operator: "gradient of a part".to_owned(),
                    expected: "a known size".to_owned(),
                    found: "none".to_owned(),
                }),
            },
        }
    }

    fn add_whole(&mut self, builder: &mut Builder, more: Value) {
        self.whole = Some(match self.whole.take() {
            Some(sum) => builder.add(&sum, &more),
            None => more,
        });
    }

    /// The sum, in the shape of `value`; parts that follow each other are joined, and what is left
    /// open is filled with zeros.
    pub(super) fn sum(&mut self, builder: &mut Builder, value: &Value) -> Option<Value> {
        let mut parts = std::mem::take(&mut self.parts);
        parts.sort_by_key(|part| (part.axis, part.start));
        while let Some(run) = next_run(&mut parts) {
            let (axis, start) = (run[0].axis, run[0].start);
            let joined = match run.as_slice() {
                [single] => single.value.clone(),
                several => {
                    let values: Vec<&Value> = several.iter().map(|part| &part.value).collect();
                    builder.concat(&values, axis as i64)
                }
            };
            let whole = builder.embed_part(&joined, axis, start, value);
            self.add_whole(builder, whole);
        }
        self.whole.clone()
    }
}

fn size(builder: &Builder, value: &Value, axis: usize) -> Option<i64> {
    builder.dims(value)?.get(axis).and_then(Dim::fixed)
}

/// Takes the first part out, and with it those that follow it without a gap.
fn next_run(parts: &mut Vec<Part>) -> Option<Vec<Part>> {
    let mut run: Vec<Part> = Vec::new();
    let mut left = Vec::new();
    for part in parts.drain(..) {
        let follows = run.last().is_none_or(|last| last.axis == part.axis && last.start + last.length == part.start);
        if follows { run.push(part) } else { left.push(part) }
    }
    *parts = left;
    (!run.is_empty()).then_some(run)
}
