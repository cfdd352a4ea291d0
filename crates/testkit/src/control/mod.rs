//! Control stream, client side (protocol text §8): frames, messages and the session of ENet.
mod crypt;
mod message;
mod session;

pub use crypt::{Cipher, CipherMode, Direction, FrameError};
pub use message::{ClientMessage, HostMessage, Outgoing, client_result};
pub use session::{Happening, Session};

#[cfg(test)]
mod tests;
