//! Round-trip times of paths: what the plan says, what ping says, and whether they agree.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::NetworkError;
use super::verify::ping_in;
use crate::plan::{Shape, answered};

/// A default ping's Ethernet frame of 98 bytes: 14 Ethernet, 20 IP, 8 ICMP, 56 of payload (ping(8), `-s`).
const PING_BITS: u64 = 98 * 8;
/// Part of the expected time by which a measured one may be off.
const RELATIVE_TOLERANCE: f64 = 0.01;
/// But at least this, for the hosts and the switches on the way.
const LEAST_TOLERANCE: Duration = Duration::from_millis(3);
/// Or this for each link, where there are more than two: each is passed twice, by programs that wait for a processor.
const TOLERANCE_OF_A_LINK: Duration = Duration::from_micros(1500);

/// Between two pings of a measurement; ping's `-i 0.1`.
const PING_INTERVAL: Duration = Duration::from_millis(100);
/// What the first answer may take beyond the links: ARP, and a switch that has yet to find its controller.
const FIRST_ANSWER: Duration = Duration::from_secs(10);
/// A path on which every ping may be lost gives no answer with this probability at most, if the time suffices.
const MISSED: f64 = 1e-6;
/// An answer is waited for so long at most, and so long again for the others, whatever is lost.
const LONGEST: Duration = Duration::from_secs(90);
/// What starting and ending a program may take.
const SLACK: Duration = Duration::from_secs(10);

/// The round-trip time that a plan gives a path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    /// Twice the sum of the links' delays and of their transmission times for a ping's frame of 98 bytes.
    pub rtt: Duration,
    /// How far a measured minimum may be off: 1 % of it, 3 ms or 1.5 ms for each link, whichever is most, plus twice
    /// the sum of the links' jitters.
    pub tolerance: Duration,
    /// The share of pings that the links' losses let come back.
    pub answered: f64,
}

impl Expected {
    /// What the links of a path add up to.
    #[must_use]
    pub fn of(path: &[Shape]) -> Expected {
        let one_way: Duration = path
            .iter()
            .map(|link| {
                let sending =
                    link.bandwidth.filter(|rate| *rate > 0).map_or(0, |rate| PING_BITS * 1_000_000_000 / rate);
                link.delay + Duration::from_nanos(sending)
            })
            .sum();
        let jitter: Duration = path.iter().map(|link| link.jitter).sum();
        let rtt = one_way * 2;
        let of_links = TOLERANCE_OF_A_LINK * u32::try_from(path.len()).unwrap_or(u32::MAX);
        let tolerance = rtt.mul_f64(RELATIVE_TOLERANCE).max(LEAST_TOLERANCE).max(of_links) + jitter * 2;
        Expected { rtt, tolerance, answered: answered(path) }
    }

    /// How many pings there must be for one of them to come back.
    fn tries(&self) -> f64 {
        if self.answered >= 1.0 { 1.0 } else { (MISSED.ln() / (-self.answered).ln_1p()).ceil() }
    }

    /// How long the first answer is waited for. The address is asked for once a second (ARP), and question and answer are lost like pings.
    fn patience(&self) -> Duration {
        self.rtt * 4 + FIRST_ANSWER.max(Duration::from_secs_f64(self.tries().min(LONGEST.as_secs_f64())))
    }

    /// How many pings are sent so that one of them, and `count` where nothing is lost, come back.
    fn probes(&self, count: u32) -> u32 {
        let most = LONGEST.as_secs_f64() / PING_INTERVAL.as_secs_f64();
        count.max(self.tries().min(most) as u32)
    }

    /// Whether a measured minimum agrees with the plan; if not, a sentence that says so.
    ///
    /// # Errors
    /// The sentence.
    pub fn compare(&self, measured: Duration) -> Result<(), String> {
        let off = measured.abs_diff(self.rtt);
        if off <= self.tolerance {
            return Ok(());
        }
        let than = if measured > self.rtt { "more" } else { "less" };
        Err(format!(
            "the least round-trip time is {:.1} ms, {:.1} ms {than} than the plan's {:.1} ms (tolerance {:.1} ms)",
            ms(measured),
            ms(off),
            ms(self.rtt),
            ms(self.tolerance)
        ))
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Pings an address from a host and returns the least round-trip time of `count` answers, or of those of more pings if some may be
/// lost. Before them, one answer is waited for: the first packets wait for ARP and for the controller.
///
/// # Errors
/// [`NetworkError::NoAnswer`] when the first answer does not come within four expected round trips and 10 s, up to 90 s on paths that
/// lose packets, or none of the others comes at all.
pub async fn least_rtt(pid: i32, to: Ipv4Addr, count: u32, expected: Expected) -> Result<Duration, NetworkError> {
    let to = to.to_string();
    let begun = Instant::now();
    let nobody = || NetworkError::NoAnswer {
        path: format!("{pid} to {to}"),
        waited: begun.elapsed(),
        answered: expected.answered,
    };
    let patience = expected.patience();
    loop {
        let left = patience.saturating_sub(begun.elapsed());
        // With -w, ping goes on once a second until -c answers have come, but ends when ARP gives up after three requests (ping(8)).
        let seconds = left.as_secs().max(1).to_string();
        let first = ["ping", "-n", "-q", "-c", "1", "-w", &seconds, &to];
        if ping_in(pid, &first, left + SLACK).await?.is_some() {
            break;
        }
        if begun.elapsed() >= patience {
            return Err(nobody());
        }
        tokio::time::sleep(PING_INTERVAL).await;
    }

    // -W: how long to wait for the last answer, in seconds.
    let wait = expected.rtt * 2 + Duration::from_secs(1);
    let wait_shown = format!("{:.1}", wait.as_secs_f64());
    let count = expected.probes(count);
    let count_shown = count.to_string();
    let command = ["ping", "-n", "-q", "-i", "0.1", "-c", &count_shown, "-W", &wait_shown, &to];
    let said = ping_in(pid, &command, PING_INTERVAL * count + wait + SLACK).await?.ok_or_else(nobody)?;
    parse_least_rtt(&said).ok_or_else(|| NetworkError::Inspect {
        command: command.join(" "),
        problem: format!("gave no round-trip time: {}", said.trim()),
    })
}

/// The minimum in ping's last line, `rtt min/avg/max/mdev = 400.4/401.1/403.0/0.9 ms` (iputils).
#[must_use]
pub fn parse_least_rtt(said: &str) -> Option<Duration> {
    let line = said.lines().rev().find(|line| line.starts_with("rtt min/"))?;
    let least: f64 = line.split_once("= ")?.1.split('/').next()?.parse().ok()?;
    Duration::try_from_secs_f64(least / 1e3).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn link(bandwidth: Option<u64>, delay: u64, jitter: u64) -> Shape {
        Shape {
            bandwidth,
            delay: Duration::from_millis(delay),
            jitter: Duration::from_millis(jitter),
            loss: 0.0,
            queue: 1000,
        }
    }

    #[test]
    fn two_links_are_passed_four_times() {
        let expected = Expected::of(&[link(Some(4_000_000), 100, 0), link(Some(2_000_000), 300, 0)]);
        // 98 bytes take 196 µs at 4 Mbit/s and 392 µs at 2 Mbit/s.
        assert_eq!(expected.rtt, Duration::from_micros(800_000 + 2 * (196 + 392)));
        assert_eq!(expected.tolerance, expected.rtt / 100);
        assert!(expected.compare(Duration::from_micros(808_000)).is_ok());
        assert_eq!(
            expected.compare(Duration::from_micros(820_176)).unwrap_err(),
            "the least round-trip time is 820.2 ms, 19.0 ms more than the plan's 801.2 ms (tolerance 8.0 ms)"
        );
        assert!(expected.compare(Duration::from_millis(400)).unwrap_err().contains("less than"));
    }

    #[test]
    fn short_paths_are_given_three_milliseconds() {
        let expected = Expected::of(&[link(None, 1, 0)]);
        assert_eq!((expected.rtt, expected.tolerance), (Duration::from_millis(2), Duration::from_millis(3)));
        assert!(Expected::of(&[]).compare(Duration::from_micros(50)).is_ok());
    }

    #[test]
    fn each_link_of_a_long_path_adds_to_it() {
        let path = [link(None, 2, 0), link(None, 20, 0), link(None, 80, 0), link(None, 2, 0)];
        assert_eq!(Expected::of(&path).tolerance, Duration::from_millis(6));
    }

    #[test]
    fn paths_that_lose_packets_are_given_more_tries() {
        let lossy = |loss: f64| Shape { loss, ..link(None, 0, 0) };
        let of = |losses: &[f64]| Expected::of(&losses.iter().map(|loss| lossy(*loss)).collect::<Vec<_>>());
        let (whole, half, least) = (of(&[0.0, 0.0]), of(&[0.5, 0.0]), of(&[0.684, 0.0]));
        assert_eq!((whole.tries(), whole.probes(5), whole.patience()), (1.0, 5, Duration::from_secs(10)));
        // A quarter of the pings comes back: 0.75 to the power of 49 is less than a millionth.
        assert_eq!((half.answered, half.tries()), (0.25, 49.0));
        assert_eq!((half.probes(5), half.patience()), (49, Duration::from_secs(49)));
        assert_eq!(of(&[0.01, 0.0]).probes(5), 5, "four would do");
        // What `check` lets pass is still measured but for one in ten thousand paths.
        let missed = (1.0 - least.answered).powf(least.patience().as_secs_f64());
        assert!(missed < 1.3e-4 && least.answered < 0.1, "{missed} {}", least.answered);
        let none = of(&[0.999, 0.999]);
        assert_eq!((none.probes(5), none.patience()), (900, Duration::from_secs(90)), "there is an end to it");
        assert_eq!(of(&[1.0]).patience(), Duration::from_secs(90));
    }

    #[test]
    fn a_path_without_an_answer_is_told_with_the_recipes_own_loss() {
        let told = |answered| {
            let waited = Duration::from_millis(90_400);
            let error = NetworkError::NoAnswer { path: "77 to 10.0.0.3".into(), waited, answered };
            error.between("hs", "hv").to_string()
        };
        assert_eq!(told(1.0), "no ping from hs to hv was answered within 90 s");
        assert_eq!(
            told(0.04),
            "no ping from hs to hv was answered within 90 s: with the `loss` of the recipe's links 4.0 % of them come \
             back, and every path is measured before a trial begins. Write a smaller `loss`; `timeline: links` can raise it \
             during the trial"
        );
    }

    #[test]
    fn jitter_widens_the_tolerance() {
        let expected = Expected::of(&[link(None, 100, 10), link(None, 100, 10)]);
        assert_eq!(expected.tolerance, Duration::from_millis(4 + 40));
    }

    #[test]
    fn ping_is_read() {
        let said = "PING 10.0.0.3 (10.0.0.3) 56(84) bytes of data.\n\n--- 10.0.0.3 ping statistics ---\n\
                    5 packets transmitted, 5 received, 0% packet loss, time 405ms\n\
                    rtt min/avg/max/mdev = 400.431/402.118/407.262/2.613 ms, pipe 5\n";
        assert_eq!(parse_least_rtt(said), Some(Duration::from_nanos(400_431_000)));
        let lost = "5 packets transmitted, 0 received, 100% packet loss, time 405ms\n\n";
        assert_eq!(parse_least_rtt(lost), None);
    }
}
