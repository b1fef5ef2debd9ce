//! The graph in memory to protobuf messages; weights are shared, not copied.

use crate::graph::initializer::{SparseTensor, Tensor, TensorData};
use crate::graph::model::{Function, Model, OperatorSet, Training};
use crate::graph::node::{Attribute, AttributeValue, Node, ValueInfo};
use crate::graph::types::{Dim, Property, TensorType, Type, TypeKind};
use crate::graph::{Graph, proto};

fn entries(properties: &[Property]) -> Vec<proto::Entry> {
    let entry = |property: &Property| proto::Entry { key: property.key.clone(), value: property.value.clone() };
    properties.iter().map(entry).collect()
}

fn operator_sets(sets: &[OperatorSet]) -> Vec<proto::OperatorSet> {
    sets.iter().map(|set| proto::OperatorSet { domain: set.domain.clone(), version: set.version }).collect()
}

/// The message of a model.
pub(super) fn model(model: &Model) -> proto::Model {
    proto::Model {
        ir_version: Some(model.ir_version),
        producer_name: model.producer_name.clone(),
        producer_version: model.producer_version.clone(),
        domain: model.domain.clone(),
        model_version: model.model_version,
        doc_string: model.doc.clone(),
        graph: Some(graph(&model.graph)),
        opset_import: operator_sets(&model.opset_imports),
        metadata_props: entries(&model.metadata),
        training_info: model.training.iter().map(training).collect(),
        functions: model.functions.iter().map(function).collect(),
        configuration: model.device_configurations.clone(),
    }
}

fn training(training: &Training) -> proto::Training {
    proto::Training {
        initialization: training.initialization.as_ref().map(graph),
        algorithm: training.algorithm.as_ref().map(graph),
        initialization_binding: entries(&training.initialization_binding),
        update_binding: entries(&training.update_binding),
    }
}

fn function(function: &Function) -> proto::Function {
    proto::Function {
        name: function.name.clone(),
        input: function.inputs.clone(),
        output: function.outputs.clone(),
        attribute: function.attributes.clone(),
        node: function.nodes.iter().map(node).collect(),
        doc_string: function.doc.clone(),
        opset_import: operator_sets(&function.opset_imports),
        domain: function.domain.clone(),
        attribute_proto: function.defaults.iter().map(attribute).collect(),
        value_info: function.value_infos.iter().map(value_info).collect(),
        overload: function.overload.clone(),
        metadata_props: entries(&function.metadata),
    }
}

fn graph(graph: &Graph) -> proto::Graph {
    let annotation = |annotation: &super::Annotation| proto::Annotation {
        tensor_name: annotation.value.clone(),
        quant_parameter_tensor_names: entries(&annotation.parameters),
    };
    proto::Graph {
        node: graph.nodes.iter().map(node).collect(),
        name: graph.name.clone(),
        initializer: graph.initializers.iter().map(tensor).collect(),
        doc_string: graph.doc.clone(),
        input: graph.inputs.iter().map(value_info).collect(),
        output: graph.outputs.iter().map(value_info).collect(),
        value_info: graph.value_infos.iter().map(value_info).collect(),
        quantization_annotation: graph.annotations.iter().map(annotation).collect(),
        sparse_initializer: graph.sparse_initializers.iter().map(sparse_tensor).collect(),
        metadata_props: entries(&graph.metadata),
    }
}

fn node(node: &Node) -> proto::Node {
    proto::Node {
        input: node.inputs.clone(),
        output: node.outputs.clone(),
        name: node.name.clone(),
        op_type: node.operator.clone(),
        attribute: node.attributes.iter().map(attribute).collect(),
        doc_string: node.doc.clone(),
        domain: node.domain.clone(),
        overload: node.overload.clone(),
        metadata_props: entries(&node.metadata),
        device_configurations: node.device_configurations.clone(),
    }
}

fn attribute(attribute: &Attribute) -> proto::Attribute {
    let mut message = proto::Attribute {
        name: attribute.name.clone(),
        doc_string: attribute.doc.clone(),
        r#type: attribute.value.kind().code(),
        ..proto::Attribute::default()
    };
    match &attribute.value {
        AttributeValue::Float(value) => message.f = Some(*value),
        AttributeValue::Int(value) => message.i = Some(*value),
        AttributeValue::String(value) => message.s = Some(value.clone()),
        AttributeValue::Tensor(value) => message.t = Some(tensor(value)),
        AttributeValue::Graph(value) => message.g = Some(graph(value)),
        AttributeValue::SparseTensor(value) => message.sparse_tensor = Some(sparse_tensor(value)),
        AttributeValue::Type(value) => message.tp = Some(value_type(value)),
        AttributeValue::Floats(values) => message.floats = values.clone(),
        AttributeValue::Ints(values) => message.ints = values.clone(),
        AttributeValue::Strings(values) => message.strings = values.clone(),
        AttributeValue::Tensors(values) => message.tensors = values.iter().map(tensor).collect(),
        AttributeValue::Graphs(values) => message.graphs = values.iter().map(graph).collect(),
        AttributeValue::SparseTensors(values) => message.sparse_tensors = values.iter().map(sparse_tensor).collect(),
        AttributeValue::Types(values) => message.type_protos = values.iter().map(value_type).collect(),
        AttributeValue::Reference { name, .. } => message.ref_attr_name = name.clone(),
    }
    message
}

fn dims(shape: &[usize]) -> Vec<i64> {
    shape.iter().map(|&size| size as i64).collect()
}

fn sparse_tensor(sparse: &SparseTensor) -> proto::SparseTensor {
    proto::SparseTensor {
        values: Some(tensor(&sparse.values)),
        indices: sparse.indices.as_ref().map(tensor),
        dims: dims(&sparse.shape),
    }
}

fn tensor(tensor: &Tensor) -> proto::Tensor {
    let mut message = proto::Tensor {
        dims: dims(&tensor.shape),
        data_type: tensor.element.code(),
        segment: tensor.segment.map(|(begin, end)| proto::Segment { begin, end }),
        name: tensor.name.clone(),
        doc_string: tensor.doc.clone(),
        metadata_props: entries(&tensor.metadata),
        ..proto::Tensor::default()
    };
    match &tensor.data {
        TensorData::Bytes(bytes) => message.raw_data = Some(bytes.clone()),
        TensorData::Strings(strings) => message.string_data = strings.clone(),
    }
    message
}

fn value_info(info: &ValueInfo) -> proto::ValueInfo {
    proto::ValueInfo {
        name: info.name.clone(),
        r#type: info.r#type.as_ref().map(value_type),
        doc_string: info.doc.clone(),
        metadata_props: entries(&info.metadata),
    }
}

fn value_type(value: &Type) -> proto::Type {
    let boxed = |inner: &Option<Box<Type>>| {
        Box::new(proto::ElementOf { elem_type: inner.as_ref().map(|inner| Box::new(value_type(inner))) })
    };
    let kind = value.kind.as_ref().map(|kind| match kind {
        TypeKind::Tensor(tensor) => proto::TypeValue::Tensor(tensor_type(tensor)),
        TypeKind::SparseTensor(tensor) => proto::TypeValue::SparseTensor(tensor_type(tensor)),
        TypeKind::Sequence(inner) => proto::TypeValue::Sequence(boxed(inner)),
        TypeKind::Optional(inner) => proto::TypeValue::Optional(boxed(inner)),
        TypeKind::Map(key, value) => proto::TypeValue::Map(Box::new(proto::MapType {
            key_type: key.code(),
            value_type: value.as_ref().map(|inner| Box::new(value_type(inner))),
        })),
        TypeKind::Opaque { domain, name } => {
            proto::TypeValue::Opaque(proto::OpaqueType { domain: domain.clone(), name: name.clone() })
        }
    });
    proto::Type { value: kind, denotation: value.denotation.clone() }
}

fn tensor_type(tensor: &TensorType) -> proto::TensorType {
    let dimension = |(axis, dim): (usize, &Dim)| proto::Dimension {
        value: match dim {
            Dim::Fixed(size) => Some(proto::DimensionValue::Value(*size)),
            Dim::Symbol(name) => Some(proto::DimensionValue::Parameter(name.clone())),
            Dim::Unknown => None,
        },
        denotation: tensor.denotations.get(axis).cloned().unwrap_or_default(),
    };
    let shape = |shape: &Vec<Dim>| proto::Shape { dim: shape.iter().enumerate().map(dimension).collect() };
    proto::TensorType { elem_type: tensor.element.code(), shape: tensor.shape.as_ref().map(shape) }
}
