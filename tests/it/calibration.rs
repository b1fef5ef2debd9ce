//! Temperatures, thresholds and cut-points on their whole way: fitted on validation predictions,
//! evaluated on test data, part of the exported file, used by `predict`, shown in the report.

use defrost::data::Label;
use defrost::records::{Calibration, PredictionTable, Record};
use defrost::support::seed::Seed;
use rand::Rng as _;
use serde_json::Value;

use crate::deploy::Scene;
use crate::embed::picture;

const IMAGES: usize = 160;

/// What is to be learned of an image: how red and how green it is, and each again as a reader with
/// an unsteady eye says it.
struct Latent {
    red: f64,
    green: f64,
    said_red: f64,
    said_green: f64,
}

fn latents() -> Vec<Latent> {
    let mut random = Seed::new(17).named("latents").random();
    let mut draw = || {
        let (red, green): (f64, f64) = (random.gen_range(0.0..1.0), random.gen_range(0.0..1.0));
        let mut blur = |value: f64| value + random.gen_range(-0.25..0.25);
        Latent { red, green, said_red: blur(red), said_green: blur(green) }
    };
    (0..IMAGES).map(|_| draw()).collect()
}

/// Images with a table of `columns`, whose cells `row` writes.
fn scene(columns: &str, row: impl Fn(usize, &Latent) -> String) -> Scene {
    let scene = Scene::bare();
    std::fs::create_dir(scene.path("images")).unwrap();
    let mut table = format!("path,patient,{columns}\n");
    for (number, latent) in latents().iter().enumerate() {
        let name = format!("images/{number:04}.png");
        let mut image = picture(&name, 24);
        for pixel in image.pixels_mut() {
            let tint = [latent.red, latent.green, 0.4].map(|share| 40.0 + 150.0 * share);
            for (value, tint) in pixel.0.iter_mut().zip(tint) {
                *value = (tint + 0.2 * f64::from(*value)) as u8;
            }
        }
        image.save(scene.path(&name)).unwrap();
        table.push_str(&format!("{name},p{},{}\n", number / 2, row(number, latent)));
    }
    std::fs::write(scene.path("table.csv"), table).unwrap();
    scene
}

fn embed(scene: &Scene, flags: &[&str]) {
    let embed =
        ["embed", "table.csv", "--model", "small.onnx", "--out", "cache", "--device", "cpu", "--group", "patient"];
    scene.done(&[&embed[..], flags].concat());
}

/// A probe with and without what is fitted on validation data, on the same splits.
struct Probed<'a> {
    scene: &'a Scene,
    name: &'static str,
    plain: Record,
    fitted: Record,
}

impl<'a> Probed<'a> {
    fn new(scene: &'a Scene, name: &'static str, flags: &[&str]) -> Probed<'a> {
        let candidates = if name == "linear" { ["--c-grid", "0.1,1000"] } else { ["--k", "5,20"] };
        let probe = |more: &[&str]| -> Record {
            let shared = ["probe", name, "cache", "--fractions", "50,25,25", "--bootstrap", "20", "--json"];
            serde_json::from_str(&scene.done(&[&shared[..], &candidates, more].concat())).unwrap()
        };
        let (plain, fitted) = (probe(&["--out", "plain"]), probe(flags));
        let probed = Probed { scene, name, plain, fitted };
        let adjustment = probed.adjustment();
        assert_eq!(
            adjustment.without, probed.plain.metrics,
            "without what was fitted, the figures are those of the plain probe"
        );
        assert_eq!(adjustment.reliability_without, probed.plain.reliability);
        assert_eq!(adjustment.samples, probed.fitted.splits[&defrost::data::Split::Validation].samples);
        assert!(probed.plain.adjustment.is_none());
        probed
    }

    fn adjustment(&self) -> &Calibration {
        self.fitted.adjustment.as_ref().unwrap()
    }

    fn table(&self, folder: &str) -> PredictionTable {
        PredictionTable::read(&self.scene.path(&format!("{folder}/{}-predictions.parquet", self.name))).unwrap()
    }

    /// Exports both; predictions of the fitted one are those that were evaluated. Gives what
    /// `export` printed, and on how many test images probabilities and labels of the two files
    /// differ.
    fn export(&self) -> (Value, [usize; 2]) {
        let export = |folder: &str, out: &str| -> Value {
            let record = format!("{folder}/{}.json", self.name);
            let flags = ["--cache", "cache", "--model", "small.onnx", "--out", out, "--json"];
            serde_json::from_str(&self.scene.done(&[&["export", &record], &flags[..]].concat())).unwrap()
        };
        export("plain", "plain.onnx");
        let exported = export("cache/probes", "fitted.onnx");
        let largest = exported["verification"]["largest_difference_from_record"].as_f64().unwrap();
        assert!(largest < 1e-4, "{exported}");
        let [plain, fitted] = ["plain.onnx", "fitted.onnx"].map(|file| self.scene.predict(file, "table.csv"));
        let evaluated = self.table("cache/probes");
        check_answers(&evaluated, &fitted);
        let tested = |row: &&Value| evaluated.ids.iter().any(|id| is_of(row, id));
        let differing = |what: &dyn Fn(&Value, &Value) -> bool| {
            plain.iter().zip(&fitted).filter(|(_, row)| tested(row)).filter(|(a, b)| what(a, b)).count()
        };
        let probability = |row: &Value, class: &str| row["probabilities"][class].as_f64().unwrap();
        let moved = |a: &Value, b: &Value| {
            self.fitted.classes.iter().any(|class| (probability(a, class) - probability(b, class)).abs() > 1e-3)
        };
        (exported, [differing(&moved), differing(&|a, b| a["label"] != b["label"])])
    }

    fn report(&self) -> String {
        self.scene.done(&["report", "cache", "--out", "report.html"]);
        std::fs::read_to_string(self.scene.path("report.html")).unwrap()
    }

    /// `evaluate` on the stored predictions decides as the record does.
    fn check_evaluate(&self) {
        let record = format!("cache/probes/{}.json", self.name);
        let text = self.scene.done(&["evaluate", &record, "--bootstrap", "20", "--json"]);
        let parts: Value = serde_json::from_str(&text).unwrap();
        let found = &parts["parts"][0]["evaluation"]["metrics"];
        for (metric, estimate) in &self.fitted.metrics {
            let value = found[metric.name()]["value"].as_f64();
            // Stored probabilities are f32.
            let differs = value.unwrap_or(0.0) - estimate.value.unwrap_or(0.0);
            assert!(differs.abs() < 1e-4, "{metric}: {value:?}, {estimate:?}");
        }
    }
}

/// Rows of `predict` have the probabilities of a table of predictions, and the labels that its
/// decision makes of them.
fn check_answers(table: &PredictionTable, rows: &[Value]) {
    let decided = table.decided();
    for (at, id) in table.ids.iter().enumerate() {
        let row = rows.iter().find(|row| is_of(row, id)).unwrap();
        for (class, expected) in table.classes.iter().zip(table.probabilities.row(at)) {
            let found = row["probabilities"][class].as_f64().unwrap();
            assert!((found - expected).abs() < 1e-4, "`{id}`, {class}: {found} instead of {expected}");
        }
        let expected = match table.is_multi_label() {
            false => Value::from(table.classes[decided[at]].clone()),
            true => {
                let is_present = |label: &usize| {
                    let least = defrost::metrics::Decision::threshold(table.decision.as_ref(), *label);
                    table.probabilities[[at, *label]] > least
                };
                let present = (0..table.classes.len()).filter(is_present).map(|label| table.classes[label].clone());
                Value::from(present.collect::<Vec<String>>())
            }
        };
        assert_eq!(row["label"], expected, "`{id}`");
    }
}

/// Whether a row of `predict` is about the image of that id, which is its path below the table's
/// folder.
fn is_of(row: &Value, id: &str) -> bool {
    row["path"].as_str().unwrap().ends_with(id)
}

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

fn assert_near(found: &[f64], expected: impl Iterator<Item = f64>) {
    let expected: Vec<f64> = expected.collect();
    let is_near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-6 * b.abs().max(1.0);
    assert!(found.len() == expected.len() && found.iter().zip(&expected).all(is_near), "{found:?}, {expected:?}");
}

#[test]
fn two_classes_are_calibrated_and_decided_at_a_threshold() {
    let scene = scene("label", |_, latent| if latent.said_red > 0.7 { "red" } else { "plain" }.to_owned());
    embed(&scene, &[]);
    for name in ["linear", "knn"] {
        let probed = Probed::new(&scene, name, &["--calibrate", "--threshold", "sensitivity=0.9"]);
        let adjustment = probed.adjustment();
        let [temperature] = adjustment.temperatures.as_slice() else { unreachable!("{adjustment:?}") };
        let [threshold] = adjustment.thresholds.as_slice() else { unreachable!("{adjustment:?}") };
        assert!(temperature.undefined.is_none() && temperature.value != 1.0, "{name}: {temperature:?}");
        assert!(threshold.name == "red" && threshold.sensitivity.unwrap() >= 0.9, "{name}: {threshold:?}");
        probed.check_evaluate();
        let (exported, [moved, decided]) = probed.export();
        assert_near(&floats(&exported["temperature"]), [temperature.value].into_iter());
        assert_near(&floats(&exported["thresholds"]), [threshold.value].into_iter());
        let fitted_on =
            serde_json::json!({"validation_samples": adjustment.samples, "threshold_rule": "sensitivity=0.9"});
        assert_eq!(exported["fitted_on"], fitted_on);
        assert!(moved > 20 && decided > 0, "{name}: {moved} probabilities and {decided} labels changed");
        let page = probed.report();
        assert!(
            page.contains("Threshold by sensitivity=0.9") && page.contains("--calibrate --threshold sensitivity=0.9")
        );
        assert!(page.contains(&format!("temperature {:.3}", temperature.value)), "{name}");
        assert!(page.contains("hollow dots are before the temperature") && page.contains("class=\"hollow s0\""));
    }
    // Another threshold at export: the metrics in the file are those at that one.
    let record = "cache/probes/linear.json";
    let export = ["export", record, "--model", "small.onnx", "--out", "other.onnx", "--thresholds", "0.02", "--json"];
    let other: Value = serde_json::from_str(&scene.done(&export)).unwrap();
    assert_near(&floats(&other["thresholds"]), [0.02].into_iter());
    assert!(other["fitted_on"]["threshold_rule"].is_null() && other["temperature"].is_array());
    assert!(other["metrics"]["sensitivity"]["value"].as_f64().unwrap() > 0.9, "{}", other["metrics"]["sensitivity"]);
    let rows = scene.predict("other.onnx", "table.csv");
    let is_decided =
        |row: &Value| (row["label"] == "red") == (row["probabilities"]["red"].as_f64().unwrap() >= f64::from(0.02f32));
    assert!(rows.iter().all(is_decided));
}

/// The parts of the test samples, and patients whole, for any column of a table.
#[test]
fn subgroups_are_evaluated_at_the_threshold_with_whole_patients() {
    let scene = scene("label", |_, latent| if latent.said_red > 0.7 { "red" } else { "plain" }.to_owned());
    embed(&scene, &[]);
    scene.done(&["probe", "linear", "cache", "--c-grid", "1", "--threshold", "0.2", "--fractions", "50,25,25"]);
    let table = PredictionTable::read(&scene.path("cache/probes/linear-predictions.parquet")).unwrap();
    let mut sheet = "image,sex\n".to_owned();
    for (at, id) in table.ids.iter().enumerate().skip(3) {
        sheet.push_str(&format!("{id},{}\n", ["F", "M", ""][at % 3]));
    }
    std::fs::write(scene.path("people.csv"), &sheet).unwrap();
    let record = "cache/probes/linear.json";
    let by = ["evaluate", record, "--table", "people.csv", "--by", "sex", "--id-column", "image", "--bootstrap", "100"];
    let output = scene.run(&[&by[..], &["--json"]].concat());
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("does not name 3 of") && told.contains("decided by threshold 0.200"), "{told}");
    assert!(told.contains("whole groups"), "{told}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let parts = found["parts"].as_array().unwrap();
    assert_eq!(parts.iter().map(|part| part["value"].as_str()).collect::<Vec<_>>(), [None, Some("F"), Some("M")]);
    for part in parts {
        let rows: Vec<usize> = (0..table.ids.len())
            .filter(|&at| {
                let sex = (at >= 3).then_some(["F", "M", ""][at % 3]).filter(|sex| !sex.is_empty());
                sex == part["value"].as_str()
            })
            .collect();
        let decided = table.decided();
        let is_right = |row: &usize| table.truth[*row] == Label::Class(decided[*row]);
        let accuracy = rows.iter().filter(|row| is_right(row)).count() as f64 / rows.len() as f64;
        let evaluation = &part["evaluation"];
        assert_eq!(evaluation["samples"].as_u64(), Some(rows.len() as u64));
        assert!((evaluation["metrics"]["accuracy"]["value"].as_f64().unwrap() - accuracy).abs() < 1e-12);
        let patients: std::collections::BTreeSet<_> = rows.iter().map(|&row| table.groups[row].as_deref()).collect();
        assert_eq!(evaluation["groups"].as_u64(), Some(patients.len() as u64));
    }
    let (code, told) = scene.fails(&["evaluate", record, "--table", "people.csv", "--by", "sex"]);
    assert!(code == 2 && told.contains("has no column `path`") && told.contains("--id-column"), "{told}");
    std::fs::write(scene.path("people.csv"), format!("{sheet}{},X\n", table.ids[4])).unwrap();
    let (code, told) = scene.fails(&by);
    assert!(code == 2 && told.contains(&table.ids[4]), "one image, two values: {told}");
}

#[test]
fn several_classes_are_calibrated_by_one_temperature_and_keep_their_order() {
    let label = |said: f64| {
        if said < 0.3 {
            "low"
        } else if said < 0.6 {
            "middle"
        } else {
            "high"
        }
    };
    let scene = scene("label", |_, latent| label(latent.said_red).to_owned());
    embed(&scene, &[]);
    let (code, told) = scene.fails(&["probe", "linear", "cache", "--threshold", "f1"]);
    assert!(code == 2 && told.contains("`threshold` is f1 for 3 classes, expected two classes"), "{told}");
    let (code, told) = scene.fails(&["probe", "linear", "cache", "--cut-points"]);
    assert!(code == 2 && told.contains("expected ordered classes"), "{told}");
    let probed = Probed::new(&scene, "linear", &["--calibrate"]);
    let temperature = probed.adjustment().temperatures[0].value;
    assert!(temperature != 1.0 && probed.adjustment().temperatures.len() == 1);
    let accuracy = |record: &Record| record.metrics[&defrost::metrics::Metric::Accuracy].value;
    assert_eq!(accuracy(&probed.plain), accuracy(&probed.fitted));
    let (exported, [moved, decided]) = probed.export();
    assert_near(&floats(&exported["temperature"]), [temperature].into_iter());
    assert!(exported["thresholds"].is_null() && exported["cut_points"].is_null());
    assert!(moved > 20 && decided == 0, "{moved}, {decided}");
    let model = defrost::graph::Model::load(&scene.path("fitted.onnx")).unwrap();
    assert!(
        model.graph.initializers.iter().any(|tensor| tensor.name.ends_with("head.temperature")),
        "part of the graph"
    );
}

#[test]
fn grades_are_cut_where_quadratic_kappa_is_largest() {
    // Most are of grade 0, so that the most probable grade is 0 too often.
    let grade = |said: f64| [0.5, 0.75, 0.95].iter().filter(|&&least| said > least).count();
    let scene = scene("label", |_, latent| grade(latent.said_red).to_string());
    embed(&scene, &["--ordinal"]);
    let probed = Probed::new(&scene, "linear", &["--calibrate", "--cut-points"]);
    let points = probed.adjustment().cut_points.as_ref().unwrap();
    assert!(points.values.len() == 3 && points.values.is_sorted(), "{points:?}");
    assert!(points.kappa > points.kappa_of_most_probable, "{points:?}");
    probed.check_evaluate();
    let (exported, [_, decided]) = probed.export();
    assert_near(&floats(&exported["cut_points"]), points.values.iter().copied());
    assert!(decided > 0);
    let page = probed.report();
    assert!(page.contains("Expected grade") && page.contains(&format!("<b>{:.3}</b>", points.values[0])), "{points:?}");
    assert!(page.contains("Quadratic kappa") && page.contains(", quadratic kappa"));
}

#[test]
fn labels_have_temperatures_and_thresholds_of_their_own_and_unknown_ones_do_not_count() {
    let flag = |is_present: bool| if is_present { "1" } else { "0" };
    let cells = |number: usize, latent: &Latent| {
        let red = if number.is_multiple_of(3) { "-1" } else { flag(latent.said_red > 0.7) };
        format!("{red},{},0", flag(latent.said_green > 0.4))
    };
    let scene = scene("red,green,never", cells);
    embed(&scene, &["--class-columns", "red,green,never"]);
    for name in ["linear", "knn"] {
        let probed = Probed::new(&scene, name, &["--calibrate", "--threshold", "f1"]);
        let adjustment = probed.adjustment();
        let samples: Vec<usize> = adjustment.thresholds.iter().map(|chosen| chosen.samples).collect();
        assert!(samples[0] < samples[1] && samples[1] == samples[2] && samples[2] == adjustment.samples, "{samples:?}");
        assert!(adjustment.temperatures.iter().zip(&samples).all(|(fitted, &count)| fitted.samples == count));
        assert!(
            adjustment.thresholds[..2].iter().all(|chosen| chosen.undefined.is_none()),
            "{:?}",
            adjustment.thresholds
        );
        let never = (adjustment.temperatures[2].value, adjustment.thresholds[2].value);
        assert_eq!(never, (1.0, 0.5));
        for reason in [
            "the temperature of `never` stays 1: no sample has `never` (on validation data)",
            "the threshold of `never` stays 0.5: no sample has `never` (on validation data)",
        ] {
            assert!(probed.fitted.warnings.iter().any(|warning| warning == reason), "{:?}", probed.fitted.warnings);
        }
        let table = probed.table("cache/probes");
        let unknown = |label: &Label| matches!(label, Label::Classes(known) if known[0].is_none());
        assert!(table.truth.iter().any(unknown), "there are unknown labels among the test samples");
        probed.check_evaluate();
        let (exported, [moved, decided]) = probed.export();
        assert_near(&floats(&exported["temperature"]), adjustment.temperatures.iter().map(|fitted| fitted.value));
        assert_near(&floats(&exported["thresholds"]), adjustment.thresholds.iter().map(|chosen| chosen.value));
        assert!(moved > 20 && decided > 0, "{name}: {moved}, {decided}");
        let page = probed.report();
        assert!(page.contains("Threshold by f1") && page.contains("1.000*") && page.contains("0.500*"));
    }
}

#[test]
fn a_fine_tuned_network_is_calibrated_and_decided_like_a_probe() {
    let scene = scene("label", |_, latent| if latent.said_red > 0.7 { "red" } else { "plain" }.to_owned());
    let train = |out: &str, more: &[&str]| -> Record {
        let shared = ["finetune", "table.csv", "--group", "patient", "--model", "small.onnx", "--out", out, "--json"];
        let recipe =
            ["--epochs", "3", "--batch", "16", "--learning-rate", "0.03", "--augment", "none", "--device", "cpu"];
        let splits = ["--fractions", "50,25,25", "--bootstrap", "20"];
        serde_json::from_str(&scene.done(&[&shared[..], &recipe, &splits, more].concat())).unwrap()
    };
    let plain = train("plain", &[]);
    let fitted = train("run", &["--calibrate", "--threshold", "youden"]);
    let adjustment = fitted.adjustment.as_ref().unwrap();
    assert_eq!(adjustment.without, plain.metrics);
    let config = std::fs::read_to_string(scene.path("run/config.toml")).unwrap();
    assert!(config.contains("[recipe.adjusting]\ncalibrate = true\nthreshold = \"youden\""), "{config}");
    assert!(!std::fs::read_to_string(scene.path("plain/config.toml")).unwrap().contains("adjusting"));
    let exported: Value = serde_json::from_str(&scene.done(&["export", "run", "--out", "run.onnx", "--json"])).unwrap();
    assert_near(&floats(&exported["temperature"]), adjustment.temperatures.iter().map(|fitted| fitted.value));
    assert_near(&floats(&exported["thresholds"]), adjustment.thresholds.iter().map(|chosen| chosen.value));
    let table = PredictionTable::read(&scene.path("run/predictions.parquet")).unwrap();
    let uncalibrated = PredictionTable::read(&scene.path("plain/predictions.parquet")).unwrap();
    assert_eq!(table.ids, uncalibrated.ids);
    assert_ne!(table.probabilities, uncalibrated.probabilities);
    assert_ne!(table.decided(), uncalibrated.decided());
    check_answers(&table, &scene.predict("run.onnx", "table.csv"));
    scene.done(&["report", "run", "--out", "run.html"]);
    let page = std::fs::read_to_string(scene.path("run.html")).unwrap();
    assert!(page.contains("Fitted on validation data") && page.contains("Threshold by youden"));
    let (code, told) = scene.fails(&["finetune", "table.csv", "--model", "small.onnx", "--out", "no", "--cut-points"]);
    assert!(code == 2 && told.contains("expected ordered classes"), "{told}");
}

#[test]
fn fine_tuned_grades_and_labels_go_the_same_way() {
    let flag = |is_present: bool| if is_present { "1" } else { "0" };
    let grade = |said: f64| [0.5, 0.75, 0.95].iter().filter(|&&least| said > least).count();
    let scene = scene("grade,red,green", |number, latent| {
        let red = if number.is_multiple_of(3) { "" } else { flag(latent.said_red > 0.7) };
        format!("{},{red},{}", grade(latent.said_red), flag(latent.said_green > 0.4))
    });
    let train = |out: &str, more: &[&str]| -> Record {
        let shared = ["finetune", "table.csv", "--model", "small.onnx", "--out", out, "--json", "--device", "cpu"];
        let recipe = ["--epochs", "2", "--batch", "16", "--learning-rate", "0.03", "--augment", "none"];
        let splits = ["--fractions", "50,25,25", "--bootstrap", "0"];
        serde_json::from_str(&scene.done(&[&shared[..], &recipe, &splits, more].concat())).unwrap()
    };
    let check = |out: &str, record: &Record| -> Value {
        let file = format!("{out}.onnx");
        let exported = serde_json::from_str(&scene.done(&["export", out, "--out", &file, "--json"])).unwrap();
        let table = PredictionTable::read(&scene.path(&format!("{out}/predictions.parquet"))).unwrap();
        assert_eq!(table.decision, record.adjustment.as_ref().unwrap().decision());
        check_answers(&table, &scene.predict(&file, "table.csv"));
        exported
    };
    let grades = train("grades", &["--label-column", "grade", "--ordinal", "--loss", "mse", "--cut-points"]);
    let points = grades.adjustment.as_ref().unwrap().cut_points.as_ref().unwrap();
    assert!(points.kappa >= points.kappa_of_most_probable, "{points:?}");
    let exported = check("grades", &grades);
    assert_near(&floats(&exported["cut_points"]), points.values.iter().copied());
    assert!(exported["temperature"].is_null());

    let labels = train("labels", &["--class-columns", "red,green", "--calibrate", "--threshold", "specificity=0.8"]);
    let adjustment = labels.adjustment.as_ref().unwrap();
    let [red, green] = adjustment.thresholds.as_slice() else { unreachable!("{adjustment:?}") };
    assert!(red.samples < green.samples && green.specificity.unwrap() >= 0.8, "{red:?}, {green:?}");
    assert_eq!(adjustment.temperatures[0].samples, red.samples);
    let exported = check("labels", &labels);
    assert_near(&floats(&exported["thresholds"]), [red.value, green.value].into_iter());
}
