//! Delivers one status callback by the rules of RCML.md 1.4, "Delivery".
//!
//! A **try** is one request. A **round** is up to four tries: at once and after 1, 3 and 9 seconds. Up to four rounds
//! make a **delivery**: the whole round runs again after 1, 2 and 15 minutes. [`Deliverer::round`] runs one round, for
//! Lambda, whose own retries and queue time the others; [`Deliverer::deliver`] runs all of them in this process.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ringfork_rcml::Code;
use ringfork_rcml::evaluation::{self, Notice};
use ringfork_state::{CallbackEvent, Level, Method, Notification, Notifications, StoreError};
use ringfork_webhook::{AuthToken, Client, Failure, Jar, Limits, Reason, Request};
use tokio::sync::Semaphore;

/// When tries and rounds are repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Pauses between the tries of one round.
    pub tries: Vec<Duration>,
    /// Pauses between rounds.
    pub rounds: Vec<Duration>,
    /// What bounds one try.
    pub limits: Limits,
}

impl Default for Schedule {
    /// RCML.md 1.4: 1, 3 and 9 s; 1, 2 and 15 minutes; 10 s for an answer.
    fn default() -> Self {
        Self {
            tries: [1, 3, 9].map(Duration::from_secs).to_vec(),
            rounds: [60, 120, 900].map(Duration::from_secs).to_vec(),
            limits: Limits::CALLBACK,
        }
    }
}

/// How a round, or the whole delivery, ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// A 2xx.
    Delivered,
    /// It was answered, or refused by the guard, in a way that repeating does not change: keep the notice.
    Ended(Notice),
    /// Every try failed. After a round: run another later. After the last: keep the notice.
    Exhausted(Notice),
}

/// Rounds of delivery under way. A further one waits its turn: customers' servers that hang may hold so many
/// connections, and no more.
const ROUNDS: usize = 4096;

/// The function with what it needs; made once per process.
#[derive(Clone)]
pub struct Deliverer {
    client: Client,
    token: AuthToken,
    schedule: Schedule,
    turns: Arc<Semaphore>,
}

impl Deliverer {
    /// With the account's token, which signs every request, and RCML.md 1.4's times.
    pub fn new(client: Client, token: AuthToken) -> Self {
        Self { client, token, schedule: Schedule::default(), turns: Arc::new(Semaphore::new(ROUNDS)) }
    }

    /// With other times.
    pub fn with_schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// All rounds, up to some 20 minutes. At most 4096 rounds are under way at once in a process; a further one waits its
    /// turn.
    pub async fn deliver(&self, event: &CallbackEvent) -> Delivery {
        let mut pauses = self.schedule.rounds.iter();
        loop {
            let outcome = {
                let _turn = self.turns.acquire().await;
                self.round(event).await
            };
            match (outcome, pauses.next()) {
                (Delivery::Exhausted(_), Some(pause)) => tokio::time::sleep(*pause).await,
                (outcome, _) => return outcome,
            }
        }
    }

    /// One round: a try at once, and after each pause of the schedule.
    pub async fn round(&self, event: &CallbackEvent) -> Delivery {
        let mut pauses = self.schedule.tries.iter();
        loop {
            let Err(failure) = self.attempt(event).await else { return Delivery::Delivered };
            tracing::debug!(call = %event.leg, sequence = event.sequence, %failure, "status callback failed");
            match verdict(&failure.reason) {
                Verdict::Refused => return Delivery::Ended(notice(Code::CallbackFailed, event, &failure)),
                Verdict::Answered => return Delivery::Ended(notice(Code::CallbackRejected, event, &failure)),
                Verdict::Repeat => {}
            }
            match pauses.next() {
                Some(pause) => tokio::time::sleep(*pause).await,
                None => return Delivery::Exhausted(notice(Code::CallbackFailed, event, &failure)),
            }
        }
    }

    /// One request. A repetition differs from it in the signature's time only (RCML.md 1.4).
    async fn attempt(&self, event: &CallbackEvent) -> Result<(), Failure> {
        let key = event.idempotency_key();
        let request = Request {
            method: match event.method {
                Method::Get => ringfork_webhook::Method::Get,
                Method::Post => ringfork_webhook::Method::Post,
            },
            url: &event.url,
            parameters: &event.parameters,
            token: &self.token,
            idempotency_key: Some(&key),
            limits: self.schedule.limits,
        };
        // Cookies live within one request's redirects only: a repetition is to be the same request.
        self.client.send(&request, &mut Jar::default()).await.map(drop)
    }
}

/// Keeps the notice of a delivery that ended with the leg that it was about.
///
/// # Errors
/// As [`Notifications::notify`].
pub async fn keep(store: &dyn Notifications, event: &CallbackEvent, notice: Notice) -> Result<(), StoreError> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let unix_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let mut bytes = [0; 9];
    getrandom::fill(&mut bytes).map_err(|error| StoreError::Unavailable(error.to_string()))?;
    let notification = Notification {
        sid: Notification::new_sid(event.leg, unix_ms, bytes),
        account_sid: event.account_sid.clone(),
        call: event.leg,
        unix_ms,
        level: match notice.level {
            evaluation::Level::Error => Level::Error,
            evaluation::Level::Warning => Level::Warning,
        },
        code: notice.code,
        message: notice.message,
        url: notice.url,
        line: notice.line,
    };
    store.notify(&notification).await
}

/// What a failed try means.
enum Verdict {
    /// The server may do better later.
    Repeat,
    /// It has answered.
    Answered,
    /// Nothing was or will be sent.
    Refused,
}

fn verdict(reason: &Reason) -> Verdict {
    match reason {
        Reason::Status(408 | 429 | 500..=599) => Verdict::Repeat,
        Reason::NoConnection(_) | Reason::Timeout | Reason::Protocol(_) => Verdict::Repeat,
        Reason::Refused(_) | Reason::BadUrl => Verdict::Refused,
        // A body is never too large here: it is ignored.
        Reason::Status(_) | Reason::TooManyRedirects | Reason::BadRedirect | Reason::TooLarge(_) => Verdict::Answered,
    }
}

fn notice(code: Code, event: &CallbackEvent, failure: &Failure) -> Notice {
    code.notice(&format!("{} callback of {}: {failure}", event.kind.as_str(), event.leg), Some(&failure.url), None)
}
