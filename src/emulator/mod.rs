//! emulator: to be written.
