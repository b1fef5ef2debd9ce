//! Types of values: element types of ONNX, dimensions, tensors, sequences, maps, optionals.

use std::fmt;

use crate::tensor::DType;

/// A key with its text, as in `metadata_props`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// The key.
    pub key: String,
    /// The text.
    pub value: String,
}

impl Property {
    /// A key with its text.
    pub fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
        Property { key: key.into(), value: value.into() }
    }
}

/// Element type of an ONNX tensor (`TensorProto.DataType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are the types")]
pub enum ElementType {
    /// Not said.
    Undefined,
    F32,
    U8,
    I8,
    U16,
    I16,
    I32,
    I64,
    String,
    Bool,
    F16,
    F64,
    U32,
    U64,
    Complex64,
    Complex128,
    BF16,
    F8E4M3FN,
    F8E4M3FNUZ,
    F8E5M2,
    F8E5M2FNUZ,
    U4,
    I4,
    F4E2M1,
    F8E8M0,
    U2,
    I2,
}

/// Element types in the order of their codes, with the name shown in text.
const ELEMENT_TYPES: [(ElementType, &str); 27] = [
    (ElementType::Undefined, "undefined"),
    (ElementType::F32, "f32"),
    (ElementType::U8, "u8"),
    (ElementType::I8, "i8"),
    (ElementType::U16, "u16"),
    (ElementType::I16, "i16"),
    (ElementType::I32, "i32"),
    (ElementType::I64, "i64"),
    (ElementType::String, "string"),
    (ElementType::Bool, "bool"),
    (ElementType::F16, "f16"),
    (ElementType::F64, "f64"),
    (ElementType::U32, "u32"),
    (ElementType::U64, "u64"),
    (ElementType::Complex64, "complex64"),
    (ElementType::Complex128, "complex128"),
    (ElementType::BF16, "bf16"),
    (ElementType::F8E4M3FN, "f8e4m3fn"),
    (ElementType::F8E4M3FNUZ, "f8e4m3fnuz"),
    (ElementType::F8E5M2, "f8e5m2"),
    (ElementType::F8E5M2FNUZ, "f8e5m2fnuz"),
    (ElementType::U4, "u4"),
    (ElementType::I4, "i4"),
    (ElementType::F4E2M1, "f4e2m1"),
    (ElementType::F8E8M0, "f8e8m0"),
    (ElementType::U2, "u2"),
    (ElementType::I2, "i2"),
];

impl ElementType {
    /// The type of a `TensorProto.DataType` code.
    pub fn from_code(code: i32) -> Option<Self> {
        ELEMENT_TYPES.get(usize::try_from(code).ok()?).map(|entry| entry.0)
    }

    /// `TensorProto.DataType` of ONNX.
    pub const fn code(self) -> i32 {
        self as i32
    }

    /// Bits of one element as ONNX packs it; `None` for strings and for the undefined type.
    pub const fn bits(self) -> Option<usize> {
        Some(match self {
            ElementType::Undefined | ElementType::String => return None,
            ElementType::Complex128 => 128,
            ElementType::F64 | ElementType::I64 | ElementType::U64 | ElementType::Complex64 => 64,
            ElementType::F32 | ElementType::I32 | ElementType::U32 => 32,
            ElementType::F16 | ElementType::BF16 | ElementType::I16 | ElementType::U16 => 16,
            ElementType::U4 | ElementType::I4 | ElementType::F4E2M1 => 4,
            ElementType::U2 | ElementType::I2 => 2,
            _ => 8,
        })
    }

    /// Bytes that `elements` of them take; `None` for strings, the undefined type, and on overflow.
    pub fn bytes_of(self, elements: usize) -> Option<usize> {
        Some(elements.checked_mul(self.bits()?)?.div_ceil(8))
    }

    /// The type in host memory; `None` for strings, complex numbers and types that only ONNX has.
    pub fn dtype(self) -> Option<DType> {
        DType::from_onnx_code(self.code())
    }

    /// Whether it is a floating-point type of at least 16 bits.
    pub const fn is_float(self) -> bool {
        matches!(self, ElementType::F32 | ElementType::F64 | ElementType::F16 | ElementType::BF16)
    }
}

impl From<DType> for ElementType {
    fn from(dtype: DType) -> Self {
        ElementType::from_code(dtype.onnx_code()).unwrap_or(ElementType::Undefined)
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ELEMENT_TYPES[*self as usize].1)
    }
}

/// The size of one axis.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    /// A known size.
    Fixed(i64),
    /// A size known by name only, the same wherever the name appears: `batch`.
    Symbol(String),
    /// A size about which nothing is known.
    Unknown,
}

impl Dim {
    /// A size known by name only.
    pub fn symbol(name: &str) -> Self {
        Dim::Symbol(name.to_owned())
    }

    /// The size, where it is known.
    pub fn fixed(&self) -> Option<i64> {
        match self {
            Dim::Fixed(size) => Some(*size),
            _ => None,
        }
    }
}

impl From<i64> for Dim {
    fn from(size: i64) -> Self {
        Dim::Fixed(size)
    }
}

impl From<usize> for Dim {
    fn from(size: usize) -> Self {
        i64::try_from(size).map_or(Dim::Unknown, Dim::Fixed)
    }
}

impl From<&str> for Dim {
    fn from(name: &str) -> Self {
        Dim::symbol(name)
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Fixed(size) => write!(f, "{size}"),
            Dim::Symbol(name) => f.write_str(name),
            Dim::Unknown => f.write_str("?"),
        }
    }
}

/// Writes dimensions as `[batch, 3, ?]`.
pub fn shape_text(shape: &[Dim]) -> String {
    let dims: Vec<String> = shape.iter().map(Dim::to_string).collect();
    format!("[{}]", dims.join(", "))
}

/// Element type and shape of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorType {
    /// Element type.
    pub element: ElementType,
    /// Axes, outermost first; `None` when even their number is unknown.
    pub shape: Option<Vec<Dim>>,
    /// What each axis means, as ONNX's denotations; empty when no axis has one.
    pub denotations: Vec<String>,
}

impl TensorType {
    /// A tensor type without denotations.
    pub fn new(element: impl Into<ElementType>, shape: Option<Vec<Dim>>) -> Self {
        TensorType { element: element.into(), shape, denotations: Vec::new() }
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.shape {
            Some(shape) => write!(f, "{}{}", self.element, shape_text(shape)),
            None => write!(f, "{}[...]", self.element),
        }
    }
}

/// The type of a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Type {
    /// What kind of value it is; `None` when the file does not say.
    pub kind: Option<TypeKind>,
    /// What the value means, as ONNX's denotations: `IMAGE`; empty when not said.
    pub denotation: String,
}

/// The kinds of values ONNX knows; an element type that a file leaves out is `None`.
#[derive(Clone, Debug, PartialEq)]
pub enum TypeKind {
    /// A dense tensor.
    Tensor(TensorType),
    /// A sparse tensor.
    SparseTensor(TensorType),
    /// A sequence of values of one type.
    Sequence(Option<Box<Type>>),
    /// A value or nothing.
    Optional(Option<Box<Type>>),
    /// Keys of an integral or string type to values of one type.
    Map(ElementType, Option<Box<Type>>),
    /// A type that only a domain knows.
    Opaque {
        /// The domain.
        domain: String,
        /// The type's name in it.
        name: String,
    },
}

impl Type {
    /// A dense tensor.
    pub fn tensor(element: impl Into<ElementType>, shape: Option<Vec<Dim>>) -> Self {
        TypeKind::Tensor(TensorType::new(element, shape)).into()
    }

    /// The type as a dense tensor's.
    pub fn as_tensor(&self) -> Option<&TensorType> {
        match &self.kind {
            Some(TypeKind::Tensor(tensor)) => Some(tensor),
            _ => None,
        }
    }
}

impl From<TypeKind> for Type {
    fn from(kind: TypeKind) -> Self {
        Type { kind: Some(kind), denotation: String::new() }
    }
}

impl From<TensorType> for Type {
    fn from(tensor: TensorType) -> Self {
        TypeKind::Tensor(tensor).into()
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = |element: &Option<Box<Type>>| element.as_ref().map_or("?".to_owned(), |inner| inner.to_string());
        match &self.kind {
            None => f.write_str("?"),
            Some(TypeKind::Tensor(tensor)) => write!(f, "{tensor}"),
            Some(TypeKind::SparseTensor(tensor)) => write!(f, "sparse({tensor})"),
            Some(TypeKind::Sequence(element)) => write!(f, "sequence({})", inner(element)),
            Some(TypeKind::Optional(element)) => write!(f, "optional({})", inner(element)),
            Some(TypeKind::Map(key, value)) => write!(f, "map({key}, {})", inner(value)),
            Some(TypeKind::Opaque { domain, name }) => write!(f, "opaque({domain}.{name})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_host_types_agree() {
        for (code, (element, _)) in ELEMENT_TYPES.iter().enumerate() {
            assert_eq!(element.code(), code as i32);
            assert_eq!(ElementType::from_code(code as i32), Some(*element));
            if let Some(dtype) = element.dtype() {
                assert_eq!(element.bits(), Some(dtype.size() * 8));
                assert_eq!(ElementType::from(dtype), *element);
                assert_eq!(element.to_string(), dtype.to_string());
            }
        }
        assert_eq!(ElementType::from_code(99), None);
        assert_eq!(ElementType::I4.bytes_of(3), Some(2));
    }
}
