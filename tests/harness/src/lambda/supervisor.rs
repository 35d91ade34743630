//! Assigns invocations to processes, and settles the invocations of a process that ends. One task handles one message at a time,
//! so the supervisor needs no locks.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::SignedDuration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout_at;

use super::event::{Delivery, Event};
use super::instance::{Instance, Launch};
use super::invocation::{Invocation, Outcome, Settled};
use super::status::Status;

/// The deadline that `cargo lambda watch` sends: a time in 1970.
const LOCAL_DEADLINE_MS: i64 = 600_000;

/// The reason of a crash that the test caused with [`Lambda::stop`](super::Lambda::stop).
pub const STOPPED: &str = "the test stopped the process";

/// The prefix of function ARNs.
const ARN: &str = "arn:aws:lambda:eu-central-1:123456789012:function:";

/// The settings with which a function runs.
pub(super) struct Limits {
    pub(super) timeout: Duration,
    /// The time between the timeout and the kill of the process.
    pub(super) grace: Duration,
    /// The time within which a process must request work.
    pub(super) init_timeout: Duration,
    pub(super) concurrency: usize,
    pub(super) clock: Clock,
    /// The time by which the process's clock is wrong.
    pub(super) skew: SignedDuration,
}

/// The kind of deadlines that the function gets.
#[derive(Clone, Copy)]
pub(super) enum Clock {
    /// The deadline is the end of the function's timeout.
    Real,
    /// The deadline is [`LOCAL_DEADLINE_MS`], as from `cargo lambda watch`.
    Local,
}

/// The state of one function.
pub(super) struct Supervisor {
    launch: Launch,
    limits: Limits,
    status: Arc<Status>,
    events: mpsc::UnboundedSender<Event>,
    instance: Option<Instance>,
    /// Invocations that wait for a process.
    queue: VecDeque<Invocation>,
    /// Requests for work that wait for an invocation.
    polls: Vec<oneshot::Sender<Delivery>>,
    /// Invocations that the process has received and not yet answered.
    running: HashMap<String, Running>,
    /// Gets a signal when the process first requests work, or when its start fails. `None` after the signal.
    starting: Option<oneshot::Sender<Result<(), String>>>,
    /// Gets a signal when the process is idle and stopped. `None` if no freeze waits.
    freezing: Option<oneshot::Sender<()>>,
}

/// An invocation in a process.
struct Running {
    caller: oneshot::Sender<Settled>,
    since: Instant,
}

impl Supervisor {
    pub(super) fn new(
        launch: Launch,
        limits: Limits,
        status: Arc<Status>,
        events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        Self {
            launch,
            limits,
            status,
            events,
            instance: None,
            queue: VecDeque::new(),
            polls: Vec::new(),
            running: HashMap::new(),
            starting: None,
            freezing: None,
        }
    }

    pub(super) async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Event>) {
        loop {
            let event = match self.next_deadline() {
                Some(deadline) => timeout_at(deadline.into(), inbox.recv()).await,
                None => Ok(inbox.recv().await),
            };
            match event {
                Ok(Some(event)) => self.take(event).await,
                Ok(None) => return,
                Err(_) => self.deadline_passed().await,
            }
        }
    }

    async fn take(&mut self, event: Event) {
        match event {
            Event::Start(started) => {
                self.starting = Some(started);
                self.start_process().await;
            }
            Event::Invoke {
                invocation,
                handed_over,
            } => {
                if self.instance.is_none() {
                    self.start_process().await;
                }
                self.queue.push_back(invocation);
                if let Some(written) = self.dispatch() {
                    // The runtime has one thread. So this task can only run after the step that writes the invocation is
                    // complete.
                    tokio::spawn(async move {
                        // An error means that the sender was dropped. The sender is dropped when the invocation is written.
                        let _ = written.await;
                        drop(handed_over);
                    });
                }
            }
            Event::Next { instance, poll } if self.is_current(instance) => self.process_asks(poll),
            Event::Settled {
                instance,
                id,
                outcome,
                at,
            } if self.is_current(instance) => self.settle(&id, outcome, at),
            Event::InitError { instance, error } if self.is_current(instance) => {
                if let Some(instance) = &mut self.instance {
                    instance.init_error = Some(error);
                }
            }
            Event::Ended { instance, status } if self.is_current(instance) => {
                let reported = self
                    .instance
                    .as_ref()
                    .and_then(|instance| instance.init_error.clone());
                let reported = reported
                    .map_or_else(String::new, |error| format!(" after it reported {error}"));
                self.process_ended(&format!("the process ended ({status}){reported}"))
                    .await;
            }
            Event::Freeze(done) => {
                self.freezing = self.instance.is_some().then_some(done);
                self.freeze_if_at_rest();
            }
            Event::Suspend(_done) => {
                if let Some(instance) = &self.instance {
                    instance.freeze();
                }
            }
            Event::Thaw(_done) => {
                if let Some(instance) = &self.instance {
                    instance.thaw();
                }
            }
            Event::Stop(_done) => self.process_ended(STOPPED).await,
            // The supervisor ignores messages of a process that has ended.
            Event::Next { .. }
            | Event::Settled { .. }
            | Event::InitError { .. }
            | Event::Ended { .. } => {}
        }
    }

    async fn start_process(&mut self) {
        let number = self.status.change(|current| {
            current.processes += 1;
            current.init_duration = None;
            current.processes
        });
        let instance = self.launch.start(number, &self.events).await;
        self.status.change(|current| {
            current.pid = Some(instance.id());
            current.started = Some(instance.started);
        });
        self.instance = Some(instance);
    }

    fn process_asks(&mut self, poll: oneshot::Sender<Delivery>) {
        if self.is_starting() {
            let init_duration = self
                .instance
                .as_ref()
                .map(|instance| instance.started.elapsed());
            self.status
                .change(|current| current.init_duration = init_duration);
        }
        if let Some(started) = self.starting.take() {
            // Sending fails only if the caller no longer waits.
            let _ = started.send(Ok(()));
        }
        self.polls.push(poll);
        self.dispatch();
        self.freeze_if_at_rest();
    }

    /// Delivers queued invocations to requests for work. If the queue is then empty, returns a receiver that gets a signal
    /// when the last invocation is in the process's socket.
    fn dispatch(&mut self) -> Option<oneshot::Receiver<()>> {
        // A request for work with a closed connection cannot take an invocation.
        self.polls.retain(|poll| !poll.is_closed());
        let mut last_written = None;
        while !self.polls.is_empty()
            && let Some(invocation) = self.queue.pop_front()
        {
            let (written, when_written) = oneshot::channel();
            let delivery = Delivery {
                id: invocation.id.clone(),
                function_arn: format!("{ARN}{}", self.launch.name),
                deadline_ms: self.deadline_ms(),
                payload: invocation.payload,
                written,
            };
            let running = Running {
                caller: invocation.caller,
                since: Instant::now(),
            };
            self.running.insert(invocation.id, running);
            // If the connection is gone now, the process is gone too, and the end of the process settles this invocation.
            let _ = self.polls.remove(0).send(delivery);
            last_written = Some(when_written);
        }
        last_written.filter(|_| self.queue.is_empty())
    }

    fn settle(&mut self, id: &str, outcome: Outcome<Bytes>, at: Instant) {
        if let Some(Running { caller, since }) = self.running.remove(id) {
            let took = at.saturating_duration_since(since);
            // Sending fails only if the caller no longer waits.
            let _ = caller.send(Settled { outcome, at, took });
        }
    }

    /// The earliest deadline of an invocation or of a start.
    fn next_deadline(&self) -> Option<Instant> {
        let limit = self.limits.timeout + self.limits.grace;
        let running = self.running.values().map(|running| running.since + limit);
        let starting = self.instance.as_ref().filter(|_| self.is_starting());
        let starting = starting.map(|instance| instance.started + self.limits.init_timeout);
        running.chain(starting).min()
    }

    async fn deadline_passed(&mut self) {
        let oldest = self.running.iter().min_by_key(|(_, running)| running.since);
        let Some(id) = oldest.map(|(id, _)| id.clone()) else {
            let reason = "the process did not ask for work in time";
            return self.process_ended(reason).await;
        };
        self.settle(&id, Outcome::TimedOut, Instant::now());
        self.process_ended("another invocation of the process timed out")
            .await;
    }

    /// Settles the invocations of a process that has ended. Also answers the callers that wait for the start or the freeze
    /// of this process.
    async fn process_ended(&mut self, reason: &str) {
        let started = !self.is_starting();
        self.instance = None;
        self.status.change(|current| current.pid = None);
        self.polls.clear();
        self.freezing = None;
        let at = Instant::now();
        let crashed = Outcome::Crashed {
            reason: reason.to_owned(),
        };
        for id in self.running.keys().cloned().collect::<Vec<_>>() {
            self.settle(&id, crashed.clone(), at);
        }
        if !started {
            // These invocations fail too. A new process would fail to start for the same reason.
            for invocation in self.queue.drain(..) {
                let settled = Settled {
                    outcome: crashed.clone(),
                    at,
                    took: Duration::ZERO,
                };
                // Sending fails only if the caller no longer waits.
                let _ = invocation.caller.send(settled);
            }
        }
        if let Some(starting) = self.starting.take() {
            let _ = starting.send(Err(reason.to_owned()));
        }
        if !self.queue.is_empty() {
            self.start_process().await;
        }
    }

    fn freeze_if_at_rest(&mut self) {
        self.polls.retain(|poll| !poll.is_closed());
        let at_rest = self.running.is_empty() && self.polls.len() >= self.limits.concurrency;
        if at_rest
            && let Some(instance) = &self.instance
            && let Some(done) = self.freezing.take()
        {
            instance.freeze();
            // Sending fails only if the caller no longer waits.
            let _ = done.send(());
        }
    }

    fn deadline_ms(&self) -> i64 {
        match self.limits.clock {
            Clock::Real => {
                let its_now = jiff::Timestamp::now() + self.limits.skew;
                its_now.as_millisecond() + self.limits.timeout.as_millis() as i64
            }
            Clock::Local => LOCAL_DEADLINE_MS,
        }
    }

    fn is_current(&self, number: u64) -> bool {
        self.instance
            .as_ref()
            .is_some_and(|instance| instance.number == number)
    }

    /// Whether the process runs, but has not requested work yet.
    fn is_starting(&self) -> bool {
        self.instance.is_some() && self.status.init_duration().is_none()
    }
}
