//! The PipeWire consumer against producers that run: weston's PipeWire backend, and one of our own that can do what no
//! compositor would.

mod own;
mod producer;
mod support;
mod weston;
