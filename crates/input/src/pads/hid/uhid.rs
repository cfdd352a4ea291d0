//! The kernel's interface for HID devices in user space: fixed records, read and written whole
//! (`linux/uhid.h`, `Documentation/hid/uhid.rst`).

use super::super::PadMark;
use super::super::feedback::DeviceFeedback;
use super::super::report::PadReport;
use super::{HEARTBEAT, Model, REPORT};
use lumen_media::Timestamp;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

const PATH: &str = "/dev/uhid";
/// The longest record, that of a creation, is 4376 bytes.
const RECORD: usize = 4380;
const DATA: usize = 4096;

// Types of records that are used here.
const DESTROY: u32 = 1;
const OUTPUT: u32 = 6;
const GET_REPORT: u32 = 9;
const GET_REPORT_REPLY: u32 = 10;
const CREATE: u32 = 11;
const INPUT: u32 = 12;
const SET_REPORT: u32 = 13;
const SET_REPORT_REPLY: u32 = 14;

const BUS_USB: u16 = 3;
/// Kinds of reports.
const FEATURE: u8 = 0;
/// What programs that ask for a report without an answer get: `EIO`.
const NO_SUCH_REPORT: u16 = 5;

/// What the kernel asks of a device.
#[derive(Debug, PartialEq, Eq)]
pub enum Ask<'a> {
    /// Takes a report, its id first.
    Output(&'a [u8]),
    /// Wants one.
    Get { request: u32, report: u8, kind: u8 },
    /// Takes one, and wants to hear of it.
    Set { request: u32, bytes: &'a [u8] },
    /// Nothing that concerns us.
    Other,
}

/// Reads a record; whatever does not fit asks for nothing.
pub fn parse(record: &[u8]) -> Ask<'_> {
    read(record).unwrap_or(Ask::Other)
}

fn read(record: &[u8]) -> Option<Ask<'_>> {
    let word = |at: usize| Some(u32::from_ne_bytes(*record.get(at..)?.first_chunk()?));
    let half = |at: usize| Some(u16::from_ne_bytes(*record.get(at..)?.first_chunk()?));
    Some(match word(0)? {
        OUTPUT => {
            let length = usize::from(half(4 + DATA)?).min(DATA);
            Ask::Output(record.get(4..4 + length)?)
        }
        GET_REPORT => Ask::Get { request: word(4)?, report: *record.get(8)?, kind: *record.get(9)? },
        SET_REPORT => {
            let length = usize::from(half(10)?).min(DATA);
            Ask::Set { request: word(4)?, bytes: record.get(12..12 + length)? }
        }
        _ => Ask::Other,
    })
}

fn create(model: &dyn Model, mark: &PadMark) -> Vec<u8> {
    let identity = model.identity();
    let mut record = Vec::with_capacity(RECORD);
    record.extend(CREATE.to_ne_bytes());
    let mut text = |text: &str, length: usize| {
        let mut bytes = text.as_bytes().to_vec();
        // One zero at least.
        bytes.resize(length - 1, 0);
        bytes.push(0);
        record.extend(bytes);
    };
    text(identity.name, 128);
    text(&mark.phys, 64);
    text(&mark.unique, 64);
    let length = u16::try_from(identity.descriptor.len()).expect("descriptors have some hundred bytes");
    record.extend(length.to_ne_bytes());
    record.extend(BUS_USB.to_ne_bytes());
    for number in [identity.vendor, identity.product, identity.version, 0] {
        record.extend(number.to_ne_bytes());
    }
    record.extend(identity.descriptor);
    record
}

/// A gamepad of `/dev/uhid`; it is gone when this is dropped, or the process ends in whatever way.
pub struct Gamepad {
    file: File,
    model: Box<dyn Model>,
    shown: PadReport,
    reported: Timestamp,
    buffer: Box<[u8; RECORD]>,
}

impl Gamepad {
    /// Plugs one in.
    ///
    /// # Errors
    /// Those of opening and writing `/dev/uhid`.
    pub fn new(model: Box<dyn Model>, mark: &PadMark, now: Timestamp) -> io::Result<Self> {
        let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        let mut file = File::options().read(true).write(true).custom_flags(nonblocking).open(PATH)?;
        file.write_all(&create(model.as_ref(), mark))?;
        let shown = PadReport::default();
        Ok(Self { file, model, shown, reported: now, buffer: Box::new([0; RECORD]) })
    }

    /// Shows games what has changed.
    ///
    /// # Errors
    /// Those of writing: the device is void then.
    pub fn update(&mut self, report: &PadReport, now: Timestamp) -> io::Result<()> {
        self.shown = *report;
        self.report(now)
    }

    /// Reports again when the last time is a while ago; says when it has to be done again.
    ///
    /// # Errors
    /// Those of writing: the device is void then.
    pub fn turn(&mut self, now: Timestamp) -> io::Result<Timestamp> {
        if self.reported + HEARTBEAT <= now {
            self.report(now)?;
        }
        Ok(self.reported + HEARTBEAT)
    }

    fn report(&mut self, now: Timestamp) -> io::Result<()> {
        self.reported = now;
        let report = self.model.input(&self.shown, now);
        let mut record = [0; 6 + REPORT];
        record[..4].copy_from_slice(&INPUT.to_ne_bytes());
        record[4..6].copy_from_slice(&(REPORT as u16).to_ne_bytes());
        record[6..].copy_from_slice(&report);
        self.file.write_all(&record)
    }

    /// Answers what the kernel and programs asked since the last time.
    ///
    /// # Errors
    /// Those of reading: the device is void then.
    pub fn serve(&mut self, feedback: &mut dyn FnMut(DeviceFeedback)) -> io::Result<()> {
        loop {
            let length = match self.file.read(&mut self.buffer[..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            match parse(&self.buffer[..length]) {
                Ask::Output(bytes) => self.model.output(bytes, feedback),
                Ask::Get { request, report, kind } => {
                    let found = self.model.feature(report).filter(|_| kind == FEATURE);
                    self.file.write_all(&get_reply(request, found.as_deref()))?;
                }
                Ask::Set { request, bytes } => {
                    self.model.output(bytes, feedback);
                    let mut reply = SET_REPORT_REPLY.to_ne_bytes().to_vec();
                    reply.extend(request.to_ne_bytes());
                    reply.extend(0u16.to_ne_bytes());
                    self.file.write_all(&reply)?;
                }
                Ask::Other => {}
            }
        }
    }
}

fn get_reply(request: u32, report: Option<&[u8]>) -> Vec<u8> {
    let (error, bytes) = report.map_or((NO_SUCH_REPORT, &[][..]), |bytes| (0, bytes));
    let mut reply = GET_REPORT_REPLY.to_ne_bytes().to_vec();
    reply.extend(request.to_ne_bytes());
    reply.extend(error.to_ne_bytes());
    reply.extend((bytes.len() as u16).to_ne_bytes());
    reply.extend(bytes);
    reply
}

impl AsFd for Gamepad {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Gamepad {
    fn drop(&mut self) {
        // Closing does the same; this way it has happened when drop returns, and no error is of use to anybody.
        let _ = self.file.write_all(&DESTROY.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::dualsense::DualSense;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn records_lie_as_the_kernel_s_header_says() {
        let mark = PadMark { phys: "lumen/a/b/0".into(), unique: "u".into() };
        let model = DualSense::new([2, 3, 4, 5, 6, 7]);
        let record = create(&model, &mark);
        assert_eq!(record[..4], [11, 0, 0, 0]);
        assert!(record[4..].starts_with(b"Sony Interactive Entertainment DualSense Wireless Controller\0"));
        assert!(record[132..].starts_with(b"lumen/a/b/0\0"));
        assert!(record[196..].starts_with(b"u\0"));
        let length = model.identity().descriptor.len();
        assert_eq!(record[260..262], (length as u16).to_ne_bytes());
        assert_eq!(record[262..264], [3, 0]);
        assert_eq!(record[264..272], [0x4c, 0x05, 0, 0, 0xe6, 0x0c, 0, 0]);
        assert_eq!(record[280..], model.identity().descriptor);
        assert_eq!(get_reply(7, Some(&[1, 2])), [10, 0, 0, 0, 7, 0, 0, 0, 0, 0, 2, 0, 1, 2]);
        assert_eq!(get_reply(7, None), [10, 0, 0, 0, 7, 0, 0, 0, 5, 0, 0, 0]);
        assert_eq!(
            parse(&[9, 0, 0, 0, 1, 0, 0, 0, 0x20, 0]),
            Ask::Get { request: 1, report: 0x20, kind: FEATURE }
        );
        assert_eq!(
            parse(&[13, 0, 0, 0, 1, 0, 0, 0, 2, 1, 2, 0, 0xaa, 0xbb]),
            Ask::Set { request: 1, bytes: &[0xaa, 0xbb] }
        );
        let mut output = vec![6, 0, 0, 0];
        output.resize(4 + DATA, 9);
        output.extend([3, 0, 1]);
        assert_eq!(parse(&output), Ask::Output(&[9, 9, 9]));
    }

    proptest! {
        #[test]
        fn no_record_is_read_beyond_its_end(bytes in prop::collection::vec(any::<u8>(), 0..64), kind in 0u32..16) {
            let mut record = kind.to_ne_bytes().to_vec();
            record.extend(bytes);
            if let Ask::Output(bytes) | Ask::Set { bytes, .. } = parse(&record) {
                prop_assert!(bytes.len() < record.len());
            }
        }
    }
}
