//! `lumen setup`: the permissions that desktops want to be written down once, and their removal.

use crate::displays::display_config;
use crate::files;
use lumen_config::{Config, Environment, Paths};
use lumen_display::{DisplayConfig, kwin_setup, portal};
use std::path::Path;

/// Remembers that the portal's grant is ours to take back.
const GRANTED: &str = "portal-granted";

/// What to set up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Take everything back.
    pub remove: bool,
    /// Also let KDE's portal show and control existing monitors without asking.
    pub portal: bool,
}

/// Carries it out for `program`, the running one; says what was done, a line each.
///
/// # Errors
/// What stands in the way, with the next step.
pub fn run(
    request: Request,
    program: &Path,
    config: &Config,
    environment: &Environment,
    paths: &Paths,
) -> anyhow::Result<String> {
    let outputs = display_config(config, environment, &paths.runtime_dir, &paths.state_dir);
    let granted = paths.state_dir.join(GRANTED);
    let lines = if request.remove {
        remove(&outputs, &granted)?
    } else {
        // What may fail comes first: then nothing is written.
        let grant = match request.portal {
            true => {
                files::ensure_private_dir(&paths.state_dir)?;
                Some(grant(&outputs, &granted)?)
            }
            false => None,
        };
        let mut lines = install(&outputs, program)?;
        lines.extend(grant);
        lines
    };
    Ok(lines.join("\n"))
}

fn install(outputs: &DisplayConfig, program: &Path) -> anyhow::Result<Vec<String>> {
    let report = kwin_setup::install(outputs, program)?;
    let file = report.file.display();
    let mut lines = vec![match report.written {
        true => format!("KDE Plasma: {file} lets {} make outputs.", program.display()),
        false => format!("KDE Plasma: {file} was there already."),
    }];
    match report.seen {
        Some(true) => lines.push("KWin has noticed it.".into()),
        // The warnings say what to do.
        Some(false) => {}
        None => lines.push(
            "No KWin of this session runs that program now: it counts from the next start of Plasma, or of Lumen in Plasma, on.".into(),
        ),
    }
    lines.extend(report.warnings.into_iter().map(|warning| format!("Note: {warning}")));
    lines.push("GNOME, sway, Hyprland and gamescope need no permission.".into());
    Ok(lines)
}

fn grant(outputs: &DisplayConfig, granted: &Path) -> anyhow::Result<String> {
    if !portal::authorize(outputs)? {
        return Ok("Portal: services may show and control the desktop without asking already.".into());
    }
    files::write_private(granted, b"")?;
    Ok("Portal: services of this user may show and control the desktop without asking (KDE Plasma 6.3 and newer)."
        .into())
}

fn remove(outputs: &DisplayConfig, granted: &Path) -> anyhow::Result<Vec<String>> {
    let entry = kwin_setup::remove(outputs).map(|removed| match removed {
        Some(file) => format!("KDE Plasma: {} is removed.", file.display()),
        None => "KDE Plasma: there was no permission.".into(),
    });
    // Who was granted by somebody else keeps it.
    let grant = granted.exists().then(|| withdraw(outputs, granted));
    match (entry, grant.transpose()) {
        (Ok(entry), Ok(grant)) => Ok(std::iter::once(entry).chain(grant).collect()),
        (Err(entry), Err(grant)) => Err(anyhow::anyhow!("{entry}\nPortal: {grant}")),
        (Err(entry), Ok(Some(grant))) => Err(anyhow::anyhow!("{entry}\n{grant}")),
        (Err(entry), Ok(None)) => Err(entry.into()),
        (Ok(entry), Err(grant)) => Err(anyhow::anyhow!("{entry}\nPortal: {grant}")),
    }
}

fn withdraw(outputs: &DisplayConfig, granted: &Path) -> anyhow::Result<String> {
    let taken = portal::deauthorize(outputs)?;
    std::fs::remove_file(granted)?;
    Ok(match taken {
        true => "Portal: services have to ask again.".into(),
        false => "Portal: the grant was gone already.".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_up_is_removed_again_and_both_say_so() {
        let home = tempfile::tempdir().expect("temporary directory");
        let path = home.path().to_str().expect("plain").to_owned();
        let environment = Environment::read(|name| (name == "HOME").then(|| path.clone()));
        let config = Config::default();
        let paths = Paths::new(None, &environment, &config);
        let program = std::env::current_exe().expect("there");
        let run = |remove| {
            let request = Request { remove, portal: false };
            super::run(request, &program, &config, &environment, &paths).expect("done")
        };
        let entry = home.path().join(".local/share/applications/lumen-host.desktop");
        assert!(run(true).contains("there was no permission"));
        let said = run(false);
        assert!(said.contains(entry.to_str().expect("plain")) && entry.exists(), "{said}");
        assert!(run(false).contains("was there already"));
        assert!(run(true).contains("is removed") && !entry.exists());
    }
}
