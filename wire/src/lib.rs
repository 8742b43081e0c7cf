//! Bytes and their meaning.
