//! Looking at a running trial with common tools: tcpdump, Wireshark, terminals.
//!
//! Only the part of each tool that must be in the trial runs there: the capture, and the shell. What draws on a
//! display runs outside, as the user who called sudo, because the display is that user's: a socket in `/tmp`, which
//! is another folder in a sandbox, or a port of `ssh -Y`, which is another network there.

pub mod complaint;
pub mod person;
pub mod spot;
pub mod terminal;

use std::ffi::OsString;
use std::process::Command;

use self::spot::Spot;

/// What Wireshark shows unless something else is asked for: the stream, and what controller and switches say to each
/// other (OpenFlow 1.0 or 1.3).
pub const FILTER: &str = "rtmpt || openflow_v1 || openflow_v4";
/// The controller's port. Wireshark knows it as OpenFlow's, but may have been set otherwise.
const OPENFLOW_PORT: u16 = 6653;
/// The interface on which controller and switches talk.
const LOOPBACK: &str = "lo";

/// tcpdump on a spot. Packets come out as they pass, and addresses are not asked names of: there is nobody to ask,
/// and a question would pass through the very network that is measured. Files are `user`'s.
#[must_use]
pub fn tcpdump(spot: &Spot, user: &str, more: &[String]) -> Command {
    let mut command = Command::new("tcpdump");
    command.args(["-i", &spot.interface, "-n", "-l", "-U", "-Z", user]).args(more);
    command
}

/// Wireshark on what comes from its standard input.
#[must_use]
pub fn wireshark(title: &str, filter: &str, more: &[String]) -> Command {
    let mut command = Command::new("wireshark");
    command.args(["-k", "-i", "-", "-Y", filter, "-d", &format!("tcp.port=={OPENFLOW_PORT},openflow")]);
    // Two words with a colon between: it reads a preference, in which the title may hold anything.
    command.arg("-o").arg(format!("gui.window_title:{title}")).args(more);
    command
}

/// Pictures a second of what is shown of screens.
const SCREEN_RATE: &str = "25";

/// Their height in pixels, where there are several.
const SCREEN_HEIGHT: u32 = 360;

/// What takes the pictures of screens, side by side, inside a trial, and hands them on as they are: nothing is
/// encoded for it.
#[must_use]
pub fn grabber(displays: &[&str]) -> Vec<String> {
    let mut words: Vec<String> = ["ffmpeg", "-v", "error", "-nostdin"].map(String::from).into();
    for display in displays {
        words.extend(
            ["-f", "x11grab", "-draw_mouse", "0", "-framerate", SCREEN_RATE, "-i", display].map(String::from),
        );
    }
    if displays.len() > 1 {
        // OBS's window is higher than a viewer's screen.
        let scaled: String = (0..displays.len()).map(|n| format!("[{n}:v]scale=-2:{SCREEN_HEIGHT}[s{n}];")).collect();
        let inputs: String = (0..displays.len()).map(|n| format!("[s{n}]")).collect();
        words.extend(["-filter_complex".into(), format!("{scaled}{inputs}hstack=inputs={}", displays.len())]);
    }
    words.extend(["-c:v", "rawvideo", "-pix_fmt", "yuv420p", "-f", "nut", "pipe:1"].map(String::from));
    words
}

/// What shows them on a display.
#[must_use]
pub fn mirror(title: &str) -> Command {
    let mut command = Command::new("ffplay");
    command.args(["-v", "error", "-an", "-fflags", "nobuffer", "-flags", "low_delay", "-probesize", "32"]);
    command.args(["-analyzeduration", "0", "-window_title", title, "-f", "nut", "-i", "-"]);
    command
}

/// The programs of a shell on a host, for
/// [`RunningTrial::command_on`](crate::sandbox::running::RunningTrial::command_on).
#[must_use]
pub fn shell(host: &str) -> [OsString; 5] {
    let prompt = format!("PS1=[{host}] \\w \\$ ");
    ["env".into(), prompt.into(), "bash".into(), "--norc".into(), "-i".into()]
}

/// How a tool's capture ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// As it was to: it has what it was asked for, was told to end, or nobody reads it any more.
    Well,
    /// With what it looked at.
    WithTrial,
    /// Otherwise; it has said why.
    Badly,
}

impl Ending {
    /// Of a process with that exit code or ended by that signal, which was `told` to end, or whose interface may not
    /// be `there` any more.
    #[must_use]
    pub fn of(code: Option<i32>, signal: Option<i32>, told: bool, there: bool) -> Ending {
        let unread = signal == Some(nix::sys::signal::Signal::SIGPIPE as i32);
        match (code, told || unread, there) {
            (_, true, _) => Ending::Well,
            (Some(0), _, true) => Ending::Well,
            (_, _, false) => Ending::WithTrial,
            _ => Ending::Badly,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &Command) -> String {
        command.get_args().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_is_run() {
        let spot = Spot { host: Some("hv1".into()), interface: "hv1-eth0".into() };
        let more = ["-c".to_owned(), "3".into(), "tcp".into()];
        assert_eq!(words(&tcpdump(&spot, "alice", &more)), "-i hv1-eth0 -n -l -U -Z alice -c 3 tcp");
        let shown = words(&wireshark("hv1 (p2p/x/direct-1)", "rtmpt", &[]));
        let expected = "-k -i - -Y rtmpt -d tcp.port==6653,openflow -o gui.window_title:hv1 (p2p/x/direct-1)";
        assert_eq!(shown, expected);
    }

    #[test]
    fn endings() {
        assert_eq!(Ending::of(Some(0), None, false, true), Ending::Well, "-c 3");
        assert_eq!(Ending::of(None, Some(2), true, true), Ending::Well, "Ctrl-C");
        assert_eq!(Ending::of(None, Some(13), false, true), Ending::Well, "| head");
        assert_eq!(Ending::of(Some(1), None, false, true), Ending::Badly, "a filter that is none");
        assert_eq!(Ending::of(Some(1), None, false, false), Ending::WithTrial, "the interface disappeared");
        assert_eq!(Ending::of(None, Some(9), false, false), Ending::WithTrial, "the kernel ended all of it");
        assert_eq!(Ending::of(None, Some(9), false, true), Ending::Badly);
    }
}
