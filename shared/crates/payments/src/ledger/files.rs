//! JSON files. Several processes on one machine can read and change the same file.
//!
//! A write puts the new value into a draft, and renames the draft to the file. So after a crash, the file still has its old value. A lock
//! makes reading and replacing a file one step. The files are readable only for the user that runs the process.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use foundation::Deadline;

const EXTENSION: &str = "json";
/// The permissions of a folder: read, write and search for the user, none for others.
const PRIVATE_FOLDER: u32 = 0o700;
/// The permissions of a file: read and write for the user, none for others.
const PRIVATE_FILE: u32 = 0o600;
/// The pause between two tries to take the lock.
const LOCK_PAUSE: Duration = Duration::from_millis(2);

/// The value in the file `name` of `folder`; `None` if there is no such file.
pub(crate) fn read<T: serde::de::DeserializeOwned>(
    folder: &Path,
    name: &str,
) -> io::Result<Option<T>> {
    match fs::read(path(folder, name)) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The name and the value of each file in `folder`; `None`: the file does not contain a valid value. A missing folder counts as
/// empty.
pub(crate) fn read_all<T: serde::de::DeserializeOwned>(
    folder: &Path,
) -> io::Result<Vec<(String, Option<T>)>> {
    let files = match fs::read_dir(folder) {
        Ok(files) => files,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut all = Vec::new();
    for file in files {
        let path = file?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == EXTENSION)
        {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let value = serde_json::from_slice(&fs::read(&path)?).ok();
            all.push((name.into_owned(), value));
        }
    }
    Ok(all)
}

/// A lock on a folder. The lock is released when this value is dropped.
pub(crate) struct Locked<'a> {
    folder: &'a Path,
    _lock: File,
}

/// Locks `folder`. Waits until `deadline` at most, because a frozen process keeps its lock.
///
/// # Cancel safety
///
/// A call that is dropped while it waits takes no lock.
pub(crate) async fn lock(folder: &Path, deadline: Deadline) -> io::Result<Locked<'_>> {
    create_private_folder(folder)?;
    let lock = create_private_file(&folder.join(".lock"))?;
    let waiting = async {
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_PAUSE).await,
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    };
    let waited = deadline.bound(waiting).await;
    waited.map_err(|_| io::Error::from(ErrorKind::TimedOut))??;
    Ok(Locked {
        folder,
        _lock: lock,
    })
}

impl Locked<'_> {
    /// Replaces the value of the file `name`. `next` gets the old value and returns the new one; `None`: the old value stays. Returns the
    /// value that is then in the file.
    pub(crate) fn update<T: serde::Serialize + serde::de::DeserializeOwned>(
        &self,
        name: &str,
        next: impl FnOnce(Option<&T>) -> Option<T>,
    ) -> io::Result<Option<T>> {
        let found = read(self.folder, name)?;
        let Some(next) = next(found.as_ref()) else {
            return Ok(found);
        };
        let path = path(self.folder, name);
        let draft = path.with_extension("draft");
        let mut file = create_private_file(&draft)?;
        file.write_all(&serde_json::to_vec_pretty(&next)?)?;
        file.sync_all()?;
        fs::rename(draft, path)?;
        Ok(Some(next))
    }
}

fn create_private_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(PRIVATE_FOLDER)
        .create(folder)?;
    // An older version created the folder with permissions that let other users read it.
    let is_private = fs::metadata(folder)?.permissions().mode() & 0o777 == PRIVATE_FOLDER;
    if is_private {
        return Ok(());
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(PRIVATE_FOLDER))
}

fn create_private_file(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    options.mode(PRIVATE_FILE).open(path)
}

fn path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.{EXTENSION}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        let metadata = fs::metadata(path).expect("there");
        metadata.permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn only_the_user_of_the_process_can_read_the_files() {
        let parent = tempfile::TempDir::new().expect("a folder");
        let ledger = parent.path().join("ledger");
        let of_an_older_version = parent.path().join("older");
        fs::create_dir(&of_an_older_version).expect("created");
        let for_all = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&of_an_older_version, for_all).expect("set");
        for folder in [ledger.join("payments"), of_an_older_version] {
            let locked = lock(&folder, Deadline::UNKNOWN).await.expect("locked");
            let written = locked.update("pay_1", |_: Option<&u8>| Some(1));
            assert_eq!(written.expect("written"), Some(1));

            let modes = [".lock", "pay_1.json"].map(|name| mode(&folder.join(name)));
            assert_eq!((mode(&folder), modes), (PRIVATE_FOLDER, [PRIVATE_FILE; 2]));
        }
        assert_eq!(mode(&ledger), PRIVATE_FOLDER);
    }
}
