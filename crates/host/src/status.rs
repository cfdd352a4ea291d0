//! `lumen status`: what the host is doing, for people and for programs.

use crate::displays::Displays;
use crate::resources::GamepadsView;
use crate::runtime::OutputView;
use crate::sound::SoundView;
use crate::supervisor::Shared;
use lumen_display::{Finding, State as Look};
use lumen_gamestream::session::State;
use serde_json::{Value, json};
use std::fmt::Write;
use std::sync::Arc;

/// What does not change while the host runs.
pub struct Facts {
    /// Shown name.
    pub name: String,
    /// Who makes outputs.
    pub displays: Arc<Displays>,
    /// Codecs offered.
    pub codecs: Vec<lumen_media::Codec>,
    /// Kernel takes packets in runs.
    pub gso: bool,
}

/// Everything at this moment.
pub fn collect(shared: &Shared, facts: &Facts) -> Value {
    let config = shared.config();
    let mut sessions = Vec::new();
    shared.for_each_session(|session, runtime| {
        let view = runtime.and_then(|runtime| runtime.view());
        let state = match session.state() {
            State::Pending { .. } => "pending",
            State::Starting { .. } => "starting",
            State::Streaming { .. } => "streaming",
            State::Paused { .. } => "paused",
        };
        let app = config.apps.iter().find(|app| app.id.as_i32() as u32 == session.app().as_u32());
        let stats = view.as_ref().and_then(|view| view.stats.clone());
        let output = view.as_ref().and_then(|view| view.output.as_ref());
        let gamepads = view.as_ref().and_then(|view| view.gamepads.as_ref());
        sessions.push(json!({
            "client": session.client().to_string(),
            "name": shared.clients().find(session.client()).map(|client| client.name),
            "address": session.connection().map(|connection| connection.peer.to_string()),
            "app": app.map(|app| app.title.clone()),
            "state": state,
            "mode": output.map(|output| output.mode.to_string()),
            "display": output.map(display_path),
            "capture": output.map(capture),
            "input": output.map(input),
            "gamepads": gamepads.map(GamepadsView::json),
            "gamepad_packets_dropped": gamepads.map(GamepadsView::dropped),
            "recovering": view.as_ref().is_some_and(|view| view.recovering),
            "codec": session.parameters().map(|parameters| format!("{:?}", parameters.codec)),
            "encrypted": session.parameters().map(|parameters| parameters.encryption.bits()),
            "lingering": view.as_ref().is_some_and(|view| view.lingering),
            "misfit_pictures": view.as_ref().map(|view| view.misfits),
            "scaled_pictures": view.as_ref().map(|view| view.scaled),
            "audio": view.as_ref().and_then(|view| view.sound.as_ref()).map(SoundView::json),
            "stages": stats.as_ref().map(|stats| json!(stats.stages)),
            "counters": stats.map(|stats| json!(stats)),
        }));
    });
    let ports = config.server.ports;
    let control = shared.control().counts();
    let findings = facts.displays.survey();
    let plan = facts.displays.plan(&findings);
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "name": facts.name,
        "ports": {
            "http": ports.http(), "https": ports.https(), "rtsp": ports.rtsp(),
            "video": ports.video(), "control": ports.control(), "audio": ports.audio(),
        },
        "display": {
            "requested": facts.displays.requested(),
            "next": { "effective": plan.effective, "reason": plan.reason },
            "found": findings.iter().map(found).collect::<Vec<_>>(),
        },
        "zero_copy": {
            "requested": config.capture.zero_copy,
            "effective": false,
            "reason": "this version encodes in software only",
        },
        "gso": facts.gso,
        "settings_without_effect": config.without_effect(),
        "dropped": {
            "control_messages": control.refused_messages,
            "control_datagrams": control.datagrams.refused_datagrams,
            "control_connects": control.datagrams.refused_connects + control.datagrams.crowded_connects,
            "input_unknown": control.input.unknown,
            "input_invalid": control.input.invalid,
            "input_gamepad": control.input.gamepad,
            "input_refused": control.input.refused,
        },
        "codecs": facts.codecs.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "encoders": shared.probe().codecs.iter().map(|codec| json!({
            "codec": codec.codec.to_string(), "library": codec.library,
            "offered": facts.codecs.contains(&codec.codec), "reason": codec.reason,
        })).collect::<Vec<_>>(),
        "paired_clients": shared.clients().all().len(),
        "sessions": sessions,
    })
}

/// Which way an output was made.
fn display_path(output: &OutputView) -> Value {
    let path = &output.path;
    json!({ "requested": path.requested, "effective": path.effective, "reason": path.reason })
}

/// How its pictures get here.
fn capture(output: &OutputView) -> Value {
    let report = &output.capture;
    json!({
        "path": report.path, "format": report.format, "arrived": report.arrived, "dropped": report.dropped,
        "negotiations": report.negotiations, "fallback": report.fallback,
        "asleep": report.asleep,
    })
}

/// How input gets there.
fn input(output: &OutputView) -> Value {
    let report = &output.input;
    json!({
        "path": report.path, "fallback": report.fallback, "delivered": report.delivered, "dropped": report.dropped,
        "p50_us": report.p50_us, "p99_us": report.p99_us,
    })
}

/// A desktop of this machine.
fn found(finding: &Finding) -> Value {
    let (state, cause, remedy) = match &finding.state {
        Look::Absent => ("absent", None, None),
        Look::Ready => ("ready", None, None),
        Look::Locked => ("locked", None, None),
        Look::Silent { cause, remedy } => ("silent", Some(cause), Some(remedy)),
        Look::Obstructed { cause, remedy } => ("obstructed", Some(cause), Some(remedy)),
    };
    json!({
        "backend": finding.kind.to_string(), "state": state, "version": finding.version,
        "cause": cause, "remedy": remedy,
    })
}

/// The same for people.
pub fn for_people(status: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("–").to_owned();
    let mut out = String::new();
    let codecs: Vec<_> = status["codecs"].as_array().into_iter().flatten().map(text).collect();
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "{} (Lumen {}), ports from {}, offers {}",
        text(&status["name"]),
        text(&status["version"]),
        status["ports"]["http"],
        codecs.join(", ")
    );
    let found = status["display"]["found"].as_array().into_iter().flatten();
    let present: Vec<_> = found
        .filter(|entry| entry["state"] != "absent")
        .map(|entry| match entry["version"].as_str().unwrap_or_default() {
            "" => format!("{} ({})", text(&entry["backend"]), text(&entry["state"])),
            version => format!("{} ({version}, {})", text(&entry["backend"]), text(&entry["state"])),
        })
        .collect();
    let _ = writeln!(
        out,
        "display: asked for {}; next: {} ({}); found: {}",
        text(&status["display"]["requested"]),
        text(&status["display"]["next"]["effective"]),
        text(&status["display"]["next"]["reason"]),
        if present.is_empty() { "no desktop".to_owned() } else { present.join(", ") }
    );
    let zero_copy = &status["zero_copy"];
    if zero_copy["requested"] != zero_copy["effective"] {
        let _ = writeln!(
            out,
            "zero_copy: asked for {}, uses {} ({})",
            zero_copy["requested"],
            zero_copy["effective"],
            text(&zero_copy["reason"])
        );
    }
    let _ = writeln!(out, "paired clients: {}", status["paired_clients"]);
    let sessions = status["sessions"].as_array().cloned().unwrap_or_default();
    if sessions.is_empty() {
        let _ = write!(out, "no session");
    }
    for session in sessions {
        let _ = write!(
            out,
            "\n{} at {}: \"{}\", {} {} {}",
            text(&session["name"]),
            text(&session["address"]),
            text(&session["app"]),
            text(&session["state"]),
            text(&session["mode"]),
            text(&session["codec"])
        );
        if let Some(path) = session["display"].as_object() {
            let _ = write!(
                out,
                "\n  output     by {}: {}\n  capture    {} {}",
                text(&path["effective"]),
                text(&path["reason"]),
                text(&session["capture"]["path"]),
                text(&session["capture"]["format"]),
            );
        }
        let input = &session["input"];
        if let Some(path) = input["path"].as_str().filter(|path| !path.is_empty()) {
            let _ = write!(out, "\n  input      {path}");
            if input["p99_us"].as_u64().unwrap_or(0) > 0 {
                let ms = |key: &str| input[key].as_f64().unwrap_or(0.0) / 1000.0;
                let _ = write!(out, ", p50 {:.2} ms, p99 {:.2} ms", ms("p50_us"), ms("p99_us"));
            }
            if let Some(fallback) = input["fallback"].as_str().filter(|fallback| !fallback.is_empty()) {
                let _ = write!(out, " ({fallback})");
            }
        }
        if let Some(line) = GamepadsView::line(&session["gamepads"]) {
            let _ = write!(out, "\n  gamepads   {line}");
        }
        if let Some(line) = SoundView::line(&session["audio"]) {
            let _ = write!(out, "\n  sound      {line}");
        }
        if session["recovering"] == true {
            let _ = write!(out, "\n  the desktop lost the output; it is being made again");
        }
        if let Some(stages) = session["stages"].as_object() {
            for stage in ["wait", "convert", "queue", "encode", "packetize", "send", "total"] {
                let Some(times) = stages.get(stage) else { continue };
                let ms = |key: &str| times[key].as_f64().unwrap_or(0.0) / 1000.0;
                let _ = write!(
                    out,
                    "\n  {stage:<10} p50 {:>7.2} ms  p95 {:>7.2} ms  p99 {:>7.2} ms",
                    ms("p50"),
                    ms("p95"),
                    ms("p99")
                );
            }
        }
    }
    out
}
