//! Words of a POSIX shell's command line.

/// The word as one would type it. Unlike the crate shlex it leaves `=`, `,` and `%` alone, which mean nothing inside a word: ffmpeg's and
/// Mininet's arguments are full of them, and command lines are there to be read.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-./:=,@%+".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// The path as one would type it.
pub(crate) fn path(path: &std::path::Path) -> String {
    quoted(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_shell_reads_back_what_was_meant() {
        for word in [
            "",
            "a b",
            "it's",
            "-i",
            "testsrc2=size=640x360,fps",
            "$(reboot)",
            "a\nb",
            "*",
            "~",
            "\\",
            "\"",
            "#",
            "{a,b}",
        ] {
            let script = format!("printf %s {}", quoted(word));
            let said = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&said.stdout), word);
        }
        assert_eq!(quoted("testsrc2=size=640x360,fps"), "testsrc2=size=640x360,fps");
    }
}
