use super::{Mode, UP, desktop, start_with_socket, variables, version_of};
use crate::{LabError, Process, Session};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// How sway draws.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SwayRenderer {
    /// On the processor, to shared memory; runs everywhere.
    #[default]
    Pixman,
    /// With OpenGL on the KMS card at this path, beside a headless output: the only way to dmabufs without a GPU.
    Gles2(PathBuf),
}

/// How to start sway.
#[derive(Clone, Debug)]
pub struct SwayOptions {
    /// Monitors, left to right: `HEADLESS-1`, `HEADLESS-2`, …
    pub outputs: Vec<Mode>,
    /// With Xwayland.
    pub xwayland: bool,
    /// How it draws.
    pub renderer: SwayRenderer,
    /// More lines of its configuration.
    pub config: String,
}

impl Default for SwayOptions {
    fn default() -> Self {
        Self {
            outputs: vec![Mode::default()],
            xwayland: false,
            renderer: SwayRenderer::default(),
            config: String::new(),
        }
    }
}

/// A running sway without a screen.
#[derive(Debug)]
pub struct Sway {
    process: Process,
    variables: BTreeMap<String, String>,
    socket: PathBuf,
    session: Session,
}

desktop!(Sway);

impl Sway {
    /// Starts sway and waits until its IPC answers.
    ///
    /// # Errors
    /// When it is missing, ends, or does not answer.
    pub fn start(session: &Session, options: &SwayOptions) -> Result<Self, LabError> {
        let mut config = format!("xwayland {}\n", if options.xwayland { "enable" } else { "disable" });
        let mut left = 0;
        for (index, mode) in options.outputs.iter().enumerate() {
            let Mode { width, height, hertz } = mode;
            config += &format!(
                "output HEADLESS-{} mode --custom {width}x{height}@{hertz}Hz position {left} 0\n",
                index + 1
            );
            left += width;
        }
        config += &options.config;
        let config = session.write_config("sway/config", &config)?;
        let mut command = session.command("sway");
        command
            .arg("-d")
            .arg("-c")
            .arg(config)
            .env("XDG_CURRENT_DESKTOP", "sway")
            .env("XDG_SESSION_TYPE", "wayland")
            // Created one after the other below: made at once, the last one comes first and has the focus.
            .env("WLR_HEADLESS_OUTPUTS", options.outputs.len().min(1).to_string());
        match &options.renderer {
            SwayRenderer::Pixman => {
                command.env("WLR_BACKENDS", "headless").env("WLR_RENDERER", "pixman");
            }
            SwayRenderer::Gles2(card) => {
                command
                    .env("WLR_BACKENDS", "drm,headless")
                    .env("WLR_DRM_DEVICES", card)
                    .env("WLR_RENDERER", "gles2")
                    .env("WLR_RENDERER_ALLOW_SOFTWARE", "1");
            }
        }
        let (process, display) = start_with_socket(session, "sway", command)?;
        // Sockets of sways that are gone stay behind; the process id tells them apart.
        let suffix = format!(".{}.sock", process.pid());
        let socket = process.wait_until("IPC socket of sway", UP, || {
            let names = session.names(|name| name.starts_with("sway-ipc.") && name.ends_with(&suffix));
            names.first().map(|name| session.runtime_dir().join(name))
        })?;
        let variables = variables([
            ("WAYLAND_DISPLAY", display.as_str()),
            ("XDG_CURRENT_DESKTOP", "sway"),
            ("XDG_SESSION_TYPE", "wayland"),
            ("SWAYSOCK", &socket.display().to_string()),
        ]);
        let sway = Self { process, variables, socket, session: session.clone() };
        // It listens before it has run its configuration; it answers after.
        sway.process.wait_until("answer of sway", UP, || {
            sway.outputs().ok().filter(|outputs| outputs.len() >= options.outputs.len().min(1))
        })?;
        for count in 2..=options.outputs.len() {
            sway.run("create_output")?;
            sway.process.wait_until("another output of sway", UP, || {
                sway.outputs().ok().filter(|outputs| outputs.len() >= count)
            })?;
        }
        Ok(sway)
    }

    /// What `sway --version` says.
    ///
    /// # Errors
    /// When it does not run.
    pub fn version(&self) -> Result<String, LabError> {
        version_of(&self.session, "sway", &["--version"])
    }

    /// Runs commands, as `swaymsg` would.
    ///
    /// # Errors
    /// When sway does not answer, or one of them fails.
    pub fn run(&self, commands: &str) -> Result<(), LabError> {
        let answer = self.ask(0, commands)?;
        let all = answer.as_array().map(Vec::as_slice).unwrap_or_default();
        if all.iter().all(|one| one["success"] == true) {
            return Ok(());
        }
        Err(LabError::Answer { program: "sway".into(), answer: answer.to_string() })
    }

    /// Its outputs, as `swaymsg -t get_outputs` would print them.
    ///
    /// # Errors
    /// When sway does not answer.
    pub fn outputs(&self) -> Result<Vec<Value>, LabError> {
        let Value::Array(outputs) = self.ask(3, "")? else { return Ok(Vec::new()) };
        Ok(outputs)
    }

    /// Its workspaces, as `swaymsg -t get_workspaces` would print them.
    ///
    /// # Errors
    /// When sway does not answer.
    pub fn workspaces(&self) -> Result<Vec<Value>, LabError> {
        let Value::Array(workspaces) = self.ask(1, "")? else { return Ok(Vec::new()) };
        Ok(workspaces)
    }

    /// Its tree of outputs, workspaces and windows, as `swaymsg -t get_tree` would print it.
    ///
    /// # Errors
    /// When sway does not answer.
    pub fn tree(&self) -> Result<Value, LabError> {
        self.ask(4, "")
    }

    /// One question of sway's IPC: the i3 magic, two little-endian numbers (length, type), the text.
    fn ask(&self, kind: u32, text: &str) -> Result<Value, LabError> {
        let limit = Some(crate::patient(Duration::from_secs(5)));
        let mut stream = UnixStream::connect(&self.socket).map_err(LabError::file(&self.socket))?;
        let answer = (|| {
            stream.set_read_timeout(limit)?;
            stream.set_write_timeout(limit)?;
            let length = text.len() as u32;
            let head = [b"i3-ipc".as_slice(), &length.to_le_bytes(), &kind.to_le_bytes()].concat();
            stream.write_all(&head)?;
            stream.write_all(text.as_bytes())?;
            let mut head = [0; 14];
            stream.read_exact(&mut head)?;
            let length = u32::from_le_bytes([head[6], head[7], head[8], head[9]]);
            let mut body = vec![0; length as usize];
            stream.read_exact(&mut body)?;
            Ok(body)
        })();
        let answer = answer.map_err(LabError::file(&self.socket))?;
        serde_json::from_slice(&answer).map_err(|cause| LabError::Answer {
            program: "sway".into(),
            answer: format!("{cause}: {}", String::from_utf8_lossy(&answer)),
        })
    }
}
