//! The two functions that the core invokes, as the edge sees them: run in this process, or elsewhere.

use async_trait::async_trait;
use ringfork_rcml::evaluation::{Request, Response};
use ringfork_state::CallbackEvent;

/// `evaluate`: a document becomes a program.
#[async_trait]
pub trait Evaluate: Send + Sync {
    /// Runs it.
    ///
    /// # Errors
    /// When the function itself could not be run, in words for the log; a document that cannot be had is an answer.
    async fn evaluate(&self, request: Request) -> Result<Response, String>;
}

/// The event was not taken over: it stays with its call's item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the event was not taken over")]
pub struct HandOverError;

/// `callback`: a status callback is handed over for delivery.
#[async_trait]
pub trait HandOver: Send + Sync {
    /// Returns once the event would survive this edge: here, at the end of its delivery.
    ///
    /// # Errors
    /// When it was not taken over.
    async fn hand_over(&self, event: CallbackEvent) -> Result<(), HandOverError>;
}
