//! livectl runs peer-to-peer livestreaming experiments on an emulated network and measures how close each
//! frame's delay comes to the least the network allows. `docs/architecture.md` is the map of these rooms.

mod absolute_path;
pub mod actor;
pub mod capture;
pub mod cli;
pub mod clock;
pub mod emulator;
mod file;
mod file_trouble;
pub mod import;
pub mod look;
pub mod network;
mod parallel;
pub mod plan;
pub mod plot;
pub mod predict;
pub mod realtime;
pub mod recipe;
pub mod report;
pub mod run;
pub mod sandbox;
mod shell_word;
pub mod store;
pub mod sweep;
pub mod table;
pub mod trace;
pub mod ui;
