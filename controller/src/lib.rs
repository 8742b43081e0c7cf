//! OpenFlow controller.
pub mod frame;
pub mod mac;
pub mod mac_table;
pub mod news;
pub mod openflow;
pub mod scheme;
#[cfg(test)]
mod testing;
