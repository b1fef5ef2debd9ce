//! No circles: the files of a module use each other in one direction.
//!
//! Read are `use` declarations and paths in the code, tests left out; what a `mod.rs` passes on
//! counts as used from the file that defines it. A file may use what the `mod.rs` of its own folder
//! holds.

use std::collections::{BTreeMap, BTreeSet};

use crate::house::{rust_files, source};

/// A module's path below the crate, `["graph", "ops"]`.
type Path = Vec<String>;

/// A folder whose files are one thing: the markers, tables and scans of one JPEG stream.
const ONE_CODEC: &str = "src/pixels/jpeg/";

/// The files of a crate by module.
struct Sources {
    /// File name and text, comments and tests left out.
    files: BTreeMap<Path, (String, String)>,
    /// What a module passes on, and what that is.
    passed_on: BTreeMap<Path, Path>,
}

impl Sources {
    fn new(files: &[(String, String)]) -> Self {
        let mut sources = Sources { files: BTreeMap::new(), passed_on: BTreeMap::new() };
        for (name, text) in files {
            let path = name.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
            let path = if path == "lib" { Path::new() } else { path.split('/').map(str::to_owned).collect() };
            sources.files.insert(path, (name.clone(), code(text)));
        }
        let mut passed_on = BTreeMap::new();
        for (module, (_, text)) in &sources.files {
            let used = uses(text).filter(|(_, is_passed_on)| *is_passed_on).flat_map(|(used, _)| leaves(used));
            for target in used.filter_map(|leaf| sources.absolute(module, &leaf)) {
                let name = target.last().cloned().unwrap();
                passed_on.insert([module.as_slice(), &[name]].concat(), target);
            }
        }
        Sources { passed_on, ..sources }
    }

    /// A path as it is written in `module`, from the crate's root; `None` for those of other crates.
    fn absolute(&self, module: &[String], path: &[String]) -> Option<Path> {
        let (mut base, mut rest) = (module.to_vec(), path);
        match rest.first()?.as_str() {
            "crate" => return Some(rest[1..].to_vec()),
            "self" | "super" => {}
            first if self.files.contains_key(&[module, &[first.to_owned()]].concat()) => {}
            _ => return None,
        }
        while let Some("self" | "super") = rest.first().map(String::as_str) {
            if rest[0] == "super" {
                base.pop();
            }
            rest = &rest[1..];
        }
        Some([base.as_slice(), rest].concat())
    }

    /// The module that defines what an absolute path leads to.
    fn definition(&self, path: &[String]) -> Option<Path> {
        let length = (0..=path.len()).rev().find(|length| self.files.contains_key(&path[..*length]))?;
        match path.get(..length + 1).and_then(|named| self.passed_on.get(named)) {
            Some(target) if target.as_slice() != path => self.definition(&[target, &path[length + 1..]].concat()),
            _ => Some(path[..length].to_vec()),
        }
    }

    /// The modules that each module uses.
    fn edges(&self) -> BTreeMap<&Path, BTreeSet<Path>> {
        self.files.iter().map(|(module, (_, text))| (module, self.used_by(module, text))).collect()
    }

    fn used_by(&self, module: &Path, text: &str) -> BTreeSet<Path> {
        let declared = uses(text).filter(|(_, is_passed_on)| !is_passed_on).flat_map(|(used, _)| leaves(used));
        let paths = declared.chain(paths(text)).filter_map(|path| self.definition(&self.absolute(module, &path)?));
        let is_own =
            |used: &Path| module.starts_with(used) && (used == module || self.files[used].0.ends_with("mod.rs"));
        paths.filter(|used| !is_own(used)).collect()
    }

    /// The files that use each other, a circle a line.
    fn circles(&self) -> Vec<String> {
        let edges = self.edges();
        let reached: BTreeMap<&Path, BTreeSet<&Path>> = edges.keys().map(|from| (*from, reach(&edges, from))).collect();
        let mut circles = BTreeSet::new();
        for (module, found) in &reached {
            if found.contains(module) {
                let both = found.iter().filter(|other| reached[**other].contains(module));
                circles.insert(both.map(|other| self.files[*other].0.as_str()).collect::<Vec<_>>().join(" "));
            }
        }
        circles.into_iter().collect()
    }
}

/// Everything that is used from a module on, in any number of steps.
fn reach<'a>(edges: &'a BTreeMap<&Path, BTreeSet<Path>>, from: &Path) -> BTreeSet<&'a Path> {
    let (mut found, mut open) = (BTreeSet::new(), Vec::from_iter(edges.get(from)));
    while let Some(modules) = open.pop() {
        for used in modules {
            if found.insert(used) {
                open.extend(edges.get(used));
            }
        }
    }
    found
}

/// The code of a file without comments and the module of its tests.
fn code(text: &str) -> String {
    let text = text.split("\n#[cfg(test)]\nmod ").next().unwrap();
    text.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// The `use` declarations, and whether they pass on.
fn uses(text: &str) -> impl Iterator<Item = (&str, bool)> {
    text.split(';').filter_map(|statement| {
        let (before, used) = statement.rsplit_once("use ")?;
        let start = before.rsplit('\n').next()?.trim();
        (start.is_empty() || start.starts_with("pub")).then_some((used, start.starts_with("pub")))
    })
}

/// The names of a path, `a::b`.
fn names(path: &str) -> Path {
    path.split("::").map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

/// The paths of a tree, `a::{b, c::d}`.
fn leaves(tree: &str) -> Vec<Path> {
    let Some((before, group)) = tree.split_once('{') else {
        return vec![names(tree.split(" as ").next().unwrap())];
    };
    let group = group.trim().strip_suffix('}').unwrap();
    let mut depth = 0;
    let inner = group.split(|c: char| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    });
    let below = inner.filter(|tree| !tree.trim().is_empty()).flat_map(leaves);
    below.map(|leaf| [names(before), leaf].concat()).collect()
}

/// Paths outside of declarations, `super::scan::decode`.
fn paths(text: &str) -> impl Iterator<Item = Path> {
    let words = text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
    let paths = words.filter(|word| word.contains("::") && !word.starts_with(':'));
    paths.map(names)
}

fn circles_of(files: &[(&str, &str)]) -> Vec<String> {
    let files: Vec<(String, String)> = files.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
    Sources::new(&files).circles()
}

#[test]
fn files_use_each_other_in_one_direction() {
    let files: Vec<(String, String)> =
        rust_files("src").into_iter().map(|path| (path.clone(), source(&path))).collect();
    let sources = Sources::new(&files);
    let edges: usize = sources.edges().values().map(BTreeSet::len).sum();
    assert!(edges > 1000, "the scan found {edges} uses");
    let mut circles = sources.circles();
    circles.retain(|circle| circle.split(' ').any(|file| !file.starts_with(ONE_CODEC)));
    assert!(circles.is_empty(), "circles:\n{}", circles.join("\n"));
}

#[test]
fn a_circle_is_found() {
    let [a, b] = ["src/m/a.rs", "src/m/b.rs"];
    let circle = vec![format!("{a} {b}")];
    assert_eq!(circles_of(&[(a, "use crate::m::b::{X, y::Z};"), (b, "fn f() { super::a::g() }")]), circle);
    let passed_on = ("src/m/mod.rs", "mod a;\nmod b;\npub use a::X;");
    assert_eq!(circles_of(&[passed_on, (a, "use crate::m::b::Y;"), (b, "use crate::m::{X};")]), circle);
    assert_eq!(circles_of(&[passed_on, (a, "use crate::m::b::Y;"), (b, "use crate::m::Z; // crate::m::a")]), [""; 0]);
    assert_eq!(circles_of(&[(a, "\n#[cfg(test)]\nmod tests { use crate::m::b; }"), (b, "use super::a;")]), [""; 0]);
}
