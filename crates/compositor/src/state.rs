//! Everything that the compositor's thread owns.

use crate::client::Counts;
use crate::compose::{Composer, Outcome, PictureElement};
use crate::cursor::Cursor;
use crate::desk::Desk;
use crate::frame_clock::{Damage, Due, FrameClock};
use crate::input::Inbox;
use crate::keyboard::Layout;
use crate::seat::Input;
use crate::shared::Wishes;
use lumen_media::{DisplayError, Mode, Timestamp};
use smithay::backend::renderer::element::Kind;
use smithay::backend::renderer::element::surface::render_elements_from_surface_tree;
use smithay::desktop::PopupGrab;
use smithay::desktop::utils::{
    OutputPresentationFeedback, send_frames_surface_tree, take_presentation_feedback_surface_tree,
    with_surfaces_surface_tree,
};
use smithay::input::SeatState;
use smithay::output::{Mode as OutputMode, Output, PhysicalProperties, Scale, Subpixel};
use smithay::reexports::wayland_protocols::wp::presentation_time::server::wp_presentation_feedback::Kind as FeedbackKind;
use smithay::reexports::wayland_protocols::xdg::shell::server::xdg_toplevel::WmCapabilities;
use smithay::reexports::wayland_server::DisplayHandle;
use smithay::reexports::wayland_server::protocol::wl_shm;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{ClockSource, Logical, Monotonic, Point, Time, Transform};
use smithay::wayland::compositor::{CompositorState, SurfaceAttributes, SurfaceData};
use smithay::wayland::cursor_shape::CursorShapeManagerState;
use smithay::wayland::fractional_scale::FractionalScaleManagerState;
use smithay::wayland::idle_inhibit::IdleInhibitManagerState;
use smithay::wayland::output::OutputManagerState;
use smithay::wayland::pointer_constraints::PointerConstraintsState;
use smithay::wayland::presentation::{PresentationFeedbackCachedState, PresentationState, Refresh};
use smithay::wayland::relative_pointer::RelativePointerManagerState;
use smithay::wayland::selection::data_device::DataDeviceState;
use smithay::wayland::selection::primary_selection::PrimarySelectionState;
use smithay::wayland::shell::xdg::XdgShellState;
use smithay::wayland::shell::xdg::decoration::XdgDecorationState;
use smithay::wayland::shm::ShmState;
use smithay::wayland::single_pixel_buffer::SinglePixelBufferState;
use smithay::wayland::tablet_manager::TabletManagerState;
use smithay::wayland::viewporter::ViewporterState;
use smithay::wayland::xdg_activation::XdgActivationState;
use std::sync::Arc;
use std::time::Duration;

/// The state that all handlers share.
pub(crate) struct Compositor {
    pub(crate) display: DisplayHandle,
    pub(crate) protocols: Protocols,
    pub(crate) seat_state: SeatState<Compositor>,
    pub(crate) input: Input,
    pub(crate) desk: Desk,
    pub(crate) cursor: Cursor,
    /// Surface that is dragged along with the pointer, and where it hangs.
    pub(crate) drag_icon: Option<(WlSurface, Point<i32, Logical>)>,
    /// Menus that have the keyboard, now or lately.
    pub(crate) popup_grab: Option<PopupGrab<Compositor>>,
    pub(crate) counts: Counts,
    pub(crate) clock: FrameClock,
    composer: Composer,
    output: Output,
    interval: Duration,
    /// Composed, not yet told to the clients.
    presented: Vec<Presented>,
    wishes: Arc<Wishes>,
    pub(crate) inbox: Inbox,
    activations: u64,
    /// Time of the turn of the loop in which handlers run.
    pub(crate) now: Timestamp,
}

struct Presented {
    feedback: OutputPresentationFeedback,
    at: Timestamp,
    sequence: u64,
}

/// One state per protocol, as Smithay wants them.
pub(crate) struct Protocols {
    pub(crate) compositor: CompositorState,
    pub(crate) shm: ShmState,
    pub(crate) xdg_shell: XdgShellState,
    pub(crate) activation: XdgActivationState,
    pub(crate) data_device: DataDeviceState,
    pub(crate) primary_selection: PrimarySelectionState,
    _globals: Globals,
}

/// Protocols that need no attention once they are announced.
struct Globals {
    _output: OutputManagerState,
    _decoration: XdgDecorationState,
    _viewporter: ViewporterState,
    _presentation: PresentationState,
    _fractional_scale: FractionalScaleManagerState,
    _single_pixel: SinglePixelBufferState,
    _cursor_shape: CursorShapeManagerState,
    _idle_inhibit: IdleInhibitManagerState,
    _relative_pointer: RelativePointerManagerState,
    _pointer_constraints: PointerConstraintsState,
    _tablets: TabletManagerState,
}

impl Protocols {
    fn new(display: &DisplayHandle) -> Self {
        let formats = [wl_shm::Format::Xbgr8888, wl_shm::Format::Abgr8888];
        let capabilities = [WmCapabilities::Fullscreen, WmCapabilities::Maximize];
        Self {
            compositor: CompositorState::new::<Compositor>(display),
            shm: ShmState::new::<Compositor>(display, formats),
            xdg_shell: XdgShellState::new_with_capabilities::<Compositor>(display, capabilities),
            activation: XdgActivationState::new::<Compositor>(display),
            data_device: DataDeviceState::new::<Compositor>(display),
            primary_selection: PrimarySelectionState::new::<Compositor>(display),
            _globals: Globals {
                _output: OutputManagerState::new_with_xdg_output::<Compositor>(display),
                _decoration: XdgDecorationState::new::<Compositor>(display),
                _viewporter: ViewporterState::new::<Compositor>(display),
                _presentation: PresentationState::new::<Compositor>(display, Monotonic::ID as u32),
                _fractional_scale: FractionalScaleManagerState::new::<Compositor>(display),
                _single_pixel: SinglePixelBufferState::new::<Compositor>(display),
                _cursor_shape: CursorShapeManagerState::new::<Compositor>(display),
                _idle_inhibit: IdleInhibitManagerState::new::<Compositor>(display),
                _relative_pointer: RelativePointerManagerState::new::<Compositor>(display),
                _pointer_constraints: PointerConstraintsState::new::<Compositor>(display),
                _tablets: TabletManagerState::new::<Compositor>(display),
            },
        }
    }
}

/// Makes the output and announces it at exactly `mode`.
fn announce_output(display: &DisplayHandle, mode: Mode) -> Output {
    let (width, height) = (mode.width() as i32, mode.height() as i32);
    let properties = PhysicalProperties {
        // 96 dots per inch, so that programs that compute a scale arrive at one.
        size: (width * 254 / 960, height * 254 / 960).into(),
        subpixel: Subpixel::Unknown,
        make: "Lumen".to_owned(),
        model: "Virtual output".to_owned(),
    };
    let output = Output::new("LUMEN-1".to_owned(), properties);
    let output_mode = OutputMode { size: (width, height).into(), refresh: mode.refresh_mhz() as i32 };
    output.change_current_state(
        Some(output_mode),
        Some(Transform::Normal),
        Some(Scale::Integer(1)),
        Some((0, 0).into()),
    );
    output.set_preferred(output_mode);
    output.create_global::<Compositor>(display);
    output
}

impl Compositor {
    pub(crate) fn new(
        display: DisplayHandle,
        mode: Mode,
        composer: Composer,
        wishes: Arc<Wishes>,
        inbox: Inbox,
        layout: &Layout,
    ) -> Result<Self, smithay::input::keyboard::Error> {
        let output = announce_output(&display, mode);
        let protocols = Protocols::new(&display);
        let mut seat_state = SeatState::new();
        let size = (mode.width() as i32, mode.height() as i32).into();
        let input = Input::new(&display, &mut seat_state, size, layout)?;
        Ok(Self {
            desk: Desk::new(&output, size),
            display,
            protocols,
            seat_state,
            input,
            inbox,
            cursor: Cursor::new(),
            drag_icon: None,
            popup_grab: None,
            counts: Counts::default(),
            clock: FrameClock::new(mode.frame_interval()),
            composer,
            output,
            interval: mode.frame_interval(),
            presented: Vec::new(),
            wishes,
            activations: 0,
            now: lumen_media::clock::now(),
        })
    }

    /// The host wished for something, or a buffer came back.
    pub(crate) fn woken(&mut self) {
        self.clock.buffer_returned();
        if let Some(wish) = self.wishes.take_mode() {
            let changed = self.set_mode(wish.mode);
            // Who wished may have given up waiting.
            drop(wish.done.try_send(changed));
        }
        let (active, activations) = self.wishes.active();
        if active == self.clock.is_active() && activations == self.activations {
            return;
        }
        self.activations = activations;
        if active {
            self.composer.start_over();
        } else {
            self.release_input();
        }
        self.clock.set_active(self.now, active);
    }

    /// The output takes another mode; its windows stay.
    fn set_mode(&mut self, mode: Mode) -> Result<(), DisplayError> {
        self.composer.resize(mode).map_err(|error| DisplayError::Other(error.to_string()))?;
        let old = self.output.current_mode();
        let size = (mode.width() as i32, mode.height() as i32);
        let new = OutputMode { size: size.into(), refresh: mode.refresh_mhz() as i32 };
        self.output.change_current_state(Some(new), None, None, None);
        self.output.set_preferred(new);
        if let Some(old) = old.filter(|old| *old != new) {
            self.output.delete_mode(old);
        }
        self.desk.resize(size.into());
        self.input.resize(size.into());
        self.interval = mode.frame_interval();
        self.clock.change_interval(self.now, self.interval);
        tracing::info!(%mode, "the output changed its mode");
        Ok(())
    }

    /// After all events of a turn: puts windows and focus in order.
    pub(crate) fn settle(&mut self) {
        if self.desk.settle() {
            self.clock.damaged(self.now, Damage::Content);
            self.settle_focus();
        }
    }

    /// Does what is due.
    pub(crate) fn work(&mut self) {
        loop {
            self.now = lumen_media::clock::now();
            match self.clock.poll(self.now) {
                Some(Due::Compose) => self.compose(),
                Some(Due::Callbacks) => self.send_callbacks(),
                None => return,
            }
        }
    }

    fn compose(&mut self) {
        let elements = self.elements();
        match self.composer.compose(&elements, self.now) {
            Outcome::Drawn => {
                self.take_feedback();
                self.clock.composed(self.now);
            }
            Outcome::Unchanged => {
                self.take_feedback();
                self.clock.unchanged();
            }
            Outcome::Starved => self.clock.starved(),
            Outcome::Failed => {
                self.clock.composed(self.now);
                self.clock.damaged(self.now, Damage::Content);
            }
        }
    }

    /// Front to back: pointer, what it drags, windows from the topmost down.
    fn elements(&mut self) -> Vec<PictureElement> {
        let renderer = &mut self.composer.renderer;
        let position = self.input.shown_at();
        let mut elements = self.cursor.elements(renderer, position);
        if let Some((surface, offset)) = &self.drag_icon {
            let location = (position.to_i32_floor() + *offset).to_physical(1);
            let icon: Vec<PictureElement> =
                render_elements_from_surface_tree(renderer, surface, location, 1.0, 1.0, Kind::Unspecified);
            elements.extend(icon);
        }
        elements.extend(self.desk.elements(renderer));
        elements
    }

    /// Surfaces that may wait for a callback.
    fn surfaces(&self) -> Vec<WlSurface> {
        let mut surfaces = self.desk.surfaces();
        surfaces.extend(self.cursor.surface().cloned());
        surfaces.extend(self.drag_icon.iter().map(|(surface, _)| surface.clone()));
        surfaces
    }

    fn take_feedback(&mut self) {
        let mut feedback = OutputPresentationFeedback::new(&self.output);
        let mut wanted = false;
        for surface in self.surfaces() {
            take_presentation_feedback_surface_tree(
                &surface,
                &mut feedback,
                |_, _| Some(self.output.clone()),
                |_, states| {
                    wanted |= wants_feedback(states);
                    FeedbackKind::empty()
                },
            );
        }
        // Whoever wants feedback has callbacks scheduled, which empty the list; a client that wants neither must not
        // fill it.
        if wanted {
            self.presented.push(Presented { feedback, at: self.now, sequence: self.composer.sequence() });
        }
    }

    fn send_callbacks(&mut self) {
        let active = self.clock.is_active();
        if !active {
            self.take_feedback();
        }
        for mut presented in self.presented.drain(..) {
            if active {
                presented.feedback.presented(
                    Time::<Monotonic>::from(Duration::from_nanos(presented.at.as_nanos())),
                    Refresh::fixed(self.interval),
                    presented.sequence,
                    FeedbackKind::empty(),
                );
            } else {
                presented.feedback.discarded();
            }
        }
        let time = Duration::from_nanos(self.now.as_nanos());
        for surface in self.surfaces() {
            send_frames_surface_tree(&surface, &self.output, time, Some(Duration::ZERO), |_, _| {
                Some(self.output.clone())
            });
        }
    }

    /// A commit of `surface` changed the picture, and may ask for a callback.
    pub(crate) fn committed(&mut self, surface: &WlSurface) {
        let pointer = self.cursor.surface() == Some(surface);
        self.clock.damaged(self.now, if pointer { Damage::Pointer } else { Damage::Content });
        let mut waits = false;
        with_surfaces_surface_tree(surface, |_, states| {
            waits |= !states.cached_state.get::<SurfaceAttributes>().current().frame_callbacks.is_empty()
                || wants_feedback(states);
        });
        if waits {
            self.clock.callback_wanted(self.now);
        }
    }

    /// Pictures of which clients are still to be told.
    #[cfg(test)]
    pub(crate) fn untold(&self) -> usize {
        self.presented.len()
    }
}

/// Whether a client waits to hear when this state of a surface was shown.
fn wants_feedback(states: &SurfaceData) -> bool {
    !states.cached_state.get::<PresentationFeedbackCachedState>().current().callbacks.is_empty()
}
