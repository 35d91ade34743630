//! Where the numbers come from: they are this machine's, and another one has others.

use tests::RedisServer;

/// The machine and what ran on it, as Markdown.
pub(crate) async fn describe(redis: &RedisServer) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let profile = if cfg!(debug_assertions) {
        "without optimisation: its times say nothing"
    } else {
        "in the release profile"
    };
    format!(
        "{} cores ({}), {}, Linux {}, load before the run {}. Redis {}. Ours built {profile}. {}.\n\n",
        cores,
        field("/proc/cpuinfo", "model name"),
        field("/proc/meminfo", "MemTotal"),
        first_words("/proc/sys/kernel/osrelease", 1),
        first_words("/proc/loadavg", 3),
        redis.info("redis_version").await.trim(),
        jiff::Timestamp::now().strftime("%Y-%m-%d"),
    )
}

/// What a file of `/proc` says of a name.
fn field(file: &str, name: &str) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.split_once(':'))
        .map(|(_, value)| value.split_whitespace().collect::<Vec<_>>().join(" "));
    value.unwrap_or_else(|| "unknown".to_owned())
}

fn first_words(file: &str, count: usize) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let words: Vec<_> = text.split_whitespace().take(count).collect();
    words.join(" ")
}
