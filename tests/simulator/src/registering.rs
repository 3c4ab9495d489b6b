//! Runs in which phones register themselves over the wire: what each device does, and when. Times are milliseconds
//! since the start.

use crate::dice::Dice;
use crate::plan::Plan;

/// What the registrations of a run are.
#[derive(Debug, Clone)]
pub struct Registering {
    /// The devices, of every client.
    pub devices: Vec<DevicePlan>,
    /// Probability that a write of bindings fails.
    pub fails: f64,
    /// Longest time that a write of bindings takes.
    pub delay: u64,
    /// A client is deleted.
    pub deleted: Option<(usize, u64)>,
}

/// A device.
#[derive(Debug, Clone)]
pub struct DevicePlan {
    /// Its client.
    pub client: usize,
    /// Which of the client's devices.
    pub device: usize,
    /// It knows the password.
    pub knows: bool,
    /// It answers the SHA-256 challenge rather than the MD5 one.
    pub sha256: bool,
    /// Its first contact has an instance id.
    pub instance: bool,
    /// It is reached over a TCP connection of its own.
    pub stream: bool,
    /// It answers OPTIONS until then.
    pub lively_until: u64,
    /// What it does.
    pub tasks: Vec<Task>,
}

/// Something that a device does.
#[derive(Debug, Clone)]
pub struct Task {
    /// When.
    pub at: u64,
    /// What.
    pub what: What,
}

/// What a device does.
#[derive(Debug, Clone)]
pub enum What {
    /// REGISTER of these of its contacts, each with an expiry of its own where one is given.
    Register {
        /// Which contacts.
        contacts: Vec<(usize, Option<u64>)>,
        /// Value of Expires.
        expires: Option<u64>,
        /// The nonce is asked for anew.
        afresh: bool,
    },
    /// `Contact: *`.
    RemoveAll,
    /// No Contact: what is there?
    Fetch,
    /// It has another address from now on.
    Move,
    /// Its connection ends.
    Close,
}

impl Registering {
    /// Draws the registrations of a plan's phones, and moves its callers among them.
    pub fn draw(dice: &mut Dice, plan: &mut Plan) -> Registering {
        // What most happens around: soon, when short bindings expire, when nonces become stale, when usual ones expire.
        let moment = dice.pick(&[3_000, 3_000, 61_000, 62_000, 121_000, 305_000, 604_000]);
        let near = if dice.chance(0.5) { 60 } else { 3_000 };
        for caller in &mut plan.callers {
            caller.starts = moment + dice.between(0, near);
        }
        (plan.drain, plan.lease_lost) = (None, None);
        let crowded = dice.chance(0.25);
        let mut devices = Vec::new();
        for (client, phones) in plan.clients.iter_mut().enumerate() {
            for (device, phone) in phones.iter_mut().enumerate() {
                let stream = dice.chance(0.15);
                if stream {
                    // Its connection may end: it never answers.
                    phone.last = phone.last.filter(|_| dice.chance(0.5));
                    phone.last = phone.last.map(|(code, at)| (if code == 200 { 486 } else { code }, at));
                    phone.crosses = false;
                    phone.reliable = false;
                    phone.vanishes = None;
                    phone.habits.min_se = None;
                }
                devices.push(DevicePlan::draw(dice, client, device, stream, crowded, (moment, near)));
            }
        }
        let delay = dice.pick(&[0, 2, 20, 200, 3000]);
        let mut deleted = None;
        if !devices.is_empty() && dice.chance(0.2) {
            let device: DevicePlan = dice.pick(&devices);
            let last = device.tasks.last().map_or(moment, |task| task.at);
            deleted = Some((device.client, last + dice.between(0, delay + 20)));
        }
        Registering { devices, fails: dice.pick(&[0.0, 0.0, 0.0, 0.3]), delay, deleted }
    }
}

impl DevicePlan {
    fn draw(
        dice: &mut Dice,
        client: usize,
        device: usize,
        stream: bool,
        crowded: bool,
        (moment, near): (u64, u64),
    ) -> DevicePlan {
        let most = if crowded { 8 } else { dice.pick(&[1, 1, 1, 2, 3]) };
        let mut tasks = vec![Task { at: dice.between(0, 2_000), what: What::register(dice, most, true) }];
        for _ in 0..dice.pick(&[0, 1, 1, 2, 3]) {
            let at = match dice.between(0, 4) {
                0 => dice.between(0, moment),
                1 => moment + dice.between(0, 4_000),
                _ => (moment + dice.between(0, near)).saturating_sub(dice.between(0, near)),
            };
            let what = match dice.between(0, 19) {
                0 => What::RemoveAll,
                1 => What::Fetch,
                2..=12 if stream => What::Close,
                2..=5 => What::Move,
                _ => What::register(dice, most, false),
            };
            let moves = matches!(what, What::Move);
            tasks.push(Task { at, what });
            if moves {
                let at = at + dice.between(1, 20);
                tasks.push(Task { at, what: What::register(dice, most, true) });
            }
        }
        if stream && dice.chance(0.5) {
            tasks.push(Task { at: moment + dice.between(50, 4_000), what: What::Close });
        }
        DevicePlan {
            client,
            device,
            knows: dice.chance(0.93),
            sha256: dice.chance(0.5),
            instance: dice.chance(0.4),
            stream,
            lively_until: if dice.chance(0.2) { dice.between(0, moment + 100_000) } else { u64::MAX },
            tasks,
        }
    }
}

impl What {
    /// `all`: every contact, for long enough.
    fn register(dice: &mut Dice, most: u64, all: bool) -> What {
        let expires = dice.pick(&[None, Some(60), Some(60), Some(120), Some(300), Some(600), Some(7200)]);
        if all {
            let contacts = (0..most as usize).map(|contact| (contact, None)).collect();
            return What::Register { contacts, expires, afresh: dice.chance(0.3) };
        }
        let count = dice.between(1, most);
        let first = dice.between(0, most - 1);
        let contacts = (0..count)
            .map(|place| {
                let own = dice.chance(0.3).then(|| dice.pick(&[0, 0, 0, 60, 90, 3600, 30]));
                (((first + place) % most) as usize, own)
            })
            .collect();
        let expires = if dice.chance(0.2) { Some(0) } else { expires };
        What::Register { contacts, expires, afresh: dice.chance(0.3) }
    }
}
