//! OpenFlow controller.
pub mod mac;
pub mod openflow;
