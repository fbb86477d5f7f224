//! Calls all that there is, for the linker: a symbol that a system lacks is found without a machine
//! that runs it.

use std::io::{self, Read};
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use anypoll::{Backend, Events, Interest, Mode, Poller, Token, channel, net, process};

fn main() -> io::Result<()> {
    let mut events = Events::default();
    for &backend in Backend::available() {
        let poller = Poller::with_backend(backend)?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        anypoll::set_nonblocking(&listener, true)?;
        let listener = poller.register(listener, Token(0), Interest::READABLE, Mode::Edge)?;
        listener.set_interest(Interest::READABLE | Interest::WRITABLE)?;
        let client = net::connect(listener.get_ref().local_addr()?)?;
        poller.wait(&mut events, Some(Duration::from_secs(1)))?;
        println!("{backend:?}: {events:?}, connected: {}", net::connected(&client)?);
        let (mut stream, _) = listener.try_io(Interest::READABLE, net::accept)?;
        println!("{:?}", stream.read(&mut [0]));
        let (sender, receiver) = channel::bounded(1, poller.waker(Token(1)));
        let _ = sender.try_send(1);
        println!("{:?}, {:?}", receiver.try_recv(), poller.descriptor());
        let mut child = Command::new("true").spawn()?;
        let exit = process::Exit::of(&mut child)?;
        let exit = poller.register(exit, Token(2), Interest::READABLE, Mode::Level)?;
        poller.wait(&mut events, Some(Duration::from_secs(1)))?;
        println!("{events:?}, {:?}", child.wait()?);
        drop(exit.into_inner());
        #[cfg(any(
            target_vendor = "apple",
            target_os = "freebsd",
            target_os = "netbsd",
            target_os = "openbsd",
            target_os = "dragonfly",
        ))]
        if backend == Backend::Kqueue {
            filters(&poller, &mut events)?;
        }
    }
    Ok(())
}

#[cfg(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly",
))]
fn filters(poller: &Poller, events: &mut Events) -> io::Result<()> {
    use anypoll::os::kqueue::{self, Filter};

    let filters = [
        Filter::Timer { id: 0, period: Duration::from_micros(1_500) },
        Filter::Signal(1),
        Filter::Process { id: std::process::id(), exit: true, fork: true, exec: true },
    ];
    for (filter, token) in filters.into_iter().zip(3..) {
        kqueue::add(poller, filter, Token(token), Mode::Oneshot)?;
    }
    kqueue::modify(poller, filters[0], Token(3), Mode::Level)?;
    poller.wait(events, Some(Duration::from_secs(1)))?;
    for event in &*events {
        println!("{:?}", kqueue::details(event));
    }
    kqueue::remove(poller, filters[1])
}
