//! Messages as values.

use std::borrow::Cow;

use super::{FlowMatch, Port, PortNo, Versions};

/// A packet that the switch keeps for the controller to decide on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BufferId(u32);

impl BufferId {
    /// On the wire: no buffer.
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
    /// Which versions the sender speaks.
    Hello(Versions),
    /// Something the receiver sent was wrong.
    Error(ErrorReport<'a>),
    /// Are you there? The answer carries the same bytes.
    EchoRequest(&'a [u8]),
    /// The answer.
    EchoReply(&'a [u8]),
    /// Asks a switch who it is.
    FeaturesRequest,
    /// A switch says who it is.
    FeaturesReply(Features),
    /// Asks for the configuration.
    GetConfigRequest,
    /// The configuration.
    GetConfigReply(Config),
    /// Sets the configuration.
    SetConfig(Config),
    /// A packet for which the switch has no flow.
    PacketIn(PacketIn<'a>),
    /// A packet for the switch to send.
    PacketOut(PacketOut<'a>),
    /// Adds, changes or deletes flows.
    FlowMod(FlowMod),
    /// A flow ended.
    FlowRemoved(FlowRemoved),
    /// A port came, went or changed.
    PortStatus(PortStatus),
    /// Asks for the ports; 1.3 only, where [`Features`] has none.
    PortsRequest,
    /// A part of the ports; 1.3 only.
    PortsReply {
        /// The ports in this part.
        ports: Vec<Port>,
        /// Whether more parts follow.
        more: bool,
    },
    /// All before this is to be done before anything after it.
    BarrierRequest,
    /// All before the request was done.
    BarrierReply,
    /// A message that the version has and this crate has no use for, and its type.
    Other(u8),
}

/// An error, in the version's own numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorReport<'a> {
    /// Kind of error: `OFPET_…`.
    pub kind: u16,
    /// Depends on `kind`.
    pub code: u16,
    /// Usually the beginning of the message that was wrong.
    pub data: &'a [u8],
}

/// Who a switch is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Features {
    /// Datapath id: its lower 48 bits are usually an Ethernet address.
    pub dpid: u64,
    /// How many packets it can keep for the controller.
    pub buffers: u32,
    /// How many tables it has.
    pub tables: u8,
    /// In 1.3: 0 for the main connection.
    pub auxiliary: u8,
    /// What the switch can do: `OFPC_…`.
    pub capabilities: u32,
    /// In 1.0: the actions it supports, a bit each.
    pub actions: u32,
    /// In 1.0: its ports.
    pub ports: Vec<Port>,
}

/// Configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// OFPC_FRAG_…: 0 treats IP fragments like all packets.
    pub flags: u16,
    /// Bytes of a packet without a flow that are sent up, if the switch can keep the whole.
    pub miss_send_len: u16,
}

/// Why a packet was sent up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketInReason {
    /// No flow matched.
    NoMatch,
    /// A flow said so.
    Action,
    /// Its time to live ran out; 1.3 only.
    InvalidTtl,
}

/// A packet for which the switch has no flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketIn<'a> {
    /// Where the switch keeps it, if it does.
    pub buffer: Option<BufferId>,
    /// Bytes of the whole frame. Some switches do not fill it in.
    pub total_len: u16,
    /// Where it came in.
    pub in_port: PortNo,
    /// Why it was sent up.
    pub reason: PacketInReason,
    /// The frame, or its beginning.
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
    /// The frame; empty with a buffer.
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

/// Adds, changes or deletes flows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowMod {
    /// What to do.
    pub command: Command,
    /// Which packets.
    pub matching: FlowMatch,
    /// Comes back in [`FlowRemoved`].
    pub cookie: u64,
    /// Ends the flow after so many seconds without a packet; 0: never.
    pub idle_timeout: u16,
    /// Ends the flow after so many seconds; 0: never.
    pub hard_timeout: u16,
    /// The highest that matches wins. In 1.0 flows that leave no field open come before all others.
    pub priority: u16,
    /// A kept packet to which the flow is applied at once.
    pub buffer: Option<BufferId>,
    /// Deletes only flows that send there.
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

    /// All ports to which packets go.
    pub fn outputs(&self) -> impl Iterator<Item = PortNo> + '_ {
        self.output.into_iter().chain(self.copies.iter().copied())
    }
}

/// Why a flow ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// No packet for its idle time-out.
    Idle,
    /// Its hard time-out.
    Hard,
    /// A flow-mod deleted it.
    Deleted,
    /// Its group went; 1.3 only.
    GroupDeleted,
    /// Another reason, in the switch's own number: Open vSwitch makes room in a full table with 4 or 5, which are of
    /// later versions.
    Other(u8),
}

/// A flow ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowRemoved {
    /// Its match.
    pub matching: FlowMatch,
    /// Cookie of the flow.
    pub cookie: u64,
    /// Priority of the flow.
    pub priority: u16,
    /// Why it is told.
    pub reason: Removal,
    /// Its age in seconds.
    pub duration: u32,
    /// Its idle time-out in seconds.
    pub idle_timeout: u16,
    /// Packets it was applied to.
    pub packets: u64,
    /// Their size in bytes.
    pub bytes: u64,
}

/// What happened to a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortStatusReason {
    /// It came.
    Added,
    /// It went.
    Deleted,
    /// It changed.
    Modified,
}

/// A port came, went or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortStatus {
    /// Why it is told.
    pub reason: PortStatusReason,
    /// The port as it is now.
    pub port: Port,
}
