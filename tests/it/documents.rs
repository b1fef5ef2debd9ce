//! The documents tell of files that exist.

use std::path::Path;

use crate::house::source;

const DOCUMENTS: [&str; 5] =
    ["README.md", ".github/ARCHITECTURE.md", ".github/CONTRIBUTING.md", ".github/CHANGELOG.md", ".github/GLOSSARY.md"];

/// Folders of the repository whose files a document may name.
const FOLDERS: [&str; 7] = ["src/", "tests/", "scripts/", "models/", "data-manifests/", "examples/", ".github/"];

#[test]
fn every_file_that_a_document_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut missing, mut count) = (Vec::new(), 0);
    for document in DOCUMENTS {
        let text = source(document);
        let named = text.split('`').skip(1).step_by(2).flat_map(str::split_whitespace);
        for name in named.filter(|name| FOLDERS.iter().any(|folder| name.starts_with(folder))) {
            let (name, pattern) = (name.trim_end_matches([',', ':', '.']), name.contains(['*', '<', '{']));
            count += 1;
            if !pattern && !root.join(name).exists() {
                missing.push(format!("{document}: `{name}`"));
            }
        }
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            let folder = root.join(document).parent().unwrap().to_path_buf();
            if !file.is_empty() && !file.contains("://") && !folder.join(file).exists() {
                missing.push(format!("{document}: link to `{file}`"));
            }
        }
    }
    assert!(count > 40, "{count} files are named");
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn every_layer_is_described() {
    let architecture = source(".github/ARCHITECTURE.md");
    for module in source("src/lib.rs").lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')) {
        let described = architecture.contains(&format!("| `{module}` |"));
        assert!(described || module == "prelude", "`{module}` is not in the table of layers");
    }
}

#[test]
fn every_model_of_the_catalog_is_in_the_readme() {
    let readme = source("README.md");
    let rows: Vec<&str> = readme.lines().filter(|line| line.starts_with("| ")).collect();
    let is_listed = |name: &str| rows.iter().any(|row| row.contains(&format!("`{name}`")));
    let entries = defrost::backbones::entries().unwrap();
    let missing: Vec<&str> =
        entries.iter().map(|entry| entry.variant.name.as_str()).filter(|name| !is_listed(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
