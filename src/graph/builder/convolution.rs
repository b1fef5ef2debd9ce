//! Convolutions and pooling over images [N, C, H, W].

use crate::graph::{Builder, Node, Value};

/// How a two-dimensional convolution moves over an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvOptions {
    /// Steps down and right.
    pub strides: [i64; 2],
    /// Zeros added: top, left, bottom, right.
    pub pads: [i64; 4],
    /// Distances between the kernel's taps, down and right.
    pub dilations: [i64; 2],
    /// Groups of channels that do not see each other.
    pub groups: i64,
}

impl Default for ConvOptions {
    fn default() -> Self {
        ConvOptions { strides: [1, 1], pads: [0; 4], dilations: [1, 1], groups: 1 }
    }
}

/// How a two-dimensional pooling window moves over an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolOptions {
    /// Height and width of the window.
    pub kernel: [i64; 2],
    /// Steps down and right.
    pub strides: [i64; 2],
    /// Border added: top, left, bottom, right.
    pub pads: [i64; 4],
    /// Whether the last, partial window counts.
    pub ceil: bool,
    /// Whether an average divides by the window's size even where it covers the border.
    pub count_border: bool,
}

impl PoolOptions {
    /// A square window that moves by its own size.
    pub fn square(size: i64) -> Self {
        PoolOptions { kernel: [size; 2], strides: [size; 2], pads: [0; 4], ceil: false, count_border: false }
    }
}

fn with_window(node: Node, strides: [i64; 2], pads: [i64; 4]) -> Node {
    node.with("strides", strides.to_vec()).with("pads", pads.to_vec())
}

fn conv_node(operator: &str, inputs: [&Value; 2], bias: Option<&Value>, options: ConvOptions) -> Node {
    let mut names = vec![inputs[0].name(), inputs[1].name()];
    names.extend(bias.map(Value::name));
    with_window(Node::new(operator, &names, &[]), options.strides, options.pads)
        .with("dilations", options.dilations.to_vec())
        .with("group", options.groups)
}

impl Builder {
    /// Convolution of `x` [N, C, H, W] with `weight` [O, C / groups, h, w] and `bias` `[O]`.
    pub fn conv(&mut self, x: &Value, weight: &Value, bias: Option<&Value>, options: ConvOptions) -> Value {
        self.node(conv_node("Conv", [x, weight], bias, options))
    }

    /// Transposed convolution of `x` [N, C, H, W] with `weight` [C, O / groups, h, w] and `bias`
    /// `[O]`.
    pub fn conv_transpose(&mut self, x: &Value, weight: &Value, bias: Option<&Value>, options: ConvOptions) -> Value {
        self.node(conv_node("ConvTranspose", [x, weight], bias, options))
    }

    /// Mean over all positions: [N, C, H, W] to [N, C, 1, 1].
    pub fn global_average_pool(&mut self, x: &Value) -> Value {
        self.apply("GlobalAveragePool", &[x])
    }

    /// Means over windows.
    pub fn average_pool(&mut self, x: &Value, options: PoolOptions) -> Value {
        let node = with_window(Node::new("AveragePool", &[x.name()], &[]), options.strides, options.pads);
        let node = node.with("kernel_shape", options.kernel.to_vec()).with("ceil_mode", i64::from(options.ceil));
        self.node(node.with("count_include_pad", i64::from(options.count_border)))
    }

    /// Largest elements of windows.
    pub fn max_pool(&mut self, x: &Value, options: PoolOptions) -> Value {
        let node = with_window(Node::new("MaxPool", &[x.name()], &[]), options.strides, options.pads);
        self.node(node.with("kernel_shape", options.kernel.to_vec()).with("ceil_mode", i64::from(options.ceil)))
    }
}
