//! One application of an operator, as its rule sees it: the node, the operator set, what is known
//! about the inputs.

use crate::error::GraphError;
use crate::graph::ops::Result;
use crate::graph::{AttributeValue, Dim, ElementType, Fact, Node, shape_text};

/// One application of an operator.
pub struct OpContext<'a> {
    /// The node.
    pub node: &'a Node,
    /// The version of the standard operators.
    pub opset: i64,
    /// What is known about each input; `None` where an optional one is left out.
    pub inputs: Vec<Option<Fact>>,
}

impl OpContext<'_> {
    /// An input that the operator needs.
    ///
    /// # Errors
    /// [`GraphError::Operator`] when it is left out.
    pub fn input(&self, index: usize) -> Result<&Fact> {
        self.optional(index)
            .ok_or_else(|| self.error(format!("at least {} inputs", index + 1), self.inputs.len().to_string()))
    }

    /// An input that may be left out.
    pub fn optional(&self, index: usize) -> Option<&Fact> {
        self.inputs.get(index)?.as_ref()
    }

    /// An attribute that is a whole number.
    pub fn int(&self, name: &str) -> Option<i64> {
        match self.node.attribute(name)? {
            AttributeValue::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// An attribute that is a list of whole numbers.
    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        match self.node.attribute(name)? {
            AttributeValue::Ints(values) => Some(values),
            _ => None,
        }
    }

    /// An attribute that is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.node.attribute(name)? {
            AttributeValue::String(text) => std::str::from_utf8(text).ok(),
            _ => None,
        }
    }

    /// An attribute that names an element type.
    pub fn element(&self, name: &str) -> Option<ElementType> {
        ElementType::from_code(i32::try_from(self.int(name)?).ok()?)
    }

    /// The number of an axis that may be counted from the last; `count` axes there are.
    ///
    /// # Errors
    /// [`GraphError::Operator`] when there is no such axis.
    pub fn axis(&self, axis: i64, count: usize) -> Result<usize> {
        let from_first = if axis < 0 { axis + count as i64 } else { axis };
        match usize::try_from(from_first) {
            Ok(index) if index < count => Ok(index),
            _ => Err(self.error(format!("an axis of {count}"), axis.to_string())),
        }
    }

    /// Whole numbers that are an attribute in older operator sets and an input in newer ones.
    ///
    /// `None`: left out; `Some(None)`: given, but not known.
    pub fn list(&self, attribute: &str, input: usize) -> Option<Option<Vec<i64>>> {
        match self.ints(attribute) {
            Some(values) => Some(Some(values.to_vec())),
            None => self.optional(input).map(Fact::as_fixed),
        }
    }

    /// The error that something else was expected.
    pub fn error(&self, expected: impl Into<String>, found: impl Into<String>) -> GraphError {
        GraphError::Operator {
            node: self.node.label().to_owned(),
            operator: self.node.operator.clone(),
            expected: expected.into(),
            found: found.into(),
        }
    }

    /// The shape of two operands broadcast against each other.
    ///
    /// # Errors
    /// [`GraphError::Operator`] when they do not fit.
    pub fn broadcast(&self, a: &[Dim], b: &[Dim]) -> Result<Vec<Dim>> {
        let count = a.len().max(b.len());
        let at = |shape: &[Dim], index: usize| match (index + shape.len()).checked_sub(count) {
            Some(own) => shape[own].clone(),
            None => Dim::Fixed(1),
        };
        let one = Dim::Fixed(1);
        let dims = (0..count).map(|index| match (at(a, index), at(b, index)) {
            (x, y) if x == y => Ok(x),
            (x, y) if x == one => Ok(y),
            (x, y) if y == one => Ok(x),
            (Dim::Fixed(_), Dim::Fixed(_)) => {
                Err(self.error("shapes that can be broadcast", format!("{} and {}", shape_text(a), shape_text(b))))
            }
            (Dim::Fixed(size), _) | (_, Dim::Fixed(size)) => Ok(Dim::Fixed(size)),
            _ => Ok(Dim::Unknown),
        });
        dims.collect()
    }

    /// Refuses two sizes that are known and differ.
    ///
    /// # Errors
    /// [`GraphError::Operator`] with `what` they are the sizes of.
    pub fn same_size(&self, what: &str, expected: &Dim, found: &Dim) -> Result<()> {
        match (expected, found) {
            (Dim::Fixed(a), Dim::Fixed(b)) if a != b => Err(self.error(format!("{what} {a}"), b.to_string())),
            _ => Ok(()),
        }
    }
}
