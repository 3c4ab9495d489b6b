//! The customer's web server: it keeps what it gets, refuses now and then, and takes a repetition for what it is by its
//! `Idempotency-Key`.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use ringfork_reap::Deliverer;
use ringfork_state::{CallSid, CallbackEvent};

/// What it got, in order; clones share it.
#[derive(Clone, Default)]
pub struct Customer {
    got: Arc<Mutex<Vec<CallbackEvent>>>,
}

impl Customer {
    /// A request came.
    pub fn gets(&self, event: CallbackEvent) {
        self.got.lock().unwrap().push(event);
    }

    /// What it got of each leg, by key: every repetition.
    pub fn by_leg(&self) -> BTreeMap<CallSid, BTreeMap<String, Vec<CallbackEvent>>> {
        let mut legs: BTreeMap<CallSid, BTreeMap<String, Vec<CallbackEvent>>> = BTreeMap::new();
        for event in self.got.lock().unwrap().iter() {
            let leg = legs.entry(event.leg).or_default();
            leg.entry(event.idempotency_key()).or_default().push(event.clone());
        }
        legs
    }
}

/// Most refusals of one event.
const PATIENCE: u32 = 3;

/// Where the reaper hands events over. Whether one is taken depends on seed, event and attempt alone.
pub struct Web {
    /// Who gets them.
    pub customer: Customer,
    /// Of the run.
    pub seed: u64,
    /// Out of 100, how many are refused.
    pub refuses: u64,
    /// How often each was refused.
    pub refused: Mutex<HashMap<String, u32>>,
}

#[async_trait]
impl Deliverer for Web {
    async fn deliver(&self, event: CallbackEvent) -> bool {
        let key = event.idempotency_key();
        let mut refused = self.refused.lock().unwrap();
        let times = refused.entry(key.clone()).or_default();
        let mut hasher = DefaultHasher::new();
        (self.seed, &key, *times).hash(&mut hasher);
        let draw = hasher.finish();
        let refuses = *times < PATIENCE && draw % 100 < self.refuses;
        *times += u32::from(refuses);
        // A refusal may be an answer that got lost.
        if !refuses || draw & (1 << 40) != 0 {
            self.customer.gets(event);
        }
        !refuses
    }
}
