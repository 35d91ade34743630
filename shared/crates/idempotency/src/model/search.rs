//! Searching a protocol for states that violate a property.

use std::time::Instant;

use stateright::{Checker, Expectation, HasDiscoveries, Model};

use super::protocol::Protocol;

impl Protocol {
    /// Explores all states, and fails with the shortest trace to a violation.
    pub(super) fn holds(self) {
        let started_at = Instant::now();
        let checker = self.checker().threads(2).spawn_bfs().join();
        say(&format!(
            "{}, {:?}, {:?}, {} clients, {} faults, {} ticks: {} states in {:.1?}",
            self.name,
            self.layout,
            self.policy,
            self.clients,
            self.faults,
            self.ticks,
            checker.unique_state_count(),
            started_at.elapsed()
        ));
        let wrong = self.properties().into_iter().filter_map(|property| {
            let found = checker.discovery(property.name);
            let is_sought = matches!(property.expectation, Expectation::Sometimes);
            (found.is_some() != is_sought).then(|| {
                let trace = found.map(stateright::Path::into_actions);
                format!("{}: {trace:?}", property.name)
            })
        });
        let wrong: Vec<_> = wrong.collect();
        assert!(wrong.is_empty(), "{}: {}", self.name, wrong.join("\n"));
    }

    /// Searches for counterexamples, and returns the names of the violated properties.
    pub(super) fn broken(self) -> Vec<&'static str> {
        let started_at = Instant::now();
        let checker = self
            .checker()
            .threads(2)
            .finish_when(HasDiscoveries::AnyFailures)
            .spawn_bfs()
            .join();
        let always = self
            .properties()
            .into_iter()
            .filter(|property| matches!(property.expectation, Expectation::Always));
        let broken: Vec<_> = always
            .map(|property| property.name)
            .filter(|name| checker.discovery(name).is_some())
            .collect();
        say(&format!(
            "{:?} ({}): {broken:?}, {} states in {:.1?}",
            self.bug,
            self.name,
            checker.unique_state_count(),
            started_at.elapsed()
        ));
        broken
    }
}

#[expect(
    clippy::print_stdout,
    reason = "the extent of a search is part of its result"
)]
fn say(line: &str) {
    println!("{line}");
}
