//! Measures the time from a process's start to its first request for work and to its first answer, and the size of a deployment.

use std::path::Path;
use std::{fs, io};

use harness::Lambda;
use serde_json::{Map, json};

use super::progress;
use crate::calls::in_turn;
use crate::contestant::{ALL, Contestant, Program};
use crate::order::{Order, USUAL_PAD_BYTES, answer};
use crate::plot::{self, Named};
use crate::samples::{Samples, millis, number};
use crate::section::Section;
use crate::stage::{Around, Stage};

pub(super) async fn measure(stage: &Stage) -> Section {
    let starts = stage.settings.starts;
    let (mut asked, mut answered) = (Samples::default(), Samples::default());
    let mut sizes = Map::new();
    // The first round is not counted, because it reads the files into memory.
    for round in 0..=starts {
        progress(&format!("starts, round {round} of {starts}"));
        for contestant in in_turn(&stage.present, round) {
            let name = contestant.name;
            let process = stage.start(contestant, Around::default()).await;
            let answer = answer(&process, Order::fresh(USUAL_PAD_BYTES).event()).await;
            let answer = answer.unwrap_or_else(|why| panic!("{name}: {why}"));
            assert_eq!(answer.status, 201, "{name}: {}", answer.body);
            if round == 0 {
                sizes.insert(name.to_owned(), json!(size_bytes(contestant, &process)));
                continue;
            }
            asked.add(name, millis(process.init_duration()));
            answered.add(name, millis(answer.at - process.started()));
        }
    }

    let mut section = Section::new("cold_start", "Cold start");
    section.notes.push(format!(
        "From `exec` to the first request for work (`/next`), and to the first answer, a fresh key; milliseconds, median of {starts} starts \
         (least–most), files in memory. × is the median of the ratios to bare, start by start. Size: the binary; for the others \
         what is installed, without what Lambda's runtime of the language brings."
    ));
    section.columns(" | `/next` ms | × bare | first answer ms | × bare | size MB | × bare");
    let bare = ALL[0].name;
    let mut groups = Vec::new();
    for contestant in &stage.present {
        let name = contestant.name;
        let (Some(to_next), Some(to_answer)) = (asked.spread(name), answered.spread(name)) else {
            continue;
        };
        let (next_times, answer_times) = (asked.times(name, bare), answered.times(name, bare));
        let size = |name: &str| sizes[name].as_f64();
        let [size_mb, size_times] = match (size(name), size(bare)) {
            (Some(size), Some(bare)) => [number(size / 1e6), number(size / bare)],
            // The program without idempotency does not need the files of the program with idempotency.
            _ => ["", ""].map(str::to_owned),
        };
        let [next, answer] = [next_times, answer_times].map(|times| number(times.median));
        let cells =
            format!("{to_next} | {next} | {to_answer} | {answer} | {size_mb} | {size_times}");
        let numbers = json!({
            "next_ms": to_next,
            "next_times_bare": next_times,
            "answer_ms": to_answer,
            "answer_times_bare": answer_times,
            "size_bytes": sizes[name],
        });
        section.row((contestant.title, name), &cells, numbers);
        section.hold_that(
            to_answer.least > to_next.least,
            "the first answer comes after the first request for work",
        );
        groups.push(Named {
            name: contestant.plain_title(),
            values: vec![to_next, to_answer],
        });
    }
    let title = "Cold start: from exec to the first request for work and to the first answer (median, and from the least to the most)";
    let picture = plot::bars(title, &["/next", "first answer"], "ms", &groups);
    section.pictures.push(("cold_start", picture));
    section
}

/// The files that do not count: files that are not deployed, and files that Lambda's Python runtime contains (the runtime
/// client, and the AWS SDK with its dependencies).
const NOT_DEPLOYED: &str = "pip setuptools pkg_resources _distutils_hack __pycache__ bin include awslambdaric runtime_client simplejson \
     snapshot_restore_py boto3 botocore s3transfer jmespath urllib3 dateutil six";

/// The size of a deployment: the binary, or for another language the folder of the installed tool that the process uses. `None`
/// for a program in another language without idempotency, because its folder also contains files that it does not need.
fn size_bytes(contestant: &Contestant, process: &Lambda) -> Option<u64> {
    let program = contestant.program;
    match program {
        Program::Binary(_) | Program::Crate(_) => {
            let file = program.file();
            let size = fs::metadata(&file).map(|file| file.len());
            Some(size.unwrap_or_else(|error| panic!("{}: {error}", file.display())))
        }
        Program::Folder(_) if contestant.is_baseline() => None,
        Program::Folder(name) => {
            let whereabouts = whereabouts(process);
            let folder = installed_in(&whereabouts);
            let folder =
                folder.unwrap_or_else(|| panic!("{name}: none of ours in {whereabouts:?}"));
            let size = folder_bytes(folder);
            Some(size.unwrap_or_else(|error| panic!("{}: {error}", folder.display())))
        }
    }
}

/// The words of the process's command line and the entries of Node's module path. One of them contains the folder of the
/// installation.
fn whereabouts(process: &Lambda) -> Vec<String> {
    let id = process.pid();
    let read = |file| fs::read_to_string(format!("/proc/{id}/{file}")).unwrap_or_default();
    let (command_line, environment) = (read("cmdline"), read("environ"));
    let packages = environment
        .split('\0')
        .filter_map(|pair| pair.strip_prefix("NODE_PATH="));
    let words = command_line.split('\0').chain(packages);
    words.map(str::to_owned).collect()
}

/// The folder of the installed tool to which one of the paths belongs.
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
        // Also matches metadata folders (`pip-26.0.dist-info`) and packages of one file (`six.py`).
        let package = name.split(['-', '.']).next().unwrap_or_default();
        if NOT_DEPLOYED.split(' ').any(|name| name == package) {
            continue;
        }
        size += match entry.file_type()?.is_dir() {
            true => folder_bytes(&entry.path())?,
            // The size of a link is the length of its path.
            false => entry.metadata()?.len(),
        };
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_an_installation_is_found_in_any_path() {
        let named = ["-m", "/home/a/.cache/truebond/peer-1.0/venv/bin/python"].map(str::to_owned);
        let folder = Path::new("/home/a/.cache/truebond/peer-1.0");
        assert_eq!(installed_in(&named), Some(folder));
        let elsewhere = ["/usr/bin/node", "/repo/index.mjs"].map(str::to_owned);
        assert_eq!(installed_in(&elsewhere), None);
    }
}
