//! The Python names a checkpoint may refer to. Each stands for data; none is ever called as code.

use crate::tensor::DType;

/// A permitted name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    /// `collections.OrderedDict` and `dict`.
    Dictionary,
    /// `torch.Size`, `tuple`, `list`: a sequence made from another one.
    Sequence,
    /// `torch._utils._rebuild_tensor` and `_v2`: (storage, offset, shape, strides, ...).
    RebuildTensor,
    /// `torch._utils._rebuild_parameter`: (tensor, ...).
    RebuildParameter,
    /// `torch.FloatStorage` and its siblings.
    Storage(DType),
    /// Settings and numbers that come along in training checkpoints and hold no weights.
    Inert,
}

impl Global {
    /// The permitted name, or `None`: the caller refuses the file.
    pub(super) fn find(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict" | "defaultdict") | ("builtins" | "__builtin__", "dict") => Global::Dictionary,
            ("torch", "Size") | ("builtins" | "__builtin__", "tuple" | "list") => Global::Sequence,
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Global::RebuildTensor,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Global::RebuildParameter,
            ("torch" | "torch.storage", storage) if storage.ends_with("Storage") => Global::Storage(element(storage)?),
            (
                "torch",
                "device" | "float32" | "float64" | "float16" | "bfloat16" | "int64" | "int32" | "uint8" | "bool",
            )
            | ("argparse", "Namespace")
            | ("builtins" | "__builtin__", "object" | "set" | "frozenset" | "int" | "float" | "complex" | "slice")
            | ("copyreg" | "copy_reg", "_reconstructor")
            | ("_codecs", "encode")
            | ("numpy", "dtype")
            | ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Global::Inert,
            _ => return None,
        })
    }
}

fn element(storage: &str) -> Option<DType> {
    Some(match storage {
        "FloatStorage" => DType::F32,
        "DoubleStorage" => DType::F64,
        "HalfStorage" => DType::F16,
        "BFloat16Storage" => DType::BF16,
        "LongStorage" => DType::I64,
        "IntStorage" => DType::I32,
        "ShortStorage" => DType::I16,
        "CharStorage" => DType::I8,
        "ByteStorage" | "UntypedStorage" => DType::U8,
        "BoolStorage" => DType::Bool,
        _ => return None,
    })
}
