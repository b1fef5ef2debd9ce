//! A model's protobuf message in pieces: what is small is encoded, weights are the bytes they are.
//!
//! The pieces one behind the other are exactly what encoding the whole message gives, so that a
//! model can be written and hashed without a copy of its weights, also where it is larger than one
//! message may be.

use bytes::Bytes;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};

use crate::graph::proto;

/// Weights of fewer bytes are encoded with their tensor.
const SMALLEST_PIECE: usize = 4096;
/// Field numbers of `onnx.proto`.
const MODEL_GRAPH: u32 = 7;
const GRAPH_INITIALIZER: u32 = 5;
const TENSOR_RAW_DATA: u32 = 9;

/// The pieces of a model.
pub(super) fn pieces(mut model: proto::Model) -> Vec<Bytes> {
    let graph = model.graph.take();
    // Fields behind the graph; those before it stay.
    let tail = proto::Model {
        opset_import: std::mem::take(&mut model.opset_import),
        metadata_props: std::mem::take(&mut model.metadata_props),
        training_info: std::mem::take(&mut model.training_info),
        functions: std::mem::take(&mut model.functions),
        configuration: std::mem::take(&mut model.configuration),
        ..proto::Model::default()
    };
    let mut pieces = Chunks { done: Vec::new(), open: model.encode_to_vec() };
    if let Some(graph) = graph {
        pieces.begin(MODEL_GRAPH, graph.encoded_len());
        pieces.graph(graph);
    }
    pieces.message(&tail);
    pieces.finish()
}

struct Chunks {
    done: Vec<Bytes>,
    open: Vec<u8>,
}

impl Chunks {
    /// A field of `length` bytes, which follow.
    fn begin(&mut self, field: u32, length: usize) {
        encode_key(field, WireType::LengthDelimited, &mut self.open);
        encode_varint(length as u64, &mut self.open);
    }

    fn message(&mut self, message: &impl Message) {
        self.open.extend(message.encode_to_vec());
    }

    fn bytes(&mut self, bytes: Bytes) {
        if !self.open.is_empty() {
            self.done.push(std::mem::take(&mut self.open).into());
        }
        self.done.push(bytes);
    }

    fn graph(&mut self, mut graph: proto::Graph) {
        let initializers = std::mem::take(&mut graph.initializer);
        let head = proto::Graph {
            node: std::mem::take(&mut graph.node),
            name: std::mem::take(&mut graph.name),
            ..proto::Graph::default()
        };
        self.message(&head);
        for tensor in initializers {
            self.begin(GRAPH_INITIALIZER, tensor.encoded_len());
            self.tensor(tensor);
        }
        self.message(&graph);
    }

    fn tensor(&mut self, mut tensor: proto::Tensor) {
        let Some(bytes) = tensor.raw_data.take_if(|bytes| bytes.len() >= SMALLEST_PIECE) else {
            return self.message(&tensor);
        };
        let tail = proto::Tensor {
            double_data: std::mem::take(&mut tensor.double_data),
            uint64_data: std::mem::take(&mut tensor.uint64_data),
            doc_string: std::mem::take(&mut tensor.doc_string),
            external_data: std::mem::take(&mut tensor.external_data),
            data_location: std::mem::take(&mut tensor.data_location),
            metadata_props: std::mem::take(&mut tensor.metadata_props),
            ..proto::Tensor::default()
        };
        self.message(&tensor);
        self.begin(TENSOR_RAW_DATA, bytes.len());
        self.bytes(bytes);
        self.message(&tail);
    }

    fn finish(mut self) -> Vec<Bytes> {
        if !self.open.is_empty() {
            self.done.push(self.open.into());
        }
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Builder, Dim, Property, encode};
    use crate::tensor::{DType, HostTensor};

    #[test]
    fn pieces_are_the_message_and_weights_are_not_copied() {
        let weight = HostTensor::from_fn(&[64, 32], |at| at as f32);
        let mut b = Builder::new("net");
        let x = b.input("x", DType::F32, &[Dim::symbol("batch"), Dim::Fixed(32)]);
        let (w, bias) = (b.parameter("w", &weight), b.parameter("b", &HostTensor::vector(vec![1f32; 64])));
        let y = b.linear(&x, &w, Some(&bias));
        b.output("y", &y);
        let mut model = b.finish().unwrap();
        model.set_property("key", "value");
        model.graph.doc = "graph".into();
        model.graph.initializers[0].doc = "weight".into();
        model.graph.initializers[0].metadata.push(Property::new("a", "b"));
        model.graph.metadata.push(Property::new("c", "d"));
        let pieces = pieces(encode::model(&model));
        assert_eq!(pieces.concat(), encode::model(&model).encode_to_vec());
        assert!(pieces.iter().any(|piece| piece.as_ptr() == weight.bytes().as_ptr()));
    }
}
