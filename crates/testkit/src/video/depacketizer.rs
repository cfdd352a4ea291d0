//! The receive queue of a client: datagrams in, frames in order out, and what the client asks the host after a loss.
//!
//! Blocks are taken strictly in order (protocol text §6.7): the first packet of a later block or frame ends the one
//! before. A gap in the frame indices is a lost frame (§6.2). After a loss frames are discarded until a recovery
//! point comes (§6.10). Everything that deviates from the text is kept as a [`Violation`].
use std::time::Duration;

use super::bitstream;
use super::crypt::{Opener, PREFIX_LENGTH, Prefix};
use super::packet::{HEADER_LENGTH, Header};
use super::{FecReport, Frame, FrameType, Rule, VideoStatistics, Violation};
use crate::clock::Time;
use crate::fec::Field;
use crate::request::Codec;

mod block;
mod frame;

use block::Block;
use frame::Assembly;

/// Violations kept; the count goes on.
const VIOLATION_LIMIT: usize = 1000;
/// After this many dropped frames in a row an IDR is asked for even while waiting for an invalidation (§6.10).
const DROPPED_LIMIT: u32 = 120;
/// How long after a reordered packet the client does not conclude losses early (§6.7).
const SPECULATION_PAUSE: Duration = Duration::from_secs(300);

/// What the depacketizer has to know of the session.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `x-nv-video[0].packetSize` as announced.
    pub packet_size: usize,
    /// Announced codec.
    pub codec: Codec,
    /// Session key, when the video is encrypted.
    pub key: Option<[u8; 16]>,
    /// The host advertised `refPicInvalidation` and the decoder can use it.
    pub invalidation: bool,
    /// `minRequiredFecPackets` as announced.
    pub min_parity: usize,
    /// Prove each block's parity by deriving one data shard again.
    pub prove_parity: bool,
}

impl Settings {
    /// Plain video of a codec, no invalidation, two parity packets at least.
    pub fn new(packet_size: usize, codec: Codec) -> Self {
        Settings { packet_size, codec, key: None, invalidation: false, min_parity: 2, prove_parity: false }
    }
}

/// What comes of a datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A complete frame for the decoder.
    Frame(Frame),
    /// Send 0x0302.
    RequestIdr,
    /// Send 0x0301 with this inclusive range.
    RequestInvalidation {
        /// First lost frame.
        first: u32,
        /// Last lost frame.
        last: u32,
    },
    /// Send 0x0350 for this frame.
    AcknowledgeLongTerm(u32),
    /// Send 0x5502.
    Report(FecReport),
}

/// What frames the decoder may get now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recovery {
    /// All.
    Streaming,
    /// Only an IDR: at the start and after 0x0302.
    AwaitingIdr,
    /// Types 2, 4 and 5: after 0x0301 that began with this frame.
    AwaitingInvalidation(u32),
}

/// A block that is done with, to judge its late packets.
#[derive(Debug, Clone, Copy)]
struct Finished {
    header: Header,
    base: u16,
}

/// The queue. Feed it with [`Depacketizer::push`] in order of arrival.
#[derive(Debug)]
pub struct Depacketizer {
    settings: Settings,
    field: Field,
    opener: Option<Opener>,
    recovery: Recovery,
    idr_decoded: bool,
    dropped_in_row: u32,
    /// Frame being assembled or waited for.
    frame: u32,
    /// Block of that frame being assembled or waited for.
    block: u8,
    assembly: Option<Assembly>,
    current: Option<Block>,
    finished: Option<Finished>,
    /// An early request was made for this frame.
    speculated: Option<u32>,
    highest_sequence: Option<u16>,
    last_reordered: Option<Time>,
    last_timestamp: Option<u32>,
    statistics: VideoStatistics,
    violations: Vec<Violation>,
}

impl Depacketizer {
    /// Waits for the first frame of a session.
    pub fn new(settings: Settings) -> Self {
        let opener = settings.key.as_ref().map(Opener::new);
        Depacketizer {
            settings,
            field: Field::new(),
            opener,
            recovery: Recovery::AwaitingIdr,
            idr_decoded: false,
            dropped_in_row: 0,
            frame: 1,
            block: 0,
            assembly: None,
            current: None,
            finished: None,
            speculated: None,
            highest_sequence: None,
            last_reordered: None,
            last_timestamp: None,
            statistics: VideoStatistics::default(),
            violations: Vec::new(),
        }
    }

    /// Takes one UDP payload that arrived at `now`.
    pub fn push(&mut self, datagram: &[u8], now: Time) -> Vec<Event> {
        self.statistics.datagrams += 1;
        self.statistics.bytes += datagram.len() as u64;
        let mut events = Vec::new();
        if self.take(datagram, now, &mut events).is_none() {
            self.statistics.rejected += 1;
        }
        events
    }

    /// Counters so far.
    pub fn statistics(&self) -> VideoStatistics {
        self.statistics
    }

    /// The first 1000 violations; [`VideoStatistics::violations`] counts all.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// True until the first IDR was handed out.
    pub fn awaits_first_idr(&self) -> bool {
        !self.idr_decoded
    }

    /// `None` for datagrams that are no video packet of this session.
    fn take(&mut self, datagram: &[u8], now: Time, events: &mut Vec<Event>) -> Option<()> {
        let inner_length = self.settings.packet_size + 16;
        let expected = inner_length + if self.opener.is_some() { PREFIX_LENGTH } else { 0 };
        if datagram.len() != expected || inner_length <= HEADER_LENGTH {
            self.violate(0, Rule::DatagramLength, || format!("{} bytes, not {expected}", datagram.len()));
            return None;
        }
        let plain = self.decrypt(datagram)?;
        let header = Header::parse(&plain)?;
        self.check_header(&header)?;
        self.watch_order(header.sequence, now);
        self.place(header, plain, now, events);
        Some(())
    }

    fn decrypt(&mut self, datagram: &[u8]) -> Option<Vec<u8>> {
        let Some(opener) = &mut self.opener else { return Some(datagram.to_vec()) };
        let prefix = Prefix::parse(datagram).ok()?;
        let plain = match opener.open(&prefix, datagram) {
            Ok(plain) => plain,
            Err(error) => {
                self.violate(prefix.frame, Rule::Authentication, || error.to_string());
                return None;
            }
        };
        let header = Header::parse(&plain)?;
        let iv_problem = opener.check_iv(&prefix, header.sequence);
        if let Some(problem) = iv_problem {
            self.violate(header.frame, Rule::Iv, || problem);
        }
        if header.frame != prefix.frame {
            self.violate(header.frame, Rule::ClearFrameNumber, || format!("{} in clear", prefix.frame));
        }
        Some(plain)
    }

    /// Fields that are fixed or bounded whatever the block is. `None` where a stock client would drop the packet.
    fn check_header(&mut self, header: &Header) -> Option<()> {
        let frame = header.frame;
        if (header.rtp_byte, header.payload_type, header.ssrc, header.reserved) != (0x90, 0, 0, 0) {
            self.violate(frame, Rule::RtpHeader, || {
                format!(
                    "byte 0 {:#04x}, type {}, ssrc {:#x}, reserved {:#x}",
                    header.rtp_byte, header.payload_type, header.ssrc, header.reserved
                )
            });
            if header.rtp_byte & 0x10 == 0 {
                return None;
            }
        }
        if self.finished.is_none() && self.highest_sequence.is_none() && header.sequence >= 0x8000 {
            self.violate(frame, Rule::StartSequence, || format!("{:#06x}", header.sequence));
            return None;
        }
        if frame == 0 {
            self.violate(frame, Rule::FrameIndex, || "frame index 0".to_owned());
            return None;
        }
        if self.highest_sequence.is_none() && header.sequence == 0 && frame != 1 {
            self.violate(frame, Rule::FrameIndex, || format!("sequence 0 belongs to frame {frame}, not 1"));
        }
        if header.block > header.last_block || header.blocks_rest != 0 {
            self.violate(frame, Rule::MultiFec, || {
                format!(
                    "block {} of last {}, rest {:#x}",
                    header.block, header.last_block, header.blocks_rest
                )
            });
            return None;
        }
        let parity = header.parity_shards();
        let total = header.data_shards + parity;
        if header.data_shards == 0 || header.shard >= total || (parity > 0 && total > 255) {
            self.violate(frame, Rule::FecInfo, || {
                format!("shard {} of {} + {parity}", header.shard, header.data_shards)
            });
            return None;
        }
        if parity > 0 && parity < self.settings.min_parity {
            self.violate(frame, Rule::MinimumParity, || {
                format!("{parity} parity shards for {} data shards", header.data_shards)
            });
        }
        Some(())
    }

    fn watch_order(&mut self, sequence: u16, now: Time) {
        let highest = *self.highest_sequence.get_or_insert(sequence);
        let ahead = sequence.wrapping_sub(highest).cast_signed();
        if ahead > 0 {
            self.highest_sequence = Some(sequence);
        } else if ahead < 0 {
            self.statistics.out_of_order += 1;
            self.last_reordered = Some(now);
        }
    }

    /// Finds the block of a packet, moves on when it is a later one.
    fn place(&mut self, header: Header, plain: Vec<u8>, now: Time, events: &mut Vec<Event>) {
        let ahead = header.frame.wrapping_sub(self.frame).cast_signed();
        if ahead < 0 || (ahead == 0 && header.block < self.block) {
            self.judge_late(&header);
            return;
        }
        // A block whose data is complete may still wait for parity to prove.
        if (header.frame, header.block) != (self.frame, self.block) {
            self.finish_block(true, now, events);
        }
        let ahead = header.frame.wrapping_sub(self.frame).cast_signed();
        if ahead > 0 {
            self.lose(self.frame, header.frame.wrapping_sub(1), events);
            self.start_frame(header.frame);
        } else if ahead < 0 {
            self.judge_late(&header);
            return;
        }
        if header.block > self.block {
            self.lose(header.frame, header.frame, events);
            self.start_frame(header.frame.wrapping_add(1));
            self.statistics.stale += 1;
            return;
        }
        self.insert(header, plain, now);
        self.finish_block(false, now, events);
        self.speculate(now, events);
    }

    fn judge_late(&mut self, header: &Header) {
        if header.shard >= header.data_shards {
            self.statistics.surplus_parity += 1;
        } else {
            self.statistics.stale += 1;
        }
        let Some(finished) = self.finished else { return };
        if (finished.header.frame, finished.header.block) != (header.frame, header.block) {
            return;
        }
        let expected = finished.base.wrapping_add(header.shard as u16);
        self.check_same_block(&finished.header, header, expected);
    }

    /// Shape, timestamp and sequence must agree within a block. False when the packet cannot belong to it.
    fn check_same_block(&mut self, first: &Header, header: &Header, expected_sequence: u16) -> bool {
        let shape = |h: &Header| (h.data_shards, h.percentage, h.last_block);
        if shape(first) != shape(header) {
            self.violate(header.frame, Rule::FecInfo, || {
                format!("shape {:?} in a block of shape {:?}", shape(header), shape(first))
            });
            return false;
        }
        if header.timestamp != first.timestamp {
            self.violate(header.frame, Rule::Timestamp, || {
                format!("{} and {} in one frame", first.timestamp, header.timestamp)
            });
        }
        if header.sequence != expected_sequence {
            self.violate(header.frame, Rule::Sequence, || {
                format!("{} on shard {}, not {expected_sequence}", header.sequence, header.shard)
            });
            return false;
        }
        true
    }

    fn insert(&mut self, header: Header, plain: Vec<u8>, now: Time) {
        if self.current.is_none() {
            self.begin_block(&header, now);
        }
        let Some(block) = &self.current else { return };
        let (first, expected) = (block.header, block.base.wrapping_add(header.shard as u16));
        if !self.check_same_block(&first, &header, expected) {
            return;
        }
        if header.shard < header.data_shards {
            self.check_data_shard(&header);
        }
        let Some(block) = &mut self.current else { return };
        if block.insert(header.shard, plain) {
            if let Some(assembly) = &mut self.assembly {
                assembly.packets += 1;
            }
        } else {
            self.statistics.duplicates += 1;
        }
    }

    fn begin_block(&mut self, header: &Header, now: Time) {
        let base = header.sequence.wrapping_sub(header.shard as u16);
        if let Some(finished) = self.finished {
            let follows = (finished.header.frame == header.frame
                && finished.header.block + 1 == header.block)
                || (finished.header.frame.wrapping_add(1) == header.frame
                    && finished.header.block == finished.header.last_block
                    && header.block == 0);
            let total = finished.header.data_shards + finished.header.parity_shards();
            let expected = finished.base.wrapping_add(total as u16);
            if follows && base != expected {
                self.violate(header.frame, Rule::Sequence, || {
                    format!("block begins at {base}, not {expected}")
                });
            }
        }
        match &self.assembly {
            None => self.assembly = Some(Assembly::new(header, now)),
            Some(assembly) => {
                let (timestamp, last_block) = (assembly.timestamp, assembly.last_block);
                if timestamp != header.timestamp || last_block != header.last_block {
                    self.violate(header.frame, Rule::Timestamp, || {
                        format!("timestamp {timestamp} and last block {last_block} change between blocks")
                    });
                }
            }
        }
        self.current = Some(Block::new(*header, base));
    }

    /// Fields of data shards on the wire; recovered ones are checked when their block is finished.
    fn check_data_shard(&mut self, header: &Header) {
        let counter = header.stream_packet_index >> 8;
        if header.stream_packet_index & 0xff != 0 || counter as u16 != header.sequence {
            self.violate(header.frame, Rule::StreamPacketIndex, || {
                format!("{:#010x} at sequence {}", header.stream_packet_index, header.sequence)
            });
        }
        if header.multi_fec_flags != 0x10 {
            self.violate(header.frame, Rule::MultiFec, || format!("flags {:#04x}", header.multi_fec_flags));
        }
        let expected = block::expected_flags(header.shard, header.data_shards);
        if header.flags != expected || header.extra_flags > 1 {
            self.violate(header.frame, Rule::Flags, || {
                format!("{:#04x}/{:#04x} on shard {}", header.flags, header.extra_flags, header.shard)
            });
        }
    }

    /// Completes the current block if its shards allow it. `leaving`: the next packet belongs elsewhere.
    fn finish_block(&mut self, leaving: bool, now: Time, events: &mut Vec<Event>) {
        let Some(block) = &self.current else { return };
        let prove = self.settings.prove_parity && !leaving;
        if !block.is_ready(prove) {
            return;
        }
        let Some(mut block) = self.current.take() else { return };
        let header = block.header;
        self.finished = Some(Finished { header, base: block.base });
        if !block.is_whole() {
            events.push(Event::Report(block.report()));
        }
        if self.settings.prove_parity && block.disproves_parity(&self.field) {
            self.violate(header.frame, Rule::Parity, || "a held-out shard was not given back".to_owned());
        }
        let recovered = match block.recover(&self.field) {
            Ok(recovered) => recovered,
            Err(error) => {
                self.violate(header.frame, Rule::Parity, || error.to_string());
                self.lose(header.frame, header.frame, events);
                self.start_frame(header.frame.wrapping_add(1));
                return;
            }
        };
        self.statistics.shards_recovered += recovered as u64;
        if let Some((rule, detail)) = block.inconsistency() {
            self.violate(header.frame, rule, || detail);
            self.lose(header.frame, header.frame, events);
            self.start_frame(header.frame.wrapping_add(1));
            return;
        }
        let Some(assembly) = &mut self.assembly else { return };
        assembly.append(&block, recovered);
        if header.block < header.last_block {
            self.block = header.block + 1;
            return;
        }
        self.start_next(now, events);
    }

    /// The frame is complete: judge it, then hand it out or discard it.
    fn start_next(&mut self, now: Time, events: &mut Vec<Event>) {
        let Some(assembly) = self.assembly.take() else { return };
        let index = self.frame;
        self.start_frame(index.wrapping_add(1));
        let payload = self.settings.packet_size - 16;
        let mut problems = Vec::new();
        let Some(frame) = assembly.into_frame(index, payload, now, &mut problems) else {
            self.take_problems(index, problems);
            self.lose(index, index, events);
            return;
        };
        let (frame, first_length) = frame;
        if let Some(last) = self.last_timestamp
            && frame.rtp_timestamp.wrapping_sub(last).cast_signed() < 0
        {
            problems.push((Rule::Timestamp, format!("{} after {last}", frame.rtp_timestamp)));
        }
        self.last_timestamp = Some(frame.rtp_timestamp);
        let verdict = bitstream::judge(self.settings.codec, &frame.data, first_length);
        let typed_idr = frame.kind == FrameType::Idr;
        if let Some(broken) = verdict.broken {
            problems.push((Rule::Bitstream, broken.to_owned()));
        }
        if typed_idr != verdict.idr {
            problems.push((Rule::FrameType, format!("{:?}, bitstream says IDR {}", frame.kind, verdict.idr)));
        }
        if verdict.idr && !verdict.sets_in_first_packet {
            problems.push((Rule::FirstPacket, format!("the first packet holds {first_length} bytes")));
        }
        // Clients tell an IDR by the bitstream, for AV1 by the frame type (§6.4).
        let idr = if self.settings.codec == Codec::Av1 { typed_idr } else { verdict.idr };
        if index == 1 && !idr {
            problems.push((Rule::FirstFrame, format!("{:?}", frame.kind)));
        }
        self.take_problems(index, problems);
        self.deliver(frame, idr, events);
    }

    fn deliver(&mut self, frame: Frame, idr: bool, events: &mut Vec<Event>) {
        let recovers = match self.recovery {
            Recovery::Streaming => true,
            Recovery::AwaitingIdr => idr,
            Recovery::AwaitingInvalidation(_) => {
                idr || matches!(frame.kind, FrameType::IntraRefresh | FrameType::AfterInvalidation)
            }
        };
        if !recovers {
            self.statistics.frames_discarded += 1;
            self.count_dropped(1, events);
            return;
        }
        self.recovery = Recovery::Streaming;
        self.dropped_in_row = 0;
        self.idr_decoded |= idr;
        self.statistics.frames += 1;
        self.statistics.idr_frames += u64::from(idr);
        self.statistics.frames_recovered += u64::from(frame.recovered > 0);
        if frame.long_term_candidate {
            events.push(Event::AcknowledgeLongTerm(frame.index));
        }
        events.push(Event::Frame(frame));
    }

    /// Frames `first..=last` are lost: ask for recovery (§6.10).
    fn lose(&mut self, first: u32, last: u32, events: &mut Vec<Event>) {
        let count = last.wrapping_sub(first).wrapping_add(1);
        self.statistics.frames_lost += u64::from(count);
        if let Some(block) = self.current.take() {
            self.finished = Some(Finished { header: block.header, base: block.base });
            events.push(Event::Report(block.report()));
        }
        self.assembly = None;
        if self.speculated.take() != Some(first) || first != last {
            self.request_recovery(first, last, events);
        }
        self.count_dropped(count, events);
    }

    fn request_recovery(&mut self, first: u32, last: u32, events: &mut Vec<Event>) {
        let awaits_idr = self.recovery == Recovery::AwaitingIdr;
        if self.settings.invalidation && self.idr_decoded && !awaits_idr {
            let first = match self.recovery {
                Recovery::AwaitingInvalidation(earlier) => earlier,
                _ => first,
            };
            self.recovery = Recovery::AwaitingInvalidation(first);
            events.push(Event::RequestInvalidation { first, last });
        } else {
            self.recovery = Recovery::AwaitingIdr;
            events.push(Event::RequestIdr);
        }
    }

    fn count_dropped(&mut self, count: u32, events: &mut Vec<Event>) {
        self.dropped_in_row = self.dropped_in_row.saturating_add(count);
        if self.dropped_in_row >= DROPPED_LIMIT {
            self.dropped_in_row = 0;
            self.recovery = Recovery::AwaitingIdr;
            events.push(Event::RequestIdr);
        }
    }

    /// Asks early when more packets are missing than parity can give back and the network keeps order.
    fn speculate(&mut self, now: Time, events: &mut Vec<Event>) {
        let orderly = self.last_reordered.is_none_or(|at| now.since(at) >= SPECULATION_PAUSE);
        let Some(block) = &self.current else { return };
        if orderly && self.speculated != Some(self.frame) && block.missing_before_highest() > block.parity() {
            self.speculated = Some(self.frame);
            self.request_recovery(self.frame, self.frame, events);
        }
    }

    fn start_frame(&mut self, frame: u32) {
        // Index 0 does not exist; after 2^32 frames the numbering would be over.
        self.frame = frame;
        self.block = 0;
        self.assembly = None;
        self.current = None;
    }

    fn take_problems(&mut self, frame: u32, problems: Vec<(Rule, String)>) {
        for (rule, detail) in problems {
            self.violate(frame, rule, || detail);
        }
    }

    fn violate(&mut self, frame: u32, rule: Rule, detail: impl FnOnce() -> String) {
        self.statistics.violations += 1;
        if self.violations.len() < VIOLATION_LIMIT {
            self.violations.push(Violation { frame, rule, detail: detail() });
        }
    }
}
