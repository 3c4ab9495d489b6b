//! What the core asks of the store and of functions, carried out: each request that has an answer is answered exactly
//! once, on the core's queue of inputs.
//!
//! Limits: at most [`WORK`] requests are under way; a further one is answered at once as if the store or function were
//! not available, and counted. At most [`EVENTS`] status callbacks are waiting to be delivered; a further one is not
//! accepted: it stays with its call's item, and the core offers it again.

mod bindings;
mod calls;
pub mod convert;
mod functions;
mod lease;
mod local;
mod resolve;
mod stores;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use ringfork_call::action::{Action, Input, StoreError};
use ringfork_state::CallSid;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

pub use bindings::BindingWriter;
pub use calls::CallWriter;
pub use convert::sid;
pub use functions::{Evaluate, HandOver, HandOverError};
pub use lease::{Lease, LeaseWatch};
pub use local::LocalCallbacks;
pub use resolve::Resolver;
pub use stores::Stores;

/// Requests under way.
const WORK: usize = 65_536;
/// Status callbacks waiting for their delivery.
const EVENTS: usize = 200_000;

/// Everything outside the core.
pub struct Services {
    /// The multi-thread runtime that does the work.
    pub runtime: Handle,
    /// The core's queue.
    pub inputs: mpsc::Sender<Input>,
    /// `AC…`.
    pub account_sid: String,
    /// The store.
    pub stores: Stores,
    /// Call state.
    pub calls: CallWriter,
    /// Registrations.
    pub bindings: BindingWriter,
    /// RFC 3263.
    pub resolver: Resolver,
    /// Documents.
    pub evaluate: Arc<dyn Evaluate>,
    /// Status callbacks.
    pub hand_over: Arc<dyn HandOver>,
    /// How much is under way.
    pub load: ServiceLoad,
}

/// How much is under way.
#[derive(Debug, Default)]
pub struct ServiceLoad {
    work: AtomicUsize,
    events: AtomicUsize,
}

impl ServiceLoad {
    /// Requests of the core that are not answered yet.
    pub fn work(&self) -> usize {
        self.work.load(Ordering::Relaxed)
    }

    /// Status callbacks that are not delivered yet.
    pub fn events(&self) -> usize {
        self.events.load(Ordering::Relaxed)
    }
}

/// An answer in the making.
type Answer = Pin<Box<dyn Future<Output = Option<Input>> + Send>>;

impl Services {
    /// Carries a request out. Called on the core's thread: nothing here waits. An answer that is there at once is put
    /// on `ready`, any other comes by the queue.
    pub fn perform(self: &Arc<Self>, action: Action, ready: &mut VecDeque<Input>) {
        if let Action::Deliver { token, event } = action {
            self.deliver(token, event, ready);
            return;
        }
        if self.load.work() >= WORK {
            metrics::counter!("ringfork_work_refused_total").increment(1);
            ready.extend(refusal(action));
            return;
        }
        let Some((at_once, mut answer)) = self.answer(action) else { return };
        // The in-memory store answers without waiting: no other thread is troubled for that.
        if at_once && let Poll::Ready(input) = answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            ready.extend(input);
            return;
        }
        self.load.work.fetch_add(1, Ordering::Relaxed);
        let this = self.clone();
        self.runtime.spawn(async move {
            if let Some(input) = answer.await {
                let _ = this.inputs.send(input).await;
            }
            this.load.work.fetch_sub(1, Ordering::Relaxed);
        });
    }

    /// How to answer, and whether the answer may be there at once.
    fn answer(self: &Arc<Self>, action: Action) -> Option<(bool, Answer)> {
        let this = self.clone();
        let immediate = self.stores.immediate;
        let answer: (bool, Answer) = match action {
            Action::Resolve { token, host, port, tcp, guard } => (
                false,
                Box::pin(async move {
                    let targets = this.resolver.resolve(&host, port, tcp, guard).await;
                    Some(Input::Resolved { token, targets })
                }),
            ),
            Action::LookupClient { token, login } => (
                immediate,
                Box::pin(async move {
                    let result = this.stores.directory.client(&login).await;
                    let result =
                        result.map(|found| found.map(convert::client)).map_err(|error| failed("client", None, &error));
                    Some(Input::Client { token, result })
                }),
            ),
            Action::LookupNumber { token, number } => (
                immediate,
                Box::pin(async move {
                    let result = this.stores.directory.number(&number).await;
                    let result =
                        result.map(|found| found.map(convert::number)).map_err(|error| failed("number", None, &error));
                    Some(Input::Number { token, result })
                }),
            ),
            Action::WriteBindings { token, bindings } => (
                immediate,
                Box::pin(async move {
                    let result = this.bindings.write(bindings).await.map_err(|error| failed("binding", None, &error));
                    Some(Input::Written { token, result })
                }),
            ),
            Action::WriteCall { token, write } => (
                immediate,
                Box::pin(async move {
                    let call = calls::subject(&write);
                    let result = this.calls.write(write).await.map_err(|error| failed("call", Some(call), &error));
                    Some(Input::Written { token, result })
                }),
            ),
            Action::Evaluate { token, request } => (
                false,
                Box::pin(async move {
                    let start = Instant::now();
                    let result = this.evaluate.evaluate(request).await;
                    metrics::histogram!("ringfork_evaluate_seconds").record(start.elapsed());
                    Some(Input::Evaluated { token, result })
                }),
            ),
            Action::Finished { call } => (
                immediate,
                Box::pin(async move {
                    this.calls.finished(call).await;
                    None
                }),
            ),
            Action::Notify { notice } => (
                immediate,
                Box::pin(async move {
                    let mut random = [0; 9];
                    let _ = getrandom::fill(&mut random);
                    let notification = convert::notification(&this.account_sid, notice, random);
                    if let Err(error) = this.stores.notifications.notify(&notification).await {
                        tracing::warn!(call = %notification.call, %error, "a notification was lost");
                        metrics::counter!("ringfork_notifications_lost_total").increment(1);
                    }
                    None
                }),
            ),
            // The core's shell does these itself, or they were taken before.
            Action::Transmit(_)
            | Action::Connect { .. }
            | Action::Close { .. }
            | Action::Media(_)
            | Action::Log { .. }
            | Action::Count { .. }
            | Action::Deliver { .. } => return None,
        };
        Some(answer)
    }

    fn deliver(
        self: &Arc<Self>,
        token: ringfork_call::action::Token,
        event: Arc<ringfork_call::control::Event>,
        ready: &mut VecDeque<Input>,
    ) {
        if self.load.events() >= EVENTS {
            metrics::counter!("ringfork_events_refused_total").increment(1);
            ready.push_back(Input::HandedOver { token, accepted: false });
            return;
        }
        self.load.events.fetch_add(1, Ordering::Relaxed);
        let this = self.clone();
        self.runtime.spawn(async move {
            let event = convert::event(&this.account_sid, &event);
            let accepted = this.hand_over.hand_over(event).await.is_ok();
            this.load.events.fetch_sub(1, Ordering::Relaxed);
            let _ = this.inputs.send(Input::HandedOver { token, accepted }).await;
        });
    }
}

/// Counts a failure of the store and says what the core can do about it. `call`: whose item it is.
fn failed(what: &'static str, call: Option<CallSid>, error: &ringfork_state::StoreError) -> StoreError {
    metrics::counter!("ringfork_store_errors_total", "item" => what).increment(1);
    let call = call.map(tracing::field::display);
    tracing::warn!(item = what, call, %error, "the store did not do what was asked");
    convert::error(error)
}

/// The answer to a request that is not begun.
fn refusal(action: Action) -> Option<Input> {
    match action {
        Action::Resolve { token, .. } => Some(Input::Resolved { token, targets: Ok(Vec::new()) }),
        Action::LookupClient { token, .. } => Some(Input::Client { token, result: Err(StoreError::Unavailable) }),
        Action::LookupNumber { token, .. } => Some(Input::Number { token, result: Err(StoreError::Unavailable) }),
        Action::WriteBindings { token, .. } | Action::WriteCall { token, .. } => {
            Some(Input::Written { token, result: Err(StoreError::Unavailable) })
        }
        Action::Evaluate { token, .. } => {
            Some(Input::Evaluated { token, result: Err("this edge has too much under way".into()) })
        }
        _ => None,
    }
}

#[cfg(test)]
pub mod tests;
