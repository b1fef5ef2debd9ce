//! What is compared in one process with the training library; see the module above.

use std::collections::BTreeMap;

use defrost::backbones::{self, Backbone, ModelOptions, Origin, Size, Taps};
use defrost::data::Label;
use defrost::finetune::{
    BatchNorm, Classifier, EngineKind, Freeze, Loss, MicroBatch, StepHyperparams, StepOutcome, StepPlan, TargetBatch,
    Targets, Trainer,
};
use defrost::graph::artifacts::{ArtifactOptions, Update};
use defrost::graph::autodiff::{Differentiation, LossKind, differentiate};
use defrost::graph::rewrite;
use defrost::runtime::{Device, ModelSource, Runtime, Session, SessionOptions, TrainingModels, TrainingSession};
use defrost::support::progress::Silent;
use defrost::support::seed::Seed;
use defrost::tensor::HostTensor;
use rand::Rng;

use crate::parity::{Fixture, RESNET, TRANSFORMERS};

const CLASSES: usize = 3;
/// Images of a step, and steps.
const IMAGES: usize = 8;
const STEPS: u64 = 50;
/// Largest difference of two losses, relative to their size.
const ALLOWED: f32 = 1e-5;

fn training_runtime() -> Runtime {
    let runtime = Runtime::load(None).unwrap();
    runtime.check_can_train().unwrap();
    runtime
}

fn options() -> SessionOptions {
    SessionOptions { device: Device::Cpu, threads: 1, ..SessionOptions::default() }
}

fn fixture(fixture: &Fixture) -> Classifier {
    let input = fixture.outputs()["input"].clone();
    let &[_, _, height, width] = input.shape() else { unreachable!() };
    let backbone = fixture.build(&fixture.weights(), Size::Fixed { height, width }, &Taps::None).unwrap();
    Classifier::linear(&backbone, CLASSES, Seed::new(1)).unwrap()
}

/// A DeiT of three blocks with random weights.
fn deit() -> Classifier {
    let mut entry = backbones::find("deit-tiny").unwrap();
    let sizes = "image = 32\npatch = 8\nwidth = 48\ndepth = 3\nheads = 3\nepsilon = 1e-6";
    entry.variant.architecture = sizes.parse().unwrap();
    let size = Size::Fixed { height: 32, width: 32 };
    let backbone: Backbone = backbones::build(&entry, Origin::Random(0), size, &Taps::None).unwrap();
    Classifier::linear(&backbone, CLASSES, Seed::new(1)).unwrap()
}

/// Images and labels, other ones for each step: what there is to be learned is which of three
/// patterns lies in the noise.
struct Data {
    size: usize,
    side: usize,
    /// One for each step.
    batches: Vec<Batch>,
}

struct Batch {
    pixels: Vec<f32>,
    labels: Vec<Label>,
}

impl Data {
    fn new(classifier: &Classifier) -> Data {
        let input = classifier.model.graph.inputs[0].tensor_type().unwrap().shape.clone().unwrap();
        let sizes: Vec<usize> = input[1..].iter().map(|dim| dim.fixed().unwrap() as usize).collect();
        let mut data = Data { size: sizes.iter().product(), side: sizes[2], batches: Vec::new() };
        data.batches = (0..=STEPS).map(|step| data.draw(step)).collect();
        data
    }

    fn draw(&self, step: u64) -> Batch {
        let mut random = Seed::new(3).named("engines").numbered(step).random();
        let labels: Vec<usize> = (0..IMAGES).map(|_| random.gen_range(0..CLASSES)).collect();
        let mut pixels = Vec::with_capacity(IMAGES * self.size);
        for &class in &labels {
            for at in 0..self.size {
                let pattern = if ((at % self.side) * (class + 2) / self.side).is_multiple_of(2) { 0.5 } else { -0.5 };
                pixels.push(pattern + random.gen_range(-1.0..1.0));
            }
        }
        Batch { pixels, labels: labels.into_iter().map(Label::Class).collect() }
    }
}

/// A case: what is trained, and in how many parts of how many images.
struct Case {
    plan: StepPlan,
    parts: usize,
    /// The learning rate of the first step.
    rate: f64,
    /// Steps after which the engine `graph` takes over the other one's state; 0 for never.
    together: u64,
}

impl Case {
    fn new(classifier: &Classifier, freeze: Freeze, change: impl FnOnce(&mut StepPlan)) -> Case {
        let names = freeze.trained(classifier).unwrap();
        let trained = names.into_iter().map(|name| (name, 1.0)).collect();
        let mut plan = StepPlan { trained, ..StepPlan::full(classifier, Loss::CrossEntropy, IMAGES) };
        change(&mut plan);
        Case { parts: IMAGES / plan.batch, plan, rate: 1e-3, together: 0 }
    }

    fn open(&self, classifier: &Classifier, engine: EngineKind) -> Trainer {
        let plan = StepPlan { engine, ..self.plan.clone() };
        Trainer::open(&training_runtime(), classifier, &plan, &options()).unwrap()
    }

    fn step(&self, trainer: &mut Trainer, data: &Data, step: u64) -> StepOutcome {
        let Batch { pixels, labels } = &data.batches[step as usize];
        let targets =
            Targets { loss: Loss::CrossEntropy, classes: CLASSES, smoothing: 0.1, class_weights: vec![1.0; CLASSES] };
        let whole = targets.feed(&labels.iter().map(|label| (label, 1.0)).collect::<Vec<_>>());
        let each: Vec<TargetBatch> = whole.split(self.plan.batch, labels.len());
        let mut random = Seed::new(5).named("masks").numbered(step).random();
        let masks: Vec<Vec<f32>> = (0..self.parts)
            .map(|_| {
                let count = trainer.branches() * self.plan.batch;
                (0..count).map(|_| if random.gen_bool(0.8) { 1.25 } else { 0.0 }).collect()
            })
            .collect();
        let parts: Vec<MicroBatch<'_>> = pixels
            .chunks(data.size * self.plan.batch)
            .zip(&each)
            .zip(&masks)
            .map(|((images, fed), masks)| MicroBatch { images, fed, masks })
            .collect();
        let learning_rate = self.rate * (1.0 - step as f64 / 100.0);
        trainer.step(&parts, StepHyperparams { step, learning_rate, weight_decay: 0.05 }).unwrap()
    }
}

#[track_caller]
fn assert_near(found: f32, expected: f32, allowed: f32, what: &str) {
    let difference = ((found - expected) / expected).abs();
    assert!(difference <= allowed, "{what}: {found} for {expected}, {difference:e}");
}

/// Compares 50 losses.
#[expect(clippy::print_stdout, reason = "what the parent test shows")]
fn agree(what: &str, classifier: &Classifier, data: &Data, case: &Case) {
    let [mut graph, mut ort] = [EngineKind::Graph, EngineKind::Ort].map(|engine| case.open(classifier, engine));
    let mut most = 0f32;
    for step in 1..=STEPS {
        if case.together > 0 && step > 1 && (step - 1) % case.together == 0 {
            graph.reset(&ort.state().unwrap(), step - 1).unwrap();
        }
        let [expected, found] = [&mut graph, &mut ort].map(|trainer| case.step(trainer, data, step));
        assert_near(found.loss, expected.loss, ALLOWED, &format!("{what}, step {step}"));
        assert_near(found.norm, expected.norm, 1e-2, &format!("{what}, norm of step {step}"));
        most = most.max(((found.loss - expected.loss) / expected.loss).abs());
    }
    println!("{what}: largest difference {most:.1e}");
    let [expected, found] = [&graph, &ort].map(|trainer| trainer.weights().unwrap());
    assert!(found.keys().eq(expected.keys()));
    graph.reset(&found, STEPS).unwrap();
    let images = &data.batches[0].pixels;
    let shape = [IMAGES, data.size / data.side / data.side, data.side, data.side];
    let [expected, found] = [&mut graph, &mut ort].map(|trainer| trainer.logits(images, &shape).unwrap());
    let largest = expected.iter().fold(0f32, |most, value| most.max(value.abs()));
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() <= ALLOWED * largest, "{what}: logit {found} for {expected}");
    }
}

/// The largest difference of 50 losses of the engine `graph` from its own, from weights that
/// differ in the last digit.
fn divergence(classifier: &Classifier, case: &Case) -> f32 {
    let data = Data::new(classifier);
    let mut trainers = [(); 2].map(|()| case.open(classifier, EngineKind::Graph));
    let nudged = classifier.weights().unwrap().into_iter().map(|(name, weight)| {
        let values = weight.values::<f32>().unwrap();
        (name, HostTensor::from_fn(weight.shape(), |at| f32::from_bits(values[at].to_bits() ^ 1)))
    });
    trainers[1].reset(&nudged.collect(), 0).unwrap();
    let differences = (1..=STEPS).map(|step| {
        let [one, other] = trainers.each_mut().map(|trainer| case.step(trainer, &data, step).loss);
        ((one - other) / one).abs()
    });
    differences.fold(0.0, f32::max)
}

#[test]
#[ignore = "run by `losses_of_both_engines_agree_over_fifty_steps` with the training library"]
fn losses_agree() {
    let [deit, dino, resnet] = [deit(), fixture(&TRANSFORMERS[0]), fixture(&RESNET)];
    // A rounding grows tenfold with every step of a network of rectifiers: such engines start
    // every other step from the same state.
    let apart = divergence(&resnet, &Case { rate: 1e-4, ..Case::new(&resnet, Freeze::None, |_| {}) });
    assert!(apart > 10.0 * ALLOWED, "{apart}");
    let data = [&deit, &dino, &resnet].map(Data::new);
    for (name, classifier, data) in
        [("deit", &deit, &data[0]), ("dinov2", &dino, &data[1]), ("resnet", &resnet, &data[2])]
    {
        let (rate, together) = if name == "resnet" { (1e-4, 2) } else { (1e-3, 0) };
        let case = |freeze, change: fn(&mut StepPlan)| Case { rate, together, ..Case::new(classifier, freeze, change) };
        let all = Freeze::None;
        agree(&format!("{name}, head"), classifier, data, &Case { together: 0, ..case(Freeze::All, |_| {}) });
        agree(&format!("{name}, blocks:1"), classifier, data, &case(Freeze::Blocks(1), |_| {}));
        agree(&format!("{name}, all"), classifier, data, &case(all, |_| {}));
        agree(&format!("{name}, unclipped"), classifier, data, &case(all, |plan| plan.clip = None));
        agree(
            &format!("{name}, parts"),
            classifier,
            data,
            &case(all, |plan| (plan.batch, plan.accumulate) = (2, true)),
        );
    }
    agree("deit, recompute", &deit, &data[0], &Case::new(&deit, Freeze::None, |plan| plan.recompute = true));
    let decayed = Case::new(&deit, Freeze::None, |plan| {
        let share = |name: &String| if deit.is_head(name) { 1.0 } else { 0.8f64.powi(4 - deit.depth(name) as i32) };
        plan.trained.iter_mut().for_each(|(name, rate)| *rate = share(name));
    });
    agree("deit, layer decay", &deit, &data[0], &decayed);
    let dropped =
        Case::new(&dino, Freeze::None, |plan| (plan.drop_path, plan.batch, plan.accumulate) = (true, 4, true));
    agree("dinov2, drop path", &dino, &data[1], &dropped);
    let updated = Case::new(&resnet, Freeze::None, |plan| plan.batch_norm = BatchNorm::Updated);
    agree("resnet, batch norms", &resnet, &data[2], &Case { rate: 1e-4, together: 2, ..updated });
}

#[test]
#[ignore = "run by `losses_of_efficientnet_lite0_with_its_weights_agree` with the training library"]
fn losses_of_lite0_agree() {
    if !backbones::is_here(&backbones::find("efficientnet-lite0").unwrap()).unwrap() {
        println!("left out: the weights of EfficientNet-Lite0 are not here (`defrost models pull efficientnet-lite0`)");
        return;
    }
    let options = ModelOptions { size: "32x32".parse().ok(), ..ModelOptions::default() };
    let backbone = backbones::open("efficientnet-lite0", &options, &Silent).unwrap();
    let classifier = Classifier::linear(&backbone, CLASSES, Seed::new(1)).unwrap();
    let case =
        |freeze, change: fn(&mut StepPlan)| Case { rate: 1e-4, together: 2, ..Case::new(&classifier, freeze, change) };
    let data = Data::new(&classifier);
    agree("lite0, head", &classifier, &data, &Case { together: 0, ..case(Freeze::All, |_| {}) });
    agree("lite0, batch norms", &classifier, &data, &case(Freeze::None, |plan| plan.batch_norm = BatchNorm::Updated));
}

#[test]
#[ignore = "run by `one_engine_goes_on_where_the_other_stopped` with the training library"]
fn engines_take_over_from_each_other() {
    let classifier = deit();
    let data = Data::new(&classifier);
    let case = Case::new(&classifier, Freeze::None, |_| {});
    let mut whole = case.open(&classifier, EngineKind::Ort);
    let losses: BTreeMap<u64, f32> = (1..=12).map(|step| (step, case.step(&mut whole, &data, step).loss)).collect();
    for (first, second, allowed) in [
        (EngineKind::Ort, EngineKind::Ort, 0.0),
        (EngineKind::Ort, EngineKind::Graph, ALLOWED),
        (EngineKind::Graph, EngineKind::Ort, ALLOWED),
    ] {
        let mut before = case.open(&classifier, first);
        for step in 1..=5 {
            case.step(&mut before, &data, step);
        }
        let state = before.state().unwrap();
        let mut behind = case.open(&classifier, second);
        behind.reset(&state, 5).unwrap();
        assert!(behind.state().unwrap() == state);
        for step in 6..=12 {
            let found = case.step(&mut behind, &data, step).loss;
            assert_near(found, losses[&step], allowed, &format!("{first} then {second}, step {step}"));
        }
    }
    // Moments that are not there start at zero.
    let mut again = case.open(&classifier, EngineKind::Ort);
    case.step(&mut again, &data, 1);
    again.reset(&classifier.weights().unwrap(), 0).unwrap();
    assert_eq!(case.step(&mut again, &data, 1).loss, losses[&1]);
    assert_eq!(case.step(&mut again, &data, 2).loss, losses[&2]);
}

/// AdamW in f64 on the gradients of a plain session.
struct AdamW {
    clip: f64,
    rate: f64,
    decay: f64,
    parameters: BTreeMap<String, Vec<f64>>,
    moments: BTreeMap<String, Vec<[f64; 2]>>,
}

impl AdamW {
    fn update(&mut self, gradients: &BTreeMap<String, Vec<f64>>, step: i32) {
        let AdamW { clip, rate, decay, .. } = *self;
        let norm = gradients.values().flatten().map(|g| g * g).sum::<f64>().sqrt();
        let factor = (clip / (norm + 1e-6)).min(1.0);
        for (name, gradient) in gradients {
            let moments = self.moments.entry(name.clone()).or_insert_with(|| vec![[0.0; 2]; gradient.len()]);
            let values = self.parameters.get_mut(name).unwrap();
            for ((value, [m, v]), g) in values.iter_mut().zip(moments).zip(gradient) {
                let g = factor * g;
                (*m, *v) = (0.9 * *m + 0.1 * g, 0.999 * *v + 0.001 * g * g);
                let [first, second] = [*m / (1.0 - 0.9f64.powi(step)), *v / (1.0 - 0.999f64.powi(step))];
                *value -= rate * (decay * *value + first / (second.sqrt() + 1e-8));
            }
        }
    }
}

#[test]
#[ignore = "run by `artifacts_of_an_onnx_file_train_as_its_gradients_say` with the training library"]
fn artifacts_train_as_gradients_say() {
    let (clip, rate, decay) = (0.5, 1e-3, 0.1);
    let classifier = deit();
    let wanted = Differentiation { output: "logits", loss: LossKind::CrossEntropy, head: None };
    let found = differentiate(classifier.model.clone(), &wanted).unwrap();
    let update = Update::Uniform { clip: Some(clip), weight_decay: decay };
    let made = found.artifacts(&ArtifactOptions { update, ..ArtifactOptions::default() }).unwrap();
    let folder = tempfile::tempdir().unwrap();
    made.save(folder.path(), &made.checkpoint(&found.weights())).unwrap();
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    let files = ["training_model.onnx", "eval_model.onnx", "optimizer_model.onnx", "checkpoint"].map(read);
    let [training, eval, optimizer, checkpoint] = &files;
    let models = TrainingModels { training, eval, optimizer, checkpoint };
    let mut session = TrainingSession::open(&training_runtime(), &models, &options()).unwrap();

    let mut plain = found.model.clone();
    let names: Vec<String> = found.weights().into_keys().collect();
    rewrite::constants_to_inputs(&plain, &names).unwrap().apply(&mut plain).unwrap();
    let bytes = plain.to_bytes().unwrap();
    let mut plain = Session::open(&training_runtime(), ModelSource::Bytes(&bytes), &options()).unwrap();
    let outputs: Vec<String> = plain.outputs().iter().map(|output| output.name.clone()).collect();
    let shapes: BTreeMap<String, Vec<usize>> =
        found.weights().into_iter().map(|(name, weight)| (name, weight.shape().to_vec())).collect();
    let double = |tensor: &HostTensor| tensor.values::<f32>().unwrap().iter().map(|&x| f64::from(x)).collect();
    let mut adamw = AdamW {
        clip,
        rate,
        decay,
        parameters: found.weights().iter().map(|(name, weight)| (name.clone(), double(weight))).collect(),
        moments: BTreeMap::new(),
    };
    let data = Data::new(&classifier);
    let input = classifier.model.graph.inputs[0].tensor_type().unwrap().shape.clone().unwrap();
    let shape: Vec<usize> = input.iter().map(|dim| dim.fixed().unwrap_or(IMAGES as i64) as usize).collect();
    for step in 1..=10u64 {
        let Batch { pixels, labels } = &data.batches[step as usize];
        let images = HostTensor::from_vec(shape.clone(), pixels.clone()).unwrap();
        let labels = labels.iter().map(|label| if let Label::Class(class) = label { *class as i64 } else { -1 });
        let labels = HostTensor::vector(labels.collect());
        let weights: Vec<(String, HostTensor)> = adamw
            .parameters
            .iter()
            .map(|(name, values)| (name.clone(), HostTensor::from_fn(&shapes[name], |at| values[at] as f32)))
            .collect();
        let mut given = vec![(classifier.input.as_str(), &images), ("labels", &labels)];
        given.extend(weights.iter().map(|(name, weight)| (name.as_str(), weight)));
        let results: BTreeMap<&str, HostTensor> =
            outputs.iter().map(String::as_str).zip(plain.run(&given, &[]).unwrap()).collect();
        let expected = results["loss"].values::<f32>().unwrap()[0];
        let judged = session.eval(&[&images, &labels]).unwrap();
        let told = session.step(&[&images, &labels]).unwrap();
        session.update(rate).unwrap();
        for (what, found) in [("training", &told[0]), ("evaluation", &judged[0])] {
            assert_near(found.values::<f32>().unwrap()[0], expected, ALLOWED, &format!("{what}, step {step}"));
        }
        let gradients = results.iter().filter_map(|(name, tensor)| Some((name.strip_prefix("grad/")?, tensor)));
        let gradients = gradients.map(|(name, tensor)| (name.to_owned(), double(tensor))).collect();
        adamw.update(&gradients, step as i32);
    }
}

#[test]
#[ignore = "run by `the_example_artifacts_give_their_losses` with the training library"]
fn example_artifacts_give_their_losses() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/training/ort");
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let images: Vec<f32> = bytemuck::pod_collect_to_vec(&read("x.bin"));
    let labels: Vec<i64> = bytemuck::pod_collect_to_vec(&read("y.bin"));
    for set in ["official", "plain", "groups"] {
        let file = |name: &str| read(&format!("{set}/{name}"));
        let models = TrainingModels {
            training: &file("training_model.onnx"),
            eval: &file("eval_model.onnx"),
            optimizer: &file("optimizer_model.onnx"),
            checkpoint: &file("checkpoint"),
        };
        let mut session = TrainingSession::open(&training_runtime(), &models, &options()).unwrap();
        let losses = String::from_utf8(file("losses.txt")).unwrap();
        let losses: Vec<f32> = losses.lines().map(|line| line.trim().parse().unwrap()).collect();
        assert_eq!(losses.len(), 20);
        for (step, expected) in losses.into_iter().enumerate() {
            let x = HostTensor::from_vec(vec![8, 6], images[step * 48..(step + 1) * 48].to_vec()).unwrap();
            let y = HostTensor::from_vec(vec![8], labels[step * 8..(step + 1) * 8].to_vec()).unwrap();
            let mut inputs = vec![&x, &y];
            let rate = HostTensor::scalar(0.01f32);
            if set == "groups" {
                inputs.push(&rate);
            }
            let judged = session.eval(&inputs[..2]).unwrap();
            let told = session.step(&inputs).unwrap();
            assert_near(told[0].values::<f32>().unwrap()[0], expected, 1e-6, &format!("{set}, step {step}"));
            assert_near(judged[0].values::<f32>().unwrap()[0], expected, 1e-6, &format!("{set}, evaluation {step}"));
            session.update(0.01).unwrap();
        }
    }
}
