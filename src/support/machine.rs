//! What this machine offers: cores, instruction sets, memory, disk space. `None` where the system
//! does not tell.

use std::path::Path;
use std::process::{Command, Stdio};

/// Logical cores this process may use, at least one.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The instruction sets that matter for neural networks and that this processor has.
pub fn instruction_sets() -> Vec<&'static str> {
    macro_rules! detected {
        ($detect:ident: $($name:tt),*) => {{
            let mut found = Vec::new();
            $(if std::arch::$detect!($name) {
                found.push($name);
            })*
            found
        }};
    }
    #[cfg(target_arch = "x86_64")]
    let found = detected!(is_x86_feature_detected:
        "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vnni", "avx512bf16", "avx512fp16");
    #[cfg(target_arch = "aarch64")]
    let found = detected!(is_aarch64_feature_detected: "neon", "fp16", "dotprod", "i8mm", "bf16", "sve");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let found = Vec::new();
    found
}

/// Memory of the machine in MiB, or what the control group of this process may use where that is
/// less.
pub fn memory_mib() -> Option<f64> {
    let limit = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let limit = limit.and_then(|text| text.trim().parse::<f64>().ok()).map(|bytes| bytes / 1_048_576.0);
    [meminfo_mib("MemTotal:"), limit].into_iter().flatten().reduce(f64::min)
}

/// Memory that can be had without swapping, in MiB.
pub fn available_memory_mib() -> Option<f64> {
    meminfo_mib("MemAvailable:")
}

fn meminfo_mib(field: &str) -> Option<f64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok().map(|kib| kib / 1024.0)
}

/// Free space in MiB on the file system that holds `path`, or would hold it once it exists.
pub fn free_space_mib(path: &Path) -> Option<f64> {
    let existing = path.ancestors().find(|ancestor| ancestor.exists())?;
    let output = Command::new("df").arg("-Pk").arg(existing).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // Filesystem, blocks, used, available: counted from the end, since a file system's name may
    // hold spaces.
    let fields: Vec<&str> = text.lines().nth(1)?.split_whitespace().collect();
    let percent = fields.iter().position(|field| field.ends_with('%'))?;
    fields.get(percent.checked_sub(1)?)?.parse::<f64>().ok().map(|kib| kib / 1024.0)
}

/// The size in MiB of all files below a directory; 0 where there is none.
pub fn size_mib(directory: &Path) -> f64 {
    let files = walkdir::WalkDir::new(directory).into_iter().flatten().filter(|entry| entry.file_type().is_file());
    let bytes: u64 = files.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum();
    bytes as f64 / 1_048_576.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_files_add_up_and_nothing_has_size_zero() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(size_mib(&directory.path().join("none")), 0.0);
        std::fs::create_dir(directory.path().join("inner")).unwrap();
        std::fs::write(directory.path().join("a"), vec![0; 1 << 20]).unwrap();
        std::fs::write(directory.path().join("inner/b"), vec![0; 1 << 19]).unwrap();
        assert_eq!(size_mib(directory.path()), 1.5);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn linux_tells_memory_and_disk_space_also_of_places_to_come() {
        assert!(memory_mib().unwrap() > 16.0);
        let directory = tempfile::tempdir().unwrap();
        assert!(free_space_mib(&directory.path().join("not/yet")).unwrap() > 0.0);
    }
}
