//! OpenFlow controller.
