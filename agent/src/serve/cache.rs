//! The last seconds of a stream, for peers that join it or have missed some of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use livectl_wire::flv::{self, Content, TagKind};
use livectl_wire::frame::FrameId;
use livectl_wire::peer::{Gap, Since};

/// A whole tag with its header and trailer, shared between peers.
pub(crate) type TagBytes = Arc<[u8]>;

/// Bytes that are kept at most. A single group of pictures that has more is dropped, and joiners wait for the next
/// keyframe.
const MAX_BYTES: usize = 64 << 20;

/// A tag of the stream.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) kind: TagKind,
    pub(crate) content: Content,
    /// Time stamp in milliseconds.
    pub(crate) timestamp: u32,
    pub(crate) id: FrameId,
    /// Birth in nanoseconds of CLOCK_REALTIME.
    pub(crate) birth_ns: i64,
    pub(crate) bytes: TagBytes,
}

/// What a decoder must know before anything else, and what is known of the stream.
#[derive(Debug, Clone, Default)]
struct Configuration {
    metadata: Option<TagBytes>,
    video: Option<TagBytes>,
    audio: Option<TagBytes>,
}

/// A keyframe and what follows it; of a stream without pictures, a single sound.
#[derive(Debug)]
struct Group {
    /// Its first entry, counted from the stream's first.
    start: u64,
    birth_ns: i64,
    bytes: usize,
    /// In force at its beginning.
    configuration: Configuration,
}

/// Whole groups of the last so many seconds.
#[derive(Debug)]
pub(crate) struct Cache {
    span: Duration,
    entries: VecDeque<Entry>,
    /// Number of the first entry that is there.
    first: u64,
    groups: VecDeque<Group>,
    bytes: usize,
    configuration: Configuration,
    audio: bool,
    video: bool,
}

/// What someone who joins is given before the next tag.
#[derive(Debug)]
pub(crate) struct Backlog {
    pub(crate) gap: Gap,
    pub(crate) tags: Vec<TagBytes>,
}

/// So many milliseconds earlier, in nanoseconds.
fn earlier(now_ns: i64, ms: u32) -> i64 {
    now_ns.saturating_sub(i64::from(ms).saturating_mul(1_000_000))
}

impl Configuration {
    fn note(&mut self, content: Content, bytes: &TagBytes) {
        let place = match content {
            Content::Metadata => &mut self.metadata,
            Content::VideoConfig => &mut self.video,
            Content::AudioConfig => &mut self.audio,
            Content::Picture { .. } | Content::Sound | Content::Other => return,
        };
        *place = Some(Arc::clone(bytes));
    }
}

impl Cache {
    pub(crate) fn new(span: Duration) -> Self {
        Self {
            span,
            entries: VecDeque::new(),
            first: 0,
            groups: VecDeque::new(),
            bytes: 0,
            configuration: Configuration::default(),
            audio: false,
            video: false,
        }
    }

    /// Takes note of the stream's next tag.
    pub(crate) fn note(&mut self, entry: Entry) {
        let Entry { content, birth_ns, .. } = entry;
        let before = self.configuration.clone();
        self.configuration.note(content, &entry.bytes);
        self.audio |= entry.kind == TagKind::Audio;
        self.video |= matches!(content, Content::Picture { .. } | Content::VideoConfig);
        let begins = match content {
            Content::Picture { keyframe } => keyframe,
            Content::Sound => !self.video,
            _ => false,
        };
        if begins {
            let start = self.first + self.entries.len() as u64;
            self.groups.push_back(Group { start, birth_ns, bytes: 0, configuration: before });
        }
        if let Some(group) = self.groups.back_mut() {
            group.bytes += entry.bytes.len();
            self.bytes += entry.bytes.len();
            self.entries.push_back(entry);
        }
        self.forget(birth_ns);
    }

    /// Lets whole groups go that are too old or too many.
    fn forget(&mut self, now_ns: i64) {
        let oldest = now_ns.saturating_sub(i64::try_from(self.span.as_nanos()).unwrap_or(i64::MAX));
        while let Some(group) = self.groups.front() {
            let next = self.groups.get(1);
            let old = next.is_some_and(|next| next.birth_ns < oldest);
            if !old && self.bytes <= MAX_BYTES {
                break;
            }
            let until = next.map_or(self.first + self.entries.len() as u64, |next| next.start);
            self.bytes -= group.bytes;
            let count = usize::try_from(until - self.first).unwrap_or(usize::MAX).min(self.entries.len());
            self.entries.drain(..count);
            self.first = until;
            self.groups.pop_front();
        }
    }

    fn entry(&self, number: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// What someone who asks at `now_ns` is given before the next tag.
    pub(crate) fn backlog(&self, since: Since, live: bool, now_ns: i64) -> Backlog {
        let end = self.first + self.entries.len() as u64;
        let last = self.groups.back().map_or(end, |group| group.start);
        let known = |at| Gap { skipped: Some(0), lost: Some(0), at };
        let (mut start, mut gap) = match since {
            Since::Keyframe => (last, known(None)),
            Since::After { timestamp, id } => self.after(timestamp, id).map_or_else(
                || (self.instead_of(timestamp, end), Gap::default()),
                |number| (number + 1, known(self.entry(number).map(|entry| entry.timestamp))),
            ),
            Since::Waiting(ms) => {
                let came = earlier(now_ns, ms);
                let group = self.groups.iter().rev().find(|group| group.birth_ns <= came);
                (group.or(self.groups.front()).map_or(end, |group| group.start), known(None))
            }
        };
        if live && start < last {
            gap.skipped = gap.skipped.map(|_| self.pictures_in(start, last));
            start = last;
        }
        Backlog { gap, tags: self.tags(start, end) }
    }

    /// Whether, of a stream that has ended, there is anything that who asks at `now_ns` has been waiting for.
    pub(crate) fn concerns(&self, since: Since, now_ns: i64) -> bool {
        match since {
            Since::Keyframe => false,
            Since::After { .. } => !self.entries.is_empty(),
            Since::Waiting(ms) => self.entries.back().is_some_and(|last| last.birth_ns >= earlier(now_ns, ms)),
        }
    }

    /// The entry that is that frame. The same payload may be there several times (a picture that stands still,
    /// silence): then the one with that timestamp, or else the nearest to it, for who asks may have its timestamps
    /// from someone who shifts them.
    fn after(&self, timestamp: u32, id: FrameId) -> Option<u64> {
        let alike = (self.first..).zip(&self.entries).filter(|(_, entry)| entry.id == id);
        let nearest = alike.min_by_key(|(_, entry)| entry.timestamp.abs_diff(timestamp));
        nearest.map(|(number, _)| number)
    }

    /// Where to begin for one who asks for what follows a frame that is not here.
    fn instead_of(&self, timestamp: u32, end: u64) -> u64 {
        let newer_than_all = self.entries.back().is_some_and(|newest| timestamp > newest.timestamp);
        match self.groups.front() {
            Some(oldest) if !newer_than_all => oldest.start,
            _ => end,
        }
    }

    fn pictures_in(&self, from: u64, until: u64) -> u64 {
        let between = (self.first..).zip(&self.entries).filter(|(number, _)| (from..until).contains(number));
        between.filter(|(_, entry)| matches!(entry.content, Content::Picture { .. })).count() as u64
    }

    /// The file header, the configuration in force at `start`, and everything from there on.
    fn tags(&self, start: u64, end: u64) -> Vec<TagBytes> {
        let mut configuration = self.configuration.clone();
        if start < end
            && let Some(group) = self.groups.iter().rev().find(|group| group.start <= start)
        {
            configuration = group.configuration.clone();
            let before = (group.start..start).filter_map(|number| self.entry(number));
            before.for_each(|entry| configuration.note(entry.content, &entry.bytes));
        }
        let header: TagBytes = flv::header(self.audio, self.video || !self.audio).as_slice().into();
        let Configuration { metadata, video, audio } = configuration;
        let configuration = [metadata, video, audio].into_iter().flatten();
        let entries = (start..end).filter_map(|number| self.entry(number)).map(|entry| Arc::clone(&entry.bytes));
        std::iter::once(header).chain(configuration).chain(entries).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use livectl_wire::flv::Reader;
    use proptest::prelude::*;

    use super::*;

    const VIDEO_CONFIG: &[u8] = &[0x17, 0, 0, 0, 0, 0xcc];
    const AUDIO_CONFIG: &[u8] = &[0xaf, 0, 0x12];
    const METADATA: &[u8] = b"\x02\x00\x0aonMetaData...";

    fn entry(kind: TagKind, timestamp: u32, payload: &[u8]) -> Entry {
        let mut bytes = Vec::new();
        flv::tag(kind, timestamp, payload, &mut bytes).unwrap();
        let content = Content::of(kind, payload);
        let birth_ns = i64::from(timestamp) * 1_000_000;
        Entry { kind, content, timestamp, id: FrameId::of(payload), birth_ns, bytes: bytes.into() }
    }

    fn picture(timestamp: u32, keyframe: bool) -> Entry {
        let [a, b, c, d] = timestamp.to_be_bytes();
        entry(TagKind::Video, timestamp, &[if keyframe { 0x17 } else { 0x27 }, 1, 0, 0, 0, a, b, c, d])
    }

    fn sound(timestamp: u32) -> Entry {
        entry(TagKind::Audio, timestamp, &[0xaf, 1, timestamp as u8])
    }

    /// 40 ms apart, every fifth a keyframe, sound 10 ms after each.
    fn filled(pictures: u32, span: Duration) -> Cache {
        let mut cache = Cache::new(span);
        cache.note(entry(TagKind::Script, 0, METADATA));
        cache.note(entry(TagKind::Video, 0, VIDEO_CONFIG));
        cache.note(entry(TagKind::Audio, 0, AUDIO_CONFIG));
        for n in 0..pictures {
            cache.note(picture(n * 40, n % 5 == 0));
            cache.note(sound(n * 40 + 10));
        }
        cache
    }

    fn read(backlog: &Backlog) -> Vec<(u32, Vec<u8>)> {
        let mut found = Vec::new();
        Reader::new(1 << 20).push(&backlog.tags.concat(), |t| found.push((t.timestamp, t.payload.to_vec()))).unwrap();
        found
    }

    fn times(backlog: &Backlog) -> Vec<u32> {
        let media = read(backlog).into_iter().filter(|(_, p)| p.get(1) == Some(&1));
        media.map(|(timestamp, _)| timestamp).collect()
    }

    fn known(at: Option<u32>) -> Gap {
        Gap { skipped: Some(0), lost: Some(0), at }
    }

    #[test]
    fn headers_then_everything_since_the_last_keyframe() {
        let cache = filled(7, Duration::from_secs(30));
        let backlog = cache.backlog(Since::Keyframe, false, 0);
        assert_eq!(backlog.gap, known(None));
        assert_eq!(times(&backlog), [200, 210, 240, 250]);
        let heads: Vec<Vec<u8>> = read(&backlog).into_iter().take(3).map(|(_, payload)| payload).collect();
        assert_eq!(heads, [METADATA.to_vec(), VIDEO_CONFIG.to_vec(), AUDIO_CONFIG.to_vec()]);
        assert_eq!(backlog.tags[0][4], 5, "the file header announces both");
    }

    #[test]
    fn everything_after_a_frame_or_a_sound() {
        let cache = filled(12, Duration::from_secs(30));
        let after = |e: Entry| Since::After { timestamp: e.timestamp, id: e.id };
        let backlog = cache.backlog(after(picture(120, false)), false, 0);
        assert_eq!(backlog.gap, known(Some(120)));
        assert_eq!(times(&backlog)[..4], [130, 160, 170, 200]);
        assert_eq!(times(&backlog).len(), 24 - 7);
        let backlog = cache.backlog(after(sound(450)), false, 0);
        assert_eq!((backlog.gap, times(&backlog)), (known(Some(450)), vec![]));
        let live = cache.backlog(after(picture(120, false)), true, 0);
        assert_eq!(live.gap, Gap { skipped: Some(6), lost: Some(0), at: Some(120) });
        assert_eq!(times(&live), [400, 410, 440, 450]);
        let live = cache.backlog(after(picture(400, true)), true, 0);
        assert_eq!((live.gap, times(&live)), (known(Some(400)), vec![410, 440, 450]), "nothing to skip");
    }

    #[test]
    fn frames_that_are_not_there() {
        let cache = filled(100, Duration::from_secs(1));
        let oldest = times(&cache.backlog(Since::After { timestamp: 0, id: picture(0, true).id }, false, 0));
        assert_eq!(oldest[0], 2800, "the group in which the last second begins: 2960 ms is in it");
        assert_eq!(oldest.last(), Some(&3970));
        let backlog = cache.backlog(Since::After { timestamp: 0, id: FrameId::of(b"?") }, false, 0);
        assert_eq!(backlog.gap, Gap::default(), "nothing is known");
        let newer = cache.backlog(Since::After { timestamp: 5000, id: FrameId::of(b"?") }, false, 0);
        assert_eq!((newer.gap, times(&newer)), (Gap::default(), vec![]), "from the next on");
        let shifted = cache.backlog(Since::After { timestamp: 100_000, id: picture(3960, false).id }, false, 0);
        assert_eq!((shifted.gap, times(&shifted)), (known(Some(3960)), vec![3970]), "it is known by its payload");
    }

    #[test]
    fn the_same_payload_again_and_again() {
        let mut cache = Cache::new(Duration::from_secs(30));
        cache.note(picture(0, true));
        for timestamp in [40, 80, 120] {
            cache.note(entry(TagKind::Video, timestamp, &[0x27, 1, 0, 0, 0, 9]));
        }
        let id = FrameId::of(&[0x27, 1, 0, 0, 0, 9]);
        assert_eq!(times(&cache.backlog(Since::After { timestamp: 80, id }, false, 0)), [120]);
        assert_eq!(times(&cache.backlog(Since::After { timestamp: 50, id }, false, 0)), [80, 120]);
    }

    #[test]
    fn a_player_that_waits() {
        let cache = filled(15, Duration::from_secs(30));
        let now = 600 * 1_000_000;
        for (ms, first) in [(0, 400), (150, 400), (201, 200), (5000, 0)] {
            let backlog = cache.backlog(Since::Waiting(ms), false, now);
            assert_eq!((backlog.gap, times(&backlog)[0]), (known(None), first), "{ms}");
        }
        let live = cache.backlog(Since::Waiting(5000), true, now);
        assert_eq!((live.gap.skipped, times(&live)[0]), (Some(10), 400));
    }

    #[test]
    fn a_configuration_that_changes_within_a_group() {
        let mut cache = filled(2, Duration::from_secs(30));
        let other = [0x17, 0, 0, 0, 0, 0xdd];
        cache.note(entry(TagKind::Video, 80, &other));
        cache.note(picture(80, false));
        let heads = |since| read(&cache.backlog(since, false, 0))[1].1.clone();
        assert_eq!(heads(Since::Keyframe), VIDEO_CONFIG, "its change comes later, at its place");
        assert_eq!(heads(Since::After { timestamp: 80, id: picture(80, false).id }), other);
    }

    #[test]
    fn sound_alone_is_kept_sound_by_sound() {
        let mut cache = Cache::new(Duration::from_secs(1));
        cache.note(entry(TagKind::Audio, 0, AUDIO_CONFIG));
        for n in 0..200 {
            cache.note(sound(n * 20));
        }
        assert_eq!(times(&cache.backlog(Since::Keyframe, false, 0)), [3980]);
        let all = cache.backlog(Since::After { timestamp: 0, id: FrameId::of(b"?") }, false, 0);
        assert_eq!((times(&all)[0], all.tags[0][4]), (2960, 4), "audio alone is announced");
    }

    #[test]
    fn a_group_that_grows_too_long_is_let_go() {
        let mut cache = Cache::new(Duration::from_secs(1000));
        cache.note(picture(1, true));
        let mut long = vec![0x27; 8 << 20];
        long[1] = 1;
        for timestamp in 2..12 {
            cache.note(entry(TagKind::Video, timestamp, &long));
        }
        assert!(times(&cache.backlog(Since::Keyframe, false, 0)).is_empty());
        cache.note(picture(12, true));
        assert_eq!(times(&cache.backlog(Since::Keyframe, false, 0)), [12]);
    }

    proptest! {
        #[test]
        fn what_is_kept_is_whole_groups_without_a_gap(
            keyframes in proptest::collection::vec(any::<bool>(), 1..200), span_ms in 0u64..4000, ask: u32, live: bool,
        ) {
            let mut cache = Cache::new(Duration::from_millis(span_ms));
            for (n, keyframe) in keyframes.iter().enumerate() {
                cache.note(picture(n as u32 * 40, *keyframe));
            }
            let newest = keyframes.len() as u32 * 40 - 40;
            for since in [Since::Keyframe, Since::Waiting(ask % 5000), Since::After { timestamp: ask % 8000, id: FrameId::of(b"?") }] {
                let times = times(&cache.backlog(since, live, i64::from(newest) * 1_000_000));
                if let Some(first) = times.first() {
                    prop_assert!(keyframes[*first as usize / 40]);
                    prop_assert_eq!(times.last(), Some(&newest));
                    prop_assert_eq!(times.len() as u32, (newest - first) / 40 + 1);
                }
            }
            let asked = picture(ask % keyframes.len() as u32 * 40, keyframes[ask as usize % keyframes.len()]);
            let backlog = cache.backlog(Since::After { timestamp: asked.timestamp, id: asked.id }, false, 0);
            if backlog.gap.at.is_some() {
                prop_assert_eq!(times(&backlog), (asked.timestamp / 40 + 1..=newest / 40).map(|n| n * 40).collect::<Vec<_>>());
            }
        }
    }
}
