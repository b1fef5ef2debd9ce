//! The report of a study says what its cells say: tables against numbers by hand, what is missing
//! by name, every figure on the page and as a file.

use std::path::Path;
use std::process::Command;

use defrost::finetune::{Freeze, Head};
use defrost::report::write_study;
use defrost::study::summary::{Published, StudySummary, Verdict};
use defrost::study::{Experiment, StudyResults, TrainingWork, Work};

use crate::deploy::Scene;
use crate::study_folder::{Folder, cell, complete, probed, small};

#[expect(clippy::panic, reason = "a test")]
fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_page_and_its_files_have_every_figure_and_table() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("study-report");
    let _ = std::fs::remove_dir_all(&folder);
    complete(&folder);
    let report = write_study(&StudyResults::read(&folder).unwrap(), &folder).unwrap();
    assert_eq!((report.absent.clone(), report.failed), (Vec::<String>::new(), 0));
    assert_eq!(report.done, report.cells);
    let page = text(&report.page);
    let figures: Vec<String> = (1..=8).map(|number| format!("figure-{number}")).collect();
    let named = ["label-fractions", "speed", "parameters", "critical-difference"].map(str::to_owned);
    for figure in figures.iter().chain(&named) {
        assert!(page.contains(&format!("id=\"{figure}\"")), "{figure} is not on the page");
        let svg = text(&folder.join("figures").join(figure).with_extension("svg"));
        assert!(svg.starts_with("<svg xmlns") && !svg.contains("var(") && !svg.contains("class="), "{figure}");
    }
    if !report.without_png {
        let size = image::image_dimensions(folder.join("figures/figure-5.png")).unwrap();
        assert!(size.0 > 1200 && size.1 > 1000, "two rows of two panels: {size:?}");
    }
    for table in [
        "leaderboard",
        "table-1",
        "table-2",
        "table-3",
        "embeddings",
        "comparisons",
        "ranks",
        "scores",
        "transferability",
    ] {
        for extension in ["md", "csv", "tex"] {
            assert!(report.tables.contains(&folder.join("tables").join(format!("{table}.{extension}"))), "{table}");
        }
    }
    assert!(page.contains("<h1>Lesions &amp; grades</h1>") && page.contains("red-filters"));
    for outside in ["http:", "https:", "src=", "@import", "url(", "<script"] {
        assert!(!page.contains(outside), "the page refers to `{outside}`");
    }
}

/// 47, 48 and 49 of 60 are .8 on average, .0167 apart.
#[test]
fn tables_have_the_values_by_hand_and_say_what_differs() {
    let folder = tempfile::tempdir().unwrap();
    complete(folder.path());
    let results = StudyResults::read(folder.path()).unwrap();
    write_study(&results, folder.path()).unwrap();
    let table = text(&folder.path().join("tables/table-1.md"));
    let row = |name: &str| table.lines().find(|line| line.starts_with(&format!("| {name} |"))).unwrap().to_owned();
    assert!(row("dino").contains("| dino | **0.800 ± 0.017** |"), "{table}");
    assert!(row("imnet").contains("| imnet | 0.500 ± 0.017 |"), "{table}");
    let note = "- Frozen, linear head on lesions, against imnet: better: dino, dino-small; not distinguishable: clip.";
    assert!(table.contains(note), "{table}");
    let scores = text(&folder.path().join("tables/transferability.md"));
    assert!(scores.contains("| lesions | dino | 0.8 | 0.85 | 0.850 ± 0.017 |"), "{scores}");
    // Frozen 30 < 31 < 40 < 48 and unfrozen 42 < 44 < 45 < 51: the same order.
    assert!(scores.contains("- lesions, 4 backbones: h_score +1.000, logme +1.000."), "{scores}");
    let csv = text(&folder.path().join("tables/table-1.csv"));
    let dino = csv.lines().find(|line| line.starts_with("dino,")).unwrap();
    let numbers: Vec<f64> = dino.split(',').skip(1).map(|number| number.parse().unwrap()).collect();
    assert!((numbers[0] - 0.8).abs() < 1e-12 && (numbers[1] - 1.0 / 60.0).abs() < 1e-12, "{dino}");

    let summary = StudySummary::new(&results).unwrap();
    let frozen = summary.comparison(0, "lesions", "dino").unwrap();
    let difference = frozen.difference.as_ref().unwrap();
    assert!((difference.value - 0.3).abs() < 1e-12 && difference.low < 0.3 && difference.repeats == 3);
    assert_eq!(frozen.verdict(), Some(Verdict::Better));
    assert!(frozen.adjusted.unwrap() >= difference.p);
    let advice = summary.advice.as_ref().unwrap();
    assert!(advice.sentences[0].starts_with("Take dino unfrozen with a linear head at 1024 pixels: "), "{advice:?}");
    let frozen = summary.ranks.iter().find(|ranks| ranks.setting == 0).unwrap();
    assert_eq!(frozen.backbones, ["imnet", "dino", "clip", "dino-small"]);
    assert_eq!((frozen.ranks.ranks[1], frozen.ranks.ranks[3], frozen.ranks.datasets), (1.0, 2.0, 2));
}

#[test]
fn what_is_missing_is_told_by_name_and_reason() {
    let folder = tempfile::tempdir().unwrap();
    let mut made = Folder::new(folder.path());
    let work = Work::Training(TrainingWork::FROZEN_LINEAR);
    let of = [Experiment::FrozenLinear];
    made.score(cell("lesions", "imnet", work.clone(), 0), &of, 30);
    made.plan(&cell("lesions", "imnet", work.clone(), 1), &of);
    made.fail(cell("lesions", "dino", work.clone(), 0), &of, "the weights are missing");
    made.finish();
    let report = write_study(&StudyResults::read(folder.path()).unwrap(), folder.path()).unwrap();
    assert_eq!((report.cells, report.done, report.failed), (3, 1, 1));
    let table = text(&folder.path().join("tables/table-1.md"));
    assert!(table.contains("0.500 (1 of 2)"), "{table}");
    assert!(table.contains("- Missing: imnet on lesions, Frozen, linear head (not computed yet)."), "{table}");
    assert!(table.contains("- Missing: dino on lesions, Frozen, linear head (the weights are missing)."), "{table}");
    let page = text(&report.page);
    assert!(page.contains("the weights are missing") && page.contains("Cells that are not computed yet: 1"));
    assert!(report.absent.iter().any(|text| text.starts_with("Figure 4") && text.contains("progressive-freezing")));
}

#[test]
fn published_numbers_stand_beside_own_and_unknown_names_are_told() {
    let folder = tempfile::tempdir().unwrap();
    complete(folder.path());
    let results = StudyResults::read(folder.path()).unwrap();
    let file = folder.path().join("published.csv");
    let rows = "table,setting,head,model,dataset,metric,mean,std\n\
                1,frozen,linear,DINO,Lesions,accuracy,0.85,0.03\n\
                1,frozen,linear,sam,Lesions,accuracy,0.9,0.01\n\
                2,unfrozen,deit_b,clip,moles,accuracy,0.9,0.01\n\
                2,unfrozen_1024,linear,clip,lesions,roc_auc,0.9,\n\
                2,thawed,linear,clip,lesions,accuracy,0.9,\n\
                3,unfrozen_1024,linear,clip,lesions,accuracy,0.7,\n";
    std::fs::write(&file, rows).unwrap();
    let summary = StudySummary::without_predictions(&results);
    let (found, unmatched) = Published::read(&file).unwrap().compare(&summary);
    let names: Vec<(&str, &str)> = unmatched.iter().map(|name| (name.kind, name.name.as_str())).collect();
    assert_eq!(
        names,
        [("backbone", "sam"), ("dataset", "moles"), ("metric", "roc_auc on lesions"), ("setting", "thawed, linear")]
    );
    // (.8 - .85) / sqrt(.03^2 + (1 / 60)^2)
    assert_eq!(found.len(), 2);
    assert!((found[0].deviations.unwrap() + 0.05 / 0.03f64.hypot(1.0 / 60.0)).abs() < 1e-12, "{:?}", found[0]);
    // 44 + 2 of 60, without a published deviation.
    assert!((found[1].difference.unwrap() - (46.0 / 60.0 - 0.7)).abs() < 1e-12, "{:?}", found[1]);
    let head = TrainingWork::new(Head::Linear, Freeze::All);
    assert_eq!(summary.settings[0].work, Work::Training(head));
}

#[test]
fn the_verbs_print_what_they_wrote_and_what_they_compared() {
    let folder = tempfile::tempdir().unwrap();
    small(folder.path());
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_defrost"))
            .args(["study", arguments[0], "."])
            .args(&arguments[1..])
            .current_dir(folder.path())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, printed, told) = run(&["report", "--out", "pages"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(printed.starts_with("pages/report.html\n"), "{printed}");
    assert!(printed.lines().all(|line| folder.path().join(line).is_file()), "{printed}");
    assert!(told.contains("not drawn: Figure 4"), "{told}");
    let (code, printed, told) = run(&["compare", "--published", "published.csv"]);
    assert_eq!(code, Some(0), "{told}");
    let line = printed.lines().last().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(line, "1 frozen linear dino lesions accuracy 0.850 ± 0.030 0.800 -0.050 -1.7");
    assert_eq!(told, "the study has no backbone `sam` (1 published)\n");
    let (code, _, told) = run(&["compare"]);
    assert_eq!(code, Some(2));
    assert!(told.contains("has nothing that WACV 2024, Tables 1 to 3 has numbers of"), "{told}");
    assert!(told.contains("name another table with `--published`"), "{told}");
    let (code, _, told) = run(&["report", "--out", "published.csv"]);
    assert_eq!(code, Some(3), "{told}");
}

#[test]
fn caches_and_runs_make_a_leaderboard_without_a_study() {
    let folder = tempfile::tempdir().unwrap();
    for (name, right) in [("dino", 54), ("clip", 51), ("imnet", 24)] {
        probed(&folder.path().join(name), name, right);
    }
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_defrost"));
        command.arg("report").args(arguments).current_dir(folder.path()).output().unwrap()
    };
    let output = run(&["imnet", "clip", "dino", "--out", "board.html", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["classifiers"], 3);
    let [take, sure] = [0, 1].map(|at| found["advice"][0][at].as_str().unwrap().to_owned());
    assert_eq!(take, "Take dino: Linear, C = 1, standardised features (dino): accuracy 0.900.");
    assert!(sure.starts_with("That is not sure: 1 of the 2 it was compared with"), "{sure}");
    let page = text(&folder.path().join("board.html"));
    let places = ["dino", "clip", "imnet"].map(|name| page.find(&format!("<th scope=\"row\">{name}</th>")).unwrap());
    assert!(places.is_sorted(), "the best first: {places:?}");
    for verdict in ["the best", "not distinguishable", "worse"] {
        assert!(page.contains(&format!("<td>{verdict}</td>")), "{verdict}");
    }
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    let output = run(&["dino", "empty"]);
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("`empty` is neither an embedding cache nor the folder of a fine-tuning run"), "{told}");
}

/// Probes of a cache and a network trained on the same folder predict the same test images.
#[test]
fn a_cache_and_a_run_of_one_dataset_are_compared() {
    let scene = Scene::new(19, |_| "photos");
    scene.done(&["probe", "linear", "cache", "--c-grid", "1", "--bootstrap", "0", "--fractions", "50,25,25"]);
    scene.done(&["probe", "knn", "cache", "--k", "3", "--bootstrap", "0", "--fractions", "50,25,25"]);
    let recipe = ["--epochs", "1", "--bootstrap", "0", "--device", "cpu", "--fractions", "50,25,25"];
    scene.done(&[&["finetune", "photos", "--model", "small.onnx", "--out", "run"][..], &recipe].concat());
    let printed = scene.done(&["report", "cache", "run", "--out", "board.html"]);
    assert!(printed.starts_with("board.html\nTake "), "{printed}");
    let page = text(&scene.path("board.html"));
    assert_eq!(page.matches("<td>the best</td>").count(), 1, "one set of classes");
    assert!(!page.contains("not comparable") && page.contains("Fine-tuned") && page.contains("k-NN"), "{printed}");
}
