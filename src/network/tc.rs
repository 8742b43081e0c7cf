//! The kernel's traffic control for one end of a link: which `tc` commands shape it, and what `tc` must show
//! afterwards.
//!
//! Each end of a link shapes what leaves through it, so each direction is shaped once.
//!
//! Without jitter one netem qdisc does everything: `rate` sends one packet at a time, counting whole Ethernet frames,
//! and `delay` adds the travel time (tc-netem(8), "RATE": "delay packets based on packet size"). That is exactly the
//! link that a plan describes. Mininet's own TCLink puts netem under an htb class with a burst of 15 kB instead; such
//! a class passes up to ten packets in no time at all after every pause, so that a video frame would arrive before
//! the least time that the network allows.
//!
//! With jitter netem's `rate` must not be used: it lets no packet start before the one ahead of it has *arrived*, so
//! jitter would turn into queueing. There htb paces, with a burst of a single frame, and netem delays, as in Mininet.
//! A packet can then be early by the time that a frame of 1514 bytes takes.
//!
//! A direction that changes during the trial has htb above netem from the beginning, too: packets that wait in
//! netem's `rate` have their times already, those that wait for htb feel the new rate. [`course`] says how it
//! changes. Three things are not as on an emulated link:
//! - A rate of 0, or less than 10 kbit/s, is [`LEAST_RATE`] there. htb lets a packet go on credit and makes it up at the rate of that moment: at a lower rate still, a packet that
//!   left at the beginning of an outage would keep the link busy for long after its end.
//! - A delay counts for packets that come after it has changed, and those overtake the ones before them when it falls.
//! - A packet's loss is that of the moment at which it comes, as there; so a link that is down loses all that comes and still delivers what it holds.
//!
//! netem's `limit` counts every packet inside it: those that wait for the link **and** those that are under way
//! (tc-netem(8), "LIMIT"). It is therefore the plan's queue plus the full-size frames that fit in the delay line,
//! rate × (delay + jitter) / 1514 bytes, rounded up. Small packets fill the line sooner; a stream of nothing but
//! small packets finds a shorter queue there than on an emulated link.

use std::time::Duration;

use crate::plan::{Condition, Shape, Step};

/// A full-size Ethernet frame without FCS, bytes.
const FULL_FRAME: u64 = 1514;
/// Packets in the delay line of a link without a rate: 1 Gbit/s of full-size frames for the link's delay.
const UNSHAPED_RATE: u64 = 1_000_000_000;

/// What htb paces at where nothing is to pass, in bit/s. In an outage a full frame goes every 0.3 s, and the link may
/// lie idle for as long after it.
pub const LEAST_RATE: u64 = 40_000;
/// A lower rate counts as nothing, in bit/s: the least that a recipe can give a link.
const NOTHING: u64 = 10_000;

/// Whether a direction of a link is the same for the whole trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Constancy {
    /// No change is planned for it: one qdisc holds its shape.
    Constant,
    /// It changes.
    Changing,
}

impl Constancy {
    /// Of a direction that `changes` or does not.
    #[must_use]
    pub fn of(changes: bool) -> Self {
        if changes { Constancy::Changing } else { Constancy::Constant }
    }
}

/// What `tc` is to be told for one interface: its arguments after `tc`, in order. Empty: the interface stays as it
/// is.
#[must_use]
pub fn commands(interface: &str, shape: &Shape, constancy: Constancy) -> Vec<String> {
    let netem = netem_arguments(shape);
    let htb = constancy == Constancy::Changing || !shape.jitter.is_zero();
    match (shape.bandwidth, htb) {
        (None, _) if netem.is_empty() && constancy == Constancy::Constant => Vec::new(),
        (Some(rate), true) => vec![
            format!("qdisc add dev {interface} root handle 5: htb default 1"),
            format!("class add {}", class(interface, rate)),
            format!("qdisc add dev {interface} parent 5:1 handle 10: netem limit {}{netem}", limit(shape)),
        ],
        (Some(rate), false) => {
            vec![format!(
                "qdisc add dev {interface} root handle 10: netem limit {}{netem} rate {rate}bit",
                limit(shape)
            )]
        }
        (None, _) => vec![format!("qdisc add dev {interface} root handle 10: netem limit {}{netem}", limit(shape))],
    }
}

fn class(interface: &str, rate: u64) -> String {
    // A stated quantum keeps tc from warning that the one it computes is too big or too small.
    format!(
        "dev {interface} parent 5: classid 5:1 htb rate {rate}bit ceil {rate}bit burst {FULL_FRAME} cburst {FULL_FRAME} \
         quantum {FULL_FRAME}"
    )
}

/// What `tc` is to be told when, for a direction that changes, once [`commands`] have been given: one line each,
/// without `tc`.
#[must_use]
pub fn course(interface: &str, shape: &Shape, steps: &[Step]) -> Vec<(Duration, String)> {
    let mut before = Condition::of(*shape);
    let mut lines = Vec::new();
    for Step { at, condition } in steps {
        lines.extend(change(interface, &before, condition).into_iter().map(|line| (*at, line)));
        before = *condition;
    }
    lines
}

/// From one condition to another. Whatever tc is not told again of a qdisc or class is forgotten, so each line says
/// all.
fn change(interface: &str, before: &Condition, after: &Condition) -> Vec<String> {
    let rate =
        |condition: &Condition| condition.shape.bandwidth.map(|rate| if rate < NOTHING { LEAST_RATE } else { rate });
    let netem = |condition: &Condition| {
        let loss = if condition.down { 1.0 } else { condition.shape.loss };
        let shape = Shape { loss, bandwidth: rate(condition), ..condition.shape };
        format!("netem limit {}{}", limit(&shape), netem_arguments(&shape))
    };
    let parent = if after.shape.bandwidth.is_some() { "parent 5:1" } else { "root" };
    let paced = rate(after).filter(|_| rate(before) != rate(after));
    let delayed = netem(after);
    paced
        .map(|rate| format!("class change {}", class(interface, rate)))
        .into_iter()
        .chain(
            (netem(before) != delayed).then(|| format!("qdisc change dev {interface} {parent} handle 10: {delayed}")),
        )
        .collect()
}

/// Packets that netem may hold for this shape.
#[must_use]
pub fn limit(shape: &Shape) -> u64 {
    let line = u128::from(shape.bandwidth.unwrap_or(UNSHAPED_RATE)) * (shape.delay + shape.jitter).as_nanos();
    let packets = line.div_ceil(u128::from(FULL_FRAME) * 8 * 1_000_000_000);
    u64::from(shape.queue).saturating_add(u64::try_from(packets).unwrap_or(u64::MAX)).clamp(1, u64::from(u32::MAX))
}

fn netem_arguments(shape: &Shape) -> String {
    let mut arguments = String::new();
    if !shape.delay.is_zero() || !shape.jitter.is_zero() {
        arguments += &format!(" delay {}", microseconds(shape.delay));
        if !shape.jitter.is_zero() {
            arguments += &format!(" {}", microseconds(shape.jitter));
        }
    }
    if shape.loss > 0.0 {
        arguments += &format!(" loss {:.6}%", shape.loss * 100.0);
    }
    arguments
}

fn microseconds(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos.is_multiple_of(1000) { format!("{}us", nanos / 1000) } else { format!("{:.3}us", nanos as f64 / 1000.0) }
}

/// What `tc qdisc show dev X` and `tc class show dev X` said of one interface.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shown {
    /// Kinds of the qdiscs, root first: `netem`; `htb`, `netem`; `noqueue`.
    pub kinds: Vec<String>,
    /// bit/s, from htb's class or from netem.
    pub rate: Option<f64>,
    /// netem's delay in seconds.
    pub delay: f64,
    /// netem's jitter in seconds.
    pub jitter: f64,
    /// netem's loss, 0 to 1.
    pub loss: f64,
    /// netem's limit in packets.
    pub limit: Option<u64>,
}

/// Reads the output of `tc qdisc show dev X` followed by that of `tc class show dev X`, with or without `-s`.
#[must_use]
pub fn parse(output: &str) -> Shown {
    let mut shown = Shown::default();
    for line in output.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["qdisc", kind, rest @ ..] => {
                shown.kinds.push((*kind).to_owned());
                if *kind == "netem" {
                    parse_netem(rest, &mut shown);
                }
            }
            ["class", "htb", "5:1", rest @ ..] => shown.rate = after(rest, "rate").and_then(parse_rate),
            _ => {}
        }
    }
    shown
}

fn parse_netem(words: &[&str], shown: &mut Shown) {
    shown.limit = after(words, "limit").and_then(|n| n.parse().ok());
    if let Some(at) = words.iter().position(|w| *w == "delay") {
        shown.delay = words.get(at + 1).and_then(|w| parse_time(w)).unwrap_or(0.0);
        shown.jitter = words.get(at + 2).and_then(|w| parse_time(w)).unwrap_or(0.0);
    }
    // `loss 1%`; older versions say `loss random 1%`.
    if let Some(at) = words.iter().position(|w| *w == "loss") {
        shown.loss = words[at + 1..].iter().take(2).find_map(|w| parse_percent(w)).unwrap_or(0.0);
    }
    shown.rate = after(words, "rate").and_then(parse_rate).or(shown.rate);
}

fn after<'a>(words: &[&'a str], key: &str) -> Option<&'a str> {
    words.iter().position(|w| *w == key).and_then(|at| words.get(at + 1)).copied()
}

fn split_unit(word: &str) -> Option<(f64, &str)> {
    let unit = word.find(|c: char| c.is_ascii_alphabetic() || c == '%')?;
    Some((word[..unit].parse().ok()?, &word[unit..]))
}

/// `100ms`, `1.5s`, `20us`, `900ns`, in seconds.
fn parse_time(word: &str) -> Option<f64> {
    let (value, unit) = split_unit(word)?;
    Some(value * [("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9)].iter().find(|(u, _)| *u == unit)?.1)
}

/// `4Mbit`, `2500Kbit`, `1500bit`, in bit/s. tc's prefixes for rates are decimal (tc(8), "RATES").
fn parse_rate(word: &str) -> Option<f64> {
    let (value, unit) = split_unit(word)?;
    Some(value * [("bit", 1.0), ("Kbit", 1e3), ("Mbit", 1e6), ("Gbit", 1e9)].iter().find(|(u, _)| *u == unit)?.1)
}

fn parse_percent(word: &str) -> Option<f64> {
    let (value, unit) = split_unit(word)?;
    (unit == "%").then_some(value / 100.0)
}

/// How what `tc` shows differs from the plan; empty when it does not. tc prints times with three significant digits
/// and rates in whole thousands, so values count as equal within 0.5 %.
#[must_use]
pub fn differences(interface: &str, shape: &Shape, constancy: Constancy, shown: &Shown) -> Vec<String> {
    if commands(interface, shape, constancy).is_empty() {
        let unwanted = shown.kinds.iter().any(|kind| matches!(kind.as_str(), "netem" | "htb" | "tbf"));
        return if unwanted {
            vec![format!("{interface}: is shaped, but the plan has it unshaped")]
        } else {
            Vec::new()
        };
    }
    let Some(limit_shown) = shown.limit else {
        return vec![format!("{interface}: has no netem qdisc, only {}", shown.kinds.join(", "))];
    };
    let mut found = Vec::new();
    let mut compare = |what: &str, unit: &str, wanted: f64, got: f64| {
        if (wanted - got).abs() > wanted.abs() * 0.005 + 1e-9 {
            found.push(format!("{interface}: {what} is {got}{unit} instead of {wanted}{unit}"));
        }
    };
    compare("bandwidth", " bit/s", shape.bandwidth.unwrap_or(0) as f64, shown.rate.unwrap_or(0.0));
    compare("delay", " s", shape.delay.as_secs_f64(), shown.delay);
    compare("jitter", " s", shape.jitter.as_secs_f64(), shown.jitter);
    compare("loss", "", shape.loss, shown.loss);
    if limit_shown != limit(shape) {
        found.push(format!("{interface}: netem's limit is {limit_shown} packets instead of {}", limit(shape)));
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn shape() -> Shape {
        Shape {
            bandwidth: Some(4_000_000),
            delay: Duration::from_millis(100),
            jitter: Duration::ZERO,
            loss: 0.0,
            queue: 1000,
        }
    }

    #[test]
    fn without_jitter_one_netem_does_it_all() {
        // 4 Mbit/s for 100 ms are 50 kB, 33.02 full frames.
        assert_eq!(
            commands("hb-eth0", &shape(), Constancy::Constant),
            ["qdisc add dev hb-eth0 root handle 10: netem limit 1034 delay 100000us rate 4000000bit"]
        );
        assert_eq!(
            commands("x", &Shape { delay: Duration::from_nanos(1_500), loss: 0.015, ..shape() }, Constancy::Constant),
            ["qdisc add dev x root handle 10: netem limit 1001 delay 1.500us loss 1.500000% rate 4000000bit"]
        );
    }

    #[test]
    fn with_jitter_htb_paces_and_netem_delays() {
        let jitter = Shape { jitter: Duration::from_millis(5), ..shape() };
        assert_eq!(
            commands("s1-eth2", &jitter, Constancy::Constant),
            [
                "qdisc add dev s1-eth2 root handle 5: htb default 1",
                "class add dev s1-eth2 parent 5: classid 5:1 htb rate 4000000bit ceil 4000000bit burst 1514 cburst 1514 quantum 1514",
                "qdisc add dev s1-eth2 parent 5:1 handle 10: netem limit 1035 delay 100000us 5000us",
            ]
        );
    }

    #[test]
    fn a_link_that_does_nothing_needs_nothing() {
        let plain = Shape { bandwidth: None, delay: Duration::ZERO, ..shape() };
        assert!(commands("x", &plain, Constancy::Constant).is_empty());
        assert!(differences("x", &plain, Constancy::Constant, &parse("qdisc noqueue 0: root refcnt 2\n")).is_empty());
        assert_eq!(
            differences(
                "x",
                &plain,
                Constancy::Constant,
                &parse("qdisc netem 10: root refcnt 2 limit 1000 delay 1ms\n")
            ),
            ["x: is shaped, but the plan has it unshaped"]
        );
    }

    #[test]
    fn a_delay_alone_holds_a_gigabit() {
        let long = Shape { bandwidth: None, ..shape() };
        assert_eq!(
            commands("x", &long, Constancy::Constant),
            ["qdisc add dev x root handle 10: netem limit 9257 delay 100000us"]
        );
    }

    // Printed by iproute2 6.1.0 on Debian's Linux 6.1 after `commands`.
    const NETEM: &str = "\
qdisc netem 10: root refcnt 3 limit 1034 delay 100ms rate 4Mbit
 Sent 5172 bytes 10 pkt (dropped 0, overlimits 0 requeues 0) 
 backlog 0b 0p requeues 0
";
    const HTB: &str = "\
qdisc htb 5: root refcnt 3 r2q 10 default 0x1 direct_packets_stat 0 direct_qlen 1000
qdisc netem 10: parent 5:1 limit 1035 delay 100ms  5ms loss 1%
class htb 5:1 root leaf 10: prio 0 rate 4Mbit ceil 4Mbit burst 1513b cburst 1513b 
";

    #[test]
    fn netem_is_read_back() {
        let shown = parse(NETEM);
        assert_eq!(shown.kinds, ["netem"]);
        assert_eq!((shown.rate, shown.delay, shown.jitter, shown.loss), (Some(4e6), 0.1, 0.0, 0.0));
        assert_eq!(shown.limit, Some(1034));
        assert!(differences("hb-eth0", &shape(), Constancy::Constant, &shown).is_empty());
    }

    #[test]
    fn htb_and_netem_are_read_back() {
        let shown = parse(HTB);
        assert_eq!(shown.kinds, ["htb", "netem"]);
        assert_eq!((shown.rate, shown.delay, shown.jitter, shown.loss), (Some(4e6), 0.1, 0.005, 0.01));
        let wanted = Shape { jitter: Duration::from_millis(5), loss: 0.01, ..shape() };
        assert!(differences("hb-eth0", &wanted, Constancy::Constant, &shown).is_empty());
    }

    #[test]
    fn every_difference_is_named() {
        let wanted = Shape {
            bandwidth: Some(2_000_000),
            delay: Duration::from_millis(300),
            jitter: Duration::from_millis(1),
            loss: 0.02,
            queue: 500,
        };
        let found = differences("hb-eth0", &wanted, Constancy::Constant, &parse(NETEM)).join("\n");
        for part in [
            "bandwidth is 4000000 bit/s instead of 2000000 bit/s",
            "delay is 0.1 s instead of 0.3 s",
            "jitter is 0 s instead of 0.001 s",
            "loss is 0 instead of 0.02",
            "limit is 1034 packets instead of 550",
        ] {
            assert!(found.contains(part), "{part} is missing in:\n{found}");
        }
    }

    #[test]
    fn a_kernel_without_netem_shows() {
        let found = differences("hb-eth0", &shape(), Constancy::Constant, &parse("qdisc noqueue 0: root refcnt 2\n"));
        assert_eq!(found, ["hb-eth0: has no netem qdisc, only noqueue"]);
    }

    #[test]
    fn rounding_by_tc_is_no_difference() {
        // 123.456 ms prints as 123ms, 2500001 bit/s as 2500Kbit.
        let odd = Shape { bandwidth: Some(2_500_001), delay: Duration::from_micros(123_456), ..shape() };
        let text = format!("qdisc netem 10: root refcnt 2 limit {} delay 123ms rate 2500Kbit\n", limit(&odd));
        assert!(differences("x", &odd, Constancy::Constant, &parse(&text)).is_empty());
    }

    #[test]
    fn times_and_rates_in_every_unit() {
        assert_eq!(parse_time("1.2s"), Some(1.2));
        assert_eq!(parse_time("20us"), Some(20.0 * 1e-6));
        assert_eq!(parse_time("limit"), None);
        assert_eq!(parse_rate("1Gbit"), Some(1e9));
        assert_eq!(parse_rate("900bit"), Some(900.0));
        assert_eq!(parse_percent("1.5%"), Some(0.015));
        assert_eq!(parse("qdisc netem 1: root limit 5 loss random 3%\n").loss, 0.03);
    }

    fn step(ms: u64, shape: Shape, down: bool) -> Step {
        Step { at: Duration::from_millis(ms), condition: Condition { shape, down } }
    }

    #[test]
    fn a_direction_that_changes_has_htb_from_the_beginning() {
        assert_eq!(
            commands("hb-eth0", &shape(), Constancy::Changing),
            [
                "qdisc add dev hb-eth0 root handle 5: htb default 1",
                "class add dev hb-eth0 parent 5: classid 5:1 htb rate 4000000bit ceil 4000000bit burst 1514 cburst 1514 quantum 1514",
                "qdisc add dev hb-eth0 parent 5:1 handle 10: netem limit 1034 delay 100000us",
            ]
        );
        let open = Shape { bandwidth: None, delay: Duration::ZERO, ..shape() };
        assert_eq!(commands("x", &open, Constancy::Changing), ["qdisc add dev x root handle 10: netem limit 1000"]);
        let shown = parse(
            "qdisc htb 5: root refcnt 3 r2q 10 default 0x1\nqdisc netem 10: parent 5:1 limit 1034 delay 100ms\nclass htb 5:1 root leaf 10: prio 0 rate 4Mbit ceil 4Mbit burst 1513b cburst 1513b\n",
        );
        assert!(differences("x", &shape(), Constancy::Changing, &shown).is_empty());
        assert_eq!(
            differences("x", &open, Constancy::Changing, &parse("qdisc noqueue 0: root refcnt 2\n")),
            ["x: has no netem qdisc, only noqueue"]
        );
    }

    #[test]
    fn changes_say_all_of_what_they_touch_and_touch_nothing_else() {
        let slow = Shape { bandwidth: Some(1_000_000), ..shape() };
        let far = Shape { delay: Duration::from_millis(200), loss: 0.01, ..slow };
        let steps = [
            step(1000, slow, false),
            step(2000, far, false),
            step(3000, far, true),
            step(4000, far, false),
            step(5000, Shape { bandwidth: Some(0), ..far }, false),
            step(6000, Shape { bandwidth: Some(0), ..far }, false),
        ];
        let class = |rate: &str| {
            format!(
                "class change dev x parent 5: classid 5:1 htb rate {rate}bit ceil {rate}bit burst 1514 cburst 1514 quantum 1514"
            )
        };
        let netem = |rest: &str| format!("qdisc change dev x parent 5:1 handle 10: netem limit {rest}");
        let ms = Duration::from_millis;
        assert_eq!(
            course("x", &shape(), &steps),
            [
                (ms(1000), class("1000000")),
                (ms(1000), netem("1009 delay 100000us")),
                (ms(2000), netem("1017 delay 200000us loss 1.000000%")),
                (ms(3000), netem("1017 delay 200000us loss 100.000000%")),
                (ms(4000), netem("1017 delay 200000us loss 1.000000%")),
                (ms(5000), class("40000")),
                (ms(5000), netem("1001 delay 200000us loss 1.000000%")),
            ]
        );
    }

    #[test]
    fn a_link_without_a_bandwidth_changes_at_its_root() {
        let open = Shape { bandwidth: None, delay: Duration::ZERO, ..shape() };
        let later = Shape { delay: Duration::from_millis(1), ..open };
        let expected = "qdisc change dev x root handle 10: netem limit 1083 delay 1000us".to_owned();
        assert_eq!(course("x", &open, &[step(5, later, false)]), [(Duration::from_millis(5), expected)]);
    }
}
