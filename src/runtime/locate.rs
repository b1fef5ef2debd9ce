//! Where the ONNX Runtime library may lie, in the order in which it is looked for.
//!
//! A path that the user names (flag, `ORT_DYLIB_PATH`) is taken or the search fails: a library is
//! never replaced silently by another one. After them come our cache directory, the directory of
//! the executable and the system's library paths; an unusable library there is passed over and
//! named only when nothing else is found.

use std::path::{Path, PathBuf};

use crate::support::env;

/// Who told us about a library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The caller, as a command-line flag does.
    Explicit,
    /// `ORT_DYLIB_PATH`.
    Variable,
    /// `defrost runtime install` put it into the cache directory.
    Cache,
    /// It lies beside the executable.
    Executable,
    /// It lies on one of the system's library paths.
    System,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Origin::Explicit => "`--runtime-library`",
            Origin::Variable => "`ORT_DYLIB_PATH`",
            Origin::Cache => "the cache directory",
            Origin::Executable => "the directory of the executable",
            Origin::System => "the system's library paths",
        })
    }
}

/// A place where a library was named or found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// The library.
    pub(super) path: PathBuf,
    /// Who told us about it.
    pub(super) origin: Origin,
}

/// Directories to search, each with its origin.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    pub(super) explicit: Option<PathBuf>,
    pub(super) variable: Option<PathBuf>,
    pub(super) cache: Option<PathBuf>,
    pub(super) executable: Option<PathBuf>,
    pub(super) system: Vec<PathBuf>,
}

impl Places {
    /// The places of this process and machine.
    pub(super) fn of_this_machine(explicit: Option<&Path>) -> Self {
        Places {
            explicit: explicit.map(Path::to_path_buf),
            variable: env::path(env::RUNTIME_LIBRARY),
            cache: env::cache_directory().map(|cache| cache.join("runtime")),
            executable: std::env::current_exe().ok().and_then(|path| path.parent().map(Path::to_path_buf)),
            system: system_directories(),
        }
    }

    /// The libraries to try, best first; a path the user named is the only one.
    pub(super) fn candidates(&self) -> Vec<Candidate> {
        for (named, origin) in [(&self.explicit, Origin::Explicit), (&self.variable, Origin::Variable)] {
            if let Some(path) = named {
                // A directory stands for the library in it.
                let path = libraries_in(path).into_iter().next().unwrap_or_else(|| path.clone());
                return vec![Candidate { path, origin }];
            }
        }
        let mut found = Vec::new();
        let mut add = |directory: &Path, origin| {
            found.extend(libraries_in(directory).into_iter().map(|path| Candidate { path, origin }));
        };
        for directory in self.cache.as_deref().map(installations).unwrap_or_default() {
            add(&directory, Origin::Cache);
        }
        if let Some(directory) = &self.executable {
            add(directory, Origin::Executable);
            add(&directory.join("lib"), Origin::Executable);
        }
        for directory in &self.system {
            add(directory, Origin::System);
        }
        found
    }

    /// The places as text, for the message that nothing was found.
    pub(super) fn describe(&self) -> Vec<String> {
        let mut text = Vec::new();
        if let Some(path) = &self.cache {
            text.push(format!("`{}`", path.display()));
        }
        if let Some(path) = &self.executable {
            text.push(format!("`{}`", path.display()));
        }
        text.push(Origin::System.to_string());
        text
    }
}

/// The directories of installed versions, the preferred one first: with CUDA before without, newer
/// before older.
fn installations(runtime_directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(runtime_directory) else { return Vec::new() };
    let mut ranked: Vec<((bool, Vec<u64>), PathBuf)> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let name = path.file_name()?.to_str()?.strip_prefix("onnxruntime-")?.to_owned();
            let (version, flavour) = name.split_once('-')?;
            // An older version, there for its training API: taken where it is named, never found.
            if flavour == "training" {
                return None;
            }
            Some(((flavour == "cuda", numbers(version)), path))
        })
        .collect();
    ranked.sort();
    ranked.into_iter().rev().map(|(_, path)| path).collect()
}

/// The files in a directory that are named like the library, best name first.
fn libraries_in(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut paths: Vec<(Vec<u64>, PathBuf)> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version = library_version(path.file_name()?.to_str()?)?;
            Some((version, path))
        })
        .collect();
    paths.sort();
    paths.into_iter().rev().map(|(_, path)| path).collect()
}

/// The version in the file name of the library, empty where it has none; `None` where the name is
/// another library's.
fn library_version(name: &str) -> Option<Vec<u64>> {
    let version = if cfg!(target_os = "windows") {
        name.strip_prefix("onnxruntime.dll")?
    } else if cfg!(target_os = "macos") {
        name.strip_prefix("libonnxruntime")?.strip_suffix(".dylib")?
    } else {
        name.strip_prefix("libonnxruntime.so")?
    };
    let version = version.trim_start_matches('.');
    (version.is_empty() || version.starts_with(|c: char| c.is_ascii_digit())).then(|| numbers(version))
}

/// `1.32.0` as numbers.
fn numbers(version: &str) -> Vec<u64> {
    version.split('.').map_while(|part| part.parse().ok()).collect()
}

/// The directories in which the system's loader looks for libraries.
fn system_directories() -> Vec<PathBuf> {
    let (variable, fixed): (_, &[&str]) = if cfg!(target_os = "windows") {
        ("PATH", &[])
    } else if cfg!(target_os = "macos") {
        ("DYLD_LIBRARY_PATH", &["/opt/homebrew/lib", "/usr/local/lib"])
    } else if cfg!(target_arch = "aarch64") {
        ("LD_LIBRARY_PATH", &["/usr/local/lib", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"])
    } else {
        ("LD_LIBRARY_PATH", &["/usr/local/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib"])
    };
    let listed = std::env::var_os(variable).unwrap_or_default();
    std::env::split_paths(&listed)
        .filter(|path| !path.as_os_str().is_empty())
        .chain(fixed.iter().map(PathBuf::from))
        .collect()
}
