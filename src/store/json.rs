//! Manifests and records as text: read, and what is wrong with them told so that somebody can mend it.

use std::path::Path;

use serde::de::DeserializeOwned;

use super::StoreError;

/// What editors put in front of UTF-8 text.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Reads a value from the text of a file. A byte order mark in front does not matter.
///
/// # Errors
/// [`StoreError::Manifest`].
pub(crate) fn read<T: DeserializeOwned>(text: &[u8], path: &Path) -> Result<T, StoreError> {
    let json = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    serde_json::from_slice(json)
        .map_err(|error| StoreError::Manifest { path: path.to_owned(), why: why(text, &error) })
}

/// What is wrong with a text that is no such value.
fn why(text: &[u8], error: &serde_json::Error) -> String {
    let whole = text.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let (line, column) = (error.line(), error.column());
    if text.is_empty() {
        "it is empty".to_owned()
    } else if whole < text.len() {
        format!("it has only zeros from byte {whole} on, as a disk leaves them that lost power")
    } else if text.starts_with(b"\xFF\xFE") || text.starts_with(b"\xFE\xFF") {
        "it is UTF-16: save it as UTF-8".to_owned()
    } else if error.is_eof() {
        format!("it ends in the middle, in line {line}")
    } else {
        let told = error.to_string();
        let told = told.split(" at line ").next().unwrap_or_default();
        format!("line {line}, column {column}: {told}")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn damage_is_told_in_words() {
        let read = |text: &[u8]| -> Result<BTreeMap<String, u32>, String> {
            read(text, Path::new("m.json")).map_err(|error| error.to_string())
        };
        assert_eq!(read(b"\xEF\xBB\xBF{\"a\": 1}\r\n").unwrap()["a"], 1);
        for (text, says) in [
            (b"" as &[u8], "m.json: it is empty."),
            (b"{\"a\": 1,\n \"b", "it ends in the middle, in line 2."),
            (b"{\"a\": 1}\0\0\0", "only zeros from byte 8 on"),
            (b"\xFF\xFE{\0}\0x", "it is UTF-16"),
            (b"{\"a\": 1} {", "line 1, column 10: trailing characters."),
            (b"{\"a\": \"x\"}", "line 1, column 9: invalid type: string \"x\", expected u32."),
        ] {
            let told = read(text).unwrap_err();
            assert!(told.contains(says), "{told}");
        }
    }
}
