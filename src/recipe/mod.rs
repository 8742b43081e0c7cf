//! recipe: to be written.
