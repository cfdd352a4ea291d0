//! One connection to PipeWire, until it breaks or the session is over. Every call into PipeWire is made here.

use super::capture::{LATENCY, Listening};
use super::desk::Desk;
use super::survey::Survey;
use super::{Office, SoundConfig, Wish};
use crate::channels::Channels;
use crate::inbox::Inbox;
use libspa::support::system::IoFlags;
use lumen_media::priority::{Priority, raise};
use lumen_media::{Timestamp, clock};
use lumen_pipewire::Entered;
use pipewire::context::ContextRc;
use pipewire::core::CoreRc;
use pipewire::loop_::Timeout;
use pipewire::main_loop::MainLoopRc;
use pipewire::node::Node;
use pipewire::properties::PropertiesBox;
use std::cell::{Cell, RefCell};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// A capture that failed is tried again after this time.
const AGAIN: Duration = Duration::from_secs(1);
/// How long the daemon may take to carry out what is asked of it at the end.
const FAREWELL: Duration = Duration::from_millis(500);
/// A sink that takes longer is reported as missing.
const SINK_WITHIN: Duration = Duration::from_secs(3);
const NO_MANAGER: &str =
    "PipeWire has no session manager, which links programs to sinks: systemctl --user start wireplumber";
const NO_SINK: &str = "PipeWire has no sink";
/// How often the loop looks at what has no event.
const LOOK: Duration = Duration::from_millis(250);

/// What the daemon says about the connection itself.
#[derive(Default)]
struct Line {
    broken: RefCell<Option<String>>,
    /// Number of the last question that was answered.
    answered: Cell<i32>,
}

/// Serves the session until its owner ends it.
///
/// # Errors
/// Why PipeWire cannot be reached, or no longer.
pub(super) fn serve(config: &SoundConfig, office: &Office, said: &mut Option<String>) -> Result<(), String> {
    // Declared first, released last: when everything else is torn down.
    let mut _tear_down = None;
    let library = |error: pipewire::Error| error.to_string();
    let set_up = lumen_pipewire::set_up();
    let main_loop = MainLoopRc::new(None).map_err(library)?;
    let entered = Entered::new(main_loop.loop_());
    let context = ContextRc::new(&main_loop, None).map_err(library)?;
    let core = lumen_pipewire::connect(&context, config.runtime_dir.as_deref())?;
    let line = Rc::new(Line::default());
    let _core_listener = listen(&core, &line);
    let desk = Rc::new(Desk::default());
    let registry = core.get_registry_rc().map_err(library)?;
    let _registry_listener = Desk::watch(&desk, &registry);
    let _bell = main_loop.loop_().add_io(office.bell().as_raw_fd(), IoFlags::IN, |_| {});
    drop(set_up);
    let mut room = Room {
        config,
        office,
        core: core.clone(),
        desk,
        line,
        asked: 0,
        sink: None,
        capture: None,
        again: None,
        moving: false,
        silent: None,
        began: clock::now(),
        sink_asked: clock::now(),
        managed_at: clock::now(),
    };
    room.ask();
    // What is captured comes on this thread. The library has started its own by now.
    raise(Priority::RealTime);
    let result = room.turn_until_over(&entered, said);
    // Streams go back while the sink is still there.
    room.part(&entered, result.is_ok());
    _tear_down = Some(lumen_pipewire::set_up());
    drop(room);
    result
}

fn listen(core: &CoreRc, line: &Rc<Line>) -> pipewire::core::Listener {
    let (failed, done) = (line.clone(), line.clone());
    core.add_listener_local()
        .error(move |id, _, code, message| {
            // The daemon also complains here about things that went in the meantime; only a broken connection is the end.
            if id == pipewire::core::PW_ID_CORE && code == -rustix::io::Errno::PIPE.raw_os_error() {
                *failed.broken.borrow_mut() = Some(format!("{message} ({code})"));
            } else {
                tracing::debug!(id, code, message, "PipeWire reports an error");
            }
        })
        .done(move |id, sequence| {
            if id == pipewire::core::PW_ID_CORE {
                done.answered.set(sequence.seq());
            }
        })
        .register()
}

/// A capture as it was asked for.
struct Running {
    channels: Channels,
    inbox: Arc<Inbox>,
    listening: Listening,
}

struct Room<'a> {
    config: &'a SoundConfig,
    office: &'a Office,
    core: CoreRc,
    desk: Rc<Desk>,
    line: Rc<Line>,
    /// Number of the last question.
    asked: i32,
    sink: Option<Node>,
    capture: Option<Running>,
    /// When a capture that failed is tried again.
    again: Option<Timestamp>,
    /// What plays is kept on the session's sink.
    moving: bool,
    /// Why there is no sound, as was said last.
    silent: Option<String>,
    began: Timestamp,
    /// When PipeWire was last asked for the session's sink.
    sink_asked: Timestamp,
    /// When a session manager was last seen, or sound flowed all the same.
    managed_at: Timestamp,
}

impl Room<'_> {
    /// Asks for a sign that everything before was carried out.
    fn ask(&mut self) {
        if let Ok(sequence) = self.core.sync(0) {
            self.asked = sequence.seq();
        }
    }

    fn listed(&self) -> bool {
        self.line.answered.get() >= self.asked
    }

    fn turn_until_over(&mut self, entered: &Entered<'_>, said: &mut Option<String>) -> Result<(), String> {
        // The second answer comes after what was bound because of the first has spoken.
        let mut greetings = 2;
        loop {
            entered.turn(Timeout::Finite(LOOK));
            self.office.answer();
            if let Some(cause) = self.line.broken.borrow_mut().take() {
                return Err(cause);
            }
            let wish = self.office.wish();
            if wish.quit {
                return Ok(());
            }
            if !self.listed() {
                continue;
            }
            if greetings > 1 {
                greetings -= 1;
                self.ask();
                continue;
            }
            if greetings == 1 {
                greetings = 0;
                if said.take().is_some() {
                    tracing::info!("PipeWire is there again");
                }
                self.desk.forget_dead_sinks();
                self.make_sink();
                self.began = clock::now();
            }
            self.follow(&wish);
            self.report(&wish);
        }
    }

    /// Makes the session's sink. It belongs to this connection: it goes when that does, also when the host is killed.
    fn make_sink(&mut self) {
        let Some((name, channels)) = &self.config.sink else { return };
        let mut properties = PropertiesBox::new();
        let (count, position) = (channels.count().to_string(), channels.position());
        for (key, value) in [
            ("factory.name", "support.null-audio-sink"),
            ("node.name", name.as_str()),
            ("node.description", "Lumen"),
            ("media.class", "Audio/Sink"),
            ("node.virtual", "true"),
            ("object.linger", "false"),
            ("audio.rate", "48000"),
            ("audio.channels", count.as_str()),
            ("audio.position", position.as_str()),
            // The client has a volume of its own.
            ("monitor.channel-volumes", "false"),
            ("monitor.passthrough", "true"),
            ("state.restore-props", "false"),
            // Never what a session manager takes for the default while it has another: sinks without a priority have 0.
            ("priority.session", "-100"),
            ("priority.driver", "1"),
            // Its clock keeps the pace of the capture also while there is none: PipeWire 0.3.65 now and then hears nothing
            // more of a program whose quantum changes.
            ("node.latency", LATENCY),
        ] {
            properties.insert(key, value);
        }
        match self.core.create_object::<Node>("adapter", &properties) {
            Ok(node) => self.sink = Some(node),
            Err(error) => tracing::warn!(%error, "PipeWire makes no sink for the session"),
        }
        self.sink_asked = clock::now();
    }

    fn own_sink(&self) -> Option<&str> {
        let (name, _) = self.config.sink.as_ref()?;
        self.desk.has_sink(name).then_some(name.as_str())
    }

    /// Brings capture and moves in line with what is wanted.
    fn follow(&mut self, wish: &Wish) {
        let now = clock::now();
        let wanted = wish.capture.as_ref();
        let failed =
            self.capture.as_ref().and_then(|running| running.listening.facts().failed.borrow().clone());
        let same = |running: &Running| wanted.is_some_and(|(_, inbox)| Arc::ptr_eq(inbox, &running.inbox));
        if let Some(cause) = &failed {
            tracing::debug!(%cause, "a sound stream ended; it is made again");
            self.again = Some(now + AGAIN);
        }
        if failed.is_some() || self.capture.as_ref().is_some_and(|running| !same(running)) {
            self.capture = None;
        }
        if self.config.sink.is_some() && self.own_sink().is_none() && now.since(self.sink_asked) > SINK_WITHIN
        {
            tracing::debug!("the session's sink is gone; it is made again");
            // Nothing is told twice to go where it went before.
            if let Some((name, _)) = &self.config.sink {
                self.desk.move_back(name);
            }
            self.make_sink();
        }
        let source = self.own_sink().map(str::to_owned);
        let ready = self.config.sink.is_none() || source.is_some();
        let due = self.again.is_none_or(|again| now >= again);
        if let Some((channels, inbox)) = wanted
            && self.capture.is_none()
            && ready
            && due
        {
            self.again = None;
            match Listening::start(&self.core, source.as_deref(), *channels, inbox.clone()) {
                Ok(listening) => {
                    self.capture = Some(Running { channels: *channels, inbox: inbox.clone(), listening });
                }
                Err(cause) => {
                    tracing::warn!(%cause, "PipeWire makes no sound stream");
                    self.again = Some(now + AGAIN);
                }
            }
        }
        if let Some(sink) = &source {
            if wanted.is_some() {
                self.moving = true;
                let moved = self.desk.move_to(sink);
                self.office.tell(|report| report.moved = moved);
            } else if std::mem::take(&mut self.moving) {
                self.desk.move_back(sink);
                self.office.tell(|report| report.moved = 0);
            }
        }
    }

    fn report(&mut self, wish: &Wish) {
        let own = self.own_sink().map(str::to_owned);
        let source = match &self.config.sink {
            Some(_) => own.clone(),
            None => self.desk.default.borrow().clone().filter(|name| self.desk.has_sink(name)),
        };
        let flowing = self.capture.as_ref().is_some_and(|running| running.listening.facts().flowing.get());
        let managed = self.desk.notebook.borrow().is_some();
        if flowing || managed {
            self.managed_at = clock::now();
        }
        let problem = if flowing {
            None
        } else if !managed && clock::now().since(self.managed_at) > SINK_WITHIN {
            Some(NO_MANAGER.to_owned())
        } else if self.config.sink.is_some() && own.is_none() {
            (clock::now().since(self.began) > SINK_WITHIN)
                .then(|| "PipeWire did not make the session's sink".to_owned())
        } else if source.is_none() {
            Some(if managed { NO_SINK } else { NO_MANAGER }.to_owned())
        } else {
            None
        };
        if wish.capture.is_some() && problem != self.silent {
            match &problem {
                Some(cause) => tracing::warn!(%cause, "no sound: clients get silence"),
                None if flowing => {
                    let channels = self.capture.as_ref().map_or("", |running| running.channels.name());
                    tracing::info!(source = source.as_deref().unwrap_or("?"), channels, "sound is captured");
                }
                None => {}
            }
            self.silent.clone_from(&problem);
        }
        self.office.tell(|report| {
            report.connected = true;
            report.own_sink = own.is_some();
            report.source = source;
            report.flowing = flowing;
            report.problem = problem;
        });
    }

    /// Takes everything back; `polite` when the daemon is still there to hear it.
    fn part(&mut self, entered: &Entered<'_>, polite: bool) {
        self.capture = None;
        if !polite {
            return;
        }
        if let Some((name, _)) = &self.config.sink
            && self.moving
        {
            self.desk.move_back(name);
        }
        self.ask();
        let until = clock::now() + FAREWELL;
        while !self.listed() && self.line.broken.borrow().is_none() && clock::now() < until {
            entered.turn(Timeout::Finite(Duration::from_millis(50)));
        }
        if let Some(sink) = self.sink.take() {
            let _ = self.core.destroy_object(sink);
            self.ask();
            while !self.listed() && self.line.broken.borrow().is_none() && clock::now() < until {
                entered.turn(Timeout::Finite(Duration::from_millis(50)));
            }
        }
    }
}

/// Reads once what the daemon has.
///
/// # Errors
/// Why it cannot be reached.
pub(super) fn look(runtime_dir: Option<&Path>, limit: Duration) -> Result<Survey, String> {
    let mut _tear_down = None;
    let library = |error: pipewire::Error| error.to_string();
    let set_up = lumen_pipewire::set_up();
    let main_loop = MainLoopRc::new(None).map_err(library)?;
    let entered = Entered::new(main_loop.loop_());
    let context = ContextRc::new(&main_loop, None).map_err(library)?;
    let core = lumen_pipewire::connect(&context, runtime_dir)?;
    let line = Rc::new(Line::default());
    let _core_listener = listen(&core, &line);
    let desk = Rc::new(Desk::default());
    let registry = core.get_registry_rc().map_err(library)?;
    let _registry_listener = Desk::watch(&desk, &registry);
    drop(set_up);
    let until = clock::now() + limit;
    // The second answer comes after what was bound because of the first has spoken.
    for _ in 0..2 {
        let asked = core.sync(0).map_err(library)?.seq();
        while line.answered.get() < asked {
            if let Some(cause) = line.broken.borrow_mut().take() {
                return Err(cause);
            }
            if clock::now() >= until {
                return Err(format!("PipeWire does not answer within {limit:?}"));
            }
            entered.turn(Timeout::Finite(Duration::from_millis(50)));
        }
    }
    _tear_down = Some(lumen_pipewire::set_up());
    let mut sinks: Vec<_> = desk.sinks.borrow().values().cloned().collect();
    sinks.sort_unstable();
    let default = desk.default.borrow().clone();
    let session_manager = desk.notebook.borrow().is_some();
    Ok(Survey { session_manager, sinks, default })
}
