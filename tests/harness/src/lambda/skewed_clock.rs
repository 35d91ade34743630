//! A process whose wall clock is off, by libfaketime (<https://github.com/wolfcw/libfaketime>). Its monotonic clock is not: that one
//! measures, and no machine's is off by seconds.

use jiff::SignedDuration;

use crate::environment;

/// What a process needs in its environment for its clock to be off.
///
/// # Panics
///
/// Where there is no libfaketime; the message says how to install it.
pub(super) fn variables(skew: SignedDuration) -> [(&'static str, String); 3] {
    let library = environment::libfaketime().unwrap_or_else(|| {
        panic!("libfaketime is not installed: `scripts/install faketime` does it, or the package `faketime`")
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

/// Removes the shared memory that the library leaves behind where its process was killed.
pub(super) fn clean_up(process: u32) {
    for name in ["faketime_shm_", "sem.faketime_sem_"] {
        // It is gone where the process ended by itself.
        let _ = std::fs::remove_file(format!("/dev/shm/{name}{process}"));
    }
}
