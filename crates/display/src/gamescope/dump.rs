//! What PipeWire's registry holds, as `pw-dump` prints it: gamescope's video nodes and the daemon's version.

use super::tool::{self, Answer};
use super::version::Version;
use crate::SessionEnvironment;
use serde_json::Value;
use std::time::Duration;

/// The registry at one moment.
#[derive(Debug)]
pub(super) struct Dump(Vec<Value>);

/// A video node of a gamescope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// Global id.
    pub id: u32,
    /// The gamescope's process, where the daemon knows it.
    pub pid: Option<u32>,
    /// Size of its picture in pixels, from its first format.
    pub size: Option<(u32, u32)>,
}

impl Dump {
    /// Asks the session's daemon.
    pub fn take(session: &SessionEnvironment, limit: Duration) -> std::io::Result<Self> {
        let missing = || std::io::Error::new(std::io::ErrorKind::NotFound, "pw-dump is not installed");
        let program = tool::find(session, "pw-dump").ok_or_else(missing)?;
        let mut command = tool::command(session, &program);
        command.arg("--no-colors");
        Self::parse(&tool::ask(command, Answer::Output, limit)?)
    }

    fn parse(json: &[u8]) -> std::io::Result<Self> {
        Ok(Self(serde_json::from_slice(json)?))
    }

    /// The daemon's version.
    pub fn pipewire(&self) -> Option<Version> {
        let core = self.of_type("PipeWire:Interface:Core").next()?;
        Version::parse(core["info"]["version"].as_str()?)
    }

    /// All video nodes of gamescopes. gamescope owns other objects of the same name, so the class counts too.
    pub fn gamescopes(&self) -> Vec<Node> {
        let nodes = self.of_type("PipeWire:Interface:Node").filter(|node| {
            let props = &node["info"]["props"];
            props["node.name"] == "gamescope" && props["media.class"] == "Video/Source"
        });
        nodes.filter_map(|node| self.node(node)).collect()
    }

    fn node(&self, node: &Value) -> Option<Node> {
        let id = number(&node["id"])?;
        let formats = node["info"]["params"]["EnumFormat"].as_array();
        let size = formats.into_iter().flatten().find_map(|format| {
            let size = &format["size"];
            // A range stands as its default.
            let size = if size["default"].is_object() { &size["default"] } else { size };
            Some((number(&size["width"])?, number(&size["height"])?))
        });
        let client = number(&node["info"]["props"]["client.id"]);
        let client = self.of_type("PipeWire:Interface:Client").find(|other| number(&other["id"]) == client);
        let pid = client.and_then(|client| {
            let props = &client["info"]["props"];
            // What the kernel says of the connection comes before what the program says of itself.
            number(&props["pipewire.sec.pid"]).or_else(|| number(&props["application.process.id"]))
        });
        Some(Node { id, pid, size })
    }

    fn of_type<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Value> {
        self.0.iter().filter(move |object| object["type"] == name)
    }
}

/// Properties are numbers in some versions and text in others.
fn number(value: &Value) -> Option<u32> {
    match value {
        Value::Number(number) => number.as_u64()?.try_into().ok(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}
