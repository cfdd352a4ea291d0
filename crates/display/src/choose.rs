//! Which backend makes an output: looked up anew each time, since desktops come and go while the host runs.
//!
//! A ladder per desktop: its own protocol, then its portal, then the built-in compositor. A name in the configuration
//! takes the last rung away: who asks for KWin does not want an empty desktop instead.

use crate::backend::{BACKENDS, Backend};
use crate::inhibit::{inhibit, inhibit_by_surface};
use crate::{DisplayConfig, DisplayKind, Finding, State, Topology, VideoSource, builtin};
use lumen_media::{AppLaunch, DisplayError, Mode, PathReport, VirtualDisplay, VirtualOutput};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One way to an output, and why it is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rung {
    kind: DisplayKind,
    reason: String,
}

/// What is tried, in this order, and why other ways are not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ladder {
    rungs: Vec<Rung>,
    /// Why better ways are left out; shown with the rung that works.
    passed_over: Vec<String>,
}

/// Makes outputs in whatever desktop is there, as the configuration wishes.
pub struct Chooser {
    requested: DisplayKind,
    config: DisplayConfig,
    builtin: Arc<dyn VirtualDisplay>,
    opened: Mutex<HashMap<DisplayKind, Arc<dyn VirtualDisplay>>>,
    /// Where nothing of a host that was killed is left.
    cleaned: Mutex<HashSet<DisplayKind>>,
}

impl Chooser {
    /// Checks what can be checked without a desktop. Looks at nothing else yet.
    ///
    /// # Errors
    /// A keyboard that does not exist.
    pub fn new(requested: DisplayKind, config: DisplayConfig) -> Result<Self, DisplayError> {
        let builtin = Arc::from(builtin::open(&config)?);
        Ok(Self { requested, config, builtin, opened: Mutex::default(), cleaned: Mutex::default() })
    }

    /// What the configuration asks for.
    pub fn requested(&self) -> DisplayKind {
        self.requested
    }

    /// Looks at every backend, side by side; takes two seconds at most, four where gamescope is installed and hangs. Changes nothing.
    pub fn survey(&self) -> Vec<Finding> {
        look_at(&BACKENDS, &self.config)
    }

    /// Which way the next output is tried first, by what [`Chooser::survey`] found, and why.
    pub fn plan(&self, findings: &[Finding]) -> PathReport {
        let Ladder { rungs, passed_over } = self.ladder(findings);
        let first = rungs.into_iter().next();
        let (effective, reason) =
            first.map_or_else(Default::default, |rung| (rung.kind.to_string(), rung.reason));
        let reasons: Vec<_> = std::iter::once(reason).chain(passed_over).collect();
        PathReport { requested: self.requested_path(), effective, reason: reasons.join("; ") }
    }

    /// Removes what a host that was killed left in the desktops that run. What cannot be removed now, since its desktop
    /// is not there yet or does not answer, is tried again before the next output.
    pub fn clean_up(&self) {
        // Held throughout: no output is made while an earlier host's are being removed.
        let mut cleaned = lock(&self.cleaned);
        for backend in &BACKENDS {
            if !cleaned.contains(&backend.kind) && (backend.clean_up)(&self.config) {
                cleaned.insert(backend.kind);
            }
        }
    }

    /// Takes back what a desktop asks a person: the host stops.
    pub fn withdraw_questions(&self) {
        self.config.questions.withdraw();
    }

    fn ladder(&self, findings: &[Finding]) -> Ladder {
        if self.requested == DisplayKind::Builtin {
            return Ladder {
                rungs: vec![Rung { kind: DisplayKind::Builtin, reason: "as asked for".into() }],
                passed_over: Vec::new(),
            };
        }
        ladder(self.requested, &self.config, findings)
    }

    fn display(&self, kind: DisplayKind) -> Result<Arc<dyn VirtualDisplay>, DisplayError> {
        if kind == DisplayKind::Builtin {
            return Ok(self.builtin.clone());
        }
        let mut opened = lock(&self.opened);
        if let Some(display) = opened.get(&kind) {
            return Ok(display.clone());
        }
        let backend = BACKENDS.iter().find(|backend| backend.kind == kind);
        let Some(backend) = backend else {
            return Err(DisplayError::Other(format!("there is no display backend `{kind}`")));
        };
        let display: Arc<dyn VirtualDisplay> = Arc::from((backend.open)(&self.config)?);
        opened.insert(kind, display.clone());
        Ok(display)
    }

    fn create_by(
        &self,
        kind: DisplayKind,
        mode: Mode,
        launch: &AppLaunch,
    ) -> Result<VirtualOutput, DisplayError> {
        let created = self.display(kind).and_then(|display| display.create(mode, launch));
        if let Err(error) = &created
            && !matches!(error, DisplayError::Unsupported { .. } | DisplayError::Forbidden { .. })
        {
            // A connection may be stale; the next try begins afresh.
            lock(&self.opened).remove(&kind);
        }
        created
    }

    fn climb(&self, ladder: Ladder, mode: Mode, launch: &AppLaunch) -> Result<VirtualOutput, DisplayError> {
        let mut why = ladder.passed_over;
        let mut last = None;
        for Rung { kind, reason } in ladder.rungs {
            match self.create_by(kind, mode, launch) {
                Ok(mut output) => {
                    let mut reasons = vec![reason];
                    reasons.append(&mut why);
                    reasons.extend((!output.path.reason.is_empty()).then(|| output.path.reason.clone()));
                    output.path = PathReport {
                        requested: self.requested_path(),
                        effective: kind.to_string(),
                        reason: reasons.join("; "),
                    };
                    tracing::info!(
                        requested = output.path.requested,
                        effective = output.path.effective,
                        reason = output.path.reason,
                        "display path"
                    );
                    return Ok(output);
                }
                // Its text says what to do, and no other way leads past the lock.
                Err(error @ DisplayError::Locked { .. }) => return Err(error),
                Err(error) => {
                    // The last one is the caller's to report, who may try again.
                    tracing::debug!(backend = %kind, %error, "no output by this way");
                    why.push(error.to_string());
                    last = Some(error);
                }
            }
        }
        Err(last.unwrap_or_else(|| DisplayError::Other(why.join("; "))))
    }

    fn requested_path(&self) -> String {
        match self.config.source {
            VideoSource::Virtual if self.config.topology == Topology::Mirror => {
                format!("{}, mirror", self.requested)
            }
            VideoSource::Virtual => self.requested.to_string(),
            VideoSource::Portal => "portal".into(),
            VideoSource::TestPattern => "test-pattern".into(),
        }
    }
}

impl VirtualDisplay for Chooser {
    fn name(&self) -> &'static str {
        "chooser"
    }

    fn create(&self, mode: Mode, launch: &AppLaunch) -> Result<VirtualOutput, DisplayError> {
        self.clean_up();
        let findings = if self.requested == DisplayKind::Builtin { Vec::new() } else { self.survey() };
        self.climb(self.ladder(&findings), mode, launch)
    }

    /// By the same backend, no other: its desktop may just be coming back.
    fn recreate(
        &self,
        lost: &PathReport,
        mode: Mode,
        launch: &AppLaunch,
    ) -> Result<VirtualOutput, DisplayError> {
        self.distrust(lost);
        let Ok(kind) = lost.effective.parse::<DisplayKind>() else { return self.create(mode, launch) };
        let rung = Rung { kind, reason: "made again after the desktop lost it".into() };
        self.climb(Ladder { rungs: vec![rung], passed_over: Vec::new() }, mode, launch)
    }

    fn distrust(&self, path: &PathReport) {
        if let Ok(kind) = path.effective.parse::<DisplayKind>() {
            lock(&self.opened).remove(&kind);
        }
    }

    fn keep_awake(&self, path: &PathReport) -> Option<Box<dyn Send>> {
        // The built-in compositor has no screen to blank.
        let desktop = path.effective != DisplayKind::Builtin.to_string();
        // Plasma and GNOME listen to D-Bus; whose monitor a portal shows is not known.
        let by_surface = matches!(
            path.effective.parse(),
            Ok(DisplayKind::Wlroots | DisplayKind::Hyprland | DisplayKind::Portal)
        );
        let surfaces = if by_surface { inhibit_by_surface(&self.config) } else { Vec::new() };
        desktop.then(|| Box::new((inhibit(&self.config), surfaces)) as Box<dyn Send>)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn look_at(backends: &[Backend], config: &DisplayConfig) -> Vec<Finding> {
    std::thread::scope(|scope| {
        let looks: Vec<_> =
            backends.iter().map(|backend| (backend.kind, scope.spawn(|| (backend.look)(config)))).collect();
        looks.into_iter().map(|(kind, look)| look.join().unwrap_or_else(|_| Finding::absent(kind))).collect()
    })
}

/// The kinds that a desktop's own name stands for.
fn named(desktop: &[String]) -> Option<DisplayKind> {
    desktop.iter().find_map(|name| match name.as_str() {
        "kde" => Some(DisplayKind::Kwin),
        "gnome" | "ubuntu" | "gnome-classic" => Some(DisplayKind::Mutter),
        "sway" | "wlroots" | "labwc" | "river" | "wayfire" => Some(DisplayKind::Wlroots),
        "hyprland" => Some(DisplayKind::Hyprland),
        "gamescope" => Some(DisplayKind::Gamescope),
        _ => None,
    })
}

/// Decides what is tried. Pure: everything that was seen comes in.
fn ladder(requested: DisplayKind, config: &DisplayConfig, findings: &[Finding]) -> Ladder {
    let state = |kind| findings.iter().find(|finding| finding.kind == kind).map(|finding| &finding.state);
    let mut ladder = Ladder::default();
    let mirror = config.source == VideoSource::Portal || config.topology == Topology::Mirror;
    if mirror || requested == DisplayKind::Portal {
        let reason = "an existing monitor is asked for".into();
        ladder.rungs.push(Rung { kind: DisplayKind::Portal, reason });
        return ladder;
    }
    if requested != DisplayKind::Auto {
        ladder.rungs.push(Rung { kind: requested, reason: "as asked for".into() });
        if !matches!(state(requested), None | Some(State::Absent))
            && state(DisplayKind::Portal) == Some(&State::Ready)
        {
            let reason = format!("{requested} makes no output, so an existing monitor is shown");
            ladder.rungs.push(Rung { kind: DisplayKind::Portal, reason });
        }
        return ladder;
    }
    let desktop = named(&config.session.current_desktop());
    let mut candidates: Vec<_> = desktop.into_iter().collect();
    let by_answer = [DisplayKind::Kwin, DisplayKind::Mutter, DisplayKind::Wlroots, DisplayKind::Hyprland];
    candidates.extend(by_answer.into_iter().filter(|kind| Some(*kind) != desktop));
    if config.gamescope_node.is_some() {
        candidates.retain(|kind| *kind != DisplayKind::Gamescope);
        candidates.insert(0, DisplayKind::Gamescope);
    }
    let mut desktop_runs = false;
    for kind in candidates {
        match state(kind) {
            Some(State::Ready) => {
                desktop_runs = true;
                let reason = if kind == DisplayKind::Gamescope && config.gamescope_node.is_some() {
                    "a gamescope node is set".to_owned()
                } else if Some(kind) == desktop {
                    format!("XDG_CURRENT_DESKTOP names {kind}, and it answers")
                } else {
                    format!("{kind} answers")
                };
                ladder.rungs.push(Rung { kind, reason });
            }
            // Asked all the same: its refusal is what the user must hear, and no other way leads past the lock.
            Some(State::Locked) => {
                desktop_runs = true;
                ladder.rungs.push(Rung { kind, reason: format!("{kind} answers, but is locked") });
            }
            // Making an output has more patience than a look.
            Some(State::Silent { .. }) => {
                desktop_runs = true;
                ladder.rungs.push(Rung { kind, reason: format!("{kind} runs, and may just be busy") });
            }
            Some(State::Obstructed { cause, remedy }) => {
                desktop_runs = true;
                ladder.passed_over.push(format!("{kind}: {cause}. {remedy}"));
            }
            Some(State::Absent) | None if Some(kind) == desktop => {
                ladder.passed_over.push(format!("XDG_CURRENT_DESKTOP names {kind}, but it does not answer"));
            }
            Some(State::Absent) | None => {}
        }
    }
    // Without a desktop a portal has nothing to show, and asking it would only cost the client its patience. One that no
    // backend knows has at least a name or a socket.
    let session = &config.session;
    let named_or_seen = !session.current_desktop().is_empty() || !session.wayland_sockets().is_empty();
    let unknown = named_or_seen && !desktop_runs;
    if unknown && state(DisplayKind::Portal) == Some(&State::Ready) {
        let reason = "no backend knows this desktop, so an existing monitor is shown".into();
        ladder.rungs.push(Rung { kind: DisplayKind::Portal, reason });
    }
    if desktop_runs && state(DisplayKind::Portal) == Some(&State::Ready) {
        let reason = "the desktop makes no output, so an existing monitor is shown".into();
        ladder.rungs.push(Rung { kind: DisplayKind::Portal, reason });
    }
    let reason =
        if desktop_runs || unknown { "the desktop shows nothing to Lumen" } else { "no desktop runs here" };
    ladder.rungs.push(Rung { kind: DisplayKind::Builtin, reason: reason.into() });
    ladder
}

#[cfg(test)]
#[path = "choose_tests.rs"]
mod tests;
