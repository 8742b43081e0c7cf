//! actor: to be written.
