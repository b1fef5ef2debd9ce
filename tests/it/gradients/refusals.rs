//! What differentiation refuses, and what it leaves at zero.

use defrost::graph::autodiff::gradients;
use defrost::graph::{Builder, Dim, Node};
use defrost::tensor::{DType, HostTensor};

fn builder() -> Builder {
    Builder::new("net")
}

#[test]
fn a_missing_rule_is_told_with_its_node_and_the_way_to_the_loss() {
    let mut b = builder();
    let x = b.input("x", DType::F32, &[Dim::Fixed(3), Dim::Fixed(3)]);
    let bent = b.relu(&x);
    let odd = b.scope("odd", |b| b.apply("Det", &[&bent]));
    let root = b.scope("head", |b| b.exp(&odd));
    let loss = b.scope("head", |b| b.neg(&root));
    let error = gradients(&mut b, &loss, std::slice::from_ref(&x)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "node `odd.det` (Det) has no gradient rule and lies on the way to the loss: odd.det -> head.exp -> head.neg"
    );
    assert!(error.hint().is_some());
    // Behind the node it matters to nobody.
    assert!(gradients(&mut b, &loss, &[root]).unwrap()[0].is_some());
}

/// Files that ONNX Runtime has fused or quantised: what a rule does not know of its inputs is the fault
/// of an operator before it.
#[test]
fn an_operator_that_nothing_is_known_of_is_told_before_those_behind_it() {
    let mut b = builder();
    let x = b.input("x", DType::F32, &[Dim::Fixed(3), Dim::Fixed(3)]);
    let odd = b.scope("odd", |b| {
        b.node(Node { domain: "com.microsoft".to_owned(), ..Node::new("FusedMatMul", &[x.name(), x.name()], &[]) })
    });
    let first = b.constant(&HostTensor::scalar(0i64));
    let row = b.gather(&odd, &first, 1);
    let loss = b.reshape(&row, &[]);
    let told = gradients(&mut b, &loss, &[x]).unwrap_err().to_string();
    assert!(
        told.starts_with("node `odd.") && told.contains("(com.microsoft.FusedMatMul) has no gradient rule"),
        "{told}"
    );
}

#[test]
fn a_loss_of_several_numbers_is_refused() {
    let mut b = builder();
    let x = b.input("x", DType::F32, &[Dim::symbol("batch")]);
    let y = b.exp(&x);
    let error = gradients(&mut b, &y, &[x]).unwrap_err();
    assert_eq!(error.to_string(), "`exp` of shape [batch] cannot be a loss, which is a single number");
}

#[test]
fn values_that_the_loss_does_not_depend_on_have_no_gradient() {
    let mut b = builder();
    let x = b.input("x", DType::F32, &[Dim::Fixed(3)]);
    let unused = b.parameter("unused", &HostTensor::scalar(1f32));
    let whole = b.cast(&x, DType::I64);
    let back = b.cast(&whole, DType::F32);
    let floor = b.apply("Floor", &[&x]);
    let sum = b.add(&back, &floor);
    let loss = b.reduce_sum(&sum, &[0], false);
    let found = gradients(&mut b, &loss, &[x, unused, loss.clone()]).unwrap();
    assert!(found[0].is_none() && found[1].is_none() && found[2].is_some());
}

#[test]
fn the_same_graph_gives_the_same_gradient_nodes() {
    let nodes = || {
        let mut b = builder();
        let x = b.input("x", DType::F32, &[Dim::symbol("batch"), Dim::Fixed(4)]);
        let weight = b.parameter("weight", &HostTensor::from_fn(&[4, 4], |index| index as f32));
        let hidden = b.scope("layer", |b| b.matmul(&x, &weight));
        let bent = b.tanh(&hidden);
        let again = b.matmul(&bent, &weight);
        let sum = b.add(&again, &hidden);
        let loss = b.reduce_mean(&sum, &[0, 1], false);
        let found = gradients(&mut b, &loss, &[weight]).unwrap();
        b.output("loss", &loss);
        b.output("grad/weight", found[0].as_ref().unwrap());
        b.finish().unwrap()
    };
    let model = nodes();
    assert_eq!(model, nodes());
    let names: Vec<&Node> = model.graph.nodes.iter().filter(|node| node.name.starts_with("grad.")).collect();
    assert!(names.iter().any(|node| node.name == "grad.layer.matmul.gemm"), "{names:#?}");
}
