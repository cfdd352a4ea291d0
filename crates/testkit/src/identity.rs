//! The client's RSA-2048 key and certificate.
/// Key and certificate of one client.
#[derive(Debug, Clone)]
pub struct Identity;
impl Identity {
    /// One of the embedded throw-away identities (0 or 1); fast.
    pub fn test_key(index: usize) -> Identity {
        todo!("{index}")
    }
    /// A fresh one (slow: seconds).
    pub fn generate() -> Result<Identity, std::io::Error> {
        todo!()
    }
    /// Reads `path`, or generates and writes it.
    pub fn load_or_create(path: &std::path::Path) -> Result<Identity, std::io::Error> {
        todo!("{path:?}")
    }
}
