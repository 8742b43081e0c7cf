//! trace: to be written.

pub mod ping;
