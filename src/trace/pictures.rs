//! Frames that came in another container than they were born in: known by their pictures, for which the recording of the stream is looked at.
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
    pub fn read(mut source: impl Read, births: &Births) -> io::Result<Self> {
        let payloads = births.frames.iter().map(|birth| (birth.id, birth.timestamp_ms)).collect();
        let mut pictures = Self { births: births.frames.clone(), payloads, problem: None };
        let (mut reader, mut buffer, mut length_size, mut known) =
            (Reader::new(MAX_PAYLOAD), vec![0; 1 << 16], LENGTH_SIZE, 0);
        loop {
            let bytes = match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(len) => buffer.get(..len).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let read = reader.push(bytes, |tag| {
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
            });
            if let Err(error) = read {
                pictures.problem = Some(error.to_string());
                break;
            }
        }
        let born = pictures.births.len();
        if known < born && pictures.problem.is_none() {
            pictures.problem = Some(format!("it holds {known} of {born} frames as they were born"));
        }
        Ok(pictures)
    }

    /// Gives the frames of a flow the identity and time of the births that they are; others keep theirs, which no birth has.
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
