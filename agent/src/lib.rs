//! `live-agent`: what stands between a livestreaming program and the network on its own host.
//!
//! ```text
//! program --RTMP--> broadcaster's agent --RTMP--> CDN
//!                       └── peers (FLV over TCP, port 2000)
//! CDN or peer --> viewer's agent --RTMP--> player
//!                       └── further peers
//! ```
//!
//! | module | what it is |
//! |---|---|
//! | [`broadcaster`] | passes a program's RTMP on to the CDN and to peers, and notes when each frame was born |
//! | [`viewer`] | one session with a player, whose frames come from the CDN or from a peer |
//! | [`notify`] | the notification service, by whose heartbeats the network introduces peers to each other |
//! | [`conversation`] | what client and server say to each other while an agent passes it on |
//! | [`passing`] | bytes that are passed on message by message |
//!
//! Each agent is one thread over sockets, beside a thread that reads the program and one that writes the log of
//! births. Nothing here needs livectl: everything is usable by hand.

pub mod broadcaster;
pub mod cli;
pub mod conversation;
mod media;
mod notification;
pub mod notify;
mod outbox;
pub mod passing;
mod realtime;
mod serve;
mod socket;
mod tell;
pub mod viewer;
mod whole;
