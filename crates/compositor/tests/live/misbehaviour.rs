//! Clients that do what they must not. The compositor and its other clients are there afterwards.

use crate::client::{Client, Shell};
use crate::{Host, pixel};
use lumen_media::InputEvent;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use wayland_client::protocol::wl_pointer::WlPointer;
use wayland_client::protocol::wl_seat::WlSeat;
use wayland_client::protocol::wl_shm::Format;

/// A bystander with a window that must stay unharmed.
struct Bystander {
    host: Host,
    client: Client,
    shell: Shell,
    toplevel: crate::client::Toplevel,
    shade: u8,
}

impl Bystander {
    fn new() -> Self {
        let host = Host::new(640, 360, 240_000);
        let mut client = Client::connect(&host.socket());
        let shell = client.shell();
        let toplevel = client.toplevel(&shell, None);
        let mut bystander = Self { host, client, shell, toplevel, shade: 0 };
        bystander.check();
        bystander
    }

    /// Still draws, and is still seen at its edge.
    fn check(&mut self) {
        self.shade += 10;
        let shade = self.shade;
        let shown = self.client.show(&self.shell, &self.toplevel, (640, 360), [shade; 4]);
        self.host.frame(|frame| pixel(frame, 0, 0) == [shade; 3]);
        shown.buffer.destroy();
        shown.pool.destroy();
    }
}

fn refused(act: impl FnOnce(&mut Client, &Shell)) {
    let mut bystander = Bystander::new();
    let mut client = Client::connect(&bystander.host.socket());
    let shell = client.shell();
    act(&mut client, &shell);
    let end = client.wait_for_end();
    assert!(!end.contains("no answer in time"), "{end}");
    bystander.check();
}

#[test]
fn bad_buffers_are_protocol_errors() {
    for (offset, width, height, stride) in [
        (0, 100, 101, 400),
        (0, 0, 0, 0),
        (0, -1, 10, 400),
        (-4, 10, 10, 40),
        (2, 10, 10, 40),
        (0, 10, 10, 42),
        (0, 20_000, 1, 80_000),
        (0, i32::MAX, i32::MAX, i32::MAX),
        (39_996, 2, 1, 8),
    ] {
        refused(|client, shell| {
            let file = tempfile::tempfile().expect("temporary file");
            file.set_len(40_000).expect("disk");
            let pool = shell.shm.create_pool(file.as_fd(), 40_000, &client.handle, ());
            pool.create_buffer(offset, width, height, stride, Format::Xrgb8888, &client.handle, ());
        });
    }
}

#[test]
fn bad_pools_are_protocol_errors() {
    for size in [0, -1, i32::MIN] {
        refused(|client, shell| {
            let file = tempfile::tempfile().expect("temporary file");
            shell.shm.create_pool(file.as_fd(), size, &client.handle, ());
        });
        refused(|client, shell| {
            let file = tempfile::tempfile().expect("temporary file");
            file.set_len(4096).expect("disk");
            let pool = shell.shm.create_pool(file.as_fd(), 4096, &client.handle, ());
            pool.resize(size);
        });
    }
}

#[test]
fn a_file_shorter_than_its_pool_costs_only_its_client() {
    refused(|client, shell| {
        let toplevel = client.toplevel(shell, None);
        let file = tempfile::tempfile().expect("temporary file");
        let pool = shell.shm.create_pool(file.as_fd(), 1 << 20, &client.handle, ());
        let buffer = pool.create_buffer(0, 500, 500, 2000, Format::Xrgb8888, &client.handle, ());
        client.ack(&toplevel.xdg);
        toplevel.surface.attach(Some(&buffer), 0, 0);
        toplevel.surface.damage_buffer(0, 0, 500, 500);
        toplevel.surface.commit();
    });
}

#[test]
fn a_file_that_shrinks_while_it_is_shown_costs_only_its_client() {
    let mut bystander = Bystander::new();
    let mut client = Client::connect(&bystander.host.socket());
    let shell = client.shell();
    let toplevel = client.toplevel(&shell, None);
    let shown = client.show(&shell, &toplevel, (200, 200), [1, 2, 3, 0]);
    bystander.host.frame(|frame| pixel(frame, 320, 180) == [1, 2, 3]);
    shown.file.set_len(0).expect("disk");
    // Anything that makes the compositor read it again.
    bystander.host.source.set_active(false);
    bystander.host.source.set_active(true);
    client.wait_for_end();
    bystander.check();
}

#[test]
fn too_many_surfaces_pools_callbacks_and_windows_end_the_client() {
    refused(|client, shell| {
        for _ in 0..10_000 {
            shell.compositor.create_surface(&client.handle, ());
        }
    });
    refused(|client, shell| {
        let file = tempfile::tempfile().expect("temporary file");
        file.set_len(4096).expect("disk");
        for _ in 0..100 {
            shell.shm.create_pool(file.as_fd(), 4096, &client.handle, ());
            client.flush();
        }
    });
    refused(|client, shell| {
        let surface = shell.compositor.create_surface(&client.handle, ());
        for _ in 0..10_000 {
            surface.frame(&client.handle, ());
        }
    });
    refused(|client, shell| {
        for _ in 0..1000 {
            let surface = shell.compositor.create_surface(&client.handle, ());
            shell.base.get_xdg_surface(&surface, &client.handle, ()).get_toplevel(&client.handle, ());
        }
    });
}

#[test]
fn what_goes_comes_off_the_account() {
    let bystander = Bystander::new();
    let mut client = Client::connect(&bystander.host.socket());
    let shell = client.shell();
    for _ in 0..30 {
        for _ in 0..100 {
            shell.compositor.create_surface(&client.handle, ()).destroy();
            let buffer = client.buffer(&shell, (1, 1), |_, _| [0; 4]);
            buffer.buffer.destroy();
            buffer.pool.destroy();
        }
        client.roundtrip();
    }
}

#[test]
fn wrong_orders_in_the_shell_are_protocol_errors() {
    // A buffer before the first configure was acknowledged.
    refused(|client, shell| {
        let surface = shell.compositor.create_surface(&client.handle, ());
        let xdg = shell.base.get_xdg_surface(&surface, &client.handle, ());
        let _role = xdg.get_toplevel(&client.handle, ());
        let buffer = client.buffer(shell, (10, 10), |_, _| [0; 4]);
        surface.attach(Some(&buffer.buffer), 0, 0);
        surface.commit();
    });
    // Two roles.
    refused(|client, shell| {
        let surface = shell.compositor.create_surface(&client.handle, ());
        let xdg = shell.base.get_xdg_surface(&surface, &client.handle, ());
        let _first = xdg.get_toplevel(&client.handle, ());
        let positioner = shell.base.create_positioner(&client.handle, ());
        positioner.set_size(10, 10);
        positioner.set_anchor_rect(0, 0, 1, 1);
        let _second = xdg.get_popup(None, &positioner, &client.handle, ());
    });
    // A popup without a size.
    refused(|client, shell| {
        let positioner = shell.base.create_positioner(&client.handle, ());
        positioner.set_size(0, -1);
        client.flush();
    });
}

#[test]
fn parents_in_a_circle_do_no_harm() {
    let mut bystander = Bystander::new();
    let mut client = Client::connect(&bystander.host.socket());
    let shell = client.shell();
    let first = client.toplevel(&shell, None);
    let second = client.toplevel(&shell, Some(&first));
    let _first = client.show(&shell, &first, (50, 50), [1; 4]);
    let _second = client.show(&shell, &second, (40, 40), [2; 4]);
    first.role.set_parent(Some(&second.role));
    client.flush();
    bystander.host.send(InputEvent::PointerAbsolute { x: 0.5, y: 0.5 });
    bystander.host.send(InputEvent::Button { code: 0x110, pressed: true });
    bystander.host.send(InputEvent::Button { code: 0x110, pressed: false });
    bystander.check();
}

#[test]
fn garbage_on_the_socket_ends_only_that_connection() {
    let mut bystander = Bystander::new();
    for seed in 0..50u64 {
        let mut stream = UnixStream::connect(bystander.host.socket()).expect("listens");
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let bytes: Vec<u8> = (0..4096)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state as u8
            })
            .collect();
        // The compositor may hang up before it has read everything.
        let _ = stream.write_all(&bytes);
    }
    bystander.check();
}

#[test]
fn a_client_that_never_reads_is_cut_off_in_the_end() {
    let mut bystander = Bystander::new();
    let mut client = Client::connect(&bystander.host.socket());
    let seat: WlSeat = client.bind(7);
    let _pointer: WlPointer = seat.get_pointer(&client.handle, ());
    let shell = client.shell();
    let toplevel = client.toplevel(&shell, None);
    let _shown = client.show(&shell, &toplevel, (200, 200), [1, 2, 3, 0]);
    bystander.host.frame(|frame| pixel(frame, 320, 180) == [1, 2, 3]);
    // It has a window under the pointer, asks for ever more answers, and reads none of them.
    let end = crate::deadline();
    let mut sent = 0u32;
    while client.sync_without_reading() {
        sent += 1;
        assert!(lumen_media::clock::now() < end, "still connected after {sent} requests");
    }
    bystander.check();
}

#[test]
fn connections_beyond_the_limit_are_closed() {
    let mut bystander = Bystander::new();
    let streams: Vec<_> =
        (0..200).filter_map(|_| UnixStream::connect(bystander.host.socket()).ok()).collect();
    bystander.check();
    drop(streams);
    bystander.check();
    // Places are free again.
    let mut late = Client::connect(&bystander.host.socket());
    late.roundtrip();
}
