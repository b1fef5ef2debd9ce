//! `defrost runtime` and `defrost doctor`: exit codes, stdout and stderr.

use std::path::Path;
use std::process::{Command, Output};

use crate::session::runtime;

/// `defrost` with a cache directory and none of the variables that name a library.
fn defrost(cache: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_defrost"));
    command.args(arguments).env_remove("ORT_DYLIB_PATH").env_remove("LD_LIBRARY_PATH").env("DEFROST_CACHE_DIR", cache);
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_library_that_cannot_be_used_is_told_with_the_reason_and_exit_3() {
    let home = tempfile::tempdir().unwrap();
    let text = home.path().join("libonnxruntime.so");
    std::fs::write(&text, "this is no library").unwrap();
    let missing = home.path().join("none.so");
    // A real shared library that is not ONNX Runtime: the one beside it that only its providers
    // use.
    let other = runtime().library().with_file_name("libonnxruntime_providers_shared.so");
    for (path, reason) in [
        (text.as_path(), "cannot be loaded as a shared library"),
        (missing.as_path(), "does not exist"),
        (other.as_path(), "does not export `OrtGetApiBase`"),
    ] {
        if path == other && !other.exists() {
            continue;
        }
        let path = path.to_str().unwrap();
        let by_flag = defrost(home.path(), &["runtime", "show", "--runtime-library", path]).output().unwrap();
        let by_variable = defrost(home.path(), &["runtime", "show"]).env("ORT_DYLIB_PATH", path).output().unwrap();
        for output in [by_flag, by_variable] {
            assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
            assert!(stderr(&output).contains(reason), "{}", stderr(&output));
            assert!(stderr(&output).contains("hint: "), "{}", stderr(&output));
            assert!(output.stdout.is_empty());
        }
    }
}

#[test]
fn a_flag_counts_more_than_the_variable_and_the_variable_more_than_the_cache() {
    let library = runtime().library().to_path_buf();
    let home = tempfile::tempdir().unwrap();
    let cached = home.path().join("runtime/onnxruntime-1.32.0-cpu");
    std::fs::create_dir_all(&cached).unwrap();
    std::fs::copy(&library, cached.join(library.file_name().unwrap())).unwrap();
    let found_in = |command: &mut Command| -> String {
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let shown: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        shown["found_in"].as_str().unwrap().to_owned()
    };
    let show = ["runtime", "show", "--json"];
    assert_eq!(found_in(&mut defrost(home.path(), &show)), "the cache directory");
    assert_eq!(found_in(defrost(home.path(), &show).env("ORT_DYLIB_PATH", &library)), "`ORT_DYLIB_PATH`");
    let flag = ["runtime", "show", "--json", "--runtime-library", library.to_str().unwrap()];
    assert_eq!(found_in(defrost(home.path(), &flag).env("ORT_DYLIB_PATH", "/none")), "`--runtime-library`");
}

#[test]
fn an_unusable_library_in_the_cache_is_passed_over_and_named() {
    let home = tempfile::tempdir().unwrap();
    let cached = home.path().join("runtime/onnxruntime-1.32.0-cpu");
    std::fs::create_dir_all(&cached).unwrap();
    std::fs::write(cached.join("libonnxruntime.so.1.32.0"), "damaged").unwrap();
    let output = defrost(home.path(), &["runtime", "show"]).output().unwrap();
    if output.status.success() {
        // The system has a library of its own.
        assert!(!String::from_utf8_lossy(&output.stdout).contains(home.path().to_str().unwrap()));
    } else {
        assert_eq!(output.status.code(), Some(3));
        assert!(stderr(&output).contains("found but unusable"), "{}", stderr(&output));
    }
}

#[test]
fn installing_without_python_or_without_a_place_fails_with_exit_3() {
    let home = tempfile::tempdir().unwrap();
    let output =
        defrost(home.path(), &["runtime", "install"]).env("DEFROST_PYTHON", "no-such-python").output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("`no-such-python` cannot be started"), "{}", stderr(&output));
    assert!(stderr(&output).contains("`DEFROST_PYTHON`"), "{}", stderr(&output));
    let file = home.path().join("file");
    std::fs::write(&file, "").unwrap();
    let output = defrost(&file, &["runtime", "install"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("cannot be written"), "{}", stderr(&output));
    let nowhere = |command: &mut Command| {
        for name in ["DEFROST_CACHE_DIR", "XDG_CACHE_HOME", "HOME", "LOCALAPPDATA"] {
            command.env_remove(name);
        }
        command.output().unwrap()
    };
    let output = nowhere(&mut defrost(&file, &["runtime", "install"]));
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("there is no cache directory"), "{}", stderr(&output));
}

#[test]
fn the_doctor_tries_the_library_and_tells_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let library = runtime().library().to_path_buf();
    let output = defrost(home.path(), &["doctor", "--json"]).env("ORT_DYLIB_PATH", &library).output().unwrap();
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["runtime"]["version"].as_str(), Some(runtime().version()));
    assert_eq!(found["runtime"]["works_on"][0].as_str(), Some("cpu"));
    assert_eq!(found["runtime"]["training"].as_bool(), Some(runtime().can_train()));
    assert!(found["cores"].as_u64().unwrap() >= 1);
    let healthy = found["problems"].as_array().unwrap().is_empty();
    assert_eq!(output.status.code(), Some(if healthy { 0 } else { 1 }));

    let broken = defrost(home.path(), &["doctor"]).env("ORT_DYLIB_PATH", home.path()).output().unwrap();
    assert_eq!(broken.status.code(), Some(3), "{}", stderr(&broken));
    assert!(String::from_utf8_lossy(&broken.stdout).contains("none that works"));
    assert!(stderr(&broken).contains("hint: "), "{}", stderr(&broken));
}

/// A home that cannot be written: case `c33`, a container of `--user 1000`.
#[test]
fn the_doctor_names_a_cache_directory_that_cannot_be_written() {
    let home = tempfile::tempdir().unwrap();
    let library = runtime().library().to_path_buf();
    let examined = |command: &mut Command| -> (Option<i32>, serde_json::Value) {
        let output = command.env("ORT_DYLIB_PATH", &library).arg("--json").output().unwrap();
        (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
    };
    let problems = |found: &serde_json::Value| found["problems"].to_string();
    let file = home.path().join("file");
    std::fs::write(&file, "").unwrap();
    for cache in [file.clone(), file.join("below")] {
        let (code, found) = examined(&mut defrost(&cache, &["doctor"]));
        assert_eq!((code, found["cache"]["writable"].as_bool()), (Some(1), Some(false)), "{found}");
        assert!(problems(&found).contains(&format!("the cache directory `{}` cannot be written", cache.display())));
        assert!(problems(&found).contains("`DEFROST_CACHE_DIR`") && problems(&found).contains("`HOME`"), "{found}");
    }
    // It is made on need, and looking makes nothing.
    let new = home.path().join("a/b");
    let (_, found) = examined(&mut defrost(&new, &["doctor"]));
    assert_eq!(found["cache"]["writable"].as_bool(), Some(true), "{found}");
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1, "only `file` is there");

    let (code, found) = examined(defrost(&new, &["doctor"]).env("TMPDIR", home.path().join("none")));
    assert_eq!(code, Some(1));
    assert!(problems(&found).contains("temporary files") && problems(&found).contains("`TMPDIR`"), "{found}");
}

/// The same as another user, where this one may write everywhere.
#[test]
#[cfg(unix)]
fn the_doctor_names_a_home_of_somebody_else() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::os::unix::process::CommandExt as _;
    let home = tempfile::tempdir().unwrap();
    let program = home.path().join("defrost");
    std::fs::copy(env!("CARGO_BIN_EXE_defrost"), &program).unwrap();
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    if home.path().metadata().unwrap().uid() != 0 {
        // Who is not root makes the folder read-only for himself.
        let locked = home.path().join("locked");
        std::fs::create_dir(&locked).unwrap();
        std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o555)).unwrap();
        let output = defrost(&locked.join("cache"), &["doctor"]).output().unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).contains("cannot be written"));
        return;
    }
    let mut command = Command::new(&program);
    command.arg("doctor").uid(1000).gid(1000).env("HOME", "/nonexistent").current_dir("/");
    for name in ["DEFROST_CACHE_DIR", "XDG_CACHE_HOME", "ORT_DYLIB_PATH", "LD_LIBRARY_PATH"] {
        command.env_remove(name);
    }
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_ne!(output.status.code(), Some(0), "{told}");
    assert!(told.contains("problem: the cache directory `/nonexistent/.cache/defrost` cannot be written"), "{told}");
    assert!(told.contains("`DEFROST_CACHE_DIR`") && !told.contains("to do: run `defrost runtime install`"), "{told}");
}
