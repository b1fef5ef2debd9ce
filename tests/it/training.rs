//! Training steps against PyTorch's: losses of AdamW trajectories, running statistics, accumulated
//! gradients, frozen parts.

use std::path::Path;

use defrost::backbones::{Backbone, Size, Taps};
use defrost::data::Label;
use defrost::finetune::{
    BatchNorm, Classifier, Freeze, Loss, MicroBatch, StepHyperparams, StepOutcome, StepPlan, TargetBatch, Targets,
    Trainer,
};
use defrost::runtime::{Device, SessionOptions};
use defrost::tensor::safetensors::{self, Tensors};
use defrost::tensor::{HostTensor, Tolerance, compare};

use crate::parity::{EFFICIENTNET_LITE, FOCALNET, Fixture, RESNET, SAM, TRANSFORMERS};
use crate::session::runtime;

/// Largest difference of a loss from PyTorch's, relative to the largest loss of the trajectory:
/// late losses are small, and AdamW makes full steps of gradients that are rounding errors; PyTorch
/// on another number of threads is as far from itself.
const ALLOWED: f64 = 1e-4;

/// What PyTorch trained: head, labels, losses.
struct Reference {
    stored: Tensors,
    folder: &'static str,
}

impl Reference {
    fn of(fixture: &Fixture) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/training/adamw_losses.safetensors");
        Reference { stored: safetensors::read(&path).unwrap().0, folder: fixture.folder }
    }

    fn tensor(&self, name: &str) -> &HostTensor {
        &self.stored[&format!("{}/{name}", self.folder)]
    }

    fn exists(&self) -> bool {
        self.stored.contains_key(&format!("{}/labels", self.folder))
    }

    fn labels(&self) -> Vec<Label> {
        self.tensor("labels").values::<i64>().unwrap().iter().map(|&class| Label::Class(class as usize)).collect()
    }
}

/// The fixture's network with the reference's head; SAM's stands on the vector behind its neck.
fn classifier(fixture: &Fixture, reference: &Reference) -> (Classifier, HostTensor) {
    let images = fixture.outputs()["input"].clone();
    let &[_, _, height, width] = images.shape() else { unreachable!() };
    let mut backbone: Backbone = fixture.build(&fixture.weights(), Size::Fixed { height, width }, &Taps::All).unwrap();
    if let Some(neck) = backbone.taps.iter().find(|tap| tap.name == "embedding_neck").cloned() {
        backbone.embedding = neck;
    }
    let head = (reference.tensor("head.weight"), reference.tensor("head.bias"));
    (Classifier::with_linear(&backbone, head.0, head.1).unwrap(), images)
}

fn open(classifier: &Classifier, plan: &StepPlan) -> Trainer {
    let options = SessionOptions { device: Device::Cpu, threads: 1, ..SessionOptions::default() };
    Trainer::open(&runtime(), classifier, plan, &options).unwrap()
}

fn fed(labels: &[Label], classes: usize) -> TargetBatch {
    let targets = Targets { loss: Loss::CrossEntropy, classes, smoothing: 0.0, class_weights: vec![1.0; classes] };
    targets.feed(&labels.iter().map(|label| (label, 1.0)).collect::<Vec<_>>())
}

fn rates(step: u64) -> StepHyperparams {
    StepHyperparams { step, learning_rate: 1e-3, weight_decay: 1e-2 }
}

/// Losses of steps on the whole batch, the same every time.
fn losses(trainer: &mut Trainer, images: &HostTensor, fed: &TargetBatch, steps: u64) -> Vec<StepOutcome> {
    let images = images.values::<f32>().unwrap();
    let part = || MicroBatch { images: &images, fed, masks: &[] };
    (1..=steps).map(|step| trainer.step(&[part()], rates(step)).unwrap()).collect()
}

fn follows_pytorch(fixture: &Fixture) {
    let reference = Reference::of(fixture);
    if !reference.exists() {
        return;
    }
    let (classifier, images) = classifier(fixture, &reference);
    let labels = reference.labels();
    let plan = StepPlan::full(&classifier, Loss::CrossEntropy, labels.len());
    let mut trainer = open(&classifier, &plan);
    let found = losses(&mut trainer, &images, &fed(&labels, 3), 8);
    let expected = reference.tensor("adamw_losses").values::<f32>().unwrap().into_owned();
    let largest = f64::from(expected.iter().copied().fold(0.0, f32::max));
    for (step, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let difference = f64::from((found.loss - expected).abs()) / largest;
        assert!(difference <= ALLOWED, "{} step {step}: {} for {expected}", fixture.folder, found.loss);
    }
}

#[test]
fn losses_of_transformers_follow_pytorch_s() {
    TRANSFORMERS.iter().for_each(follows_pytorch);
}

#[test]
fn losses_of_sam_follow_pytorch_s() {
    SAM.iter().for_each(follows_pytorch);
}

#[test]
fn losses_of_focalnet_follow_pytorch_s() {
    FOCALNET.iter().for_each(follows_pytorch);
}

#[test]
fn losses_of_convolutional_networks_follow_pytorch_s() {
    [EFFICIENTNET_LITE, RESNET].iter().for_each(follows_pytorch);
}

#[test]
fn batch_norms_keep_pytorch_s_running_statistics() {
    for fixture in [EFFICIENTNET_LITE, RESNET] {
        let reference = Reference::of(&fixture);
        let (classifier, images) = classifier(&fixture, &reference);
        let labels = reference.labels();
        let plan = StepPlan {
            batch_norm: BatchNorm::Updated,
            ..StepPlan::full(&classifier, Loss::CrossEntropy, labels.len())
        };
        let mut trainer = open(&classifier, &plan);
        let step = losses(&mut trainer, &images, &fed(&labels, 3), 1)[0];
        let expected = reference.tensor("bn/loss").values::<f32>().unwrap()[0];
        assert!(((step.loss - expected) / expected).abs() < 1e-4, "{}: {} for {expected}", fixture.folder, step.loss);
        let weights = trainer.weights().unwrap();
        let prefix = format!("{}/bn/running/", fixture.folder);
        let mut compared = 0;
        for (name, expected) in reference.stored.iter().filter_map(|(name, t)| Some((name.strip_prefix(&prefix)?, t))) {
            let (found, expected) = (weights[name].values::<f32>().unwrap(), expected.values::<f32>().unwrap());
            let outcome = compare(&found, &expected, Tolerance::Relative(1e-4)).unwrap();
            assert!(outcome.holds(), "{} {name}: {outcome}", fixture.folder);
            compared += 1;
        }
        assert_eq!(compared, classifier.statistics.len());
    }
}

#[test]
fn parts_of_a_batch_give_the_gradient_of_the_whole() {
    let fixture = &TRANSFORMERS[0];
    let reference = Reference::of(fixture);
    let (classifier, images) = classifier(fixture, &reference);
    let labels = reference.labels();
    let whole = fed(&labels, 3);
    let plan = StepPlan::full(&classifier, Loss::CrossEntropy, labels.len());
    let expected = losses(&mut open(&classifier, &plan), &images, &whole, 4);
    let plan = StepPlan { batch: 1, accumulate: true, ..plan };
    let mut trainer = open(&classifier, &plan);
    let images = images.values::<f32>().unwrap();
    let size = images.len() / labels.len();
    let each: Vec<TargetBatch> =
        whole.targets.chunks(3).map(|targets| TargetBatch { targets: targets.to_vec(), weights: Vec::new() }).collect();
    for (step, expected) in (1..=4).zip(&expected) {
        let parts: Vec<MicroBatch<'_>> =
            images.chunks(size).zip(&each).map(|(images, fed)| MicroBatch { images, fed, masks: &[] }).collect();
        let found = trainer.step(&parts, rates(step)).unwrap();
        for (found, expected) in [(found.loss, expected.loss), (found.norm, expected.norm)] {
            assert!(((found - expected) / expected).abs() < 1e-4, "step {step}: {found} for {expected}");
        }
    }
}

#[test]
fn what_is_frozen_stays_and_the_rest_moves() {
    let fixture = &TRANSFORMERS[0];
    let reference = Reference::of(fixture);
    let (classifier, images) = classifier(fixture, &reference);
    let labels = reference.labels();
    let full = StepPlan::full(&classifier, Loss::CrossEntropy, labels.len());
    let trained = |freeze: Freeze| freeze.trained(&classifier).unwrap();
    assert_eq!(
        trained(Freeze::All),
        ["head.bias", "head.weight"].map(String::from).into_iter().rev().collect::<Vec<_>>()
    );
    assert_eq!(trained(Freeze::Blocks(0)).len(), classifier.parameters.len());
    let later = trained(Freeze::Blocks(1));
    assert!(later.iter().any(|name| name.starts_with("blocks.1.")) && later.iter().any(|name| name == "norm.weight"));
    assert!(!later.iter().any(|name| name.starts_with("blocks.0.") || name == "pos_embed"));
    assert!(Freeze::Blocks(3).trained(&classifier).is_err());
    let plan = StepPlan { trained: later.iter().map(|name| (name.clone(), 1.0)).collect(), ..full };
    let mut trainer = open(&classifier, &plan);
    let before = classifier.weights().unwrap();
    losses(&mut trainer, &images, &fed(&labels, 3), 2);
    let after = trainer.weights().unwrap();
    assert_eq!(after.keys().collect::<Vec<_>>().len(), later.len());
    assert!(after.iter().all(|(name, weight)| *weight != before[name]), "everything that is trained moves");
}

/// Steps with and without a change of the plan, from the same weights.
fn beside(fixture: &Fixture, change: impl Fn(&mut StepPlan)) -> [(Vec<StepOutcome>, Tensors); 2] {
    let reference = Reference::of(fixture);
    let (classifier, images) = classifier(fixture, &reference);
    let labels = reference.labels();
    let plan =
        StepPlan { batch_norm: BatchNorm::Updated, ..StepPlan::full(&classifier, Loss::CrossEntropy, labels.len()) };
    let mut changed = plan.clone();
    change(&mut changed);
    [plan, changed].map(|plan| {
        let mut trainer = open(&classifier, &plan);
        let progressed = losses(&mut trainer, &images, &fed(&labels, 3), 3);
        (progressed, trainer.weights().unwrap())
    })
}

#[test]
fn activations_that_are_computed_again_change_no_number() {
    for fixture in [&TRANSFORMERS[0], &SAM[0], &FOCALNET[0], &EFFICIENTNET_LITE, &RESNET] {
        let [kept, again] = beside(fixture, |plan| plan.recompute = true);
        for (step, (kept, again)) in kept.0.iter().zip(&again.0).enumerate() {
            assert_eq!((kept.loss, kept.norm), (again.loss, again.norm), "{} step {step}", fixture.folder);
        }
        assert!(kept.1 == again.1, "{}", fixture.folder);
    }
}

#[test]
fn mixed_precision_is_as_near_as_its_digits() {
    for fixture in [&TRANSFORMERS[0], &TRANSFORMERS[1], &FOCALNET[0], &RESNET] {
        let [full, mixed] = beside(fixture, |plan| plan.mixed_precision = true);
        let (full, mixed) = (full.0[0], mixed.0[0]);
        let [loss, norm] =
            [(full.loss, mixed.loss), (full.norm, mixed.norm)].map(|(full, mixed)| ((full - mixed) / full).abs());
        assert!(loss < 5e-3 && norm > 0.0 && norm < 5e-2, "{}: {mixed:?} for {full:?}", fixture.folder);
    }
}

/// A network whose head is surely wrong about a class, and an image: the cotangent of a logit is
/// the factor on the loss itself, which f16 does not hold.
fn surely_wrong() -> (Classifier, Vec<f32>) {
    let fixture = &TRANSFORMERS[0];
    let reference = Reference::of(fixture);
    let (mut classifier, images) = classifier(fixture, &reference);
    let name = format!("{}.bias", classifier.head);
    let bias = classifier.model.graph.initializers.iter_mut().find(|tensor| tensor.name == name).unwrap();
    *bias = defrost::graph::Tensor::new(&name, &HostTensor::vector(vec![20f32, 0.0, 0.0]));
    let images = images.values::<f32>().unwrap();
    let one = images.len() / reference.labels().len();
    (classifier, images[..one].to_vec())
}

#[test]
fn a_step_that_overflows_in_f16_is_taken_again_with_a_smaller_factor() {
    let (classifier, image) = surely_wrong();
    let fed = fed(&[Label::Class(1)], 3);
    for (accumulate, recompute) in [(false, false), (false, true), (true, false)] {
        let plan = StepPlan {
            mixed_precision: true,
            accumulate,
            recompute,
            ..StepPlan::full(&classifier, Loss::CrossEntropy, 1)
        };
        let part = || MicroBatch { images: &image, fed: &fed, masks: &[] };
        let parts = || if accumulate { vec![part(), part()] } else { vec![part()] };
        let mut trainer = open(&classifier, &plan);
        let told = trainer.step(&parts(), rates(1)).unwrap();
        assert!(told.loss > 10.0 && told.norm.is_finite(), "{accumulate} {recompute}: {told:?}");
        let state = trainer.state().unwrap();
        let factor = state["loss_scale"].values::<f32>().unwrap()[0];
        assert!((1024.0..65_536.0).contains(&factor), "{factor}");
        assert!(state.values().all(|tensor| tensor.values::<f32>().unwrap().iter().all(|value| value.is_finite())));
        let name = format!("{}.bias", classifier.head);
        assert!(trainer.weights().unwrap()[&name] != HostTensor::vector(vec![20f32, 0.0, 0.0]));
        // A checkpoint goes on with that factor.
        let mut again = open(&classifier, &plan);
        again.reset(&state, 1).unwrap();
        let [here, there] = [&mut trainer, &mut again].map(|trainer| trainer.step(&parts(), rates(2)).unwrap());
        assert_eq!((here.loss, here.norm), (there.loss, there.norm));
        assert!(trainer.state().unwrap() == again.state().unwrap());
    }
}
