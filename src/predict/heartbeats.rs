//! Heartbeats: how agents hear what the controller has decided.
//!
//! The CDN's service sends each agent one after the other, and the controller puts its news into those that pass the first switch. So news wait for the next
//! heartbeat, and that waits for the CDN's link like everything else.

use super::agenda::Nanos;
use super::controller::{HEARTBEAT, Introduction, Named};
use super::course::{Course, Event, Word};
use super::network::Host;
use crate::plan::delivery::Scheme;

/// Between two heartbeats for agents that expect nothing.
const SLOW_HEARTBEAT: Nanos = 1_000_000_000;
/// For how long an agent expects news after its program was accepted, and after anything that it heard or told.
pub(super) const AFTER_ACCEPTANCE: Nanos = 10_000_000_000;
pub(super) const AFTER_NEWS: Nanos = 3_000_000_000;

/// The heartbeats for the agent of a host.
#[derive(Debug, Default)]
pub(super) struct Hearts {
    /// Until when it expects news.
    until: Nanos,
    /// Of the next one; one that was noted before counts no more.
    serial: u32,
    /// What the controller has to tell it.
    pending: Vec<Introduction>,
}

impl Course<'_> {
    /// The controller has that to tell, from the moments of the introductions on.
    pub(super) fn tell(&mut self, told: Vec<Introduction>) {
        for introduction in told {
            let pending = &mut self.hearts[introduction.to].pending;
            pending.retain(|one| one.stream != introduction.stream || !introduction.named.replaces(one.named));
            pending.push(introduction);
        }
    }

    /// What the controller puts into a heartbeat that passes: one introduction, or all children.
    pub(super) fn news_for(&mut self, host: Host) -> Vec<Introduction> {
        let now = self.agenda.now();
        let pending = &mut self.hearts[host].pending;
        let Some(first) = pending.iter().find(|one| one.at <= now).copied() else { return Vec::new() };
        let is_child = |one: &Introduction| matches!(one.named, Named::Child(_));
        let goes = |one: &mut Introduction| *one == first || is_child(&first) && is_child(one) && one.at <= now;
        pending.extract_if(.., goes).collect()
    }

    /// An agent expects news until then.
    pub(super) fn expects(&mut self, host: Host, until: Nanos) {
        let now = self.agenda.now();
        let was_slow = std::mem::replace(&mut self.hearts[host].until, until) <= now;
        if was_slow && until > now && self.has_news() {
            self.hearts[host].serial += 1;
            let serial = self.hearts[host].serial;
            let way = self.network.way(self.trial, host, self.cdn).unwrap_or_default();
            let trip: Nanos = way.iter().map(|lane| self.delay(*lane)).sum();
            let first = now + trip + self.controller.phase(host);
            self.agenda.note(first, Event::Heart { host, serial });
        }
    }

    /// The service sends a heartbeat.
    pub(super) fn heart(&mut self, host: Host, serial: u32) {
        let now = self.agenda.now();
        let is_over = self.streams.iter().all(|stream| stream.born >= stream.items.len());
        if self.hearts[host].serial != serial || is_over {
            return;
        }
        let next = now + if now < self.hearts[host].until { HEARTBEAT } else { SLOW_HEARTBEAT };
        self.agenda.note(next, Event::Heart { host, serial });
        self.say(self.cdn, host, Word::Heartbeat);
    }

    /// Whether agents have anything to hear of the controller.
    fn has_news(&self) -> bool {
        self.has_peers() || self.trial.point.scheme == Scheme::Multicast
    }

    /// Its program has gone.
    pub(super) fn expects_nothing(&mut self, host: Host) {
        self.hearts[host].until = 0;
    }
}
