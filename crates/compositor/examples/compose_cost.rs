//! What a picture costs: CPU time of the compositor's thread per frame, and the age of a commit when its picture is there.
//!
//! `cargo run --release -p lumen-compositor --example compose_cost [width height hertz seconds]`
//!
//! A client in this process commits a full-screen picture with full damage on its own clock.

use lumen_compositor::{BuiltinConfig, BuiltinDisplay};
use lumen_media::slot::Wait;
use lumen_media::{AppLaunch, Mode, OutputSource, VirtualDisplay, clock};
use std::error::Error;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use wayland_client::globals::{GlobalListContents, registry_queue_init};
use wayland_client::protocol::{
    wl_buffer::WlBuffer, wl_compositor::WlCompositor, wl_registry, wl_shm, wl_shm_pool::WlShmPool,
    wl_surface::WlSurface,
};
use wayland_client::{Connection, Dispatch, QueueHandle, delegate_noop};
use wayland_protocols::xdg::shell::client::{xdg_surface, xdg_toplevel::XdgToplevel, xdg_wm_base::XdgWmBase};

#[derive(Default)]
struct Client {
    configured: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let numbers: Vec<u32> = std::env::args().skip(1).map(|text| text.parse()).collect::<Result<_, _>>()?;
    let number = |index: usize, default| numbers.get(index).copied().unwrap_or(default);
    let mode = Mode::new(number(0, 1920), number(1, 1080), number(2, 60) * 1000)?;
    let frames = number(3, 10) * mode.refresh_mhz() / 1000;

    let dir = tempfile::tempdir()?;
    let output = BuiltinDisplay::new(BuiltinConfig::new(dir.path()))?.create(mode, &AppLaunch::default())?;
    let OutputSource::Frames(mut source) = output.source else { unreachable!("made in this process") };
    source.set_active(true);

    let connection = Connection::from_socket(UnixStream::connect(dir.path().join("lumen-0"))?)?;
    let (globals, mut queue) = registry_queue_init::<Client>(&connection)?;
    let handle = queue.handle();
    let compositor: WlCompositor = globals.bind(&handle, 4..=4, ())?;
    let shm: wl_shm::WlShm = globals.bind(&handle, 1..=1, ())?;
    let base: XdgWmBase = globals.bind(&handle, 1..=1, ())?;
    let surface = compositor.create_surface(&handle, ());
    let _toplevel = base.get_xdg_surface(&surface, &handle, ()).get_toplevel(&handle, ());
    surface.commit();
    let mut client = Client::default();
    while !client.configured {
        queue.blocking_dispatch(&mut client)?;
    }
    let (width, height) = (mode.width() as i32, mode.height() as i32);
    let buffers = [0x55u8, 0xAA].map(|shade| buffer(&shm, &handle, width, height, shade));

    let mut ages = Vec::new();
    let mut due = clock::now();
    let mut cpu_before = 0;
    for n in 0..frames {
        if n == 30 {
            cpu_before = compositor_cpu()?;
        }
        surface.attach(Some(buffers[n as usize % 2].as_ref().map_err(|error| error.to_string())?), 0, 0);
        surface.damage_buffer(0, 0, width, height);
        surface.commit();
        let committed = clock::now();
        queue.flush()?;
        let shade = if n % 2 == 0 { 0x55 } else { 0xAA };
        while let Wait::Value(frame) = source.wait_latest(Some(committed + Duration::from_secs(1))) {
            if frame.pixels.bytes()[0] == shade {
                break;
            }
        }
        ages.push(clock::now().since(committed));
        queue.dispatch_pending(&mut client)?;
        // On the grid; what a busy machine made late is left out, not caught up with.
        due = due + mode.frame_interval();
        while due < clock::now() {
            due = due + mode.frame_interval();
        }
        // Also takes in what the compositor sent.
        if let Some(guard) = queue.prepare_read() {
            let _ = guard.read();
        }
        std::thread::sleep(due.since(clock::now()));
    }
    let cpu = Duration::from_nanos(compositor_cpu()? - cpu_before) / (frames - 30);
    ages.drain(..30);
    ages.sort_unstable();
    println!(
        "{mode}: compositor CPU {:.2} ms per frame, commit to picture p50 {:.2} ms, p95 {:.2} ms ({} frames)",
        cpu.as_secs_f64() * 1e3,
        ages[ages.len() / 2].as_secs_f64() * 1e3,
        ages[ages.len() * 95 / 100].as_secs_f64() * 1e3,
        ages.len()
    );
    Ok(())
}

fn buffer(
    shm: &wl_shm::WlShm,
    handle: &QueueHandle<Client>,
    width: i32,
    height: i32,
    shade: u8,
) -> Result<WlBuffer, std::io::Error> {
    let file = tempfile::tempfile_in("/dev/shm").or_else(|_| tempfile::tempfile())?;
    let len = width * height * 4;
    std::io::Write::write_all(&mut &file, &vec![shade; len as usize])?;
    let pool = shm.create_pool(file.as_fd(), len, handle, ());
    Ok(pool.create_buffer(0, width, height, width * 4, wl_shm::Format::Xrgb8888, handle, ()))
}

/// Nanoseconds that the compositor's thread has run.
fn compositor_cpu() -> Result<u64, Box<dyn Error>> {
    for task in std::fs::read_dir("/proc/self/task")? {
        let path = task?.path();
        if std::fs::read_to_string(path.join("comm"))?.trim() == "lm-compositor" {
            let times = std::fs::read_to_string(path.join("schedstat"))?;
            return Ok(times.split_whitespace().next().ok_or("empty schedstat")?.parse()?);
        }
    }
    Err("no compositor thread".into())
}

impl Dispatch<xdg_surface::XdgSurface, ()> for Client {
    fn event(
        client: &mut Self,
        surface: &xdg_surface::XdgSurface,
        event: xdg_surface::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let xdg_surface::Event::Configure { serial } = event {
            surface.ack_configure(serial);
            client.configured = true;
        }
    }
}

impl Dispatch<wl_registry::WlRegistry, GlobalListContents> for Client {
    fn event(
        _: &mut Self,
        _: &wl_registry::WlRegistry,
        _: wl_registry::Event,
        _: &GlobalListContents,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
    }
}

delegate_noop!(Client: ignore WlCompositor);
delegate_noop!(Client: ignore WlSurface);
delegate_noop!(Client: ignore WlBuffer);
delegate_noop!(Client: ignore WlShmPool);
delegate_noop!(Client: ignore wl_shm::WlShm);
delegate_noop!(Client: ignore XdgWmBase);
delegate_noop!(Client: ignore XdgToplevel);
