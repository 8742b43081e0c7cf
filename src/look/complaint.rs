//! Why a program did not get onto a display, from what it says.

/// Why a window is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Complaint {
    /// No display is named.
    #[error(
        "DISPLAY is not set, so {program} has no display. Call it from a terminal on the desktop, or log in by `ssh -Y` (`vagrant ssh -- -Y`); if DISPLAY is set \
         there, sudo does not pass it on: sudo --preserve-env=DISPLAY,XAUTHORITY livectl …"
    )]
    NoDisplay {
        /// Name of the program.
        program: &'static str,
    },
    /// Nobody answers there.
    #[error(
        "{program} cannot reach the display {display}: nobody answers there. Does `xdpyinfo` work in this terminal without sudo? A terminal that outlived its \
         desktop or its ssh connection (tmux, screen) has an old DISPLAY"
    )]
    Unreachable {
        /// Name of the program.
        program: &'static str,
        /// As DISPLAY has it.
        display: String,
    },
    /// The display refuses.
    #[error(
        "the display {display} does not let {user} in ({said}). livectl shows windows as the user who called sudo, with that user's XAUTHORITY or ~/.Xauthority; \
         does `xdpyinfo` work in this terminal without sudo? With `ssh`, -Y and the package xauth on this machine are needed"
    )]
    Refused {
        /// As DISPLAY has it.
        display: String,
        /// The user that asked.
        user: String,
        /// What the display said.
        said: String,
    },
}

/// What Xlib and xcb print when a display refuses, and the key's own errors.
const REFUSALS: [&str; 4] = [
    "No protocol specified",
    "Authorization required",
    "Invalid MIT-MAGIC-COOKIE-1 key",
    "Invalid XDM-AUTHORIZATION-1 key",
];
/// What programs print when they have no display, whatever the reason: xterm, Wireshark (Qt, before and after 6.5),
/// ffplay (SDL).
const FAILURES: [&str; 4] = [
    "Can't open display",
    "could not connect to display",
    "no Qt platform plugin could be initialized",
    "Could not initialize SDL",
];

impl Complaint {
    /// What `program`, which has ended as `user` with that on its standard error, complains of, if it is of its
    /// display.
    #[must_use]
    pub fn read(program: &'static str, user: &str, display: &str, stderr: &str) -> Option<Complaint> {
        if !FAILURES.iter().any(|failure| stderr.contains(failure)) {
            return None;
        }
        let refusal = stderr.lines().find(|line| REFUSALS.iter().any(|refusal| line.contains(refusal)));
        let display = display.to_owned();
        Some(match refusal {
            Some(said) => Complaint::Refused { display, user: user.to_owned(), said: said.trim().to_owned() },
            None => Complaint::Unreachable { program, display },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // As xterm 379 and Wireshark 4.0.17 on Debian 12 print it.
    const XTERM_REFUSED: &str = "Authorization required, but no authorization protocol specified\n\nxterm: Xt error: Can't open display: :77\n";
    const XTERM_GONE: &str = "xterm: Xt error: Can't open display: :99\n";
    const WIRESHARK_GONE: &str = " ** (wireshark:14083) 09:09:45.200705 [GUI WARNING] -- could not connect to display localhost:9\n \
        ** (wireshark:14083) 09:09:45.200845 [GUI ERROR] -- This application failed to start because no Qt platform plugin could be \
        initialized. Reinstalling the application may fix this problem.\n\nAvailable platform plugins are: eglfs, xcb.\n";

    #[test]
    fn what_programs_complain_of() {
        let refused = Complaint::read("xterm", "alice", ":77", XTERM_REFUSED);
        let said = "Authorization required, but no authorization protocol specified".to_owned();
        assert_eq!(refused, Some(Complaint::Refused { display: ":77".into(), user: "alice".into(), said }));
        let gone = Complaint::read("xterm", "alice", ":99", XTERM_GONE);
        assert_eq!(gone, Some(Complaint::Unreachable { program: "xterm", display: ":99".into() }));
        let gone = Complaint::read("wireshark", "alice", "localhost:9", WIRESHARK_GONE);
        assert_eq!(gone, Some(Complaint::Unreachable { program: "wireshark", display: "localhost:9".into() }));
        let said = "Could not initialize SDL - x11 not available\n(Did you set the DISPLAY variable?)\n";
        let gone = Complaint::read("ffplay", "alice", ":55", said);
        assert_eq!(gone, Some(Complaint::Unreachable { program: "ffplay", display: ":55".into() }));
        let key = format!("Invalid MIT-MAGIC-COOKIE-1 key{WIRESHARK_GONE}");
        assert!(matches!(Complaint::read("wireshark", "a", ":0", &key), Some(Complaint::Refused { .. })));
        assert_eq!(Complaint::read("wireshark", "a", ":0", "wireshark: \"xyz\" is not a valid display filter"), None);
    }
}
