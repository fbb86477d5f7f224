//! First contact.
use anypoll::*;
use std::io::{Read, Write};
use std::net::*;
use std::time::Duration;
#[test]
fn smoke() {
    for &b in Backend::available() {
        for mode in [Mode::Level, Mode::Edge, Mode::Oneshot] {
            let Ok(p) = Poller::with_backend(b) else { continue };
            let mut ev = Events::with_capacity(8);
            let l = TcpListener::bind("127.0.0.1:0").unwrap();
            l.set_nonblocking(true).unwrap();
            let l = p.register(l, Token(0), Interest::READABLE, mode).unwrap();
            p.wait(&mut ev, Some(Duration::ZERO)).unwrap();
            assert!(ev.is_empty());
            let mut c = TcpStream::connect(l.get_ref().local_addr().unwrap()).unwrap();
            p.wait(&mut ev, Some(Duration::from_secs(5))).unwrap();
            assert_eq!(ev.len(), 1, "{b:?} {mode:?}");
            let (s, _) = l.try_io(Interest::READABLE, net::accept).unwrap();
            let mut s =
                p.register(s, Token(1), Interest::READABLE | Interest::WRITABLE, mode).unwrap();
            p.wait(&mut ev, None).unwrap();
            assert_eq!(ev.len(), 1, "{b:?} {mode:?} {ev:?}");
            assert!(ev.get(0).unwrap().is_writable() && !ev.get(0).unwrap().is_readable());
            s.set_interest(Interest::READABLE).unwrap();
            c.write_all(b"x").unwrap();
            p.wait(&mut ev, None).unwrap();
            assert_eq!(ev.len(), 1, "{b:?} {mode:?} {ev:?}");
            assert!(ev.get(0).unwrap().is_readable());
            assert_eq!(s.read(&mut [0; 9]).unwrap(), 1);
            let w = p.waker(Token(9));
            let t = std::thread::spawn(move || {
                for _ in 0..3 {
                    w.wake()
                }
            });
            t.join().unwrap();
            p.wait(&mut ev, None).unwrap();
            assert_eq!(ev.len(), 1, "{b:?} {mode:?} {ev:?}");
            let mut f = std::fs::File::open("Cargo.toml").unwrap();
            let f2 = p.register(&mut f, Token(77), Interest::READABLE, mode);
            if let Ok(f2) = f2 {
                p.wait(&mut ev, None).unwrap();
                assert_eq!(ev.len(), 1, "{b:?} {mode:?} {ev:?}");
                drop(f2);
            }
            p.wait(&mut ev, Some(Duration::from_millis(3))).unwrap();
            assert_eq!(ev.len(), 0, "{b:?} {mode:?} {ev:?}");
            drop(s);
            assert_eq!(c.read(&mut [0]).unwrap(), 0);
        }
    }
}
