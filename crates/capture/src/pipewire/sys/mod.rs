//! What speaks to C and the kernel: PipeWire's buffers and mapped memory.

mod buffers;
mod events;
mod mapping;

pub(crate) use buffers::{BufferId, Buffers, Chunk, Memory};
pub(crate) use events::{BufferPtr, Events, listen};
pub(crate) use mapping::Mapping;
