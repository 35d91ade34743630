//! How long does each function take to start, beside a bare `lambda_http` function in the same run?
//!
//! `make startup` runs it in the release profile. The binaries take turns, so that a machine whose speed drifts treats
//! them alike.

#![expect(clippy::print_stdout, reason = "the table is what it is for")]

use std::time::Duration;

use tests::Lambda;
use tests::lambda::LambdaBuilder;

const ROUNDS: usize = 30;

struct Contestant {
    name: &'static str,
    path: &'static str,
    size_bytes: u64,
    starts: Vec<Duration>,
    rss_bytes: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut contestants = [
        Contestant::new("bare", "/"),
        Contestant::new("health", "/api/health"),
        Contestant::new("health-redis", "/api/health/redis"),
        Contestant::new("health-detailed", "/api/health/detailed"),
    ];
    // One round more than counted: the first one brings the files into memory.
    for round in 0..=ROUNDS {
        for contestant in &mut contestants {
            let lambda = contestant.builder().start().await;
            if round == 0 {
                contestant.measure_size(&lambda);
                continue;
            }
            contestant.starts.push(lambda.init_duration());
            if round == ROUNDS {
                lambda
                    .invoke(tests::TestRequest::get(contestant.path).event())
                    .await;
                contestant.rss_bytes = lambda.rss_bytes();
            }
        }
    }
    println!("exec to the first /next, {ROUNDS} starts each; RSS after the first answer\n");
    println!("| binary | minimum | median | median / bare | size | RSS |");
    println!("|---|---|---|---|---|---|");
    let bare = contestants[0].median();
    for contestant in &contestants {
        println!(
            "| `{}` | {:.2} ms | {:.2} ms | {:.2} | {:.2} MB | {:.1} MB |",
            contestant.name,
            milliseconds(contestant.minimum()),
            milliseconds(contestant.median()),
            contestant.median().as_secs_f64() / bare.as_secs_f64(),
            megabytes(contestant.size_bytes),
            megabytes(contestant.rss_bytes),
        );
    }
}

impl Contestant {
    fn new(name: &'static str, path: &'static str) -> Self {
        Self {
            name,
            path,
            size_bytes: 0,
            starts: Vec::new(),
            rss_bytes: 0,
        }
    }

    fn builder(&self) -> LambdaBuilder {
        match self.name {
            "bare" => Lambda::example(self.name),
            function => Lambda::function(function),
        }
    }

    fn measure_size(&mut self, lambda: &Lambda) {
        let file =
            std::fs::metadata(format!("/proc/{}/exe", lambda.pid())).expect("the process runs");
        self.size_bytes = file.len();
    }

    fn minimum(&self) -> Duration {
        self.starts.iter().copied().min().unwrap_or_default()
    }

    fn median(&self) -> Duration {
        let mut starts = self.starts.clone();
        starts.sort_unstable();
        starts.get(starts.len() / 2).copied().unwrap_or_default()
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
