//! How long does a process need from its start to its first request for work, and to its first answer? And how large is what is
//! deployed?

use std::path::Path;
use std::{fs, io};

use serde_json::{Map, json};

use super::{Rounds, progress};
use crate::contestant::{ALL, Contestant, Program};
use crate::crew::in_turn;
use crate::function::Function;
use crate::order::{Order, USUAL_PAD_BYTES};
use crate::plot::{self, Bars};
use crate::report::Section;
use crate::sample::{Spread, micros, number, ratios};
use crate::stage::{Around, Stage};

pub(super) async fn measure(stage: &Stage) -> Section {
    let (mut asked, mut answered, mut sizes) = (Rounds::new(), Rounds::new(), Map::new());
    let mut present = stage.present.clone();
    // One round more than counted: the first one brings the files into memory.
    for round in 0..=stage.settings.starts {
        progress(&format!(
            "starts, round {round} of {}",
            stage.settings.starts
        ));
        for contestant in in_turn(&mut present, round) {
            let started = stage.start(contestant, Around::default()).await;
            let function = started.unwrap_or_else(|why| panic!("{why}"));
            let answer = function.send(&Order::fresh(USUAL_PAD_BYTES)).await;
            assert_eq!(answer.status, 201, "{}: {}", contestant.name, answer.body);
            if round == 0 {
                let size = size_bytes(contestant, &function);
                sizes.insert(contestant.name.to_owned(), json!(size));
                continue;
            }
            let millis = |took| micros(took) / 1e3;
            let asked = asked.entry(contestant.name).or_default();
            asked.push(millis(function.start_took));
            let answered = answered.entry(contestant.name).or_default();
            answered.push(millis(answer.at - function.started));
        }
    }

    let mut section = Section::new("cold_start", "Cold start");
    section.notes.push(format!(
        "From `exec` to the first request for work (`/next`), and to the first answer, a fresh key; milliseconds, median of {} starts \
         (least–most), files in memory. × is the median of the ratios to bare, start by start. Size: the binary; for the others \
         what is installed, without what Lambda's runtime of the language brings.",
        stage.settings.starts
    ));
    section.columns([
        "",
        "`/next` ms",
        "× bare",
        "first answer ms",
        "× bare",
        "size MB",
        "× bare",
    ]);
    let bare = ALL[0].name;
    let mut data = Map::new();
    let mut groups = Vec::new();
    for contestant in &stage.present {
        let (asked_, answered_) = (&asked[contestant.name], &answered[contestant.name]);
        let times = |rounds, of: &Rounds| Spread::of(&ratios(rounds, &of[bare]));
        let (to_next, to_answer) = (Spread::of(asked_), Spread::of(answered_));
        let size = |name: &str| sizes[name].as_f64();
        let size_cells = match (size(contestant.name), size(bare)) {
            (Some(size), Some(bare)) => [number(size / 1e6), number(size / bare)],
            // What its sibling has installed, it does not need.
            _ => ["", ""].map(str::to_owned),
        };
        let [size_mb, size_times] = size_cells;
        section.rows.push(vec![
            contestant.title.to_owned(),
            to_next.in_words(),
            number(times(asked_, &asked).median),
            to_answer.in_words(),
            number(times(answered_, &answered).median),
            size_mb,
            size_times,
        ]);
        section.hold_that(
            to_answer.least > to_next.least,
            "the first answer comes after the first request for work",
        );
        let numbers = json!({
            "next_ms": to_next.to_json(),
            "next_times_bare": times(asked_, &asked).to_json(),
            "answer_ms": to_answer.to_json(),
            "answer_times_bare": times(answered_, &answered).to_json(),
            "size_bytes": sizes[contestant.name],
        });
        data.insert(contestant.name.to_owned(), numbers);
        groups.push(Bars {
            name: plot::plain(contestant.title),
            values: vec![to_next, to_answer],
        });
    }
    let title = "Cold start: from exec to the first request for work and to the first answer (median, and from the least to the most)";
    let parts = ["/next", "first answer"];
    section
        .pictures
        .push(("cold_start", plot::bars(title, &parts, "ms", &groups)));
    section.data = data.into();
    section
}

/// What nobody deploys, and what Lambda's runtime for Python brings: its client, and the AWS SDK with what that needs.
const NOT_DEPLOYED: [&str; 18] = [
    "pip",
    "setuptools",
    "pkg_resources",
    "_distutils_hack",
    "__pycache__",
    "bin",
    "include",
    "awslambdaric",
    "runtime_client",
    "simplejson",
    "snapshot_restore_py",
    "boto3",
    "botocore",
    "s3transfer",
    "jmespath",
    "urllib3",
    "dateutil",
    "six",
];

/// The size of what is deployed: the binary, or for a peer in another language the folder of our tools that its process names.
/// `None` where the same program without idempotency would need less than it has.
fn size_bytes(contestant: &Contestant, function: &Function) -> Option<u64> {
    let program = contestant.program;
    match program {
        Program::Binary(_) | Program::Crate(_) => {
            let file = program.file();
            let size = fs::metadata(&file).map(|file| file.len());
            Some(size.unwrap_or_else(|error| panic!("{}: {error}", file.display())))
        }
        Program::Folder(_) if contestant.is_baseline() => None,
        Program::Folder(name) => {
            let whereabouts = function.whereabouts();
            let folder = installed_in(&whereabouts);
            let folder =
                folder.unwrap_or_else(|| panic!("{name}: none of ours in {whereabouts:?}"));
            let size = folder_bytes(folder);
            Some(size.unwrap_or_else(|error| panic!("{}: {error}", folder.display())))
        }
    }
}

/// The folder of one tool of ours that one of the paths is in.
fn installed_in(paths: &[String]) -> Option<&Path> {
    paths.iter().find_map(|path| {
        Path::new(path).ancestors().find(|folder| {
            let parent = folder.parent().and_then(Path::file_name);
            parent.is_some_and(|name| name == "truebond")
        })
    })
}

fn folder_bytes(folder: &Path) -> io::Result<u64> {
    let mut size = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // With what a package says of itself, `pip-26.0.dist-info`, and packages of one file, `six.py`.
        let package = name.split(['-', '.']).next().unwrap_or_default();
        if NOT_DEPLOYED.contains(&package) {
            continue;
        }
        size += match entry.file_type()?.is_dir() {
            true => folder_bytes(&entry.path())?,
            // A link is as large as its path.
            false => entry.metadata()?.len(),
        };
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_installed_is_found_wherever_the_process_names_it() {
        let paths = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| (*text).to_owned())
                .collect::<Vec<_>>()
        };
        let named = paths(&[
            "/home/a/.cache/truebond/peer-1.0/venv/bin/python",
            "-m",
            "x",
        ]);
        let folder = Path::new("/home/a/.cache/truebond/peer-1.0");
        assert_eq!(installed_in(&named), Some(folder));
        assert_eq!(
            installed_in(&paths(&["/usr/bin/node", "/repo/index.mjs"])),
            None
        );
    }
}
