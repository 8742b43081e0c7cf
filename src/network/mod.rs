//! network: to be written.
