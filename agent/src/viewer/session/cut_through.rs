//! Cut-through: children are sent a picture as it arrives.
//!
//! A host that waits for all of a picture adds the time between its first packet and its last, and that is long: the
//! copies for its siblings are sent meanwhile, packet by packet in turn, and its own uplink may have nothing else to
//! send.
//!
//! The player gets whole messages all the same.

use livectl_wire::agent_event::Path;
use livectl_wire::flv::Content;

use super::Session;
use crate::serve;
use crate::viewer::peer::Part;

impl Session<'_> {
    /// From how many bytes on parts of tags are wanted from peers.
    pub(super) fn in_parts(&self) -> Option<usize> {
        self.children.and_then(|_| self.args.cut_through.least())
    }

    /// The parent has given some of a tag that is not whole.
    pub(super) fn part_came(&self, part: &Part) {
        let Some(children) = self.children else { return };
        let &Part { kind, timestamp, size, at, ref bytes } = part;
        let Some(timestamp) = self.merge.written_as(Path::Peer, timestamp) else { return };
        let is_picture = || matches!(Content::of(kind, bytes), Content::Picture { .. });
        let may_begin = at == 0 && is_picture() && self.may_write() && self.merge.comes_next(Path::Peer, timestamp);
        children.send_part(&serve::Part { kind, timestamp, size, at, bytes }, may_begin);
    }
}
