//! What is known about a value without computing the graph: element type, shape, and the elements
//! of small constants.

use crate::graph::{Dim, ElementType, Tensor, TensorType, Type};

/// Constants of more elements than this are not followed.
const FOLLOWED_ELEMENTS: usize = 64;

/// What is known about a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    /// Element type; undefined when not known.
    pub element: ElementType,
    /// Axes, outermost first; `None` when even their number is not known.
    pub shape: Option<Vec<Dim>>,
    /// The elements, where they can be told.
    pub constant: Option<Constant>,
}

/// Elements of a small value with at most one axis.
#[derive(Clone, Debug, PartialEq)]
pub enum Constant {
    /// Whole numbers (and booleans as 0 and 1), also such that are known by name only: the parts of
    /// a shape.
    Integers(Vec<Dim>),
    /// Floating-point numbers.
    Floats(Vec<f32>),
}

impl Fact {
    /// Nothing is known.
    pub fn unknown() -> Self {
        Fact { element: ElementType::Undefined, shape: None, constant: None }
    }

    /// Element type and shape.
    pub fn new(element: ElementType, shape: Option<Vec<Dim>>) -> Self {
        Fact { element, shape, constant: None }
    }

    /// Whole numbers: a vector, or a single one without axes.
    pub fn integers(values: Vec<Dim>, has_axis: bool) -> Self {
        let shape = if has_axis { vec![Dim::from(values.len())] } else { Vec::new() };
        let constant = (values.len() <= FOLLOWED_ELEMENTS).then_some(Constant::Integers(values));
        Fact { element: ElementType::I64, shape: Some(shape), constant }
    }

    /// What a stored tensor tells.
    pub fn of_tensor(tensor: &Tensor) -> Self {
        let shape: Vec<Dim> = tensor.shape.iter().map(|&size| size.into()).collect();
        let is_small = shape.len() <= 1 && tensor.elements().is_some_and(|count| count <= FOLLOWED_ELEMENTS);
        let constant = if !is_small {
            None
        } else if let Some(integers) = tensor.to_integers() {
            Some(Constant::Integers(integers.into_iter().map(Dim::Fixed).collect()))
        } else {
            let floats = tensor.to_host().and_then(|host| Some(host.to_f32()?.to_vec()));
            floats.map(Constant::Floats)
        };
        Fact { element: tensor.element, shape: Some(shape), constant }
    }

    /// What a type tells.
    pub fn of_type(known: &Type) -> Self {
        match known.as_tensor() {
            Some(TensorType { element, shape, .. }) => Fact::new(*element, shape.clone()),
            None => Fact::unknown(),
        }
    }

    /// The type, if at least the elements' is known.
    pub fn to_type(&self) -> Option<Type> {
        (self.element != ElementType::Undefined).then(|| Type::tensor(self.element, self.shape.clone()))
    }

    /// Number of axes.
    pub fn rank(&self) -> Option<usize> {
        self.shape.as_ref().map(Vec::len)
    }

    /// The bytes that all elements take, where their number is known.
    pub fn bytes(&self) -> Option<f64> {
        let sizes: Vec<i64> = self.shape.as_ref()?.iter().map(Dim::fixed).collect::<Option<_>>()?;
        Some(sizes.into_iter().map(|size| size as f64).product::<f64>() * self.element.bits()? as f64 / 8.0)
    }

    /// The whole numbers, if all can be told at least by name.
    pub fn as_integers(&self) -> Option<&[Dim]> {
        match &self.constant {
            Some(Constant::Integers(values)) => Some(values),
            _ => None,
        }
    }

    /// The whole numbers, if all are known.
    pub fn as_fixed(&self) -> Option<Vec<i64>> {
        self.as_integers()?.iter().map(Dim::fixed).collect()
    }

    /// The floating-point numbers.
    pub fn as_floats(&self) -> Option<&[f32]> {
        match &self.constant {
            Some(Constant::Floats(values)) => Some(values),
            _ => None,
        }
    }
}
