//! Dropout in training: what the gradient lets through is what the forward pass let through.

use defrost::graph::autodiff::pull_back;
use defrost::graph::{Builder, Dim, Node};
use defrost::runtime::{ModelSource, Runtime, Session, SessionOptions};
use defrost::tensor::{DType, HostTensor};

#[test]
fn dropout_passes_back_through_its_own_mask() {
    let mut b = Builder::new("net");
    let x = b.input("x", DType::F32, &[Dim::Fixed(1000)]);
    let training = b.constant(&HostTensor::new(DType::Bool, Vec::new(), vec![1u8].into()).unwrap());
    let ratio = b.scalar(0.25);
    let dropped = b.node(Node::new("Dropout", &[x.name(), ratio.name(), training.name()], &[]).with("seed", 3));
    let ones = b.filled_like(&x, 1.0);
    let found = pull_back(&mut b, &[(dropped.clone(), ones)], &[x]).unwrap();
    b.output("y", &dropped);
    b.output("g", found[0].as_ref().unwrap());
    let bytes = b.finish().unwrap().to_bytes().unwrap();
    let runtime = Runtime::load(None).unwrap();
    let mut session = Session::open(&runtime, ModelSource::Bytes(&bytes), &SessionOptions::default()).unwrap();
    let x = HostTensor::from_fn(&[1000], |index| index as f32 + 1.0);
    let found = session.run(&[("x", &x)], &["y", "g"]).unwrap();
    let [y, g] = [&found[0], &found[1]].map(|tensor| tensor.values::<f32>().unwrap().to_vec());
    let x = x.values::<f32>().unwrap();
    let zeros = y.iter().filter(|y| **y == 0.0).count();
    assert!((150..350).contains(&zeros), "{zeros} of 1000 dropped");
    for index in 0..1000 {
        assert!((y[index] - x[index] * g[index]).abs() <= 1e-3, "{index}: {} {}", y[index], g[index]);
    }
}
