//! ONNX files: everything a model can hold survives a round trip, external data is found and
//! confined, damage is told.

use std::path::Path;

use bytes::Bytes;
use defrost::graph::{
    Attribute, AttributeKind, AttributeValue, Dim, ElementType, Function, Graph, Model, Node, OperatorSet, Property,
    SaveOptions, SparseTensor, Tensor, TensorData, TensorType, Training, Type, TypeKind, ValueInfo, validate,
};
use defrost::tensor::{DType, HostTensor};
use proptest::prelude::*;

fn tensor(name: &str, element: ElementType, shape: &[usize], bytes: &[u8]) -> Tensor {
    Tensor {
        name: name.to_owned(),
        element,
        shape: shape.to_vec(),
        data: TensorData::Bytes(Bytes::copy_from_slice(bytes)),
        segment: None,
        doc: String::new(),
        metadata: Vec::new(),
    }
}

fn model(graph: Graph) -> Model {
    Model {
        ir_version: 8,
        opset_imports: vec![OperatorSet { domain: String::new(), version: 17 }],
        graph,
        ..Model::default()
    }
}

/// `y = x + weight`, the weight with `count` elements.
fn adding(count: usize) -> Model {
    let weight = HostTensor::vector((0..count).map(|index| index as f32).collect());
    model(Graph {
        name: "adding".into(),
        nodes: vec![Node::new("Add", &["x", "weight"], &["y"])],
        inputs: vec![ValueInfo::new("x", Type::tensor(DType::F32, Some(vec![count.into()])))],
        outputs: vec![ValueInfo::new("y", Type::tensor(DType::F32, Some(vec![count.into()])))],
        initializers: vec![Tensor::new("weight", &weight)],
        ..Graph::default()
    })
}

/// The error's message with those of its sources.
fn messages(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(&format!(" / {inner}"));
        source = inner.source();
    }
    text
}

#[test]
fn every_kind_of_attribute_and_type_survives_a_round_trip() {
    let text = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let small = tensor("", ElementType::I4, &[3], &[0x21, 0x03]);
    let strings = Tensor {
        data: TensorData::Strings(vec![text("a"), Bytes::from_static(&[0xff, 0])]),
        segment: Some((1, 3)),
        doc: "words".into(),
        metadata: vec![Property::new("k", "v")],
        ..tensor("", ElementType::String, &[2], &[])
    };
    let sparse = SparseTensor {
        values: tensor("s", ElementType::F8E4M3FN, &[2], &[1, 2]),
        indices: Some(tensor("", ElementType::I64, &[2], &[0; 16])),
        shape: vec![4, 5],
    };
    let image = Type {
        kind: Some(TypeKind::Tensor(TensorType {
            denotations: vec!["DATA_BATCH".into(), String::new(), String::new()],
            ..TensorType::new(DType::BF16, Some(vec![Dim::symbol("n"), Dim::Fixed(0), Dim::Unknown]))
        })),
        denotation: "IMAGE".into(),
    };
    let map = TypeKind::Map(ElementType::String, Some(Box::new(image.clone())));
    let types: Vec<Type> = vec![
        image.clone(),
        TypeKind::SparseTensor(TensorType::new(DType::F32, None)).into(),
        TypeKind::Sequence(Some(Box::new(map.into()))).into(),
        TypeKind::Optional(Some(Box::new(TypeKind::Sequence(None).into()))).into(),
        TypeKind::Opaque { domain: "d".into(), name: "n".into() }.into(),
        Type { kind: None, denotation: "only".into() },
        Type::tensor(DType::F32, Some(Vec::new())),
    ];
    let body = Graph { name: "body".into(), nodes: vec![Node::new("Neg", &["x"], &["inner"])], ..Graph::default() };
    let values: Vec<AttributeValue> = vec![
        0.0f32.into(),
        0i64.into(),
        AttributeValue::String(Bytes::new()),
        small.clone().into(),
        body.clone().into(),
        AttributeValue::SparseTensor(sparse.clone()),
        AttributeValue::Type(image),
        vec![f32::INFINITY, -0.0].into(),
        vec![i64::MIN, 0, i64::MAX].into(),
        AttributeValue::Strings(vec![text("a"), Bytes::new()]),
        AttributeValue::Tensors(vec![strings.clone(), small]),
        AttributeValue::Graphs(vec![body.clone(), Graph::default()]),
        AttributeValue::SparseTensors(vec![sparse.clone()]),
        AttributeValue::Types(types.clone()),
        vec![0i64; 0].into(),
        AttributeValue::Reference { name: "outer".into(), kind: AttributeKind::Tensors },
    ];
    let mut node = Node::new("Everything", &["x", "", "y"], &["", "z"]);
    node.domain = "custom".into();
    node.overload = "second".into();
    node.doc = "documented".into();
    node.device_configurations = vec![Bytes::from_static(&[10, 1, 65])];
    for (index, value) in values.into_iter().enumerate() {
        node.attributes
            .push(Attribute { doc: format!("number {index}"), ..Attribute::new(&format!("a{index}"), value) });
    }
    let info = |index: usize, known: &Type| ValueInfo {
        doc: "value".into(),
        metadata: vec![Property::new("a", "b")],
        ..ValueInfo::new(&format!("v{index}"), known.clone())
    };
    let full = Graph {
        name: "full".into(),
        nodes: vec![node.clone()],
        inputs: types.iter().enumerate().map(|(index, known)| info(index, known)).collect(),
        outputs: vec![ValueInfo { r#type: None, ..info(9, &types[0]) }],
        value_infos: vec![info(8, &types[1])],
        initializers: vec![Tensor { name: "words".into(), ..strings }],
        sparse_initializers: vec![sparse],
        annotations: vec![defrost::graph::Annotation {
            value: "v1".into(),
            parameters: vec![Property::new("SCALE_TENSOR", "scale")],
        }],
        doc: "graph".into(),
        metadata: vec![Property::new("a", "b")],
    };
    let original = Model {
        producer_name: "p".into(),
        producer_version: "1".into(),
        domain: "org.example".into(),
        model_version: -3,
        doc: "model".into(),
        metadata: vec![Property::new("z", "1"), Property::new("a", "2")],
        functions: vec![Function {
            name: "f".into(),
            domain: "custom".into(),
            overload: "o".into(),
            inputs: vec!["a".into()],
            outputs: vec!["b".into()],
            attributes: vec!["outer".into()],
            defaults: vec![Attribute::new("alpha", 1.0f32)],
            nodes: vec![node],
            value_infos: vec![info(3, &types[2])],
            opset_imports: vec![OperatorSet { domain: "custom".into(), version: 2 }],
            doc: "function".into(),
            metadata: vec![Property::new("a", "b")],
        }],
        training: vec![Training {
            initialization: Some(body.clone()),
            algorithm: None,
            initialization_binding: vec![Property::new("w", "inner")],
            update_binding: vec![Property::new("w", "other")],
        }],
        device_configurations: vec![Bytes::from_static(&[10, 1, 66])],
        ..model(full)
    };
    let bytes = original.to_bytes().unwrap();
    let read = Model::from_bytes(bytes.clone().into()).unwrap();
    assert_eq!(read, original);
    assert_eq!(read.to_bytes().unwrap(), bytes);
}

proptest! {
    #[test]
    fn tensors_of_any_type_and_shape_survive(code in 1i32..27, shape in prop::collection::vec(0usize..4, 0..4), fill: u8) {
        let element = ElementType::from_code(code).unwrap();
        let count = shape.iter().product();
        let mut stored = tensor("t", element, &shape, &vec![fill; element.bytes_of(count).unwrap_or(0)]);
        if element == ElementType::String {
            stored.data = TensorData::Strings(vec![Bytes::copy_from_slice(&[fill]); count]);
        }
        let original = model(Graph { initializers: vec![stored], ..Graph::default() });
        prop_assert!(validate(&original).is_ok());
        prop_assert_eq!(Model::from_bytes(original.to_bytes().unwrap().into()).unwrap(), original);
    }

    #[test]
    fn damaged_files_are_refused_or_read_but_never_panic(at in 0usize..400, byte: u8, length in 0usize..400) {
        let mut bytes = adding(30).to_bytes().unwrap();
        let count = bytes.len();
        bytes[at % count] = byte;
        bytes.truncate(length.max(1));
        if let Ok(model) = Model::from_bytes(bytes.into()) {
            let _ = validate(&model);
            let _ = defrost::graph::infer(&model);
            let _ = defrost::graph::text(&model);
        }
    }
}

#[test]
fn large_models_keep_their_weights_in_one_aligned_side_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("large.onnx");
    let mut original = adding(2000);
    original.graph.initializers.push(tensor("second", ElementType::U8, &[5000], &[7; 5000]));
    original.graph.initializers.push(tensor("small", ElementType::U8, &[3], &[1, 2, 3]));
    original.save_with(&path, SaveOptions { largest_file: 4000 }).unwrap();
    assert!(path.metadata().unwrap().len() < 1000);
    // 8,000 bytes of the first weight, zeros up to the next page, then the second.
    let side = std::fs::read(directory.path().join("large.onnx.data")).unwrap();
    assert_eq!(side.len(), 8192 + 5000);
    assert!(side[8000..8192].iter().all(|&byte| byte == 0));
    assert_eq!(side[8192], 7);
    let read = Model::load(&path).unwrap();
    assert_eq!(read, original);
    // Both weights lie in one mapping or buffer: nothing was copied.
    let address = |name: &str| match &read.graph.initializer(name).unwrap().data {
        TensorData::Bytes(bytes) => bytes.as_ptr() as usize,
        TensorData::Strings(_) => unreachable!("weights are bytes"),
    };
    assert_eq!(address("second") - address("weight"), 8192);
    // Saved again without need for a side file, it is one file.
    let single = directory.path().join("single.onnx");
    read.save(&single).unwrap();
    assert!(!directory.path().join("single.onnx.data").exists());
    assert_eq!(Model::load(&single).unwrap(), original);
}

#[test]
fn weights_of_a_loaded_file_are_not_copied() {
    let bytes = Bytes::from(adding(1000).to_bytes().unwrap());
    let read = Model::from_bytes(bytes.clone()).unwrap();
    let TensorData::Bytes(weight) = &read.graph.initializers[0].data else { unreachable!("weights are bytes") };
    let range = bytes.as_ptr() as usize..bytes.as_ptr() as usize + bytes.len();
    assert!(range.contains(&(weight.as_ptr() as usize)));
}

/// Saves a model with external data, changes its file by `change` (old text to new text of one
/// length), and loads it.
fn load_changed(directory: &Path, old: &str, new: &str) -> String {
    assert_eq!(old.len(), new.len());
    let path = directory.join("model.onnx");
    adding(1000).save_with(&path, SaveOptions { largest_file: 500 }).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(old.len()).position(|window| window == old.as_bytes()).unwrap();
    bytes[at..at + old.len()].copy_from_slice(new.as_bytes());
    std::fs::write(&path, bytes).unwrap();
    messages(&Model::load(&path).unwrap_err())
}

#[test]
fn external_data_outside_of_the_directory_is_refused() {
    let outer = tempfile::tempdir().unwrap();
    let directory = outer.path().join("inner");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(outer.path().join("secret.data"), vec![0; 4000]).unwrap();
    let told = load_changed(&directory, "model.onnx.data", "../secret.data\0");
    assert!(told.contains("which is not inside the model's directory"), "{told}");
    let told = load_changed(&directory, "model.onnx.data", "/var/secret.dat");
    assert!(told.contains("which is not inside the model's directory"), "{told}");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(outer.path().join("secret.data"), directory.join("linked.as.dat_a")).unwrap();
        let told = load_changed(&directory, "model.onnx.data", "linked.as.dat_a");
        assert!(told.contains("which is not inside the model's directory"), "{told}");
    }
}

#[test]
fn external_data_of_the_wrong_size_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let told = load_changed(directory.path(), "4000", "3999");
    assert!(told.contains("needs 4000 bytes and wants 3999 bytes at offset 0"), "{told}");
    let told = load_changed(directory.path(), "4000", "many");
    assert!(told.contains("has `many` as the length of its external data"), "{told}");
    let path = directory.path().join("model.onnx");
    adding(1000).save_with(&path, SaveOptions { largest_file: 500 }).unwrap();
    std::fs::write(directory.path().join("model.onnx.data"), vec![0; 3000]).unwrap();
    let told = messages(&Model::load(&path).unwrap_err());
    assert!(told.contains("which has 3000"), "{told}");
    std::fs::remove_file(directory.path().join("model.onnx.data")).unwrap();
    let told = messages(&Model::load(&path).unwrap_err());
    assert!(told.contains("model.onnx.data"), "{told}");
    let told = messages(&Model::from_bytes(std::fs::read(&path).unwrap().into()).unwrap_err());
    assert!(told.contains("was not loaded from a directory"), "{told}");
}

#[test]
fn files_that_are_no_models_are_told_with_their_path() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cut.onnx");
    let whole = adding(100).to_bytes().unwrap();
    std::fs::write(&path, &whole[..whole.len() - 100]).unwrap();
    let error = Model::load(&path).unwrap_err();
    let told = messages(&error);
    assert!(
        told.contains("cut.onnx` is not valid ONNX / not a protobuf message of an ONNX model, or cut short"),
        "{told}"
    );
    assert_eq!(error.kind().exit_code(), 2);
    std::fs::write(&path, b"").unwrap();
    assert!(messages(&Model::load(&path).unwrap_err()).contains("the graph is missing in the model"));
    let mut future = adding(1);
    future.opset_imports[0].version = 29;
    let told = messages(&Model::from_bytes(future.to_bytes().unwrap().into()).unwrap_err());
    assert_eq!(told, "the model uses version 29 of the operator set `ai.onnx`, expected 1 to 28");
}

#[test]
fn graphs_that_cannot_be_are_told_with_node_and_value() {
    let told = |change: fn(&mut Model)| {
        let mut broken = adding(4);
        change(&mut broken);
        validate(&broken).unwrap_err().to_string()
    };
    let nodes = |model: &mut Model, nodes: &[(&str, &str)]| {
        let node = |(from, to): &(&str, &str)| Node::new("Neg", &[*from], &[*to]);
        model.graph.nodes.extend(nodes.iter().map(node));
    };
    assert_eq!(
        told(|model| model.graph.nodes[0].inputs[1] = "missing".into()),
        "node `y` (Add) reads `missing`, which nothing in graph `adding` defines"
    );
    assert_eq!(
        told(|model| model.graph.nodes.push(Node::new("Neg", &["x"], &["y"]))),
        "value `y` is defined twice in graph `adding`, the second time by node `y` (Neg)"
    );
    assert_eq!(
        told(|model| model.graph.outputs[0].name = "z".into()),
        "output `z` of graph `adding` is computed by nothing"
    );
    assert_eq!(
        told(|model| model.graph.initializers[0].shape = vec![5]),
        "tensor `weight`, f32[5], has 16 bytes or strings of data, expected 20"
    );
    assert_eq!(
        told(|model| model.graph.nodes[0].domain = "com.example".into()),
        "node `y` uses `Add` of the operator set `com.example`, which the model does not import"
    );
    let mut circular = adding(4);
    nodes(&mut circular, &[("b", "a"), ("a", "b")]);
    assert_eq!(
        validate(&circular).unwrap_err().to_string(),
        "nodes of graph `adding` need each other in a circle: b -> a -> b"
    );
    let mut shadowing = adding(4);
    let body = Graph { name: "branch".into(), nodes: vec![Node::new("Neg", &["x"], &["y"])], ..Graph::default() };
    shadowing.graph.nodes.push(Node::new("If", &["x"], &["chosen"]).with("then_branch", body));
    assert_eq!(
        validate(&shadowing).unwrap_err().to_string(),
        "value `y` is defined twice in graph `branch`, the second time by node `y` (Neg)"
    );
}
