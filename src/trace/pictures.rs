//! Frames that came in another container than they were born in: they are known by their pictures, which the
//! recording of the stream contains.
//!
//! A birth has the hash of what FLV and RTMP carry. A segment has the same picture with other bytes around it
//! ([`avc`]); so each birth is given the identity of its picture, and what arrived is paired by that.

use std::io::{self, Read};

use livectl_wire::avc;
use livectl_wire::birth::Birth;
use livectl_wire::flows::Flow;
use livectl_wire::flv::{Content, MAX_PAYLOAD, Reader, TagKind};
use livectl_wire::frame::FrameId;

use super::births::Births;
use super::pairing::Pairing;

/// Bytes of the lengths before NAL units, until a sequence header says otherwise; all programs write so many.
pub(super) const LENGTH_SIZE: usize = 4;

/// The births of a stream with the identities of their pictures.
#[derive(Debug, Clone)]
pub(super) struct Pictures {
    /// In the order of births; frames that the recording lacks have the identity of their payload.
    pub births: Vec<Birth>,
    /// Identity of the payload and time of each.
    payloads: Vec<(FrameId, u32)>,
    /// What is wrong with the recording, for people.
    pub problem: Option<String>,
}

impl Pictures {
    /// Reads the recording of the stream.
    ///
    /// # Errors
    /// When reading fails. What is no FLV, or of other frames, is a [problem](Self::problem).
    pub fn read(source: impl Read, births: &Births) -> io::Result<Self> {
        let payloads = births.frames.iter().map(|birth| (birth.id, birth.timestamp_ms)).collect();
        let mut pictures = Self { births: births.frames.clone(), payloads, problem: None };
        let (mut length_size, mut known) = (LENGTH_SIZE, 0);
        let read = Reader::new(MAX_PAYLOAD).read_all(source, |tag| {
            if tag.kind != TagKind::Video {
                return;
            }
            length_size = avc::length_size(tag.payload).unwrap_or(length_size);
            if !matches!(tag.content(), Content::Picture { .. }) {
                return;
            }
            let birth = pictures.births.get_mut(known).filter(|birth| birth.id == FrameId::of(tag.payload));
            if let Some((birth, picture)) = birth.zip(avc::picture_in_tag(tag.payload, length_size)) {
                birth.id = picture.id;
                known += 1;
            }
        })?;
        pictures.problem = read.err().map(|error| error.to_string());
        let born = pictures.births.len();
        if known < born && pictures.problem.is_none() {
            pictures.problem = Some(format!("it holds {known} of {born} frames as they were born"));
        }
        Ok(pictures)
    }

    /// Gives the frames of a flow the identity and time of the births that they are; others keep theirs, which no
    /// birth has.
    pub fn recognise(&self, flow: &mut Flow) {
        let seen: Vec<(FrameId, u32)> = flow.frames.iter().map(|frame| (frame.id, frame.timestamp_ms)).collect();
        let paired = Pairing::new(&self.births).pair(&seen);
        for (frame, of) in flow.frames.iter_mut().zip(paired.of) {
            let birth = of.and_then(|index| self.payloads.get(index));
            if let Some((id, timestamp_ms)) = birth {
                (frame.id, frame.timestamp_ms) = (*id, *timestamp_ms);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::process::Command;

    use livectl_wire::birth::Register;
    use livectl_wire::flows::{Arrival, Protocol};
    use livectl_wire::ts::{self, Video};

    use super::super::dump::DumpCheck;
    use super::*;

    /// A stream as it was born, of pictures with four slices and B-frames, and the same as ffmpeg writes it into a
    /// transport stream and into another FLV file.
    fn remuxed() -> (Vec<u8>, Births, Vec<u8>, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        let ffmpeg = |args: &[&str]| {
            let status = Command::new("ffmpeg").args(["-v", "error", "-nostdin"]).args(args).status().unwrap();
            assert!(status.success(), "{args:?}");
        };
        let source = "testsrc2=size=320x180:rate=25";
        let (born, stream, again) = (file("hb.flv"), file("hb.ts"), file("again.flv"));
        ffmpeg(&[
            "-f",
            "lavfi",
            "-i",
            source,
            "-frames:v",
            "50",
            "-c:v",
            "libx264",
            "-g",
            "20",
            "-bf",
            "2",
            "-slices",
            "4",
            &born,
        ]);
        ffmpeg(&["-i", &born, "-c", "copy", "-f", "mpegts", &stream]);
        ffmpeg(&["-i", &stream, "-c", "copy", &again]);
        let bytes = std::fs::read(&born).unwrap();
        let (mut register, mut log) = (Register::default(), format!("{}\n", livectl_wire::birth::HEADER));
        Reader::new(MAX_PAYLOAD)
            .push(&bytes, |tag| log += &format!("{}\n", register.birth(tag.kind, tag.timestamp, tag.payload, 1)))
            .unwrap();
        let births = Births::read(log.as_bytes()).unwrap();
        assert_eq!((births.frames.len(), births.problems.len()), (50, 0));
        (bytes, births, std::fs::read(stream).unwrap(), std::fs::read(again).unwrap())
    }

    #[test]
    fn every_frame_is_known_again_in_another_container() {
        let (born, births, stream, again) = remuxed();
        let pictures = Pictures::read(born.as_slice(), &births).unwrap();
        assert_eq!(pictures.problem, None);
        let mut frames = Vec::new();
        let mut deliver = |video: Video<'_>| {
            let Video::Whole(unit) = video else { panic!("nothing is damaged") };
            let picture = avc::picture_in_stream(unit.payload).unwrap();
            let (id, keyframe) = (picture.id, picture.keyframe);
            frames.push(Arrival {
                id,
                timestamp_ms: unit.timestamp_ms,
                size: 1,
                keyframe,
                time_ns: 0,
                first_byte_ns: 0,
            });
        };
        let mut reader = ts::Reader::new();
        reader.push(&stream, 0, &mut deliver).unwrap();
        reader.end(&mut deliver);
        let foreign = Arrival { id: FrameId([7; 16]), ..frames[0] };
        frames.push(foreign);
        let address = "10.0.0.2:80".parse().unwrap();
        let mut flow = Flow {
            from: address,
            to: address,
            protocol: Protocol::Hls,
            stream: None,
            frames,
            segments: vec![0],
            damaged: 0,
            counts: Default::default(),
            lost: 0,
            problems: Vec::new(),
            unread: false,
        };
        pictures.recognise(&mut flow);
        let known: Vec<(FrameId, u32, bool)> =
            flow.frames.iter().map(|frame| (frame.id, frame.timestamp_ms, frame.keyframe)).collect();
        let mut expected: Vec<(FrameId, u32, bool)> =
            births.frames.iter().map(|birth| (birth.id, birth.timestamp_ms, birth.keyframe)).collect();
        expected.push((foreign.id, foreign.timestamp_ms, foreign.keyframe));
        assert_eq!(known, expected);

        let check = DumpCheck::read_pictures(again.as_slice(), &pictures.births).unwrap();
        assert_eq!((check.matched, check.foreign, check.repeated, check.disordered), (50, 0, 0, 0));
        let by_payload = DumpCheck::read(again.as_slice(), &births).unwrap();
        assert!(by_payload.matched < 50, "else there would be no need for pictures");
    }

    #[test]
    fn a_recording_that_is_short_or_of_something_else_is_told() {
        let (born, births, ..) = remuxed();
        let cut = Pictures::read(&born[..born.len() / 2], &births).unwrap();
        let problem = cut.problem.unwrap();
        assert!(
            problem.starts_with("it holds ") && problem.ends_with(" of 50 frames as they were born"),
            "{problem}"
        );
        assert_eq!(cut.births[49].id, births.frames[49].id);
        let nothing = Pictures::read(b"no FLV at all".as_slice(), &births).unwrap();
        assert!(nothing.problem.unwrap().starts_with("not FLV at byte 0"));
    }
}
