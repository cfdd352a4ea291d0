//! A producer that does what it is told: any format, memory, chunk and metadata, also what no compositor would send.

#[allow(unsafe_code, reason = "fills PipeWire's buffers")]
mod sys;

use crate::support::PATIENCE;
use libspa::pod::serialize::PodSerializer;
use libspa::pod::{ChoiceValue, Object, Pod, Property, PropertyFlags, Value};
use libspa::sys as spa;
use libspa::utils::{Choice, ChoiceEnum, ChoiceFlags, Direction, Fraction, Id, Rectangle};
use lumen_lab::Session;
use lumen_media::clock;
use pipewire::context::ContextRc;
use pipewire::main_loop::MainLoopRc;
use pipewire::properties::PropertiesBox;
use pipewire::stream::{StreamFlags, StreamRc, StreamState};
use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a cycle of the graph may take.
const CUT_OFF: Duration = Duration::from_millis(500);

/// Where the producer's buffers come from and what they claim to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Files of its own, of so many bytes at an offset.
    Own { offset: usize },
    /// Allocated by the library.
    Library,
    /// Files of its own that claim to be dmabufs where the consumer takes those.
    Claimed,
    /// As `Claimed`, but the dmabufs cannot be mapped.
    Unmappable,
}

/// One format that is offered.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    pub format: u32,
    pub size: (u32, u32),
    pub modifier: Option<i64>,
}

/// How the producer is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    pub offers: Vec<Offer>,
    pub memory: Memory,
    pub buffers: i32,
    /// Bytes of a buffer.
    pub bytes: i32,
}

/// One buffer's contents.
#[derive(Clone, Debug, Default)]
pub struct Shot {
    /// Written to the start of the memory.
    pub bytes: Vec<u8>,
    pub offset: u32,
    pub size: u32,
    pub stride: i32,
    pub chunk_flags: i32,
    /// Flags and time of the header.
    pub header: Option<(u32, i64)>,
    /// x, y, width, height.
    pub crop: Option<[i32; 4]>,
    pub transform: Option<u32>,
    /// Whole `spa_meta_cursor`.
    pub cursor: Option<Vec<u8>>,
}

/// What the producer sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Node(u32),
    Streaming,
    Paused,
    /// A format was agreed on; whether it has a modifier.
    Format(bool),
    /// A shot was queued.
    Sent,
    /// All who watch have had it.
    Done,
    /// There was no buffer for a shot.
    NoBuffer,
}

enum Order {
    Shot(Shot),
    Offer(Vec<Offer>),
    Quit,
}

/// A running producer; dropping it removes its node.
pub struct Producer {
    pub node: u32,
    orders: pipewire::channel::Sender<Order>,
    events: mpsc::Receiver<Event>,
    thread: Option<JoinHandle<()>>,
    /// Cycles that were begun and are not over.
    cycles: Cell<u32>,
}

impl Producer {
    pub fn start(session: &Session, setup: Setup) -> Self {
        let (orders, inbox) = pipewire::channel::channel();
        let (outbox, events) = mpsc::channel();
        let socket = session.runtime_dir().join("pipewire-0");
        let thread = std::thread::spawn(move || run(&socket, setup, inbox, outbox));
        let mut producer = Self { node: 0, orders, events, thread: Some(thread), cycles: Cell::new(0) };
        producer.node = producer.until(|event| match event {
            Event::Node(id) => Some(id),
            _ => None,
        });
        producer
    }

    /// Waits for an event.
    pub fn until<T>(&self, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
        loop {
            let event = self.events.recv_timeout(PATIENCE).expect("the producer sees something");
            self.count(event);
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    }

    fn count(&self, event: Event) {
        self.cycles.set(match event {
            Event::Sent => self.cycles.get() + 1,
            Event::Done => self.cycles.get().saturating_sub(1),
            _ => return,
        });
    }

    pub fn wait_for(&self, wanted: Event) {
        self.until(|event| (event == wanted).then_some(()));
    }

    fn order(&self, order: Order) {
        assert!(self.orders.send(order).is_ok(), "the producer runs");
    }

    /// Sends a shot; returns whether there was a buffer for it.
    pub fn send(&self, shot: Shot) -> bool {
        self.order(Order::Shot(shot));
        let sent = self.until(|event| match event {
            Event::Sent => Some(true),
            Event::NoBuffer => Some(false),
            _ => None,
        });
        // A cycle that begins before the last one is over takes its buffer's place. One that was cut off by a pause is
        // never over.
        while self.cycles.get() > 0 {
            match self.events.recv_timeout(CUT_OFF) {
                Ok(event) => self.count(event),
                Err(_) => self.cycles.set(0),
            }
        }
        sent
    }

    /// Sends a shot as soon as there is a buffer for it. A buffer that was given back is free with the next cycle, so
    /// there is none for a moment; that there never is one is a failure.
    pub fn deliver(&self, shot: Shot) {
        let deadline = clock::now() + PATIENCE;
        while !self.send(shot.clone()) {
            assert!(clock::now() < deadline, "no buffer ever comes back");
            std::thread::yield_now();
        }
    }

    /// Sends shots until the reader pauses.
    pub fn send_until_paused(&self, shot: &Shot) {
        loop {
            self.order(Order::Shot(shot.clone()));
            let paused = self.until(|event| match event {
                Event::Paused => Some(true),
                Event::Done | Event::NoBuffer => Some(false),
                _ => None,
            });
            if paused {
                return;
            }
        }
    }

    /// Offers other formats from now on.
    pub fn offer(&self, offers: Vec<Offer>) {
        self.order(Order::Offer(offers));
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::Quit);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(socket: &Path, setup: Setup, inbox: pipewire::channel::Receiver<Order>, outbox: mpsc::Sender<Event>) {
    pipewire::init();
    let main_loop = MainLoopRc::new(None).expect("a loop");
    let context = ContextRc::new(&main_loop, None).expect("a context");
    let mut remote = PropertiesBox::new();
    remote.insert("remote.name", socket.to_str().expect("a path in UTF-8"));
    let core = context.connect_rc(Some(remote)).expect("a connection");
    let mut properties = PropertiesBox::new();
    for (key, value) in
        [("media.class", "Stream/Output/Video"), ("node.name", "lumen-test"), ("node.driver", "true")]
    {
        properties.insert(key, value);
    }
    let stream = StreamRc::new(core, "lumen-test", properties).expect("a stream");
    let slots = Rc::new(RefCell::new(sys::Slots::default()));
    let listener = {
        let (added, removed) = (slots.clone(), slots.clone());
        let (memory, buffers, bytes) = (setup.memory, setup.buffers, setup.bytes);
        let (states, formats) = (outbox.clone(), outbox.clone());
        stream
            .add_local_listener::<()>()
            .state_changed(move |stream, (), _, state| {
                let event = match state {
                    StreamState::Paused => {
                        let _ = states.send(Event::Node(stream.node_id()));
                        Event::Paused
                    }
                    StreamState::Streaming => Event::Streaming,
                    _ => return,
                };
                let _ = states.send(event);
            })
            .param_changed(move |stream, (), id, pod| {
                let (spa::SPA_PARAM_Format, Some(pod)) = (id, pod) else { return };
                let graphics = sys::has_modifier(pod);
                let params = buffer_params(memory, buffers, bytes, graphics);
                update(stream, &params);
                let _ = formats.send(Event::Format(graphics));
            })
            .add_buffer(move |_, (), buffer| added.borrow_mut().add(buffer, memory, bytes as usize))
            .remove_buffer(move |_, (), buffer| removed.borrow_mut().remove(buffer))
            .register()
            .expect("a listener")
    };
    let cycles = {
        let outbox = outbox.clone();
        sys::Cycles::new(&stream, move || {
            let _ = outbox.send(Event::Done);
        })
    };
    let offers: Vec<_> = setup.offers.iter().map(offer_pod).collect();
    let mut pods: Vec<_> = offers.iter().map(|bytes| Pod::from_bytes(bytes).expect("a pod")).collect();
    let mut flags = StreamFlags::DRIVER;
    flags |= match setup.memory {
        Memory::Library => StreamFlags::MAP_BUFFERS,
        _ => StreamFlags::ALLOC_BUFFERS,
    };
    stream.connect(Direction::Output, None, flags, &mut pods).expect("connected");
    let _inbox = inbox.attach(main_loop.loop_(), {
        let (main_loop, stream, slots) = (main_loop.clone(), stream.clone(), slots.clone());
        move |order| match order {
            Order::Quit => main_loop.quit(),
            Order::Offer(offers) => {
                let offers: Vec<_> = offers.iter().map(offer_pod).collect();
                update(&stream, &offers);
            }
            Order::Shot(shot) => {
                let sent = slots.borrow_mut().send(&stream, &shot);
                let _ = outbox.send(if sent { Event::Sent } else { Event::NoBuffer });
            }
        }
    });
    main_loop.run();
    drop((listener, cycles));
    let _ = stream.disconnect();
}

fn update(stream: &pipewire::stream::Stream, pods: &[Vec<u8>]) {
    let mut pods: Vec<_> = pods.iter().map(|bytes| Pod::from_bytes(bytes).expect("a pod")).collect();
    stream.update_params(&mut pods).expect("parameters are taken");
}

fn bytes_of(object: Object) -> Vec<u8> {
    let cursor = std::io::Cursor::new(Vec::new());
    PodSerializer::serialize(cursor, &Value::Object(object)).expect("a pod").0.into_inner()
}

fn offer_pod(offer: &Offer) -> Vec<u8> {
    let (width, height) = offer.size;
    let mut properties = vec![
        Property::new(spa::SPA_FORMAT_mediaType, Value::Id(Id(spa::SPA_MEDIA_TYPE_video))),
        Property::new(spa::SPA_FORMAT_mediaSubtype, Value::Id(Id(spa::SPA_MEDIA_SUBTYPE_raw))),
        Property::new(spa::SPA_FORMAT_VIDEO_format, Value::Id(Id(offer.format))),
    ];
    if let Some(modifier) = offer.modifier {
        properties.push(Property {
            key: spa::SPA_FORMAT_VIDEO_modifier,
            flags: PropertyFlags::MANDATORY,
            value: Value::Long(modifier),
        });
    }
    properties.push(Property::new(spa::SPA_FORMAT_VIDEO_size, Value::Rectangle(Rectangle { width, height })));
    let rate = Value::Fraction(Fraction { num: 0, denom: 1 });
    properties.push(Property::new(spa::SPA_FORMAT_VIDEO_framerate, rate));
    bytes_of(Object { type_: spa::SPA_TYPE_OBJECT_Format, id: spa::SPA_PARAM_EnumFormat, properties })
}

fn buffer_params(memory: Memory, buffers: i32, bytes: i32, graphics: bool) -> Vec<Vec<u8>> {
    let kinds = match memory {
        Memory::Library => (1 << spa::SPA_DATA_MemPtr) | (1 << spa::SPA_DATA_MemFd),
        Memory::Claimed | Memory::Unmappable if graphics => 1 << spa::SPA_DATA_DmaBuf,
        _ => 1 << spa::SPA_DATA_MemFd,
    };
    let flags = Choice(ChoiceFlags::empty(), ChoiceEnum::Flags { default: kinds, flags: Vec::new() });
    let mut params = vec![bytes_of(Object {
        type_: spa::SPA_TYPE_OBJECT_ParamBuffers,
        id: spa::SPA_PARAM_Buffers,
        properties: vec![
            Property::new(spa::SPA_PARAM_BUFFERS_buffers, Value::Int(buffers)),
            Property::new(spa::SPA_PARAM_BUFFERS_blocks, Value::Int(1)),
            Property::new(spa::SPA_PARAM_BUFFERS_size, Value::Int(bytes)),
            Property::new(spa::SPA_PARAM_BUFFERS_dataType, Value::Choice(ChoiceValue::Int(flags))),
        ],
    })];
    for (kind, size) in [
        (spa::SPA_META_Header, 32),
        (spa::SPA_META_VideoCrop, 16),
        (spa::SPA_META_VideoTransform, 4),
        (spa::SPA_META_Cursor, 48 + 64 * 64 * 4),
    ] {
        params.push(bytes_of(Object {
            type_: spa::SPA_TYPE_OBJECT_ParamMeta,
            id: spa::SPA_PARAM_Meta,
            properties: vec![
                Property::new(spa::SPA_PARAM_META_type, Value::Id(Id(kind))),
                Property::new(spa::SPA_PARAM_META_size, Value::Int(size)),
            ],
        }));
    }
    params
}
