//! `defrost doctor`: what this machine offers, and what to do about each problem.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use serde::Serialize;

use crate::cli::{Outcome, Printer};
use crate::error::{Error, Result, RuntimeError};
use crate::runtime::{Device, Runtime, self_test};
use crate::support::{env, machine, wheel};

/// Less free space than this, in MiB, is told as a problem.
const MIN_SPACE_MIB: f64 = 1024.0;

/// Show what was found on this machine and what to do about each problem; leaves nothing behind.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  defrost doctor\n  defrost doctor --json\n\n\
    Exit codes: 0 all is well; 1 something needs attention; 3 models cannot be run.")]
pub(crate) struct Arguments {}

#[derive(Serialize)]
struct Findings {
    defrost: &'static str,
    system: String,
    cores: usize,
    instruction_sets: Vec<&'static str>,
    memory_mib: Option<u64>,
    available_memory_mib: Option<u64>,
    runtime: Option<Library>,
    nvidia_driver: Option<String>,
    pip: Option<String>,
    cache: Option<Cache>,
    problems: Vec<Problem>,
}

#[derive(Serialize)]
struct Library {
    path: String,
    found_in: String,
    version: String,
    providers: Vec<String>,
    /// Devices on which the self-test computed the right result.
    works_on: Vec<String>,
    /// Whether it has ONNX Runtime's training API.
    training: bool,
}

#[derive(Serialize)]
struct Cache {
    path: String,
    /// Whether a file could be written in it, or where it will be made.
    writable: bool,
    free_mib: Option<u64>,
    /// Size of each directory in it.
    used_mib: Vec<(String, u64)>,
}

#[derive(Serialize)]
struct Problem {
    problem: String,
    advice: String,
}

impl Problem {
    fn new(error: &Error, printer: &Printer) -> Self {
        Problem { problem: error.with_causes(), advice: printer.hint(error).unwrap_or_default() }
    }
}

impl Arguments {
    /// Looks around, tries the library, prints the findings.
    ///
    /// # Errors
    /// The library's own error where it cannot be used, or where there is none and none can be
    /// fetched.
    pub(crate) fn run(&self, printer: &Printer) -> Result<Outcome> {
        let mut problems = Vec::new();
        let mut fatal = None;
        let nvidia_driver = nvidia_driver();
        let (runtime, missing) = match library(nvidia_driver.is_some(), &mut problems, printer) {
            Ok(library) => (Some(library), None),
            Err(error @ Error::Runtime(RuntimeError::NotFound { .. })) => (None, Some(error)),
            Err(error) => {
                fatal = Some(error);
                (None, None)
            }
        };
        let pip = match wheel::pip_version() {
            Ok(version) => Some(version),
            Err(error) => {
                problems.push(Problem::new(&error, printer));
                None
            }
        };
        let before = problems.len();
        let cache = cache(&mut problems, printer);
        let unusable = problems.len() > before && cache.as_ref().is_none_or(|cache| !cache.writable);
        temporary(&mut problems);
        match missing {
            Some(error) if pip.is_none() => fatal = Some(error),
            Some(error) if unusable => problems.push(Problem {
                problem: error.to_string(),
                advice: "name a cache directory that can be written, as said above; then run `defrost runtime install`"
                    .to_owned(),
            }),
            Some(error) => problems.push(Problem {
                problem: error.to_string(),
                advice: "run `defrost runtime install`; verbs that need it also install it on first need".to_owned(),
            }),
            None => {}
        }
        let findings = Findings {
            defrost: env!("CARGO_PKG_VERSION"),
            system: format!("{} on {}", std::env::consts::OS, std::env::consts::ARCH),
            cores: machine::cores(),
            instruction_sets: machine::instruction_sets(),
            memory_mib: machine::memory_mib().map(|mib| mib as u64),
            available_memory_mib: machine::available_memory_mib().map(|mib| mib as u64),
            runtime,
            nvidia_driver,
            pip,
            cache,
            problems,
        };
        printer.result(&findings, text)?;
        match fatal {
            Some(error) => Err(error),
            None if findings.problems.is_empty() => Ok(Outcome::Done),
            None => Ok(Outcome::Incomplete),
        }
    }
}

/// Loads the library and runs the self-test on the CPU and, where the library has CUDA, there.
fn library(driver: bool, problems: &mut Vec<Problem>, printer: &Printer) -> Result<Library> {
    let runtime = Runtime::load(None)?;
    let mut works_on = vec![self_test(&runtime, Device::Cpu)?.to_string()];
    let cuda = runtime.providers().iter().any(|name| name == "CUDAExecutionProvider");
    if cuda && driver {
        match self_test(&runtime, Device::Cuda(0)) {
            Ok(device) => works_on.push(device.to_string()),
            Err(error) => problems.push(Problem::new(&error, printer)),
        }
    } else if driver {
        problems.push(Problem {
            problem: "there is an NVIDIA driver, but the ONNX Runtime in use was built without CUDA".to_owned(),
            advice: "run `defrost runtime install --cuda` to use the device".to_owned(),
        });
    }
    Ok(Library {
        path: runtime.library().display().to_string(),
        training: runtime.can_train(),
        found_in: runtime.origin().to_string().replace('`', ""),
        version: runtime.version().to_owned(),
        providers: runtime.providers().to_vec(),
        works_on,
    })
}

/// The NVIDIA driver's own line about itself, where one is loaded.
fn nvidia_driver() -> Option<String> {
    let text = std::fs::read_to_string("/proc/driver/nvidia/version").ok()?;
    Some(text.lines().next()?.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The cache directory, what it holds, and whether there is room.
fn cache(problems: &mut Vec<Problem>, printer: &Printer) -> Option<Cache> {
    let path = match env::required_cache_directory() {
        Ok(path) => path,
        Err(error) => {
            problems.push(Problem::new(&error, printer));
            return None;
        }
    };
    let mut entries: Vec<_> = std::fs::read_dir(&path).into_iter().flatten().flatten().collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    let used_mib = entries
        .iter()
        .map(|entry| {
            (entry.file_name().to_string_lossy().into_owned(), machine::size_mib(&entry.path()).round() as u64)
        })
        .collect();
    let writable = match try_writing(&path) {
        Ok(()) => true,
        Err((place, reason)) => {
            problems.push(Problem {
                problem: format!("the cache directory `{}` cannot be written: `{place}`: {reason}", path.display()),
                advice: "make it writable, or name another directory with `DEFROST_CACHE_DIR` (or another home with \
                         `HOME`); downloads, models and ONNX Runtime go there"
                    .to_owned(),
            });
            false
        }
    };
    let free = machine::free_space_mib(&path);
    if let Some(free) = free.filter(|free| *free < MIN_SPACE_MIB) {
        problems.push(Problem {
            problem: format!("only {free:.0} MiB are free for `{}`", path.display()),
            advice: "free disk space, or name another place with `DEFROST_CACHE_DIR`".to_owned(),
        });
    }
    Some(Cache { path: path.display().to_string(), writable, free_mib: free.map(|mib| mib as u64), used_mib })
}

/// The folder for temporary files, which `pip` unpacks in.
fn temporary(problems: &mut Vec<Problem>) {
    let path = std::env::temp_dir();
    // Unlike the cache directory it is not made on need.
    let tried = match path.metadata() {
        Ok(_) => try_writing(&path),
        Err(reason) => Err((path.display().to_string(), reason)),
    };
    if let Err((place, reason)) = tried {
        problems.push(Problem {
            problem: format!(
                "the folder for temporary files `{}` cannot be written: `{place}`: {reason}",
                path.display()
            ),
            advice: "make it writable, or name another one with `TMPDIR`".to_owned(),
        });
    }
}

/// Writes a small file into a directory, or into the nearest one above it that exists, and removes
/// it; gives the place and the reason where that fails.
fn try_writing(directory: &Path) -> std::result::Result<(), (String, std::io::Error)> {
    let existing = directory.ancestors().find(|ancestor| ancestor.symlink_metadata().is_ok()).unwrap_or(directory);
    let existing = if existing.as_os_str().is_empty() { Path::new(".") } else { existing };
    let refused = |error| (existing.display().to_string(), error);
    if !existing.metadata().map_err(refused)?.is_dir() {
        return Err(refused(ErrorKind::NotADirectory.into()));
    }
    let path = existing.join(format!(".defrost-doctor-{}.tmp", std::process::id()));
    let written = File::create(&path).and_then(|mut file| {
        file.write_all(&[0; 1 << 16])?;
        file.sync_all()
    });
    let removed = if path.exists() { std::fs::remove_file(&path) } else { Ok(()) };
    written.and(removed).map_err(refused)
}

/// The findings for people.
fn text(found: &Findings) -> String {
    let mib = |value: Option<u64>| value.map_or("unknown".to_owned(), |mib| format!("{mib} MiB"));
    let mut rows = vec![
        ("defrost", format!("{}, {}", found.defrost, found.system)),
        ("cores", found.cores.to_string()),
        ("instruction sets", found.instruction_sets.join(" ")),
        ("memory", format!("{}, {} available", mib(found.memory_mib), mib(found.available_memory_mib))),
    ];
    match &found.runtime {
        Some(library) => {
            rows.push(("ONNX Runtime", format!("{}, found in {}", library.version, library.found_in)));
            rows.push(("", library.path.clone()));
            rows.push(("providers", library.providers.join(", ")));
            rows.push(("self-test", format!("right result on {}", library.works_on.join(", "))));
            rows.push((
                "training API",
                if library.training { "yes" } else { "no (`defrost finetune --engine ort` needs it)" }.to_owned(),
            ));
        }
        None => rows.push(("ONNX Runtime", "none that works".to_owned())),
    }
    rows.push(("NVIDIA driver", found.nvidia_driver.clone().unwrap_or_else(|| "none".to_owned())));
    rows.push(("pip", found.pip.clone().unwrap_or_else(|| "none".to_owned())));
    if let Some(cache) = &found.cache {
        rows.push((
            "cache directory",
            match cache.writable {
                true => format!("{}, {} free", cache.path, mib(cache.free_mib)),
                false => format!("{}, cannot be written", cache.path),
            },
        ));
        rows.extend(cache.used_mib.iter().map(|(name, used)| ("", format!("{name}: {used} MiB"))));
    }
    let mut lines: Vec<String> = rows.iter().map(|(name, value)| format!("{name:<18}{value}")).collect();
    for Problem { problem, advice } in &found.problems {
        lines.push(format!("\nproblem: {problem}\n  to do: {advice}"));
    }
    lines.join("\n")
}
