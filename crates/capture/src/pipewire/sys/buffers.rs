//! The buffers of a stream, from the moment PipeWire adds them until it removes them.

use super::Mapping;
use super::events::BufferPtr;
use libspa::sys as spa;
use pipewire::stream::Stream;
use std::io;
use std::sync::Arc;

/// Name of a buffer. A generation of buffers is what one format got; an id of an older one finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BufferId {
    generation: u64,
    index: u32,
}

/// Where a buffer's pixels are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    /// A file of shared memory.
    MemFd,
    /// Memory that PipeWire mapped itself and unmaps with the buffer.
    MemPtr,
    /// Graphics memory.
    DmaBuf,
}

impl Memory {
    /// PipeWire's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::MemFd => "MemFd",
            Self::MemPtr => "MemPtr",
            Self::DmaBuf => "DmaBuf",
        }
    }
}

/// Why a buffer's memory cannot be read.
#[derive(Debug)]
pub(crate) struct MapFailure {
    pub(crate) memory: Memory,
    pub(crate) error: io::Error,
}

/// Which part of a buffer holds the picture; as the producer wrote it, unchecked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) offset: u32,
    pub(crate) size: u32,
    pub(crate) stride: i32,
    pub(crate) corrupted: bool,
}

struct Entry {
    buffer: BufferPtr,
    id: BufferId,
    memory: Memory,
    mapping: Option<Arc<Mapping>>,
    /// Taken out of the stream and not given back yet.
    taken: bool,
}

/// The buffers that PipeWire has added and not removed.
#[derive(Default)]
pub(crate) struct Buffers {
    entries: Vec<Entry>,
    generation: u64,
    added: u32,
}

impl Buffers {
    /// A format was agreed on: what is added from now on is of a new generation.
    pub(crate) fn next_generation(&mut self) {
        self.generation += 1;
        self.added = 0;
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many are not with the producer.
    pub(crate) fn taken(&self) -> usize {
        self.entries.iter().filter(|entry| entry.taken).count()
    }

    /// Takes note of a new buffer and maps it.
    ///
    /// # Errors
    /// When its memory cannot be read; the buffer circulates all the same.
    pub(crate) fn add(&mut self, buffer: BufferPtr) -> Result<Memory, MapFailure> {
        let id = BufferId { generation: self.generation, index: self.added };
        self.added += 1;
        let (memory, mapping) = map(buffer);
        let (mapping, result) = match mapping {
            Ok(mapping) => (mapping, Ok(memory)),
            Err(error) => (None, Err(MapFailure { memory, error })),
        };
        self.entries.push(Entry { buffer, id, memory, mapping, taken: false });
        result
    }

    /// Forgets a buffer that PipeWire is about to free.
    pub(crate) fn remove(&mut self, buffer: BufferPtr) {
        self.entries.retain(|entry| entry.buffer != buffer);
    }

    /// Takes the oldest filled buffer.
    pub(crate) fn dequeue(&mut self, stream: &Stream) -> Option<BufferId> {
        loop {
            // SAFETY: called on the loop's thread like everything that touches the stream.
            let raw = unsafe { stream.dequeue_raw_buffer() };
            let buffer = BufferPtr::new(raw)?;
            if let Some(entry) = self.entries.iter_mut().find(|entry| entry.buffer == buffer) {
                entry.taken = true;
                return Some(entry.id);
            }
            // One that was never announced cannot be read; it goes back at once.
            // SAFETY: it came from this stream a moment ago.
            unsafe { stream.queue_raw_buffer(raw) };
        }
    }

    /// Gives a buffer back; one that is gone, or was given back, is left alone.
    pub(crate) fn queue(&mut self, stream: &Stream, id: BufferId) {
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id && entry.taken) else { return };
        entry.taken = false;
        // SAFETY: the entry is in the list, so the buffer lives; `taken` says that it was dequeued and not queued.
        unsafe { stream.queue_raw_buffer(entry.buffer.as_raw()) };
    }

    fn find(&self, id: BufferId) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.id == id)
    }

    /// Where its pixels are.
    pub(crate) fn memory(&self, id: BufferId) -> Option<Memory> {
        self.find(id).map(|entry| entry.memory)
    }

    /// Its mapping, for whoever reads it longer than the buffer lives.
    pub(crate) fn mapping(&self, id: BufferId) -> Option<&Arc<Mapping>> {
        self.find(id)?.mapping.as_ref()
    }

    /// All bytes of the buffer.
    pub(crate) fn bytes(&self, id: BufferId) -> Option<&[u8]> {
        let entry = self.find(id)?;
        if let Some(mapping) = &entry.mapping {
            return Some(mapping.bytes());
        }
        let data = entry.buffer.data().filter(|_| entry.memory == Memory::MemPtr)?;
        if data.data.is_null() {
            return None;
        }
        // SAFETY: PipeWire keeps `maxsize` bytes at `data` until it removes the buffer; the borrow of `self` ends
        // before, since removing needs `self` mutably.
        Some(unsafe { std::slice::from_raw_parts(data.data.cast::<u8>(), data.maxsize as usize) })
    }

    /// Which part of the bytes is the picture.
    pub(crate) fn chunk(&self, id: BufferId) -> Option<Chunk> {
        let data = self.find(id)?.buffer.data()?;
        // SAFETY: PipeWire points `chunk` at memory that lives as long as the buffer; null is checked.
        let chunk = unsafe { data.chunk.as_ref()? };
        Some(Chunk {
            offset: chunk.offset,
            size: chunk.size,
            stride: chunk.stride,
            corrupted: chunk.flags.cast_unsigned() & spa::SPA_CHUNK_FLAG_CORRUPTED != 0,
        })
    }

    /// The bytes of the metadata of a kind (`enum spa_meta_type`).
    pub(crate) fn metadata(&self, id: BufferId, kind: u32) -> Option<&[u8]> {
        self.find(id)?.buffer.metadata(kind)
    }
}

fn map(buffer: BufferPtr) -> (Memory, io::Result<Option<Arc<Mapping>>>) {
    let Some(data) = buffer.data() else {
        return (Memory::MemPtr, Err(io::Error::new(io::ErrorKind::InvalidData, "a buffer without data")));
    };
    let fd = i32::try_from(data.fd).unwrap_or(-1);
    let (offset, len) = (data.mapoffset as usize, data.maxsize as usize);
    match data.type_ {
        spa::SPA_DATA_MemFd => (Memory::MemFd, Mapping::new(fd, offset, len, false).map(Arc::new).map(Some)),
        spa::SPA_DATA_DmaBuf => (Memory::DmaBuf, Mapping::new(fd, offset, len, true).map(Arc::new).map(Some)),
        spa::SPA_DATA_MemPtr => (Memory::MemPtr, Ok(None)),
        other => {
            let text = format!("a buffer of the unknown type {other}");
            (Memory::MemPtr, Err(io::Error::new(io::ErrorKind::InvalidData, text)))
        }
    }
}
