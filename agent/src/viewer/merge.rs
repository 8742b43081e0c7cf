//! Which source gives the next frame.
//!
//! All sources of a session, the CDN and a peer, give the same sequence of *elements*: pictures and sounds. They
//! begin anywhere in it, one is ahead of the other, and any may end at any time. Out comes that sequence, each
//! element once and in order, each as soon as the first source has it.
//!
//! An element is known by its payload's identity and its timestamp. A source is *in step* when it has given the last
//! element that was written, or one that was asked for what follows it: then what it gives next is the successor and
//! is written, whoever gives it first. What was written is dropped when it comes again. A source that is not in step
//! and gives an element that nobody has written is ahead of the others, and waits, as long as another source may
//! still give what lies between. When none can, it *jumps*: its next keyframe is written, or with a stream without
//! pictures its next sound.

use std::collections::{HashMap, VecDeque};

use livectl_wire::agent_event::Path;
use livectl_wire::flv::{Content, TagKind};
use livectl_wire::frame::FrameId;

/// Elements that are remembered: minutes of a stream, and more than any source repeats.
const MAX_RECENT: usize = 1 << 14;
/// Bytes that may wait in a source that is ahead.
const MAX_WAITING: usize = 32 << 20;

/// A tag as a source gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// Audio, video or script data.
    pub kind: TagKind,
    /// What the payload is, by its first bytes.
    pub content: Content,
    /// Milliseconds, in the source's own count.
    pub timestamp: u32,
    /// XXH3-128 of the payload.
    pub id: FrameId,
    /// Payload of the tag.
    pub payload: Vec<u8>,
}

impl Tag {
    /// The tag of a payload.
    #[must_use]
    pub fn of(kind: TagKind, timestamp: u32, payload: Vec<u8>) -> Self {
        let (content, id) = (Content::of(kind, &payload), FrameId::of(&payload));
        Self { kind, content, timestamp, id, payload }
    }

    fn is_element(&self) -> bool {
        matches!(self.content, Content::Picture { .. } | Content::Sound)
    }

    fn is_picture(&self) -> bool {
        matches!(self.content, Content::Picture { .. })
    }
}

/// A tag that is to be written to the player.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The source that gave it.
    pub path: Path,
    /// It; its timestamp is now in the output's count.
    pub tag: Tag,
    /// What lies between it and the element before it was given by nobody.
    pub jump: bool,
}

/// Where in the stream a source begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// Anywhere: it is found by what it has in common with others.
    Anywhere,
    /// With what follows the element of that number.
    After {
        /// The element's number, as [`Merge::last`] gave it.
        number: u64,
        /// The element's timestamp in the output.
        written: u32,
        /// The element's timestamp in the source.
        given: u32,
    },
    /// Later than that on purpose: it has left out what is too old.
    Skipping {
        /// Timestamp in the output of the element after which it was asked for.
        written: u32,
        /// That element's timestamp in the source.
        given: u32,
    },
}

/// The last element that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Last {
    /// Number of the element, from 1.
    pub number: u64,
    /// XXH3-128 of the frame's payload.
    pub id: FrameId,
    /// Timestamp in the output, in milliseconds.
    pub timestamp: u32,
}

#[derive(Debug)]
struct Source {
    queue: VecDeque<Tag>,
    waiting: usize,
    /// Highest number of an element that it has given.
    position: u64,
    /// What its timestamps are more than the output's; known when an element of it was recognised.
    shift: Option<u32>,
    /// It has skipped on purpose what lies before what it gives first.
    skips: bool,
    /// It has given a picture, or what follows one. A CDN that goes on gives sounds at once and pictures from the
    /// next keyframe on: before that, what comes after a sound is not what follows it.
    gives_pictures: bool,
    /// The source will give nothing more.
    ended: bool,
    metadata: Option<Tag>,
    video_config: Option<Tag>,
    audio_config: Option<Tag>,
}

impl Source {
    fn shift(&self) -> u32 {
        self.shift.unwrap_or(0)
    }
}

/// Merges the sources of a session.
#[derive(Debug, Default)]
pub struct Merge {
    cdn: Option<Source>,
    peer: Option<Source>,
    /// A source that is not there yet and may give what is missing.
    hope: [bool; 2],
    recent: HashMap<(FrameId, u32), u64>,
    order: VecDeque<(FrameId, u32)>,
    last: Option<Last>,
    number: u64,
    last_sound: Option<u32>,
    /// Sounds up to there are not written any more, since later ones were.
    sound_floor: Option<u32>,
    has_pictures: bool,
    /// Timestamp of the last picture that was written.
    last_picture: Option<u32>,
    metadata: Option<FrameId>,
    video_config: Option<FrameId>,
    audio_config: Option<FrameId>,
    /// The source of the last element.
    leader: Option<Path>,
    out: VecDeque<Written>,
    impatient: bool,
}

const PATHS: [Path; 2] = [Path::Peer, Path::Cdn];

impl Merge {
    fn source(&self, path: Path) -> Option<&Source> {
        match path {
            Path::Cdn => self.cdn.as_ref(),
            Path::Peer => self.peer.as_ref(),
        }
    }

    fn source_mut(&mut self, path: Path) -> &mut Option<Source> {
        match path {
            Path::Cdn => &mut self.cdn,
            Path::Peer => &mut self.peer,
        }
    }

    /// A source is there.
    pub fn open(&mut self, path: Path, beginning: Beginning) {
        let (position, shift, skips) = match beginning {
            Beginning::Anywhere => (0, None, false),
            Beginning::After { number, written, given } => (number, Some(given.wrapping_sub(written)), false),
            Beginning::Skipping { written, given } => (0, Some(given.wrapping_sub(written)), true),
        };
        self.hope(path, false);
        *self.source_mut(path) = Some(Source {
            queue: VecDeque::new(),
            waiting: 0,
            position,
            shift,
            skips,
            gives_pictures: beginning != Beginning::Anywhere,
            ended: false,
            metadata: None,
            video_config: None,
            audio_config: None,
        });
    }

    /// A source is gone, with what waits in it.
    pub fn close(&mut self, path: Path) {
        self.hope(path, false);
        *self.source_mut(path) = None;
    }

    /// A source that is not there yet may, or may not, give what others wait for.
    pub fn hope(&mut self, path: Path, hope: bool) {
        let [cdn, peer] = &mut self.hope;
        *(if path == Path::Cdn { cdn } else { peer }) = hope;
    }

    /// A source has given everything, to the end of the stream.
    pub fn end(&mut self, path: Path) {
        if let Some(source) = self.source_mut(path) {
            source.ended = true;
        }
    }

    /// Whether a source should be read: not while too much of it waits.
    #[must_use]
    pub fn has_room(&self, path: Path) -> bool {
        self.source(path).is_none_or(|source| source.waiting < MAX_WAITING)
    }

    /// The last element that was written.
    #[must_use]
    pub fn last(&self) -> Option<Last> {
        self.last
    }

    /// Whether a picture was written, or an element of a stream without any.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.last_picture.is_some() || (self.last.is_some() && !self.has_pictures)
    }

    /// Whether an element that a source has given was one that had been written: from there on it gives all that
    /// follows.
    #[must_use]
    pub fn is_known(&self, path: Path) -> bool {
        self.source(path).is_some_and(|source| source.position > 0)
    }

    /// Whether a source waits for what another one may give.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        PATHS.iter().any(|path| self.source(*path).is_some_and(|source| !source.queue.is_empty()))
    }

    /// The timestamp in the output of what a source gives with that timestamp.
    #[must_use]
    pub fn written_as(&self, path: Path, timestamp: u32) -> Option<u32> {
        self.source(path).map(|source| timestamp.wrapping_sub(source.shift()))
    }

    /// Whether a picture that a source begins to give, with that timestamp in the output, will be the next that is
    /// written unless another one gives something else meanwhile. Its identity is not known before it is whole. But
    /// the source is in step and nothing waits, so it is the successor of what was written last; and it is later than
    /// every picture so far, so it was not written already.
    #[must_use]
    pub fn comes_next(&self, path: Path, timestamp: u32) -> bool {
        let Some(source) = self.source(path).filter(|source| self.is_in_step(source)) else { return false };
        let is_later = self.last_picture.is_some_and(|last| is_before(last, timestamp));
        let is_alone = self.out.is_empty() && !self.is_waiting();
        // What would be written before it.
        let configurations = [
            (&source.metadata, self.metadata),
            (&source.video_config, self.video_config),
            (&source.audio_config, self.audio_config),
        ];
        let is_configured = configurations
            .iter()
            .all(|(given, written)| given.as_ref().is_none_or(|given| Some(given.id) == *written));
        is_later && is_alone && is_configured
    }

    /// The other sources were waited for long enough: what comes next may jump.
    pub fn give_up(&mut self) {
        self.impatient = true;
    }

    /// A source begins later than the others on purpose, and nobody is waited for who would give what lies before.
    pub fn skip(&mut self, path: Path) {
        if let Some(source) = self.source_mut(path) {
            source.skips = true;
        }
    }

    /// Whether the stream has ended: a source has given all of it, to the last element.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let complete = |source: &Source| {
            source.ended && source.queue.is_empty() && (self.is_in_step(source) || self.last.is_none())
        };
        self.out.is_empty() && PATHS.iter().any(|path| self.source(*path).is_some_and(complete))
    }

    /// A source gives its next tag.
    pub fn give(&mut self, path: Path, tag: Tag) {
        self.has_pictures |= tag.is_picture() || tag.content == Content::VideoConfig;
        if let Some(source) = self.source_mut(path) {
            source.waiting += tag.payload.len();
            source.queue.push_back(tag);
        }
    }

    /// A source's tag was written as it came, without asking.
    pub fn note(&mut self, path: Path, tag: &Tag) {
        self.has_pictures |= tag.is_picture() || tag.content == Content::VideoConfig;
        match tag.content {
            Content::Metadata => self.metadata = Some(tag.id),
            Content::VideoConfig => self.video_config = Some(tag.id),
            Content::AudioConfig => self.audio_config = Some(tag.id),
            Content::Other => (),
            Content::Picture { .. } | Content::Sound => self.record(path, tag),
        }
    }

    /// The next thing to write, if it is known.
    pub fn next_written(&mut self) -> Option<Written> {
        while self.out.is_empty() && self.step() {}
        self.out.pop_front()
    }

    fn is_in_step(&self, source: &Source) -> bool {
        self.last.is_some() && source.position == self.number
    }

    /// Does one thing; false when there is nothing to do.
    fn step(&mut self) -> bool {
        PATHS.iter().any(|path| self.pass_known(*path))
            || PATHS.iter().any(|path| self.write_successor(*path))
            || self.jump()
    }

    /// Takes what needs no decision off a source's queue: what was written already, and what is no element.
    fn pass_known(&mut self, path: Path) -> bool {
        let Some(source) = self.source(path) else { return false };
        let Some(front) = source.queue.front() else { return false };
        if !front.is_element() {
            let in_step = self.is_in_step(source) || (self.last.is_none() && front.content == Content::Other);
            let Some(tag) = self.pop(path) else { return false };
            self.aside(path, tag, in_step);
            return true;
        }
        let key = self.key(source, front);
        let shifted = self.recognise(source, front);
        if let Some(shift) = shifted
            && let Some(source) = self.source_mut(path)
        {
            source.shift = Some(shift);
            return true;
        }
        let Some(number) = self.recent.get(&key).copied() else { return false };
        let has_pictures = self.has_pictures;
        let is_picture = self.pop(path).is_some_and(|tag| tag.is_picture());
        if let Some(source) = self.source_mut(path) {
            source.gives_pictures |= is_picture;
            if source.gives_pictures || !has_pictures {
                source.position = source.position.max(number);
            }
            source.shift.get_or_insert(0);
        }
        true
    }

    fn key(&self, source: &Source, tag: &Tag) -> (FrameId, u32) {
        (tag.id, tag.timestamp.wrapping_sub(source.shift()))
    }

    /// The shift of a source of which nothing is known yet, if this keyframe was written with another timestamp.
    fn recognise(&self, source: &Source, tag: &Tag) -> Option<u32> {
        let unknown = source.shift.is_none() && tag.content == Content::Picture { keyframe: true };
        if !unknown || self.recent.contains_key(&self.key(source, tag)) {
            return None;
        }
        let alike = self.order.iter().rev().find(|(id, _)| *id == tag.id);
        alike.map(|(_, written)| tag.timestamp.wrapping_sub(*written))
    }

    /// Configurations are kept until the source's next element is written. The rest is written where it comes, if it
    /// is known to be at its place.
    fn aside(&mut self, path: Path, tag: Tag, in_step: bool) {
        let leads = self.leader == Some(path) || self.leader.is_none();
        let new_metadata = leads && self.metadata != Some(tag.id);
        let Some(source) = self.source_mut(path) else { return };
        match tag.content {
            Content::Metadata if new_metadata => source.metadata = Some(tag),
            Content::Metadata => (),
            Content::VideoConfig => source.video_config = Some(tag),
            Content::AudioConfig => source.audio_config = Some(tag),
            _ if in_step => {
                let key = (tag.id, tag.timestamp.wrapping_sub(source.shift()));
                if !self.recent.contains_key(&key) {
                    self.remember(key, self.number);
                    self.push(path, tag);
                }
            }
            _ => (),
        }
    }

    fn pop(&mut self, path: Path) -> Option<Tag> {
        let source = self.source_mut(path).as_mut()?;
        let tag = source.queue.pop_front()?;
        source.waiting -= tag.payload.len();
        Some(tag)
    }

    fn write_successor(&mut self, path: Path) -> bool {
        let Some(source) = self.source(path).filter(|source| self.is_in_step(source)) else { return false };
        let Some(front) = source.queue.front() else { return false };
        let (_, timestamp) = self.key(source, front);
        // A stream whose first pictures come after its first sounds: not before a keyframe.
        let early =
            front.is_picture() && self.last_picture.is_none() && front.content != Content::Picture { keyframe: true };
        let late = front.content == Content::Sound && self.sound_floor.is_some_and(|floor| timestamp <= floor);
        let Some(tag) = self.pop(path) else { return false };
        if !early && !late {
            self.write(path, tag, false);
        }
        true
    }

    /// Whether no other source will give what lies before what `path` gives next.
    fn may_jump(&self, path: Path, source: &Source) -> bool {
        let alone = || {
            let other = if path == Path::Cdn { Path::Peer } else { Path::Cdn };
            let [cdn, peer] = self.hope;
            let hoped = if other == Path::Cdn { cdn } else { peer };
            // One that is ahead as well cannot.
            let gives = |source: &Source| source.queue.is_empty() && !source.ended && source.position > 0;
            !hoped && !self.source(other).is_some_and(gives)
        };
        !self.has_begun() || source.skips || self.impatient || alone()
    }

    fn jump(&mut self) -> bool {
        let mut ahead: Vec<(Path, u32, bool)> = Vec::new();
        for path in PATHS {
            let Some(source) = self.source(path) else { continue };
            let Some(front) = source.queue.front() else { continue };
            let (_, timestamp) = self.key(source, front);
            let later = self.last.is_none_or(|last| !is_before(timestamp, last.timestamp));
            let begins = match front.content {
                Content::Picture { keyframe } => keyframe && (later || self.last_picture.is_none()),
                // With the sound that comes before a stream's first picture it begins as well.
                _ => later && !(self.has_pictures && self.last_picture.is_some()),
            };
            if begins && self.may_jump(path, source) {
                ahead.push((path, timestamp, true));
            } else if !later || (!begins && self.may_jump(path, source)) {
                // Too old, or nothing can begin with it.
                ahead.push((path, timestamp, false));
            }
        }
        if let Some((path, ..)) = ahead.iter().find(|(.., begins)| !begins) {
            self.pop(*path);
            return true;
        }
        let first = ahead.into_iter().reduce(|a, b| if is_before(b.1, a.1) { b } else { a });
        let Some((path, timestamp, _)) = first else { return false };
        let Some(tag) = self.pop(path) else { return false };
        self.impatient = false;
        if let Some(source) = self.source_mut(path) {
            source.skips = false;
        }
        self.sound_floor = self.last_sound.filter(|sound| is_before(timestamp, *sound));
        let jump = self.has_begun();
        self.write(path, tag, jump);
        true
    }

    fn write(&mut self, path: Path, tag: Tag, jump: bool) {
        let Some(source) = self.source_mut(path) else { return };
        let configurations = [source.metadata.take(), source.video_config.take(), source.audio_config.take()];
        for configuration in configurations.into_iter().flatten() {
            let written = match configuration.content {
                Content::Metadata => &mut self.metadata,
                Content::VideoConfig => &mut self.video_config,
                _ => &mut self.audio_config,
            };
            if *written != Some(configuration.id) {
                *written = Some(configuration.id);
                self.push(path, configuration);
            }
        }
        let shift = self.source(path).map_or(0, Source::shift);
        let tag = Tag { timestamp: tag.timestamp.wrapping_sub(shift), ..tag };
        self.record(path, &tag);
        self.out.push_back(Written { path, tag, jump });
    }

    /// What is no element is put in order with them.
    fn push(&mut self, path: Path, tag: Tag) {
        let shift = self.source(path).map_or(0, Source::shift);
        let tag = Tag { timestamp: tag.timestamp.wrapping_sub(shift), ..tag };
        self.out.push_back(Written { path, tag, jump: false });
    }

    /// An element was written, or is about to be.
    fn record(&mut self, path: Path, tag: &Tag) {
        self.number += 1;
        let number = self.number;
        self.remember((tag.id, tag.timestamp), number);
        self.last = Some(Last { number, id: tag.id, timestamp: tag.timestamp });
        self.leader = Some(path);
        if tag.is_picture() {
            self.last_picture = Some(tag.timestamp);
        } else {
            self.last_sound = Some(tag.timestamp);
        }
        if let Some(source) = self.source_mut(path) {
            source.gives_pictures |= tag.is_picture();
            source.position = number;
            source.shift.get_or_insert(0);
        }
    }

    fn remember(&mut self, key: (FrameId, u32), number: u64) {
        if self.recent.insert(key, number).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > MAX_RECENT
            && let Some(oldest) = self.order.pop_front()
        {
            self.recent.remove(&oldest);
        }
    }
}

/// Milliseconds, which begin again after 49 days.
fn is_before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
