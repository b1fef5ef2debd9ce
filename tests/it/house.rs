//! The house rules that a machine can check: sizes, headers, names, no dead files.

use std::path::{Path, PathBuf};

/// Lines a source file may have, its unit tests included.
const MAX_LINES: usize = 600;
/// File names that say nothing.
const VAGUE: [&str; 9] = ["utils", "util", "common", "helpers", "helper", "misc", "base", "impl", "manager"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The text of a file of the repository.
pub(crate) fn source(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// Paths, relative to the repository, of the Rust files under a folder, sorted.
pub(crate) fn rust_files(folder: &str) -> Vec<String> {
    fn visit(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    visit(&root().join(folder), &mut found);
    let mut paths: Vec<String> =
        found.iter().map(|path| path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/")).collect();
    paths.sort();
    paths
}

#[test]
fn files_are_short_have_a_header_and_a_name() {
    let mut complaints = Vec::new();
    for path in rust_files("src").into_iter().chain(rust_files("tests")) {
        let text = source(&path);
        let lines = text.lines().count();
        if lines > MAX_LINES {
            complaints.push(format!("`{path}` has {lines} lines, more than {MAX_LINES}"));
        }
        if !text.starts_with("//!") {
            complaints.push(format!("`{path}` does not start with a `//!` header"));
        }
        let stem = Path::new(&path).file_stem().unwrap().to_string_lossy().into_owned();
        if VAGUE.contains(&stem.as_str()) {
            complaints.push(format!("`{path}` has a name that says nothing"));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn every_source_file_is_reached_by_a_mod() {
    let files = rust_files("src");
    for path in &files {
        let file = Path::new(path);
        let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
        if matches!(path.as_str(), "src/lib.rs" | "src/main.rs") {
            continue;
        }
        let folder = file.parent().unwrap();
        let (name, parents) = if stem == "mod" {
            let above = folder.parent().unwrap();
            (
                folder.file_name().unwrap().to_string_lossy().into_owned(),
                vec![above.join("mod.rs"), above.join("lib.rs")],
            )
        } else {
            (stem, vec![folder.join("mod.rs"), folder.join("lib.rs")])
        };
        let declared =
            parents.iter().filter_map(|parent| std::fs::read_to_string(root().join(parent)).ok()).any(|text| {
                text.lines().any(|line| {
                    line.trim_end().ends_with(&format!("mod {name};")) && !line.trim_start().starts_with("//")
                })
            });
        assert!(declared, "`{path}` is reached by no `mod`");
    }
}

#[test]
fn nothing_large_or_binary_is_a_fixture() {
    fn size(directory: &Path) -> u64 {
        let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| if path.is_dir() { size(&path) } else { path.metadata().unwrap().len() }).sum()
    }
    let fixtures = root().join("tests/fixtures");
    assert!(size(&fixtures) < 20_000_000, "fixtures must stay below 20 MB in all");
}
