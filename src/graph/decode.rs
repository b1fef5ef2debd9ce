//! Protobuf messages to the graph in memory; whatever field a tensor's data is in, it becomes one
//! run of bytes.

use bytes::Bytes;
use prost::Message as _;

use crate::error::{GraphError, Result};
use crate::graph::external::ExternalFiles;
use crate::graph::initializer::{SparseTensor, Tensor, TensorData};
use crate::graph::model::{Function, Model, OperatorSet, Training};
use crate::graph::node::{Attribute, AttributeKind, AttributeValue, Node, ValueInfo};
use crate::graph::types::{Dim, ElementType, Property, TensorType, Type, TypeKind};
use crate::graph::{Annotation, Graph, proto};

/// Decodes a model; `files` finds external data, which is refused without it.
pub(super) fn decode(bytes: Bytes, files: Option<&mut ExternalFiles>) -> Result<Model> {
    let message = proto::Model::decode(bytes).map_err(|source| GraphError::Protobuf { source })?;
    Decoder { files }.model(message)
}

struct Decoder<'a> {
    files: Option<&'a mut ExternalFiles>,
}

fn properties(entries: Vec<proto::Entry>) -> Vec<Property> {
    entries.into_iter().map(|entry| Property { key: entry.key, value: entry.value }).collect()
}

fn operator_sets(sets: Vec<proto::OperatorSet>) -> Vec<OperatorSet> {
    sets.into_iter().map(|set| OperatorSet { domain: set.domain, version: set.version }).collect()
}

fn missing(what: &'static str, place: impl Into<String>) -> GraphError {
    GraphError::Missing { what, place: place.into() }
}

impl Decoder<'_> {
    fn model(&mut self, message: proto::Model) -> Result<Model> {
        let graph = message.graph.ok_or_else(|| missing("the graph", "the model"))?;
        let functions = message.functions.into_iter().map(|function| self.function(function)).collect::<Result<_>>()?;
        let training = message.training_info.into_iter().map(|info| self.training(info)).collect::<Result<_>>()?;
        Ok(Model {
            ir_version: message.ir_version.ok_or_else(|| missing("the format version `ir_version`", "the model"))?,
            opset_imports: operator_sets(message.opset_import),
            producer_name: message.producer_name,
            producer_version: message.producer_version,
            domain: message.domain,
            model_version: message.model_version,
            doc: message.doc_string,
            metadata: properties(message.metadata_props),
            functions,
            training,
            device_configurations: message.configuration,
            graph: self.graph(graph)?,
        })
    }

    fn function(&mut self, message: proto::Function) -> Result<Function> {
        Ok(Function {
            defaults: self.attributes(message.attribute_proto, &message.name)?,
            nodes: message.node.into_iter().map(|node| self.node(node)).collect::<Result<_>>()?,
            value_infos: message.value_info.into_iter().map(value_info).collect::<Result<_>>()?,
            name: message.name,
            domain: message.domain,
            overload: message.overload,
            inputs: message.input,
            outputs: message.output,
            attributes: message.attribute,
            opset_imports: operator_sets(message.opset_import),
            doc: message.doc_string,
            metadata: properties(message.metadata_props),
        })
    }

    fn training(&mut self, message: proto::Training) -> Result<Training> {
        Ok(Training {
            initialization: message.initialization.map(|graph| self.graph(graph)).transpose()?,
            algorithm: message.algorithm.map(|graph| self.graph(graph)).transpose()?,
            initialization_binding: properties(message.initialization_binding),
            update_binding: properties(message.update_binding),
        })
    }

    fn graph(&mut self, message: proto::Graph) -> Result<Graph> {
        let annotation = |annotation: proto::Annotation| Annotation {
            value: annotation.tensor_name,
            parameters: properties(annotation.quant_parameter_tensor_names),
        };
        let place = format!("graph `{}`", message.name);
        Ok(Graph {
            nodes: message.node.into_iter().map(|node| self.node(node)).collect::<Result<_>>()?,
            inputs: message.input.into_iter().map(value_info).collect::<Result<_>>()?,
            outputs: message.output.into_iter().map(value_info).collect::<Result<_>>()?,
            value_infos: message.value_info.into_iter().map(value_info).collect::<Result<_>>()?,
            initializers: message
                .initializer
                .into_iter()
                .map(|tensor| self.tensor(tensor, &place))
                .collect::<Result<_>>()?,
            sparse_initializers: message
                .sparse_initializer
                .into_iter()
                .map(|tensor| self.sparse_tensor(tensor, &place))
                .collect::<Result<_>>()?,
            annotations: message.quantization_annotation.into_iter().map(annotation).collect(),
            name: message.name,
            doc: message.doc_string,
            metadata: properties(message.metadata_props),
        })
    }

    fn node(&mut self, message: proto::Node) -> Result<Node> {
        let mut node = Node {
            operator: message.op_type,
            domain: message.domain,
            overload: message.overload,
            name: message.name,
            inputs: message.input,
            outputs: message.output,
            attributes: Vec::new(),
            doc: message.doc_string,
            metadata: properties(message.metadata_props),
            device_configurations: message.device_configurations,
        };
        node.attributes = self.attributes(message.attribute, node.label())?;
        Ok(node)
    }

    fn attributes(&mut self, messages: Vec<proto::Attribute>, owner: &str) -> Result<Vec<Attribute>> {
        messages.into_iter().map(|message| self.attribute(message, owner)).collect()
    }

    fn attribute(&mut self, message: proto::Attribute, owner: &str) -> Result<Attribute> {
        let place = format!("attribute `{}` of `{owner}`", message.name);
        let kind = AttributeKind::from_code(message.r#type).ok_or_else(|| GraphError::UnknownCode {
            what: "attribute type",
            place: place.clone(),
            code: message.r#type,
        })?;
        let kind = if kind == AttributeKind::Undefined { evident_kind(&message) } else { kind };
        let name = message.name.clone();
        let doc = message.doc_string.clone();
        let value = if message.ref_attr_name.is_empty() {
            self.attribute_value(message, kind, &place)?
        } else {
            AttributeValue::Reference { name: message.ref_attr_name, kind }
        };
        Ok(Attribute { name, value, doc })
    }

    fn attribute_value(
        &mut self,
        message: proto::Attribute,
        kind: AttributeKind,
        place: &str,
    ) -> Result<AttributeValue> {
        let nothing = || missing("the value", place);
        Ok(match kind {
            AttributeKind::Undefined => return Err(nothing().into()),
            AttributeKind::Float => AttributeValue::Float(message.f.unwrap_or_default()),
            AttributeKind::Int => AttributeValue::Int(message.i.unwrap_or_default()),
            AttributeKind::String => AttributeValue::String(message.s.unwrap_or_default()),
            AttributeKind::Tensor => AttributeValue::Tensor(self.tensor(message.t.ok_or_else(nothing)?, place)?),
            AttributeKind::Graph => AttributeValue::Graph(Box::new(self.graph(message.g.ok_or_else(nothing)?)?)),
            AttributeKind::SparseTensor => {
                AttributeValue::SparseTensor(self.sparse_tensor(message.sparse_tensor.ok_or_else(nothing)?, place)?)
            }
            AttributeKind::Type => AttributeValue::Type(value_type(message.tp.ok_or_else(nothing)?, place)?),
            AttributeKind::Floats => AttributeValue::Floats(message.floats),
            AttributeKind::Ints => AttributeValue::Ints(message.ints),
            AttributeKind::Strings => AttributeValue::Strings(message.strings),
            AttributeKind::Tensors => AttributeValue::Tensors(
                message.tensors.into_iter().map(|tensor| self.tensor(tensor, place)).collect::<Result<_>>()?,
            ),
            AttributeKind::Graphs => AttributeValue::Graphs(
                message.graphs.into_iter().map(|graph| self.graph(graph)).collect::<Result<_>>()?,
            ),
            AttributeKind::SparseTensors => AttributeValue::SparseTensors(
                message
                    .sparse_tensors
                    .into_iter()
                    .map(|tensor| self.sparse_tensor(tensor, place))
                    .collect::<Result<_>>()?,
            ),
            AttributeKind::Types => AttributeValue::Types(
                message.type_protos.into_iter().map(|inner| value_type(inner, place)).collect::<Result<_>>()?,
            ),
        })
    }

    fn sparse_tensor(&mut self, message: proto::SparseTensor, place: &str) -> Result<SparseTensor> {
        let values = message.values.ok_or_else(|| missing("the values of a sparse tensor", place))?;
        let values = self.tensor(values, place)?;
        Ok(SparseTensor {
            indices: message.indices.map(|indices| self.tensor(indices, place)).transpose()?,
            shape: sizes(&values.name, &message.dims)?,
            values,
        })
    }

    fn tensor(&mut self, message: proto::Tensor, place: &str) -> Result<Tensor> {
        let label = if message.name.is_empty() { place } else { message.name.as_str() };
        let element = ElementType::from_code(message.data_type).ok_or_else(|| GraphError::UnknownCode {
            what: "element type",
            place: format!("tensor `{label}`"),
            code: message.data_type,
        })?;
        let mut tensor = Tensor {
            shape: sizes(label, &message.dims)?,
            element,
            data: TensorData::Bytes(Bytes::new()),
            segment: message.segment.as_ref().map(|segment| (segment.begin, segment.end)),
            doc: String::new(),
            metadata: Vec::new(),
            name: label.to_owned(),
        };
        tensor.data = match message.data_location {
            1 => match &mut self.files {
                Some(files) => TensorData::Bytes(files.read(&tensor, &message.external_data)?),
                None => {
                    let location = message.external_data.iter().find(|entry| entry.key == "location");
                    let location = location.map(|entry| entry.value.clone()).unwrap_or_default();
                    return Err(GraphError::ExternalInMemory { tensor: tensor.name, location }.into());
                }
            },
            _ => elements(element, &message),
        };
        tensor.name = message.name;
        tensor.doc = message.doc_string;
        tensor.metadata = properties(message.metadata_props);
        Ok(tensor)
    }
}

fn sizes(tensor: &str, dims: &[i64]) -> Result<Vec<usize>> {
    let sizes: Option<Vec<usize>> = dims.iter().map(|&size| usize::try_from(size).ok()).collect();
    Ok(sizes.ok_or_else(|| GraphError::TensorShape { tensor: tensor.to_owned(), shape: dims.to_vec() })?)
}

/// The kind of an attribute of a file that does not say it, from the field that is filled.
fn evident_kind(message: &proto::Attribute) -> AttributeKind {
    let filled = [
        (message.f.is_some(), AttributeKind::Float),
        (message.i.is_some(), AttributeKind::Int),
        (message.s.is_some(), AttributeKind::String),
        (message.t.is_some(), AttributeKind::Tensor),
        (message.g.is_some(), AttributeKind::Graph),
        (message.tp.is_some(), AttributeKind::Type),
        (message.sparse_tensor.is_some(), AttributeKind::SparseTensor),
        (!message.floats.is_empty(), AttributeKind::Floats),
        (!message.ints.is_empty(), AttributeKind::Ints),
        (!message.strings.is_empty(), AttributeKind::Strings),
        (!message.tensors.is_empty(), AttributeKind::Tensors),
        (!message.graphs.is_empty(), AttributeKind::Graphs),
        (!message.sparse_tensors.is_empty(), AttributeKind::SparseTensors),
        (!message.type_protos.is_empty(), AttributeKind::Types),
    ];
    filled.into_iter().find(|(is_filled, _)| *is_filled).map_or(AttributeKind::Undefined, |(_, kind)| kind)
}

/// The elements of a tensor from `raw_data`, or from the field that its type prescribes.
fn elements(element: ElementType, message: &proto::Tensor) -> TensorData {
    if element == ElementType::String {
        return TensorData::Strings(message.string_data.clone());
    }
    if let Some(raw) = &message.raw_data {
        return TensorData::Bytes(raw.clone());
    }
    let bytes: Vec<u8> = match element {
        ElementType::F32 | ElementType::Complex64 => message.float_data.iter().flat_map(|x| x.to_le_bytes()).collect(),
        ElementType::F64 | ElementType::Complex128 => {
            message.double_data.iter().flat_map(|x| x.to_le_bytes()).collect()
        }
        ElementType::I64 => message.int64_data.iter().flat_map(|x| x.to_le_bytes()).collect(),
        ElementType::U64 => message.uint64_data.iter().flat_map(|x| x.to_le_bytes()).collect(),
        ElementType::U32 => message.uint64_data.iter().flat_map(|&x| (x as u32).to_le_bytes()).collect(),
        ElementType::I32 => message.int32_data.iter().flat_map(|x| x.to_le_bytes()).collect(),
        ElementType::I16 | ElementType::U16 | ElementType::F16 | ElementType::BF16 => {
            message.int32_data.iter().flat_map(|&x| (x as u16).to_le_bytes()).collect()
        }
        ElementType::Bool => message.int32_data.iter().map(|&x| u8::from(x != 0)).collect(),
        // Types of at most 8 bits, packed ones byte by byte.
        _ => message.int32_data.iter().map(|&x| x as u8).collect(),
    };
    TensorData::Bytes(bytes.into())
}

fn value_info(message: proto::ValueInfo) -> Result<ValueInfo> {
    let place = format!("the type of value `{}`", message.name);
    Ok(ValueInfo {
        r#type: message.r#type.map(|inner| value_type(inner, &place)).transpose()?,
        name: message.name,
        doc: message.doc_string,
        metadata: properties(message.metadata_props),
    })
}

fn value_type(message: proto::Type, place: &str) -> Result<Type> {
    let boxed = |inner: Option<Box<proto::Type>>| {
        inner.map(|inner| Ok::<_, crate::Error>(Box::new(value_type(*inner, place)?))).transpose()
    };
    let kind = match message.value {
        None => None,
        Some(proto::TypeValue::Tensor(tensor)) => Some(TypeKind::Tensor(tensor_type(tensor, place)?)),
        Some(proto::TypeValue::SparseTensor(tensor)) => Some(TypeKind::SparseTensor(tensor_type(tensor, place)?)),
        Some(proto::TypeValue::Sequence(inner)) => Some(TypeKind::Sequence(boxed(inner.elem_type)?)),
        Some(proto::TypeValue::Optional(inner)) => Some(TypeKind::Optional(boxed(inner.elem_type)?)),
        Some(proto::TypeValue::Map(map)) => {
            Some(TypeKind::Map(element_type(map.key_type, place)?, boxed(map.value_type)?))
        }
        Some(proto::TypeValue::Opaque(opaque)) => Some(TypeKind::Opaque { domain: opaque.domain, name: opaque.name }),
    };
    Ok(Type { kind, denotation: message.denotation })
}

fn element_type(code: i32, place: &str) -> Result<ElementType> {
    Ok(ElementType::from_code(code).ok_or_else(|| GraphError::UnknownCode {
        what: "element type",
        place: place.to_owned(),
        code,
    })?)
}

fn tensor_type(message: proto::TensorType, place: &str) -> Result<TensorType> {
    let mut denotations = Vec::new();
    let shape = message.shape.map(|shape| {
        if shape.dim.iter().any(|dim| !dim.denotation.is_empty()) {
            denotations = shape.dim.iter().map(|dim| dim.denotation.clone()).collect();
        }
        let dims = shape.dim.into_iter().map(|dim| match dim.value {
            Some(proto::DimensionValue::Value(size)) => Dim::Fixed(size),
            Some(proto::DimensionValue::Parameter(name)) => Dim::Symbol(name),
            None => Dim::Unknown,
        });
        dims.collect()
    });
    Ok(TensorType { element: element_type(message.elem_type, place)?, shape, denotations })
}
