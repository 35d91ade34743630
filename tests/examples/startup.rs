//! How long does each function take to start, beside a bare `lambda_http` function in the same run?
//!
//! `make startup` runs it in the release profile. The binaries take turns, so that a machine whose speed drifts treats
//! them alike.

#![expect(clippy::print_stdout, reason = "the table is what it is for")]

use std::time::Duration;

use tests::lambda::LambdaBuilder;
use tests::{Lambda, TestRequest};

const ROUNDS: usize = 30;

/// A binary, and what has been measured of it.
struct Candidate {
    name: &'static str,
    path: &'static str,
    /// One for each round that counts.
    starts: Vec<Duration>,
    /// After the first answer of the last start.
    rss_bytes: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut candidates = [
        Candidate::new("bare", "/"),
        Candidate::new("health", "/api/health"),
        Candidate::new("health-redis", "/api/health/redis"),
        Candidate::new("health-detailed", "/api/health/detailed"),
        // It takes no requests, and says so.
        Candidate::new("idempotency", "/"),
    ];
    // One round more than counted: the first one brings the files into memory.
    for round in 0..=ROUNDS {
        for candidate in &mut candidates {
            let lambda = candidate.builder().start().await;
            if round == 0 {
                continue;
            }
            candidate.starts.push(lambda.init_duration());
            if round == ROUNDS {
                lambda
                    .invoke(TestRequest::get(candidate.path).event())
                    .await;
                candidate.rss_bytes = lambda.rss_bytes();
            }
        }
    }
    println!("exec to the first /next, {ROUNDS} starts each; RSS after the first answer\n");
    println!("| binary | minimum | median | median / bare | size | RSS |");
    println!("|---|---|---|---|---|---|");
    let bare = candidates[0].median();
    for candidate in &candidates {
        println!(
            "| `{}` | {:.2} ms | {:.2} ms | {:.2} | {:.2} MB | {:.1} MB |",
            candidate.name,
            milliseconds(candidate.minimum()),
            milliseconds(candidate.median()),
            candidate.median().as_secs_f64() / bare.as_secs_f64(),
            megabytes(candidate.size_bytes()),
            megabytes(candidate.rss_bytes),
        );
    }
}

impl Candidate {
    fn new(name: &'static str, path: &'static str) -> Self {
        Self {
            name,
            path,
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

    fn size_bytes(&self) -> u64 {
        let file = std::fs::metadata(self.builder().binary()).expect("it has been built");
        file.len()
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
