//! The environment variables and installed tools that the harness uses. Only this module reads the environment.

#![expect(
    clippy::disallowed_methods,
    reason = "this is the module that reads the environment"
)]

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

/// The folder into which `scripts/install` puts the jars of `tests/harness/mongo/pom.xml`. The folder's name has the version
/// of mongo-java-server.
const MONGODB_STAND_IN: &str = "mongo-java-server-1.47.0";
/// The folder into which `scripts/install` puts localstripe.
const LOCALSTRIPE: &str = "localstripe-1.15.10";
/// The folder into which `scripts/install` puts libfaketime, if the script cannot install libfaketime in the system.
const LIBFAKETIME: &str = "faketime";

/// The default Redis server. Every test works with this program; some tests do not work with Valkey.
pub(crate) const REDIS_SERVER: &str = "redis-server";

/// The folder into which `scripts/install` puts moto.
const MOTO: &str = "moto-5.2.5";

/// `MONGODB_TEST_URI`: the URI of a MongoDB server in which the tests are allowed to create databases.
pub(crate) fn mongodb_test_uri() -> Option<String> {
    env::var("MONGODB_TEST_URI")
        .ok()
        .filter(|uri| !uri.is_empty())
}

/// `TEST_REDIS_SERVER`: the program to test in place of `redis-server`, such as `valkey-server`.
pub(crate) fn redis_server() -> String {
    let wanted = env::var("TEST_REDIS_SERVER").unwrap_or_default();
    if wanted.is_empty() {
        REDIS_SERVER.to_owned()
    } else {
        wanted
    }
}

/// `PAYMENTS`: the number of payments, for tests that can make any number of payments. The default is `usual`.
///
/// # Panics
///
/// Panics if the value is not a number.
pub fn wanted_payments(usual: usize) -> usize {
    env::var("PAYMENTS").map_or(usual, |wanted| {
        wanted.parse().expect("`PAYMENTS` is a number")
    })
}

/// The folder of the jars of mongo-java-server: `MONGODB_JAVA_SERVER_DIR`, otherwise a folder in the user's cache directory.
pub(crate) fn mongodb_stand_in_directory() -> PathBuf {
    if let Some(directory) = env::var_os("MONGODB_JAVA_SERVER_DIR") {
        return directory.into();
    }
    tools().join(MONGODB_STAND_IN)
}

/// The file of localstripe: the first program of that name on `PATH`, otherwise the program in the user's cache directory.
pub(crate) fn localstripe() -> Option<PathBuf> {
    installed("localstripe", LOCALSTRIPE)
}

/// The file of moto's server: the first program `moto_server` on `PATH`, otherwise the program in the user's cache directory.
pub(crate) fn moto_server() -> Option<PathBuf> {
    installed("moto_server", MOTO)
}

fn installed(program: &str, directory: &str) -> Option<PathBuf> {
    let installed = tools().join(directory).join("bin").join(program);
    find_on_path(program).or_else(|| installed.is_file().then_some(installed))
}

/// The file of libfaketime: in the system's folders, otherwise in the user's cache directory.
pub(crate) fn libfaketime() -> Option<PathBuf> {
    let folders = [
        PathBuf::from("/usr/lib"),
        PathBuf::from("/opt/homebrew/lib"),
        PathBuf::from("/usr/local/lib"),
        tools().join(LIBFAKETIME).join("usr/lib"),
    ];
    let names = ["libfaketime.so.1", "libfaketime.1.dylib"];
    folders.iter().find_map(|folder| {
        // Debian has one folder per architecture.
        let within = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let within = within.map(|entry| entry.path()).chain([folder.clone()]);
        within
            .flat_map(|folder| [folder.join("faketime"), folder])
            .flat_map(|folder| names.map(|name| folder.join(name)))
            .find(|file| file.is_file())
    })
}

/// The folder into which `scripts/install` installs tools.
fn tools() -> PathBuf {
    let cache = match env::var_os("XDG_CACHE_HOME").filter(|cache| !cache.is_empty()) {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cache"),
    };
    cache.join("truebond")
}

/// The first executable file of that name on `PATH`.
pub(crate) fn find_on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

/// The cargo that runs these tests.
pub(crate) fn cargo() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}

/// The variables that cargo sets for one package. The harness removes these variables when it calls cargo. Otherwise build
/// scripts that watch these variables (for example of `ring`) would run at every build.
pub(crate) fn variables_of_one_package() -> Vec<OsString> {
    const NAMES: [&str; 3] = [
        "CARGO_CRATE_NAME",
        "CARGO_PRIMARY_PACKAGE",
        "CARGO_TARGET_TMPDIR",
    ];
    const PREFIXES: [&str; 3] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"];
    env::vars_os()
        .map(|(name, _)| name)
        .filter(|name| {
            name.to_str().is_some_and(|name| {
                NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            })
        })
        .collect()
}
