//! Matrix products in 8-bit integers, for the CPU: weights are rounded once, activations at every
//! run.
//!
//! `y = x W + b` with a constant matrix W `[K, N]` (a `MatMul`, or a `Gemm`) becomes
//!
//! ```text
//! s = max(max |x|, tiny) / 127          one scale per row of x        [.., 1]
//! q = round(x / s) + 128                                              [.., K] u8
//! y = (q - 128) V * t * s + b           V = round(W / t)              [.., N]
//! ```
//!
//! with one scale t per column of W, and integers summed exactly by ONNX Runtime's
//! `MatMulIntegerToFloat`. Every row has its own scale, so that the result for an image does not
//! depend on what else is in its batch, and a token with large values does not coarsen the others.
//! Where x cannot be smaller than a known bound (behind ReLU, GELU, SiLU, softmax), the range below
//! it is not wasted: a smaller zero point is taken instead of 128.
//!
//! V has 7 bits, -63 to 63: processors without VNNI sum pairs of products in 16 bits, where 8-bit
//! weights overflow, which was measured as a cosine of 0.9 instead of 0.999. With 7 bits all
//! processors give the same result.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::error::{GraphError, Result};
use crate::graph::infer::infer;
use crate::graph::rewrite::UniqueNames;
use crate::graph::{AttributeValue, Fact, Graph, Model, Node, OperatorSet, Patch, Tensor};
use crate::tensor::HostTensor;

/// The largest entry of a rounded weight.
const LARGEST_WEIGHT: f32 = 63.0;
/// The smallest scale of a row of zeros.
const TINY: f32 = 1e-30;
/// The zero point for values that are at most a little below zero.
const LOW_ZERO: u8 = 32;
/// ONNX Runtime's own operators.
const MICROSOFT: &str = "com.microsoft";
/// The oldest operator set with `QuantizeLinear`.
const OLDEST_OPSET: i64 = 10;

/// Rounds the constant matrices of all matrix products to 8-bit integers.
///
/// # Errors
/// [`GraphError::NoProducts`] where there is none; [`GraphError::Opset`] for operator sets
/// before 10.
pub fn quantize(model: &Model) -> Result<Patch> {
    let opset = model.opset("").unwrap_or(0);
    if opset < OLDEST_OPSET {
        let (lowest, highest) = (OLDEST_OPSET, *crate::graph::KNOWN_OPSETS.end());
        return Err(GraphError::Opset { domain: "ai.onnx".to_owned(), version: opset, lowest, highest }.into());
    }
    let mut rewriter = Rewriter {
        graph: &model.graph,
        opset,
        facts: infer(model)?.facts,
        producers: model.graph.producers(),
        names: UniqueNames::of(&model.graph),
        patch: Patch::new("quantize"),
        constants: HashMap::new(),
        rows: HashMap::new(),
        weights: HashMap::new(),
    };
    for (index, node) in model.graph.nodes.iter().enumerate() {
        if let Some(product) = rewriter.product(node) {
            let nodes = rewriter.rewritten(node, &product);
            rewriter.patch.replace_nodes.insert(index, nodes);
        }
    }
    let mut patch = rewriter.patch;
    if patch.replace_nodes.is_empty() {
        return Err(GraphError::NoProducts.into());
    }
    patch.drop_unread_constants = true;
    if model.opset(MICROSOFT).is_none() {
        patch.add_imports.push(OperatorSet { domain: MICROSOFT.to_owned(), version: 1 });
    }
    Ok(patch)
}

/// A matrix product with a constant right factor.
struct Product<'a> {
    x: &'a str,
    weight: &'a Tensor,
    transposed: bool,
    bias: Option<&'a str>,
}

/// The rows of a value as integers.
#[derive(Clone)]
struct Rows {
    integers: String,
    scale: String,
    zero: String,
}

struct Rewriter<'a> {
    graph: &'a Graph,
    opset: i64,
    facts: HashMap<String, Fact>,
    producers: HashMap<&'a str, usize>,
    names: UniqueNames,
    patch: Patch,
    constants: HashMap<Vec<u8>, String>,
    /// Values that were rounded already.
    rows: HashMap<String, Rows>,
    /// Weights that were rounded already: integers and scales.
    weights: HashMap<(String, bool), (String, String)>,
}

impl<'a> Rewriter<'a> {
    /// The node as a product that can be rewritten.
    fn product(&self, node: &'a Node) -> Option<Product<'a>> {
        if !node.is_standard() || node.outputs.len() != 1 {
            return None;
        }
        let number = |name: &str| match node.attribute(name) {
            Some(AttributeValue::Int(value)) => *value as f32,
            Some(AttributeValue::Float(value)) => *value,
            _ => {
                if name == "alpha" || name == "beta" {
                    1.0
                } else {
                    0.0
                }
            }
        };
        let plain = number("transA") == 0.0 && number("alpha") == 1.0 && number("beta") == 1.0;
        let (transposed, bias) = match node.operator.as_str() {
            "Gemm" if plain => (number("transB") != 0.0, node.inputs.get(2).map(String::as_str)),
            "MatMul" => (false, None),
            _ => return None,
        };
        let [x, weight] = [node.inputs.first()?, node.inputs.get(1)?];
        let weight = self.graph.initializer(weight)?;
        let overridable = self.graph.inputs.iter().any(|input| input.name == weight.name);
        let is_matrix = weight.shape.len() == 2 && weight.to_host().is_some_and(|host| host.values::<f32>().is_some());
        // A vector on the left has no rows.
        let has_rows = node.operator == "Gemm" || self.facts.get(x).and_then(Fact::rank).is_some_and(|rank| rank > 1);
        let bias = bias.filter(|bias| !bias.is_empty());
        (is_matrix && !overridable && has_rows).then_some(Product { x, weight, transposed, bias })
    }

    fn rewritten(&mut self, node: &Node, product: &Product<'a>) -> Vec<Node> {
        let mut nodes = Vec::new();
        let rows = match self.rows.get(product.x) {
            Some(rows) => rows.clone(),
            None => {
                let rows = self.rows(product.x, &mut nodes);
                self.rows.insert(product.x.to_owned(), rows.clone());
                rows
            }
        };
        let (weight, scales) = self.weight(product);
        let one = self.constant("one", &HostTensor::scalar(1f32));
        let output = node.outputs[0].as_str();
        let mut name = |part: &str| self.names.take(&format!("{output}.{part}"));
        let (summed, scaled) =
            (name("summed"), if product.bias.is_some() { name("scaled") } else { output.to_owned() });
        let inputs = [&rows.integers, &weight, &one, &scales, &rows.zero].map(String::as_str);
        let product_node = Node::new("MatMulIntegerToFloat", &inputs, &[&summed]);
        nodes.push(Node { domain: MICROSOFT.to_owned(), ..product_node });
        nodes.push(Node::new("Mul", &[&summed, &rows.scale], &[&scaled]));
        if let Some(bias) = product.bias {
            nodes.push(Node::new("Add", &[&scaled, bias], &[output]));
        }
        let label = node.label().to_owned();
        for (number, node) in nodes.iter_mut().enumerate() {
            node.name = format!("{label}.{number}.{}", node.operator.to_lowercase());
        }
        nodes
    }

    /// The nodes that round the rows of a value.
    fn rows(&mut self, x: &str, nodes: &mut Vec<Node>) -> Rows {
        let least = self.least(x, 8);
        let name = |rewriter: &mut Self, part: &str| rewriter.names.take(&format!("{x}.{part}"));
        // The largest distance from zero that is to be told, the integers that there are for it,
        // the smallest scale.
        let (zero, steps, smallest) = match least {
            Some(least) if least >= 0.0 => (0, 255.0, TINY),
            Some(least) => (LOW_ZERO, 255.0 - f32::from(LOW_ZERO), -least / f32::from(LOW_ZERO)),
            None => (128, 127.0, TINY),
        };
        let mut largest = x.to_owned();
        if least.is_none() {
            let magnitude = name(self, "magnitude");
            nodes.push(Node::new("Abs", &[&largest], &[&magnitude]));
            largest = magnitude;
        }
        let most = name(self, "most");
        // The axes are an input since operator set 18.
        let reduce = if self.opset >= 18 {
            let axes = self.constant("last_axis", &HostTensor::vector(vec![-1i64]));
            Node::new("ReduceMax", &[&largest, &axes], &[&most])
        } else {
            Node::new("ReduceMax", &[&largest], &[&most]).with("axes", vec![-1i64])
        };
        nodes.push(reduce.with("keepdims", 1));
        let (ratio, scale) = (name(self, "ratio"), name(self, "scale"));
        let steps = self.constant("steps", &HostTensor::scalar(steps));
        let smallest = self.constant("smallest", &HostTensor::scalar(smallest));
        nodes.push(Node::new("Div", &[&most, &steps], &[&ratio]));
        nodes.push(Node::new("Max", &[&ratio, &smallest], &[&scale]));
        let (steps, integers) = (name(self, "steps"), name(self, "integers"));
        nodes.push(Node::new("Div", &[x, &scale], &[&steps]));
        let one = self.constant("one", &HostTensor::scalar(1f32));
        let zero = self.constant("zero", &HostTensor::scalar(zero));
        nodes.push(Node::new("QuantizeLinear", &[&steps, &one, &zero], &[&integers]));
        Rows { integers, scale, zero }
    }

    /// A number that no element of a value is below, where it is known to be close to zero.
    fn least(&self, value: &str, depth: usize) -> Option<f32> {
        let node = &self.graph.nodes[*self.producers.get(value)?];
        let producer = |name: &String| Some(&self.graph.nodes[*self.producers.get(name.as_str())?]);
        let scalar = |name: &String| {
            let host = self.graph.initializer(name)?.to_host()?;
            host.values::<f32>().filter(|values| values.len() == 1).map(|values| values[0])
        };
        match node.operator.as_str() {
            "Relu" | "Sigmoid" | "Softmax" => Some(0.0),
            "Gelu" => Some(GELU),
            "Reshape" | "Transpose" | "Squeeze" | "Unsqueeze" | "Identity" | "Flatten" if depth > 0 => {
                self.least(node.inputs.first()?, depth - 1)
            }
            // x sigmoid(k x), and 0.5 x (1 + erf(x / sqrt 2)) as it is decomposed.
            "Mul" => {
                let [a, b] = [node.inputs.first()?, node.inputs.get(1)?];
                let gate = [(a, b), (b, a)].into_iter().find_map(|(x, gate)| {
                    let sigmoid = producer(gate).filter(|node| node.operator == "Sigmoid")?;
                    let inner = sigmoid.inputs.first()?;
                    if inner == x {
                        return Some(SILU);
                    }
                    let scaled = producer(inner).filter(|node| node.operator == "Mul")?;
                    let factor = scaled.inputs.iter().find_map(scalar).filter(|factor| *factor > 0.0)?;
                    scaled.inputs.contains(x).then_some(SILU / factor)
                });
                gate.or_else(|| {
                    let half = [(a, b), (b, a)].into_iter().find(|(_, half)| scalar(half) == Some(0.5))?;
                    let product = producer(half.0).filter(|node| node.operator == "Mul")?;
                    let shifted = product.inputs.iter().find_map(|input| {
                        let add = producer(input).filter(|node| node.operator == "Add")?;
                        add.inputs.iter().find_map(|input| producer(input).filter(|node| node.operator == "Erf"))
                    });
                    shifted.map(|_| GELU)
                })
            }
            _ => None,
        }
    }

    /// The names of a weight's integers `[K, N]` and of its scales `[N]`.
    fn weight(&mut self, product: &Product<'a>) -> (String, String) {
        let key = (product.weight.name.clone(), product.transposed);
        if let Some(names) = self.weights.get(&key) {
            return names.clone();
        }
        let (integers, scales) = rounded(product.weight, product.transposed);
        let names = ["int8", "scales"].map(|part| self.names.take(&format!("{}.{part}", product.weight.name)));
        for (name, tensor) in names.iter().zip([integers, scales]) {
            self.patch.add_constants.push(Tensor::new(name, &tensor));
        }
        let [integers, scales] = names;
        self.weights.insert(key, (integers.clone(), scales.clone()));
        (integers, scales)
    }

    /// A small constant, stored once.
    fn constant(&mut self, name: &str, tensor: &HostTensor) -> String {
        let key = [name.as_bytes(), tensor.bytes()].concat();
        if let Some(name) = self.constants.get(&key) {
            return name.clone();
        }
        let name = self.names.take(&format!("quantize.{name}"));
        self.patch.add_constants.push(Tensor::new(&name, tensor));
        self.constants.insert(key, name.clone());
        name
    }
}

/// Just below the least value of GELU, -0.16997 at -0.7518.
const GELU: f32 = -0.171;
/// Just below the least value of `x sigmoid(x)`, -0.27846 at -1.2785.
const SILU: f32 = -0.279;

/// A matrix `[K, N]` (or `[N, K]`, transposed) as integers `[K, N]` and one scale per column `[N]`.
fn rounded(weight: &Tensor, transposed: bool) -> (HostTensor, HostTensor) {
    let host = weight.to_host();
    let values = host.as_ref().and_then(HostTensor::values::<f32>).unwrap_or_default();
    let [first, second] = [weight.shape[0], weight.shape[1]];
    let (rows, columns) = if transposed { (second, first) } else { (first, second) };
    let at = |row: usize, column: usize| values[if transposed { column * rows + row } else { row * columns + column }];
    let scale_of = |column: usize| {
        let largest = (0..rows).fold(0f32, |largest, row| largest.max(at(row, column).abs()));
        if largest > 0.0 { largest / LARGEST_WEIGHT } else { 1.0 }
    };
    let scales: Vec<f32> = (0..columns).into_par_iter().map(scale_of).collect();
    let mut integers = vec![0i8; rows * columns];
    // Strips of rows: a strip of a transposed matrix is read along its rows, a cache line at a
    // time.
    integers.par_chunks_mut(STRIP * columns.max(1)).enumerate().for_each(|(strip, chunk)| {
        for (column, scale) in scales.iter().enumerate() {
            for (row, line) in chunk.chunks_exact_mut(columns).enumerate() {
                line[column] = (at(strip * STRIP + row, column) / scale).round() as i8;
            }
        }
    });
    let shape = vec![rows, columns];
    let integers = HostTensor::from_vec(shape, integers).unwrap_or_else(|| HostTensor::vector(Vec::<i8>::new()));
    (integers, HostTensor::vector(scales))
}

/// Rows that are rounded together.
const STRIP: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Builder, Dim, text};
    use crate::tensor::DType;

    fn weight(shape: [usize; 2]) -> HostTensor {
        HostTensor::from_fn(&shape, |at| at as f32 - 2.0)
    }

    #[test]
    fn products_become_integer_products_with_a_scale_per_row() {
        let mut b = Builder::new("net");
        let x = b.input("x", DType::F32, &[Dim::symbol("batch"), Dim::Fixed(2)]);
        let (first, second) = (b.parameter("first", &weight([3, 2])), b.parameter("second", &weight([3, 2])));
        let bias = b.parameter("bias", &HostTensor::vector(vec![1f32, 2.0, 3.0]));
        let y = b.linear(&x, &first, Some(&bias));
        let y = b.relu(&y);
        let y = b.matmul(&y, &second);
        b.output("y", &y);
        let mut model = b.finish().unwrap();
        quantize(&model).unwrap().apply(&mut model).unwrap();
        insta::assert_snapshot!(text(&model), @r"
        format 8, ai.onnx 17, com.microsoft 1
        graph net
          input x: f32[batch, 2]
          constant bias: f32[3] = [1.0, 2.0, 3.0]
          constant quantize.steps: f32[] = 127.0
          constant quantize.smallest: f32[] = 1e-30
          constant quantize.one: f32[] = 1.0
          constant quantize.zero: u8[] = 128
          constant first.int8: i8[2, 3] = [-63, 0, 42, -31, 63, 63]
          constant first.scales: f32[3] = [0.031746034, 0.015873017, 0.04761905]
          constant quantize.steps_1: f32[] = 255.0
          constant quantize.zero_1: u8[] = 0
          constant second.int8: i8[3, 2] = [-63, -21, 0, 21, 63, 63]
          constant second.scales: f32[2] = [0.031746034, 0.04761905]
          x.magnitude = Abs(x)
          x.most = ReduceMax(x.magnitude) {axes: [-1], keepdims: 1}
          x.ratio = Div(x.most, quantize.steps)
          x.scale = Max(x.ratio, quantize.smallest)
          x.steps = Div(x, x.scale)
          x.integers = QuantizeLinear(x.steps, quantize.one, quantize.zero)
          gemm.summed = com.microsoft.MatMulIntegerToFloat(x.integers, first.int8, quantize.one, first.scales, quantize.zero)
          gemm.scaled = Mul(gemm.summed, x.scale)
          gemm = Add(gemm.scaled, bias)
          relu = Relu(gemm)
          relu.most = ReduceMax(relu) {axes: [-1], keepdims: 1}
          relu.ratio = Div(relu.most, quantize.steps_1)
          relu.scale = Max(relu.ratio, quantize.smallest)
          relu.steps = Div(relu, relu.scale)
          relu.integers = QuantizeLinear(relu.steps, quantize.one, quantize.zero_1)
          y.summed = com.microsoft.MatMulIntegerToFloat(relu.integers, second.int8, quantize.one, second.scales, quantize.zero_1)
          y = Mul(y.summed, relu.scale)
          output y: f32[batch, 2]
        ");
    }

    #[test]
    fn columns_have_their_own_scale_whichever_way_they_are_stored() {
        let plain = HostTensor::from_vec(vec![2, 2], vec![1f32, 10.0, -0.25, 63.0]).unwrap();
        let turned = HostTensor::from_vec(vec![2, 2], vec![1f32, -0.25, 10.0, 63.0]).unwrap();
        let expected = (vec![63i8, 10, -16, 63], vec![1.0 / 63.0, 1.0]);
        for (tensor, transposed) in [(plain, false), (turned, true)] {
            let (integers, scales) = rounded(&Tensor::new("w", &tensor), transposed);
            assert_eq!((integers.values::<i8>().unwrap().to_vec(), scales.values::<f32>().unwrap().to_vec()), expected);
        }
    }

    #[test]
    fn the_bounds_of_activations_are_seen_through_their_decomposition() {
        let mut b = Builder::new("net");
        let x = b.input("x", DType::F32, &[Dim::symbol("batch"), Dim::Fixed(3)]);
        let w = b.parameter("w", &weight([3, 2]));
        let bent = [b.gelu(&x), b.quick_gelu(&x), b.silu(&x), b.sigmoid(&x), b.tanh(&x)];
        for (at, value) in bent.iter().enumerate() {
            let y = b.matmul(value, &w);
            b.output(&format!("y{at}"), &y);
        }
        let model = b.finish().unwrap();
        let patch = quantize(&model).unwrap();
        let zero_of = |name: &str| {
            let tensor = patch.add_constants.iter().find(|tensor| tensor.name == name).unwrap();
            tensor.to_host().unwrap().values::<u8>().unwrap()[0]
        };
        let quantizers = patch.replace_nodes.values().flatten().filter(|node| node.operator == "QuantizeLinear");
        let zeros: Vec<u8> = quantizers.map(|node| zero_of(&node.inputs[2])).collect();
        assert_eq!(zeros, [32, 32, 32, 0, 128]);
    }

    #[test]
    fn a_graph_without_constant_products_is_refused() {
        let mut b = Builder::new("net");
        let x = b.input("x", DType::F32, &[Dim::symbol("batch"), Dim::Fixed(3)]);
        let y = b.relu(&x);
        b.output("y", &y);
        let error = quantize(&b.finish().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "the graph has no matrix product with constant weights");
    }
}
