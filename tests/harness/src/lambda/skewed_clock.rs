//! Gives a process a wrong wall clock, with libfaketime (<https://github.com/wolfcw/libfaketime>). The monotonic clock
//! stays right, because it only measures durations. On a real machine, the monotonic clock is never wrong by seconds.

use jiff::SignedDuration;

use crate::environment;

/// The environment variables that make a process's clock wrong by `skew`.
///
/// # Panics
///
/// Panics if libfaketime is not installed. The message says how to install it.
pub(super) fn variables(skew: SignedDuration) -> [(&'static str, String); 3] {
    let library = environment::libfaketime().unwrap_or_else(|| {
        panic!("libfaketime is not installed: run `scripts/install faketime`, or install the package `faketime`")
    });
    let preload = if cfg!(target_os = "macos") {
        "DYLD_INSERT_LIBRARIES"
    } else {
        "LD_PRELOAD"
    };
    [
        (preload, library.to_string_lossy().into_owned()),
        ("FAKETIME", format!("{:+}s", skew.as_secs())),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ]
}

/// Removes the shared memory that libfaketime leaves behind after a kill.
pub(super) fn clean_up(process: u32) {
    for name in ["faketime_shm_", "sem.faketime_sem_"] {
        // The file is missing if the process ended by itself.
        let _ = std::fs::remove_file(format!("/dev/shm/{name}{process}"));
    }
}
