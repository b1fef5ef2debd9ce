//! A report is one file that needs nothing else, says what the record says, and lets no name out of
//! its text.

use std::path::Path;
use std::sync::Arc;

use arrow::array::types::Float32Type;
use arrow::array::{ArrayRef, FixedSizeListArray, StringArray};
use arrow::record_batch::RecordBatch;
use defrost::data::Label;
use defrost::metrics::{Bootstrap, Difference, Metric, Predictions, evaluate};
use defrost::probe::PredictionTable;
use defrost::records::compare;
use defrost::report::{
    Curve, DatasetFacts, Mistake, Picture, Plane, PlanePoint, ProbeResult, Record, ReportOptions, SplitFacts, gather,
    render,
};
use ndarray::Array2;
use parquet::arrow::ArrowWriter;

const NASTY: &str = "</style><script>alert('1')</script> & \"quoted\"";

/// Two classes, one of them with a hostile name, absent from the test split.
fn record() -> Record {
    let classes = vec!["plain".to_owned(), NASTY.to_owned(), "third".to_owned()];
    let truth: Vec<usize> = (0..60).map(|row| if row % 3 == 0 { 2 } else { 0 }).collect();
    let probabilities = Array2::from_shape_fn((60, 3), |(row, class)| if class == row % 3 { 0.6 } else { 0.2 });
    let predictions = Predictions::of_classes(truth, probabilities).unwrap().with_names(&classes).unwrap();
    let evaluation = evaluate(&predictions, &Bootstrap::default());
    let picture = Picture { id: format!("{NASTY}.jpg"), data: None };
    let mistake = Mistake { picture, truth: NASTY.into(), predicted: "plain".into(), probability: 0.97 };
    let point = |at: usize| PlanePoint { x: at as f64, y: 1.0, class: Some(at % 3), id: NASTY.into() };
    Record {
        title: NASTY.into(),
        classes,
        dataset: DatasetFacts {
            samples: 1234,
            splits: vec![SplitFacts { name: "test".into(), samples: 60, groups: Some(7), per_class: vec![40, 0, 20] }],
            notes: vec![NASTY.into()],
            ..DatasetFacts::default()
        },
        probes: vec![ProbeResult {
            title: "Linear".into(),
            metrics: evaluation.metrics,
            confusion: evaluation.confusion,
            per_class: evaluation.classes,
            reliability: evaluation.reliability,
            curve: Some(Curve {
                parameter: "C".into(),
                score: "Accuracy".into(),
                points: vec![(0.1, Some(0.5)), (1.0, Some(0.75)), (10.0, None)],
                chosen: 1.0,
            }),
            mistakes: vec![mistake],
            ..ProbeResult::default()
        }],
        projection: Some(Plane { points: (0..9).map(point).collect(), explained: [0.5, 0.25], samples: 9 }),
        commands: vec![format!("defrost probe linear '{NASTY}'")],
        ..Record::default()
    }
}

#[test]
fn names_stay_text_and_nothing_is_loaded_from_elsewhere() {
    let page = render(&record()).unwrap();
    assert!(!page.contains("<script"), "a name left its text");
    assert!(page.contains("&lt;script&gt;"), "the names are shown");
    for outside in ["http:", "https:", "src=\"/", "@import", "url("] {
        assert!(!page.contains(outside), "the page refers to `{outside}`");
    }
    assert_eq!(page.matches("</style>").count(), 1);
}

#[test]
fn figures_and_reasons_of_the_record_are_on_the_page() {
    let record = record();
    let page = render(&record).unwrap();
    let accuracy = &record.probes[0].metrics[&Metric::Accuracy];
    assert!(page.contains(&format!("<b>{:.3}</b>", accuracy.value.unwrap())));
    assert!(page.contains(&format!("{:.3} to {:.3}", accuracy.low.unwrap(), accuracy.high.unwrap())));
    assert!(page.contains("undefined: no sample has"), "an undefined metric states its reason");
    assert!(page.contains("1,234 images"));
    let marks = page.matches("<use class=\"c0\" href=\"#dot\" x=\"").count();
    let swatches = page.matches("<use class=\"c0\" href=\"#dot\" x=\"50%\" y=\"50%\"/>").count();
    assert_eq!(marks - swatches, 3, "three points of the first class");
}

#[test]
fn a_record_without_probes_is_a_page_too() {
    let page = render(&Record { title: "unlabelled".into(), ..Record::default() }).unwrap();
    assert!(page.contains("<h1>unlabelled</h1>") && !page.contains("id=\"probes\""));
}

/// A table of six images of two classes, with a record and predictions of each probe, as `defrost
/// probe` leaves them.
fn cache(folder: &Path) {
    let ids: Vec<String> = (0..6).map(|row| format!("image {row}.png")).collect();
    for (row, id) in ids.iter().enumerate() {
        image::GrayImage::from_pixel(8, 6, image::Luma([row as u8 * 40])).save(folder.join(id)).unwrap();
    }
    let rows = (0..6).map(|row| Some([row as f32, (row * row) as f32, 1.0].map(Some)));
    let embeddings = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(rows, 3);
    let text = |values: Vec<String>| Arc::new(StringArray::from(values)) as ArrayRef;
    let labels = (0..6).map(|row| if row < 3 { "cat".to_owned() } else { "dog".to_owned() }).collect();
    let columns: [(&str, ArrayRef); 4] = [
        ("id", text(ids.clone())),
        ("path", text(ids.clone())),
        ("label", text(labels)),
        ("embedding", Arc::new(embeddings)),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let file = std::fs::File::create(folder.join("features.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();

    let probes = folder.join("probes");
    std::fs::create_dir(&probes).unwrap();
    for (name, first) in [("linear", [0.9, 0.1]), ("knn", [0.02, 0.98])] {
        let table = PredictionTable {
            classes: vec!["cat".into(), "dog".into()],
            ids: vec![ids[0].clone(), ids[1].clone(), ids[5].clone()],
            truth: vec![Label::Class(0), Label::Class(0), Label::Class(1)],
            groups: vec![None; 3],
            probabilities: ndarray::arr2(&[first, [0.4, 0.6], [0.3, 0.7]]),
            decision: None,
            is_ordered: false,
        };
        table.write(&probes.join(format!("{name}.parquet"))).unwrap();
        // As records of earlier versions, which hold the kappa of ordered classes for others, too.
        let predictions = Predictions::of_classes(vec![0, 0, 1], table.probabilities).unwrap().with_order(true);
        let evaluation = evaluate(&predictions, &Bootstrap::default());
        let chosen = match name {
            "linear" => serde_json::json!({"probe": "linear", "c": 0.1, "scale": "l2"}),
            _ => serde_json::json!({"probe": "knn", "k": 5, "temperature": 0.07}),
        };
        let record = serde_json::json!({
            "chosen": chosen, "metrics": evaluation.metrics, "repeats": [], "confusion": evaluation.confusion,
            "selection": {"parameter": "c", "metric": "accuracy", "refitted": true,
                "candidates": [{"value": 1.0, "score": 0.5}, {"value": 0.1, "score": 0.6}]},
            "per_class": evaluation.classes, "reliability": evaluation.reliability,
            "task": "multiclass", "classes": ["cat", "dog"],
            "splits": {"train": {"samples": 3, "per_class": [1, 2]}, "test": {"samples": 3, "per_class": [2, 1]}},
            "source": {"path": "cache", "column": "embedding", "dimension": 3},
            "settings": {"splits": "stratified random", "split_seed": 3, "test_fraction": 0.2,
                "validation_fraction": 0.1, "bootstrap": 1000, "level": 0.95},
            "seconds": {"read": 0.0, "select": 0.0, "fit": 0.0, "evaluate": 0.0},
            "warnings": ["few samples"], "predictions": format!("{name}.parquet"), "weights": null, "version": "0.1.0",
        });
        std::fs::write(probes.join(format!("{name}.json")), record.to_string()).unwrap();
    }
}

#[test]
fn a_cache_with_its_probes_becomes_a_record() {
    let folder = tempfile::tempdir().unwrap();
    cache(folder.path());
    let record =
        gather(folder.path(), &ReportOptions { out: Some("my report.html".into()), ..ReportOptions::default() })
            .unwrap();
    let titles: Vec<&str> = record.probes.iter().map(|probe| probe.title.as_str()).collect();
    assert_eq!(titles, ["Linear", "k-NN"]);
    assert_eq!(record.probes[0].chosen, "C = 0.1, L2-normalised features");
    let mistake = &record.probes[1].mistakes[0];
    assert_eq!(
        (mistake.truth.as_str(), mistake.predicted.as_str(), mistake.probability),
        ("cat", "dog", f64::from(0.98f32))
    );
    assert_eq!(mistake.picture.id, "image 0.png");
    assert!(mistake.picture.data.as_ref().unwrap().starts_with("data:image/jpeg;base64,"));
    assert_eq!(record.probes.iter().map(|probe| probe.mistakes.len()).collect::<Vec<_>>(), [1, 2]);
    let difference = record.difference[&Metric::Accuracy].value.unwrap();
    assert!((difference + 1.0 / 3.0).abs() < 1e-12);
    assert_eq!(record.probes[0].curve.as_ref().unwrap().points, [(0.1, Some(0.6)), (1.0, Some(0.5))]);
    assert!(!record.probes[0].metrics.contains_key(&Metric::QuadraticKappa));
    assert_eq!(record.dataset.splits.len(), 2);
    assert_eq!(record.dataset.gallery.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3]);
    assert_eq!(record.projection.as_ref().unwrap().points.len(), 6);
    assert!(record.commands.last().unwrap().ends_with("--out 'my report.html'"), "{:?}", record.commands);
    let page = render(&record).unwrap();
    assert!(page.contains("k-NN minus Linear") && page.contains("few samples"));
}

#[test]
fn images_that_moved_away_are_told_and_nothing_else_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    cache(folder.path());
    for row in 0..6 {
        std::fs::remove_file(folder.path().join(format!("image {row}.png"))).unwrap();
    }
    let record = gather(folder.path(), &ReportOptions::default()).unwrap();
    assert!(record.dataset.gallery.is_empty());
    assert!(record.dataset.notes[0].contains("no pictures"), "{:?}", record.dataset.notes);
    assert!(render(&record).unwrap().contains("image not found"));
}

/// One sample without a group made the report compare two probes image by image, while `compare`
/// drew whole patients: a narrower interval that no patient stands behind.
#[test]
fn the_report_compares_probes_by_the_groups_of_their_predictions() {
    let folder = tempfile::tempdir().unwrap();
    cache(folder.path());
    let tables = ["linear", "knn"].map(|name| {
        let is_right = |row: usize| name == "linear" || !(row / 5).is_multiple_of(3);
        let table = PredictionTable {
            classes: vec!["cat".into(), "dog".into()],
            ids: (0..60).map(|row| format!("{row}.png")).collect(),
            truth: (0..60).map(|row| Label::Class(row % 2)).collect(),
            groups: (0..60).map(|row| (row > 0).then(|| format!("patient {}", row / 5))).collect(),
            probabilities: Array2::from_shape_fn((60, 2), |(row, class)| {
                if (class == row % 2) == is_right(row) { 0.75 } else { 0.25 }
            }),
            decision: None,
            is_ordered: false,
        };
        table.write(&folder.path().join(format!("probes/{name}.parquet"))).unwrap();
        table
    });
    let reported = gather(folder.path(), &ReportOptions::default()).unwrap().difference;
    let compared = compare(&tables[0], &tables[1], &Bootstrap::default()).unwrap();
    assert!(compared.by_group);
    assert_eq!(reported, compared.differences);
    // Errors come by whole patients: image by image, the interval would be half as wide.
    let width = |found: &Difference| found.high.unwrap() - found.low.unwrap();
    let mut by_image = tables.clone();
    by_image.iter_mut().for_each(|table| table.groups = vec![None; 60]);
    let by_image = compare(&by_image[0], &by_image[1], &Bootstrap::default()).unwrap();
    let [grouped, single] = [&reported, &by_image.differences].map(|found| width(&found[&Metric::Accuracy]));
    assert!(grouped > 1.5 * single, "{grouped} {single}");
}
