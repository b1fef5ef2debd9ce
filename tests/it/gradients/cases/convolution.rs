//! Convolutions: strided, dilated, grouped, depthwise, with every kind of border, over one to three
//! axes.

use super::{Case, any, case, node, op};

pub(super) fn cases() -> Vec<Case> {
    let (image, kernel) = (any(&[2, 4, 7, 6]), any(&[3, 4, 3, 3]));
    vec![
        case("conv", &[image, kernel, any(&[3])], |b, x| vec![node(b, op("Conv"), &[&x[0], &x[1], &x[2]])])
            .single()
            .fixed_only(),
        case("padded conv", &[image, kernel], |b, x| {
            vec![node(b, op("Conv").with("pads", vec![1, 0, 2, 1]), &[&x[0], &x[1]])]
        })
        .single()
        .fixed_only(),
        case("conv with a wide border", &[image, any(&[3, 4, 1, 1])], |b, x| {
            vec![node(b, op("Conv").with("pads", vec![1; 4]), &[&x[0], &x[1]])]
        })
        .single()
        .fixed_only(),
        case("strided conv", &[image, kernel], |b, x| {
            vec![node(b, op("Conv").with("strides", vec![2, 2]).with("pads", vec![1; 4]), &[&x[0], &x[1]])]
        })
        .single()
        .fixed_only(),
        case("strided conv that leaves positions over", &[any(&[1, 4, 8, 9]), kernel], |b, x| {
            vec![node(b, op("Conv").with("strides", vec![3, 2]), &[&x[0], &x[1]])]
        })
        .single()
        .fixed_only(),
        case("dilated conv", &[image, kernel], |b, x| {
            vec![node(b, op("Conv").with("dilations", vec![2, 1]).with("pads", vec![2, 1, 2, 1]), &[&x[0], &x[1]])]
        })
        .single()
        .fixed_only(),
        case("strided dilated conv", &[any(&[2, 4, 9, 8]), kernel], |b, x| {
            let conv = op("Conv").with("dilations", vec![2, 3]).with("strides", vec![2, 3]).with("pads", vec![1; 4]);
            vec![node(b, conv, &[&x[0], &x[1]])]
        })
        .single()
        .fixed_only(),
        case("conv of many channels", &[any(&[2, 16, 7, 6]), any(&[17, 16, 3, 2])], |b, x| {
            let conv = op("Conv").with("strides", vec![2, 1]).with("dilations", vec![1, 2]);
            vec![node(b, conv.with("pads", vec![1, 1, 0, 2]), &[&x[0], &x[1]])]
        })
        .single()
        .fixed_only(),
        case(
            "conv of many channels that leaves positions over",
            &[any(&[1, 16, 8, 9]), any(&[16, 16, 2, 2])],
            |b, x| vec![node(b, op("Conv").with("strides", vec![3, 2]), &[&x[0], &x[1]])],
        )
        .single()
        .fixed_only(),
        case("pointwise conv of few positions", &[any(&[3, 16, 2, 1]), any(&[17, 16, 1, 1])], |b, x| {
            vec![node(b, op("Conv"), &[&x[0], &x[1]])]
        })
        .single()
        .fixed_only(),
        case("pointwise conv with large steps", &[any(&[2, 16, 7, 6]), any(&[17, 16, 1, 1])], |b, x| {
            vec![node(b, op("Conv").with("strides", vec![3, 2]), &[&x[0], &x[1]])]
        })
        .single()
        .fixed_only(),
        case("grouped conv", &[image, any(&[6, 2, 3, 2])], |b, x| {
            vec![node(b, op("Conv").with("group", 2).with("pads", vec![1; 4]), &[&x[0], &x[1]])]
        })
        .single()
        .fixed_only(),
        case("strided grouped conv", &[image, any(&[6, 2, 3, 2])], |b, x| {
            let conv = op("Conv").with("group", 2).with("strides", vec![2, 1]).with("pads", vec![1; 4]);
            vec![node(b, conv, &[&x[0], &x[1]])]
        })
        .single()
        .fixed_only(),
        case("depthwise conv", &[image, any(&[4, 1, 3, 3])], |b, x| {
            vec![node(b, op("Conv").with("group", 4).with("pads", vec![1; 4]), &[&x[0], &x[1]])]
        })
        .single()
        .fixed_only(),
        case("strided depthwise conv with a multiplier", &[image, any(&[8, 1, 3, 3])], |b, x| {
            let conv = op("Conv").with("group", 4).with("strides", vec![2, 2]).with("pads", vec![1; 4]);
            vec![node(b, conv, &[&x[0], &x[1]])]
        })
        .single()
        .fixed_only(),
        case("depthwise conv over several bands of lines", &[any(&[2, 3, 35, 6]), any(&[3, 1, 3, 3])], |b, x| {
            vec![node(b, op("Conv").with("group", 3).with("pads", vec![1; 4]), &[&x[0], &x[1]])]
        })
        .single()
        .fixed_only(),
        case("strided and dilated grouped conv over bands", &[any(&[2, 4, 44, 11]), any(&[6, 2, 2, 3])], |b, x| {
            let conv = op("Conv").with("group", 2).with("pads", vec![1, 2, 3, 4]);
            let conv = conv.with("strides", vec![2, 3]).with("dilations", vec![3, 2]);
            vec![node(b, conv, &[&x[0], &x[1]])]
        })
        .single()
        .fixed_only(),
        case("pointwise conv", &[image, any(&[5, 4, 1, 1])], |b, x| vec![node(b, op("Conv"), &[&x[0], &x[1]])])
            .single()
            .fixed_only(),
        case("strided pointwise conv", &[image, any(&[5, 4, 1, 1])], |b, x| {
            vec![node(b, op("Conv").with("strides", vec![2, 2]), &[&x[0], &x[1]])]
        })
        .single()
        .fixed_only(),
        case("conv with an automatic border", &[image, kernel], |b, x| {
            vec![node(b, op("Conv").with("auto_pad", "SAME_UPPER"), &[&x[0], &x[1]])]
        })
        .single()
        .fixed_only(),
        case("strided conv with an automatic border", &[image, kernel], |b, x| {
            vec![node(b, op("Conv").with("auto_pad", "SAME_UPPER").with("strides", vec![2, 2]), &[&x[0], &x[1]])]
        })
        .single()
        .fixed_only(),
        case("conv over one axis", &[any(&[2, 3, 9]), any(&[4, 3, 3])], |b, x| {
            vec![node(b, op("Conv").with("strides", vec![2]).with("pads", vec![1, 1]), &[&x[0], &x[1]])]
        })
        .single()
        .fixed_only(),
        case("conv over three axes", &[any(&[1, 2, 4, 5, 3]), any(&[3, 2, 2, 3, 2])], |b, x| {
            vec![node(b, op("Conv").with("strides", vec![2, 1, 1]), &[&x[0], &x[1]])]
        })
        .single()
        .fixed_only(),
        case("conv over an image of open size", &[image, any(&[108])], |b, x| {
            let kernel = b.reshape(&x[1], &[3, 4, 3, 3]);
            let [conv, strided] =
                [op("Conv"), op("Conv").with("strides", vec![2, 3])].map(|conv| conv.with("pads", vec![1; 4]));
            vec![node(b, conv, &[&x[0], &kernel]), node(b, strided, &[&x[0], &kernel])]
        })
        .single(),
        case("grouped and pointwise convs over an image of open size", &[image, any(&[72]), any(&[20])], |b, x| {
            let (grouped, pointwise) = (b.reshape(&x[1], &[4, 2, 3, 3]), b.reshape(&x[2], &[5, 4, 1, 1]));
            let conv = op("Conv").with("group", 2).with("strides", vec![2, 1]);
            vec![node(b, conv, &[&x[0], &grouped]), node(b, op("Conv"), &[&x[0], &pointwise])]
        })
        .single(),
        case("transposed conv", &[any(&[2, 3, 4, 5]), any(&[3, 4, 3, 3]), any(&[4])], |b, x| {
            let conv = op("ConvTranspose").with("strides", vec![2, 2]).with("pads", vec![1; 4]);
            vec![node(b, conv.with("output_padding", vec![1, 0]), &[&x[0], &x[1], &x[2]])]
        })
        .single()
        .fixed_only(),
        case("grouped transposed conv", &[any(&[2, 4, 4, 3]), any(&[4, 3, 2, 3])], |b, x| {
            vec![node(b, op("ConvTranspose").with("group", 2).with("dilations", vec![2, 1]), &[&x[0], &x[1]])]
        })
        .single()
        .fixed_only(),
    ]
}
