//! The binaries under test. The harness builds them once per test process, so that the tests always run the current
//! sources. The build uses the same cargo, profile and target directory as the tests.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::environment;

/// The file of a function's binary.
///
/// # Panics
///
/// Panics with cargo's message if the workspace does not build.
pub(crate) fn function(name: &str) -> PathBuf {
    profile_directory().join(name)
}

/// The file of an example's binary.
///
/// # Panics
///
/// Panics with cargo's message if the workspace does not build.
pub(crate) fn example(name: &str) -> PathBuf {
    profile_directory().join("examples").join(name)
}

/// Builds the workspace and returns cargo's folder of binaries. The build is fast if nothing has changed.
fn profile_directory() -> &'static Path {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match BUILT.get_or_init(build) {
        Ok(directory) => directory,
        Err(error) => panic!("{error}"),
    }
}

fn build() -> Result<PathBuf, String> {
    // The path of a program is <target directory>/<profile>/<program>. Tests and examples are one folder below, in
    // `deps` and `examples`.
    let test = std::env::current_exe()
        .map_err(|error| format!("the path of the test program is unknown: {error}"))?;
    let mut parents = test.ancestors().skip(1).skip_while(|folder| {
        let name = folder.file_name().and_then(|name| name.to_str());
        matches!(name, Some("deps" | "examples"))
    });
    let (Some(directory), Some(target)) = (parents.next(), parents.next()) else {
        return Err(format!(
            "`{}` is not in a target directory of cargo",
            test.display()
        ));
    };
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("this crate is two folders below the workspace");
    let profile = match directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };

    let mut cargo = Command::new(environment::cargo());
    cargo
        .args(["build", "--workspace", "--bins", "--examples", "--quiet"])
        .args(["--profile", profile])
        .arg("--target-dir")
        .arg(target)
        .arg("--manifest-path")
        .arg(workspace.join("Cargo.toml"));
    for variable in environment::variables_of_one_package() {
        cargo.env_remove(variable);
    }
    let output = cargo
        .output()
        .map_err(|error| format!("cargo does not start: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "the functions do not build:\n{}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    Ok(directory.to_owned())
}
