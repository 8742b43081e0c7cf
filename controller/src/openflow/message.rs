//! OpenFlow messages as values, alike for both versions.

use std::borrow::Cow;

use super::{FlowMatch, Port, PortNo, Versions};

/// A packet that the switch keeps for the controller to decide on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BufferId(u32);

impl BufferId {
    /// Buffer id on the wire if there is no buffer.
    pub(super) const NONE: u32 = 0xffff_ffff;

    /// The id on the wire, unless it says that there is no buffer.
    #[must_use]
    pub fn new(id: u32) -> Option<Self> {
        (id != Self::NONE).then_some(Self(id))
    }

    pub(super) fn wire(buffer: Option<Self>) -> u32 {
        buffer.map_or(Self::NONE, |buffer| buffer.0)
    }
}

/// A message. What it borrows is the buffer it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message<'a> {
    /// First message of a connection: the versions that its sender speaks.
    Hello(Versions),
    /// Something that the receiver had sent was wrong.
    Error(ErrorReport<'a>),
    /// Are you there? The answer carries the same bytes.
    EchoRequest(&'a [u8]),
    /// The answer to an echo request, with the same data.
    EchoReply(&'a [u8]),
    /// Asks a switch for its datapath id and what it can do.
    FeaturesRequest,
    /// A switch says its datapath id and what it can do.
    FeaturesReply(Features),
    /// Asks a switch for its configuration.
    GetConfigRequest,
    /// A switch says its configuration.
    GetConfigReply(Config),
    /// Sets the configuration of a switch.
    SetConfig(Config),
    /// A packet that a switch sends to the controller.
    PacketIn(PacketIn<'a>),
    /// A packet for the switch to send.
    PacketOut(PacketOut<'a>),
    /// Adds, changes or deletes flows of a switch.
    FlowMod(FlowMod),
    /// A flow of a switch ended.
    FlowRemoved(FlowRemoved),
    /// A port of a switch was added, was deleted or changed.
    PortStatus(PortStatus),
    /// Asks for the ports; 1.3 only, where [`Features`] has none.
    PortsRequest,
    /// A part of the ports; 1.3 only.
    PortsReply {
        /// The ports that this part of the answer names.
        ports: Vec<Port>,
        /// Whether further parts of the answer follow.
        more: bool,
    },
    /// All before this is to be done before anything after it.
    BarrierRequest,
    /// All requests before the barrier were done.
    BarrierReply,
    /// A message that the version has and this crate has no use for, and its type.
    Other(u8),
}

/// An error, in the version's own numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorReport<'a> {
    /// Type of error: `OFPET_…`.
    pub kind: u16,
    /// What exactly was wrong; its meaning depends on `kind`.
    pub code: u16,
    /// Usually the beginning of the message that was wrong.
    pub data: &'a [u8],
}

/// What a switch is and can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Features {
    /// Datapath id: its lower 48 bits are usually an Ethernet address.
    pub dpid: u64,
    /// How many packets it can keep for the controller.
    pub buffers: u32,
    /// How many flow tables it has.
    pub tables: u8,
    /// In 1.3: 0 for the main connection.
    pub auxiliary: u8,
    /// What the switch can do: bits of `OFPC_…`.
    pub capabilities: u32,
    /// In 1.0: the actions it supports, a bit each.
    pub actions: u32,
    /// In 1.0 its ports; in 1.3 empty, since they are asked for separately.
    pub ports: Vec<Port>,
}

/// What a switch does with fragments, and how much of a packet it sends up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// OFPC_FRAG_…: 0 treats IP fragments like all packets.
    pub flags: u16,
    /// Bytes of a packet without a flow that are sent up, if the switch can keep the whole.
    pub miss_send_len: u16,
}

/// Why a packet was sent to the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketInReason {
    /// No flow matched it.
    NoMatch,
    /// An action of a flow sent it.
    Action,
    /// Its time to live ran out; 1.3 only.
    InvalidTtl,
}

/// A packet that a switch sends to the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketIn<'a> {
    /// Where the switch keeps it, if it does.
    pub buffer: Option<BufferId>,
    /// Bytes of the whole frame. Some switches do not fill it in.
    pub total_len: u16,
    /// The port that it came in on.
    pub in_port: PortNo,
    /// Why it was sent to the controller.
    pub reason: PacketInReason,
    /// The frame, or as much of its beginning as the switch sends.
    pub data: &'a [u8],
}

impl PacketIn<'_> {
    /// Whether `data` is the whole frame.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.data.len() >= usize::from(self.total_len)
    }
}

/// A packet for the switch to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketOut<'a> {
    /// Which of the packets it keeps; otherwise `data`.
    pub buffer: Option<BufferId>,
    /// Where the packet came in; flooding leaves this port out.
    pub in_port: PortNo,
    /// Where to send it; `None` drops it.
    pub output: Option<PortNo>,
    /// The frame to send out; empty if it is in a buffer of the switch.
    pub data: Cow<'a, [u8]>,
}

/// What a flow-mod does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Adds a flow; one with the same match and priority is replaced.
    Add,
    /// Changes the actions of all flows that the match covers.
    Modify,
    /// Changes the actions of the flow with this match and priority.
    ModifyStrict,
    /// Deletes all flows that the match covers.
    Delete,
    /// Deletes the flow with this match and priority.
    DeleteStrict,
}

/// Adds, changes or deletes flows of a switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowMod {
    /// Whether to add, to change or to delete.
    pub command: Command,
    /// Which packets the flow is for, or which flows it is about.
    pub matching: FlowMatch,
    /// The controller's own number of the flow; comes back in [`FlowRemoved`].
    pub cookie: u64,
    /// Ends the flow after so many seconds without a packet; 0: never.
    pub idle_timeout: u16,
    /// Ends the flow after so many seconds; 0: never.
    pub hard_timeout: u16,
    /// The highest that matches wins. In 1.0 flows that leave no field open come before all others.
    pub priority: u16,
    /// A kept packet to which the flow is applied at once.
    pub buffer: Option<BufferId>,
    /// Of deletions: only flows that send to this port; `None`: all.
    pub out_port: Option<PortNo>,
    /// Whether the switch tells when the flow ends.
    pub notify_removal: bool,
    /// Where packets go, whole; `None` drops them.
    pub output: Option<PortNo>,
    /// Where else they go: a copy to each. Empty without an `output`.
    pub copies: Vec<PortNo>,
}

impl FlowMod {
    /// Deletes all flows that a match covers.
    #[must_use]
    pub const fn delete(matching: FlowMatch) -> Self {
        Self {
            command: Command::Delete,
            matching,
            cookie: 0,
            idle_timeout: 0,
            hard_timeout: 0,
            priority: 0,
            buffer: None,
            out_port: None,
            notify_removal: false,
            output: None,
            copies: Vec::new(),
        }
    }

    /// All ports to which its actions send packets.
    pub fn outputs(&self) -> impl Iterator<Item = PortNo> + '_ {
        self.output.into_iter().chain(self.copies.iter().copied())
    }
}

/// Why a flow is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// No packet matched it for its idle time-out.
    Idle,
    /// Its hard time-out has passed.
    Hard,
    /// A flow-mod of the controller deleted it.
    Deleted,
    /// Its group was deleted; 1.3 only.
    GroupDeleted,
    /// Another reason, in the switch's own number: Open vSwitch makes room in a full table with 4 or 5, which are of
    /// later versions.
    Other(u8),
}

/// A flow is gone, with what it counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowRemoved {
    /// The match that the flow had.
    pub matching: FlowMatch,
    /// The cookie that it was added with.
    pub cookie: u64,
    /// The priority that it had.
    pub priority: u16,
    /// Why it is gone.
    pub reason: Removal,
    /// How many seconds it was there.
    pub duration: u32,
    /// Idle time-out that it had, in seconds.
    pub idle_timeout: u16,
    /// How many packets it was applied to.
    pub packets: u64,
    /// How many bytes those packets had.
    pub bytes: u64,
}

/// What happened to a port of a switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortStatusReason {
    /// The port was added.
    Added,
    /// The port was deleted.
    Deleted,
    /// The port has changed.
    Modified,
}

/// A port of a switch was added, was deleted or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortStatus {
    /// What happened to the port.
    pub reason: PortStatusReason,
    /// The port as it is now, or was when it was deleted.
    pub port: Port,
}
