//! `defrost doctor`: what this machine offers, and what to do about each problem.

use serde::Serialize;

use crate::cli::{Outcome, Printer};
use crate::error::{Error, Result, RuntimeError};
use crate::runtime::{Device, Runtime, self_test};
use crate::support::{env, machine, wheel};

/// Less free space than this, in MiB, is told as a problem.
const MIN_SPACE_MIB: f64 = 1024.0;

/// Show what was found on this machine and what to do about each problem; changes nothing.
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
}

#[derive(Serialize)]
struct Cache {
    path: String,
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
    fn of(error: &Error) -> Self {
        Problem { problem: error.to_string(), advice: error.hint().unwrap_or_default() }
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
        let (runtime, missing) = match library(nvidia_driver.is_some(), &mut problems) {
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
                problems.push(Problem::of(&error));
                None
            }
        };
        match missing {
            Some(error) if pip.is_none() => fatal = Some(error),
            Some(error) => problems.push(Problem {
                problem: error.to_string(),
                advice: "run `defrost runtime install`; verbs that need it also install it on first need".to_owned(),
            }),
            None => {}
        }
        let cache = cache(&mut problems);
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
fn library(driver: bool, problems: &mut Vec<Problem>) -> Result<Library> {
    let runtime = Runtime::load(None)?;
    let mut works_on = vec![self_test(&runtime, Device::Cpu)?.to_string()];
    let cuda = runtime.providers().iter().any(|name| name == "CUDAExecutionProvider");
    if cuda && driver {
        match self_test(&runtime, Device::Cuda(0)) {
            Ok(device) => works_on.push(device.to_string()),
            Err(error) => problems.push(Problem::of(&error)),
        }
    } else if driver {
        problems.push(Problem {
            problem: "there is an NVIDIA driver, but the ONNX Runtime in use was built without CUDA".to_owned(),
            advice: "run `defrost runtime install --cuda` to use the device".to_owned(),
        });
    }
    Ok(Library {
        path: runtime.library().display().to_string(),
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
fn cache(problems: &mut Vec<Problem>) -> Option<Cache> {
    let path = match env::required_cache_directory() {
        Ok(path) => path,
        Err(error) => {
            problems.push(Problem::of(&error));
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
    let free = machine::free_space_mib(&path);
    if let Some(free) = free.filter(|free| *free < MIN_SPACE_MIB) {
        problems.push(Problem {
            problem: format!("only {free:.0} MiB are free for `{}`", path.display()),
            advice: "free disk space, or name another place with `DEFROST_CACHE_DIR`".to_owned(),
        });
    }
    Some(Cache { path: path.display().to_string(), free_mib: free.map(|mib| mib as u64), used_mib })
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
        }
        None => rows.push(("ONNX Runtime", "none that works".to_owned())),
    }
    rows.push(("NVIDIA driver", found.nvidia_driver.clone().unwrap_or_else(|| "none".to_owned())));
    rows.push(("pip", found.pip.clone().unwrap_or_else(|| "none".to_owned())));
    if let Some(cache) = &found.cache {
        rows.push(("cache directory", format!("{}, {} free", cache.path, mib(cache.free_mib))));
        rows.extend(cache.used_mib.iter().map(|(name, used)| ("", format!("{name}: {used} MiB"))));
    }
    let mut lines: Vec<String> = rows.iter().map(|(name, value)| format!("{name:<18}{value}")).collect();
    for Problem { problem, advice } in &found.problems {
        lines.push(format!("\nproblem: {problem}\n  to do: {advice}"));
    }
    lines.join("\n")
}
