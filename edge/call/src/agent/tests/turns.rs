//! REGISTERs of one AOR while the store is slow or fails (RFC 3261 §10.3, DESIGN "The split").

use std::time::Duration;

use ringfork_sip::flow::Flow;
use ringfork_sip::header::HeaderName;
use ringfork_sip::registrar::BindingWrite;

use super::net::{DOMAIN_URI, EDGE, Net, Phone};
use crate::action::{Input, StoreError};

/// Devices of bob, each with credentials that it used before.
struct Device {
    phone: Phone,
    proof: String,
    cseq: u32,
}

impl Device {
    fn new(net: &mut Net, number: u16) -> Device {
        Device::of(net, "bob", number)
    }

    fn of(net: &mut Net, name: &str, number: u16) -> Device {
        let phone = Phone::new(name, &format!("203.0.113.1:{}", 6000 + number));
        let mut device = Device { phone, proof: String::new(), cseq: 1 };
        device.ask(net);
        device
    }

    /// Gets a challenge, so that the next REGISTER goes through.
    fn ask(&mut self, net: &mut Net) {
        net.send(&self.phone, self.phone.register(self.cseq, ""));
        let challenge = net.take_code(&self.phone, 401);
        let name = HeaderName::WwwAuthenticate;
        self.proof = self.phone.credentials(&challenge, name, "Authorization", "REGISTER", DOMAIN_URI);
        self.cseq += 1;
    }

    fn register(&mut self, net: &mut Net, extra: &str) {
        let request = self.phone.register(self.cseq, &format!("{extra}{}", self.proof));
        self.cseq += 1;
        net.send(&self.phone, request);
    }
}

fn answer(net: &mut Net, write: usize, result: Result<(), StoreError>) {
    let token = net.bound[write].0;
    net.handle(Input::Written { token, result });
}

fn contacts(net: &Net) -> Vec<String> {
    net.agent.core.bindings.of("bob", net.now.unix_ms / 1000).map(|binding| binding.contact().to_owned()).collect()
}

/// RFC 3261 §10.3, DESIGN "SIP choices": each is judged on what the former ones left, so that two at once cannot pass
/// the limit of ten; each gets its answer in order.
#[test]
fn two_at_once_cannot_pass_the_limit() {
    let mut net = Net::new();
    let mut devices: Vec<Device> = (0..12).map(|number| Device::new(&mut net, number)).collect();
    for device in devices.iter_mut().take(9) {
        device.register(&mut net, "");
        net.take_code(&device.phone, 200);
    }
    net.bound.clear();
    net.binding_writes = Some(None);
    for device in devices.iter_mut().skip(9) {
        device.register(&mut net, "");
    }
    assert_eq!(net.bound.len(), 1, "one at a time");
    answer(&mut net, 0, Ok(()));
    net.take_code(&devices[9].phone, 200);
    net.take_code(&devices[10].phone, 403);
    net.take_code(&devices[11].phone, 403);
    assert_eq!((contacts(&net).len(), net.bound.len(), net.agent.registering.len()), (10, 1, 0));
}

/// RFC 3261 §10.3 step 7: of one Call-ID an older CSeq changes nothing, also while the newer one is being written.
#[test]
fn order_holds_while_a_write_is_under_way() {
    let mut net = Net::new();
    let mut device = Device::new(&mut net, 0);
    let older = device.phone.register(device.cseq, &device.proof);
    device.cseq += 1;
    device.ask(&mut net);
    net.binding_writes = Some(None);
    device.register(&mut net, "Expires: 300\r\n");
    net.send(&device.phone, older);
    answer(&mut net, 0, Ok(()));
    net.take_code(&device.phone, 200);
    net.take_code(&device.phone, 500);
    let (at, granted) = (net.now.unix_ms / 1000, 300);
    assert_eq!(net.agent.core.bindings.of("bob", at).next().unwrap().expires_at(), at + granted);
}

/// RFC 3261 §10.3 step 7: several Contacts are written together, and all fail or none; the store gets back what the
/// table has.
#[test]
fn several_contacts_fail_together() {
    let mut net = Net::new();
    let mut device = Device::new(&mut net, 0);
    device.register(&mut net, "");
    net.take_code(&device.phone, 200);
    device.ask(&mut net);
    net.bound.clear();
    net.binding_writes = Some(Some(StoreError::Unavailable));
    let own = format!("sip:bob@{}", device.phone.address);
    let extra = "Contact: <sip:second@203.0.113.1>\r\nContact: <sip:third@203.0.113.1>\r\nUser-Agent: other\r\n";
    device.register(&mut net, extra);
    assert!(net.take_code(&device.phone, 500).has(HeaderName::RetryAfter));
    assert_eq!(contacts(&net), [own.as_str()]);
    let [(_, written), (_, mended)] = &net.bound[..] else { panic!("{:?}", net.bound) };
    assert_eq!(written.len(), 3);
    let deleted = |key: &str| BindingWrite::Delete { aor: "bob".into(), key: key.into() };
    assert!(matches!(&mended[0], BindingWrite::Put(record) if record.contact == own && record.user_agent.is_none()));
    assert_eq!(mended[1..], [deleted("sip:second@203.0.113.1"), deleted("sip:third@203.0.113.1")]);
    assert!(net.agent.registering.is_empty());
}

/// DESIGN "The split": a write gets two seconds; one that is done after that is taken back, and only then is it the
/// next one's turn, which has two seconds in all.
#[test]
fn a_late_write_is_taken_back() {
    let mut net = Net::new();
    let (mut one, mut two, mut three) = (Device::new(&mut net, 0), Device::new(&mut net, 1), Device::new(&mut net, 2));
    net.binding_writes = Some(None);
    one.register(&mut net, "");
    net.advance(Duration::from_secs(1));
    two.register(&mut net, "");
    net.advance(Duration::from_secs(1));
    net.take_code(&one.phone, 500);
    net.advance(Duration::from_secs(1));
    net.take_code(&two.phone, 500);
    three.register(&mut net, "");
    answer(&mut net, 0, Ok(()));
    assert!(matches!(&net.bound[1].1[..], [BindingWrite::Delete { .. }]), "{:?}", net.bound);
    assert!(contacts(&net).is_empty());
    answer(&mut net, 1, Ok(()));
    answer(&mut net, 2, Ok(()));
    net.take_code(&three.phone, 200);
    assert_eq!(contacts(&net), [format!("sip:bob@{}", three.phone.address)]);
}

/// Bounded everything: beyond sixteen that wait, a REGISTER gets 500 with Retry-After at once. Another AOR does not
/// wait.
#[test]
fn the_queue_is_bounded() {
    let mut net = Net::new();
    let mut devices: Vec<Device> = (0..18).map(|number| Device::new(&mut net, number)).collect();
    let mut carol = Device::of(&mut net, "carol", 99);
    net.binding_writes = Some(None);
    for device in &mut devices {
        device.register(&mut net, "");
    }
    assert!(net.take_code(&devices[17].phone, 500).has(HeaderName::RetryAfter));
    assert_eq!(net.bound.len(), 1);
    carol.register(&mut net, "");
    answer(&mut net, 1, Ok(()));
    net.take_code(&carol.phone, 200);
}

/// What ends while it is being written does not come up again: a deleted client, a connection that closed.
#[test]
fn what_has_ended_is_not_bound() {
    let mut net = Net::new();
    let (mut one, mut two) = (Device::new(&mut net, 0), Device::new(&mut net, 1));
    net.binding_writes = Some(None);
    one.register(&mut net, "");
    two.register(&mut net, "");
    net.handle(Input::ClientChanged { login: "bob".into(), deleted: true });
    net.take_code(&one.phone, 403);
    net.take_code(&two.phone, 403);
    answer(&mut net, 0, Ok(()));
    assert!(matches!(&net.bound[1].1[..], [BindingWrite::Delete { .. }]), "{:?}", net.bound);
    answer(&mut net, 1, Ok(()));
    assert!(contacts(&net).is_empty() && net.agent.registering.is_empty());

    let mut net = Net::new();
    let mut device = Device::new(&mut net, 0);
    device.phone.connection = Some(7);
    net.binding_writes = Some(None);
    device.register(&mut net, "");
    assert!(matches!(device.phone.flow(), Flow::Tcp { local, .. } if local == EDGE.parse().unwrap()));
    net.handle(Input::FlowClosed { connection: 7 });
    answer(&mut net, 0, Ok(()));
    assert!(matches!(&net.bound[1].1[..], [BindingWrite::Delete { .. }]), "{:?}", net.bound);
    answer(&mut net, 1, Ok(()));
    assert!(contacts(&net).is_empty() && net.agent.registering.is_empty());
}

/// A binding that expires while its refresh is being written is not taken from the store after that.
#[test]
fn an_expiry_does_not_undo_a_refresh() {
    let mut net = Net::new();
    let mut device = Device::new(&mut net, 0);
    device.register(&mut net, "Expires: 60\r\n");
    net.take_code(&device.phone, 200);
    net.advance(Duration::from_secs(59));
    net.sent.clear();
    device.ask(&mut net);
    net.bound.clear();
    net.binding_writes = Some(None);
    device.register(&mut net, "Expires: 60\r\nUser-Agent: newer\r\n");
    net.advance(Duration::from_millis(1500));
    assert!(contacts(&net).is_empty());
    net.sent.clear();
    answer(&mut net, 0, Ok(()));
    net.take_code(&device.phone, 200);
    assert_eq!((contacts(&net).len(), net.bound.len()), (1, 1), "{:?}", net.bound);
}

/// RFC 3261 §10.3 step 8: the 200 names what is bound when it is sent, with the time that is left.
#[test]
fn the_200_names_what_is_bound_then() {
    let mut net = Net::new();
    let (mut one, mut two) = (Device::new(&mut net, 0), Device::new(&mut net, 1));
    one.register(&mut net, "Expires: 60\r\n");
    net.take_code(&one.phone, 200);
    net.advance(Duration::from_secs(59));
    net.sent.clear();
    two.ask(&mut net);
    net.bound.clear();
    net.binding_writes = Some(None);
    two.register(&mut net, "Expires: 60\r\n");
    net.advance(Duration::from_millis(1500));
    answer(&mut net, 0, Ok(()));
    let ok = net.take_code(&two.phone, 200);
    let named: Vec<_> = ok.fields_of(HeaderName::Contact).map(|field| field.text().into_owned()).collect();
    assert_eq!(named, [format!("<sip:bob@{}>;expires=59", two.phone.address)]);
}
