//! `evaluate` and `callback` run in this process.

use async_trait::async_trait;
use ringfork_callback::{Deliverer, Delivery};
use ringfork_evaluate::Evaluator;
use ringfork_rcml::evaluation::{Request, Response};
use ringfork_state::{CallbackEvent, Notifications};
use std::sync::Arc;
use std::time::Instant;

use super::functions::{Evaluate, HandOver, HandOverError};

#[async_trait]
impl Evaluate for Evaluator {
    async fn evaluate(&self, request: Request) -> Result<Response, String> {
        Ok(Evaluator::evaluate(self, request).await)
    }
}

/// Delivers callbacks by RCML.md 1.4, all rounds of it.
pub struct LocalCallbacks {
    deliverer: Deliverer,
    notifications: Arc<dyn Notifications>,
}

impl LocalCallbacks {
    /// What goes wrong for good is kept with the leg.
    pub fn new(deliverer: Deliverer, notifications: Arc<dyn Notifications>) -> Self {
        LocalCallbacks { deliverer, notifications }
    }
}

#[async_trait]
impl HandOver for LocalCallbacks {
    async fn hand_over(&self, event: CallbackEvent) -> Result<(), HandOverError> {
        let start = Instant::now();
        let outcome = self.deliverer.deliver(&event).await;
        let label = match outcome {
            Delivery::Delivered => "delivered",
            Delivery::Ended(_) => "ended",
            Delivery::Exhausted(_) => "exhausted",
        };
        metrics::counter!("ringfork_callbacks_total", "outcome" => label).increment(1);
        match outcome {
            Delivery::Delivered => {
                metrics::histogram!("ringfork_callback_seconds").record(start.elapsed());
                tracing::debug!(call = %event.leg, event = event.kind.as_str(), "status callback delivered");
            }
            Delivery::Ended(notice) | Delivery::Exhausted(notice) => {
                tracing::warn!(call = %event.leg, event = event.kind.as_str(), problem = notice.message, "status callback failed");
                if let Err(error) = ringfork_callback::keep(&*self.notifications, &event, notice).await {
                    tracing::warn!(call = %event.leg, %error, "a notification was lost");
                    metrics::counter!("ringfork_notifications_lost_total").increment(1);
                }
            }
        }
        Ok(())
    }
}
