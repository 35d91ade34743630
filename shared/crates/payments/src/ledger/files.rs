//! Files that several processes of one machine change.
//!
//! A file is replaced whole and by name, so that a process which ends in the middle leaves the old one; a lock on a second file
//! makes a change of reading, deciding and replacing one step. Only the user who runs the
//! process may read them.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use foundation::Deadline;

const EXTENSION: &str = "json";
/// Read, write and search for the user, nothing for others.
const PRIVATE_FOLDER: u32 = 0o700;
/// Read and write for the user, nothing for others.
const PRIVATE_FILE: u32 = 0o600;
/// How long a lock is waited for before it is tried again.
const LOCK_PAUSE: Duration = Duration::from_millis(2);

/// What the file `name` in `folder` says; `None` where there is none.
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

/// The names of all files in `folder`, each with what it says (`None`: what it says is no `T`); none where there is no folder.
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
            let said = serde_json::from_slice(&fs::read(&path)?).ok();
            all.push((name.into_owned(), said));
        }
    }
    Ok(all)
}

/// A folder in which nobody else changes anything until this is dropped.
pub(crate) struct Locked<'a> {
    folder: &'a Path,
    _lock: File,
}

/// Waits until nobody else changes anything in `folder`, at most until `deadline`: a process that is frozen keeps what it has locked.
///
/// # Cancel safety
///
/// A dropped wait locks nothing.
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
    /// Lets `next` decide what the file `name` says from now on (`None`: what it says now); returns what it then says.
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
    // An older version made it readable for others.
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
    async fn only_the_user_may_read_what_is_kept() {
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
