//! Paired clients, known by their certificate and nothing else (protocol text §2.1, §2.3).

use crate::files::{self, FileError};
use lumen_gamestream::session::ClientId;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};

/// A paired client as kept on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairedClient {
    /// Name given at pairing.
    pub name: String,
    /// Certificate, PEM.
    pub certificate: String,
    /// Seconds since 1970 of the pairing.
    pub paired_at: u64,
}

#[derive(Serialize, Deserialize, Default)]
struct File {
    clients: Vec<PairedClient>,
}

/// The paired clients, in memory and on disk.
pub struct ClientStore {
    path: PathBuf,
    /// Serialises writers; readers only take `clients`.
    writing: Mutex<()>,
    clients: RwLock<Vec<(ClientId, PairedClient)>>,
}

fn id_of_pem(pem: &str) -> Result<ClientId, String> {
    let (_, parsed) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).map_err(|error| error.to_string())?;
    Ok(ClientId::of_certificate(&parsed.contents))
}

impl ClientStore {
    /// Loads `clients.json` from `state_dir`.
    pub fn load(state_dir: &Path) -> Result<Self, FileError> {
        let path = state_dir.join("clients.json");
        let damaged = |reason: String| FileError::Damaged { path: path.clone(), reason };
        let file: File = match files::read_optional(&path)? {
            Some(text) => serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?,
            None => File::default(),
        };
        let clients = file
            .clients
            .into_iter()
            .map(|client| Ok((id_of_pem(&client.certificate).map_err(damaged)?, client)))
            .collect::<Result<Vec<_>, FileError>>()?;
        Ok(Self { path, writing: Mutex::new(()), clients: RwLock::new(clients) })
    }

    /// The paired client that holds `id`.
    pub fn find(&self, id: ClientId) -> Option<PairedClient> {
        self.all().into_iter().find(|(known, _)| *known == id).map(|(_, client)| client)
    }

    /// All paired clients, oldest first.
    pub fn all(&self) -> Vec<(ClientId, PairedClient)> {
        self.clients.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds a client, or replaces the entry with the same certificate; on disk before it returns.
    pub fn add(&self, client: PairedClient) -> Result<ClientId, FileError> {
        let id = id_of_pem(&client.certificate)
            .map_err(|reason| FileError::Damaged { path: self.path.clone(), reason })?;
        self.change(|clients| {
            clients.retain(|(known, _)| *known != id);
            clients.push((id, client));
        })?;
        Ok(id)
    }

    /// The clients whose short id or name is `wanted`.
    pub fn named(&self, wanted: &str) -> Vec<ClientId> {
        let all = self.all().into_iter();
        all.filter(|(id, client)| id.to_string() == wanted || client.name == wanted)
            .map(|(id, _)| id)
            .collect()
    }

    /// Forgets a client; on disk before it returns.
    pub fn remove(&self, gone: ClientId) -> Result<(), FileError> {
        self.change(|clients| clients.retain(|(id, _)| *id != gone))
    }

    fn change(&self, edit: impl FnOnce(&mut Vec<(ClientId, PairedClient)>)) -> Result<(), FileError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut clients = self.all();
        edit(&mut clients);
        let file = File { clients: clients.iter().map(|(_, client)| client.clone()).collect() };
        let text = serde_json::to_string_pretty(&file)
            .map_err(|error| FileError::Damaged { path: self.path.clone(), reason: error.to_string() })?;
        files::write_private(&self.path, text.as_bytes())?;
        *self.clients.write().unwrap_or_else(PoisonError::into_inner) = clients;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate() -> String {
        let key = rcgen::KeyPair::generate().expect("key");
        rcgen::CertificateParams::default().self_signed(&key).expect("certificate").pem()
    }

    #[test]
    fn clients_survive_a_restart_and_can_be_removed() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let store = ClientStore::load(dir.path()).expect("empty");
        let phone = PairedClient { name: "phone".into(), certificate: certificate(), paired_at: 1 };
        let tv = PairedClient { name: "tv".into(), certificate: certificate(), paired_at: 2 };
        let phone_id = store.add(phone.clone()).expect("written");
        let tv_id = store.add(tv.clone()).expect("written");
        store.add(phone.clone()).expect("pairing again replaces");

        let again = ClientStore::load(dir.path()).expect("loads");
        assert_eq!(again.all().len(), 2);
        assert_eq!(again.find(phone_id), Some(phone));
        assert_eq!(again.named("tv"), vec![tv_id]);
        assert_eq!(again.named(&tv_id.to_string()), vec![tv_id]);
        again.remove(tv_id).expect("written");
        assert_eq!(again.named("tv"), vec![]);
        assert_eq!(ClientStore::load(dir.path()).expect("loads").find(tv_id), None);
    }

    #[test]
    fn a_damaged_file_is_named_and_left_alone() {
        let dir = tempfile::tempdir().expect("temporary directory");
        std::fs::write(dir.path().join("clients.json"), "{\"clients\": [7]}").expect("writable");
        let error = ClientStore::load(dir.path()).err().expect("refused");
        assert!(error.to_string().contains("clients.json is damaged"), "{error}");
        let text = std::fs::read_to_string(dir.path().join("clients.json")).expect("still there");
        assert_eq!(text, "{\"clients\": [7]}");
    }
}
