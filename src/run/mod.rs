//! run: to be written.
pub mod fitness;
