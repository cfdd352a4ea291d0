//! HTTP(S) and pairing of the test host (protocol text §2–§4).
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, ServerConfig, ServerConnection, SignatureScheme,
    StreamOwned,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};

use super::{Log, Ports, Session};
use crate::identity::{self, Identity};
use crate::pairing::{challenge_hash, ecb_decrypt, ecb_encrypt, pin_key};

#[derive(Clone)]
pub struct Web {
    host: Identity,
    pin: &'static str,
    ports: Ports,
    log: Arc<Mutex<Log>>,
    pairing: Arc<Mutex<Pairing>>,
    tls: Arc<ServerConfig>,
}

#[derive(Default)]
struct Pairing {
    phase: u8,
    key: [u8; 16],
    certificate: Vec<u8>,
    client_hash: Vec<u8>,
}

const SECRET: [u8; 16] = [7; 16];
const CHALLENGE: [u8; 16] = [9; 16];

impl Web {
    pub fn new(host: Identity, pin: &'static str, ports: Ports, log: Arc<Mutex<Log>>) -> Self {
        let provider = Arc::new(ring::default_provider());
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(host.key_der().to_vec()));
        let tls = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(Arc::new(AnyClient(provider)))
            .with_single_cert(vec![CertificateDer::from(host.certificate_der().to_vec())], key)
            .unwrap();
        Web { host, pin, ports, log, pairing: Arc::default(), tls: Arc::new(tls) }
    }

    pub fn run(&self, listener: &TcpListener, secure: bool, stop: &AtomicBool) {
        while let Some(stream) = super::accept(listener, stop) {
            if secure {
                let connection = ServerConnection::new(Arc::clone(&self.tls)).unwrap();
                let mut stream = StreamOwned::new(connection, stream);
                let Some(target) = read_target(&mut stream) else { continue };
                let certificate =
                    stream.conn.peer_certificates().and_then(|all| all.first()).map(|first| first.to_vec());
                let answer = self.answer(&target, certificate.as_deref());
                write(&mut stream, &answer);
                stream.conn.send_close_notify();
                stream.flush().ok();
            } else {
                let mut stream = stream;
                let Some(target) = read_target(&mut stream) else { continue };
                let answer = self.answer(&target, None);
                write(&mut stream, &answer);
            }
        }
    }

    fn answer(&self, target: &str, certificate: Option<&[u8]>) -> String {
        self.log.lock().unwrap().requests.push(target.to_owned());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let value = |name: &str| {
            let pair = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            pair.unwrap_or("").to_owned()
        };
        let paired = certificate.is_some_and(|der| self.log.lock().unwrap().paired.iter().any(|p| p == der));
        match path {
            "/serverinfo" => self.server_info(paired),
            "/pair" if value("phrase") == "pairchallenge" => {
                ok(&format!("<paired>{}</paired>", u8::from(paired)))
            }
            "/pair" => self.pair(&value),
            "/unpair" => ok(""),
            _ if !paired => root(401, ""),
            "/applist" => {
                ok("<App><IsHdrSupported>0</IsHdrSupported><AppTitle>Desktop</AppTitle><ID>1</ID></App>\
                 <App><IsHdrSupported>1</IsHdrSupported><AppTitle>A &amp; B</AppTitle><ID>77</ID></App>")
            }
            "/launch" | "/resume" => self.launch(path, &value),
            "/cancel" => {
                self.log.lock().unwrap().session = None;
                ok("<cancel>1</cancel>")
            }
            "/appasset" => "PNG".to_owned(),
            _ => root(404, ""),
        }
    }

    fn server_info(&self, paired: bool) -> String {
        let busy = self.log.lock().unwrap().session.is_some();
        let (state, game) = if busy { ("BUSY", 77) } else { ("FREE", 0) };
        ok(&format!(
            "<hostname>t</hostname><appversion>7.1.431.-1</appversion><GfeVersion>3.23.0.74</GfeVersion>\
             <uniqueid>3f2b8c1e-8f0a-4a55-9d0c-6a1f2e3d4c5b</uniqueid><HttpsPort>{}</HttpsPort>\
             <ServerCodecModeSupport>1</ServerCodecModeSupport><PairStatus>{}</PairStatus>\
             <currentgame>{game}</currentgame><state>SUNSHINE_SERVER_{state}</state>",
            self.ports.https,
            u8::from(paired)
        ))
    }

    fn launch(&self, path: &str, value: &dyn Fn(&str) -> String) -> String {
        let mut key = [0; 16];
        key.copy_from_slice(&hex::decode(value("rikey")).unwrap());
        assert!(value("rikeyid").parse::<i32>().is_ok());
        let encrypted_rtsp = value("corever") == "1";
        let session = Session { key, encrypted_rtsp, control_v2: false, video: false, packet_size: 0 };
        self.log.lock().unwrap().session = Some(session);
        let scheme = if encrypted_rtsp { "rtspenc" } else { "rtsp" };
        let done = if path == "/launch" { "gamesession" } else { "resume" };
        ok(&format!("<{done}>1</{done}><sessionUrl0>{scheme}://127.0.0.1:{}</sessionUrl0>", self.ports.rtsp))
    }

    /// Phases 1–4; any step out of order or too short is refused and ends the attempt.
    fn pair(&self, value: &dyn Fn(&str) -> String) -> String {
        let mut state = self.pairing.lock().unwrap();
        let bytes = |name: &str| hex::decode(value(name)).unwrap_or_default();
        let (salt, challenge) = (bytes("salt"), bytes("clientchallenge"));
        let (response, secret) = (bytes("serverchallengeresp"), bytes("clientpairingsecret"));
        if salt.len() == 16 {
            let certificate = CertificateDer::from_pem_slice(&bytes("clientcert")).unwrap().to_vec();
            *state = Pairing { phase: 1, key: pin_key(&salt, self.pin), certificate, ..Pairing::default() };
            let pem = hex::encode(self.host.certificate_pem());
            return ok(&format!("<paired>1</paired><plaincert>{pem}</plaincert>"));
        }
        if challenge.len() == 16 && state.phase == 1 {
            state.phase = 2;
            let plain = ecb_decrypt(&state.key, &challenge);
            let mut answer = challenge_hash(&plain, self.host.certificate_signature(), &SECRET).to_vec();
            answer.extend_from_slice(&CHALLENGE);
            let sealed = hex::encode(ecb_encrypt(&state.key, &answer));
            return ok(&format!("<paired>1</paired><challengeresponse>{sealed}</challengeresponse>"));
        }
        if response.len() == 32 && state.phase == 2 {
            state.phase = 3;
            state.client_hash = ecb_decrypt(&state.key, &response);
            let proof = [&SECRET[..], &self.host.sign(&SECRET).unwrap()].concat();
            return ok(&format!("<paired>1</paired><pairingsecret>{}</pairingsecret>", hex::encode(proof)));
        }
        if secret.len() > 16 && state.phase == 3 {
            let done = std::mem::take(&mut *state);
            let (secret, signature) = secret.split_at(16);
            let client = identity::certificate_signature(&done.certificate).unwrap();
            let proven = challenge_hash(&CHALLENGE, &client, secret).as_slice() == done.client_hash
                && identity::verify_by_certificate(&done.certificate, secret, signature);
            if proven {
                self.log.lock().unwrap().paired.push(done.certificate);
            }
            return ok(&format!("<paired>{}</paired>", u8::from(proven)));
        }
        *state = Pairing::default();
        root(400, "<paired>0</paired>")
    }
}

fn ok(content: &str) -> String {
    root(200, content)
}

fn root(code: u32, content: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><root status_code=\"{code}\" status_message=\"m\">{content}</root>"
    )
}

fn read_target(stream: &mut impl Read) -> Option<String> {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        text.push(byte[0]);
    }
    let text = String::from_utf8(text).ok()?;
    Some(text.strip_prefix("GET ")?.split(' ').next()?.to_owned())
}

fn write(stream: &mut impl Write, body: &str) {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).ok();
    stream.flush().ok();
}

/// Any certificate, but with a valid handshake signature (protocol text §2.3).
#[derive(Debug)]
struct AnyClient(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }
    fn client_auth_mandatory(&self) -> bool {
        false
    }
    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
