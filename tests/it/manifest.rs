//! Published datasets on small trees in the exact layout of their publication: labels, groups,
//! splits, counts, bad input.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use defrost::data::manifest::{Import, ImportOptions, manifest};
use defrost::data::split::Policy;
use defrost::data::{Dataset, Label, OpenOptions, Task, write_table_with};
use defrost::pixels::{DecodeLimits, decode_file};
use defrost::preprocess::Samples;

/// Writes a file and the folders above it.
fn put(root: &Path, name: &str, content: &str) {
    let path = root.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

fn import(name: &str, root: &Path, variant: &str) -> Import {
    let options = ImportOptions { variant: Some(variant.to_owned()), ..ImportOptions::default() };
    manifest(name).unwrap().import(root, &options).unwrap()
}

fn labels(dataset: &Dataset) -> BTreeMap<&str, String> {
    let name = |label: &Label| match label {
        Label::Class(class) => dataset.classes[*class].clone(),
        Label::Unknown => "?".into(),
        Label::Classes(known) => {
            known.iter().map(|known| known.map_or('?', |yes| if yes { '1' } else { '0' })).collect()
        }
    };
    dataset.samples.iter().map(|sample| (sample.id.as_str(), name(&sample.label))).collect()
}

/// No group has samples in two splits.
fn assert_groups_whole(dataset: &Dataset) {
    let mut splits: BTreeMap<&str, BTreeSet<_>> = BTreeMap::new();
    for sample in &dataset.samples {
        if let Some(group) = &sample.group {
            splits.entry(group).or_default().insert(sample.split.unwrap());
        }
    }
    assert!(splits.values().all(|splits| splits.len() == 1));
}

#[test]
fn aptos_grades_are_ordered_and_missing_images_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let rows: String = (0..30).map(|i| format!("{i:04x},{}\n", i % 5)).collect();
    // A byte order mark, as spreadsheet programs write.
    put(folder.path(), "train.csv", &format!("\u{feff}id_code,diagnosis\n{rows}"));
    (0..29).for_each(|i| put(folder.path(), &format!("train_images/{i:04x}.png"), "x"));
    let import = import("aptos2019", folder.path(), "grades");
    assert_eq!((import.total, import.missing, import.dataset.samples.len()), (30, 1, 29));
    assert!(import.first_missing[0].ends_with("train_images/001d.png"));
    assert_eq!(import.dataset.task, Task::Ordinal);
    assert_eq!(labels(&import.dataset)["0004"], "Proliferative DR");
    assert!(
        import.deviations.iter().any(|text| text.contains("has 30 rows, the published file 3662")),
        "{:?}",
        import.deviations
    );
}

#[test]
fn isic_lesions_stay_whole_and_one_hot_rows_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let header = "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK\n";
    let mut truth = header.to_owned();
    let mut metadata = "image,age_approx,anatom_site_general,lesion_id,sex\n".to_owned();
    for i in 0..80 {
        let ones: Vec<&str> = (0..9).map(|class| if class == i % 8 { "1.0" } else { "0.0" }).collect();
        truth.push_str(&format!("ISIC_{i:07},{}\n", ones.join(",")));
        let lesion = if i % 10 == 0 { String::new() } else { format!("BCN_{:04}", i / 3) };
        metadata.push_str(&format!("ISIC_{i:07},55.0,anterior torso,{lesion},female\n"));
        put(folder.path(), &format!("ISIC_2019_Training_Input/ISIC_2019_Training_Input/ISIC_{i:07}.jpg"), "x");
    }
    put(folder.path(), "ISIC_2019_Training_GroundTruth.csv", &truth);
    put(folder.path(), "ISIC_2019_Training_Metadata.csv", &metadata);
    let found = import("isic2019", folder.path(), "diagnoses");
    assert_eq!((found.missing, found.policy), (0, Policy::Grouped));
    assert_eq!(labels(&found.dataset)["ISIC_0000009"], "NV");
    assert_eq!(found.dataset.samples[0].group, None);
    assert_eq!(found.dataset.samples[1].group.as_deref(), Some("BCN_0000"));
    assert_groups_whole(&found.dataset);
    assert_eq!(
        found.extra.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(),
        ["age_approx", "anatom_site_general", "sex"]
    );

    let twice = truth.replacen("ISIC_0000002,0.0", "ISIC_0000002,1.0", 1);
    put(folder.path(), "ISIC_2019_Training_GroundTruth.csv", &twice);
    let error = manifest("isic2019").unwrap().import(folder.path(), &ImportOptions::default()).unwrap_err();
    assert!(error.to_string().contains("row 4, column `BCC`: `1.0` is not the only 1 of the row"), "{error}");
}

#[test]
fn chexpert_policies_differ_in_uncertain_observations_and_patients_stay_whole() {
    let folder = tempfile::tempdir().unwrap();
    let observations = manifest("chexpert").unwrap().variants[0].classes.clone();
    let mut table = format!("Path,Sex,Age,Frontal/Lateral,AP/PA,{}\n", observations.join(","));
    for i in 0..40 {
        let path = format!("train/patient{:05}/study{}/view1_frontal.jpg", i / 2, 1 + i % 2);
        put(folder.path(), &format!("CheXpert-v1.0-small/{path}"), "x");
        // Edema uncertain, fracture present in every third row, the rest blank.
        let fracture = if i % 3 == 0 { "1.0" } else { "" };
        let edema = if i % 4 == 3 { "" } else { "-1.0" };
        table.push_str(&format!("CheXpert-v1.0-small/{path},Female,68,Frontal,AP,,,,,,{edema},,,,,,,{fracture},\n"));
    }
    put(folder.path(), "CheXpert-v1.0-small/train.csv", &table);
    let first = "CheXpert-v1.0-small/train/patient00000/study1/view1_frontal.jpg";
    let second = "CheXpert-v1.0-small/train/patient00000/study2/view1_frontal.jpg";
    for (variant, a, b) in [
        ("u-zeros", "00000000000010", "10000000000000"),
        ("u-ones", "00000100000010", "00000100000000"),
        ("u-ignore", "00000?00000010", "00000?00000000"),
        ("mentioned", "????????????1?", "??????????????"),
    ] {
        let found = import("chexpert", folder.path(), variant);
        let labels = labels(&found.dataset);
        assert_eq!((labels[first].as_str(), labels[second].as_str()), (a, b), "{variant}");
        assert_groups_whole(&found.dataset);
        assert_eq!(found.dataset.samples[0].group.as_deref(), Some("patient00000"));
    }
    // The root may be the dataset's own folder, too.
    let inner = import("chexpert", &folder.path().join("CheXpert-v1.0-small"), "u-zeros");
    assert_eq!(inner.dataset.samples[0].id, "train/patient00000/study1/view1_frontal.jpg");
}

#[test]
fn cbis_images_with_several_findings_take_the_worst_and_are_found_in_their_folders() {
    let folder = tempfile::tempdir().unwrap();
    let header =
        "patient_id,left or right breast,image view,abnormality id,pathology,image file path,cropped image file path\n";
    let mut index = 0;
    for (kind, name) in [("mass", "Mass"), ("calc", "Calc")] {
        for (split, title) in [("train", "Training"), ("test", "Test")] {
            let mut table = header.to_owned();
            for patient in 0..6 {
                index += 1;
                let case = format!("{name}-{title}_P_{patient:05}_LEFT_CC");
                let pathology = ["BENIGN", "MALIGNANT", "BENIGN_WITHOUT_CALLBACK"][index % 3];
                // The published cells end in a line break.
                let path = format!("\"{case}/1.3.6.1/1.3.6.2/000000.dcm\n\"");
                table.push_str(&format!("P_{patient:05},LEFT,CC,1,{pathology},{path},x\n"));
                if patient == 0 {
                    table.push_str(&format!("P_{patient:05},LEFT,CC,2,MALIGNANT,{path},x\n"));
                }
                put(folder.path(), &format!("CBIS-DDSM/{case}/08-07-2016-DDSM-NA/1.0-full mammogram/1-1.dcm"), "x");
            }
            put(folder.path(), &format!("{kind}_case_description_{split}_set.csv"), &table);
        }
    }
    let found = import("cbis-ddsm", folder.path(), "pathology");
    assert_eq!((found.total, found.missing), (24, 0));
    let labels = labels(&found.dataset);
    assert_eq!(labels["Mass-Training_P_00000_LEFT_CC"], "malignant");
    assert_eq!(labels["Mass-Training_P_00001_LEFT_CC"], "benign");
    assert!(found.dataset.samples[0].path.ends_with("08-07-2016-DDSM-NA/1.0-full mammogram/1-1.dcm"));
    assert_groups_whole(&found.dataset);
    let options = ImportOptions { policy: Some(Policy::Given), ..ImportOptions::default() };
    let given = manifest("cbis-ddsm").unwrap().import(folder.path(), &options).unwrap();
    assert_eq!(given.divided_groups.len(), 6, "patients of the published division are in two splits");
}

#[test]
fn ddsm_lists_take_their_labels_from_file_names() {
    let folder = tempfile::tempdir().unwrap();
    for (list, count) in [("train", 9), ("val", 3), ("test", 3)] {
        let kinds = ["normal", "benign", "cancer"];
        let names: Vec<String> = (0..count).map(|i| format!("{}_{list}{i}.png", kinds[i % 3])).collect();
        names.iter().for_each(|name| put(folder.path(), &format!("ddsm_raw/{name}"), "x"));
        put(folder.path(), &format!("ddsm_raw_image_lists/{list}.txt"), &format!("{}\n", names.join("\n")));
    }
    let found = import("ddsm", folder.path(), "normal-abnormal");
    assert_eq!((found.total, found.missing, found.policy), (15, 0, Policy::Given));
    assert_eq!(labels(&found.dataset)["ddsm_raw/benign_val1.png"], "abnormal");
    assert_eq!(labels(&import("ddsm", folder.path(), "study").dataset)["ddsm_raw/benign_val1.png"], "Cancer");
}

#[test]
fn a_parquet_table_is_read_again_without_flags() {
    let folder = tempfile::tempdir().unwrap();
    let rows: String = (0..30).map(|i| format!("{i:04x},{}\n", i % 5)).collect();
    put(folder.path(), "train.csv", &format!("id_code,diagnosis\n{rows}"));
    (0..30).for_each(|i| put(folder.path(), &format!("train_images/{i:04x}.png"), "x"));
    let found = import("aptos2019", folder.path(), "grades");
    let elsewhere = tempfile::tempdir().unwrap();
    let table = elsewhere.path().join("aptos.parquet");
    assert!(write_table_with(&found.dataset, &found.extra, &table).unwrap().is_empty());
    let read = defrost::data::open(&table, &OpenOptions::default()).unwrap();
    assert_eq!(read.fingerprint(), found.dataset.fingerprint());
    assert_eq!(read.samples, found.dataset.samples);
}

#[test]
fn bad_input_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let aptos = manifest("aptos2019").unwrap();
    let failure = |content: &str| {
        put(folder.path(), "train.csv", content);
        aptos.import(folder.path(), &ImportOptions::default()).unwrap_err().to_string()
    };
    assert!(failure("id,diagnosis\na,1\n").contains("has no column `id_code`"));
    assert!(failure("id_code;diagnosis\na;7\n").contains("row 2, column `diagnosis`: `7` is not one of `0`, `1`"));
    assert!(failure("id_code,diagnosis\na,1\na,2\n").contains("id `a` occurs in row 3"));
    assert!(failure("id_code,diagnosis\n../../../a,1\n").contains("is not a path inside the root"));
    assert!(failure("id_code,diagnosis\na,1\n").contains("1 of 1 files"));
    assert!(failure("id_code,diagnosis\n,1\n").contains("row 2"), "a blank name of an image");
    let empty = tempfile::tempdir().unwrap();
    let error = aptos.import(empty.path(), &ImportOptions::default()).unwrap_err();
    assert!(error.to_string().contains("there is none of `train.csv`"), "{error}");
}

#[test]
fn patients_that_differ_only_in_case_or_blanks_are_one() {
    let folder = tempfile::tempdir().unwrap();
    let rows: String =
        (0..12).map(|i| format!("{i}.png,{},{}\n", i % 2, ["P 1", "p 1", "P  1", "P2"][i % 4])).collect();
    put(folder.path(), "table.csv", &format!("path,label,group\n{rows}"));
    (0..12).for_each(|i| put(folder.path(), &format!("{i}.png"), "x"));
    let dataset = defrost::data::open(&folder.path().join("table.csv"), &OpenOptions::default()).unwrap();
    let groups: BTreeSet<&str> = dataset.samples.iter().filter_map(|sample| sample.group.as_deref()).collect();
    assert_eq!(groups.len(), 2, "{groups:?}");
    assert!(dataset.notes.iter().any(|note| note.contains("differ only in case or blanks")), "{:?}", dataset.notes);
}

/// An IDX file of bytes.
fn idx(shape: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, shape.len() as u8];
    shape.iter().for_each(|length| bytes.extend(length.to_be_bytes()));
    bytes.extend(values);
    bytes
}

#[test]
fn packed_images_are_unpacked_pixel_by_pixel() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("published");
    std::fs::create_dir(&root).unwrap();
    let pixel = |part: usize, image: usize, at: usize| (part * 100 + image * 7 + at * 3) as u8;
    for (part, (name, count)) in [("train", 30), ("t10k", 11)].into_iter().enumerate() {
        let labels: Vec<u8> = (0..count).map(|image| (image % 10) as u8).collect();
        std::fs::write(root.join(format!("{name}-labels-idx1-ubyte")), idx(&[count as u32], &labels)).unwrap();
        let pixels: Vec<u8> = (0..count).flat_map(|image| (0..20).map(move |at| pixel(part, image, at))).collect();
        let packed = std::fs::File::create(root.join(format!("{name}-images-idx3-ubyte.gz"))).unwrap();
        let mut packed = flate2::write::GzEncoder::new(packed, flate2::Compression::default());
        std::io::Write::write_all(&mut packed, &idx(&[count as u32, 5, 4], &pixels)).unwrap();
        packed.finish().unwrap();
    }
    let manifest = manifest("fashion-mnist").unwrap();
    assert!(manifest.import(&root, &ImportOptions::default()).unwrap_err().to_string().contains("no folder to unpack"));
    let options = ImportOptions { unpack: Some(folder.path().join("images")), ..ImportOptions::default() };
    let found = manifest.import(&root, &options).unwrap();
    assert_eq!((found.total, found.missing, found.policy), (41, 0, Policy::Given));
    assert!(found.deviations.iter().any(|deviation| deviation.contains("41 images, 70000 were published")));
    let census = found.dataset.census();
    assert_eq!((census.total.test, census.total.validation + census.total.train), (11, 30));
    assert_eq!(labels(&found.dataset)["train/13.png"], "dress");
    let image = decode_file(&folder.path().join("images/test/07.png"), &DecodeLimits::default()).unwrap();
    let expected: Vec<u8> = (0..20).map(|at| pixel(1, 7, at)).collect();
    assert_eq!((image.width, image.height, image.samples), (4, 5, Samples::U8(expected)));

    std::fs::write(root.join("t10k-labels-idx1-ubyte"), idx(&[10], &[0; 10])).unwrap();
    let error = manifest.import(&root, &options).unwrap_err().to_string();
    assert!(error.contains("it holds 11 images, but there are 10 labels"), "{error}");
}
