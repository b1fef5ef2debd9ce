//! Flags and verbs that texts name exist: a hint that names what is not there is worse than none.

use std::collections::BTreeMap;
use std::process::Command;

use crate::house::{rust_files, source};

/// Every verb, as it is typed, with its flags: `models list` to `["--json", ...]`.
pub(crate) fn verbs() -> BTreeMap<String, Vec<String>> {
    fn visit(verb: &str, found: &mut BTreeMap<String, Vec<String>>) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_defrost"));
        let output = command.args(verb.split_whitespace()).arg("--help").output().unwrap();
        assert!(output.status.success(), "`{verb} --help`");
        let help = String::from_utf8(output.stdout).unwrap();
        let flags = help.lines().filter(|line| line.trim_start().starts_with('-')).flat_map(flags_of);
        let aliases = help.split("[alias").skip(1).flat_map(|rest| flags_of(rest.split(']').next().unwrap_or("")));
        found.insert(verb.to_owned(), flags.chain(aliases).collect());
        let Some((_, below)) = help.split_once("\nCommands:\n") else { return };
        for line in below.lines().take_while(|line| !line.is_empty()) {
            // Lines that go on from the one before are indented further.
            let name = line.strip_prefix("  ").and_then(|line| line.split(' ').next()).unwrap_or_default();
            if !name.is_empty() && name != "help" {
                visit(format!("{verb} {name}").trim(), found);
            }
        }
    }
    let mut found = BTreeMap::new();
    visit("", &mut found);
    assert!(found.len() > 25, "{found:?}");
    found
}

/// `--a`, `--b` of a text, in order.
fn flags_of(text: &str) -> Vec<String> {
    let starts = text.match_indices("--").filter(|(at, _)| {
        !text[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '-')
            && text[at + 2..].starts_with(|c: char| c.is_ascii_lowercase())
    });
    let name = |(at, _): (usize, &str)| {
        let rest = &text[at + 2..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).unwrap_or(rest.len());
        format!("--{}", rest[..end].trim_end_matches('-'))
    };
    starts.map(name).collect()
}

/// The code of a file before its tests, without comments, doc comments excepted where `docs`.
fn code(path: &str, docs: bool) -> String {
    let text = source(path);
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    let is_code = |line: &&str| {
        let line = line.trim_start();
        !line.starts_with("//") || (docs && line.starts_with("///"))
    };
    text.lines().filter(is_code).map(|line| format!("{line}\n")).collect()
}

/// Files below the command line that write flags: arguments of `pip`, and commands that a report or
/// a table tells for use with this program.
const WRITERS: [&str; 3] = ["src/support/wheel.rs", "src/report/gather/", "src/data/table/write.rs"];

#[test]
fn the_library_names_no_flag() {
    let mut found = Vec::new();
    for path in rust_files("src") {
        if path.starts_with("src/cli/") || WRITERS.iter().any(|writer| path.starts_with(writer)) {
            continue;
        }
        let literals: String =
            code(&path, false).split('"').skip(1).step_by(2).map(|text| format!("{text}\n")).collect();
        // `defrost verb --flag` is a command, which the test below looks at.
        let lines = literals.lines().filter(|line| !line.contains("defrost ") && !line.contains("ulimit"));
        found.extend(
            lines
                .flat_map(flags_of)
                .filter(|flag| flag != "--org" && flag != "--runtime-library")
                .map(|flag| format!("{path}: {flag}")),
        );
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_option_that_a_hint_names_is_a_flag() {
    let verbs = verbs();
    let known = |option: &str| verbs.values().flatten().any(|flag| flag.strip_prefix("--") == Some(option));
    let mut count = 0;
    for path in rust_files("src/error").into_iter().filter(|path| path != "src/error/hint.rs") {
        for mark in code(&path, false).split("`<").skip(1).filter_map(|rest| rest.split_once(">`")) {
            let option = mark.0.split(' ').next().unwrap_or_default();
            count += 1;
            assert!(option.starts_with('{') || known(option), "{path}: no verb has `--{option}`");
        }
    }
    assert!(count > 30, "{count} options in hints");
    // Those that stand in a field, where they are given.
    let fields = ["src/data/table/columns.rs", "src/data/table/cells.rs", "src/embed/features.rs"];
    for option in
        ["path-column", "label-column", "id-column", "group-column", "class-columns", "embedding", "label", "by"]
    {
        assert!(known(option), "no verb has `--{option}`");
        let given = fields.iter().any(|path| source(path).contains(&format!("\"{option}\"")));
        assert!(given, "`{option}` is no longer given by {fields:?}");
    }
}

/// Verbs that tell how others use what they fetch or list.
const ABOUT_OTHERS: [&str; 3] = ["src/cli/models/import.rs", "src/cli/models/list.rs", "src/cli/models/pull.rs"];

#[test]
fn every_flag_that_the_command_line_mentions_is_one_of_the_verb() {
    let verbs = verbs();
    let any = |flag: &str| verbs.values().flatten().any(|known| known == flag);
    let mut wrong = Vec::new();
    for path in rust_files("src/cli").into_iter().filter(|path| path != "src/cli/quickstart.rs") {
        let words = path.trim_start_matches("src/cli/").trim_end_matches(".rs").replace("/mod", "").replace('/', " ");
        let own = verbs.get(&words);
        for line in
            code(&path, true).lines().filter(|line| !line.contains("defrost ") && !line.contains("pip download"))
        {
            for flag in flags_of(line) {
                let holds = match own {
                    Some(flags) if !flags.is_empty() && !ABOUT_OTHERS.contains(&path.as_str()) => {
                        flags.contains(&flag) || below(&verbs, &words, &flag) || line.contains(" of `")
                    }
                    _ => any(&flag),
                };
                if !holds {
                    wrong.push(format!("{path}: {flag}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn below(verbs: &BTreeMap<String, Vec<String>>, verb: &str, flag: &str) -> bool {
    verbs.iter().any(|(name, flags)| name.starts_with(&format!("{verb} ")) && flags.iter().any(|known| known == flag))
}

#[test]
fn every_command_that_a_text_names_exists() {
    let verbs = verbs();
    let mut wrong = Vec::new();
    let documents = [
        "README.md",
        ".github/CONTRIBUTING.md",
        ".github/ARCHITECTURE.md",
        ".github/CHANGELOG.md",
        ".github/GLOSSARY.md",
    ];
    let files = rust_files("src").into_iter().chain(documents.map(str::to_owned));
    for path in files.filter(|path| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists()) {
        let text = if path.ends_with(".rs") { code(&path, true) } else { source(&path) };
        for command in text.split("`defrost ").skip(1).filter_map(|rest| rest.split('`').next()) {
            let command = command.replace(['\n', '\\'], " ").replace("///", " ");
            let mut verb = String::new();
            for word in command.split_whitespace() {
                let longer = format!("{verb} {word}").trim().to_owned();
                if !verbs.contains_key(&longer) {
                    break;
                }
                verb = longer;
            }
            let placeholder = command.starts_with(['.', '{', '-']);
            if verb.is_empty() && !placeholder {
                wrong.push(format!("{path}: `defrost {command}`"));
            }
            let has = |flag: &String| verbs[&verb].contains(flag) || below(&verbs, &verb, flag) || flag == "--help";
            wrong.extend(
                flags_of(&command)
                    .into_iter()
                    .filter(|flag| !has(flag))
                    .map(|flag| format!("{path}: `defrost {command}`: {flag}")),
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn flags_are_found_in_texts() {
    assert_eq!(flags_of("choose `--pool mean`, or --no-wait; a--b, --, ---"), ["--pool", "--no-wait"]);
}
