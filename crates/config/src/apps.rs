//! The list of apps that clients see, protocol text §2.7.

/// Identifies an app to clients: positive, non-zero, the same after a restart as long as the title stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppId(i32);

impl AppId {
    /// The id as it stands in the app list.
    pub fn as_i32(self) -> i32 {
        self.0
    }

    /// The id for a title; `attempt` above zero gives further candidates when two titles collide.
    fn of_title(title: &str, attempt: u32) -> Self {
        let mut bytes = title.as_bytes().to_vec();
        if attempt > 0 {
            bytes.push(0);
            bytes.extend(attempt.to_be_bytes());
        }
        // Without its sign bit a CRC-32 fits the protocol's signed integer; 0 means "no app" there.
        let id = (crc32(&bytes) & 0x7fff_ffff) as i32;
        Self(if id == 0 { 1 } else { id })
    }
}

/// What an app runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Nothing: the desktop itself.
    Desktop,
    /// Program and arguments, run as they are. Not empty.
    Arguments(Vec<String>),
    /// A line for `/bin/sh -c`. Not empty.
    Shell(String),
}

impl Command {
    /// Program and arguments to run; empty for [`Command::Desktop`].
    pub fn to_arguments(&self) -> Vec<String> {
        match self {
            Command::Desktop => Vec::new(),
            Command::Arguments(arguments) => arguments.clone(),
            Command::Shell(line) => vec!["/bin/sh".into(), "-c".into(), line.clone()],
        }
    }
}

/// One entry of the app list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// Shown name, unique in the list.
    pub title: String,
    /// Unique in the list.
    pub id: AppId,
    /// What it runs.
    pub command: Command,
    /// Environment on top of the host's and the output's, in the order of the names.
    pub env: Vec<(String, String)>,
}

impl App {
    /// Title of the entry that is always there and always first.
    pub const DESKTOP: &'static str = "Desktop";
}

/// An entry of the file, before ids are given.
#[derive(Clone, Debug)]
pub(crate) struct AppEntry {
    pub title: String,
    pub command: Command,
    pub env: Vec<(String, String)>,
}

/// The list as clients see it: the desktop first, with what the file says about it, then the others in the file's order.
pub(crate) fn list(entries: Vec<AppEntry>) -> Vec<App> {
    let (mut desktop, others): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|entry| entry.title == App::DESKTOP);
    let desktop = desktop.pop().unwrap_or(AppEntry {
        title: App::DESKTOP.into(),
        command: Command::Desktop,
        env: Vec::new(),
    });
    let mut apps: Vec<App> = Vec::with_capacity(1 + others.len());
    for AppEntry { title, command, env } in std::iter::once(desktop).chain(others) {
        let mut attempt = 0;
        let id = loop {
            let id = AppId::of_title(&title, attempt);
            if apps.iter().all(|app| app.id != id) {
                break id;
            }
            attempt += 1;
        };
        apps.push(App { title, id, command, env });
    }
    apps
}

/// CRC-32 as in zip and PNG, bit by bit: titles are short.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(title: &str) -> AppEntry {
        AppEntry { title: title.into(), command: Command::Shell("true".into()), env: Vec::new() }
    }

    #[test]
    fn the_checksum_is_the_common_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn ids_are_positive_and_do_not_depend_on_the_order() {
        let one = list(vec![entry("A"), entry("B")]);
        let other = list(vec![entry("B"), entry("A")]);
        assert_eq!(one[1].id, other[2].id);
        assert_eq!(one[0].id.as_i32(), 1_188_838_456, "changing it loses clients' shortcuts");
        assert!(one.iter().all(|app| app.id.as_i32() > 0));
    }

    #[test]
    fn titles_that_collide_get_different_ids() {
        // "plumless" and "buckeroo" are the textbook collision of CRC-32.
        assert_eq!(crc32(b"plumless"), crc32(b"buckeroo"));
        let apps = list(vec![entry("plumless"), entry("buckeroo")]);
        assert_ne!(apps[1].id, apps[2].id);
    }

    #[test]
    fn the_desktop_is_first_and_its_entry_may_be_replaced() {
        assert_eq!(list(Vec::new())[0].command, Command::Desktop);
        let apps = list(vec![entry("Game"), entry(App::DESKTOP)]);
        assert_eq!(apps.len(), 2);
        assert_eq!(apps[0].title, App::DESKTOP);
        assert_eq!(apps[0].command, Command::Shell("true".into()));
    }
}
