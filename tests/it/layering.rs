//! The layers of `src/lib.rs` hold: a module uses only modules of the groups above its own.

use std::collections::BTreeMap;
use std::path::Path;

use crate::house::{rust_files, source};

/// Module name to the number of its group, low groups first, read from the blank-line groups of
/// `pub mod` in `lib.rs`.
fn groups(library: &str) -> BTreeMap<String, usize> {
    let mut group = 0;
    let mut groups = BTreeMap::new();
    for line in library.lines() {
        match line.strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(';')) {
            Some(module) => drop(groups.insert(module.to_owned(), group)),
            None if line.is_empty() => group += 1,
            None => {}
        }
    }
    groups
}

/// The names that follow `crate::` in a line of code, comments left out.
fn used_modules(line: &str) -> impl Iterator<Item = &str> {
    let code = line.split("//").next().unwrap_or_default();
    code.match_indices("crate::").map(move |(at, found)| {
        let rest = &code[at + found.len()..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

/// Every use of a module that the layers forbid, as `file:line: message`.
fn violations(library: &str, files: &[(String, String)]) -> Vec<String> {
    let groups = groups(library);
    let mut found = Vec::new();
    for (path, text) in files {
        let module = path.trim_start_matches("src/").split(['/', '.']).next().unwrap_or_default();
        let Some(&own) = groups.get(module) else { continue };
        for (number, line) in text.lines().enumerate() {
            for used in used_modules(line) {
                let allowed = match groups.get(used) {
                    Some(&other) => used == module || other < own,
                    None => matches!(used, "Error" | "Result") || line.contains("macro_rules"),
                };
                if !allowed {
                    found.push(format!("{path}:{}: `{module}` must not use `{used}`", number + 1));
                }
            }
        }
    }
    found
}

#[test]
fn modules_use_only_the_layers_above_them() {
    let files: Vec<(String, String)> =
        rust_files("src").into_iter().map(|path| (path.clone(), source(&path))).collect();
    assert!(files.iter().any(|(path, _)| path == "src/error/mod.rs"), "the scan found no sources");
    let found = violations(&source("src/lib.rs"), &files);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_folder_of_src_is_a_declared_layer() {
    let groups = groups(&source("src/lib.rs"));
    for path in rust_files("src") {
        let module = path.trim_start_matches("src/").split(['/', '.']).next().unwrap_or_default().to_owned();
        assert!(matches!(module.as_str(), "lib" | "main") || groups.contains_key(&module), "`{path}` is in no layer");
    }
    assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs").exists());
}

#[test]
fn a_use_of_a_higher_layer_or_a_sibling_is_found() {
    let library = "pub mod low;\n\npub mod left;\npub mod right;\n";
    let file = |path: &str, text: &str| vec![(path.to_owned(), text.to_owned())];
    assert_eq!(violations(library, &file("src/left/a.rs", "use crate::low::X;")), Vec::<String>::new());
    assert_eq!(
        violations(library, &file("src/low/a.rs", "\nuse crate::left::X;")),
        ["src/low/a.rs:2: `low` must not use `left`"]
    );
    assert_eq!(violations(library, &file("src/left/a.rs", "crate::right::y()")).len(), 1);
    assert_eq!(violations(library, &file("src/left/a.rs", "use crate::{low, right};")).len(), 1);
}
