//! Messages that a real switch sent, for tests.

/// The messages of a file in `testdata`: name and bytes, in the order in which they came.
pub fn messages(text: &str) -> Vec<(String, Vec<u8>)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once(' '))
        .map(|(name, hex)| {
            let bytes = (0..hex.len()).step_by(2).filter_map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok());
            (name.to_owned(), bytes.collect())
        })
        .collect()
}

/// Open vSwitch 3.1.0, user datapath, OpenFlow 1.0.
pub fn ovs_10() -> Vec<(String, Vec<u8>)> {
    messages(include_str!("../../testdata/ovs-3.1-openflow-1.0.hex"))
}

/// Open vSwitch 3.1.0, user datapath, OpenFlow 1.3.
pub fn ovs_13() -> Vec<(String, Vec<u8>)> {
    messages(include_str!("../../testdata/ovs-3.1-openflow-1.3.hex"))
}
